"""A person hears what would be restored and how to answer; what answers stays with the machine."""

from __future__ import annotations

from typing import Any

import pytest

from functions.core.errors import BadMessage
from functions.core.recoveries import Found, PlanLine
from functions.handlers import ask_approval
from tests.handlers.recoveries import RECOVERY_ID, a_recovery
from tests.handlers.world import CONTEXT, HOUR, World, example

TOKEN = "AQCEAAAAKgAAAAMAAAAA-secret-token"
PLAN = (PlanLine(what="subnet", found=Found.WARNING, detail="2 of 11 addresses are free"),)


def ask(world: World, token: object = TOKEN, **changes: Any) -> ask_approval.ApprovalAsked:
    from functions.contracts import wire

    recovery = a_recovery(asked={"approval_seconds": 3600}, plan=PLAN, **changes)
    return ask_approval.ask_approval({"recovery": wire.plain(recovery), "token": token}, world.tools, world.now)


def test_the_question_is_on_the_ledger_until_its_time_is_over(world: World) -> None:
    assert ask(world).until == world.now + HOUR
    asked = world.ledger.approvals.newest(RECOVERY_ID)
    assert asked is not None
    assert (asked.token, asked.until) == (TOKEN, world.now + HOUR)


def test_people_hear_what_would_be_restored_why_and_how_to_answer(world: World) -> None:
    ask(world)
    [(subject, said)] = world.topic.notices
    assert subject == "May volume/eu-central-1/vol-0a1b2c3d4e5f60718 be recovered?"
    assert "Ines asks to recover" in said
    assert "it is the newest complete point" in said
    assert "- subnet: warning, 2 of 11 addresses are free" in said
    assert f'{{"recovery": "{RECOVERY_ID}", "answer": "approve", "by": "your name"}}' in said
    assert "until 2026-11-20 13:00 UTC" in said
    assert "Without an answer nothing is restored." in said


def test_the_token_is_in_no_notice_and_no_line_of_the_log(world: World) -> None:
    """Who holds it can answer in anybody's name."""
    event = example("workflow_ask_approval")
    ask_approval.handler(event, CONTEXT)
    assert world.ledger.approvals.newest(event["recovery"]["id"]) is not None
    assert len(world.decisions()) == 1
    assert event["token"] not in world.log.getvalue()
    assert event["token"] not in repr(world.topic.notices)
    assert event["token"] not in repr(world.bus.events)


def test_a_question_asked_again_is_answered_with_its_newest_token(world: World) -> None:
    """A state that is tried again has another token, and the old one answers nobody."""
    ask(world)
    world.pass_time(HOUR)
    ask(world, "another-token")
    asked = world.ledger.approvals.newest(RECOVERY_ID)
    assert asked is not None
    assert (asked.token, asked.until) == ("another-token", world.now + HOUR)


@pytest.mark.parametrize("token", [None, "", 7, {}])
def test_a_question_without_a_token_is_refused(world: World, token: object) -> None:
    """Nobody could answer it."""
    with pytest.raises(BadMessage):
        ask(world, token)
    assert world.topic.notices == []
