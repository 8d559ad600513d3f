"""Start restore: ask AWS for a volume or database made of the point's copies. Asked twice is asked once."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from functions.core.rehearsals import TIME_TO_LIVE, Rehearsal
from functions.core.restores import RestoreOrder
from functions.handlers import frame
from functions.handlers.tools import Tools


def start_restore(rehearsal: Rehearsal, tools: Tools, now: datetime) -> Rehearsal:
    """The restores are begun, isolated and tagged with when anybody may remove them."""
    order = order_of(rehearsal)
    if rehearsal.deep_check is not None:
        order = replace(order, zone=tools.deep_check_zone)
    begun = tools.restores(rehearsal.slot.resource.kind).begin(order)
    return replace(rehearsal, restored=begun, started_at=rehearsal.started_at or now)


def order_of(rehearsal: Rehearsal) -> RestoreOrder:
    """The order a rehearsal stands for, the same in every state."""
    return RestoreOrder(
        rehearsal_id=rehearsal.id,
        kind=rehearsal.slot.resource.kind,
        region=rehearsal.region,
        snapshot_ids=rehearsal.snapshot_ids,
        expires_at=rehearsal.expires_at or rehearsal.slot.at + TIME_TO_LIVE,
        configuration=rehearsal.configuration,
    )


handler = frame.task(Rehearsal)(start_restore)
