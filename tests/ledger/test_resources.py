"""What the inventory saw and what the planner remembers are kept apart on one row."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from functions.core.coverage import Coverage, Standing
from functions.core.resources import Kind
from functions.ledger.ledger import Ledger
from functions.ledger.resources import Known
from tests.builders import NOON, a_key, a_resource
from tests.ledger.dynamodb import items

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def covered(**changes: Any) -> Coverage:
    return Coverage(
        **{
            "resource": a_resource(size_gib=8),
            "standing": Standing.PROTECTED,
            "by": "tag holdfast:policy",
            "reason": "policy gold",
            "policy": "gold",
        }
        | changes
    )


def known(ledger: Ledger) -> Known:
    found = ledger.resources.get(a_key())
    assert found is not None
    return found


def test_a_resource_comes_back_as_it_stands(ledger: Ledger) -> None:
    instance = a_resource(Kind.INSTANCE, members=("vol-1", "vol-2"))
    ledger.resources.stand(covered(resource=instance), NOON)
    found = ledger.resources.get(instance.key)
    assert found is not None
    assert (found.resource, found.members, found.engine) == (instance.key, ("vol-1", "vol-2"), None)
    assert (found.standing, found.policy, found.reason) == (Standing.PROTECTED, "gold", "policy gold")
    assert (found.seen_at, found.newest_slot_at) == (NOON, None)
    assert ledger.resources.get(a_key(Kind.DATABASE)) is None


def test_the_planners_memory_survives_every_inventory(ledger: Ledger) -> None:
    ledger.resources.stand(covered(), NOON)
    ledger.resources.planned(a_key(), NOON, due_at=NOON + DAY)
    ledger.resources.buy(a_key(), bought_today=0, now=NOON)
    ledger.resources.stand(covered(policy="silver"), NOON + HOUR)
    assert (known(ledger).policy, known(ledger).newest_slot_at) == ("silver", NOON)
    assert ledger.resources.bought_today(a_key(), NOON) == 1


def test_what_reads_the_same_is_not_written_again_before_a_day_is_over(ledger: Ledger) -> None:
    """An inventory of every hour costs reads; only what changed costs a write."""
    ledger.resources.stand(covered(), NOON)
    for hours, written_at in ((1, NOON), (23, NOON), (24, NOON + DAY)):
        ledger.resources.stand(covered(), NOON + hours * HOUR, known(ledger))
        assert known(ledger).seen_at == written_at


@pytest.mark.parametrize(
    "changes",
    [
        {"reason": "the default policy"},
        {"by": "default"},
        {"standing": Standing.GAP, "policy": None},
        {"resource": a_resource(size_gib=9)},
        {"resource": a_resource(size_gib=8, state="error")},
    ],
)
def test_what_changed_is_written_at_once(ledger: Ledger, changes: dict[str, Any]) -> None:
    ledger.resources.stand(covered(), NOON)
    ledger.resources.stand(covered(**changes), NOON + HOUR, known(ledger))
    assert known(ledger).seen_at == NOON + HOUR


def test_the_planner_looks_at_once_at_what_is_new_or_has_another_policy(ledger: Ledger) -> None:
    ledger.resources.stand(covered(), NOON)
    assert [one.resource for one in ledger.resources.due(NOON)] == [a_key()]
    ledger.resources.planned(a_key(), NOON, due_at=NOON + DAY)
    assert list(ledger.resources.due(NOON + DAY - timedelta(seconds=1))) == []
    ledger.resources.stand(covered(policy="silver"), NOON + HOUR, known(ledger))
    assert [one.policy for one in ledger.resources.due(NOON + HOUR)] == ["silver"]


def test_nothing_is_planned_for_what_is_not_protected_or_gone(ledger: Ledger) -> None:
    ledger.resources.stand(covered(policy=None, standing=Standing.EXCLUDED), NOON)
    assert list(ledger.resources.due(NOON + DAY)) == []
    ledger.resources.stand(covered(), NOON + HOUR, known(ledger))
    ledger.resources.gone(known(ledger), NOON + 2 * HOUR)
    assert list(ledger.resources.due(NOON + DAY)) == []


def test_a_resource_that_changed_meanwhile_is_looked_at_and_not_put_off(ledger: Ledger) -> None:
    ledger.resources.stand(covered(), NOON)
    seen = known(ledger)
    ledger.resources.stand(covered(policy="silver"), NOON + HOUR, seen)
    assert not ledger.resources.look_again(seen, NOON + DAY)
    assert [one.policy for one in ledger.resources.due(NOON + HOUR)] == ["silver"]


def test_a_late_inventory_does_not_undo_a_newer_one(ledger: Ledger) -> None:
    """F33: two inventories overlap, and the older one writes last."""
    ledger.resources.stand(covered(policy="silver"), NOON)
    ledger.resources.stand(covered(policy="gold"), NOON - HOUR)
    assert (known(ledger).policy, known(ledger).seen_at) == ("silver", NOON)


def test_a_resource_that_loses_its_policy_has_none(ledger: Ledger) -> None:
    ledger.resources.stand(covered(), NOON)
    ledger.resources.stand(covered(standing=Standing.GAP, policy=None, reason="no tag"), NOON + HOUR)
    assert (known(ledger).standing, known(ledger).policy) == (Standing.GAP, None)


def test_the_newest_slot_planned_only_ever_moves_forward(ledger: Ledger) -> None:
    """F21: a clock that runs backwards must not plan the past again."""
    ledger.resources.stand(covered(), NOON)
    assert ledger.resources.planned(a_key(), NOON, due_at=NOON + DAY)
    assert not ledger.resources.planned(a_key(), NOON, due_at=NOON + DAY)
    assert not ledger.resources.planned(a_key(), NOON - DAY, due_at=NOON + DAY)
    assert ledger.resources.planned(a_key(), NOON + DAY, due_at=NOON + DAY)
    assert known(ledger).newest_slot_at == NOON + DAY


def test_what_vanished_stays_on_the_ledger_and_gets_no_more_slots(ledger: Ledger) -> None:
    """F46."""
    ledger.resources.stand(covered(), NOON)
    assert ledger.resources.gone(known(ledger), NOON + HOUR)
    assert (known(ledger).standing, known(ledger).policy) == (Standing.EXCLUDED, None)
    assert "does not exist any more" in known(ledger).reason


def test_what_another_inventory_saw_meanwhile_is_not_gone(ledger: Ledger) -> None:
    ledger.resources.stand(covered(), NOON)
    seen = known(ledger)
    ledger.resources.stand(covered(), NOON + HOUR)
    assert not ledger.resources.gone(seen, NOON + 2 * HOUR)
    assert known(ledger).standing is Standing.PROTECTED


def test_what_comes_back_is_protected_again(ledger: Ledger) -> None:
    ledger.resources.stand(covered(), NOON)
    ledger.resources.gone(known(ledger), NOON + HOUR)
    ledger.resources.stand(covered(), NOON + 2 * HOUR)
    assert (known(ledger).standing, known(ledger).policy) == (Standing.PROTECTED, "gold")


def test_extra_points_are_counted_for_each_day(ledger: Ledger) -> None:
    """F35: an alarm that flaps all day buys what the policy allows and no more."""
    assert ledger.resources.bought_today(a_key(), NOON) == 0
    assert ledger.resources.buy(a_key(), bought_today=0, now=NOON)
    assert ledger.resources.buy(a_key(), bought_today=1, now=NOON)
    assert ledger.resources.bought_today(a_key(), NOON) == 2
    assert ledger.resources.bought_today(a_key(), NOON + DAY) == 0
    assert ledger.resources.buy(a_key(), bought_today=0, now=NOON + DAY)
    assert ledger.resources.bought_today(a_key(), NOON + DAY) == 1


@pytest.mark.parametrize("bought", [0, 1])
def test_of_many_alarms_of_one_moment_one_buys(ledger: Ledger, bought: int) -> None:
    """F35."""
    for already in range(bought):
        ledger.resources.buy(a_key(), bought_today=already, now=NOON)
    with ThreadPoolExecutor(6) as crowd:
        got = list(crowd.map(lambda _: ledger.resources.buy(a_key(), bought_today=bought, now=NOON), range(6)))
    assert got.count(True) == 1
    assert ledger.resources.bought_today(a_key(), NOON) == bought + 1


def test_every_resource_is_listed_once(ledger: Ledger) -> None:
    wanted = [a_resource(kind) for kind in Kind] + [a_resource(id=f"vol-{number}") for number in range(30)]
    for resource in wanted:
        ledger.resources.stand(covered(resource=resource), NOON)
    assert sorted(str(one.resource) for one in ledger.resources.all()) == sorted(str(r.key) for r in wanted)


def test_a_fleet_is_spread_over_the_partitions_of_the_index(ledger: Ledger) -> None:
    """F15: an inventory of thousands must not write to one partition."""
    for number in range(80):
        ledger.resources.stand(covered(resource=a_resource(id=f"vol-{number:017x}")), NOON)
    shards = [item["listed_in"]["S"] for item in items()]
    assert max(shards.count(shard) for shard in set(shards)) <= 20


def test_a_reason_as_long_as_a_novel_is_cut(ledger: Ledger) -> None:
    ledger.resources.stand(covered(reason="x" * 5000, by="y" * 5000), NOON)
    assert (len(known(ledger).reason), len(known(ledger).by)) == (500, 200)
