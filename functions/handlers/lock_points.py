"""Lock points: completed EBS snapshots of policies that ask for it are locked, at home and where the copies are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from functions.core import labels
from functions.core.errors import BadMessage, HoldfastError
from functions.core.locks import LockRequest, request
from functions.core.resources import Kind
from functions.core.snapshots import Snapshot
from functions.handlers import frame, settling
from functions.handlers.tools import Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsLocked:
    """What is locked from now on and for how long, and what could not be locked and why."""

    locked: tuple[str, ...]
    not_locked: tuple[str, ...]


def lock_points(tools: Tools, now: datetime) -> PointsLocked:
    """Every completed snapshot under a policy with a lock has it, for what is left of its time.

    Locks are only added: one that is there is left, one that has run its time is not renewed. A snapshot that cannot be
    locked holds up no other, and is still a point.
    """
    locked: list[str] = []
    not_locked: list[str] = []
    troubles: list[HoldfastError] = []
    for region in tools.settings.regions:
        with settling.apart(troubles):
            for snapshot, asked in _to_lock(region, tools, now):
                said = f"{snapshot.id} in {region}"
                try:
                    tools.locks(region).lock(snapshot.id, asked)
                    locked.append(f"{said}: {asked.mode}, {asked.days} days")
                except HoldfastError as problem:
                    not_locked.append(f"{said}: {problem}")
    if not_locked:
        frame.logger().error("some could not be locked", extra={"why": not_locked[:20]})
    tools.health.count(Unlocked=len(not_locked))
    if troubles:
        raise troubles[0]
    return PointsLocked(locked=tuple(locked), not_locked=tuple(not_locked))


def _to_lock(region: str, tools: Tools, now: datetime) -> Iterator[tuple[Snapshot, LockRequest]]:
    held = tools.locks(region).held()
    for kind in (Kind.VOLUME, Kind.INSTANCE):
        for snapshot in tools.snapshots(kind, region).ours():
            policy = tools.settings.policies.get(_policy(snapshot, tools))
            if policy is not None and policy.lock is not None:
                asked = request(snapshot, policy.lock, held.get(snapshot.id), now)
                if isinstance(asked, LockRequest):
                    yield snapshot, asked


def _policy(snapshot: Snapshot, tools: Tools) -> str:
    """The policy that our own tags name; none where they are not as we wrote them."""
    try:
        return labels.read(snapshot, account=tools.account).policy
    except BadMessage:
        return ""


handler = frame.tick(lock_points)
