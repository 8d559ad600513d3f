"""Plan recovery: everything that can be known before anything is made, and how long it took the last times."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from statistics import median

from functions.core.recoveries import Recovery
from functions.core.resources import ResourceKey
from functions.handlers import frame
from functions.handlers.tools import Tools


def plan_recovery(recovery: Recovery, tools: Tools, now: datetime) -> Recovery:
    """The recovery with its plan, line by line, and the time to expect; nothing was made or changed."""
    lines = tools.recoveries(recovery.order.kind).plan(recovery.order)
    problem = "; ".join(f"{line.what}: {line.detail}. {line.next_step}".strip() for line in lines if line.next_step)
    planned = replace(recovery, plan=lines, expected_seconds=_expected_seconds(recovery.request.resource, tools))
    return replace(planned, problem=problem if planned.obstacles else "")


def _expected_seconds(resource: ResourceKey, tools: Tools) -> float | None:
    """The median of what earlier recoveries and rehearsals of this resource took; None when there were none."""
    stories = tools.ledger.stories
    measured = [one.recovery_seconds for one in (*stories.recoveries(resource), *stories.rehearsals(resource))]
    known = [seconds for seconds in measured if seconds is not None]
    return median(known) if known else None


handler = frame.task(Recovery)(plan_recovery)
