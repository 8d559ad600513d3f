"""What several verbs do the same way: whose alarms count, the orders they send, closing a run that has no work left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from functions.contracts.from_aws import AlarmChanged
from functions.core import runs
from functions.core.errors import AwsBusy, HoldfastError, NotAllowed, OutcomeUnknown, TooManyInFlight
from functions.core.permits import PoolName
from functions.core.points import Copy, Point
from functions.core.slots import Slot
from functions.core.snapshots import CopyOrder, SnapshotOrder
from functions.handlers.tools import Tools


def refuse_foreign(alarm: AlarmChanged, tools: Tools) -> None:
    """The alarm is of this account.

    Errors: NotAllowed when it is another's, whatever it names: resources of two accounts may be called the same.
    """
    if alarm.account != tools.account:
        raise NotAllowed(
            f"the alarm {alarm.detail.alarm_name!r} comes from another account",
            hint="Only alarms of this account are heeded; look at the rule that sent it.",
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


def return_permit(pool: PoolName, holder: str, problem: HoldfastError, tools: Tools, now: datetime) -> None:
    """The permit is returned, and the pool has learnt what AWS showed: its room, its pace, or nothing."""
    if isinstance(problem, TooManyInFlight):
        tools.ledger.permits.refused(pool, holder, now)
    elif isinstance(problem, AwsBusy):
        tools.ledger.permits.throttled(pool, holder)
    else:
        tools.ledger.permits.give_back(pool, [holder], now, succeeded=False)


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
def claim_stands() -> Iterator[None]:
    """Whatever goes wrong inside, while an old claim is looked into, leaves the claim as it is.

    Given back, or failed, it would be forgotten that AWS may have begun, and the next one would begin a second.
    """
    try:
        yield
    except HoldfastError as problem:
        raise OutcomeUnknown(
            f"what an earlier claim began could not be looked for: {problem.what}", hint=problem.hint
        ) from problem


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
