"""The fake keeps the same contract as the adapters; otherwise tests over it would prove nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from functions.core import labels
from functions.core.errors import AwsBusy, Broken, OutcomeUnknown, SnapshotGone, TooManyInFlight, Unsafe
from functions.core.resources import Kind, ResourceKey
from functions.core.snapshots import Snapshot, Snapshots, State
from tests.aws.snapshots_suite import AT, SnapshotsSuite, copy_order_for, order_for
from tests.fakes import FakeAws

HOME, AWAY = "us-east-1", "eu-west-1"


class FakeWorld:
    """The suite's world over the fake. It has no pages: a listing is complete or raises."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.aws = FakeAws()
        self.account = self.aws.account
        self.home: Snapshots = self.aws.snapshots(kind, HOME)
        self.away: Snapshots = self.aws.snapshots(kind, AWAY)

    @property
    def creations(self) -> Sequence[tuple[str, Mapping[str, str]]]:
        return [(r.region, r.tags) for r in self.aws.requests if r.verb in ("take", "copy")]

    def make_resource(self) -> ResourceKey:
        return self.aws.make(self.kind, HOME, volumes=2)

    def members(self, resource: ResourceKey) -> frozenset[str]:
        return frozenset(self.aws.resources[resource])

    def missing_resource(self) -> ResourceKey:
        return ResourceKey(account=self.account, region=HOME, kind=self.kind, id="vol-00000000000000000")

    def missing_ids(self, number: int) -> list[str]:
        return [f"snap-{n:08x}" for n in range(number)]

    def make_foreign_snapshot(self) -> str:
        foreign = Snapshot(id="snap-foreign", region=HOME, state=State.PENDING, source_id="vol-foreign")
        return self.aws.hold(foreign, self.kind, timedelta(0)).id

    def complete_everything(self) -> None:
        self.aws.pass_time(timedelta(hours=1))

    def fail(self, snapshot: Snapshot) -> None:
        self.aws.fail(snapshot.region, snapshot.id)

    def vanish(self, snapshot: Snapshot) -> None:
        self.aws.vanish(snapshot.region, snapshot.id)

    def make_pages_small(self) -> None:
        """There are no pages to make smaller."""

    def break_listing(self) -> None:
        self.aws.refuse_next("ours", Broken("the listing broke off", hint="Ask again."))


@pytest.fixture(params=list(Kind))
def world(request: pytest.FixtureRequest) -> FakeWorld:
    return FakeWorld(request.param)


class TestFakeSnapshots(SnapshotsSuite):
    """Every sentence of the suite, for each kind."""


def test_a_snapshot_takes_its_time() -> None:
    world = FakeWorld(Kind.VOLUME)
    order = order_for(world.make_resource())
    (taken,) = world.home.take(order, labels.for_snapshot(order))
    assert taken.state is State.PENDING
    world.aws.pass_time(timedelta(minutes=2, seconds=30))
    assert world.home.look([taken.id])[taken.id].progress_percent == 50
    world.aws.pass_time(timedelta(minutes=2, seconds=30))
    assert world.home.look([taken.id])[taken.id] == replace(
        taken,
        state=State.COMPLETED,
        progress_percent=100,
        completed_at=AT + timedelta(minutes=5),
        full_size_bytes=10 * 2**30,
    )


def test_a_lost_reply_leaves_the_snapshot_behind() -> None:
    world = FakeWorld(Kind.VOLUME)
    order = order_for(world.make_resource())
    world.aws.lose_next_reply("take")
    with pytest.raises(OutcomeUnknown):
        world.home.take(order, labels.for_snapshot(order))
    assert len(world.home.find(order.slot, attempt=1)) == 1


def test_a_refusal_leaves_nothing_behind() -> None:
    world = FakeWorld(Kind.VOLUME)
    order = order_for(world.make_resource())
    world.aws.refuse_next("take", AwsBusy("throttled", hint="Ask again."))
    with pytest.raises(AwsBusy):
        world.home.take(order, labels.for_snapshot(order))
    assert world.home.find(order.slot, attempt=1) == ()


def test_what_was_made_is_seen_only_after_the_lag() -> None:
    world = FakeWorld(Kind.VOLUME)
    world.aws.visible_after = timedelta(minutes=5)
    order = order_for(world.make_resource())
    world.home.take(order, labels.for_snapshot(order))
    assert world.home.find(order.slot, attempt=1) == ()
    world.aws.pass_time(timedelta(minutes=5))
    assert len(world.home.find(order.slot, attempt=1)) == 1


def test_a_limit_on_copies_counts_the_copies_in_progress_only() -> None:
    world = FakeWorld(Kind.VOLUME)
    world.aws.limits[AWAY, "copy"] = 1
    orders = [order_for(world.make_resource()) for _ in range(2)]
    sources = [world.home.take(order, labels.for_snapshot(order))[0] for order in orders]
    first, second = (copy_order_for(source, order, AWAY) for source, order in zip(sources, orders, strict=True))
    world.away.copy(first, labels.for_copy(first), home_region=HOME)
    with pytest.raises(TooManyInFlight):
        world.away.copy(second, labels.for_copy(second), home_region=HOME)
    world.complete_everything()
    world.away.copy(second, labels.for_copy(second), home_region=HOME)


def test_a_copy_under_a_broken_key_is_accepted_and_fails_later() -> None:
    world = FakeWorld(Kind.VOLUME)
    world.aws.broken_keys.add(AWAY)
    order = order_for(world.make_resource())
    (source,) = world.home.take(order, labels.for_snapshot(order))
    world.complete_everything()
    copying = copy_order_for(source, order, AWAY)
    copy = world.away.copy(copying, labels.for_copy(copying), home_region=HOME)
    assert world.away.look([copy.id])[copy.id].message == "Given key ID is not accessible"


def test_what_is_gone_is_not_archived() -> None:
    world = FakeWorld(Kind.VOLUME)
    with pytest.raises(SnapshotGone):
        world.home.archive("snap-0")


def test_a_lock_keeps_a_marked_snapshot() -> None:
    world = FakeWorld(Kind.VOLUME)
    order = order_for(world.make_resource())
    (taken,) = world.home.take(order, labels.for_snapshot(order))
    world.home.mark_expired(taken.id)
    world.aws.held[HOME, taken.id].is_locked = True
    with pytest.raises(Unsafe):
        world.home.delete(taken.id)
