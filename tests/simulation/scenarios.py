"""What happens in a history before anything goes wrong: which resources there are, and what the clock calls when."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from functions.core import labels
from functions.core.coverage import Coverage, Standing
from functions.core.evidence import Assertion, judge
from functions.core.points import Copy, Part, Point, Status
from functions.core.policies import Settings, Tiers
from functions.core.rehearsals import Rehearsal
from functions.core.resources import Kind, Resource, ResourceKey
from functions.core.slots import Slot
from functions.core.snapshots import CopyOrder, SnapshotOrder, State
from tests.builders import ACCOUNT, AWAY, HOME, NOON, a_policy
from tests.simulation import faults
from tests.simulation.ec2 import EbsSnapshot
from tests.simulation.rehearsing import Execution
from tests.simulation.weather import befall, weather
from tests.simulation.world import Invocation, World, ledger_in

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)

GOLD = a_policy(version="0a1b2c3d", copy_to=(AWAY,), starts=timedelta(hours=12), keep=Tiers(daily=2))
"""Daily at noon, one copy, two points kept."""

SETTINGS = Settings(home_region=HOME, copy_regions=(AWAY,), policies={"gold": GOLD})
TAGS = {"holdfast:policy": "gold"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`build` makes the world as it is at `starts_at`; things may go wrong for as long as it `lasts`.

    Where it is not `strict`, a second snapshot may be begun, and must be gone in the end."""

    name: str
    what: str
    build: Callable[[World], None]
    lasts: timedelta
    starts_at: datetime = NOON
    settings: Settings = SETTINGS
    strict: bool = True


def _by_the_clock(world: World) -> None:
    """The schedules of a deployment that was swept before. A tick that would find nothing to do is left out, and the
    minute's tick comes every five: what a history tests is what the ticks do, not how many of them do nothing."""
    start = world.now
    with somebody(world):
        ledger_in(HOME).since.did("full sweep", start - 60 * MINUTE)
    world.every("plan_backups", first=start + MINUTE, minutes=60, unless=lambda: world.is_settling)
    world.every("track_points", first=start + 5 * MINUTE, minutes=5, unless=lambda: not world.table.is_anything_open)
    world.every("sweep", first=start + 15 * MINUTE, minutes=15, unless=lambda: world.would_sweep_nothing)


def _backup(kind: Kind) -> Callable[[World], None]:
    def build(world: World) -> None:
        make(world, kind)
        world.at(world.now + timedelta(seconds=20), "inventory", lambda: world.tick("take_inventory"))
        _by_the_clock(world)

    return build


def _expiry(world: World) -> None:
    """Five points with their copies, of which two are kept; the oldest but one is proven to restore."""
    resource = make(world, Kind.VOLUME)
    with somebody(world):
        stand(world, resource)
        ledger_in(HOME).since.policy(GOLD, world.now - 30 * DAY)
        for days in (5, 4, 3, 2, 1):
            kept(world, resource, NOON - days * DAY, is_verified=days == 4)
    for day in (0, 1):
        world.at(world.now + day * DAY + 10 * MINUTE, "mark", lambda: world.tick("mark_expired"))
        world.at(world.now + day * DAY + 40 * MINUTE, "delete", lambda: world.tick("delete_expired"))
        world.at(world.now + day * DAY + 60 * MINUTE, "sweep", lambda: world.tick("sweep"))


def _rehearsal(world: World) -> None:
    """One point with its copy, rehearsed in the Region of the copy."""
    resource = make(world, Kind.VOLUME)
    with somebody(world):
        stand(world, resource)
        kept(world, resource, NOON - DAY)
    world.at(world.now + MINUTE, "rehearsal", lambda: Execution(world, AWAY, "rehearsal-1").start())
    reap(world)


def _fleet(world: World) -> None:
    """Some of every kind, old points of one of them, a rehearsal, expiry, and the weather."""
    old = make(world, Kind.VOLUME)
    for kind in (Kind.VOLUME, Kind.INSTANCE, Kind.DATABASE, Kind.CLUSTER):
        make(world, kind)
    with somebody(world):
        stand(world, old)
        ledger_in(HOME).since.policy(GOLD, world.now - 30 * DAY)
        for days in (4, 3, 2, 1):
            kept(world, old, NOON - days * DAY, is_verified=days == 3)
    world.at(world.now + timedelta(seconds=20), "inventory", lambda: world.tick("take_inventory"))
    _by_the_clock(world)
    world.at(world.now + 50 * MINUTE, "mark", lambda: world.tick("mark_expired"))
    world.at(world.now + 80 * MINUTE, "delete", lambda: world.tick("delete_expired"))
    world.at(world.now + 30 * MINUTE, "rehearsal", lambda: Execution(world, AWAY, "rehearsal-1").start())
    reap(world)
    weather(world)


def _lost_table(world: World) -> None:
    """Two resources with points of earlier days and one of today; then the table is empty."""
    old = make(world, Kind.VOLUME)
    make(world, Kind.DATABASE)
    with somebody(world):
        stand(world, old)
        for days in (2, 1):
            kept(world, old, NOON - days * DAY)
    _by_the_clock(world)
    for minutes in (0, 45):
        world.at(world.now + timedelta(minutes=minutes, seconds=20), "inventory", lambda: world.tick("take_inventory"))
    world.at(world.now + 40 * MINUTE, "loss", lambda: befall(world, faults.TABLE_LOST))


def reap(world: World) -> None:
    """The reaper of the copies' Region runs for as long as anything of a rehearsal is there."""

    def tick() -> None:
        world.after("reap", tick, minutes=60)
        if any(volume.snapshot_id for volume in world.ec2[AWAY].volumes.values()) or any(
            "holdfast:proof-of" in one.tags for one in world.ec2[AWAY].snapshots.values()
        ):
            world.tick("reap_rehearsals", AWAY)

    world.after("reap", tick, minutes=60)


def make(world: World, kind: Kind) -> ResourceKey:
    """A resource of the kind that the policy covers."""
    match kind:
        case Kind.VOLUME:
            id = world.ec2[HOME].make_volume(tags=TAGS).id
        case Kind.INSTANCE:
            id = world.ec2[HOME].make_instance(tags=TAGS, volumes=2)
        case Kind.DATABASE | Kind.CLUSTER:
            id = f"orders-{kind}"
            world.rds[HOME].make(id, is_cluster=kind is Kind.CLUSTER, tags=TAGS)
    return ResourceKey(account=ACCOUNT, region=HOME, kind=kind, id=id)


@contextmanager
def somebody(world: World) -> Iterator[None]:
    """Inside, the ledger is written as it was left by earlier days, and nothing goes wrong."""
    quiet, world.choices.is_quiet = world.choices.is_quiet, True
    world._running.append(
        Invocation(
            function="somebody",
            region=HOME,
            started_at=world.now,
            clock_read=world.now,
            deadline=world.now + DAY,
        )
    )
    try:
        yield
    finally:
        world._running.pop()
        world.choices.is_quiet = quiet


def stand(world: World, key: ResourceKey) -> None:
    """The inventory has found the resource."""
    resource = Resource(key=key, tags=TAGS, state="available")
    said = Coverage(resource=resource, standing=Standing.PROTECTED, by="tag", reason="policy gold", policy="gold")
    ledger_in(HOME).resources.stand(said, world.now)


def kept(world: World, resource: ResourceKey, at: datetime, *, is_verified: bool = False) -> Slot:
    """A complete point of a volume with a complete copy, as an earlier day left them."""
    ledger, slot = ledger_in(HOME), Slot(resource=resource, at=at)
    order = SnapshotOrder(
        slot=slot,
        policy="gold",
        policy_version=GOLD.version,
        copy_to=GOLD.copy_to,
        deadline=at + DAY,
        reason="slot of policy gold",
    )
    home = _held(world, HOME, resource.id, labels.for_snapshot(order), at)
    copy_order = CopyOrder(
        slot=slot,
        source_snapshot_id=home.id,
        source_id=resource.id,
        region=AWAY,
        policy="gold",
        policy_version=GOLD.version,
        deadline=at + DAY,
    )
    away = _held(world, AWAY, "vol-ffffffff", labels.for_copy(copy_order), at + 10 * MINUTE, of=home.id)
    part = Part(source_id=resource.id, snapshot_id=home.id, state=State.COMPLETED, size_gib=8, started_at=at)
    ledger.points.adopt(
        Point(
            slot=slot,
            status=Status.COMPLETED,
            policy="gold",
            policy_version=GOLD.version,
            copy_to=GOLD.copy_to,
            deadline=at + DAY,
            parts=(part,),
            created_at=at,
            completed_at=at + 5 * MINUTE,
        )
    )
    ledger.points.settle(slot)
    ledger.copies.owe(
        Copy(
            slot=slot,
            region=AWAY,
            source_snapshot_id=home.id,
            source_id=resource.id,
            status=Status.COMPLETED,
            policy="gold",
            policy_version=GOLD.version,
            deadline=at + DAY,
            owed_at=at,
            snapshot_id=away.id,
            created_at=at + 10 * MINUTE,
            completed_at=at + 15 * MINUTE,
        )
    )
    if is_verified:
        _verified(slot, home.id, away.id, at)
    return slot


def _held(
    world: World, region: str, volume_id: str, tags: Mapping[str, str], at: datetime, *, of: str = ""
) -> EbsSnapshot:
    ec2 = world.ec2[region]
    snapshot = EbsSnapshot(
        id=f"snap-{'c' if of else 'a'}{at:%m%d%H%M}{len(ec2.snapshots):08x}",
        volume_id=volume_id,
        tags=dict(tags),
        started_at=at,
        ends_at=at + 5 * MINUTE,
        visible_at=at,
        tags_visible_at=at,
        size_gib=8,
        blocks={0: 1, 1: 1},
        is_encrypted=bool(of),
        key="alias/holdfast" if of else "",
        source_snapshot_id=of,
        made_by="copy_snapshot" if of else "take_snapshot",
    )
    ec2.hold(snapshot)
    return snapshot


def _verified(slot: Slot, home_id: str, away_id: str, at: datetime) -> None:
    rehearsal = Rehearsal(
        id="0123456789ab",
        slot=slot,
        region=AWAY,
        snapshot_ids=(away_id,),
        source_snapshot_ids=(home_id,),
        home_region=HOME,
        policy="gold",
        reason="it was never rehearsed here",
        started_at=at + 60 * MINUTE,
        verified_at=at + 70 * MINUTE,
    )
    evidence = judge([Assertion(what="the blocks read have the same content", held=True, detail="2 blocks")])
    ledger_in(AWAY).stories.rehearsed(replace(rehearsal, evidence=evidence), at + 70 * MINUTE)


SCENARIOS: Mapping[str, Scenario] = {
    one.name: one
    for one in (
        *(
            Scenario(
                name=f"backup-{kind}",
                what=f"one {kind}, one slot: taken, copied, closed, scored",
                build=_backup(kind),
                lasts=timedelta(minutes=100),
            )
            for kind in Kind
        ),
        Scenario(
            name="expiry",
            what="one volume with five points: marked and deleted on two days",
            build=_expiry,
            lasts=timedelta(hours=26),
        ),
        Scenario(
            name="rehearsal",
            what="one point: restored from its copy, compared, inspected, recorded, removed",
            build=_rehearsal,
            lasts=timedelta(hours=2),
        ),
        Scenario(
            name="lost-table",
            what="the whole ledger is lost, and rebuilt from the tags of the snapshots",
            build=_lost_table,
            lasts=timedelta(minutes=130),
        ),
        Scenario(
            name="fleet",
            what="some of every kind: taken, copied, expired and rehearsed, in all weathers",
            build=_fleet,
            lasts=timedelta(hours=3),
        ),
    )
}
