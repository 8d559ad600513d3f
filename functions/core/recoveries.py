"""A recovery: a request to restore, the point that serves it and why, and what became of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from functions.core.evidence import Evidence
from functions.core.points import Copy, Point, Status
from functions.core.rehearsals import Readiness
from functions.core.resources import Kind, ResourceKey
from functions.core.restores import Restored, RestoreState
from functions.core.slots import Slot

RECOVERY_TAG = "holdfast:recovery"
"""On everything a recovery makes: which one. Unlike what a rehearsal makes, it has no date after which it may go."""

ID = re.compile(r"[0-9a-f]{12}")


_OF_VOLUMES = frozenset(
    {"availability_zone", "volume_type", "iops", "throughput_mibps", "kms_key_id", "initialization_mibps", "tags"}
)

TARGETS: Mapping[Kind, frozenset[str]] = {
    Kind.VOLUME: _OF_VOLUMES,
    Kind.INSTANCE: _OF_VOLUMES,
    Kind.DATABASE: frozenset(
        {
            "instance_class", "subnet_group", "security_groups", "parameter_group", "option_group", "is_multi_az",
            "is_public", "is_deletion_protected", "availability_zone", "storage_type", "iops", "throughput_mibps",
            "port", "ca_certificate", "backup_retention_days", "log_exports", "tags",
        }
    ),
    Kind.CLUSTER: frozenset(
        {
            "instance_class", "subnet_group", "security_groups", "parameter_group", "cluster_parameter_group",
            "option_group", "is_deletion_protected", "serverless_capacity", "port", "kms_key_id",
            "backup_retention_days", "log_exports", "members", "tags",
        }
    ),
}  # fmt: skip
"""Which settings of the restored thing a request or a Region's defaults may give, by kind."""


class Ending(StrEnum):
    """What happens to the restored thing once it was checked."""

    HAND_OVER = "hand over"
    TEAR_DOWN = "tear down"


class Source(StrEnum):
    """What a recovery restores from."""

    COPY = "copy"
    HOME = "home snapshot"
    POINT_IN_TIME = "point in time"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryRequest:
    """What somebody asked for.

    Without `before` and `slot_at` it is the latest good point; `before` is the latest good one whose content is older
    than that instant; `slot_at` is exactly that point, good or not. `overrides` are settings of the target under the
    names that the configuration of a resource has; `name` is what a restored database is to be called. With
    `approval_seconds` a person must agree within that time before anything is made.
    """

    resource: ResourceKey
    region: str
    before: datetime | None = None
    slot_at: datetime | None = None
    name: str | None = None
    overrides: Mapping[str, object] = field(default_factory=dict[str, object])
    ending: Ending = Ending.HAND_OVER
    is_dry_run: bool = False
    may_use_point_in_time: bool = True
    must_be_verified: bool = False
    approval_seconds: int | None = None
    asked_by: str = "a person"


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """A newer point that was not chosen, and why."""

    slot_at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What is restored, and why this. `content_at` is the instant its content stands for."""

    slot: Slot
    source: Source
    region: str
    snapshot_ids: tuple[str, ...]
    source_ids: tuple[str, ...]
    content_at: datetime
    reason: str
    is_verified: bool = False
    passed_over: tuple[PassedOver, ...] = ()
    configuration: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryOrder:
    """Make these things in `region`, configured as `wanted` says (the names of a resource's configuration).

    `snapshot_ids` are snapshots in `region`; with `source` POINT_IN_TIME they are empty, and the database `source_id`
    is restored as it was at `content_at`. `names` gives each snapshot (or the one source) the name of what is made.
    """

    recovery_id: str
    kind: Kind
    region: str
    source: Source
    snapshot_ids: tuple[str, ...]
    source_ids: tuple[str, ...]
    content_at: datetime
    names: tuple[str, ...]
    wanted: Mapping[str, object]


class Found(StrEnum):
    """What a check before the start found."""

    FINE = "fine"
    WARNING = "warning"
    OBSTACLE = "obstacle"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanLine:
    """One thing that was looked at before anything is made. An obstacle says in `next_step` what to change."""

    what: str
    found: Found
    detail: str
    next_step: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting of the original on the restored thing. `is_applied` is None while AWS is still changing it, False
    when it could not be applied, and `detail` then says why and what to do."""

    what: str
    is_applied: bool | None
    detail: str = ""


class Recoveries(Protocol):
    """The port: how one kind is recovered in one Region. Every call may be repeated; twice is once.

    Nothing here touches a thing that does not carry the recovery's own tag.
    """

    kind: Kind
    region: str

    def plan(self, order: RecoveryOrder) -> tuple[PlanLine, ...]:
        """What stands in the way, found without making anything: snapshots, names, groups, subnets, keys, quotas,
        capacity. Errors: AwsBusy, NotAllowed."""
        ...

    def begin(self, order: RecoveryOrder) -> tuple[Restored, ...]:
        """One restored thing for each name, begun with the recovery's tag in the creating call.

        Errors: SnapshotGone, ResourceGone, KeyUnusable, QuotaReached, NotAllowed, AwsBusy; Unsafe when a name is
        taken by something this recovery did not make: nothing in use is ever overwritten.
        """
        ...

    def look(self, restored: Restored) -> Restored:
        """How far it is. Of a cluster this also makes the members. AVAILABLE is AWS's word, not ours."""
        ...

    def configure(self, order: RecoveryOrder, restored: Restored) -> tuple[Setting, ...]:
        """Every setting of the original and where it stands on the restored thing; asks for the next change.

        Called again until no setting is under way. Deletion protection is the last to be set.
        """
        ...

    def remove(self, restored: Restored, recovery_id: str) -> RestoreState:
        """GONE when nothing is left of it, CREATING while AWS is still removing.

        Errors: Unsafe when the thing does not carry this recovery's tag, or somebody uses it.
        """
        ...


def identity(execution: str, member: str) -> str:
    """The name of a recovery: the same however often the execution starts over, another for another."""
    return hashlib.sha256(f"{execution}|{member}".encode()).hexdigest()[:12]


def name_for(source_id: str, recovery_id: str) -> str:
    """What a restored database is called when nobody says: the original's name, and that it is not the original.

    At most 63 characters, the limit of clusters, without a hyphen at the end or two in a row.
    """
    begun = re.sub(r"-+", "-", source_id.lower())[: 63 - len("-restored-") - 8].rstrip("-")
    return f"{begun}-restored-{recovery_id[:8]}"


OF_ONE_REGION = frozenset(
    {"availability_zone", "availability_zones", "security_groups", "kms_key_id", "subnet_id", "vpc_id"}
)
"""Settings of the original that name something of its own Region; elsewhere they mean nothing."""


def wanted(chosen: Chosen, request: RecoveryRequest, defaults: Mapping[str, object]) -> Mapping[str, object]:
    """How the restored thing is to be set up: as the original was, then what the settings say for the Region, then
    what the request says. What names something of another Region is left out."""
    saved = chosen.configuration
    if request.region != request.resource.region:
        saved = {name: value for name, value in saved.items() if name not in OF_ONE_REGION}
    if request.ending is Ending.TEAR_DOWN:
        # What is removed again is not protected: a protection found then is somebody's who wants to keep it.
        saved = {name: value for name, value in saved.items() if name != "is_deletion_protected"}
    return {**saved, **defaults, **request.overrides}


def order_of(
    recovery_id: str, chosen: Chosen, request: RecoveryRequest, defaults: Mapping[str, object]
) -> RecoveryOrder:
    """The order that serves the request, the same however often it is made."""
    names = tuple(
        request.name if request.name and len(chosen.source_ids) == 1 else name_for(source_id, recovery_id)
        for source_id in chosen.source_ids
    )
    return RecoveryOrder(
        recovery_id=recovery_id,
        kind=request.resource.kind,
        region=chosen.region,
        source=chosen.source,
        snapshot_ids=chosen.snapshot_ids,
        source_ids=chosen.source_ids,
        content_at=chosen.content_at,
        names=names,
        wanted=wanted(chosen, request, defaults),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Newest:
    """How near to now a database can be restored by its own log, in the Region where it runs."""

    at: datetime
    source_id: str


def choose(
    request: RecoveryRequest,
    points: Iterable[Point],
    copies: Iterable[Copy],
    *,
    verified: frozenset[str],
    rpo: timedelta,
    log: Newest | None = None,
) -> Chosen | str:
    """What serves the request, or why nothing does.

    A point serves when it is complete, every part of it can be read in the Region, and nothing about it is
    suspicious. Of those the newest, or the newest verified one where that costs no more than one RPO of data. A
    point somebody names is taken although it is held: they have seen why. The database's own log is taken where it
    loses less and nothing newer than the point is suspicious; it exists in the home Region only.
    """
    passed: list[PassedOver] = []
    usable: list[Chosen] = []
    by_slot = _by_slot(copies, request.region)
    for point in sorted(points, key=lambda p: p.slot.at, reverse=True):
        found = _source_of(point, by_slot.get(point.slot.key, {}), request)
        why_not = _why_not(point, request) or (found if isinstance(found, str) else "")
        if isinstance(found, str) or why_not:
            if request.slot_at in (None, point.slot.at):
                passed.append(PassedOver(slot_at=point.slot.at, reason=why_not))
            continue
        usable.append(found)
    is_named = request.slot_at is not None
    proven = [one for one in usable if one.slot.key in verified]
    if request.must_be_verified and not is_named:
        usable = proven
    if not usable:
        return _nothing(request, passed)
    chosen, reason = _preferred(usable, proven, rpo, is_named=is_named)
    over = tuple(one for one in passed if one.slot_at > chosen.slot.at)
    chosen = _told(chosen, reason, is_verified=chosen.slot.key in verified, passed_over=over)
    return _by_log(chosen, request, log) if log and not is_named else chosen


def _by_slot(copies: Iterable[Copy], region: str) -> Mapping[str, Mapping[str, Copy]]:
    found: dict[str, dict[str, Copy]] = {}
    for copy in copies:
        if copy.region == region and copy.status is Status.COMPLETED and copy.snapshot_id is not None:
            found.setdefault(copy.slot.key, {})[copy.source_snapshot_id] = copy
    return found


def _why_not(point: Point, request: RecoveryRequest) -> str:
    if request.slot_at is not None:
        return "" if point.slot.at == request.slot_at else "another point was asked for"
    if point.is_held:
        return "it is held: something about it is suspicious"
    if request.before is not None and content_at(point) >= request.before:
        return f"its content is not older than {request.before:%Y-%m-%d %H:%M} UTC"
    return ""


def _source_of(point: Point, here: Mapping[str, Copy], request: RecoveryRequest) -> Chosen | str:
    home = point.slot.resource.region
    if point.status is Status.EXPIRED:
        return "it expired and is being deleted"
    if point.status is not Status.COMPLETED and not (point.status is Status.GONE and point.completed_at):
        return f"it is {point.status}"
    if not point.parts:
        return "it has no snapshot"
    if all(part.snapshot_id in here for part in point.parts):
        ids = tuple(str(here[part.snapshot_id].snapshot_id) for part in point.parts)
        return _chosen(point, Source.COPY, request.region, ids)
    if home != request.region:
        return f"not all of it was copied to {request.region}"
    if point.status is not Status.COMPLETED:
        return "its snapshots are gone at home"
    return _chosen(point, Source.HOME, home, tuple(part.snapshot_id for part in point.parts))


def _chosen(point: Point, source: Source, region: str, snapshot_ids: tuple[str, ...]) -> Chosen:
    return Chosen(
        slot=point.slot,
        source=source,
        region=region,
        snapshot_ids=snapshot_ids,
        source_ids=tuple(part.source_id for part in point.parts),
        content_at=content_at(point),
        reason="",
        configuration=point.configuration,
    )


def content_at(point: Point) -> datetime:
    """The instant a point's content stands for: of a set, the earliest of its parts'."""
    moments = [part.consistent_at for part in point.parts if part.consistent_at is not None]
    return min(moments, default=point.created_at or point.slot.at)


def _preferred(usable: list[Chosen], proven: list[Chosen], rpo: timedelta, *, is_named: bool) -> tuple[Chosen, str]:
    newest = usable[0]
    if is_named:
        return newest, "it is the point that was asked for"
    if not proven:
        return newest, "it is the newest complete point that nothing speaks against; none was proven to restore yet"
    older = newest.content_at - proven[0].content_at
    if not older:
        return newest, "it is the newest complete point, and it was proven to restore"
    if older <= rpo:
        return proven[0], f"it was proven to restore, and is only {_hours(older)} older than the newest"
    return newest, (
        f"it is the newest complete point that nothing speaks against; the newest one proven to restore is "
        f"{_hours(older)} older"
    )


def _told(chosen: Chosen, reason: str, *, is_verified: bool, passed_over: tuple[PassedOver, ...]) -> Chosen:
    where = {
        Source.COPY: f"restored from its copy in {chosen.region}",
        Source.HOME: f"restored from its snapshot in {chosen.region}",
        Source.POINT_IN_TIME: "restored by the database's own log",
    }[chosen.source]
    return replace(chosen, reason=f"{reason}; {where}", is_verified=is_verified, passed_over=passed_over)


def _by_log(chosen: Chosen, request: RecoveryRequest, log: Newest) -> Chosen:
    at = min(log.at, request.before - timedelta(seconds=1)) if request.before else log.at
    suspicious = any("held" in one.reason for one in chosen.passed_over)
    if not request.may_use_point_in_time or suspicious or at <= chosen.content_at or request.must_be_verified:
        return chosen
    saved = _hours(at - chosen.content_at)
    return replace(
        chosen,
        source=Source.POINT_IN_TIME,
        region=chosen.slot.resource.region,
        snapshot_ids=(),
        source_ids=(log.source_id,),
        content_at=at,
        reason=f"the database's own log reaches {saved} further than the newest good point, and nothing newer is held",
        is_verified=False,
    )


def _nothing(request: RecoveryRequest, passed: list[PassedOver]) -> str:
    asked = (
        f"from {request.slot_at:%Y-%m-%d %H:%M} UTC"
        if request.slot_at
        else f"from before {request.before:%Y-%m-%d %H:%M} UTC"
        if request.before
        else "that is good"
    )
    seen = "; ".join(f"{one.slot_at:%Y-%m-%d %H:%M}: {one.reason}" for one in passed[:5]) or "the ledger has none"
    proven = " and was proven to restore" if request.must_be_verified else ""
    return f"no point of {request.resource} {asked}{proven} can be restored in {request.region}: {seen}"


def _hours(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """One recovery, handed whole from state to state; every step returns it with more known.

    The times split the recovery: `started_at` the restore was asked for, `available_at` AWS called it available,
    `configured_at` it was set up like the original, `verified_at` the checks were done, `finished_at` it was handed
    over or removed. `readiness` is what the workflow waits for. `is_refused` says that nobody agreed to it.
    """

    id: str
    request: RecoveryRequest
    chosen: Chosen
    order: RecoveryOrder
    plan: tuple[PlanLine, ...] = ()
    expected_seconds: float | None = None
    asked_at: datetime | None = None
    started_at: datetime | None = None
    available_at: datetime | None = None
    configured_at: datetime | None = None
    verified_at: datetime | None = None
    finished_at: datetime | None = None
    restored: tuple[Restored, ...] = ()
    settings: tuple[Setting, ...] = ()
    readiness: Readiness = Readiness.NOT_YET
    evidence: Evidence | None = None
    problem: str = ""
    is_refused: bool = False
    is_removed: bool = False

    @property
    def obstacles(self) -> tuple[PlanLine, ...]:
        """What must be changed before anything can be restored."""
        return tuple(line for line in self.plan if line.found is Found.OBSTACLE)

    @property
    def recovery_seconds(self) -> float | None:
        """From the restore that was asked for to a thing set up like the original."""
        ready_at = self.configured_at or self.available_at
        if self.started_at is None or ready_at is None:
            return None
        return (ready_at - self.started_at).total_seconds()
