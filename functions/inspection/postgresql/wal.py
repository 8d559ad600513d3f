"""PostgreSQL's write-ahead log: the records from the redo location to the end, as recovery would follow them.

Places in the WAL are the bytes written since the cluster was made (LSN). Formats: PostgreSQL 12 to 18, little-endian;
src/include/access/xlog_internal.h and xlogrecord.h.
"""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from functions.inspection.checksums import crc32c
from functions.inspection.checksums import crc32c_of_kernel as _crc32c_of_kernel

_SHORT_HEADER_BYTES = 24
_LONG_HEADER_BYTES = 40
_RECORD_HEADER_BYTES = 24
_CONTINUES_RECORD = 1
_OVERWRITES_BROKEN_RECORD = 8
_ALL_ONES = 0xFFFFFFFF

MAGIC_NUMBERS = {0xD101: 12, 0xD106: 13, 0xD10D: 14, 0xD110: 15, 0xD113: 16, 0xD116: 17, 0xD118: 18}
"""XLOG_PAGE_MAGIC -> the major version of PostgreSQL that writes it."""

LONGEST_RECORD = 64 << 20
"""In bytes. The format allows 1 GiB; no server writes records that long, and a hostile one must not fill the memory."""

_CHUNK_BYTES = 1 << 20


class Stopped(StrEnum):
    """Why the walk ended. All but the last two are how the end of a log looks, too."""

    NO_SEGMENT = "the next segment is not there"
    PAGE = "the next page was not written"
    NO_RECORD = "no record was begun"
    CONTINUATION = "the rest of a record was not written"
    CHECKSUM = "a record is not what its checksum says"
    ORDER = "a record does not follow the one before it"
    TOO_LONG = "a record is longer than is read here"
    LIMIT = "more was written than is read here"


@dataclass(frozen=True, slots=True)
class Line:
    """One stretch of a cluster's history: timeline `timeline` is valid for places from `begins` until `ends`."""

    timeline: int
    begins: int
    ends: int | None


def read_history(timeline: int, content: bytes) -> tuple[Line, ...] | None:
    """The lines of a cluster on `timeline` from the first to the newest; None for a history no server would take.

    Source: readTimeLineHistory in src/backend/access/transam/timeline.c.
    """
    lines: list[Line] = []
    begins = 0
    for row in content.decode("utf-8", "replace").splitlines():
        if not row.strip() or row.lstrip().startswith("#"):
            continue
        found = re.match(r"\s*(\d{1,10})\s+([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})", row)
        if not found:
            return None
        number, ends = int(found[1]), int(found[2], 16) << 32 | int(found[3], 16)
        if number >= timeline or (lines and number <= lines[-1].timeline):
            return None
        lines.append(Line(number, begins, ends))
        begins = ends
    return (*lines, Line(timeline, begins, None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the WAL of a cluster is cut, and whose it is."""

    segment_bytes: int
    page_bytes: int
    system_identifier: int
    lines: Sequence[Line]

    def names(self, number: int) -> Iterator[str]:
        """The files in which recovery looks for a segment, in that order: newest timeline first."""
        begin = number * self.segment_bytes
        for line in reversed(self.lines):
            if begin + self.segment_bytes > line.begins and (line.ends is None or begin < line.ends):
                yield self.name(line.timeline, number)

    def name(self, timeline: int, number: int) -> str:
        """The file name of a segment."""
        return segment_name(timeline, number, self.segment_bytes)

    def header_bytes(self, place: int) -> int:
        """How long the header of the page at a place is."""
        return _SHORT_HEADER_BYTES if place % self.segment_bytes else _LONG_HEADER_BYTES


def segment_name(timeline: int, number: int, segment_bytes: int) -> str:
    """The file name of segment `number`."""
    high, low = divmod(number, 0x100000000 // segment_bytes)
    return f"{timeline:08X}{high:08X}{low:08X}"


def segment_number(name: str, segment_bytes: int) -> int:
    """The number of the segment that is kept under a name of 24 hexadecimal digits."""
    return int(name[8:16], 16) * (0x100000000 // segment_bytes) + int(name[16:24], 16)


ReadSegment = Callable[[str, int, int], bytes | None]
"""(name, offset, length) -> what of this stretch the segment has; None when there is no such file."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the WAL whose header is right."""

    content: bytes
    version: int
    flags: int
    remaining_bytes: int
    """Of a record that began on an earlier page."""


class WalPages:
    """The pages of the WAL, checked as recovery checks them. Holds one chunk of a segment at a time."""

    def __init__(self, layout: Layout, read_segment: ReadSegment) -> None:
        self.layout = layout
        self._read_segment = read_segment
        self._chunk_at = -1
        self._chunk: bytes | None = None

    def page(self, place: int) -> Page | Stopped:
        """The page that begins at a place, or why there is none."""
        within = place % _CHUNK_BYTES
        if place - within != self._chunk_at:
            self._chunk_at = place - within
            self._chunk = self._read(self._chunk_at)
        if self._chunk is None:
            return Stopped.NO_SEGMENT
        return self._checked(place, self._chunk[within : within + self.layout.page_bytes])

    def is_written(self, name: str, number: int) -> bool:
        """Whether the first page of a segment was written for this place, and is no recycled or reserved one."""
        content = self._read_segment(name, 0, self.layout.page_bytes)
        return content is not None and isinstance(self._checked(number * self.layout.segment_bytes, content), Page)

    def _read(self, place: int) -> bytes | None:
        number, offset = divmod(place, self.layout.segment_bytes)
        for name in self.layout.names(number):
            content = self._read_segment(name, offset, _CHUNK_BYTES)
            if content is not None:
                return content
        return None

    def _checked(self, place: int, content: bytes) -> Page | Stopped:
        if len(content) < self.layout.page_bytes:
            return Stopped.PAGE
        magic, flags, timeline, own_place, remaining_bytes = struct.unpack_from("<HHIQI", content)
        known = any(line.timeline == timeline for line in self.layout.lines)
        if magic not in MAGIC_NUMBERS or own_place != place or not known or flags & ~0xF:
            return Stopped.PAGE
        if place % self.layout.segment_bytes == 0 and struct.unpack_from("<QII", content, 24) != (
            self.layout.system_identifier,
            self.layout.segment_bytes,
            self.layout.page_bytes,
        ):
            return Stopped.PAGE
        return Page(content, MAGIC_NUMBERS[magic], flags, remaining_bytes)


@dataclass(frozen=True, slots=True)
class Record:
    """One record: where it begins and ends, who wrote it, what kind it is, and all that follows its header."""

    begins: int
    ends: int
    transaction: int
    info: int
    manager: int
    version: int
    body: bytes


class WalWalk:
    """The records from a place on. `end` is where the last one ended and `stopped` says why, once the walk is over."""

    def __init__(self, pages: WalPages, begin: int, *, most_bytes: int) -> None:
        self._pages = pages
        self._layout = pages.layout
        self._place = begin
        self._limit = begin + most_bytes
        self._previous: int | None = None
        self.end = begin
        self.stopped: Stopped | None = None

    def __iter__(self) -> Iterator[Record]:
        while self.stopped is None:
            found = self._next()
            if isinstance(found, Stopped):
                self.stopped = found
            elif found is not None:
                # Pages and pg_control name the end of a record by the next place at which one may begin.
                self._previous, self.end = found.begins, (found.ends + 7) & ~7
                self._place = self._behind(found)
                yield found

    def _next(self) -> Record | Stopped | None:
        """The record at the place; None when the walk goes on somewhere else, because a record was given up there."""
        page_bytes = self._layout.page_bytes
        begins = (self._place + 7) & ~7
        if begins > self._limit:
            return Stopped.LIMIT
        page = self._pages.page(begins - begins % page_bytes)
        if isinstance(page, Stopped):
            return page
        if begins % page_bytes < self._layout.header_bytes(begins - begins % page_bytes):
            begins += self._layout.header_bytes(begins - begins % page_bytes) - begins % page_bytes
        offset = begins % page_bytes
        total = int.from_bytes(page.content[offset : offset + 4], "little")
        if total < _RECORD_HEADER_BYTES:
            return Stopped.NO_RECORD
        if total > LONGEST_RECORD:
            # What is left of an older log may hold any number here: a record that goes on shows it on the next page.
            following = self._pages.page(begins - offset + page_bytes)
            left = total - (page_bytes - offset)
            goes_on = isinstance(following, Page) and following.remaining_bytes == left
            return Stopped.TOO_LONG if goes_on else Stopped.CONTINUATION
        if offset + total <= page_bytes:
            return self._record(begins, begins + total, page.content[offset : offset + total], page.version)
        return self._over_pages(begins, total, page)

    def _over_pages(self, begins: int, total: int, page: Page) -> Record | Stopped | None:
        page_bytes = self._layout.page_bytes
        pieces = [page.content[begins % page_bytes :]]
        left = total - len(pieces[0])
        place = begins - begins % page_bytes
        while left:
            place += page_bytes
            following = self._pages.page(place)
            if isinstance(following, Stopped):
                return Stopped.NO_SEGMENT if following is Stopped.NO_SEGMENT else Stopped.CONTINUATION
            if following.flags & _OVERWRITES_BROKEN_RECORD:
                # After a crash the server gave this record up and went on with the page.
                self._place = place
                return None
            if not following.flags & _CONTINUES_RECORD or following.remaining_bytes != left:
                return Stopped.CONTINUATION
            header_bytes = self._layout.header_bytes(place)
            pieces.append(following.content[header_bytes : header_bytes + left])
            left -= len(pieces[-1])
        ends = place + self._layout.header_bytes(place) + len(pieces[-1])
        return self._record(begins, ends, b"".join(pieces), page.version)

    def _record(self, begins: int, ends: int, content: bytes, version: int) -> Record | Stopped:
        _, transaction, previous, info, manager, stored = struct.unpack_from("<IIQBBxxI", content)
        # The sum runs over what follows the header and then over the header up to the sum itself.
        body = content[_RECORD_HEADER_BYTES:]
        if _crc32c_of_kernel(crc32c(body) ^ _ALL_ONES, content[:20]) ^ _ALL_ONES != stored:
            return Stopped.CHECKSUM
        if (self._previous is not None and previous != self._previous) or previous >= begins:
            return Stopped.ORDER
        return Record(begins, ends, transaction, info, manager, version, body)

    def _behind(self, record: Record) -> int:
        if record.manager == _LOG_ITSELF and record.info & 0xF0 == _SWITCH:
            return (
                (record.ends + self._layout.segment_bytes - 1)
                // self._layout.segment_bytes
                * self._layout.segment_bytes
            )
        return record.ends


_LOG_ITSELF, _TRANSACTIONS, _STORAGE, _DATABASES = 0, 1, 2, 4
_CHECKPOINTS = (0x00, 0x10)
_SWITCH = 0x40
_BACKUP_END = 0x50
_STORAGE_CREATE, _STORAGE_TRUNCATE = 0x10, 0x20
_COMMITS, _ABORTS = (0x00, 0x30), (0x20, 0x40)
_FORKS = ("", "fsm", "vm", "init")


@dataclass(frozen=True, slots=True)
class Relation:
    """The number of a database (0 for the shared relations) and of the file of a relation in it.

    The tablespace is left out: the links that tell which is which are no files, and within a database the numbers
    of files rarely meet.
    """

    database: int
    number: int


@dataclass(slots=True)
class Recovery:
    """What recovery will do to the pages on the disk, as far as a check of these pages must know."""

    whole: defaultdict[tuple[Relation, str], set[int]] = field(default_factory=lambda: defaultdict(set))
    """Blocks of a fork that recovery writes anew before it reads them."""
    partly: defaultdict[tuple[Relation, str], set[int]] = field(default_factory=lambda: defaultdict(set))
    """Blocks that recovery reads from the disk first."""
    changed: set[Relation] = field(default_factory=set[Relation])
    """Relations that were in use: a record changes what a page held. Building one only writes whole pages."""
    created: dict[Relation, int] = field(default_factory=dict[Relation, int])
    """Relations that were made, and by which transaction."""
    removed: set[Relation] = field(default_factory=set[Relation])
    """Relations that are dropped, so that their pages may be anything."""
    cut: dict[Relation, int] = field(default_factory=dict[Relation, int])
    """Relations that are cut, and the first block that goes."""
    copied_databases: set[int] = field(default_factory=set[int])
    """Databases whose files recovery copies again or removes."""
    committed: set[int] = field(default_factory=set[int])
    checkpoints: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])
    """Where a checkpoint's record begins -> its redo location and where the record ends."""
    backups_ended: set[int] = field(default_factory=set[int])
    """The start locations of the backups whose end was logged."""
    record_count: int = 0

    def add(self, record: Record) -> None:
        """One more record."""
        self.record_count += 1
        main = self._take_blocks(record)
        kind = record.info & 0xF0
        if record.manager == _LOG_ITSELF:
            self._add_log_record(record, kind, main)
        elif record.manager == _TRANSACTIONS:
            self._add_end(record, main)
        elif record.manager == _STORAGE and kind == _STORAGE_CREATE and len(main) >= 12:
            _, database, number = struct.unpack_from("<III", main)
            self.created.setdefault(Relation(database, number), record.transaction)
        elif record.manager == _STORAGE and kind == _STORAGE_TRUNCATE and len(main) >= 16:
            block, _, database, number = struct.unpack_from("<IIII", main)
            relation = Relation(database, number)
            self.cut[relation] = min(block, self.cut.get(relation, block))
        elif record.manager == _DATABASES and len(main) >= 4 and not (record.version >= 15 and kind == 0x10):
            self.copied_databases.add(struct.unpack_from("<I", main)[0])

    def writes_anew(self, relation: Relation, fork: str, block: int) -> bool:
        """Whether recovery replaces this block before anything reads it."""
        return block in self.whole.get((relation, fork), ()) or relation.database in self.copied_databases

    def discards(self, relation: Relation, block: int = 0) -> bool:
        """Whether this block does not outlive recovery: dropped, cut off, or of a transaction that never committed."""
        maker, cut = self.created.get(relation), self.cut.get(relation)
        never_committed = maker is not None and maker not in self.committed
        return relation in self.removed or never_committed or (cut is not None and block >= cut)

    def _add_log_record(self, record: Record, kind: int, main: bytes) -> None:
        if kind in _CHECKPOINTS and len(main) >= 8:
            self.checkpoints[record.begins] = (struct.unpack_from("<Q", main)[0], record.ends)
        elif kind == _BACKUP_END and len(main) >= 8:
            self.backups_ended.add(struct.unpack_from("<Q", main)[0])

    def _add_end(self, record: Record, main: bytes) -> None:
        """A commit or an abort: src/include/access/xact.h, ParseCommitRecord and ParseAbortRecord."""
        kind = record.info & 0x70
        if kind not in _COMMITS + _ABORTS or len(main) < 8:
            return
        names, at = (struct.unpack_from("<I", main, 8)[0], 12) if record.info & 0x80 and len(main) >= 12 else (0, 8)
        at += 8 if names & 1 else 0
        below: tuple[int, ...] = ()
        if names & 2:
            below, at = _numbers(main, at, 1)
        if kind in _COMMITS:
            self.committed.update((record.transaction, *below))
        if names & 4:
            files, at = _numbers(main, at, 3)
            self.removed.update(Relation(*pair) for pair in zip(files[1::3], files[2::3], strict=True))

    def _take_blocks(self, record: Record) -> bytes:
        """Notes the blocks that a record is about. Returns its main data, which stands behind that of the blocks."""
        body, at, behind, relation = record.body, 0, 0, None
        try:
            while len(body) - at > behind:
                number = body[at]
                if number >= 254:
                    main_bytes = body[at + 1] if number == 255 else struct.unpack_from("<I", body, at + 1)[0]
                    return body[-main_bytes:] if 0 < main_bytes <= len(body) else b""
                if number >= 252:
                    at += 3 if number == 253 else 5
                    continue
                at, taken, relation = self._take_block(record, at, relation)
                behind += taken
        except (struct.error, IndexError, ValueError):
            # The record's checksum is right, so a server of another version wrote it; its blocks stay unmended.
            return b""
        return b""

    def _take_block(self, record: Record, at: int, relation: Relation | None) -> tuple[int, int, Relation]:
        body = record.body
        flags, data_bytes = struct.unpack_from("<BH", body, at + 1)
        at, behind, replaces = at + 4, data_bytes, bool(flags & 0x40)
        if flags & 0x10:
            image_bytes, _, image = struct.unpack_from("<HHB", body, at)
            compressed, applied = (image & 0x1C, image & 2) if record.version >= 15 else (image & 2, image & 4)
            at += 7 if compressed and image & 1 else 5
            behind += image_bytes
            replaces = replaces or bool(applied)
        if not flags & 0x80:
            _, database, number = struct.unpack_from("<III", body, at)
            relation, at = Relation(database, number), at + 12
        if relation is None:
            raise ValueError("the first block of a record names no relation")
        key = relation, _FORKS[flags & 0xF]
        block = struct.unpack_from("<I", body, at)[0]
        if not replaces:
            self.changed.add(relation)
        if replaces and block not in self.partly.get(key, ()):
            self.whole[key].add(block)
        elif not replaces and block not in self.whole.get(key, ()):
            self.partly[key].add(block)
        return at + 4, behind, relation


def _numbers(content: bytes, at: int, each: int) -> tuple[tuple[int, ...], int]:
    """A counted array of items of `each` numbers of 4 bytes, and where it ends; empty when it would not fit."""
    count = int.from_bytes(content[at : at + 4], "little") * each
    if at + 4 + 4 * count > len(content):
        return (), len(content)
    return struct.unpack_from(f"<{count}I", content, at + 4), at + 4 + 4 * count


def later_segments(names: Mapping[str, object], layout: Layout, place: int) -> list[tuple[int, str]]:
    """The segments that begin behind a place and lie on the timeline that is valid there, nearest first."""
    found: list[tuple[int, str]] = []
    for name in names:
        number = segment_number(name, layout.segment_bytes)
        begin = number * layout.segment_bytes
        if begin <= place:
            continue
        valid = next((x for x in layout.lines if x.begins <= begin and (x.ends is None or begin < x.ends)), None)
        if valid and name == layout.name(valid.timeline, number):
            found.append((number, name))
    return sorted(found)
