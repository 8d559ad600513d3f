"""How a deep check ends, in both verbs that carry it on: with evidence, and never with an error."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from functions.core import deep_checks
from functions.core.deep_checks import DeepCheck, Stage
from functions.core.errors import HoldfastError
from functions.core.evidence import Assertion, judge
from functions.core.rehearsals import Rehearsal


def is_late(check: DeepCheck, now: datetime) -> bool:
    """Whether the time of the deep check is up."""
    return check.until is not None and now >= check.until


def over(rehearsal: Rehearsal, check: DeepCheck, found: Iterable[Assertion], now: datetime) -> Rehearsal:
    """The rehearsal with what was found added to what was known before."""
    so_far = rehearsal.evidence.assertions if rehearsal.evidence else ()
    ended = replace(check, stage=Stage.OVER, ended_at=now)
    return replace(rehearsal, deep_check=ended, evidence=judge((*so_far, *found)), verified_at=now)


def given_up(rehearsal: Rehearsal, check: DeepCheck, now: datetime) -> Rehearsal:
    """The rehearsal, undecided because the time of its deep check was up."""
    return over(rehearsal, check, [deep_checks.given_up(check)], now)


def broken_off(rehearsal: Rehearsal, check: DeepCheck, problem: HoldfastError, now: datetime) -> Rehearsal:
    """The rehearsal, undecided because its deep check could not be carried on."""
    said = replace(check, problem=problem.what)
    return over(rehearsal, said, [deep_checks.broken_off(problem.what, problem.hint)], now)
