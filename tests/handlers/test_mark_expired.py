"""Which points may go is decided with a reason, from a whole list, and never the last one."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from functions.core import labels
from functions.core.errors import AwsBusy, NotAllowed
from functions.core.evidence import Assertion, judge
from functions.core.holds import HeldBy, Hold, Release, in_force
from functions.core.points import Copy, Point, Status
from functions.core.policies import Lock, LockMode, Tiers
from functions.core.rehearsals import Rehearsal
from functions.core.resources import Kind, ResourceKey
from functions.core.retention import WAIT_AFTER_CHANGE
from functions.core.slots import Slot
from functions.core.snapshots import State
from functions.handlers import mark_expired, settling
from functions.ledger.surplus import Stage
from tests.builders import AWAY, FAR, HOME, a_copy, a_part, a_point, a_policy, a_snapshot
from tests.handlers.world import CONTEXT, DAY, HOUR, MINUTE, World, example

SHELVED = a_policy(
    version="0a1b2c3d", copy_to=(AWAY,), keep=Tiers(daily=1, monthly=12), archive_after=timedelta(days=28)
)
KEEP_TWO = a_policy(version="0a1b2c3d", copy_to=(AWAY,), keep=Tiers(daily=2))


@pytest.fixture
def resource(world: World) -> ResourceKey:
    """A resource with five complete and copied points, one a day, under a policy that keeps two and is old enough."""
    world.with_settings(KEEP_TWO)
    world.ledger.since.policy(KEEP_TWO, world.now - 10 * DAY)
    key = world.a_protected()
    for days in (5, 4, 3, 2, 1):
        a_complete_point(world, key, world.now - days * DAY)
    return key


@pytest.fixture
def aging(world: World) -> ResourceKey:
    """A resource with a fresh point and two that only a monthly tier keeps and that are old enough for the archive."""
    world.with_settings(SHELVED)
    world.ledger.since.policy(SHELVED, world.now - 10 * DAY)
    key = world.a_protected()
    for days in (70, 40, 1):
        a_complete_point(world, key, world.now - days * DAY)
    return key


def a_complete_point(world: World, key: ResourceKey, at: datetime) -> Point:
    """A settled point with its snapshot and its copy, at AWS and on the ledger."""
    slot = Slot(resource=key, at=at)
    point = a_point(slot=slot, copy_to=(AWAY,), policy_version=KEEP_TWO.version, parts=())
    snapshots = []
    for region in (HOME, AWAY):
        source = snapshots[0] if snapshots else None
        tags = (
            labels.for_copy(settling.copy_order(a_copy_of(point, source.id)))
            if source
            else labels.for_snapshot(settling.snapshot_order(point))
        )
        made = a_snapshot(world.aws.new_id(), tags, region=region, source_id=key.id, started_at=at, state=State.PENDING)
        snapshots.append(world.aws.hold(made, key.kind, timedelta(0)))
    home, away = snapshots
    part = a_part(home.id, source_id=key.id)
    point = replace(point, parts=(part,))
    assert world.ledger.points.adopt(point)
    world.ledger.copies.owe(replace(a_copy_of(point, home.id), snapshot_id=away.id))
    world.ledger.points.settle(slot)
    return point


def a_copy_of(point: Point, source_snapshot_id: str) -> Copy:
    whole = replace(point, parts=(a_part(source_snapshot_id, source_id=point.slot.resource.id),))
    return a_copy(whole)


def mark(world: World) -> mark_expired.Marked:
    return mark_expired.mark_expired(world.tools, world.now)


def statuses(world: World, key: ResourceKey) -> list[str]:
    return [point.status.value for point in world.ledger.points.of(key)]


def archived(world: World) -> set[tuple[str, str]]:
    return {place for place, held in world.aws.held.items() if held.snapshot.is_archived}


def marked(world: World) -> set[tuple[str, str]]:
    return {place for place, held in world.aws.held.items() if held.snapshot.tags.get(labels.STATE) == labels.EXPIRED}


def both_of(world: World, point: Point) -> set[tuple[str, str]]:
    [copy] = world.ledger.copies.of_slot(point.slot)
    return {(HOME, point.parts[0].snapshot_id), (AWAY, str(copy.snapshot_id))}


def test_the_oldest_point_that_no_tier_keeps_is_expired_and_marked_with_its_copy(
    world: World, resource: ResourceKey
) -> None:
    """F65: one a day, however many the policy would let go."""
    said = mark(world)
    assert statuses(world, resource) == ["EXPIRED"] + ["COMPLETED"] * 4
    oldest = world.ledger.points.of(resource)[0]
    assert marked(world) == both_of(world, oldest)
    assert said.expired == (f"{resource} {oldest.slot.at:%Y-%m-%dT%H:%MZ}: no tier of its policy keeps it",)
    assert (said.kept, said.lost, said.left_alone) == (4, (), ())
    assert oldest.expired_at == world.now


def test_marking_deletes_nothing(world: World, resource: ResourceKey) -> None:
    """Invariant 8: two steps, two roles."""
    before = set(world.aws.held)
    mark(world)
    assert set(world.aws.held) == before
    assert world.requests("delete") == 0


def test_a_second_run_on_the_same_day_lets_no_more_go(world: World, resource: ResourceKey) -> None:
    """F30, F65, invariant 7."""
    mark(world)
    world.pass_time(HOUR)
    assert mark(world).expired == ()
    world.pass_time(DAY)
    assert len(mark(world).expired) == 1


def test_a_policy_changed_lately_lets_nothing_go(world: World, resource: ResourceKey) -> None:
    """F65."""
    world.with_settings(replace(KEEP_TWO, version="11111111", keep=Tiers(daily=1)))
    assert mark(world).expired == ()
    world.pass_time(WAIT_AFTER_CHANGE)
    assert len(mark(world).expired) == 1


def test_a_clock_that_ran_backwards_lets_nothing_go(world: World, resource: ResourceKey) -> None:
    """F21, F67, invariant 6."""
    world.ledger.since.clock(world.now + HOUR)
    assert mark(world).expired == ()


@pytest.mark.parametrize("region", [HOME, AWAY, FAR])
def test_a_listing_that_fails_ends_the_run_before_any_decision(
    world: World, resource: ResourceKey, region: str
) -> None:
    """F06, invariant 6: half a list decides nothing."""
    world.aws.regions_down.add(region)
    with pytest.raises(AwsBusy):
        mark(world)
    assert statuses(world, resource) == ["COMPLETED"] * 5
    assert marked(world) == set()


def test_nothing_goes_when_aws_shows_no_point_that_would_stay(world: World, resource: ResourceKey) -> None:
    """F60, invariant 4: what the ledger believes in must be seen."""
    points = world.ledger.points.of(resource)
    for point in points[1:]:
        world.aws.fail(HOME, point.parts[0].snapshot_id)
    said = mark(world)
    assert (said.expired, marked(world)) == ((), set())
    assert said.left_alone == (f"{resource}: none of the points that would stay was seen at AWS",)


def test_points_that_aws_no_longer_has_are_gone_on_the_ledger_too(world: World, resource: ResourceKey) -> None:
    """F56: somebody deleted them; they must not count as good ones."""
    points = world.ledger.points.of(resource)
    world.aws.vanish(HOME, points[4].parts[0].snapshot_id)
    said = mark(world)
    assert statuses(world, resource)[4] == "GONE"
    assert len(said.lost) == 1
    assert "is not at AWS any more" in world.ledger.points.of(resource)[4].errors[0]


def test_a_copy_that_aws_no_longer_has_is_gone_on_the_ledger_too(world: World, resource: ResourceKey) -> None:
    """F56."""
    newest = world.ledger.points.of(resource)[4]
    [copy] = world.ledger.copies.of_slot(newest.slot)
    world.aws.vanish(AWAY, str(copy.snapshot_id))
    assert len(mark(world).lost) == 1
    assert world.copy(newest.slot).status is Status.GONE


def test_points_that_somebody_deleted_are_told_with_what_the_bin_still_has(world: World, resource: ResourceKey) -> None:
    """F42, F80."""
    points = world.ledger.points.of(resource)
    binned, gone = (points[number].parts[0].snapshot_id for number in (3, 4))
    for id in (binned, gone):
        world.aws.vanish(HOME, id)
    world.guarded.binned[HOME, binned] = world.now + DAY
    mark(world)
    [(subject, body)] = world.topic.notices
    assert subject == "Recovery points were deleted by somebody else (2)"
    assert f"until {world.now + DAY:%Y-%m-%d %H:%M} UTC" in body
    assert f"aws --region {HOME} ec2 restore-snapshot-from-recycle-bin --snapshot-id {binned}" in body
    assert f"{gone}: it is in no Recycle Bin" in body


def test_where_nothing_was_lost_the_bin_is_not_asked_and_nobody_told(world: World, resource: ResourceKey) -> None:
    mark(world)
    assert (world.requests("bin"), world.topic.notices) == (0, [])


def test_a_bin_that_cannot_be_asked_is_said_and_stops_nothing(world: World, resource: ResourceKey) -> None:
    world.aws.vanish(HOME, world.ledger.points.of(resource)[4].parts[0].snapshot_id)
    world.aws.refuse_next("bin", AwsBusy("throttled", hint="again"))
    assert len(mark(world).lost) == 1
    assert "could not be asked" in world.topic.notices[0][1]


def test_a_copy_that_is_gone_is_made_again_while_its_source_lives(world: World, resource: ResourceKey) -> None:
    """F56: the promise of a copy elsewhere outlives the one who deleted it."""
    newest = world.ledger.points.of(resource)[4]
    [copy] = world.ledger.copies.of_slot(newest.slot)
    world.aws.vanish(AWAY, str(copy.snapshot_id))
    mark(world)
    world.minutes(45)
    assert world.copy(newest.slot).status is Status.COMPLETED


def test_a_point_that_still_owes_a_copy_stays(world: World, resource: ResourceKey) -> None:
    """F25, F55, invariant 9."""
    oldest = world.ledger.points.of(resource)[0]
    [copy] = world.ledger.copies.of_slot(oldest.slot)
    world.ledger.copies.move(copy, Status.GONE, now=world.now)
    assert all(oldest.slot.at.strftime("%Y-%m-%d") not in said for said in mark(world).expired)
    assert statuses(world, resource)[0] == "COMPLETED"


def test_the_newest_point_proven_to_restore_stays(world: World, resource: ResourceKey) -> None:
    """F60: of a resource that was ever verified, a verified point is left."""
    oldest = world.ledger.points.of(resource)[0]
    rehearsal = Rehearsal(
        id="8c1e2f3a4b5d",
        slot=oldest.slot,
        region=AWAY,
        snapshot_ids=(),
        source_snapshot_ids=(),
        home_region=HOME,
        policy="gold",
        reason="never rehearsed",
        evidence=judge([Assertion(what="same content", held=True, detail="8 of 8")]),
    )
    world.ledger.stories.rehearsed(rehearsal, world.now)
    mark(world)
    assert statuses(world, resource)[:2] == ["COMPLETED", "EXPIRED"]


class TestAHeldPoint:
    """Something speaks against it, so somebody may need it to find out what happened."""

    def held(self, world: World, key: ResourceKey, by: HeldBy = HeldBy.VERDICT, *, days: int = 0) -> Slot:
        slot = world.ledger.points.of(key)[0].slot
        hold = Hold(slot=slot, by=by, because="unusual", at=world.now - days * DAY)
        assert world.ledger.holds.hold(hold)
        return slot

    @pytest.mark.parametrize("by", list(HeldBy))
    def test_it_is_not_let_go_while_it_is_held(self, world: World, resource: ResourceKey, by: HeldBy) -> None:
        slot = self.held(world, resource, by)
        for _ in range(5):
            mark(world)
            world.pass_time(DAY)
        assert world.point(slot).status is Status.COMPLETED
        assert not both_of(world, world.point(slot)) & marked(world)

    def test_it_is_let_go_like_any_other_once_it_is_released(self, world: World, resource: ResourceKey) -> None:
        slot = self.held(world, resource)
        world.ledger.holds.release(Release(slot=slot, by="person", because="it was us", at=world.now + MINUTE))
        mark(world)
        assert world.point(slot).status is Status.EXPIRED

    def test_a_suspicion_ends_when_the_policy_says_and_that_is_told(self, world: World, resource: ResourceKey) -> None:
        world.with_settings(replace(KEEP_TWO, release_after=timedelta(days=3)))
        slot = self.held(world, resource, days=2)
        assert mark(world).released == ()
        world.pass_time(DAY)
        [released] = mark(world).released
        assert "held for 3 days as the policy says" in released
        assert f"{resource} {slot.at:%Y-%m-%dT%H:%MZ}" in released
        assert in_force(world.ledger.holds.of(resource)) == {}

    @pytest.mark.parametrize("by", [HeldBy.REHEARSAL, HeldBy.PERSON])
    def test_what_was_shown_or_said_later_is_not_released_with_the_suspicion(
        self, world: World, resource: ResourceKey, by: HeldBy
    ) -> None:
        world.with_settings(replace(KEEP_TWO, release_after=timedelta(days=3)))
        self.held(world, resource, days=9)
        self.held(world, resource, by, days=8)
        assert mark(world).released == ()
        assert [hold.by for hold in in_force(world.ledger.holds.of(resource)).values()] == [by]

    def test_without_a_time_in_the_policy_it_stays_held(self, world: World, resource: ResourceKey) -> None:
        self.held(world, resource, days=300)
        assert mark(world).released == ()


def test_a_copy_in_a_region_that_was_not_listed_is_not_judged(world: World, resource: ResourceKey) -> None:
    """The Region was taken out of the settings; what lies there still restores."""
    world.with_changed_settings(copy_regions=(FAR,), policies={"gold": replace(KEEP_TWO, copy_to=())})
    before = [copy.status for copy in world.ledger.copies.of(resource)]
    assert mark(world).lost == ()
    assert [copy.status for copy in world.ledger.copies.of(resource)] == before


def test_a_locked_point_stays_while_its_lock_runs(world: World, resource: ResourceKey) -> None:
    """F63."""
    world.with_settings(replace(KEEP_TWO, lock=Lock(mode=LockMode.COMPLIANCE, days=30, beyond_retention=True)))
    assert mark(world).expired == ()


def test_the_points_of_a_policy_that_is_gone_stay(world: World, resource: ResourceKey) -> None:
    world.with_settings(a_policy("silver", version="0a1b2c3d"))
    assert mark(world).expired == ()


def test_the_points_of_a_resource_that_is_gone_are_judged_as_before(world: World, resource: ResourceKey) -> None:
    """F46: its policy goes on deciding, and the last point never goes."""
    known = world.ledger.resources.get(resource)
    assert known is not None
    world.ledger.resources.gone(known, world.now)
    for _ in range(8):
        mark(world)
        world.pass_time(DAY)
    assert statuses(world, resource) == ["EXPIRED"] * 3 + ["COMPLETED"] * 2


def test_a_mark_that_is_refused_is_told_and_tried_again_the_next_day(world: World, resource: ResourceKey) -> None:
    """F66: cut off between the decision and the mark; invariant 27."""
    world.aws.refuse_next("mark_expired", NotAllowed("ec2:CreateTags", hint="Deploy again."))
    said = mark(world)
    assert len(said.left_alone) == 1
    oldest = world.ledger.points.of(resource)[0]
    assert len(marked(world) & both_of(world, oldest)) == 1
    world.pass_time(HOUR)
    mark(world)
    assert both_of(world, oldest) <= marked(world)


def test_a_snapshot_of_somebody_else_is_never_marked(world: World, resource: ResourceKey) -> None:
    """F63, invariant 5."""
    foreign = a_snapshot("snap-foreign", {"owner": "somebody"}, started_at=world.now - 90 * DAY)
    world.aws.hold(foreign, Kind.VOLUME, timedelta(0))
    mark(world)
    assert (HOME, "snap-foreign") not in marked(world)


def test_surplus_snapshots_are_marked_and_nothing_else_of_their_slot(world: World, resource: ResourceKey) -> None:
    """F44."""
    newest = world.ledger.points.of(resource)[4]
    twin = replace(world.aws.held[HOME, newest.parts[0].snapshot_id].snapshot, id="snap-twin")
    world.aws.hold(twin, Kind.VOLUME, timedelta(0))
    world.ledger.surplus.found(newest.slot, twin, world.now)
    assert mark(world).surplus == (f"snap-twin in {HOME}",)
    assert (HOME, "snap-twin") in marked(world)
    assert both_of(world, newest).isdisjoint(marked(world))
    assert [one.snapshot_id for one in world.ledger.surplus.at(Stage.MARKED)] == ["snap-twin"]


def test_a_surplus_snapshot_that_is_gone_does_not_stay_on_the_list_for_ever(
    world: World, resource: ResourceKey
) -> None:
    """Somebody deleted it by hand: nothing is left to do."""
    newest = world.ledger.points.of(resource)[4]
    world.ledger.surplus.found(newest.slot, a_snapshot("snap-gone"), world.now)
    mark(world)
    assert list(world.ledger.surplus.at(Stage.FOUND)) == []


def test_what_only_a_month_keeps_is_archived_at_home_and_its_copy_stays(world: World, aging: ResourceKey) -> None:
    said = mark(world)
    older, old, new = world.ledger.points.of(aging)
    assert archived(world) == {(HOME, older.parts[0].snapshot_id), (HOME, old.parts[0].snapshot_id)}
    assert said.archived == (
        f"{aging} {old.slot.at:%Y-%m-%dT%H:%MZ}: monthly 2 of 12, and older than 28 days",
        f"{aging} {older.slot.at:%Y-%m-%dT%H:%MZ}: monthly 3 of 12, and older than 28 days",
    )
    assert (said.expired, said.kept, said.left_alone) == ((), 3, ())
    assert [point.archived_at for point in (older, old, new)] == [world.now, world.now, None]
    assert statuses(world, aging) == ["COMPLETED"] * 3


def test_what_is_archived_is_not_asked_for_again(world: World, aging: ResourceKey) -> None:
    mark(world)
    world.pass_time(HOUR)
    assert mark(world).archived == ()
    assert world.requests("archive") == 2


def test_an_archive_that_is_refused_stops_nothing_else_and_is_tried_again(world: World, aging: ResourceKey) -> None:
    world.aws.refuse_next("archive", NotAllowed("ec2:ModifySnapshotTier", hint="Deploy again."))
    said = mark(world)
    assert len(said.archived) == len(said.left_alone) == 1
    assert "ec2:ModifySnapshotTier" in said.left_alone[0]
    world.pass_time(HOUR)
    assert len(mark(world).archived) == 1
    assert len(archived(world)) == 2


def test_a_set_is_archived_when_all_of_it_is_and_half_a_set_is_finished_the_next_day(
    world: World, aging: ResourceKey
) -> None:
    """Refused, or cut off, between two snapshots of one set."""
    mark(world)
    key = world.a_protected(Kind.INSTANCE, volumes=2)
    parts = tuple(a_part(world.aws.new_id(), source_id=volume) for volume in world.aws.resources[key])
    point = a_point(slot=Slot(resource=key, at=world.now - 40 * DAY), parts=parts)
    assert world.ledger.points.adopt(point)
    for part in parts:
        world.aws.hold(a_snapshot(part.snapshot_id, {labels.MANAGED: "1"}), key.kind, timedelta(0))
    a_complete_point(world, key, world.now - DAY)
    whole = {(HOME, part.snapshot_id) for part in parts}
    world.aws.refuse_next("archive", AwsBusy("too many at once", hint="It is asked again."))
    assert mark(world).archived == ()
    assert len(archived(world) & whole) == 1
    assert world.point(point.slot).archived_at is None
    world.pass_time(HOUR)
    assert len(mark(world).archived) == 1
    assert whole <= archived(world)
    assert world.point(point.slot).archived_at == world.now


@pytest.mark.parametrize("kind", [Kind.DATABASE, Kind.CLUSTER])
def test_a_kind_without_an_archive_keeps_its_old_points_as_they_are(
    world: World, aging: ResourceKey, kind: Kind
) -> None:
    key = world.a_protected(kind)
    for days in (40, 1):
        a_complete_point(world, key, world.now - days * DAY)
    said = mark(world)
    assert not [line for line in said.archived + said.left_alone if str(key) in line]
    assert [point.archived_at for point in world.ledger.points.of(key)] == [None, None]


def test_nothing_is_archived_when_aws_shows_no_point_that_would_stay(world: World, aging: ResourceKey) -> None:
    newest = world.ledger.points.of(aging)[-1]
    world.aws.fail(HOME, newest.parts[0].snapshot_id)
    said = mark(world)
    assert (said.archived, archived(world)) == ((), set())
    assert said.left_alone == (f"{aging}: none of the points that would stay was seen at AWS",)


def test_an_archived_point_expires_and_is_marked_like_any_other(world: World, aging: ResourceKey) -> None:
    mark(world)
    fewer = replace(SHELVED, version="11111111", keep=Tiers(daily=1, monthly=2))
    world.with_settings(fewer)
    mark(world)
    world.pass_time(WAIT_AFTER_CHANGE)
    assert len(mark(world).expired) == 1
    oldest = world.ledger.points.of(aging)[0]
    assert (oldest.status, both_of(world, oldest)) == (Status.EXPIRED, marked(world))


def test_the_tick_of_the_example_is_heeded(world: World, resource: ResourceKey) -> None:
    """As Lambda calls it."""
    answer = mark_expired.handler(example("schedule_tick"), CONTEXT)
    assert len(answer["expired"]) == 1
    assert json.dumps(world.decisions()[0]["decision"])
