"""Only what is EXPIRED on the ledger and marked at AWS goes, copies before their source."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from functions.core.errors import AwsBusy
from functions.core.points import Point, Status
from functions.core.resources import Kind, ResourceKey
from functions.handlers import delete_expired, mark_expired
from functions.ledger.surplus import Stage
from tests.builders import AWAY, HOME
from tests.handlers.test_mark_expired import KEEP_TWO, a_complete_point
from tests.handlers.world import CONTEXT, DAY, Killed, World, example


@pytest.fixture
def expired(world: World) -> Point:
    """The oldest of four points: EXPIRED on the ledger and marked at AWS."""
    world.with_settings(KEEP_TWO)
    world.ledger.since.policy(KEEP_TWO, world.now - 10 * DAY)
    key = world.a_protected()
    for days in (4, 3, 2, 1):
        a_complete_point(world, key, world.now - days * DAY)
    mark_expired.mark_expired(world.tools, world.now)
    point = world.ledger.points.of(key)[0]
    assert point.status is Status.EXPIRED
    return point


def delete(world: World) -> delete_expired.Deleted:
    return delete_expired.delete_expired(world.tools, world.now)


def places(world: World, point: Point) -> tuple[tuple[str, str], tuple[str, str]]:
    [copy] = world.ledger.copies.of_slot(point.slot)
    return (HOME, point.parts[0].snapshot_id), (AWAY, str(copy.snapshot_id))


def statuses(world: World, key: ResourceKey) -> list[str]:
    return [point.status.value for point in world.ledger.points.of(key)]


def test_an_expired_point_goes_with_its_copy_and_nothing_else_goes(world: World, expired: Point) -> None:
    home, away = places(world, expired)
    others = set(world.aws.held) - {home, away}
    said = delete(world)
    assert set(world.aws.held) == others
    assert statuses(world, expired.slot.resource) == ["DELETED"] + ["COMPLETED"] * 3
    assert (len(said.deleted), said.stays) == (1, ())


def test_a_second_run_finds_nothing_to_do(world: World, expired: Point) -> None:
    """F30."""
    delete(world)
    assert delete(world) == delete_expired.Deleted(deleted=(), stays=())


def test_the_copy_goes_before_its_source(world: World, expired: Point) -> None:
    """F66: cut off after the first deletion, the point still restores at home."""
    home, away = places(world, expired)
    world.aws.kill_after_next("delete")
    with pytest.raises(Killed):
        delete(world)
    assert away not in world.aws.held
    assert home in world.aws.held
    assert world.point(expired.slot).status is Status.EXPIRED
    delete(world)
    assert home not in world.aws.held
    assert world.point(expired.slot).status is Status.DELETED


def test_what_nobody_marked_stays_with_its_reason(world: World, expired: Point) -> None:
    """Invariant 8: the ledger alone does not delete; here its mark was taken off again."""
    home, _ = places(world, expired)
    held = world.aws.held[home]
    held.snapshot = replace(held.snapshot, tags={k: v for k, v in held.snapshot.tags.items() if "state" not in k})
    said = delete(world)
    assert home in world.aws.held
    assert said.deleted == ()
    assert "is not marked" in said.stays[0]
    assert world.point(expired.slot).status is Status.EXPIRED


@pytest.mark.parametrize("obstacle", ["is_locked", "is_in_use"])
def test_what_aws_holds_stays_with_its_reason_and_stops_nothing_else(
    world: World, expired: Point, obstacle: str
) -> None:
    """F63, F64, invariant 27."""
    home, away = places(world, expired)
    setattr(world.aws.held[home], obstacle, True)
    said = delete(world)
    assert home in world.aws.held
    assert away not in world.aws.held
    assert "locked or in use" in said.stays[0]
    setattr(world.aws.held[home], obstacle, False)
    delete(world)
    assert world.point(expired.slot).status is Status.DELETED


def test_a_point_that_is_not_expired_is_never_touched_though_it_is_marked(world: World, expired: Point) -> None:
    """Invariant 5: a mark that somebody else set deletes nothing."""
    newest = world.ledger.points.of(expired.slot.resource)[3]
    home = (HOME, newest.parts[0].snapshot_id)
    world.aws.snapshots(Kind.VOLUME, HOME).mark_expired(home[1])
    delete(world)
    assert home in world.aws.held


def test_what_is_gone_already_is_deleted(world: World, expired: Point) -> None:
    for region, id in places(world, expired):
        world.aws.vanish(region, id)
    assert len(delete(world).deleted) == 1


def test_a_region_that_does_not_answer_keeps_the_point_for_another_day(world: World, expired: Point) -> None:
    """F25."""
    world.aws.regions_down.add(AWAY)
    said = delete(world)
    assert said.deleted == ()
    assert "no answer from eu-west-1" in said.stays[0]
    world.aws.regions_down.clear()
    delete(world)
    assert world.point(expired.slot).status is Status.DELETED


def test_a_surplus_snapshot_goes_after_it_was_marked(world: World, expired: Point) -> None:
    """F44: found, marked, deleted, in this order."""
    newest = world.ledger.points.of(expired.slot.resource)[3]
    twin = replace(world.aws.held[HOME, newest.parts[0].snapshot_id].snapshot, id="snap-twin")
    world.aws.hold(twin, Kind.VOLUME, timedelta(0))
    world.ledger.surplus.found(newest.slot, twin, world.now)
    delete(world)
    assert (HOME, "snap-twin") in world.aws.held
    mark_expired.mark_expired(world.tools, world.now)
    delete(world)
    assert (HOME, "snap-twin") not in world.aws.held
    assert (HOME, newest.parts[0].snapshot_id) in world.aws.held
    assert [list(world.ledger.surplus.at(stage)) for stage in Stage] == [[], [], []]


def test_a_locked_surplus_snapshot_stays_with_its_reason(world: World, expired: Point) -> None:
    """F44, F63."""
    newest = world.ledger.points.of(expired.slot.resource)[3]
    twin = replace(world.aws.held[HOME, newest.parts[0].snapshot_id].snapshot, id="snap-twin")
    world.aws.hold(twin, Kind.VOLUME, timedelta(0))
    world.aws.held[HOME, "snap-twin"].is_locked = True
    world.ledger.surplus.found(newest.slot, twin, world.now)
    mark_expired.mark_expired(world.tools, world.now)
    assert "snap-twin in eu-central-1" in delete(world).stays[0]
    assert len(list(world.ledger.surplus.at(Stage.MARKED))) == 1


def test_a_ledger_that_does_not_answer_ends_the_run(
    world: World, expired: Point, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F06: without a whole list nothing is deleted."""

    def no_answer(*_: object) -> list[Point]:
        raise AwsBusy("the ledger did not answer", hint="Again.")

    monkeypatch.setattr(world.ledger.points, "of", no_answer)
    with pytest.raises(AwsBusy):
        delete(world)
    assert world.requests("delete") == 0


def test_the_tick_of_the_example_is_heeded(world: World, expired: Point) -> None:
    """As Lambda calls it."""
    assert delete_expired.handler(example("schedule_tick"), CONTEXT) == {
        "deleted": [f"{expired.slot.resource} {expired.slot.at:%Y-%m-%dT%H:%MZ}"],
        "stays": [],
    }
