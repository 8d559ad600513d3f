"""ext2, ext3 and ext4 as they are read: files, contents, times, and what cannot be read."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from embedded.disks import DISKS
from embedded.disks.image_blocks import ImageBlocks
from functions.inspection.devices import BudgetSpent, SnapshotDevice
from functions.inspection.ext4.reader import open_ext4
from functions.inspection.file_systems import Damaged, File, NotReadable
from functions.inspection.findings import Findings
from tests.inspection.ext4_images import (
    NAMES,
    Image,
    damage,
    expected_listing,
    listing,
    notes,
    opened,
    unknowns,
    verified,
)

Disk = Callable[[str], ImageBlocks]


@pytest.fixture
def prepared(disk: Disk) -> Iterator[Disk]:
    """A prepared disk whose file is closed again."""
    laid: list[ImageBlocks] = []

    def lay(name: str) -> ImageBlocks:
        laid.append(disk(name))
        return laid[-1]

    yield lay
    for image in laid:
        image.close()


@pytest.mark.parametrize("name", NAMES)
def test_every_file_reads_as_a_mount_shows_it(name: str) -> None:
    assert listing(opened(Image(name))) == expected_listing(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_sound_file_system_has_no_damage(name: str) -> None:
    file_system = verified(Image(name))
    assert (damage(file_system), unknowns(file_system)) == (set(), set())


def test_a_prepared_disk_holds_the_files_of_its_manifest(prepared: Disk) -> None:
    file_system = open_ext4(SnapshotDevice(prepared("ext4")), Findings())
    assert file_system is not None
    found = {file.path[1:]: hashlib.sha256(file_system.read(file)).hexdigest() for file in file_system.files()}
    assert found == DISKS["ext4"].file_systems[0].files


@pytest.mark.parametrize("name", ["xfs", "btrfs", "ntfs", "gpt"])
def test_another_kind_of_disk_is_not_taken_for_ext4(prepared: Disk, name: str) -> None:
    findings = Findings()
    assert open_ext4(SnapshotDevice(prepared(name)), findings) is None
    assert not findings.is_damaged


@pytest.mark.parametrize("size_bytes", [0, 512, 4096, 1 << 20])
def test_an_empty_device_holds_no_ext4(size_bytes: int) -> None:
    image = Image("ext4-old")
    image.bytes = bytearray(size_bytes)
    image.size_bytes = size_bytes
    assert open_ext4(SnapshotDevice(image), Findings()) is None


def test_a_verdict_on_a_small_disk_reads_few_blocks(prepared: Disk) -> None:
    device = SnapshotDevice(prepared("ext4"))
    file_system = open_ext4(device, Findings())
    assert file_system is not None
    file_system.verify()
    assert 0 < device.read_blocks <= 8


def test_a_budget_that_is_spent_ends_the_verification(prepared: Disk) -> None:
    device = SnapshotDevice(prepared("ext4"), budget_blocks=2)
    file_system = open_ext4(device, Findings())
    assert file_system is not None
    with pytest.raises(BudgetSpent):
        file_system.verify()


def test_a_file_is_found_by_its_path() -> None:
    file_system = opened(Image("ext4-ext3"))
    file = file_system.find("/a/b/c/long text")
    assert file is not None
    assert file.size_bytes == 9000
    assert file.extents[0].length == 9000 or len(file.extents) > 1


@pytest.mark.parametrize("path", ["/a/b/c/none", "/a/b", "/a/short", "/names/../a/again", "/a/again/x", "/"])
def test_what_is_no_regular_file_is_not_found(path: str) -> None:
    assert opened(Image("ext4-ext3")).find(path) is None


def test_a_name_that_is_no_utf8_is_kept() -> None:
    file_system = opened(Image("ext4-ext3"))
    file = file_system.find("/bytes-\udcff")
    assert file is not None
    assert file_system.read(file) == b"x"


def test_both_names_of_a_file_lead_to_one_inode() -> None:
    file_system = opened(Image("ext4-old"))
    files = {file.path: file.id for file in file_system.files()}
    assert files["/a/again"] == files["/a/b/c/long text"]


def test_a_sparse_file_reads_zeros_between_its_extents() -> None:
    file_system = opened(Image("ext4-old"))
    file = file_system.find("/sparse")
    assert file is not None
    assert len(file.extents) == 12
    assert file_system.read(file, 16384 * 3, 50) == b"3" * 50
    assert not any(file_system.read(file, 2048, 8192))


def test_reserved_space_that_was_not_written_reads_as_zeros() -> None:
    file_system = opened(Image("ext4-old"))
    file = file_system.find("/reserved")
    assert file is not None
    assert file.size_bytes == 40000
    assert sum(extent.length for extent in file.extents) < 40000
    assert file_system.read(file) == b"begin".ljust(40000, b"\0")


def test_a_read_is_short_at_the_end_of_a_file() -> None:
    file_system = opened(Image("ext4-ext3"))
    file = file_system.find("/a/again")
    assert file is not None
    whole = file_system.read(file)
    assert file_system.read(file, 8990, 100) == whole[8990:]
    assert file_system.read(file, 1000, 3000) == whole[1000:4000]
    assert file_system.read(file, 9000) == b""


def test_a_file_that_claims_to_be_huge_is_not_read_at_once() -> None:
    file_system = opened(Image("ext4-ext3"))
    file = file_system.find("/a/again")
    assert file is not None
    with pytest.raises(NotReadable, match="parts"):
        file_system.read(replace(file, size_bytes=1 << 60))


def test_an_extent_outside_of_the_device_is_damage_when_it_is_read() -> None:
    file_system = opened(Image("ext4-ext3"))
    file = file_system.find("/a/again")
    assert file is not None
    lost = replace(file, extents=(replace(file.extents[0], at=1 << 50),))
    with pytest.raises(Damaged):
        file_system.read(lost)


def test_a_small_file_lies_in_its_inode() -> None:
    files = [file for file in opened(Image("ext4-extras")).files() if file.inline]
    assert files
    assert all(len(file.inline or b"") == file.size_bytes and not file.extents for file in files)


def test_an_encrypted_file_is_listed_and_not_read() -> None:
    file_system = opened(Image("ext4-extras"))
    secret = [file for file in file_system.files() if file.path.startswith("/secret/")]
    assert len(secret) == 20
    with pytest.raises(NotReadable, match="encrypted"):
        file_system.read(secret[0])


def test_encrypted_directories_are_worth_a_note() -> None:
    assert "ext4.feature.encrypt" in notes(verified(Image("ext4-extras")))


def test_the_time_of_the_last_change_is_utc() -> None:
    file = next(iter(opened(Image("ext4-old")).files()))
    assert file.modified_at is not None
    assert file.modified_at.year >= 2026
    assert file.modified_at.utcoffset() is not None


def test_an_absurd_time_is_none() -> None:
    image = Image("ext4-old")
    file, at = _inode_of(image, "/a/again")
    image.overwrite(at + 0x88, struct.pack("<I", 0xFFFFFFFC))
    again = opened(image).find(file.path)
    assert again is not None
    assert again.modified_at is None


def test_a_damaged_directory_is_left_out_and_the_rest_is_listed() -> None:
    image = Image("ext4-old")
    image.overwrite(_directory_block(image, "/a/b"), b"\xff" * 16)
    paths = {file.path for file in opened(image).files()}
    assert "/a/again" in paths
    assert not any(path.startswith("/a/b/") for path in paths)


def test_a_path_through_a_damaged_directory_cannot_be_found() -> None:
    image = Image("ext4-old")
    image.overwrite(_directory_block(image, "/a"), b"\xff" * 16)
    with pytest.raises(Damaged):
        opened(image).find("/a/again")


def test_directories_that_contain_each_other_are_listed_once() -> None:
    image = Image("ext4-old")
    block = _directory_block(image, "/a/b")
    entry = image.bytes.index(b"c\0\0\0", block) - 8
    image.overwrite(entry, struct.pack("<I", 2))
    assert len(list(opened(image).files())) < 1000


def test_an_external_journal_is_not_read_and_said_to_be_one() -> None:
    image = Image("ext4-old")
    image.overwrite(1024 + 0x60, struct.pack("<I", 0x8))
    file_system = verified(image)
    assert unknowns(file_system) == {"ext4.feature.journal_dev"}
    assert list(file_system.files()) == []


def test_an_unknown_feature_is_named_and_the_rest_is_verified() -> None:
    image = Image("ext4-old")
    features = struct.unpack_from("<I", image.bytes, 1024 + 0x60)[0]
    image.overwrite(1024 + 0x60, struct.pack("<I", features | 1 << 30))
    file_system = verified(image)
    assert unknowns(file_system) == {"ext4.feature.incompat-0x40000000"}
    assert damage(file_system) == set()


def _inode_of(image: Image, path: str) -> tuple[File, int]:
    """A file and the offset of its inode; the images keep all inodes in one stretch."""
    file = opened(image).find(path)
    assert file is not None
    return file, _inode_place(image, file.id)


def _inode_place(image: Image, number: int) -> int:
    table = struct.unpack_from("<I", image.bytes, 2048 + 8)[0]
    size = struct.unpack_from("<H", image.bytes, 1024 + 0x58)[0]
    return table * 1024 + (number - 1) * size


def _directory_block(image: Image, path: str) -> int:
    """The offset of the first block of a directory, found from the root by the bytes of its name."""
    number = 2
    for part in [part for part in path.split("/") if part]:
        block = _first_block(image, number)
        at = image.bytes.index(bytes([len(part), 2]) + part.encode(), block) - 6
        number = struct.unpack_from("<I", image.bytes, at)[0]
    return _first_block(image, number)


def _first_block(image: Image, number: int) -> int:
    at = _inode_place(image, number)
    return struct.unpack_from("<I", image.bytes, at + 0x28 + 12 + 8)[0] * 1024
