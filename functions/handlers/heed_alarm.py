"""Heed alarm: a write-rate alarm makes us look at its resource, and may buy one extra point."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from functions.aws.metrics import written_bytes
from functions.contracts import from_aws
from functions.core.planning import Owed, why_too_old
from functions.core.planning import heed_alarm as answer
from functions.core.resources import ResourceKey
from functions.core.slots import period
from functions.handlers import dispatching, frame, settling
from functions.handlers.tools import Tools
from functions.ledger.resources import Known

LOOK_BACK = timedelta(days=1)
"""How far back written bytes are counted for a resource without a point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmHeeded:
    """What each alarmed resource got, and why."""

    alarm: str
    answers: tuple[str, ...]


def heed_alarm(event: dict[str, Any], tools: Tools, now: datetime) -> AlarmHeeded:
    """Each protected resource the alarm watches has an extra point ordered when its policy's rule says so.

    The same alarm delivered twice names the same minute, so it is the same slot and the same point.

    Errors: NotAllowed when the alarm is another account's.
    """
    alarm = from_aws.alarm(event)
    settling.refuse_foreign(alarm, tools)
    why_not = why_too_old(alarm.alarmed_at, now) if alarm.is_alarm else "it is not in ALARM"
    if why_not:
        return AlarmHeeded(alarm=alarm.detail.alarm_name, answers=(why_not,))
    watched = alarm.resources()
    answers = [f"{key}: {_answer(key, alarm.alarmed_at, tools, now)}" for key in watched]
    return AlarmHeeded(alarm=alarm.detail.alarm_name, answers=tuple(answers) or ("it watches no resource of ours",))


def _answer(key: ResourceKey, alarmed_at: datetime, tools: Tools, now: datetime) -> str:
    known = _protected(key, tools)
    if known is None or known.policy is None:
        return "it is not protected"
    policy = tools.policy(known.policy)
    newest = tools.ledger.points.newest_at(known.resource)
    since = max(newest or now - LOOK_BACK, now - policy.rpo)
    written = (
        written_bytes(known.resource, since, now, tools.clients, members=known.members)
        if policy.extra is not None and since < now
        else None
    )
    bought = tools.ledger.resources.bought_today(known.resource, now)
    decision = answer(
        known.resource,
        policy,
        alarmed_at=alarmed_at,
        written_bytes=written,
        bought_today=bought,
        newest_slot_at=newest,
    )
    if decision.slot is None:
        return decision.reason
    if not tools.ledger.resources.buy(known.resource, bought_today=bought, now=now):
        return "another alarm of this moment bought the point"
    owed = Owed(slot=decision.slot, policy=policy, deadline=now + period(policy), reason=decision.reason)
    if tools.ledger.points.owe(owed, now):
        dispatching.order_points(tools, now)
    return f"an extra point is ordered: {decision.reason}"


def _protected(key: ResourceKey, tools: Tools) -> Known | None:
    """The resource that gets points for this one: itself, or the instance or cluster it is part of."""
    known = tools.ledger.resources.get(key)
    if known is None or known.policy is not None:
        return known
    try:
        owner = ResourceKey.parse(known.by, account=key.account)
    except ValueError:
        return None
    return tools.ledger.resources.get(owner)


handler = frame.event(heed_alarm)
