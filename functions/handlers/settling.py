"""What several verbs do the same way: the orders they send, and closing a run once nothing of it is left to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from functions.core import runs
from functions.core.errors import HoldfastError
from functions.core.planning import Owed
from functions.core.points import Copy, Point
from functions.core.slots import Slot
from functions.core.snapshots import CopyOrder, SnapshotOrder
from functions.handlers.tools import Tools


def first_order(owed: Owed) -> SnapshotOrder:
    """The order that asks for a slot that was just written down as owed."""
    return SnapshotOrder(
        slot=owed.slot,
        policy=owed.policy.name,
        policy_version=owed.policy.version,
        copy_to=owed.policy.copy_to,
        deadline=owed.deadline,
        reason=owed.reason,
    )


def snapshot_order(point: Point) -> SnapshotOrder:
    """The order that asks for this point."""
    return SnapshotOrder(
        slot=point.slot,
        policy=point.policy,
        policy_version=point.policy_version,
        copy_to=point.copy_to,
        deadline=point.deadline,
        attempt=point.attempt,
        reason=point.reason,
    )


def copy_order(copy: Copy) -> CopyOrder:
    """The order that asks for this copy."""
    return CopyOrder(
        slot=copy.slot,
        source_snapshot_id=copy.source_snapshot_id,
        source_id=copy.source_id,
        region=copy.region,
        policy=copy.policy,
        policy_version=copy.policy_version,
        deadline=copy.deadline,
        attempt=copy.attempt,
    )


def copy_holder(copy: Copy | CopyOrder) -> str:
    """Under which name the permit for a copy is held."""
    return f"{copy.slot.key}:{copy.source_snapshot_id}"


def close_if_settled(slot: Slot, tools: Tools, now: datetime) -> bool:
    """Whether the run of this slot is closed now: written once, and the point no longer among the open ones."""
    point = tools.ledger.points.get(slot)
    if point is None:
        return False
    copies = tools.ledger.copies.of_slot(slot)
    if not runs.is_closed(point, copies):
        return False
    tools.ledger.stories.close(runs.close(point, copies, now))
    tools.ledger.points.settle(slot)
    return True


@contextmanager
def apart(troubles: list[HoldfastError]) -> Iterator[None]:
    """What goes wrong inside is remembered, and the next one has its turn."""
    try:
        yield
    except HoldfastError as trouble:
        troubles.append(trouble)


def rpo_of(point: Point, tools: Tools) -> timedelta:
    """The RPO the point was taken for; of a policy that is gone, what its deadline says."""
    policy = tools.settings.policies.get(point.policy)
    return policy.rpo if policy else max(point.deadline - point.slot.at, timedelta(hours=1))
