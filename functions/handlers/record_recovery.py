"""Record recovery: how it ended is on the ledger, on the bus, and with the people who wait for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from functions.contracts import published
from functions.core.evidence import Fitness
from functions.core.recoveries import Ending, Recovery
from functions.handlers import frame
from functions.handlers.record_rehearsal import in_words
from functions.handlers.tools import Tools


def record_recovery(recovery: Recovery, tools: Tools, now: datetime) -> Recovery:
    """The recovery as it is recorded. The record is written last: a state that is tried again says again what it
    could not finish saying."""
    recovery = replace(recovery, problem=in_words(recovery.problem), finished_at=recovery.finished_at or now)
    outcome = outcome_of(recovery)
    known = {(one.id, outcome_of(one)) for one in tools.ledger.stories.recoveries(recovery.request.resource)}
    if (recovery.id, outcome) not in known:
        tools.bus.publish(published.RECOVERY_RECORDED, published.recovery_recorded(recovery, outcome))
        tools.topic.notify(f"Recovery of {recovery.request.resource}: {outcome}", _notice(recovery, outcome))
        tools.ledger.stories.recovered(recovery, outcome, now)
    return recovery


def outcome_of(recovery: Recovery) -> str:
    """The end of a recovery in two words."""
    if recovery.is_refused:
        return "not approved"
    if recovery.problem:
        return "failed"
    if recovery.evidence is not None and recovery.evidence.fitness is Fitness.UNFIT:
        return "unfit"
    return "torn down" if recovery.request.ending is Ending.TEAR_DOWN else "handed over"


def _notice(recovery: Recovery, outcome: str) -> str:
    chosen, request = recovery.chosen, recovery.request
    parts = [
        f"The recovery of {request.resource} in {request.region} that {request.asked_by} asked for is {outcome}.",
        recovery.problem,
        f"Restored: its content of {chosen.content_at:%Y-%m-%d %H:%M} UTC. {_sentence(chosen.reason)}",
        *(f"Passed over: {one.slot_at:%Y-%m-%d %H:%M} UTC, {one.reason}" for one in chosen.passed_over),
        *_where(recovery),
        *_times(recovery),
        *(f"NOT set as on the original: {s.what}: {s.detail}" for s in recovery.settings if s.is_applied is False),
        *_checks(recovery),
        _next_step(recovery, outcome),
    ]
    return "\n".join(part for part in parts if part)


def _where(recovery: Recovery) -> list[str]:
    if recovery.is_removed:
        return ["What was restored is removed again."]
    return [
        f"{one.id} of {one.snapshot_id or 'the log of the original'}"
        + (f", answers at {one.address}:{one.port}" if one.address else "")
        + (f", master password in {one.secret_arn}" if one.secret_arn else "")
        for one in recovery.restored
    ]


def _times(recovery: Recovery) -> list[str]:
    stages = (
        ("available", recovery.started_at, recovery.available_at),
        ("set up like the original", recovery.available_at, recovery.configured_at),
        ("checked", recovery.configured_at, recovery.verified_at),
    )
    told = [
        f"{(end - begin).total_seconds() / 60:.1f} min until {what}" for what, begin, end in stages if begin and end
    ]
    return [f"Took {', then '.join(told)}."] if told else []


def _checks(recovery: Recovery) -> list[str]:
    if recovery.evidence is None:
        return []
    head = f"The content is {recovery.evidence.fitness}: {recovery.evidence.reason}"
    return [head, *(f"- {one.what}: {one.detail}" for one in recovery.evidence.assertions)]


def _next_step(recovery: Recovery, outcome: str) -> str:
    if outcome == "not approved":
        return "Nothing was made. Start a new execution when it is needed after all."
    if outcome == "failed":
        return "Mend the cause and redrive the execution in the Step Functions console: it goes on where it stopped."
    if outcome == "unfit" and recovery.is_removed:
        return "Recover an older point by naming it."
    if outcome == "unfit":
        return "Nothing was removed. Look at what was restored, and recover an older point by naming it."
    if outcome == "torn down":
        return ""
    return "The original was not touched. Nothing removes what was restored: it is yours now."


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


handler = frame.task(Recovery)(record_recovery)
