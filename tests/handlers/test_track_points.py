"""What AWS answers now is true; a notice only says where to look sooner."""

from __future__ import annotations

import contextlib
import json
from datetime import timedelta
from typing import Any

import pytest

from functions.core.errors import AwsBusy, BadMessage, NotAllowed
from functions.core.permits import Operation, PoolName
from functions.core.points import ATTEMPTS, GRACE, Status
from functions.core.resources import Kind
from functions.core.slots import Slot
from functions.core.snapshots import State
from functions.handlers import track_points
from tests.builders import AWAY, FAR, HOME, a_policy
from tests.handlers.world import CONTEXT, DAY, GOLD, HOUR, MINUTE, World, example

CREATE_EBS = PoolName.of(Operation.CREATE, Kind.VOLUME, HOME)
COPY_EBS = PoolName.of(Operation.COPY, Kind.VOLUME, AWAY)


def taken(world: World, **of: Any) -> Slot:
    slot = world.owe(**of)
    world.take()
    return slot


def notices(*names: str, of: str = "") -> dict[str, Any]:
    """The example notices, each about the snapshot given."""
    record = example("sqs_notices")["Records"][0]
    told = [example(name) for name in names]
    for notice in told:
        if of:
            notice["detail"]["snapshot_id"] = f"arn:aws:ec2::{notice['region']}:snapshot/{of}"
    return {"Records": [record | {"body": json.dumps(notice)} for notice in told]}


def home_snapshot(world: World, slot: Slot) -> str:
    return world.point(slot).parts[0].snapshot_id


def test_a_point_moves_when_aws_says_so_and_not_before(world: World) -> None:
    slot = taken(world)
    world.track()
    assert world.point(slot).status is Status.CREATED
    world.pass_time(world.aws.snapshot_takes)
    world.track()
    point = world.point(slot)
    assert (point.status, point.completed_at) == (Status.COMPLETED, slot.at + world.aws.snapshot_takes)
    assert [part.state for part in point.parts] == [State.COMPLETED]
    assert point.parts[0].full_size_bytes == world.aws.size_gib * 2**30


def test_the_copies_are_owed_before_the_point_is_called_complete(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """F19: a death in between is mended by doing it again, never by forgetting the copies."""
    slot = taken(world)
    world.pass_time(world.aws.snapshot_takes)

    def dies(*_: object, **__: object) -> bool:
        raise AwsBusy("the ledger did not answer", hint="Again.")

    with monkeypatch.context() as patch:
        patch.setattr(world.ledger.points, "move", dies)
        with pytest.raises(AwsBusy):
            world.track()
    assert world.point(slot).status is Status.CREATED
    assert world.copy(slot).status is Status.OWED
    world.track()
    assert world.point(slot).status is Status.COMPLETED
    assert len(world.ledger.copies.of_slot(slot)) == 1


def test_a_run_is_closed_when_point_and_copies_are_complete(world: World) -> None:
    slot = taken(world)
    world.minutes(20)
    [run] = world.ledger.stories.runs(slot.resource)
    assert run.is_complete
    assert [copy.region for copy in run.copies] == [AWAY]
    assert list(world.ledger.points.open_in(HOME)) == []
    assert list(world.ledger.copies.open_in(AWAY)) == []
    for pool in (CREATE_EBS, COPY_EBS):
        assert world.ledger.permits.get(pool).holders == {}


def test_a_point_that_owes_no_copy_is_closed_at_once(world: World) -> None:
    slot = taken(world, policy=a_policy(version="0a1b2c3d"))
    world.pass_time(world.aws.snapshot_takes)
    assert world.track().closed == (f"{slot.resource} {slot.at:%Y-%m-%dT%H:%MZ}",)


def test_duplicated_notices_change_nothing(world: World) -> None:
    """F30, invariant 22."""
    slot = taken(world)
    world.pass_time(world.aws.snapshot_takes)
    event = notices("notice_ebs_snapshot_created", "notice_ebs_snapshot_created", of=home_snapshot(world, slot))
    first = track_points.track_points(event, world.tools, world.now)
    again = track_points.track_points(event, world.tools, world.now)
    assert (len(first.moved), again.moved, again.copies_ordered) == (1, (), ())
    assert world.point(slot).status is Status.COMPLETED
    assert len(world.copy_orders.messages) == 1


def test_a_notice_looks_only_where_it_came_from(world: World) -> None:
    slot = taken(world)
    world.pass_time(world.aws.snapshot_takes)
    id = home_snapshot(world, slot)
    said = track_points.track_points(notices("notice_ebs_snapshot_copied", of=id), world.tools, world.now)
    assert (said.looked_in, world.point(slot).status) == ((AWAY,), Status.CREATED)
    said = track_points.track_points(notices("notice_ebs_snapshot_created", of=id), world.tools, world.now)
    assert (said.looked_in, world.point(slot).status) == ((HOME,), Status.COMPLETED)


def test_a_notice_looks_only_at_what_it_names(world: World) -> None:
    """What a notice costs does not grow with the fleet that is under way."""
    slots = [taken(world), taken(world)]
    world.pass_time(world.aws.snapshot_takes)
    event = notices("notice_ebs_snapshot_created", of=home_snapshot(world, slots[0]))
    track_points.track_points(event, world.tools, world.now)
    assert [world.point(slot).status for slot in slots] == [Status.COMPLETED, Status.CREATED]


def test_a_forged_notice_completes_nothing(world: World) -> None:
    """F34, F31: it says succeeded while AWS says pending."""
    slot = taken(world)
    event = notices("notice_ebs_snapshot_created", of=home_snapshot(world, slot))
    track_points.track_points(event, world.tools, world.now)
    assert world.point(slot).status is Status.CREATED


def test_when_every_notice_is_lost_the_minutes_tick_finds_it(world: World) -> None:
    """F32."""
    slot = taken(world)
    world.pass_time(world.aws.snapshot_takes + MINUTE)
    world.track()
    assert world.point(slot).status is Status.COMPLETED


def test_a_notice_that_is_none_goes_back_to_the_queue(world: World) -> None:
    """F37."""
    with pytest.raises(BadMessage):
        track_points.track_points({"Records": [{"body": '{"source": "my.shop"}'}]}, world.tools, world.now)


def test_a_failed_snapshot_fails_its_point_and_returns_its_permit(world: World) -> None:
    """F41, F49, F61."""
    slot = taken(world)
    world.aws.fail(HOME, world.snapshots()[0].id, "internal failure")
    world.track()
    point = world.point(slot)
    assert point.status is Status.FAILED
    assert "internal failure" in point.errors[0]
    assert world.ledger.copies.of_slot(slot) == []
    assert world.ledger.permits.get(CREATE_EBS).holders == {}


def test_one_failed_volume_fails_the_whole_set(world: World) -> None:
    """F45: half a set is not crash-consistent."""
    slot = taken(world, resource=world.a_protected(Kind.INSTANCE, volumes=3))
    world.aws.fail(HOME, world.snapshots()[1].id)
    world.pass_time(world.aws.snapshot_takes)
    world.track()
    assert world.point(slot).status is Status.FAILED
    assert world.ledger.copies.of_slot(slot) == []


def test_what_ec2_does_not_show_yet_is_not_gone(world: World) -> None:
    """F04."""
    world.aws.visible_after = timedelta(minutes=4)
    slot = taken(world)
    world.track()
    assert world.point(slot).status is Status.CREATED
    world.minutes(6, sweeps=False)
    assert world.point(slot).status is Status.COMPLETED


def test_what_ec2_does_not_show_after_the_grace_is_gone(world: World) -> None:
    """F04, F56."""
    slot = taken(world)
    world.aws.vanish(HOME, world.snapshots()[0].id)
    world.pass_time(GRACE)
    world.track()
    assert world.point(slot).status is Status.GONE


class TestACopyThatFailsSilently:
    """F51: EBS answers 200, and the copy ends in an error because its key cannot be used."""

    @pytest.fixture
    def slot(self, world: World) -> Slot:
        world.aws.broken_keys.add(AWAY)
        return taken(world)

    def test_it_is_failed_by_its_own_regions_word(self, world: World, slot: Slot) -> None:
        world.minutes(7, sweeps=False)
        assert world.copy(slot).status is Status.FAILED
        assert "Given key ID is not accessible" in world.copy(slot).errors[0]
        assert world.ledger.permits.get(COPY_EBS).holders == {}

    def test_it_is_tried_again_by_the_sweep(self, world: World, slot: Slot) -> None:
        world.minutes(8, sweeps=False)
        world.aws.broken_keys.clear()
        world.minutes(22)
        assert (world.copy(slot).status, world.copy(slot).attempt) == (Status.COMPLETED, 2)
        assert world.ledger.stories.runs(slot.resource)[0].is_complete

    def test_it_is_told_when_its_attempts_are_used_up(self, world: World, slot: Slot) -> None:
        """F57."""
        world.minutes(75)
        assert (world.copy(slot).status, world.copy(slot).attempt) == (Status.FAILED, ATTEMPTS)
        [run] = world.ledger.stories.runs(slot.resource)
        assert not run.is_complete
        assert len(run.copies[0].errors) == ATTEMPTS


def test_the_copy_with_the_earliest_deadline_gets_the_permit_that_is_left(world: World) -> None:
    """The permits are few; the promise that breaks first goes first."""
    late = world.owe(policy=GOLD)
    world.minutes(1)
    early = world.owe(at=world.now - HOUR)
    for number in range(19):
        world.ledger.permits.take(COPY_EBS, f"another-{number}", world.now)
    world.take()
    world.pass_time(world.aws.snapshot_takes)
    said = world.track()
    assert said.copies_ordered == (f"{world.point(early).parts[0].snapshot_id} to {AWAY}",)
    world.ledger.permits.give_back(COPY_EBS, ["another-0"], world.now, succeeded=False)
    assert world.track().copies_ordered == (f"{world.point(late).parts[0].snapshot_id} to {AWAY}",)


def test_two_copies_of_one_source_to_one_region_do_not_run_at_once(world: World) -> None:
    """AWS would make the second wait for the first, and its permit would idle with it."""
    key = world.a_protected()
    for hours in (2, 1):
        taken(world, resource=key, at=world.now - hours * HOUR)
    world.pass_time(world.aws.snapshot_takes)
    assert len(world.track().copies_ordered) == 1
    world.copy_over()
    assert world.track().copies_ordered == ()
    world.pass_time(world.aws.copy_takes)
    assert len(world.track().copies_ordered) == 1


def test_a_permit_is_held_from_the_order_to_the_end_of_the_copy(world: World) -> None:
    slot = taken(world)
    world.pass_time(world.aws.snapshot_takes)
    world.track()
    assert len(world.ledger.permits.get(COPY_EBS).holders) == 1
    world.copy_over()
    world.track()
    assert len(world.ledger.permits.get(COPY_EBS).holders) == 1
    world.pass_time(world.aws.copy_takes)
    world.track()
    assert world.ledger.permits.get(COPY_EBS).holders == {}
    assert world.copy(slot).status is Status.COMPLETED


def test_a_region_that_does_not_answer_holds_up_no_other(world: World) -> None:
    """F24, F25: the home Region's points must move while a copy Region is down."""
    slot = taken(world, policy=a_policy(version="0a1b2c3d", copy_to=(AWAY, FAR)))
    world.with_settings(a_policy(version="0a1b2c3d", copy_to=(AWAY, FAR)))
    world.minutes(6, sweeps=False)
    assert len(world.snapshots(AWAY)) == len(world.snapshots(FAR)) == 1
    world.pass_time(world.aws.copy_takes)

    world.aws.regions_down.add(AWAY)
    another = world.owe()
    world.take()
    world.pass_time(world.aws.snapshot_takes)
    with contextlib.suppress(AwsBusy):  # it may be said, when the others have moved
        world.track()
    copies = {copy.region: copy.status for copy in world.ledger.copies.of_slot(slot)}
    assert world.point(another).status is Status.COMPLETED
    assert copies == {AWAY: Status.CREATED, FAR: Status.COMPLETED}


def test_the_changed_bytes_are_measured_against_the_last_complete_point(world: World) -> None:
    key = world.a_protected()
    first = taken(world, resource=key)
    world.minutes(15)
    world.pass_time(DAY)
    second = taken(world, resource=key)
    before, after = (world.point(slot).parts[0].snapshot_id for slot in (first, second))
    world.aws.changed_bytes[before, after] = 7 * 2**20
    world.minutes(15)
    assert world.point(first).parts[0].changed_bytes is None
    assert world.point(second).parts[0].changed_bytes == 7 * 2**20


def test_bytes_that_cannot_be_measured_stop_no_backup(world: World) -> None:
    key = world.a_protected()
    taken(world, resource=key)
    world.minutes(15)
    world.pass_time(DAY)
    second = taken(world, resource=key)
    world.pass_time(world.aws.snapshot_takes)
    world.aws.refuse_next("changed_bytes", NotAllowed("ebs:ListChangedBlocks", hint="Deploy again."))
    world.track()
    point = world.point(second)
    assert (point.status, point.parts[0].changed_bytes) == (Status.COMPLETED, None)
    assert any(line["message"] == "changed bytes stay unknown" for line in world.decisions())


def test_a_policy_that_is_gone_stops_no_point(world: World) -> None:
    slot = taken(world)
    world.with_settings(a_policy("silver", version="0a1b2c3d"))
    world.minutes(15)
    assert world.ledger.stories.runs(slot.resource)[0].is_complete


def test_the_tick_and_the_notices_of_the_examples_are_heeded(world: World) -> None:
    """As Lambda calls it."""
    assert track_points.handler(example("schedule_tick"), CONTEXT)["looked_in"] == [HOME, AWAY, FAR]
    assert track_points.handler(example("sqs_notices"), CONTEXT)["looked_in"] == [HOME, AWAY]
    assert [line["message"] for line in world.decisions()] == ["track_points"] * 2
