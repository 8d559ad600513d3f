"""Which tables are counted, which are estimated, and which are only known to be there."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from functions.aws.databases.counting import LARGEST_COUNTED_BYTES, Counts, count
from functions.aws.databases.lines import (
    MOST_LISTED_TABLES,
    STATEMENT_SECONDS,
    Budget,
    NoAnswer,
    Part,
    Parts,
    Row,
    Table,
)
from functions.core.evidence import Assertion
from functions.core.row_counts import MOST_TABLES, Counted

AT = datetime(2026, 11, 20, tzinfo=UTC)


def table(name: str, size_bytes: int = 8192, estimate: int | None = None) -> Table:
    return Table(name=name, size_bytes=size_bytes, estimate=estimate, statement=name)


@dataclass
class FakeConversation:
    """A database with tables of seven rows; `slow` ones are not counted in time, `broken` ones not at all."""

    listed: tuple[Table, ...]
    slow: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    database: str = "shop"
    asked: list[str] = field(default_factory=list)

    def tables(self) -> tuple[Table, ...]:
        return self.listed

    def ask(self, statement: str, seconds: float = STATEMENT_SECONDS) -> list[Row]:
        self.asked.append(statement)
        if statement in self.slow:
            raise NoAnswer("57014", is_late=True)
        if statement in self.broken:
            raise NoAnswer("XX001", held=False)
        if statement in self.forbidden:
            raise NoAnswer("42501", is_refusal=True)
        return [[7]]

    def catalog(self) -> Assertion:
        raise AssertionError

    def parts(self, *, may_install: bool) -> Parts:
        raise AssertionError

    def wrong_with(self, part: Part, seconds: float) -> str:
        raise AssertionError

    def neighbours(self) -> tuple[str, ...]:
        raise AssertionError

    def close(self) -> None:
        raise AssertionError


def counted(fake: FakeConversation, *, seconds: float = 60, learned: tuple[Counted, ...] = ()) -> Counts:
    return count([fake], Budget(seconds, lambda: 0.0), learned)


def test_tables_are_counted_smallest_first() -> None:
    fake = FakeConversation((table("large", 10**6), table("small", 10), table("middle", 1000)))
    assert counted(fake).rows == {"small": 7, "middle": 7, "large": 7}
    assert fake.asked == ["small", "middle", "large"]


def test_a_table_that_takes_too_long_is_estimated_and_marked() -> None:
    counts = counted(FakeConversation((table("small"), table("large", 10**6, estimate=5_000)), slow=("large",)))
    assert (counts.rows, counts.estimated) == ({"small": 7, "large": 5_000}, {"large"})


def test_a_giant_table_is_not_even_tried() -> None:
    fake = FakeConversation((table("giant", LARGEST_COUNTED_BYTES + 1, estimate=10**10),))
    assert counted(fake).estimated == {"giant"}
    assert fake.asked == []


def test_a_table_without_count_and_estimate_is_known_to_be_there() -> None:
    counts = counted(FakeConversation((table("new"),), slow=("new",)))
    assert (counts.rows, counts.not_counted) == ({}, {"new"})


def test_when_the_time_is_up_the_rest_is_estimated() -> None:
    fake = FakeConversation((table("a", estimate=1), table("b", estimate=2)))
    assert counted(fake, seconds=0).estimated == {"a", "b"}
    assert fake.asked == []


def test_beyond_the_bound_tables_are_known_to_be_there() -> None:
    fake = FakeConversation(tuple(table(f"t{n:04}", n) for n in range(MOST_TABLES + 50)))
    counts = counted(fake)
    assert len(counts.rows) == MOST_TABLES
    assert counts.not_counted == {f"t{n:04}" for n in range(MOST_TABLES, MOST_TABLES + 50)}


def test_what_was_counted_before_is_counted_again_before_anything_else() -> None:
    fake = FakeConversation(tuple(table(f"t{n:04}", n) for n in range(MOST_TABLES + 50)))
    known = f"t{MOST_TABLES + 49:04}"
    assert known in counted(fake, learned=(Counted(rows={known: 1}, at=AT),)).rows


class TestWhatNobodyLookedFor:
    LEARNED = (Counted(rows={"shop.orders": 1, "other.t": 1, "'shop.b'.t": 1}, at=AT),)

    def test_a_listed_database_hides_nothing(self) -> None:
        counts = counted(FakeConversation(()))
        assert counts.not_looked_for(self.LEARNED, {"shop"}) == set()

    def test_a_database_that_is_there_and_was_not_listed_may_hold_its_tables(self) -> None:
        counts = counted(FakeConversation(()))
        assert counts.not_looked_for(self.LEARNED, {"shop", "other"}) == {"other.t"}

    def test_when_the_databases_are_not_known_only_the_listed_ones_are(self) -> None:
        counts = counted(FakeConversation(()))
        assert counts.not_looked_for(self.LEARNED, None) == {"other.t", "'shop.b'.t"}

    def test_a_database_with_more_tables_than_are_listed_is_not_known(self) -> None:
        counts = counted(FakeConversation(tuple(table(f"shop.t{n}") for n in range(MOST_LISTED_TABLES))))
        assert counts.not_looked_for(self.LEARNED, {"shop"}) == {"shop.orders"}


def test_a_table_that_is_damaged_where_it_is_counted_is_unfit() -> None:
    counts = counted(FakeConversation((table("torn"), table("whole")), broken=("torn",)))
    assert (counts.rows, counts.not_counted) == ({"whole": 7}, {"torn"})
    [assertion] = counts.told()
    assert assertion.held is False
    assert assertion.detail == "1 cannot be: torn: XX001"


def test_a_table_that_may_not_be_read_is_told_and_no_damage() -> None:
    counts = counted(FakeConversation((table("secret"),), forbidden=("secret",)))
    assert counts.told() == ()
    assert counts.problems == ["secret: 42501"]
