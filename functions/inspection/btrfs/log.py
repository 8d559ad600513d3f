"""The btrfs log tree: what was synced after the last commit, laid over a subvolume as recovery would do it."""

from __future__ import annotations

import bisect
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from functions.inspection.btrfs.format import (
    DIR_INDEX,
    EXTENT_DATA,
    INLINE,
    INODE_EXTREF,
    INODE_ITEM,
    INODE_REF,
    LOG_INDEX,
    Entry,
    FileExtent,
    Inode,
    Key,
    Pointer,
    entries,
    references,
)

_MOST_ITEMS = 500_000


class TooLong(Exception):
    """The log holds more than is kept in memory; no sound log is that long."""


@dataclass(slots=True)
class Log:
    """What the log of one subvolume says. `covered` are the stretches of indexes for which it lists a directory."""

    root: Pointer
    inodes: dict[int, Inode] = field(default_factory=dict[int, Inode])
    extents: dict[int, list[FileExtent]] = field(default_factory=dict[int, list[FileExtent]])
    names: dict[int, dict[int, Entry]] = field(default_factory=dict[int, dict[int, Entry]])
    """By directory and index."""
    links: dict[tuple[int, int], set[bytes]] = field(default_factory=dict[tuple[int, int], set[bytes]])
    """All names of an inode in a directory, by (inode, directory)."""
    linked: dict[int, dict[bytes, tuple[int, int]]] = field(default_factory=dict[int, dict[bytes, tuple[int, int]]])
    """(inode, index) by directory and name."""
    covered: dict[int, list[tuple[int, int]]] = field(default_factory=dict[int, list[tuple[int, int]]])
    _items: int = 0

    def take(self, key: Key, item: bytes) -> None:
        """One item of the log. Errors: ValueError for a broken one; TooLong."""
        self._items += 1
        if self._items > _MOST_ITEMS:
            raise TooLong
        kind = key[1]
        if kind == INODE_ITEM:
            self.inodes[key[0]] = Inode.parse(item)
        elif kind == EXTENT_DATA:
            self.extents.setdefault(key[0], []).append(FileExtent.parse(key[2], item))
        elif kind == DIR_INDEX:
            for entry in entries(item):
                self.names.setdefault(key[0], {})[key[2]] = entry
        elif kind in (INODE_REF, INODE_EXTREF):
            for parent, index, name in references(key, item):
                self.links.setdefault((key[0], parent), set()).add(name)
                self.linked.setdefault(parent, {})[name] = (key[0], index)
        elif kind == LOG_INDEX:
            if len(item) != 8:
                raise ValueError(f"a stretch of indexes in {len(item)} bytes")
            self.covered.setdefault(key[0], []).append((key[2], struct.unpack("<Q", item)[0]))

    def inode(self, number: int, committed: Inode | None) -> Inode | None:
        """The inode after recovery. A generation of 0 in the log says that only its existence was logged, so that
        the committed size stays."""
        logged = self.inodes.get(number)
        if logged is None or (logged.generation == 0 and committed is not None):
            return committed
        return logged

    def file_extents(self, number: int, committed: Sequence[FileExtent], sector_bytes: int) -> list[FileExtent]:
        """The extents after recovery: what was logged takes the place of what it covers."""
        logged = sorted(self.extents.get(number, ()), key=lambda extent: extent.offset)
        if not logged:
            return list(committed)
        taken = [(extent.offset, _whole_sectors(extent, sector_bytes)) for extent in logged]
        kept = [part for extent in committed for part in _outside(extent, taken)]
        return sorted([*kept, *logged], key=lambda extent: extent.offset)

    def directory(self, number: int, committed: dict[int, Entry], kinds: dict[int, int]) -> dict[int, Entry]:
        """The entries of a directory, by index, after recovery. `kinds` says which logged inodes there are."""
        covered = sorted(self.covered.get(number, ()))
        listed = self.names.get(number, {})
        linked = self.linked.get(number, {})
        after: dict[int, Entry] = {}
        for index, entry in committed.items():
            is_dropped = index not in listed and _is_covered(covered, index)
            names = self.links.get((entry.location[0], number)) if entry.location[1] == INODE_ITEM else None
            is_renamed = names is not None and entry.name not in names
            is_replaced = entry.name in linked and linked[entry.name][0] != entry.location[0]
            if not (is_dropped or is_renamed or is_replaced):
                after[index] = entry
        present = {entry.name for entry in after.values()}
        for name, (inode, index) in linked.items():
            if name not in present and inode in kinds and inode != number:
                after[index] = Entry((inode, INODE_ITEM, 0), kinds[inode], name)
                present.add(name)
        return after | {
            index: entry for index, entry in listed.items() if entry.name not in present and entry.location[0] in kinds
        }


def _whole_sectors(extent: FileExtent, sector_bytes: int) -> int:
    """Where the stretch ends that an extent takes: inline content stands for whole sectors."""
    return -(-extent.end // sector_bytes) * sector_bytes if extent.kind == INLINE else extent.end


def _is_covered(covered: Sequence[tuple[int, int]], index: int) -> bool:
    at = bisect.bisect_right(covered, (index, 2**64)) - 1
    return at >= 0 and index <= covered[at][1]


def _outside(extent: FileExtent, taken: Sequence[tuple[int, int]]) -> list[FileExtent]:
    """What of an extent lies in none of the stretches, which are sorted."""
    parts: list[FileExtent] = []
    start = extent.offset
    first = max(0, bisect.bisect_right(taken, (start, 0)) - 1)
    for taken_start, taken_end in taken[first:]:
        if taken_start >= extent.end:
            break
        if taken_end <= start:
            continue
        if taken_start > start:
            parts.append(extent.part(start, taken_start))
        start = max(start, taken_end)
    if start < extent.end:
        parts.append(extent.part(start, extent.end))
    return parts
