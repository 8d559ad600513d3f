from __future__ import annotations

from datetime import timedelta

import pytest

from functions.core.claims import Step, decide
from functions.core.points import ATTEMPTS, GRACE, Status
from tests.builders import NOON

SECOND = timedelta(seconds=1)
AGES = {
    "in the future": -timedelta(minutes=2),
    "just now": timedelta(0),
    "young": GRACE - SECOND,
    "old": GRACE,
    "forgotten": timedelta(days=3),
    "never": None,
}
YOUNG = {"in the future", "just now", "young"}
LEFT_ALONE = {Status.CREATED, Status.COMPLETED, Status.MISSED, Status.EXPIRED, Status.DELETED}


@pytest.mark.parametrize("attempt", range(1, ATTEMPTS + 2))
@pytest.mark.parametrize("age", AGES)
@pytest.mark.parametrize("status", [None, *Status])
def test_every_status_age_and_attempt_has_its_step(status: Status | None, age: str, attempt: int) -> None:
    span = AGES[age]
    claim = decide(status, None if span is None else NOON - span, attempt, NOON)
    if status in {None, Status.OWED}:
        expected = Step.CREATE
    elif status is Status.INTENT:
        expected = Step.WAIT if age in YOUNG else Step.LOOK_FIRST
    elif status in LEFT_ALONE:
        expected = Step.LEAVE
    else:
        expected = Step.CREATE if attempt < ATTEMPTS else Step.LEAVE
    assert claim.step is expected
    assert claim.reason


def test_grace_covers_the_function_the_lag_of_ec2_and_a_wrong_clock() -> None:
    assert timedelta(minutes=5) + timedelta(minutes=5) + timedelta(minutes=1) <= GRACE


def test_the_reason_names_the_age_of_the_claim_and_the_status_that_stays() -> None:
    assert "4 min" in decide(Status.INTENT, NOON - timedelta(minutes=4), 1, NOON).reason
    assert "COMPLETED" in decide(Status.COMPLETED, None, 1, NOON).reason
    assert "attempt 2 is FAILED" in decide(Status.FAILED, None, 2, NOON).reason


def test_nobody_creates_a_second_time_without_looking_while_a_claim_may_have_had_its_effect() -> None:
    for span in AGES.values():
        claim = decide(Status.INTENT, None if span is None else NOON - span, 1, NOON)
        assert claim.step is not Step.CREATE
