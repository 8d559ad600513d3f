"""Contents that are known by name and not read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from embedded.disks import DISKS
from embedded.disks.image_blocks import ImageBlocks
from functions.inspection.devices import SnapshotDevice, partition
from functions.inspection.signatures import is_blank, recognised

MIB = 1024 * 1024
RAID = b"\xfc\x4e\x2b\xa9"


@pytest.fixture
def blocks(tmp_path: Path, open_image: Callable[[Path], ImageBlocks]) -> ImageBlocks:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(4 * MIB + 4096))
    return open_image(path)


@pytest.mark.parametrize(
    ("at", "magic", "word"),
    [
        (0, b"LUKS\xba\xbe\0\2", "LUKS encryption"),
        (3, b"-FVE-FS-", "BitLocker"),
        (3, b"EXFAT   ", "exFAT"),
        (3, b"ReFS\0\0\0\0", "ReFS"),
        (4086, b"SWAPSPACE2", "Linux swap"),
        (65526, b"SWAPSPACE2", "Linux swap"),
        (4096, RAID, "Linux RAID"),
        (4 * MIB + 4096 - 8192, RAID, "Linux RAID"),
        (4 * MIB - 65536, RAID, "Linux RAID"),
        (4120, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81"), "bcache"),
        (132 * 1024, b"\x0c\xb1\xba\0\0\0\0\0", "ZFS"),
        (32769, b"CD001", "ISO 9660"),
    ],
)
def test_a_known_magic_has_a_plain_word(blocks: ImageBlocks, at: int, magic: bytes, word: str) -> None:
    blocks.overwrite(at, magic)
    assert recognised(SnapshotDevice(blocks)) == word


def test_the_fat_partition_of_a_prepared_disk_is_recognised(disk: Callable[[str], ImageBlocks]) -> None:
    fat = DISKS["gpt"].file_systems[0]
    assert recognised(partition(SnapshotDevice(disk("gpt")), fat.offset_bytes, fat.length_bytes)) == "FAT"


@pytest.mark.parametrize("name", ["ext4", "xfs", "btrfs", "ntfs", "gpt"])
def test_what_we_read_ourselves_is_not_named_here(disk: Callable[[str], ImageBlocks], name: str) -> None:
    assert recognised(SnapshotDevice(disk(name))) is None


def test_a_disk_of_zeros_is_blank(blocks: ImageBlocks) -> None:
    assert is_blank(SnapshotDevice(blocks))


@pytest.mark.parametrize("at", [MIB - 1, 4 * MIB + 4095])
def test_one_byte_at_either_end_is_not_blank(blocks: ImageBlocks, at: int) -> None:
    blocks.overwrite(at, b"x")
    assert not is_blank(SnapshotDevice(blocks))


def test_a_device_of_a_few_bytes_has_no_name(tmp_path: Path, open_image: Callable[[Path], ImageBlocks]) -> None:
    (tmp_path / "tiny").write_bytes(b"abc")
    tiny = SnapshotDevice(open_image(tmp_path / "tiny"))
    assert recognised(tiny) is None
    assert not is_blank(tiny)
