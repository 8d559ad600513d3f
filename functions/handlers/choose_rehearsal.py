"""Choose rehearsal: which point to restore in this Region, and why this one."""

from __future__ import annotations

import hashlib
from collections.abc import Container
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from functions.contracts import wire
from functions.core import instants
from functions.core.deep_checks import DeepCheck, DeepCheckRule, is_due
from functions.core.errors import BadMessage
from functions.core.holds import HeldBy, Hold, in_force
from functions.core.rehearsals import TIME_TO_LIVE, Candidate, Rehearsal, Risk, in_turn, restorable
from functions.core.resources import Kind, ResourceKey
from functions.core.row_counts import MOST_EARLIER, Counted
from functions.core.slots import Slot
from functions.handlers import frame
from functions.handlers.tools import Tools

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsalChosen:
    """The rehearsal to hold, or None, and why."""

    rehearsal: Rehearsal | None
    reason: str


def choose_rehearsal(event: dict[str, Any], tools: Tools, now: datetime) -> RehearsalChosen:
    """The newest restorable point of the resource that is at the greatest risk, or of the one a person asked for.

    `event` may name a `resource` (kind/region/id), and a `slot` of it; `deep_check`, true or false, decides whether its
    volumes are checked deeply, whenever that was done last. `execution` makes the rehearsal's name the same when the
    state is tried again.
    """
    wanted, slot_at = _wanted(event, tools)
    risks = in_turn(_due(tools, now)) if wanted is None else (Risk(resource=wanted),)
    for risk in risks:
        resource = risk.resource
        at = slot_at or risk.suspected_at
        points = [p for p in tools.ledger.points.of(resource) if at in (None, p.slot.at)]
        held = {} if slot_at else in_force(tools.ledger.holds.of(resource))
        if slot_at:  # somebody names the point, and has seen what holds it
            points = [replace(point, is_held=False) for point in points]
        candidate = restorable(points, tools.ledger.copies.of(resource), region=tools.region, held=held)
        if candidate is not None:
            why = f"asked for {wanted}" if wanted else risk.reason
            return RehearsalChosen(rehearsal=_rehearsal(candidate, why, event, tools, now), reason=why)
    asked = f"no complete point of {wanted}" if wanted else "nothing is due, or no point that is"
    return RehearsalChosen(rehearsal=None, reason=f"{asked} can be restored in {tools.region}")


def _due(tools: Tools, now: datetime) -> list[Risk]:
    """Every resource whose policy wants a rehearsal by now, and every suspicious point that no rehearsal has seen here.

    One resource may be both: a suspicious point that cannot be restored here keeps no other from its turn.
    """
    policies = tools.settings.policies
    last: dict[ResourceKey, datetime] = {}
    rehearsed: set[str] = set()
    for past in tools.ledger.stories.rehearsed_in(tools.region):
        rehearsed.add(past.slot.key)
        if past.started_at is not None:
            key = past.slot.resource
            last[key] = max(past.started_at, last.get(key, past.started_at))
    risks: list[Risk] = []
    for known in tools.ledger.resources.all():
        policy = policies.get(known.policy or "")
        if policy is None:
            continue
        at = last.get(known.resource)
        risk = Risk(resource=known.resource, last_rehearsed_at=at)
        suspected = _suspected(known.resource, rehearsed, tools)
        if suspected is not None:
            risks.append(replace(risk, suspicion=suspected.because, suspected_at=suspected.slot.at))
        if now - (at or LONG_AGO) >= policy.rehearse_every:
            risks.append(risk)
    return risks


def _suspected(resource: ResourceKey, rehearsed: Container[str], tools: Tools) -> Hold | None:
    """The newest hold of a verdict on a point that no rehearsal has looked at here."""
    suspected = [
        hold
        for key, hold in in_force(tools.ledger.holds.of(resource)).items()
        if hold.by is HeldBy.VERDICT and key not in rehearsed
    ]
    return max(suspected, key=lambda hold: hold.slot.at, default=None)


def _wanted(event: dict[str, Any], tools: Tools) -> tuple[ResourceKey | None, datetime | None]:
    given = wire.given(event)
    written, slot = given.get("resource"), given.get("slot")
    if written is None:
        return None, None
    try:
        at = None if slot is None else instants.parse(str(slot))
        return ResourceKey.parse(str(written), account=tools.account), at
    except ValueError as problem:
        raise BadMessage(
            f"not a resource, or not a slot of it: {str(written)[:100]!r} {str(slot)[:40]!r}",
            hint='Start the execution with {} or with {"resource": "volume/eu-central-1/vol-0123456789abcdef0"}; '
            'a "slot" beside it names one point.',
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
        snapshot_ids=candidate.snapshot_ids,
        source_snapshot_ids=tuple(part.snapshot_id for part in point.parts),
        source_ids={part.snapshot_id: part.source_id for part in point.parts},
        home_region=point.slot.resource.region,
        policy=point.policy,
        reason=why,
        consistent_at=min(moments, default=None),
        checks=policy.checks if policy else (),
        learned=_learned(point.slot, tools),
        copy_seconds=_copy_seconds(candidate, tools),
        deep_check=_deep_check(point.slot.resource, policy.deep_check if policy else None, event, tools, now),
        configuration=point.configuration,
        expires_at=now + TIME_TO_LIVE,
    )


def _deep_check(
    resource: ResourceKey, rule: DeepCheckRule | None, event: dict[str, Any], tools: Tools, now: datetime
) -> DeepCheck | None:
    """The deep check that is due or was asked for; None also for a database, and where no network was made for them.

    Errors: BadMessage when one was asked for that cannot be.
    """
    asked = wire.given(event).get("deep_check")
    is_possible = rule is not None and tools.has_deep_checks and resource.kind in (Kind.VOLUME, Kind.INSTANCE)
    if asked and not is_possible:
        raise BadMessage(
            f"{resource} cannot be checked deeply in {tools.region}",
            hint="It must be a volume or an instance, whose policy in cdk.json has `deep_check`, in a Region where "
            "rehearsals are held by themselves.",
        )
    if rule is None or not is_possible or asked is False:
        return None
    past = [one.deep_check for one in tools.ledger.stories.rehearsals(resource) if one.region == tools.region]
    if not asked and not is_due(rule, [one for one in past if one is not None], now):
        return None
    return DeepCheck(within=rule.within, commands=rule.commands)


def _copy_seconds(candidate: Candidate, tools: Tools) -> float | None:
    """How long the last of the point's copies here took; None at home, where nothing was copied."""
    took = [
        (copy.completed_at - copy.created_at).total_seconds()
        for copy in tools.ledger.copies.of_slot(candidate.point.slot)
        if copy.snapshot_id in candidate.snapshot_ids and copy.completed_at and copy.created_at
    ]
    return max(took, default=None)


def _learned(slot: Slot, tools: Tools) -> tuple[Counted, ...]:
    """What the last rehearsals of earlier points counted, oldest first; the unfit ones too, or a table that was
    dropped on purpose would be missed for ever."""
    past = [one for one in tools.ledger.stories.rehearsals(slot.resource) if one.row_counts and one.slot.at < slot.at]
    past.sort(key=lambda one: one.slot.at)
    return tuple(
        Counted(rows=one.row_counts, at=one.consistent_at or one.slot.at, estimated=one.estimated_tables)
        for one in past[-MOST_EARLIER:]
    )


handler = frame.event(choose_rehearsal)
