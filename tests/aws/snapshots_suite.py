"""What every implementation of the port `Snapshots` does, in sentences.

Run it by a subclass with a fixture `world`: over the fake, over each adapter in process, over the embedded AWS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from functions.core import labels
from functions.core.errors import HoldfastError, NotAllowed, ResourceGone, SnapshotGone
from functions.core.resources import Kind, ResourceKey
from functions.core.slots import Slot
from functions.core.snapshots import CopyOrder, Snapshot, SnapshotOrder, Snapshots, State

AT = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)


class World(Protocol):
    """An AWS with a home Region and one for copies, and what a test does to it behind the adapters' back."""

    kind: Kind
    account: str
    home: Snapshots
    away: Snapshots

    @property
    def creations(self) -> Sequence[tuple[str, Mapping[str, str]]]:
        """The Region and the tags of every request so far that creates or copies a snapshot."""
        ...

    def make_resource(self) -> ResourceKey:
        """A resource of the kind in the home Region; an instance has two volumes."""
        ...

    def members(self, resource: ResourceKey) -> frozenset[str]:
        """The ids its snapshots are of."""
        ...

    def missing_resource(self) -> ResourceKey:
        """The key of a resource that does not exist."""
        ...

    def missing_ids(self, number: int) -> list[str]:
        """So many ids that no snapshot has, of the right form."""
        ...

    def make_foreign_snapshot(self) -> str:
        """The id of a snapshot in the home Region that somebody else took."""
        ...

    def complete_everything(self) -> None:
        """Time passes until nothing is in progress."""
        ...

    def fail(self, snapshot: Snapshot) -> None:
        """AWS fails the snapshot after having accepted it."""
        ...

    def vanish(self, snapshot: Snapshot) -> None:
        """Somebody deletes the snapshot."""
        ...

    def make_pages_small(self) -> None:
        """From now on a page of a listing holds one snapshot, and the first page none."""
        ...

    def break_listing(self) -> None:
        """From now on every page after the first answers with an error that repeating does not help."""
        ...


def order_for(resource: ResourceKey, *, at: datetime = AT, attempt: int = 1) -> SnapshotOrder:
    """The order for one slot of the resource."""
    return SnapshotOrder(
        slot=Slot(resource=resource, at=at),
        policy="gold",
        policy_version="0a1b2c3d",
        copy_to=("eu-west-1",),
        deadline=at + timedelta(hours=24),
        attempt=attempt,
        reason="scheduled",
    )


def copy_order_for(taken: Snapshot, order: SnapshotOrder, region: str, *, attempt: int = 1) -> CopyOrder:
    """The order to copy one snapshot of the point."""
    return CopyOrder(
        slot=order.slot,
        source_snapshot_id=taken.id,
        source_id=taken.source_id,
        region=region,
        policy=order.policy,
        policy_version=order.policy_version,
        deadline=order.deadline,
        attempt=attempt,
    )


class SnapshotsSuite:
    """The contract. A subclass gives the fixture `world`."""

    # taking

    def test_a_take_begins_one_snapshot_of_each_member_of_the_resource(self, world: World) -> None:
        resource = world.make_resource()
        taken = self.take(world, resource)
        assert {snapshot.source_id for snapshot in taken} == world.members(resource)
        assert len(taken) == len(world.members(resource))
        assert {snapshot.region for snapshot in taken} == {world.home.region}

    def test_every_tag_is_in_the_creating_call(self, world: World) -> None:
        order = order_for(world.make_resource())
        world.home.take(order, labels.for_snapshot(order))
        assert world.creations == [(world.home.region, labels.for_snapshot(order))]
        for snapshot in world.home.find(order.slot, attempt=1):
            assert labels.for_snapshot(order).items() <= snapshot.tags.items()

    def test_the_tags_lead_back_to_the_slot(self, world: World) -> None:
        order = order_for(world.make_resource())
        for snapshot in world.home.take(order, labels.for_snapshot(order)):
            label = labels.read(snapshot, account=world.account)
            assert (label.slot, label.copy_to, label.is_expired) == (order.slot, order.copy_to, False)

    def test_a_take_of_a_resource_that_is_gone_says_so(self, world: World) -> None:
        order = order_for(world.missing_resource())
        with pytest.raises(ResourceGone):
            world.home.take(order, labels.for_snapshot(order))

    # finding

    def test_a_repeated_find_sees_the_first_take(self, world: World) -> None:
        order = order_for(world.make_resource())
        taken = world.home.take(order, labels.for_snapshot(order))
        for _ in range(2):
            found = world.home.find(order.slot, attempt=1)
            assert {snapshot.id for snapshot in found} == {snapshot.id for snapshot in taken}

    def test_a_find_for_another_slot_sees_nothing(self, world: World) -> None:
        resource = world.make_resource()
        self.take(world, resource)
        later = Slot(resource=resource, at=AT + timedelta(hours=1))
        assert world.home.find(later, attempt=1) == ()

    def test_a_failed_snapshot_is_not_found(self, world: World) -> None:
        order = order_for(world.make_resource())
        for snapshot in world.home.take(order, labels.for_snapshot(order)):
            world.fail(snapshot)
        assert world.home.find(order.slot, attempt=1) == ()

    def test_a_second_attempt_is_found_beside_a_failed_first(self, world: World) -> None:
        resource = world.make_resource()
        for snapshot in self.take(world, resource):
            world.fail(snapshot)
        again = order_for(resource, attempt=2)
        taken = world.home.take(again, labels.for_snapshot(again))
        found = world.home.find(again.slot, attempt=2)
        assert {snapshot.id for snapshot in found} == {snapshot.id for snapshot in taken}

    # copying

    def test_a_copy_asks_its_own_region(self, world: World) -> None:
        order, source = self.completed_point(world)
        copy = self.copy(world, order, source)
        assert copy.region == world.away.region
        assert [region for region, _ in world.creations] == [world.home.region, world.away.region]
        assert copy.id in world.away.look([copy.id])

    def test_every_tag_is_in_the_copying_call(self, world: World) -> None:
        order, source = self.completed_point(world)
        copying = copy_order_for(source, order, world.away.region)
        copy = world.away.copy(copying, labels.for_copy(copying), home_region=world.home.region)
        assert world.creations[-1] == (world.away.region, labels.for_copy(copying))
        assert labels.for_copy(copying).items() <= world.away.look([copy.id])[copy.id].tags.items()

    def test_a_copy_is_encrypted(self, world: World) -> None:
        order, source = self.completed_point(world)
        copy = self.copy(world, order, source)
        assert world.away.look([copy.id])[copy.id].is_encrypted

    def test_a_copy_knows_what_it_is_of_by_our_tag(self, world: World) -> None:
        order, source = self.completed_point(world)
        copy = self.copy(world, order, source)
        seen = world.away.look([copy.id])[copy.id]
        assert seen.source_id == copy.source_id == source.source_id
        label = labels.read(seen, account=world.account)
        assert (label.source_id, label.source_snapshot_id) == (source.source_id, source.id)

    def test_a_copy_is_found_in_its_own_region_and_only_there(self, world: World) -> None:
        order, source = self.completed_point(world)
        before = {snapshot.id for snapshot in world.home.find(order.slot, attempt=1)}
        copy = self.copy(world, order, source)
        assert [snapshot.id for snapshot in world.away.find(order.slot, attempt=1)] == [copy.id]
        assert {snapshot.id for snapshot in world.home.find(order.slot, attempt=1)} == before

    def test_a_copy_of_a_snapshot_that_is_gone_says_so(self, world: World) -> None:
        order, source = self.completed_point(world)
        world.vanish(source)
        with pytest.raises(SnapshotGone):
            self.copy(world, order, source)

    # looking

    def test_look_leaves_out_what_aws_does_not_know(self, world: World) -> None:
        taken = self.take(world, world.make_resource())
        seen = world.home.look([snapshot.id for snapshot in taken] + world.missing_ids(3))
        assert set(seen) == {snapshot.id for snapshot in taken}
        assert all(seen[id].id == id for id in seen)

    def test_look_takes_more_ids_than_one_request_does(self, world: World) -> None:
        taken = self.take(world, world.make_resource())
        seen = world.home.look(world.missing_ids(450) + [snapshot.id for snapshot in taken])
        assert set(seen) == {snapshot.id for snapshot in taken}

    def test_look_at_nothing_answers_nothing(self, world: World) -> None:
        self.take(world, world.make_resource())
        assert world.home.look([]) == {}

    def test_look_follows_a_snapshot_to_its_end(self, world: World) -> None:
        taken = self.take(world, world.make_resource())
        world.complete_everything()
        for snapshot in world.home.look([snapshot.id for snapshot in taken]).values():
            assert snapshot.state is State.COMPLETED
            assert snapshot.progress_percent == 100
            assert snapshot.started_at is not None
            assert snapshot.consistent_at is not None
            assert snapshot.started_at.tzinfo is not None

    def test_look_tells_a_failure_and_why(self, world: World) -> None:
        failed = self.take(world, world.make_resource())[0]
        world.fail(failed)
        seen = world.home.look([failed.id])[failed.id]
        assert seen.state is State.FAILED
        assert seen.message

    # listing

    def test_ours_reads_to_the_last_page(self, world: World) -> None:
        taken = {snapshot.id for _ in range(3) for snapshot in self.take(world, world.make_resource())}
        world.make_pages_small()
        assert {snapshot.id for snapshot in world.home.ours()} == taken

    def test_find_reads_past_an_empty_page(self, world: World) -> None:
        order = order_for(world.make_resource())
        taken = world.home.take(order, labels.for_snapshot(order))
        world.make_pages_small()
        assert {s.id for s in world.home.find(order.slot, attempt=1)} == {s.id for s in taken}

    def test_a_listing_that_breaks_off_raises(self, world: World) -> None:
        for _ in range(3):
            self.take(world, world.make_resource())
        world.make_pages_small()
        world.break_listing()
        with pytest.raises(HoldfastError):
            list(world.home.ours())

    def test_ours_lists_nothing_of_anybody_else(self, world: World) -> None:
        foreign = world.make_foreign_snapshot()
        taken = self.take(world, world.make_resource())
        assert {snapshot.id for snapshot in world.home.ours()} == {snapshot.id for snapshot in taken}
        assert foreign not in {snapshot.id for snapshot in taken}

    # archiving, marking, deleting

    def test_a_snapshot_is_archived_where_the_kind_has_an_archive_and_twice_is_once(self, world: World) -> None:
        _, source = self.completed_point(world)
        has_archive = world.kind in (Kind.VOLUME, Kind.INSTANCE)
        for _ in range(2):
            assert world.home.archive(source.id) is has_archive
        seen = world.home.look([source.id])[source.id]
        assert (seen.state, seen.is_archived) == (State.COMPLETED, has_archive)

    def test_an_archived_snapshot_is_still_ours_and_is_marked_and_deleted_like_any_other(self, world: World) -> None:
        order, source = self.completed_point(world)
        world.home.archive(source.id)
        assert source.id in {snapshot.id for snapshot in world.home.ours()}
        assert source.id in {snapshot.id for snapshot in world.home.find(order.slot, attempt=1)}
        world.home.mark_expired(source.id)
        world.home.delete(source.id)
        assert world.home.look([source.id]) == {}

    def test_how_much_an_archived_snapshot_differs_is_not_told(self, world: World) -> None:
        resource = world.make_resource()
        earlier = self.completed(world, resource, at=AT)[0]
        later = self.completed(world, resource, at=AT + timedelta(hours=1))[0]
        world.home.archive(earlier.id)
        assert world.home.changed_bytes(earlier.id, later.id) is None

    def test_archiving_leaves_the_copy_where_recovery_finds_it(self, world: World) -> None:
        """F58."""
        order, source = self.completed_point(world)
        copy = self.copy(world, order, source)
        world.home.archive(source.id)
        assert not world.away.look([copy.id])[copy.id].is_archived

    def test_a_mark_keeps_every_other_tag_and_twice_is_once(self, world: World) -> None:
        order = order_for(world.make_resource())
        snapshot = world.home.take(order, labels.for_snapshot(order))[0]
        for _ in range(2):
            world.home.mark_expired(snapshot.id)
        seen = world.home.look([snapshot.id])[snapshot.id]
        assert labels.read(seen, account=world.account).is_expired
        assert labels.for_snapshot(order).items() <= seen.tags.items()

    def test_the_deleter_may_only_delete_what_is_marked(self, world: World) -> None:
        marked, unmarked = (self.take(world, world.make_resource())[0] for _ in range(2))
        world.home.mark_expired(marked.id)
        world.home.delete(marked.id)
        with pytest.raises(NotAllowed):
            world.home.delete(unmarked.id)
        assert set(world.home.look([marked.id, unmarked.id])) == {unmarked.id}

    def test_deleting_what_is_gone_is_quiet(self, world: World) -> None:
        snapshot = self.take(world, world.make_resource())[0]
        world.home.mark_expired(snapshot.id)
        for _ in range(2):
            world.home.delete(snapshot.id)
        for missing in world.missing_ids(1):
            world.home.delete(missing)
        assert world.home.look([snapshot.id]) == {}

    # steps

    def take(self, world: World, resource: ResourceKey) -> tuple[Snapshot, ...]:
        order = order_for(resource)
        return world.home.take(order, labels.for_snapshot(order))

    def completed(self, world: World, resource: ResourceKey, *, at: datetime) -> tuple[Snapshot, ...]:
        order = order_for(resource, at=at)
        taken = world.home.take(order, labels.for_snapshot(order))
        world.complete_everything()
        return taken

    def completed_point(self, world: World) -> tuple[SnapshotOrder, Snapshot]:
        order = order_for(world.make_resource())
        taken = world.home.take(order, labels.for_snapshot(order))
        world.complete_everything()
        return order, world.home.look([taken[0].id])[taken[0].id]

    def copy(self, world: World, order: SnapshotOrder, source: Snapshot) -> Snapshot:
        copying = copy_order_for(source, order, world.away.region)
        return world.away.copy(copying, labels.for_copy(copying), home_region=world.home.region)
