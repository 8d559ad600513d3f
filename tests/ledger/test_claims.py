"""At most one may create: the claim, its fence, and what a stale holder cannot do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from functions.core.points import GRACE, Status
from tests.builders import NOON
from tests.ledger.works import Work

LATER = NOON + GRACE
SOON = NOON + timedelta(minutes=1)


def test_what_is_owed_twice_is_owed_once(work: Work) -> None:
    """F30: the second plan, notice or tick finds the work written down."""
    assert [work.owe(), work.owe()] == [True, False]
    assert work.see().status is Status.OWED
    assert work.is_open()


def test_owing_again_does_not_undo_what_was_done_since(work: Work) -> None:
    """Invariant 17: nothing ever goes back to the start."""
    work.owe()
    work.claim(NOON)
    assert not work.owe()
    assert work.see().status is Status.INTENT


def test_two_claims_of_the_same_sight_have_one_winner(work: Work) -> None:
    """F14: the loser is told so and stops."""
    work.owe()
    seen = work.see()
    assert work.claim(NOON, seen=seen) == 1
    assert work.claim(NOON + timedelta(microseconds=1), seen=seen) is None
    assert work.see().claimed_at == NOON


def test_of_many_who_claim_at_the_same_time_exactly_one_wins(work: Work) -> None:
    """F30: the same order delivered to many functions at once."""
    work.owe()
    seen = work.see()
    with ThreadPoolExecutor(8) as crowd:
        answers = list(crowd.map(lambda number: work.claim(NOON + timedelta(microseconds=number), seen=seen), range(8)))
    assert answers.count(1) == 1
    assert answers.count(None) == 7


def test_an_old_claim_is_taken_over_once(work: Work) -> None:
    """F19: the first holder died; two find its claim old, and one gets it."""
    work.owe()
    work.claim(NOON)
    seen = work.see()
    assert work.claim(LATER, seen=seen) == 1
    assert work.claim(LATER + timedelta(seconds=1), seen=seen) is None


def test_a_stale_holder_cannot_record_after_a_take_over(work: Work) -> None:
    work.owe()
    work.claim(NOON)
    work.claim(LATER)
    assert not work.record(NOON, "snap-of-the-stale-one")
    assert work.record(LATER, "snap-of-the-new-one")
    assert work.recorded() == "snap-of-the-new-one"


def test_a_stale_holder_cannot_give_back_or_fail_what_another_claimed(work: Work) -> None:
    work.owe()
    work.claim(NOON)
    work.claim(LATER)
    assert not work.give_back(NOON)
    assert not work.fail_claim(NOON)
    assert (work.see().status, work.see().claimed_at) == (Status.INTENT, LATER)


def test_a_claim_given_back_is_owed_as_before_and_counts_as_a_wait(work: Work) -> None:
    """F01, F08: back-pressure is never a failure."""
    work.owe()
    work.claim(NOON)
    assert work.give_back(NOON)
    seen = work.see()
    assert (seen.status, seen.claimed_at, seen.waits, seen.errors, seen.attempt) == (Status.OWED, None, 1, (), 1)
    assert work.is_open()
    assert work.claim(SOON) == 1


def test_only_an_open_claim_is_given_back(work: Work) -> None:
    work.owe()
    work.claim(NOON)
    work.record(NOON)
    assert not work.give_back(NOON)
    assert work.see().status is Status.CREATED


def test_a_failed_claim_keeps_its_error_and_the_next_attempt_has_the_next_number(work: Work) -> None:
    work.owe()
    work.claim(NOON)
    assert work.fail_claim(NOON, "KeyUnusable: the key is disabled")
    assert work.see().status is Status.FAILED
    assert work.see().errors == ("KeyUnusable: the key is disabled",)
    assert work.is_open()
    assert work.claim(SOON) == 2
    assert work.see().errors == ("KeyUnusable: the key is disabled",)


def test_a_record_is_written_once(work: Work) -> None:
    """F30: the second record of the same claim finds it done."""
    work.owe()
    work.claim(NOON)
    assert [work.record(NOON, "snap-1"), work.record(NOON, "snap-2")] == [True, False]
    assert (work.see().status, work.recorded(), work.see().created_at) == (Status.CREATED, "snap-1", NOON)


def test_what_was_never_owed_cannot_be_claimed(work: Work) -> None:
    work.owe()
    seen = work.see()
    work.claim(NOON)
    work.record(NOON)
    assert work.claim(SOON, seen=seen) is None


@pytest.mark.parametrize("microseconds", [0, 1, 999_999])
def test_the_fence_is_exact_to_the_microsecond(work: Work, microseconds: int) -> None:
    at = NOON + timedelta(microseconds=microseconds)
    work.owe()
    work.claim(at)
    assert not work.record(at + timedelta(microseconds=1))
    assert work.record(at)


def test_an_error_as_long_as_a_novel_is_cut(work: Work) -> None:
    work.owe()
    work.claim(NOON)
    work.fail_claim(NOON, "x" * 10_000)
    assert [len(error) for error in work.see().errors] == [500]
