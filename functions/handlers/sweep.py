"""Sweep: whatever fell between two steps is picked up again.

Adopts snapshots that AWS has and the ledger does not, sends orders again that got lost, begins the next attempt of
what failed, puts duplicates on the list of surplus, returns permits that nobody uses, closes runs that were left
open, and says how much is overdue.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import chain
from typing import TypeVar

from functions.contracts import wire
from functions.core import labels
from functions.core.errors import BadMessage, HoldfastError
from functions.core.labels import Label
from functions.core.permits import Operation, PoolName
from functions.core.planning import CLOCKS_DIFFER_BY
from functions.core.points import Copy, Point, Stage, Status, may_begin_again, part_of
from functions.core.resources import Kind, ResourceKey
from functions.core.snapshots import Snapshot, State
from functions.handlers import dispatching, frame, settling
from functions.handlers.tools import Tools

Work = TypeVar("Work", Point, Copy)

RECENT = timedelta(hours=6)
COMPARED_AGAIN = timedelta(hours=1)
"""How much older than the last sweep is what the next one looks at once more: EC2 shows some things late."""

FULL_EVERY = timedelta(hours=24)
LOST_AFTER = timedelta(minutes=12)
"""An order that changed nothing for so long is sent again: longer than GRACE, so that no claim is young by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What was mended, and what a person should look at."""

    adopted: tuple[str, ...]
    reordered: tuple[str, ...]
    surplus: tuple[str, ...]
    not_ours: tuple[str, ...]
    permits_returned: int
    closed: tuple[str, ...]
    overdue: tuple[str, ...]


def sweep(tools: Tools, now: datetime) -> Swept:
    """Every snapshot of ours is on the ledger, every open work is ordered or under way, every permit is in use.

    A Region that does not answer is raised after everything else is done.
    """
    troubles: list[HoldfastError] = []
    settings = tools.settings
    found = _reconciled(tools, now, troubles)
    points = list(tools.ledger.points.open_in(settings.home_region, Stage.UNDER_WAY, Stage.ENDED))
    copies = [c for r in settings.copy_regions for c in tools.ledger.copies.open_in(r, Stage.UNDER_WAY, Stage.ENDED)]
    reordered = [*_reorder_points(points, tools, now), *_reorder_copies(copies, tools, now)]
    closed = _close(tools, now)
    returned = _return_permits(points, copies, tools, now)
    dispatching.order_points(tools, now)
    dispatching.order_copies(tools, now)
    late = [p for p in tools.ledger.points.open_in(settings.home_region, until=now) if p.slot.key not in closed]
    overdue = [f"{point.slot.resource} {point.slot.at:%Y-%m-%dT%H:%MZ}" for point in late]
    tools.health.count(Overdue=len(overdue))
    if troubles:
        raise troubles[0]
    return Swept(
        adopted=tuple(found[Found.ADOPTED]),
        surplus=tuple(found[Found.SURPLUS]),
        not_ours=tuple(found[Found.NOT_OURS]),
        reordered=tuple(reordered),
        permits_returned=returned,
        closed=tuple(closed.values()),
        overdue=tuple(overdue),
    )


class Found(StrEnum):
    """What the ledger makes of a snapshot that AWS has."""

    KNOWN = "known"
    ADOPTED = "adopted"
    SURPLUS = "surplus"
    NOT_OURS = "not ours"


def _reconciled(tools: Tools, now: datetime, troubles: list[HoldfastError]) -> Mapping[Found, list[str]]:
    """Every snapshot of ours with what became of it; those that the last sweep saw only once a day, or when the ledger
    has never been compared with AWS at all, as after its loss. One that could not be compared everywhere is due again.

    Copies come first: a point that was adopted before its copies would owe them once more. So one whose copies could
    not be compared waits for a sweep that can.
    """
    is_full = tools.ledger.since.is_due("full sweep", every=FULL_EVERY, now=now)
    last = tools.ledger.since.done_at("sweep")
    is_told = last is not None and last <= now  # a sweep of later than now was one by a clock that was ahead
    since = max(now - RECENT, last - COMPARED_AGAIN) if last is not None and is_told else now - RECENT
    found: dict[Found, list[str]] = {outcome: [] for outcome in Found}
    compared: set[str] = set()
    for region in reversed(tools.settings.regions):
        before = len(troubles)
        for kind in Kind:
            with settling.apart(troubles):
                for snapshot in tools.snapshots(kind, region).ours():
                    is_recent = snapshot.started_at is None or snapshot.started_at > since
                    if is_full or is_recent:
                        outcome = _reconcile(snapshot, kind, compared, tools, now)
                        found[outcome].append(f"{snapshot.id} in {region}")
        if len(troubles) == before:
            compared.add(region)
    for chore in () if troubles else ("sweep", "full sweep") if is_full else ("sweep",):
        tools.ledger.since.did(chore, now)
    return found


def _reconcile(snapshot: Snapshot, kind: Kind, compared: Collection[str], tools: Tools, now: datetime) -> Found:
    """What the ledger makes of it, after the Regions that were `compared`."""
    try:
        label = labels.read(snapshot, account=tools.account)
    except BadMessage:
        return Found.NOT_OURS
    if label.slot.resource.kind is not kind:  # a volume's and an instance's snapshots are listed by both adapters
        return Found.KNOWN
    if label.source_snapshot_id is None:
        return _reconcile_home(snapshot, label, compared, tools, now)
    return _reconcile_copy(snapshot, label, label.source_snapshot_id, tools, now)


def _reconcile_home(snapshot: Snapshot, label: Label, compared: Collection[str], tools: Tools, now: datetime) -> Found:
    points = tools.ledger.points
    point = points.get(label.slot)
    if point is None or point.status is Status.OWED:
        if any(region in tools.settings.copy_regions and region not in compared for region in label.copy_to):
            return Found.KNOWN
        of_slot = tools.snapshots(label.slot.resource.kind, snapshot.region).find(label.slot, attempt=label.attempt)
        parts = tuple(part_of(one) for one in of_slot)
        if not parts:
            return Found.KNOWN  # nothing to restore from; the planner owes the newest slot anyway, and only that one
        if point is not None:  # owed anew by a ledger that had forgotten it
            is_claimed = points.claim(point, now) is not None
            return Found.ADOPTED if is_claimed and points.record(label.slot, now, parts, now, {}) else Found.KNOWN
        orphan = Point(
            slot=label.slot,
            status=Status.CREATED,
            policy=label.policy,
            policy_version=label.policy_version,
            copy_to=label.copy_to,
            deadline=_deadline(label, tools),
            attempt=label.attempt,
            parts=parts,
            created_at=snapshot.started_at or now,
            reason="adopted: AWS had the snapshot, the ledger did not",
        )
        return Found.ADOPTED if points.adopt(orphan) else Found.KNOWN
    is_recorded = any(part.snapshot_id == snapshot.id for part in point.parts)
    if point.status is Status.COMPLETED:
        is_surplus = not is_recorded
    else:
        is_surplus = _has_failed_for_good(point) and _has_a_whole_point(label.slot.resource, tools)
    if not is_surplus:
        return Found.KNOWN
    tools.ledger.surplus.found(label.slot, snapshot, now)
    return Found.SURPLUS


def _has_failed_for_good(point: Point) -> bool:
    """Whether it never was complete and gets no other attempt: what AWS has of it will never be a point."""
    has_ended = point.status in (Status.FAILED, Status.GONE)
    return has_ended and point.completed_at is None and not point.may_begin_again


def _has_a_whole_point(resource: ResourceKey, tools: Tools) -> bool:
    """Whether any point of the resource is complete. Where none is, half a set is better than nothing, for a person."""
    return any(point.status is Status.COMPLETED for point in tools.ledger.points.of(resource))


def _reconcile_copy(snapshot: Snapshot, label: Label, source_snapshot_id: str, tools: Tools, now: datetime) -> Found:
    copies = tools.ledger.copies
    copy = copies.get(label.slot, snapshot.region, source_snapshot_id)
    if snapshot.state is State.FAILED and (copy is None or copy.status is Status.OWED):
        return Found.KNOWN  # another one may be whole, and if there is none the point owes it
    if copy is not None and copy.status is Status.OWED:  # owed anew by a ledger that had forgotten it
        is_claimed = copies.claim(copy, now) is not None
        return Found.ADOPTED if is_claimed and copies.record(copy, now, snapshot, now) else Found.KNOWN
    if copy is None:
        orphan = Copy(
            slot=label.slot,
            region=snapshot.region,
            source_snapshot_id=source_snapshot_id,
            source_id=label.source_id or label.slot.resource.id,
            status=Status.CREATED,
            policy=label.policy,
            policy_version=label.policy_version,
            deadline=_deadline(label, tools),
            owed_at=snapshot.started_at or now,
            attempt=label.attempt,
            snapshot_id=snapshot.id,
            created_at=snapshot.started_at or now,
        )
        return Found.ADOPTED if copies.owe(orphan) else Found.KNOWN
    is_other = copy.status is Status.COMPLETED and copy.snapshot_id != snapshot.id
    has_failed = snapshot.state is State.FAILED and copy.status in (Status.FAILED, Status.GONE)
    if is_other or (has_failed and not may_begin_again(copy.status, copy.attempt)):
        tools.ledger.surplus.found(label.slot, snapshot, now)
        return Found.SURPLUS
    return Found.KNOWN


def _deadline(label: Label, tools: Tools) -> datetime:
    policy = tools.settings.policies.get(label.policy)
    return label.slot.at + (policy.rpo if policy else timedelta(days=1))


def _reorder_points(points: Iterable[Point], tools: Tools, now: datetime) -> list[str]:
    """Claims that nobody finished are ordered again; what failed and has another attempt is owed again."""
    works = list(points)
    _date_anew(works, tools.ledger.points.claim, now)
    lost = [point for point in works if _is_stuck(point, now)]
    failed = [point for point in works if point.may_begin_again]
    for point in failed:
        _leave_behind(point, tools, now)
        tools.ledger.points.move(point, Status.OWED, now=now)
    tools.snapshot_orders.send([wire.dump(settling.snapshot_order(point)) for point in lost])
    return [f"{p.slot.resource} {p.slot.at:%Y-%m-%dT%H:%MZ}: {p.status}" for p in (*lost, *failed)]


def _reorder_copies(copies: Iterable[Copy], tools: Tools, now: datetime) -> list[str]:
    """Claims that nobody finished are ordered again; what failed and has another attempt is owed again."""
    works = list(copies)
    _date_anew(works, tools.ledger.copies.claim, now)
    lost = [copy for copy in works if _is_stuck(copy, now)]
    failed = [copy for copy in works if may_begin_again(copy.status, copy.attempt)]
    for copy in failed:
        tools.ledger.copies.move(copy, Status.OWED, now=now)
    tools.copy_orders.send([wire.dump(settling.copy_order(copy)) for copy in lost])
    return [f"{copy.source_snapshot_id} to {copy.region}: {copy.status}" for copy in (*lost, *failed)]


def _leave_behind(point: Point, tools: Tools, now: datetime) -> None:
    """What AWS has of an attempt that it failed is surplus: the next attempt's record will not name it any more."""
    if point.status is not Status.FAILED or not point.parts:
        return
    key = point.slot.resource
    if _has_a_whole_point(key, tools):
        left = tools.snapshots(key.kind, key.region).look(part.snapshot_id for part in point.parts)
        for snapshot in left.values():
            tools.ledger.surplus.found(point.slot, snapshot, now)


def _date_anew(works: Iterable[Work], claim: Callable[[Work, datetime], object], now: datetime) -> None:
    """Claims of later than now, made by a clock that was ahead, are claims of now.

    Their holders may be creating at this moment, so that nobody may look yet; left as they are, nobody would before
    that time has come. Once GRACE is over, whoever carries out the order looks first.
    """
    for work in works:
        if work.status is Status.INTENT and work.claimed_at is not None and work.claimed_at - now > CLOCKS_DIFFER_BY:
            claim(work, now)


def _is_stuck(work: Point | Copy, now: datetime) -> bool:
    return work.status is Status.INTENT and work.claimed_at is not None and now - work.claimed_at >= LOST_AFTER


def _close(tools: Tools, now: datetime) -> dict[str, str]:
    """The runs that were left open by one who died: those without copies at once, the others at their deadline.

    Whoever moves the last copy closes the run; to ask of every point that waits for its copies, whether that was
    forgotten, would read the whole night's work every quarter of an hour.
    """
    home, points = tools.settings.home_region, tools.ledger.points
    left = chain(points.open_in(home, Stage.ENDED), points.open_in(home, Stage.COPYING, until=now))
    over = {point.slot.key: point.slot for point in left}
    return {key: str(slot.resource) for key, slot in over.items() if settling.close_if_settled(slot, tools, now)}


def _return_permits(points: Iterable[Point], copies: Iterable[Copy], tools: Tools, now: datetime) -> int:
    """How many permits were held by nobody any more: their work ended and the one who should return them died."""
    settings = tools.settings
    at_work = {p.slot.key for p in points if p.status in (Status.INTENT, Status.CREATED)}
    at_work |= {settling.copy_holder(c) for c in copies if c.status in (Status.INTENT, Status.CREATED)}
    pools = {PoolName.of(Operation.CREATE, kind, settings.home_region) for kind in Kind}
    pools |= {PoolName.of(Operation.COPY, kind, region) for kind in Kind for region in settings.copy_regions}
    returned = 0
    for name in sorted(pools):
        pool = tools.ledger.permits.get(name)
        idle = [h for h, taken_at in pool.holders.items() if h not in at_work and abs(now - taken_at) >= LOST_AFTER]
        if idle:
            tools.ledger.permits.give_back(name, idle, now, succeeded=False)
            returned += len(idle)
    return returned


handler = frame.tick(sweep)
