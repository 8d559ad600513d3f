"""What a rehearsal measured on restored content, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Fitness(StrEnum):
    """Whether a point was proven to restore. UNDECIDED is an honest third answer, never rounded up."""

    FIT = "fit"
    UNFIT = "unfit"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """One thing that was checked. `held` is None when it could not be checked; `detail` says what was seen."""

    what: str
    held: bool | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The assertions of one check and the fitness that follows."""

    fitness: Fitness
    reason: str
    assertions: tuple[Assertion, ...]


def judge(assertions: Iterable[Assertion]) -> Evidence:
    """The fitness that follows from what was checked: one broken assertion is unfit, none held is undecided.

    Nothing checked proves nothing: zero assertions are undecided. So is one that could not be checked, whatever the
    others say, because the promise was to check it.
    """
    all_of_them = tuple(assertions)
    broken = [a for a in all_of_them if a.held is False]
    unchecked = [a for a in all_of_them if a.held is None]
    if broken:
        fitness, reason = Fitness.UNFIT, "; ".join(f"{a.what}: {a.detail}" for a in broken)
    elif unchecked:
        fitness, reason = Fitness.UNDECIDED, "; ".join(f"{a.what}: {a.detail}" for a in unchecked)
    elif not all_of_them:
        fitness, reason = Fitness.UNDECIDED, "nothing was checked"
    else:
        fitness, reason = Fitness.FIT, f"{len(all_of_them)} of {len(all_of_them)} checks held"
    return Evidence(fitness=fitness, reason=reason, assertions=all_of_them)
