from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.core.points import Status
from functions.core.runs import Run
from functions.core.verdicts import Word
from functions.scoring.features import FEATURES
from functions.scoring.rules import BOUNDS, JUDGED_BY, judge
from tests.builders import GIB, NOON, a_run, a_story, ago

HISTORY = [
    a_run(
        ago(days=n),
        created_at=ago(days=n) + timedelta(seconds=60 + n),
        completed_at=ago(days=n) + timedelta(seconds=660 + 3 * n),
        changed_bytes=GIB + n * 10**6,
    )
    for n in range(1, 15)
]


def copied_in(minutes: float) -> Run:
    return a_run(copies=(a_story(completed_at=NOON + timedelta(minutes=13 + minutes)),))


@pytest.mark.parametrize("completed", range(7))
def test_with_too_little_history_a_run_is_unknown_and_the_reason_counts_it(completed: int) -> None:
    verdict = judge(a_run(changed_bytes=900 * GIB), HISTORY[:completed])
    assert verdict.word is Word.UNKNOWN
    assert verdict.score == 0
    (reason,) = verdict.reasons
    assert reason.value == completed
    assert f"{completed} completed runs so far, 7 are needed" in reason.text


def test_only_completed_runs_are_history() -> None:
    failed = [a_run(ago(days=n), status=Status.FAILED) for n in range(20, 40)]
    half = [a_run(ago(days=n), copies=(a_story(status=Status.FAILED),)) for n in range(40, 60)]
    assert judge(a_run(), [*HISTORY[:6], *failed, *half]).word is Word.UNKNOWN
    assert judge(a_run(), [*HISTORY[:7], *failed, *half]).word is Word.USUAL


def test_a_run_like_the_others_is_usual_and_says_compared_with_how_many() -> None:
    verdict = judge(a_run(), HISTORY)
    assert (verdict.word, verdict.score, verdict.judged_by) == (Word.USUAL, 0, JUDGED_BY)
    assert verdict.reasons[0].text == "like the 14 runs before it"


@pytest.mark.parametrize(
    ("run", "feature", "value", "typical", "said"),
    [
        (
            a_run(created_at=NOON + timedelta(hours=1), completed_at=NOON + timedelta(minutes=70)),
            "lag_seconds",
            3600,
            67.5,
            ("lag 60.0 min", "more than usual", "the last 14 were about 1.1 min"),
        ),
        (
            a_run(completed_at=NOON + timedelta(minutes=61)),
            "duration_seconds",
            3600,
            615,
            ("duration 60.0 min", "more than usual", "about 10.2 min"),
        ),
        (
            a_run(full_size_bytes=40 * GIB),
            "full_size_bytes",
            40 * GIB,
            4 * GIB,
            ("full size 40.00 GiB", "more than usual", "about 4.00 GiB"),
        ),
        (
            a_run(full_size_bytes=GIB),
            "full_size_bytes",
            GIB,
            4 * GIB,
            ("full size 1.00 GiB", "less than usual", "about 4.00 GiB"),
        ),
        (
            a_run(changed_bytes=30 * GIB),
            "changed_bytes",
            30 * GIB,
            GIB + 7.5 * 10**6,
            ("changed 30.00 GiB", "more than usual", "about 1.01 GiB"),
        ),
        (copied_in(60), "copy_seconds", 3600, 600, ("copy 60.0 min", "more than usual", "about 10.0 min")),
        (a_run(waits=9), "waits", 9, 0, ("waits 9", "more than usual", "about 0")),
    ],
)
def test_a_run_apart_in_one_thing_is_unusual_for_that_thing_with_its_numbers(
    run: Run, feature: str, value: float, typical: float, said: tuple[str, ...]
) -> None:
    verdict = judge(run, HISTORY)
    assert (verdict.word, verdict.score) == (Word.UNUSUAL, 1)
    (reason,) = verdict.reasons
    assert (reason.feature, reason.value, reason.typical) == (feature, value, typical)
    assert all(words in reason.text for words in said), reason.text


@pytest.mark.parametrize(
    "run",
    [
        a_run(created_at=NOON + timedelta(seconds=1), completed_at=NOON + timedelta(seconds=2)),
        copied_in(0.1),
        a_run(changed_bytes=2 * GIB),
        a_run(changed_bytes=GIB // 4),
        a_run(waits=5),
        copied_in(24),
    ],
    ids=["faster", "copied faster", "a GiB more", "little changed", "a few waits", "a quarter of an hour longer"],
)
def test_nobody_is_called_for_what_is_better_or_too_small_to_matter(run: Run) -> None:
    assert judge(run, HISTORY).word is Word.USUAL


def test_less_changed_than_usual_is_unusual_where_much_changes() -> None:
    history = [a_run(ago(days=n), changed_bytes=50 * GIB + n) for n in range(1, 9)]
    (reason,) = judge(a_run(changed_bytes=0), history).reasons
    assert reason.feature == "changed_bytes"
    assert "less than usual" in reason.text


def test_a_resource_that_always_varies_has_wide_bounds() -> None:
    history = [a_run(ago(days=n), changed_bytes=n * 10 * GIB) for n in range(1, 15)]
    assert judge(a_run(changed_bytes=200 * GIB), history).word is Word.USUAL


def test_one_outlier_in_the_history_hides_nothing() -> None:
    """F84."""
    history = [*HISTORY[:13], a_run(ago(days=14), changed_bytes=5000 * GIB)]
    assert judge(a_run(changed_bytes=30 * GIB), history).word is Word.UNUSUAL


def test_the_weightiest_reason_comes_first() -> None:
    verdict = judge(a_run(changed_bytes=4000 * GIB, waits=9), HISTORY)
    assert [reason.feature for reason in verdict.reasons] == ["changed_bytes", "waits"]


@pytest.mark.parametrize("history", [[], HISTORY], ids=["without history", "with history"])
@pytest.mark.parametrize("status", [Status.FAILED, Status.GONE, Status.MISSED])
def test_a_run_that_did_not_complete_is_unusual_at_once_and_says_what_aws_said(status, history) -> None:
    verdict = judge(a_run(status=status, errors=("snapshot limit", "internal error"), copies=()), history)
    assert verdict.word is Word.UNUSUAL
    assert verdict.reasons[0].text == f"the point is {status}: snapshot limit; internal error"
    assert "AWS gave no reason" in judge(a_run(status=status, copies=()), history).reasons[0].text


@pytest.mark.parametrize("history", [[], HISTORY], ids=["without history", "with history"])
def test_a_failed_copy_is_unusual_at_once_and_names_its_region(history) -> None:
    failed = a_story("eu-north-1", status=Status.FAILED, completed_at=None, errors=("KMS key is disabled",))
    verdict = judge(a_run(copies=(a_story(), failed)), history)
    assert verdict.word is Word.UNUSUAL
    assert verdict.reasons[0].feature == "copy_status"
    assert verdict.reasons[0].text == "the copy in eu-north-1 is FAILED: KMS key is disabled"


@pytest.mark.parametrize("runs", [1, 14])
def test_an_empty_snapshot_of_what_held_something_is_unusual_at_once(runs: int) -> None:
    verdict = judge(a_run(full_size_bytes=0), HISTORY[:runs])
    assert verdict.word is Word.UNUSUAL
    reason = verdict.reasons[0]
    assert (reason.feature, reason.value, reason.typical) == ("full_size_bytes", 0, 4 * GIB)
    assert "empty" in reason.text
    assert "4.00 GiB" in reason.text


def test_one_fact_is_told_once() -> None:
    reasons = judge(a_run(full_size_bytes=0), HISTORY).reasons
    assert [reason.feature for reason in reasons] == ["full_size_bytes"]


def test_an_empty_snapshot_of_what_was_always_empty_is_usual() -> None:
    history = [a_run(ago(days=n), full_size_bytes=0) for n in range(1, 9)]
    assert judge(a_run(full_size_bytes=0), history).word is Word.USUAL


def test_bytes_that_aws_did_not_tell_are_not_an_empty_snapshot() -> None:
    assert judge(a_run(full_size_bytes=None, changed_bytes=None), HISTORY).word is Word.USUAL


def test_a_feature_known_of_few_earlier_runs_is_not_compared() -> None:
    history = [a_run(ago(days=n), changed_bytes=GIB if n < 5 else None) for n in range(1, 15)]
    assert judge(a_run(changed_bytes=900 * GIB), history).word is Word.USUAL


moments = st.none() | st.integers(0, 10**6).map(lambda seconds: NOON + timedelta(seconds=seconds))
sizes = st.none() | st.integers(0, 64 * 2**40)
stories = st.builds(
    a_story,
    st.sampled_from(["eu-west-1", "eu-north-1"]),
    status=st.sampled_from(Status),
    created_at=moments,
    completed_at=moments,
    full_size_bytes=sizes,
    waits=st.integers(0, 50),
)
runs = st.builds(
    a_run,
    status=st.sampled_from([Status.COMPLETED] * 6 + list(Status)),
    created_at=moments,
    completed_at=moments,
    full_size_bytes=sizes,
    changed_bytes=sizes,
    waits=st.integers(0, 50),
    copies=st.lists(stories, max_size=2).map(tuple),
)


@given(runs, st.lists(runs, max_size=12), st.randoms(use_true_random=False))
def test_any_run_with_any_history_gets_a_verdict_that_explains_itself(
    run: Run, history: list[Run], random: Any
) -> None:
    verdict = judge(run, history)
    assert verdict.reasons
    assert all(reason.text and "None" not in reason.text for reason in verdict.reasons)
    assert verdict.score == (1 if verdict.word is Word.UNUSUAL else 0)
    assert judge(run, random.sample(history, len(history))) == verdict
    if not run.is_complete and (run.status is not Status.COMPLETED or run.copies):
        assert verdict.word is Word.UNUSUAL
    if len([earlier for earlier in history if earlier.is_complete]) < 7:
        assert verdict.word is not Word.USUAL


@given(runs.filter(lambda run: run.is_complete))
def test_a_run_equal_to_all_the_others_is_usual(run: Run) -> None:
    assert judge(run, [run] * 9).word is Word.USUAL


@pytest.mark.parametrize("feature", FEATURES)
def test_the_bounds_of_a_feature_are_wide_enough_that_its_median_passes(feature: str) -> None:
    assert BOUNDS[feature].times > 0
    assert BOUNDS[feature].floor > 0
