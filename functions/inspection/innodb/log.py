"""InnoDB's redo log: where recovery begins, where the log ends, and which pages recovery makes anew.

The log of MariaDB 10.8 and later is followed record by record. Of the block formats (MySQL, MariaDB 10.5 to 10.7) the
header and the checkpoints are judged. Places in the log (LSN) are bytes written since the server was set up.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from functions.inspection.checksums import crc32c

MARIADB_10_8 = 0x50687973
MARIADB_10_5 = 0x50485953
_ENCRYPTED = 0x80000000
_BLOCK_FORMATS_OF_MYSQL = range(1, 16)
_HEADER_BYTES = 512
_FIRST_RECORD_AT = 12288
_LONGEST_GROUP = 1 << 20
"""MTR_SIZE_MAX: the changes that are made together are never longer."""
_WINDOW_BYTES = 4 << 20
_SMALLEST_LOG = 4 << 20
"""The least innodb_log_file_size that a server takes."""

ReadLog = Callable[[int, int], bytes]
"""(offset, length) -> what of this stretch the log file has."""


class LogBroken(Exception):
    """The server would refuse this log."""


class LogUnknown(Exception):
    """A log of a format that is not known here."""


@dataclass(slots=True)
class Redo:
    """What a redo log says."""

    checkpoint: int
    """Every change before this place is in the tablespaces."""
    end: int | None = None
    """Where the last group of changes ends; None when the log was not followed."""
    group_count: int = 0
    made_anew: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    """(tablespace, page) that recovery writes, or gives up, without reading it first."""
    named: dict[int, set[str]] = field(default_factory=dict[int, set[str]])
    """Tablespaces with changes behind the checkpoint, and the paths of their files."""
    removed: set[int] = field(default_factory=set[int])
    created: set[int] = field(default_factory=set[int])

    @property
    def is_mariadb(self) -> bool:
        """Whether the log was followed, which is done for MariaDB only."""
        return self.end is not None


def read_log(read: ReadLog, size_bytes: int, *, most_bytes: int) -> Redo:
    """What the log in ib_logfile0 says, from its newest checkpoint on.

    Errors: LogBroken; LogUnknown, also when the log is longer than `most_bytes`.
    """
    header = read(0, _HEADER_BYTES)
    if len(header) < _HEADER_BYTES:
        raise LogBroken(f"the log has {size_bytes:,} bytes")
    kind = struct.unpack_from(">I", header)[0]
    if crc32c(header[:508]) != struct.unpack_from(">I", header, 508)[0]:
        raise LogBroken("its header is not what its checksum says")
    if kind & ~_ENCRYPTED == MARIADB_10_8:
        return _Following(read, header, size_bytes, is_encrypted=bool(kind & _ENCRYPTED)).run(most_bytes)
    if kind & ~_ENCRYPTED == MARIADB_10_5 or kind & ~_ENCRYPTED in _BLOCK_FORMATS_OF_MYSQL:
        return Redo(max(_checkpoints_in_blocks(read), default=0) or _no_checkpoint())
    raise LogUnknown(f"a log of format {kind:#x}")


def _no_checkpoint() -> int:
    raise LogBroken("none of its checkpoints is what its checksum says")


def _checkpoints_in_blocks(read: ReadLog) -> list[int]:
    found: list[int] = []
    for at in (512, 1536):
        block = read(at, 512)
        if len(block) == 512 and crc32c(block[:508]) == struct.unpack_from(">I", block, 508)[0]:
            found.append(struct.unpack_from(">Q", block, 8)[0])
    return found


class _Following:
    """The groups of changes in a log of MariaDB 10.8 or later. The file is a ring behind its first 12 KiB.

    Source: recv_sys_t::parse in log0recv.cc and log_t in log0log.h of MariaDB 10.11.
    """

    def __init__(self, read: ReadLog, header: bytes, size_bytes: int, *, is_encrypted: bool) -> None:
        self._read = read
        self._first = struct.unpack_from(">Q", header, 8)[0]
        self._capacity = size_bytes - _FIRST_RECORD_AT
        self._tail_bytes = 13 if is_encrypted else 5
        if size_bytes < _SMALLEST_LOG:
            raise LogBroken(f"the log has {size_bytes:,} bytes")

    def run(self, most_bytes: int) -> Redo:
        checkpoint, own_record = self._newest_checkpoint()
        redo = Redo(checkpoint, end=checkpoint)
        most = min(self._capacity, most_bytes)
        window, begins, at = self._stretch(checkpoint, _WINDOW_BYTES), checkpoint, 0
        while True:
            if len(window) - at < _LONGEST_GROUP + 64:
                begins, at = begins + at, 0
                window = self._stretch(begins, _WINDOW_BYTES)
            taken = self._take_group(window, at, begins, redo)
            if not taken:
                break
            at += taken
            redo.group_count += 1
            redo.end = begins + at
            if redo.end - checkpoint > most:
                if most == self._capacity:
                    raise LogBroken("its records go round in a ring")
                raise LogUnknown(f"more than {most_bytes:,} bytes were written since the checkpoint")
        if redo.end is not None and redo.end <= own_record:
            raise LogBroken(f"it ends at {redo.end:,}, before the record of its checkpoint at {own_record:,}")
        return redo

    def _newest_checkpoint(self) -> tuple[int, int]:
        found: list[tuple[int, int]] = []
        for at in (4096, 8192):
            block = self._read(at, 64)
            if len(block) == 64 and crc32c(block[:60]) == struct.unpack_from(">I", block, 60)[0]:
                checkpoint, own_record = struct.unpack_from(">QQ", block)
                if self._first <= checkpoint <= own_record < checkpoint + self._capacity:
                    found.append((checkpoint, own_record))
        if not found:
            _no_checkpoint()
        return max(found)

    def _stretch(self, place: int, length: int) -> bytes:
        """The bytes of the ring from a place on; never more than once around."""
        length = min(length, self._capacity)
        offset = (place - self._first) % self._capacity
        first = self._read(_FIRST_RECORD_AT + offset, min(length, self._capacity - offset))
        return first + self._read(_FIRST_RECORD_AT, length - len(first)) if len(first) < length else first

    def _take_group(self, window: bytes, at: int, begins: int, redo: Redo) -> int:
        """How long the group of changes at a place is, once it was noted; 0 when there is none: the log ends."""
        records: list[int] = []
        p, most = at, min(len(window) - 16, at + _LONGEST_GROUP)
        while p < most and window[p] > 1:
            records.append(p)
            rest = window[p] & 0xF
            p += 1 + (rest or _number(window, p + 1)[0] + 15)
        if p >= most or p == at:
            return 0
        # Each time around the ring the mark behind a group is the other one, so that an old group is told from a new.
        if window[p] != 1 - ((begins + p - self._first) // self._capacity & 1):
            return 0
        stored = struct.unpack_from(">I", window, p + self._tail_bytes - 4)[0]
        summed = window[at:p] + window[p + 1 : p + self._tail_bytes - 4]
        if crc32c(summed) != stored:
            return 0
        self._note(window, records, redo)
        return p + self._tail_bytes - at

    def _note(self, window: bytes, records: list[int], redo: Redo) -> None:
        of_pages = False
        for p in records:
            kind = window[p]
            if kind & 0x80 and of_pages:
                continue
            of_pages = not kind & 0x80
            if of_pages and kind & 0x70 > 0x10:
                continue
            end = p + 1 + (kind & 0xF or _number(window, p + 1)[0] + 15)
            p += 1 if kind & 0xF else 1 + _number(window, p + 1)[1]
            space, taken = _number(window, p)
            page, taken_by_page = _number(window, p + taken)
            if of_pages:
                redo.made_anew.add((space, page))
            else:
                self._note_file(kind & 0xF0, space, window[p + taken + taken_by_page : end], redo)

    def _note_file(self, kind: int, space: int, names: bytes, redo: Redo) -> None:
        if kind == 0x80:
            redo.created.add(space)
        elif kind == 0x90:
            redo.removed.add(space)
        if kind in (0x80, 0xA0, 0xB0):
            known = redo.named.setdefault(space, set())
            known.update(name.decode("utf-8", "surrogateescape") for name in names.split(b"\0"))


def _number(window: bytes, at: int) -> tuple[int, int]:
    """A number of variable length and how many bytes it takes: mlog_decode_varint in mtr0log.h."""
    first = window[at]
    if first < 0x80:
        return first, 1
    if first < 0xC0:
        return ((first & 0x3F) << 8 | window[at + 1]) + 0x80, 2
    if first < 0xE0:
        return ((first & 0x1F) << 16 | window[at + 1] << 8 | window[at + 2]) + 0x4080, 3
    if first < 0xF0:
        return ((first & 0x0F) << 24 | int.from_bytes(window[at + 1 : at + 4], "big")) + 0x204080, 4
    return int.from_bytes(window[at + 1 : at + 5], "big") + 0x10204080, 5
