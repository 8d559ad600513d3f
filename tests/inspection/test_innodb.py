"""InnoDB data directories: what a server would refuse is damage, what its recovery mends is none."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from functions.inspection.checksums import crc32c
from functions.inspection.findings import Findings, Weight
from functions.inspection.innodb import data_directory as innodb
from functions.inspection.innodb.data_directory import Checked
from functions.inspection.innodb.pages import Format, Kind, Verdict, judge_page, read_header
from tests.inspection.directory_files import DirectoryFiles, unpack

TABLE = "/shop/kept.ibd"
COMPRESSED_ROWS = "/shop/zipped.ibd"
COMPRESSED_PAGES = "/shop/squeezed.ibd"
BEING_MADE = "/shop/young.ibd"
NOT_IN_THE_LOG = "/mysql/gtid_slave_pos.ibd"
LOG = "/ib_logfile0"
SYSTEM = "/ibdata1"
PAGE = 16384
CHECKPOINT, END = 489_029, 511_302
FIRST_IMAGE = 64


@pytest.fixture(scope="module")
def running_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack("innodb-mariadb-10.11-running", tmp_path_factory.mktemp("databases"))


@pytest.fixture
def running(running_path: Path) -> DirectoryFiles:
    """A server of MariaDB 10.11 that was killed while it worked."""
    return DirectoryFiles(running_path)


def inspect(files: DirectoryFiles, **options: int) -> tuple[Findings, Checked]:
    findings = Findings()
    (directory,) = innodb.find_data_directories(files.files())
    return findings, innodb.check(directory, files, findings, **options)


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - the same damage every time is the point


def codes(files: DirectoryFiles, weight: Weight = Weight.DAMAGE, **options: int) -> set[str]:
    return {finding.code for finding in inspect(files, **options)[0].of(weight)}


def test_a_killed_server_is_whole_and_its_recovery_is_noted(running: DirectoryFiles) -> None:
    findings, checked = inspect(running)
    assert not findings.count(Weight.DAMAGE)
    assert not findings.count(Weight.UNKNOWN)
    assert any("748 groups of changes, 489,029 to 511,302" in one.detail for one in findings.of(Weight.NOTE))
    assert checked.pages == checked.of_pages > 800


def test_every_flipped_bit_that_is_covered_is_damage(running: DirectoryFiles) -> None:
    chance = seeded(5)
    findings = Findings(keeps_areas=True)
    (directory,) = innodb.find_data_directories(running.files())
    innodb.check(directory, running, findings)
    names = {file.id: file.path for file in directory.files.values()}
    for area in chance.choices(findings.areas, k=16):
        running.patches.clear()
        path = names[max(start for start in names if start <= area.offset)]
        offset = running.place(path, area.offset) + chance.randrange(area.length)
        running.flip(path, offset, chance.randrange(8))
        assert inspect(running)[0].is_damaged, (area.name, path, offset)


@pytest.mark.parametrize("path", [TABLE, COMPRESSED_PAGES, NOT_IN_THE_LOG])
def test_garbage_in_a_page_is_damage_where_it_lies(running: DirectoryFiles, path: str) -> None:
    running.overwrite(path, 3 * PAGE, seeded(1).randbytes(4096))
    findings, checked = inspect(running)
    (finding,) = findings.of(Weight.DAMAGE)
    assert finding.code == "innodb.page.checksum"
    assert finding.at is not None
    assert running.place(path, finding.at) == 3 * PAGE
    assert checked.broken_pages == 1


def test_garbage_in_a_compressed_row_format_is_damage(running: DirectoryFiles) -> None:
    running.overwrite(COMPRESSED_ROWS, 3 * 4096, seeded(1).randbytes(4096))
    assert codes(running) == {"innodb.page.checksum"}


def test_a_page_at_the_wrong_place_is_damage(running: DirectoryFiles) -> None:
    running.overwrite(TABLE, 4 * PAGE, running.content(TABLE)[3 * PAGE : 4 * PAGE])
    assert codes(running) == {"innodb.page.checksum"}


def test_a_page_of_another_tablespace_is_damage(running: DirectoryFiles) -> None:
    running.overwrite(TABLE, 3 * PAGE, running.content(NOT_IN_THE_LOG)[3 * PAGE : 4 * PAGE])
    assert codes(running) == {"innodb.page.checksum"}


def image_of(page: bytes, place: int) -> bytes:
    """The page as it would be with its newest change at that place in the log."""
    changed = page[:16] + struct.pack(">Q", place) + page[24:-8] + struct.pack(">I", place & 0xFFFFFFFF)
    return changed + struct.pack(">I", crc32c(changed))


def test_a_torn_page_is_mended_by_the_doublewrite_buffer(running: DirectoryFiles) -> None:
    page = running.content(TABLE)[4 * PAGE : 5 * PAGE]
    running.overwrite(SYSTEM, FIRST_IMAGE * PAGE, image_of(page, CHECKPOINT + 100))
    running.overwrite(TABLE, 4 * PAGE + 8192, seeded(2).randbytes(8192))
    findings, checked = inspect(running)
    assert not findings.is_damaged
    assert checked.mended_pages == 1


def test_an_image_from_before_the_checkpoint_mends_nothing(running: DirectoryFiles) -> None:
    page = running.content(TABLE)[4 * PAGE : 5 * PAGE]
    running.overwrite(SYSTEM, FIRST_IMAGE * PAGE, image_of(page, CHECKPOINT - 100))
    running.overwrite(TABLE, 4 * PAGE + 8192, seeded(2).randbytes(8192))
    assert codes(running) == {"innodb.page.checksum"}


def test_a_page_that_the_log_makes_anew_may_be_torn(running: DirectoryFiles) -> None:
    running.overwrite(SYSTEM, 309 * PAGE, seeded(3).randbytes(8192))
    findings, checked = inspect(running)
    assert not findings.is_damaged
    assert checked.mended_pages == 1


def test_a_change_that_the_log_never_held_is_damage(running: DirectoryFiles) -> None:
    page = running.content(TABLE)[4 * PAGE : 5 * PAGE]
    running.overwrite(TABLE, 4 * PAGE, image_of(page, END + 1))
    assert codes(running) == {"innodb.page.ahead-of-log"}


def test_a_tablespace_that_was_being_made_is_noted(running: DirectoryFiles) -> None:
    assert not any(running.content(BEING_MADE))
    assert "innodb.tablespace.new" in codes(running, Weight.NOTE)


def test_a_tablespace_in_use_that_begins_with_zeros_is_damage(running: DirectoryFiles) -> None:
    running.overwrite(TABLE, 0, bytes(PAGE))
    assert codes(running) == {"innodb.tablespace.empty"}


def test_a_tablespace_that_the_log_needs_and_that_is_gone_is_damage(running: DirectoryFiles) -> None:
    running.patches[TABLE] = None
    findings, _ = inspect(running)
    (finding,) = findings.of(Weight.DAMAGE)
    assert finding.code == "innodb.tablespace.missing"
    assert "shop/kept.ibd" in finding.detail


def test_a_tablespace_that_is_cut_off_is_damage(running: DirectoryFiles) -> None:
    running.patches[TABLE] = running.content(TABLE)[: 5 * PAGE]
    assert codes(running) == {"innodb.tablespace.truncated"}


def test_a_broken_first_page_does_not_hide_the_others(running: DirectoryFiles) -> None:
    running.overwrite(TABLE, 38, seeded(4).randbytes(2000))
    running.overwrite(TABLE, 4 * PAGE, b"garbage")
    findings, checked = inspect(running)
    assert checked.broken_pages == 2
    assert {one.code for one in findings.of(Weight.DAMAGE)} == {"innodb.page.checksum"}


def test_a_file_of_garbage_is_damage(running: DirectoryFiles) -> None:
    running.patches[TABLE] = seeded(6).randbytes(len(running.content(TABLE)))
    assert "innodb.tablespace.header" in codes(running)


@pytest.mark.parametrize("offset", [8, 20, 510])
def test_a_broken_header_of_the_log_is_damage(running: DirectoryFiles, offset: int) -> None:
    running.flip(LOG, offset)
    assert "innodb.log.broken" in codes(running)


def test_one_broken_checkpoint_is_no_damage_and_two_are(running: DirectoryFiles) -> None:
    content = running.content(LOG)
    older = min((4096, 8192), key=lambda at: struct.unpack_from(">Q", content, at)[0])
    running.flip(LOG, older + 3)
    assert not codes(running)
    running.flip(LOG, 12288 - older + 3)
    assert "innodb.log.broken" in codes(running)


def test_a_log_that_breaks_off_before_its_checkpoint_record_is_damage(running: DirectoryFiles) -> None:
    running.flip(LOG, 456_423 + 3)
    assert "innodb.log.broken" in codes(running)


def test_no_log_may_lie_elsewhere(running: DirectoryFiles) -> None:
    running.patches[LOG] = None
    assert "innodb.log.elsewhere" in codes(running, Weight.UNKNOWN)
    assert not codes(running)


def test_without_a_log_a_broken_page_is_unknown(running: DirectoryFiles) -> None:
    running.patches[LOG] = None
    running.flip(TABLE, 3 * PAGE + 500)
    assert "innodb.page.unproven" in codes(running, Weight.UNKNOWN)
    assert not codes(running)


def test_a_log_of_an_unknown_format_is_unknown(running: DirectoryFiles) -> None:
    header = struct.pack(">I", 0x12345678) + running.content(LOG)[4:508]
    running.overwrite(LOG, 0, header + struct.pack(">I", crc32c(header)))
    assert "innodb.log.unknown" in codes(running, Weight.UNKNOWN)


def test_the_log_of_mysql_is_believed_as_far_as_its_checkpoints(running: DirectoryFiles) -> None:
    running.patches[LOG] = log_of_mysql(checkpoint=END + 1000)
    assert not codes(running)
    assert "innodb.log.not-followed" in codes(running, Weight.NOTE)
    running.patches[LOG] = log_of_mysql(checkpoint=0)
    assert codes(running) == {"innodb.log.broken"}


def log_of_mysql(*, checkpoint: int) -> bytes:
    header = struct.pack(">I", 5).ljust(508, b"\0")
    block = struct.pack(">QQ", 1, checkpoint).ljust(508, b"\0")
    checksum = crc32c(block) if checkpoint else 1
    first = header + struct.pack(">I", crc32c(header))
    return (first + block + struct.pack(">I", checksum)).ljust(1 << 20, b"\0")


def test_a_missing_system_tablespace_is_unknown(running: DirectoryFiles) -> None:
    running.patches[SYSTEM] = None
    assert "innodb.system.elsewhere" in codes(running, Weight.UNKNOWN)


def test_a_sample_says_how_many_of_how_many(running: DirectoryFiles) -> None:
    findings, checked = inspect(running, most_pages=100)
    assert 0 < checked.pages <= 100
    assert f"{checked.pages} of {checked.of_pages} pages were read" in [one.detail for one in findings.of(Weight.NOTE)]


def test_unreadable_files_are_unknown_and_broken_ones_damage(running: DirectoryFiles) -> None:
    running.why_not[TABLE] = "encrypted"
    running.damaged.add(NOT_IN_THE_LOG)
    assert codes(running) == {"innodb.file.unreadable"}
    assert codes(running, Weight.UNKNOWN) == {"innodb.file.unreadable"}


def test_only_a_directory_with_pages_is_found(running: DirectoryFiles) -> None:
    running.patches |= {"/logs/ib_logfile0": b"x", "/elsewhere/a.ibd": b"y", "/second/ibdata1": b"z"}
    assert [one.root for one in innodb.find_data_directories(running.files())] == ["/", "/second"]


def test_no_garbage_makes_the_check_raise(running: DirectoryFiles) -> None:
    chance = seeded(12)
    for _ in range(12):
        running.patches.clear()
        for path in chance.sample([LOG, TABLE, SYSTEM, COMPRESSED_PAGES, COMPRESSED_ROWS], 2):
            size = len(running.content(path))
            length = min(size // 2, chance.choice([1, 300, 9000]))
            place = chance.choice([0, chance.randrange(size // 2), 456_423]) % (size - length)
            running.overwrite(path, place, chance.randbytes(length))
        inspect(running)


def page_in_crc32(number: int, space: int, *, checksum: int | None = None) -> bytes:
    page = bytearray(PAGE)
    struct.pack_into(">I", page, 4, number)
    struct.pack_into(">Q", page, 16, 77)
    struct.pack_into(">H", page, 24, 17855)
    struct.pack_into(">I", page, 34, space)
    page[100:105] = b"hello"
    struct.pack_into(">I", page, PAGE - 4, 77)
    value = crc32c(page[4:26]) ^ crc32c(page[38:-8]) if checksum is None else checksum
    struct.pack_into(">I", page, 0, value)
    struct.pack_into(">I", page, PAGE - 8, value)
    return bytes(page)


PLAIN = Format(Kind.CRC32, PAGE, 9)


def test_a_page_with_the_checksum_of_mysql_is_whole() -> None:
    assert judge_page(page_in_crc32(4, 9), 4, PLAIN) is Verdict.WHOLE


def test_every_covered_bit_of_a_page_of_mysql_counts() -> None:
    chance = seeded(9)
    for _ in range(200):
        page = bytearray(page_in_crc32(4, 9))
        page[chance.choice([chance.randrange(26), chance.randrange(34, PAGE)])] ^= 1 << chance.randrange(8)
        assert judge_page(bytes(page), 4, PLAIN) is Verdict.BROKEN


def test_a_page_without_checksum_is_told_from_a_whole_one() -> None:
    assert judge_page(page_in_crc32(4, 9, checksum=0xDEADBEEF), 4, PLAIN) is Verdict.UNSUMMED


def test_an_encrypted_page_of_mysql_is_unknown_and_not_broken() -> None:
    page = bytearray(page_in_crc32(4, 9, checksum=1))
    struct.pack_into(">H", page, 24, 15)
    encrypted = Format(Kind.CRC32, PAGE, 9, flags=0x2000)
    assert judge_page(bytes(page), 4, encrypted) is Verdict.UNKNOWN
    assert judge_page(bytes(page), 4, PLAIN) is Verdict.BROKEN


def test_a_page_of_zeros_is_empty() -> None:
    assert judge_page(bytes(PAGE), 4, PLAIN) is Verdict.EMPTY


def test_flags_that_innodb_never_writes_are_no_header() -> None:
    assert read_header(b"\xff" * PAGE) is None
    assert read_header(b"") is None
