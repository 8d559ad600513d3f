"""Never more in flight than the limit, whoever asks and however often; and the limit learns."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from functions.core.errors import AwsBusy
from functions.core.permits import PROBE_AFTER, Operation, Pool, PoolName
from functions.core.resources import Kind
from functions.ledger import permits
from functions.ledger.ledger import Ledger
from tests.builders import AWAY, FAR, NOON

AURORA = PoolName.of(Operation.COPY, Kind.CLUSTER, AWAY)
"""Starts with five."""


def test_a_pool_that_nobody_used_has_its_published_limit(ledger: Ledger) -> None:
    assert (ledger.permits.get(AURORA).limit, ledger.permits.get(AURORA).holders) == (5, {})


def test_no_more_are_given_out_than_there_are(ledger: Ledger) -> None:
    """F10: the copies in progress to one Region."""
    assert [ledger.permits.take(AURORA, f"copy-{n}", NOON) for n in range(7)] == [True] * 5 + [False] * 2
    assert ledger.permits.get(AURORA).free == 0


def test_a_holder_who_asks_again_has_its_one_permit(ledger: Ledger) -> None:
    """F30: the same order delivered twice holds one place, not two."""
    assert ledger.permits.take(AURORA, "copy-1", NOON)
    assert ledger.permits.take(AURORA, "copy-1", NOON + timedelta(minutes=5))
    assert ledger.permits.get(AURORA).holders == {"copy-1": NOON}


def test_a_holder_who_asks_again_has_its_permit_even_when_all_are_in_use(ledger: Ledger) -> None:
    for number in range(5):
        ledger.permits.take(AURORA, f"copy-{number}", NOON)
    assert ledger.permits.take(AURORA, "copy-3", NOON)


def test_what_is_returned_can_be_taken_by_another(ledger: Ledger) -> None:
    for number in range(5):
        ledger.permits.take(AURORA, f"copy-{number}", NOON)
    ledger.permits.give_back(AURORA, ["copy-0", "copy-1"], NOON, succeeded=False)
    assert ledger.permits.get(AURORA).free == 2
    assert ledger.permits.take(AURORA, "copy-9", NOON)


def test_returning_what_nobody_holds_changes_nothing(ledger: Ledger) -> None:
    """F30: the second notice of the same completion returns nothing a second time."""
    ledger.permits.take(AURORA, "copy-1", NOON)
    for _ in range(2):
        ledger.permits.give_back(AURORA, ["copy-1"], NOON, succeeded=True)
        ledger.permits.give_back(AURORA, ["a-stranger"], NOON, succeeded=True)
    pool = ledger.permits.get(AURORA)
    assert (pool.limit, pool.holders) == (5, {})


def test_a_refusal_lowers_the_limit_to_what_was_in_flight(ledger: Ledger) -> None:
    """F10: the real limit is the one AWS shows."""
    for number in range(4):
        ledger.permits.take(AURORA, f"copy-{number}", NOON)
    pool = ledger.permits.refused(AURORA, "copy-3", NOON)
    assert (pool.limit, sorted(pool.holders), pool.refused_at) == (3, ["copy-0", "copy-1", "copy-2"], NOON)
    assert not ledger.permits.take(AURORA, "copy-3", NOON)


def test_the_limit_never_falls_to_nothing(ledger: Ledger) -> None:
    for _ in range(3):
        ledger.permits.take(AURORA, "copy-1", NOON)
        assert ledger.permits.refused(AURORA, "copy-1", NOON).limit >= 1
    assert ledger.permits.take(AURORA, "copy-1", NOON)


def test_success_raises_a_limit_that_was_all_in_use_but_not_right_after_a_refusal(ledger: Ledger) -> None:
    for number in range(4):
        ledger.permits.take(AURORA, f"copy-{number}", NOON)
    ledger.permits.refused(AURORA, "copy-3", NOON)
    ledger.permits.give_back(AURORA, ["copy-0"], NOON + timedelta(minutes=1), succeeded=True)
    assert ledger.permits.get(AURORA).limit == 3
    ledger.permits.take(AURORA, "copy-3", NOON)
    ledger.permits.give_back(AURORA, ["copy-1"], NOON + PROBE_AFTER, succeeded=True)
    assert ledger.permits.get(AURORA).limit == 4


def test_failure_raises_no_limit(ledger: Ledger) -> None:
    for number in range(5):
        ledger.permits.take(AURORA, f"copy-{number}", NOON)
    ledger.permits.give_back(AURORA, ["copy-0"], NOON, succeeded=False)
    assert ledger.permits.get(AURORA).limit == 5


def test_the_pools_of_families_and_regions_are_apart(ledger: Ledger) -> None:
    for number in range(5):
        ledger.permits.take(AURORA, f"copy-{number}", NOON)
    assert ledger.permits.take(PoolName.of(Operation.COPY, Kind.CLUSTER, FAR), "copy-9", NOON)
    assert ledger.permits.take(PoolName.of(Operation.COPY, Kind.DATABASE, AWAY), "copy-9", NOON)


def test_a_crowd_gets_as_many_permits_as_there_are(ledger: Ledger) -> None:
    """Whoever loses a race for the row sees it again and decides again; nobody gets a permit that is not there."""

    def asks(number: int) -> bool:
        while True:
            try:
                return ledger.permits.take(AURORA, f"copy-{number}", NOON)
            except AwsBusy:
                continue

    with ThreadPoolExecutor(8) as crowd:
        got = list(crowd.map(asks, range(16)))
    assert got.count(True) == 5
    assert len(ledger.permits.get(AURORA).holders) == 5


def test_a_pool_that_changes_under_every_try_is_busy_and_not_wrong(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger.permits._table, "update", lambda *_: False)
    with pytest.raises(AwsBusy, match="changed by too many at once"):
        ledger.permits.take(AURORA, "copy-1", NOON)
    assert permits.TRIES > 1


def test_permits_are_handed_out_in_one_write_each_with_its_moment(ledger: Ledger) -> None:
    given = ledger.permits.hand_out(AURORA, lambda pool: [f"copy-{n}" for n in range(pool.free + 2)], NOON)
    assert (len(given), set(given.values())) == (5, {timedelta(0)})
    pool = ledger.permits.get(AURORA)
    assert (set(pool.holders), pool.pace.handed_out, pool.pace.since) == (set(given), 5, NOON)
    assert ledger.permits.hand_out(AURORA, lambda _: ["copy-9"], NOON) == {}


def test_whoever_hands_out_from_an_old_pool_chooses_again_from_the_new_one(ledger: Ledger) -> None:
    asked: list[int] = []

    def choose(pool: Pool) -> list[str]:
        if not asked:
            ledger.permits.take(AURORA, "faster", NOON)
        asked.append(pool.free)
        return ["mine"]

    assert list(ledger.permits.hand_out(AURORA, choose, NOON)) == ["mine"]
    assert asked == [5, 4]
    assert set(ledger.permits.get(AURORA).holders) == {"faster", "mine"}


def test_a_throttled_call_is_counted_once_and_leaves_its_permit(ledger: Ledger) -> None:
    ledger.permits.hand_out(AURORA, lambda _: ["one", "two"], NOON)
    for _ in range(2):
        ledger.permits.throttled(AURORA, "one")
    pool = ledger.permits.get(AURORA)
    assert (list(pool.holders), pool.pace.throttled, pool.limit) == (["two"], 1, 5)


def test_whose_place_a_refusal_took_away_gives_it_back_instead_of_asking_aws(ledger: Ledger) -> None:
    """F10: of the orders that wait in the queue when AWS says how many it lets in, each would be refused, too."""
    ledger.permits.take(AURORA, "first", NOON)
    for number in range(4):
        ledger.permits.take(AURORA, f"later-{number}", NOON + timedelta(seconds=60 + number))
    assert ledger.permits.refused(AURORA, "later-0", NOON + timedelta(seconds=60)).limit == 1
    assert ledger.permits.take(AURORA, "first", NOON + timedelta(seconds=61))
    assert not ledger.permits.take(AURORA, "later-1", NOON + timedelta(seconds=61))
    assert sorted(ledger.permits.get(AURORA).holders) == ["first", "later-2", "later-3"]


def test_what_a_pool_learnt_is_remembered(ledger: Ledger) -> None:
    for number in range(5):
        ledger.permits.take(AURORA, f"copy-{number}", NOON)
    ledger.permits.give_back(AURORA, ["copy-0"], NOON + timedelta(minutes=1), succeeded=True)
    pool = ledger.permits.get(AURORA)
    assert (pool.limit, pool.room.proven, pool.room.raises_by, pool.room.raised_at) == (
        6,
        5,
        2,
        NOON + timedelta(minutes=1),
    )
