"""Record rehearsal: the result is on the ledger, on the bus, and with a person when it is not fit."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime

from functions.contracts import published
from functions.core.evidence import Evidence, Fitness
from functions.core.rehearsals import Rehearsal
from functions.handlers import frame
from functions.handlers.tools import Tools


def record_rehearsal(rehearsal: Rehearsal, tools: Tools, now: datetime) -> Rehearsal:
    """The rehearsal as it is recorded. One that broke off has no evidence: it is undecided, and says why.

    The record is written last: a state that is tried again says again what it could not finish saying.
    """
    rehearsal = replace(rehearsal, problem=_in_words(rehearsal.problem))
    evidence = rehearsal.evidence or Evidence(
        fitness=Fitness.UNDECIDED, reason=rehearsal.problem or "nothing was checked", assertions=()
    )
    rehearsal = replace(rehearsal, evidence=evidence)
    if not any(past.id == rehearsal.id for past in tools.ledger.stories.rehearsals(rehearsal.slot.resource)):
        tools.bus.publish(published.REHEARSAL_RECORDED, published.rehearsal_recorded(rehearsal))
        if evidence.fitness is not Fitness.FIT:
            tools.topic.notify(
                f"Rehearsal of {rehearsal.slot.resource}: {evidence.fitness}", _notice(rehearsal, evidence)
            )
        tools.ledger.stories.rehearsed(rehearsal, now)
    return rehearsal


def _in_words(problem: str) -> str:
    """What a workflow caught, as a person would say it: of the JSON that Lambda makes of an error, only its message.

    The workflow cuts long causes off, so the JSON may have no end.
    """
    message = re.search(r'"errorMessage": ?("(?:[^"\\]|\\.)*")', problem)
    return f"{problem.partition(':')[0]}: {json.loads(message[1])}" if message else problem


def _notice(rehearsal: Rehearsal, evidence: Evidence) -> str:
    checked = "\n".join(f"- {a.what}: {a.detail}" for a in evidence.assertions) or "- nothing could be checked"
    return (
        f"The point of {rehearsal.slot.resource} from {rehearsal.slot.at:%Y-%m-%d %H:%M} UTC was restored in "
        f"{rehearsal.region} and is {evidence.fitness}: {evidence.reason}\n\n{checked}\n\n"
        f"What was restored is being removed. Rehearse again with the input "
        f'{{"resource": "{rehearsal.slot.resource}"}}; if it stays so, take a new point and look at the source.'
    )


handler = frame.task(Rehearsal)(record_rehearsal)
