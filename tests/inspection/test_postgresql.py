"""PostgreSQL data directories: what a server would refuse is damage, what its recovery mends is none."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from functions.inspection.checksums import crc32c
from functions.inspection.findings import Findings, Weight
from functions.inspection.postgresql import data_directory as postgresql
from functions.inspection.postgresql.data_directory import Checked
from functions.inspection.postgresql.wal import Line, read_history
from tests.inspection.directory_files import DirectoryFiles, unpack

KEPT = "/base/5/16384"
KEPT_INDEX = "/base/5/16389"
UNLOGGED = "/base/5/16391"
CONTROL = "/global/pg_control"
SEGMENT = "/pg_wal/00000001000000000000000A"
NEXT_SEGMENT = "/pg_wal/00000001000000000000000B"
STOPPED_TABLE = "/base/5/16384"
END = 0xA49870
REDO = 0xA00028
CHECKPOINT = 0xA00060
PAGE = 8192


@pytest.fixture(scope="module")
def running_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack("postgresql-15-running", tmp_path_factory.mktemp("databases"))


@pytest.fixture(scope="module")
def stopped_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack("postgresql-18-stopped", tmp_path_factory.mktemp("databases"))


@pytest.fixture
def running(running_path: Path) -> DirectoryFiles:
    """A server of PostgreSQL 15 that was killed while it worked."""
    return DirectoryFiles(running_path)


@pytest.fixture
def stopped(stopped_path: Path) -> DirectoryFiles:
    """A server of PostgreSQL 18 that was stopped."""
    return DirectoryFiles(stopped_path)


def inspect(files: DirectoryFiles, **options: int) -> tuple[Findings, Checked]:
    findings = Findings()
    (directory,) = postgresql.find_data_directories(files.files())
    return findings, postgresql.check(directory, files, findings, **options)


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - the same damage every time is the point


def codes(files: DirectoryFiles, weight: Weight = Weight.DAMAGE, **options: int) -> set[str]:
    return {finding.code for finding in inspect(files, **options)[0].of(weight)}


def rewrite_control(files: DirectoryFiles, offset: int, content: bytes, *, checksum_at: int = 288) -> None:
    files.overwrite(CONTROL, offset, content)
    files.overwrite(CONTROL, checksum_at, struct.pack("<I", crc32c(files.content(CONTROL)[:checksum_at])))


def test_a_stopped_server_is_whole_and_needs_no_word(stopped: DirectoryFiles) -> None:
    findings, checked = inspect(stopped)
    assert [findings.count(weight) for weight in Weight] == [0, 0, 0]
    assert checked.pages == checked.of_pages > 20


def test_a_killed_server_is_whole_and_its_recovery_is_noted(running: DirectoryFiles) -> None:
    findings, checked = inspect(running)
    assert not findings.count(Weight.DAMAGE)
    assert not findings.count(Weight.UNKNOWN)
    details = " ".join(finding.detail for finding in findings.of(Weight.NOTE))
    assert "in production" in details
    assert "1,440 records, 0/A00028 to 0/A49870" in details
    assert checked.broken_pages == 0


def test_every_flipped_bit_that_is_covered_is_damage(stopped: DirectoryFiles) -> None:
    chance = seeded(8)
    findings = Findings(keeps_areas=True)
    (directory,) = postgresql.find_data_directories(stopped.files())
    postgresql.check(directory, stopped, findings)
    names = {file.id: file.path for file in directory.files.values()}
    for area in chance.choices(findings.areas, k=60):
        stopped.patches.clear()
        path = names[max(start for start in names if start <= area.offset)]
        offset = stopped.place(path, area.offset) + chance.randrange(area.length)
        stopped.flip(path, offset, chance.randrange(8))
        assert inspect(stopped)[0].is_damaged, (area.name, path, offset)
    assert {area.name for area in findings.areas} == {
        "postgresql-control",
        "postgresql-page",
        "postgresql-relation-map",
        "postgresql-wal",
    }


def test_garbage_in_a_page_is_damage_where_it_lies(stopped: DirectoryFiles) -> None:
    stopped.overwrite(STOPPED_TABLE, 3 * PAGE + 4096, seeded(1).randbytes(4096))
    findings, checked = inspect(stopped)
    (finding,) = findings.of(Weight.DAMAGE)
    assert finding.code == "postgresql.page.checksum"
    assert "page 3 of /base/5/16384" in finding.detail
    assert finding.at is not None
    assert stopped.place(STOPPED_TABLE, finding.at) == 3 * PAGE
    assert checked.broken_pages == 1


def test_a_page_at_the_wrong_place_is_damage(stopped: DirectoryFiles) -> None:
    stopped.overwrite(STOPPED_TABLE, PAGE, stopped.content(STOPPED_TABLE)[:PAGE])
    assert codes(stopped) == {"postgresql.page.checksum"}


def test_an_empty_page_is_fine(stopped: DirectoryFiles) -> None:
    stopped.patches[STOPPED_TABLE] = stopped.content(STOPPED_TABLE) + bytes(PAGE)
    assert not codes(stopped)


def test_a_page_torn_by_the_snapshot_is_mended_when_the_wal_holds_it_whole(running: DirectoryFiles) -> None:
    running.overwrite(KEPT, 2 * PAGE + 4096, seeded(2).randbytes(4096))
    findings, checked = inspect(running)
    assert not findings.is_damaged
    assert checked.mended_pages == 1


def test_a_broken_page_that_the_wal_does_not_hold_is_damage(running: DirectoryFiles) -> None:
    running.flip("/global/1262", 5000)
    assert codes(running) == {"postgresql.page.checksum"}


def test_a_page_is_not_mended_by_wal_that_is_cut_off(running: DirectoryFiles) -> None:
    # The images of the table's pages come after the checkpoint; here the log ends right behind it.
    running.overwrite(SEGMENT, 0x2000, bytes(0x60000))
    running.overwrite(KEPT, 2 * PAGE + 4096, seeded(2).randbytes(4096))
    assert "postgresql.page.checksum" in codes(running)


def test_a_torn_page_of_a_map_is_noted_because_the_server_rebuilds_it(running: DirectoryFiles) -> None:
    running.flip("/global/1262_vm", 3000)
    assert not codes(running)
    assert "postgresql.map.checksum" in codes(running, Weight.NOTE)


def test_a_broken_page_of_a_map_of_a_stopped_server_is_damage(stopped: DirectoryFiles) -> None:
    stopped.flip("/global/1262_vm", 3000)
    assert codes(stopped) == {"postgresql.page.checksum"}


def test_an_unlogged_table_of_a_killed_server_is_emptied_anyway(running: DirectoryFiles) -> None:
    running.flip(UNLOGGED, 5000)
    assert not codes(running)


def test_an_unlogged_table_of_a_stopped_server_is_judged(stopped: DirectoryFiles) -> None:
    stopped.patches["/base/5/16392"] = stopped.content(STOPPED_TABLE)
    assert not codes(stopped)
    stopped.flip("/base/5/16392", 5000)
    assert codes(stopped) == {"postgresql.page.checksum"}


def test_a_change_that_the_wal_never_held_is_damage(running: DirectoryFiles) -> None:
    rewrite_control(running, 252, struct.pack("<I", 0))
    running.overwrite(KEPT, PAGE, struct.pack("<II", 0, END + 1000))
    assert codes(running) == {"postgresql.page.ahead-of-wal"}


def test_a_relation_that_was_being_built_may_be_ahead_of_the_wal(running: DirectoryFiles) -> None:
    rewrite_control(running, 252, struct.pack("<I", 0))
    running.patches["/base/5/16999"] = struct.pack("<II", 0, END + 1000) + running.content(KEPT)[8:PAGE]
    assert not codes(running)
    assert "postgresql.relation.unfinished" in codes(running, Weight.NOTE)


def test_a_page_that_was_written_in_part_into_a_young_relation_is_noted(running: DirectoryFiles) -> None:
    running.patches["/base/5/16999"] = running.content(KEPT)[:4096] + bytes(4096)
    assert not codes(running)
    assert "postgresql.relation.unfinished" in codes(running, Weight.NOTE)


def test_without_checksums_the_headers_are_judged(stopped: DirectoryFiles) -> None:
    rewrite_control(stopped, 252, struct.pack("<I", 0), checksum_at=292)
    stopped.flip(STOPPED_TABLE, 5000)
    assert not codes(stopped)
    assert "postgresql.checksums" in codes(stopped, Weight.NOTE)
    stopped.overwrite(STOPPED_TABLE, PAGE + 12, b"\xff\xff")
    assert codes(stopped) == {"postgresql.page.header"}


@pytest.mark.parametrize("offset", [0, 9, 16, 40, 200, 290])
def test_a_flipped_bit_in_pg_control_is_damage(running: DirectoryFiles, offset: int) -> None:
    running.flip(CONTROL, offset, 3)
    assert codes(running) == {"postgresql.control.checksum"}


def test_a_short_pg_control_is_damage(running: DirectoryFiles) -> None:
    running.patches[CONTROL] = running.content(CONTROL)[:100]
    assert codes(running) == {"postgresql.control.checksum"}


def test_a_missing_pg_control_is_damage(running: DirectoryFiles) -> None:
    running.patches[CONTROL] = None
    assert codes(running) == {"postgresql.control.missing"}


def test_a_version_of_pg_control_that_is_not_known_is_unknown(running: DirectoryFiles) -> None:
    rewrite_control(running, 8, struct.pack("<I", 1900))
    assert codes(running, Weight.UNKNOWN) == {"postgresql.control.version"}
    assert not codes(running)


def test_a_pg_control_that_we_cannot_read_is_unknown(running: DirectoryFiles) -> None:
    running.why_not[CONTROL] = "compressed"
    assert codes(running, Weight.UNKNOWN) == {"postgresql.control.unreadable"}


def test_a_missing_pg_version_is_damage(running: DirectoryFiles) -> None:
    running.patches["/PG_VERSION"] = None
    assert codes(running) == {"postgresql.version.missing"}


def test_a_pg_version_of_another_server_is_damage(running: DirectoryFiles) -> None:
    running.patches["/PG_VERSION"] = b"18\n"
    assert codes(running) == {"postgresql.version.differs"}


def test_a_missing_segment_that_recovery_needs_is_named(running: DirectoryFiles) -> None:
    running.patches[SEGMENT] = None
    findings, _ = inspect(running)
    (finding,) = [one for one in findings.of(Weight.DAMAGE) if one.code == "postgresql.wal.missing"]
    assert "00000001000000000000000A" in finding.detail


def test_a_missing_segment_in_the_middle_is_damage(running: DirectoryFiles) -> None:
    running.patches["/pg_wal/00000001000000000000000C"] = written_segment(running, 0xC)
    assert "postgresql.wal.broken" in codes(running)


def test_a_recycled_segment_behind_the_end_is_fine(running: DirectoryFiles) -> None:
    running.patches["/pg_wal/00000001000000000000000C"] = written_segment(running, 0x7)
    assert not codes(running)


def written_segment(files: DirectoryFiles, number: int) -> bytes:
    content = bytearray(files.content(SEGMENT))
    content[8:16] = struct.pack("<Q", number << 20)
    return bytes(content)


def test_a_flipped_bit_in_the_record_of_the_checkpoint_is_damage(running: DirectoryFiles) -> None:
    running.flip(SEGMENT, 0x80)
    assert "postgresql.wal.broken" in codes(running)


def test_a_checkpoint_that_is_not_where_pg_control_says_is_damage(running: DirectoryFiles) -> None:
    rewrite_control(running, 32, struct.pack("<Q", CHECKPOINT + 8))
    assert codes(running) == {"postgresql.wal.checkpoint"}


def test_a_standby_may_fetch_what_is_missing(running: DirectoryFiles) -> None:
    running.patches |= {SEGMENT: None, "/standby.signal": b""}
    assert "postgresql.wal.fetched" in codes(running, Weight.UNKNOWN)
    assert "postgresql.wal.missing" not in codes(running)


def test_a_standby_must_come_as_far_as_its_pages_did(running: DirectoryFiles) -> None:
    rewrite_control(running, 136, struct.pack("<QI", END + 100, 1))
    assert codes(running) == {"postgresql.wal.broken"}


def test_a_standby_that_came_exactly_as_far_as_its_wal_is_whole(running: DirectoryFiles) -> None:
    rewrite_control(running, 136, struct.pack("<QI", END, 1))
    assert not codes(running)


def test_no_wal_at_all_may_be_a_link_to_another_volume(running: DirectoryFiles) -> None:
    running.patches |= {SEGMENT: None, NEXT_SEGMENT: None}
    assert codes(running, Weight.UNKNOWN) == {"postgresql.wal.elsewhere"}
    assert not codes(running)


def test_with_a_backup_label_recovery_begins_where_the_label_says(running: DirectoryFiles) -> None:
    running.patches["/backup_label"] = label()
    assert "postgresql.backup-label" in codes(running, Weight.NOTE)
    assert not codes(running)


def test_a_streamed_backup_whose_end_is_not_in_the_wal_is_damage(running: DirectoryFiles) -> None:
    running.patches["/backup_label"] = label(b"BACKUP METHOD: streamed\n")
    assert codes(running) == {"postgresql.wal.broken"}


def test_a_backup_label_that_says_nothing_is_damage(running: DirectoryFiles) -> None:
    running.patches["/backup_label"] = b"\0" * 300
    assert codes(running) == {"postgresql.backup-label.malformed"}


def label(method: bytes = b"") -> bytes:
    return (
        b"START WAL LOCATION: 0/A00028 (file 00000001000000000000000A)\nCHECKPOINT LOCATION: 0/A00060\n"
        + method
        + b"BACKUP FROM: primary\nSTART TIMELINE: 1\n"
    )


def test_full_page_writes_that_were_off_are_noted(running: DirectoryFiles) -> None:
    rewrite_control(running, 56, b"\0")
    assert "postgresql.full-page-writes" in codes(running, Weight.NOTE)


def test_a_history_tells_which_timeline_is_valid_where() -> None:
    content = b"1\t0/3000000\tno recovery target specified\n\n# said\n2\t0/5000060\tbefore 2026-11-20\n"
    assert read_history(3, content) == (Line(1, 0, 0x3000000), Line(2, 0x3000000, 0x5000060), Line(3, 0x5000060, None))


@pytest.mark.parametrize("content", [b"nonsense\n", b"3\t0/1\n", b"2\t0/1\n1\t0/2\n"])
def test_a_history_that_makes_no_sense_is_none(content: bytes) -> None:
    assert read_history(3, content) is None


def test_wal_from_before_a_promotion_is_found_on_the_older_timeline(running: DirectoryFiles) -> None:
    # Promoted and stopped before the first checkpoint of timeline 2.
    rewrite_control(running, 136, struct.pack("<QI", END, 2))
    running.patches["/pg_wal/00000002.history"] = b"1\t0/A49870\tno recovery target specified\n"
    assert "postgresql.wal.missing" not in codes(running)
    running.patches["/pg_wal/00000002.history"] = b"garbage"
    assert codes(running) == {"postgresql.timeline.history"}


def test_a_missing_first_part_of_a_relation_is_damage(stopped: DirectoryFiles) -> None:
    stopped.patches |= {f"{STOPPED_TABLE}.1": stopped.content(STOPPED_TABLE)[:PAGE], STOPPED_TABLE: None}
    assert "postgresql.relation.segment" in codes(stopped)


def test_a_table_that_is_gone_while_its_maps_are_there_is_damage(stopped: DirectoryFiles) -> None:
    stopped.patches[STOPPED_TABLE] = None
    assert codes(stopped) == {"postgresql.relation.missing"}


def test_a_missing_file_of_transactions_is_damage(stopped: DirectoryFiles) -> None:
    rewrite_control(stopped, 64, struct.pack("<Q", 1 << 21), checksum_at=292)
    assert codes(stopped) == {"postgresql.transactions.missing"}


def test_a_broken_relation_map_is_damage(stopped: DirectoryFiles) -> None:
    stopped.flip("/global/pg_filenode.map", 20)
    assert codes(stopped) == {"postgresql.relation-map.checksum"}


def test_a_file_that_the_file_system_cannot_follow_is_damage(stopped: DirectoryFiles) -> None:
    stopped.damaged.add(STOPPED_TABLE)
    assert codes(stopped) == {"postgresql.file.unreadable"}


def test_a_file_that_we_cannot_read_is_unknown(stopped: DirectoryFiles) -> None:
    stopped.why_not[STOPPED_TABLE] = "encrypted"
    assert codes(stopped, Weight.UNKNOWN) == {"postgresql.file.unreadable"}
    assert not codes(stopped)


def test_a_sample_says_how_many_of_how_many(stopped: DirectoryFiles) -> None:
    findings, checked = inspect(stopped, most_pages=12)
    assert 0 < checked.pages <= 12 < checked.of_pages
    (note,) = [one for one in findings.of(Weight.NOTE) if one.code == "postgresql.pages.sampled"]
    assert note.detail == f"{checked.pages} of {checked.of_pages} pages were read"


def test_what_will_be_read_is_announced(stopped: DirectoryFiles) -> None:
    inspect(stopped)
    assert len(stopped.laid_out.expected) >= 10


def test_a_wal_longer_than_is_read_here_is_unknown(running: DirectoryFiles) -> None:
    assert "postgresql.wal.too-long" in codes(running, Weight.UNKNOWN, most_wal_bytes=1000)


def test_a_tablespace_on_a_volume_of_its_own_is_judged_and_stays_unknown(
    running: DirectoryFiles, tmp_path: Path
) -> None:
    folder = tmp_path / "fast" / "PG_15_202209061" / "5"
    folder.mkdir(parents=True)
    (folder / "16384").write_bytes(running.content(KEPT))
    alone = DirectoryFiles(tmp_path)
    assert codes(alone, Weight.UNKNOWN) == {"postgresql.tablespace.alone"}
    alone.flip("/fast/PG_15_202209061/5/16384", 5000)
    assert codes(alone, Weight.UNKNOWN) == {"postgresql.tablespace.alone", "postgresql.page.unproven"}


def test_a_tablespace_beside_its_data_directory_belongs_to_it(stopped: DirectoryFiles) -> None:
    name = "/fast/PG_18_202506291/5/16999"
    stopped.patches[name] = stopped.content(STOPPED_TABLE)
    assert not codes(stopped)
    stopped.flip(name, 5000)
    assert codes(stopped) == {"postgresql.page.checksum"}


def test_two_data_directories_are_found_and_other_files_are_not(running: DirectoryFiles) -> None:
    content = {name: running.content(name) for name in ("/PG_VERSION", CONTROL)}
    running.patches |= {f"/srv/second{name}": content[name] for name in content} | {"/srv/base/1/2": b"no"}
    found = postgresql.find_data_directories(running.files())
    assert [directory.root for directory in found] == ["/", "/srv/second"]


def test_no_garbage_makes_the_check_raise(running: DirectoryFiles) -> None:
    chance = seeded(11)
    for _ in range(40):
        running.patches.clear()
        for path in chance.sample([CONTROL, SEGMENT, KEPT, KEPT_INDEX, "/PG_VERSION"], 2):
            size = len(running.content(path))
            running.overwrite(
                path, chance.randrange(size // 2), chance.randbytes(min(size // 2, chance.choice([1, 300, 9000])))
            )
        inspect(running)
