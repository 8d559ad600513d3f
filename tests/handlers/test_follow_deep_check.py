"""From a launched machine to evidence: step by step, within its time, and never without an end."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from functions.aws.deep_checks.scripts import ScriptEnded
from functions.contracts import wire
from functions.core.deep_checks import Awaited, DeepCheck, DeepCommand, Report, Stage
from functions.core.errors import AwsBusy, BadMessage, Broken, NotAllowed, OutcomeUnknown
from functions.core.evidence import Assertion, Fitness, judge
from functions.core.rehearsals import Rehearsal
from functions.core.resources import Kind
from functions.core.restores import Restored, RestoreState
from functions.handlers import follow_deep_check
from tests.builders import AWAY
from tests.handlers.checkers import DAMAGED, WHOLE, DeepChecks, with_deep_checks
from tests.handlers.test_rehearsal_steps import a_rehearsal
from tests.handlers.world import CONTEXT, MINUTE, World, example

WITHIN = timedelta(minutes=45)
LS = DeepCommand(run="ls")
READ = judge([Assertion(what="blocks", held=True, detail="2 of 2")])


@pytest.fixture
def deep(world: World) -> DeepChecks:
    made = with_deep_checks(world)
    made.checkers.is_running = made.checkers.is_attached = made.scripts.online = True
    return made


def begun(world: World, **changes: object) -> Rehearsal:
    """Two restored volumes whose machine was launched now."""
    check = DeepCheck(
        within=WITHIN,
        commands=(LS,),
        stage=Stage.UNDER_WAY,
        awaited=Awaited.START,
        asked_at=world.now,
        checker_id="i-1",
    )
    restored = tuple(
        Restored(id=f"vol-{n}", snapshot_id=f"copy-{n}", kind=Kind.VOLUME, region=AWAY, state=RestoreState.AVAILABLE)
        for n in (1, 2)
    )
    return a_rehearsal(evidence=READ, restored=restored, deep_check=replace(check, **changes))


def follow(world: World, rehearsal: Rehearsal) -> Rehearsal:
    return follow_deep_check.follow_deep_check(rehearsal, world.tools, world.now)


def check_of(rehearsal: Rehearsal) -> DeepCheck:
    assert rehearsal.deep_check is not None
    return rehearsal.deep_check


def reason(rehearsal: Rehearsal, fitness: Fitness) -> str:
    """Why it is over, and that it is, with this fitness."""
    assert check_of(rehearsal).stage is Stage.OVER
    assert rehearsal.evidence is not None
    assert rehearsal.evidence.fitness is fitness
    assert READ.assertions[0] in rehearsal.evidence.assertions
    return rehearsal.evidence.reason


def test_a_machine_that_starts_is_waited_for(world: World, deep: DeepChecks) -> None:
    deep.checkers.is_running = False
    followed = check_of(follow(world, begun(world)))
    assert (followed.stage, followed.awaited) == (Stage.UNDER_WAY, Awaited.START)
    assert deep.checkers.attached == []


def test_all_volumes_are_attached_and_that_is_waited_for(world: World, deep: DeepChecks) -> None:
    deep.checkers.is_attached = False
    assert check_of(follow(world, begun(world))).awaited is Awaited.ATTACHMENT
    assert deep.checkers.attached == [("vol-1", "vol-2")]
    assert deep.scripts.sent == []


def test_the_agent_is_waited_for(world: World, deep: DeepChecks) -> None:
    deep.scripts.online = False
    assert check_of(follow(world, begun(world))).awaited is Awaited.AGENT
    assert deep.scripts.sent == []


def test_the_script_is_sent_once_with_the_time_that_is_left(world: World, deep: DeepChecks) -> None:
    rehearsal = begun(world)
    world.pass_time(5 * MINUTE)
    running = follow(world, rehearsal)
    assert (check_of(running).script_id, check_of(running).awaited) == ("command-1", Awaited.SCRIPT)
    follow(world, running)
    assert deep.scripts.sent == [(("vol-1", "vol-2"), (LS,), 40 * 60)]


def test_a_script_that_would_have_no_time_is_not_sent(world: World, deep: DeepChecks) -> None:
    rehearsal = begun(world)
    world.pass_time(WITHIN - MINUTE)
    late = follow(world, rehearsal)
    assert (deep.scripts.sent, check_of(late).stage) == ([], Stage.UNDER_WAY)
    world.pass_time(MINUTE)
    assert "longer `within`" in reason(follow(world, late), Fitness.UNDECIDED)


def test_what_the_machine_saw_joins_what_was_read(world: World, deep: DeepChecks) -> None:
    deep.scripts.end = ScriptEnded(report=WHOLE)
    over = follow(world, begun(world, script_id="command-1", commands=()))
    assert reason(over, Fitness.FIT) == "3 of 3 checks held"
    assert (check_of(over).ended_at, over.verified_at) == (world.now, world.now)


def test_damage_makes_the_point_unfit(world: World, deep: DeepChecks) -> None:
    deep.scripts.end = ScriptEnded(report=DAMAGED)
    assert "Inode 12 is bad" in reason(follow(world, begun(world, script_id="command-1", commands=())), Fitness.UNFIT)


def test_what_was_seen_is_told_of_the_volume_that_people_know(world: World, deep: DeepChecks) -> None:
    seen = replace(DAMAGED.file_systems[0], where="vol-2 partition 1")
    deep.scripts.end = ScriptEnded(report=replace(DAMAGED, file_systems=(seen,)))
    rehearsal = replace(begun(world, script_id="command-1", commands=()), source_ids={"snap-2": "vol-original"})
    assert "in vol-original partition 1: Inode 12 is bad" in reason(follow(world, rehearsal), Fitness.UNFIT)


def test_a_report_that_is_late_still_counts(world: World, deep: DeepChecks) -> None:
    rehearsal = begun(world, script_id="command-1")
    world.pass_time(2 * WITHIN)
    deep.scripts.end = ScriptEnded(report=DAMAGED)
    reason(follow(world, rehearsal), Fitness.UNFIT)


def test_an_empty_report_proves_nothing(world: World, deep: DeepChecks) -> None:
    deep.scripts.end = ScriptEnded(report=Report())
    reason(follow(world, begun(world, script_id="command-1")), Fitness.UNDECIDED)


def test_a_script_that_systems_manager_ended_leaves_the_point_open(world: World, deep: DeepChecks) -> None:
    deep.scripts.end = ScriptEnded(report=Report(), problem="Systems Manager says ExecutionTimedOut, 137: ")
    assert "ExecutionTimedOut" in reason(follow(world, begun(world, script_id="command-1")), Fitness.UNDECIDED)


@pytest.mark.parametrize("script_id", ["", "command-1"])
def test_a_machine_that_ended_leaves_the_point_open_with_its_last_word(
    world: World, deep: DeepChecks, script_id: str
) -> None:
    deep.checkers.is_running, deep.checkers.ended = False, "terminated: Server.InternalError"
    over = follow(world, begun(world, script_id=script_id))
    assert "Server.InternalError" in reason(over, Fitness.UNDECIDED)


@pytest.mark.parametrize(
    ("missing", "word"), [("is_running", "to run"), ("is_attached", "to be attached"), ("online", "SSM agent")]
)
def test_what_never_comes_is_given_up_in_its_time(world: World, deep: DeepChecks, missing: str, word: str) -> None:
    setattr(deep.scripts if missing == "online" else deep.checkers, missing, False)
    rehearsal = follow(world, begun(world))
    world.pass_time(WITHIN)
    assert word in reason(follow(world, rehearsal), Fitness.UNDECIDED)


@pytest.mark.parametrize("problem", [AwsBusy, OutcomeUnknown])
def test_what_aws_cannot_say_now_is_asked_again_until_the_time_is_up(
    world: World, deep: DeepChecks, problem: type[AwsBusy]
) -> None:
    deep.scripts.refuses = problem("ssm:SendCommand: the reply was lost", hint="asked again")
    waits = follow(world, begun(world))
    assert (check_of(waits).stage, check_of(waits).problem) == (
        Stage.UNDER_WAY,
        "ssm:SendCommand: the reply was lost",
    )
    world.pass_time(WITHIN)
    assert "the reply was lost" in reason(follow(world, waits), Fitness.UNDECIDED)


def test_a_refusal_ends_it_undecided_with_the_next_step(world: World, deep: DeepChecks) -> None:
    deep.checkers.refuses = NotAllowed("ec2:AttachVolume: no", hint="Deploy again.")
    assert "ec2:AttachVolume: no. Deploy again." in reason(follow(world, begun(world)), Fitness.UNDECIDED)


def test_our_own_mistake_is_not_told_as_a_result(world: World, deep: DeepChecks) -> None:
    deep.scripts.refuses = Broken("an unknown code", hint="Report it.")
    with pytest.raises(Broken):
        follow(world, begun(world))


@pytest.mark.parametrize("check", [None, DeepCheck(within=WITHIN)])
def test_what_was_not_begun_is_not_followed(world: World, deep: DeepChecks, check: DeepCheck | None) -> None:
    with pytest.raises(BadMessage):
        follow(world, replace(begun(world), deep_check=check))


def test_the_state_of_the_example_is_carried_out(world: World, deep: DeepChecks) -> None:
    """As Step Functions calls it."""
    answer = follow_deep_check.handler(example("workflow_follow_deep_check"), CONTEXT)
    assert wire.read(Rehearsal, answer["rehearsal"]).deep_check is not None
