"""The files of PostgreSQL's relations: whether none is missing, and every page is whole once recovery is through."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from functions.inspection import page_stretches
from functions.inspection.file_systems import Damaged, File, FileSystem, NotReadable
from functions.inspection.findings import Findings
from functions.inspection.page_stretches import Stretch
from functions.inspection.postgresql.control import Control
from functions.inspection.postgresql.pages import begins_or_ends_in_zeros, judge_pages
from functions.inspection.postgresql.recovery import Course, place_text
from functions.inspection.postgresql.wal import Relation

_RELATION = re.compile(
    r"(?:global|(?:base|(?:.*/)?PG_\d+_(?P<catalog>\d+))/(?P<database>\d+))"
    r"/(?P<number>\d+)(?:_(?P<fork>fsm|vm|init))?(?:\.(?P<segment>\d+))?"
)
_MAPS = ("fsm", "vm")
"""The free space map and the visibility map: a broken page of them is emptied and filled again by the server."""

_YOUNG_OBJECTS = 8192
"""So many object numbers are set aside at once, and a checkpoint notes the end of what was set aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """How much a check saw. `mended_pages` are broken on the disk and whole, or gone, after recovery."""

    pages: int = 0
    of_pages: int = 0
    broken_pages: int = 0
    mended_pages: int = 0


@dataclass(frozen=True, slots=True)
class RelationFile:
    """One file of a fork of a relation. `catalog_version` is that of a tablespace's folder, None in base and global."""

    file: File
    relation: Relation
    fork: str
    segment: int
    catalog_version: int | None


def relation_file(name: str, file: File) -> RelationFile | None:
    """What a path below a data directory or a tablespace says; None when it is no file of a relation."""
    found = _RELATION.fullmatch(name)
    if not found:
        return None
    relation = Relation(int(found["database"] or 0), int(found["number"]))
    catalog = int(found["catalog"]) if found["catalog"] else None
    return RelationFile(file, relation, found["fork"] or "", int(found["segment"] or 0), catalog)


class PageJudge:
    """Decides what a page that is not whole means. Without `control` nothing is known but the pages themselves."""

    def __init__(self, control: Control | None, course: Course, findings: Findings) -> None:
        self._course = course
        self._findings = findings
        self._is_stopped = control is not None and control.was_stopped
        self._young_from = control.next_object - _YOUNG_OBJECTS if control else 0
        self.has_checksums = control.has_checksums if control else None
        self.page_bytes = control.page_bytes if control else 8192
        self.pages_per_segment = control.pages_per_segment if control else 131_072
        self.end = course.end
        self.counts: Counter[str] = Counter()

    def drops(self, relation: Relation, forks: Iterable[str]) -> bool:
        """Whether the relation is emptied or removed when the server starts: then its pages do not matter."""
        return not self._is_stopped and ("init" in forks or self._course.recovery.discards(relation))

    def will_be_written(self, relation: Relation, fork: str, block: int) -> bool:
        """Whether recovery makes this block, so that it need not be in the file."""
        recovery = self._course.recovery
        return not self._is_stopped and (self.end is None or recovery.writes_anew(relation, fork, block))

    def broken(self, one: RelationFile, block: int, page: bytes, at: int | None) -> None:
        """A page that the server would refuse to read as it is."""
        detail = f"page {block:,} of {one.file.path}"
        recovery = self._course.recovery
        discarded = not self._is_stopped and recovery.discards(one.relation, block)
        if discarded or recovery.writes_anew(one.relation, one.fork, block):
            self.counts["mended"] += 1
        elif not self._is_stopped and self._is_unfinished(one, page):
            self.counts["mended"] += 1
            detail += " was written in part, into a relation so young that it may never have been finished"
            self._findings.note("postgresql.relation.unfinished", detail, at=at)
        elif not self._is_stopped and one.fork in _MAPS:
            # The server changes maps without writing whole images of them, so they may be torn, and mends them itself.
            self.counts["mended"] += 1
            self._findings.note("postgresql.map.checksum", f"{detail}; the server rebuilds it", at=at)
        elif not self._is_stopped and self.end is None:
            self.counts["broken"] += 1
            self._findings.unknown("postgresql.page.unproven", f"{detail} is broken; the WAL may mend it", at=at)
        else:
            self.counts["broken"] += 1
            kind, what = (
                ("checksum", "is not what its checksum says") if self.has_checksums else ("header", "has no header")
            )
            self._findings.damage(f"postgresql.page.{kind}", f"{detail} {what}, and the WAL does not mend it", at=at)

    def ahead(self, one: RelationFile, block: int, place: int, at: int | None) -> None:
        """A page with a change that is not in the WAL, which the server always writes first."""
        detail = f"page {block:,} of {one.file.path} was changed at {place_text(place)}"
        if self._is_young(one) and one.relation not in self._course.recovery.changed:
            # Indexes and copies of tables are written in one go and do not wait for the WAL; and what a crash left
            # unfinished stays on the disk, where no server looks for it any more.
            self._findings.note(
                "postgresql.relation.unfinished", f"{detail}, in a relation that may be unfinished", at=at
            )
            return
        self.counts["broken"] += 1
        self._findings.damage(
            "postgresql.page.ahead-of-wal", f"{detail}; the WAL ends at {place_text(self.end or 0)}", at=at
        )

    def _is_young(self, one: RelationFile) -> bool:
        return one.relation.number >= self._young_from or one.relation.database >= self._young_from

    def _is_unfinished(self, one: RelationFile, page: bytes) -> bool:
        return one.fork not in _MAPS and self._is_young(one) and begins_or_ends_in_zeros(page)


def check_relations(
    files: Iterable[RelationFile],
    judge: PageJudge,
    file_system: FileSystem,
    findings: Findings,
    most_pages: int | None,
) -> Checked:
    """Every file of a relation is there, and its pages are whole. Errors: BudgetSpent."""
    forks: defaultdict[Relation, defaultdict[str, dict[int, RelationFile]]] = defaultdict(lambda: defaultdict(dict))
    for one in files:
        forks[one.relation][one.fork][one.segment] = one
    wanted: dict[str, RelationFile] = {}
    for relation, own in forks.items():
        if judge.drops(relation, own):
            kept = {"init": own["init"]} if "init" in own and not judge.drops(relation, ()) else {}
        else:
            kept = own
            _check_main_fork(relation, own, findings)
        for fork, segments in kept.items():
            _check_segments(fork, segments, judge, findings)
            wanted.update((one.file.path, one) for one in segments.values())
    return _check_pages(wanted, judge, file_system, findings, most_pages)


def _check_main_fork(relation: Relation, own: Mapping[str, Mapping[int, RelationFile]], findings: Findings) -> None:
    if "" not in own:
        fork = next(iter(own))
        path = next(iter(own[fork].values())).file.path
        findings.damage("postgresql.relation.missing", f"{path} is there, relation {relation.number} itself is not")


def _check_segments(fork: str, segments: Mapping[int, RelationFile], judge: PageJudge, findings: Findings) -> None:
    """A relation goes on in the next file only when this one is full."""
    last = max((number for number, one in segments.items() if one.file.size_bytes), default=0)
    for number in range(min(last, 100_000)):
        one = segments.get(number)
        size_bytes = one.file.size_bytes if one else 0
        if size_bytes == judge.pages_per_segment * judge.page_bytes:
            continue
        present = segments[last]
        first_missing = number * judge.pages_per_segment + size_bytes // judge.page_bytes
        detail = f"segment {number} in front of {present.file.path} has {size_bytes:,} bytes"
        if judge.will_be_written(present.relation, fork, first_missing):
            findings.note("postgresql.relation.short", f"{detail}; recovery writes the rest")
        else:
            findings.damage("postgresql.relation.segment", detail)


def _check_pages(
    wanted: Mapping[str, RelationFile],
    judge: PageJudge,
    file_system: FileSystem,
    findings: Findings,
    most_pages: int | None,
) -> Checked:
    page_bytes = judge.page_bytes
    files = sorted((one.file for one in wanted.values()), key=lambda file: page_stretches.place(file, 0) or 0)
    of_pages = sum(file.size_bytes // page_bytes for file in files)
    every = (stretch for file in files for stretch in page_stretches.stretches(file, page_bytes))
    pages = 0
    for batch in page_stretches.in_batches(
        file_system, page_stretches.choose(every, of_pages=of_pages, most_pages=most_pages), page_bytes
    ):
        for run in _adjacent(batch):
            content = _read(run, page_bytes, file_system, findings)
            if content is not None:
                pages += len(content) // page_bytes
                _judge_run(run, wanted[run.file.path], content, judge, findings)
    for file in files:
        if file.size_bytes % page_bytes:
            findings.note(
                "postgresql.relation.partial-page", f"{file.path} ends within a page, which the server ignores"
            )
    if pages < of_pages:
        findings.note("postgresql.pages.sampled", f"{pages:,} of {of_pages:,} pages were read")
    if judge.counts["mended"]:
        detail = f"{judge.counts['mended']:,} pages were being written; recovery mends or discards them"
        findings.note("postgresql.pages.mended", detail)
    return Checked(
        pages=pages, of_pages=of_pages, broken_pages=judge.counts["broken"], mended_pages=judge.counts["mended"]
    )


def _adjacent(batch: Sequence[Stretch]) -> Iterator[Stretch]:
    """Stretches that follow each other in a file as one, up to eight: numpy likes long runs."""
    waiting: Stretch | None = None
    longest = 8 * max(one.count for one in batch)
    for one in batch:
        follows = waiting and waiting.file is one.file and waiting.first + waiting.count == one.first
        if waiting and follows and waiting.count + one.count <= longest:
            waiting = Stretch(one.file, waiting.first, waiting.count + one.count)
            continue
        if waiting:
            yield waiting
        waiting = one
    if waiting:
        yield waiting


def _read(run: Stretch, page_bytes: int, file_system: FileSystem, findings: Findings) -> bytes | None:
    try:
        return file_system.read(run.file, run.first * page_bytes, run.count * page_bytes)
    except NotReadable as problem:
        findings.unknown("postgresql.file.unreadable", f"{run.file.path}: {problem}")
    except Damaged:
        findings.damage("postgresql.file.unreadable", f"{run.file.path} cannot be read from the file system")
    return None


def _judge_run(run: Stretch, one: RelationFile, content: bytes, judge: PageJudge, findings: Findings) -> None:
    page_bytes = judge.page_bytes
    first = one.segment * judge.pages_per_segment + run.first
    if judge.has_checksums is None:
        judge.has_checksums = _looks_checksummed(content, first, page_bytes)
    pages = judge_pages(content, first, page_bytes, has_checksums=bool(judge.has_checksums))
    for number in map(int, np.flatnonzero(pages.broken)):
        at = page_stretches.place(run.file, (run.first + number) * page_bytes)
        judge.broken(one, first + number, content[number * page_bytes : (number + 1) * page_bytes], at)
    if judge.end is not None:
        ahead = ~pages.broken & (pages.last_change > np.uint64(judge.end))
        for number in map(int, np.flatnonzero(ahead)):
            at = page_stretches.place(run.file, (run.first + number) * page_bytes)
            judge.ahead(one, first + number, int(pages.last_change[number]), at)
    if judge.has_checksums:
        _note_areas(run, one, ~pages.broken & ~pages.empty, judge, findings)


def _note_areas(run: Stretch, one: RelationFile, whole: Iterable[bool], judge: PageJudge, findings: Findings) -> None:
    """Pages whose damage must be seen: not the ones that recovery replaces, and no maps that the server rebuilds."""
    first = one.segment * judge.pages_per_segment + run.first
    for number, is_whole in enumerate(whole):
        if is_whole and one.fork not in _MAPS and not judge.will_be_written(one.relation, one.fork, first + number):
            offset = (run.first + number) * judge.page_bytes
            for at, length in page_stretches.places(run.file, offset, judge.page_bytes):
                findings.read("postgresql-page", at, length)


def _looks_checksummed(content: bytes, first: int, page_bytes: int) -> bool | None:
    """Of a tablespace alone nothing says whether checksums are on, but pages that match theirs by chance are rare."""
    pages = judge_pages(content, first, page_bytes, has_checksums=True)
    filled = int((~pages.empty).sum())
    return None if filled == 0 else int((~pages.empty & ~pages.broken).sum()) * 2 > filled
