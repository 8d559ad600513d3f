"""Configure recovery: what the original had and a snapshot does not carry is on the restored thing, or named."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from functions.core.recoveries import Recovery
from functions.core.rehearsals import Readiness
from functions.handlers import frame
from functions.handlers.tools import Tools


def configure_recovery(recovery: Recovery, tools: Tools, now: datetime) -> Recovery:
    """The recovery with every setting and where it stands: ready when none is under way any more.

    A setting that cannot be applied does not end a recovery: somebody waits for the data, and can set it by hand.
    """
    recoveries = tools.recoveries(recovery.order.kind)
    settings = tuple(setting for one in recovery.restored for setting in recoveries.configure(recovery.order, one))
    recovery = replace(recovery, settings=settings)
    if any(setting.is_applied is None for setting in settings):
        return replace(recovery, readiness=Readiness.NOT_YET)
    return replace(recovery, readiness=Readiness.READY, configured_at=recovery.configured_at or now)


handler = frame.task(Recovery)(configure_recovery)
