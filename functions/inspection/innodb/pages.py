"""Pages of InnoDB tablespaces: which checksum a tablespace uses, and whether a page is whole.

Formats: MySQL 5.7 and 8, MariaDB 10.5 and later. Numbers in the files are big-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum

from functions.inspection.checksums import crc32c

DEFAULT_PAGE_BYTES = 16384
_NO_CHECKSUM = 0xDEADBEEF
_TYPE_AT, _SPACE_AT, _LSN_AT = 24, 34, 16
_FULL_CRC32_FLAG = 0x10
_MYSQL_ENCRYPTED_FLAG = 0x2000
_MARIADB_COMPRESSED_FLAG = 0x10000
_SMALLEST_PAGE = 1024
_MYSQL_COMPRESSED = 14
_MYSQL_ENCRYPTED = (15, 16, 17)
_MARIADB_COMPRESSED = (34354, 37401)


class Kind(StrEnum):
    """How the pages of a tablespace are summed up."""

    FULL_CRC32 = "full_crc32"
    """MariaDB since 10.5: one CRC-32C at the end, over everything in front of it."""
    CRC32 = "crc32"
    """MySQL, and older files of MariaDB: the same CRC-32C at the beginning and near the end."""
    COMPRESSED = "compressed"
    """ROW_FORMAT=COMPRESSED: smaller pages with one CRC-32C at the beginning."""


class Verdict(StrEnum):
    """What a page says of itself."""

    WHOLE = "whole"
    EMPTY = "empty"
    """All zeros: reserved and never written, or freed and wiped."""
    BROKEN = "broken"
    UNKNOWN = "unknown"
    """Compressed or encrypted in a way whose checksum we cannot compute."""
    UNSUMMED = "unsummed"
    """Written with innodb_checksum_algorithm=none: only its number and its ends could be compared."""


@dataclass(frozen=True, slots=True)
class Format:
    """How the pages of one tablespace look; `flags` are those of its header, `space` is its number."""

    kind: Kind
    page_bytes: int
    space: int
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Header:
    """What page 0 says of its tablespace, believed only when the page is whole."""

    format: Format
    pages: int
    """How many pages the tablespace has, by its own count."""


def read_header(first_page: bytes) -> Header | None:
    """What the first page of a tablespace says; None when its flags are none that InnoDB writes.

    Source: fsp0types.h of MariaDB 10.11 and of MySQL 8.0, the flags of a tablespace.
    """
    if len(first_page) < 64:
        return None
    space, pages, flags = (struct.unpack_from(">I", first_page, at)[0] for at in (_SPACE_AT, 46, 54))
    if flags & _FULL_CRC32_FLAG:
        kind, size = Kind.FULL_CRC32, flags & 0xF
    elif flags >> 1 & 0xF:
        kind, size = Kind.COMPRESSED, flags >> 1 & 0xF
    else:
        kind, size = Kind.CRC32, flags >> 6 & 0xF
    page_bytes = 512 << size if size else DEFAULT_PAGE_BYTES
    if not _SMALLEST_PAGE <= page_bytes <= 65536 or (kind is not Kind.COMPRESSED and page_bytes < 4096):
        return None
    return Header(Format(kind, page_bytes, space, flags), pages)


def judge_page(page: bytes, number: int, known: Format) -> Verdict:
    """Whether a page of a tablespace is whole and stands where it belongs.

    Source: buf_page_is_corrupted in buf0buf.cc of MariaDB 10.11; page_zip_verify_checksum in page0zip.cc.
    """
    if known.kind is Kind.FULL_CRC32:
        verdict = _judge_full(page, known)
    elif known.kind is Kind.COMPRESSED:
        verdict = _judge_compressed(page)
    else:
        verdict = _judge_crc32(page)
    if verdict is Verdict.EMPTY:
        return verdict
    # A compressed page of the newer format keeps no tablespace number outside of what is compressed.
    in_its_space = bool(_compressed_bytes(page, known)) or page_space(page) == known.space
    if struct.unpack_from(">I", page, 4)[0] != number or not in_its_space:
        return Verdict.BROKEN
    return Verdict.UNKNOWN if verdict is Verdict.BROKEN and _is_unreadable(page, number, known) else verdict


def last_change(page: bytes) -> int:
    """The place in the redo log (LSN) of a page's newest change."""
    return struct.unpack_from(">Q", page, _LSN_AT)[0]


def page_space(page: bytes) -> int:
    """The number of the tablespace that a page says it belongs to."""
    return struct.unpack_from(">I", page, _SPACE_AT)[0]


def covered_stretches(page: bytes, known: Format) -> tuple[tuple[int, int], ...]:
    """The (offset, length) in a whole page in which each flipped bit is noticed, for pages that have a checksum."""
    if known.kind is Kind.FULL_CRC32:
        return ((0, _compressed_bytes(page, known) or known.page_bytes),)
    if known.kind is Kind.COMPRESSED:
        return ((0, 16), (24, 2), (34, known.page_bytes - 34))
    return ((0, 26), (34, known.page_bytes - 34))


def _judge_full(page: bytes, known: Format) -> Verdict:
    compressed_bytes = _compressed_bytes(page, known)
    end = compressed_bytes or len(page)
    if not 64 <= end <= len(page):
        return Verdict.BROKEN
    if crc32c(page[: end - 4]) != struct.unpack_from(">I", page, end - 4)[0]:
        return Verdict.BROKEN if any(page) else Verdict.EMPTY
    is_encrypted = any(page[:4])
    if not compressed_bytes and not is_encrypted and page[20:24] != page[-8:-4]:
        return Verdict.BROKEN
    return Verdict.WHOLE


def _compressed_bytes(page: bytes, known: Format) -> int:
    """How much of a page is used when page_compressed=1 made it smaller in MariaDB's newer format; else 0."""
    kind = struct.unpack_from(">H", page, _TYPE_AT)[0]
    is_compressed = known.kind is Kind.FULL_CRC32 and kind & 0x8000 and known.flags >> 5 & 7
    return (kind & 0x7FFF) << 8 if is_compressed else 0


def _judge_crc32(page: bytes) -> Verdict:
    first, last = struct.unpack_from(">I", page)[0], struct.unpack_from(">I", page, len(page) - 8)[0]
    if first == last and page[20:24] == page[-4:]:
        if first == _NO_CHECKSUM:
            return Verdict.UNSUMMED
        if first == crc32c(page[4:26]) ^ crc32c(page[38:-8]):
            return Verdict.EMPTY if first == 0 and not any(page) else Verdict.WHOLE
    return Verdict.BROKEN if any(page) else Verdict.EMPTY


def _judge_compressed(page: bytes) -> Verdict:
    stored = struct.unpack_from(">I", page)[0]
    if stored == _NO_CHECKSUM:
        return Verdict.UNSUMMED
    if stored == crc32c(page[4:16]) ^ crc32c(page[24:26]) ^ crc32c(page[34:]):
        return Verdict.WHOLE
    return Verdict.BROKEN if any(page) else Verdict.EMPTY


def _is_unreadable(page: bytes, number: int, known: Format) -> bool:
    """Whether a page of the older formats is compressed or encrypted, so that its checksum means something else."""
    kind = struct.unpack_from(">H", page, _TYPE_AT)[0]
    if known.kind is Kind.FULL_CRC32:
        return False
    if known.flags & _MYSQL_ENCRYPTED_FLAG and kind in _MYSQL_ENCRYPTED:
        return True
    if kind == _MYSQL_COMPRESSED:
        version, algorithm, _, original, compressed = struct.unpack_from(">BBHHH", page, 26)
        return version in (1, 2) and algorithm in (1, 2, 3) and 0 < compressed <= original
    if kind in _MARIADB_COMPRESSED:
        return bool(known.flags & _MARIADB_COMPRESSED_FLAG)
    # MariaDB's older encryption keeps the key's version where other pages have zeros, and a sum of its own behind it.
    key_version, own_sum = struct.unpack_from(">II", page, 26)
    return number > 0 and 0 < key_version < 1 << 16 and own_sum != 0
