"""The verdict by rules alone: what a run must never be, and what it has never been.

This is what Holdfast says while there is no learned model, and what it falls back to when the model cannot be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from functions.core.points import Status
from functions.core.runs import Run
from functions.core.verdicts import Reason, Verdict, Word
from functions.scoring.features import FEATURES

JUDGED_BY = "rules-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How far a feature may be from its median before it is unusual.

    Both must be exceeded: `times` the spread (median absolute deviation, scaled to a standard deviation) and `floor`,
    in the feature's unit, below which nobody would want to be called. `down` also judges values below the median.
    """

    times: float
    floor: float
    down: bool = False


BOUNDS = {
    "lag_seconds": Bounds(times=6, floor=900),
    "duration_seconds": Bounds(times=6, floor=600),
    "full_size_bytes": Bounds(times=6, floor=2**30, down=True),
    "changed_bytes": Bounds(times=6, floor=2**30, down=True),
    "copy_seconds": Bounds(times=6, floor=900),
    "waits": Bounds(times=6, floor=5),
}


def judge(run: Run, history: Sequence[Run], *, at_least_runs: int = 7) -> Verdict:
    """The verdict on a run, with every reason that led to it, the weightiest first.

    `history` are earlier runs of the same resource, any order. With fewer than `at_least_runs` completed ones only the
    rules that need no history speak, and their silence is UNKNOWN.
    """
    broken = _must_never_be(run, history)
    completed = [earlier for earlier in history if earlier.is_complete]
    if len(completed) < at_least_runs:
        if broken:
            return _unusual(broken)
        seen = f"{len(completed)} completed runs so far, {at_least_runs} are needed to compare with"
        reason = Reason(feature="history", value=float(len(completed)), typical=None, text=seen)
        return Verdict(word=Word.UNKNOWN, score=0.0, reasons=(reason,), judged_by=JUDGED_BY)
    told = {reason.feature for reason in broken}
    others = [name for name in FEATURES if name not in told]
    apart = [found for name in others if (found := _apart(name, run, completed)) is not None]
    reasons = [*broken, *(reason for _, reason in sorted(apart, key=lambda found: -found[0]))]
    if reasons:
        return _unusual(reasons)
    reason = Reason(feature="history", value=None, typical=None, text=f"like the {len(completed)} runs before it")
    return Verdict(word=Word.USUAL, score=0.0, reasons=(reason,), judged_by=JUDGED_BY)


def _must_never_be(run: Run, history: Sequence[Run]) -> list[Reason]:
    reasons: list[Reason] = []
    if run.status is not Status.COMPLETED:
        said = "; ".join(run.errors) or "AWS gave no reason"
        reasons.append(Reason(feature="status", value=None, typical=None, text=f"the point is {run.status}: {said}"))
    for copy in run.copies:
        if run.status is Status.COMPLETED and copy.status is not Status.COMPLETED:
            said = "; ".join(copy.errors) or "AWS gave no reason"
            text = f"the copy in {copy.region} is {copy.status}: {said}"
            reasons.append(Reason(feature="copy_status", value=None, typical=None, text=text))
    before = [earlier.full_size_bytes for earlier in history if earlier.full_size_bytes]
    if run.full_size_bytes == 0 and before:
        text = f"the snapshot is empty; the ones before held about {_shown('full_size_bytes', median(before))}"
        reasons.append(Reason(feature="full_size_bytes", value=0.0, typical=float(median(before)), text=text))
    return reasons


def _apart(name: str, run: Run, history: Sequence[Run]) -> tuple[float, Reason] | None:
    """How many spreads the run is away from its history, and the reason, when it is too far."""
    value = FEATURES[name](run)
    past = [known for earlier in history if (known := FEATURES[name](earlier)) is not None]
    if value is None or len(past) < len(history) / 2:
        return None
    middle = median(past)
    spread = 1.4826 * median(abs(known - middle) for known in past)
    distance = value - middle
    bounds = BOUNDS[name]
    if distance < 0 and not bounds.down:
        return None
    if abs(distance) <= max(bounds.floor, bounds.times * spread):
        return None
    direction = "more" if distance > 0 else "less"
    label = name.rsplit("_", 1)[0].replace("_", " ")
    before = f"the last {len(past)} were about {_shown(name, middle)}"
    text = f"{label} {_shown(name, value)}, {direction} than usual; {before}"
    away = abs(distance) / max(spread, bounds.floor / bounds.times)
    return away, Reason(feature=name, value=value, typical=middle, text=text)


def _unusual(reasons: Sequence[Reason]) -> Verdict:
    return Verdict(word=Word.UNUSUAL, score=1.0, reasons=tuple(reasons), judged_by=JUDGED_BY)


def _shown(name: str, value: float) -> str:
    if name.endswith("_bytes"):
        return f"{value / 2**30:.2f} GiB"
    if name.endswith("_seconds"):
        return f"{value / 60:.1f} min"
    return f"{value:g}"
