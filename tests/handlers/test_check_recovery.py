"""Ready, not yet, or failed: a workflow that knows only two of them waits for ever on the third."""

from __future__ import annotations

from functions.core.recoveries import Recovery
from functions.core.rehearsals import Readiness
from functions.core.restores import RestoreState
from functions.handlers import check_recovery, start_recovery
from functions.handlers.check_restore import SHOWN_WITHIN
from tests.handlers.recoveries import a_recovery
from tests.handlers.world import CONTEXT, HOUR, MINUTE, World, example


def started(world: World) -> Recovery:
    return start_recovery.start_recovery(a_recovery(), world.tools, world.now)


def check(world: World, recovery: Recovery) -> Recovery:
    return check_recovery.check_recovery(recovery, world.tools, world.now)


def test_it_is_not_yet_while_aws_is_restoring(world: World) -> None:
    checked = check(world, started(world))
    assert (checked.readiness, checked.available_at) == (Readiness.NOT_YET, None)


def test_it_is_ready_when_everything_is_available(world: World) -> None:
    recovery = started(world)
    world.recovered.become(RestoreState.AVAILABLE)
    world.pass_time(5 * MINUTE)
    checked = check(world, recovery)
    assert (checked.readiness, checked.available_at) == (Readiness.READY, world.now)
    assert checked.recovery_seconds == 300


def test_the_measured_time_does_not_move_when_it_is_checked_again(world: World) -> None:
    recovery = started(world)
    world.recovered.become(RestoreState.AVAILABLE)
    ready = check(world, recovery)
    world.pass_time(HOUR)
    assert check(world, ready) == ready


def test_a_failure_is_told_in_awss_own_words(world: World) -> None:
    recovery = started(world)
    world.recovered.become(RestoreState.FAILED, "RDS says incompatible-network")
    checked = check(world, recovery)
    assert checked.readiness is Readiness.FAILED
    assert "incompatible-network" in checked.problem


def test_what_ec2_does_not_show_yet_is_not_gone(world: World) -> None:
    """F04."""
    recovery = started(world)
    world.recovered.made.clear()
    assert check(world, recovery).readiness is Readiness.NOT_YET


def test_what_vanished_has_failed(world: World) -> None:
    """F51: a volume whose key cannot be used is accepted first and disappears later."""
    recovery = started(world)
    world.recovered.made.clear()
    world.pass_time(SHOWN_WITHIN)
    checked = check(world, recovery)
    assert checked.readiness is Readiness.FAILED
    assert f"{recovery.restored[0].id} is gone" in checked.problem


def test_nothing_restored_has_failed(world: World) -> None:
    checked = check(world, a_recovery())
    assert (checked.readiness, checked.problem) == (Readiness.FAILED, "nothing was restored")


def test_the_look_of_the_example_is_taken(world: World) -> None:
    """As Lambda calls it."""
    event = example("workflow_check_recovery")
    answer = check_recovery.handler(event, CONTEXT)
    assert answer["recovery"]["id"] == event["recovery"]["id"]
    assert answer["recovery"]["readiness"] in list(Readiness)
    assert len(world.decisions()) == 1
