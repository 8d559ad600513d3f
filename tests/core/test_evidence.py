from __future__ import annotations

from itertools import product

import pytest

from functions.core.evidence import Assertion, Fitness, judge


def said(what: str, held: bool | None) -> Assertion:
    return Assertion(what=what, held=held, detail=f"saw {held}")


def test_nothing_checked_is_undecided() -> None:
    """F75, invariant 16."""
    evidence = judge(())
    assert evidence.fitness is Fitness.UNDECIDED
    assert evidence.reason == "nothing was checked"
    assert evidence.assertions == ()


@pytest.mark.parametrize("answers", [a for n in range(1, 5) for a in product([True, False, None], repeat=n)])
def test_one_broken_is_unfit_one_unchecked_is_undecided_and_only_all_held_is_fit(answers) -> None:
    evidence = judge(said(f"check {n}", held) for n, held in enumerate(answers))
    if False in answers:
        assert evidence.fitness is Fitness.UNFIT
    elif None in answers:
        assert evidence.fitness is Fitness.UNDECIDED
    else:
        assert evidence.fitness is Fitness.FIT
    assert [assertion.held for assertion in evidence.assertions] == list(answers)


def test_the_reason_names_every_check_that_broke_and_what_was_seen() -> None:
    assertions = (said("blocks equal", False), said("file system mounts", True), said("rows exist", False))
    assert judge(assertions).reason == "blocks equal: saw False; rows exist: saw False"


def test_the_reason_of_a_fit_point_counts_the_checks() -> None:
    assert judge([said("a", True), said("b", True)]).reason == "2 of 2 checks held"
