"""Note set: what became of the members of a group, and whether the next group begins."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from functions.contracts import wire
from functions.core.errors import BadMessage
from functions.core.recovery_sets import Outcome, RecoverySet, Step, again, noted
from functions.handlers import frame
from functions.handlers.record_rehearsal import in_words
from functions.handlers.tools import Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class SetNoted:
    """The set with what happens next."""

    recoveryset: RecoverySet


def note_set(event: dict[str, Any], tools: Tools, now: datetime) -> SetNoted:
    """The set after a group came back; people hear of it when no group follows.

    With `again` true it is the set as a redrive goes on with it.
    """
    whole = wire.read(RecoverySet, event.get("recoveryset"))
    if event.get("again") is True:
        return SetNoted(recoveryset=again(whole))
    listed = event.get("outcomes")
    if not isinstance(listed, list):
        raise BadMessage("the group came back without outcomes", hint="The Map state answers one for each member.")
    outcomes = [wire.read(Outcome, one) for one in listed]
    whole = noted(
        whole, [Outcome(resource=o.resource, is_recovered=o.is_recovered, told=_said(o.told)) for o in outcomes]
    )
    if whole.step is not Step.GROUP:
        tools.topic.notify(*_notice(whole))
    return SetNoted(recoveryset=whole)


def _said(told: str) -> str:
    """What a member's execution said at its end. Of one that failed, Step Functions tells the whole execution as JSON,
    with the JSON that Lambda makes of an error in it, and the workflow cuts that off."""
    problem = f"failed: {told}"
    if (message := in_words(problem)) != problem:
        return message.removeprefix("failed: ")
    cause = re.search(r'"Cause": ?("(?:[^"\\]|\\.)*")', told)
    try:
        return json.loads(cause[1], strict=False) if cause else told
    except ValueError:  # it only looked like JSON, so it is told as it is
        return told


def _notice(whole: RecoverySet) -> tuple[str, str]:
    what = "Plan of a recovery set" if whole.is_dry_run else "Recovery set"
    ended = "complete" if whole.step is Step.END else "not complete"
    lines = "\n".join(
        f"- group {member.group}, {member.resource}: {member.state}. {member.told}" for member in whole.members
    )
    after = (
        ""
        if whole.step is Step.END
        else "\n\nMend the causes and redrive the execution: only what failed is begun again."
    )
    return f"{what} {whole.id}: {ended}", f"{lines}{after}"


handler = frame.event(note_set)
