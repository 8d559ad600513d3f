"""One copy of each snapshot in each Region of its policy: under a permit, and never two."""

from __future__ import annotations

from datetime import timedelta

import pytest

from functions.core import labels
from functions.core.errors import AwsBusy, Broken, ClaimedElsewhere, HoldfastError, SnapshotGone, TooManyInFlight
from functions.core.permits import Operation, PoolName
from functions.core.points import ATTEMPTS, GRACE, Status
from functions.core.resources import Kind
from functions.core.slots import Slot
from functions.core.snapshots import CopyOrder
from functions.handlers import copy_snapshot, settling
from tests.builders import AWAY, a_copy_order
from tests.handlers.world import CONTEXT, MINUTE, Killed, World, example

COPY_EBS = PoolName.of(Operation.COPY, Kind.VOLUME, AWAY)


@pytest.fixture
def slot(world: World) -> Slot:
    """A slot whose point is complete and whose copy is ordered, its permit held."""
    return ordered(world)


def ordered(world: World, kind: Kind = Kind.VOLUME) -> Slot:
    slot = world.owe(world.a_protected(kind))
    world.take()
    world.pass_time(world.aws.snapshot_takes)
    world.track()
    assert world.copy(slot).status is Status.OWED
    return slot


def order_of(world: World, slot: Slot) -> CopyOrder:
    return settling.copy_order(world.copy(slot))


def test_an_order_becomes_a_copy_that_carries_every_tag(world: World, slot: Slot) -> None:
    """Invariant 10; F54: what it is a copy of is said by our tags alone."""
    assert world.copy_over() == {"batchItemFailures": []}
    [taken] = world.snapshots(AWAY)
    label = labels.read(taken, account=world.aws.account)
    assert (label.slot, label.attempt) == (slot, 1)
    assert label.source_snapshot_id == world.point(slot).parts[0].snapshot_id
    assert label.source_id == slot.resource.id
    assert (world.copy(slot).status, world.copy(slot).snapshot_id) == (Status.CREATED, taken.id)


def test_an_order_delivered_twice_makes_one_copy(world: World, slot: Slot) -> None:
    """F30; invariant 2."""
    [body] = world.copy_orders.take()
    world.copy_orders.send([body, body])
    world.copy_over()
    assert (len(world.snapshots(AWAY)), world.requests("copy")) == (1, 1)


def test_an_order_replayed_after_days_copies_nothing(world: World, slot: Slot) -> None:
    """F36."""
    [body] = world.copy_orders.take()
    world.copy_orders.send([body])
    world.copy_over()
    world.minutes(10, sweeps=False)
    world.pass_time(timedelta(days=5))
    world.copy_orders.send([body])
    world.copy_over()
    assert world.requests("copy") == 1


def test_a_copy_the_ledger_does_not_owe_is_not_made(world: World) -> None:
    """F34."""
    begun = copy_snapshot.copy_snapshot(a_copy_order(), world.tools, world.now)
    assert (begun.snapshot, begun.reason) == (None, "the ledger does not owe this copy")
    assert world.aws.requests == []


@pytest.mark.parametrize("kind", [Kind.VOLUME, Kind.DATABASE])
def test_a_death_after_the_copy_began_waits_within_the_grace_and_adopts_after_it(world: World, kind: Kind) -> None:
    """F03, F19."""
    slot = ordered(world, kind)
    world.aws.kill_after_next("copy")
    with pytest.raises(Killed):
        world.copy_over()
    world.pass_time(GRACE - MINUTE)
    world.copy_over()
    assert (world.requests("copy"), world.copy(slot).status) == (1, Status.INTENT)
    assert world.copy_orders.delays == [timedelta(seconds=ClaimedElsewhere.after_seconds)]
    world.pass_time(timedelta(seconds=ClaimedElsewhere.after_seconds))
    world.copy_over()
    assert len(world.snapshots(AWAY)) == 1
    assert world.copy(slot).status is Status.CREATED
    assert world.copy(slot).snapshot_id == world.snapshots(AWAY)[0].id


def test_a_take_over_adopts_only_the_copy_of_its_own_source(world: World) -> None:
    """An instance's copies all carry the slot; each belongs to another volume."""
    slot = world.owe(world.a_protected(Kind.INSTANCE, volumes=2))
    world.take()
    world.pass_time(world.aws.snapshot_takes)
    world.track()
    world.aws.kill_after_next("copy")
    with pytest.raises(Killed):
        world.copy_over()
    world.pass_time(GRACE)
    world.copy_over()
    copies = world.ledger.copies.of_slot(slot)
    assert len(world.snapshots(AWAY)) == 2
    assert {copy.snapshot_id for copy in copies} == {snapshot.id for snapshot in world.snapshots(AWAY)}
    for copy in copies:
        held = world.aws.held[AWAY, str(copy.snapshot_id)].snapshot
        assert held.tags[labels.SOURCE_SNAPSHOT] == copy.source_snapshot_id


def test_a_lost_reply_leaves_the_claim_and_is_adopted_later(world: World, slot: Slot) -> None:
    """F03."""
    world.aws.lose_next_reply("copy")
    assert world.copy_over() == {"batchItemFailures": []}
    assert (world.copy(slot).status, world.copy(slot).waits) == (Status.INTENT, 0)
    assert world.copy_orders.delays == [timedelta(seconds=690)]
    world.pass_time(timedelta(seconds=690))
    world.copy_over()
    assert (len(world.snapshots(AWAY)), world.copy(slot).status) == (1, Status.CREATED)


@pytest.mark.parametrize("error", [AwsBusy("Throttling", hint="Again."), TooManyInFlight("20 copies", hint="Later.")])
def test_back_pressure_leaves_the_copy_owed_with_its_permit_returned(
    world: World, slot: Slot, error: HoldfastError
) -> None:
    """F01, F10: it is a wait; the next order comes from the minute's tick."""
    world.aws.refuse_next("copy", error)
    assert world.copy_over() == {"batchItemFailures": []}
    copy = world.copy(slot)
    assert (copy.status, copy.waits, copy.errors, copy.attempt) == (Status.OWED, 1, (), 1)
    assert world.ledger.permits.get(COPY_EBS).holders == {}
    assert world.copy_orders.messages == []
    world.minutes(1)
    assert world.copy(slot).status is Status.CREATED


def test_too_many_in_flight_lowers_the_limit(world: World) -> None:
    """F10: the limit is what AWS shows, not what its documents say."""
    for _ in range(3):
        world.owe()
    world.take()
    world.aws.limits[AWAY, "copy"] = 1
    world.pass_time(world.aws.snapshot_takes)
    world.track()
    world.copy_over()
    assert len(world.snapshots(AWAY)) == 1
    assert world.ledger.permits.get(COPY_EBS).limit == 1
    world.minutes(15)
    assert len(world.snapshots(AWAY)) == 3


def test_a_refusal_is_tried_again_by_the_sweep_and_then_told(world: World, slot: Slot) -> None:
    """F57, invariant 26: never silently dropped."""
    for _ in range(ATTEMPTS):
        world.aws.refuse_next("copy", SnapshotGone("the source is gone", hint="Take another."))
    world.minutes(75)
    assert (world.copy(slot).status, world.requests("copy")) == (Status.FAILED, ATTEMPTS)
    [run] = world.ledger.stories.runs(slot.resource)
    assert (run.status, run.is_complete) == (Status.COMPLETED, False)
    assert len(run.copies[0].errors) == ATTEMPTS
    assert world.ledger.permits.get(COPY_EBS).holders == {}
    assert list(world.ledger.copies.open_in(AWAY)) == []


def test_an_error_that_nobody_knows_returns_the_permit_and_leaves_the_order_to_sqs(world: World, slot: Slot) -> None:
    world.aws.refuse_next("copy", Broken("an answer we do not know", hint="Report it."))
    assert world.copy_over() == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert (world.copy(slot).status, world.ledger.permits.get(COPY_EBS).holders) == (Status.FAILED, {})


def test_a_last_attempt_that_fails_by_redelivery_leaves_nothing_open(world: World, slot: Slot) -> None:
    """SQS delivers a failed order again, so that all attempts may be used up without the sweep."""
    for _ in range(ATTEMPTS):
        world.aws.refuse_next("copy", Broken("an answer we do not know", hint="Report it."))
        world.copy_over()
    assert (world.copy(slot).status, world.copy(slot).attempt) == (Status.FAILED, ATTEMPTS)
    assert list(world.ledger.copies.open_in(AWAY)) == []
    assert len(world.ledger.stories.runs(slot.resource)) == 1


def test_the_batch_of_the_example_is_carried_out(world: World) -> None:
    """As Lambda calls it; the ledger owes none of these, so that nothing is copied and nothing fails."""
    event = example("sqs_copy_orders")
    assert copy_snapshot.handler(event, CONTEXT) == {"batchItemFailures": []}
    assert [line["decision"]["reason"] for line in world.decisions()] == ["the ledger does not owe this copy"] * 2
