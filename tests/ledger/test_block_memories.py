"""What is remembered of a volume's blocks is whole, or an error."""

from __future__ import annotations

from datetime import timedelta

import pytest

from functions.core.errors import Broken
from functions.ledger.block_memories import REMEMBERED, BlockMemory
from functions.ledger.ledger import Ledger
from functions.ledger.rows import BlocksItem
from functions.ledger.table import Table
from tests.builders import AWAY, FAR, HOME, NOON, a_key
from tests.ledger.dynamodb import TABLE, items

KEY = a_key()


def a_memory(snapshot_id: str = "snap-1", *, rows: int = 2, source_id: str = KEY.id) -> BlockMemory:
    bodies = {number: bytes([number, 0, 255]) * 3 for number in range(rows)}
    return BlockMemory(source_id=source_id, snapshot_id=snapshot_id, slot_at=NOON, rows=bodies)


def remember(ledger: Ledger, memory: BlockMemory, region: str = AWAY) -> None:
    ledger.block_memories.remember(KEY, region, memory, NOON)


def recall(ledger: Ledger, region: str = AWAY, source_id: str = KEY.id) -> BlockMemory | None:
    return ledger.block_memories.recall(KEY, region, source_id)


def drop(ending: str) -> None:
    rows = Table(name=TABLE, region=HOME).rows(BlocksItem)
    [key] = [item["sk"]["S"] for item in items() if item["sk"]["S"].endswith(ending)]
    rows.get(str(KEY), key).delete()


def test_what_is_remembered_comes_back_byte_by_byte(ledger: Ledger) -> None:
    assert recall(ledger) is None
    remember(ledger, a_memory())
    assert recall(ledger) == a_memory()


def test_a_memory_of_nothing_is_a_memory(ledger: Ledger) -> None:
    """A volume on which nothing was written yet."""
    remember(ledger, a_memory(rows=0))
    assert recall(ledger) == a_memory(rows=0)


def test_a_large_row_is_kept_whole(ledger: Ledger) -> None:
    """16 GiB of a volume are 328 KB in one item."""
    row = BlockMemory(source_id=KEY.id, snapshot_id="snap-1", slot_at=NOON, rows={131_071 // 32: b"\x07" * 328_000})
    remember(ledger, row)
    assert recall(ledger) == row


def test_the_newer_memory_is_in_the_place_of_the_older(ledger: Ledger) -> None:
    remember(ledger, a_memory("snap-1", rows=3))
    remember(ledger, a_memory("snap-2", rows=1))
    assert recall(ledger) == a_memory("snap-2", rows=1)


def test_remembered_again_it_is_the_same(ledger: Ledger) -> None:
    """F30."""
    for _ in range(2):
        remember(ledger, a_memory())
    assert recall(ledger) == a_memory()


def test_each_region_and_each_volume_of_a_set_has_its_own(ledger: Ledger) -> None:
    remember(ledger, a_memory("snap-1"))
    remember(ledger, a_memory("snap-2"), FAR)
    remember(ledger, a_memory("snap-3", source_id="vol-2"))
    assert [recall(ledger, FAR), recall(ledger, source_id="vol-2")] == [
        a_memory("snap-2"),
        a_memory("snap-3", source_id="vol-2"),
    ]
    assert recall(ledger) == a_memory("snap-1")
    assert recall(ledger, HOME) is None


def test_a_volume_whose_name_begins_like_another_is_another(ledger: Ledger) -> None:
    remember(ledger, a_memory(source_id="vol-1"))
    remember(ledger, a_memory("snap-9", source_id="vol-12", rows=3))
    assert recall(ledger, source_id="vol-1") == a_memory(source_id="vol-1")


def test_missing_rows_are_an_error_that_says_what_to_delete(ledger: Ledger) -> None:
    remember(ledger, a_memory())
    drop("#00001")
    with pytest.raises(Broken, match="1 of 2 rows") as broken:
        recall(ledger)
    assert f"blocks#{AWAY}#{KEY.id}" in broken.value.hint


def test_a_write_that_was_cut_off_leaves_the_memory_as_it_was(ledger: Ledger) -> None:
    """The rows come first, and what points to them last."""
    remember(ledger, a_memory("snap-1"))
    before = items()
    remember(ledger, a_memory("snap-2"))
    [head] = [item for item in before if item["sk"]["S"] == f"blocks#{AWAY}#{KEY.id}"]
    rows = Table(name=TABLE, region=HOME).rows(BlocksItem)
    rows.from_raw_data(head).save()
    assert recall(ledger) == a_memory("snap-1")


def test_it_is_forgotten_after_a_year_and_a_bit(ledger: Ledger) -> None:
    remember(ledger, a_memory())
    assert {int(item["forget_at"]["N"]) for item in items()} == {int((NOON + REMEMBERED).timestamp())}
    assert timedelta(days=366) < REMEMBERED
