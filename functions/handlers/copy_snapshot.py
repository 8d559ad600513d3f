"""Copy snapshot: claim the copy, look if the claim was taken over, create, record. The permit came with the order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from functions.core import claims, labels
from functions.core.claims import Step
from functions.core.errors import ClaimedElsewhere, HoldfastError, OutcomeUnknown, Refused, TryAgain
from functions.core.permits import Operation, PoolName
from functions.core.points import Copy
from functions.core.snapshots import CopyOrder, Snapshot
from functions.handlers import frame, settling
from functions.handlers.tools import Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyBegun:
    """What became of an order."""

    resource: str
    slot: datetime
    region: str
    snapshot: str | None
    reason: str


def copy_snapshot(order: CopyOrder, tools: Tools, now: datetime) -> CopyBegun:
    """The copy is begun and recorded once. What AWS has no room for stays owed: its next order comes when there is a
    permit again.

    Errors: OutcomeUnknown and ClaimedElsewhere, after which the claim stands and the frame sends the order again.
    """
    copies = tools.ledger.copies
    copy = copies.get(order.slot, order.region, order.source_snapshot_id)
    if copy is None:
        return _left(order, "the ledger does not owe this copy")
    claim = claims.decide(copy.status, copy.claimed_at, copy.attempt, now)
    if claim.step is Step.LEAVE:
        return _left(order, claim.reason)
    if claim.step is Step.WAIT:
        raise ClaimedElsewhere(f"copy of {order.source_snapshot_id}: {claim.reason}", hint="It comes back by itself.")
    attempt = copies.claim(copy, now)
    if attempt is None:
        return _left(order, "somebody else claimed it at this moment")
    try:
        begun = _begin(replace(order, attempt=attempt), tools, is_take_over=claim.step is Step.LOOK_FIRST)
    except HoldfastError as problem:
        if isinstance(problem, TryAgain) and not isinstance(problem, OutcomeUnknown):
            _give_back(copy, problem, tools, now)
            return _left(order, f"it stays owed: {problem.what}")
        if not isinstance(problem, TryAgain):
            _fail(replace(copy, attempt=attempt), problem, tools, now)
        if isinstance(problem, Refused):  # written down; the sweep begins the next attempt, if there is one
            return _left(order, f"refused: {problem}")
        raise
    copies.record(copy, now, begun, now)
    return CopyBegun(
        resource=str(order.slot.resource),
        slot=order.slot.at,
        region=order.region,
        snapshot=begun.id,
        reason=claim.reason,
    )


def _begin(order: CopyOrder, tools: Tools, *, is_take_over: bool) -> Snapshot:
    """The copy of this one source, found or begun."""
    resource = order.slot.resource
    snapshots = tools.snapshots(resource.kind, order.region)
    if is_take_over:
        with settling.claim_stands():
            of_slot = snapshots.find(order.slot, attempt=order.attempt)
        for found in of_slot:
            if found.tags.get(labels.SOURCE_SNAPSHOT) == order.source_snapshot_id:
                return found
    return snapshots.copy(order, labels.for_copy(order), home_region=resource.region)


def _give_back(copy: Copy, problem: HoldfastError, tools: Tools, now: datetime) -> None:
    tools.ledger.copies.give_back(copy, now)
    settling.return_permit(_pool(copy), settling.copy_holder(copy), problem, tools, now)


def _fail(copy: Copy, problem: HoldfastError, tools: Tools, now: datetime) -> None:
    tools.ledger.copies.fail_claim(copy, now, f"{type(problem).__name__}: {problem.what}")
    settling.return_permit(_pool(copy), settling.copy_holder(copy), problem, tools, now)
    settling.close_if_settled(copy.slot, tools, now)


def _pool(copy: Copy) -> PoolName:
    return PoolName.of(Operation.COPY, copy.slot.resource.kind, copy.region)


def _left(order: CopyOrder, reason: str) -> CopyBegun:
    return CopyBegun(
        resource=str(order.slot.resource), slot=order.slot.at, region=order.region, snapshot=None, reason=reason
    )


handler = frame.orders(CopyOrder, lambda tools: tools.copy_orders)(copy_snapshot)
