"""Stop recovery: the red state a failed recovery ends in, and from which Redrive goes on.

A Fail state would be entered again by a redrive and fail again. This state fails too, and when its execution is
redriven it does not: the workflow then goes back to the state that could not be carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from functions.core.errors import BadMessage, RecoveryStopped
from functions.handlers import frame
from functions.handlers.tools import Tools

LONGEST_PROBLEM = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class GoesOn:
    """What goes on, because its execution was redriven since it stopped."""

    what: str
    redrives: int


def stop_recovery(event: dict[str, Any], tools: Tools, now: datetime) -> GoesOn:
    """The workflow goes on when its execution was redriven since it stopped, and stands still otherwise.

    `redrives` is how often it was by now, `redrives_then` how often it had been when it stopped.

    Errors: RecoveryStopped with what went wrong and what to do; BadMessage when the redrives are no numbers.
    """
    what, problem = str(event.get("what")), str(event.get("problem") or "see the notice")
    redrives, redrives_then = (_count(event, name) for name in ("redrives", "redrives_then"))
    if redrives > redrives_then:
        return GoesOn(what=what, redrives=redrives)
    raise RecoveryStopped(
        f"the recovery of {what} stopped: {problem[:LONGEST_PROBLEM]}",
        hint="Mend the cause, then redrive this execution: it goes on where it stopped and does nothing twice.",
    )


def _count(event: dict[str, Any], name: str) -> int:
    value = event.get(name) or 0
    if not isinstance(value, int):
        raise BadMessage(f"{name}: {str(value)[:40]!r} is no number", hint="Compare the state with the one in infra/.")
    return value


handler = frame.event(stop_recovery)
