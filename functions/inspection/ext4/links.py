"""The tree of directories as a whole: every name leads somewhere, every inode has its names, all hang on the root."""

from __future__ import annotations

from array import array
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from functions.inspection.ext4.inodes import DIRECTORY_ENTRY_KINDS, Inode, InodeFlag, Kind
from functions.inspection.ext4.superblock import ROOT_INODE, ReadOnlyCompatible, Superblock
from functions.inspection.findings import Findings

_MOST_NAMED = 100
_DOUBLINGS = 40
"""After so many steps, each twice as long as the one before, every chain of parents ended or goes in a circle."""


class Links:
    """Gathered inode by inode and name by name, in a few bytes for each, and judged at the end."""

    def __init__(self) -> None:
        self._numbers, self._kinds, self._links = array("I"), array("H"), array("H")
        self._exempt = array("B")
        self._parents, self._children, self._hints = array("I"), array("I"), array("B")
        self._dot_dot_of, self._dot_dot_to = array("I"), array("I")

    def add_inode(self, inode: Inode, *, is_exempt: bool) -> None:
        """An inode in use; they come in the order of their numbers. Nobody asks for the names of an exempt one."""
        self._numbers.append(inode.number)
        self._kinds.append(inode.kind)
        self._links.append(inode.links)
        self._exempt.append(is_exempt or bool(inode.flags & InodeFlag.EA_INODE))

    def add_name(self, parent: int, child: int, kind: int) -> None:
        """A directory names an inode; `kind` is what it says of it, 0 for nothing."""
        self._parents.append(parent)
        self._children.append(child)
        self._hints.append(kind)

    def add_dot_dot(self, directory: int, parent: int) -> None:
        """A directory says which one it is in."""
        self._dot_dot_of.append(directory)
        self._dot_dot_to.append(parent)

    def judge(self, superblock: Superblock, orphans: Collection[int], findings: Findings) -> None:
        """All that does not fit together is in the findings."""
        judge = _Judge(self, superblock, findings)
        if judge.names_lead_to_inodes():
            judge.kinds_agree()
            judge.links_agree()
            judge.all_are_attached(orphans)
            judge.parents_agree()

    def as_arrays(self) -> tuple[NDArray[np.int64], ...]:
        """Numbers, kinds, links and exemptions of inodes; parents, children and hints of names; both of ".."."""
        kept = (self._numbers, self._kinds, self._links, self._exempt, self._parents, self._children)
        return tuple(np.array(one, np.int64) for one in (*kept, self._hints, self._dot_dot_of, self._dot_dot_to))


class _Judge:
    """The gathered links as arrays, compared with each other. Places are indexes into the inodes in use."""

    def __init__(self, links: Links, superblock: Superblock, findings: Findings) -> None:
        self._superblock = superblock
        self._findings = findings
        self._numbers, self._kinds, self._links, exempt, parents, children, hints, dots, dots_to = links.as_arrays()
        self._exempt = exempt.astype(np.bool_)
        self._parents, self._hints = parents, hints
        self._children = children
        self._child_places = self._places(children)
        self._dot_places, self._dot_to_places = self._places(dots), self._places(dots_to)
        self._dots_to = dots_to
        self._named = np.zeros(len(self._numbers), np.int64)

    def _places(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where each inode stands among those in use; -1 when it is not."""
        if not len(self._numbers):
            return np.full(len(numbers), -1, np.int64)
        places = np.minimum(np.searchsorted(self._numbers, numbers), len(self._numbers) - 1)
        return np.where(self._numbers[places] == numbers, places, -1)

    def names_lead_to_inodes(self) -> bool:
        """Whether the rest can be judged."""
        lost = self._child_places < 0
        for place in np.flatnonzero(lost)[:_MOST_NAMED].tolist():
            parent, child = int(self._parents[place]), int(self._children[place])
            self._findings.damage("ext4.directory.dangling", f"directory {parent} names inode {child}, not in use")
        for place in np.flatnonzero(self._dot_to_places < 0)[:_MOST_NAMED].tolist():
            parent = int(self._dots_to[place])
            self._findings.damage("ext4.directory.dangling", f"a directory lies in {parent}, which is not in use")
        if lost.any() or (self._dot_to_places < 0).any():
            return False
        self._named = np.bincount(self._child_places, minlength=len(self._numbers))
        return True

    def kinds_agree(self) -> None:
        expected = np.zeros(1 << 16, np.int64)
        for kind, hint in DIRECTORY_ENTRY_KINDS.items():
            expected[int(kind)] = hint
        wrong = (self._hints != 0) & (self._hints != expected[self._kinds[self._child_places]])
        for place in np.flatnonzero(wrong)[:_MOST_NAMED].tolist():
            detail = f"inode {int(self._children[place])} is not of the kind that directory {self._parents[place]} says"
            self._findings.damage("ext4.directory.kind", detail)

    def links_agree(self) -> None:
        size = len(self._numbers)
        counted = self._named + np.bincount(self._dot_places[self._dot_places >= 0], minlength=size)
        counted += np.bincount(self._dot_to_places, minlength=size)
        is_directory = self._kinds == Kind.DIRECTORY
        wrong = (counted != self._links) & ~self._exempt & (self._named > 0)
        if self._superblock.read_only_compatible & ReadOnlyCompatible.DIR_NLINK:
            wrong &= ~(is_directory & (self._links == 1))
        for place in np.flatnonzero(wrong)[:_MOST_NAMED].tolist():
            detail = f"inode {self._numbers[place]} has {self._links[place]} links and {counted[place]} names"
            self._findings.damage("ext4.inode.links", detail)

    def all_are_attached(self, orphans: Collection[int]) -> None:
        alone = (self._named == 0) & ~self._exempt & (self._numbers != ROOT_INODE)
        for place in np.flatnonzero(alone & (self._links > 0))[:_MOST_NAMED].tolist():
            number = int(self._numbers[place])
            self._findings.damage("ext4.inode.unattached", f"no directory names inode {number}")
        forgotten = [n for n in self._numbers[alone & (self._links == 0)].tolist() if n not in orphans]
        if forgotten:
            self._findings.note("ext4.inode.forgotten", f"{len(forgotten):,} inodes are in use, deleted and in no list")

    def parents_agree(self) -> None:
        """Each directory has one name, is in the one that names it, and the chain of parents leads to the root."""
        of_directories = self._kinds[self._child_places] == Kind.DIRECTORY
        named_by = np.full(len(self._numbers), -1, np.int64)
        named_by[self._child_places[of_directories]] = self._places(self._parents)[of_directories]
        says = np.full(len(self._numbers), -1, np.int64)
        says[self._dot_places[self._dot_places >= 0]] = self._dot_to_places[self._dot_places >= 0]
        root = int(self._places(np.array([ROOT_INODE]))[0])
        if root < 0:
            return
        named_by[root] = root
        is_directory = (self._kinds == Kind.DIRECTORY) & (named_by >= 0) & (self._links > 0)
        self._report(is_directory & (says >= 0) & (says != named_by), "ext4.directory.parent", "says another parent")
        many = is_directory & (self._named > 1)
        many[root] = self._named[root] > 0
        self._report(many, "ext4.directory.names", "has more than one name")
        self._report(is_directory & ~self._reaches(named_by, root), "ext4.directory.loop", "does not hang on the root")

    def _reaches(self, named_by: NDArray[np.int64], root: int) -> NDArray[np.bool_]:
        above = np.where(named_by < 0, np.arange(len(named_by)), named_by)
        for _ in range(_DOUBLINGS):
            above = above[above]
        return above == root

    def _report(self, wrong: NDArray[np.bool_], code: str, what: str) -> None:
        for place in np.flatnonzero(wrong)[:_MOST_NAMED].tolist():
            self._findings.damage(code, f"directory {int(self._numbers[place])} {what}")
