"""The files that NTFS keeps for itself: the mirror of the table, attribute definitions, security descriptors."""

from __future__ import annotations

import struct
from collections.abc import Callable

from functions.inspection.devices import OutOfRange
from functions.inspection.findings import Findings
from functions.inspection.ntfs.records import DATA, Attribute, Fault, without_fixups
from functions.inspection.ntfs.table import MasterFileTable, Stream, content_of

Mismatch = Callable[[str, str, int | None], None]
"""What to call with a code, a detail and a place when two structures do not agree."""

MIRROR_RECORD, DEFINITIONS_RECORD, SECURITY_RECORD = 1, 4, 9
_SECURITY_STREAM = "$SDS".encode("utf-16-le")
_SECURITY_BLOCK = 256 * 1024
_MOST_SECURITY_BYTES = 64 * 1024 * 1024
_DEFINITION_BYTES = 160
_MOST_MIRRORED = 64


def judge_system_files(table: MasterFileTable, findings: Findings, mismatch: Mismatch) -> None:
    """Each was compared with what it repeats, or with its own hashes. Errors: BudgetSpent."""
    judges: tuple[tuple[str, Callable[[], None]], ...] = (
        ("mirror", lambda: _judge_mirror(table, findings, mismatch)),
        ("definitions", lambda: _judge_definitions(table)),
        ("security", lambda: _judge_security(table, findings, mismatch)),
    )
    for structure, judge in judges:
        try:
            judge()
        except Fault as fault:
            if fault.is_mendable:
                mismatch(f"ntfs.{structure}.{fault.code}", fault.detail, None)
            else:
                findings.damage(f"ntfs.{structure}.{fault.code}", fault.detail)
        except OutOfRange as outside:
            findings.damage(f"ntfs.{structure}.runs", str(outside))


def _stream_attribute(table: MasterFileTable, number: int, name: bytes = b"") -> Attribute | None:
    whole = table.whole(table.record(number))
    return next((a for a in whole if a.type == DATA and a.name == name), None)


def _judge_mirror(table: MasterFileTable, findings: Findings, mismatch: Mismatch) -> None:
    """The first records of the table stand a second time in the middle of the volume."""
    data = _stream_attribute(table, MIRROR_RECORD)
    geometry = table.geometry
    size = geometry.record_bytes
    if data is None or data.resident is not None or not data.runs or data.runs[0].cluster != geometry.mirror_cluster:
        raise Fault("place", "the mirror is not where the boot sector says")
    stream = Stream(table.device, geometry, data.runs, data.size)
    for number in range(min(data.size // size, _MOST_MIRRORED, table.count)):
        at = stream.places(number * size, size)[0][0]
        copy = without_fixups(stream.read(number * size, size), b"FILE")
        own = without_fixups(table.stored(number), b"FILE")
        used = min(struct.unpack_from("<I", own, 0x18)[0], size)
        fixups_at, fixups = struct.unpack_from("<HH", own, 4)
        fixups_end = fixups_at + 2 * fixups
        findings.read("mirror", at, fixups_at)
        findings.read("mirror", at + fixups_end, used - fixups_end)
        # The fixups of each copy count the writes of that copy.
        if copy[:fixups_at] != own[:fixups_at] or copy[fixups_end:used] != own[fixups_end:used]:
            mismatch("ntfs.mirror.differs", f"record {number} is not what its mirror says", at)


def _judge_definitions(table: MasterFileTable) -> None:
    data = _stream_attribute(table, DEFINITIONS_RECORD)
    if data is None:
        raise Fault("content", "no attribute definitions")
    content = content_of(data, table.device, table.geometry, most_bytes=1024 * 1024)
    last_type = 0
    for at in range(0, len(content) - _DEFINITION_BYTES + 1, _DEFINITION_BYTES):
        name, type_ = struct.unpack_from("<128sI", content, at)
        if not type_ and at:
            break
        if type_ <= last_type or not name.startswith(b"$\0"):
            raise Fault("content", f"a definition of type {type_:#x} behind {last_type:#x}")
        last_type = type_
    if last_type < DATA:
        raise Fault("content", "the definitions end too early")


def _judge_security(table: MasterFileTable, findings: Findings, mismatch: Mismatch) -> None:
    """Each descriptor carries its own hash, and each block of them stands there twice."""
    data = _stream_attribute(table, SECURITY_RECORD, _SECURITY_STREAM)
    if data is None or data.resident is not None:
        return  # the volumes of NT 4 have none
    stream = Stream(table.device, table.geometry, data.runs, data.size)
    for begin in range(0, min(data.size - _SECURITY_BLOCK, _MOST_SECURITY_BYTES), 2 * _SECURITY_BLOCK):
        length = min(_SECURITY_BLOCK, data.size - begin - _SECURITY_BLOCK)
        block, copy = stream.read(begin, length), stream.read(begin + _SECURITY_BLOCK, length)
        end, faults = _walk_descriptors(block, begin)
        end_of_copy, _ = _walk_descriptors(copy, begin)
        for start in (begin, begin + _SECURITY_BLOCK):
            for place in stream.places(start, end):
                findings.read("security", *place)
        if end != end_of_copy or block[:end] != copy[:end]:
            mismatch("ntfs.security.differs", f"descriptors from {begin:,} on are not what their copy says", None)
        for fault in faults:
            findings.damage("ntfs.security.hash", fault)


def _walk_descriptors(block: bytes, begin: int) -> tuple[int, list[str]]:
    """Where the descriptors end, and what is wrong with them."""
    at = end = 0
    faults: list[str] = []
    while at + 20 <= len(block):
        stored_hash, id_, offset, length = struct.unpack_from("<IIQI", block, at)
        if not length:
            break
        if offset != begin + at or not 20 <= length <= len(block) - at:
            faults.append(f"descriptor {id_:,}: {length:,} bytes at {offset:,}")
            break
        if _hash(block[at + 20 : at + length]) != stored_hash:
            faults.append(f"descriptor {id_:,}: its hash does not match")
        end = at + length
        at = (end + 15) // 16 * 16
    return end, faults


def _hash(descriptor: bytes) -> int:
    value = 0
    for (word,) in struct.iter_unpack("<I", descriptor[: len(descriptor) // 4 * 4]):
        value = (word + (value << 3 | value >> 29)) & 0xFFFFFFFF
    return value
