"""The embedded clock: one dial in a file, read by the server and by every Lambda worker.

`time.time()`, `datetime.now()` and their relatives follow the dial in each process that called `follow`.
`time.monotonic()`, `time.sleep()` and socket timeouts stay on the wall: they measure work, not AWS's calendar.
The dial counts from the machine's monotonic clock, which all its processes share.

Workers load this file by its path, so it imports the standard library and time-machine only.
"""

from __future__ import annotations

import mmap
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import time_machine

_NS = 1_000_000_000
_LONGEST_NAP_SECONDS = 0.05
# A reading is written twice. Two processes share the page without a lock, so a reader that meets
# two different halves has met a write in progress and looks again.
_HALF = struct.Struct("<qqd")


@dataclass(frozen=True)
class Reading:
    """At tick `ticks_ns` of the machine it was `embedded_ns`; from there the clock runs `rate` seconds per second."""

    ticks_ns: int
    embedded_ns: int
    rate: float

    def at(self, ticks_ns: int) -> int:
        """The embedded time at a count of ticks, in nanoseconds."""
        return self.embedded_ns + round((ticks_ns - self.ticks_ns) * self.rate)


class Dial:
    """The clock's setting, shared between processes through a small mapped file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 2 * _HALF.size)

    @classmethod
    def create(cls, path: Path, reading: Reading) -> Dial:
        """A dial exists at `path` and shows `reading`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_pack(reading))
        return cls(path)

    def read(self) -> Reading:
        while True:
            first, second = self._page[: _HALF.size], self._page[_HALF.size :]
            if first == second:
                return Reading(*_HALF.unpack(first))

    def write(self, reading: Reading) -> None:
        self._page[:] = _pack(reading)


def _pack(reading: Reading) -> bytes:
    return _HALF.pack(reading.ticks_ns, reading.embedded_ns, reading.rate) * 2


_dial: Dial | None = None


def follow(dial: Dial) -> None:
    """This process reads its wall-clock time from `dial` until it ends."""
    import time_machine

    class Follower(time_machine.Traveller):
        def time_ns(self) -> int:
            return dial.read().at(time.monotonic_ns())

    global _dial
    if _dial is not None:
        raise RuntimeError(f"this process already follows the clock in {_dial.path}")
    # travel() installs the hooks; the stack entry is what they ask. A plain traveller cannot run at a rate.
    started: time_machine.Traveller = time_machine.travel(dial.read().at(time.monotonic_ns()) / _NS).start()
    position = time_machine.traveller_stack.index(started)
    time_machine.traveller_stack[position] = Follower(0, None, tick=True)
    _dial = dial


def start(path: Path, rate: float = 1.0) -> None:
    """The embedded clock shows the wall's time now and runs at `rate`."""
    follow(Dial.create(path, Reading(time.monotonic_ns(), time.time_ns(), _positive(rate))))


def now() -> float:
    """Epoch seconds on the embedded clock."""
    return time.time()


def rate() -> float:
    """Embedded seconds per wall second."""
    return _dial.read().rate if _dial else 1.0


def wall_seconds(embedded_seconds: float) -> float:
    """How long to really sleep so that `embedded_seconds` pass."""
    return embedded_seconds / rate()


def sleep(seconds: float) -> None:
    """`seconds` have passed on the embedded clock. A jump forward wakes the sleeper, a jump back does not hold it."""
    left, last = seconds, now()
    while left > 0:
        time.sleep(min(wall_seconds(left), _LONGEST_NAP_SECONDS))
        current = now()
        left -= max(0.0, current - last)
        last = current


def set_to(epoch_seconds: float) -> None:
    """The clock shows `epoch_seconds` and runs on at its rate; it may go backwards."""
    dial = _following()
    dial.write(Reading(time.monotonic_ns(), round(epoch_seconds * _NS), dial.read().rate))


def advance(seconds: float) -> None:
    """The clock jumped forward (or backward, if negative)."""
    dial = _following()
    ticks_ns, reading = time.monotonic_ns(), dial.read()
    dial.write(Reading(ticks_ns, reading.at(ticks_ns) + round(seconds * _NS), reading.rate))


def set_rate(new_rate: float) -> None:
    """From the present instant on the clock runs at `new_rate`, without a jump."""
    dial = _following()
    ticks_ns = time.monotonic_ns()
    dial.write(Reading(ticks_ns, dial.read().at(ticks_ns), _positive(new_rate)))


def _following() -> Dial:
    if _dial is None:
        raise RuntimeError("no embedded clock in this process: call clock.start first")
    return _dial


def _positive(new_rate: float) -> float:
    if not new_rate > 0:
        raise ValueError(f"a clock rate must be above 0, not {new_rate}; to go back in time set the clock instead")
    return float(new_rate)
