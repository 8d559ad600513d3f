"""Snapshot locks: which completed EBS snapshots get one, for how long, and why not.

A lock is only ever added or made stricter. It runs from completion, not from when somebody noticed: a policy that gets
a lock today locks its older points for what is left of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from functions.core import labels
from functions.core.policies import Lock, LockMode, LockOn
from functions.core.snapshots import Snapshot, State

DAY = timedelta(days=1)


class LockState(StrEnum):
    """AWS's words for a lock. While it cools off, a compliance lock can still be taken back."""

    GOVERNANCE = "governance"
    COOLING_OFF = "compliance-cooloff"
    COMPLIANCE = "compliance"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLock:
    """The lock that a snapshot has. `state` is AWS's own word, of which there may be more one day."""

    state: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRequest:
    """A lock to ask AWS for."""

    mode: LockMode
    days: int
    cool_off_hours: int | None


class Locks(Protocol):
    """The port: the locks of EBS snapshots in one Region."""

    def held(self) -> Mapping[str, HeldLock]:
        """Every lock here by snapshot, those that have run their time too; complete, or an error."""
        ...

    def lock(self, id: str, request: LockRequest) -> None:
        """The snapshot is locked.

        Errors: SnapshotGone; NotAllowed when it is not ours or the lock is longer than any policy asks for.
        """
        ...


def request(snapshot: Snapshot, lock: Lock, held: HeldLock | None, now: datetime) -> LockRequest | str:
    """The lock to ask for, or the reason why none is."""
    if snapshot.state is not State.COMPLETED or snapshot.completed_at is None:
        return "it is not complete"
    is_copy = labels.SOURCE_SNAPSHOT in snapshot.tags
    if lock.on not in (LockOn.BOTH, LockOn.COPIES if is_copy else LockOn.SOURCE):
        return f"its policy locks the {lock.on} only"
    until = snapshot.completed_at + lock.days * DAY
    days = min(lock.days, math.ceil((until - now) / DAY))
    if days < 1:
        return "the time of its lock is over"
    if held is not None and held.state == LockState.EXPIRED:
        return "its lock has run its time"
    if held is not None and (lock.mode is LockMode.GOVERNANCE or held.state != LockState.GOVERNANCE):
        return f"it is locked: {held.state}"
    if held is not None and held.expires_at is not None:  # a governance lock becomes a compliance lock
        days = max(days, math.ceil((held.expires_at - now) / DAY))
    cool_off = lock.cool_off_hours or None if lock.mode is LockMode.COMPLIANCE else None
    return LockRequest(mode=lock.mode, days=days, cool_off_hours=cool_off)
