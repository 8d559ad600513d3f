"""PostgreSQL data directories on a file system: whether a server would start from them and find every page whole.

Judged as after crash recovery: a page that was being written when the snapshot was taken is whole when the write-ahead
log holds it. Known are PostgreSQL 12 to 18 on 64 bit little-endian machines: PG_CONTROL_VERSION 1201 (12),
1300 (13 to 16), 1700 (17) and 1800 (18).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from functions.inspection import page_stretches
from functions.inspection.checksums import crc32c
from functions.inspection.file_systems import Damaged, File, FileSystem, NotReadable
from functions.inspection.findings import Findings
from functions.inspection.postgresql.control import (
    CONTROL_FORMATS,
    Control,
    ControlBroken,
    ControlUnknown,
    covered_bytes,
    read_control,
)
from functions.inspection.postgresql.recovery import Course, describe, follow
from functions.inspection.postgresql.relations import (
    Checked,
    PageJudge,
    RelationFile,
    check_relations,
    relation_file,
)
from functions.inspection.postgresql.wal import Recovery

CONTROL_PATH = "global/pg_control"
_NAMES = re.compile(
    r"(?P<root>.*)/(?P<name>"
    r"global/pg_control|(?:global|base/\d{1,10})/pg_filenode\.map|PG_VERSION|backup_label|standby\.signal|recovery\.signal"
    r"|pg_wal/[0-9A-F]{24}|pg_wal/[0-9A-F]{8}\.history|pg_xact/[0-9A-F]{4,5}"
    r"|(?:global|base/\d{1,10}|(?:pg_tblspc/\d{1,10}/)?PG_\d{1,2}_\d{9}/\d{1,10})/\d{1,10}(?:_fsm|_vm|_init)?(?:\.\d{1,6})?)"
)
_TRANSACTIONS_PER_STATUS_BYTE = 4
_PAGES_PER_STATUS_FILE = 32
_RELATION_MAP_CHECKSUM_AT = {512: 504, 524: 520}
"""By the size of the file: until PostgreSQL 15, since 16."""


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """A cluster: where it is, and its files by path from there. A tablespace that lies outside of it belongs to it."""

    root: str
    files: Mapping[str, File]


def is_named_like_ours(path: str) -> bool:
    """Whether a file could belong to a data directory, by its name."""
    return _NAMES.fullmatch(path) is not None


def find_data_directories(files: Iterable[File]) -> tuple[DataDirectory, ...]:
    """Every data directory among the files, by pg_control or by what else makes one.

    Symbolic links are no files, so pg_wal or a tablespace that is linked to is found only where it lies. A tablespace
    belongs to the data directory if there is only one; else it is a directory of its own, of which less can be said.
    """
    found: defaultdict[str, dict[str, File]] = defaultdict(dict)
    for file in files:
        match = _NAMES.fullmatch(file.path)
        if match:
            found[match["root"]][match["name"]] = file
    found = _inner_first(found)
    clusters = {root: own for root, own in found.items() if _is_cluster(own)}
    alone = {root: own for root, own in found.items() if root not in clusters and _is_tablespace(own)}
    if len(clusters) == 1:
        for root, own in alone.items():
            next(iter(clusters.values())).update((f"{root}/{name}", file) for name, file in own.items())
        alone = {}
    return tuple(DataDirectory(root or "/", own) for root, own in sorted((clusters | alone).items()))


def _is_tablespace(own: Mapping[str, File]) -> bool:
    return any(re.match(r"PG_\d+_\d+/", name) for name in own)


def _inner_first(found: Mapping[str, dict[str, File]]) -> defaultdict[str, dict[str, File]]:
    """The links below pg_tblspc may have been followed by whoever copied the files: then they are part of the root."""
    kept: defaultdict[str, dict[str, File]] = defaultdict(dict)
    for root, own in found.items():
        outer, inside, number = root.rpartition("/pg_tblspc/")
        if inside and outer in found and number.isdigit():
            kept[outer] |= {f"pg_tblspc/{number}/{name}": file for name, file in own.items()}
        else:
            kept[root] |= own
    return kept


def _is_cluster(own: Mapping[str, File]) -> bool:
    # Any two of the three: whichever of them is lost, what is left is a cluster that lost it.
    return (CONTROL_PATH in own) + ("PG_VERSION" in own) + any(name.startswith("base/") for name in own) >= 2


def check(
    directory: DataDirectory,
    file_system: FileSystem,
    findings: Findings,
    *,
    most_pages: int | None = None,
    most_wal_bytes: int = 2 << 30,
) -> Checked:
    """The findings say what a server would stumble over in this directory.

    pg_control and the WAL come first and are read whole; of the pages about `most_pages` are read at most, spread
    evenly. Errors: BudgetSpent.
    """
    if not _is_cluster(directory.files):
        return _check_tablespace(directory, file_system, findings, most_pages)
    control = _read_control(directory, file_system, findings)
    if control is None:
        return Checked()
    _check_version(directory, file_system, findings, control)
    describe(control, findings)
    course = follow(directory.files, control, file_system, findings, most_bytes=most_wal_bytes)
    _check_status_files(directory.files, control, findings)
    _check_relation_maps(directory.files, file_system, findings)
    judge = PageJudge(control, course, findings)
    return check_relations(_of_cluster(directory, control, findings), judge, file_system, findings, most_pages)


def _read_control(directory: DataDirectory, file_system: FileSystem, findings: Findings) -> Control | None:
    file = directory.files.get(CONTROL_PATH)
    if file is None:
        findings.damage("postgresql.control.missing", f"{directory.root} has no {CONTROL_PATH}")
        return None
    try:
        content = file_system.read(file)
        at = page_stretches.place(file, 0)
        if at is not None:
            findings.read("postgresql-control", at, covered_bytes(content))
        return read_control(content)
    except NotReadable as problem:
        findings.unknown("postgresql.control.unreadable", f"{file.path}: {problem}")
    except Damaged:
        findings.damage("postgresql.control.unreadable", f"{file.path} cannot be read from the file system")
    except ControlBroken as problem:
        findings.damage("postgresql.control.checksum", f"{file.path}: {problem}", at=page_stretches.place(file, 0))
    except ControlUnknown as problem:
        findings.unknown("postgresql.control.version", f"{file.path}: {problem}")
    return None


def _check_version(directory: DataDirectory, file_system: FileSystem, findings: Findings, control: Control) -> None:
    file = directory.files.get("PG_VERSION")
    if file is None:
        findings.damage("postgresql.version.missing", f"{directory.root} has no PG_VERSION; the server refuses it")
        return
    content = _read_or_say(file, file_system, findings)
    if content is None:
        return
    major = content[:16].strip().decode("ascii", "replace")
    first, _, last = CONTROL_FORMATS[control.version].partition(" to ")
    if not major.isdigit() or not int(first) <= int(major) <= int(last or first):
        detail = f"PG_VERSION says {major!r}, pg_control is one of PostgreSQL {CONTROL_FORMATS[control.version]}"
        findings.damage("postgresql.version.differs", detail)


def _check_status_files(files: Mapping[str, File], control: Control, findings: Findings) -> None:
    """pg_xact says which transactions committed: without a file of it, the rows that they wrote cannot be read."""
    per_file = control.page_bytes * _TRANSACTIONS_PER_STATUS_BYTE * _PAGES_PER_STATUS_FILE
    whole_circle = (1 << 32) // per_file
    first, last = control.oldest_transaction // per_file, control.next_transaction // per_file
    # The file of the next transaction may not exist yet, and one that a recovery will make need not.
    for step in range((last - first) % whole_circle):
        number = (first + step) % whole_circle
        if f"pg_xact/{number:04X}" not in files:
            findings.damage("postgresql.transactions.missing", f"pg_xact/{number:04X} is missing")


def _check_relation_maps(files: Mapping[str, File], file_system: FileSystem, findings: Findings) -> None:
    """pg_filenode.map says in which files the catalogs are; a server opens no database whose map is broken."""
    for name in sorted(name for name in files if name.endswith("/pg_filenode.map")):
        content = _read_or_say(files[name], file_system, findings)
        if content is None:
            continue
        at = _RELATION_MAP_CHECKSUM_AT.get(len(content))
        if at is None or crc32c(content[:at]) != int.from_bytes(content[at : at + 4], "little"):
            findings.damage("postgresql.relation-map.checksum", f"{files[name].path} is not what its checksum says")
        else:
            for device_at, length in page_stretches.places(files[name], 0, at + 4):
                findings.read("postgresql-relation-map", device_at, length)


def _read_or_say(file: File, file_system: FileSystem, findings: Findings) -> bytes | None:
    try:
        return file_system.read(file, 0, 8192)
    except NotReadable as problem:
        findings.unknown("postgresql.file.unreadable", f"{file.path}: {problem}")
    except Damaged:
        findings.damage("postgresql.file.unreadable", f"{file.path} cannot be read from the file system")
    return None


def _of_cluster(directory: DataDirectory, control: Control, findings: Findings) -> Iterator[RelationFile]:
    """The relation files; a tablespace that was found elsewhere counts when it is of the cluster's catalog version."""
    strange: set[str] = set()
    for name, file in directory.files.items():
        found = relation_file(name, file)
        if found is None:
            continue
        if found.catalog_version in (None, control.catalog_version):
            yield found
        elif name.startswith("pg_tblspc/"):
            # Tablespaces outlive an upgrade of the server; the folder of the old version is no longer used.
            continue
        elif (folder := name.rpartition("/PG_")[0]) not in strange:
            strange.add(folder)
            findings.unknown("postgresql.tablespace.alone", f"{folder} is a tablespace of another data directory")


def _check_tablespace(
    directory: DataDirectory, file_system: FileSystem, findings: Findings, most_pages: int | None
) -> Checked:
    """Its pages can be judged, and recovery cannot: what is broken may be mended by a WAL that is not here."""
    detail = f"{directory.root} is a tablespace; its data directory and WAL are not known"
    findings.unknown("postgresql.tablespace.alone", detail)
    found = [one for one in (relation_file(name, file) for name, file in directory.files.items()) if one]
    judge = PageJudge(None, Course(Recovery(), None), findings)
    return check_relations(found, judge, file_system, findings, most_pages)
