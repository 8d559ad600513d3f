"""A failed recovery stands still until somebody redrives it."""

from __future__ import annotations

from typing import Any

import pytest

from functions.core.errors import RecoveryStopped
from functions.handlers import stop_recovery
from tests.handlers.world import CONTEXT, World, example

STOPPED = {"what": "volume/eu-central-1/vol-1", "problem": "the key is disabled", "redrives": 0, "redrives_then": 0}


def stop(world: World, **changes: Any) -> stop_recovery.GoesOn:
    return stop_recovery.stop_recovery(STOPPED | changes, world.tools, world.now)


def test_it_fails_with_what_went_wrong_and_what_to_do(world: World) -> None:
    with pytest.raises(RecoveryStopped, match="vol-1 stopped: the key is disabled") as stopped:
        stop(world)
    assert "redrive this execution" in stopped.value.hint


def test_it_goes_on_once_its_execution_was_redriven(world: World) -> None:
    gone_on = stop(world, redrives=1)
    assert (gone_on.what, gone_on.redrives) == ("volume/eu-central-1/vol-1", 1)


@pytest.mark.parametrize("redrives", [0, 1, 2])
def test_one_redrive_lets_it_go_on_once(world: World, redrives: int) -> None:
    """When it stops again, only another redrive helps: the workflow must not turn in a circle."""
    with pytest.raises(RecoveryStopped):
        stop(world, redrives=redrives, redrives_then=2)
    assert stop(world, redrives=3, redrives_then=2).redrives == 3


def test_an_execution_that_was_never_redriven_has_no_count(world: World) -> None:
    with pytest.raises(RecoveryStopped):
        stop(world, redrives=None, redrives_then=None)


def test_a_long_problem_is_cut_off(world: World) -> None:
    """An error of a function crosses Step Functions, which cuts it off somewhere."""
    with pytest.raises(RecoveryStopped) as stopped:
        stop(world, problem="x" * 100_000)
    assert len(stopped.value.what) < 2 * stop_recovery.LONGEST_PROBLEM


def test_the_stop_of_the_example_stops(world: World) -> None:
    """As Lambda calls it."""
    event = example("workflow_stop_recovery")
    with pytest.raises(RecoveryStopped):
        stop_recovery.handler(event, CONTEXT)
    assert stop_recovery.handler(event | {"redrives": event["redrives"] + 1}, CONTEXT)["what"] == event["what"]
