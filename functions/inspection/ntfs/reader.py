"""NTFS: opened, verified, and read file by file.

The log of NTFS is not replayed: what its records mean is private to Windows. The volume is judged as it lies. While
the log waits to be replayed, structures that do not agree with each other are unknown, not damage.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from functions.inspection.devices import Device, OutOfRange
from functions.inspection.file_systems import Damaged, Extent, File, NotReadable
from functions.inspection.findings import Findings
from functions.inspection.ntfs.boot import Geometry, find_geometry
from functions.inspection.ntfs.directories import Listed, find_in, list_directory
from functions.inspection.ntfs.log import RESTART_PAGE_BYTES, LogState, read_state
from functions.inspection.ntfs.records import (
    COMPRESSED,
    DATA,
    ENCRYPTED,
    HOLE,
    REPARSE_POINT,
    STANDARD_INFORMATION,
    VOLUME_INFORMATION,
    Attribute,
    Fault,
    Record,
    number_of,
    sequence_of,
)
from functions.inspection.ntfs.system_files import judge_system_files
from functions.inspection.ntfs.table import MasterFileTable, Stream
from functions.inspection.ntfs.verification import FIRST_ORDINARY_RECORD, Verification

VOLUME_RECORD, LOG_RECORD, ROOT_RECORD = 3, 2, 5
_IS_DIRTY = 1
_LONGEST_PATH = 32_767
"""Characters that Windows can reach."""
_MOST_BYTES_AT_ONCE = 512 * 1024 * 1024
_RECORDS_AT_ONCE = 2048

_FIRST_YEAR = datetime(1601, 1, 1, tzinfo=UTC)
_LAST_TIME = 189_000_000_000_000_000  # in units of 100 ns: the year 2199

_SYSTEM_FILE = 4
_SYMBOLIC_LINK_OF_UNIX = b"IntxLNK\x01"
_LINKS = frozenset({0xA000000C, 0xA0000003, 0xA000001D})
"""Reparse points that point elsewhere: symbolic link, mount point, symbolic link of Linux."""
_SPECIAL = frozenset({0x80000023, 0x80000024, 0x80000025, 0x80000026})
"""Sockets, pipes and devices of Linux."""
_REPARSE_REASONS = {
    0x80000013: "deduplicated by Windows Server",
    0x80000017: "compressed by Windows (WOF)",
    0x8000001B: "an app of the Windows store",
}


def open_ntfs(device: Device, findings: Findings) -> Ntfs | None:
    """The file system, or None when this is no NTFS.

    One that cannot be followed at all is opened as well: the damage is in the findings, and it has no files.
    Errors: BudgetSpent.
    """
    try:
        geometry = find_geometry(device, findings)
    except Damaged:
        return Ntfs(device, findings, None)  # find_geometry has put into the findings why
    return None if geometry is None else Ntfs(device, findings, _open_table(device, geometry, findings))


def _open_table(device: Device, geometry: Geometry, findings: Findings) -> MasterFileTable | None:
    """The table as its own first record describes it, or else as the copy of that record in the mirror does."""
    for cluster in (geometry.table_cluster, geometry.mirror_cluster):
        at = cluster * geometry.cluster_bytes
        try:
            return MasterFileTable(device, geometry, at)
        except Fault as fault:
            findings.damage(f"ntfs.table.{fault.code}", f"the table cannot be followed: {fault.detail}", at=at)
        except OutOfRange as outside:
            findings.damage("ntfs.truncated", f"the table cannot be followed: {outside}", at=at)
    return None


class Ntfs:
    """One NTFS volume. Without a `table` nothing of it can be followed."""

    kind = "ntfs"

    def __init__(self, device: Device, findings: Findings, table: MasterFileTable | None) -> None:
        self.device = device
        self.findings = findings
        self._table = table
        self._log = LogState(is_at_rest=True, is_empty=True, faults=())
        if table is not None:
            self._open_log(table)
            self._open_volume(table)
        self.needs_replay = not self._log.is_at_rest

    def _open_log(self, table: MasterFileTable) -> None:
        try:
            data = _data_of(table.whole(table.record(LOG_RECORD)))
            if data is None or data.size < 2 * RESTART_PAGE_BYTES:
                raise Fault("content", "no log")
            stream = Stream(self.device, table.geometry, data.runs, data.size)
            self._log = read_state(stream.read(0, 2 * RESTART_PAGE_BYTES))
            places = [stream.places(at, RESTART_PAGE_BYTES)[0][0] for at in (0, RESTART_PAGE_BYTES)]
        except Fault as fault:
            self.findings.damage(f"ntfs.log.{fault.code}", fault.detail)
            return
        except OutOfRange as outside:
            self.findings.damage("ntfs.log.runs", str(outside))
            return
        for place in places:
            self.findings.read("log", place, RESTART_PAGE_BYTES)
        self._report_log(places)

    def _report_log(self, places: list[int]) -> None:
        log = self._log
        for at, fault in log.faults:
            place = places[at // RESTART_PAGE_BYTES]
            if fault.is_mendable and len(log.faults) == 1:
                self.findings.note("ntfs.log.torn", fault.detail, at=place)
            else:
                self.findings.damage("ntfs.log.restart", f"{fault.code}: {fault.detail}", at=place)
        if log.unknown_version:
            self.findings.unknown("ntfs.log.version", f"the log is of version {log.unknown_version}")
        if not log.is_at_rest:
            self.findings.note(
                "ntfs.log.replay", "changes wait in the log; the volume was judged as it lies without them"
            )

    def _open_volume(self, table: MasterFileTable) -> None:
        try:
            whole = table.whole(table.record(VOLUME_RECORD))
        except Fault as fault:
            self.findings.damage(f"ntfs.volume.{fault.code}", fault.detail)
            return
        information = next((a.resident for a in whole if a.type == VOLUME_INFORMATION and a.resident), None)
        if information is None:
            self.findings.damage("ntfs.volume.content", "no volume information")
            return
        major, minor, flags = struct.unpack_from("<BBH", information, 8)
        if (major, minor) not in ((1, 2), (3, 0), (3, 1)):
            self.findings.unknown("ntfs.volume.version", f"NTFS of version {major}.{minor}")
        if flags & _IS_DIRTY:
            self.findings.note("ntfs.volume.dirty", "Windows will check this volume when it is mounted")

    def verify(self) -> None:
        """As the port says; opening has judged boot sectors, log and volume information before."""
        if self._table is None:
            return
        if self._table.is_cut:
            self.findings.unknown("ntfs.table.size", f"only the first {self._table.count:,} records were judged")
        judge_system_files(self._table, self.findings, self._mismatch)
        Verification(self._table, self.findings, is_at_rest=self._log.is_at_rest).run()

    def _mismatch(self, code: str, detail: str, at: int | None) -> None:
        if self._log.is_at_rest:
            self.findings.damage(code, detail, at=at)
        else:
            self.findings.unknown(code, f"{detail}; the log was not replayed and may mend it", at=at)

    # --- files ---

    def files(self) -> Iterator[File]:
        """As the port says. Files of NTFS itself, links, and short names that repeat long ones are left out."""
        if self._table is None:
            return
        visited = {ROOT_RECORD}
        waiting = [(ROOT_RECORD, "")]
        while waiting:
            number, path = waiting.pop()
            try:
                for listed, record in self._children(self._table, number):
                    name = f"{path}/{listed.text}"
                    if len(name) > _LONGEST_PATH:
                        self.findings.note("ntfs.directory.depth", "paths longer than Windows can reach are left out")
                        continue
                    if not record.is_directory:
                        file = self._file(self._table, record, name)
                        if file is not None:
                            yield file
                    elif record.number not in visited and not self._is_link(self._table, record):
                        visited.add(record.number)
                        waiting.append((record.number, name))
            except Fault:
                continue  # verify has put into the findings why this directory cannot be read

    def _children(self, table: MasterFileTable, number: int) -> Iterator[tuple[Listed, Record]]:
        """What a directory lists and its record, in batches in the order of the table. Errors: Fault."""
        batch: list[Listed] = []
        for listed in list_directory(table, table.record(number)):
            if number_of(listed.reference) >= FIRST_ORDINARY_RECORD:
                batch.append(listed)
            if len(batch) == _RECORDS_AT_ONCE:
                yield from self._records(table, batch)
                batch = []
        yield from self._records(table, batch)

    def _records(self, table: MasterFileTable, batch: list[Listed]) -> Iterator[tuple[Listed, Record]]:
        batch.sort(key=lambda listed: number_of(listed.reference))
        places = (table.place(number_of(listed.reference)) for listed in batch)
        self.device.expect((at, table.geometry.record_bytes) for at in places if at is not None)
        for listed in batch:
            try:
                record = table.record(number_of(listed.reference))
            except Fault:
                continue  # as above
            if record.is_in_use and not record.base and record.sequence == sequence_of(listed.reference):
                yield listed, record

    def find(self, path: str) -> File | None:
        """As the port says; first by the exact name, then as Windows does, without regard to case."""
        if self._table is None:
            raise Damaged("the table cannot be followed")
        table = self._table
        number, names = ROOT_RECORD, [name for name in path.split("/") if name]
        try:
            record = table.record(number)
            for name in names:
                if not record.is_directory or self._is_link(table, record):
                    return None
                found = find_in(table, record, name)
                if found is None or number_of(found.reference) < FIRST_ORDINARY_RECORD:
                    return None
                record = table.record(number_of(found.reference))
                if not record.is_in_use or record.sequence != sequence_of(found.reference):
                    raise Damaged(f"the entry of {name!a} points to a record of another file")
            return None if record.is_directory else self._file(table, record, path)
        except Fault as fault:
            raise Damaged(f"{path!a}: {fault}") from fault

    def _is_link(self, table: MasterFileTable, record: Record) -> bool:
        try:
            whole = table.whole(record)
        except Fault:
            return True  # a directory that cannot be read is not entered either
        return _reparse_tag(whole) in _LINKS

    def _file(self, table: MasterFileTable, record: Record, path: str) -> File | None:
        try:
            whole = table.whole(record)
        except Fault:
            return None
        data, tag = _data_of(whole), _reparse_tag(whole)
        if tag in _LINKS or tag in _SPECIAL:
            return None
        information = next((a.resident for a in whole if a.type == STANDARD_INFORMATION and a.resident), b"")
        if information[0x20:0x24] and information[0x20] & _SYSTEM_FILE and self._is_unix_link(table, data):
            return None
        return File(
            path=path,
            id=record.number,
            size_bytes=data.size if data else 0,
            modified_at=_time(information),
            extents=_extents(data, table.geometry.cluster_bytes),
            inline=data.resident if data else b"",
            why_not=_why_not(data, tag),
        )

    def _is_unix_link(self, table: MasterFileTable, data: Attribute | None) -> bool:
        """ntfs-3g keeps a symbolic link as a system file with these first bytes."""
        if data is None or data.size < len(_SYMBOLIC_LINK_OF_UNIX):
            return False
        if data.resident is not None:
            return data.resident.startswith(_SYMBOLIC_LINK_OF_UNIX)
        try:
            start = Stream(self.device, table.geometry, data.runs, data.size).read(0, len(_SYMBOLIC_LINK_OF_UNIX))
        except OutOfRange:
            return False
        return start == _SYMBOLIC_LINK_OF_UNIX

    def read(self, file: File, offset: int = 0, length: int | None = None) -> bytes:
        """As the port says. At most 512 MiB at once; more is NotReadable."""
        if file.why_not:
            raise NotReadable(file.why_not)
        end = file.size_bytes if length is None else min(file.size_bytes, offset + length)
        if offset < 0 or end <= offset:
            return b""
        if file.inline is not None:
            return file.inline[offset:end]
        if end - offset > _MOST_BYTES_AT_ONCE:
            raise NotReadable(f"{end - offset:,} bytes are too many at once: read them in pieces")
        content = bytearray(end - offset)
        try:
            for extent in file.extents:
                first, last = max(offset, extent.offset), min(end, extent.offset + extent.length)
                if first < last:
                    content[first - offset : last - offset] = self.device.read(
                        extent.at + first - extent.offset, last - first
                    )
        except OutOfRange as outside:
            self.findings.damage("ntfs.file.range", f"record {file.id:,}: {outside}")
            raise Damaged(f"{file.path!a}: {outside}") from outside
        return bytes(content)


def _data_of(whole: list[Attribute]) -> Attribute | None:
    """The unnamed stream, which is what is called the content of a file."""
    return next((a for a in whole if a.type == DATA and not a.name), None)


def _reparse_tag(whole: list[Attribute]) -> int | None:
    value = next((a.resident for a in whole if a.type == REPARSE_POINT), None)
    return struct.unpack_from("<I", value)[0] if value and len(value) >= 8 else None


def _why_not(data: Attribute | None, tag: int | None) -> str:
    if tag is not None:
        return _REPARSE_REASONS.get(tag, f"kept elsewhere (reparse point {tag:#x})")
    if data is None:
        return ""
    if data.flags & ENCRYPTED:
        return "encrypted by Windows (EFS)"
    return "compressed by NTFS" if data.flags & COMPRESSED and data.resident is None else ""


def _extents(data: Attribute | None, cluster_bytes: int) -> tuple[Extent, ...]:
    """Up to where the stream was ever written: what lies behind reads as zeros."""
    if data is None or data.resident is not None:
        return ()
    return tuple(
        Extent(start, run.cluster * cluster_bytes, min(run.count * cluster_bytes, data.initialized - start))
        for run in data.runs
        if run.cluster != HOLE and (start := run.stream_cluster * cluster_bytes) < data.initialized
    )


def _time(information: bytes) -> datetime | None:
    """When the content was last changed, from the standard information; None when that cannot be."""
    if len(information) < 16:
        return None
    ticks = struct.unpack_from("<Q", information, 8)[0]
    return _FIRST_YEAR + timedelta(microseconds=ticks // 10) if 0 < ticks < _LAST_TIME else None
