"""What begins, what is over, and what stands on unheard of."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from functions.core import findings
from functions.core.findings import Changes, Concern, Finding
from tests.builders import AWAY, HOME

PUBLIC = Finding(
    concern=Concern.SHARE, region=HOME, subject="snapshot snap-1", what="all", told="it is public", next_step="close it"
)
JUDGED = partial(findings.changes, was_judged=lambda _: True)
UNJUDGED = partial(findings.changes, was_judged=lambda _: False)


def test_what_did_not_stand_begins() -> None:
    assert JUDGED([PUBLIC], []) == Changes(begun=(PUBLIC,), over=())


def test_what_stands_is_not_begun_again_however_it_is_worded_now() -> None:
    assert JUDGED([replace(PUBLIC, told="it is still public")], [PUBLIC]) == Changes(begun=(), over=())


def test_what_stood_and_was_judged_and_not_found_is_over() -> None:
    assert JUDGED([], [PUBLIC]) == Changes(begun=(), over=(PUBLIC,))


def test_what_was_not_looked_at_stands_on() -> None:
    assert UNJUDGED([], [PUBLIC]) == Changes(begun=(), over=())


def test_the_same_subject_elsewhere_or_for_another_is_another_finding() -> None:
    others = [replace(PUBLIC, region=AWAY), replace(PUBLIC, what="999999999999"), replace(PUBLIC, concern=Concern.KEY)]
    assert JUDGED(others, [PUBLIC]) == Changes(begun=tuple(others), over=(PUBLIC,))


def test_what_is_found_twice_is_one() -> None:
    assert len(JUDGED([PUBLIC, PUBLIC], []).begun) == 1
