"""AWS's documented limits: token buckets of requests, and how much may be under way at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

EC2_BUCKETS: Mapping[str, tuple[float, float]] = {
    "create_snapshot": (100, 5),
    "create_snapshots": (100, 5),
    "delete_snapshot": (100, 5),
    "create_volume": (100, 5),
    "delete_volume": (100, 5),
    "create_tags": (100, 10),
    "copy_snapshot": (50, 5),
    "lock_snapshot": (50, 5),
    "modify_snapshot_tier": (50, 5),
}
"""By operation: requests at once, and how many more every second, for an account and Region."""

EC2_DESCRIBE = (100.0, 20.0)
"""Of each Describe operation that is filtered or paginated, which all of ours are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the simulated AWS lets through. None is no limit."""

    buckets: Mapping[str, tuple[float, float]] | None = None
    describe: tuple[float, float] | None = None
    pending_snapshots: int | None = 100
    pending_per_volume: int | None = 5
    seconds_between_snapshots_of_a_volume: float = 15.0
    copies_under_way: int | None = 20
    copy_counter_lags_seconds: float = 0.0
    database_copies_under_way: int | None = 20
    cluster_copies_under_way: int | None = 5
    manual_database_snapshots: int | None = 100


DOCUMENTED = Limits(buckets=EC2_BUCKETS, describe=EC2_DESCRIBE)


@dataclass(slots=True)
class TokenBucket:
    """So many requests at once, and so many more every second."""

    size: float
    per_second: float
    left: float = field(init=False)
    filled_at: datetime | None = None
    taken: int = 0
    refused: int = 0

    def __post_init__(self) -> None:
        self.left = self.size

    def take(self, now: datetime) -> bool:
        """Whether the request may pass."""
        if self.filled_at is not None:
            passed = (now - self.filled_at).total_seconds()
            self.left = min(self.size, self.left + passed * self.per_second)
        self.filled_at = now
        if self.left < 1:
            self.refused += 1
            return False
        self.left -= 1
        self.taken += 1
        return True


class RequestRates:
    """The buckets of one Region, made when first asked for."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.buckets: dict[str, TokenBucket] = {}

    def let_through(self, service: str, operation: str, now: datetime) -> bool:
        """Whether a request may pass now."""
        bucket = self.buckets.get(operation)
        if bucket is None:
            size = self._size(service, operation)
            if size is None:
                return True
            bucket = self.buckets[operation] = TokenBucket(*size)
        return bucket.take(now)

    def change(self, limits: Limits) -> None:
        """From now on these are the limits; what is in the buckets stays in them."""
        self.limits = limits
        for operation, bucket in list(self.buckets.items()):
            size = self._size("ec2", operation)
            if size is None:
                del self.buckets[operation]
            else:
                bucket.size, bucket.per_second = size
                bucket.left = min(bucket.left, bucket.size)

    def _size(self, service: str, operation: str) -> tuple[float, float] | None:
        if service != "ec2":
            return None
        if operation.startswith("describe_"):
            return self.limits.describe
        return (self.limits.buckets or {}).get(operation)
