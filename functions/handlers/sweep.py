"""Sweep: whatever fell between two steps is picked up again.

Adopts snapshots that AWS has and the ledger does not, sends orders again that got lost, begins the next attempt of
what failed, puts duplicates on the list of surplus, returns permits that nobody uses, closes runs that were left
open, and says how much is overdue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from functions.contracts import wire
from functions.core import labels
from functions.core.errors import BadMessage, HoldfastError
from functions.core.labels import Label
from functions.core.permits import Operation, PoolName
from functions.core.points import OPEN, Copy, Point, Status, may_begin_again, part_of
from functions.core.resources import Kind
from functions.core.snapshots import Snapshot, State
from functions.handlers import frame, settling
from functions.handlers.tools import Tools

RECENT = timedelta(hours=6)
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
    points = list(tools.ledger.points.open_in(settings.home_region))
    copies = [copy for region in settings.copy_regions for copy in tools.ledger.copies.open_in(region)]
    closed = [p for p in points if p.status not in OPEN and settling.close_if_settled(p.slot, tools, now)]
    still_open = [p for p in points if p not in closed]
    reordered = [*_reorder_points(still_open, tools, now), *_reorder_copies(copies, tools, now)]
    returned = _return_permits(still_open, copies, tools, now)
    overdue = [f"{p.slot.resource} {p.slot.at:%Y-%m-%dT%H:%MZ}" for p in still_open if now >= p.deadline]
    tools.health.count(Overdue=len(overdue))
    if troubles:
        raise troubles[0]
    return Swept(
        adopted=tuple(found[Found.ADOPTED]),
        surplus=tuple(found[Found.SURPLUS]),
        not_ours=tuple(found[Found.NOT_OURS]),
        reordered=tuple(reordered),
        permits_returned=returned,
        closed=tuple(str(p.slot.resource) for p in closed),
        overdue=tuple(overdue),
    )


class Found(StrEnum):
    """What the ledger makes of a snapshot that AWS has."""

    KNOWN = "known"
    ADOPTED = "adopted"
    SURPLUS = "surplus"
    NOT_OURS = "not ours"


def _reconciled(tools: Tools, now: datetime, troubles: list[HoldfastError]) -> Mapping[Found, list[str]]:
    """Every snapshot of ours with what became of it; those older than a few hours only once a day, or when the ledger
    has never been compared with AWS at all, as after its loss. One that could not be compared everywhere is due again.
    """
    is_full = tools.ledger.since.is_due("full sweep", every=FULL_EVERY, now=now)
    found: dict[Found, list[str]] = {outcome: [] for outcome in Found}
    for region in tools.settings.regions:
        for kind in Kind:
            with settling.apart(troubles):
                for snapshot in tools.snapshots(kind, region).ours():
                    is_recent = snapshot.started_at is None or now - snapshot.started_at < RECENT
                    if is_full or is_recent:
                        outcome = _reconcile(snapshot, kind, tools, now)
                        found[outcome].append(f"{snapshot.id} in {region}")
    if is_full and not troubles:
        tools.ledger.since.did("full sweep", now)
    return found


def _reconcile(snapshot: Snapshot, kind: Kind, tools: Tools, now: datetime) -> Found:
    try:
        label = labels.read(snapshot, account=tools.account)
    except BadMessage:
        return Found.NOT_OURS
    if label.slot.resource.kind is not kind:  # a volume's and an instance's snapshots are listed by both adapters
        return Found.KNOWN
    if label.source_snapshot_id is None:
        return _reconcile_home(snapshot, label, tools, now)
    return _reconcile_copy(snapshot, label, label.source_snapshot_id, tools, now)


def _reconcile_home(snapshot: Snapshot, label: Label, tools: Tools, now: datetime) -> Found:
    point = tools.ledger.points.get(label.slot)
    if point is None:
        of_slot = tools.snapshots(label.slot.resource.kind, snapshot.region).find(label.slot, attempt=label.attempt)
        if not of_slot and snapshot.state is State.FAILED:
            return Found.KNOWN  # nothing to restore from; the planner owes the newest slot anyway, and only that one
        orphan = Point(
            slot=label.slot,
            status=Status.CREATED,
            policy=label.policy,
            policy_version=label.policy_version,
            copy_to=label.copy_to,
            deadline=_deadline(label, tools),
            attempt=label.attempt,
            parts=tuple(part_of(one) for one in of_slot) or (part_of(snapshot),),
            created_at=snapshot.started_at or now,
            reason="adopted: AWS had the snapshot, the ledger did not",
        )
        return Found.ADOPTED if tools.ledger.points.adopt(orphan) else Found.KNOWN
    is_recorded = any(part.snapshot_id == snapshot.id for part in point.parts)
    if point.status is Status.COMPLETED and not is_recorded:
        tools.ledger.surplus.found(label.slot, snapshot, now)
        return Found.SURPLUS
    return Found.KNOWN


def _reconcile_copy(snapshot: Snapshot, label: Label, source_snapshot_id: str, tools: Tools, now: datetime) -> Found:
    copies = tools.ledger.copies
    copy = copies.get(label.slot, snapshot.region, source_snapshot_id)
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
    if copy.status is Status.COMPLETED and copy.snapshot_id != snapshot.id:
        tools.ledger.surplus.found(label.slot, snapshot, now)
        return Found.SURPLUS
    return Found.KNOWN


def _deadline(label: Label, tools: Tools) -> datetime:
    policy = tools.settings.policies.get(label.policy)
    return label.slot.at + (policy.rpo if policy else timedelta(days=1))


def _reorder_points(points: Iterable[Point], tools: Tools, now: datetime) -> list[str]:
    """Orders for the slots whose order changed nothing for too long, or whose attempt failed and has another."""
    lost = [p for p in points if p.may_begin_again or _is_stuck(p.status, p.claimed_at or p.ordered_at, now)]
    tools.snapshot_orders.send([wire.dump(settling.snapshot_order(point)) for point in lost])
    return [f"{p.slot.resource} {p.slot.at:%Y-%m-%dT%H:%MZ}: {p.status}" for p in lost]


def _reorder_copies(copies: Iterable[Copy], tools: Tools, now: datetime) -> list[str]:
    """Claims that nobody finished are ordered again, failed copies are owed again; track_points gives the permits."""
    orders: list[Copy] = []
    said: list[str] = []
    for copy in copies:
        is_lost = _is_stuck(copy.status, copy.claimed_at or copy.ordered_at, now)
        if not is_lost and not may_begin_again(copy.status, copy.attempt):
            continue
        if copy.status is Status.INTENT:
            orders.append(copy)
        elif copy.status is not Status.OWED:
            tools.ledger.copies.move(copy, Status.OWED, now=now)
        else:
            continue
        said.append(f"{copy.source_snapshot_id} to {copy.region}: {copy.status}")
    tools.copy_orders.send([wire.dump(settling.copy_order(copy)) for copy in orders])
    return said


def _is_stuck(status: Status, since: datetime | None, now: datetime) -> bool:
    return status in (Status.OWED, Status.INTENT) and since is not None and now - since >= LOST_AFTER


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
        idle = [h for h, taken_at in pool.holders.items() if h not in at_work and now - taken_at >= LOST_AFTER]
        if idle:
            tools.ledger.permits.give_back(name, idle, now, succeeded=False)
            returned += len(idle)
    return returned


handler = frame.tick(sweep)
