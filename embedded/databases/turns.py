"""One at a time: requests and timed changes see and change the databases in turns."""

from __future__ import annotations

import threading
from collections.abc import Callable

from embedded import clock, life

turn = threading.RLock()
"""Held by whoever reads or changes the state of any database, snapshot or cluster."""


def after(seconds: float, action: Callable[[], None], what: str) -> None:
    """`action` runs in a turn of its own when `seconds` have passed on the embedded clock."""

    def in_turn() -> None:
        with turn:
            action()

    life.at(clock.now() + seconds, in_turn, what)
