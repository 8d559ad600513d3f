"""A point and a copy under the same verbs, so that one sentence is asked of both."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from functions.core.planning import Owed
from functions.core.points import Copy, Point, Status
from functions.core.snapshots import State
from functions.ledger.ledger import Ledger
from tests.builders import AWAY, HOME, NOON, a_copy, a_part, a_point, a_policy, a_slot, a_snapshot

OWED_COPY = a_copy(status=Status.OWED, snapshot_id=None, created_at=None, completed_at=None, full_size_bytes=None)


class Work(Protocol):
    """What the ledger does to both."""

    def owe(self) -> bool: ...
    def see(self) -> Any: ...
    def claim(self, now: datetime, *, seen: Any = None) -> int | None: ...
    def give_back(self, claimed_at: datetime) -> bool: ...
    def fail_claim(self, claimed_at: datetime, error: str = "AWS said no") -> bool: ...
    def record(self, claimed_at: datetime, snapshot_id: str = "snap-1") -> bool: ...
    def recorded(self) -> str | None: ...
    def move(self, to: Status, *, seen: Any = None, error: str = "") -> bool: ...
    def is_open(self) -> bool: ...


class PointWork:
    """A recovery point at noon."""

    def __init__(self, ledger: Ledger) -> None:
        self._points = ledger.points

    def owe(self) -> bool:
        return self._points.owe(an_owed(), NOON)

    def see(self) -> Point:
        point = self._points.get(a_slot())
        assert point is not None
        return point

    def claim(self, now: datetime, *, seen: Any = None) -> int | None:
        return self._points.claim(seen or self.see(), now)

    def give_back(self, claimed_at: datetime) -> bool:
        return self._points.give_back(self.see(), claimed_at)

    def fail_claim(self, claimed_at: datetime, error: str = "AWS said no") -> bool:
        return self._points.fail_claim(self.see(), claimed_at, error)

    def record(self, claimed_at: datetime, snapshot_id: str = "snap-1") -> bool:
        part = a_part(snapshot_id, state=State.PENDING)
        return self._points.record(a_slot(), claimed_at, [part], claimed_at, {"iops": 3000})

    def recorded(self) -> str | None:
        return next((part.snapshot_id for part in self.see().parts), None)

    def move(self, to: Status, *, seen: Any = None, error: str = "") -> bool:
        return self._points.move(seen or self.see(), to, now=NOON + timedelta(minutes=20), error=error)

    def is_open(self) -> bool:
        return [point.slot for point in self._points.open_in(HOME)] == [a_slot()]


class CopyWork:
    """Its copy in another Region."""

    def __init__(self, ledger: Ledger) -> None:
        self._copies = ledger.copies

    def owe(self) -> bool:
        return self._copies.owe(OWED_COPY)

    def see(self) -> Copy:
        copy = self._copies.get(OWED_COPY.slot, AWAY, OWED_COPY.source_snapshot_id)
        assert copy is not None
        return copy

    def claim(self, now: datetime, *, seen: Any = None) -> int | None:
        return self._copies.claim(seen or self.see(), now)

    def give_back(self, claimed_at: datetime) -> bool:
        return self._copies.give_back(OWED_COPY, claimed_at)

    def fail_claim(self, claimed_at: datetime, error: str = "AWS said no") -> bool:
        return self._copies.fail_claim(self.see(), claimed_at, error)

    def record(self, claimed_at: datetime, snapshot_id: str = "snap-1") -> bool:
        return self._copies.record(OWED_COPY, claimed_at, a_snapshot(snapshot_id, region=AWAY), claimed_at)

    def recorded(self) -> str | None:
        return self.see().snapshot_id

    def move(self, to: Status, *, seen: Any = None, error: str = "") -> bool:
        return self._copies.move(seen or self.see(), to, now=NOON + timedelta(minutes=20), error=error)

    def is_open(self) -> bool:
        return [copy.source_snapshot_id for copy in self._copies.open_in(AWAY)] == [OWED_COPY.source_snapshot_id]


def an_owed(at: datetime = NOON, **changes: Any) -> Owed:
    """The slot at noon, owed by a daily policy."""
    slot = changes.pop("slot", None) or a_slot(at)
    owed = Owed(slot=slot, policy=a_policy(), deadline=slot.at + timedelta(days=1), reason="slot of policy gold")
    return replace(owed, **changes)


def completed_point(at: datetime = NOON, **changes: Any) -> Point:
    """A completed point as `adopt` writes it down."""
    return a_point(at, **changes)
