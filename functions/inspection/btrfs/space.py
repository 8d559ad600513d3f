"""Whether chunks, block groups, extents and free space of a btrfs file system agree with each other."""

from __future__ import annotations

import struct
from array import array

import numpy as np
from numpy.typing import NDArray

from functions.inspection.btrfs.chunks import ChunkMap
from functions.inspection.btrfs.format import (
    BLOCK_GROUP_ITEM,
    DEVICE_EXTENT,
    EXTENT_ITEM,
    FREE_SPACE_BITMAP,
    FREE_SPACE_EXTENT,
    METADATA_ITEM,
    Node,
)
from functions.inspection.btrfs.names import DataExtents
from functions.inspection.btrfs.superblock import Superblock
from functions.inspection.findings import Findings

_Addresses = NDArray[np.uint64]


def _addresses(values: array[int]) -> _Addresses:
    return np.frombuffer(values, dtype=np.uint64) if values else np.zeros(0, dtype=np.uint64)


class SpaceCheck:
    """Takes the leaves of the trees about space in any order and compares at the end. 16 bytes for each extent."""

    def __init__(self, superblock: Superblock, chunks: ChunkMap, findings: Findings) -> None:
        self._superblock = superblock
        self._chunks = chunks
        self._findings = findings
        self._starts = array("Q")
        self._lengths = array("Q")
        self._groups: dict[int, tuple[int, int]] = {}
        self._device_extents: set[tuple[int, int, int]] = set()
        self._free_starts = array("Q")
        self._free_bytes = array("Q")

    def take_extents(self, leaf: Node) -> None:
        """A leaf of the extent tree or the block group tree."""
        for position, key in enumerate(leaf.keys):
            if key[1] in (EXTENT_ITEM, METADATA_ITEM):
                length = key[2] if key[1] == EXTENT_ITEM else self._superblock.node_bytes
                if leaf.slots[position][1] < 24 or not length or length > 2**62:
                    self._damage("extent.item", f"extent {key}")
                    continue
                self._starts.append(key[0])
                self._lengths.append(length)
            elif key[1] == BLOCK_GROUP_ITEM:
                item = leaf.item(position)
                if len(item) != 24:
                    self._damage("block-group.item", f"block group {key} of {len(item)} bytes")
                    continue
                self._groups[key[0]] = (key[2], struct.unpack_from("<Q", item)[0])

    def take_device_extents(self, leaf: Node) -> None:
        """A leaf of the device tree."""
        for position, key in enumerate(leaf.keys):
            if key[1] == DEVICE_EXTENT and key[0] == self._superblock.device_id:
                item = leaf.item(position)
                if len(item) != 48:
                    self._damage("device-extent.item", f"device extent {key} of {len(item)} bytes")
                    continue
                _, _, chunk, length = struct.unpack_from("<QQQQ", item)
                self._device_extents.add((key[2], chunk, length))

    def take_free_space(self, leaf: Node) -> None:
        """A leaf of the free space tree."""
        for position, key in enumerate(leaf.keys):
            if key[1] == FREE_SPACE_EXTENT:
                free = key[2]
            elif key[1] == FREE_SPACE_BITMAP:
                free = int.from_bytes(leaf.item(position), "little").bit_count() * self._superblock.sector_bytes
            else:
                continue
            if free > 2**62:
                self._damage("free-space.item", f"free space {key}")
                continue
            self._free_starts.append(key[0])
            self._free_bytes.append(free)

    def compare_chunks(self) -> None:
        """Chunks, the stretches of this device that they take, and block groups name the same places."""
        stripes: set[tuple[int, int, int]] = set()
        without_length: set[int] = set()
        for chunk in self._chunks.chunks():
            if chunk.stripe_length is None:
                without_length.add(chunk.logical)
                continue
            stripes |= {(at, chunk.logical, chunk.stripe_length) for at in chunk.stripes if at is not None}
        taken = {extent for extent in self._device_extents if extent[1] not in without_length}
        for at, logical, length in sorted(stripes ^ taken)[:20]:
            self._damage("device-extent.chunk", f"{length:,} bytes for the chunk {logical:,}, told once only", at)
        for at, logical, length in sorted(stripes)[-1:]:
            if at + length > self._superblock.device_bytes:
                self._damage("device-extent.range", f"the chunk {logical:,} lies behind the end of the device", at)
        chunks = {(chunk.logical, chunk.length) for chunk in self._chunks.chunks()}
        groups = {(logical, length) for logical, (length, _) in self._groups.items()}
        for logical, length in sorted(chunks ^ groups)[:20]:
            self._damage("block-group.chunk", f"{length:,} bytes at {logical:,} are a chunk or a block group only")

    def compare_extents(self, nodes: set[int], data: DataExtents, *, has_free_space_tree: bool) -> None:
        """Extents do not overlap, add up to what the block groups say, and hold every node and file that is reached."""
        starts, lengths = _addresses(self._starts), _addresses(self._lengths)
        order = np.argsort(starts)
        starts, lengths = starts[order], lengths[order]
        overlaps = int(np.count_nonzero(starts[:-1] + lengths[:-1] > starts[1:]))
        if overlaps:
            self._damage("extent.overlap", f"{overlaps:,} extents overlap the next one")
        self._compare_used(starts, lengths, has_free_space_tree)
        reached = np.fromiter(nodes, dtype=np.uint64, count=len(nodes))
        self._compare_reached("node", reached, np.full_like(reached, self._superblock.node_bytes), starts, lengths)
        self._compare_reached("file", _addresses(data.starts), _addresses(data.lengths), starts, lengths)

    def _compare_used(self, starts: _Addresses, lengths: _Addresses, has_free_space_tree: bool) -> None:
        logical = np.array(sorted(self._groups), dtype=np.uint64)
        used = _sums(logical, starts, lengths)
        free = _sums(logical, _addresses(self._free_starts), _addresses(self._free_bytes))
        for position, start in enumerate(sorted(self._groups)):
            length, promised = self._groups[start]
            if promised != used[position]:
                self._damage("block-group.used", f"{promised:,} bytes at {start:,}; extents take {used[position]:,}")
            if has_free_space_tree and length - used[position] != free[position]:
                detail = f"{free[position]:,} of {length:,} bytes at {start:,}; extents take {used[position]:,}"
                self._damage("free-space.sum", detail)
        total = sum(promised for _, promised in self._groups.values())
        if total != self._superblock.used_bytes:
            self._damage("superblock.used", f"{self._superblock.used_bytes:,} bytes; block groups say {total:,}")

    def _compare_reached(
        self, what: str, reached: _Addresses, sizes: _Addresses, starts: _Addresses, lengths: _Addresses
    ) -> None:
        if not len(reached):
            return
        if not len(starts):
            self._damage(f"extent.{what}", f"{len(reached):,} are reached and none is allocated")
            return
        place = np.searchsorted(starts, reached)
        inside = np.minimum(place, len(starts) - 1)
        wrong = (starts[inside] != reached) | (lengths[inside] != sizes)
        if wrong.any():
            first = int(reached[wrong][0])
            self._damage(f"extent.{what}", f"{int(wrong.sum()):,} are not allocated as reached, the first at {first:,}")

    def _damage(self, fault: str, detail: str, at: int | None = None) -> None:
        self._findings.damage(f"btrfs.{fault}", detail, at=at)


def _sums(groups: _Addresses, starts: _Addresses, lengths: _Addresses) -> list[int]:
    """How many bytes begin in each group; what lies before the first one is counted nowhere."""
    if not len(groups):
        return []
    group = np.searchsorted(groups, starts, side="right").astype(np.int64) - 1
    sums = np.zeros(len(groups), dtype=np.uint64)
    np.add.at(sums, group[group >= 0], lengths[group >= 0])
    return [int(one) for one in sums]
