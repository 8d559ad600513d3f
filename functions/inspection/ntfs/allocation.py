"""Which clusters and records are in use, by what uses them and by the bitmaps: the two must say the same."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from functions.inspection.ntfs.records import HOLE, Attribute

Bits = NDArray[np.bool_]

_PAGE_BYTES = 4096
_MOST_STRETCHES_LEAKED = 1000
"""Clusters that nobody uses and that are marked all the same are leaked, and harm nothing. So many separate stretches
of them in one page of a bitmap are no leak: random bytes make some 8,000."""


class Claims:
    """The runs of all attributes: 24 bytes for each, whatever the size of the volume."""

    def __init__(self) -> None:
        self._starts, self._counts, self._owners = array("Q"), array("Q"), array("Q")

    def add(self, owner: int, attribute: Attribute) -> None:
        """The clusters of this attribute belong to this record."""
        for run in attribute.runs:
            if run.cluster != HOLE:
                self._starts.append(run.cluster)
                self._counts.append(run.count)
                self._owners.append(owner)

    def settle(self) -> Settled:
        """Everything that was claimed, in the order of the volume."""
        starts = np.array(self._starts, np.int64)
        counts = np.array(self._counts, np.int64)
        owners = np.array(self._owners, np.int64)
        order: NDArray[np.intp] = np.argsort(starts, kind="stable")
        starts, owners = starts[order], owners[order]
        ends = starts + counts[order]
        reach: NDArray[np.int64] = np.maximum.accumulate(ends)
        return Settled(starts, ends, reach, owners)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """What a stretch of the bitmap does not tell rightly. Clusters, and the record that uses the first lost one."""

    lost: int
    first_lost: int
    owner: int
    leaked: int
    leaked_stretches: int


@dataclass(frozen=True, slots=True)
class Settled:
    """Claimed stretches from `starts` to `ends`, sorted; `reach` is the furthest end up to each."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    reach: NDArray[np.int64]
    owners: NDArray[np.int64]

    def claimed_twice(self) -> Iterator[tuple[int, int, int]]:
        """The first cluster of each stretch that was claimed before, the record that claims it, and the other one."""
        again: list[int] = np.nonzero(self.starts[1:] < self.reach[:-1])[0].tolist()
        for index in again:
            start = int(self.starts[index + 1])
            other = int(np.searchsorted(self.reach, start, side="right"))
            yield start, int(self.owners[index + 1]), int(self.owners[other])

    def compare(self, first_cluster: int, marked: Bits) -> Mismatch:
        """Against one page of the bitmap, whose first bit stands for `first_cluster`."""
        used = self._used(first_cluster, len(marked))
        lost = used & ~marked
        leaked = marked & ~used
        first_lost = first_cluster + int(np.argmax(lost)) if lost.any() else 0
        index = int(np.searchsorted(self.reach, first_lost, side="right"))
        stretches = int((leaked[1:] & ~leaked[:-1]).sum()) + int(leaked[:1].sum())
        owner = int(self.owners[index]) if index < len(self.owners) else 0
        return Mismatch(int(lost.sum()), first_lost, owner, int(leaked.sum()), stretches)

    def _used(self, first: int, count: int) -> Bits:
        low = int(np.searchsorted(self.reach, first, side="right"))
        high = int(np.searchsorted(self.starts, first + count, side="left"))
        steps = np.zeros(count + 1, np.int32)
        np.add.at(steps, np.clip(self.starts[low:high] - first, 0, count), 1)
        np.add.at(steps, np.clip(self.ends[low:high] - first, 0, count), -1)
        return np.cumsum(steps[:-1]) > 0


def is_noise(mismatch: Mismatch) -> bool:
    """Whether a page marks so much that nobody uses that it cannot be a bitmap any more."""
    return mismatch.leaked_stretches > _MOST_STRETCHES_LEAKED


def bits_of(content: bytes) -> Bits:
    """One truth for each bit, lowest first."""
    return np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little").astype(np.bool_)


def pages(read: Callable[[int, int], bytes], bits: int) -> Iterator[tuple[int, Bits]]:
    """A bitmap of so many bits in pages: the number of the first bit, and the bits."""
    for at in range(0, (bits + 7) // 8, _PAGE_BYTES):
        content = read(at, min(_PAGE_BYTES, (bits + 7) // 8 - at))
        yield at * 8, bits_of(content)[: bits - at * 8]
