"""Scenes in which single defences are needed: what the scenarios of every day meet by luck only."""

from __future__ import annotations

import lzma
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from functions.core import labels
from functions.core.points import Copy, Part, Point, Status
from functions.core.policies import Lock, LockMode, Policy, Settings, Tiers
from functions.core.resources import Kind, ResourceKey
from functions.core.slots import Slot
from functions.core.snapshots import SnapshotOrder, State
from tests.builders import AWAY, HOME, NOON, a_policy
from tests.simulation.ebs_direct import BLOCK_BYTES
from tests.simulation.ec2 import EbsSnapshot
from tests.simulation.oracles import Oracles
from tests.simulation.scenarios import DAY, GOLD, MINUTE, SCENARIOS, Scenario, kept, make, reap, somebody, stand
from tests.simulation.world import COPY_ORDERS, SNAPSHOT_ORDERS, World, ledger_in

HOUR = timedelta(hours=1)
OF_THE_IMAGE = 1_000_000
"""From this number on, blocks are those of an image of a file system."""

Doing = Callable[[World, ResourceKey], None]


def impatient(kind: Kind) -> Scenario:
    """A backup of which every order that was ever sent comes again every 20 seconds."""
    usual = SCENARIOS[f"backup-{kind}"]

    def build(world: World) -> None:
        usual.build(world)

        def tell_again() -> None:
            for name in (SNAPSHOT_ORDERS, COPY_ORDERS):
                for body in dict.fromkeys(world.queues[name].sent):
                    world.queues[name].put(body)

        for seconds in range(80, 1200, 20):
            world.at(world.now + timedelta(seconds=seconds), "orders come again", tell_again)

    return replace(usual, name=f"impatient-{kind}", what="every order comes again every 20 seconds", build=build)


def _expiring(
    name: str,
    what: str,
    *,
    policy: Policy = GOLD,
    days: Sequence[int] = (5, 4, 3, 2, 1),
    since: timedelta | None = 30 * DAY,
    lives: Callable[[World, ResourceKey, datetime], object] = kept,
    prepared: Doing = lambda *_: None,
) -> Scenario:
    """One volume with a point of each of so many days ago; marked and deleted on two days."""

    def build(world: World) -> None:
        resource = make(world, Kind.VOLUME)
        with somebody(world):
            stand(world, resource)
            if since is not None:
                ledger_in(HOME).since.policy(policy, world.now - since)
            for back in days:
                lives(world, resource, NOON - back * DAY)
        prepared(world, resource)
        for day in (0, 1):
            world.at(world.now + day * DAY + 10 * MINUTE, "mark", lambda: world.tick("mark_expired"))
            world.at(world.now + day * DAY + 40 * MINUTE, "delete", lambda: world.tick("delete_expired"))

    settings = Settings(home_region=HOME, copy_regions=(AWAY,), policies={policy.name: policy})
    return Scenario(name=name, what=what, build=build, lasts=timedelta(hours=26), settings=settings)


def _uncopied(
    world: World, resource: ResourceKey, at: datetime, *, policy: Policy = GOLD, status: Status = Status.COMPLETED
) -> EbsSnapshot:
    """A point of a volume without a copy; its snapshot is complete, whatever the ledger says."""
    slot = Slot(resource=resource, at=at)
    order = SnapshotOrder(
        slot=slot,
        policy=policy.name,
        policy_version=policy.version,
        copy_to=policy.copy_to,
        deadline=at + DAY,
        reason="slot of the policy",
    )
    snapshot = EbsSnapshot(
        id=f"snap-{at:%m%d%H%M}{len(world.ec2[HOME].snapshots):08x}",
        volume_id=resource.id,
        tags=labels.for_snapshot(order),
        started_at=at,
        ends_at=at + 5 * MINUTE,
        visible_at=at,
        tags_visible_at=at,
        size_gib=8,
        blocks={0: 1, 1: 1},
        made_by="take_snapshot",
    )
    world.ec2[HOME].hold(snapshot)
    state = State.COMPLETED if status is Status.COMPLETED else State.PENDING
    ledger_in(HOME).points.adopt(
        Point(
            slot=slot,
            status=status,
            policy=policy.name,
            policy_version=policy.version,
            copy_to=policy.copy_to,
            deadline=at + DAY,
            parts=(Part(source_id=resource.id, snapshot_id=snapshot.id, state=state, size_gib=8, started_at=at),),
            created_at=at,
            completed_at=at + 5 * MINUTE if status is Status.COMPLETED else None,
        )
    )
    if status is Status.COMPLETED:
        ledger_in(HOME).points.settle(slot)
    return snapshot


def _owing_its_copy(world: World, resource: ResourceKey, at: datetime) -> None:
    snapshot, slot = _uncopied(world, resource, at), Slot(resource=resource, at=at)
    ledger_in(HOME).copies.owe(
        Copy(
            slot=slot,
            region=AWAY,
            source_snapshot_id=snapshot.id,
            source_id=resource.id,
            status=Status.OWED,
            policy=GOLD.name,
            policy_version=GOLD.version,
            deadline=at + DAY,
            owed_at=at,
        )
    )


def _copy_later(world: World, resource: ResourceKey) -> None:
    world.every("track_points", first=world.now + HOUR, minutes=5)
    world.every("sweep", first=world.now + HOUR, minutes=15, unless=lambda: world.would_sweep_nothing)


def _hold_the_oldest(world: World, resource: ResourceKey) -> None:
    event = {
        "resource": str(resource),
        "slot": f"{NOON - 5 * DAY:%Y-%m-%dT%H:%M:%SZ}",
        "do": "hold",
        "because": "it looks odd",
        "by": "a person",
    }

    def hold() -> None:
        world.invoke("hold_point", event)

    world.after("hold", hold, minutes=1)


def _change_the_policy(world: World, resource: ResourceKey) -> None:
    def changed() -> None:
        for watcher in world.watchers:
            if isinstance(watcher, Oracles):
                watcher.policy_changed(GOLD.name, world.now)

    world.after("policy changed", changed, minutes=1)


def _turn_the_clock_back(world: World, resource: ResourceKey) -> None:
    world.after("clock is wrong", lambda: setattr(world.clock, "skew", -timedelta(hours=36)), minutes=20)
    world.after("mark", lambda: world.tick("mark_expired"), minutes=30)


def _lose_the_newest(world: World, resource: ResourceKey) -> None:
    """The newest point was complete a moment ago, and somebody deletes it while AWS is listed for the first time."""
    with somebody(world):
        newest = _uncopied(world, resource, world.now - 8 * MINUTE, policy=ALONE)

    def delete() -> None:
        world.ec2[HOME].vanish(newest.id)
        world.vanished.add(newest.id)

    world.after("deleted", delete, minutes=1)
    world.after("mark", lambda: world.tick("mark_expired"), minutes=2)
    world.after("delete", lambda: world.tick("delete_expired"), minutes=3)


def _two_of_one_slot(world: World) -> None:
    """The only slot of a volume has two snapshots: the one on the ledger takes long, the other is complete."""
    resource = make(world, Kind.VOLUME)
    with somebody(world):
        stand(world, resource)
        recorded = _uncopied(world, resource, NOON - MINUTE, policy=ALONE, status=Status.CREATED)
        recorded.ends_at = world.now + 2 * HOUR
        other = replace(recorded, id="snap-other", tags=dict(recorded.tags), ends_at=world.now)
        world.ec2[HOME].hold(other)
    for hours in (0, 3):
        for minutes, function in ((15, "sweep"), (20, "mark_expired"), (25, "delete_expired")):
            at = world.now + timedelta(hours=hours, minutes=minutes)
            world.at(at, function, lambda does=function: world.tick(does))
    world.every("track_points", first=world.now + 5 * MINUTE, minutes=5)


def _stranger(world: World) -> None:
    """Somebody's own volume carries the tags of a rehearsal that is long over, and a name of its own."""
    tags = {"holdfast:rehearsal": "rehearsal-0", "holdfast:expires-at": "2020-01-01T00:00:00Z", "Name": "web-1 data"}
    world.ec2[AWAY].make_volume(tags=tags)
    world.after("reap", lambda: world.tick("reap_rehearsals", AWAY), minutes=30)
    reap(world)


def _nothing_is_known(world: World) -> None:
    """A volume has a snapshot of ours, and the ledger nothing of it; the planner does not run."""
    resource = make(world, Kind.VOLUME)
    with somebody(world):
        _uncopied(world, resource, NOON - DAY, policy=ALONE)
        world.table.forget_everything()
        stand(world, resource)
    world.every("track_points", first=world.now + 5 * MINUTE, minutes=5)
    world.every("sweep", first=world.now + 15 * MINUTE, minutes=15)


def _with_a_file_system(world: World) -> None:
    """A rehearsal of a point whose blocks are those of a small ext4, on a disk of 8 GiB."""
    SCENARIOS["rehearsal"].build(world)
    for ec2 in (world.ec2[HOME], world.ec2[AWAY]):
        for snapshot in ec2.snapshots.values():
            snapshot.blocks = {index: OF_THE_IMAGE + index for index in range(len(_image()) // BLOCK_BYTES)}


@cache
def _image() -> bytes:
    return lzma.decompress((Path(__file__).parents[1] / "inspection" / "images" / "ext4-old.img.xz").read_bytes())


def content_of_the_image(usual: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """What blocks hold, where those of the image hold what it does."""

    def content(version: int) -> bytes:
        start = (version - OF_THE_IMAGE) * BLOCK_BYTES
        return _image()[start : start + BLOCK_BYTES] if start >= 0 else usual(version)

    return content


ALONE = a_policy(version="0a1b2c3d", starts=timedelta(hours=12), keep=Tiers(daily=1))
"""Daily at noon, no copy, one point kept."""

LOCKED = replace(GOLD, lock=Lock(mode=LockMode.GOVERNANCE, days=30, beyond_retention=True))

ONE_IS_HELD = _expiring("one-is-held", "the oldest point is held by a person", prepared=_hold_the_oldest)
ALL_ARE_LOCKED = _expiring("all-are-locked", "the policy locks its points for 30 days", policy=LOCKED)
NONE_IS_COPIED = _expiring(
    "none-is-copied", "every point is still owed its copy", lives=_owing_its_copy, prepared=_copy_later
)
POLICY_CHANGED = _expiring(
    "policy-changed", "the policy reads otherwise than an hour ago", since=None, prepared=_change_the_policy
)
CLOCK_TURNED_BACK = _expiring("clock-turned-back", "the clock is 36 hours behind", prepared=_turn_the_clock_back)
NEWEST_LOST = _expiring(
    "newest-lost",
    "somebody deletes the newest point",
    policy=ALONE,
    days=(1,),
    lives=lambda world, resource, at: _uncopied(world, resource, at, policy=ALONE),
    prepared=_lose_the_newest,
)
TWO_OF_ONE_SLOT = Scenario(
    name="two-of-one-slot",
    what="a slot has a snapshot more than the ledger knows",
    build=_two_of_one_slot,
    lasts=timedelta(hours=4),
    settings=Settings(home_region=HOME, copy_regions=(AWAY,), policies={ALONE.name: ALONE}),
    strict=False,
)
NOTHING_IS_KNOWN = Scenario(
    name="nothing-is-known",
    what="AWS has a point, and the ledger does not",
    build=_nothing_is_known,
    lasts=timedelta(hours=1),
    settings=TWO_OF_ONE_SLOT.settings,
)
WITH_A_FILE_SYSTEM = replace(
    SCENARIOS["rehearsal"],
    name="with-a-file-system",
    what="a point that can be proven to restore",
    build=_with_a_file_system,
)
STRANGER = Scenario(
    name="stranger", what="a volume that no rehearsal made says that one did", build=_stranger, lasts=timedelta(hours=2)
)

BACKUP_ALONE = replace(
    SCENARIOS["backup-volume"],
    name="backup-alone",
    what="one volume, one slot, no copy",
    settings=TWO_OF_ONE_SLOT.settings,
)
