"""A rehearsal: a recovery that is verified and thrown away, from the choice of the point to the record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from functions.core.evidence import Evidence
from functions.core.points import Copy, Point, Status
from functions.core.policies import DatabaseCheck
from functions.core.resources import Kind, ResourceKey
from functions.core.restores import Restored
from functions.core.slots import Slot

TIME_TO_LIVE = timedelta(hours=12)
"""After this long anybody may remove what a rehearsal made, whatever became of its workflow."""


class Readiness(StrEnum):
    """The three ways out of a check; a workflow that knows only two of them waits for ever on the third."""

    READY = "ready"
    NOT_YET = "not yet"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The snapshot through which a restored volume's content is read, and the home snapshot it must equal."""

    restored_id: str
    source_snapshot_id: str
    snapshot_id: str
    is_complete: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """One rehearsal, handed whole from state to state; every step returns it with more known.

    The times split recovery: `started_at` the restore was asked for, `available_at` AWS called it available,
    `readable_at` its content could be read (proof snapshot, managed secret), `verified_at` the checks were done.
    """

    id: str
    slot: Slot
    region: str
    snapshot_ids: tuple[str, ...]
    source_snapshot_ids: tuple[str, ...]
    home_region: str
    policy: str
    reason: str
    consistent_at: datetime | None = None
    checks: tuple[DatabaseCheck, ...] = ()
    configuration: Mapping[str, object] = field(default_factory=dict[str, object])
    started_at: datetime | None = None
    available_at: datetime | None = None
    readable_at: datetime | None = None
    verified_at: datetime | None = None
    expires_at: datetime | None = None
    restored: tuple[Restored, ...] = ()
    proofs: tuple[Proof, ...] = ()
    readiness: Readiness = Readiness.NOT_YET
    evidence: Evidence | None = None
    problem: str = ""
    is_removed: bool = False

    @property
    def recovery_seconds(self) -> float | None:
        """From the request to content that can be read: the measured recovery time, without our checking."""
        if self.started_at is None or self.readable_at is None:
            return None
        return (self.readable_at - self.started_at).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A point that can be restored in one Region, with its copies there in the order of its parts."""

    point: Point
    copies: tuple[Copy, ...]


def in_turn(
    resources: Iterable[ResourceKey], last_rehearsed_at: Mapping[ResourceKey, datetime]
) -> tuple[ResourceKey, ...]:
    """The resources in the order in which they should be rehearsed: never rehearsed first, then longest ago.

    Among equals databases come before volumes, because a rehearsed database proves more.
    """
    kinds = (Kind.DATABASE, Kind.CLUSTER, Kind.INSTANCE, Kind.VOLUME)

    def turn(resource: ResourceKey) -> tuple[float, int, ResourceKey]:
        at = last_rehearsed_at.get(resource)
        return (at.timestamp() if at else 0.0, kinds.index(resource.kind), resource)

    return tuple(sorted(resources, key=turn))


def restorable(points: Iterable[Point], copies: Iterable[Copy], *, region: str) -> Candidate | None:
    """The newest usable point of a resource whose every part has a completed copy in `region`, or None.

    A held point is not usable: something about it is suspicious, and a rehearsal of it proves nothing about recovery.
    """
    here: dict[str, dict[str, Copy]] = {}
    for copy in copies:
        if copy.region == region and copy.status is Status.COMPLETED:
            here.setdefault(copy.slot.key, {})[copy.source_snapshot_id] = copy
    for point in sorted(points, key=lambda p: p.slot.at, reverse=True):
        copied = here.get(point.slot.key, {})
        is_usable = point.status is Status.COMPLETED and not point.is_held and point.parts
        if is_usable and all(part.snapshot_id in copied for part in point.parts):
            return Candidate(point=point, copies=tuple(copied[part.snapshot_id] for part in point.parts))
    return None
