"""A person's word holds a point or releases it, and stays with who said it and why."""

from __future__ import annotations

from typing import Any

import pytest

from functions.core.errors import BadMessage, NoRecoveryPoint
from functions.core.holds import HeldBy, Hold, in_force
from functions.core.points import Status
from functions.core.slots import Slot
from functions.handlers import choose_recovery, delete_expired, hold_point
from tests.builders import AWAY, a_copy, a_key, a_point
from tests.handlers.world import CONTEXT, DAY, MINUTE, World, example

VOLUME = a_key()
WORDS = {"do": "hold", "because": "evidence for the insurer", "by": "Ines"}


def a_slot_of(world: World, *, days: int = 0) -> Slot:
    point = a_point(slot=Slot(resource=VOLUME, at=world.now - days * DAY))
    assert world.ledger.points.adopt(point)
    world.ledger.copies.owe(a_copy(point))
    return point.slot


def say(world: World, slot: Slot, /, **changes: Any) -> hold_point.PointHeld:
    event = {"resource": str(slot.resource), "slot": f"{slot.at:%Y-%m-%dT%H:%M:%SZ}"} | WORDS | changes
    return hold_point.hold_point(event, world.tools, world.now)


def held(world: World) -> list[HeldBy]:
    return [hold.by for hold in in_force(world.ledger.holds.of(VOLUME)).values()]


def test_a_held_point_is_held_with_who_and_why(world: World) -> None:
    slot = a_slot_of(world)
    said = say(world, slot)
    assert (said.is_held, said.because) == (True, "Ines: evidence for the insurer")
    assert [point.is_held for point in world.ledger.points.of(VOLUME)] == [True]
    [hold] = world.ledger.holds.of(VOLUME)
    assert hold == Hold(slot=slot, by=HeldBy.PERSON, because="Ines: evidence for the insurer", at=world.now)


def test_a_held_point_is_not_restored_unasked_until_it_is_released(away: World) -> None:
    older, newest = a_slot_of(away, days=1), a_slot_of(away)

    def chosen() -> Slot:
        event = {"input": {"resource": str(VOLUME)}, "execution": "run-1"}
        return choose_recovery.choose_recovery(event, away.tools, away.now).recovery.chosen.slot

    assert chosen() == newest
    say(away, newest)
    assert chosen() == older
    away.pass_time(MINUTE)
    assert not say(away, newest, do="release").is_held
    assert chosen() == newest


@pytest.mark.parametrize("by", list(HeldBy))
def test_a_person_releases_whatever_holds(world: World, by: HeldBy) -> None:
    slot = a_slot_of(world)
    world.ledger.holds.hold(Hold(slot=slot, by=by, because="unusual", at=world.now - DAY))
    assert held(world) == [by]
    assert not say(world, slot, do="release").is_held
    assert held(world) == []


def test_a_point_that_expired_is_kept_while_it_is_held(world: World) -> None:
    """Somebody saw the notice between the marking and the deletion."""
    key = world.a_protected()
    point = a_point(slot=Slot(resource=key, at=world.now))
    assert world.ledger.points.adopt(point)
    assert world.ledger.points.move(point, Status.EXPIRED, now=world.now)
    say(world, point.slot)
    [stays] = delete_expired.delete_expired(world.tools, world.now).stays
    assert "held" in stays
    assert world.requests("delete") == 0
    world.pass_time(MINUTE)
    say(world, point.slot, do="release")
    assert len(delete_expired.delete_expired(world.tools, world.now).deleted) == 1


def test_said_twice_is_said_once(world: World) -> None:
    """F30."""
    slot = a_slot_of(world)
    assert say(world, slot) == say(world, slot)
    assert len(world.ledger.holds.of(VOLUME)) == 1


def test_a_point_that_does_not_exist_is_refused(world: World) -> None:
    slot = a_slot_of(world)
    with pytest.raises(NoRecoveryPoint, match="from 2026-11-19T12:00:00Z"):
        say(world, Slot(resource=VOLUME, at=slot.at - DAY))
    assert world.ledger.holds.of(VOLUME) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"do": "delete"},
        {"do": None},
        {"because": ""},
        {"because": "   "},
        {"by": None},
        {"by": ["Ines"]},
        {"slot": "yesterday"},
        {"slot": "2026-11-20T12:00:00"},
        {"slot": 7},
        {"resource": "bucket/eu-central-1/x"},
        {"resource": None},
    ],
)
def test_what_is_no_hold_is_refused_with_an_example(world: World, changes: Any) -> None:
    slot = a_slot_of(world)
    with pytest.raises(BadMessage) as refused:
        say(world, slot, **changes)
    assert '"do": "release"' in refused.value.hint
    assert world.ledger.holds.of(VOLUME) == []


def test_the_release_of_the_example_is_written(world: World) -> None:
    """As Lambda calls it."""
    event = example("workflow_hold_point")
    key = a_key(id=event["resource"].rpartition("/")[2])
    point = a_point(slot=Slot(resource=key, at=world.now.fromisoformat(event["slot"])))
    assert world.ledger.points.adopt(point)
    assert world.ledger.copies.owe(a_copy(point, AWAY))
    world.ledger.holds.hold(Hold(slot=point.slot, by=HeldBy.VERDICT, because="unusual", at=world.now - DAY))
    answer = hold_point.handler(event, CONTEXT)
    assert answer["is_held"] is False
    assert answer["because"].startswith(event["by"])
