"""What is remembered of blocks, and what that memory catches."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest

from functions.core.errors import Broken
from functions.core.evidence import Assertion
from functions.inspection.devices import BLOCK_BYTES
from functions.inspection.remembered import (
    CHUNK_BLOCKS,
    ZEROS,
    Remembered,
    compare,
    digest_of,
    digest_of_checksum,
    merged,
    pack,
    same_content,
    unpack,
)

BEFORE = {0: 11, 1: 12, 5: 15, 9: ZEROS}


def lost(now: dict[int, int], *, may_differ: set[int] | None = None, listed: set[int] | None = None) -> Assertion:
    return compare(Remembered.of(BEFORE), now, may_differ=may_differ or set(), listed_now=listed or {0, 1, 5})[0]


def changed(now: dict[int, int], *, may_differ: set[int] | None = None) -> Assertion:
    return compare(Remembered.of(BEFORE), now, may_differ=may_differ or set(), listed_now={0, 1, 5})[1]


def full_chunk(number: int, seed: int = 1) -> Remembered:
    source = random.Random(seed)  # noqa: S311 - a seeded sequence, no secret
    return Remembered.of({number * CHUNK_BLOCKS + offset: source.getrandbits(64) for offset in range(CHUNK_BLOCKS)})


def test_a_digest_is_the_beginning_of_the_sha256_of_the_block():
    content = b"\x01" * BLOCK_BYTES
    assert digest_of(content) == int.from_bytes(hashlib.sha256(content).digest()[:8], "big")


def test_a_block_without_data_is_remembered_as_zeros():
    assert digest_of(None) == digest_of(bytes(BLOCK_BYTES)) == ZEROS


def test_a_checksum_sent_with_a_block_gives_the_digest_of_the_block():
    content = b"\x02" * BLOCK_BYTES
    assert digest_of_checksum(hashlib.sha256(content).digest()) == digest_of(content)


def test_blocks_that_stayed_the_same_hold():
    assert changed(BEFORE).held is True


def test_a_block_that_differs_without_being_called_changed_is_damage():
    found = changed(BEFORE | {5: 99})
    assert found.held is False
    assert "block 5" in found.detail


def test_a_block_that_is_called_changed_may_differ():
    assert changed(BEFORE | {5: 99}, may_differ={5}).held is True


def test_two_swapped_blocks_are_damage_and_said_to_have_moved():
    found = changed(BEFORE | {0: BEFORE[1], 1: BEFORE[0]})
    assert found.held is False
    assert "2 of them hold what another block held" in found.detail


def test_two_swapped_blocks_of_the_same_content_are_no_damage():
    before = Remembered.of({3: 7, 4: 7})
    assert compare(before, {3: 7, 4: 7}, may_differ=set(), listed_now={3, 4})[1].held is True


def test_memory_without_a_new_look_decides_nothing():
    assert changed({}).held is None


def test_a_new_look_at_other_blocks_decides_nothing():
    assert changed({77: 1}).held is None


def test_a_block_that_held_data_and_is_gone_is_lost():
    found = lost({}, listed={0, 1})
    assert found.held is False
    assert "block 5" in found.detail


def test_a_block_of_zeros_may_leave_the_listing():
    assert lost({}, listed={0, 1, 5}).held is True


def test_a_block_that_is_called_changed_may_leave_the_listing():
    assert lost({}, listed={0, 1}, may_differ={5}).held is True


def test_without_memory_no_loss_can_be_seen():
    assert compare(Remembered.of({}), {1: 2}, may_differ=set(), listed_now={1})[0].held is None


def test_many_damaged_blocks_are_counted_and_a_few_are_named():
    before = {index: index + 1 for index in range(100)}
    found = compare(Remembered.of(before), dict.fromkeys(before, 0), may_differ=set(), listed_now=before)[1]
    assert found.detail.startswith("100 of 100 differ")
    assert len(found.detail) < 200


def test_what_was_read_now_is_remembered_next():
    assert dict(merged(Remembered.of(BEFORE), {5: 99, 6: 1}, may_differ={5}).items())[5] == 99


def test_a_changed_block_that_was_not_read_again_is_forgotten():
    assert 5 not in dict(merged(Remembered.of(BEFORE), {}, may_differ={5}).items())


def test_a_block_that_did_not_change_stays_remembered():
    assert dict(merged(Remembered.of(BEFORE), {}, may_differ={5}).items()) == {0: 11, 1: 12, 9: ZEROS}


def test_any_lost_or_swapped_block_is_caught_after_a_full_read():
    source = random.Random(20)  # noqa: S311 - a seeded sequence, no secret
    before = {index: source.getrandbits(64) for index in range(2_000)}
    for _ in range(300):
        now, (one, other) = dict(before), source.sample(range(2_000), 2)
        if source.random() < 0.5:
            del now[one]
        else:
            now[one], now[other] = now[other], now[one]
        assert any(a.held is False for a in compare(Remembered.of(before), now, may_differ=set(), listed_now=now))


def test_a_copy_that_equals_its_source_holds():
    assert same_content({1: 5, 2: 6}, {1: 5, 2: 6, 3: 7}).held is True


def test_a_copy_with_another_content_is_damage():
    found = same_content({1: 5, 2: 6}, {1: 5, 2: 7})
    assert found.held is False
    assert "block 2" in found.detail


def test_a_copy_of_which_nothing_was_read_decides_nothing():
    assert same_content({1: 5}, {2: 6}).held is None


def test_a_packed_chunk_comes_back_as_it_was():
    chunk = full_chunk(3)
    assert list(unpack(pack(chunk), number=3).items()) == list(chunk.items())


def test_a_full_chunk_fits_a_row():
    assert len(pack(full_chunk(1023))) <= 350_000


def test_memory_over_several_chunks_comes_back_from_its_rows():
    memory = Remembered.of({0: 1, CHUNK_BLOCKS - 1: 2, CHUNK_BLOCKS: 3, 33_000_000: 2**64 - 1})
    rows = {number: pack(chunk) for number, chunk in memory.chunks()}
    assert list(rows) == [0, 1, 1007]
    again = Remembered.joined(unpack(row, number=number) for number, row in rows.items())
    assert list(again.items()) == list(memory.items())


def test_no_rows_are_no_memory():
    assert len(Remembered.joined([])) == 0


def test_blocks_of_two_chunks_do_not_go_into_one_row():
    with pytest.raises(ValueError, match="use chunks"):
        pack(Remembered.of({0: 1, CHUNK_BLOCKS: 2}))


@pytest.mark.parametrize("bit", [0, 37, 70, 100, 130, 1_000])
def test_a_row_with_one_flipped_bit_is_refused(bit: int):
    row = bytearray(pack(Remembered.of({index: index for index in range(40)})))
    row[bit // 8] ^= 1 << (bit % 8)
    with pytest.raises(Broken, match="delete this row"):
        unpack(bytes(row), number=0)


@pytest.mark.parametrize("length", [0, 3, 15, 16, 100])
def test_a_row_that_was_cut_off_is_refused(length: int):
    with pytest.raises(Broken, match="damaged"):
        unpack(pack(full_chunk(0))[:length], number=0)


def test_no_damage_of_a_row_goes_unnoticed():
    whole = pack(Remembered.of({index * 7: index for index in range(200)}))
    source = random.Random(3)  # noqa: S311 - a seeded sequence, no secret
    for _ in range(500):
        row = bytearray(whole)
        for _ in range(source.randint(1, 4)):
            row[source.randrange(len(row))] ^= source.randint(1, 255)
        if bytes(row) != whole:
            with pytest.raises(Broken):
                unpack(bytes(row), number=0)


def test_the_memory_of_a_large_volume_is_cut_into_chunks_quickly():
    indexes = np.arange(4_000_000, dtype=np.uint32)
    memory = Remembered(indexes, indexes.astype(np.uint64))
    assert [len(chunk) for _, chunk in memory.chunks()] == [CHUNK_BLOCKS] * 122 + [4_000_000 - 122 * CHUNK_BLOCKS]


def test_the_row_of_another_chunk_is_refused():
    with pytest.raises(Broken, match="another chunk"):
        unpack(pack(full_chunk(4)), number=5)
