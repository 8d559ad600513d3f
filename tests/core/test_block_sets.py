"""A set of block indexes is a set."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from functions.core.block_sets import BlockSet


@given(st.lists(st.integers(0, 2000)))
def test_it_holds_what_was_put_in_ascending_and_nothing_else(indexes: list[int]) -> None:
    blocks = BlockSet(indexes)
    assert list(blocks) == sorted(set(indexes))
    assert len(blocks) == len(set(indexes))
    assert all(index in blocks for index in indexes)
    assert max(indexes, default=0) + 1 not in blocks
    assert -1 not in blocks
    assert "1" not in blocks
