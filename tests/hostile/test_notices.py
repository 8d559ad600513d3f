"""The same strings from where they come in to the notice that people get: nobody else writes a line of it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from functions.aws.databases.lines import quoted
from functions.aws.outbound import Topic
from functions.contracts import recovery_requests, wire
from functions.core.errors import BadMessage
from functions.core.evidence import Assertion, judge
from functions.handlers import (
    ask_approval,
    note_set,
    record_recovery,
    record_rehearsal,
)
from tests.builders import (
    ACCOUNT,
    AWAY,
    HOME,
    a_slot,
)
from tests.handlers.recoveries import a_past_rehearsal, a_recovery
from tests.handlers.world import World
from tests.hostile import oracles
from tests.hostile.trials import PLACEHOLDER, SOME, Sent, unharmed
from tests.ledger.dynamodb import forget_everything

NOTICES: dict[str, Callable[[World, str], object]] = {
    "asked to approve": lambda world, text: ask_approval.ask_approval(
        {"recovery": wire.plain(a_recovery(asked={"asked_by": asked_by(text)})), "token": "t"}, world.tools, world.now
    ),
    "recovered": lambda world, text: record_recovery.record_recovery(
        a_recovery(asked={"asked_by": asked_by(text)}), world.tools, world.now
    ),
    "failed": lambda world, text: record_recovery.record_recovery(
        a_recovery(problem=f"Broken: {json.dumps({'errorMessage': one_line_of(text)})}"), world.tools, world.now
    ),
    "rehearsed": lambda world, text: record_rehearsal.record_rehearsal(
        a_past_rehearsal(a_slot(), evidence=judge([Assertion(what="the check", held=False, detail=quoted(text))])),
        world.tools,
        world.now,
    ),
    "a member of a set": lambda world, text: note_set.note_set(
        {
            "recoveryset": wire.plain(A_SET),
            "outcomes": [{"resource": A_SET.members[0].resource, "is_recovered": False, "told": one_line_of(text)}],
        },
        world.tools,
        world.now,
    ),
}

A_SET = recovery_requests.read_set(
    {"groups": [[{"resource": "volume/eu-central-1/vol-1"}]]}, execution="run-1", account=ACCOUNT, region=HOME
)


def asked_by(text: str) -> str:
    given = {"resource": "volume/eu-central-1/vol-1", "asked_by": text[:200]}
    return recovery_requests.read(given, account=ACCOUNT, region=AWAY).asked_by


def one_line_of(text: str) -> str:
    """As our errors say what they quote: they name outside text by its repr."""
    return BadMessage(f"there is no policy named {text[:2_000]!r}", hint="Add it.").what


@pytest.mark.parametrize("what", NOTICES)
def test_a_notice_to_people_has_no_line_that_somebody_else_wrote(world: World, what: str) -> None:
    sent = Sent()
    world.tools.told["topic"] = topic = Topic("arn:x", HOME, sent)  # type: ignore[arg-type]
    vars(world.tools)["topic"] = topic

    def notice(text: str) -> tuple[str, str]:
        forget_everything()
        NOTICES[what](world, text)
        told = sent.last()
        return told["Subject"], told["Message"]

    _, harmless = notice(PLACEHOLDER)
    unharmed(lambda text: oracles.in_mail(*notice(text), harmless_body=harmless), SOME)
