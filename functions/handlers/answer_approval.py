"""Answer approval: a person's yes or no reaches the recovery that waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from functions.core.errors import BadMessage, Refused
from functions.core.plain_text import one_line
from functions.core.recoveries import ID
from functions.handlers import frame
from functions.handlers.tools import Tools

EXAMPLE = '{"recovery": "0a1b2c3d4e5f", "answer": "approve", "by": "your name"}'
LONGEST_NAME = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalAnswered:
    """Which recovery goes on, or does not."""

    recovery_id: str
    resource: str
    answer: str
    by: str


def answer_approval(event: dict[str, Any], tools: Tools, now: datetime) -> ApprovalAnswered:
    """The waiting recovery goes on, or ends without having made anything.

    Errors: BadMessage when the input is no answer; Refused when nobody waits for it.
    """
    recovery_id, answer, by = (event.get(name) for name in ("recovery", "answer", "by"))
    if not isinstance(recovery_id, str) or not ID.fullmatch(recovery_id) or answer not in ("approve", "refuse"):
        raise BadMessage("the input is not an answer to a recovery", hint=f"Start the execution with {EXAMPLE}")
    if not isinstance(by, str) or not by.strip():
        raise BadMessage("the input does not say who answers", hint=f"Start the execution with {EXAMPLE}")
    asked = tools.ledger.approvals.newest(recovery_id)
    if asked is None or asked.until < now:
        when = f"; it waited until {asked.until:%Y-%m-%d %H:%M} UTC" if asked else ""
        raise Refused(
            f"no recovery {recovery_id} waits for an answer in {tools.region}{when}",
            hint="Take the identifier and the Region from the notice, or start the recovery again.",
        )
    name = one_line(by.strip()[:LONGEST_NAME], longest=LONGEST_NAME)
    (tools.executions.approve if answer == "approve" else tools.executions.refuse)(asked.token, name)
    return ApprovalAnswered(recovery_id=recovery_id, resource=asked.resource, answer=answer, by=name)


handler = frame.event(answer_approval)
