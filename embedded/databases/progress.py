"""How far along something is that takes time on the embedded clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from embedded import clock


@dataclass(frozen=True)
class Progress:
    """Something that starts and ends at these epoch seconds; without an end it never gets anywhere."""

    starts_at: float
    ends_at: float | None

    def percent(self) -> int:
        """Whole percent, below 100 as long as somebody has not declared it over."""
        if self.ends_at is None or clock.now() <= self.starts_at:
            return 0
        if self.ends_at <= self.starts_at:
            return 99
        share = (clock.now() - self.starts_at) / (self.ends_at - self.starts_at)
        return min(int(share * 100), 99)


def now() -> datetime:
    """The instant on the embedded clock."""
    return datetime.fromtimestamp(clock.now(), UTC)
