"""Remove recovery: nothing that this recovery made is left, when it was asked for only to be looked at."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from functions.core.recoveries import Recovery
from functions.core.restores import RestoreState
from functions.handlers import frame
from functions.handlers.tools import Tools


def remove_recovery(recovery: Recovery, tools: Tools, now: datetime) -> Recovery:
    """The recovery with `is_removed`: everything it made was asked away, and is gone when that is True."""
    recoveries = tools.recoveries(recovery.order.kind)
    states = [recoveries.remove(one, recovery.id) for one in recovery.restored]
    is_removed = all(state is RestoreState.GONE for state in states)
    return replace(recovery, is_removed=is_removed, finished_at=now if is_removed else None)


handler = frame.task(Recovery)(remove_recovery)
