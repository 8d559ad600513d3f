"""What is looked at in a run: one number each, or None when the run does not tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from functions.core.runs import Run

FEATURES: Mapping[str, Callable[[Run], float | None]] = {
    "lag_seconds": lambda run: run.lag_seconds,
    "duration_seconds": lambda run: run.duration_seconds,
    "full_size_bytes": lambda run: _number(run.full_size_bytes),
    "changed_bytes": lambda run: _number(run.changed_bytes),
    "copy_seconds": lambda run: _longest_copy(run),
    "waits": lambda run: float(run.waits + sum(c.waits for c in run.copies)),
}
"""Name (with its unit) -> how it is read from a run."""


def _longest_copy(run: Run) -> float | None:
    return max((copy.duration_seconds for copy in run.copies if copy.duration_seconds is not None), default=None)


def _number(value: int | None) -> float | None:
    return None if value is None else float(value)
