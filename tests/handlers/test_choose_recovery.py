"""The point that serves a request is found in this Region, with its reason, or nothing is begun."""

from __future__ import annotations

from typing import Any

import pytest

from functions.core.errors import BadMessage, NoRecoveryPoint, SnapshotGone
from functions.core.holds import HeldBy, Hold
from functions.core.recoveries import Newest, Recovery, Source
from functions.core.resources import Kind, ResourceKey
from functions.core.slots import Slot
from functions.handlers import choose_recovery
from tests.builders import AWAY, HOME, a_copy, a_key, a_point
from tests.handlers.recoveries import a_past_rehearsal
from tests.handlers.world import CONTEXT, DAY, HOUR, MINUTE, World, example

VOLUME = a_key()


def copied(world: World, key: ResourceKey = VOLUME, *, days: int = 0, **changes: Any) -> Slot:
    """A complete point of so many days ago with a complete copy away from home."""
    point = a_point(slot=Slot(resource=key, at=world.now - HOUR - days * DAY), **changes)
    assert world.ledger.points.adopt(point)
    assert world.ledger.copies.owe(a_copy(point))
    return point.slot


def chosen(world: World, execution: str = "run-1", **given: Any) -> Recovery:
    event = {"input": given or {"resource": str(VOLUME)}, "execution": execution}
    return choose_recovery.choose_recovery(event, world.tools, world.now).recovery


def test_the_newest_good_point_is_restored_from_its_copy_here(away: World) -> None:
    copied(away, days=1)
    newest = copied(away)
    recovery = chosen(away)
    assert (recovery.chosen.slot, recovery.chosen.source) == (newest, Source.COPY)
    assert (recovery.order.region, recovery.order.snapshot_ids) == (AWAY, recovery.chosen.snapshot_ids)
    assert recovery.order.recovery_id == recovery.id
    assert recovery.asked_at == away.now


def test_a_state_that_is_tried_again_chooses_for_the_same_recovery(away: World) -> None:
    """F30: its name is in the names of everything it makes."""
    copied(away)
    assert chosen(away, "run-1") == chosen(away, "run-1")
    assert chosen(away, "run-1").id != chosen(away, "run-2").id


def test_a_held_point_is_passed_over_and_said_so(away: World) -> None:
    older, newest = copied(away, days=1), copied(away)
    away.ledger.holds.hold(Hold(slot=newest, by=HeldBy.VERDICT, because="unusual", at=away.now))
    recovery = chosen(away)
    assert recovery.chosen.slot == older
    assert [(one.slot_at, "held" in one.reason) for one in recovery.chosen.passed_over] == [(newest.at, True)]


def test_a_point_that_a_rehearsal_proved_goes_first(away: World) -> None:
    older = copied(away, days=1)
    copied(away)
    away.ledger.stories.rehearsed(a_past_rehearsal(older), away.now)
    recovery = chosen(away)
    assert (recovery.chosen.slot, recovery.chosen.is_verified) == (older, True)


@pytest.mark.parametrize("held", [False, None])
def test_a_rehearsal_that_proved_nothing_moves_no_point_forward(away: World, held: bool | None) -> None:
    older, newest = copied(away, days=1), copied(away)
    away.ledger.stories.rehearsed(a_past_rehearsal(older, held=held), away.now)
    assert chosen(away).chosen.slot == newest


def test_a_point_of_a_policy_that_is_gone_can_still_be_chosen(away: World) -> None:
    newest = copied(away, policy="long-gone")
    assert chosen(away).chosen.slot == newest


def test_nothing_that_serves_is_said_with_what_was_seen_and_what_to_do(away: World) -> None:
    with pytest.raises(NoRecoveryPoint, match="the ledger has none") as refused:
        chosen(away)
    assert '"slot"' in refused.value.hint


def test_an_input_that_asks_for_nothing_known_is_refused(away: World) -> None:
    with pytest.raises(BadMessage):
        chosen(away, resource="bucket/eu-central-1/x")


def test_the_settings_of_the_region_and_of_the_request_make_the_order(away: World) -> None:
    away.with_changed_settings(recover_into={AWAY: {"volume": {"availability_zone": "eu-west-1b", "iops": 4000}}})
    slot = away.owe()
    away.minutes(15, sweeps=False)
    wanted = chosen(away, resource=str(slot.resource), target={"iops": 5000}).order.wanted
    saved = {"volume_type": "gp3", "of": slot.resource.id}
    assert wanted == saved | {"iops": 5000, "availability_zone": "eu-west-1b"}


class TestASnapshotById:
    """Somebody knows the snapshot and nothing else."""

    def test_its_own_point_is_chosen_although_there_is_a_newer_one(self, away: World) -> None:
        slot = away.owe()
        away.minutes(15, sweeps=False)
        away.owe(slot.resource)
        away.minutes(15, sweeps=False)
        recovery = chosen(away, snapshot=away.copy(slot).snapshot_id)
        assert recovery.chosen.slot == slot
        assert recovery.chosen.snapshot_ids == (away.copy(slot).snapshot_id,)
        assert "asked for" in recovery.chosen.reason

    @pytest.mark.parametrize("name", ["snap-0123456789abcdef0", "holdfast-0123", "ami-1", 7])
    def test_one_that_is_not_here_is_refused(self, away: World, name: object) -> None:
        with pytest.raises(SnapshotGone, match=AWAY):
            chosen(away, snapshot=name)

    def test_the_one_at_home_is_not_found_away(self, away: World) -> None:
        """Restoring it would read across Regions, or from another point than was meant."""
        slot = away.owe()
        away.minutes(15, sweeps=False)
        with pytest.raises(SnapshotGone):
            chosen(away, snapshot=away.point(slot).parts[0].snapshot_id)

    def test_a_snapshot_and_another_resource_are_two_requests(self, away: World) -> None:
        """Two volumes have points of the same minute: the wrong one would be restored without a word."""
        slot = away.owe()
        away.minutes(15, sweeps=False)
        with pytest.raises(BadMessage, match="resource: a snapshot is named"):
            chosen(away, snapshot=away.copy(slot).snapshot_id, resource=str(VOLUME))


class TestTheLogOfADatabase:
    """It is nearer to now than any point, and it is at home only."""

    ORDERS = a_key(Kind.DATABASE)

    def test_it_is_taken_at_home(self, world: World) -> None:
        copied(world, self.ORDERS)
        world.tools.logs[self.ORDERS] = Newest(at=world.now - 4 * MINUTE, source_id="orders")
        recovery = chosen(world, resource=str(self.ORDERS))
        assert (recovery.chosen.source, recovery.order.snapshot_ids) == (Source.POINT_IN_TIME, ())
        assert recovery.order.content_at == world.now - 4 * MINUTE

    def test_nobody_asks_for_it_where_it_is_not_wanted(self, world: World) -> None:
        copied(world, self.ORDERS)
        chosen(world, resource=str(self.ORDERS), point_in_time=False)
        copied(world)
        chosen(world)
        assert world.tools.asked_for_logs == []

    def test_nobody_asks_for_it_in_another_region(self, away: World) -> None:
        copied(away, self.ORDERS)
        assert chosen(away, resource=str(self.ORDERS)).chosen.source is Source.COPY
        assert away.tools.asked_for_logs == []


def test_at_home_the_points_own_snapshot_is_restored(world: World) -> None:
    slot = copied(world)
    recovery = chosen(world)
    assert (recovery.chosen.source, recovery.order.region) == (Source.HOME, HOME)
    assert recovery.order.snapshot_ids == tuple(part.snapshot_id for part in world.point(slot).parts)


def test_the_request_of_the_example_is_answered(away: World) -> None:
    """As Lambda calls it."""
    event = example("workflow_choose_recovery")
    copied(away, ResourceKey.parse(event["input"]["resource"], account=away.aws.account), days=1)
    answer = choose_recovery.handler(event, CONTEXT)
    assert answer["recovery"]["order"]["region"] == AWAY
    assert len(away.decisions()) == 1
