"""Verify recovery: the content of what was restored, as far as it can be seen from here."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from functions.aws.blocks import SnapshotBlocks
from functions.core.evidence import Assertion, Fitness, judge
from functions.core.recoveries import Recovery
from functions.core.rehearsals import Rehearsal
from functions.core.resources import Kind
from functions.handlers import frame
from functions.handlers.inspecting import ToRead, read_snapshot
from functions.handlers.tools import Tools
from functions.inspection.whole_disk import find_expected

WITHIN = timedelta(minutes=10)
"""Somebody waits: what is not read by then is told as not read."""


def verify_recovery(recovery: Recovery, tools: Tools, now: datetime, *, budget_blocks: int = 8_000) -> Recovery:
    """The recovery with its evidence.

    Of volumes the snapshots they were made of are read, which are what AWS fills the volumes from. A database is in
    the network it was wanted in, to which nothing of ours has a way: what is known of its content is what the
    rehearsal of the same point has shown.

    Units: budget_blocks of 512 KiB for each volume, about 4 GB and $0.03.
    """
    is_database = recovery.order.kind in (Kind.DATABASE, Kind.CLUSTER)
    found = _of_rehearsal(recovery, tools) if is_database else _of_snapshots(recovery, tools, now, budget_blocks)
    return replace(recovery, evidence=judge(found), verified_at=frame.now())


def _of_snapshots(recovery: Recovery, tools: Tools, now: datetime, budget_blocks: int) -> list[Assertion]:
    pairs = zip(recovery.order.source_ids, recovery.order.snapshot_ids, strict=True)
    read = [
        read_snapshot(
            ToRead(source_id=source_id, snapshot_id=snapshot_id, region=recovery.order.region),
            SnapshotBlocks(recovery.order.region, snapshot_id, tools.clients),
            until=now + WITHIN,
            budget_blocks=budget_blocks,
        )
        for source_id, snapshot_id in pairs
    ]
    assertions = [assertion for one in read for assertion in one.assertions]
    point = tools.ledger.points.get(recovery.chosen.slot)
    policy = tools.settings.policies.get(point.policy) if point else None
    if policy is not None and policy.files:
        systems = [system for one in read for system in one.file_systems]
        assertions += find_expected(policy.files, systems, taken_at=recovery.chosen.content_at)
    return assertions


def _of_rehearsal(recovery: Recovery, tools: Tools) -> list[Assertion]:
    what = "the content of this point was proven by a rehearsal"
    past = [
        rehearsal
        for rehearsal in tools.ledger.stories.rehearsals(recovery.request.resource)
        if rehearsal.slot.key == recovery.chosen.slot.key and rehearsal.evidence is not None
    ]
    newest = max(past, key=lambda one: one.verified_at or one.slot.at, default=None)
    if newest is None or not recovery.order.snapshot_ids:
        detail = "no rehearsal restored exactly this content; ask the database yourself before you rely on it"
        return [Assertion(what=what, held=None, detail=detail)]
    return [Assertion(what=what, held=_held(newest), detail=_told(newest))]


def _held(rehearsal: Rehearsal) -> bool | None:
    fitness = rehearsal.evidence.fitness if rehearsal.evidence else Fitness.UNDECIDED
    return {Fitness.FIT: True, Fitness.UNFIT: False, Fitness.UNDECIDED: None}[fitness]


def _told(rehearsal: Rehearsal) -> str:
    at = f"{rehearsal.verified_at:%Y-%m-%d %H:%M} UTC" if rehearsal.verified_at else "an unknown time"
    reason = rehearsal.evidence.reason if rehearsal.evidence else "nothing was checked"
    return f"rehearsed in {rehearsal.region} at {at}: {reason}"


handler = frame.task(Recovery)(verify_recovery)
