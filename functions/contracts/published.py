"""What Holdfast tells the outside on its bus. A change of meaning is a new version beside the old one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from functions.contracts import wire
from functions.core import instants
from functions.core.findings import Finding
from functions.core.recoveries import Recovery
from functions.core.rehearsals import Rehearsal
from functions.core.runs import Run
from functions.core.verdicts import Verdict

RUN_SCORED = "RunScored.v1"
REHEARSAL_RECORDED = "RehearsalRecorded.v1"
RECOVERY_RECORDED = "RecoveryRecorded.v1"
FINDING_BEGUN = "FindingBegun.v1"
FINDING_OVER = "FindingOver.v1"


def run_scored(run: Run, verdict: Verdict) -> dict[str, Any]:
    """A closed run and its verdict."""
    return {
        "resource": str(run.slot.resource),
        "account": run.slot.resource.account,
        "slot": instants.text(run.slot.at),
        "status": str(run.status),
        "is_complete": run.is_complete,
        "verdict": wire.plain(verdict),
        "lag_seconds": run.lag_seconds,
        "duration_seconds": run.duration_seconds,
        "full_size_bytes": run.full_size_bytes,
        "changed_bytes": run.changed_bytes,
        "copies": [
            {"region": copy.region, "status": str(copy.status), "duration_seconds": copy.duration_seconds}
            for copy in run.copies
        ],
    }


def rehearsal_recorded(rehearsal: Rehearsal) -> dict[str, Any]:
    """A rehearsal's result with its evidence and the measured recovery time."""
    return {
        "rehearsal": rehearsal.id,
        "resource": str(rehearsal.slot.resource),
        "account": rehearsal.slot.resource.account,
        "slot": instants.text(rehearsal.slot.at),
        "region": rehearsal.region,
        "evidence": wire.plain(rehearsal.evidence) if rehearsal.evidence else None,
        "recovery_seconds": rehearsal.recovery_seconds,
        "stages_seconds": dict(rehearsal.stages_seconds),
        "contents": wire.plain(rehearsal.contents),
        "problem": rehearsal.problem,
    }


def recovery_recorded(recovery: Recovery, outcome: str) -> dict[str, Any]:
    """How a recovery ended, with what was restored from what, and how long it took."""
    return {
        "recovery": recovery.id,
        "resource": str(recovery.request.resource),
        "account": recovery.request.resource.account,
        "region": recovery.request.region,
        "outcome": outcome,
        "slot": instants.text(recovery.chosen.slot.at),
        "content_at": instants.text(recovery.chosen.content_at),
        "source": str(recovery.chosen.source),
        "reason": recovery.chosen.reason,
        "restored": [one.id for one in recovery.restored],
        "evidence": wire.plain(recovery.evidence) if recovery.evidence else None,
        "recovery_seconds": recovery.recovery_seconds,
        "problem": recovery.problem,
    }


def finding(finding: Finding, *, account: str, at: datetime) -> dict[str, Any]:
    """Something that is not as it should be, or is as it should be again, and since when."""
    return {
        "account": account,
        "region": finding.region,
        "concern": str(finding.concern),
        "subject": finding.subject,
        "what": finding.what,
        "told": finding.told,
        "next_step": finding.next_step,
        "at": instants.text(at),
    }
