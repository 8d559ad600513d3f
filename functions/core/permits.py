"""The right to have one more operation in flight at AWS, and how its limit learns.

AWS publishes some limits, hides others and raises them silently, so the published number is only where we start:
a refusal lowers the limit to what was really in flight, and quiet success raises it by one at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from functions.core.resources import Kind

PROBE_AFTER = timedelta(minutes=10)
"""How long after a refusal the limit stays where it was lowered to."""


class Operation(StrEnum):
    """What a permit is for."""

    CREATE = "create"
    COPY = "copy"


POOLS: Mapping[Kind, str] = {Kind.VOLUME: "ebs", Kind.INSTANCE: "ebs", Kind.DATABASE: "rds", Kind.CLUSTER: "aurora"}
"""Kinds that share AWS's limits share their permits."""

STARTS_AT: Mapping[tuple[Operation, str], int] = {
    (Operation.CREATE, "ebs"): 100,
    (Operation.CREATE, "rds"): 100,
    (Operation.CREATE, "aurora"): 100,
    (Operation.COPY, "ebs"): 20,
    (Operation.COPY, "rds"): 20,
    (Operation.COPY, "aurora"): 5,
}
"""Published defaults: pending snapshots for each Region, copies in progress for each destination Region."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PoolName:
    """Which permits: an operation of a family of kinds in one Region (for copies: the destination)."""

    operation: Operation
    family: str
    region: str

    @classmethod
    def of(cls, operation: Operation, kind: Kind, region: str) -> PoolName:
        """The pool that an operation on this kind draws from."""
        return cls(operation=operation, family=POOLS[kind], region=region)

    def __str__(self) -> str:
        return f"{self.operation}#{self.family}#{self.region}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The permits of one name: how many there are, and who holds one since when."""

    name: PoolName
    limit: int
    holders: Mapping[str, datetime]
    refused_at: datetime | None = None

    @property
    def free(self) -> int:
        """How many more may be given out; never negative, though a lowered limit may be overdrawn."""
        return max(0, self.limit - len(self.holders))


def limit_after_refusal(pool: Pool) -> int:
    """What was in flight when AWS refused, without the one it refused; at least 1, or nothing would ever be tried."""
    return max(1, min(pool.limit, len(pool.holders) - 1))


def limit_after_success(pool: Pool, now: datetime) -> int:
    """One more when every permit is in use and AWS has not refused lately; otherwise as it was."""
    is_quiet = pool.refused_at is None or now - pool.refused_at >= PROBE_AFTER
    return pool.limit + 1 if is_quiet and pool.free == 0 else pool.limit
