"""The partitions on a disk image: this machine's kernel may know no partition table, an instance's does."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

_SECTOR_BYTES = 512
_TABLE_OFFSET, _TABLE_ENTRIES, _ENTRY_BYTES = 446, 4, 16
_BOOT_SIGNATURE = b"\x55\xaa"
_EXTENDED = {0x05, 0x0F, 0x85}
_PROTECTIVE = 0xEE
_GPT_SIGNATURE = b"EFI PART"
_MOST_GPT_ENTRIES = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class Partition:
    """Where a partition lies on its disk."""

    number: int
    offset_bytes: int
    size_bytes: int


def partitions(image: Path) -> list[Partition]:
    """The partitions of the image by number; none where it has no table. Logical ones of an MBR are left out."""
    with image.open("rb") as disk:
        first = disk.read(_SECTOR_BYTES)
        if first[-2:] != _BOOT_SIGNATURE:
            return []
        primary = _primary(first)
        if not any(kind == _PROTECTIVE for kind, _ in primary):
            return [partition for kind, partition in primary if kind not in _EXTENDED]
        header = disk.read(_SECTOR_BYTES)
        if header[:8] != _GPT_SIGNATURE:
            return []
        table_sector, entries, entry_bytes = struct.unpack_from("<QII", header, 72)
        disk.seek(table_sector * _SECTOR_BYTES)
        table = disk.read(min(entries, _MOST_GPT_ENTRIES) * entry_bytes)
    return _of_gpt(table, entry_bytes)


def _primary(sector: bytes) -> list[tuple[int, Partition]]:
    found = []
    for index in range(_TABLE_ENTRIES):
        entry = sector[_TABLE_OFFSET + index * _ENTRY_BYTES :][:_ENTRY_BYTES]
        kind = entry[4]
        start, length = struct.unpack_from("<II", entry, 8)
        # A file system's boot sector bears the same signature, but no status byte of a table is its text.
        if entry[0] & 0x7F:
            return []
        if kind and length:
            found.append((kind, _at(index + 1, start, length)))
    return found


def _of_gpt(table: bytes, entry_bytes: int) -> list[Partition]:
    found = []
    for index in range(len(table) // entry_bytes):
        entry = table[index * entry_bytes :][:entry_bytes]
        first, last = struct.unpack_from("<QQ", entry, 32)
        if any(entry[:16]):
            found.append(_at(index + 1, first, last - first + 1))
    return found


def _at(number: int, sector: int, sectors: int) -> Partition:
    return Partition(number=number, offset_bytes=sector * _SECTOR_BYTES, size_bytes=sectors * _SECTOR_BYTES)
