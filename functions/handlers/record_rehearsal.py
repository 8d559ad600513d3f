"""Record rehearsal: the result is on the ledger, on the bus, and with a person when it is not fit."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime

from functions.contracts import published
from functions.core import instants
from functions.core.evidence import Evidence, Fitness
from functions.core.holds import HeldBy, Hold, Release, in_force
from functions.core.rehearsals import Rehearsal
from functions.handlers import frame
from functions.handlers.tools import Tools

DEEPEST = 3
"""An execution in an execution in an execution: each one writes what it caught as text into its own JSON."""


def record_rehearsal(rehearsal: Rehearsal, tools: Tools, now: datetime) -> Rehearsal:
    """The rehearsal as it is recorded. One that broke off has no evidence: it is undecided, and says why.

    The record is written last: a state that is tried again says again what it could not finish saying.
    """
    rehearsal = replace(rehearsal, problem=in_words(rehearsal.problem))
    evidence = _evidence(rehearsal)
    rehearsal = replace(rehearsal, evidence=evidence)
    if not any(past.id == rehearsal.id for past in tools.ledger.stories.rehearsals(rehearsal.slot.resource)):
        tools.bus.publish(published.REHEARSAL_RECORDED, published.rehearsal_recorded(rehearsal))
        if evidence.fitness is not Fitness.FIT:
            tools.topic.notify(
                f"Rehearsal of {rehearsal.slot.resource}: {evidence.fitness}", _notice(rehearsal, evidence)
            )
        _hold_or_release(rehearsal, evidence, tools, now)
        tools.ledger.stories.rehearsed(rehearsal, now)
    return rehearsal


def _evidence(rehearsal: Rehearsal) -> Evidence:
    """What was found; where a step broke off, what held before it proves nothing about what was not looked at."""
    found = rehearsal.evidence or Evidence(fitness=Fitness.UNDECIDED, reason="nothing was checked", assertions=())
    if rehearsal.problem and found.fitness is not Fitness.UNFIT:
        return replace(found, fitness=Fitness.UNDECIDED, reason=rehearsal.problem)
    return found


def _hold_or_release(rehearsal: Rehearsal, evidence: Evidence, tools: Tools, now: datetime) -> None:
    """A point that was shown to be unfit is held; one that was shown to be fit is not any more, except by a person."""
    if evidence.fitness is Fitness.UNFIT:
        because = f"its rehearsal in {rehearsal.region} found it unfit: {evidence.reason}"
        tools.ledger.holds.hold(Hold(slot=rehearsal.slot, by=HeldBy.REHEARSAL, because=because, at=now))
        return
    hold = in_force(tools.ledger.holds.of(rehearsal.slot.resource)).get(rehearsal.slot.key)
    if evidence.fitness is Fitness.FIT and hold is not None and hold.by is not HeldBy.PERSON:
        because = f"its rehearsal in {rehearsal.region} found it fit: {evidence.reason}"
        tools.ledger.holds.release(Release(slot=rehearsal.slot, by="rehearsal", because=because, at=now))


def in_words(problem: str) -> str:
    """What a workflow caught, as a person would say it: of the JSON that Lambda makes of an error, only its message.

    The workflow cuts long causes off, so the JSON may have no end; of a nested execution it is JSON within JSON.
    """
    written = problem
    for _ in range(DEEPEST):
        message = re.search(r'"errorMessage": ?("(?:[^"\\]|\\.)*")', written)
        if message and (said := _unquoted(message[1])) is not None:
            return f"{problem.partition(':')[0]}: {said}"
        written = written.replace('\\"', '"').replace("\\\\", "\\")
    return problem


def _unquoted(text: str) -> str | None:
    """What a text in JSON says; None when it only looks like one: what was cut off may begin anywhere."""
    try:
        return json.loads(text, strict=False)
    except ValueError:
        return None


def _notice(rehearsal: Rehearsal, evidence: Evidence) -> str:
    checked = "\n".join(f"- {a.what}: {a.detail}" for a in evidence.assertions) or "- nothing could be checked"
    return (
        f"The point of {rehearsal.slot.resource} from {rehearsal.slot.at:%Y-%m-%d %H:%M} UTC was restored in "
        f"{rehearsal.region} and is {evidence.fitness}: {evidence.reason}\n\n{checked}\n\n"
        f"What was restored is being removed. {_of_the_hold(rehearsal, evidence)}Rehearse again with the input "
        f'{{"resource": "{rehearsal.slot.resource}", "slot": "{instants.text(rehearsal.slot.at)}"}}; if it stays so, '
        "take a new point and look at the source."
    )


def _of_the_hold(rehearsal: Rehearsal, evidence: Evidence) -> str:
    if evidence.fitness is not Fitness.UNFIT:
        return ""
    return (
        f"The point is held: nothing restores it unasked and nothing deletes it. Release it in {rehearsal.region} with "
        "the state machine holdfast-hold. "
    )


handler = frame.task(Rehearsal)(record_rehearsal)
