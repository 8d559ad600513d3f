"""What the outside is told stays what it was."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

from functions.contracts import published, wire
from functions.core.evidence import Assertion, Fitness, judge
from functions.core.points import Status
from functions.core.recoveries import Chosen, Recovery, RecoveryRequest, Source, order_of
from functions.core.rehearsals import Rehearsal
from functions.core.resources import Kind
from functions.core.restores import Restored, RestoreState
from functions.core.verdicts import Reason, Verdict, Word
from tests.builders import AWAY, HOME, NOON, a_key, a_run, a_slot, a_story

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


def a_recovery() -> Recovery:
    """Handed over twelve minutes after it was begun."""
    request = RecoveryRequest(resource=a_key(Kind.DATABASE), region=AWAY, asked_by="Ines")
    chosen = Chosen(
        slot=a_slot(resource=request.resource),
        source=Source.COPY,
        region=AWAY,
        snapshot_ids=("copy-1",),
        source_ids=("orders",),
        content_at=NOON + timedelta(seconds=50),
        reason="it is the newest complete point",
    )
    restored = Restored(
        id="orders-restored",
        snapshot_id="copy-1",
        kind=Kind.DATABASE,
        region=AWAY,
        state=RestoreState.AVAILABLE,
        address="orders-restored.example.com",
        secret_arn="arn:aws:secretsmanager:eu-west-1:123456789012:secret:rds!db-1",
    )
    return Recovery(
        id="0a1b2c3d4e5f",
        request=request,
        chosen=chosen,
        order=order_of("0a1b2c3d4e5f", chosen, request, {}),
        started_at=NOON,
        configured_at=NOON + timedelta(minutes=12),
        restored=(restored,),
        evidence=judge([Assertion(what="the content", held=True, detail="fit")]),
    )


def test_a_recovery_is_told_with_what_was_restored_of_what_why_and_how_long_it_took() -> None:
    told = published.recovery_recorded(a_recovery(), "handed over")
    assert (told["recovery"], told["resource"], told["region"]) == ("0a1b2c3d4e5f", str(a_key(Kind.DATABASE)), AWAY)
    assert (told["outcome"], told["source"], told["restored"]) == ("handed over", "copy", ["orders-restored"])
    assert (told["slot"], told["content_at"]) == ("2026-11-20T12:00:00Z", "2026-11-20T12:00:50Z")
    assert told["reason"] == "it is the newest complete point"
    assert told["recovery_seconds"] == 720
    assert told["evidence"]["fitness"] == Fitness.FIT


def test_a_recovery_that_made_nothing_is_told_with_its_problem() -> None:
    failed = replace(a_recovery(), restored=(), evidence=None, started_at=None, problem="the key is disabled")
    told = published.recovery_recorded(failed, "failed")
    assert (told["problem"], told["restored"], told["evidence"]) == ("the key is disabled", [], None)
    assert told["recovery_seconds"] is None


def test_where_a_recovered_database_answers_is_not_told_to_the_bus() -> None:
    """Whoever may read the bus need not know where its password lies."""
    written = json.dumps(published.recovery_recorded(a_recovery(), "handed over"))
    assert "secretsmanager" not in written
    assert "example.com" not in written
    assert json.loads(written)["outcome"] == "handed over"


def test_everything_told_is_json() -> None:
    """EventBridge takes nothing else, and a StrEnum or an instant would only be found out there."""
    told = published.run_scored(a_run(), UNUSUAL)
    assert json.loads(json.dumps(told)) == told
    assert wire.plain(UNUSUAL) == told["verdict"]
