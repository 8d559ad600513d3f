"""What an unusual run says against the content of its point."""

from __future__ import annotations

import pytest

from functions.core.verdicts import Reason, Verdict, Word


def a_verdict(feature: str, value: float | None, typical: float | None, word: Word = Word.UNUSUAL) -> Verdict:
    reason = Reason(feature=feature, value=value, typical=typical, text=f"{feature} is odd")
    return Verdict(word=word, score=1.0, reasons=(reason,), judged_by="rules-1")


@pytest.mark.parametrize(
    ("feature", "value", "typical"), [("changed_bytes", 90.0, 10.0), ("full_size_bytes", 0.0, 40.0)]
)
def test_much_that_changed_and_much_that_is_gone_are_suspicious(feature: str, value: float, typical: float) -> None:
    assert a_verdict(feature, value, typical).suspicion == f"{feature} is odd"


@pytest.mark.parametrize(
    ("feature", "value", "typical"),
    [
        ("changed_bytes", 1.0, 10.0),
        ("full_size_bytes", 90.0, 40.0),
        ("duration_seconds", 9000.0, 60.0),
        ("copy_status", None, None),
        ("changed_bytes", 1.0, None),
    ],
)
def test_less_change_growth_and_slowness_say_nothing_against_the_content(
    feature: str, value: float | None, typical: float | None
) -> None:
    assert a_verdict(feature, value, typical).suspicion == ""


@pytest.mark.parametrize("word", [Word.USUAL, Word.UNKNOWN])
def test_only_an_unusual_run_is_suspicious(word: Word) -> None:
    assert a_verdict("changed_bytes", 90.0, 10.0, word).suspicion == ""
