"""The count of who is there and who is named: inodes against directory entries, over the whole file system at once."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from functions.inspection.xfs.directories import Entry
from functions.inspection.xfs.inodes import DIRECTORY, Inode
from functions.inspection.xfs.metadata import Metadata

_NO_INODE = 0xFFFF_FFFF
# The type of file in an entry, by the type in the mode of its inode.
_KIND_IN_ENTRY = {8: 1, 4: 2, 2: 3, 6: 4, 1: 5, 12: 6, 10: 7}
_MOST_ENTRIES = 50_000_000

Numbers = NDArray[np.uint64]


class TooManyEntries(Exception):
    """More names than memory should hold; whether each leads somewhere stays unknown."""


class Census:
    """Gathers every inode and every name in compact rows, and compares them when all are there.

    `is_whole` is False when something could not be read: what is missing may then be what a name leads to.
    """

    def __init__(self, metadata: Metadata, unlinked: dict[tuple[int, int], int]) -> None:
        self._metadata = metadata
        self._superblock = metadata.superblock
        self._chains = unlinked
        self._inodes, self._links, self._kinds = array("Q"), array("I"), bytearray()
        self._next_unlinked: dict[int, int] = {}
        self._parents, self._children, self._claimed_kinds = array("Q"), array("Q"), bytearray()
        self._directories, self._parents_above = array("Q"), array("Q")
        self.is_whole = True

    def add_inode(self, inode: Inode) -> None:
        """An inode that is in use."""
        self._inodes.append(inode.number)
        self._links.append(inode.links)
        self._kinds.append(inode.kind)
        if inode.links == 0:
            self._next_unlinked[inode.number] = inode.next_unlinked

    def add_entries(self, directory: int, entries: Iterable[Entry]) -> None:
        """What a directory holds. Errors: TooManyEntries."""
        for number, name, kind in entries:
            if name == b"..":
                self._directories.append(directory)
                self._parents_above.append(number)
            elif name == b".":
                if number != directory:
                    self._damage("directory.self", f"directory {directory} calls {number} itself", directory)
            else:
                self._parents.append(directory)
                self._children.append(number)
                self._claimed_kinds.append(kind)
        if len(self._children) > _MOST_ENTRIES:
            raise TooManyEntries(f"there are more than {_MOST_ENTRIES:,} names")

    def compare(self) -> None:
        """Every name leads to an inode of its type, every inode has as many names as it says. Errors: TooMuchDamage."""
        inodes = _numbers(self._inodes)
        order = np.argsort(inodes, kind="stable")
        inodes = inodes[order]
        kinds = np.frombuffer(bytes(self._kinds), np.uint8)[order]
        links = np.frombuffer(self._links, np.uint32)[order] if self._links else np.empty(0, np.uint32)
        places = self._check_entries(inodes, kinds)
        names = np.bincount(places, minlength=len(inodes)) if places.size else np.zeros(len(inodes), np.int64)
        if self.is_whole:
            self._check_links(inodes, kinds, links, names)
            self._check_tree(inodes, kinds)
            self._check_unlinked(inodes[links == 0])

    def _check_entries(self, inodes: Numbers, kinds: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The place of each name's inode among the inodes; names that lead nowhere are reported and left out."""
        children, parents = _numbers(self._children), _numbers(self._parents)
        places = np.searchsorted(inodes, children)
        leads = np.zeros(len(children), bool)
        if inodes.size:
            leads = inodes[np.minimum(places, len(inodes) - 1)] == children
        for entry in np.flatnonzero(~leads) if self.is_whole else ():
            detail = f"directory {parents[entry]} names inode {children[entry]}, which is not in use"
            self._damage("directory.dangling", detail, int(parents[entry]))
        claimed = np.frombuffer(bytes(self._claimed_kinds), np.uint8)
        expected = np.zeros(256, np.uint8)
        for kind, in_entry in _KIND_IN_ENTRY.items():
            expected[kind] = in_entry
        if self._superblock.names_carry_types:
            differs = (expected[kinds[places[leads]]] != claimed[leads]) & (claimed[leads] != 0)
            for entry in np.flatnonzero(leads)[differs]:
                detail = f"directory {parents[entry]} names inode {children[entry]} as another type of file"
                self._damage("directory.type", detail, int(parents[entry]))
        return places[leads].astype(np.int64)

    def _check_links(
        self, inodes: Numbers, kinds: NDArray[np.uint8], links: NDArray[np.uint32], names: NDArray[np.int64]
    ) -> None:
        expected = names.copy()
        directories = kinds == DIRECTORY
        # A directory has two links of its own, and one from each directory in it that was not removed while in use.
        below = _numbers(self._directories)
        lives = (links[np.searchsorted(inodes, below)] > 0) & (_numbers(self._parents_above) != below)
        above = _numbers(self._parents_above)[lives]
        places = np.searchsorted(inodes, above)
        known = places < len(inodes)
        inner = np.bincount(places[known], minlength=len(inodes)) if known.any() else np.zeros(len(inodes), np.int64)
        expected[directories] = 2 + inner[directories]
        expected[directories & (links == 0)] = 0
        special = np.isin(inodes, np.array(self._specials(), np.uint64))
        for place in np.flatnonzero((expected != links) & ~special):
            detail = f"inode {inodes[place]} counts {links[place]} links and has {expected[place]}"
            self._damage("inode.links", detail, int(inodes[place]))
        roots = np.isin(inodes, np.array(self._roots(), np.uint64))
        for place in np.flatnonzero(directories & (names != 1) & (links > 0) & ~roots & ~special):
            detail = f"directory {inodes[place]} is named {names[place]} times"
            self._damage("directory.names", detail, int(inodes[place]))

    def _check_tree(self, inodes: Numbers, kinds: NDArray[np.uint8]) -> None:
        """Each directory's ".." is the directory that names it, and the way up ends at the root."""
        named = dict[int, int]()
        directories = set(inodes[kinds == DIRECTORY].tolist())
        for parent, child in zip(self._parents, self._children, strict=True):
            if child in directories:
                named[child] = parent
        roots = self._roots()
        for directory, above in zip(self._directories, self._parents_above, strict=True):
            if directory in named and named[directory] != above:
                detail = f"directory {directory} lies in {named[directory]} and says that it lies in {above}"
                self._damage("directory.parent", detail, directory)
        reaches = set(roots)
        for start in named:
            way: list[int] = []
            on_way: set[int] = set()
            place = start
            while place in named and place not in reaches and place not in on_way:
                way.append(place)
                on_way.add(place)
                place = named[place]
            if place in on_way:
                self._damage("directory.loop", f"directory {place} lies inside of itself", place)
            reaches.update(way)

    def _check_unlinked(self, unlinked: Numbers) -> None:
        """Every inode without a name hangs in one of the chains that recovery would follow to remove it."""
        waiting = set(unlinked.tolist())
        for (group, chain), head in self._chains.items():
            inside = head
            while inside != _NO_INODE:
                number = self._superblock.inode_number(group, inside)
                if number not in waiting or inside % 64 != chain:
                    self._damage("unlinked.chain", f"inode {number} cannot be in the chain {chain} of group {group}")
                    break
                waiting.discard(number)
                inside = self._next_unlinked[number]
        for number in sorted(waiting):
            self._damage("unlinked.lost", f"inode {number} has no name and hangs in no chain", number)

    def _specials(self) -> tuple[int, ...]:
        return (*self._superblock.special_inodes, *self._roots()[1:])

    def _roots(self) -> tuple[int, ...]:
        above = self._superblock.metadata_directory
        return (self._superblock.root_inode, above) if above else (self._superblock.root_inode,)

    def _damage(self, fault: str, detail: str, inode: int | None = None) -> None:
        known = inode is not None and self._superblock.has_inode(inode)
        self._metadata.damage(fault, detail, self._superblock.offset_of_inode(inode) if known and inode else None)


def _numbers(row: array[int]) -> Numbers:
    return np.frombuffer(row, np.uint64) if row else np.empty(0, np.uint64)
