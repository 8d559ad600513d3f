"""The calendar: at which instants a policy owes a backup of a resource.

Everything is UTC and computed from the policy and the resource alone, so that the answer is the same on every
machine, after every restart, on the night the clocks change and on the last day of the month.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from math import ceil

from functions.core import instants
from functions.core.policies import AHEAD_OF_WINDOW, DAY, Policy
from functions.core.resources import ResourceKey

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
"""A Monday: periods of whole days are counted from here, so that a weekly policy keeps its weekday."""


class Why(StrEnum):
    """Why a slot exists."""

    SCHEDULED = "scheduled"
    EXTRA = "extra"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Slot:
    """One instant at which one resource is owed a backup."""

    resource: ResourceKey
    at: datetime
    why: Why = Why.SCHEDULED

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", instants.aware(self.at).replace(microsecond=0))

    @property
    def key(self) -> str:
        """24 hex digits, the same for the same resource and instant for ever: the name of the promise.

        The policy is not part of it: renaming a policy at noon must not owe the morning's slot again.
        """
        story = f"{self.resource.account}|{self.resource}|{instants.text(self.at)}"
        return hashlib.sha256(story.encode()).hexdigest()[:24]


def period(policy: Policy) -> timedelta:
    """The longest regular step that keeps the RPO and repeats every day, or every n whole days."""
    if policy.rpo > DAY:
        return timedelta(days=policy.rpo // DAY)
    return DAY / ceil(DAY / policy.rpo)


def slots_between(policy: Policy, resource: ResourceKey, *, after: datetime, until: datetime) -> tuple[Slot, ...]:
    """Every slot with after < slot <= until, oldest first.

    A slot inside an avoided window is owed shortly before the window instead, and one more at the window's end when
    the wait for the next would break the RPO.
    """
    # In UTC, because two times of one zone are compared by their clocks, which in autumn show an hour twice.
    after, until = instants.aware(after), instants.aware(until)
    if until <= after:
        return ()
    margin = period(policy) + DAY
    plain = _regular(policy, resource, after - margin, until + margin)
    owed = {_before_windows(policy, at) for at in plain}
    for earlier, later in pairwise(sorted(owed)):
        ends = [at for at in (_after_windows(policy, earlier + AHEAD_OF_WINDOW),) if at > earlier + AHEAD_OF_WINDOW]
        if later - earlier > policy.rpo and ends and ends[0] < later:
            owed.add(ends[0])
    return tuple(Slot(resource=resource, at=at) for at in sorted(owed) if after < at <= until)


def newest_due(policy: Policy, resource: ResourceKey, now: datetime) -> Slot:
    """The newest slot that is not in the future."""
    return slots_between(policy, resource, after=now - 2 * (period(policy) + DAY), until=now)[-1]


def next_after(policy: Policy, slot: Slot) -> datetime:
    """When the slot after this one is due: the moment by which this one should be complete."""
    following = slots_between(policy, slot.resource, after=slot.at, until=slot.at + 2 * (period(policy) + DAY))
    return following[0].at


def _regular(policy: Policy, resource: ResourceKey, after: datetime, until: datetime) -> Iterator[datetime]:
    step = period(policy)
    first = EPOCH + (policy.starts if policy.starts is not None else _spread(resource, step))
    at = first + ceil((after - first) / step) * step
    while at <= until:
        yield at.replace(microsecond=0)
        at += step


def _spread(resource: ResourceKey, step: timedelta) -> timedelta:
    """An own offset for each resource, so that a fleet without a stated start does not start in one second."""
    share = int.from_bytes(hashlib.sha256(f"{resource.account}|{resource}".encode()).digest()[:8]) / 2**64
    return timedelta(seconds=int(share * min(step, DAY).total_seconds()))


def _before_windows(policy: Policy, at: datetime) -> datetime:
    for window in policy.avoided:
        began = window.start_around(at)
        if began is not None:
            return began - AHEAD_OF_WINDOW
    return at


def _after_windows(policy: Policy, at: datetime) -> datetime:
    for window in policy.avoided:
        began = window.start_around(at)
        if began is not None:
            return began + window.length
    return at
