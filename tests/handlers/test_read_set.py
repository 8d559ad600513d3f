"""A set is read whole, or refused whole, before its first recovery begins."""

from __future__ import annotations

from typing import Any

import pytest

from functions.core.errors import BadMessage
from functions.handlers import read_set
from tests.builders import HOME
from tests.handlers.world import CONTEXT, World, example

GROUPS = [[{"resource": "database/eu-central-1/orders"}], [{"resource": "volume/eu-central-1/vol-1"}]]


def read(world: World, execution: str = "run-1", **given: Any) -> read_set.SetRead:
    return read_set.read_set({"input": given, "execution": execution}, world.tools, world.now)


def test_the_members_are_in_their_groups_and_know_their_set(world: World) -> None:
    whole = read(world, groups=GROUPS).recoveryset
    assert [(member.resource, member.group) for member in whole.members] == [
        ("database/eu-central-1/orders", 1),
        ("volume/eu-central-1/vol-1", 2),
    ]
    assert {member.given["part_of"] for member in whole.members} == {whole.id}


def test_a_set_that_is_tried_again_is_the_same_set(world: World) -> None:
    """F30."""
    assert read(world, groups=GROUPS) == read(world, groups=GROUPS)
    assert read(world, groups=GROUPS).recoveryset.id != read(world, "run-2", groups=GROUPS).recoveryset.id


def test_the_region_of_the_execution_counts(world: World) -> None:
    groups = [[{"resource": "volume/eu-central-1/vol-1", "region": "eu-west-1"}]]
    with pytest.raises(BadMessage, match=f"this execution runs in {HOME}"):
        read(world, groups=groups)


@pytest.mark.parametrize("given", [None, [], "all", {}])
def test_an_execution_that_names_no_set_is_refused_with_an_example(world: World, given: Any) -> None:
    with pytest.raises(BadMessage) as refused:
        read_set.read_set({"input": given, "execution": "run-1"}, world.tools, world.now)
    assert '"groups"' in refused.value.hint


def test_the_set_of_the_example_is_read(world: World) -> None:
    """As Lambda calls it."""
    event = example("workflow_read_set")
    answer = read_set.handler(event, CONTEXT)
    assert len(answer["recoveryset"]["members"]) == sum(map(len, event["input"]["groups"]))
