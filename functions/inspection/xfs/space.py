"""Who claims which blocks of an XFS file system, and whether the claims agree with each other."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from functions.inspection.xfs.btrees import Records
from functions.inspection.xfs.metadata import Metadata

_MOST_CLAIMS = 20_000_000
_STAGED = 0x8000_0000
"""The start of a shared extent carries this bit when it is room set aside for copy on write."""

Counts = NDArray[np.int64]


class TooManyClaims(Exception):
    """More extents than memory should hold; whom the blocks belong to stays unknown."""


@dataclass(slots=True)
class GroupSpace:
    """What the trees of a group say about its blocks; a tree that the file system does not keep is None."""

    free: Records
    shared: Records | None = None
    owners: Records | None = None


class Claims:
    """Every stretch of blocks that something says is its own. Stretches outside of the file system are refused."""

    def __init__(self, metadata: Metadata) -> None:
        self._superblock = metadata.superblock
        self._metadata: defaultdict[int, array[int]] = defaultdict(lambda: array("Q"))
        self._data: defaultdict[int, array[int]] = defaultdict(lambda: array("Q"))
        self._unsettled: defaultdict[int, array[int]] = defaultdict(lambda: array("Q"))
        self._count = 0

    def of_metadata(self, block: int, count: int) -> None:
        """Blocks of which nobody else may hold any."""
        self._add(self._metadata, block, count)

    def of_data(self, block: int, count: int) -> None:
        """Blocks that files may share, if the reference counts say so."""
        self._add(self._data, block, count)

    def unsettled(self, stretches: Iterable[tuple[int, int]]) -> None:
        """Blocks whose owner the kernel would still change after the replay: nothing is judged there."""
        for block, count in stretches:
            if self._superblock.holds(block, count):
                self._add(self._unsettled, block, count)

    def of_group(self, group: int, kind: str) -> tuple[Counts, Counts]:
        """The starts and ends of the stretches of one kind: metadata, data or unsettled."""
        packed = {"metadata": self._metadata, "data": self._data, "unsettled": self._unsettled}[kind].get(group)
        both = np.frombuffer(packed, np.uint64) if packed else np.empty(0, np.uint64)
        starts = (both >> np.uint64(32)).astype(np.int64)
        return starts, starts + (both & np.uint64(0xFFFF_FFFF)).astype(np.int64)

    def _add(self, claims: defaultdict[int, array[int]], block: int, count: int) -> None:
        self._count += 1
        if self._count > _MOST_CLAIMS:
            raise TooManyClaims(f"the files have more than {_MOST_CLAIMS:,} extents")
        group, inside = self._superblock.split(block)
        claims[group].append(inside << 32 | count)


class _Sweep:
    """One group cut at every place where any claim begins or ends: in each piece the number of claims is constant."""

    def __init__(self, claims: Claims, group: int, blocks: int, space: GroupSpace) -> None:
        self._stretches = {kind: claims.of_group(group, kind) for kind in ("metadata", "data", "unsettled")}
        self._stretches["free"] = _stretches(space.free["start"], space.free["count"])
        if space.shared is not None:
            starts = space.shared["start"].astype(np.int64)
            staged = starts >= _STAGED
            counts = space.shared["count"]
            self._stretches["staged"] = _stretches(starts[staged] - _STAGED, counts[staged])
            self._stretches["shared"] = _stretches(starts[~staged], counts[~staged])
            self._references = space.shared["references"].astype(np.int64)[~staged]
        if space.owners is not None:
            self._stretches["owned"] = _stretches(space.owners["start"], space.owners["count"])
        edges = [edge for starts, ends in self._stretches.values() for edge in (starts, ends)]
        cuts = np.unique(np.concatenate([*edges, np.array([0, blocks], np.int64)]))
        self.cuts = cuts[(cuts >= 0) & (cuts <= blocks)]

    def depth(self, kind: str) -> Counts:
        """How many claims of that kind lie over each piece."""
        return self._weigh(kind, None)

    def references(self) -> Counts:
        """How many owners the reference counts promise each piece, 0 where they say nothing."""
        return self._weigh("shared", self._references) if "shared" in self._stretches else self.depth("free") * 0

    def _weigh(self, kind: str, weights: Counts | None) -> Counts:
        change = np.zeros(len(self.cuts) + 1, np.int64)
        if kind in self._stretches:
            starts, ends = self._stretches[kind]
            np.add.at(change, np.searchsorted(self.cuts, starts), 1 if weights is None else weights)
            np.add.at(change, np.searchsorted(self.cuts, ends), -1 if weights is None else -weights)
        return np.cumsum(change)[: len(self.cuts) - 1]


def _stretches(starts: NDArray[np.generic], counts: NDArray[np.generic]) -> tuple[Counts, Counts]:
    first = starts.astype(np.int64)
    return first, first + counts.astype(np.int64)


def check_group(metadata: Metadata, claims: Claims, group: int, space: GroupSpace, *, is_settled: bool) -> None:
    """No block of the group has two owners that do not know of each other, or is used and free.

    `is_settled` says that nothing was left to finish in the log, so that a block without any owner was lost.
    Errors: TooMuchDamage.
    """
    blocks = metadata.superblock.blocks_of_group(group)
    sweep = _Sweep(claims, group, blocks, space)
    free, own, data, staged = (sweep.depth(kind) for kind in ("free", "metadata", "data", "staged"))
    references = sweep.references()
    used = own + data + staged
    judged = sweep.depth("unsettled") == 0

    def report(fault: str, wrong: NDArray[np.bool_], detail: str) -> None:
        pieces = np.flatnonzero(wrong & judged)
        if pieces.size:
            first, count = int(sweep.cuts[pieces[0]]), int((sweep.cuts[pieces + 1] - sweep.cuts[pieces]).sum())
            where = metadata.superblock.offset_in_group(group, first)
            metadata.damage(fault, f"group {group}: {count:,} blocks from {first:,} {detail}", where)

    report("space.used-and-free", (free > 0) & (used > 0), "are used and counted as free")
    exclusive = (own > 1) | ((own > 0) & (data + staged > 0)) | (staged > 1) | ((staged > 0) & (data > 0))
    report("space.claimed-twice", exclusive, "belong to two owners")
    report("space.claimed-twice", (data > 1) & (references == 0), "belong to two files that do not share them")
    report("reference-counts.wrong", (references > 0) & (references != data), "are shared by another number of files")
    if space.owners is not None:
        owned = sweep.depth("owned")
        report("reverse-map.wrong", (owned > 0) & (free > 0), "have an owner and are counted as free")
        if is_settled:
            report("reverse-map.wrong", owned != used, "have other owners than the reverse map says")
    if is_settled:
        report("space.lost", (free == 0) & (used == 0), "are neither used nor free")
