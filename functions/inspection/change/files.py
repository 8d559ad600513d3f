"""Which files lie in the changed blocks of a volume, kept in arrays because a volume may have millions."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from functions.inspection.change.places import UnchangedFiles
from functions.inspection.devices import BLOCK_BYTES, BudgetSpent, OutOfRange
from functions.inspection.file_systems import File, FileSystem

MOST_FILES = 2_000_000
"""Of files that lie in changed blocks, so many are looked at; the map says when there were more."""

MOST_STRETCHES = 4_000
"""In one block. A hostile file system may let a million files claim the same place."""


FARTHEST_BYTES = 1 << 62
"""No file is so long; a hostile one may claim to be."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes of a file inside one block: which file, where in the file, where on the disk, how many."""

    file: int
    offset: int
    at: int
    length: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ChangedFiles:
    """The files of which at least one stretch lies in a changed block, numbered from 0.

    `held_bytes` is what a file has on the disk, and `all_held_bytes` what all files together have, changed or not; it
    is the size of the file systems when not every file could be walked to.
    `starts` says where on the disk a file's first byte lies, -1 for a hole and for a further name of a file that has a
    number already; `start_lengths` how many bytes follow it there in one piece. `modified` is a timestamp, NaN when the
    file system has none that makes sense. The stretches are those in changed blocks, ascending by place. `unreadable`
    counts changed files whose content is compressed or encrypted by the file system itself; `is_whole` is False when
    not every file could be walked to. `unchanged` are files that begin in a block that did not change.
    """

    paths: Sequence[str]
    held_bytes: NDArray[np.int64]
    all_held_bytes: int
    starts: NDArray[np.int64]
    start_lengths: NDArray[np.int64]
    modified: NDArray[np.float64]
    stretch_files: NDArray[np.int64]
    stretch_offsets: NDArray[np.int64]
    stretch_places: NDArray[np.int64]
    stretch_lengths: NDArray[np.int64]
    unreadable: int
    is_whole: bool
    unchanged: UnchangedFiles

    def stretches_in(self, block: int) -> Iterator[Stretch]:
        """The stretches of files in a changed block, cut to it, ascending by place."""
        begin, end = block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES
        # The one before may reach into the block. Only overlapping ones could begin earlier still: a shared copy,
        # of which one owner is enough.
        first = max(0, int(np.searchsorted(self.stretch_places, begin)) - 1)
        last = int(np.searchsorted(self.stretch_places, end))
        for number in range(first, min(last, first + MOST_STRETCHES)):
            at, length = int(self.stretch_places[number]), int(self.stretch_lengths[number])
            inside = max(at, begin), min(at + length, end)
            if inside[0] < inside[1]:
                offset = int(self.stretch_offsets[number]) + inside[0] - at
                yield Stretch(int(self.stretch_files[number]), offset, inside[0], inside[1] - inside[0])

    def blocks_with_content(self, changed: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of the changed blocks, given ascending, in which any file has bytes."""
        ends = np.maximum.accumulate(self.stretch_places + self.stretch_lengths)
        begins_before = np.searchsorted(self.stretch_places, (changed + 1) * BLOCK_BYTES)
        reaches = np.concatenate([np.zeros(1, np.int64), ends])[begins_before]
        return changed[reaches > changed * BLOCK_BYTES]


@dataclass(slots=True)
class _Gathered:
    """The arrays while they grow; lists of numbers would take four times the memory."""

    changed: bytes
    paths: list[str] = field(default_factory=list[str])
    held: array[int] = field(default_factory=lambda: array("q"))
    starts: array[int] = field(default_factory=lambda: array("q"))
    modified: array[float] = field(default_factory=lambda: array("d"))
    stretches: array[int] = field(default_factory=lambda: array("q"))
    unreadable: int = 0
    everything: array[int] = field(default_factory=lambda: array("q"))
    unchanged: UnchangedFiles = field(default_factory=UnchangedFiles)

    def add(self, file: File, file_system: FileSystem) -> None:
        """The file is kept when any of its stretches lies in a changed block."""
        number, first_stretch = len(self.paths), len(self.stretches)
        start, start_length, held = -1, 0, 0
        for at, length, offset in _on_disk(file, file_system):
            held += length
            if offset == 0:
                start, start_length = at, length
            if self._is_changed(at, length):
                if file.why_not:
                    self.unreadable += 1
                    return
                self.stretches.extend((at, length, number, offset))
        held = min(held, FARTHEST_BYTES)
        self.everything.extend((start, held))
        if len(self.stretches) > first_stretch:
            self.paths.append(file.path)
            self.held.append(held)
            self.starts.extend((start, start_length))
            self.modified.append(file.modified_at.timestamp() if file.modified_at else float("nan"))
        elif start >= 0 and not file.why_not:
            self.unchanged.add(file.path, start, start_length)

    def _is_changed(self, at: int, length: int) -> bool:
        # One byte for each block: searched like this, a million extents take a second.
        return self.changed.find(1, at // BLOCK_BYTES, (at + length - 1) // BLOCK_BYTES + 1) >= 0


def map_changes(file_systems: Sequence[FileSystem], changed: NDArray[np.int64]) -> ChangedFiles:
    """The files of all these file systems that lie in the changed blocks. Reads directories and inodes, no content.

    A walk that the device's budget ends is not whole; what it reached is kept.
    """
    is_changed = np.zeros(int(changed.max()) + 1 if len(changed) else 0, np.bool_)
    is_changed[changed] = True
    gathered = _Gathered(is_changed.tobytes())
    is_whole = True
    for file_system in file_systems:
        try:
            for file in file_system.files():
                if len(gathered.paths) == MOST_FILES:
                    is_whole = False
                    break
                gathered.add(file, file_system)
        except BudgetSpent:
            is_whole = False
    return _packed(gathered, is_whole=is_whole, size_bytes=sum(one.device.size_bytes for one in file_systems))


def _packed(gathered: _Gathered, *, is_whole: bool, size_bytes: int) -> ChangedFiles:
    starts = np.array(gathered.starts, np.int64).reshape(-1, 2)
    owners = _first_names(starts[:, 0])
    stretches = np.array(gathered.stretches, np.int64).reshape(-1, 4)
    stretches[:, 2] = owners[stretches[:, 2]]
    stretches = np.unique(stretches, axis=0)
    everything = np.array(gathered.everything, np.int64).reshape(-1, 2)
    is_first = _first_names(everything[:, 0]) == np.arange(len(everything))
    # Summed by Python, where a hostile sum does not overflow.
    all_held_bytes = sum(everything[is_first, 1].tolist()) if is_whole else size_bytes
    return ChangedFiles(
        paths=gathered.paths,
        held_bytes=np.array(gathered.held, np.int64),
        all_held_bytes=all_held_bytes,
        starts=np.where(owners == np.arange(len(owners)), starts[:, 0], -1),
        start_lengths=starts[:, 1],
        modified=np.array(gathered.modified, np.float64),
        stretch_places=stretches[:, 0],
        stretch_lengths=stretches[:, 1],
        stretch_files=stretches[:, 2],
        stretch_offsets=stretches[:, 3],
        unreadable=gathered.unreadable,
        is_whole=is_whole,
        unchanged=gathered.unchanged,
    )


def _first_names(starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each file the first one that begins at the same place: hard links and shared copies count once."""
    _, first, same = np.unique(starts, return_index=True, return_inverse=True)
    return np.where(starts < 0, np.arange(len(starts)), first[same])


def _on_disk(file: File, file_system: FileSystem) -> Iterator[tuple[int, int, int]]:
    """Place on the disk, length and offset in the file of each stretch of its content."""
    for extent in file.extents:
        # What an extent holds behind the end of its file is nobody's content.
        length = min(extent.length, file.size_bytes - extent.offset)
        is_possible = 0 <= extent.offset < FARTHEST_BYTES and 0 <= extent.at <= file_system.device.size_bytes - length
        if length <= 0 or not is_possible:
            continue
        offset = extent.offset
        try:
            stretches = file_system.device.on_disk(extent.at, length)
        except OutOfRange:  # the verification of the file system has said so already
            continue
        for at, taken in stretches:
            yield at, taken, offset
            offset += taken
