"""What is rehearsed longest ago is rehearsed next, from copies in this Region, or nothing with a reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from functions.core.errors import BadMessage
from functions.core.evidence import Assertion, judge
from functions.core.points import Status
from functions.core.policies import DatabaseCheck
from functions.core.rehearsals import TIME_TO_LIVE, Rehearsal
from functions.core.resources import Kind, ResourceKey
from functions.core.slots import Slot
from functions.handlers import choose_rehearsal
from tests.builders import AWAY, FAR, HOME, a_copy, a_part, a_point, a_policy, some_settings
from tests.handlers.world import CONTEXT, DAY, HOUR, FakedTools, World, example

NOTHING = f"nothing is due, or no point that is has all of its copies in {AWAY}"
SCHEDULED = {"input": {}, "execution": "night-1"}


@pytest.fixture
def recovery(world: World) -> World:
    """The world as the functions in the copies' Region see it."""
    world.tools = FakedTools(world.aws, world.ledger, some_settings(a_policy(copy_to=(AWAY,))), region=AWAY)
    return world


def copied(world: World, key: ResourceKey, at: datetime | None = None, *, parts: int = 1, region: str = AWAY) -> Slot:
    """A complete point with complete copies in one Region."""
    slot = Slot(resource=key, at=at or world.now - HOUR)
    point = a_point(
        slot=slot,
        copy_to=(region,),
        parts=tuple(
            a_part(f"snap-{slot.key[:6]}-{n}", source_id=f"vol-{n}", consistent_at=slot.at) for n in range(parts)
        ),
    )
    assert world.ledger.points.adopt(point)
    for part in range(parts):
        assert world.ledger.copies.owe(a_copy(point, region, part=part))
    return slot


def rehearsed(world: World, slot: Slot, at: datetime, region: str = AWAY) -> None:
    rehearsal = Rehearsal(
        id=f"r{at:%H%M%S}",
        slot=slot,
        region=region,
        snapshot_ids=(),
        source_snapshot_ids=(),
        home_region=HOME,
        policy="gold",
        reason="",
        started_at=at,
        evidence=judge([Assertion(what="content", held=True, detail="")]),
    )
    assert world.ledger.stories.rehearsed(rehearsal, at)


def choose(world: World, event: dict[str, Any] = SCHEDULED) -> choose_rehearsal.RehearsalChosen:
    return choose_rehearsal.choose_rehearsal(event, world.tools, world.now)


def chosen(world: World, event: dict[str, Any] = SCHEDULED) -> Rehearsal:
    rehearsal = choose(world, event).rehearsal
    assert rehearsal is not None
    return rehearsal


def test_without_any_point_nothing_is_chosen_and_the_reason_is_said(recovery: World) -> None:
    recovery.a_protected()
    answer = choose(recovery)
    assert (answer.rehearsal, answer.reason) == (None, NOTHING)


def test_the_newest_whole_point_is_chosen_with_all_that_a_restore_needs(recovery: World) -> None:
    key = recovery.a_protected()
    copied(recovery, key, recovery.now - DAY)
    newest = copied(recovery, key, parts=2)
    rehearsal = chosen(recovery)
    assert (rehearsal.slot, rehearsal.region, rehearsal.home_region) == (newest, AWAY, HOME)
    assert rehearsal.source_snapshot_ids == tuple(part.snapshot_id for part in recovery.point(newest).parts)
    assert rehearsal.snapshot_ids == tuple(f"copy-of-{id}" for id in rehearsal.source_snapshot_ids)
    assert rehearsal.consistent_at == newest.at
    assert rehearsal.expires_at == recovery.now + TIME_TO_LIVE


def test_the_configuration_of_the_source_rides_from_the_snapshot_to_the_restore(recovery: World) -> None:
    """F71: what a restore needs and the snapshot does not carry."""
    slot = recovery.owe()
    recovery.minutes(15)
    rehearsal = chosen(recovery)
    assert (rehearsal.slot, rehearsal.configuration) == (slot, {"volume_type": "gp3", "of": slot.resource.id})


def test_what_was_never_rehearsed_comes_first_then_what_was_longest_ago(recovery: World) -> None:
    keys = [recovery.a_protected() for _ in range(3)]
    slots = [copied(recovery, key) for key in keys]
    rehearsed(recovery, slots[0], recovery.now - 8 * DAY)
    rehearsed(recovery, slots[1], recovery.now - 9 * DAY)
    for turn in (2, 1, 0):
        assert chosen(recovery).slot == slots[turn]
        rehearsed(recovery, slots[turn], recovery.now - HOUR)
    assert choose(recovery).reason == NOTHING


def test_what_was_rehearsed_within_its_policys_time_is_not_due(recovery: World) -> None:
    """Otherwise a fleet of one would be restored four times a day."""
    slot = copied(recovery, recovery.a_protected())
    rehearsed(recovery, slot, recovery.now - 6 * DAY)
    assert choose(recovery).rehearsal is None
    recovery.pass_time(DAY)
    assert chosen(recovery).slot == slot


def test_a_rehearsal_in_another_region_counts_there_and_not_here(recovery: World) -> None:
    slots = [copied(recovery, recovery.a_protected()) for _ in range(2)]
    rehearsed(recovery, slots[0], recovery.now - DAY)
    rehearsed(recovery, slots[1], recovery.now - HOUR, region=FAR)
    assert chosen(recovery).slot == slots[1]


def test_what_has_no_whole_copy_here_is_passed_over(recovery: World) -> None:
    """F45: half a set restores nothing."""
    half = recovery.a_protected(Kind.INSTANCE, volumes=2)
    slot = copied(recovery, half, parts=2)
    [first, _] = recovery.ledger.copies.of_slot(slot)
    recovery.ledger.copies.move(first, Status.GONE, now=recovery.now)
    copied(recovery, recovery.a_protected(), region=FAR)
    whole = copied(recovery, recovery.a_protected())
    assert chosen(recovery).slot == whole


def test_the_resource_a_person_asks_for_is_chosen_out_of_turn(recovery: World) -> None:
    slots = [copied(recovery, recovery.a_protected()) for _ in range(2)]
    rehearsed(recovery, slots[1], recovery.now - HOUR)
    wanted = {"input": {"resource": str(slots[1].resource)}, "execution": "by-hand"}
    assert (chosen(recovery, wanted).slot, choose(recovery, wanted).reason) == (
        slots[1],
        f"asked for {slots[1].resource}",
    )


def test_a_resource_that_was_deleted_can_still_be_asked_for(recovery: World) -> None:
    """The night it is needed, it is gone."""
    key = recovery.a_protected()
    slot = copied(recovery, key)
    known = recovery.ledger.resources.get(key)
    assert known is not None
    recovery.ledger.resources.gone(known, recovery.now)
    assert choose(recovery).rehearsal is None
    assert chosen(recovery, {"input": {"resource": str(key)}, "execution": "by-hand"}).slot == slot


def test_a_resource_without_a_point_is_said_by_its_name(recovery: World) -> None:
    answer = choose(recovery, {"input": {"resource": "database/eu-central-1/unknown"}, "execution": "by-hand"})
    assert answer.reason == f"no complete point of database/eu-central-1/unknown has all of its copies in {AWAY}"


@pytest.mark.parametrize("written", ["orders", "bucket/eu-central-1/x", "volume/eu-central-1/", 7, ["volume"], {}])
def test_something_that_is_no_resource_is_refused_with_an_example(recovery: World, written: object) -> None:
    with pytest.raises(BadMessage) as refused:
        choose(recovery, {"input": {"resource": written}, "execution": "by-hand"})
    assert '"resource": "volume/' in refused.value.hint


def test_a_state_that_is_tried_again_chooses_the_same_rehearsal(recovery: World) -> None:
    """F30: its name is the name of everything it makes."""
    copied(recovery, recovery.a_protected())
    first, again = chosen(recovery), chosen(recovery)
    other = chosen(recovery, SCHEDULED | {"execution": "night-2"})
    assert first.id == again.id != other.id


def test_the_checks_of_the_policy_ride_along(recovery: World) -> None:
    """F87: from the reviewed settings, never from a tag."""
    check = DatabaseCheck(database="shop", statement="select count(*) from orders", at_least=1)
    recovery.with_settings(replace(a_policy(copy_to=(AWAY,)), checks=(check,)))
    copied(recovery, recovery.a_protected(Kind.DATABASE))
    assert chosen(recovery).checks == (check,)


def test_the_requests_of_the_examples_are_answered(recovery: World) -> None:
    """As Lambda calls it."""
    answer = choose_rehearsal.handler(example("workflow_choose_rehearsal"), CONTEXT)
    assert answer == {"rehearsal": None, "reason": NOTHING}
    copied(recovery, recovery.a_protected())
    assert choose_rehearsal.handler(example("workflow_choose_rehearsal"), CONTEXT)["rehearsal"]["region"] == AWAY
    asked = choose_rehearsal.handler(example("workflow_choose_rehearsal_asked_for"), CONTEXT)
    assert "of database/eu-central-1/orders" in asked["reason"]
