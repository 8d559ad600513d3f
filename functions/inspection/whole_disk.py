"""Everything that can be said about the content of one disk: what lies on it, and whether each part is whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from functions.core.evidence import Assertion
from functions.core.expected_files import Expected
from functions.inspection import canaries
from functions.inspection.btrfs.reader import open_btrfs
from functions.inspection.devices import BudgetSpent, Device, SnapshotDevice, partition
from functions.inspection.ext4.reader import open_ext4
from functions.inspection.file_systems import FileSystem
from functions.inspection.findings import Finding, Findings, Weight
from functions.inspection.innodb import data_directory as innodb
from functions.inspection.logical_volumes import logical_volumes
from functions.inspection.ntfs.reader import open_ntfs
from functions.inspection.partitions import partitions
from functions.inspection.postgresql import data_directory as postgresql
from functions.inspection.signatures import is_blank, recognised
from functions.inspection.xfs.reader import open_xfs

READERS: Sequence[Callable[[Device, Findings], FileSystem | None]] = (open_ext4, open_xfs, open_btrfs, open_ntfs)

NAMED_FINDINGS = 3
"""So many of a kind are told in a sentence; the others are counted."""

DEEP_CHECK = "verify it with a deep check, inside of an instance"


@dataclass(frozen=True, slots=True)
class Place:
    """A part of the disk in which content may lie, and what a person calls it."""

    name: str
    device: Device
    is_content: bool = True


@dataclass(slots=True)
class DiskInspected:
    """What was found on a disk. `file_systems` are open and can be read on; `metadata_blocks` is what the verdict on
    the file systems alone took, `read_blocks` what everything took."""

    assertions: list[Assertion] = field(default_factory=list[Assertion])
    file_systems: list[FileSystem] = field(default_factory=list[FileSystem])
    metadata_blocks: int = 0
    read_blocks: int = 0


def inspect_disk(
    device: SnapshotDevice,
    *,
    most_pages: int | None = None,
    keeps_areas: bool = False,
) -> DiskInspected:
    """What the disk says about itself, as one assertion for each part: tables, file systems, databases.

    At most about `most_pages` pages of each database are read. Damage is
    an assertion that does not hold; what could not be looked at within the budget is one that nobody checked.
    """
    found = DiskInspected()
    table = Findings(keeps_areas=keeps_areas)
    try:
        places = list(_places(device, table))
        if len(places) > 1 or table.count(Weight.DAMAGE) or table.count(Weight.UNKNOWN):
            found.assertions.append(_assertion("the partition table is whole", table, f"{len(places)} parts"))
        for place in places:
            _inspect_place(place, found, keeps_areas=keeps_areas)
        found.metadata_blocks = device.read_blocks
        for file_system in found.file_systems:
            found.assertions += _databases(file_system, most_pages)
    except BudgetSpent as spent:
        what = "everything was looked at"
        detail = f"{spent}; raise the budget or take a smaller volume"
        found.assertions.append(Assertion(what=what, held=None, detail=detail))
    if not found.assertions:
        found.assertions.append(_nothing(device))
    found.read_blocks = device.read_blocks
    return found


def _places(device: Device, findings: Findings) -> Iterator[Place]:
    listed = partitions(device, findings)
    if listed is None:
        yield from _with_volumes(Place("the disk", device), findings)
        return
    for one in listed:
        if one.offset >= device.size_bytes or one.kind == "extended":
            continue
        named = f"partition {one.number}" + (f" ({one.name})" if one.name else "")
        below = partition(device, one.offset, one.length)
        yield from _with_volumes(Place(named, below, is_content=one.is_content), findings)


def _with_volumes(place: Place, findings: Findings) -> Iterator[Place]:
    volumes = logical_volumes(place.device, findings) if place.is_content else None
    if volumes is None:
        yield place
        return
    for volume in volumes:
        yield Place(f"logical volume {volume.group}/{volume.name}", volume.device)


def _inspect_place(place: Place, found: DiskInspected, *, keeps_areas: bool) -> None:
    findings = Findings(keeps_areas=keeps_areas)
    if not place.is_content:
        return
    file_system = next((opened for read in READERS if (opened := read(place.device, findings)) is not None), None)
    if file_system is None and not findings.is_damaged:
        unread = _unread(place)
        if unread is not None:
            found.assertions.append(unread)
        return
    kind = file_system.kind if file_system else "a file system"
    try:
        if file_system is not None:
            file_system.verify()
    except BudgetSpent as spent:
        findings.unknown(f"{kind}.budget", f"{spent}; not everything was looked at")
    if file_system is not None:
        found.file_systems.append(file_system)
    what = f"{kind} on {place.name} is whole"
    journal = "its journal was replayed in memory" if file_system and file_system.needs_replay else "it was clean"
    found.assertions.append(_assertion(what, findings, journal))


def _unread(place: Place) -> Assertion | None:
    """What to say of a place in which no file system was found that we read; None for one that holds nothing."""
    what = f"{place.name} can be read"
    known = recognised(place.device)
    if known == "Linux swap":
        return None
    if known is not None:
        return Assertion(what=what, held=None, detail=f"it holds {known}, which is not read here; {DEEP_CHECK}")
    if is_blank(place.device):
        if place.name == "the disk":
            return Assertion(what=what, held=None, detail="it is empty: there is nothing that could be proven")
        return None
    return Assertion(what=what, held=None, detail=f"no file system that is known here lies in it; {DEEP_CHECK}")


def _databases(file_system: FileSystem, most_pages: int | None) -> Iterator[Assertion]:
    """What is said of each data directory on the file system, whose files are walked once."""
    is_ours = (postgresql.is_named_like_ours, innodb.is_named_like_ours)
    files = [file for file in file_system.files() if any(named(file.path) for named in is_ours)]
    for directory in postgresql.find_data_directories(files):
        check = partial(postgresql.check, directory, file_system, most_pages=most_pages)
        yield _database(f"the PostgreSQL data in {directory.root!a} is whole", check)
    for directory in innodb.find_data_directories(files):
        check = partial(innodb.check, directory, file_system, most_pages=most_pages)
        yield _database(f"the InnoDB data in {directory.root!a} is whole", check)


def _database(what: str, check: Callable[[Findings], postgresql.Checked | innodb.Checked]) -> Assertion:
    findings = Findings()
    try:
        checked = check(findings)
    except BudgetSpent as spent:
        return Assertion(what=what, held=None, detail=str(spent))
    return _assertion(what, findings, _extent(checked.pages, checked.of_pages))


def _extent(pages: int, of_pages: int) -> str:
    return f"{pages:,} of {of_pages:,} pages were read" + (", a sample" if pages < of_pages else "")


def find_expected(
    expected: Sequence[Expected], systems: Sequence[FileSystem], *, taken_at: datetime
) -> Iterator[Assertion]:
    """Whether each file of which the policy says what it holds is as it says, on any of the file systems: the best
    answer counts, because nobody says on which volume it lies. `taken_at` is the instant of the snapshot."""
    for one in expected:
        answers = [answer for system in systems for answer in canaries.check([one], system, taken_at=taken_at)]
        if not answers:
            yield Assertion(what=f"expected file {one.path}", held=None, detail="no file system could be read")
            continue
        yield next((answer for answer in answers if answer.held), None) or next(
            (answer for answer in answers if answer.held is False and "there is no" not in answer.detail), answers[0]
        )


def _assertion(what: str, findings: Findings, extent: str) -> Assertion:
    """One sentence about everything that was checked there: the damage first, then what stayed open, then the rest."""
    if findings.is_damaged:
        return Assertion(what=what, held=False, detail=_told(findings, Weight.DAMAGE))
    if findings.count(Weight.UNKNOWN):
        return Assertion(what=what, held=None, detail=_told(findings, Weight.UNKNOWN))
    notes = _told(findings, Weight.NOTE)
    return Assertion(what=what, held=True, detail=f"{extent}; {notes}" if notes else extent)


def _told(findings: Findings, weight: Weight) -> str:
    kept: dict[str, Finding] = {}
    for finding in findings.of(weight):
        kept.setdefault(finding.code, finding)
    told = [
        f"{finding.detail} ({code}{_times(findings.count(weight, code))})"
        for code, finding in list(kept.items())[:NAMED_FINDINGS]
    ]
    more = len(kept) - NAMED_FINDINGS
    return "; ".join(told) + (f"; and {more} other kinds" if more > 0 else "")


def _times(count: int) -> str:
    return f", {count:,} times" if count > 1 else ""


def _nothing(device: Device) -> Assertion:
    what = "the disk holds something that can be proven"
    detail = "only parts that start a machine or hold no files were found" if device.size_bytes else "it has no bytes"
    return Assertion(what=what, held=None, detail=detail)
