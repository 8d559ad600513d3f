"""What was ordered is begun once, beside everything that is in use."""

from __future__ import annotations

from dataclasses import replace

import pytest

from functions.core.errors import Unsafe
from functions.core.recoveries import Recovery
from functions.core.restores import RestoreState
from functions.handlers import start_recovery
from tests.handlers.recoveries import RECOVERY_ID, a_recovery
from tests.handlers.world import CONTEXT, HOUR, MINUTE, World, example


def start(world: World, recovery: Recovery) -> Recovery:
    return start_recovery.start_recovery(recovery, world.tools, world.now)


def test_what_was_ordered_is_begun_under_a_name_of_its_own(world: World) -> None:
    started = start(world, a_recovery())
    [order] = world.recovered.orders
    assert order.recovery_id == RECOVERY_ID
    assert [one.id for one in started.restored] == list(order.names)
    assert started.started_at == world.now


def test_begun_twice_is_made_once(world: World) -> None:
    """F03, F30: Step Functions tries the state again after a lost answer."""
    first = start(world, a_recovery())
    world.pass_time(MINUTE)
    again = start(world, first)
    assert len(world.recovered.made) == 1
    assert (again.restored, again.started_at) == (first.restored, first.started_at)


def test_a_name_that_is_taken_is_refused_and_nothing_is_made(world: World) -> None:
    recovery = a_recovery()
    world.recovered.take_name(recovery.order.names[0])
    with pytest.raises(Unsafe, match="is taken"):
        start(world, recovery)
    assert world.recovered.made == {}


@pytest.mark.parametrize("state", [RestoreState.FAILED, RestoreState.GONE])
def test_what_is_begun_anew_after_aws_failed_has_a_time_of_its_own(world: World, state: RestoreState) -> None:
    """What EC2 does not show in its first minutes would otherwise be taken for gone at once."""
    first = start(world, a_recovery())
    lost = replace(first, restored=tuple(replace(one, state=state) for one in first.restored))
    world.recovered.made.clear()
    world.pass_time(3 * HOUR)
    assert start(world, lost).started_at == world.now


def test_the_start_of_the_example_is_carried_out(world: World) -> None:
    """As Lambda calls it."""
    answer = start_recovery.handler(example("workflow_start_recovery"), CONTEXT)
    assert answer["recovery"]["restored"][0]["state"] == "creating"
    assert len(world.decisions()) == 1
