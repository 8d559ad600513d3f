"""A rehearsal: a recovery that is verified and thrown away, from the choice of the point to the record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from functions.core.deep_checks import DeepCheck
from functions.core.evidence import Evidence
from functions.core.holds import HeldBy, Hold
from functions.core.points import Copy, Point, Status
from functions.core.policies import DatabaseCheck
from functions.core.resources import Kind, ResourceKey
from functions.core.restores import Restored, RestoreState
from functions.core.row_counts import Counted
from functions.core.slots import Slot

TIME_TO_LIVE = timedelta(hours=12)
"""After this long anybody may remove what a rehearsal made, whatever became of its workflow."""


SHOWN_WITHIN = timedelta(minutes=2)
"""EC2 may not show a new volume or proof at once; only after this long is one that it does not show taken for gone."""


class Readiness(StrEnum):
    """The three ways out of a check; a workflow that knows only two of them waits for ever on the third."""

    READY = "ready"
    NOT_YET = "not yet"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far restored things are together; `failed` are those that ended the wait, `problem` says how."""

    readiness: Readiness
    problem: str = ""
    failed: tuple[Restored, ...] = ()


def progress_of(restored: Sequence[Restored], *, begun_at: datetime | None, now: datetime) -> Progress:
    """Ready when everything is available, failed when one is or is gone, or nothing was restored, else not yet.

    What AWS does not show is gone only SHOWN_WITHIN after it was begun.
    """
    is_young = begun_at is not None and now - begun_at < SHOWN_WITHIN
    lost = () if is_young else (RestoreState.GONE,)
    failed = tuple(one for one in restored if one.state in (RestoreState.FAILED, *lost))
    if failed or not restored:
        said = "; ".join(f"{one.id} is {one.state}: {one.message}" for one in failed) or "nothing was restored"
        return Progress(readiness=Readiness.FAILED, problem=said, failed=failed)
    if any(one.state is not RestoreState.AVAILABLE for one in restored):
        return Progress(readiness=Readiness.NOT_YET)
    return Progress(readiness=Readiness.READY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The snapshot through which a restored volume's content is read, and the home snapshot it must equal."""

    restored_id: str
    source_snapshot_id: str
    snapshot_id: str
    is_complete: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentRead:
    """What reading one volume's snapshot took and showed.

    Blocks of 512 KiB; `metadata_blocks` is what the verdict on the file systems alone took. `price_usd` is what EBS
    bills for the requests in most Regions. `change_shares` is what the change since the point before was like, to be
    compared with at the next one.
    """

    source_id: str
    snapshot_id: str
    file_systems: tuple[str, ...]
    metadata_blocks: int
    read_blocks: int
    listed_pages: int
    price_usd: float
    change_shares: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """One rehearsal, handed whole from state to state; every step returns it with more known.

    The times split recovery: `started_at` the restore was asked for, `available_at` AWS called it available,
    `readable_at` its content could be read (proof snapshot, managed secret), `first_query_at` a database gave its
    first answer, `verified_at` the checks were done, `warm_at` a database's storage had all arrived, where that was
    seen before the end. `copy_seconds` is what copying the point here took.

    `source_ids` says of which volume or database each source snapshot is.

    `deep_check` is there when one is due: the restored volumes are then looked at on a machine, too.

    `learned` is what earlier rehearsals of the resource counted, at most `row_counts.MOST_EARLIER` of them;
    `row_counts` is what this one counted, and `estimated_tables` names those of its tables whose rows are estimates.
    """

    id: str
    slot: Slot
    region: str
    snapshot_ids: tuple[str, ...]
    source_snapshot_ids: tuple[str, ...]
    home_region: str
    policy: str
    reason: str
    source_ids: Mapping[str, str] = field(default_factory=dict[str, str])
    consistent_at: datetime | None = None
    checks: tuple[DatabaseCheck, ...] = ()
    learned: tuple[Counted, ...] = ()
    configuration: Mapping[str, object] = field(default_factory=dict[str, object])
    started_at: datetime | None = None
    available_at: datetime | None = None
    readable_at: datetime | None = None
    first_query_at: datetime | None = None
    verified_at: datetime | None = None
    warm_at: datetime | None = None
    copy_seconds: float | None = None
    expires_at: datetime | None = None
    restored: tuple[Restored, ...] = ()
    proofs: tuple[Proof, ...] = ()
    readiness: Readiness = Readiness.NOT_YET
    evidence: Evidence | None = None
    row_counts: Mapping[str, int] = field(default_factory=dict[str, int])
    estimated_tables: tuple[str, ...] = ()
    contents: tuple[ContentRead, ...] = ()
    deep_check: DeepCheck | None = None
    problem: str = ""
    is_removed: bool = False

    @property
    def recovery_seconds(self) -> float | None:
        """From the request to content that can be read: the measured recovery time, without our checking."""
        if self.started_at is None or self.readable_at is None:
            return None
        return (self.readable_at - self.started_at).total_seconds()

    @property
    def stages_seconds(self) -> Mapping[str, float]:
        """The recovery time split into its stages, those that were measured."""
        readable = self.first_query_at or self.readable_at
        spans = (
            ("available", self.started_at, self.available_at),
            ("readable", self.available_at, self.readable_at),
            ("first query", self.readable_at, self.first_query_at),
            ("checked", readable, self.verified_at),
            ("warm", self.available_at, self.warm_at),
            ("deep check", *((deep.asked_at, deep.ended_at) if (deep := self.deep_check) else (None, None))),
        )
        known = {name: (end - begin).total_seconds() for name, begin, end in spans if begin and end}
        return known if self.copy_seconds is None else {"copied": self.copy_seconds, **known}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A point that can be restored in one Region, with its snapshots there in the order of its parts."""

    point: Point
    snapshot_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """What speaks for rehearsing a resource now. `suspicion` is what a verdict has against its point of `suspected_at`,
    which is then the one to rehearse: another one tells nothing about it."""

    resource: ResourceKey
    last_rehearsed_at: datetime | None = None
    suspicion: str = ""
    suspected_at: datetime | None = None

    @property
    def reason(self) -> str:
        """Why it is rehearsed, for the record."""
        if self.suspicion:
            return f"its point is suspicious: {self.suspicion}"
        if self.last_rehearsed_at is None:
            return "it was never rehearsed here"
        return f"it was rehearsed longest ago of those that are due, at {self.last_rehearsed_at:%Y-%m-%d %H:%M} UTC"


def in_turn(risks: Iterable[Risk]) -> tuple[Risk, ...]:
    """The resources in the order in which they should be rehearsed: what is suspicious first, because a rehearsal can
    tell; then what was never rehearsed; then what was longest ago.

    Among equals databases come before volumes, because a rehearsed database proves more.
    """
    kinds = (Kind.DATABASE, Kind.CLUSTER, Kind.INSTANCE, Kind.VOLUME)

    def turn(risk: Risk) -> tuple[bool, float, int, ResourceKey]:
        at = risk.last_rehearsed_at
        return (not risk.suspicion, at.timestamp() if at else 0.0, kinds.index(risk.resource.kind), risk.resource)

    return tuple(sorted(risks, key=turn))


def restorable(
    points: Iterable[Point], copies: Iterable[Copy], *, region: str, held: Mapping[str, Hold] | None = None
) -> Candidate | None:
    """The newest point of a resource that can be restored in `region`, or None: from its copies there, or at home
    from its own snapshots.

    A point that a verdict suspects is rehearsed to learn more. One that a person or a rehearsal holds is not: what is
    known of it would not change.
    """
    here: dict[str, dict[str, Copy]] = {}
    for copy in copies:
        if copy.region == region and copy.status is Status.COMPLETED and copy.snapshot_id is not None:
            here.setdefault(copy.slot.key, {})[copy.source_snapshot_id] = copy
    for point in sorted(points, key=lambda p: p.slot.at, reverse=True):
        if point.status is not Status.COMPLETED or not point.parts or _is_known_bad(point, held or {}):
            continue
        if point.slot.resource.region == region:
            return Candidate(point=point, snapshot_ids=tuple(part.snapshot_id for part in point.parts))
        copied = here.get(point.slot.key, {})
        if all(part.snapshot_id in copied for part in point.parts):
            ids = tuple(str(copied[part.snapshot_id].snapshot_id) for part in point.parts)
            return Candidate(point=point, snapshot_ids=ids)
    return None


def _is_known_bad(point: Point, held: Mapping[str, Hold]) -> bool:
    hold = held.get(point.slot.key)
    return hold.by is not HeldBy.VERDICT if hold else point.is_held
