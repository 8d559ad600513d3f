"""Points and copies: claimed, recorded and moved along, each by one conditional write.

Whoever loses a condition has been overtaken: somebody else moved the work on, and the loser stops. That is the whole
of our concurrency control.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from functions.core import instants
from functions.core.holds import in_force
from functions.core.permits import FAMILIES, Operation, PoolName
from functions.core.planning import Owed
from functions.core.points import MOVES, OPEN, Copy, Part, Point, Stage, Status, may_begin_again, stage_of
from functions.core.resources import ResourceKey
from functions.core.slots import Slot, Why
from functions.core.snapshots import Snapshot
from functions.ledger.holds import Holds
from functions.ledger.rows import CopyItem, PointItem, WorkItem
from functions.ledger.table import OPEN_PAGE, Table, read, written

PARTS = TypeAdapter(tuple[Part, ...])
ERRORS_KEPT = 10
"""How many errors a row remembers; the log has all of them."""

LONGEST_SECONDS = 99_999_999


class Points:
    """The recovery points of every resource, in their home Region.

    A point stays among the open ones until its run is closed, so that a crash between its last move and the closing
    is seen by the next sweep. Whether it is held is said by rows of their own: only `of` reads those.
    """

    def __init__(self, table: Table, holds: Holds) -> None:
        self._table = table
        self._holds = holds

    def get(self, slot: Slot) -> Point | None:
        """The point of a slot as it is now."""
        item = self._table.get(PointItem, str(slot.resource), _point_key(slot))
        return _point(item) if item else None

    def of(self, resource: ResourceKey) -> list[Point]:
        """Every point of a resource with whether it is held, oldest first; complete, or an error."""
        points = [_point(item) for item in self._table.starting(PointItem, str(resource), "point#")]
        held = in_force(self._holds.of(resource)) if points else {}
        return [replace(point, is_held=point.slot.key in held) for point in points]

    def newest_complete_before(self, slot: Slot) -> Point | None:
        """The point that the one of `slot` is compared with: the last completed one before it."""
        for item in self._table.newest_first(PointItem, str(slot.resource), "point#"):
            point = _point(item)
            if point.slot.at < slot.at and point.status is Status.COMPLETED:
                return point
        return None

    def newest_at(self, resource: ResourceKey) -> datetime | None:
        """The slot of the newest point that exists or is on its way; None when there is none."""
        for item in self._table.newest_first(PointItem, str(resource), "point#"):
            point = _point(item)
            if point.status in OPEN or point.status is Status.COMPLETED:
                return point.slot.at
        return None

    def owe(self, owed: Owed, now: datetime) -> bool:
        """Whether this call wrote the slot down as owed; False when it was written down before."""
        slot = owed.slot
        item = self._table.rows(PointItem)(
            str(slot.resource),
            _point_key(slot),
            **_slot_columns(slot),
            **_point_columns(slot, Stage.WAITING, owed.deadline),
            status=Status.OWED,
            policy=owed.policy.name,
            policy_version=owed.policy.version,
            copy_to=list(owed.policy.copy_to),
            deadline=instants.exact(owed.deadline),
            ordered_at=instants.exact(now),
            reason=owed.reason,
        )
        return self._table.put_new(item)

    def miss(self, slot: Slot, owed: Owed) -> bool:
        """Whether this call wrote the slot down as missed, for the history; it will never have a point."""
        item = self._table.rows(PointItem)(
            str(slot.resource),
            _point_key(slot),
            **_slot_columns(slot),
            status=Status.MISSED,
            policy=owed.policy.name,
            policy_version=owed.policy.version,
            deadline=instants.exact(owed.deadline),
            reason=f"nothing ran then; {instants.text(owed.slot.at)} caught up",
        )
        return self._table.put_new(item)

    def adopt(self, point: Point) -> bool:
        """Whether this call wrote down a point that was found at AWS and not in the ledger."""
        slot = point.slot
        item = self._table.rows(PointItem)(
            str(slot.resource),
            _point_key(slot),
            **_slot_columns(slot),
            **_point_columns(slot, stage_of(point.status, point.copy_to), point.deadline),
            status=point.status,
            policy=point.policy,
            policy_version=point.policy_version,
            copy_to=list(point.copy_to),
            deadline=instants.exact(point.deadline),
            attempt=point.attempt,
            created_at=written(point.created_at),
            completed_at=written(point.completed_at),
            parts=PARTS.dump_python(point.parts, mode="json"),
            reason=point.reason,
        )
        return self._table.put_new(item)

    def claim(self, seen: Point, now: datetime) -> int | None:
        """The attempt that this caller, and nobody else, may now make; None when somebody was faster."""
        rows = PointItem
        attempt = _next_attempt(seen)
        won = self._table.update(
            self._key(seen.slot),
            [
                rows.status.set(Status.INTENT),
                rows.claimed_at.set(instants.exact(now)),
                rows.attempt.set(attempt),
                *_opened(_point_columns(seen.slot, Stage.UNDER_WAY, seen.deadline)),
            ],
            (rows.status == seen.status) & _same_claim(rows, seen.claimed_at),
        )
        return attempt if won else None

    def give_back(self, seen: Point, claimed_at: datetime, *, not_before: datetime | None = None) -> bool:
        """Whether the claim is undone: AWS refused before any effect, the slot is owed as before.

        Nobody orders it again before `not_before`: there is no use in asking earlier.
        """
        rows = PointItem
        wait = rows.not_before.set(instants.exact(not_before)) if not_before else rows.not_before.remove()
        return self._table.update(
            self._key(seen.slot),
            [
                rows.status.set(Status.OWED),
                rows.claimed_at.remove(),
                rows.waits.add(1),
                wait,
                *_opened(_point_columns(seen.slot, Stage.WAITING, seen.deadline)),
            ],
            _still_held(rows, claimed_at),
        )

    def fail_claim(self, seen: Point, claimed_at: datetime, error: str) -> bool:
        """Whether the claim ends as FAILED: AWS refused for good, and repeating needs a person or another attempt."""
        rows = PointItem
        return self._table.update(
            self._key(seen.slot),
            [
                rows.status.set(Status.FAILED),
                _error_added(rows, error),
                *_opened(_point_columns(seen.slot, Stage.ENDED, seen.deadline)),
            ],
            _still_held(rows, claimed_at),
        )

    def record(
        self,
        slot: Slot,
        claimed_at: datetime,
        parts: Sequence[Part],
        now: datetime,
        configuration: Mapping[str, object],
    ) -> bool:
        """Whether the snapshots AWS began are now written under the claim that began them."""
        rows = PointItem
        return self._table.update(
            self._key(slot),
            [
                rows.status.set(Status.CREATED),
                rows.created_at.set(instants.exact(now)),
                rows.parts.set(PARTS.dump_python(tuple(parts), mode="json")),
                rows.configuration.set(dict(configuration)),
            ],
            _still_held(rows, claimed_at),
        )

    def move(
        self, point: Point, to: Status, *, parts: Sequence[Part] | None = None, now: datetime, error: str = ""
    ) -> bool:
        """Whether the point stands at `to` now; False when it had moved on from where the caller saw it.

        Errors: ValueError for a move that is not in MOVES.
        """
        _must_be_allowed(point.status, to)
        rows = PointItem
        actions: list[Action] = [rows.status.set(to)]
        if parts is not None:
            actions.append(rows.parts.set(PARTS.dump_python(tuple(parts), mode="json")))
        if to is Status.COMPLETED:
            actions.append(rows.completed_at.set(instants.exact(now)))
        if to is Status.EXPIRED:
            actions.append(rows.expired_at.set(instants.exact(now)))
        if to is Status.OWED:
            actions.extend([rows.claimed_at.remove(), rows.attempt.set(point.attempt + 1)])
        if error:
            actions.append(_error_added(rows, error))
        if point.status in OPEN or to in OPEN:  # what happens to a point whose run is closed opens it no more
            actions.extend(_opened(_point_columns(point.slot, stage_of(to, point.copy_to), point.deadline)))
        return self._table.update(self._key(point.slot), actions, rows.status == point.status)

    def settle(self, slot: Slot) -> None:
        """The point has no work left: its run is closed, and it is no longer among the open ones."""
        rows = PointItem
        self._table.update(self._key(slot), _settled(rows), rows.pk.exists())

    def archived(self, point: Point, now: datetime) -> bool:
        """Whether it is now written that the point's home snapshots are archived; False when it had moved on."""
        rows = PointItem
        return self._table.update(
            self._key(point.slot), [rows.archived_at.set(instants.exact(now))], rows.status == point.status
        )

    def open_in(self, region: str, *stages: Stage, until: datetime | None = None) -> Iterator[Point]:
        """Every point of a Region with work left, of these stages or of all; with `until`, those whose deadline is not
        later. In each stage the earliest deadline first; may lag a moment behind."""
        for pool in _pools(Operation.CREATE, region):
            for stage in stages or tuple(Stage):
                yield from self._open(pool, stage, until)

    def waiting(self, pool: PoolName, *, page: int = OPEN_PAGE) -> Iterator[Point]:
        """What is owed and waits for a permit of the pool, earliest deadline first; read for as long as asked on, so
        many at a time."""
        return self._open(pool, Stage.WAITING, page=page)

    def _open(
        self, pool: PoolName, stage: Stage, until: datetime | None = None, page: int = OPEN_PAGE
    ) -> Iterator[Point]:
        for item in self._table.open(PointItem, _list(pool, stage), until=_until(until), page=page):
            yield _point(item)

    def _key(self, slot: Slot) -> PointItem:
        return self._table.rows(PointItem)(str(slot.resource), _point_key(slot))


class Copies:
    """Every point's snapshots in other Regions."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, slot: Slot, region: str, source_snapshot_id: str) -> Copy | None:
        """One copy as it is now."""
        item = self._table.get(CopyItem, str(slot.resource), _copy_key(slot, region, source_snapshot_id))
        return _copy(item) if item else None

    def of_slot(self, slot: Slot) -> list[Copy]:
        """Every copy of one point."""
        prefix = f"copy#{instants.text(slot.at)}#"
        return [_copy(item) for item in self._table.starting(CopyItem, str(slot.resource), prefix)]

    def of(self, resource: ResourceKey) -> list[Copy]:
        """Every copy of every point of a resource; complete, or an error."""
        return [_copy(item) for item in self._table.starting(CopyItem, str(resource), "copy#")]

    def owe(self, copy: Copy) -> bool:
        """Whether this call wrote the copy down as owed (or as what it was found to be)."""
        slot = copy.slot
        is_open = copy.status in OPEN
        item = self._table.rows(CopyItem)(
            str(slot.resource),
            _copy_key(slot, copy.region, copy.source_snapshot_id),
            **_slot_columns(slot),
            **(_copy_columns(copy, stage_of(copy.status)) if is_open else {}),
            region=copy.region,
            source_snapshot_id=copy.source_snapshot_id,
            source_id=copy.source_id,
            status=copy.status,
            policy=copy.policy,
            policy_version=copy.policy_version,
            deadline=instants.exact(copy.deadline),
            attempt=copy.attempt,
            expected_seconds=copy.expected_seconds,
            owed_at=instants.exact(copy.owed_at),
            created_at=written(copy.created_at),
            completed_at=written(copy.completed_at),
            snapshot_id=copy.snapshot_id,
            full_size_bytes=copy.full_size_bytes,
        )
        return self._table.put_new(item)

    def claim(self, seen: Copy, now: datetime) -> int | None:
        """The attempt that this caller, and nobody else, may now make; None when somebody was faster."""
        rows = CopyItem
        attempt = _next_attempt(seen)
        won = self._table.update(
            self._key(seen),
            [
                rows.status.set(Status.INTENT),
                rows.claimed_at.set(instants.exact(now)),
                rows.ordered_at.set(instants.exact(now)),
                rows.attempt.set(attempt),
                *_opened(_copy_columns(seen, Stage.UNDER_WAY)),
            ],
            (rows.status == seen.status) & _same_claim(rows, seen.claimed_at),
        )
        return attempt if won else None

    def give_back(self, copy: Copy, claimed_at: datetime) -> bool:
        """Whether the claim is undone: AWS refused before any effect, the copy is owed as before."""
        rows = CopyItem
        return self._table.update(
            self._key(copy),
            [
                rows.status.set(Status.OWED),
                rows.claimed_at.remove(),
                rows.waits.add(1),
                *_open_while_it_may_go_on(copy, Status.OWED),
            ],
            _still_held(rows, claimed_at),
        )

    def fail_claim(self, copy: Copy, claimed_at: datetime, error: str) -> bool:
        """Whether the claim ends as FAILED: AWS refused for good."""
        rows = CopyItem
        return self._table.update(
            self._key(copy),
            [rows.status.set(Status.FAILED), *_open_while_it_may_go_on(copy, Status.FAILED), _error_added(rows, error)],
            _still_held(rows, claimed_at),
        )

    def record(self, copy: Copy, claimed_at: datetime, snapshot: Snapshot, now: datetime) -> bool:
        """Whether the copy AWS began is now written under the claim that began it."""
        rows = CopyItem
        return self._table.update(
            self._key(copy),
            [
                rows.status.set(Status.CREATED),
                rows.created_at.set(instants.exact(now)),
                rows.snapshot_id.set(snapshot.id),
            ],
            _still_held(rows, claimed_at),
        )

    def move(self, copy: Copy, to: Status, *, now: datetime, snapshot: Snapshot | None = None, error: str = "") -> bool:
        """Whether the copy stands at `to` now; False when it had moved on from where the caller saw it.

        Errors: ValueError for a move that is not in MOVES.
        """
        _must_be_allowed(copy.status, to)
        rows = CopyItem
        actions: list[Action] = [rows.status.set(to)]
        if to is Status.COMPLETED:
            actions.append(rows.completed_at.set(instants.exact(now)))
            if snapshot is not None and snapshot.full_size_bytes is not None:
                actions.append(rows.full_size_bytes.set(snapshot.full_size_bytes))
        if to is Status.OWED:
            actions.extend([rows.claimed_at.remove(), rows.attempt.set(copy.attempt + 1)])
        if error:
            actions.append(_error_added(rows, error))
        actions.extend(_open_while_it_may_go_on(copy, to))
        return self._table.update(self._key(copy), actions, rows.status == copy.status)

    def open_in(self, region: str, *stages: Stage, until: datetime | None = None) -> Iterator[Copy]:
        """Every copy to a Region with work left, of these stages or of all; with `until`, those whose deadline is not
        later. In each stage the earliest deadline first; may lag a moment behind."""
        for pool in _pools(Operation.COPY, region):
            for stage in stages or tuple(Stage):
                yield from self._open(pool, stage, until)

    def waiting(self, pool: PoolName, *, page: int = OPEN_PAGE) -> Iterator[Copy]:
        """What is owed and waits for a permit of the pool: earliest deadline first, the longest first among equals;
        read for as long as asked on, so many at a time."""
        return self._open(pool, Stage.WAITING, page=page)

    def under_way(self, pool: PoolName) -> Iterator[Copy]:
        """What is under way with a permit of the pool; may lag a moment behind."""
        return self._open(pool, Stage.UNDER_WAY)

    def _open(
        self, pool: PoolName, stage: Stage, until: datetime | None = None, page: int = OPEN_PAGE
    ) -> Iterator[Copy]:
        for item in self._table.open(CopyItem, _list(pool, stage), until=_until(until), page=page):
            yield _copy(item)

    def _key(self, copy: Copy) -> CopyItem:
        key = _copy_key(copy.slot, copy.region, copy.source_snapshot_id)
        return self._table.rows(CopyItem)(str(copy.slot.resource), key)


def by_slot(copies: Iterable[Copy]) -> dict[str, list[Copy]]:
    """The copies grouped by slot key."""
    grouped: dict[str, list[Copy]] = {}
    for copy in copies:
        grouped.setdefault(copy.slot.key, []).append(copy)
    return grouped


def _point_key(slot: Slot) -> str:
    return f"point#{instants.text(slot.at)}"


def _copy_key(slot: Slot, region: str, source_snapshot_id: str) -> str:
    return f"copy#{instants.text(slot.at)}#{region}#{source_snapshot_id}"


def _slot_columns(slot: Slot) -> dict[str, Any]:
    return {
        "account": slot.resource.account,
        "slot_key": slot.key,
        "slot_at": instants.text(slot.at),
        "why": str(slot.why),
    }


def _pools(operation: Operation, region: str) -> list[PoolName]:
    return [PoolName(operation=operation, family=family, region=region) for family in FAMILIES]


def _list(pool: PoolName, stage: Stage) -> str:
    """The partition of the index."""
    return f"{pool}#{stage}"


def _point_columns(slot: Slot, stage: Stage, deadline: datetime) -> dict[str, Any]:
    """The key in the sparse index. The slot key makes equal deadlines distinct and the order the same every time."""
    pool = PoolName.of(Operation.CREATE, slot.resource.kind, slot.resource.region)
    return {"open_in": _list(pool, stage), "open_until": f"{instants.text(deadline)}#{slot.key}"}


def _copy_columns(copy: Copy, stage: Stage) -> dict[str, Any]:
    """As of a point; among equal deadlines the longest first, because what takes AWS longest should begin soonest."""
    pool = PoolName.of(Operation.COPY, copy.slot.resource.kind, copy.region)
    shortness = LONGEST_SECONDS - min(int(copy.expected_seconds), LONGEST_SECONDS)
    return {
        "open_in": _list(pool, stage),
        "open_until": f"{instants.text(copy.deadline)}#{shortness:08d}#{copy.slot.key}",
    }


def _until(deadline: datetime | None) -> str | None:
    """The sort key after all those of this deadline and of earlier ones."""
    return None if deadline is None else f"{instants.text(deadline)}$"


def _opened(columns: Mapping[str, Any]) -> list[Action]:
    return [WorkItem.open_in.set(columns["open_in"]), WorkItem.open_until.set(columns["open_until"])]


def _settled(rows: type[WorkItem]) -> list[Action]:
    return [rows.open_in.remove(), rows.open_until.remove()]


def _open_while_it_may_go_on(copy: Copy, to: Status) -> list[Action]:
    """In the index of open work, or out of it. A completed copy that somebody deleted comes back into it."""
    if to in OPEN or may_begin_again(to, copy.attempt):
        return _opened(_copy_columns(copy, stage_of(to)))
    return _settled(CopyItem)


def _error_added(rows: type[WorkItem], error: str) -> Action:
    return rows.errors.set(rows.errors.append([error[:500]]))


def _same_claim(rows: type[WorkItem], claimed_at: datetime | None) -> Condition:
    if claimed_at is None:
        return rows.claimed_at.does_not_exist()
    return rows.claimed_at == instants.exact(claimed_at)


def _still_held(rows: type[WorkItem], claimed_at: datetime) -> Condition:
    """The claim made then is the one that stands: nobody took it over."""
    return (rows.status == Status.INTENT) & (rows.claimed_at == instants.exact(claimed_at))


def _next_attempt(seen: Point | Copy) -> int:
    return seen.attempt + 1 if seen.status in (Status.FAILED, Status.GONE) else seen.attempt


def _must_be_allowed(at: Status, to: Status) -> None:
    if to not in MOVES[at]:
        raise ValueError(f"a point never goes from {at} to {to}")


def _slot(item: WorkItem) -> Slot:
    resource = ResourceKey.parse(item.pk, account=item.account)
    return Slot(resource=resource, at=instants.parse(item.slot_at), why=Why(item.why))


def _point(item: PointItem) -> Point:
    return Point(
        slot=_slot(item),
        status=Status(item.status),
        policy=item.policy,
        policy_version=item.policy_version,
        copy_to=tuple(item.copy_to or ()),
        deadline=instants.parse(item.deadline),
        attempt=int(item.attempt),
        claimed_at=read(item.claimed_at),
        parts=PARTS.validate_python(item.parts or ()),
        ordered_at=read(item.ordered_at),
        not_before=read(item.not_before),
        created_at=read(item.created_at),
        completed_at=read(item.completed_at),
        expired_at=read(item.expired_at),
        archived_at=read(item.archived_at),
        waits=int(item.waits or 0),
        errors=tuple((item.errors or ())[-ERRORS_KEPT:]),
        reason=item.reason or "",
        configuration=item.configuration or {},
    )


def _copy(item: CopyItem) -> Copy:
    return Copy(
        slot=_slot(item),
        region=item.region,
        source_snapshot_id=item.source_snapshot_id,
        source_id=item.source_id,
        status=Status(item.status),
        policy=item.policy,
        policy_version=item.policy_version,
        deadline=instants.parse(item.deadline),
        owed_at=instants.parse(item.owed_at),
        expected_seconds=float(item.expected_seconds or 0),
        attempt=int(item.attempt),
        claimed_at=read(item.claimed_at),
        snapshot_id=item.snapshot_id,
        ordered_at=read(item.ordered_at),
        created_at=read(item.created_at),
        completed_at=read(item.completed_at),
        full_size_bytes=None if item.full_size_bytes is None else int(item.full_size_bytes),
        waits=int(item.waits or 0),
        errors=tuple((item.errors or ())[-ERRORS_KEPT:]),
    )
