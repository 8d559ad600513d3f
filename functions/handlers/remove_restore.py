"""Remove restore: nothing a rehearsal made is left. Asked until AWS says that it is gone."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from functions.core.rehearsals import Rehearsal
from functions.core.resources import Kind
from functions.core.restores import RestoreState
from functions.handlers import frame
from functions.handlers.tools import Tools


def remove_restore(rehearsal: Rehearsal, tools: Tools, now: datetime) -> Rehearsal:
    """The rehearsal with `is_removed`: proofs are deleted, and every restored thing was asked away.

    The machine of a deep check goes first: EC2 deletes no volume that is attached.
    """
    kind = rehearsal.slot.resource.kind
    if rehearsal.deep_check is not None and not tools.checkers.remove_all_of(rehearsal.id):
        return replace(rehearsal, is_removed=False)
    states = [tools.restores(kind).remove(one) for one in rehearsal.restored]  # first: they cost the most
    if kind in (Kind.VOLUME, Kind.INSTANCE):
        for proof in rehearsal.proofs:
            tools.volume_restores(kind).remove_proof(proof.snapshot_id)
    return replace(rehearsal, is_removed=all(state is RestoreState.GONE for state in states))


handler = frame.task(Rehearsal)(remove_restore)
