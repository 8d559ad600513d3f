"""What a rehearsal left behind goes; what is going on, and what is nobody's, stays."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from functions.core.errors import NotAllowed
from functions.core.resources import Kind
from functions.core.restores import LIVES_AT_MOST, REMOVED_WITHIN, Leftover, Restored, RestoreState
from functions.handlers import reap_rehearsals
from tests.builders import HOME, NOON, a_slot
from tests.handlers.recoveries import a_past_rehearsal
from tests.handlers.world import CONTEXT, HOUR, MINUTE, World, example

GOING_ON: dict[str, Any] = {"created_at": NOON - timedelta(minutes=30), "expires_at": NOON + timedelta(hours=11)}
OVER: dict[str, Any] = {"created_at": NOON - timedelta(hours=13), "expires_at": NOON - timedelta(hours=1)}


def leave(world: World, id: str = "vol-1", kind: Kind = Kind.VOLUME, **changes: Any) -> Leftover:
    """Something of a rehearsal is there."""
    leftover = Leftover(**{"id": id, "kind": kind, "rehearsal_id": "8c1e2f3a4b5d"} | OVER | changes)
    world.tools.restored.left.append(leftover)
    if not leftover.is_proof:
        world.tools.restored.made[id] = Restored(
            id=id, snapshot_id="", kind=kind, region=HOME, state=RestoreState.AVAILABLE
        )
    return leftover


def reap(world: World) -> reap_rehearsals.Reaped:
    return reap_rehearsals.reap_rehearsals(world.tools, world.now)


def test_without_leftovers_nothing_is_asked_and_nobody_is_woken(world: World) -> None:
    assert reap(world) == reap_rehearsals.Reaped(removed=(), left=(), going_on=0)
    assert world.topic.notices == []


def test_what_expired_is_removed_and_told_with_its_reason(world: World) -> None:
    """F73, invariant 28."""
    leave(world)
    [removed] = reap(world).removed
    assert removed == "vol-1 of rehearsal 8c1e2f3a4b5d: nobody may need it after 2026-11-20T11:00:00Z"
    assert world.tools.restored.removals == ["vol-1"]
    [(subject, said)] = world.topic.notices
    assert subject == f"Rehearsals left something behind in {HOME}"
    assert removed in said


def test_what_is_going_on_is_left_alone(world: World) -> None:
    leave(world, **GOING_ON)
    reaped = reap(world)
    assert (reaped.removed, reaped.going_on) == ((), 1)
    assert world.tools.restored.removals == []
    assert world.topic.notices == []


def test_what_belongs_to_a_rehearsal_that_ended_an_hour_ago_is_removed(world: World) -> None:
    """Its workflow was stopped between the record and the removal."""
    ended_at = world.now
    past = a_past_rehearsal(a_slot(), id="8c1e2f3a4b5d", region=HOME, verified_at=ended_at)
    world.ledger.stories.rehearsed(past, ended_at)
    leave(world, created_at=NOON - HOUR, expires_at=NOON + 11 * HOUR)
    world.pass_time(REMOVED_WITHIN - MINUTE)
    assert reap(world).going_on == 1
    world.pass_time(MINUTE)
    [removed] = reap(world).removed
    assert "its rehearsal ended at" in removed


def test_the_end_of_another_rehearsal_says_nothing(world: World) -> None:
    past = a_past_rehearsal(a_slot(), id="111111111111", region=HOME)
    world.ledger.stories.rehearsed(past, world.now)
    leave(world, **GOING_ON)
    world.pass_time(2 * HOUR)
    assert reap(world).going_on == 1


def test_what_lost_its_date_is_removed_after_a_day(world: World) -> None:
    leave(world, created_at=NOON - LIVES_AT_MOST + MINUTE, expires_at=None)
    assert reap(world).going_on == 1
    world.pass_time(MINUTE)
    assert len(reap(world).removed) == 1


def test_what_cannot_be_removed_is_said_and_keeps_nothing_else(world: World) -> None:
    leave(world, "vol-1")
    leave(world, "vol-2")
    world.tools.restored.stuck["vol-1"] = NotAllowed("ec2:DeleteVolume", hint="Deploy again.")
    reaped = reap(world)
    assert [one.split()[0] for one in reaped.removed] == ["vol-2"]
    [left] = reaped.left
    assert left.startswith("vol-1: ec2:DeleteVolume")
    assert "still there: vol-1" in world.topic.notices[0][1]
    assert "tried again" in world.topic.notices[0][1]


def test_the_proof_of_a_restored_volume_is_removed_as_a_snapshot(world: World) -> None:
    from functions.core.snapshots import State

    world.tools.restored.proofs["snap-1"] = State.COMPLETED
    leave(world, "snap-1", is_proof=True)
    assert len(reap(world).removed) == 1
    assert world.tools.restored.proofs == {}
    assert world.tools.restored.removals == []


def test_a_proof_that_cannot_be_removed_is_said(world: World) -> None:
    leave(world, "snap-1", is_proof=True)
    world.tools.restored.stuck["snap-1"] = NotAllowed("ec2:DeleteSnapshot", hint="Deploy again.")
    assert len(reap(world).left) == 1


def test_databases_are_looked_for_where_they_are_rehearsed(world: World) -> None:
    leave(world, "holdfast-rt-1", Kind.DATABASE)
    leave(world, "holdfast-rt-2", Kind.CLUSTER)
    assert reap(world).removed == ()
    world.tools.with_rehearsal_network()
    assert [one.split()[0] for one in reap(world).removed] == ["holdfast-rt-1", "holdfast-rt-2"]


def test_a_kind_that_cannot_be_listed_keeps_the_others_from_nothing(world: World) -> None:
    world.tools.with_rehearsal_network()
    world.tools.restored.unlisted = {Kind.VOLUME}
    leave(world, "holdfast-rt-1", Kind.DATABASE)
    reaped = reap(world)
    assert len(reaped.removed) == 1
    assert reaped.left[0].startswith("the volumes of rehearsals could not be listed")
    assert len(world.topic.notices) == 1


def test_what_is_still_being_removed_is_asked_again_in_the_next_round(world: World) -> None:
    """F30: a database takes minutes to go."""
    leave(world)
    reap(world)
    world.pass_time(15 * MINUTE)
    reap(world)
    assert world.tools.restored.removals == ["vol-1", "vol-1"]


def test_the_tick_of_the_example_is_carried_out(world: World) -> None:
    """As Lambda calls it."""
    leave(world)
    assert len(reap_rehearsals.handler(example("schedule_tick"), CONTEXT)["removed"]) == 1
