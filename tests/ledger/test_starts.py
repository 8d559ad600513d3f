"""The day's places for recoveries that nobody asked for: each is taken once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

from functions.ledger.ledger import Ledger
from functions.ledger.starts import REMEMBERED
from tests.builders import NOON, a_key
from tests.ledger.dynamodb import items

DAY = timedelta(days=1)


def place(ledger: Ledger, execution: str, *, per_day: int = 2, now: datetime = NOON) -> int | None:
    return ledger.starts.place(execution, str(a_key()), per_day=per_day, now=now)


def test_places_are_taken_one_by_one_until_there_is_none(ledger: Ledger) -> None:
    assert [place(ledger, f"alarm-{n}") for n in range(3)] == [1, 2, None]


def test_who_has_a_place_keeps_it(ledger: Ledger) -> None:
    """F30: the same alarm delivered twice takes one."""
    assert [place(ledger, name) for name in ("a", "b", "a", "b")] == [1, 2, 1, 2]
    assert len(items()) == 2


def test_every_day_has_its_own(ledger: Ledger) -> None:
    place(ledger, "a", per_day=1)
    assert place(ledger, "b", per_day=1) is None
    assert place(ledger, "b", per_day=1, now=NOON + DAY) == 1


def test_the_day_is_that_of_utc(ledger: Ledger) -> None:
    east = datetime(2026, 11, 21, 1, tzinfo=timezone(timedelta(hours=3)))
    place(ledger, "a", per_day=1)
    assert place(ledger, "b", per_day=1, now=east) is None


def test_more_places_in_the_settings_are_there_at_once(ledger: Ledger) -> None:
    place(ledger, "a", per_day=1)
    assert place(ledger, "b", per_day=2) == 2


def test_of_many_at_once_no_two_have_the_same_place(ledger: Ledger) -> None:
    with ThreadPoolExecutor(6) as crowd:
        places = list(crowd.map(lambda n: place(ledger, f"alarm-{n}", per_day=3), range(6)))
    assert sorted(place for place in places if place is not None) == [1, 2, 3]
    assert places.count(None) == 3


def test_a_place_is_forgotten_after_a_month(ledger: Ledger) -> None:
    place(ledger, "a")
    assert int(items()[0]["forget_at"]["N"]) == int((NOON + REMEMBERED).timestamp())
