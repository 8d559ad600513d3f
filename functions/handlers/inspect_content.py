"""Inspect content: file systems, databases and expected files of a restored volume, and what changed in it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from functions.aws.blocks import SnapshotBlocks
from functions.core.evidence import Assertion, judge
from functions.core.points import Status
from functions.core.rehearsals import Rehearsal
from functions.handlers import frame
from functions.handlers.inspecting import Read, ToRead, read_snapshot
from functions.handlers.tools import Tools
from functions.inspection.change.judgement import Shares
from functions.inspection.whole_disk import find_expected

WITHIN = timedelta(minutes=12)
"""For all volumes together; the function itself may run for 15 minutes."""

LATELY = 8
"""So many earlier rehearsals say what is usual for a volume."""


def inspect_content(rehearsal: Rehearsal, tools: Tools, now: datetime, *, budget_blocks: int = 20_000) -> Rehearsal:
    """The rehearsal with what its volumes say about their own content added to the evidence, and what reading took.

    The copies are read and not the restored volumes: the step before has shown that both hold the same.

    Units: budget_blocks of 512 KiB for each volume, about 10 GB and $0.06.
    """
    until = now + WITHIN
    read = [
        read_snapshot(
            wanted,
            SnapshotBlocks(wanted.region, wanted.snapshot_id, tools.clients),
            until=until,
            budget_blocks=budget_blocks,
        )
        for wanted in _wanted(rehearsal, tools)
    ]
    assertions = [assertion for one in read for assertion in one.assertions] + _expected(rehearsal, read, tools)
    so_far = rehearsal.evidence.assertions if rehearsal.evidence else ()
    return replace(
        rehearsal,
        evidence=judge((*so_far, *assertions)),
        contents=tuple(one.content for one in read),
        verified_at=frame.now(),
    )


def _wanted(rehearsal: Rehearsal, tools: Tools) -> list[ToRead]:
    """Each snapshot with that of the same volume at the point before, and what was usual for the volume."""
    here = _snapshots_here(rehearsal, tools)
    wanted: list[ToRead] = []
    for snapshot_id, original_id in zip(rehearsal.snapshot_ids, rehearsal.source_snapshot_ids, strict=True):
        source_id = rehearsal.source_ids.get(original_id, original_id)
        earlier = [one for one in here if one[1] == source_id and one[0] < rehearsal.slot.at]
        before_at, _, before_id = max(earlier, default=(None, source_id, None))
        wanted.append(
            ToRead(
                source_id=source_id,
                snapshot_id=snapshot_id,
                region=rehearsal.region,
                before_id=before_id,
                before_at=before_at,
                usual=_usual(source_id, rehearsal, tools),
            )
        )
    return wanted


def _snapshots_here(rehearsal: Rehearsal, tools: Tools) -> list[tuple[datetime, str, str]]:
    """Slot, volume and snapshot of everything of the resource that is complete in the Region of the rehearsal: at home
    the points' own snapshots, elsewhere their copies."""
    resource = rehearsal.slot.resource
    if rehearsal.region == resource.region:
        whole = [point for point in tools.ledger.points.of(resource) if point.status is Status.COMPLETED]
        return [(point.slot.at, part.source_id, part.snapshot_id) for point in whole for part in point.parts]
    return [
        (copy.slot.at, copy.source_id, copy.snapshot_id)
        for copy in tools.ledger.copies.of(resource)
        if copy.region == rehearsal.region and copy.status is Status.COMPLETED and copy.snapshot_id is not None
    ]


def _usual(source_id: str, rehearsal: Rehearsal, tools: Tools) -> Shares | None:
    """What changes of the volume were like at its last rehearsals that found nothing wrong."""
    past = [
        content
        for one in tools.ledger.stories.rehearsals(rehearsal.slot.resource)[-LATELY:]
        if one.evidence is not None and all(assertion.held is not False for assertion in one.evidence.assertions)
        for content in one.contents
    ]
    return Shares.highest(
        Shares.remembered(content.change_shares)
        for content in past
        if content.source_id == source_id and content.change_shares is not None
    )


def _expected(rehearsal: Rehearsal, read: list[Read], tools: Tools) -> list[Assertion]:
    policy = tools.settings.policies.get(rehearsal.policy)
    if policy is None or not policy.files:
        return []
    systems = [system for one in read for system in one.file_systems]
    taken_at = rehearsal.consistent_at or rehearsal.slot.at
    return list(find_expected(policy.files, systems, taken_at=taken_at))


handler = frame.task(Rehearsal)(inspect_content)
