"""How recovery of a PostgreSQL cluster would go: where it begins, and whether the WAL that it needs is there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from functions.inspection import page_stretches
from functions.inspection.file_systems import Damaged, File, FileSystem, NotReadable
from functions.inspection.findings import Findings
from functions.inspection.postgresql.control import Control, State
from functions.inspection.postgresql.wal import (
    Layout,
    Line,
    Record,
    Recovery,
    Stopped,
    WalPages,
    WalWalk,
    later_segments,
    read_history,
)

_LABEL = re.compile(r"START WAL LOCATION: ([0-9A-F]{1,8})/([0-9A-F]{1,8}) ")
_LABEL_CHECKPOINT = re.compile(r"^CHECKPOINT LOCATION: ([0-9A-F]{1,8})/([0-9A-F]{1,8})$", re.MULTILINE)
_LABEL_TIMELINE = re.compile(r"^START TIMELINE: (\d{1,10})$", re.MULTILINE)
_MOST_LATER_SEGMENTS = 64
_MOST_HISTORIES = 1_000


@dataclass(frozen=True, slots=True)
class Course:
    """What recovery does, and where the WAL ends; `end` is None when the WAL could not be followed."""

    recovery: Recovery
    end: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where recovery begins, and what it must meet before the cluster is consistent."""

    redo: int
    checkpoint: int
    timeline: int
    reach: int = 0
    """A place that must be reached; 0 when reaching the checkpoint is enough."""
    backup_start: int = 0
    """The end of the backup that began here must be met; 0 when there was none."""
    may_be_fetched: bool = False
    """A standby or a point-in-time recovery: WAL that is not here can come from an archive or another server."""


class _WalBroken(Exception):
    """The server would refuse to begin; the finding was made."""


def follow(
    files: Mapping[str, File], control: Control, file_system: FileSystem, findings: Findings, *, most_bytes: int
) -> Course:
    """Follows the WAL as recovery would, and puts into the findings what would stop it. Errors: BudgetSpent."""
    nothing = Course(Recovery(), None)
    segments = {name[7:]: file for name, file in files.items() if re.fullmatch(r"pg_wal/[0-9A-F]{24}", name)}
    if not segments:
        detail = "pg_wal holds no file: it may be a link to another volume, and without it the server does not start"
        findings.unknown("postgresql.wal.elsewhere", detail)
        return nothing
    try:
        start = _start(files, control, file_system, findings)
        layout = _layout(files, control, start, file_system, findings)
        walk = _Following(layout, start, segments, file_system, findings)
        return walk.run(control, most_bytes)
    except _WalBroken:
        return nothing
    except NotReadable as problem:
        findings.unknown("postgresql.wal.unreadable", f"a file that recovery needs cannot be read: {problem}")
    except Damaged:
        findings.damage("postgresql.wal.unreadable", "a file that recovery needs cannot be read from the file system")
    return nothing


def _start(files: Mapping[str, File], control: Control, file_system: FileSystem, findings: Findings) -> Start:
    fetched = "standby.signal" in files or "recovery.signal" in files
    if "backup_label" in files:
        return _start_of_backup(file_system.read(files["backup_label"], 0, 8192), control, findings, fetched=fetched)
    return Start(
        redo=control.redo,
        checkpoint=control.checkpoint,
        timeline=max(control.timeline, control.recovered_until_timeline if control.recovered_until else 0),
        reach=control.recovered_until,
        backup_start=control.backup_start if control.backup_end_required else 0,
        may_be_fetched=fetched,
    )


def _start_of_backup(content: bytes, control: Control, findings: Findings, *, fetched: bool) -> Start:
    """With a backup_label the server goes by it, not by pg_control: read_backup_label in xlogrecovery.c."""
    text = content.decode("utf-8", "replace").replace("\r\n", "\n")
    redo, checkpoint, timeline = _LABEL.match(text), _LABEL_CHECKPOINT.search(text), _LABEL_TIMELINE.search(text)
    if not redo or not checkpoint:
        findings.damage("postgresql.backup-label.malformed", "backup_label names no place to begin recovery at")
        raise _WalBroken
    findings.note("postgresql.backup-label", "a backup_label is there: recovery begins where that backup began")
    from_standby = "\nBACKUP FROM: standby" in text
    began = int(redo[1], 16) << 32 | int(redo[2], 16)
    must_end = (fetched or "\nBACKUP METHOD: streamed" in text) and not from_standby
    return Start(
        redo=began,
        checkpoint=int(checkpoint[1], 16) << 32 | int(checkpoint[2], 16),
        timeline=int(timeline[1]) if timeline else control.timeline,
        reach=control.recovered_until if from_standby else 0,
        backup_start=began if must_end else 0,
        may_be_fetched=fetched,
    )


def _layout(
    files: Mapping[str, File], control: Control, start: Start, file_system: FileSystem, findings: Findings
) -> Layout:
    timeline = start.timeline
    if start.may_be_fetched:
        # Recovery to the latest timeline looks for the next history until one is missing.
        while f"pg_wal/{timeline + 1:08X}.history" in files and timeline < start.timeline + _MOST_HISTORIES:
            timeline += 1
    name = f"pg_wal/{timeline:08X}.history"
    lines: tuple[Line, ...] | None = (Line(timeline, 0, None),)
    if name in files:
        lines = read_history(timeline, file_system.read(files[name], 0, 1 << 20))
        if lines is None:
            findings.damage("postgresql.timeline.history", f"{name} is no history of timeline {timeline}")
            raise _WalBroken
    return Layout(
        segment_bytes=control.wal_segment_bytes,
        page_bytes=control.wal_page_bytes,
        system_identifier=control.system_identifier,
        lines=lines,
    )


class _Following:
    """One walk over the WAL of a cluster, and what it says."""

    def __init__(
        self, layout: Layout, start: Start, segments: Mapping[str, File], file_system: FileSystem, findings: Findings
    ) -> None:
        self._layout = layout
        self._start = start
        self._segments = segments
        self._file_system = file_system
        self._findings = findings
        self._announced = ""
        self._pages = WalPages(layout, self._read)

    def run(self, control: Control, most_bytes: int) -> Course:
        recovery = Recovery()
        walk = WalWalk(self._pages, self._start.redo, most_bytes=most_bytes)
        for record in walk:
            recovery.add(record)
            if record.begins <= self._start.checkpoint:
                self._note_areas(record)
        stopped = walk.stopped or Stopped.NO_RECORD
        if stopped in (Stopped.TOO_LONG, Stopped.LIMIT):
            detail = f"{stopped}: followed from {place_text(self._start.redo)} to {place_text(walk.end)}"
            self._findings.unknown("postgresql.wal.too-long", detail)
            return Course(recovery, None)
        if self._reaches_what_it_needs(recovery, walk.end, stopped) and self._is_end(walk.end, stopped):
            self._describe(control, recovery, walk.end)
        return Course(recovery, walk.end)

    def _reaches_what_it_needs(self, recovery: Recovery, end: int, stopped: Stopped) -> bool:
        start = self._start
        checkpoint = recovery.checkpoints.get(start.checkpoint)
        if checkpoint is None or checkpoint[0] != start.redo:
            if end > start.checkpoint:
                where = place_text(start.checkpoint)
                self._findings.damage("postgresql.wal.checkpoint", f"no checkpoint's record is at {where}")
            else:
                self._broken_off(end, stopped, f"the checkpoint at {place_text(start.checkpoint)}")
        elif end < start.reach:
            self._broken_off(end, stopped, f"{place_text(start.reach)}, up to where pages were already changed")
        elif start.backup_start and start.backup_start not in recovery.backups_ended:
            self._broken_off(end, stopped, f"the end of the backup that began at {place_text(start.backup_start)}")
        else:
            return True
        return False

    def _is_end(self, end: int, stopped: Stopped) -> bool:
        """Whether nothing was written behind the end. The server makes a segment durable before it begins the next."""
        later = later_segments(self._segments, self._layout, end)[:_MOST_LATER_SEGMENTS]
        written = next((name for number, name in later if self._pages.is_written(name, number)), None)
        if written is None:
            return True
        self._broken_off(end, stopped, f"segment {written}, which is there")
        return False

    def _broken_off(self, end: int, stopped: Stopped, needed: str) -> None:
        name = next(self._layout.names(end // self._layout.segment_bytes), "?")
        if stopped is Stopped.NO_SEGMENT:
            # The record that ended last may lie at the very end of its segment: the one that is missing comes next.
            number = (end + 7) // self._layout.segment_bytes
            number += name in self._segments and any(True for _ in self._layout.names(number))
            name = next(self._layout.names(number), name)
        detail = f"ends at {place_text(end)} in {name} ({stopped}), before {needed}"
        if self._start.may_be_fetched:
            self._findings.unknown("postgresql.wal.fetched", f"{detail}; an archive or another server may have it")
        elif stopped is Stopped.NO_SEGMENT:
            self._findings.damage("postgresql.wal.missing", f"segment {name} is missing: the WAL {detail}")
        else:
            self._findings.damage("postgresql.wal.broken", f"the WAL {detail}")

    def _describe(self, control: Control, recovery: Recovery, end: int) -> None:
        if not control.was_stopped:
            self._findings.note(
                "postgresql.recovery",
                f"it replays {recovery.record_count:,} records, {place_text(self._start.redo)} to {place_text(end)}",
            )

    def _read(self, name: str, offset: int, length: int) -> bytes | None:
        file = self._segments.get(name)
        if file is None:
            return None
        if name != self._announced and length > self._layout.page_bytes:
            self._announced = name
            self._file_system.device.expect(page_stretches.places(file, offset, self._layout.segment_bytes))
        return self._file_system.read(file, offset, length)

    def _note_areas(self, record: Record) -> None:
        page_bytes, at = self._layout.page_bytes, record.begins
        while at < record.ends:
            if at % page_bytes == 0:
                at += self._layout.header_bytes(at)
            until = min(record.ends, at - at % page_bytes + page_bytes)
            number, offset = divmod(at, self._layout.segment_bytes)
            name = next((name for name in self._layout.names(number) if name in self._segments), None)
            for device_at, length in page_stretches.places(self._segments[name], offset, until - at) if name else ():
                self._findings.read("postgresql-wal", device_at, length)
            at = until


def place_text(place: int) -> str:
    """A place in the WAL as PostgreSQL writes it."""
    return f"{place >> 32:X}/{place & 0xFFFFFFFF:X}"


def describe(control: Control, findings: Findings) -> None:
    """Says what is worth knowing about a cluster and is no fault."""
    if not control.was_stopped:
        state = control.state.name.replace("_", " ").lower()
        findings.note("postgresql.state", f"the server was not stopped ({state}): it recovers when it starts")
    if not control.full_page_writes and control.state is not State.SHUT_DOWN:
        detail = "full_page_writes was off: a page that was being written cannot be mended from the WAL"
        findings.note("postgresql.full-page-writes", detail)
    if not control.has_checksums:
        findings.note("postgresql.checksums", "data checksums are off: only the headers of pages can be judged")
