"""Check recovery: how far what is being restored is, in AWS's words."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from functions.core.recoveries import Recovery
from functions.core.rehearsals import Readiness
from functions.core.restores import RestoreState
from functions.handlers import frame
from functions.handlers.check_restore import SHOWN_WITHIN
from functions.handlers.tools import Tools


def check_recovery(recovery: Recovery, tools: Tools, now: datetime) -> Recovery:
    """The recovery with its readiness: ready when everything is available, not yet, or failed with AWS's words."""
    recoveries = tools.recoveries(recovery.order.kind)
    restored = tuple(recoveries.look(one) for one in recovery.restored)
    recovery = replace(recovery, restored=restored)
    is_young = recovery.started_at is not None and now - recovery.started_at < SHOWN_WITHIN
    lost = () if is_young else (RestoreState.GONE,)
    failed = [one for one in restored if one.state in (RestoreState.FAILED, *lost)]
    if failed or not restored:
        said = "; ".join(f"{one.id} is {one.state}: {one.message}" for one in failed) or "nothing was restored"
        return replace(recovery, readiness=Readiness.FAILED, problem=said)
    if any(one.state is not RestoreState.AVAILABLE for one in restored):
        return replace(recovery, readiness=Readiness.NOT_YET)
    return replace(recovery, readiness=Readiness.READY, available_at=recovery.available_at or now)


handler = frame.task(Recovery)(check_recovery)
