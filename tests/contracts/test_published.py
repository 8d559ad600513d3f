"""What the outside is told stays what it was."""

from __future__ import annotations

import json
from datetime import timedelta

from functions.contracts import published, wire
from functions.core.evidence import Assertion, Fitness, judge
from functions.core.points import Status
from functions.core.rehearsals import Rehearsal
from functions.core.verdicts import Reason, Verdict, Word
from tests.builders import AWAY, HOME, NOON, a_run, a_slot, a_story

UNUSUAL = Verdict(
    word=Word.UNUSUAL,
    score=1.0,
    reasons=(Reason(feature="changed_bytes", value=9.0, typical=1.0, text="changed more than usual"),),
    judged_by="rules-1",
)


def test_a_run_is_told_with_its_verdict_and_its_times() -> None:
    told = published.run_scored(a_run(), UNUSUAL)
    assert told["resource"] == "volume/eu-central-1/vol-0a1b2c3d4e5f60718"
    assert told["slot"] == "2026-11-20T12:00:00Z"
    assert told["verdict"]["word"] == "unusual"
    assert told["verdict"]["reasons"][0]["text"] == "changed more than usual"
    assert (told["lag_seconds"], told["duration_seconds"]) == (60, 600)
    assert told["copies"] == [{"region": AWAY, "status": "COMPLETED", "duration_seconds": 600}]
    assert told["is_complete"] is True


def test_a_run_with_a_failed_copy_is_not_told_as_complete() -> None:
    told = published.run_scored(a_run(copies=(a_story(status=Status.FAILED, completed_at=None),)), UNUSUAL)
    assert told["status"] == "COMPLETED"
    assert told["is_complete"] is False
    assert told["copies"][0]["duration_seconds"] is None


def test_bytes_that_nobody_knows_are_told_as_unknown_and_not_as_zero() -> None:
    told = published.run_scored(a_run(changed_bytes=None, full_size_bytes=None), UNUSUAL)
    assert (told["changed_bytes"], told["full_size_bytes"]) == (None, None)


def test_a_rehearsal_is_told_with_its_evidence_and_the_measured_time() -> None:
    rehearsal = Rehearsal(
        id="8c1e2f3a4b5d",
        slot=a_slot(),
        region=AWAY,
        snapshot_ids=("snap-2",),
        source_snapshot_ids=("snap-1",),
        home_region=HOME,
        policy="gold",
        reason="never rehearsed",
        started_at=NOON,
        readable_at=NOON + timedelta(minutes=6),
        evidence=judge([Assertion(what="the same content", held=True, detail="8 of 8 blocks")]),
    )
    told = published.rehearsal_recorded(rehearsal)
    assert told["evidence"]["fitness"] == Fitness.FIT
    assert told["recovery_seconds"] == 360
    assert (told["region"], told["problem"]) == (AWAY, "")


def test_everything_told_is_json() -> None:
    """EventBridge takes nothing else, and a StrEnum or an instant would only be found out there."""
    told = published.run_scored(a_run(), UNUSUAL)
    assert json.loads(json.dumps(told)) == told
    assert wire.plain(UNUSUAL) == told["verdict"]
