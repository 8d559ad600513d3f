"""Pages of database files: cut into stretches, chosen evenly when there are too many, and read with few requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from functions.inspection.file_systems import File, FileSystem

STRETCH_BYTES = 512 * 1024
"""As long as a block of the device, so that a chosen stretch costs one or two blocks."""

_STRETCHES_AHEAD = 64


@dataclass(frozen=True, slots=True)
class Stretch:
    """Pages `first` to `first` + `count` - 1 of a file."""

    file: File
    first: int
    count: int


def stretches(file: File, page_bytes: int) -> Iterator[Stretch]:
    """All whole pages of a file, cut at each STRETCH_BYTES."""
    pages, step = file.size_bytes // page_bytes, max(1, STRETCH_BYTES // page_bytes)
    for first in range(0, pages, step):
        yield Stretch(file, first, min(step, pages - first))


def choose(every: Iterable[Stretch], *, of_pages: int, most_pages: int | None) -> Iterator[Stretch]:
    """The stretches to read: all of them, or about `most_pages` spread evenly over `of_pages`, the same every time."""
    if most_pages is None or of_pages <= most_pages:
        yield from every
        return
    seen = taken = 0
    for stretch in every:
        seen += stretch.count
        # Taken as soon as the even share of what was seen so far leaves room for it.
        if (taken + stretch.count) * of_pages <= seen * most_pages:
            taken += stretch.count
            yield stretch


def places(file: File, offset: int, length: int) -> Iterator[tuple[int, int]]:
    """Where this part of a file lies on its device, as (offset, length); holes lie nowhere."""
    for extent in file.extents:
        begin, end = max(offset, extent.offset), min(offset + length, extent.offset + extent.length)
        if begin < end:
            yield extent.at + begin - extent.offset, end - begin


def place(file: File, offset: int) -> int | None:
    """Where one byte of a file lies on its device."""
    return next((at for at, _ in places(file, offset, 1)), None)


def in_batches(file_system: FileSystem, chosen: Iterable[Stretch], page_bytes: int) -> Iterator[Sequence[Stretch]]:
    """The stretches in batches whose blocks are fetched together. Errors: BudgetSpent."""
    waiting = iter(chosen)
    while batch := list(islice(waiting, _STRETCHES_AHEAD)):
        file_system.device.expect(
            at for one in batch for at in places(one.file, one.first * page_bytes, one.count * page_bytes)
        )
        yield batch
