"""A finding stands from when it was told until it is over, and may come again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from functions.core.findings import Concern, Finding
from functions.ledger.ledger import Ledger
from tests.builders import AWAY, HOME, NOON

LATER = NOON + timedelta(hours=1)
PUBLIC = Finding(
    concern=Concern.SHARE,
    region=AWAY,
    subject="snapshot snap-1",
    what="all",
    told="snap-1 is public",
    next_step="make it private",
)


def test_nothing_stands_before_anything_was_found(ledger: Ledger) -> None:
    assert ledger.findings.standing(Concern.SHARE) == []


def test_a_finding_stands_as_it_was_told_from_its_beginning(ledger: Ledger) -> None:
    assert ledger.findings.begin(PUBLIC, NOON)
    assert ledger.findings.standing(Concern.SHARE) == [PUBLIC]
    assert ledger.findings.standing(Concern.KEY) == []


def test_a_finding_begins_once(ledger: Ledger) -> None:
    assert ledger.findings.begin(PUBLIC, NOON)
    assert not ledger.findings.begin(PUBLIC, LATER)


def test_a_finding_that_is_over_stands_no_more_and_ends_once(ledger: Ledger) -> None:
    ledger.findings.begin(PUBLIC, NOON)
    assert ledger.findings.end(PUBLIC, LATER)
    assert not ledger.findings.end(PUBLIC, LATER)
    assert ledger.findings.standing(Concern.SHARE) == []


def test_what_never_stood_does_not_end(ledger: Ledger) -> None:
    assert not ledger.findings.end(PUBLIC, NOON)
    assert ledger.findings.begin(PUBLIC, LATER)


def test_a_finding_that_comes_again_begins_anew(ledger: Ledger) -> None:
    ledger.findings.begin(PUBLIC, NOON)
    ledger.findings.end(PUBLIC, LATER)
    assert ledger.findings.begin(PUBLIC, LATER)
    assert ledger.findings.standing(Concern.SHARE) == [PUBLIC]


def test_findings_of_one_snapshot_in_two_regions_or_for_two_accounts_are_not_the_same(ledger: Ledger) -> None:
    findings = [PUBLIC, replace(PUBLIC, region=HOME), replace(PUBLIC, what="999999999999")]
    assert [ledger.findings.begin(one, NOON) for one in findings] == [True, True, True]
    ledger.findings.end(PUBLIC, LATER)
    assert sorted((one.region, one.what) for one in ledger.findings.standing(Concern.SHARE)) == [
        (HOME, "all"),
        (AWAY, "999999999999"),
    ]
