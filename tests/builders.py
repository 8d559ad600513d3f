"""Things with sensible values, so that a test says only the word it is about."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from functions.core.points import Copy, Part, Point, Status
from functions.core.policies import Policy, Settings, Tiers
from functions.core.resources import Kind, Resource, ResourceKey
from functions.core.runs import CopyStory, Run
from functions.core.slots import Slot, Why
from functions.core.snapshots import CopyOrder, Snapshot, SnapshotOrder, State

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
"""A Friday."""

HOME, AWAY, FAR = "eu-central-1", "eu-west-1", "eu-north-1"
ACCOUNT = "123456789012"
GIB = 2**30

_IDS = {
    Kind.VOLUME: "vol-0a1b2c3d4e5f60718",
    Kind.INSTANCE: "i-0a1b2c3d4e5f60718",
    Kind.DATABASE: "orders",
    Kind.CLUSTER: "orders-cluster",
}


def ago(**span: float) -> datetime:
    """That long before noon."""
    return NOON - timedelta(**span)


def a_key(
    kind: Kind = Kind.VOLUME, id: str | None = None, *, region: str = HOME, account: str = ACCOUNT
) -> ResourceKey:
    return ResourceKey(account=account, region=region, kind=kind, id=id or _IDS[kind])


def a_resource(
    kind: Kind = Kind.VOLUME, id: str | None = None, *, region: str = HOME, policy: str | None = None, **changes: Any
) -> Resource:
    """A resource without tags; `policy` gives it the tag that chooses one."""
    tags: Mapping[str, str] = changes.pop("tags", {}) | ({} if policy is None else {"holdfast:policy": policy})
    states = {Kind.VOLUME: "in-use", Kind.INSTANCE: "running"}
    return Resource(
        **{"key": a_key(kind, id, region=region), "tags": tags, "state": states.get(kind, "available")} | changes
    )


def a_policy(name: str = "gold", **changes: Any) -> Policy:
    """Daily, kept for a week, copied nowhere."""
    return Policy(
        **{"name": name, "version": "v1", "rpo": timedelta(days=1), "keep": Tiers(daily=7), "starts": timedelta(0)}
        | changes
    )


def some_settings(*policies: Policy, default_policy: str | None = None) -> Settings:
    """Home, two copy Regions and the policies given, or one named gold."""
    return Settings(
        home_region=HOME,
        copy_regions=(AWAY, FAR),
        policies={policy.name: policy for policy in policies or (a_policy(),)},
        default_policy=default_policy,
    )


def a_slot(at: datetime = NOON, *, resource: ResourceKey | None = None, why: Why = Why.SCHEDULED) -> Slot:
    return Slot(resource=resource or a_key(), at=at, why=why)


def a_part(snapshot_id: str = "snap-1", **changes: Any) -> Part:
    """A completed snapshot of 8 GiB."""
    return Part(
        **{
            "source_id": _IDS[Kind.VOLUME],
            "snapshot_id": snapshot_id,
            "state": State.COMPLETED,
            "size_gib": 8,
            "full_size_bytes": 4 * GIB,
            "changed_bytes": GIB,
        }
        | changes
    )


def a_point(at: datetime = NOON, **changes: Any) -> Point:
    """A completed point of one part that owes no copy, taken a minute after its slot within ten minutes."""
    slot = changes.pop("slot", None) or a_slot(
        at, resource=changes.pop("resource", None), why=changes.pop("why", Why.SCHEDULED)
    )
    return Point(
        **{
            "slot": slot,
            "status": Status.COMPLETED,
            "policy": "gold",
            "policy_version": "v1",
            "copy_to": (),
            "deadline": slot.at + timedelta(days=1),
            "parts": (a_part(f"snap-{slot.key[:8]}"),),
            "ordered_at": slot.at,
            "created_at": slot.at + timedelta(minutes=1),
            "completed_at": slot.at + timedelta(minutes=11),
        }
        | changes
    )


def a_copy(point: Point | None = None, region: str = AWAY, *, part: int = 0, **changes: Any) -> Copy:
    """A completed copy of a part of the point."""
    point = point or a_point()
    return Copy(
        **{
            "slot": point.slot,
            "region": region,
            "source_snapshot_id": point.parts[part].snapshot_id,
            "source_id": point.parts[part].source_id,
            "status": Status.COMPLETED,
            "policy": point.policy,
            "policy_version": point.policy_version,
            "deadline": point.deadline,
            "owed_at": point.slot.at + timedelta(minutes=12),
            "snapshot_id": f"copy-of-{point.parts[part].snapshot_id}",
            "created_at": point.slot.at + timedelta(minutes=13),
            "completed_at": point.slot.at + timedelta(minutes=23),
            "full_size_bytes": 4 * GIB,
        }
        | changes
    )


def a_snapshot(id: str = "snap-1", tags: Mapping[str, str] | None = None, **changes: Any) -> Snapshot:
    return Snapshot(
        **{
            "id": id,
            "region": HOME,
            "state": State.COMPLETED,
            "source_id": _IDS[Kind.VOLUME],
            "tags": tags or {},
        }
        | changes
    )


def a_snapshot_order(slot: Slot | None = None, **changes: Any) -> SnapshotOrder:
    slot = slot or a_slot()
    return SnapshotOrder(
        **{
            "slot": slot,
            "policy": "gold",
            "policy_version": "0a1b2c3d",
            "copy_to": (AWAY,),
            "deadline": slot.at + timedelta(days=1),
            "reason": "slot of policy gold",
        }
        | changes
    )


def a_copy_order(slot: Slot | None = None, **changes: Any) -> CopyOrder:
    slot = slot or a_slot()
    return CopyOrder(
        **{
            "slot": slot,
            "source_snapshot_id": "snap-1",
            "source_id": slot.resource.id,
            "region": AWAY,
            "policy": "gold",
            "policy_version": "0a1b2c3d",
            "deadline": slot.at + timedelta(days=1),
        }
        | changes
    )


def a_story(region: str = AWAY, **changes: Any) -> CopyStory:
    """The copies of a point in one Region went well and took ten minutes."""
    return CopyStory(
        **{
            "region": region,
            "status": Status.COMPLETED,
            "owed_at": NOON + timedelta(minutes=12),
            "created_at": NOON + timedelta(minutes=13),
            "completed_at": NOON + timedelta(minutes=23),
            "full_size_bytes": 4 * GIB,
            "waits": 0,
            "errors": (),
        }
        | changes
    )


def a_run(at: datetime = NOON, **changes: Any) -> Run:
    """A completed run with one copy: begun after a minute, done in ten, 1 GiB of 4 changed."""
    return Run(
        **{
            "slot": a_slot(at),
            "status": Status.COMPLETED,
            "policy": "gold",
            "policy_version": "v1",
            "deadline": at + timedelta(days=1),
            "ordered_at": at,
            "created_at": at + timedelta(minutes=1),
            "completed_at": at + timedelta(minutes=11),
            "closed_at": at + timedelta(minutes=30),
            "full_size_bytes": 4 * GIB,
            "changed_bytes": GIB,
            "attempts": 1,
            "waits": 0,
            "errors": (),
            "copies": (a_story(),),
        }
        | changes
    )
