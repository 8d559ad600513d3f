"""What makes an XFS damaged, unknown, or no XFS at all."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import pytest

from embedded.disks.image_blocks import ImageBlocks
from functions.inspection.checksums import crc32c
from functions.inspection.devices import BudgetSpent, SnapshotDevice
from functions.inspection.file_systems import Damaged, FileSystem, NotReadable
from functions.inspection.findings import Findings, Weight
from functions.inspection.xfs.names import hash_name, hash_name_without_case
from functions.inspection.xfs.reader import BrokenXfs, open_xfs
from functions.inspection.xfs.superblock import Superblock, parse_superblock
from tests.inspection.test_xfs_images import blocks_of, codes, opened, verified

SUPERBLOCK_CHECKSUM_AT = 224
GROUP_TREE_CHECKSUM_AT = 52
DIRECTORY_CHECKSUM_AT = 4
INODE_CHECKSUM_AT = 100


def stored(image: ImageBlocks, offset: int, length: int) -> bytes:
    """The bytes that stand there now."""
    return SnapshotDevice(image).read(offset, length)


def superblock_of(image: ImageBlocks) -> Superblock:
    return parse_superblock(stored(image, 0, 512))


def rewrite(image: ImageBlocks, structure: tuple[int, int], checksum_at: int, at: int, content: bytes) -> None:
    """The structure (offset, length) holds other bytes, and a checksum that fits them."""
    offset, length = structure
    raw = bytearray(stored(image, offset, length))
    raw[at : at + len(content)] = content
    raw[checksum_at : checksum_at + 4] = bytes(4)
    raw[checksum_at : checksum_at + 4] = struct.pack("<I", crc32c(raw))
    image.overwrite(offset, bytes(raw))


def inode_of(image: ImageBlocks, path: str) -> tuple[int, int]:
    """Where the inode of a file lies."""
    file_system, _ = opened(image)
    file = file_system.find(path)
    assert file is not None
    superblock = superblock_of(image)
    return superblock.offset_of_inode(file.id), superblock.inode_bytes


def header_of(image: ImageBlocks, group: int, sector: int) -> tuple[int, int]:
    """Where a header of a group lies: 1 is that of free space, 2 that of inodes, 3 the list of free blocks."""
    superblock = superblock_of(image)
    return superblock.offset_in_group(group, 0) + sector * superblock.sector_bytes, superblock.sector_bytes


def tree_of(image: ImageBlocks, group: int, sector: int, root_at: int) -> tuple[int, int]:
    """Where the root of a tree of a group lies, by the place of its pointer in a header."""
    offset, _ = header_of(image, group, sector)
    superblock = superblock_of(image)
    (block,) = struct.unpack(">I", stored(image, offset + root_at, 4))
    return superblock.offset_in_group(group, block), superblock.block_bytes


AREAS = (
    "superblock",
    "backup-superblock",
    "group-headers",
    "group-trees",
    "inodes",
    "extents",
    "directories",
    "attributes",
    "links",
)


@pytest.mark.parametrize("area", AREAS)
def test_a_flipped_bit_in_metadata_is_damage(area: str) -> None:
    image = blocks_of("rich")
    places = [place for place in verified(image).areas if place.name == area]
    chance = random.Random(area)  # noqa: S311 - a seed, no secret
    for _ in range(4):
        place = chance.choice(places)
        image.flip(place.offset + chance.randrange(place.length), chance.randrange(8))

        assert verified(image).is_damaged

        image.patches.clear()


@pytest.mark.parametrize("content", [bytes(4096), bytes(range(256)) * 16], ids=["zeros", "garbage"])
@pytest.mark.parametrize("area", AREAS)
def test_a_page_of_something_else_in_metadata_is_damage(area: str, content: bytes) -> None:
    image = blocks_of("rich")
    place = next(place for place in reversed(verified(image).areas) if place.name == area)

    image.overwrite(place.offset // 4096 * 4096, content)

    assert verified(image).is_damaged


def test_a_lost_block_is_damage() -> None:
    image = blocks_of("rich")
    image.patches[superblock_of(image).group_bytes // (512 * 1024)] = None

    assert codes(verified(image)) >= {"xfs.backup-superblock.checksum"}


# --- opening


def test_what_is_no_xfs_is_not_opened(disk: Callable[[str], ImageBlocks]) -> None:
    image = disk("ext4")
    findings = Findings()

    assert open_xfs(SnapshotDevice(image), findings) is None
    assert not findings.is_damaged
    image.close()


def test_a_device_shorter_than_a_sector_is_not_opened() -> None:
    class Short:
        size_bytes = 100

        def read(self, indexes: object) -> dict[int, bytes | None]:
            raise AssertionError("nothing may be read")

        def written(self) -> list[int]:
            return []

    assert open_xfs(SnapshotDevice(Short()), Findings()) is None


def _wipe_primary(image: ImageBlocks) -> FileSystem:
    image.overwrite(0, bytes(512))
    file_system, findings = opened(image)
    assert codes(findings) == {"xfs.superblock.magic"}
    return file_system


def test_files_are_read_by_a_copy_when_the_superblock_is_gone() -> None:
    file_system = _wipe_primary(blocks_of("rich"))

    file = file_system.find("/small/hello.txt")

    assert file is not None
    assert file_system.read(file) == b"hello\n"


@pytest.mark.parametrize(
    ("at", "content"),
    [(1080, b"\x53\xef"), (510, b"\x55\xaa"), (3, b"NTFS    "), (65536 + 64, b"_BHRfS_M")],
    ids=["ext4", "partitions", "ntfs", "btrfs"],
)
def test_copies_left_over_under_something_else_do_not_make_an_xfs(at: int, content: bytes) -> None:
    image = blocks_of("rich")
    image.overwrite(0, bytes(4096))
    image.overwrite(at, content)
    findings = Findings()

    assert open_xfs(SnapshotDevice(image), findings) is None
    assert not findings.is_damaged


def test_a_file_system_without_any_superblock_is_none() -> None:
    image = blocks_of("rich")
    superblock = superblock_of(image)
    for group in range(superblock.group_count):
        image.overwrite(superblock.offset_in_group(group, 0), bytes(512))

    assert open_xfs(SnapshotDevice(image), Findings()) is None


def test_a_superblock_that_leads_nowhere_opens_as_broken() -> None:
    image = blocks_of("rich")
    superblock = superblock_of(image)
    for group in range(1, superblock.group_count):
        image.overwrite(superblock.offset_in_group(group, 0), bytes(512))
    image.overwrite(4, b"\xff\xff\xff\xff")

    file_system, findings = opened(image)
    file_system.verify()

    assert isinstance(file_system, BrokenXfs)
    assert findings.is_damaged
    assert list(file_system.files()) == []
    with pytest.raises(Damaged, match="superblock"):
        file_system.find("/small/hello.txt")


@pytest.mark.parametrize(
    ("at", "content"),
    [
        (4, 1 << 31),  # block size
        (84, 0),  # blocks of a group
        (84, 0xFFFF_FFFF),
        (88, 0xFFFF_FFFF),  # groups
        (96, 0xFFFF_FFFF),  # blocks of the log
        (8, 0xFFFF_FFFF),  # blocks
    ],
)
def test_an_absurd_geometry_is_damage_and_ends(at: int, content: int) -> None:
    image = blocks_of("rich")

    rewrite(image, (0, 512), SUPERBLOCK_CHECKSUM_AT, at, struct.pack(">I", content))

    assert "xfs.superblock.geometry" in codes(verified(image))


def test_a_device_shorter_than_its_file_system_is_truncated() -> None:
    image = blocks_of("rich")
    whole = image.size_bytes
    image.size_bytes = whole - 64 * 1024 * 1024
    try:
        assert "xfs.truncated" in codes(verified(image))
    finally:
        image.size_bytes = whole


def test_a_file_system_that_asks_for_repair_is_damaged() -> None:
    image = blocks_of("rich")
    features = superblock_of(image).incompatible_features
    rewrite(image, (0, 512), SUPERBLOCK_CHECKSUM_AT, 216, struct.pack(">I", features | 16))

    assert codes(verified(image)) == {"xfs.superblock.needs-repair"}


def test_an_unknown_feature_is_named_and_is_no_damage() -> None:
    image = blocks_of("rich")
    features = superblock_of(image).incompatible_features
    rewrite(image, (0, 512), SUPERBLOCK_CHECKSUM_AT, 216, struct.pack(">I", features | 1 << 9 | 1 << 20))

    findings = verified(image)

    assert not findings.is_damaged
    assert {finding.detail for finding in findings.of(Weight.UNKNOWN)} == {
        "zoned realtime",
        "incompatible feature bit 20",
    }


def test_a_copy_with_another_uuid_is_damage() -> None:
    image = blocks_of("rich")
    rewrite(image, header_of(image, 1, 0), SUPERBLOCK_CHECKSUM_AT, 32, b"another-uuid-16b")

    assert codes(verified(image)) == {"xfs.backup-superblock.differs"}


def test_a_log_that_was_lost_is_damage() -> None:
    image = blocks_of("rich")
    superblock = superblock_of(image)
    start = superblock.offset_of(superblock.log_start)
    image.overwrite(start, bytes(2 * 1024 * 1024))

    assert any(code.endswith(".sequence") for code in codes(verified(image)))


def test_a_superblock_that_counts_wrongly_is_damage() -> None:
    image = blocks_of("rich")
    rewrite(image, (0, 512), SUPERBLOCK_CHECKSUM_AT, 144, struct.pack(">Q", 7))

    assert codes(verified(image)) == {"xfs.superblock.counters"}


def test_a_spent_budget_is_said_and_not_taken_for_damage() -> None:
    findings = Findings()
    with pytest.raises(BudgetSpent):
        open_xfs(SnapshotDevice(blocks_of("crash"), budget_blocks=1), findings)

    assert not findings.is_damaged


# --- groups and who owns what


def test_a_free_space_counter_that_is_off_is_damage() -> None:
    image = blocks_of("rich")
    rewrite(image, header_of(image, 1, 1), 216, 52, struct.pack(">I", 5))

    assert codes(verified(image)) == {"xfs.free-space-header.counters"}


def test_a_block_of_another_group_is_damage() -> None:
    image = blocks_of("rich")
    mine, length = tree_of(image, 1, 1, 16)
    image.overwrite(mine, stored(image, tree_of(image, 2, 1, 16)[0], length))

    assert "xfs.free-space-by-place.identity" in codes(verified(image))


def test_free_space_over_a_file_is_damage() -> None:
    image = blocks_of("rich")
    tree = tree_of(image, 0, 1, 16)
    (start,) = struct.unpack(">I", stored(image, tree[0] + 56, 4))
    rewrite(image, tree, GROUP_TREE_CHECKSUM_AT, 56, struct.pack(">I", start - 40))

    assert codes(verified(image)) >= {"xfs.space.used-and-free", "xfs.free-space-by-size.differs"}


def test_a_tree_that_leads_in_a_circle_is_damage_and_ends() -> None:
    image = blocks_of("rich")
    rewrite(image, header_of(image, 0, 1), 216, 28, struct.pack(">I", 4))

    assert "xfs.free-space-by-place.kind" in codes(verified(image))


def test_two_files_that_claim_the_same_blocks_unasked_are_damage() -> None:
    image = blocks_of("rich")
    first, second = inode_of(image, "/block/file-1"), inode_of(image, "/block/file-2")
    rewrite(image, first, INODE_CHECKSUM_AT, 176, stored(image, second[0] + 176, 16))

    assert codes(verified(image)) >= {"xfs.space.claimed-twice", "xfs.space.lost", "xfs.reverse-map.wrong"}


def test_a_reference_count_that_is_off_is_damage() -> None:
    image = blocks_of("rich")
    root, length = tree_of(image, 0, 1, 88)
    # The root has one level below it; its pointers stand behind the room for 121 keys.
    (child,) = struct.unpack(">I", stored(image, root + 56 + 121 * 4, 4))
    leaf = (superblock_of(image).offset_in_group(0, child), length)
    rewrite(image, leaf, GROUP_TREE_CHECKSUM_AT, 64, struct.pack(">I", 9))

    assert codes(verified(image)) == {"xfs.reference-counts.wrong"}


# --- inodes and directories


def test_an_inode_that_counts_its_links_wrongly_is_damage() -> None:
    image = blocks_of("rich")
    rewrite(image, inode_of(image, "/small/hello.txt"), INODE_CHECKSUM_AT, 16, struct.pack(">I", 3))

    assert codes(verified(image)) == {"xfs.inode.links"}


def test_an_inode_that_counts_its_blocks_wrongly_is_damage() -> None:
    image = blocks_of("rich")
    rewrite(image, inode_of(image, "/block/file-3"), INODE_CHECKSUM_AT, 64, struct.pack(">Q", 77))

    assert codes(verified(image)) == {"xfs.inode.blocks"}


def test_an_inode_at_the_place_of_another_is_damage() -> None:
    image = blocks_of("rich")
    (mine, length), (other, _) = inode_of(image, "/block/file-3"), inode_of(image, "/block/file-4")
    image.overwrite(mine, stored(image, other, length))

    assert codes(verified(image)) >= {"xfs.inode.identity"}


def test_an_extent_outside_of_the_file_system_is_damage_and_its_file_unreadable() -> None:
    image = blocks_of("rich")
    inode = inode_of(image, "/block/file-3")
    rewrite(image, inode, INODE_CHECKSUM_AT, 176, struct.pack(">QQ", 0x1FF, (1 << 64) - 1))

    file_system, findings = opened(image)
    file_system.verify()
    file = file_system.find("/block/file-3")

    assert "xfs.extents.range" in codes(findings)
    assert file is not None
    with pytest.raises(NotReadable, match="map"):
        file_system.read(file)


NAME = b"leaf-leaf-leaf-leaf-leaf-leaf-0003"
OTHER_NAME = b"leaf-leaf-leaf-leaf-leaf-leaf-0004"


def _named_entry(image: ImageBlocks) -> tuple[tuple[int, int], int]:
    """The block of a directory that holds NAME, and where in it the name stands."""
    places = [(place.offset, place.length) for place in verified(image).areas if place.name == "directories"]
    return next((place, stored(image, *place).index(NAME)) for place in places if NAME in stored(image, *place))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (NAME.replace(b"-", b"/"), "xfs.directory.name"),
        (OTHER_NAME, "xfs.directory.name"),
        (NAME.upper(), "xfs.directory.index"),
    ],
    ids=["slashes", "twice", "capitals"],
)
def test_a_name_that_was_changed_in_a_directory_is_damage(name: bytes, code: str) -> None:
    image = blocks_of("rich")
    block, at = _named_entry(image)
    rewrite(image, block, DIRECTORY_CHECKSUM_AT, at, name)

    assert code in codes(verified(image))


def test_a_name_that_leads_to_no_inode_is_damage() -> None:
    image = blocks_of("rich")
    block, at = _named_entry(image)
    rewrite(image, block, DIRECTORY_CHECKSUM_AT, at - 9, struct.pack(">Q", 999_999))

    assert "xfs.directory.dangling" in codes(verified(image))


def test_a_directory_inside_of_itself_ends_the_walk_and_is_damage() -> None:
    image = blocks_of("rich")
    root, _ = inode_of_number(image, superblock_of(image).root_inode)
    raw = stored(image, root, superblock_of(image).inode_bytes)
    at = raw.index(b"block") + 6
    rewrite(image, (root, len(raw)), INODE_CHECKSUM_AT, at, struct.pack(">I", superblock_of(image).root_inode))

    file_system, findings = opened(image)
    file_system.verify()

    assert findings.is_damaged
    assert len(list(file_system.files())) > 400


def inode_of_number(image: ImageBlocks, number: int) -> tuple[int, int]:
    """Where the inode of that number lies."""
    superblock = superblock_of(image)
    return superblock.offset_of_inode(number), superblock.inode_bytes


def test_a_damaged_directory_on_the_way_is_said_and_not_taken_for_absence() -> None:
    image = blocks_of("rich")
    block, at = _named_entry(image)
    image.flip(block[0] + at)
    file_system, _ = opened(image)

    with pytest.raises(Damaged, match="directory"):
        file_system.find("/leaf/" + NAME.decode())


def test_names_are_hashed_as_the_kernel_hashes_them() -> None:
    assert (hash_name(b"."), hash_name(b".."), hash_name(b"")) == (0x2E, 0x172E, 0)
    assert hash_name_without_case(b"ReadMe") == hash_name(b"readme")


# --- version 4


def test_a_changed_name_in_version_4_does_not_fit_its_hash() -> None:
    image = blocks_of("version-4")
    length = superblock_of(image).group_bytes
    at = next(
        offset + stored(image, offset, length).index(b"entry-0123")
        for offset in range(0, 4 * length, length)
        if b"entry-0123" in stored(image, offset, length)
    )

    image.flip(at)

    assert "xfs.directory.index" in codes(verified(image))


def test_a_changed_extent_in_version_4_leaves_blocks_without_owner() -> None:
    image = blocks_of("version-4")
    offset, _ = inode_of(image, "/block/file-3")
    image.flip(offset + 100 + 15, 1)

    assert codes(verified(image)) >= {"xfs.inode.blocks"}
