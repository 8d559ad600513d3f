"""Who is a stranger, and whose attributes are asked for in a run."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest

from functions.core.exposures import EVERY, EVERYBODY, Family, Shareable, sample, strangers
from tests.builders import HOME, NOON

FRIEND, STRANGER = "210987654321", "999999999999"


def a_shareable(number: int, **changes: Any) -> Shareable:
    """An encrypted snapshot of a month ago, the higher its number the younger."""
    return Shareable(
        **{
            "family": Family.EBS,
            "region": HOME,
            "id": f"snap-{number:017x}",
            "resource": "volume/eu-central-1/vol-1",
            "started_at": NOON - timedelta(days=30) + timedelta(seconds=number),
            "is_encrypted": True,
        }
        | changes
    )


def asked_at(ours: list[Shareable], at: datetime, *, budget: int = 20) -> set[str]:
    return {one.id for one in sample(ours, at, budget=budget).to_ask}


def test_whom_the_settings_name_is_no_stranger() -> None:
    assert strangers({FRIEND, STRANGER}, frozenset({FRIEND})) == {STRANGER}


def test_everybody_is_a_stranger_whatever_the_settings_name() -> None:
    assert strangers({EVERYBODY}, frozenset({EVERYBODY})) == {EVERYBODY}


def test_as_many_as_the_budget_are_all_asked_in_every_run() -> None:
    ours = [a_shareable(number) for number in range(20)]
    for run in range(3):
        turn = sample(ours, NOON + run * EVERY, budget=20)
        assert (len(turn.to_ask), turn.rounds) == (20, 1)


def test_each_of_many_is_asked_within_the_rounds_that_are_said() -> None:
    ours = [a_shareable(number) for number in range(500)]
    rounds = sample(ours, NOON, budget=20).rounds
    assert rounds == 32
    seen = Counter(id for run in range(rounds) for id in asked_at(ours, NOON + run * EVERY))
    assert set(seen.values()) == {1}
    assert len(seen) == 500


def test_a_run_asks_about_as_much_as_its_budget() -> None:
    ours = [a_shareable(number) for number in range(10_000)]
    sizes = [len(sample(ours, NOON + run * EVERY).to_ask) for run in range(8)]
    assert max(sizes) <= 500
    assert min(sizes) >= 200


def test_runs_that_come_and_go_leave_those_their_turn_that_stay() -> None:
    """Snapshots are taken and deleted all the time; who keeps an id keeps the turn."""
    ours = [a_shareable(number) for number in range(500)]
    later = [a_shareable(number) for number in range(10, 510)]
    both = {one.id for one in ours} & {one.id for one in later}
    assert asked_at(ours, NOON) & both == asked_at(later, NOON) & both


def test_the_young_are_asked_in_every_run() -> None:
    young = [a_shareable(1000 + n, started_at=NOON - timedelta(minutes=n)) for n in range(5)]
    ours = [a_shareable(number) for number in range(500)] + young
    for run in range(4):
        assert {one.id for one in young} <= asked_at(ours, NOON + run * EVERY)


def test_a_snapshot_whose_beginning_nobody_knows_counts_as_young() -> None:
    unknown = a_shareable(1000, started_at=None)
    assert unknown.id in asked_at([a_shareable(number) for number in range(500)] + [unknown], NOON)


def test_the_young_never_take_more_than_half() -> None:
    young = [a_shareable(n, started_at=NOON - timedelta(seconds=n)) for n in range(500)]
    turn = sample(young, NOON, budget=20)
    assert turn.to_ask[:10] == tuple(young[:10]), "the newest of them"
    seen = {id for run in range(turn.rounds) for id in asked_at(young, NOON + run * EVERY)}
    assert len(seen) == 500, "and yet each has its turn"


@pytest.mark.parametrize("family", [Family.DATABASE, Family.CLUSTER])
def test_what_could_be_public_without_a_listing_is_asked_in_every_run(family: Family) -> None:
    """RDS lists no public snapshots of ours, and what is encrypted it cannot make public."""
    plain = a_shareable(1000, family=family, is_encrypted=False, started_at=NOON - timedelta(days=90))
    ours = [a_shareable(number, family=family) for number in range(500)] + [plain]
    assert all(plain.id in asked_at(ours, NOON + run * EVERY) for run in range(4))


def test_an_unencrypted_snapshot_of_ebs_has_no_such_place_because_ebs_lists_the_public_ones() -> None:
    assert not a_shareable(1, is_encrypted=False).may_be_public_unlisted
