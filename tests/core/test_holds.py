"""What is held stays held until somebody who may releases it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from functions.core.holds import HeldBy, Hold, Release, in_force, released_by_policy
from tests.builders import NOON, a_slot, ago

SLOT = a_slot(ago(days=3))
HOLD = Hold(slot=SLOT, by=HeldBy.VERDICT, because="unusual", at=ago(days=2))
FORTNIGHT = timedelta(days=14)


def release(**ago_: float) -> Release:
    return Release(slot=SLOT, by="a person", because="looked at it", at=ago(**ago_))


def test_a_hold_stands_until_it_is_released() -> None:
    assert in_force([HOLD]) == {SLOT.key: HOLD}
    assert in_force([HOLD, release(days=1)]) == {}
    assert in_force([release(days=1), HOLD]) == {}


def test_a_release_from_before_ends_nothing() -> None:
    assert in_force([release(days=3), HOLD]) == {SLOT.key: HOLD}


def test_a_point_can_be_held_again() -> None:
    again = Hold(slot=SLOT, by=HeldBy.REHEARSAL, because="unfit", at=ago(hours=1))
    assert in_force([HOLD, release(days=1), again]) == {SLOT.key: again}


def test_of_two_holds_the_older_is_named_and_one_release_ends_both() -> None:
    again = Hold(slot=SLOT, by=HeldBy.VERDICT, because="unusual again", at=ago(days=1))
    assert in_force([again, HOLD])[SLOT.key] is HOLD
    assert in_force([again, HOLD, release(hours=1)]) == {}


@pytest.mark.parametrize("by", [HeldBy.REHEARSAL, HeldBy.PERSON])
def test_a_suspicion_does_not_hide_what_a_rehearsal_or_a_person_said_later(by: HeldBy) -> None:
    """Otherwise the policy would release after a time what was shown to be unfit."""
    stronger = Hold(slot=SLOT, by=by, because="unfit", at=ago(days=1))
    assert in_force([HOLD, stronger]) == in_force([stronger, HOLD]) == {SLOT.key: stronger}
    assert released_by_policy(in_force([HOLD, stronger])[SLOT.key], FORTNIGHT, HOLD.at + 9 * FORTNIGHT) is None


def test_a_suspicion_that_comes_later_does_not_take_the_place_of_a_persons_hold() -> None:
    person = Hold(slot=SLOT, by=HeldBy.PERSON, because="evidence for the insurer", at=ago(days=3))
    assert in_force([person, HOLD]) == {SLOT.key: person}


def test_points_are_held_each_for_itself() -> None:
    other = Hold(slot=a_slot(ago(days=1)), by=HeldBy.PERSON, because="keep", at=ago(hours=2))
    assert set(in_force([HOLD, other, release(days=1)])) == {other.slot.key}


def test_what_a_verdict_suspects_is_released_when_its_policy_says() -> None:
    assert released_by_policy(HOLD, FORTNIGHT, HOLD.at + FORTNIGHT - timedelta(seconds=1)) is None
    ended = released_by_policy(HOLD, FORTNIGHT, HOLD.at + FORTNIGHT)
    assert ended is not None
    assert (ended.slot, ended.by) == (SLOT, "policy")
    assert "14 days" in ended.because


@pytest.mark.parametrize("by", [HeldBy.REHEARSAL, HeldBy.PERSON])
def test_what_was_seen_or_said_is_never_released_by_time(by: HeldBy) -> None:
    hold = Hold(slot=SLOT, by=by, because="unfit", at=ago(days=300))
    assert released_by_policy(hold, FORTNIGHT, NOON) is None


def test_without_a_policy_for_it_a_hold_stands() -> None:
    assert released_by_policy(HOLD, None, NOON) is None
