"""Time on the embedded clock passes while nobody works, so that a slow machine is late for nothing.

A clock that runs at a rate of its own counts the work of a slow machine, too: grace periods and visibility time-outs
end while a function is still being loaded. Here the clock keeps the wall's pace while anybody works, and jumps when
everybody only waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from embedded.aws import EmbeddedAws

_PAUSE_SECONDS = 0.1
_LOOKS, _BETWEEN_LOOKS_SECONDS = 3, 0.02
_TELLS_STATES = Path("/proc/self/task").is_dir()
_AT_WORK = {"R", "D"}
"""Running, or ready to as soon as a processor is free; and reading or writing a disk."""

IDLE_STEP_SECONDS = 10.0
"""A sixth of the minute in which the clocks of the deployment look for work."""

UNKNOWING_STEP_SECONDS = 1.0
"""Where the kernel does not tell who works: about ten times the wall's pace, whatever is going on."""


def pass_time(aws: EmbeddedAws) -> None:
    """A moment of the wall has passed, and if nothing on this AWS was at work, some time on its clock."""
    time.sleep(_PAUSE_SECONDS)
    if not _TELLS_STATES:
        aws.advance(UNKNOWING_STEP_SECONDS)
    elif not any(_is_at_work(aws.pid) for _ in _looks()):
        aws.advance(IDLE_STEP_SECONDS)


def _looks() -> Iterator[None]:
    """A pause between two that are at work in turns can look like a rest, so one look is not enough."""
    for _ in range(_LOOKS):
        yield
        time.sleep(_BETWEEN_LOOKS_SECONDS)


def _is_at_work(pid: int) -> bool:
    """Whether a thread of the process, or of any process it started, is at work."""
    server = psutil.Process(pid)
    return any(
        _state_of(thread) in _AT_WORK
        for process in (server, *server.children(recursive=True))
        for thread in Path(f"/proc/{process.pid}/task").glob("*/stat")
    )


def _state_of(thread: Path) -> str:
    try:
        return thread.read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"  # it has ended meanwhile
