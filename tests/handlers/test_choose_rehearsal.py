"""What is rehearsed longest ago is rehearsed next, from copies in this Region, or nothing with a reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from functions.core.errors import BadMessage
from functions.core.evidence import Assertion, judge
from functions.core.holds import HeldBy, Hold
from functions.core.points import Status
from functions.core.policies import DatabaseCheck
from functions.core.rehearsals import TIME_TO_LIVE, Rehearsal
from functions.core.resources import Kind, ResourceKey
from functions.core.row_counts import MOST_EARLIER
from functions.core.slots import Slot
from functions.handlers import choose_rehearsal
from tests.builders import AWAY, FAR, HOME, a_copy, a_part, a_point, a_policy, some_settings
from tests.handlers.world import CONTEXT, DAY, HOUR, FakedTools, World, example

NOTHING = f"nothing is due, or no point that is can be restored in {AWAY}"
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
    assert answer.reason == f"no complete point of database/eu-central-1/unknown can be restored in {AWAY}"


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


class TestASuspiciousPoint:
    """A verdict holds it, and a rehearsal can tell whether it is right."""

    def held(self, world: World, slot: Slot, by: HeldBy = HeldBy.VERDICT) -> None:
        world.ledger.holds.hold(Hold(slot=slot, by=by, because="unusual backup: it shrank", at=world.now))

    def test_it_is_rehearsed_before_everything_that_is_due(self, recovery: World) -> None:
        copied(recovery, recovery.a_protected())
        suspicious = copied(recovery, recovery.a_protected())
        rehearsed(recovery, copied(recovery, suspicious.resource, recovery.now - DAY), recovery.now - HOUR)
        self.held(recovery, suspicious)
        answer = choose(recovery)
        assert answer.rehearsal is not None
        assert answer.rehearsal.slot == suspicious
        assert answer.reason == "its point is suspicious: unusual backup: it shrank"

    def test_it_is_rehearsed_itself_although_there_is_a_newer_one(self, recovery: World) -> None:
        """Another point tells nothing about it."""
        key = recovery.a_protected()
        suspicious = copied(recovery, key, recovery.now - 2 * HOUR)
        copied(recovery, key)
        self.held(recovery, suspicious)
        assert chosen(recovery).slot == suspicious

    def test_it_is_rehearsed_once_and_then_others_have_their_turn(self, recovery: World) -> None:
        other = copied(recovery, recovery.a_protected())
        suspicious = copied(recovery, recovery.a_protected())
        self.held(recovery, suspicious)
        assert chosen(recovery).slot == suspicious
        rehearsed(recovery, suspicious, recovery.now)
        assert chosen(recovery).slot == other

    def test_one_that_cannot_be_restored_here_keeps_no_other_from_its_turn(self, recovery: World) -> None:
        suspicious = copied(recovery, recovery.a_protected(), region=FAR)
        self.held(recovery, suspicious)
        other = copied(recovery, recovery.a_protected())
        assert chosen(recovery).slot == other

    @pytest.mark.parametrize("by", [HeldBy.REHEARSAL, HeldBy.PERSON])
    def test_one_of_which_enough_is_known_is_not_rehearsed_unasked(self, recovery: World, by: HeldBy) -> None:
        key = recovery.a_protected()
        older, newest = copied(recovery, key, recovery.now - DAY), copied(recovery, key)
        self.held(recovery, newest, by)
        assert chosen(recovery).slot == older

    @pytest.mark.parametrize("by", list(HeldBy))
    def test_a_person_may_name_any_point(self, recovery: World, by: HeldBy) -> None:
        key = recovery.a_protected()
        older = copied(recovery, key, recovery.now - DAY)
        copied(recovery, key)
        self.held(recovery, older, by)
        wanted = {"resource": str(key), "slot": f"{older.at:%Y-%m-%dT%H:%M:%SZ}"}
        assert chosen(recovery, {"input": wanted, "execution": "by-hand"}).slot == older


class TestWhatEarlierRehearsalsCounted:
    """It rides along, so that the next one can tell what is usual."""

    def counted(self, world: World, slot: Slot, rows: int, *, held: bool = True, **changes: Any) -> None:
        past = Rehearsal(
            id=f"c{slot.at:%d%H%M}{rows}",
            slot=slot,
            region=AWAY,
            snapshot_ids=(),
            source_snapshot_ids=(),
            home_region=HOME,
            policy="gold",
            reason="",
            started_at=slot.at + HOUR,
            verified_at=slot.at + HOUR,
            row_counts={"shop.public.orders": rows},
            evidence=judge([Assertion(what="rows", held=held, detail="")]),
        )
        assert world.ledger.stories.rehearsed(replace(past, **changes), world.now)

    def test_the_newest_few_come_along_oldest_first(self, recovery: World) -> None:
        key = recovery.a_protected(Kind.DATABASE)
        copied(recovery, key)
        for days in range(20, 12, -1):
            self.counted(recovery, Slot(resource=key, at=recovery.now - days * DAY), 100 - days)
        learned = chosen(recovery).learned
        assert [one.rows["shop.public.orders"] for one in learned] == [83, 84, 85, 86, 87]
        assert len(learned) == MOST_EARLIER
        assert learned[-1].at == recovery.now - 13 * DAY

    def test_an_unfit_one_counts_as_well(self, recovery: World) -> None:
        """A table that was dropped on purpose would be missed for ever."""
        key = recovery.a_protected(Kind.DATABASE)
        copied(recovery, key)
        self.counted(recovery, Slot(resource=key, at=recovery.now - 9 * DAY), 1, held=False)
        assert [one.rows["shop.public.orders"] for one in chosen(recovery).learned] == [1]

    def test_a_later_point_and_one_that_counted_nothing_say_nothing(self, recovery: World) -> None:
        key = recovery.a_protected(Kind.DATABASE)
        slot = copied(recovery, key)
        self.counted(recovery, Slot(resource=key, at=slot.at + HOUR), 7)
        self.counted(recovery, Slot(resource=key, at=slot.at - 9 * DAY), 8, row_counts={})
        wanted = {"resource": str(key), "slot": f"{slot.at:%Y-%m-%dT%H:%M:%SZ}"}
        assert chosen(recovery, {"input": wanted, "execution": "by-hand"}).learned == ()

    def test_the_instant_of_the_content_and_the_estimates_come_along(self, recovery: World) -> None:
        key = recovery.a_protected(Kind.DATABASE)
        copied(recovery, key)
        at = recovery.now - 9 * DAY
        told = {"consistent_at": at + HOUR, "estimated_tables": ("shop.public.orders",)}
        self.counted(recovery, Slot(resource=key, at=at), 7, **told)
        [one] = chosen(recovery).learned
        assert (one.at, one.estimated) == (at + HOUR, ("shop.public.orders",))


def test_at_home_a_point_is_rehearsed_from_its_own_snapshots(world: World) -> None:
    """Where nothing is copied."""
    slot = copied(world, world.a_protected(), parts=2)
    rehearsal = chosen(world)
    assert (rehearsal.slot, rehearsal.region, rehearsal.home_region) == (slot, HOME, HOME)
    assert rehearsal.snapshot_ids == rehearsal.source_snapshot_ids


def test_how_long_the_copy_took_rides_along(recovery: World) -> None:
    """It is a stage of the recovery time; at home there is none."""
    copied(recovery, recovery.a_protected(), parts=2)
    assert chosen(recovery).copy_seconds == 600
    recovery.in_region(HOME)
    assert chosen(recovery).copy_seconds is None


def test_which_volume_each_snapshot_is_of_rides_along(recovery: World) -> None:
    slot = copied(recovery, recovery.a_protected(Kind.INSTANCE, volumes=2), parts=2)
    parts = recovery.point(slot).parts
    assert chosen(recovery).source_ids == {part.snapshot_id: part.source_id for part in parts}


def test_the_requests_of_the_examples_are_answered(recovery: World) -> None:
    """As Lambda calls it."""
    answer = choose_rehearsal.handler(example("workflow_choose_rehearsal"), CONTEXT)
    assert answer == {"rehearsal": None, "reason": NOTHING}
    copied(recovery, recovery.a_protected())
    assert choose_rehearsal.handler(example("workflow_choose_rehearsal"), CONTEXT)["rehearsal"]["region"] == AWAY
    asked = choose_rehearsal.handler(example("workflow_choose_rehearsal_asked_for"), CONTEXT)
    assert "of database/eu-central-1/orders" in asked["reason"]
