"""Take snapshot: claim the slot, look if the claim was taken over, create, record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from functions.core import claims, labels
from functions.core.claims import Step
from functions.core.errors import (
    ClaimedElsewhere,
    HoldfastError,
    OutcomeUnknown,
    Refused,
    ResourceBusy,
    ResourceGone,
    TryAgain,
)
from functions.core.permits import Operation, PoolName
from functions.core.points import Point, Status, part_of
from functions.core.snapshots import Snapshot, SnapshotOrder
from functions.handlers import frame, settling
from functions.handlers.tools import Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotTaken:
    """What became of an order."""

    resource: str
    slot: datetime
    snapshots: tuple[str, ...]
    reason: str


def take_snapshot(order: SnapshotOrder, tools: Tools, now: datetime) -> SnapshotTaken:
    """The slot's snapshots are begun and recorded once, however often and by however many the order is carried out.
    What AWS has no room for stays owed: its next order comes when there is a permit again.

    Errors: OutcomeUnknown and ClaimedElsewhere, after which the claim stands and the frame sends the order again.
    """
    points = tools.ledger.points
    point = points.get(order.slot)
    if point is None:
        return _left(order, "the ledger does not owe this slot")
    if point.completed_at is not None:
        return _left(order, f"it was complete once and is {point.status} now")
    claim = claims.decide(point.status, point.claimed_at, point.attempt, now)
    if claim.step is Step.LEAVE:
        return _left(order, claim.reason)
    if claim.step is Step.WAIT:
        raise ClaimedElsewhere(f"{order.slot.resource}: {claim.reason}", hint="The order comes back by itself.")
    pool = PoolName.of(Operation.CREATE, order.slot.resource.kind, order.slot.resource.region)
    if not tools.ledger.permits.take(pool, order.slot.key, now):
        return _left(order, f"it stays owed: all permits {pool} are in use")
    attempt = points.claim(point, now)
    if attempt is None:
        return _left(order, "somebody else claimed it at this moment")
    try:
        begun, configuration = _begin(order, attempt, tools, is_take_over=claim.step is Step.LOOK_FIRST)
    except HoldfastError as problem:
        status = _undo(point, pool, problem, tools, now)
        if status is Status.OWED:
            return _left(order, f"it stays owed: {problem.what}")
        if isinstance(problem, Refused):  # written down; the sweep begins the next attempt, if there is one
            return _left(order, f"refused: {problem}")
        raise
    parts = [part_of(snapshot) for snapshot in begun]
    points.record(order.slot, now, parts, now, configuration)
    return SnapshotTaken(
        resource=str(order.slot.resource),
        slot=order.slot.at,
        snapshots=tuple(snapshot.id for snapshot in begun),
        reason=order.reason if claim.step is Step.CREATE else f"{order.reason}; {claim.reason}",
    )


def _begin(
    order: SnapshotOrder, attempt: int, tools: Tools, *, is_take_over: bool
) -> tuple[Sequence[Snapshot], Mapping[str, object]]:
    """The snapshots of the slot, found or begun, and what a restore of them will need to know.

    The configuration is read before the create, because afterwards nothing may fail: an order whose snapshot exists
    must come to its record, without a configuration when the resource is gone by then.
    """
    resource = order.slot.resource
    snapshots = tools.snapshots(resource.kind, resource.region)
    inventory = tools.inventory(resource.region)
    if is_take_over:
        with settling.claim_stands():
            found = snapshots.find(order.slot, attempt=attempt)
            if found:
                try:
                    return found, inventory.configuration(resource)
                except ResourceGone:
                    return found, {}
    configuration = inventory.configuration(resource)
    ordered = replace(order, attempt=attempt)
    return snapshots.take(ordered, labels.for_snapshot(ordered)), configuration


def _undo(point: Point, pool: PoolName, problem: HoldfastError, tools: Tools, now: datetime) -> Status:
    """Where the point is as the problem leaves it: claimed when AWS may have begun, owed when it did not, failed when
    it never will."""
    ledger, slot = tools.ledger, point.slot
    if isinstance(problem, OutcomeUnknown):
        return Status.INTENT
    settling.return_permit(pool, slot.key, problem, tools, now)
    is_too_late = isinstance(problem, ResourceBusy) and now >= point.deadline
    if isinstance(problem, TryAgain) and not is_too_late:
        not_before = now + timedelta(seconds=problem.after_seconds) if isinstance(problem, ResourceBusy) else None
        ledger.points.give_back(point, now, not_before=not_before)
        return Status.OWED
    ledger.points.fail_claim(point, now, f"{type(problem).__name__}: {problem.what}")
    settling.close_if_settled(slot, tools, now)
    return Status.FAILED


def _left(order: SnapshotOrder, reason: str) -> SnapshotTaken:
    return SnapshotTaken(resource=str(order.slot.resource), slot=order.slot.at, snapshots=(), reason=reason)


handler = frame.orders(SnapshotOrder, lambda tools: tools.snapshot_orders)(take_snapshot)
