"""Whether the inodes, names and file extents of one btrfs subvolume agree with each other."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from functions.inspection.btrfs.chunks import ChunkMap, Unmapped
from functions.inspection.btrfs.format import (
    COMPRESSIONS,
    DATA,
    DIR_INDEX,
    DIR_ITEM,
    EXTENT_DATA,
    FIRST_FREE_ID,
    INODE_EXTREF,
    INODE_ITEM,
    INODE_REF,
    LAST_FREE_ID,
    ROOT_ITEM,
    FileExtent,
    Inode,
    Key,
    Node,
    entries,
    name_hash,
    references,
)
from functions.inspection.findings import Findings

_MOST_SUBVOLUME_ENTRIES = 100_000

SubvolumeEntry = tuple[int, int, bytes, int]
"""(directory, index, name, number of the subvolume)"""


@dataclass(frozen=True, slots=True)
class Told:
    """What a stretch of a subvolume tells of names, in sums that are zero over the whole of a sound one.

    Each fact is told twice: an entry by name and by index, a name by the directory and by the inode, a number of
    links by the inode and by its entries. What is told is hashed and added, what is told again is subtracted. Sums of
    64-bit hashes let nothing through by chance, need no memory, and serve every snapshot that shares the stretch.
    """

    by_name: int = 0
    by_inode: int = 0
    links: int = 0

    def __add__(self, other: Told) -> Told:
        mask = 2**64 - 1
        return Told(
            (self.by_name + other.by_name) & mask,
            (self.by_inode + other.by_inode) & mask,
            (self.links + other.links) & mask,
        )


def is_forbidden(name: bytes) -> bool:
    """Whether no mount could ever show such a name."""
    return name in (b"", b".", b"..") or b"/" in name or b"\0" in name or len(name) > 255


class DataExtents:
    """The data extents that files point to, as two arrays: logical addresses and lengths in bytes."""

    def __init__(self) -> None:
        self.starts = array("Q")
        self.lengths = array("Q")

    def add(self, start: int, length: int) -> None:
        """One more."""
        self.starts.append(start)
        self.lengths.append(length)


class NameCheck:
    """Takes the leaves of all subvolumes, each once and in any order."""

    def __init__(self, findings: Findings, chunks: ChunkMap, sector_bytes: int) -> None:
        self._findings = findings
        self._chunks = chunks
        self._sector_bytes = sector_bytes
        self._tree = self._by_name = self._by_inode = self._links = 0
        self.extents = DataExtents()
        self.subvolume_entries: set[SubvolumeEntry] = set()
        self.all_entries_kept = True

    def take(self, tree: int, leaf: Node) -> Told:
        """One leaf of this subvolume: its items are judged, and what it tells is returned."""
        self._tree = tree
        self._by_name = self._by_inode = self._links = 0
        before: tuple[int, int] = (-1, 0)
        for position, key in enumerate(leaf.keys):
            kind = key[1]
            try:
                if kind == EXTENT_DATA:
                    before = self._extent(key, leaf.item(position), before)
                elif kind in (DIR_ITEM, DIR_INDEX):
                    self._entries(key, leaf.item(position))
                elif kind in (INODE_REF, INODE_EXTREF):
                    self._references(key, leaf.item(position))
                elif kind == INODE_ITEM:
                    self._inode(key, leaf.item(position))
            except ValueError as wrong:
                self._damage("item", f"item {key}: {wrong}")
        return Told() + Told(self._by_name, self._by_inode, self._links)

    def conclude(self, tree: int, told: Told) -> None:
        """Contradictions within all that a subvolume tells are in the findings."""
        self._tree = tree
        if told.by_name:
            self._damage("index", "entries by name and entries by index differ")
        if told.by_inode:
            self._damage("reference", "entries of directories and references of inodes differ")
        if told.links:
            self._damage("links", "numbers of links or kinds of inodes differ from the entries")

    def _damage(self, fault: str, detail: str) -> None:
        self._findings.damage(f"btrfs.directory.{fault}", f"subvolume {self._tree}: {detail}")

    def _inode(self, key: Key, item: bytes) -> None:
        inode = Inode.parse(item)
        if not FIRST_FREE_ID < key[0] <= LAST_FREE_ID:
            return  # the root directory has a link and no entry; caches of old kernels have no name
        if not inode.entry_kind:
            raise ValueError(f"mode {inode.mode:#o}")
        self._links += hash((key[0], inode.entry_kind)) * inode.links

    def _entries(self, key: Key, item: bytes) -> None:
        for entry in entries(item):
            if is_forbidden(entry.name):
                raise ValueError(f"the name {entry.name!r}")
            told = hash((key[0], entry.location, entry.kind, entry.name))
            if key[1] == DIR_ITEM:
                if key[2] != name_hash(entry.name):
                    raise ValueError(f"the name {entry.name!r} is not of this hash")
                self._by_name += told
                continue
            self._by_name -= told
            if entry.location[1] == ROOT_ITEM:
                self._subvolume(key, entry.location[0], entry.name)
            else:
                self._by_inode += hash((key[0], key[2], entry.name, entry.location[0]))
                self._links -= hash((entry.location[0], entry.kind))

    def _subvolume(self, key: Key, subvolume: int, name: bytes) -> None:
        if len(self.subvolume_entries) < _MOST_SUBVOLUME_ENTRIES:
            self.subvolume_entries.add((key[0], key[2], name, subvolume))
        else:
            self.all_entries_kept = False

    def _references(self, key: Key, item: bytes) -> None:
        for parent, index, name in references(key, item):
            if parent != key[0]:  # only a root directory refers to itself
                self._by_inode -= hash((parent, index, name, key[0]))

    def _extent(self, key: Key, item: bytes, before: tuple[int, int]) -> tuple[int, int]:
        extent = FileExtent.parse(key[2], item)
        if extent.compression not in COMPRESSIONS:
            raise ValueError(f"compression {extent.compression}")
        if before[0] == key[0] and before[1] > extent.offset:
            raise ValueError("it overlaps the extent before it")
        if extent.disk:
            self._place(extent)
            self.extents.add(extent.disk, extent.disk_length)
        return key[0], extent.end

    def _place(self, extent: FileExtent) -> None:
        if extent.disk % self._sector_bytes or extent.disk_length % self._sector_bytes or not extent.disk_length:
            raise ValueError(f"{extent.disk_length:,} bytes at {extent.disk:,} are no whole sectors")
        try:
            chunk = self._chunks.chunk(extent.disk)
        except Unmapped as nowhere:
            raise ValueError(str(nowhere)) from None
        if not chunk.kind & DATA or extent.disk + extent.disk_length > chunk.end:
            raise ValueError(f"{extent.disk_length:,} bytes at {extent.disk:,} are not inside of a chunk for data")
