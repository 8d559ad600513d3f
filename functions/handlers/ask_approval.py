"""Ask approval: a person hears what would be restored, and how to answer; the recovery waits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from functions.contracts import wire
from functions.core.errors import BadMessage
from functions.core.recoveries import Recovery
from functions.handlers import frame
from functions.handlers.tools import Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalAsked:
    """Until when the answer counts."""

    recovery_id: str
    until: datetime


def ask_approval(event: dict[str, Any], tools: Tools, now: datetime) -> ApprovalAsked:
    """The question is on the ledger with the token that answers it, and people were asked.

    The token stays out of the notice: who may answer is who may start the workflow that answers.
    """
    recovery = wire.read(Recovery, event.get("recovery"))
    token = event.get("token")
    if not isinstance(token, str) or not token:
        raise BadMessage("the question has no task token", hint="The state must use lambda:invoke.waitForTaskToken.")
    until = now + timedelta(seconds=recovery.request.approval_seconds or 0)
    tools.ledger.approvals.ask(recovery.id, recovery.request.resource, token, until=until, now=now)
    tools.topic.notify(f"May {recovery.request.resource} be recovered?", _question(recovery, until, tools.region))
    return ApprovalAsked(recovery_id=recovery.id, until=until)


def _question(recovery: Recovery, until: datetime, region: str) -> str:
    chosen = recovery.chosen
    names = ", ".join(recovery.order.names)
    plan = "\n".join(f"- {line.what}: {line.found}, {line.detail}" for line in recovery.plan) or "- nothing was found"
    return (
        f"{recovery.request.asked_by} asks to recover {recovery.request.resource} in {region} from its content of "
        f"{chosen.content_at:%Y-%m-%d %H:%M} UTC, as {names}, beside the original.\n"
        f"Why this point: {chosen.reason}.\n\n{plan}\n\n"
        f"Answer until {until:%Y-%m-%d %H:%M} UTC: start an execution of the state machine holdfast-answer in {region} "
        f'with {{"recovery": "{recovery.id}", "answer": "approve", "by": "your name"}} or with "refuse". '
        "Without an answer nothing is restored."
    )


handler = frame.event(ask_approval)
