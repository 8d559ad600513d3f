"""The files of btrfs: subvolumes, directories and inodes, as a mount after recovery would show them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from functions.inspection.btrfs.content import Content
from functions.inspection.btrfs.format import (
    DIR_INDEX,
    DIR_ITEM,
    ENTRY_DIRECTORY,
    ENTRY_FILE,
    EXTENT_DATA,
    FIRST_FREE_ID,
    INLINE,
    INODE_ITEM,
    MOST,
    ROOT_ITEM,
    TOP_SUBVOLUME,
    Entry,
    FileExtent,
    Inode,
    Pointer,
    entries,
    name_hash,
)
from functions.inspection.btrfs.log import Log
from functions.inspection.btrfs.names import is_forbidden
from functions.inspection.btrfs.trees import Elsewhere, Trees
from functions.inspection.file_systems import Damaged, File
from functions.inspection.findings import Findings

_DEEPEST = 2_000
_LONGEST_PATH = 16 * 1024
"""Directories below this depth or behind longer paths are left out and reported: paths alone would fill memory."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_SECONDS = 2**34


@dataclass(slots=True)
class Subvolume:
    """One tree of files, and what the log says of it."""

    root: Pointer
    log: Log | None


@dataclass(frozen=True, slots=True)
class _Directory:
    path: str
    tree: int
    inode: int
    depth: int


class Files:
    """Walks and looks up. `parents` is (tree, directory) of each subvolume, as the root tree says it."""

    def __init__(
        self,
        trees: Trees,
        content: Content,
        findings: Findings,
        subvolumes: Mapping[int, Subvolume],
        parents: Mapping[int, tuple[int, int]],
        sector_bytes: int,
    ) -> None:
        self._trees = trees
        self._content = content
        self._findings = findings
        self._subvolumes = subvolumes
        self._parents = parents
        self._sector_bytes = sector_bytes
        self._tree_of_path: dict[str, int] = {"": TOP_SUBVOLUME}
        self._last_extents: tuple[tuple[int, int], list[FileExtent]] | None = None

    def walk(self) -> Iterator[File]:
        """Every regular file, from the top-level subvolume on, subvolumes under their paths. Errors: BudgetSpent."""
        waiting = [_Directory("", TOP_SUBVOLUME, FIRST_FREE_ID, 0)]
        visited: set[tuple[int, int]] = set()
        while waiting:
            directory = waiting.pop()
            place = (directory.tree, directory.inode)
            if place in visited:
                self._damage("loop", f"directory {place[1]} of subvolume {place[0]} is reached twice")
                continue
            visited.add(place)
            try:
                listed = self._entries(directory.tree, directory.inode)
            except (Damaged, Elsewhere):
                continue  # in the findings
            below: list[_Directory] = []
            for entry in listed.values():
                path = f"{directory.path}/{entry.name.decode('utf-8', 'surrogateescape')}"
                if is_forbidden(entry.name):
                    continue  # verify reports it
                if entry.kind == ENTRY_FILE and entry.location[1] == INODE_ITEM:
                    yield self._file(path, directory.tree, entry.location[0])
                elif entry.kind == ENTRY_DIRECTORY:
                    below += self._enter(directory, entry, path)
            waiting += reversed(below)

    def find(self, path: str) -> File | None:
        """The regular file at a path. Errors: Damaged; BudgetSpent."""
        names = [name for name in path.split("/") if name]
        directory = _Directory("", TOP_SUBVOLUME, FIRST_FREE_ID, 0)
        for position, name in enumerate(names):
            wanted = name.encode("utf-8", "surrogateescape")
            try:
                entry = self._entry(directory.tree, directory.inode, wanted)
            except Elsewhere:
                raise Damaged(f"{directory.path or '/'} lies on a device that is not here") from None
            if entry is None or is_forbidden(wanted):
                return None
            below = f"{directory.path}/{name}"
            if position + 1 == len(names):
                is_file = entry.kind == ENTRY_FILE and entry.location[1] == INODE_ITEM
                return self._file(below, directory.tree, entry.location[0]) if is_file else None
            entered = self._enter(directory, entry, below) if entry.kind == ENTRY_DIRECTORY else []
            if not entered:
                return None
            directory = entered[0]
        return None

    def extents(self, file: File) -> list[FileExtent]:
        """The extents of a file that this object handed out. Errors: Damaged; Elsewhere; BudgetSpent."""
        place = (self._tree(file.path), file.id)
        if self._last_extents is None or self._last_extents[0] != place:
            self._last_extents = (place, self._inode(*place)[1])
        return self._last_extents[1]

    def _tree(self, path: str) -> int:
        while path not in self._tree_of_path:
            path = path.rpartition("/")[0]
        return self._tree_of_path[path]

    def _enter(self, directory: _Directory, entry: Entry, path: str) -> list[_Directory]:
        """The directory behind an entry, as a list of one; empty for the stub that a snapshot keeps of a subvolume."""
        if directory.depth >= _DEEPEST or len(path) > _LONGEST_PATH:
            self._findings.unknown("btrfs.directory.depth", "directories that lie too deep were left out")
            return []
        number, kind, _ = entry.location
        if kind != ROOT_ITEM:
            return [_Directory(path, directory.tree, number, directory.depth + 1)]
        if self._parents.get(number) != (directory.tree, directory.inode) or number not in self._subvolumes:
            return []
        self._tree_of_path[path] = number
        return [_Directory(path, number, FIRST_FREE_ID, directory.depth + 1)]

    def _entry(self, tree: int, directory: int, name: bytes) -> Entry | None:
        """The entry of that name. Errors: Damaged; Elsewhere; BudgetSpent."""
        subvolume = self._subvolumes.get(tree)
        if subvolume is None or subvolume.log:
            return next((entry for entry in self._entries(tree, directory).values() if entry.name == name), None)
        place = (directory, DIR_ITEM, name_hash(name))
        for _, item in self._trees.items(subvolume.root, place, place):
            try:
                return next((entry for entry in entries(item) if entry.name == name), None)
            except ValueError as wrong:
                self._damage("item", f"directory {directory} of subvolume {tree}: {wrong}")
        return None

    def _entries(self, tree: int, directory: int) -> dict[int, Entry]:
        """The entries of a directory by index. Errors: Damaged; Elsewhere; BudgetSpent."""
        subvolume = self._subvolumes.get(tree)
        if subvolume is None:
            raise Damaged(f"subvolume {tree} does not exist")
        found: dict[int, Entry] = {}
        for (_, _, index), item in self._trees.items(
            subvolume.root, (directory, DIR_INDEX, 0), (directory, DIR_INDEX, MOST)
        ):
            try:
                found[index] = next(entries(item))
            except (ValueError, StopIteration) as wrong:
                self._damage("item", f"directory {directory} of subvolume {tree}: {wrong}")
        if subvolume.log is None:
            return found
        return subvolume.log.directory(directory, found, self._kinds(subvolume, directory))

    def _kinds(self, subvolume: Subvolume, directory: int) -> dict[int, int]:
        """The kind of every inode that the log names in a directory and that will exist after recovery."""
        log = subvolume.log
        if log is None:
            return {}
        named = {inode for inode, _ in log.linked.get(directory, {}).values()}
        named |= {entry.location[0] for entry in log.names.get(directory, {}).values()}
        kinds: dict[int, int] = {}
        for number in named:
            inode = log.inodes.get(number) or self._committed_inode(subvolume, number)
            if inode:
                kinds[number] = inode.entry_kind
        return kinds

    def _committed_inode(self, subvolume: Subvolume, number: int) -> Inode | None:
        for _, item in self._trees.items(subvolume.root, (number, INODE_ITEM, 0), (number, INODE_ITEM, 0)):
            try:
                return Inode.parse(item)
            except ValueError as wrong:
                raise self._broken(number, wrong) from None
        return None

    def _inode(self, tree: int, number: int) -> tuple[Inode, list[FileExtent]]:
        """An inode and its extents after recovery. Errors: Damaged; Elsewhere; BudgetSpent."""
        subvolume = self._subvolumes[tree]
        inode: Inode | None = None
        extents: list[FileExtent] = []
        low, high = (number, INODE_ITEM, 0), (number, EXTENT_DATA, MOST)
        for key, item in self._trees.items(subvolume.root, low, high):
            try:
                if key[1] == INODE_ITEM:
                    inode = Inode.parse(item)
                elif key[1] == EXTENT_DATA:
                    extents.append(FileExtent.parse(key[2], item))
            except ValueError as wrong:
                raise self._broken(number, wrong) from None
        if subvolume.log:
            inode = subvolume.log.inode(number, inode)
            extents = subvolume.log.file_extents(number, extents, self._sector_bytes)
        if inode is None:
            raise self._broken(number, ValueError("the inode does not exist"))
        return inode, extents

    def _broken(self, number: int, wrong: ValueError) -> Damaged:
        self._findings.damage("btrfs.inode.item", f"inode {number}: {wrong}")
        return Damaged(f"inode {number}: {wrong}")

    def _file(self, path: str, tree: int, number: int) -> File:
        try:
            inode, extents = self._inode(tree, number)
        except Damaged:
            return File(path=path, id=number, size_bytes=0, modified_at=None, why_not="its inode is damaged")
        except Elsewhere:
            why_not = "its inode lies on a device that is not here"
            return File(path=path, id=number, size_bytes=0, modified_at=None, why_not=why_not)
        self._last_extents = ((tree, number), extents)
        why_not = self._content.why_not(extents)
        return File(
            path=path,
            id=number,
            size_bytes=inode.size_bytes,
            modified_at=_modified_at(inode),
            extents=self._content.stored(extents),
            inline=None if why_not else self._inline(inode, extents),
            why_not=why_not,
        )

    def _inline(self, inode: Inode, extents: Sequence[FileExtent]) -> bytes | None:
        if len(extents) != 1 or extents[0].kind != INLINE or extents[0].offset:
            return None
        if inode.size_bytes > 2 * extents[0].length + self._sector_bytes:
            return None  # mostly a hole: reading it piece by piece is cheaper than holding it
        try:
            return self._content.inline(extents[0])[: inode.size_bytes].ljust(inode.size_bytes, b"\0")
        except Damaged:
            return None

    def _damage(self, fault: str, detail: str) -> None:
        self._findings.damage(f"btrfs.directory.{fault}", detail)


def _modified_at(inode: Inode) -> datetime | None:
    if not -(2**31) <= inode.modified_seconds <= _LATEST_SECONDS or inode.modified_nanoseconds >= 10**9:
        return None
    return _EPOCH + timedelta(seconds=inode.modified_seconds, microseconds=inode.modified_nanoseconds // 1000)
