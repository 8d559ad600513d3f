"""Choose rehearsal: which point to restore in this Region, and why this one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from functions.core.errors import BadMessage
from functions.core.rehearsals import TIME_TO_LIVE, Candidate, Rehearsal, in_turn, restorable
from functions.core.resources import ResourceKey
from functions.handlers import frame
from functions.handlers.tools import Tools

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsalChosen:
    """The rehearsal to hold, or None, and why."""

    rehearsal: Rehearsal | None
    reason: str


def choose_rehearsal(event: dict[str, Any], tools: Tools, now: datetime) -> RehearsalChosen:
    """The newest restorable point of the resource that was rehearsed longest ago, or of the one a person asked for.

    `event` may name a `resource` (kind/region/id); `execution` makes the rehearsal's name the same when the state is
    tried again.
    """
    wanted = _wanted(event, tools)
    if wanted is not None:
        turn, why = (wanted,), f"asked for {wanted}"
    else:
        policies = tools.settings.policies
        last: dict[ResourceKey, datetime] = {}
        for past in tools.ledger.stories.rehearsed_in(tools.region):
            if past.started_at is not None:
                key = past.slot.resource
                last[key] = max(past.started_at, last.get(key, past.started_at))
        due = [
            known.resource
            for known in tools.ledger.resources.all()
            if known.policy is not None
            and known.policy in policies
            and now - last.get(known.resource, LONG_AGO) >= policies[known.policy].rehearse_every
        ]
        turn, why = in_turn(due, last), "rehearsed longest ago in this Region, or never"
    for resource in turn:
        points, copies = tools.ledger.points.of(resource), tools.ledger.copies.of(resource)
        candidate = restorable(points, copies, region=tools.region)
        if candidate is not None:
            return RehearsalChosen(rehearsal=_rehearsal(candidate, why, event, tools, now), reason=why)
    asked = f"no complete point of {wanted}" if wanted else "nothing is due, or no point that is"
    return RehearsalChosen(rehearsal=None, reason=f"{asked} has all of its copies in {tools.region}")


def _wanted(event: dict[str, Any], tools: Tools) -> ResourceKey | None:
    written = (event.get("input") or {}).get("resource")
    if written is None:
        return None
    try:
        return ResourceKey.parse(str(written), account=tools.account)
    except ValueError as problem:
        raise BadMessage(
            f"not a resource: {str(written)[:100]!r}",
            hint='Start the execution with {} or with {"resource": "volume/eu-central-1/vol-0123456789abcdef0"}.',
        ) from problem


def _rehearsal(candidate: Candidate, why: str, event: dict[str, Any], tools: Tools, now: datetime) -> Rehearsal:
    point = candidate.point
    policy = tools.settings.policies.get(point.policy)
    moments = [part.consistent_at for part in point.parts if part.consistent_at is not None]
    name = f"{event.get('execution', '')}|{point.slot.key}|{tools.region}"
    return Rehearsal(
        id=hashlib.sha256(name.encode()).hexdigest()[:12],
        slot=point.slot,
        region=tools.region,
        snapshot_ids=tuple(copy.snapshot_id for copy in candidate.copies if copy.snapshot_id is not None),
        source_snapshot_ids=tuple(copy.source_snapshot_id for copy in candidate.copies),
        home_region=point.slot.resource.region,
        policy=point.policy,
        reason=why,
        consistent_at=min(moments, default=None),
        checks=policy.checks if policy else (),
        configuration=point.configuration,
        expires_at=now + TIME_TO_LIVE,
    )


handler = frame.event(choose_rehearsal)
