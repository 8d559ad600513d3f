"""What is wrong with an ext file system is found, and no damage makes the inspection fail or run away."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import pytest

from functions.inspection.checksums import crc32c_of_kernel
from functions.inspection.devices import SnapshotDevice
from functions.inspection.ext4.reader import open_ext4
from functions.inspection.file_systems import Damaged, NotReadable
from functions.inspection.findings import Findings
from tests.inspection.ext4_images import (
    BACKUP_OFFSET,
    Image,
    areas_of,
    damage,
    listing,
    notes,
    opened,
    verified,
)

SUPERBLOCK = 1024
ROOT_INODE = 2
CHECKSUMMED = ("ext4-crashed", "ext4-revoked", "ext4-extras")


def _areas() -> Iterator[tuple[str, str]]:
    for name in CHECKSUMMED:
        yield from ((name, area) for area in sorted(areas_of(name)))


@pytest.mark.parametrize(("name", "area"), list(_areas()))
def test_a_flipped_bit_in_any_kind_of_metadata_is_damage(name: str, area: str) -> None:
    chance = random.Random(f"{name} {area}")  # noqa: S311 - damage that can be made again
    areas = areas_of(name)[area]
    missed: list[int] = []
    for _ in range(8):
        image = Image(name)
        hit = chance.choices(areas, [one.length for one in areas])[0]
        place = hit.offset + chance.randrange(hit.length)
        image.flip(place, chance.randrange(8))
        if not damage(verified(image)):
            missed.append(place)
    assert missed == []


def test_metadata_of_every_kind_is_among_the_areas() -> None:
    areas = {area for _, area in _areas()}
    assert areas >= {"superblock", "descriptors", "bitmaps", "inodes", "extents", "directories", "journal", "xattrs"}
    assert areas >= {"backup-superblock", "backup-descriptors"}


@pytest.mark.parametrize("name", ["ext4-ext3", "ext4-old"])
def test_without_checksums_only_what_has_one_is_among_the_areas(name: str) -> None:
    assert set(areas_of(name)) <= {"descriptors", "backup-descriptors"}


@pytest.mark.parametrize("name", ["ext4-crashed", "ext4-extras"])
def test_a_lost_superblock_is_damage_and_its_copy_leads_on(name: str) -> None:
    image = Image(name)
    image.overwrite(SUPERBLOCK, bytes(1024))
    file_system = verified(image)
    assert "ext4.superblock.magic" in damage(file_system)
    assert listing(file_system) == listing(opened(Image(name)))


def test_a_lost_first_block_is_damage_because_a_copy_names_the_file_system() -> None:
    image = Image("ext4-crashed")
    image.overwrite(0, bytes(4096))
    assert "ext4.superblock.magic" in damage(opened(image))


def test_garbage_over_superblock_and_descriptors_is_damage() -> None:
    image = Image("ext4-crashed")
    image.overwrite(0, random.Random(1).randbytes(4096))  # noqa: S311 - damage that can be made again
    assert "ext4.superblock.magic" in damage(opened(image))


@pytest.mark.parametrize(("offset", "magic"), [(0, b"XFSB"), (3, b"NTFS    "), (4086, b"SWAPSPACE2")])
def test_a_copy_left_from_an_earlier_file_system_is_not_taken_for_one(offset: int, magic: bytes) -> None:
    image = Image("ext4-crashed")
    image.overwrite(0, bytes(8192))
    image.overwrite(offset, magic)
    findings = Findings()
    assert open_ext4(SnapshotDevice(image), findings) is None
    assert not findings.is_damaged


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (0x18, 31),  # blocks of 2^41 bytes
        (0x04, 0xFFFFFFFF),  # 2^32 blocks
        (0x20, 0),  # no blocks in a group
        (0x20, 1),
        (0x28, 0xFFFFFFF8),
        (0x28, 0),
        (0x14, 0xFFFFFFFF),
        (0x00, 0),
        (0x58, 0),  # inodes of no bytes
        (0x58, 0xFFFF),
    ],
)
@pytest.mark.parametrize("name", ["ext4-old", "ext4-extras"])
def test_an_impossible_superblock_is_damage_and_read_to_an_end(name: str, offset: int, value: int) -> None:
    image = Image(name)
    image.overwrite(SUPERBLOCK + offset, struct.pack("<I", value))
    _sign_superblock(image, SUPERBLOCK)
    assert damage(verified(image))


def test_a_superblock_that_is_damaged_everywhere_ends_in_damage_without_files() -> None:
    image = Image("ext4-old")
    for at in range(0, len(image.bytes), 1024):
        if image.bytes[at + 0x38 : at + 0x3A] == b"\x53\xef":
            image.overwrite(at + 0x18, b"\xff\xff\xff\xff")
    file_system = verified(image)
    assert {"ext4.superblock.geometry", "ext4.superblock.unusable"} <= damage(file_system)
    assert list(file_system.files()) == []
    with pytest.raises(Damaged):
        file_system.find("/a")


def test_a_device_shorter_than_its_file_system_is_damage() -> None:
    image = Image("ext4-ext3")
    del image.bytes[6 << 20 :]
    image.size_bytes = len(image.bytes)
    assert "ext4.truncated" in damage(verified(image))


def test_a_copy_of_the_superblock_with_other_geometry_is_damage() -> None:
    image = Image("ext4-crashed")
    blocks = struct.unpack_from("<I", image.bytes, BACKUP_OFFSET + 4)[0]
    image.overwrite(BACKUP_OFFSET + 4, struct.pack("<I", blocks - 1))
    _sign_superblock(image, BACKUP_OFFSET)
    assert "ext4.backup-superblock.differs" in damage(verified(image))


@pytest.mark.parametrize("offset", [0x0C, 0x10, 0x2C, 0x34, 0x3A])
def test_old_counts_times_and_states_in_a_copy_are_normal(offset: int) -> None:
    image = Image("ext4-crashed")
    image.flip(BACKUP_OFFSET + offset)
    _sign_superblock(image, BACKUP_OFFSET)
    assert damage(verified(image)) == set()


def test_older_features_in_a_copy_are_worth_a_note() -> None:
    image = Image("ext4-crashed")
    image.flip(BACKUP_OFFSET + 0x5D, 3)
    _sign_superblock(image, BACKUP_OFFSET)
    file_system = verified(image)
    assert damage(file_system) == set()
    assert "ext4.backup-superblock.features" in notes(file_system)


def test_errors_that_the_kernel_wrote_down_are_worth_a_note() -> None:
    image = Image("ext4-old")
    image.overwrite(SUPERBLOCK + 0x3A, b"\x03\x00")
    assert "ext4.state.errors" in notes(opened(image))


# Without checksums, only structure tells


def test_a_block_that_two_inodes_claim_is_damage() -> None:
    image = Image("ext4-ext3")
    first, second = (_inode_at(image, path) for path in ("/a/again", "/sparse"))
    image.overwrite(second + 0x28, bytes(image.bytes[first + 0x28 : first + 0x2C]))
    assert "ext4.block.claimed-twice" in damage(verified(image))


def test_a_file_over_the_inode_table_is_damage() -> None:
    image = Image("ext4-ext3")
    at = _inode_at(image, "/a/again")
    image.overwrite(at + 0x28, struct.pack("<I", struct.unpack_from("<I", image.bytes, 2048 + 8)[0]))
    assert "ext4.block.claimed-twice" in damage(verified(image))


def test_a_block_in_use_that_is_marked_free_is_damage() -> None:
    image = Image("ext4-ext3")
    file = opened(image).find("/a/again")
    assert file is not None
    block = file.extents[0].at // 1024 - 1
    bitmap = struct.unpack_from("<I", image.bytes, 2048)[0] * 1024
    image.flip(bitmap + block // 8, block % 8)
    assert "ext4.block-bitmap.used-but-free" in damage(verified(image))


def test_a_block_that_nobody_uses_is_worth_a_note() -> None:
    image = Image("ext4-ext3")
    bitmap = struct.unpack_from("<I", image.bytes, 2048)[0] * 1024
    free = next(bit for bit in range(8192) if not image.bytes[bitmap + bit // 8] >> bit % 8 & 1)
    image.flip(bitmap + free // 8, free % 8)
    count = struct.unpack_from("<H", image.bytes, 2048 + 0x0C)[0]
    image.overwrite(2048 + 0x0C, struct.pack("<H", count - 1))
    file_system = verified(image)
    assert damage(file_system) == set()
    assert "ext4.block.leaked" in notes(file_system)


@pytest.mark.parametrize(
    ("offset", "code"),
    [
        (0x00, "ext4.inode.mode"),
        (0x1A, "ext4.inode.links"),
        (0x1C, "ext4.inode.sectors"),
        (0x2B, "ext4.block-map.out-of-range"),
    ],
)
def test_a_field_of_an_inode_that_does_not_fit_is_damage(offset: int, code: str) -> None:
    image = Image("ext4-ext3")
    at = _inode_at(image, "/a/again")
    image.overwrite(at + offset, b"\x77\x77" if offset != 0x2B else b"\x7f")
    assert code in damage(verified(image))


def test_an_inode_that_no_directory_names_is_damage() -> None:
    image = Image("ext4-ext3")
    place = image.bytes.index(b"\x06\x01sparse") - 6
    image.overwrite(place, bytes(4))
    assert "ext4.inode.unattached" in damage(verified(image))


def test_a_name_of_an_inode_that_is_not_in_use_is_damage() -> None:
    image = Image("ext4-ext3")
    place = image.bytes.index(b"\x06\x01sparse") - 6
    image.overwrite(place, struct.pack("<I", 2000))
    assert "ext4.directory.dangling" in damage(verified(image))


def test_a_name_that_calls_a_file_a_directory_is_damage() -> None:
    image = Image("ext4-ext3")
    image.overwrite(image.bytes.index(b"\x06\x01sparse"), b"\x06\x02")
    assert "ext4.directory.kind" in damage(verified(image))


@pytest.mark.parametrize("name", [b"spa/se", b"spa\0se"])
def test_a_name_that_no_path_can_hold_is_damage(name: bytes) -> None:
    image = Image("ext4-ext3")
    image.overwrite(image.bytes.index(b"\x06\x01sparse") + 2, name)
    assert "ext4.directory.entry" in damage(verified(image))


def test_a_name_that_stands_twice_is_damage() -> None:
    image = Image("ext4-ext3")
    image.bytes = image.bytes.replace(b"\x05\x07short", b"\x05\x07again")
    assert "ext4.directory.duplicate" in damage(verified(image))


def test_a_loop_of_directories_is_damage() -> None:
    image = Image("ext4-old")
    file_system = opened(image)
    assert damage(file_system) == set()
    place = image.bytes.index(b"\x01\x02c\0\0\0") - 6
    image.overwrite(place, struct.pack("<I", ROOT_INODE))
    assert {"ext4.directory.names", "ext4.inode.unattached"} <= damage(verified(image))


def test_extents_out_of_order_are_damage() -> None:
    image = Image("ext4-old")
    at = _inode_at(image, "/reserved") + 0x28
    image.overwrite(at + 12, struct.pack("<I", 1 << 20))
    assert "ext4.extent.order" in damage(verified(image))


def test_an_extent_tree_that_contains_itself_ends_in_damage() -> None:
    image = Image("ext4-old")
    at = _inode_at(image, "/sparse") + 0x28
    assert struct.unpack_from("<H", image.bytes, at + 6)[0] == 1
    node = struct.unpack_from("<I", image.bytes, at + 16)[0]
    image.overwrite(node * 1024, struct.pack("<HHHHI", 0xF30A, 1, 84, 1, 0) + struct.pack("<IIHH", 0, node, 0, 0))
    assert damage(verified(image))


@pytest.mark.parametrize("name", ["ext4-old", "ext4-ext3"])
def test_no_garbage_makes_an_inspection_fail(name: str) -> None:
    clean = Image(name)
    written = [at for at in range(0, clean.size_bytes, 1024) if any(clean.bytes[at : at + 1024])]
    chance = random.Random(name)  # noqa: S311 - damage that can be made again
    for _ in range(30):
        image = Image(name)
        for _ in range(chance.choice([1, 2, 10, 40])):
            value = chance.choice([0, 1, 0xFFFFFFFF, 0x7FFFFFFF, chance.randrange(8192), chance.getrandbits(32)])
            image.overwrite(chance.choice(written) + chance.randrange(256) * 4, struct.pack("<I", value))
        _inspect_all(image)


def _inspect_all(image: Image) -> None:
    """All that can be asked; whatever is not documented to be raised fails the test."""
    file_system = open_ext4(SnapshotDevice(image, budget_blocks=5_000), Findings())
    if file_system is None:
        return
    file_system.verify()
    for file in file_system.files():
        try:
            file_system.read(file, 0, 100_000)
        except (Damaged, NotReadable):
            continue


def _sign_superblock(image: Image, at: int) -> None:
    if struct.unpack_from("<I", image.bytes, at + 0x64)[0] & 0x400:
        checksum = crc32c_of_kernel(0xFFFFFFFF, image.bytes[at : at + 0x3FC])
        image.overwrite(at + 0x3FC, struct.pack("<I", checksum))


def _inode_at(image: Image, path: str) -> int:
    """The offset of a file's inode; the images without checksums keep theirs in the first group."""
    file = opened(image).find(path)
    assert file is not None
    table = struct.unpack_from("<I", image.bytes, 2048 + 8)[0]
    size = struct.unpack_from("<H", image.bytes, SUPERBLOCK + 0x58)[0]
    return table * 1024 + (file.id - 1) * size
