"""Partition tables: read, judged by their own redundancy, followed when one copy is damaged."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from embedded.disks import DISKS
from embedded.disks.image_blocks import ImageBlocks
from functions.inspection.devices import SnapshotDevice
from functions.inspection.findings import Findings, Weight
from functions.inspection.partitions import Kind, Partition, partitions

MIB = 1024 * 1024
LINUX_GUID = bytes.fromhex("af3dc60f838472478e793d69d8477de4")
SWAP_GUID = bytes.fromhex("6dfd5706aba4c44384e50933c84b4f4f")


def read(blocks: ImageBlocks) -> tuple[tuple[Partition, ...] | None, Findings]:
    findings = Findings(keeps_areas=True)
    return partitions(SnapshotDevice(blocks), findings), findings


@pytest.fixture
def empty_disk(tmp_path: Path, open_image: Callable[[Path], ImageBlocks]) -> Callable[[int], ImageBlocks]:
    def make(size_bytes: int) -> ImageBlocks:
        path = tmp_path / f"{size_bytes}.img"
        with path.open("wb") as file:
            file.truncate(size_bytes)
        return open_image(path)

    return make


def mbr_entry(type_: int, start: int, count: int, status: int = 0) -> bytes:
    return struct.pack("<B3sB3sII", status, b"\0\2\0", type_, b"\xff\xff\xff", start, count)


def write_mbr(blocks: ImageBlocks, sector: int, *entries: bytes) -> None:
    blocks.overwrite(sector * 512 + 446, b"".join(entries).ljust(64, b"\0") + b"\x55\xaa")


def write_gpt(
    blocks: ImageBlocks, *, sector_bytes: int = 512, last: int | None = None, entries: tuple[bytes, ...] = ()
) -> None:
    last = blocks.size_bytes // sector_bytes - 1 if last is None else last
    table = b"".join(entries).ljust(128 * 128, b"\0")
    table_sectors = len(table) // sector_bytes
    write_mbr(blocks, 0, mbr_entry(0xEE, 1, last))
    for here, other, table_at in ((1, last, 2), (last, 1, last - table_sectors)):
        usable = (2 + table_sectors, last - table_sectors - 1)
        fields = (here, other, *usable, b"a disk's own id.", table_at, 128, 128, zlib.crc32(table))
        header = struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, *fields)
        header = header[:16] + struct.pack("<I", zlib.crc32(header)) + header[20:]
        blocks.overwrite(here * sector_bytes, header)
        blocks.overwrite(table_at * sector_bytes, table)


def gpt_entry(type_: bytes, first: int, last: int, name: str = "") -> bytes:
    text = name.encode("utf-16-le", "surrogatepass").ljust(72, b"\0")
    return type_ + b"sixteen bytes id" + struct.pack("<QQQ", first, last, 0) + text


def test_the_partitions_of_a_prepared_disk_are_where_its_maker_put_them(disk: Callable[[str], ImageBlocks]) -> None:
    found, findings = read(disk("gpt"))
    assert found is not None
    assert [(p.offset, p.length) for p in found] == [
        (f.offset_bytes, f.length_bytes) for f in DISKS["gpt"].file_systems
    ]
    assert [(p.number, p.kind, p.name, p.is_content) for p in found] == [
        (1, Kind.EFI, "boot", False),
        (2, Kind.LINUX, "shop-data", True),
    ]
    assert not findings.is_damaged


@pytest.mark.parametrize("name", ["ext4", "xfs", "btrfs", "ntfs"])
def test_a_file_system_on_the_whole_disk_is_no_table(disk: Callable[[str], ImageBlocks], name: str) -> None:
    assert read(disk(name))[0] is None


def test_an_empty_disk_has_no_table(empty_disk: Callable[[int], ImageBlocks]) -> None:
    assert read(empty_disk(8 * MIB))[0] is None


def test_every_flipped_bit_that_a_gpt_answers_for_is_damage(disk: Callable[[str], ImageBlocks]) -> None:
    blocks = disk("gpt")
    _, clean = read(blocks)
    chance = random.Random(1)  # noqa: S311 - the same damage every time is the point
    for name in {area.name for area in clean.areas}:
        areas = [area for area in clean.areas if area.name == name]
        for _ in range(120):
            area = chance.choice(areas)
            blocks.patches.clear()
            blocks.flip(area.offset + chance.randrange(area.length), chance.randrange(8))
            assert read(blocks)[1].is_damaged, area


@pytest.mark.parametrize("at", [512, 1024, 1024 * MIB - 512, 1024 * MIB - 33 * 512])
def test_with_one_copy_of_a_gpt_damaged_the_other_is_followed(disk: Callable[[str], ImageBlocks], at: int) -> None:
    blocks = disk("gpt")
    blocks.overwrite(at, b"\xa5" * 512)
    found, findings = read(blocks)
    assert found == read(disk("gpt"))[0]
    assert findings.is_damaged


def test_with_both_copies_of_a_gpt_gone_nothing_is_followed(disk: Callable[[str], ImageBlocks]) -> None:
    blocks = disk("gpt")
    blocks.overwrite(512, bytes(512))
    blocks.overwrite(1024 * MIB - 512, bytes(512))
    found, findings = read(blocks)
    assert found == ()
    assert findings.count(Weight.DAMAGE, "gpt.lost") == 1


def test_without_its_first_sector_a_gpt_is_damaged_and_followed(disk: Callable[[str], ImageBlocks]) -> None:
    blocks = disk("gpt")
    blocks.overwrite(0, bytes(512))
    found, findings = read(blocks)
    assert found == read(disk("gpt"))[0]
    assert findings.count(Weight.DAMAGE, "gpt.protective-mbr") == 2


def test_a_lost_first_block_is_made_good_by_the_second_copy(disk: Callable[[str], ImageBlocks]) -> None:
    blocks = disk("gpt")
    blocks.patches[0] = None
    found, findings = read(blocks)
    assert found == read(disk("gpt"))[0]
    assert findings.count(Weight.DAMAGE, "gpt.primary.magic") == 1


def test_with_garbage_for_its_first_4096_bytes_a_gpt_is_damaged_and_followed(
    disk: Callable[[str], ImageBlocks],
) -> None:
    blocks = disk("gpt")
    blocks.overwrite(0, b"\xa5" * 4096)
    found, findings = read(blocks)
    assert found == read(disk("gpt"))[0]
    assert findings.is_damaged


@pytest.mark.parametrize(("at", "magic"), [(1080, b"\x53\xef"), (0, b"XFSB"), (65600, b"_BHRfS_M"), (512, b"LABELONE")])
def test_an_old_table_at_the_end_of_a_disk_with_other_content_is_no_table(
    empty_disk: Callable[[int], ImageBlocks], at: int, magic: bytes
) -> None:
    blocks = empty_disk(8 * MIB)
    write_gpt(blocks, entries=(gpt_entry(LINUX_GUID, 2048, 4095),))
    blocks.overwrite(0, bytes(MIB))
    blocks.overwrite(at, magic)
    found, findings = read(blocks)
    assert found is None
    assert not findings.is_damaged


def test_a_disk_that_was_enlarged_is_not_damaged(empty_disk: Callable[[int], ImageBlocks]) -> None:
    blocks = empty_disk(16 * MIB)
    write_gpt(blocks, last=8 * MIB // 512 - 1, entries=(gpt_entry(LINUX_GUID, 2048, 4095),))
    found, findings = read(blocks)
    assert found is not None
    assert len(found) == 1
    assert not findings.is_damaged
    assert findings.count(Weight.NOTE, "gpt.enlarged") == 1


def test_on_an_enlarged_disk_the_second_copy_is_found_without_the_first(
    empty_disk: Callable[[int], ImageBlocks],
) -> None:
    blocks = empty_disk(16 * MIB)
    write_gpt(blocks, last=8 * MIB // 512 - 1, entries=(gpt_entry(LINUX_GUID, 2048, 4095),))
    blocks.overwrite(512, bytes(512))
    found, findings = read(blocks)
    assert found is not None
    assert len(found) == 1
    assert findings.is_damaged


def test_a_disk_that_was_cut_off_is_damaged(empty_disk: Callable[[int], ImageBlocks]) -> None:
    blocks = empty_disk(8 * MIB)
    write_gpt(blocks, last=16 * MIB // 512 - 1, entries=(gpt_entry(LINUX_GUID, 2048, 20_000),))
    _, findings = read(blocks)
    assert findings.count(Weight.DAMAGE, "gpt.truncated") == 1
    assert findings.count(Weight.DAMAGE, "partition.truncated") == 1


def test_a_gpt_in_sectors_of_4096_bytes_is_read(empty_disk: Callable[[int], ImageBlocks]) -> None:
    blocks = empty_disk(8 * MIB)
    write_gpt(blocks, sector_bytes=4096, entries=(gpt_entry(SWAP_GUID, 256, 511),))
    found, findings = read(blocks)
    assert found is not None
    assert found == (Partition(number=1, offset=MIB, length=MIB, kind=Kind.SWAP),)
    assert not found[0].is_content
    assert not findings.is_damaged


def test_partitions_that_overlap_are_damage(empty_disk: Callable[[int], ImageBlocks]) -> None:
    blocks = empty_disk(8 * MIB)
    write_gpt(blocks, entries=(gpt_entry(LINUX_GUID, 2048, 4096), gpt_entry(LINUX_GUID, 4096, 8191)))
    assert read(blocks)[1].count(Weight.DAMAGE, "partition.overlap") == 1


def test_a_partition_outside_of_the_usable_sectors_is_damage(empty_disk: Callable[[int], ImageBlocks]) -> None:
    blocks = empty_disk(8 * MIB)
    write_gpt(blocks, entries=(gpt_entry(LINUX_GUID, 5, 4096),))
    assert read(blocks)[1].count(Weight.DAMAGE, "gpt.entry") == 1


def test_what_cannot_be_printed_in_a_name_is_escaped(empty_disk: Callable[[int], ImageBlocks]) -> None:
    blocks = empty_disk(8 * MIB)
    write_gpt(blocks, entries=(gpt_entry(LINUX_GUID, 2048, 4095, "a\n\x1b\ud800é"),))
    found, _ = read(blocks)
    assert found is not None
    assert found[0].name == "a\\n\\x1b\\ud800é"


def test_primary_and_logical_partitions_of_an_mbr_are_found(empty_disk: Callable[[int], ImageBlocks]) -> None:
    blocks = empty_disk(8 * MIB)
    write_mbr(blocks, 0, mbr_entry(0x83, 2048, 2048, 0x80), mbr_entry(0x05, 4096, 8192))
    write_mbr(blocks, 4096, mbr_entry(0x82, 64, 512), mbr_entry(0x05, 2048, 2048))
    write_mbr(blocks, 6144, mbr_entry(0x8E, 64, 1024))
    found, findings = read(blocks)
    assert found is not None
    assert [(p.number, p.offset // 512, p.length // 512, p.kind, p.is_content) for p in found] == [
        (1, 2048, 2048, Kind.LINUX, True),
        (2, 4096, 8192, Kind.EXTENDED, False),
        (5, 4160, 512, Kind.SWAP, False),
        (6, 6208, 1024, Kind.LVM, True),
    ]
    assert not findings.is_damaged


def test_a_chain_of_logical_partitions_that_runs_in_a_circle_ends(empty_disk: Callable[[int], ImageBlocks]) -> None:
    blocks = empty_disk(8 * MIB)
    write_mbr(blocks, 0, mbr_entry(0x05, 4096, 8192))
    write_mbr(blocks, 4096, mbr_entry(0x83, 64, 512), mbr_entry(0x05, 2048, 2048))
    write_mbr(blocks, 6144, mbr_entry(0x83, 64, 512), mbr_entry(0x05, 0, 2048))
    assert read(blocks)[1].count(Weight.DAMAGE, "mbr.extended.chain") == 1


def test_an_mbr_without_its_signature_is_damage_and_followed(empty_disk: Callable[[int], ImageBlocks]) -> None:
    blocks = empty_disk(8 * MIB)
    write_mbr(blocks, 0, mbr_entry(0x83, 2048, 2048))
    blocks.flip(510)
    found, findings = read(blocks)
    assert found is not None
    assert len(found) == 1
    assert findings.count(Weight.DAMAGE, "mbr.signature") == 1


def test_an_mbr_partition_beyond_the_disk_is_damage(empty_disk: Callable[[int], ImageBlocks]) -> None:
    blocks = empty_disk(8 * MIB)
    write_mbr(blocks, 0, mbr_entry(0x83, 2048, 1 << 31))
    assert read(blocks)[1].count(Weight.DAMAGE, "partition.truncated") == 1


def test_random_first_and_last_blocks_raise_nothing(disk: Callable[[str], ImageBlocks]) -> None:
    chance = random.Random(3)  # noqa: S311 - the same damage every time is the point
    blocks = disk("gpt")
    for round_ in range(60):
        blocks.patches.clear()
        for at in (0, 512, 1024, 1024 * MIB - 512):
            noise = bytearray(blocks.block(at // 524288) or bytes(524288))[at % 524288 : at % 524288 + 512]
            for _ in range(round_):
                noise[chance.randrange(len(noise))] = chance.randrange(256)
            blocks.overwrite(at, bytes(noise[:510]) + b"\x55\xaa")
        read(blocks)
