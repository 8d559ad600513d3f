from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.core.planning import MISSED_AT_MOST, Answer, Planned, heed_alarm, plan
from functions.core.policies import ExtraPoints, Policy, Window
from functions.core.slots import Why, newest_due, slots_between
from tests.builders import GIB, NOON, a_key, a_policy, ago, some_settings
from tests.core.test_slots import instants, policies, some_while

HOURLY = a_policy("hourly", rpo=timedelta(hours=1))
DAILY = a_policy("daily")
SETTINGS = some_settings(HOURLY, DAILY)
NOW = NOON + timedelta(minutes=20)


def known(id: str = "vol-1", policy: str = "hourly", newest: datetime | None = None) -> Planned:
    return Planned(resource=a_key(id=id), policy=policy, newest_slot_at=newest)


def test_a_new_resource_owes_its_newest_slot_at_once() -> None:
    (owed,) = plan([known()], SETTINGS, NOW)
    assert owed.slot.at == NOON
    assert owed.slot.why is Why.SCHEDULED
    assert owed.missed == ()
    assert owed.reason == "the resource has no point yet"


def test_what_was_planned_is_not_owed_again() -> None:
    (owed,) = plan([known()], SETTINGS, NOW)
    assert plan([known(newest=owed.slot.at)], SETTINGS, NOW) == ()
    assert len(plan([known(newest=owed.slot.at)], SETTINGS, NOW + timedelta(hours=1))) == 1


def test_an_extra_point_since_the_slot_stands_for_it() -> None:
    assert plan([known(newest=NOON + timedelta(minutes=7))], SETTINGS, NOW) == ()


def test_after_an_outage_one_slot_is_owed_and_the_missed_ones_are_named() -> None:
    (owed,) = plan([known(newest=ago(hours=5))], SETTINGS, NOW)
    assert owed.slot.at == NOON
    assert [slot.at for slot in owed.missed] == [ago(hours=4), ago(hours=3), ago(hours=2), ago(hours=1)]
    assert "4 missed" in owed.reason


def test_after_a_very_long_outage_the_newest_missed_slots_are_named_and_the_reason_counts_all() -> None:
    (owed,) = plan([known(newest=ago(hours=101))], SETTINGS, NOW)
    assert len(owed.missed) == MISSED_AT_MOST
    assert owed.missed[-1].at == ago(hours=1)
    assert "100 missed" in owed.reason


def test_a_slot_one_second_before_it_is_due_is_not_owed() -> None:
    assert plan([known(newest=ago(hours=1))], SETTINGS, NOON - timedelta(seconds=1)) == ()
    assert len(plan([known(newest=ago(hours=1))], SETTINGS, NOON)) == 1


def test_a_resource_whose_policy_was_removed_owes_nothing() -> None:
    assert plan([known(policy="bronze"), known(policy="bronze", newest=ago(days=3))], SETTINGS, NOW) == ()


def test_a_newest_slot_in_the_future_owes_nothing() -> None:
    assert plan([known(newest=NOON + timedelta(days=1))], SETTINGS, NOW) == ()


def test_the_most_urgent_comes_first() -> None:
    owed = plan([known("vol-1", "daily"), known("vol-2", "hourly"), known("vol-3", "daily")], SETTINGS, NOW)
    assert owed[0].slot.resource.id == "vol-2"
    assert [o.deadline for o in owed] == sorted(o.deadline for o in owed)


@given(policies(), instants)
def test_a_slot_owed_to_a_new_resource_is_not_late_before_anybody_could_take_it(policy: Policy, now: datetime) -> None:
    (owed,) = plan([known(policy="gold")], some_settings(policy), now)
    assert owed.deadline > now


def test_a_slot_moved_before_a_window_is_not_late_while_it_is_still_the_newest() -> None:
    window = Window(starts=timedelta(hours=7), ends=timedelta(hours=12, minutes=59))
    policy = a_policy(rpo=timedelta(hours=7), starts=timedelta(hours=1, minutes=30), avoid=(window,))
    now = datetime(2026, 11, 20, 12, 58, tzinfo=UTC)
    (owed,) = plan([known(policy="gold")], some_settings(policy), now)
    assert owed.deadline > now


@given(policies(), instants, st.integers(1, 12))
def test_each_slot_is_owed_once_whenever_the_planner_looks(policy: Policy, start: datetime, ticks: int) -> None:
    settings, end = some_settings(policy), start + some_while(policy)
    first = newest_due(policy, a_key(id="vol-1"), start).at
    newest, told = first, []
    for tick in range(1, ticks + 1):
        now = start + (end - start) * tick / ticks
        for owed in plan([known(policy="gold", newest=newest)], settings, now):
            told += [*owed.missed, owed.slot]
            newest = owed.slot.at
        assert plan([known(policy="gold", newest=newest)], settings, now) == ()
    due = slots_between(policy, a_key(id="vol-1"), after=first, until=end)
    assert len(set(told)) == len(told)
    assert set(told) <= set(due)
    assert set(due) == set(told) or len(due) > MISSED_AT_MOST


EAGER = a_policy(
    extra=ExtraPoints(written_gib=10, per_day=3),
    avoid=(Window(starts=timedelta(hours=20), ends=timedelta(hours=22)),),
)
ENOUGH: dict[str, Any] = {
    "alarmed_at": NOON,
    "written_bytes": 12 * GIB,
    "bought_today": 0,
    "newest_slot_at": ago(hours=3),
}


def heed(**changes: Any) -> Answer:
    """The answer to an alarm for which enough was written, with these things changed."""
    return heed_alarm(a_key(), EAGER, **(ENOUGH | changes))


def test_enough_written_buys_an_extra_point_of_that_minute() -> None:
    answer = heed(alarmed_at=NOON + timedelta(seconds=42, microseconds=7))
    assert answer.slot is not None
    assert answer.slot.at == NOON
    assert answer.slot.why is Why.EXTRA
    assert answer.slot.resource == a_key()
    assert "12.00 GiB" in answer.reason
    assert "10 GiB" in answer.reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"alarmed_at": NOON.replace(hour=20)}, "avoids this time"),
        ({"alarmed_at": NOON.replace(hour=21, minute=59, second=59)}, "avoids this time"),
        ({"newest_slot_at": NOON}, "this minute"),
        ({"newest_slot_at": NOON - timedelta(minutes=1)}, "this minute"),
        ({"newest_slot_at": NOON + timedelta(hours=1)}, "this minute"),
        ({"bought_today": 3}, "budget of 3"),
        ({"bought_today": 9}, "budget of 3"),
        ({"written_bytes": None}, "CloudWatch has no data"),
        ({"written_bytes": 0}, "0.00 GiB"),
        ({"written_bytes": 10 * GIB - 1}, "under 10 GiB"),
    ],
)
def test_an_alarm_buys_nothing_and_says_why(changes: dict[str, Any], reason: str) -> None:
    answer = heed(**changes)
    assert answer.slot is None
    assert reason in answer.reason


@pytest.mark.parametrize(
    "changes",
    [
        {"alarmed_at": NOON.replace(hour=22)},
        {"newest_slot_at": NOON - timedelta(minutes=2)},
        {"newest_slot_at": None},
        {"bought_today": 2},
        {"written_bytes": 10 * GIB},
    ],
)
def test_an_alarm_just_inside_every_bound_buys(changes: dict[str, Any]) -> None:
    assert heed(**changes).slot is not None


def test_a_policy_without_extra_points_sells_none() -> None:
    answer = heed_alarm(a_key(), a_policy("gold"), **ENOUGH)
    assert answer.slot is None
    assert "gold" in answer.reason


def test_the_same_alarm_twice_is_one_slot() -> None:
    first = heed().slot
    again = heed(alarmed_at=NOON + timedelta(seconds=59)).slot
    assert first is not None
    assert again is not None
    assert first.key == again.key
