"""Timed state changes: what becomes true later, on the embedded clock."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from embedded import clock

_logger = logging.getLogger("embedded.life")
_LOOK_AGAIN_SECONDS = 0.02


@dataclass(order=True)
class _Change:
    when: float
    order: int
    action: Callable[[], None] = field(compare=False)
    what: str = field(compare=False)


class Life:
    """One thread that runs each change once its time has come, earliest first."""

    def __init__(self) -> None:
        self._changes: list[_Change] = []
        self._order = itertools.count()
        self._wake = threading.Condition()
        self._running = False
        self._thread: threading.Thread | None = None

    def at(self, when: float, action: Callable[[], None], what: str) -> None:
        """`action` will run when the embedded clock shows `when`; changes of the same instant keep their order."""
        with self._wake:
            heapq.heappush(self._changes, _Change(when, next(self._order), action, what))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="embedded-life", daemon=True)
                self._thread.start()
            self._wake.notify_all()

    def settle(self, timeout_seconds: float) -> bool:
        """Everything that was due has run; False if that took longer than `timeout_seconds` of wall time."""
        with self._wake:
            return self._wake.wait_for(lambda: not self._running and not self._is_due(), timeout_seconds)

    def _is_due(self) -> bool:
        return bool(self._changes) and self._changes[0].when <= clock.now()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._is_due():
                    self._running = False
                    self._wake.notify_all()
                    # The clock can jump or change its rate at any moment, so a nap is never computed from it.
                    self._wake.wait(_LOOK_AGAIN_SECONDS if self._changes else None)
                change = heapq.heappop(self._changes)
                self._running = True
            try:
                change.action()
            except Exception:
                _logger.exception("%s failed; nothing will try it again", change.what)


_life = Life()
at = _life.at
settle = _life.settle
