"""What was only to be looked at is gone, and nothing else."""

from __future__ import annotations

import pytest

from functions.core.errors import Unsafe
from functions.core.recoveries import Recovery
from functions.handlers import remove_recovery, start_recovery
from tests.handlers.recoveries import a_recovery
from tests.handlers.world import CONTEXT, World, example


def remove(world: World, recovery: Recovery) -> Recovery:
    return remove_recovery.remove_recovery(recovery, world.tools, world.now)


def test_it_is_asked_until_aws_says_gone(world: World) -> None:
    recovery = start_recovery.start_recovery(a_recovery(), world.tools, world.now)
    removed = [remove(world, recovery) for _ in range(3)]
    assert [one.is_removed for one in removed] == [False, False, True]
    assert [one.finished_at for one in removed] == [None, None, world.now]
    assert world.recovered.made == {}


def test_what_is_removed_can_be_removed_again(world: World) -> None:
    """F30."""
    recovery = start_recovery.start_recovery(a_recovery(), world.tools, world.now)
    for _ in range(3):
        remove(world, recovery)
    assert remove(world, recovery).is_removed


def test_what_another_recovery_made_is_left_alone(world: World) -> None:
    recovery = start_recovery.start_recovery(a_recovery(), world.tools, world.now)
    world.recovered.of[recovery.restored[0].id] = "1" * 12
    with pytest.raises(Unsafe):
        remove(world, recovery)
    assert recovery.restored[0].id in world.recovered.made


def test_the_removal_of_the_example_is_carried_out(world: World) -> None:
    """As Lambda calls it; nothing of it is there any more."""
    assert remove_recovery.handler(example("workflow_remove_recovery"), CONTEXT)["recovery"]["is_removed"]
    assert len(world.decisions()) == 1
