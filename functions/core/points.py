"""A recovery point's life, and that of each of its copies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from functions.core.slots import Slot
from functions.core.snapshots import Snapshot, State

GRACE = timedelta(minutes=11)
"""How long an INTENT is somebody else's: function timeout (5 min) + EC2's visibility bound (5 min) + clock skew."""


class Status(StrEnum):
    """Where a point or a copy is. The arrows are in MOVES; no status is ever left backwards."""

    OWED = "OWED"
    INTENT = "INTENT"
    CREATED = "CREATED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    GONE = "GONE"
    MISSED = "MISSED"
    EXPIRED = "EXPIRED"
    DELETED = "DELETED"


class Stage(StrEnum):
    """On which list of open work something stands, so that whoever looks for one kind of work reads no other."""

    WAITING = "waiting"
    UNDER_WAY = "under way"
    COPYING = "copying"
    ENDED = "ended"


def stage_of(status: Status, copy_to: tuple[str, ...] = ()) -> Stage:
    """The list for work of this status: owed work waits for a permit, a complete point for its copies, and what ended
    for another attempt or for its run to be closed."""
    if status is Status.OWED:
        return Stage.WAITING
    if status in (Status.INTENT, Status.CREATED):
        return Stage.UNDER_WAY
    return Stage.COPYING if status is Status.COMPLETED and copy_to else Stage.ENDED


MOVES: Mapping[Status, frozenset[Status]] = {
    Status.OWED: frozenset({Status.INTENT, Status.MISSED, Status.GONE}),
    Status.INTENT: frozenset({Status.CREATED, Status.OWED, Status.FAILED, Status.GONE}),
    Status.CREATED: frozenset({Status.COMPLETED, Status.FAILED, Status.GONE}),
    Status.FAILED: frozenset({Status.INTENT, Status.OWED, Status.DELETED}),
    Status.COMPLETED: frozenset({Status.GONE, Status.EXPIRED}),
    Status.GONE: frozenset({Status.INTENT, Status.OWED}),
    Status.MISSED: frozenset(),
    Status.EXPIRED: frozenset({Status.DELETED}),
    Status.DELETED: frozenset(),
}
"""INTENT goes back to OWED when AWS refused before any effect (back-pressure). FAILED, and GONE before it was ever
complete, begin again as a new attempt; a copy that is GONE is owed again while its source lives."""

OPEN = frozenset({Status.OWED, Status.INTENT, Status.CREATED})
"""Work that somebody must still look at."""

ATTEMPTS = 3
"""How often a point or copy that AWS failed is begun before it stays failed and a person is told."""


def may_begin_again(status: Status, attempt: int) -> bool:
    """Whether work that AWS failed or lost gets another attempt, or stays so for a person to see."""
    return status in (Status.FAILED, Status.GONE) and attempt < ATTEMPTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One snapshot of a point. A volume or a database has one part, an instance one for each volume."""

    source_id: str
    snapshot_id: str
    state: State
    started_at: datetime | None = None
    completed_at: datetime | None = None
    consistent_at: datetime | None = None
    size_gib: int | None = None
    full_size_bytes: int | None = None
    changed_bytes: int | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A recovery point in its home Region."""

    slot: Slot
    status: Status
    policy: str
    policy_version: str
    copy_to: tuple[str, ...]
    deadline: datetime
    attempt: int = 1
    claimed_at: datetime | None = None
    parts: tuple[Part, ...] = ()
    ordered_at: datetime | None = None
    not_before: datetime | None = None
    created_at: datetime | None = None
    completed_at: datetime | None = None
    expired_at: datetime | None = None
    archived_at: datetime | None = None
    is_held: bool = False
    waits: int = 0
    errors: tuple[str, ...] = ()
    reason: str = ""
    configuration: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def may_begin_again(self) -> bool:
        """Whether AWS failed or lost it before it ever was complete, and an attempt is left.

        A point that somebody deleted later is never taken again: it would hold today's content under an old slot.
        """
        return self.completed_at is None and may_begin_again(self.status, self.attempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One snapshot of a point in another Region."""

    slot: Slot
    region: str
    source_snapshot_id: str
    source_id: str
    status: Status
    policy: str
    policy_version: str
    deadline: datetime
    owed_at: datetime
    expected_seconds: float = 0.0
    attempt: int = 1
    claimed_at: datetime | None = None
    snapshot_id: str | None = None
    ordered_at: datetime | None = None
    created_at: datetime | None = None
    completed_at: datetime | None = None
    full_size_bytes: int | None = None
    waits: int = 0
    errors: tuple[str, ...] = ()


def part_of(snapshot: Snapshot, *, before: Part | None = None) -> Part:
    """The part as AWS describes it now; what only we knew (changed bytes) is kept."""
    return Part(
        source_id=before.source_id if before else snapshot.source_id,
        snapshot_id=snapshot.id,
        state=snapshot.state,
        started_at=snapshot.started_at,
        completed_at=snapshot.completed_at,
        consistent_at=snapshot.consistent_at,
        size_gib=snapshot.size_gib,
        full_size_bytes=snapshot.full_size_bytes,
        changed_bytes=before.changed_bytes if before else None,
        message=snapshot.message,
    )


def status_of(states: tuple[State, ...]) -> Status:
    """Where a point stands whose snapshots are in these states: the worst decides, all must be completed to complete.

    One failed volume fails the instance's whole set, because half a set is not crash-consistent.
    """
    if not states or State.GONE in states:
        return Status.GONE
    if State.FAILED in states:
        return Status.FAILED
    if all(state is State.COMPLETED for state in states):
        return Status.COMPLETED
    return Status.CREATED
