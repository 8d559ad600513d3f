"""What Lambda meets: one line for each decision, waiting that is no failure, errors under their own names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from functions.contracts import wire
from functions.core import errors
from functions.core.errors import (
    AwsBusy,
    BadMessage,
    Broken,
    ClaimedElsewhere,
    HoldfastError,
    NotAllowed,
    OutcomeUnknown,
)
from functions.core.snapshots import SnapshotOrder
from functions.handlers import frame
from functions.handlers.tools import Tools
from tests.builders import a_key, a_slot, a_snapshot_order
from tests.handlers.world import CONTEXT, World, sqs_event


def leaves(of: type[HoldfastError]) -> list[type[HoldfastError]]:
    return [leaf for child in of.__subclasses__() for leaf in (leaves(child) or [child])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a verb answers."""

    name: str
    at: datetime
    many: tuple[str, ...] = ()
    nothing: str | None = None


def queued(work: Any) -> Any:
    return frame.orders(SnapshotOrder, lambda tools: tools.snapshot_orders)(work)


def saying(name: str, *many: str) -> Any:
    """A verb that answers this."""

    def work(tools: Tools, now: datetime) -> Done:
        return Done(name=name, at=now, many=many)

    return frame.tick(work)


def unchanged(order: SnapshotOrder, tools: Tools, now: datetime) -> SnapshotOrder:
    return order


def order_for(name: str) -> str:
    return wire.dump(a_snapshot_order(a_slot(resource=a_key(id=name))))


def test_a_tick_calls_its_verb_with_the_tools_and_the_time(world: World) -> None:
    def report(tools: Tools, now: datetime) -> Done:
        assert tools is world.tools
        return Done(name="tick", at=now)

    assert frame.tick(report)({"anything": 1}, CONTEXT) == {
        "name": "tick",
        "at": "2026-11-20T12:00:00Z",
        "many": [],
        "nothing": None,
    }


def test_a_decision_is_one_line_and_says_only_what_there_is_to_say(world: World) -> None:
    saying("a", "a", "b", "c")({}, CONTEXT)
    [line] = world.decisions()
    assert line["level"] == "INFO"
    assert line["decision"] == {"name": "a", "at": "2026-11-20T12:00:00Z", "many": ["a", "b", "c"]}


def test_a_long_list_is_logged_as_its_length(world: World) -> None:
    saying("a", *"x" * 21)({}, CONTEXT)
    assert world.decisions()[0]["decision"]["many"] == "21 items"


@pytest.mark.parametrize("forged", ['a\n{"level": "INFO", "message": "all is well"}', "a\r\nb", "\u2028{}", "\x1b[2J"])
def test_a_line_break_from_outside_forges_no_line(world: World, forged: str) -> None:
    """F85, invariant 20."""
    saying(forged)({}, CONTEXT)
    [line] = world.decisions()
    assert line["decision"]["name"] == forged


@pytest.mark.parametrize("leaf", leaves(HoldfastError), ids=lambda leaf: leaf.__name__)
def test_an_error_leaves_under_its_own_name_after_one_line_with_its_hint(
    world: World, leaf: type[HoldfastError]
) -> None:
    """The class name is the contract with Step Functions, which knows no inheritance."""

    def fails(tools: Tools, now: datetime) -> Done:
        raise leaf("the key is disabled", hint="Enable it.")

    with pytest.raises(leaf) as raised:
        frame.tick(fails)({}, CONTEXT)
    assert type(raised.value) is leaf
    [line] = world.decisions()
    assert (line["error"], line["what"], line["hint"]) == (leaf.__name__, "the key is disabled", "Enable it.")
    assert line["level"] == ("WARNING" if issubclass(leaf, errors.TryAgain) else "ERROR")


@pytest.mark.parametrize("leaf", leaves(errors.TryAgain), ids=lambda leaf: leaf.__name__)
def test_an_order_that_must_wait_is_sent_again_with_its_delay_and_fails_no_batch(
    world: World, leaf: type[errors.TryAgain]
) -> None:
    """F01, F08: waiting is never counted as failing."""

    def waits(order: SnapshotOrder, tools: Tools, now: datetime) -> Done:
        raise leaf("not now", hint="Later.")

    body = order_for("vol-1")
    assert queued(waits)(sqs_event([body]), CONTEXT) == {"batchItemFailures": []}
    assert [message.body for message in world.snapshot_orders.messages] == [body]
    assert world.snapshot_orders.delays == [timedelta(seconds=leaf.after_seconds)]


def test_no_delay_is_longer_than_sqs_takes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AwsBusy, "after_seconds", 5_000)

    def waits(order: SnapshotOrder, tools: Tools, now: datetime) -> Done:
        raise AwsBusy("not now", hint="Later.")

    queued(waits)(sqs_event([order_for("vol-1")]), CONTEXT)
    assert world.snapshot_orders.delays == [timedelta(seconds=900)]


@pytest.mark.parametrize("leaf", [OutcomeUnknown, ClaimedElsewhere])
def test_what_waits_for_a_claim_comes_back_when_the_claim_is_old(leaf: type[errors.TryAgain]) -> None:
    """F03: a moment too early, and the order would wait all over again."""
    from functions.core.points import GRACE

    assert timedelta(seconds=leaf.after_seconds) > GRACE
    assert leaf.after_seconds <= frame.LONGEST_DELAY_SECONDS


def test_one_bad_order_fails_alone(world: World) -> None:
    """F37: the others of its batch are carried out, and SQS keeps only the bad one."""
    done: list[str] = []

    def work(order: SnapshotOrder, tools: Tools, now: datetime) -> Done:
        if order.slot.resource.id == "vol-refused":
            raise NotAllowed("no", hint="Deploy again.")
        if order.slot.resource.id == "vol-surprise":
            raise RuntimeError("nobody thought of this")
        done.append(order.slot.resource.id)
        return Done(name="x", at=now)

    bodies = [
        order_for("vol-1"),
        "not an order",
        order_for("vol-refused"),
        order_for("vol-surprise"),
        order_for("vol-2"),
    ]
    answer = queued(work)(sqs_event(bodies), CONTEXT)
    assert [failure["itemIdentifier"] for failure in answer["batchItemFailures"]] == ["m1", "m2", "m3"]
    assert done == ["vol-1", "vol-2"]
    assert world.snapshot_orders.messages == []


def test_a_batch_of_which_everything_fails_is_an_answer_and_no_error(world: World) -> None:
    answer = queued(unchanged)(sqs_event(["{}", "[]"]), CONTEXT)
    assert len(answer["batchItemFailures"]) == 2
    assert [line["error"] for line in world.decisions()] == ["BadMessage", "BadMessage"]


def test_an_order_that_cannot_be_sent_again_stays_with_sqs(world: World) -> None:
    """The queue refuses while the order must wait: then it is a failure of this delivery, never a lost order."""
    world.snapshot_orders.refuses = Broken("the queue refuses", hint="Report it.")

    def waits(order: SnapshotOrder, tools: Tools, now: datetime) -> Done:
        raise AwsBusy("not now", hint="Later.")

    assert queued(waits)(sqs_event([order_for("vol-1")]), CONTEXT) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}


def test_a_state_of_a_workflow_gets_a_fact_and_answers_it_under_the_same_name(world: World) -> None:
    order = a_snapshot_order()

    handler = frame.task(SnapshotOrder)(unchanged)
    assert handler({"snapshotorder": wire.plain(order)}, CONTEXT) == {"snapshotorder": wire.plain(order)}


@pytest.mark.parametrize("event", [{"snapshotorder": {}}, {"snapshotorder": None}, {}])
def test_a_state_that_gets_something_else_says_so(world: World, event: dict[str, Any]) -> None:
    """F37: Step Functions shows the name of the error, and BadMessage says what to compare with."""
    handler = frame.task(SnapshotOrder)(unchanged)
    with pytest.raises(BadMessage):
        handler(event, CONTEXT)


def test_the_time_on_the_wall_is_aware_and_in_utc() -> None:
    assert frame.now().utcoffset() == timedelta(0)
