"""A machine for the restored volumes: one at a time, in its time, and without one the rehearsal is undecided."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from functions.contracts import wire
from functions.core.deep_checks import Awaited, DeepCheck, Stage
from functions.core.errors import AwsBusy, BadMessage, Broken, HoldfastError, NotAllowed, QuotaReached
from functions.core.evidence import Assertion, Fitness, judge
from functions.core.rehearsals import Rehearsal
from functions.handlers import start_deep_check
from tests.handlers.checkers import DeepChecks, with_deep_checks
from tests.handlers.test_rehearsal_steps import a_rehearsal
from tests.handlers.world import CONTEXT, MINUTE, World, example

WITHIN = timedelta(minutes=45)
READ = judge([Assertion(what="blocks", held=True, detail="2 of 2")])


@pytest.fixture
def deep(world: World) -> DeepChecks:
    return with_deep_checks(world)


def due() -> Rehearsal:
    """A volume that was read and found fit, and is to be checked deeply."""
    return a_rehearsal(evidence=READ, deep_check=DeepCheck(within=WITHIN))


def start(world: World, rehearsal: Rehearsal) -> Rehearsal:
    return start_deep_check.start_deep_check(rehearsal, world.tools, world.now)


def check_of(rehearsal: Rehearsal) -> DeepCheck:
    assert rehearsal.deep_check is not None
    return rehearsal.deep_check


def test_a_machine_is_launched_that_says_whose_it_is_and_when_it_may_go(world: World, deep: DeepChecks) -> None:
    started = start(world, due())
    assert check_of(started).stage is Stage.UNDER_WAY
    assert check_of(started).asked_at == world.now
    (order,) = deep.checkers.launched.values()
    assert (order.rehearsal_id, order.expires_at) == (started.id, started.expires_at)
    assert check_of(started).checker_id in deep.checkers.launched
    assert started.evidence == READ


def test_launched_twice_is_launched_once_and_its_time_goes_on(world: World, deep: DeepChecks) -> None:
    first = start(world, due())
    world.pass_time(MINUTE)
    again = start(world, first)
    assert len(deep.checkers.launched) == 1
    assert check_of(again).asked_at == check_of(first).asked_at


def test_one_goes_after_the_other(world: World, deep: DeepChecks) -> None:
    deep.checkers.strangers = ("i-of-another",)
    waiting = start(world, due())
    assert (check_of(waiting).stage, check_of(waiting).awaited) == (Stage.WAITING, Awaited.TURN)
    assert deep.checkers.launched == {}
    deep.checkers.strangers = ()
    assert check_of(start(world, waiting)).stage is Stage.UNDER_WAY


def test_capacity_is_waited_for(world: World, deep: DeepChecks) -> None:
    deep.checkers.refuses = AwsBusy("EC2 has none of t4g.small", hint="nothing to do now")
    waiting = check_of(start(world, due()))
    assert (waiting.stage, waiting.awaited) == (Stage.WAITING, Awaited.CAPACITY)


def test_what_got_no_machine_in_its_time_is_undecided_and_keeps_its_other_evidence(
    world: World, deep: DeepChecks
) -> None:
    deep.checkers.refuses = AwsBusy("EC2 has none of t4g.small", hint="nothing to do now")
    waiting = start(world, due())
    world.pass_time(WITHIN)
    over = start(world, waiting)
    assert (check_of(over).stage, check_of(over).ended_at) == (Stage.OVER, world.now)
    assert over.evidence is not None
    assert over.evidence.fitness is Fitness.UNDECIDED
    assert "EC2 has none of t4g.small" in over.evidence.reason
    assert "AWS Support" in over.evidence.reason
    assert READ.assertions[0] in over.evidence.assertions


@pytest.mark.parametrize("problem", [QuotaReached, NotAllowed])
def test_a_refusal_ends_the_deep_check_undecided_with_the_next_step(
    world: World, deep: DeepChecks, problem: type[HoldfastError]
) -> None:
    deep.checkers.refuses = problem("ec2:RunInstances: no", hint="Raise the quota.")
    over = start(world, due())
    assert check_of(over).stage is Stage.OVER
    assert over.evidence is not None
    assert (over.evidence.fitness, over.problem) == (Fitness.UNDECIDED, "")
    assert "ec2:RunInstances: no. Raise the quota." in over.evidence.reason


def test_our_own_mistake_is_not_told_as_a_result(world: World, deep: DeepChecks) -> None:
    deep.checkers.refuses = Broken("an unknown code", hint="Report it.")
    with pytest.raises(Broken):
        start(world, due())


def test_a_rehearsal_without_a_deep_check_is_refused(world: World, deep: DeepChecks) -> None:
    with pytest.raises(BadMessage):
        start(world, replace(due(), deep_check=None))


def test_the_state_of_the_example_is_carried_out(world: World, deep: DeepChecks) -> None:
    """As Step Functions calls it."""
    answer = start_deep_check.handler(example("workflow_start_deep_check"), CONTEXT)
    assert wire.read(Rehearsal, answer["rehearsal"]).deep_check is not None
    assert len(deep.checkers.launched) == 1
