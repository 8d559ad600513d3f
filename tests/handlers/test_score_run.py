"""A closed run is judged once, the machines hear of every verdict and people of the unusual ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from functions.core.errors import AwsBusy, BadMessage
from functions.core.holds import HeldBy, Release, in_force
from functions.core.points import Status
from functions.core.runs import Run
from functions.core.verdicts import Word
from functions.handlers import score_run
from functions.ledger.stories import RUN, run_in_stream
from tests.builders import GIB, NOON, a_key, a_point, a_run, a_slot
from tests.handlers.world import CONTEXT, World, example


def stream(*runs: Run) -> dict[str, Any]:
    return {
        "Records": [{"dynamodb": {"NewImage": {"body": {"S": RUN.dump_json(run).decode()}}}} for run in runs],
    }


def score(world: World, *runs: Run) -> tuple[str, ...]:
    return score_run.score_run(stream(*runs), world.tools, world.now).verdicts


@pytest.fixture
def history(world: World) -> None:
    """Ten quiet nights."""
    for days in range(1, 11):
        assert world.ledger.stories.close(a_run(NOON - timedelta(days=days)))


@pytest.mark.usefixtures("history")
def test_a_run_like_the_ones_before_it_is_usual_and_wakes_nobody(world: World) -> None:
    assert score(world, a_run()) == ("volume/eu-central-1/vol-0a1b2c3d4e5f60718 2026-11-20T12:00Z: usual",)
    verdict = world.ledger.stories.verdict(a_slot())
    assert verdict is not None
    assert verdict.word is Word.USUAL
    assert [kind for kind, _ in world.bus.events] == ["RunScored.v1"]
    assert world.topic.notices == []


@pytest.mark.usefixtures("history")
def test_an_unusual_run_is_told_to_people_with_the_reason_and_what_to_look_at(world: World) -> None:
    score(world, a_run(changed_bytes=4 * GIB))
    [(subject, body)] = world.topic.notices
    assert subject == "Unusual backup of volume/eu-central-1/vol-0a1b2c3d4e5f60718"
    assert "4.00 GiB" in body
    assert "run#2026-11-20T12:00:00Z" in body


@pytest.mark.usefixtures("history")
def test_a_suspicious_run_holds_its_point_and_says_so(world: World) -> None:
    """Invariant 18: a verdict adds protection."""
    assert world.ledger.points.adopt(a_point())
    score(world, a_run(changed_bytes=4 * GIB))
    [hold] = in_force(world.ledger.holds.of(a_key())).values()
    assert (hold.slot, hold.by) == (a_slot(), HeldBy.VERDICT)
    assert "4.00 GiB" in hold.because
    assert [point.is_held for point in world.ledger.points.of(a_key())] == [True]
    assert "The point is held" in world.topic.notices[0][1]


@pytest.mark.usefixtures("history")
def test_a_run_that_was_only_slow_or_failed_holds_nothing(world: World) -> None:
    """A slow backup restores like any, and a failed one is no point."""
    score(world, a_run(status=Status.FAILED, errors=("KeyUnusable: disabled",), copies=()))
    score(world, a_run(NOON + timedelta(days=1), created_at=NOON + timedelta(days=1, hours=9)))
    assert world.ledger.holds.of(a_key()) == []
    assert all("The point is held" not in said for _, said in world.topic.notices)


@pytest.mark.usefixtures("history")
def test_a_batch_delivered_again_does_not_hold_what_was_released_meanwhile(world: World) -> None:
    """F30: a person looked, and the stream comes once more."""
    suspicious = a_run(changed_bytes=4 * GIB)
    score(world, suspicious)
    world.pass_time(timedelta(minutes=1))
    world.ledger.holds.release(Release(slot=a_slot(), by="person", because="it was us", at=world.now))
    world.pass_time(timedelta(minutes=1))
    score(world, suspicious)
    assert in_force(world.ledger.holds.of(a_key())) == {}


def test_a_failed_run_is_unusual_without_any_history(world: World) -> None:
    """F57: never silent."""
    score(world, a_run(status=Status.FAILED, errors=("KeyUnusable: disabled",), copies=()))
    assert "KeyUnusable: disabled" in world.topic.notices[0][1]


def test_a_young_resource_is_unknown_and_that_is_said_too(world: World) -> None:
    assert score(world, a_run())[0].endswith("unknown")
    assert world.topic.notices == []
    assert len(world.bus.events) == 1


def test_a_batch_delivered_again_says_nothing_again(world: World) -> None:
    """F30, invariant 22."""
    failed = a_run(status=Status.FAILED, copies=())
    score(world, failed)
    score(world, failed)
    assert (len(world.bus.events), len(world.topic.notices)) == (1, 1)


def test_a_batch_that_was_cut_off_is_said_when_it_comes_again(world: World) -> None:
    """F19: the verdict is written last, so that nothing is left unsaid."""
    failed = a_run(status=Status.FAILED, copies=())
    world.bus.refuses = AwsBusy("no answer from EventBridge", hint="Again.")
    with pytest.raises(AwsBusy):
        score(world, failed)
    assert world.ledger.stories.verdict(failed.slot) is None
    world.bus.refuses = None
    score(world, failed)
    assert (len(world.bus.events), len(world.topic.notices)) == (1, 1)
    assert world.ledger.stories.verdict(failed.slot) is not None


@pytest.mark.usefixtures("history")
def test_a_run_is_judged_by_what_came_before_it_and_not_by_what_came_after(world: World) -> None:
    """F31: the stream of a shard that was late."""
    for days in range(1, 16):
        world.ledger.stories.close(a_run(NOON + timedelta(days=days), changed_bytes=90 * GIB))
    assert score(world, a_run())[0].endswith(": usual")


def test_a_record_of_something_else_is_refused(world: World) -> None:
    """F37."""
    with pytest.raises(BadMessage):
        score_run.score_run({"Records": [{"dynamodb": {}}]}, world.tools, world.now)


def test_what_the_ledger_streams_is_what_is_judged(world: World) -> None:
    """The whole way: a run closes, its item is in the stream, its verdict comes back."""
    from tests.ledger.dynamodb import items

    run = replace(a_run(), copies=())
    world.ledger.stories.close(run)
    [image] = [item for item in items() if item["sk"]["S"].startswith("run#")]
    record = {"eventName": "INSERT", "dynamodb": {"NewImage": image}}
    score_run.score_run({"Records": [record]}, world.tools, world.now)
    assert world.ledger.stories.verdict(run.slot) is not None


def test_the_stream_of_the_example_is_judged(world: World) -> None:
    """As Lambda calls it."""
    event = example("stream_run_closed")
    run = run_in_stream(event["Records"][0])
    assert score_run.handler(event, CONTEXT)["verdicts"] == [f"{run.slot.resource} 2026-11-20T02:00Z: unknown"]
    assert world.bus.events == [("RunScored.v1", example("published_run_scored")["detail"])]
