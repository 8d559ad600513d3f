"""What holds a point, and what released it: rows written once, and never lost to another writer."""

from __future__ import annotations

from datetime import timedelta

import pytest

from functions.core.holds import HeldBy, Hold, Release, in_force
from functions.core.resources import Kind
from functions.core.slots import Why
from functions.ledger.holds import LONGEST_REASON
from functions.ledger.ledger import Ledger
from tests.builders import NOON, a_key, a_point, a_slot, ago
from tests.ledger.dynamodb import items

HOLD = Hold(slot=a_slot(), by=HeldBy.VERDICT, because="unusual backup: it shrank", at=ago(hours=2))
RELEASE = Release(slot=a_slot(), by="person", because="Ines: it was us", at=ago(hours=1))


def test_what_was_said_is_read_as_it_was_said(ledger: Ledger) -> None:
    assert ledger.holds.hold(HOLD)
    assert ledger.holds.release(RELEASE)
    assert ledger.holds.of(a_key()) == [HOLD, RELEASE]


def test_said_again_it_is_written_once(ledger: Ledger) -> None:
    """F30."""
    assert ledger.holds.hold(HOLD)
    assert not ledger.holds.hold(HOLD)
    assert len(items()) == 1


def test_a_hold_and_a_release_of_the_same_instant_are_two_rows(ledger: Ledger) -> None:
    """Two Regions may write at once, and neither may overwrite the other."""
    ledger.holds.hold(HOLD)
    ledger.holds.release(Release(slot=HOLD.slot, by="policy", because="over", at=HOLD.at))
    assert len(ledger.holds.of(a_key())) == 2


def test_a_hold_of_another_resource_or_point_is_not_this_ones(ledger: Ledger) -> None:
    other = Hold(slot=a_slot(resource=a_key(Kind.DATABASE)), by=HeldBy.PERSON, because="keep", at=NOON)
    earlier = Hold(slot=a_slot(ago(days=1)), by=HeldBy.PERSON, because="keep", at=NOON)
    for hold in (HOLD, other, earlier):
        ledger.holds.hold(hold)
    assert ledger.holds.of(a_key(Kind.DATABASE)) == [other]
    assert set(in_force(ledger.holds.of(a_key()))) == {HOLD.slot.key, earlier.slot.key}


@pytest.mark.parametrize("by", list(HeldBy))
@pytest.mark.parametrize("why", list(Why))
def test_who_holds_which_sort_of_point_is_kept(ledger: Ledger, by: HeldBy, why: Why) -> None:
    hold = Hold(slot=a_slot(why=why), by=by, because="because", at=NOON)
    ledger.holds.hold(hold)
    assert ledger.holds.of(a_key()) == [hold]


def test_a_long_reason_is_cut_off(ledger: Ledger) -> None:
    """An item of DynamoDB has an end, and a reason may come from outside."""
    ledger.holds.hold(Hold(slot=a_slot(), by=HeldBy.REHEARSAL, because="x" * 500_000, at=NOON))
    [hold] = ledger.holds.of(a_key())
    assert hold.because == "x" * LONGEST_REASON


def test_a_held_point_is_known_as_held_until_it_is_released(ledger: Ledger) -> None:
    for at in (NOON, ago(days=1)):
        assert ledger.points.adopt(a_point(at))
    ledger.holds.hold(HOLD)
    assert [point.is_held for point in ledger.points.of(a_key())] == [False, True]
    ledger.holds.release(RELEASE)
    assert [point.is_held for point in ledger.points.of(a_key())] == [False, False]


def test_a_hold_outlives_every_other_row_of_its_point(ledger: Ledger) -> None:
    """It is never forgotten by time: only a release ends it."""
    ledger.holds.hold(HOLD)
    assert "forget_at" not in items()[0]
    assert in_force(ledger.holds.of(a_key()))[HOLD.slot.key].at == NOON - timedelta(hours=2)
