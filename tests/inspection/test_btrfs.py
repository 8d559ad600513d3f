"""btrfs: the prepared disk is read and verified, and damage of every kind is seen."""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Callable, Iterator

import pytest

from embedded.disks import DISKS
from embedded.disks.image_blocks import BLOCK_BYTES, ImageBlocks
from functions.inspection.btrfs.reader import Btrfs, open_btrfs
from functions.inspection.checksums import crc32c
from functions.inspection.devices import BudgetSpent, SnapshotDevice, partition
from functions.inspection.file_systems import Damaged, File, FileSystem, NotReadable
from functions.inspection.findings import Area, Findings, Weight

DiskMaker = Callable[[str], ImageBlocks]
PRIMARY, MIRROR = 64 * 1024, 64 * 1024 * 1024
NODE_BYTES = 16 * 1024


@pytest.fixture
def blocks(disk: DiskMaker) -> Iterator[ImageBlocks]:
    image = disk("btrfs")
    yield image
    image.close()


def opened(blocks: ImageBlocks, budget_blocks: int = 4_000) -> Btrfs:
    file_system = open_btrfs(SnapshotDevice(blocks, budget_blocks=budget_blocks), Findings(keeps_areas=True))
    assert file_system is not None
    return file_system


def verified(blocks: ImageBlocks) -> Btrfs:
    file_system = opened(blocks)
    file_system.verify()
    return file_system


def codes(file_system: Btrfs, weight: Weight = Weight.DAMAGE) -> set[str]:
    return {finding.code for finding in file_system.findings.of(weight)}


def stretch(blocks: ImageBlocks, offset: int, length: int) -> bytes:
    block = blocks.block(offset // BLOCK_BYTES) or bytes(BLOCK_BYTES)
    return block[offset % BLOCK_BYTES : offset % BLOCK_BYTES + length]


def seal(blocks: ImageBlocks, offset: int, length: int) -> None:
    """The checksum fits the content again, as after a mistake of the kernel or on a disk made by an enemy."""
    blocks.overwrite(offset, crc32c(stretch(blocks, offset, length)[32:]).to_bytes(4, "little"))


def nodes(blocks: ImageBlocks) -> list[int]:
    """Where the tree nodes lie, every copy of them."""
    areas = verified(blocks).findings.areas
    return sorted({area.offset - 32 for area in areas if area.name == "nodes" and area.length > 4})


def leaf_with(blocks: ImageBlocks, content: bytes) -> list[int]:
    """Where this stands in a node, in every copy of it."""
    found: list[int] = []
    for node in nodes(blocks):
        at = stretch(blocks, node, NODE_BYTES).find(content)
        if at >= 0:
            found.append(node + at)
    assert found
    return found


def test_a_clean_disk_has_no_findings(blocks: ImageBlocks) -> None:
    file_system = verified(blocks)
    assert not any(file_system.findings.count(weight) for weight in Weight)
    assert not file_system.needs_replay


def test_every_file_is_found_with_its_content(blocks: ImageBlocks) -> None:
    file_system = opened(blocks)
    content = {file.path[1:]: hashlib.sha256(file_system.read(file)).hexdigest() for file in file_system.files()}
    assert content == dict(DISKS["btrfs"].file_systems[0].files)


def test_every_file_can_be_looked_up_by_its_path(blocks: ImageBlocks) -> None:
    file_system = opened(blocks)
    assert all(file_system.find(file.path) == file for file in file_system.files())


def test_a_path_that_leads_nowhere_finds_nothing(blocks: ImageBlocks) -> None:
    file_system = opened(blocks)
    assert [file_system.find(path) for path in ("/", "/conf", "/nothing", "/README.txt/below", "/../x")] == [None] * 5


def test_a_part_of_a_file_is_the_part_of_the_whole(blocks: ImageBlocks) -> None:
    file_system = opened(blocks)
    for file in file_system.files():
        whole = file_system.read(file)
        assert file_system.read(file, 5, 4_100) == whole[5:4_105]
        assert file_system.read(file, len(whole) + 1, 10) == b""


def test_a_verdict_reads_few_blocks(blocks: ImageBlocks) -> None:
    device = SnapshotDevice(blocks)
    file_system = open_btrfs(device, Findings())
    assert file_system is not None
    file_system.verify()
    assert device.read_blocks <= 10


@pytest.mark.parametrize("name", ["ext4", "xfs", "ntfs"])
def test_a_disk_of_another_kind_is_not_btrfs(disk: DiskMaker, name: str) -> None:
    image = disk(name)
    assert open_btrfs(SnapshotDevice(image), Findings()) is None
    image.close()


def test_an_empty_device_is_not_btrfs(blocks: ImageBlocks) -> None:
    assert open_btrfs(partition(SnapshotDevice(blocks), 0, 100), Findings()) is None


@pytest.mark.parametrize("area", ["nodes", "superblock", "backup-superblock"])
def test_a_flipped_bit_anywhere_in_metadata_is_damage(blocks: ImageBlocks, area: str) -> None:
    places = [one for one in verified(blocks).findings.areas if one.name == area]
    chance = random.Random(area)  # noqa: S311 - the same damage in every run, no secret
    for _ in range(40):
        place: Area = chance.choice(places)
        blocks.patches.clear()
        blocks.flip(place.offset + chance.randrange(place.length), chance.randrange(8))
        assert verified(blocks).findings.is_damaged, blocks.patches.keys()


def test_zeros_over_any_node_are_damage(blocks: ImageBlocks) -> None:
    for node in nodes(blocks):
        blocks.patches.clear()
        blocks.overwrite(node, bytes(4096))
        assert "btrfs.node.checksum" in codes(verified(blocks))


def test_a_lost_block_of_metadata_is_damage(blocks: ImageBlocks) -> None:
    for index in {node // BLOCK_BYTES for node in nodes(blocks)}:
        blocks.patches = {index: None}
        assert verified(blocks).findings.is_damaged


def test_one_bad_copy_of_a_node_is_damage_and_the_files_are_read_from_the_other(blocks: ImageBlocks) -> None:
    first, second = leaf_with(blocks, b"README.txt")[:2]
    for copy in (first, second):
        blocks.patches.clear()
        blocks.flip(copy)
        file_system = verified(blocks)
        assert codes(file_system) == {"btrfs.node.checksum"}
        assert file_system.findings.count(Weight.DAMAGE) == 1
        readme = file_system.find("/README.txt")
        assert readme is not None
        assert file_system.read(readme).startswith(b"Data volume")


def test_a_node_without_a_good_copy_ends_a_lookup_as_damaged(blocks: ImageBlocks) -> None:
    for copy in leaf_with(blocks, b"README.txt"):
        blocks.flip(copy)
    file_system = verified(blocks)
    assert file_system.findings.count(Weight.DAMAGE) >= 2
    with pytest.raises(Damaged):
        file_system.find("/README.txt")
    assert "/README.txt" not in {file.path for file in file_system.files()}


def test_a_node_of_an_older_commit_is_damage(blocks: ImageBlocks) -> None:
    for copy in leaf_with(blocks, b"README.txt"):
        node = copy - (copy - nodes(blocks)[0]) % NODE_BYTES
        generation = int.from_bytes(stretch(blocks, node + 80, 8), "little")
        blocks.overwrite(node + 80, (generation - 1).to_bytes(8, "little"))
        seal(blocks, node, NODE_BYTES)
    assert codes(verified(blocks)) == {"btrfs.node.generation"}


def test_a_node_at_the_place_of_another_is_damage(blocks: ImageBlocks) -> None:
    one, *_, other = nodes(blocks)
    blocks.overwrite(one, stretch(blocks, other, NODE_BYTES))
    assert codes(verified(blocks)) == {"btrfs.node.address"}


def test_a_renamed_entry_with_a_right_checksum_contradicts_its_hash(blocks: ImageBlocks) -> None:
    for node in nodes(blocks):
        content = stretch(blocks, node, NODE_BYTES)
        if b"README.txt" in content:
            blocks.overwrite(node, content.replace(b"README.txt", b"REEDME.txt"))
            seal(blocks, node, NODE_BYTES)
    assert "btrfs.directory.item" in codes(verified(blocks))


def test_an_entry_renamed_in_one_of_its_places_contradicts_the_others(blocks: ImageBlocks) -> None:
    for node in nodes(blocks):
        content = bytearray(stretch(blocks, node, NODE_BYTES))
        # Items fill a leaf from its end: the first one that is met belongs to the greatest key, the entry by index.
        at = content.find(b"README.txt")
        if at >= 0:
            content[at : at + 10] = b"REEDME.txt"
            blocks.overwrite(node, bytes(content))
            seal(blocks, node, NODE_BYTES)
    assert codes(verified(blocks)) & {"btrfs.directory.index", "btrfs.directory.reference"}


@pytest.mark.parametrize("tree", [2, 4, 5, 7])
def test_a_missing_tree_is_damage(blocks: ImageBlocks, tree: int) -> None:
    key, other = struct.pack("<QBQ", tree, 132, 0), struct.pack("<QBQ", tree, 131, 0)
    for node in nodes(blocks):
        content = stretch(blocks, node, NODE_BYTES)
        if key in content[:2048]:
            blocks.overwrite(node, content.replace(key, other, 1))
            seal(blocks, node, NODE_BYTES)
    assert "btrfs.root.missing" in codes(verified(blocks))


def test_copies_that_are_good_each_and_differ_are_damage(blocks: ImageBlocks) -> None:
    node = nodes(blocks)[-1]
    blocks.flip(node + 101 + 2_000)
    seal(blocks, node, NODE_BYTES)
    assert codes(verified(blocks)) == {"btrfs.node.copies"}


def test_a_wrong_sum_of_used_space_is_damage(blocks: ImageBlocks) -> None:
    for offset in (PRIMARY, MIRROR):
        used = int.from_bytes(stretch(blocks, offset + 0x78, 8), "little")
        blocks.overwrite(offset + 0x78, (used + 4096).to_bytes(8, "little"))
        seal(blocks, offset, 4096)
    assert codes(verified(blocks)) == {"btrfs.superblock.used"}


def test_a_damaged_first_superblock_is_damage_and_a_mirror_takes_its_place(blocks: ImageBlocks) -> None:
    blocks.overwrite(PRIMARY, bytes(4096))
    file_system = verified(blocks)
    assert codes(file_system) == {"btrfs.superblock.invalid"}
    assert len(list(file_system.files())) == len(DISKS["btrfs"].file_systems[0].files)


@pytest.mark.parametrize(("offset", "magic"), [(0, b"XFSB"), (3, b"NTFS    "), (0x438, b"\x53\xef")])
def test_a_mirror_left_over_from_before_another_mkfs_is_no_btrfs(
    blocks: ImageBlocks, offset: int, magic: bytes
) -> None:
    blocks.overwrite(PRIMARY, bytes(4096))
    blocks.overwrite(offset, magic)
    assert open_btrfs(SnapshotDevice(blocks), Findings()) is None


def test_a_missing_mirror_is_damage(blocks: ImageBlocks) -> None:
    blocks.overwrite(MIRROR, bytes(4096))
    assert codes(verified(blocks)) == {"btrfs.backup-superblock.invalid"}


def test_without_any_superblock_nothing_is_read_and_the_findings_say_why(blocks: ImageBlocks) -> None:
    for offset in (PRIMARY, MIRROR):
        blocks.flip(offset + 0x90)
    file_system = verified(blocks)
    assert codes(file_system) == {"btrfs.superblock.invalid", "btrfs.backup-superblock.invalid"}
    assert list(file_system.files()) == []
    for call in (
        lambda: file_system.find("/x"),
        lambda: file_system.read(nowhere()),
        lambda: file_system.scrub(nowhere()),
    ):
        with pytest.raises(Damaged):
            call()


def nowhere() -> File:
    return File(path="/x", id=1, size_bytes=1, modified_at=None)


def with_generation(blocks: ImageBlocks, offset: int, behind: int) -> None:
    generation = int.from_bytes(stretch(blocks, offset + 0x48, 8), "little")
    blocks.overwrite(offset + 0x48, (generation - behind).to_bytes(8, "little"))
    seal(blocks, offset, 4096)


def test_a_mirror_one_commit_behind_is_what_a_power_cut_leaves(blocks: ImageBlocks) -> None:
    with_generation(blocks, MIRROR, 1)
    file_system = verified(blocks)
    assert codes(file_system) == set()
    assert codes(file_system, Weight.NOTE) == {"btrfs.backup-superblock.behind"}


def test_a_mirror_many_commits_behind_is_damage(blocks: ImageBlocks) -> None:
    with_generation(blocks, MIRROR, 2)
    assert codes(verified(blocks)) == {"btrfs.backup-superblock.disagrees"}


def test_a_mirror_that_says_something_else_of_the_same_commit_is_damage(blocks: ImageBlocks) -> None:
    blocks.flip(MIRROR + 0x12B)
    seal(blocks, MIRROR, 4096)
    assert codes(verified(blocks)) == {"btrfs.backup-superblock.disagrees"}


def test_the_newest_superblock_is_believed(blocks: ImageBlocks) -> None:
    with_generation(blocks, PRIMARY, 2)
    file_system = verified(blocks)
    assert codes(file_system) == {"btrfs.backup-superblock.disagrees"}
    assert len(list(file_system.files())) == len(DISKS["btrfs"].file_systems[0].files)


def test_a_device_that_is_cut_off_is_damage(blocks: ImageBlocks) -> None:
    device = partition(SnapshotDevice(blocks), 0, blocks.size_bytes - 4096)
    file_system = open_btrfs(device, Findings())
    assert file_system is not None
    file_system.verify()
    assert "btrfs.truncated" in codes(file_system)


@pytest.mark.parametrize("size", [0, 1, 4095, 12_288, 2**17, 2**31])
def test_an_absurd_size_of_nodes_is_damage(blocks: ImageBlocks, size: int) -> None:
    for offset in (PRIMARY, MIRROR):
        blocks.overwrite(offset + 0x94, size.to_bytes(4, "little"))
        seal(blocks, offset, 4096)
    assert "btrfs.superblock.invalid" in codes(verified(blocks))


def test_an_unknown_feature_is_unknown_and_named(blocks: ImageBlocks) -> None:
    for offset in (PRIMARY, MIRROR):
        blocks.flip(offset + 0xBC + 1, 6)
        seal(blocks, offset, 4096)
    file_system = verified(blocks)
    assert codes(file_system) == set()
    assert [finding.detail for finding in file_system.findings.of(Weight.UNKNOWN)] == [
        "incompatible feature raid-stripe-tree"
    ]


def test_a_spent_budget_ends_the_inspection(blocks: ImageBlocks) -> None:
    with pytest.raises(BudgetSpent):
        opened(blocks, budget_blocks=3).verify()


def test_the_scrub_proves_every_stored_byte(blocks: ImageBlocks) -> None:
    file_system = opened(blocks)
    for file in file_system.files():
        proof = file_system.scrub(file)
        assert (proof.wrong_bytes, proof.unproven_bytes) == (0, 0)
        assert proof.proven_bytes >= file.size_bytes


def test_a_size_that_is_only_claimed_is_not_read_at_once(blocks: ImageBlocks) -> None:
    file_system = opened(blocks)
    with pytest.raises(NotReadable):
        file_system.read(File(path="/README.txt", id=1, size_bytes=2**62, modified_at=None))


def sealed_mutation(blocks: ImageBlocks, places: list[int], chance: random.Random) -> None:
    """Something in a node or superblock is different, in one copy or all, and the checksum fits."""
    for _ in range(chance.choice([1, 1, 3])):
        offset = chance.choice([*places, PRIMARY, MIRROR])
        length = 4096 if offset in (PRIMARY, MIRROR) else NODE_BYTES
        at = offset + chance.randrange(32, 300) if chance.random() < 0.6 else offset + chance.randrange(32, length - 8)
        absurd = chance.choice([2**31, 2**62, 2**63, 2**64 - 1, 0]).to_bytes(8, "little")
        blocks.overwrite(at, chance.choice([chance.randbytes(1), chance.randbytes(4), absurd]))
        seal(blocks, offset, length)


def test_a_disk_made_by_an_enemy_ends_in_findings_and_in_nothing_else(blocks: ImageBlocks) -> None:
    places = nodes(blocks)
    for seed in range(150):
        blocks.patches.clear()
        sealed_mutation(blocks, places, random.Random(seed))  # noqa: S311 - the same disks in every run, no secret
        file_system = open_btrfs(SnapshotDevice(blocks), Findings())
        if file_system is None:
            continue
        file_system.verify()
        for file in file_system.files():
            for look in (file_system.read, file_system.scrub):
                try:
                    look(file)
                except (Damaged, NotReadable) as refused:
                    assert str(refused)  # noqa: PT017 - either outcome is allowed; only a third one would fail


def test_it_is_a_file_system_as_the_port_describes(blocks: ImageBlocks) -> None:
    file_system: FileSystem = opened(blocks)
    assert (file_system.kind, file_system.device.size_bytes) == ("btrfs", DISKS["btrfs"].size_bytes)
