"""Since when: what a deletion must know about its own rules and its clock."""

from __future__ import annotations

from datetime import timedelta

from functions.ledger.ledger import Ledger
from tests.builders import NOON, a_policy

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def test_a_policy_reads_as_it_does_since_it_was_first_seen(ledger: Ledger) -> None:
    assert ledger.since.policy(a_policy(), NOON) == NOON
    assert ledger.since.policy(a_policy(), NOON + DAY) == NOON


def test_a_changed_policy_starts_anew(ledger: Ledger) -> None:
    """F65: a mistyped retention waits before it deletes anything."""
    ledger.since.policy(a_policy(), NOON)
    assert ledger.since.policy(a_policy(version="v2"), NOON + DAY) == NOON + DAY
    assert ledger.since.policy(a_policy(version="v2"), NOON + 2 * DAY) == NOON + DAY


def test_a_policy_changed_there_and_back_waits_again(ledger: Ledger) -> None:
    ledger.since.policy(a_policy(), NOON)
    ledger.since.policy(a_policy(version="v2"), NOON + DAY)
    assert ledger.since.policy(a_policy(), NOON + 2 * DAY) == NOON + 2 * DAY


def test_policies_are_told_apart_by_name(ledger: Ledger) -> None:
    ledger.since.policy(a_policy(), NOON)
    assert ledger.since.policy(a_policy("silver"), NOON + DAY) == NOON + DAY
    assert ledger.since.policy(a_policy(), NOON + 2 * DAY) == NOON


def test_the_clock_of_deletions_is_the_latest_anybody_decided_at(ledger: Ledger) -> None:
    """F21, F67: a clock that ran ahead once is remembered, and one that ran back shows."""
    assert ledger.since.clock(NOON) == NOON
    assert ledger.since.clock(NOON + DAY) == NOON
    assert ledger.since.clock(NOON + 2 * DAY) == NOON + DAY
    assert ledger.since.clock(NOON) == NOON + 2 * DAY
    assert ledger.since.clock(NOON + DAY) == NOON + 2 * DAY


def test_a_chore_is_due_when_it_was_never_done_or_long_ago(ledger: Ledger) -> None:
    """F95: a lost table has done nothing, so that everything is compared with AWS again."""
    assert ledger.since.is_due("full sweep", every=DAY, now=NOON)
    ledger.since.did("full sweep", NOON)
    assert not ledger.since.is_due("full sweep", every=DAY, now=NOON + 23 * HOUR)
    assert ledger.since.is_due("full sweep", every=DAY, now=NOON + DAY)
    assert ledger.since.is_due("another", every=DAY, now=NOON)


def test_a_chore_done_before_is_not_newer_than_the_one_done_after(ledger: Ledger) -> None:
    ledger.since.did("full sweep", NOON + HOUR)
    ledger.since.did("full sweep", NOON)
    assert not ledger.since.is_due("full sweep", every=DAY, now=NOON + 24 * HOUR)
