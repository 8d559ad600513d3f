"""A yes or no reaches the recovery that waits for it, once and in time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from functions.core.errors import BadMessage, Refused
from functions.handlers import answer_approval
from tests.builders import a_key
from tests.handlers.recoveries import RECOVERY_ID
from tests.handlers.world import CONTEXT, HOUR, World, example

TOKEN = "AQCEAAAAKgAAAAMAAAAA-secret-token"


@pytest.fixture
def waiting(world: World) -> World:
    """A recovery waits for an hour."""
    world.ledger.approvals.ask(RECOVERY_ID, a_key(), TOKEN, until=world.now + HOUR, now=world.now)
    world.executions.waiting.add(TOKEN)
    return world


def answer(world: World, **changes: Any) -> answer_approval.ApprovalAnswered:
    event = {"recovery": RECOVERY_ID, "answer": "approve", "by": "Ines"} | changes
    return answer_approval.answer_approval(event, world.tools, world.now)


@pytest.mark.parametrize("word", ["approve", "refuse"])
def test_the_answer_reaches_the_recovery_with_who_gave_it(waiting: World, word: str) -> None:
    answered = answer(waiting, answer=word)
    assert waiting.executions.answers == [(word, TOKEN, "Ines")]
    assert (answered.resource, answered.answer, answered.by) == (str(a_key()), word, "Ines")


def test_an_answer_that_comes_too_late_is_refused(waiting: World) -> None:
    waiting.pass_time(HOUR + timedelta(seconds=1))
    with pytest.raises(Refused, match="it waited until 2026-11-20 13:00 UTC"):
        answer(waiting)
    assert waiting.executions.answers == []


def test_a_second_answer_is_refused_and_changes_nothing(waiting: World) -> None:
    answer(waiting)
    with pytest.raises(Refused, match="nobody waits"):
        answer(waiting, answer="refuse")
    assert waiting.executions.answers == [("approve", TOKEN, "Ines")]


def test_an_answer_to_a_recovery_that_never_asked_is_refused(waiting: World) -> None:
    with pytest.raises(Refused, match="no recovery 111111111111 waits") as refused:
        answer(waiting, recovery="1" * 12)
    assert "Region" in refused.value.hint
    assert waiting.executions.answers == []


@pytest.mark.parametrize(
    "changes",
    [
        {"recovery": "0a1b"},
        {"recovery": None},
        {"recovery": RECOVERY_ID.upper()},
        {"recovery": RECOVERY_ID + "\n"},
        {"answer": "yes"},
        {"answer": None},
        {"answer": ["approve"]},
        {"by": ""},
        {"by": "  "},
        {"by": None},
    ],
)
def test_what_is_no_answer_is_refused_with_an_example(waiting: World, changes: Any) -> None:
    with pytest.raises(BadMessage) as refused:
        answer(waiting, **changes)
    assert '"answer": "approve"' in refused.value.hint
    assert waiting.executions.answers == []


def test_a_long_name_is_cut_off(waiting: World) -> None:
    answer(waiting, by="I" * 10_000)
    assert waiting.executions.answers == [("approve", TOKEN, "I" * answer_approval.LONGEST_NAME)]


def test_the_token_is_in_no_line_of_the_log(waiting: World) -> None:
    event = example("workflow_answer_approval") | {"recovery": RECOVERY_ID}
    for _ in range(2):
        try:
            answer_approval.handler(event, CONTEXT)
        except Refused as refused:
            assert TOKEN not in str(refused)  # noqa: PT017 - the first of the two goes through
    assert [line["level"] for line in waiting.decisions()] == ["INFO", "ERROR"]
    assert TOKEN not in waiting.log.getvalue()


def test_the_answer_of_the_example_is_given(world: World) -> None:
    """As Lambda calls it."""
    event = example("workflow_answer_approval")
    world.ledger.approvals.ask(event["recovery"], a_key(), TOKEN, until=world.now + HOUR, now=world.now)
    world.executions.waiting.add(TOKEN)
    assert answer_approval.handler(event, CONTEXT)["answer"] == "approve"
