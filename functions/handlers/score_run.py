"""Score run: judge a run that was just closed against the resource's own history, and say so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from functions.contracts import published
from functions.core.holds import HeldBy, Hold
from functions.core.runs import Run
from functions.core.verdicts import Verdict, Word
from functions.handlers import frame
from functions.handlers.tools import Tools
from functions.ledger.stories import in_stream, run_in_stream
from functions.scoring import rules


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsScored:
    """The verdicts, one line each."""

    verdicts: tuple[str, ...]


def score_run(event: dict[str, Any], tools: Tools, now: datetime) -> RunsScored:
    """Every run in the batch has its verdict on the ledger and on the bus; people hear of the unusual ones.

    A point whose content looks suspicious is held from now on. The verdict is written last: a batch that is delivered
    again says again what it could not finish saying.
    """
    said: list[str] = []
    for record in in_stream(event):
        run = run_in_stream(record)
        history = [past for past in tools.ledger.stories.runs(run.slot.resource) if past.slot.at < run.slot.at]
        verdict = rules.judge(run, history)
        if tools.ledger.stories.verdict(run.slot) is None:
            tools.bus.publish(published.RUN_SCORED, published.run_scored(run, verdict))
            if verdict.word is Word.UNUSUAL:
                tools.topic.notify(f"Unusual backup of {run.slot.resource}", _notice(run, verdict))
            if verdict.suspicion:
                because = f"unusual backup: {verdict.suspicion}"
                tools.ledger.holds.hold(Hold(slot=run.slot, by=HeldBy.VERDICT, because=because, at=now))
            tools.ledger.stories.judge(run.slot, verdict, now)
        said.append(f"{run.slot.resource} {run.slot.at:%Y-%m-%dT%H:%MZ}: {verdict.word}")
    return RunsScored(verdicts=tuple(said))


def _notice(run: Run, verdict: Verdict) -> str:
    reasons = "\n".join(f"- {reason.text}" for reason in verdict.reasons)
    return (
        f"The backup of {run.slot.resource}, due at {run.slot.at:%Y-%m-%d %H:%M} UTC, is unusual:\n\n{reasons}\n\n"
        f"Judged by {verdict.judged_by}. Nothing was deleted because of it. {_of_the_hold(verdict)}"
        f"Look at the resource at that time; "
        f"in the table, the run is run#{run.slot.at:%Y-%m-%dT%H:%M:%SZ} under {run.slot.resource}."
    )


def _of_the_hold(verdict: Verdict) -> str:
    if not verdict.suspicion:
        return ""
    return "The point is held: it is not restored unasked and not deleted until it is released. "


handler = frame.event(score_run)
