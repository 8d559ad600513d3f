"""Heed failure: an alarm that the settings name starts a recovery beside what failed. Off until somebody names one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from functions.contracts import from_aws
from functions.core import instants
from functions.core.planning import why_too_old
from functions.core.policies import AutomaticRecovery
from functions.handlers import frame, settling
from functions.handlers.tools import Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureHeeded:
    """What the alarm did, rule by rule, and why."""

    alarm: str
    answers: tuple[str, ...]


def heed_failure(event: dict[str, Any], tools: Tools, now: datetime) -> FailureHeeded:
    """Each rule of the settings that names the alarm has its recovery started, once for each change of the alarm.

    No more start in a day than the settings say, for the whole account: an alarm that flaps must not fill a Region
    with databases. The recovery stands beside the original; nothing is overwritten or removed.

    Errors: NotAllowed when the alarm is another account's.
    """
    alarm = from_aws.alarm(event)
    settling.refuse_foreign(alarm, tools)
    why_not = why_too_old(alarm.alarmed_at, now) if alarm.is_alarm else "it is not in ALARM"
    if why_not:
        return FailureHeeded(alarm=alarm.detail.alarm_name, answers=(why_not,))
    rules = [rule for rule in tools.settings.automatic if rule.alarm == alarm.detail.alarm_name]
    answers = [f"{rule.resource}: {_answer(rule, alarm.alarmed_at, tools, now)}" for rule in rules]
    return FailureHeeded(alarm=alarm.detail.alarm_name, answers=tuple(answers) or ("no rule names it",))


def _answer(rule: AutomaticRecovery, alarmed_at: datetime, tools: Tools, now: datetime) -> str:
    written = f"{rule.alarm}|{rule.resource}|{instants.text(alarmed_at)}"
    execution = f"alarm-{hashlib.sha256(written.encode()).hexdigest()[:24]}"
    place = tools.ledger.starts.place(execution, rule.resource, per_day=tools.settings.automatic_per_day, now=now)
    if place is None:
        refused = f"no recovery was started: {tools.settings.automatic_per_day} a day are allowed, and today's are used"
        tools.topic.notify(
            f"No automatic recovery of {rule.resource}",
            f"The alarm {rule.alarm} asks to recover {rule.resource}, and {refused}. "
            f'Start one by hand in {rule.region}: holdfast-recover with {{"resource": "{rule.resource}"}}.',
        )
        return refused
    approval = {"approval_within": _span(rule)} if rule.approval_within else {}
    given = {"resource": rule.resource, "asked_by": f"the alarm {rule.alarm}"[:200], **approval}
    is_new = tools.executions_in(rule.region).start(execution, given)
    return f"recovery {'started' if is_new else 'was started before'} as {execution} in {rule.region}"


def _span(rule: AutomaticRecovery) -> str:
    seconds = rule.approval_within.total_seconds() if rule.approval_within else 0
    return f"{int(seconds // 60)}m"


handler = frame.event(heed_failure)
