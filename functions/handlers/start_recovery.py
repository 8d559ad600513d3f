"""Start recovery: ask AWS to make what the order says, beside everything that is in use. Asked twice is asked once."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from functions.core.recoveries import Recovery
from functions.core.restores import RestoreState
from functions.handlers import frame
from functions.handlers.tools import Tools


def start_recovery(recovery: Recovery, tools: Tools, now: datetime) -> Recovery:
    """The restored things are begun under names of their own, each tagged with the recovery in the creating call.

    What AWS failed was removed before this is reached again: its time is not that of what is begun now.
    """
    was_lost = any(one.state in (RestoreState.FAILED, RestoreState.GONE) for one in recovery.restored)
    begun = tools.recoveries(recovery.order.kind).begin(recovery.order)
    started_at = now if was_lost or recovery.started_at is None else recovery.started_at
    return replace(recovery, restored=begun, started_at=started_at)


handler = frame.task(Recovery)(start_recovery)
