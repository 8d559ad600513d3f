"""NTFS: opened, judged by structure alone, and read file by file."""

from __future__ import annotations

import hashlib
import lzma
import random
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from embedded.disks import DISKS
from embedded.disks.image_blocks import ImageBlocks
from functions.inspection.devices import BudgetSpent, SnapshotDevice
from functions.inspection.file_systems import Damaged, Extent, File, FileSystem, NotReadable
from functions.inspection.findings import Area, Findings, Weight
from functions.inspection.ntfs.reader import open_ntfs

MIB = 1024 * 1024
VARIED = Path(__file__).parent / "images" / "ntfs-varied.img.xz"
RECORD_BYTES = 1024
FILES = DISKS["ntfs"].file_systems[0].files


@pytest.fixture
def plain(disk: Callable[[str], ImageBlocks]) -> ImageBlocks:
    """The prepared disk: 41 files, clusters of 4 KiB."""
    return disk("ntfs")


@pytest.fixture(scope="session")
def varied_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ntfs") / "varied.img"
    path.write_bytes(lzma.decompress(VARIED.read_bytes()))
    return path


@pytest.fixture
def varied(varied_path: Path, open_image: Callable[[Path], ImageBlocks]) -> ImageBlocks:
    """Clusters of 1 KiB, attribute lists, holes, compression, hard links, a directory of many blocks, deleted files."""
    return open_image(varied_path)


def opened(blocks: ImageBlocks) -> tuple[FileSystem, Findings]:
    findings = Findings(keeps_areas=True)
    file_system: FileSystem | None = open_ntfs(SnapshotDevice(blocks), findings)
    assert file_system is not None
    return file_system, findings


def verified(blocks: ImageBlocks) -> Findings:
    file_system, findings = opened(blocks)
    file_system.verify()
    return findings


def found(blocks: ImageBlocks, path: str) -> File:
    file = opened(blocks)[0].find(path)
    assert file is not None
    return file


def areas_of(blocks: ImageBlocks, name: str) -> list[Area]:
    return [area for area in verified(blocks).areas if area.name == name]


def read_at(blocks: ImageBlocks, offset: int, length: int) -> bytes:
    return SnapshotDevice(blocks).read(offset, length)


def record_at(blocks: ImageBlocks, number: int) -> int:
    """Where a record begins: the areas of the table are its records, in the order of the table."""
    for area in areas_of(blocks, "table"):
        if struct.unpack("<I", read_at(blocks, area.offset + 0x2C, 4))[0] == number:
            return area.offset
    raise AssertionError(number)


def attribute_at(blocks: ImageBlocks, record: int, wanted: int) -> int:
    at = record + struct.unpack("<H", read_at(blocks, record + 0x14, 2))[0]
    while (type_ := struct.unpack("<I", read_at(blocks, at, 4))[0]) != wanted:
        assert type_ != 0xFFFFFFFF
        at += struct.unpack("<I", read_at(blocks, at + 4, 4))[0]
    return at


# --- reading ---------------------------------------------------------------------------------------------------------


def test_every_file_of_a_prepared_disk_is_listed_and_read(plain: ImageBlocks) -> None:
    file_system, _ = opened(plain)
    digests = {f.path[1:]: hashlib.sha256(file_system.read(f)).hexdigest() for f in file_system.files()}
    assert digests == FILES


def test_every_file_of_a_prepared_disk_is_found_by_its_path(plain: ImageBlocks) -> None:
    file_system, _ = opened(plain)
    for path, digest in FILES.items():
        file = file_system.find(f"/{path}")
        assert file is not None
        assert hashlib.sha256(file_system.read(file)).hexdigest() == digest


def test_a_file_knows_when_it_was_changed(plain: ImageBlocks) -> None:
    assert found(plain, "/README.txt").modified_at == datetime(2026, 10, 1, 9, tzinfo=UTC)


@pytest.mark.parametrize("blocks", ["plain", "varied"])
def test_an_intact_volume_has_neither_damage_nor_unknowns(blocks: str, request: pytest.FixtureRequest) -> None:
    findings = verified(request.getfixturevalue(blocks))
    assert findings.of(Weight.DAMAGE) == []
    assert findings.of(Weight.UNKNOWN) == []


def test_a_volume_that_was_put_away_needs_no_replay(plain: ImageBlocks) -> None:
    assert not opened(plain)[0].needs_replay


def test_a_file_whose_runs_lie_in_several_records_is_read(varied: ImageBlocks) -> None:
    file = found(varied, "/fragmented.bin")
    assert len(file.extents) == 500
    content = opened(varied)[0].read(file)
    assert len(content) == file.size_bytes
    for number in range(500):
        piece = content[number * 4096 : number * 4096 + 4096]
        assert piece.rstrip(b"\0") == (b"%06d " % number * 147)[:1024]


def test_holes_are_zeros(varied: ImageBlocks) -> None:
    file_system, _ = opened(varied)
    file = found(varied, "/sparse.bin")
    content = file_system.read(file)
    assert content == b"begin" + bytes(2_999_995) + b"end"
    assert file_system.read(file, 2_999_998, 100) == b"\0\0end"


def test_both_names_of_a_file_lead_to_it(varied: ImageBlocks) -> None:
    one, two = found(varied, "/one.txt"), found(varied, "/many/two.txt")
    assert one.id == two.id
    assert opened(varied)[0].read(two) == b"one content, two names\n"


def test_compressed_content_is_listed_and_not_readable(varied: ImageBlocks) -> None:
    file = found(varied, "/Squeezed/Übergröße.txt")
    assert file.size_bytes == 117_000
    with pytest.raises(NotReadable, match="compressed"):
        opened(varied)[0].read(file)


def test_links_and_deleted_files_are_not_listed(varied: ImageBlocks) -> None:
    paths = [file.path for file in opened(varied)[0].files()]
    assert len(paths) == 314
    assert "/link" not in paths
    assert not any(path.startswith("/gone/") for path in paths)


def test_case_is_looked_through_when_no_name_is_exact(varied: ImageBlocks) -> None:
    assert found(varied, "/SQUEEZED/ÜBERGRÖßE.TXT").path == "/SQUEEZED/ÜBERGRÖßE.TXT"


@pytest.mark.parametrize("path", ["/nothing", "/many", "/one.txt/more", "/$MFT", "/link", "/"])
def test_what_is_no_file_is_not_found(varied: ImageBlocks, path: str) -> None:
    assert opened(varied)[0].find(path) is None


def test_more_than_fits_into_memory_is_not_read_at_once(plain: ImageBlocks) -> None:
    huge = File(path="/huge", id=99, size_bytes=1 << 60, modified_at=None)
    file_system, _ = opened(plain)
    assert file_system.read(huge, 1 << 50, 4) == bytes(4)
    with pytest.raises(NotReadable, match="in pieces"):
        file_system.read(huge)


def test_an_extent_outside_of_the_device_is_damage(plain: ImageBlocks) -> None:
    file_system, findings = opened(plain)
    outside = File(path="/x", id=99, size_bytes=10, modified_at=None, extents=(Extent(0, 64 * MIB, 10),))
    with pytest.raises(Damaged):
        file_system.read(outside)
    assert findings.count(Weight.DAMAGE, "ntfs.file.range") == 1


# --- what is no NTFS, and what is left of one ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ext4", "xfs", "btrfs", "gpt"])
def test_another_file_system_is_none(disk: Callable[[str], ImageBlocks], name: str) -> None:
    findings = Findings()
    assert open_ntfs(SnapshotDevice(disk(name)), findings) is None
    assert not findings.is_damaged


@pytest.mark.parametrize(
    ("at", "magic"), [(0, b"XFSB"), (1080, b"\x53\xef"), (65600, b"_BHRfS_M"), (0, b"LUKS\xba\xbe")]
)
def test_a_volume_that_was_formatted_anew_is_none(plain: ImageBlocks, at: int, magic: bytes) -> None:
    plain.overwrite(0, bytes(512))
    plain.overwrite(at, magic)
    findings = Findings()
    assert open_ntfs(SnapshotDevice(plain), findings) is None
    assert not findings.is_damaged


@pytest.mark.parametrize("noise", [bytes(512), b"\xa5" * 512, b"\xeb\x52\x90NTFS    " + b"\xff" * 501])
def test_with_its_boot_sector_lost_a_volume_is_damaged_and_read(plain: ImageBlocks, noise: bytes) -> None:
    plain.overwrite(0, noise)
    findings = verified(plain)
    assert [finding.code for finding in findings.of(Weight.DAMAGE)] == ["ntfs.boot.lost"]
    assert len(list(opened(plain)[0].files())) == len(FILES)


def test_a_boot_sector_that_leads_nowhere_gives_way_to_its_copy(plain: ImageBlocks) -> None:
    plain.overwrite(0x30, struct.pack("<Q", 9_999))
    assert verified(plain).count(Weight.DAMAGE, "ntfs.boot.copy") == 1
    assert len(list(opened(plain)[0].files())) == len(FILES)


def test_without_any_boot_sector_a_named_volume_is_damaged_and_empty(plain: ImageBlocks) -> None:
    plain.overwrite(11, b"\xff" * 100)
    plain.overwrite(64 * MIB - 512, bytes(512))
    file_system, findings = opened(plain)
    file_system.verify()
    assert findings.count(Weight.DAMAGE, "ntfs.boot.geometry") == 1
    assert list(file_system.files()) == []
    with pytest.raises(Damaged):
        file_system.find("/README.txt")


def test_new_boot_code_in_the_first_copy_only_is_no_damage(plain: ImageBlocks) -> None:
    plain.overwrite(0x60, b"another loader")
    findings = verified(plain)
    assert not findings.is_damaged
    assert findings.count(Weight.NOTE, "ntfs.boot.code") == 1


def test_a_volume_that_was_cut_off_is_damage(
    disk_path: Callable[[str], Path], tmp_path: Path, open_image: Callable[[Path], ImageBlocks]
) -> None:
    whole = disk_path("ntfs").read_bytes()
    for size in (63 * MIB, 32 * MIB, 31 * MIB + 512, 3 * MIB, 128 * 1024, 20_000):
        path = tmp_path / f"{size}.img"
        path.write_bytes(whole[:size])
        file_system, findings = opened(open_image(path))
        file_system.verify()
        list(file_system.files())
        assert findings.count(Weight.DAMAGE, "ntfs.truncated") >= 1


def test_with_the_first_record_lost_the_mirror_leads_on(plain: ImageBlocks) -> None:
    plain.overwrite(record_at(plain, 0), bytes(RECORD_BYTES))
    assert verified(plain).is_damaged
    assert len(list(opened(plain)[0].files())) == len(FILES)


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("area", ["boot", "backup-boot", "mirror", "log", "security"])
def test_every_flipped_bit_is_damage_where_something_is_kept_twice(plain: ImageBlocks, area: str) -> None:
    areas, chance = areas_of(plain, area), random.Random(area)  # noqa: S311 - the same damage every time is the point
    for _ in range(40):
        plain.patches.clear()
        one = chance.choice(areas)
        at, bit = one.offset + chance.randrange(one.length), chance.randrange(8)
        plain.flip(at, bit)
        assert verified(plain).is_damaged, (at, bit)


@pytest.mark.parametrize(
    "area", ["table", "index", "bitmap", "table-bitmap", "upper-case", "mirror", "log", "security"]
)
@pytest.mark.parametrize("makes_noise", [True, False])
def test_garbage_and_zeros_in_structures_are_damage(varied: ImageBlocks, area: str, makes_noise: bool) -> None:
    pages = sorted({(one.offset + n) // 4096 for one in areas_of(varied, area) for n in range(0, one.length, 512)})
    chance = random.Random(area)  # noqa: S311 - as above
    for page in chance.sample(pages, min(len(pages), 10)):
        varied.patches.clear()
        varied.overwrite(page * 4096, chance.randbytes(4096) if makes_noise else bytes(4096))
        assert verified(varied).is_damaged, page


def test_a_cluster_in_use_that_is_marked_free_is_damage(plain: ImageBlocks) -> None:
    cluster = found(plain, "/logs/access/access-2026-10-01.log").extents[0].at // 4096
    plain.flip(areas_of(plain, "bitmap")[0].offset + cluster // 8, cluster % 8)
    assert verified(plain).count(Weight.DAMAGE, "ntfs.bitmap.lost") == 1


def test_a_free_cluster_that_is_marked_in_use_is_a_note(plain: ImageBlocks) -> None:
    plain.flip(areas_of(plain, "bitmap")[0].offset + 10_000 // 8)
    findings = verified(plain)
    assert not findings.is_damaged
    assert findings.count(Weight.NOTE, "ntfs.bitmap.leaked") == 1


def test_garbage_over_free_clusters_is_damage(plain: ImageBlocks) -> None:
    chance = random.Random(5)  # noqa: S311 - as above
    plain.overwrite(areas_of(plain, "bitmap")[0].offset + 1200, chance.randbytes(800))
    assert verified(plain).count(Weight.DAMAGE, "ntfs.bitmap.noise") == 1


def test_a_cluster_that_two_files_use_is_damage(plain: ImageBlocks) -> None:
    one, two = (found(plain, f"/logs/access/access-2026-10-0{day}.log") for day in (1, 2))
    places = [attribute_at(plain, record_at(plain, file.id), 0x80) for file in (one, two)]
    runs = [at + struct.unpack("<H", read_at(plain, at + 0x20, 2))[0] for at in places]
    plain.overwrite(runs[1], read_at(plain, runs[0], 8))
    detail = next(f.detail for f in verified(plain).of(Weight.DAMAGE) if f.code == "ntfs.clusters.twice")
    assert {str(one.id), str(two.id)} <= set(detail.split())


def test_a_record_in_use_that_is_marked_free_is_damage(plain: ImageBlocks) -> None:
    number = found(plain, "/README.txt").id
    plain.flip(areas_of(plain, "table-bitmap")[0].offset + number // 8, number % 8)
    assert verified(plain).count(Weight.DAMAGE, "ntfs.table-bitmap.lost") == 1


def test_a_file_of_another_generation_than_its_directory_says_is_damage(plain: ImageBlocks) -> None:
    plain.flip(record_at(plain, found(plain, "/README.txt").id) + 0x10, 3)
    findings = verified(plain)
    assert findings.count(Weight.DAMAGE, "ntfs.index.missing") == 1
    assert findings.count(Weight.DAMAGE, "ntfs.index.stray") == 1
    assert opened(plain)[0].find("/conf/shop.ini") is not None
    with pytest.raises(Damaged):
        opened(plain)[0].find("/README.txt")


def test_a_count_of_names_that_is_wrong_is_damage(plain: ImageBlocks) -> None:
    plain.flip(record_at(plain, found(plain, "/README.txt").id) + 0x12, 3)
    assert verified(plain).count(Weight.DAMAGE, "ntfs.record.links") == 1


def test_a_block_that_nothing_points_to_is_damage(varied: ImageBlocks) -> None:
    root = directory_root(varied, "/many/entry 000 of the many.txt")
    first_length = struct.unpack("<H", read_at(varied, root + 8, 2))[0]
    varied.flip(root + first_length - 8, 6)
    findings = verified(varied)
    assert findings.count(Weight.DAMAGE, "ntfs.index.link") == 1
    assert findings.count(Weight.DAMAGE, "ntfs.index.unlinked") == 1


def directory_root(blocks: ImageBlocks, path: str) -> int:
    """Where the first entry of the directory of this file stands in the directory's own record."""
    name = attribute_at(blocks, record_at(blocks, found(blocks, path).id), 0x30)
    parent = struct.unpack("<Q", read_at(blocks, name + 0x18, 8))[0] & 0xFFFF_FFFF
    attribute = attribute_at(blocks, record_at(blocks, parent), 0x90)
    header = attribute + struct.unpack("<H", read_at(blocks, attribute + 0x14, 2))[0] + 0x10
    return header + struct.unpack("<I", read_at(blocks, header, 4))[0]


def test_a_directory_that_lists_itself_ends_and_is_damage(plain: ImageBlocks) -> None:
    entry = directory_root(plain, "/conf/nginx/mime.types")
    name = attribute_at(plain, record_at(plain, found(plain, "/conf/nginx/mime.types").id), 0x30)
    plain.overwrite(entry, read_at(plain, name + 0x18, 8))  # its own reference, where a file's should be
    assert verified(plain).is_damaged
    assert len(list(opened(plain)[0].files())) == len(FILES) - 1


# --- the log ---------------------------------------------------------------------------------------------------------


def restart_page(*, sequence: int, is_clean: bool, version: tuple[int, int] = (1, 1), counter: int = 5) -> bytes:
    page = bytearray(4096)
    struct.pack_into("<4sHHQIIHhh", page, 0, b"RSTR", 0x1E, 9, 0, 4096, 4096, 0x30, version[1], version[0])
    struct.pack_into("<QHHHH", page, 0x30, sequence, 1, 0xFFFF, 0, 2 if is_clean else 0)
    struct.pack_into("<H", page, 0x1E, counter)
    for end in range(512, 4097, 512):
        struct.pack_into("<H", page, end - 2, counter)
    return bytes(page)


def write_log(blocks: ImageBlocks, first: bytes, second: bytes) -> None:
    for area, page in zip(areas_of(blocks, "log"), (first, second), strict=True):
        blocks.overwrite(area.offset, page)


def test_a_log_that_waits_needs_replay_and_is_no_damage(plain: ImageBlocks) -> None:
    write_log(plain, restart_page(sequence=9, is_clean=False), restart_page(sequence=8, is_clean=True))
    file_system, findings = opened(plain)
    file_system.verify()
    assert file_system.needs_replay
    assert findings.count(Weight.NOTE, "ntfs.log.replay") == 1
    assert not findings.is_damaged


def test_the_newer_restart_page_counts(plain: ImageBlocks) -> None:
    write_log(plain, restart_page(sequence=8, is_clean=False), restart_page(sequence=9, is_clean=True))
    assert not opened(plain)[0].needs_replay


def test_a_log_of_a_mounted_windows_needs_replay(plain: ImageBlocks) -> None:
    page = restart_page(sequence=9, is_clean=True, version=(2, 0))
    write_log(plain, page, page)
    assert opened(plain)[0].needs_replay


def test_a_log_of_a_version_we_do_not_know_is_unknown(plain: ImageBlocks) -> None:
    page = restart_page(sequence=9, is_clean=True, version=(3, 0))
    write_log(plain, page, page)
    assert opened(plain)[1].count(Weight.UNKNOWN, "ntfs.log.version") == 1


def test_what_a_replay_may_mend_is_unknown_while_the_log_waits(plain: ImageBlocks) -> None:
    number = found(plain, "/README.txt").id
    plain.flip(areas_of(plain, "table-bitmap")[0].offset + number // 8, number % 8)
    write_log(plain, restart_page(sequence=9, is_clean=False), restart_page(sequence=8, is_clean=False))
    findings = verified(plain)
    assert not findings.is_damaged
    assert findings.count(Weight.UNKNOWN, "ntfs.table-bitmap.lost") == 1


def test_garbage_in_a_record_is_damage_even_while_the_log_waits(plain: ImageBlocks) -> None:
    plain.overwrite(record_at(plain, found(plain, "/README.txt").id), b"\xa5" * RECORD_BYTES)
    write_log(plain, restart_page(sequence=9, is_clean=False), restart_page(sequence=8, is_clean=False))
    assert verified(plain).count(Weight.DAMAGE, "ntfs.record.magic") == 1


@pytest.mark.parametrize(("step", "is_damaged"), [(1, False), (77, True)])
def test_a_record_torn_between_two_writes_may_be_mended(plain: ImageBlocks, step: int, is_damaged: bool) -> None:
    record = record_at(plain, found(plain, "/README.txt").id)
    counter = struct.unpack("<H", read_at(plain, record + RECORD_BYTES - 2, 2))[0]
    plain.overwrite(record + RECORD_BYTES - 2, struct.pack("<H", counter + step))
    write_log(plain, restart_page(sequence=9, is_clean=False), restart_page(sequence=8, is_clean=False))
    assert (verified(plain).count(Weight.DAMAGE, "ntfs.record.torn") == 1) is is_damaged


def test_one_restart_page_cut_short_is_a_note(plain: ImageBlocks) -> None:
    torn = bytearray(restart_page(sequence=9, is_clean=True))
    torn[-2:] = struct.pack("<H", 4)
    write_log(plain, bytes(torn), restart_page(sequence=8, is_clean=True))
    findings = verified(plain)
    assert findings.count(Weight.NOTE, "ntfs.log.torn") == 1
    assert not findings.is_damaged


def test_a_volume_that_asks_to_be_checked_is_a_note(plain: ImageBlocks) -> None:
    record = record_at(plain, 3)
    value = attribute_at(plain, record, 0x70)
    at = value + struct.unpack("<H", read_at(plain, value + 0x14, 2))[0] + 10
    plain.flip(at)
    plain.flip(areas_of(plain, "mirror")[0].offset // 4096 * 4096 + at - record + 3 * RECORD_BYTES)
    findings = verified(plain)
    assert findings.count(Weight.NOTE, "ntfs.volume.dirty") == 1
    assert not findings.is_damaged


# --- hostile content, and limits -------------------------------------------------------------------------------------


def test_random_changes_anywhere_raise_nothing(varied: ImageBlocks) -> None:
    areas, chance = verified(varied).areas, random.Random(7)  # noqa: S311 - as above
    names = sorted({area.name for area in areas})
    for round_ in range(50):
        varied.patches.clear()
        area = chance.choice([one for one in areas if one.name == names[round_ % len(names)]])
        for _ in range(1 + round_ % 5):
            varied.overwrite(
                area.offset + chance.randrange(min(area.length, 200)), chance.randbytes(chance.choice((1, 2, 8)))
            )
        file_system, _ = opened(varied)
        file_system.verify()
        for file in file_system.files():
            assert file.path.startswith("/")


@pytest.mark.parametrize("at", range(0x28, 0x48, 8))
@pytest.mark.parametrize("value", [0, 1, 1 << 31, (1 << 60) - 1, (1 << 64) - 1])
def test_absurd_numbers_in_the_first_boot_sector_end_as_damage(plain: ImageBlocks, at: int, value: int) -> None:
    plain.overwrite(at, struct.pack("<Q", value))
    assert verified(plain).is_damaged


def test_absurd_sizes_of_the_table_end_as_damage(plain: ImageBlocks) -> None:
    record = record_at(plain, 0)
    data = attribute_at(plain, record, 0x80)
    mirror = areas_of(plain, "mirror")[0].offset
    for size in (0, 1 << 40, (1 << 63) + 1, (1 << 64) - 1):
        plain.patches.clear()
        for begin in (record, mirror):
            plain.overwrite(begin + data - record + 0x28, struct.pack("<QQQ", size, size, size))
        assert verified(plain).is_damaged


def test_a_spent_budget_is_told(plain: ImageBlocks) -> None:
    with pytest.raises(BudgetSpent):
        open_ntfs(SnapshotDevice(plain, budget_blocks=1), Findings())


def test_few_blocks_are_read_for_a_verdict(plain: ImageBlocks) -> None:
    verified(plain)
    plain.read_count = 0
    verified(plain)
    assert plain.read_count <= 7
