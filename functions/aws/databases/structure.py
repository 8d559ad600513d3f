"""Looks inside the indexes and tables of a restored database, smallest first, for as long as there is time."""

from __future__ import annotations

from dataclasses import dataclass, field

from functions.aws.databases.lines import Budget, Conversation, NoAnswer, Part, Parts, key_of, quoted
from functions.core.evidence import Assertion

MOST_NAMED = 5
"""So many damaged parts are named; more of them add nothing, and reading on costs time."""

IN_A_ROW = 3
"""After so many questions without an answer the rest is not asked: it is the server, and not the parts."""


@dataclass(slots=True)
class _Looked:
    """What was seen so far."""

    sound: dict[str, int] = field(default_factory=dict[str, int])
    damaged: list[str] = field(default_factory=list[str])
    unanswered: list[str] = field(default_factory=list[str])
    refusals: list[str] = field(default_factory=list[str])
    in_a_row: int = 0

    def at(self, part: Part, wrong: str) -> None:
        self.in_a_row = 0
        if wrong:
            self.damaged.append(f"{part.kind} {part.name}: {wrong}")
        else:
            self.sound[part.kind] = self.sound.get(part.kind, 0) + 1

    def without_answer(self, part: Part, problem: NoAnswer) -> None:
        self.in_a_row += 1
        (self.refusals if problem.is_refusal else self.unanswered).append(f"{part.kind} {part.name}: {problem.detail}")

    @property
    def is_enough(self) -> bool:
        return len(self.damaged) >= MOST_NAMED or self.in_a_row >= IN_A_ROW


def look_inside(conversation: Conversation, time: Budget, *, may_install: bool) -> tuple[Assertion | None, str]:
    """The assertion about what was looked at, or None and a note when the database offers no way to look.

    A part of the parts is a sample and is held as one: the detail says how many of how many. Nothing looked at is
    undecided, and so is a part at which the server stopped answering.
    """
    what = f"indexes and tables of {key_of(conversation.database)} are sound inside"
    try:
        parts = conversation.parts(may_install=may_install)
    except NoAnswer as problem:
        return Assertion(what=what, held=problem.held, detail=problem.detail), ""
    if not parts.listed:
        return None, parts.note or "there is nothing in it to look into"
    looked = _Looked()
    for part in parts.listed:
        if looked.is_enough or not _is_looked_at(conversation, part, time, looked):
            break
    if looked.refusals and not (looked.sound or looked.damaged or looked.unanswered):
        return None, looked.refusals[0]
    return _told(what, parts, looked, time), ""


def _is_looked_at(conversation: Conversation, part: Part, time: Budget, looked: _Looked) -> bool:
    """Whether there was time for this one; every further one is larger."""
    try:
        looked.at(part, conversation.wrong_with(part, time.seconds_for(time.seconds)))
    except NoAnswer as problem:
        if problem.is_late:
            return False
        looked.without_answer(part, problem)
    return True


def _told(what: str, parts: Parts, looked: _Looked, time: Budget) -> Assertion:
    sound = sum(looked.sound.values())
    kinds = ", ".join(f"{count} {_many(kind)}" for kind, count in sorted(looked.sound.items())) or "none"
    said = [
        f"{sound + len(looked.damaged)} of {parts.total} looked at within {time.spent_seconds:.1f} s; sound: {kinds}"
    ]
    if looked.damaged:
        said.append(f"damaged: {'; '.join(looked.damaged)}")
    if looked.refusals:
        said.append(f"refused for {len(looked.refusals)}: {looked.refusals[0]}")
    if looked.unanswered:
        said.append(f"no answer about {len(looked.unanswered)}: {'; '.join(looked.unanswered[:IN_A_ROW])}")
    held = False if looked.damaged else None if looked.unanswered or not sound else True
    return Assertion(what=what, held=held, detail="; ".join(said))


def _many(kind: str) -> str:
    return {"index": "indexes", "table": "tables"}.get(kind, quoted(kind))
