"""One slot, one set of snapshots: however often the order comes, and whoever dies on the way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from functions.contracts import wire
from functions.core import labels
from functions.core.errors import (
    AwsBusy,
    Broken,
    ClaimedElsewhere,
    KeyUnusable,
    NotAllowed,
    ResourceBusy,
    TooManyInFlight,
)
from functions.core.permits import Operation, PoolName
from functions.core.points import ATTEMPTS, GRACE, Status
from functions.core.resources import Kind
from functions.core.slots import Slot
from functions.core.snapshots import SnapshotOrder, State
from functions.handlers import settling, take_snapshot
from tests.builders import AWAY, HOME, a_snapshot_order
from tests.handlers.world import CONTEXT, MINUTE, Killed, World, example
from tests.ledger.dynamodb import TABLE

CREATE_EBS = PoolName.of(Operation.CREATE, Kind.VOLUME, HOME)


def order_of(world: World, slot: Slot) -> SnapshotOrder:
    return settling.snapshot_order(world.point(slot))


@pytest.mark.parametrize("kind", Kind)
def test_an_order_becomes_snapshots_that_carry_every_tag_and_a_recorded_point(world: World, kind: Kind) -> None:
    """Invariant 10."""
    slot = world.owe(world.a_protected(kind, volumes=3))
    assert world.take() == {"batchItemFailures": []}
    taken = world.snapshots()
    point = world.point(slot)
    assert len(taken) == (3 if kind is Kind.INSTANCE else 1)
    assert point.status is Status.CREATED
    assert sorted(part.snapshot_id for part in point.parts) == sorted(snapshot.id for snapshot in taken)
    assert point.configuration == {"volume_type": "gp3", "of": slot.resource.id}
    for snapshot in taken:
        label = labels.read(snapshot, account=world.aws.account)
        assert (label.slot, label.policy, label.copy_to, label.attempt) == (slot, "gold", (AWAY,), 1)


def test_the_answer_says_what_was_taken_and_why(world: World) -> None:
    slot = world.owe()
    taken = take_snapshot.take_snapshot(order_of(world, slot), world.tools, world.now)
    assert taken.snapshots == tuple(snapshot.id for snapshot in world.snapshots())
    assert (taken.resource, taken.slot, taken.reason) == (str(slot.resource), slot.at, "slot of policy gold")


def test_an_order_delivered_twice_takes_one_snapshot(world: World) -> None:
    """F30."""
    slot = world.owe()
    world.order(slot)
    assert world.take() == {"batchItemFailures": []}
    assert (len(world.snapshots()), world.requests("take")) == (1, 1)


def test_an_order_replayed_after_days_takes_nothing(world: World) -> None:
    """F36, invariant 22: the dead-letter queue was redriven."""
    slot = world.owe()
    world.take()
    world.pass_time(timedelta(days=5))
    world.order(slot)
    world.take()
    assert world.requests("take") == 1


def test_an_order_replayed_for_a_point_that_was_complete_and_is_lost_takes_nothing(world: World) -> None:
    """F36, F56: a snapshot of today under a slot of last month would be a lie."""
    slot = world.owe()
    world.minutes(15)
    world.ledger.points.move(world.point(slot), Status.GONE, now=world.now, error="not at AWS any more")
    world.pass_time(timedelta(days=30))
    world.order(slot)
    world.take()
    world.minutes(45)
    assert (world.requests("take"), world.point(slot).status) == (1, Status.GONE)


def test_a_claim_whose_reply_was_lost_is_taken_over_by_the_sweep(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """F03: DynamoDB wrote the claim, and the writer was told that it lost the race."""
    slot = world.owe()
    claim = world.ledger.points.claim

    def lost(*claimed: Any) -> None:
        claim(*claimed)

    with monkeypatch.context() as patch:
        patch.setattr(world.ledger.points, "claim", lost)
        world.take()
    assert (world.point(slot).status, world.requests("take")) == (Status.INTENT, 0)
    world.minutes(45)
    assert (world.point(slot).status, world.requests("take")) == (Status.COMPLETED, 1)


def test_of_many_functions_with_the_same_order_exactly_one_creates(world: World) -> None:
    """F30, with threads: invariant 1 at the instant of the call."""
    slot = world.owe()
    order = order_of(world, slot)

    def carry_out(number: int) -> None:
        at = world.now + timedelta(microseconds=number)
        try:
            take_snapshot.take_snapshot(order, world.tools, at)
        except ClaimedElsewhere:
            return

    with ThreadPoolExecutor(6) as crowd:
        list(crowd.map(carry_out, range(6)))
    assert (len(world.snapshots()), world.requests("take")) == (1, 1)
    assert world.point(slot).status is Status.CREATED


def test_a_slot_the_ledger_does_not_know_is_left_alone(world: World) -> None:
    """F34: a forged order takes nothing."""
    key = world.a_protected()
    order = a_snapshot_order(Slot(resource=key, at=world.now))
    taken = take_snapshot.take_snapshot(order, world.tools, world.now)
    assert (taken.snapshots, taken.reason) == ((), "the ledger does not owe this slot")
    assert world.aws.requests == []


class TestADeathAfterTheSnapshotBegan:
    """F03, F19, F43: AWS has it, the ledger says INTENT."""

    @pytest.fixture
    def slot(self, world: World) -> Slot:
        slot = world.owe()
        world.aws.kill_after_next("take")
        with pytest.raises(Killed):
            world.take()
        assert world.point(slot).status is Status.INTENT
        return slot

    def test_a_second_delivery_within_the_grace_waits(self, world: World, slot: Slot) -> None:
        world.pass_time(GRACE - MINUTE)
        assert world.take() == {"batchItemFailures": []}
        assert world.requests("take") == 1
        assert world.point(slot).status is Status.INTENT
        assert world.snapshot_orders.delays == [timedelta(seconds=ClaimedElsewhere.after_seconds)]

    def test_a_delivery_after_the_grace_adopts_what_exists(self, world: World, slot: Slot) -> None:
        world.pass_time(GRACE)
        world.take()
        assert (len(world.snapshots()), world.requests("take")) == (1, 1)
        point = world.point(slot)
        assert point.status is Status.CREATED
        assert [part.snapshot_id for part in point.parts] == [snapshot.id for snapshot in world.snapshots()]

    def test_when_nobody_asks_again_the_sweep_does(self, world: World, slot: Slot) -> None:
        """F32: the redelivery is lost as well."""
        world.snapshot_orders.drop()
        world.minutes(45)
        assert (len(world.snapshots()), world.point(slot).status) == (1, Status.COMPLETED)

    def test_two_that_find_the_old_claim_leave_one_snapshot(self, world: World, slot: Slot) -> None:
        world.pass_time(GRACE)
        world.order(slot)
        world.take()
        assert (len(world.snapshots()), world.requests("take")) == (1, 1)


def test_a_death_before_the_snapshot_began_creates_it_after_the_grace(world: World) -> None:
    """F19: the claim is there, the snapshot is not."""
    slot = world.owe()
    assert world.ledger.points.claim(world.point(slot), world.now) == 1
    world.pass_time(GRACE)
    world.take()
    assert (len(world.snapshots()), world.point(slot).status) == (1, Status.CREATED)


def test_a_set_of_an_instance_is_adopted_whole(world: World) -> None:
    """F45: a death after CreateSnapshots must not lose a volume of the set."""
    slot = world.owe(world.a_protected(Kind.INSTANCE, volumes=3))
    world.aws.kill_after_next("take")
    with pytest.raises(Killed):
        world.take()
    world.pass_time(GRACE)
    world.take()
    assert len(world.point(slot).parts) == len(world.snapshots()) == 3


def test_a_lost_reply_leaves_the_claim_and_is_adopted_later(world: World) -> None:
    """F03: unknown is neither failed nor given back."""
    slot = world.owe()
    world.aws.lose_next_reply("take")
    assert world.take() == {"batchItemFailures": []}
    point = world.point(slot)
    assert (point.status, point.waits, point.errors) == (Status.INTENT, 0, ())
    assert slot.key in world.ledger.permits.get(CREATE_EBS).holders
    assert world.snapshot_orders.delays == [timedelta(seconds=690)]
    world.pass_time(timedelta(seconds=690))
    world.take()
    assert (len(world.snapshots()), world.requests("take")) == (1, 1)
    assert world.point(slot).status is Status.CREATED


@pytest.mark.parametrize("error", [AwsBusy("RequestLimitExceeded", hint="Again."), TooManyInFlight("5", hint="Later.")])
def test_back_pressure_gives_the_claim_back_and_is_a_wait_and_no_failure(world: World, error: Exception) -> None:
    """F01, F02, F07, F08."""
    slot = world.owe()
    world.aws.refuse_next("take", error)  # type: ignore[arg-type]
    assert world.take() == {"batchItemFailures": []}
    point = world.point(slot)
    assert (point.status, point.waits, point.attempt, point.errors) == (Status.OWED, 1, 1, ())
    assert world.snapshot_orders.messages == [], "the ledger is the queue"
    assert world.ledger.permits.get(CREATE_EBS).holders == {}
    world.track()
    world.take()
    assert world.point(slot).status is Status.CREATED


def test_too_many_in_flight_lowers_the_limit_to_what_aws_showed(world: World) -> None:
    """F08, F10."""
    for _ in range(3):
        world.owe()
    world.aws.limits[HOME, "take"] = 2
    world.take()
    assert (len(world.snapshots()), world.ledger.permits.get(CREATE_EBS).limit) == (2, 2)


def test_without_a_permit_nothing_is_claimed_and_aws_is_not_asked(world: World) -> None:
    slot, other = world.owe(), world.owe()
    for held in (other.key, "another"):
        world.ledger.permits.take(CREATE_EBS, held, world.now)
    world.ledger.permits.refused(CREATE_EBS, "another", world.now)
    taken = take_snapshot.take_snapshot(order_of(world, slot), world.tools, world.now)
    assert taken.reason == "it stays owed: all permits create#ebs#eu-central-1 are in use"
    assert (world.point(slot).status, world.point(slot).claimed_at) == (Status.OWED, None)
    assert world.aws.requests == []


def test_a_busy_database_is_asked_again_until_the_deadline_and_then_failed(world: World) -> None:
    """F48: a state in which RDS takes no snapshot."""
    slot = world.owe(world.a_protected(Kind.DATABASE))
    busy = ResourceBusy("orders is backing-up", hint="RDS takes snapshots of available databases.")
    world.aws.refuse_next("take", busy)
    world.take()
    assert (world.point(slot).status, world.point(slot).waits) == (Status.OWED, 1)
    world.pass_time(4 * MINUTE)
    assert world.track().points_ordered == ()
    world.pass_time(MINUTE)
    assert world.track().points_ordered == (str(slot.resource),)
    world.pass_time(timedelta(days=1))
    world.aws.refuse_next("take", busy)
    world.take()
    assert world.point(slot).status is Status.FAILED
    assert world.point(slot).errors == ("ResourceBusy: orders is backing-up",)


def test_a_refusal_is_written_down_and_its_order_is_done(world: World) -> None:
    slot = world.owe()
    world.aws.refuse_next("take", KeyUnusable("the key is disabled", hint="Enable it."))
    assert world.take() == {"batchItemFailures": []}
    assert world.point(slot).errors == ("KeyUnusable: the key is disabled",)
    assert world.snapshot_orders.messages == []
    assert world.ledger.permits.get(CREATE_EBS).holders == {}
    assert world.ledger.stories.runs(slot.resource) == []


def test_three_refusals_close_the_run_as_failed(world: World) -> None:
    """F41, F57: tried again, then told; never silently given up."""
    slot = world.owe()
    for _ in range(ATTEMPTS):
        world.aws.refuse_next("take", NotAllowed("UnauthorizedOperation", hint="Deploy again."))
    world.minutes(46)
    [run] = world.ledger.stories.runs(slot.resource)
    assert (run.status, run.attempts, len(run.errors)) == (Status.FAILED, ATTEMPTS, ATTEMPTS)
    assert list(world.ledger.points.open_in(HOME)) == []
    assert world.requests("take") == ATTEMPTS


def test_a_resource_that_vanished_before_its_slot_fails_and_is_told(world: World) -> None:
    """F46."""
    slot = world.owe()
    del world.aws.resources[slot.resource]
    world.minutes(46)
    [run] = world.ledger.stories.runs(slot.resource)
    assert run.status is Status.FAILED
    assert "ResourceGone" in run.errors[0]


def test_an_error_that_nobody_knows_fails_the_claim_and_leaves_the_order_to_sqs(world: World) -> None:
    slot = world.owe()
    world.aws.refuse_next("take", Broken("an answer we do not know", hint="Report it."))
    assert world.take() == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert world.point(slot).status is Status.FAILED
    world.take()
    assert (world.point(slot).status, world.point(slot).attempt) == (Status.CREATED, 2)


def test_a_ledger_that_cannot_be_written_after_the_create_leaves_the_claim(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F13: the snapshot exists; the claim stands, and the next delivery adopts it."""
    slot = world.owe()

    def throttled(*_: object) -> bool:
        raise AwsBusy(f"could not write {TABLE}", hint="Again.")

    with monkeypatch.context() as patch:
        patch.setattr(world.ledger.points, "record", throttled)
        world.take()
    assert world.point(slot).status is Status.INTENT
    world.pass_time(GRACE)
    world.take()
    assert (len(world.snapshots()), world.requests("take")) == (1, 1)
    assert world.point(slot).status is Status.CREATED


def test_a_failed_attempt_is_begun_anew_with_its_number_in_the_tags(world: World) -> None:
    """F41."""
    slot = world.owe()
    world.take()
    [first] = world.snapshots()
    world.aws.fail(HOME, first.id)
    world.track()
    assert world.point(slot).status is Status.FAILED
    world.sweep()
    world.take()
    good = [snapshot for snapshot in world.snapshots() if snapshot.state is not State.FAILED]
    assert [labels.read(snapshot, account=world.aws.account).attempt for snapshot in good] == [2]
    assert world.point(slot).attempt == 2


def test_a_database_taken_twice_under_one_name_is_taken_once(world: World) -> None:
    """F03: the identifier is the slot, so that "already exists" is success."""
    slot = world.owe(world.a_protected(Kind.DATABASE))
    world.aws.kill_after_next("take")
    with pytest.raises(Killed):
        world.take()
    world.pass_time(GRACE)
    world.take()
    assert [snapshot.id for snapshot in world.snapshots()] == [labels.database_identifier(slot, attempt=1)]


def test_the_batch_of_the_example_is_carried_out(world: World) -> None:
    """As Lambda calls it; nobody owes these slots here, so nothing is taken and nothing fails."""
    event = example("sqs_snapshot_orders")
    assert take_snapshot.handler(event, CONTEXT) == {"batchItemFailures": []}
    orders = [wire.load(SnapshotOrder, record["body"]) for record in event["Records"]]
    assert [line["decision"]["resource"] for line in world.decisions()] == [str(o.slot.resource) for o in orders]


def test_while_aws_reads_and_does_not_write_nothing_fails_and_nobody_storms(world: World) -> None:
    """F26: each slot is asked for once a tick at most, and taken once AWS writes again."""
    slots = [world.owe() for _ in range(3)]
    for _ in range(100):
        world.aws.refuse_next("take", AwsBusy("no answer to writes", hint="It is asked again."))
    world.minutes(10)
    asked = world.requests("take")
    assert {world.point(slot).status for slot in slots} == {Status.OWED}
    assert len(slots) <= asked <= 11 * len(slots)
    world.aws.writes_again("take")
    world.minutes(30)
    assert {world.point(slot).status for slot in slots} == {Status.COMPLETED}
    assert world.requests("take") == asked + len(slots)
