"""Check restore: how far it is, and the next step towards content that can be read.

A restored volume is read through a snapshot of it, because EBS shows the blocks of nothing else; a restored database
is read with a master secret that AWS manages. Both are asked for here as soon as they can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from functions.core.evidence import Assertion, Evidence, judge
from functions.core.rehearsals import SHOWN_WITHIN, Proof, Readiness, Rehearsal, progress_of
from functions.core.resources import Kind
from functions.core.restores import OF_THE_CONTENT, Restored
from functions.core.snapshots import State
from functions.handlers import frame
from functions.handlers.start_restore import order_of
from functions.handlers.tools import Tools


def check_restore(rehearsal: Rehearsal, tools: Tools, now: datetime) -> Rehearsal:
    """The rehearsal with its readiness: ready, not yet, or failed with AWS's own words."""
    restores = tools.restores(rehearsal.slot.resource.kind)
    restored = tuple(restores.look(one) for one in rehearsal.restored)
    rehearsal = replace(rehearsal, restored=restored)
    progress = progress_of(restored, begun_at=rehearsal.started_at, now=now)
    if progress.readiness is Readiness.FAILED:
        evidence = _of_failure(progress.failed)
        return replace(rehearsal, readiness=Readiness.FAILED, problem=progress.problem, evidence=evidence)
    if progress.readiness is Readiness.NOT_YET:
        return replace(rehearsal, readiness=Readiness.NOT_YET)
    is_warm = all(one.is_warm for one in restored)
    rehearsal = replace(
        rehearsal,
        available_at=rehearsal.available_at or now,
        warm_at=rehearsal.warm_at or (now if is_warm else None),
    )
    if rehearsal.slot.resource.kind in (Kind.DATABASE, Kind.CLUSTER):
        return replace(rehearsal, readiness=Readiness.READY, readable_at=rehearsal.readable_at or now)
    return _with_proofs(rehearsal, restored, tools, now)


def _of_failure(failed: Sequence[Restored]) -> Evidence | None:
    """That AWS cannot make a working database of a point is evidence against the point; anything else that failed
    leaves its content open, and the rehearsal proved nothing."""
    broken = [one for one in failed if one.word in OF_THE_CONTENT]
    if not broken:
        return None
    what = "AWS makes a working database of it"
    return judge([Assertion(what=what, held=False, detail=f"{one.id} ended as {one.word}") for one in broken])


def _with_proofs(rehearsal: Rehearsal, restored: Sequence[Restored], tools: Tools, now: datetime) -> Rehearsal:
    volumes = tools.volume_restores(rehearsal.slot.resource.kind)
    sources = dict(zip(rehearsal.snapshot_ids, rehearsal.source_snapshot_ids, strict=True))
    known = {proof.restored_id: proof for proof in rehearsal.proofs}
    is_young = rehearsal.available_at is not None and now - rehearsal.available_at < SHOWN_WITHIN
    failures = (State.FAILED, State.UNUSABLE) if is_young else (State.FAILED, State.UNUSABLE, State.GONE)
    proofs: list[Proof] = []
    failed: list[str] = []
    for one in restored:
        proof = known.get(one.id) or Proof(
            restored_id=one.id,
            source_snapshot_id=sources[one.snapshot_id],
            snapshot_id=volumes.begin_proof(one, order_of(rehearsal)),
        )
        state = volumes.look_proof(proof.snapshot_id)
        if state in failures:
            failed.append(f"the snapshot {proof.snapshot_id} of the restored {one.id} is {state}")
        proofs.append(replace(proof, is_complete=state is State.COMPLETED))
    rehearsal = replace(rehearsal, proofs=tuple(proofs))
    if failed:
        return replace(rehearsal, readiness=Readiness.FAILED, problem="; ".join(failed))
    if all(proof.is_complete for proof in proofs):
        return replace(rehearsal, readiness=Readiness.READY, readable_at=rehearsal.readable_at or now)
    return replace(rehearsal, readiness=Readiness.NOT_YET)


handler = frame.task(Rehearsal)(check_restore)
