"""Whatever fell between two steps is picked up again."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import timedelta

import pytest

from functions.core import labels
from functions.core.errors import AwsBusy
from functions.core.permits import Operation, PoolName
from functions.core.points import ATTEMPTS, Status
from functions.core.resources import Kind, ResourceKey
from functions.core.slots import Slot
from functions.core.snapshots import Snapshot, State
from functions.handlers import delete_expired, settling, sweep
from functions.ledger.surplus import Stage
from tests.builders import AWAY, FAR, HOME, a_policy
from tests.handlers.world import CONTEXT, DAY, HOUR, MINUTE, World, example
from tests.ledger.dynamodb import forget, forget_everything

COPY_EBS = PoolName.of(Operation.COPY, Kind.VOLUME, AWAY)
CREATE_EBS = PoolName.of(Operation.CREATE, Kind.VOLUME, HOME)


def done(world: World, **of: object) -> Slot:
    """A slot whose point and copy are complete and whose run is closed."""
    slot = world.owe(**of)  # type: ignore[arg-type]
    world.minutes(14)
    assert len(world.ledger.stories.runs(slot.resource)) >= 1
    return slot


def orphan(world: World, slot: Slot, **changes: object) -> Snapshot:
    """A snapshot AWS has that carries the slot, as a create whose record was lost leaves it."""
    order = settling.snapshot_order(world.point(slot))
    snapshot = Snapshot(
        id=world.aws.new_id(),
        region=HOME,
        state=State.PENDING,
        source_id=slot.resource.id,
        started_at=world.now,
        size_gib=10,
        tags=labels.for_snapshot(order),
    )
    return world.aws.hold(replace(snapshot, **changes), slot.resource.kind, timedelta(minutes=5))  # type: ignore[arg-type]


class TestTheWholeTableIsLost:
    """F95, invariant 30: the ledger is rebuilt from nothing but the tags."""

    @pytest.mark.parametrize("kind", Kind)
    def test_points_and_copies_are_rebuilt(self, world: World, kind: Kind) -> None:
        slot = done(world, resource=world.a_protected(kind, volumes=2))
        point, copies = world.point(slot), world.ledger.copies.of_slot(slot)
        world.pass_time(10 * DAY)
        forget_everything()
        swept = world.sweep()
        assert len(swept.adopted) == 1 + len(copies)
        world.minutes(3)
        again, copies_again = world.point(slot), world.ledger.copies.of_slot(slot)
        assert again.status is Status.COMPLETED
        assert {part.snapshot_id for part in again.parts} == {part.snapshot_id for part in point.parts}
        assert (again.policy, again.copy_to, again.deadline) == (point.policy, point.copy_to, point.deadline)
        assert [(c.region, c.snapshot_id, c.source_id, c.status) for c in copies_again] == [
            (c.region, c.snapshot_id, c.source_id, c.status) for c in copies
        ]
        assert len(world.ledger.stories.runs(slot.resource)) == 1

    def test_nothing_is_taken_or_copied_a_second_time(self, world: World) -> None:
        """Invariant 25."""
        for _ in range(3):
            world.owe()
        world.minutes(14)
        before = (len(world.snapshots()), len(world.snapshots(AWAY)))
        forget_everything()
        world.minutes(46)
        assert (len(world.snapshots()), len(world.snapshots(AWAY))) == before == (3, 3)

    def test_a_missing_copy_is_owed_again(self, world: World) -> None:
        """F56."""
        slot = done(world)
        world.aws.vanish(AWAY, str(world.copy(slot).snapshot_id))
        forget_everything()
        world.minutes(30)
        assert world.copy(slot).status is Status.COMPLETED
        assert len(world.snapshots(AWAY)) == 1

    def test_a_failed_snapshot_of_long_ago_is_not_begun_again(self, world: World) -> None:
        """What AWS failed a month ago is history; a new snapshot would show today's content under an old slot."""
        slot = world.owe()
        world.take()
        [failed] = world.snapshots()
        world.aws.fail(HOME, failed.id)
        world.minutes(29)
        assert world.point(slot).status is Status.COMPLETED
        good = world.point(slot).parts[0].snapshot_id
        world.aws.vanish(HOME, good)
        forget_everything()
        world.pass_time(30 * DAY)
        taken = world.requests("take")
        world.minutes(46)
        assert world.requests("take") == taken

    def test_copies_are_adopted_before_their_points(self, world: World) -> None:
        """F95, invariant 2: a point whose copies nobody knows yet would owe them once more."""
        slot = done(world)
        copy, [part] = world.copy(slot), world.point(slot).parts
        forget_everything()
        assert world.sweep().adopted == (f"{copy.snapshot_id} in {AWAY}", f"{part.snapshot_id} in {HOME}")

    def test_a_point_waits_for_the_region_of_its_copies(self, world: World) -> None:
        """F25, invariant 2: as long as nobody knows whether it has copies, it must not owe any."""
        slot = done(world)
        forget_everything()
        world.aws.regions_down.add(AWAY)
        with pytest.raises(AwsBusy):
            world.sweep()
        assert world.ledger.points.get(slot) is None
        world.aws.regions_down.clear()
        world.minutes(30)
        assert (world.point(slot).status, len(world.snapshots(AWAY))) == (Status.COMPLETED, 1)

    def test_of_two_snapshots_of_a_volume_one_is_the_point_and_the_other_surplus(self, world: World) -> None:
        """F44, invariants 15 and 25: the list of surplus was lost with the rest."""
        slot = done(world)
        [recorded] = world.snapshots()
        duplicate = orphan(world, slot)
        forget_everything()
        world.minutes(46)
        assert [part.snapshot_id for part in world.point(slot).parts] == [recorded.id]
        assert [surplus.snapshot_id for surplus in world.ledger.surplus.at(Stage.FOUND)] == [duplicate.id]

    def test_a_mark_without_a_ledger_that_says_so_deletes_nothing(self, world: World) -> None:
        """Invariant 5: what was on its way out is a point again, and the policy decides about it anew."""
        slot = done(world)
        for region, id in [(HOME, world.point(slot).parts[0].snapshot_id), (AWAY, str(world.copy(slot).snapshot_id))]:
            world.aws.snapshots(Kind.VOLUME, region).mark_expired(id)
        forget_everything()
        world.minutes(16)
        assert delete_expired.delete_expired(world.tools, world.now).deleted == ()
        assert (world.point(slot).status, len(world.snapshots())) == (Status.COMPLETED, 1)


def test_a_snapshot_that_the_ledger_does_not_know_is_adopted(world: World) -> None:
    """F43, invariant 24."""
    slot = world.owe()
    world.take()
    forget_everything()
    swept = world.sweep()
    assert swept.adopted == (f"{world.snapshots()[0].id} in {HOME}",)
    assert (world.point(slot).status, world.point(slot).copy_to) == (Status.CREATED, (AWAY,))
    assert world.sweep().adopted == ()


def test_an_order_that_got_lost_is_sent_again(world: World) -> None:
    """F20, F32, invariant 23."""
    slot = world.owe()
    world.snapshot_orders.drop()
    assert world.track().points_ordered == (str(slot.resource),)
    world.snapshot_orders.drop()
    assert (world.sweep().permits_returned, world.snapshot_orders.messages) == (0, [])
    world.pass_time(sweep.LOST_AFTER)
    assert world.sweep().permits_returned == 1
    world.take()
    assert world.point(slot).status is Status.CREATED


def test_a_copy_order_that_got_lost_gets_its_permit_anew(world: World) -> None:
    """F20."""
    slot = world.owe()
    world.take()
    world.pass_time(world.aws.snapshot_takes)
    world.track()
    world.copy_orders.drop()
    world.minutes(60)
    assert world.copy(slot).status is Status.COMPLETED


def test_a_claim_on_a_copy_that_nobody_finished_is_ordered_again(world: World) -> None:
    """F19."""
    slot = world.owe()
    world.take()
    world.pass_time(world.aws.snapshot_takes)
    world.track()
    world.ledger.copies.claim(world.copy(slot), world.now)
    world.copy_orders.drop()
    world.minutes(45)
    assert world.copy(slot).status is Status.COMPLETED
    assert len(world.snapshots(AWAY)) == 1


def test_permits_that_nobody_uses_are_returned(world: World) -> None:
    """F19: whoever should have returned them died."""
    world.ledger.permits.take(CREATE_EBS, "a-dead-one", world.now)
    world.ledger.permits.take(COPY_EBS, "another", world.now)
    assert world.sweep().permits_returned == 0
    world.pass_time(sweep.LOST_AFTER)
    slot = world.owe()
    world.take()
    assert world.sweep().permits_returned == 2
    assert set(world.ledger.permits.get(CREATE_EBS).holders) == {slot.key}


def test_a_permit_of_work_under_way_stays_however_long_it_takes(world: World) -> None:
    """F40."""
    world.aws.snapshot_takes = timedelta(hours=9)
    slot = world.owe()
    world.take()
    world.pass_time(8 * HOUR)
    assert world.sweep().permits_returned == 0
    assert slot.key in world.ledger.permits.get(CREATE_EBS).holders


def test_a_run_that_was_left_open_is_closed(world: World) -> None:
    """F19: the tracker died between the last move and the closing."""
    slot = world.owe(policy=a_policy(version="0a1b2c3d"))
    world.take()
    world.ledger.points.move(world.point(slot), Status.COMPLETED, now=world.now)
    assert world.sweep().closed == (str(slot.resource),)
    assert len(world.ledger.stories.runs(slot.resource)) == 1


def test_a_duplicate_is_surplus_once_the_recorded_one_is_complete(world: World) -> None:
    """F44: before that, nobody knows which of them will live."""
    slot = world.owe()
    world.take()
    duplicate = orphan(world, slot)
    assert world.sweep().surplus == ()
    world.minutes(14)
    assert world.sweep().surplus == (f"{duplicate.id} in {HOME}",)
    assert [surplus.snapshot_id for surplus in world.ledger.surplus.at(Stage.FOUND)] == [duplicate.id]


def test_the_recorded_one_is_never_surplus(world: World) -> None:
    slot = done(world)
    orphan(world, slot)
    world.sweep()
    recorded = {part.snapshot_id for part in world.point(slot).parts} | {str(world.copy(slot).snapshot_id)}
    assert recorded.isdisjoint(surplus.snapshot_id for surplus in world.ledger.surplus.at(Stage.FOUND))


def test_a_duplicate_copy_is_surplus(world: World) -> None:
    """F44, invariant 25."""
    slot = done(world)
    copy = world.copy(slot)
    twin = replace(world.aws.held[AWAY, str(copy.snapshot_id)].snapshot, id="snap-twin")
    world.aws.hold(twin, Kind.VOLUME, timedelta(0))
    assert world.sweep().surplus == (f"snap-twin in {AWAY}",)
    [surplus] = world.ledger.surplus.at(Stage.FOUND)
    assert (surplus.region, surplus.kind) == (AWAY, Kind.VOLUME)


class TestWhatAFailedAttemptLeavesBehind:
    """F42, invariant 24."""

    def a_set_with_a_failed_member(self, world: World, resource: ResourceKey) -> tuple[Slot, set[str]]:
        slot = world.owe(resource)
        world.take()
        members = {part.snapshot_id for part in world.point(slot).parts}
        world.aws.fail(HOME, min(members))
        world.track()
        assert world.point(slot).status is Status.FAILED
        return slot, members

    def surplus(self, world: World) -> set[str]:
        return {surplus.snapshot_id for surplus in world.ledger.surplus.at(Stage.FOUND)}

    def test_it_is_surplus_once_the_next_attempt_begins(self, world: World) -> None:
        resource = world.a_protected(Kind.INSTANCE, volumes=2)
        done(world, resource=resource, at=world.now - HOUR)
        slot, members = self.a_set_with_a_failed_member(world, resource)
        world.sweep()
        assert (world.point(slot).status, world.point(slot).attempt) == (Status.OWED, 2)
        assert self.surplus(world) == members

    def test_half_a_set_is_kept_while_the_resource_has_nothing_better(self, world: World) -> None:
        slot, members = self.a_set_with_a_failed_member(world, world.a_protected(Kind.INSTANCE, volumes=2))
        world.sweep()
        assert self.surplus(world) == set()
        world.minutes(46)
        assert world.point(slot).status is Status.COMPLETED
        assert self.surplus(world) == members

    def test_what_failed_for_good_is_surplus_once_the_resource_has_a_whole_point(self, world: World) -> None:
        resource = world.a_protected()
        slot = world.owe(resource)
        for _ in range(ATTEMPTS):
            world.take()
            world.aws.fail(HOME, world.point(slot).parts[0].snapshot_id)
            world.track()
            world.sweep()
        failed = {snapshot.id for snapshot in world.snapshots()}
        assert (world.point(slot).status, len(failed), self.surplus(world)) == (Status.FAILED, ATTEMPTS, set())
        done(world, resource=resource, at=slot.at + HOUR)
        world.sweep()
        assert self.surplus(world) == failed

    def test_a_copy_that_failed_for_good_is_surplus(self, world: World) -> None:
        world.aws.broken_keys.add(AWAY)
        slot = world.owe()
        world.minutes(120)
        copy = world.copy(slot)
        assert (copy.status, copy.attempt) == (Status.FAILED, ATTEMPTS)
        assert self.surplus(world) == {snapshot.id for snapshot in world.snapshots(AWAY)}
        assert len(self.surplus(world)) == ATTEMPTS


class TestAClockThatWasAhead:
    """F21: what it wrote must not hold anybody up until its time has come."""

    def test_a_claim_of_its_is_looked_into_once_grace_is_over(self, world: World) -> None:
        slot = world.owe()
        world.ledger.points.claim(world.point(slot), world.now + 36 * HOUR)
        begun = orphan(world, slot)
        world.snapshot_orders.drop()
        assert world.sweep().reordered == ()
        assert world.point(slot).claimed_at == world.now
        world.minutes(46)
        assert [part.snapshot_id for part in world.point(slot).parts] == [begun.id]
        assert (world.point(slot).status, world.requests("take")) == (Status.COMPLETED, 0)

    def test_a_claim_of_its_on_a_copy_too(self, world: World) -> None:
        slot = world.owe()
        world.take()
        world.pass_time(world.aws.snapshot_takes)
        world.track()
        world.ledger.copies.claim(world.copy(slot), world.now + 36 * HOUR)
        world.copy_orders.drop()
        world.minutes(46)
        assert (world.copy(slot).status, len(world.snapshots(AWAY))) == (Status.COMPLETED, 1)

    def test_nobody_looks_while_the_holder_of_such_a_claim_may_be_creating(self, world: World) -> None:
        """Invariant 1: it was made by a clock that is wrong, and maybe a second ago."""
        slot = world.owe()
        world.ledger.points.claim(world.point(slot), world.now + 36 * HOUR)
        world.sweep()
        world.take()
        assert (world.requests("find"), world.requests("take")) == (0, 0)

    def test_a_permit_of_its_that_nobody_uses_is_returned(self, world: World) -> None:
        world.ledger.permits.take(CREATE_EBS, "a-dead-one", world.now + 36 * HOUR)
        assert world.sweep().permits_returned == 1

    def test_a_sweep_of_its_hides_nothing_from_the_next(self, world: World) -> None:
        slot = world.owe()
        world.take()
        forget(slot)
        world.ledger.since.did("sweep", world.now + 36 * HOUR)
        assert len(world.sweep().adopted) == 1


def test_a_snapshot_whose_tags_were_changed_is_told_and_left_alone(world: World) -> None:
    """F92, invariant 5: not ours to adopt, not ours to delete."""
    slot = done(world)
    forged = orphan(world, slot)
    held = world.aws.held[HOME, forged.id]
    held.snapshot = replace(held.snapshot, tags={**held.snapshot.tags, labels.SLOT: "0" * 24})
    swept = world.sweep()
    assert swept.not_ours == (f"{forged.id} in {HOME}",)
    assert list(world.ledger.surplus.at(Stage.FOUND)) == []


def test_what_is_overdue_is_counted_and_named(world: World) -> None:
    """Invariant 29: no work is older than its deadline without an alarm."""
    slot = world.owe(at=world.now - 2 * DAY)
    world.aws.snapshot_takes = 3 * DAY
    world.take()
    swept = world.sweep()
    assert swept.overdue == (f"{slot.resource} {slot.at:%Y-%m-%dT%H:%MZ}",)
    assert world.health.numbers["Overdue"] == [1]


def test_a_copy_that_stays_owed_makes_its_point_overdue(world: World) -> None:
    """F25: the source is there, the promise is not kept."""
    slot = world.owe(at=world.now - 2 * DAY)
    world.aws.limits[AWAY, "copy"] = 0
    world.minutes(16)
    assert world.point(slot).status is Status.COMPLETED
    assert len(world.sweep().overdue) == 1


def test_an_old_snapshot_is_compared_once_a_day(world: World) -> None:
    """Of a fleet with years of points, only the young ones are read against the ledger every quarter of an hour."""
    slot = done(world)
    world.sweep()
    world.pass_time(7 * HOUR)
    forget(slot)
    assert world.sweep().adopted == ()
    world.pass_time(17 * HOUR)
    assert len(world.sweep().adopted) == 1


def test_the_sweep_of_a_healthy_fleet_changes_nothing(world: World) -> None:
    """Invariant 22."""
    for kind in Kind:
        world.owe(world.a_protected(kind))
    world.minutes(16)
    swept = world.sweep()
    assert (swept.adopted, swept.reordered, swept.surplus, swept.not_ours, swept.closed, swept.overdue) == ((),) * 6
    assert swept.permits_returned == 0


def test_a_region_that_does_not_answer_holds_up_no_other(world: World) -> None:
    """F24, F25: orders got lost at home while a copy Region is down."""
    slot = world.owe()
    world.snapshot_orders.drop()
    world.pass_time(sweep.LOST_AFTER)
    world.aws.regions_down.add(AWAY)
    with contextlib.suppress(AwsBusy):  # it may be said, when the others were swept
        world.sweep()
    assert [order["slot"]["resource"]["id"] for order in world.snapshot_orders.orders] == [slot.resource.id]


def test_a_region_that_did_not_answer_is_compared_in_full_as_soon_as_it_does(world: World) -> None:
    """F06, F95: half a full sweep is none; the next one is full again."""
    slot = done(world)
    world.pass_time(2 * DAY)
    forget_everything()
    world.aws.regions_down.add(AWAY)
    with contextlib.suppress(AwsBusy):
        world.sweep()
    world.aws.regions_down.clear()
    world.sweep()
    assert world.copy(slot).status is Status.CREATED


def test_a_region_without_anything_of_ours_is_quiet(world: World) -> None:
    assert world.sweep().adopted == ()
    assert world.snapshots(FAR) == []


def test_the_tick_of_the_example_is_heeded(world: World) -> None:
    """As Lambda calls it."""
    assert sweep.handler(example("schedule_tick"), CONTEXT)["permits_returned"] == 0
    assert [line["message"] for line in world.decisions()] == ["sweep"]
    assert world.health.numbers == {"Overdue": [0]}


def test_a_claim_is_not_old_before_its_grace_is_over(world: World) -> None:
    """F05: the sweep must not send an order that would find a young claim."""
    world.owe()
    world.aws.kill_after_next("take")
    with pytest.raises(BaseException, match="take"):
        world.take()
    world.snapshot_orders.drop()
    world.pass_time(sweep.LOST_AFTER - MINUTE)
    assert world.sweep().reordered == ()


def test_what_the_last_sweep_saw_is_compared_again_for_an_hour_and_then_once_a_day(world: World) -> None:
    """A fleet's night is thousands of snapshots, and each look at one is a read that is paid for."""
    slot = done(world)
    world.sweep()
    world.pass_time(2 * HOUR)
    world.sweep()
    forget(slot)
    world.pass_time(15 * MINUTE)
    assert world.sweep().adopted == ()
    world.pass_time(DAY)
    assert len(world.sweep().adopted) == 1
