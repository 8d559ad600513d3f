"""Verify volume: the restored content equals the source at snapshot time, and what nothing changed is as it was."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from functions.aws.blocks import Comparison, SnapshotBlocks, compare
from functions.core.block_sets import BlockSet
from functions.core.errors import SnapshotGone
from functions.core.evidence import Assertion, judge
from functions.core.rehearsals import Proof, Rehearsal
from functions.handlers import frame
from functions.handlers.tools import Tools
from functions.inspection import remembered
from functions.inspection.remembered import Remembered
from functions.ledger.block_memories import BlockMemory


def verify_volume(rehearsal: Rehearsal, tools: Tools, now: datetime, *, budget_blocks: int = 40_000) -> Rehearsal:
    """The rehearsal with its evidence: the snapshot taken at home and the one of the restored volume hold the same,
    and blocks of which EBS says that they did not change since they were last read hold what they held.

    Units: budget_blocks of 512 KiB for each volume, about 20 GB and $0.24 of EBS direct requests; a larger volume is
    sampled evenly, and the evidence says so.
    """
    assertions: list[Assertion] = []
    for proof in rehearsal.proofs:
        source = SnapshotBlocks(rehearsal.home_region, proof.source_snapshot_id, tools.clients)
        restored = SnapshotBlocks(rehearsal.region, proof.snapshot_id, tools.clients)
        comparison = compare(source, restored, budget_blocks=budget_blocks)
        found = (*comparison.assertions, *_against_memory(proof, source, comparison, rehearsal, tools, now))
        assertions += [replace(one, what=f"{proof.source_snapshot_id}: {one.what}") for one in found]
    return replace(rehearsal, evidence=judge(assertions), verified_at=frame.now())


def _against_memory(
    proof: Proof, source: SnapshotBlocks, comparison: Comparison, rehearsal: Rehearsal, tools: Tools, now: datetime
) -> tuple[Assertion, ...]:
    """What the memory of the volume's blocks says; from now on this point is what is remembered, unless it is broken.

    Nothing is said the first time, nor when the point that is remembered does not exist any more.
    """
    resource = rehearsal.slot.resource
    source_id = rehearsal.source_ids.get(proof.source_snapshot_id, proof.source_snapshot_id)
    digests = _digests(comparison.source_checksums)
    memory = tools.ledger.block_memories.recall(resource, rehearsal.region, source_id)
    if memory is not None and memory.slot_at > rehearsal.slot.at:
        return ()
    known: Remembered = Remembered.of({})
    changed: BlockSet | None = None
    if memory is not None:
        changed = _changed(source, memory.snapshot_id, proof.source_snapshot_id)
        if changed is not None:
            known = Remembered.joined(remembered.unpack(row, number=number) for number, row in memory.rows.items())
    assertions: tuple[Assertion, ...] = ()
    if changed is not None:
        found = remembered.compare(known, digests, may_differ=changed, listed_now=comparison.source_blocks)
        # A sample that happens to meet no remembered block proves nothing, and takes nothing away either.
        assertions = tuple(one for one in found if one.held is not None)
    if all(one.held is not False for one in (*assertions, *comparison.assertions)):
        _remember(source_id, proof, remembered.merged(known, digests, may_differ=changed or ()), rehearsal, tools, now)
    return assertions


def _changed(source: SnapshotBlocks, remembered_id: str, source_id: str) -> BlockSet | None:
    """Which blocks may differ from the snapshot that is remembered; None when nobody can tell any more.

    Nothing may differ when it is the same one, rehearsed again; EBS compares no snapshot with itself.
    """
    if remembered_id == source_id:
        return BlockSet()
    try:
        return source.changed_since(remembered_id)
    except SnapshotGone:
        return None


def _remember(
    source_id: str, proof: Proof, blocks: Remembered, rehearsal: Rehearsal, tools: Tools, now: datetime
) -> None:
    memory = BlockMemory(
        source_id=source_id,
        snapshot_id=proof.source_snapshot_id,
        slot_at=rehearsal.slot.at,
        rows={number: remembered.pack(chunk) for number, chunk in blocks.chunks()},
    )
    tools.ledger.block_memories.remember(rehearsal.slot.resource, rehearsal.region, memory, now)


def _digests(checksums: Mapping[int, str]) -> Mapping[int, int]:
    return {index: remembered.digest_of_checksum(base64.b64decode(text)) for index, text in checksums.items()}


handler = frame.task(Rehearsal)(verify_volume)
