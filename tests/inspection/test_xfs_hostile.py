"""Whatever a disk holds, reading it as XFS ends soon and raises nothing but what the port allows."""

from __future__ import annotations

import random
import struct

import pytest

from embedded.disks.image_blocks import ImageBlocks
from functions.inspection.checksums import crc32c
from functions.inspection.devices import BudgetSpent, SnapshotDevice
from functions.inspection.file_systems import Damaged, NotReadable
from functions.inspection.findings import Area, Findings, Weight
from functions.inspection.xfs.reader import open_xfs
from tests.inspection.test_xfs import INODE_CHECKSUM_AT, inode_of, inode_of_number, rewrite, stored, superblock_of
from tests.inspection.test_xfs_images import blocks_of, opened, verified
from tests.inspection.test_xfs_log import RECORD_MAGIC

CHECKSUMS_AT = {"inodes": 100, "directories": 4, "extents": 64, "group-trees": 52, "links": 12, "attributes": 12}


def _use(image: ImageBlocks) -> Findings:
    """Everything that the port offers was tried."""
    findings = Findings()
    try:
        file_system = open_xfs(SnapshotDevice(image, budget_blocks=500), findings)
        if file_system is None:
            return findings
        file_system.verify()
        for file in list(file_system.files())[:20]:
            try:
                file_system.read(file, 0, 10_000)
            except (NotReadable, Damaged):
                continue
        file_system.find("/many/x")
    except (BudgetSpent, Damaged):
        return findings
    return findings


def _scramble(image: ImageBlocks, place: Area, chance: random.Random) -> None:
    """A structure holds absurd numbers in a few places, under a checksum that fits them."""
    raw = bytearray(stored(image, place.offset, place.length))
    for _ in range(chance.choice((1, 2, 8))):
        at = min(place.length - 8, int(chance.expovariate(1 / 50)))
        length = chance.choice((1, 2, 4, 8))
        raw[at : at + length] = chance.choice((b"\xff" * length, bytes(length), chance.randbytes(length)))
    checksum_at = CHECKSUMS_AT[place.name]
    raw[checksum_at : checksum_at + 4] = bytes(4)
    raw[checksum_at : checksum_at + 4] = struct.pack("<I", crc32c(raw))
    image.overwrite(place.offset, bytes(raw))


@pytest.mark.parametrize("area", CHECKSUMS_AT)
def test_absurd_numbers_under_right_checksums_end_and_raise_nothing(area: str) -> None:
    image = blocks_of("rich")
    places = [place for place in verified(image).areas if place.name == area]
    chance = random.Random(area)  # noqa: S311 - a seed, no secret
    damaged = 0
    for _ in range(12):
        _scramble(image, chance.choice(places), chance)
        damaged += _use(image).is_damaged
        image.patches.clear()

    assert damaged > 0


def test_a_scrambled_log_ends_and_raises_nothing() -> None:
    image = blocks_of("crash")
    superblock = superblock_of(image)
    start = superblock.offset_of(superblock.log_start)
    whole = bytearray(stored(image, start, 400 * 1024))
    for at in range(0, len(whole), 512):
        if whole[at : at + 4] == RECORD_MAGIC:
            whole[at + 32 : at + 36] = bytes(4)  # no checksum: the kernel believes such a record
    chance = random.Random(3)  # noqa: S311 - a seed, no secret
    damaged = 0
    for _ in range(12):
        content = bytearray(whole)
        for _ in range(12):
            at = chance.randrange(len(content) - 8)
            content[at : at + 4] = chance.choice((b"\xff" * 4, bytes(4), chance.randbytes(4)))
        image.overwrite(start, bytes(content))
        damaged += _use(image).is_damaged

    assert damaged > 0


def test_random_bytes_over_version_4_end_and_raise_nothing() -> None:
    image = blocks_of("version-4")
    superblock = superblock_of(image)
    chance = random.Random(4)  # noqa: S311 - a seed, no secret
    damaged = 0
    for _ in range(12):
        group = chance.randrange(superblock.group_count)
        offset = superblock.offset_in_group(group, chance.randrange(40)) + 8 * chance.randrange(64)
        image.overwrite(offset, chance.choice((b"\xff" * 8, bytes(8), chance.randbytes(8))))
        damaged += _use(image).is_damaged
        image.patches.clear()

    assert damaged > 0


def test_a_walk_does_not_enter_a_directory_twice() -> None:
    image = blocks_of("rich")
    root = inode_of_number(image, superblock_of(image).root_inode)
    raw = stored(image, *root)
    (many,) = struct.unpack_from(">I", raw, raw.index(b"many") + 5)
    rewrite(image, root, INODE_CHECKSUM_AT, raw.index(b"leaf") + 5, struct.pack(">I", many))

    paths = [file.path for file in opened(image)[0].files()]

    assert len(paths) == len(set(paths))
    assert sum(path.startswith(("/many/", "/leaf/")) for path in paths) == 400


def test_a_name_that_would_leave_its_directory_is_left_out() -> None:
    image = blocks_of("rich")
    root = inode_of_number(image, superblock_of(image).root_inode)
    at = stored(image, *root).index(b"small")
    rewrite(image, root, INODE_CHECKSUM_AT, at, b"../mm")

    paths = [file.path for file in opened(image)[0].files()]

    assert not any(".." in path for path in paths)


def test_more_bytes_at_once_than_memory_should_hold_are_refused() -> None:
    file_system, _ = opened(blocks_of("rich"))
    file = file_system.find("/sparse")
    assert file is not None

    with pytest.raises(NotReadable, match="pieces"):
        file_system.read(file)


def test_a_size_that_no_file_can_have_is_damage() -> None:
    image = blocks_of("rich")
    rewrite(image, inode_of(image, "/block/file-3"), INODE_CHECKSUM_AT, 56, b"\xff" * 8)

    assert next(finding.code for finding in verified(image).of(Weight.DAMAGE)) == "xfs.inode.content"
