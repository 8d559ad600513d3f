"""The ledger is the queue: whoever waits longest gets the next permit, at the moment at which AWS lets its call in."""

from __future__ import annotations

import pytest

from functions.core.errors import AwsBusy
from functions.core.permits import Operation, PoolName
from functions.core.points import Point, Status
from functions.core.resources import Kind
from functions.handlers import dispatching
from tests.builders import HOME
from tests.handlers.world import HOUR, World

CREATE_EBS = PoolName.of(Operation.CREATE, Kind.VOLUME, HOME)


def dispatch(world: World) -> list[Point]:
    return dispatching.order_points(world.tools, world.now)


def owe_unordered(world: World, number: int) -> None:
    for hours in range(number):
        world.owe(at=world.now - hours * HOUR)
    world.snapshot_orders.drop()


def test_the_earliest_deadline_gets_the_permit_that_is_left(world: World) -> None:
    owe_unordered(world, 3)
    world.ledger.permits.take(CREATE_EBS, "another", world.now)
    world.ledger.permits.take(CREATE_EBS, "refused", world.now + HOUR)
    assert world.ledger.permits.refused(CREATE_EBS, "refused", world.now).limit == 1, "as many as are in flight"
    world.ledger.permits.give_back(CREATE_EBS, ["another"], world.now, succeeded=False)
    [point] = dispatch(world)
    assert point.slot.at == world.now - 2 * HOUR
    assert len(world.snapshot_orders.messages) == 1


def test_what_has_its_order_is_not_ordered_again(world: World) -> None:
    """F30: the tick of every minute meets it again while it waits in the queue."""
    owe_unordered(world, 2)
    assert len(dispatch(world)) == 2
    assert dispatch(world) == []
    assert len(world.snapshot_orders.messages) == 2


def test_orders_are_spread_over_the_time_in_which_aws_lets_them_in(world: World) -> None:
    owe_unordered(world, 60)
    for night in range(2):  # what came before used up the burst, and what is handed out ahead
        others = [f"another-{night}-{number}" for number in range(99)]
        world.ledger.permits.hand_out(CREATE_EBS, lambda _, names=others: names, world.now)
        world.ledger.permits.give_back(CREATE_EBS, others, world.now, succeeded=False)
    dispatch(world)
    delays = [delay.total_seconds() for delay in world.snapshot_orders.delays]
    assert delays == sorted(delays)
    assert all(delays.count(delay) <= 6 for delay in set(delays))
    assert delays[-1] - delays[0] >= 11, "sixty at five a second"


def test_a_region_without_anything_that_waits_costs_no_look_at_its_permits(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(world.ledger.permits, "hand_out", lambda *given: asked.append(given) or {})
    assert (dispatch(world), dispatching.order_copies(world.tools, world.now)) == ([], [])
    assert asked == []


def test_orders_that_a_queue_does_not_take_come_again_when_their_permits_are_returned(world: World) -> None:
    """F20, invariant 23."""
    owe_unordered(world, 1)
    world.snapshot_orders.refuses = AwsBusy("no answer from SQS", hint="Again.")
    with pytest.raises(AwsBusy):
        dispatch(world)
    world.snapshot_orders.refuses = None
    world.minutes(45)
    assert [point.status for point in world.ledger.points.open_in(HOME)] == []
    assert [snapshot.state.value for snapshot in world.snapshots()] == ["completed"]


def test_a_throttled_create_waits_and_slows_the_pool_down(world: World) -> None:
    """F01: no retry storm; the pool remembers."""
    owe_unordered(world, 1)
    dispatch(world)
    world.aws.refuse_next("take", AwsBusy("RequestLimitExceeded", hint="Again."))
    world.take()
    pool = world.ledger.permits.get(CREATE_EBS)
    assert (pool.holders, pool.pace.throttled) == ({}, 1)
    [point] = world.ledger.points.open_in(HOME)
    assert (point.status, point.waits) == (Status.OWED, 1)
