"""Completed EBS points of policies with a lock are locked, at home and where the copies are, once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from functions.core import labels
from functions.core.errors import AwsBusy, NotAllowed
from functions.core.policies import Lock, LockMode, LockOn, Policy, Tiers
from functions.core.resources import Kind
from functions.handlers import lock_points
from tests.builders import AWAY, HOME, a_policy
from tests.handlers.world import CONTEXT, DAY, World, example

SEVEN_DAYS = Lock(mode=LockMode.GOVERNANCE, days=7)
LOCKED = a_policy(version="0a1b2c3d", keep=Tiers(daily=14), copy_to=(AWAY,), lock=SEVEN_DAYS)
PLAIN = a_policy("plain", version="0a1b2c3d")


def lock(world: World) -> lock_points.PointsLocked:
    return lock_points.lock_points(world.tools, world.now)


def a_point_under(world: World, policy: Policy, kind: Kind = Kind.VOLUME, *, volumes: int = 1) -> list[tuple[str, str]]:
    """Region and id of every snapshot of a completed point and its copies."""
    key = world.a_protected(kind, volumes=volumes)
    slot = world.owe(key, policy=policy)
    world.minutes(60)
    parts = [(HOME, part.snapshot_id) for part in world.point(slot).parts]
    return parts + [(copy.region, str(copy.snapshot_id)) for copy in world.ledger.copies.of_slot(slot)]


@pytest.fixture
def deployed(world: World) -> World:
    world.with_settings(LOCKED, PLAIN)
    return world


@pytest.mark.parametrize(("kind", "volumes"), [(Kind.VOLUME, 1), (Kind.INSTANCE, 3)])
def test_every_snapshot_of_a_point_and_every_copy_is_locked_for_the_policys_time(
    deployed: World, kind: Kind, volumes: int
) -> None:
    snapshots = a_point_under(deployed, LOCKED, kind, volumes=volumes)
    assert len(snapshots) == 2 * volumes
    assert len(lock(deployed).locked) == 2 * volumes
    assert set(deployed.guarded.locked) == set(snapshots)
    assert {request.days for request, _ in deployed.guarded.locked.values()} == {7}


def test_what_is_locked_is_not_locked_again(deployed: World) -> None:
    a_point_under(deployed, LOCKED)
    assert len(lock(deployed).locked) == 2
    assert lock(deployed).locked == ()
    assert deployed.requests("lock") == 2


def test_only_policies_with_a_lock_lock(deployed: World) -> None:
    a_point_under(deployed, PLAIN)
    assert lock(deployed).locked == ()


@pytest.mark.parametrize(("on", "region"), [(LockOn.SOURCE, HOME), (LockOn.COPIES, AWAY)])
def test_a_policy_may_lock_the_source_or_the_copies_only(world: World, on: LockOn, region: str) -> None:
    policy = replace(LOCKED, lock=replace(SEVEN_DAYS, on=on))
    world.with_settings(policy)
    a_point_under(world, policy)
    lock(world)
    assert {where for where, _ in world.guarded.locked} == {region}


@pytest.mark.parametrize("kind", [Kind.DATABASE, Kind.CLUSTER])
def test_a_database_has_no_lock_and_is_not_asked_for_one(deployed: World, kind: Kind) -> None:
    a_point_under(deployed, LOCKED, kind)
    assert lock(deployed) == lock_points.PointsLocked(locked=(), not_locked=())


def test_a_lock_in_a_policy_reaches_the_points_that_are_there_for_what_is_left(world: World) -> None:
    without = replace(LOCKED, lock=None)
    world.with_settings(without)
    a_point_under(world, without)
    world.pass_time(5 * DAY)
    world.with_settings(LOCKED)
    lock(world)
    assert {request.days for request, _ in world.guarded.locked.values()} == {2}


def test_a_lock_that_ran_its_time_is_not_renewed(deployed: World) -> None:
    a_point_under(deployed, LOCKED)
    lock(deployed)
    deployed.pass_time(8 * DAY)
    assert lock(deployed).locked == ()


def test_a_snapshot_whose_tags_are_not_as_we_wrote_them_is_left_alone(deployed: World) -> None:
    """F91, F97: a tag that somebody wrote buys no lock."""
    for region, id in a_point_under(deployed, LOCKED):
        held = deployed.aws.held[region, id]
        held.snapshot = replace(held.snapshot, tags={labels.MANAGED: "1", labels.POLICY: "gold"})
    assert lock(deployed).locked == ()


def test_what_cannot_be_locked_is_said_and_counted_and_holds_up_no_other(deployed: World) -> None:
    a_point_under(deployed, LOCKED)
    deployed.aws.refuse_next("lock", NotAllowed("ec2:LockSnapshot", hint="Deploy again."))
    said = lock(deployed)
    assert (len(said.locked), len(said.not_locked)) == (1, 1)
    assert "Deploy again." in said.not_locked[0]
    assert deployed.health.numbers["Unlocked"] == [1]


def test_a_region_that_does_not_answer_holds_up_no_other(deployed: World) -> None:
    a_point_under(deployed, LOCKED)
    deployed.aws.regions_down.add(HOME)
    with pytest.raises(AwsBusy):
        lock(deployed)
    assert {region for region, _ in deployed.guarded.locked} == {AWAY}


def test_the_handler_answers_what_it_locked(deployed: World) -> None:
    a_point_under(deployed, LOCKED)
    assert len(lock_points.handler(example("schedule_tick"), CONTEXT)["locked"]) == 2
