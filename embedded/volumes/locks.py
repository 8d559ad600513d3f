"""Snapshot locks: who may not delete what until when."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from moto.ec2.exceptions import EC2ClientError

LONGEST_LOCK_DAYS = 36_500
LONGEST_COOL_OFF_HOURS = 72


class LockMode(StrEnum):
    GOVERNANCE = "governance"
    COMPLIANCE = "compliance"


class LockState(StrEnum):
    GOVERNANCE = "governance"
    COMPLIANCE = "compliance"
    COOL_OFF = "compliance-cooloff"
    EXPIRED = "expired"


@dataclass(frozen=True)
class LockRequest:
    """What LockSnapshot was asked for."""

    mode: LockMode
    length: int | datetime
    """So many days, or until then."""
    cool_off_hours: int | None = None

    @classmethod
    def parse(cls, mode: str, days: int | None, expires_at: datetime | None, cool_off_hours: int | None) -> Self:
        """The request, if it names exactly one length."""
        if days is not None and expires_at is None:
            return cls(LockMode(mode), days, cool_off_hours)
        if expires_at is not None and days is None:
            return cls(LockMode(mode), expires_at, cool_off_hours)
        raise EC2ClientError("InvalidParameterCombination", "Specify either LockDuration or ExpirationDate.")


@dataclass(frozen=True)
class Lock:
    """A lock on one snapshot."""

    mode: LockMode
    created_at: datetime
    starts_at: datetime | None
    """None while the snapshot is pending: its lock runs from its completion."""
    duration_days: int
    expires_at: datetime | None
    cool_off_hours: int | None = None

    def state(self, now: datetime) -> LockState:
        if self.expires_at is not None and self.expires_at <= now:
            return LockState.EXPIRED
        if self.mode is LockMode.GOVERNANCE:
            return LockState.GOVERNANCE
        cool_off_until = self.cool_off_until
        return LockState.COOL_OFF if cool_off_until and now < cool_off_until else LockState.COMPLIANCE

    @property
    def cool_off_until(self) -> datetime | None:
        return self.created_at + timedelta(hours=self.cool_off_hours) if self.cool_off_hours else None

    def forbids_deletion(self, now: datetime) -> bool:
        return self.state(now) is not LockState.EXPIRED

    def started(self, at: datetime) -> "Lock":
        """The same lock, running since the snapshot was completed `at`."""
        if self.starts_at is not None:
            return self
        return replace(self, starts_at=at, expires_at=at + timedelta(days=self.duration_days))


def lock(request: LockRequest, present: Lock | None, now: datetime, *, pending: bool) -> Lock:
    """The lock after the request, or the refusal AWS answers it with."""
    _check(request, now)
    if present is not None and present.state(now) is LockState.COMPLIANCE:
        return _extended(request, present)
    if isinstance(request.length, datetime):
        days = max(1, (request.length - now).days)
        return Lock(request.mode, now, now, days, request.length, request.cool_off_hours)
    created = Lock(request.mode, now, None, request.length, None, request.cool_off_hours)
    return created if pending else created.started(now)


def unlock(present: Lock | None, now: datetime) -> None:
    """Nothing, if the lock may be taken off; the refusal, if not."""
    if present is None or not present.forbids_deletion(now):
        raise EC2ClientError("SnapshotNotLocked", "The snapshot is not locked.")
    if present.state(now) is LockState.COMPLIANCE:
        raise EC2ClientError(
            "OperationNotPermitted",
            "The snapshot is locked in compliance mode and its cooling-off period has expired; it can't be unlocked.",
        )


def _check(request: LockRequest, now: datetime) -> None:
    if isinstance(request.length, datetime):
        if request.length <= now:
            raise EC2ClientError("InvalidParameterValue", "ExpirationDate must be in the future.")
    elif not 1 <= request.length <= LONGEST_LOCK_DAYS:
        raise EC2ClientError("InvalidParameterValue", f"LockDuration must be from 1 to {LONGEST_LOCK_DAYS} days.")
    if request.cool_off_hours is None:
        return
    if request.mode is LockMode.GOVERNANCE:
        raise EC2ClientError("InvalidParameterCombination", "CoolOffPeriod is for compliance mode only.")
    if not 1 <= request.cool_off_hours <= LONGEST_COOL_OFF_HOURS:
        raise EC2ClientError(
            "InvalidParameterValue", f"CoolOffPeriod must be from 1 to {LONGEST_COOL_OFF_HOURS} hours."
        )


def _extended(request: LockRequest, present: Lock) -> Lock:
    start = present.starts_at or present.created_at
    length = request.length
    expires_at = length if isinstance(length, datetime) else start + timedelta(days=length)
    shorter = present.expires_at is not None and expires_at < present.expires_at
    if request.mode is not LockMode.COMPLIANCE or request.cool_off_hours is not None or shorter:
        raise EC2ClientError(
            "OperationNotPermitted",
            "The snapshot is locked in compliance mode and its cooling-off period has expired; "
            "its lock can only be extended.",
        )
    return replace(present, duration_days=(expires_at - start).days, expires_at=expires_at)
