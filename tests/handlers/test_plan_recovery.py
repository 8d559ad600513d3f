"""Everything that stands in the way is found before anything is made."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from functions.core.recoveries import Found, PlanLine, Recovery
from functions.handlers import plan_recovery
from tests.builders import NOON, a_slot, ago
from tests.handlers.recoveries import a_past_rehearsal, a_recovery
from tests.handlers.world import CONTEXT, World, example

FULL = PlanLine(what="subnet", found=Found.OBSTACLE, detail="0 of 11 addresses are free", next_step="Give another.")
DEFAULTS = PlanLine(what="parameter group", found=Found.WARNING, detail="orders-16 is not in this Region")


def plan(world: World, recovery: Recovery | None = None) -> Recovery:
    return plan_recovery.plan_recovery(recovery or a_recovery(), world.tools, world.now)


def test_a_plan_without_an_obstacle_lets_the_recovery_go_on(world: World) -> None:
    world.recovered.lines = (*world.recovered.lines, DEFAULTS)
    planned = plan(world)
    assert (planned.plan, planned.problem) == (world.recovered.lines, "")


def test_a_warning_with_advice_stops_nothing(world: World) -> None:
    """A problem is what ends a recovery, and somebody waits for the data."""
    world.recovered.lines = (replace(DEFAULTS, next_step="Make it there."),)
    assert plan(world).problem == ""


def test_an_obstacle_is_the_problem_and_says_what_to_change(world: World) -> None:
    world.recovered.lines = (*world.recovered.lines, DEFAULTS, FULL)
    planned = plan(world)
    assert planned.obstacles == (FULL,)
    assert planned.problem == "subnet: 0 of 11 addresses are free. Give another."


def test_a_name_that_is_taken_is_an_obstacle(world: World) -> None:
    """Nothing that is in use is ever overwritten."""
    recovery = a_recovery()
    world.recovered.take_name(recovery.order.names[0])
    assert f"{recovery.order.names[0]} is taken" in plan(world, recovery).problem


def test_a_plan_makes_nothing(world: World) -> None:
    plan(world)
    assert (world.recovered.made, world.recovered.orders) == ({}, [])


def test_the_obstacle_of_an_earlier_plan_is_forgotten_when_it_is_mended(world: World) -> None:
    """After a redrive."""
    assert plan(world, a_recovery(problem="subnet: full", plan=(FULL,))).problem == ""


def test_the_time_to_expect_is_the_median_of_what_earlier_ones_took(world: World) -> None:
    for days, minutes in ((3, 50), (2, 6), (1, 8)):
        world.ledger.stories.rehearsed(a_past_rehearsal(a_slot(ago(days=days)), minutes=minutes), NOON)
    assert plan(world).expected_seconds == 8 * 60
    past = a_recovery(id="1" * 12, started_at=NOON, available_at=NOON + timedelta(minutes=10))
    world.ledger.stories.recovered(past, "handed over", NOON)
    assert plan(world).expected_seconds == 9 * 60


def test_an_attempt_that_never_became_readable_says_nothing_about_time(world: World) -> None:
    assert plan(world).expected_seconds is None
    broken = replace(a_past_rehearsal(a_slot(ago(days=1))), readable_at=None)
    world.ledger.stories.rehearsed(broken, NOON)
    assert plan(world).expected_seconds is None


def test_the_plan_of_the_example_is_made(world: World) -> None:
    """As Lambda calls it."""
    answer = plan_recovery.handler(example("workflow_plan_recovery"), CONTEXT)
    assert answer["recovery"]["plan"][0]["found"] == "fine"
    assert len(world.decisions()) == 1
