"""The log of XFS is followed as the kernel follows it: torn ends are normal, broken middles are damage."""

from __future__ import annotations

import random

import pytest

from embedded.disks.image_blocks import ImageBlocks
from functions.inspection.devices import OutOfRange, SnapshotDevice
from functions.inspection.findings import Findings
from functions.inspection.xfs.log import Ends, Log
from functions.inspection.xfs.overlay import OverlaidDevice
from functions.inspection.xfs.superblock import parse_superblock
from tests.inspection.test_xfs_images import blocks_of, codes, opened, verified

RECORD_MAGIC = b"\xfe\xed\xba\xbe"
SECTOR = 512


def _log_of(image: ImageBlocks) -> tuple[int, int, Ends]:
    """Where the log begins, how long it is in sectors, and where its live part lies."""
    device = SnapshotDevice(image)
    superblock = parse_superblock(device.read(0, 512))
    ends = Log(device, superblock, Findings()).find_ends()
    return superblock.offset_of(superblock.log_start), superblock.log_blocks * superblock.block_bytes // SECTOR, ends


def _records(image: ImageBlocks) -> list[int]:
    """The places of the records between tail and head."""
    start, _, ends = _log_of(image)
    content = SnapshotDevice(image).read(start, ends.head * SECTOR)
    return [
        start + sector * SECTOR
        for sector in range(ends.tail, ends.head)
        if content[sector * SECTOR : sector * SECTOR + 4] == RECORD_MAGIC
    ]


def _wipe(image: ImageBlocks, start: int, sectors: int) -> None:
    for at in range(start, start + sectors * SECTOR, 512 * 1024):
        image.overwrite(at, bytes(min(512 * 1024, start + sectors * SECTOR - at)))


def test_the_live_part_of_a_log_in_use_is_not_empty() -> None:
    _, _, ends = _log_of(blocks_of("crash"))

    assert not ends.is_clean
    assert ends.tail < ends.head


def test_the_log_of_an_unmounted_file_system_is_clean() -> None:
    _, _, ends = _log_of(blocks_of("rich"))

    assert ends.is_clean


@pytest.mark.parametrize("seed", range(8))
def test_a_flipped_bit_in_the_middle_of_the_log_is_damage(seed: int) -> None:
    image = blocks_of("crash")
    places = [area for area in verified(image).areas if area.name == "journal"]
    chance = random.Random(seed)  # noqa: S311 - a seed, no secret
    place = chance.choice(places)

    image.flip(place.offset + chance.randrange(place.length), chance.randrange(8))

    assert codes(verified(image)) & {"xfs.log.checksum", "xfs.log.record", "xfs.log.head", "xfs.log.tail"}


def test_a_torn_last_record_ends_the_log_and_is_no_damage() -> None:
    image = blocks_of("crash")
    last = _records(image)[-1]
    _, _, whole = _log_of(image)

    image.flip(last + SECTOR + 40)
    _, _, torn = _log_of(image)

    assert torn.head < whole.head
    assert not verified(image).is_damaged


def test_a_last_record_that_never_arrived_is_no_damage() -> None:
    image = blocks_of("crash")
    start, _, ends = _log_of(image)
    last = _records(image)[-1]

    image.overwrite(last, bytes(ends.head * SECTOR - (last - start)))

    assert not verified(image).is_damaged


def test_a_gap_that_no_crash_could_leave_is_damage() -> None:
    image = blocks_of("crash")
    records = _records(image)

    image.overwrite(records[-12] // 4096 * 4096, bytes(4096))

    assert "xfs.log.gap" in codes(verified(image))


def test_what_recovery_brings_is_missing_without_the_log() -> None:
    image = blocks_of("crash")
    paths = {file.path for file in opened(image)[0].files()}
    start, sectors, _ = _log_of(image)

    _wipe(image, start, sectors)
    without = {file.path for file in opened(image)[0].files()}

    assert "/after/0" in paths - without


def test_metadata_newer_than_the_log_is_damage() -> None:
    image = blocks_of("rich")
    start, sectors, _ = _log_of(image)
    records = [
        sector
        for sector in range(_log_of(image)[2].head)
        if SnapshotDevice(image).read(start + sector * SECTOR, 4) == RECORD_MAGIC
    ]

    # Nothing is left of the log but its first record: the blocks that were written since then give it away.
    _wipe(image, start + records[1] * SECTOR, sectors - records[1])

    assert any(code.endswith(".sequence") for code in codes(verified(image)))


def test_a_record_that_says_it_is_endless_is_bounded() -> None:
    image = blocks_of("crash")
    image.overwrite(_records(image)[0] + 12, b"\xff\xff\xff\xff")

    assert verified(image).is_damaged


def test_the_device_below_is_never_written() -> None:
    image = blocks_of("crash")
    opened(image)

    assert image.patches == {}


def test_an_overlay_shows_what_was_written_and_nothing_else() -> None:
    device = OverlaidDevice(SnapshotDevice(blocks_of("rich")))
    before = device.read(4000, 300)

    device.write(4090, b"twelve bytes")

    assert device.read(4000, 300) == before[:90] + b"twelve bytes" + before[102:]
    assert device.is_replayed(4096, 1)
    assert not device.is_replayed(4608, 512)


def test_an_overlay_refuses_what_lies_behind_the_device() -> None:
    device = OverlaidDevice(SnapshotDevice(blocks_of("rich")))

    with pytest.raises(OutOfRange):
        device.write(device.size_bytes - 2, b"too long")
