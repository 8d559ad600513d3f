"""What AWS refuses when it is asked too much: request buckets and quotas, small enough to be moved by a test.

The numbers are the published defaults of one account in one Region. Those in force can be read and changed while the
server runs, through `/_embedded/limits`.
"""

import threading
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from embedded import clock


@dataclass(frozen=True)
class Rate:
    """A token bucket: `burst` requests at once, then `per_second`."""

    burst: float
    per_second: float


def _published_rates() -> dict[str, Rate]:
    return {
        "CreateSnapshot": Rate(100, 5),
        "CreateSnapshots": Rate(100, 5),
        "CopySnapshot": Rate(50, 5),
        "DeleteSnapshot": Rate(100, 5),
        "ModifySnapshotAttribute": Rate(100, 5),
        "LockSnapshot": Rate(50, 5),
        "UnlockSnapshot": Rate(50, 5),
        "CreateVolume": Rate(100, 5),
        "DeleteVolume": Rate(100, 5),
        "CreateTags": Rate(100, 10),
        "DeleteTags": Rate(100, 10),
        "Describe*": Rate(100, 20),
        # An answer nobody narrowed down costs EC2 more, so these three have a smaller bucket of their own.
        "DescribeSnapshots (unfiltered)": Rate(50, 10),
        "DescribeVolumes (unfiltered)": Rate(50, 10),
        "DescribeInstances (unfiltered)": Rate(50, 10),
        "ListSnapshotBlocks": Rate(50, 50),
        "ListChangedBlocks": Rate(50, 50),
        "GetSnapshotBlock": Rate(1000, 1000),
    }


@dataclass
class Quotas:
    """How much may exist or run at once in one Region."""

    snapshots: int = 100_000
    pending_snapshots: int = 100
    pending_snapshots_per_volume: int = 5
    pending_snapshots_per_throughput_volume: int = 1
    """For st1 and sc1."""
    seconds_between_snapshots_of_a_volume: float = 15
    copies_in_progress: int = 20


@dataclass
class _Bucket:
    tokens: float
    filled_at: float


@dataclass(eq=False)
class Limits:
    """The limits in force, and how much of each bucket is left."""

    rates: dict[str, Rate] = field(default_factory=_published_rates)
    quotas: Quotas = field(default_factory=Quotas)
    _buckets: dict[tuple[str, str], _Bucket] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def admit(self, action: str, region: str) -> bool:
        """Whether one more request fits; if so it is counted. An action without a published rate always fits."""
        name = self._bucket_name(action)
        if name is None:
            return True
        rate, now = self.rates[name], clock.now()
        # EC2 counts every Describe action for itself although they share one published rate.
        key = (action if name.endswith("*") else name, region)
        with self._lock:
            bucket = self._buckets.setdefault(key, _Bucket(rate.burst, now))
            # The embedded clock can be set back; that must not drain a bucket.
            elapsed_seconds = max(0.0, now - bucket.filled_at)
            bucket.tokens = min(rate.burst, bucket.tokens + elapsed_seconds * rate.per_second)
            bucket.filled_at = now
            if bucket.tokens < 1:
                return False
            bucket.tokens -= 1
            return True

    def change(self, wanted: dict[str, Any]) -> None:
        """The named quotas and rates are in force, with full buckets: `{"copies_in_progress": 2}`,
        `{"CreateSnapshot": {"burst": 1, "per_second": 0.1}}`."""
        quotas, rates = asdict(self.quotas), dict(self.rates)
        for name, value in wanted.items():
            if name in quotas:
                quotas[name] = value
            elif name in rates:
                rates[name] = Rate(float(value["burst"]), float(value["per_second"]))
            else:
                known = ", ".join(sorted([*quotas, *rates]))
                raise ValueError(f"There is no limit {name!r}. Use one of: {known}.")
        with self._lock:
            self.quotas, self.rates = Quotas(**quotas), rates
            self._buckets.clear()

    def reset(self) -> None:
        """The published limits are in force again, with full buckets."""
        with self._lock:
            self.rates, self.quotas = _published_rates(), Quotas()
            self._buckets.clear()

    def describe(self) -> dict[str, Any]:
        """The limits in force, in the form `change` takes."""
        quotas = {quota.name: getattr(self.quotas, quota.name) for quota in fields(Quotas)}
        return quotas | {name: asdict(rate) for name, rate in self.rates.items()}

    def _bucket_name(self, action: str) -> str | None:
        if action in self.rates:
            return action
        return "Describe*" if action.startswith("Describe") else None


in_force = Limits()
"""The limits of this process."""
