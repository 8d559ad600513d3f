"""What is missing from a restored database, told by what earlier rehearsals counted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.core.evidence import Assertion
from functions.core.row_counts import MOST_NAMED, Counted, judge
from tests.builders import NOON

DAY = timedelta(days=1)
STEADY = (100_000, 101_000, 99_500, 100_200)


def earlier(*of_each_day: Mapping[str, int], estimated: tuple[str, ...] = ()) -> list[Counted]:
    """Counts of the last days, oldest first."""
    first = len(of_each_day)
    return [
        Counted(rows=rows, at=NOON - DAY * (first - day), estimated=estimated) for day, rows in enumerate(of_each_day)
    ]


def orders(*counts: int) -> list[Counted]:
    return earlier(*({"shop.orders": count} for count in counts))


def held(found: tuple[Assertion, ...]) -> list[bool | None]:
    return [assertion.held for assertion in found]


def test_the_first_rehearsal_is_held_against_nothing() -> None:
    assert judge({"shop.orders": 0}, []) == ()


def test_the_same_tables_with_the_same_rows_hold() -> None:
    assert held(judge({"shop.orders": 100_100}, orders(*STEADY))) == [True, True]


def test_a_table_of_the_last_rehearsal_that_is_gone_is_broken() -> None:
    there, _ = judge({"shop.customers": 5}, earlier({"shop.orders": 0, "shop.customers": 5}))
    assert there.held is False
    assert there.detail == "1 of 2 are gone: shop.orders"


def test_a_table_that_was_gone_the_last_time_already_is_old_news() -> None:
    history = earlier({"shop.orders": 9, "shop.customers": 5}, {"shop.customers": 5})
    assert held(judge({"shop.customers": 5}, history)) == [True, True]


def test_a_table_that_nobody_came_to_count_is_not_gone() -> None:
    there, usual = judge({"shop.customers": 5}, orders(7), not_counted=["shop.orders"])
    assert (there.held, usual.held) == (True, True)
    assert "1 tables were not counted" in usual.detail


def test_a_table_that_could_not_be_looked_for_is_neither_there_nor_gone() -> None:
    history = earlier({"shop.orders": 7, "other.t": 1})
    there, _ = judge({"shop.orders": 7}, history, not_looked_for=["other.t"])
    assert there.held is None
    assert there.detail == "1 of 2; 1 could not be looked for"
    there, _ = judge({}, history, not_looked_for=["other.t"])
    assert there.held is False


def test_a_table_that_had_rows_and_is_empty_is_broken_after_a_single_rehearsal() -> None:
    _, usual = judge({"shop.orders": 0}, orders(3))
    assert usual.held is False
    assert "shop.orders is empty; it had 3" in usual.detail


def test_a_table_that_has_been_empty_before_may_be_empty_again() -> None:
    _, usual = judge({"shop.outbox": 0}, earlier({"shop.outbox": 0}, {"shop.outbox": 900}))
    assert usual.held is True
    assert "as it was before" in usual.detail


def test_a_table_that_never_had_rows_need_not_have_any() -> None:
    assert held(judge({"shop.orders": 0}, orders(0))) == [True, True]


def test_with_two_earlier_rehearsals_nobody_knows_what_is_usual() -> None:
    assert held(judge({"shop.orders": 1}, orders(1_000_000, 1_000_000))) == [True, True]


def test_with_three_a_table_that_lost_more_than_half_is_broken() -> None:
    _, usual = judge({"shop.orders": 49_000}, orders(*STEADY))
    assert usual.held is False
    assert "shop.orders shrank to 49,000 from 100,100" in usual.detail


def test_a_smaller_loss_is_mentioned_only() -> None:
    _, usual = judge({"shop.orders": 60_000}, orders(*STEADY))
    assert usual.held is True
    assert "shrank to 60,000" in usual.detail


def test_a_loss_inside_of_a_fifth_is_not_even_mentioned() -> None:
    _, usual = judge({"shop.orders": 81_000}, orders(*STEADY))
    assert usual.detail == "1 tables against 4 earlier rehearsals"


def test_a_few_rows_of_a_small_table_are_nothing() -> None:
    assert held(judge({"shop.settings": 3}, earlier(*({"shop.settings": 900},) * 4))) == [True, True]


def test_growth_is_mentioned_and_never_held_against_it() -> None:
    _, usual = judge({"shop.orders": 10_000_000}, orders(*STEADY))
    assert usual.held is True
    assert "grew to 10,000,000" in usual.detail


def test_a_table_that_only_ever_grew_is_measured_by_its_newest_count() -> None:
    growing = (100_000, 200_000, 400_000, 800_000)
    _, usual = judge({"shop.orders": 300_000}, orders(*growing))
    assert usual.held is False
    assert "from 800,000" in usual.detail


def test_a_table_that_rises_and_falls_by_half_every_time_is_left_alone() -> None:
    assert held(
        judge({"shop.queue": 2_000}, earlier(*({"shop.queue": n} for n in (50_000, 4_000, 90_000, 9_000))))
    ) == [
        True,
        True,
    ]


def test_the_order_in_which_the_history_comes_does_not_matter() -> None:
    history = earlier({"a": 1, "b": 1}, {"b": 1})
    assert judge({"b": 1}, history) == judge({"b": 1}, history[::-1])


def test_an_estimate_never_breaks_anything() -> None:
    assert held(judge({"shop.orders": 0}, orders(*STEADY), estimated=["shop.orders"])) == [True, True]


def test_what_was_an_estimate_is_no_measure() -> None:
    history = earlier(*({"shop.orders": n} for n in STEADY), estimated=("shop.orders",))
    assert held(judge({"shop.orders": 0}, history)) == [True, True]


def test_counts_of_nothing_are_undecided() -> None:
    there, usual = judge({}, orders(5), not_counted=["shop.orders"])
    assert (there.held, usual.held) == (True, None)


def test_a_thousand_lost_tables_are_counted_and_a_few_are_named() -> None:
    there, _ = judge({}, earlier({f"shop.t{n:04}": 1 for n in range(1000)}))
    assert there.detail.startswith("1000 of 1000 are gone: shop.t0000, ")
    assert there.detail.count("shop.t") == MOST_NAMED
    assert there.detail.endswith("and 990 more")


counts = st.integers(0, 10**12)


@given(st.lists(counts, min_size=1, max_size=8), counts)
def test_more_rows_than_ever_are_never_broken(history: list[int], more: int) -> None:
    assert held(judge({"t": max(history) + more}, orders_of("t", history))) == [True, True]


@given(st.lists(st.integers(1_001, 10**12), min_size=3, max_size=8))
def test_an_emptied_table_that_always_had_rows_is_always_broken(history: list[int]) -> None:
    assert held(judge({"t": 0}, orders_of("t", history))) == [True, False]


def orders_of(table: str, history: list[int]) -> list[Counted]:
    return earlier(*({table: count} for count in history))


@pytest.mark.parametrize("now", [0, 1, 10**18])
def test_numbers_of_any_size_are_told(now: int) -> None:
    assert len(judge({"t": now}, earlier({"t": 10**18}))) == 2
