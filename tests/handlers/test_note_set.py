"""What became of a group decides what comes next, and people hear of it at the end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.contracts import recovery_requests, wire
from functions.core.errors import BadMessage
from functions.core.recovery_sets import MemberState, RecoverySet, Step
from functions.handlers import note_set
from tests.builders import ACCOUNT, HOME
from tests.handlers.world import CONTEXT, World, example

ORDERS, DISK = "database/eu-central-1/orders", "volume/eu-central-1/vol-1"
CAUSE = 'RecoveryStopped: {"errorMessage": "the key is disabled\\nHint: Enable it.", "errorType": "RecoveryStopped"}'


def a_set(**given: Any) -> RecoverySet:
    given = {"groups": [[{"resource": ORDERS}], [{"resource": DISK}]]} | given
    return recovery_requests.read_set(given, execution="run-1", account=ACCOUNT, region=HOME)


def outcome(resource: str, told: str = "restored as b", *, is_recovered: bool = True) -> dict[str, Any]:
    return {"resource": resource, "is_recovered": is_recovered, "told": told}


def note(world: World, whole: RecoverySet, *outcomes: dict[str, Any]) -> RecoverySet:
    event = {"recoveryset": wire.plain(whole), "outcomes": list(outcomes)}
    return note_set.note_set(event, world.tools, world.now).recoveryset


def test_the_next_group_begins_and_nobody_is_woken(world: World) -> None:
    whole = note(world, a_set(), outcome(ORDERS))
    assert (whole.step, whole.group) == (Step.GROUP, 2)
    assert world.topic.notices == []


def test_the_end_is_told_member_by_member(world: World) -> None:
    whole = note(world, note(world, a_set(), outcome(ORDERS, "restored as a")), outcome(DISK))
    assert whole.step is Step.END
    [(subject, said)] = world.topic.notices
    assert subject == f"Recovery set {whole.id}: complete"
    assert f"- group 1, {ORDERS}: recovered. restored as a" in said
    assert "redrive" not in said


def test_a_failed_member_stops_the_groups_after_it_and_is_told_in_words(world: World) -> None:
    whole = note(world, a_set(), outcome(ORDERS, CAUSE, is_recovered=False))
    assert whole.step is Step.STOP
    [(subject, said)] = world.topic.notices
    assert subject == f"Recovery set {whole.id}: not complete"
    assert "the key is disabled" in said
    assert "errorMessage" not in said
    assert f"- group 2, {DISK}: pending" in said
    assert "redrive the execution" in said


def test_what_a_failed_member_says_is_told_without_the_json_around_it(world: World) -> None:
    execution = {"Cause": 'the name "orders" is taken', "Error": "PlanHasObstacles", "ExecutionArn": "arn:aws:states"}
    note(world, a_set(), outcome(ORDERS, json.dumps(execution), is_recovered=False))
    [(_, said)] = world.topic.notices
    assert f'{ORDERS}: failed. the name "orders" is taken\n' in said


def test_a_dry_run_is_told_as_a_plan(world: World) -> None:
    whole = note(world, a_set(dry_run=True), outcome(ORDERS, "would restore"))
    note(world, whole, outcome(DISK, "would restore"))
    assert world.topic.notices[0][0] == f"Plan of a recovery set {whole.id}: complete"


def test_a_redrive_begins_again_only_what_failed(world: World) -> None:
    groups = [[{"resource": ORDERS}, {"resource": DISK}]]
    stopped = note(world, a_set(groups=groups), outcome(ORDERS), outcome(DISK, CAUSE, is_recovered=False))
    event = {"recoveryset": wire.plain(stopped), "again": True}
    again = note_set.note_set(event, world.tools, world.now).recoveryset
    assert [member.state for member in again.members] == [MemberState.RECOVERED, MemberState.PENDING]
    assert (again.step, again.group, again.problem) == (Step.GROUP, 1, "")
    assert len(world.topic.notices) == 1


@pytest.mark.parametrize("outcomes", [None, "all", [{"resource": ORDERS}]])
def test_a_group_without_outcomes_is_refused(world: World, outcomes: Any) -> None:
    """F37: nobody may take it for a group that was recovered."""
    with pytest.raises(BadMessage):
        note_set.note_set({"recoveryset": wire.plain(a_set()), "outcomes": outcomes}, world.tools, world.now)


def test_the_notes_of_the_examples_are_taken(world: World) -> None:
    """As Lambda calls it."""
    assert note_set.handler(example("workflow_note_set"), CONTEXT)["recoveryset"]["step"] == "stop"
    assert note_set.handler(example("workflow_note_set_again"), CONTEXT)["recoveryset"]["step"] == "group"
