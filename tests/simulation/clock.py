"""Simulated time: it stands still until somebody moves it, and never runs backwards. Clocks that read it may."""

from __future__ import annotations

from datetime import datetime, timedelta

REQUEST_TAKES = timedelta(milliseconds=20)
"""Every request takes a moment, so that no two writes carry the same microsecond."""


class Clock:
    """The true time, by which AWS lives; `skew` is how far the functions' own clock is off."""

    __slots__ = ("now", "skew")

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.skew = timedelta(0)

    def read(self) -> datetime:
        """What a function reads."""
        return self.now + self.skew

    def advance_to(self, at: datetime) -> None:
        """It is `at` now, or later when it was later before."""
        if at > self.now:
            self.now = at
