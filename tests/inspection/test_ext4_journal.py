"""A journal that was not replayed: read as after a mount, and told from one that a mount would refuse."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from functions.inspection.checksums import crc32c_of_kernel
from functions.inspection.ext4.fast_commits import holds_fast_commits
from tests.inspection.ext4_images import (
    BACKUP_OFFSET,
    Image,
    damage,
    expected_listing,
    listing,
    notes,
    opened,
    unknowns,
    verified,
)

CRASHED = ("ext4-crashed", "ext4-revoked")
MAGIC = b"\xc0\x3b\x39\x98"
DESCRIPTOR, COMMIT, SUPERBLOCK_V2, REVOKE = 1, 2, 4, 5
BLOCK_BYTES = 1024


@pytest.mark.parametrize("name", CRASHED)
def test_a_journal_that_needs_replay_is_worth_a_note(name: str) -> None:
    """F77: as after a crash, and it says so."""
    file_system = verified(Image(name))
    assert file_system.needs_replay
    assert "ext4.journal.replayed" in notes(file_system)


@pytest.mark.parametrize("name", ["ext4-ext3", "ext4-old"])
def test_after_a_clean_unmount_nothing_needs_replay(name: str) -> None:
    assert not opened(Image(name)).needs_replay


def test_logged_data_that_begins_with_the_journals_magic_number_is_read_whole() -> None:
    file_system = opened(Image("ext4-crashed"))
    file = file_system.find("/journalled")
    assert file is not None
    assert file_system.read(file)[:4] == MAGIC


def test_without_replay_the_files_would_be_others() -> None:
    for name in CRASHED:
        image = Image(name)
        _clear_recovery(image)
        assert listing(opened(image)) != expected_listing(name)


def test_blocks_that_were_revoked_keep_what_files_wrote_there_since() -> None:
    image = Image("ext4-revoked")
    assert listing(opened(image)) == expected_listing("ext4-revoked")
    for at in _log(image, REVOKE):
        image.overwrite(at + 12, struct.pack(">I", 16))
        _sign_block(image, at)
    assert listing(opened(image)) != expected_listing("ext4-revoked")


def test_a_log_that_ends_in_an_unfinished_transaction_is_normal() -> None:
    image = Image("ext4-crashed")
    last = max(_log(image, COMMIT), key=lambda at: _sequence(image, at))
    image.overwrite(last, bytes(BLOCK_BYTES))
    file_system = verified(image)
    assert damage(file_system) == set()
    assert file_system.needs_replay


def test_only_the_first_sector_of_a_commit_counts() -> None:
    image = Image("ext4-crashed")
    image.flip(max(_log(image, COMMIT)) + 700)
    assert damage(verified(image)) == set()


def test_the_log_must_not_break_off_before_a_later_commit() -> None:
    image = Image("ext4-crashed")
    image.overwrite(min(_log(image, COMMIT)), bytes(12))
    assert "ext4.journal.broken-off" in damage(verified(image))


def test_commits_from_before_the_file_system_was_made_are_remainders() -> None:
    image = Image("ext4-crashed")
    image.overwrite(min(_log(image, COMMIT)), bytes(12))
    for superblock in (1024, BACKUP_OFFSET):
        image.overwrite(superblock + 0x108, b"\xff\xff\xff\xff")
        checksum = crc32c_of_kernel(0xFFFFFFFF, image.bytes[superblock : superblock + 0x3FC])
        image.overwrite(superblock + 0x3FC, struct.pack("<I", checksum))
    assert "ext4.journal.broken-off" not in damage(opened(image))


def test_a_damaged_commit_is_damage() -> None:
    image = Image("ext4-crashed")
    image.flip(min(_log(image, COMMIT)) + 20)
    assert "ext4.journal.checksum" in damage(opened(image))


def test_a_damaged_descriptor_is_damage() -> None:
    image = Image("ext4-crashed")
    image.flip(min(_log(image, DESCRIPTOR)) + BLOCK_BYTES - 6)
    assert "ext4.journal.checksum" in damage(opened(image))


def test_a_damaged_logged_block_is_damage() -> None:
    image = Image("ext4-crashed")
    image.flip(min(_log(image, DESCRIPTOR)) + BLOCK_BYTES + 5)
    assert "ext4.journal.data-checksum" in damage(opened(image))


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (0, 0),  # the magic number
        (0x0C, 4096),  # the size of a block
        (0x10, 1 << 30),  # the number of blocks
        (0x14, 0),  # the first block of the log
        (0x1C, 1 << 29),  # where the log begins
    ],
)
def test_a_superblock_of_the_journal_that_cannot_be_is_damage(offset: int, value: int) -> None:
    image = Image("ext4-crashed")
    at = _journal_superblock(image)
    image.overwrite(at + offset, struct.pack(">I", value))
    _sign_journal_superblock(image, at)
    assert "ext4.journal.unreadable" in damage(verified(image))


def test_an_unknown_feature_of_the_journal_leaves_it_undecided() -> None:
    image = Image("ext4-crashed")
    at = _journal_superblock(image)
    features = struct.unpack_from(">I", image.bytes, at + 0x28)[0]
    image.overwrite(at + 0x28, struct.pack(">I", features | 0x1000))
    _sign_journal_superblock(image, at)
    assert "ext4.journal.feature" in unknowns(opened(image))


def test_a_log_of_nothing_but_one_transaction_number_ends() -> None:
    image = Image("ext4-crashed")
    at = _journal_superblock(image)
    block = Image("ext4-crashed")
    block.overwrite(at + BLOCK_BYTES, MAGIC + struct.pack(">III", REVOKE, 2, 16))
    _sign_block(block, at + BLOCK_BYTES)
    image.overwrite(at + BLOCK_BYTES, bytes(block.bytes[at + BLOCK_BYTES : at + 2 * BLOCK_BYTES]) * 900)
    file_system = opened(image)
    assert not file_system.needs_replay


def test_a_complete_fast_commit_is_found() -> None:
    assert holds_fast_commits(_fast_commit(7), 7)


def test_a_fast_commit_of_an_earlier_transaction_is_none() -> None:
    assert not holds_fast_commits(_fast_commit(6), 7)


def test_an_incomplete_fast_commit_is_none() -> None:
    [block] = _fast_commit(7)
    torn = bytearray(block)
    torn[20] ^= 1
    assert not holds_fast_commits(iter([bytes(torn)]), 7)


def test_blocks_without_fast_commits_hold_none() -> None:
    assert not holds_fast_commits(iter([bytes(1024)] * 10), 7)


def _fast_commit(sequence: int) -> Iterator[bytes]:
    records = struct.pack("<HHII", 9, 8, 0, sequence) + struct.pack("<HH", 6, 16) + bytes(range(16))
    tail = struct.pack("<HHI", 8, BLOCK_BYTES - len(records) - 4, sequence)
    checksum = crc32c_of_kernel(crc32c_of_kernel(0, records), tail)
    return iter([(records + tail + struct.pack("<I", checksum)).ljust(BLOCK_BYTES, b"\0")])


def _clear_recovery(image: Image) -> None:
    features = struct.unpack_from("<I", image.bytes, 1024 + 0x60)[0]
    image.overwrite(1024 + 0x60, struct.pack("<I", features & ~0x4))
    checksum = crc32c_of_kernel(0xFFFFFFFF, image.bytes[1024 : 1024 + 0x3FC])
    image.overwrite(1024 + 0x3FC, struct.pack("<I", checksum))


def _journal_superblock(image: Image) -> int:
    [at] = [at for at in range(0, image.size_bytes, BLOCK_BYTES) if _is(image, at, SUPERBLOCK_V2)]
    return at


def _log(image: Image, kind: int) -> list[int]:
    """The offsets of all blocks of the log of this kind: the images keep the journal in one stretch."""
    return [at for at in range(0, image.size_bytes, BLOCK_BYTES) if _is(image, at, kind)]


def _is(image: Image, at: int, kind: int) -> bool:
    return image.bytes[at : at + 8] == MAGIC + struct.pack(">I", kind)


def _sequence(image: Image, at: int) -> int:
    return int(struct.unpack_from(">I", image.bytes, at + 8)[0])


def _journal_seed(image: Image) -> int:
    at = _journal_superblock(image)
    return crc32c_of_kernel(0xFFFFFFFF, image.bytes[at + 0x30 : at + 0x40])


def _sign_block(image: Image, at: int) -> None:
    image.overwrite(at + BLOCK_BYTES - 4, bytes(4))
    checksum = crc32c_of_kernel(_journal_seed(image), image.bytes[at : at + BLOCK_BYTES])
    image.overwrite(at + BLOCK_BYTES - 4, struct.pack(">I", checksum))


def _sign_journal_superblock(image: Image, at: int) -> None:
    image.overwrite(at + 0xFC, bytes(4))
    checksum = crc32c_of_kernel(0xFFFFFFFF, image.bytes[at : at + 1024])
    image.overwrite(at + 0xFC, struct.pack(">I", checksum))


@pytest.mark.parametrize("bit", range(32))
def test_a_feature_word_of_the_journal_that_lost_or_gained_a_bit_is_damage(bit: int) -> None:
    """A lost word must not take with it the check that would find it, nor an unknown one end the checks before it."""
    image = Image("ext4-crashed")
    (superblock, *_) = _log(image, SUPERBLOCK_V2)
    image.flip(superblock + 0x28 + bit // 8, bit % 8)
    assert "ext4.journal.superblock-checksum" in damage(opened(image))
