"""The story of one recovery point, told once everything about it is settled: the row that is scored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from functions.core.points import OPEN, Copy, Point, Status, may_begin_again
from functions.core.slots import Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyStory:
    """How the copies of a point in one Region went: of all parts, the latest time and the summed bytes."""

    region: str
    status: Status
    owed_at: datetime
    created_at: datetime | None
    completed_at: datetime | None
    full_size_bytes: int | None
    waits: int
    errors: tuple[str, ...]

    @property
    def duration_seconds(self) -> float | None:
        """From AWS accepting the copy to its completion; None while either is unknown."""
        return _between(self.created_at, self.completed_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One closed run. Bytes are None when AWS did not tell; that is never the same as zero."""

    slot: Slot
    status: Status
    policy: str
    policy_version: str
    deadline: datetime
    ordered_at: datetime | None
    created_at: datetime | None
    completed_at: datetime | None
    closed_at: datetime
    full_size_bytes: int | None
    changed_bytes: int | None
    attempts: int
    waits: int
    errors: tuple[str, ...]
    copies: tuple[CopyStory, ...]

    @property
    def lag_seconds(self) -> float | None:
        """How long after its slot the snapshot was begun."""
        return _between(self.slot.at, self.created_at)

    @property
    def duration_seconds(self) -> float | None:
        """From AWS accepting the snapshot to its completion."""
        return _between(self.created_at, self.completed_at)

    @property
    def is_complete(self) -> bool:
        """Whether the point and every copy that was owed are complete."""
        return self.status is Status.COMPLETED and all(c.status is Status.COMPLETED for c in self.copies)


def is_closed(point: Point, copies: Sequence[Copy]) -> bool:
    """Whether nothing of this point is still under way or will be tried again."""
    if point.status in OPEN or point.may_begin_again:
        return False
    if point.status is not Status.COMPLETED:
        return True
    expected = {(region, part.snapshot_id) for region in point.copy_to for part in point.parts}
    settled = {
        (c.region, c.source_snapshot_id)
        for c in copies
        if c.status not in OPEN and not may_begin_again(c.status, c.attempt)
    }
    return expected <= settled


def close(point: Point, copies: Sequence[Copy], now: datetime) -> Run:
    """The run of a point for which `is_closed` holds."""
    return Run(
        slot=point.slot,
        status=point.status,
        policy=point.policy,
        policy_version=point.policy_version,
        deadline=point.deadline,
        ordered_at=point.ordered_at,
        created_at=point.created_at,
        completed_at=point.completed_at,
        closed_at=now,
        full_size_bytes=_sum(part.full_size_bytes for part in point.parts),
        changed_bytes=_sum(part.changed_bytes for part in point.parts),
        attempts=point.attempt,
        waits=point.waits,
        errors=point.errors,
        copies=tuple(_copy_story(region, copies) for region in dict.fromkeys(copy.region for copy in copies)),
    )


def _copy_story(region: str, copies: Sequence[Copy]) -> CopyStory:
    here = [c for c in copies if c.region == region]
    completed = [c.completed_at for c in here]
    created = [c.created_at for c in here if c.created_at is not None]
    worst = next((c.status for c in here if c.status is not Status.COMPLETED), Status.COMPLETED)
    return CopyStory(
        region=region,
        status=worst,
        owed_at=min(c.owed_at for c in here),
        created_at=min(created, default=None),
        completed_at=max((at for at in completed if at is not None), default=None) if None not in completed else None,
        full_size_bytes=_sum(c.full_size_bytes for c in here),
        waits=sum(c.waits for c in here),
        errors=tuple(error for c in here for error in c.errors),
    )


def _between(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else (end - start).total_seconds()


def _sum(parts: Iterable[int | None]) -> int | None:
    """The total, or None when there is nothing or one part is unknown: half a total would be read as a whole one."""
    total: int | None = None
    for part in parts:
        if part is None:
            return None
        total = (total or 0) + part
    return total
