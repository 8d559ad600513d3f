"""Which snapshots are locked, for how long, and why the others are not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from functions.core import labels
from functions.core.locks import HeldLock, LockRequest, LockState, request
from functions.core.policies import Lock, LockMode, LockOn
from functions.core.snapshots import State
from tests.builders import AWAY, NOON, a_snapshot

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
GOVERNANCE = Lock(mode=LockMode.GOVERNANCE, days=7)
COMPLIANCE = Lock(mode=LockMode.COMPLIANCE, days=7, cool_off_hours=12)
SOURCE = a_snapshot(completed_at=NOON - 10 * MINUTE)
COPY = a_snapshot(completed_at=NOON - MINUTE, region=AWAY, tags={labels.SOURCE_SNAPSHOT: "snap-0"})


def held(state: str, *, days_left: float = 5) -> HeldLock:
    return HeldLock(state=state, expires_at=NOON + days_left * DAY)


def days(lock: Lock = GOVERNANCE, held: HeldLock | None = None, **changes: Any) -> int:
    asked = request(replace(SOURCE, **changes), lock, held, NOON)
    assert isinstance(asked, LockRequest)
    return asked.days


def test_what_was_just_completed_is_locked_for_the_policys_time() -> None:
    assert request(SOURCE, GOVERNANCE, None, NOON) == LockRequest(mode=LockMode.GOVERNANCE, days=7, cool_off_hours=None)


def test_a_compliance_lock_cools_off_for_as_long_as_the_policy_says() -> None:
    assert request(SOURCE, COMPLIANCE, None, NOON) == LockRequest(mode=LockMode.COMPLIANCE, days=7, cool_off_hours=12)


def test_without_cooling_off_it_holds_at_once() -> None:
    asked = request(SOURCE, replace(COMPLIANCE, cool_off_hours=0), None, NOON)
    assert asked == LockRequest(mode=LockMode.COMPLIANCE, days=7, cool_off_hours=None)


@pytest.mark.parametrize(("age_days", "left"), [(0.9, 7), (1.0, 6), (1.1, 6), (6.0, 1), (6.9, 1)])
def test_an_older_point_is_locked_for_what_is_left_in_whole_days(age_days: float, left: int) -> None:
    assert days(completed_at=NOON - age_days * DAY) == left


@pytest.mark.parametrize("age_days", [7, 8, 400])
def test_a_point_older_than_the_lock_is_not_locked_any_more(age_days: int) -> None:
    asked = request(replace(SOURCE, completed_at=NOON - age_days * DAY), GOVERNANCE, None, NOON)
    assert asked == "the time of its lock is over"


def test_a_completion_in_the_future_of_our_clock_makes_no_longer_lock() -> None:
    assert days(completed_at=NOON + DAY) == 7


@pytest.mark.parametrize("state", sorted(set(State) - {State.COMPLETED}))
def test_only_what_is_complete_is_locked(state: State) -> None:
    assert request(replace(SOURCE, state=state), GOVERNANCE, None, NOON) == "it is not complete"


@pytest.mark.parametrize(
    ("on", "source", "copy"), [(LockOn.BOTH, True, True), (LockOn.SOURCE, True, False), (LockOn.COPIES, False, True)]
)
def test_the_policy_says_whether_source_copies_or_both_are_locked(on: LockOn, source: bool, copy: bool) -> None:
    lock = replace(GOVERNANCE, on=on)
    is_locked = [isinstance(request(one, lock, None, NOON), LockRequest) for one in (SOURCE, COPY)]
    assert is_locked == [source, copy]


@pytest.mark.parametrize("lock", [GOVERNANCE, COMPLIANCE])
@pytest.mark.parametrize("state", [LockState.COMPLIANCE, LockState.COOLING_OFF, "a word of next year"])
def test_a_lock_that_is_as_strict_is_left_as_it_is(state: str, lock: Lock) -> None:
    assert request(SOURCE, lock, held(state), NOON) == f"it is locked: {state}"


def test_a_governance_lock_is_not_begun_anew() -> None:
    assert isinstance(request(SOURCE, GOVERNANCE, held(LockState.GOVERNANCE), NOON), str)


@pytest.mark.parametrize("lock", [GOVERNANCE, COMPLIANCE])
def test_a_lock_that_has_run_its_time_is_not_renewed(lock: Lock) -> None:
    assert request(SOURCE, lock, held(LockState.EXPIRED, days_left=-1), NOON) == "its lock has run its time"


def test_a_governance_lock_becomes_a_compliance_lock_and_no_shorter() -> None:
    assert days(COMPLIANCE, held(LockState.GOVERNANCE, days_left=20.5)) == 21
    assert days(COMPLIANCE, held(LockState.GOVERNANCE, days_left=1)) == 7
