"""The master file table: where each record lies, and all attributes of a file wherever its records are."""

from __future__ import annotations

import bisect
import struct
from collections.abc import Iterator, Sequence

from functions.inspection.devices import Device, OutOfRange
from functions.inspection.ntfs.boot import Geometry
from functions.inspection.ntfs.records import (
    ATTRIBUTE_LIST,
    BITMAP,
    DATA,
    HOLE,
    Attribute,
    Fault,
    Record,
    Run,
    attributes,
    number_of,
    parse_record,
    put_together,
    sequence_of,
)

MOST_RECORDS = 1 << 26
"""No table is followed further: a hostile one would only cost memory."""
_MOST_LIST_BYTES = 256 * 1024
"""What Windows allows an attribute list."""
_MOST_LISTED_BYTES = 512 * 1024 * 1024
_MOST_TABLE_PARTS = 512


class Stream:
    """The clusters of an attribute as bytes. Holes read as zeros; `size_bytes` is where it ends."""

    def __init__(self, device: Device, geometry: Geometry, runs: Sequence[Run], size_bytes: int) -> None:
        self._device = device
        self._cluster_bytes = geometry.cluster_bytes
        self._runs = runs
        self._starts = [run.stream_cluster for run in runs]
        self.size_bytes = size_bytes

    def pieces(self, offset: int, length: int) -> Iterator[tuple[int | None, int]]:
        """Where a stretch lies on the device, None for a hole, and how long it is. Errors: OutOfRange."""
        if offset < 0 or length < 0 or offset + length > self.size_bytes:
            raise OutOfRange(f"{length:,} bytes at {offset:,} of a stream of {self.size_bytes:,}")
        position = bisect.bisect_right(self._starts, offset // self._cluster_bytes) - 1
        while length:
            run = self._runs[position] if 0 <= position < len(self._runs) else None
            inside = offset - run.stream_cluster * self._cluster_bytes if run else 0
            if run is None or inside >= run.count * self._cluster_bytes:
                raise OutOfRange(f"no run holds the byte {offset:,} of a stream")
            taken = min(length, run.count * self._cluster_bytes - inside)
            yield (None if run.cluster == HOLE else run.cluster * self._cluster_bytes + inside), taken
            offset, length, position = offset + taken, length - taken, position + 1

    def read(self, offset: int, length: int) -> bytes:
        """The bytes. Errors: OutOfRange; BudgetSpent."""
        return b"".join(
            bytes(taken) if at is None else self._device.read(at, taken) for at, taken in self.pieces(offset, length)
        )

    def places(self, offset: int, length: int) -> list[tuple[int, int]]:
        """Where a stretch lies on the device, without its holes. Errors: OutOfRange."""
        return [(at, taken) for at, taken in self.pieces(offset, length) if at is not None]


def content_of(attribute: Attribute, device: Device, geometry: Geometry, *, most_bytes: int) -> bytes:
    """The whole of a small attribute. Errors: Fault when it is too large or lies outside; BudgetSpent."""
    if attribute.resident is not None:
        return attribute.resident
    if attribute.size > most_bytes:
        raise Fault("size", f"{attribute.size:,} bytes where at most {most_bytes:,} are expected")
    try:
        kept = Stream(device, geometry, attribute.runs, attribute.size).read(0, attribute.initialized)
    except OutOfRange as outside:
        raise Fault("runs", str(outside)) from outside
    return kept.ljust(attribute.size, b"\0")


class MasterFileTable:
    """The records of the table by number. Opening it reads record 0, and more only when the table is in many parts.

    `first_record_at` is where to read record 0 from: the table itself, or its mirror when the table is damaged there.

    Errors on opening: Fault; OutOfRange; BudgetSpent.
    """

    def __init__(self, device: Device, geometry: Geometry, first_record_at: int) -> None:
        self.device = device
        self.geometry = geometry
        self._listed_bytes = 0
        record = parse_record(0, device.read(first_record_at, geometry.record_bytes))
        own = attributes(record, geometry)
        data = next((a for a in own if a.type == DATA and not a.name and not a.first_cluster), None)
        if data is None or data.resident is not None or not data.runs or data.runs[0].cluster != geometry.table_cluster:
            raise Fault("table", "the first record does not describe the table that it stands in")
        self._use(data, data.runs)
        if any(a.type == ATTRIBUTE_LIST for a in own):
            self._follow_parts(record, data)
        self.attributes = self.whole(record)

    def _use(self, data: Attribute, runs: Sequence[Run]) -> None:
        if any(run.cluster == HOLE for run in runs):
            raise Fault("table", "a hole in the table")
        covered = runs[-1].stream_cluster + runs[-1].count
        size = min(data.size, data.initialized, covered * self.geometry.cluster_bytes)
        self.count = min(size // self.geometry.record_bytes, MOST_RECORDS)
        self.stream = Stream(self.device, self.geometry, runs, self.count * self.geometry.record_bytes)
        self.is_cut = size // self.geometry.record_bytes > MOST_RECORDS

    def _follow_parts(self, record: Record, data: Attribute) -> None:
        """The rest of the table's own runs: each part lies in a record that the parts before it already reach."""
        runs = list(data.runs)
        parts_of_data = [one for one in self._listed(record) if one[1] == DATA and one[2]]
        if len(parts_of_data) > _MOST_TABLE_PARTS:
            raise Fault("table", f"a table in {len(parts_of_data):,} parts")
        for reference, _, first_cluster in parts_of_data:
            part_record = self.record(number_of(reference))
            parts = (a for a in attributes(part_record, self.geometry) if a.type == DATA and not a.name)
            part = next((a for a in parts if a.first_cluster == first_cluster), None)
            if part is None or first_cluster != runs[-1].stream_cluster + runs[-1].count:
                raise Fault("table", f"no part of the table at cluster {first_cluster:,}")
            runs += part.runs
            self._use(data, runs)

    def record(self, number: int) -> Record:
        """One record, its header judged. Errors: Fault; BudgetSpent."""
        if not 0 <= number < self.count:
            raise Fault("number", f"record {number:,} of {self.count:,}")
        return parse_record(number, self.stored(number))

    def stored(self, number: int) -> bytes:
        """The bytes of a record as they are stored. Errors: Fault; BudgetSpent."""
        try:
            return self.stream.read(number * self.geometry.record_bytes, self.geometry.record_bytes)
        except OutOfRange as outside:
            raise Fault("runs", str(outside)) from outside

    def place(self, number: int) -> int | None:
        """Where a record begins on the device, or None beyond the table."""
        if not 0 <= number < self.count:
            return None
        return self.stream.places(number * self.geometry.record_bytes, self.geometry.record_bytes)[0][0]

    def marked(self) -> Attribute:
        """The bitmap of the records in use. Errors: Fault."""
        found = next((a for a in self.attributes if a.type == BITMAP and not a.name), None)
        if found is None:
            raise Fault("table", "no bitmap of the records")
        return found

    def whole(self, record: Record) -> list[Attribute]:
        """All attributes of a file, of its base record and of those that its attribute list names, put together.

        Errors: Fault, also when a named part is missing; BudgetSpent.
        """
        own = attributes(record, self.geometry)
        if not any(a.type == ATTRIBUTE_LIST for a in own):
            return put_together(own)
        listed = self._listed(record)
        elsewhere = dict.fromkeys(reference for reference, _, _ in listed if number_of(reference) != record.number)
        self.device.expect(
            (place, self.geometry.record_bytes)
            for reference in elsewhere
            if (place := self.place(number_of(reference))) is not None
        )
        parts = own
        for reference in elsewhere:
            extension = self.record(number_of(reference))
            if extension.sequence != sequence_of(reference) or not extension.is_in_use:
                raise Fault("list", f"record {extension.number:,} is not the one that is meant", is_mendable=True)
            if extension.base != record.reference:
                raise Fault("list", f"record {extension.number:,} belongs to another file", is_mendable=True)
            parts = parts + attributes(extension, self.geometry)
        there = sorted((a.type, a.first_cluster) for a in parts if a.type != ATTRIBUTE_LIST)
        if sorted((type_, first) for _, type_, first in listed) != there:
            raise Fault("list", f"{len(listed)} attributes are listed, {len(there)} are there", is_mendable=True)
        return put_together(parts)

    def extensions_of(self, record: Record) -> set[int]:
        """The numbers of the other records that the attribute list of this one names. Errors: Fault."""
        return {number_of(reference) for reference, _, _ in self._listed(record)} - {record.number}

    def _listed(self, record: Record) -> list[tuple[int, int, int]]:
        """The entries of the attribute list: reference of the record, type, first cluster. Errors: Fault."""
        listing = next((a for a in attributes(record, self.geometry) if a.type == ATTRIBUTE_LIST), None)
        if listing is None:
            return []
        content = content_of(listing, self.device, self.geometry, most_bytes=_MOST_LIST_BYTES)
        if listing.resident is None:  # many lists in the same clusters: small for the disk, endless for us
            self._listed_bytes += len(content)
        if self._listed_bytes > _MOST_LISTED_BYTES:
            raise Fault("list", "more attribute lists than any volume has")
        entries: list[tuple[int, int, int]] = []
        at = 0
        while at < len(content):
            if at + 26 > len(content):
                raise Fault("list", "an entry that is cut off")
            type_, length, _, _, first_cluster, reference = struct.unpack_from("<IHBBQQ", content, at)
            if length < 26 or length % 8 or at + length > len(content):
                raise Fault("list", f"an entry of {length:,} bytes")
            entries.append((reference, type_, first_cluster))
            at += length
        return entries
