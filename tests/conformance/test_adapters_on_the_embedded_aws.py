"""The four adapters over an embedded AWS: every sentence of the suite, and what moto is too kind to show."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from functions.core import labels
from functions.core.errors import KeyUnusable, OutcomeUnknown, ResourceBusy, TooManyInFlight
from functions.core.resources import Kind
from functions.core.snapshots import Snapshot, State
from tests.aws.snapshots_suite import AT, SnapshotsSuite, copy_order_for, order_for
from tests.conformance.embedded_account import EmbeddedAccount
from tests.conformance.embedded_world import BLOCK_BYTES, EmbeddedWorld

DOOMED = frozenset(
    {
        "test_a_failed_snapshot_is_not_found",
        "test_a_second_attempt_is_found_beside_a_failed_first",
        "test_look_tells_a_failure_and_why",
    }
)
"""Sentences whose first snapshot fails: the embedded AWS has to know when it accepts it."""


@pytest.fixture(params=list(Kind))
def world(request: pytest.FixtureRequest, embedded_account: EmbeddedAccount) -> Iterator[EmbeddedWorld]:
    world = EmbeddedWorld(request.param, embedded_account)
    if request.node.originalname in DOOMED:
        world.doom_the_next_taken()
    yield world
    embedded_account.remove_snapshots()


def only(*kinds: Kind) -> pytest.MarkDecorator:
    """The sentence is about these kinds."""
    return pytest.mark.parametrize("world", kinds, indirect=True)


def take(world: EmbeddedWorld, *, hours_later: int = 0) -> tuple[Snapshot, ...]:
    """What one order for the world's first resource began, without asking for another resource."""
    resource = world.resource(0)
    order = order_for(resource, at=AT + timedelta(hours=hours_later))
    return world.home.take(order, labels.for_snapshot(order))


def copy(world: EmbeddedWorld, taken: Snapshot) -> Snapshot:
    """What an order to copy that snapshot began."""
    order = order_for(world.resource(0))
    copying = copy_order_for(taken, order, world.away.region)
    return world.away.copy(copying, labels.for_copy(copying), home_region=world.home.region)


def state_of(world: EmbeddedWorld, snapshot: Snapshot) -> State:
    """Its state now."""
    adapter = world.home if snapshot.region == world.home.region else world.away
    return adapter.look([snapshot.id])[snapshot.id].state


class TestSnapshots(SnapshotsSuite):
    """Every sentence of the suite, for each kind."""


def test_what_was_begun_is_pending_until_time_passes(world: EmbeddedWorld) -> None:
    taken = take(world)
    assert {snapshot.state for snapshot in taken} == {State.PENDING} == {state_of(world, one) for one in taken}
    world.complete_everything()
    assert {state_of(world, one) for one in taken} == {State.COMPLETED}
    copied = copy(world, taken[0])
    assert copied.state is State.PENDING is state_of(world, copied)
    world.complete_everything()
    assert state_of(world, copied) is State.COMPLETED


def test_a_take_whose_reply_is_lost_says_so_was_sent_once_and_is_found(world: EmbeddedWorld) -> None:
    resource = world.resource(0)
    world.lose_the_next_reply()
    with pytest.raises(OutcomeUnknown):
        take(world)
    assert len(world.creations) == 1
    found = world.home.find(order_for(resource).slot, attempt=1)
    assert {snapshot.source_id for snapshot in found} == world.members(resource)
    assert len(found) == len(world.members(resource))


@only(Kind.VOLUME, Kind.INSTANCE)
def test_ec2_tells_an_arbitrary_volume_of_a_copy_and_we_tell_the_source(world: EmbeddedWorld) -> None:
    taken = take(world)[0]
    world.complete_everything()
    copied = copy(world, taken)
    ec2: Any = world.embedded.aws.client("ec2", world.away.region)
    (described,) = ec2.describe_snapshots(SnapshotIds=[copied.id])["Snapshots"]
    assert described["VolumeId"] != taken.source_id
    assert world.away.look([copied.id])[copied.id].source_id == taken.source_id


@only(Kind.VOLUME, Kind.INSTANCE)
def test_a_volume_is_not_taken_twice_within_fifteen_seconds(world: EmbeddedWorld) -> None:
    take(world)
    with pytest.raises(TooManyInFlight):
        take(world, hours_later=1)
    world.complete_everything()
    assert take(world, hours_later=1)


@only(Kind.DATABASE)
def test_a_database_that_is_backing_up_is_busy(world: EmbeddedWorld) -> None:
    take(world)
    with pytest.raises(ResourceBusy):
        take(world, hours_later=1)
    world.complete_everything()
    assert take(world, hours_later=1)


@only(Kind.DATABASE, Kind.CLUSTER)
def test_a_repeated_order_is_one_snapshot_and_one_copy(world: EmbeddedWorld) -> None:
    (taken,) = take(world)
    assert [again.id for again in take(world)] == [taken.id]
    world.complete_everything()
    assert copy(world, taken).id == copy(world, taken).id
    assert [len(list(region.ours())) for region in (world.home, world.away)] == [1, 1]


@only(Kind.DATABASE, Kind.CLUSTER)
def test_rds_deletes_nothing_that_it_still_makes(world: EmbeddedWorld) -> None:
    (taken,) = take(world)
    world.home.mark_expired(taken.id)
    with pytest.raises(ResourceBusy):
        world.delete_at_once(taken)
    world.complete_everything()
    world.delete_at_once(taken)
    assert world.home.look([taken.id]) == {}


@only(Kind.VOLUME, Kind.INSTANCE)
def test_a_copy_under_an_unusable_key_is_accepted_and_fails(world: EmbeddedWorld, unusable_key: None) -> None:
    taken = take(world)[0]
    world.complete_everything()
    copied = copy(world, taken)
    assert state_of(world, copied) is State.PENDING
    world.complete_everything()
    seen = world.away.look([copied.id])[copied.id]
    assert seen.state is State.FAILED
    assert "key" in seen.message


@only(Kind.DATABASE, Kind.CLUSTER)
def test_a_copy_under_an_unusable_key_is_refused(world: EmbeddedWorld, unusable_key: None) -> None:
    (taken,) = take(world)
    world.complete_everything()
    with pytest.raises(KeyUnusable):
        copy(world, taken)
    assert list(world.away.ours()) == []


def test_deleting_what_is_gone_is_quiet_for_whoever_is_allowed_to_delete_anything(
    world: EmbeddedWorld, embedded_account: EmbeddedAccount
) -> None:
    deleter = embedded_account.adapter_of_root(world.kind, world.home.region)
    taken = take(world)
    world.complete_everything()
    for snapshot in taken:
        for _ in range(2):
            deleter.delete(snapshot.id)
    assert world.home.look([snapshot.id for snapshot in taken]) == {}


@only(Kind.VOLUME)
def test_the_changed_bytes_are_those_of_the_blocks_written_between(world: EmbeddedWorld) -> None:
    (first,) = take(world)
    world.complete_everything()
    world.write_blocks(world.resource(0), 3)
    (second,) = take(world, hours_later=1)
    assert world.home.changed_bytes(first.id, second.id) is None, "not while it is pending"
    world.complete_everything()
    assert world.home.changed_bytes(first.id, second.id) == 3 * BLOCK_BYTES
