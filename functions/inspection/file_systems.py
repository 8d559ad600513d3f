"""The port: what every file system reader answers, so that checks on files know nothing of formats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from functions.inspection.devices import Device
from functions.inspection.findings import Findings


class Damaged(Exception):
    """A structure cannot be followed any further; the reader has put into the findings what it saw."""


class NotReadable(Exception):
    """The content is there and cannot be read by us: compressed, encrypted, or of a kind we do not know."""


@dataclass(frozen=True, slots=True)
class Extent:
    """A stretch of a file that is stored: where in the file, where on the file system's device, how long, in bytes.

    Holes, and extents that are reserved and not written, are left out: they read as zeros.
    """

    offset: int
    at: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A regular file that a walk over the directories reaches.

    `path` begins with "/"; bytes of a name that are no UTF-8 appear as surrogate escapes. `id` is the inode or record
    number. `inline` holds the content of a file that is stored inside its own metadata. `why_not` says why the
    content cannot be read by us, and is empty when it can.
    """

    path: str
    id: int
    size_bytes: int
    modified_at: datetime | None
    extents: tuple[Extent, ...] = ()
    inline: bytes | None = None
    why_not: str = ""


class FileSystem(Protocol):
    """One file system on one device, opened. Opening reads the superblock and replays the journal in memory."""

    kind: str
    device: Device
    findings: Findings
    needs_replay: bool

    def verify(self) -> None:
        """Every checksum and structure was checked once, and the findings say what is wrong.

        Never raises for what a disk may hold: damage ends in the findings. Errors: BudgetSpent.
        """
        ...

    def files(self) -> Iterator[File]:
        """Every regular file, by a walk from the root that follows no loop; damaged directories are left out.

        Errors: BudgetSpent.
        """
        ...

    def find(self, path: str) -> File | None:
        """The regular file at an absolute path, or None. No symbolic link is followed.

        Errors: BudgetSpent; Damaged when a directory on the way cannot be read.
        """
        ...

    def read(self, file: File, offset: int = 0, length: int | None = None) -> bytes:
        """The bytes of a file as a mount after recovery would show them; short at its end.

        Errors: NotReadable; Damaged; BudgetSpent.
        """
        ...
