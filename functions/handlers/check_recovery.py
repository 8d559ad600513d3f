"""Check recovery: how far what is being restored is, in AWS's words."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from functions.core.recoveries import Recovery
from functions.core.rehearsals import Readiness, progress_of
from functions.handlers import frame
from functions.handlers.tools import Tools


def check_recovery(recovery: Recovery, tools: Tools, now: datetime) -> Recovery:
    """The recovery with its readiness: ready when everything is available, not yet, or failed with AWS's words."""
    recoveries = tools.recoveries(recovery.order.kind)
    restored = tuple(recoveries.look(one) for one in recovery.restored)
    recovery = replace(recovery, restored=restored)
    progress = progress_of(restored, begun_at=recovery.started_at, now=now)
    if progress.readiness is not Readiness.READY:
        return replace(recovery, readiness=progress.readiness, problem=progress.problem or recovery.problem)
    return replace(recovery, readiness=Readiness.READY, available_at=recovery.available_at or now)


handler = frame.task(Recovery)(check_recovery)
