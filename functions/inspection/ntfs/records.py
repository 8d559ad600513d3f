"""Records of the master file table: their fixups, headers, attributes and lists of runs, judged as they are read."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from functions.inspection.ntfs.boot import Geometry

STRIDE = 512
"""The last two bytes of each such stretch are replaced by a counter, whatever the sector of the disk."""

STANDARD_INFORMATION, ATTRIBUTE_LIST, FILE_NAME, OBJECT_ID = 0x10, 0x20, 0x30, 0x40
VOLUME_NAME, VOLUME_INFORMATION, DATA = 0x60, 0x70, 0x80
INDEX_ROOT, INDEX_ALLOCATION, BITMAP, REPARSE_POINT = 0x90, 0xA0, 0xB0, 0xC0
_END_OF_ATTRIBUTES = 0xFFFFFFFF

COMPRESSED, ENCRYPTED, SPARSE = 0x00FF, 0x4000, 0x8000
HOLE = -1

IN_USE, DIRECTORY = 1, 2


class Fault(Exception):
    """A structure is not what the format asks for. `code` is the end of the finding's code.

    `is_mendable`: a change that was under way leaves exactly this, so a replay of the log may mend it.
    """

    def __init__(self, code: str, detail: str, *, is_mendable: bool = False) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail, self.is_mendable = code, detail, is_mendable


def number_of(reference: int) -> int:
    """The record that a reference points to."""
    return reference & 0xFFFF_FFFF_FFFF


def sequence_of(reference: int) -> int:
    """The generation of the record that a reference points to."""
    return reference >> 48


def without_fixups(stored: bytes, magic: bytes, *, first_fixups_at: int = 0x28) -> bytes:
    """The structure as it is meant, with the last bytes of every stride put back.

    Errors: Fault for another magic, for a table of fixups that cannot be, and for a stride of another write.
    """
    if stored[:4] != magic:
        is_empty = not any(stored)
        raise Fault("magic", "zeros" if is_empty else f"begins with {stored[:4]!r}", is_mendable=is_empty)
    at, count = struct.unpack_from("<HH", stored, 4)
    if count != len(stored) // STRIDE + 1 or at % 2 or not first_fixups_at <= at <= STRIDE - 2 - 2 * count:
        raise Fault("fixups", f"a table of {count} fixups at {at}")
    counter = struct.unpack_from("<H", stored, at)[0]
    fixed = bytearray(stored)
    for stride in range(1, count):
        end = stride * STRIDE
        own = struct.unpack_from("<H", stored, end - 2)[0]
        if own != counter:
            # A write that was cut short leaves the counter of the write before; counters run from 1 to 0xFFFE.
            is_neighbour = 0 < own < 0xFFFF and (own - counter) % 0xFFFE in (1, 0xFFFD)
            raise Fault("torn", f"stride {stride} bears {own:#x}, not {counter:#x}", is_mendable=is_neighbour)
        fixed[end - 2 : end] = stored[at + 2 * stride : at + 2 * stride + 2]
    return bytes(fixed)


# --- records ---------------------------------------------------------------------------------------------------------

_RECORD = struct.Struct("<4sHHQHHHHIIQHHI")


@dataclass(frozen=True, slots=True)
class Record:
    """The header of a record, and its bytes without fixups."""

    number: int
    sequence: int
    links: int
    flags: int
    base: int
    """The reference of the record whose attributes these are as well; 0 in a base record."""
    first_attribute: int
    used_bytes: int
    content: bytes

    @property
    def is_in_use(self) -> bool:
        """Whether it belongs to a file at all."""
        return bool(self.flags & IN_USE)

    @property
    def is_directory(self) -> bool:
        """Whether it is one, by its own flag."""
        return bool(self.flags & DIRECTORY)

    @property
    def reference(self) -> int:
        """What others write when they point here."""
        return self.sequence << 48 | self.number


def parse_record(number: int, stored: bytes) -> Record:
    """The record, its header judged. Errors: Fault."""
    content = without_fixups(stored, b"FILE")
    (
        _, fixups_at, fixups, _, sequence, links, first, flags, used, allocated, base, _, _, own
    ) = _RECORD.unpack_from(content)  # fmt: skip
    has_own_number = fixups_at >= _RECORD.size  # the header of Windows 2000 ends before it
    if has_own_number and own != number:
        raise Fault("number", f"says that it is record {own:,}")
    if allocated != len(content) or not fixups_at + 2 * fixups <= first <= used <= allocated or first % 8 or used % 8:
        raise Fault("header", f"attributes from {first:,} to {used:,} of {allocated:,} bytes")
    if flags & ~0xF:
        raise Fault("header", f"flags {flags:#x}")
    if flags & IN_USE and not sequence:
        raise Fault("header", "in use without a sequence number")
    return Record(number, sequence, links, flags, base, first, used, content)


# --- attributes ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Run:
    """Clusters that follow each other: where in the stream, where on the volume (HOLE: nowhere), how many."""

    stream_cluster: int
    cluster: int
    count: int


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute, or one part of one whose parts lie in several records. Sizes in bytes."""

    type: int
    name: bytes
    flags: int
    instance: int
    resident: bytes | None
    first_cluster: int = 0
    next_cluster: int = 0
    runs: tuple[Run, ...] = ()
    allocated: int = 0
    size: int = 0
    initialized: int = 0


def attributes(record: Record, geometry: Geometry) -> list[Attribute]:
    """Every attribute in the order of the record, judged one by one. Errors: Fault."""
    found: list[Attribute] = []
    at, last_type = record.first_attribute, 0
    instances = set[int]()
    while True:
        if at + 8 > record.used_bytes:
            raise Fault("attributes", "no mark at the end of the attributes")
        type_, length = struct.unpack_from("<II", record.content, at)
        if type_ == _END_OF_ATTRIBUTES:
            if at + 8 != record.used_bytes:
                raise Fault("attributes", f"{record.used_bytes - at - 8:,} bytes behind the last attribute")
            return found
        if type_ < last_type or type_ % 0x10 or type_ < STANDARD_INFORMATION:
            raise Fault("attributes", f"type {type_:#x} behind {last_type:#x}")
        if length % 8 or length < 0x18 or at + length + 8 > record.used_bytes:
            raise Fault("attributes", f"{length:,} bytes at {at:,}")
        attribute = _attribute(type_, record.content[at : at + length], geometry)
        if attribute.instance in instances:
            raise Fault("attributes", f"two attributes of instance {attribute.instance}")
        instances.add(attribute.instance)
        found.append(attribute)
        at, last_type = at + length, type_


def _attribute(type_: int, content: bytes, geometry: Geometry) -> Attribute:
    form, name_length, name_at, flags, instance = struct.unpack_from("<BBHHH", content, 8)
    header_bytes = 0x40 if form else 0x18
    if form > 1 or flags & ~(COMPRESSED | ENCRYPTED | SPARSE) or len(content) < header_bytes:
        raise Fault("attribute", f"type {type_:#x}: form {form}, flags {flags:#x}")
    name_end = name_at + 2 * name_length
    if name_length and not header_bytes <= name_at <= name_end <= len(content):
        raise Fault("attribute", f"type {type_:#x}: a name of {name_length} at {name_at:,}")
    name = content[name_at:name_end] if name_length else b""
    if form:
        return _non_resident(type_, name, flags, instance, content, geometry)
    size, value_at = struct.unpack_from("<IH", content, 0x10)
    if value_at % 8 or not max(header_bytes, name_end if name_length else 0) <= value_at <= value_at + size <= len(
        content
    ):
        raise Fault("attribute", f"type {type_:#x}: a value of {size:,} bytes at {value_at:,}")
    value = content[value_at : value_at + size]
    _judge_value(type_, value)
    return Attribute(type_, name, flags, instance, value, size=size, initialized=size)


def _judge_value(type_: int, value: bytes) -> None:
    if type_ == STANDARD_INFORMATION and len(value) not in (0x30, 0x48):
        raise Fault("attribute", f"standard information of {len(value):,} bytes")
    if type_ == FILE_NAME and (len(value) < 0x42 or len(value) != 0x42 + 2 * value[0x40] or value[0x41] > 3):
        raise Fault("attribute", f"a file name in {len(value):,} bytes")
    if type_ == VOLUME_INFORMATION and len(value) < 12:
        raise Fault("attribute", f"volume information of {len(value):,} bytes")


def _non_resident(type_: int, name: bytes, flags: int, instance: int, content: bytes, geometry: Geometry) -> Attribute:
    first, last, runs_at, _, _, allocated, size, initialized = struct.unpack_from("<QQHHIQQQ", content, 0x10)
    next_cluster = (last + 1) & 0xFFFF_FFFF_FFFF_FFFF  # an empty stream ends at -1
    if type_ in (STANDARD_INFORMATION, FILE_NAME, INDEX_ROOT, VOLUME_INFORMATION):
        raise Fault("attribute", f"type {type_:#x} must be resident")
    if not first <= next_cluster < 1 << 60 or not 0x40 <= runs_at < len(content) or (first and not next_cluster):
        raise Fault("attribute", f"type {type_:#x}: clusters {first:,} to {last:,}, runs at {runs_at:,}")
    runs = tuple(_runs(content, runs_at, first, geometry.clusters))
    end = runs[-1].stream_cluster + runs[-1].count if runs else first
    if end != next_cluster:
        raise Fault("runs", f"type {type_:#x}: runs up to {end:,}, not {next_cluster:,}")
    if first:
        allocated = size = initialized = 0  # only the first part of an attribute knows them
    elif not initialized <= size <= allocated or allocated % geometry.cluster_bytes:
        raise Fault("attribute", f"type {type_:#x}: sizes {initialized:,}, {size:,}, {allocated:,}")
    return Attribute(type_, name, flags, instance, None, first, next_cluster, runs, allocated, size, initialized)


def _runs(content: bytes, at: int, stream_cluster: int, clusters: int) -> Iterator[Run]:
    cluster = 0
    while at < len(content) and content[at]:
        count_bytes, step_bytes = content[at] & 15, content[at] >> 4
        end = at + 1 + count_bytes + step_bytes
        if not 1 <= count_bytes <= 8 or step_bytes > 8 or end > len(content):
            raise Fault("runs", f"a run in {count_bytes} and {step_bytes} bytes")
        count = int.from_bytes(content[at + 1 : at + 1 + count_bytes], "little")
        if not 0 < count < 1 << 60:
            raise Fault("runs", f"a run of {count:,} clusters")
        where = HOLE
        if step_bytes:
            cluster += int.from_bytes(content[end - step_bytes : end], "little", signed=True)
            if not 0 <= cluster <= cluster + count <= clusters:
                raise Fault("runs", f"{count:,} clusters from {cluster:,} of {clusters:,}")
            where = cluster
        yield Run(stream_cluster, where, count)
        stream_cluster, at = stream_cluster + count, end
    if at >= len(content):
        raise Fault("runs", "a list of runs without an end")


def put_together(parts: Sequence[Attribute]) -> list[Attribute]:
    """One attribute for each type and name, of all of its parts. Errors: Fault when parts are missing or twice."""
    by_name: dict[tuple[int, bytes], list[Attribute]] = {}
    whole: list[Attribute] = []
    for part in parts:
        if part.resident is not None:
            whole.append(part)
        else:
            by_name.setdefault((part.type, part.name), []).append(part)
    for group in by_name.values():
        group.sort(key=lambda part: part.first_cluster)
        expected = 0
        for part in group:
            if part.first_cluster != expected:
                raise Fault("parts", f"type {part.type:#x}: a part at {part.first_cluster:,}, not at {expected:,}")
            expected = part.next_cluster
        runs = tuple(run for part in group for run in part.runs)
        whole.append(replace(group[0], next_cluster=expected, runs=runs))
    return whole
