"""Which slots are owed now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from functions.core.policies import ExtraPoints, Policy, Settings
from functions.core.resources import ResourceKey
from functions.core.slots import Slot, Why, newest_due, next_after, slots_between

MISSED_AT_MOST = 50
"""How many missed slots of one resource are written down after an outage: enough to see it, not a flood."""

ALARM_COUNTS_FOR = timedelta(hours=30)
CLOCKS_DIFFER_BY = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A protected resource and the newest slot that was planned for it, None when it never had one."""

    resource: ResourceKey
    policy: str
    newest_slot_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """A slot that is due, by when it should be complete, and why it is taken now. `missed` are older slots that
    passed without a point; this one catches up for them."""

    slot: Slot
    policy: Policy
    deadline: datetime
    reason: str
    missed: tuple[Slot, ...] = ()


def plan(resources: Iterable[Planned], settings: Settings, now: datetime) -> tuple[Owed, ...]:
    """Everything owed now, most urgent first.

    A resource owes at most one slot at a time, the newest: taking yesterday's snapshot today gives today's content.
    """
    known_policies = ((known, settings.policies.get(known.policy)) for known in resources)
    owed = (_owed(known, policy, now) for known, policy in known_policies if policy is not None)
    return tuple(sorted((o for o in owed if o is not None), key=lambda o: (o.deadline, o.slot.key)))


def _owed(known: Planned, policy: Policy, now: datetime) -> Owed | None:
    slot = newest_due(policy, known.resource, now)
    if known.newest_slot_at is not None and known.newest_slot_at >= slot.at:
        return None
    if known.newest_slot_at is None:
        missed: tuple[Slot, ...] = ()
        reason = "the resource has no point yet"
    else:
        passed = slots_between(policy, known.resource, after=known.newest_slot_at, until=slot.at)[:-1]
        missed = passed[-MISSED_AT_MOST:]
        reason = f"slot of policy {policy.name}"
        if passed:
            reason += f"; catches up for {len(passed)} missed"
    return Owed(slot=slot, policy=policy, deadline=next_after(policy, slot), reason=reason, missed=missed)


def looks_again_at(known: Planned, settings: Settings, now: datetime) -> datetime:
    """When the next slot of a resource is due that owes none now; for a policy that nobody states, in an hour."""
    policy = settings.policies.get(known.policy)
    return next_after(policy, newest_due(policy, known.resource, now)) if policy else now + timedelta(hours=1)


def why_too_old(alarmed_at: datetime, now: datetime) -> str:
    """Why an alarm of that time is not heeded any more, or not yet; empty when it is of now.

    EventBridge gives up after a day. What is older was kept somewhere and sent again, and what it asks for is over.
    """
    if alarmed_at > now + CLOCKS_DIFFER_BY:
        return f"the alarm is of {alarmed_at:%Y-%m-%d %H:%M} UTC, which is not yet"
    if now - alarmed_at > ALARM_COUNTS_FOR:
        return f"the alarm is of {alarmed_at:%Y-%m-%d %H:%M} UTC, and what it asked for is over"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Whether an alarm buys an extra point, and why."""

    slot: Slot | None
    reason: str


def heed_alarm(
    resource: ResourceKey,
    policy: Policy,
    *,
    alarmed_at: datetime,
    written_bytes: int | None,
    bought_today: int,
    newest_slot_at: datetime | None,
) -> Answer:
    """Whether what was written since the last point is worth one more now.

    Units: written_bytes since the newest point, None when CloudWatch could not say; that alone buys nothing, because
    the alarm may be about something else entirely.
    """
    rule: ExtraPoints | None = policy.extra
    minute = alarmed_at.replace(second=0, microsecond=0)
    if rule is None:
        return Answer(slot=None, reason=f"policy {policy.name} takes no extra points")
    if any(window.start_around(minute) for window in policy.avoid):
        return Answer(slot=None, reason="the policy avoids this time of day")
    if newest_slot_at is not None and newest_slot_at >= minute - timedelta(minutes=1):
        return Answer(slot=None, reason="a point of this minute exists or is under way")
    if bought_today >= rule.per_day:
        return Answer(slot=None, reason=f"the budget of {rule.per_day} extra points a day is used up")
    if written_bytes is None:
        return Answer(slot=None, reason="CloudWatch has no data on what was written since the last point")
    written_gib = written_bytes / 2**30
    if written_gib < rule.written_gib:
        return Answer(slot=None, reason=f"{written_gib:.2f} GiB were written, under {rule.written_gib:g} GiB")
    return Answer(
        slot=Slot(resource=resource, at=minute, why=Why.EXTRA),
        reason=f"{written_gib:.2f} GiB were written since the last point, threshold {rule.written_gib:g} GiB",
    )
