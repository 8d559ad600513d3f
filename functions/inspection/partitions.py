"""The partition table of a disk: MBR with its chain of extended boot records, or GPT with both of its copies."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from uuid import UUID

from functions.inspection.devices import Device, OutOfRange
from functions.inspection.findings import Findings
from functions.inspection.signatures import is_known_content

SECTOR_BYTES = 512
"""The sector that an MBR counts in. GPT tells its own: its first header stands in sector 1, at 512 or at 4096."""


class Kind(StrEnum):
    """What a partition says of itself. What really lies in it only its content tells."""

    LINUX = "linux"
    LVM = "lvm"
    RAID = "raid"
    SWAP = "swap"
    EFI = "efi"
    BIOS_BOOT = "bios-boot"
    PREP_BOOT = "prep-boot"
    MICROSOFT_BASIC = "microsoft-basic"
    MICROSOFT_RESERVED = "microsoft-reserved"
    MICROSOFT_RECOVERY = "microsoft-recovery"
    MICROSOFT_DYNAMIC = "microsoft-dynamic"
    FAT = "fat"
    EXTENDED = "extended"
    OTHER = "other"


_WITHOUT_CONTENT = frozenset(
    {Kind.SWAP, Kind.EFI, Kind.BIOS_BOOT, Kind.PREP_BOOT, Kind.MICROSOFT_RESERVED, Kind.EXTENDED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A stretch of the disk as the table gives it; it may reach beyond a disk that was cut off.

    `number` as Linux counts them. `offset` and `length` in bytes. `name` from a GPT, with everything unprintable
    escaped; empty in an MBR.
    """

    number: int
    offset: int
    length: int
    kind: Kind
    name: str = ""

    @property
    def is_content(self) -> bool:
        """Whether a backup is made for what lies here: not for swap, and not for what only starts a machine."""
        return self.kind not in _WITHOUT_CONTENT


def partitions(device: Device, findings: Findings) -> tuple[Partition, ...] | None:
    """The partitions in the order of the table; None without a table: an empty disk, or one file system on all of it.

    A table with one damaged copy is followed by the intact one, and the damage is in the findings. Reads the first
    and the last blocks of the disk. Errors: BudgetSpent.
    """
    if device.size_bytes < 2 * SECTOR_BYTES:
        return None
    device.expect([(0, SECTOR_BYTES), (device.size_bytes - SECTOR_BYTES, SECTOR_BYTES)])
    first_sector = device.read(0, SECTOR_BYTES)
    entries = _mbr_entries(first_sector)
    found = _from_gpt(device, findings, first_sector, entries)
    if found is None:
        found = _from_mbr(device, findings, first_sector, entries)
    if found is not None:
        _judge_places(found, device.size_bytes, findings)
    return found


def _judge_places(found: Sequence[Partition], disk_bytes: int, findings: Findings) -> None:
    for one in found:
        if one.offset + one.length > disk_bytes:
            findings.damage(
                "partition.truncated",
                f"partition {one.number} ends at {one.offset + one.length:,}, the disk at {disk_bytes:,}",
                at=one.offset,
            )
    in_order = sorted((one for one in found if one.kind is not Kind.EXTENDED), key=lambda one: one.offset)
    for one, following in pairwise(in_order):
        if one.offset + one.length > following.offset:
            findings.damage(
                "partition.overlap",
                f"partition {following.number} begins inside of partition {one.number}",
                at=following.offset,
            )


# --- MBR -------------------------------------------------------------------------------------------------------------

_MBR_TABLE_AT = 446
_MBR_ENTRY = struct.Struct("<B3sB3sII")
_BOOT_SIGNATURE = b"\x55\xaa"
_GPT_TYPE = 0xEE
_EXTENDED_TYPES = frozenset({0x05, 0x0F, 0x85})
_MOST_LOGICAL = 128
_MBR_KINDS = {
    0x83: Kind.LINUX,
    0x82: Kind.SWAP,
    0x8E: Kind.LVM,
    0xFD: Kind.RAID,
    0xEF: Kind.EFI,
    0x41: Kind.PREP_BOOT,
    0x07: Kind.MICROSOFT_BASIC,
    0x27: Kind.MICROSOFT_RECOVERY,
    0x42: Kind.MICROSOFT_DYNAMIC,
    **dict.fromkeys((0x01, 0x04, 0x06, 0x0B, 0x0C, 0x0E), Kind.FAT),
    **dict.fromkeys(_EXTENDED_TYPES, Kind.EXTENDED),
}


@dataclass(frozen=True, slots=True)
class _MbrEntry:
    """One line of an MBR; `start` and `count` in sectors, `number` from 1."""

    number: int
    status: int
    type: int
    start: int
    count: int

    @property
    def is_used(self) -> bool:
        return bool(self.type and self.count)

    @property
    def is_plausible(self) -> bool:
        return self.is_used and self.status in (0, 0x80) and self.start > 0

    def partition(self, base_sector: int = 0) -> Partition:
        return Partition(
            number=self.number,
            offset=(base_sector + self.start) * SECTOR_BYTES,
            length=self.count * SECTOR_BYTES,
            kind=_MBR_KINDS.get(self.type, Kind.OTHER),
        )


def _mbr_entries(sector: bytes) -> tuple[_MbrEntry, ...]:
    lines = _MBR_ENTRY.iter_unpack(sector[_MBR_TABLE_AT : _MBR_TABLE_AT + 64])
    return tuple(
        _MbrEntry(number, status, type_, start, count)
        for number, (status, _, type_, _, start, count) in enumerate(lines, start=1)
    )


def _from_mbr(
    device: Device, findings: Findings, sector: bytes, entries: tuple[_MbrEntry, ...]
) -> tuple[Partition, ...] | None:
    used = [entry for entry in entries if entry.is_used]
    is_signed = sector[510:] == _BOOT_SIGNATURE
    if _is_file_system(sector) or not any(entry.is_plausible for entry in used):
        return None
    if not is_signed:
        if not _is_beyond_doubt(sector, entries, device.size_bytes):
            return None
        findings.damage("mbr.signature", "a table without the signature behind it", at=510)
    findings.read("mbr", 510, 2)
    found: list[Partition] = []
    for entry in used:
        status_at = _MBR_TABLE_AT + 16 * (entry.number - 1)
        if not entry.is_plausible:
            findings.damage("mbr.entry", f"entry {entry.number}: status {entry.status:#x}", at=status_at)
        found.append(entry.partition())
    for entry in used:
        if entry.type in _EXTENDED_TYPES:
            found += _logical(device, findings, entry, first_number=5 + sum(one.number > 4 for one in found))
    return tuple(found)


def _is_file_system(sector: bytes) -> bool:
    """A boot sector of FAT, exFAT or NTFS bears the same signature, and code where an MBR has its table."""
    named = sector[3:11] in (b"NTFS    ", b"EXFAT   ", b"-FVE-FS-", b"ReFS\0\0\0\0")
    return named or sector[54:57] == b"FAT" or sector[82:85] == b"FAT" or sector[:4] == b"XFSB"


def _is_beyond_doubt(sector: bytes, entries: Iterable[_MbrEntry], disk_bytes: int) -> bool:
    """Whether 64 bytes are a table even without the signature: each line in range, or zeros from end to end."""
    for entry in entries:
        at = _MBR_TABLE_AT + 16 * (entry.number - 1)
        ends_at = (entry.start + entry.count) * SECTOR_BYTES
        if any(sector[at : at + 16]) and not (entry.is_plausible and ends_at <= disk_bytes):
            return False
    return True


def _logical(device: Device, findings: Findings, extended: _MbrEntry, *, first_number: int) -> list[Partition]:
    """The partitions inside an extended one: a chain of sectors, each with one partition and the next link."""
    found: list[Partition] = []
    sector_number, visited = extended.start, set[int]()
    while len(visited) < _MOST_LOGICAL:
        at = sector_number * SECTOR_BYTES
        inside = extended.start <= sector_number < extended.start + extended.count
        if sector_number in visited or not inside:
            findings.damage("mbr.extended.chain", f"a link to sector {sector_number:,}", at=at)
            return found
        visited.add(sector_number)
        try:
            sector = device.read(at, SECTOR_BYTES)
        except OutOfRange:
            findings.damage("mbr.extended.truncated", f"sector {sector_number:,} is beyond the disk", at=at)
            return found
        findings.read("mbr", at + 510, 2)
        if sector[510:] != _BOOT_SIGNATURE:
            findings.damage("mbr.extended.signature", f"sector {sector_number:,}", at=at + 510)
            return found
        partition, link = _mbr_entries(sector)[:2]
        if partition.is_used:
            numbered = _MbrEntry(first_number + len(found), 0, partition.type, partition.start, partition.count)
            found.append(numbered.partition(sector_number))
        if not link.is_used:
            return found
        sector_number = extended.start + link.start
    findings.damage("mbr.extended.chain", f"more than {_MOST_LOGICAL} links", at=extended.start * SECTOR_BYTES)
    return found


# --- GPT -------------------------------------------------------------------------------------------------------------

_GPT_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_GPT_MAGIC = b"EFI PART"
_MOST_ENTRY_BYTES = 4 * 1024 * 1024
"""A table has 16 KiB; a header that asks for more than this is not believed."""

_GPT_KINDS = {
    "0fc63daf-8483-4772-8e79-3d69d8477de4": Kind.LINUX,
    "4f68bce3-e8cd-4db1-96e7-fbcaf984b709": Kind.LINUX,  # root, x86-64
    "b921b045-1df0-41c3-af44-4c6f280d3fae": Kind.LINUX,  # root, arm64
    "44479540-f297-41b2-9af7-d131d5f0458a": Kind.LINUX,  # root, x86
    "933ac7e1-2eb4-4f13-b844-0e14e2aef915": Kind.LINUX,  # home
    "3b8f8425-20e0-4f3b-907f-1a25a76f98e8": Kind.LINUX,  # srv
    "4d21b016-b534-45c2-a9fb-5c16e091fd2d": Kind.LINUX,  # var
    "bc13c2ff-59e6-4262-a352-b275fd6f7172": Kind.LINUX,  # extended boot loader partition: kernels and /boot
    "e6d6d379-f507-44c2-a23c-238f2a3df928": Kind.LVM,
    "a19d880f-05fc-4d3b-a006-743f0f84911e": Kind.RAID,
    "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f": Kind.SWAP,
    "c12a7328-f81f-11d2-ba4b-00a0c93ec93b": Kind.EFI,
    "21686148-6449-6e6f-744e-656564454649": Kind.BIOS_BOOT,
    "9e1a2d38-c612-4316-aa26-8b49521e5a8b": Kind.PREP_BOOT,
    "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7": Kind.MICROSOFT_BASIC,
    "e3c9e316-0b5c-4db8-817d-f92df00215ae": Kind.MICROSOFT_RESERVED,
    "de94bba4-06d1-4d40-a16a-bfd50179d6ac": Kind.MICROSOFT_RECOVERY,
    "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3": Kind.MICROSOFT_DYNAMIC,
    "af9b60a0-1431-4f62-bc68-3311714a69ad": Kind.MICROSOFT_DYNAMIC,
}


@dataclass(frozen=True, slots=True)
class _Gpt:
    """One copy of the table whose own checksums hold. Places in sectors of `sector_bytes`."""

    sector_bytes: int
    here: int
    other: int
    first_usable: int
    last_usable: int
    disk_id: bytes
    entry_bytes: int
    entries: bytes


class _Unsound(Exception):
    """This copy cannot be believed; the two arguments are the last word of the code, and what was seen."""


def _from_gpt(
    device: Device, findings: Findings, first_sector: bytes, entries: tuple[_MbrEntry, ...]
) -> tuple[Partition, ...] | None:
    protective = next((entry for entry in entries if entry.type == _GPT_TYPE), None)
    sector_bytes = _gpt_sector_bytes(device)
    if sector_bytes is None and protective is not None and not _is_file_system(first_sector):
        sector_bytes = _sector_bytes_of_lone_backup(device) or SECTOR_BYTES
    elif sector_bytes is None and not any(entry.is_plausible for entry in entries) and not is_known_content(device):
        sector_bytes = _sector_bytes_of_lone_backup(device)
    if sector_bytes is None:
        return None
    primary = _copy(device, findings, "primary", 1, sector_bytes)
    backup = _backup(device, findings, primary, protective, sector_bytes)
    if primary is None and backup is None:
        findings.damage("gpt.lost", "neither copy of the partition table is intact", at=sector_bytes)
        return ()
    _judge_protective(findings, first_sector, protective)
    if primary and backup:
        _judge_agreement(findings, primary, backup)
    table = primary or backup
    return _gpt_partitions(findings, table) if table else ()


def _gpt_sector_bytes(device: Device) -> int | None:
    for sector_bytes in (512, 4096):
        if device.size_bytes >= 2 * sector_bytes and device.read(sector_bytes, 8) == _GPT_MAGIC:
            return sector_bytes
    return None


def _sector_bytes_of_lone_backup(device: Device) -> int | None:
    for sector_bytes in (512, 4096):
        last = device.size_bytes // sector_bytes * sector_bytes - sector_bytes
        if last > 0 and device.read(last, 8) == _GPT_MAGIC:
            return sector_bytes
    return None


def _backup(
    device: Device, findings: Findings, primary: _Gpt | None, protective: _MbrEntry | None, sector_bytes: int
) -> _Gpt | None:
    """The second copy: where the first one says, which on a volume that was enlarged is not its end.

    Without the first copy: at the end of the disk, or where the protective MBR ends.
    """
    last = device.size_bytes // sector_bytes - 1
    if primary is None:
        old_last = protective.start + protective.count - 1 if protective else last
        places = [here for here in (last, old_last) if 1 < here <= last]
        here = next((p for p in places if device.read(p * sector_bytes, 8) == _GPT_MAGIC), last)
        return _copy(device, findings, "backup", here, sector_bytes)
    if primary.other > last:
        findings.damage(
            "gpt.truncated",
            f"the second copy should be in sector {primary.other:,}, the last one is {last:,}",
            at=sector_bytes,
        )
        return None
    if primary.other < last:
        findings.note("gpt.enlarged", f"the disk has {last - primary.other:,} sectors behind its partition table")
    return _copy(device, findings, "backup", primary.other, sector_bytes)


def _copy(device: Device, findings: Findings, which: str, here: int, sector_bytes: int) -> _Gpt | None:
    """One copy, header and entries, judged by its own checksums; None when it is damaged."""
    at = here * sector_bytes
    try:
        return _sound_copy(device, findings, here, sector_bytes)
    except OutOfRange as outside:
        findings.damage(f"gpt.{which}.range", str(outside), at=at)
    except _Unsound as unsound:
        fault, seen = unsound.args
        findings.damage(f"gpt.{which}.{fault}", seen, at=at)
    return None


def _sound_copy(device: Device, findings: Findings, here: int, sector_bytes: int) -> _Gpt:
    at = here * sector_bytes
    header = device.read(at, sector_bytes)
    findings.read("gpt-header", at, _GPT_HEADER.size)
    magic, _, size, checksum, _, my, other, first, last, disk_id, entries_at, count, entry_bytes, entries_checksum = (
        _GPT_HEADER.unpack_from(header)
    )
    if magic != _GPT_MAGIC:
        raise _Unsound("magic", f"no partition table in sector {here:,}")
    if not _GPT_HEADER.size <= size <= sector_bytes:
        raise _Unsound("header-size", f"a header of {size:,} bytes")
    if zlib.crc32(header[:16] + bytes(4) + header[20:size]) != checksum:
        raise _Unsound("header-checksum", "the header's checksum does not match")
    if my != here:
        raise _Unsound("place", f"a header that says it is in sector {my:,} stands in {here:,}")
    if entry_bytes < 128 or entry_bytes % 8 or not 0 < count * entry_bytes <= _MOST_ENTRY_BYTES or first > last + 1:
        raise _Unsound("header-fields", f"{count:,} entries of {entry_bytes:,} bytes, usable {first:,} to {last:,}")
    entries = device.read(entries_at * sector_bytes, count * entry_bytes)
    findings.read("gpt-entries", entries_at * sector_bytes, len(entries))
    if zlib.crc32(entries) != entries_checksum:
        raise _Unsound("entries-checksum", "the checksum of the entries does not match")
    return _Gpt(sector_bytes, my, other, first, last, disk_id, entry_bytes, entries)


def _judge_protective(findings: Findings, sector: bytes, protective: _MbrEntry | None) -> None:
    """Only what every tool writes alike is judged: the size that stands there is stale on enlarged volumes."""
    findings.read("mbr", 510, 2)
    if sector[510:] != _BOOT_SIGNATURE:
        findings.damage("gpt.protective-mbr", "no signature at the end of the first sector", at=510)
    if protective is None:
        findings.damage("gpt.protective-mbr", "no entry that protects the disk", at=_MBR_TABLE_AT)
        return
    at = _MBR_TABLE_AT + 16 * (protective.number - 1)
    findings.read("mbr", at + 4, 1)
    if protective.status not in (0, 0x80):
        findings.damage("gpt.protective-mbr", f"status {protective.status:#x}", at=at)
    others = [one for one in _mbr_entries(sector) if one.is_used and one.number != protective.number]
    if others:
        findings.note("gpt.hybrid-mbr", f"the MBR repeats {len(others)} partitions; the GPT is what is followed")
        return
    findings.read("mbr", at + 8, 4)
    if protective.start != 1:
        findings.damage("gpt.protective-mbr", f"begins in sector {protective.start:,}", at=at + 8)


def _judge_agreement(findings: Findings, primary: _Gpt, backup: _Gpt) -> None:
    if backup.other != primary.here:
        findings.damage("gpt.disagreement", f"the second copy looks for the first in sector {backup.other:,}")
    for word, one, other in (
        ("the identity of the disk", primary.disk_id, backup.disk_id),
        ("the usable sectors", (primary.first_usable, primary.last_usable), (backup.first_usable, backup.last_usable)),
        ("the entries", primary.entries, backup.entries),
    ):
        if one != other:
            findings.damage(
                "gpt.disagreement", f"the two copies differ in {word}", at=backup.here * backup.sector_bytes
            )


def _gpt_partitions(findings: Findings, table: _Gpt) -> tuple[Partition, ...]:
    found: list[Partition] = []
    for index in range(len(table.entries) // table.entry_bytes):
        entry = table.entries[index * table.entry_bytes : (index + 1) * table.entry_bytes]
        if not any(entry[:16]):
            continue
        first, last = struct.unpack_from("<QQ", entry, 32)
        if not table.first_usable <= first <= last <= table.last_usable:
            findings.damage("gpt.entry", f"partition {index + 1}: sectors {first:,} to {last:,}")
            continue
        found.append(
            Partition(
                number=index + 1,
                offset=first * table.sector_bytes,
                length=(last - first + 1) * table.sector_bytes,
                kind=_GPT_KINDS.get(str(UUID(bytes_le=entry[:16])), Kind.OTHER),
                name=_escaped(entry[56:128]),
            )
        )
    return tuple(found)


def _escaped(name: bytes) -> str:
    text = name.decode("utf-16-le", "surrogatepass").split("\0")[0]
    return "".join(c if c.isprintable() and c != "\\" else ascii(c)[1:-1] for c in text)
