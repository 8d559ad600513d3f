"""Recoveries on their way, so that a test says only the word it is about."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from functions.core.evidence import Assertion, judge
from functions.core.recoveries import Chosen, Recovery, RecoveryRequest, Source, order_of
from functions.core.rehearsals import Rehearsal
from functions.core.resources import Kind
from functions.core.slots import Slot
from tests.builders import AWAY, HOME, NOON, a_key, a_slot

RECOVERY_ID = "0a1b2c3d4e5f"
FIT = judge([Assertion(what="ext4 on the disk is whole", held=True, detail="it was clean")])
UNFIT = judge([Assertion(what="ext4 on the disk is whole", held=False, detail="inode 12 is damaged")])


def a_recovery(kind: Kind = Kind.VOLUME, *, asked: dict[str, Any] | None = None, **changes: Any) -> Recovery:
    """Of one snapshot away from home, as chosen at noon for Ines; `asked` is what the request says otherwise."""
    request = RecoveryRequest(**{"resource": a_key(kind), "region": AWAY, "asked_by": "Ines"} | (asked or {}))
    chosen = Chosen(
        slot=a_slot(resource=request.resource),
        source=Source.COPY,
        region=request.region,
        snapshot_ids=("copy-1",),
        source_ids=(request.resource.id,),
        content_at=NOON,
        reason="it is the newest complete point",
    )
    recovery = Recovery(
        id=RECOVERY_ID,
        request=request,
        chosen=chosen,
        order=order_of(RECOVERY_ID, chosen, request, {}),
        asked_at=NOON,
    )
    return replace(recovery, **changes)


def a_past_rehearsal(slot: Slot, *, minutes: int = 6, held: bool | None = True, **changes: Any) -> Rehearsal:
    """One that ended with this answer and took so many minutes until its content could be read."""
    rehearsal = Rehearsal(
        id=f"r{slot.at:%d%H%M}",
        slot=slot,
        region=AWAY,
        snapshot_ids=(),
        source_snapshot_ids=(),
        home_region=HOME,
        policy="gold",
        reason="",
        started_at=NOON,
        readable_at=NOON + timedelta(minutes=minutes),
        verified_at=NOON + timedelta(minutes=minutes + 1),
        evidence=judge([Assertion(what="the same content", held=held, detail="8 of 8 blocks")]),
    )
    return replace(rehearsal, **changes)
