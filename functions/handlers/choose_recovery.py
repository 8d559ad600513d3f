"""Choose recovery: which point serves the request, why this one, and how the restored thing will be set up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from functions.contracts import recovery_requests
from functions.core import labels
from functions.core.errors import NoRecoveryPoint, SnapshotGone
from functions.core.evidence import Fitness
from functions.core.points import Point
from functions.core.recoveries import Recovery, RecoveryRequest, choose, identity, order_of
from functions.core.resources import Kind, ResourceKey
from functions.core.slots import Slot
from functions.handlers import frame
from functions.handlers.tools import Tools

KINDS_BY_PREFIX = {"snap-": (Kind.VOLUME,), "holdfast-": (Kind.DATABASE, Kind.CLUSTER)}
"""Volumes and instances have snapshots of one kind; those of RDS are named by us."""

ANY_RPO = timedelta(days=1)
"""What counts as little data lost when the policy of the point is not in the settings any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryChosen:
    """The recovery that begins."""

    recovery: Recovery


def choose_recovery(event: dict[str, Any], tools: Tools, now: datetime) -> RecoveryChosen:
    """The recovery of the point that serves the request in this Region.

    `execution` names the execution: a state that is tried again chooses for the same recovery.

    Errors: BadMessage when the input asks for nothing we know; NoRecoveryPoint with what was passed over and why.
    """
    given = event.get("input") or {}
    snapshot_id = recovery_requests.snapshot_named(given)
    if snapshot_id is not None:
        given = recovery_requests.of_slot(given, _slot_of(snapshot_id, tools))
    request = recovery_requests.read(given, account=tools.account, region=tools.region)
    points = tools.ledger.points.of(request.resource)
    chosen = choose(
        request,
        points,
        tools.ledger.copies.of(request.resource),
        verified=verified(request.resource, tools),
        rpo=_rpo(points, tools),
        log=tools.newest_restorable(request.resource) if _may_use_log(request) else None,
    )
    if isinstance(chosen, str):
        raise NoRecoveryPoint(
            chosen,
            hint='Name a point with {"point": {"slot": "..."}} to restore it whatever speaks against it, or start the '
            "execution in another Region.",
        )
    recovery_id = identity(str(event.get("execution", "")), str(request.resource))
    defaults = tools.settings.recover_into.get(request.region, {}).get(request.resource.kind, {})
    order = order_of(recovery_id, chosen, request, defaults)
    return RecoveryChosen(recovery=Recovery(id=recovery_id, request=request, chosen=chosen, order=order, asked_at=now))


def verified(resource: ResourceKey, tools: Tools) -> frozenset[str]:
    """The slots of a resource whose points a rehearsal has proven fit, anywhere."""
    return frozenset(
        rehearsal.slot.key
        for rehearsal in tools.ledger.stories.rehearsals(resource)
        if rehearsal.evidence is not None and rehearsal.evidence.fitness is Fitness.FIT
    )


def _may_use_log(request: RecoveryRequest) -> bool:
    is_database = request.resource.kind in (Kind.DATABASE, Kind.CLUSTER)
    return is_database and request.may_use_point_in_time and request.region == request.resource.region


def _rpo(points: list[Point], tools: Tools) -> timedelta:
    newest = max(points, key=lambda point: point.slot.at, default=None)
    policy = tools.settings.policies.get(newest.policy) if newest else None
    return policy.rpo if policy else ANY_RPO


def _slot_of(snapshot_id: str, tools: Tools) -> Slot:
    """The slot that the tags of one of our snapshots in this Region name.

    Errors: SnapshotGone when there is none of that name; BadMessage when it is not ours.
    """
    kinds = next((kinds for prefix, kinds in KINDS_BY_PREFIX.items() if snapshot_id.startswith(prefix)), ())
    for kind in kinds:
        snapshot = tools.snapshots(kind, tools.region).look((snapshot_id,)).get(snapshot_id)
        if snapshot is not None:
            return labels.read(snapshot, account=tools.account).slot
    raise SnapshotGone(
        f"there is no snapshot {snapshot_id[:100]!r} of Holdfast in {tools.region}",
        hint="Give the id of a snapshot in the Region of this execution, or name the resource instead.",
    )


handler = frame.event(choose_recovery)
