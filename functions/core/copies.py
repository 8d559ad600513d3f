"""Which copies are owed, and which go next."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta

from functions.core.points import Copy, Point, Status
from functions.core.snapshots import State


def owed(
    point: Point, rpo: timedelta, now: datetime, *, expected_seconds: Callable[[str, str], float]
) -> tuple[Copy, ...]:
    """One copy for each snapshot of a completed point and each Region of its policy.

    The deadline is slot + RPO: from then on the newest content elsewhere is older than the promise.
    `expected_seconds(source_id, region)` says how long the last copy took.
    """
    if point.status is not Status.COMPLETED:
        return ()
    return tuple(
        Copy(
            slot=point.slot,
            region=region,
            source_snapshot_id=part.snapshot_id,
            source_id=part.source_id,
            status=Status.OWED,
            policy=point.policy,
            policy_version=point.policy_version,
            deadline=point.slot.at + rpo,
            owed_at=now,
            expected_seconds=expected_seconds(part.source_id, region),
        )
        for region in point.copy_to
        for part in point.parts
        if part.state is State.COMPLETED
    )


def choose(
    waiting: Iterable[Copy], *, free: int, busy_sources: Collection[str], has_permit: Callable[[Copy], bool]
) -> tuple[Copy, ...]:
    """The copies to start with `free` permits, in the order in which they wait; read no further than needed.

    A source with a copy in progress to the Region is passed over: AWS would make its second copy wait for the first,
    and the permit would idle with it.
    """
    chosen: list[Copy] = []
    busy = set(busy_sources)
    for copy in waiting if free > 0 else ():
        if not has_permit(copy) and copy.source_id not in busy:
            chosen.append(copy)
        busy.add(copy.source_id)
        if len(chosen) >= free:
            break
    return tuple(chosen)
