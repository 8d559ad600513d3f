"""What a deep check asks of the steps around it: when it is due, where volumes are restored, and what goes first."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from functions.aws.deep_checks.checkers import DeepCheckNetwork
from functions.contracts import published
from functions.core.deep_checks import DeepCheck, DeepCheckRule, DeepCommand, Stage
from functions.core.errors import AwsBusy, BadMessage, Broken
from functions.core.evidence import Assertion, Fitness, judge
from functions.core.rehearsals import Rehearsal
from functions.core.resources import Kind, ResourceKey
from functions.core.restores import Leftover
from functions.handlers import choose_rehearsal, reap_rehearsals, record_rehearsal, remove_restore, start_restore
from functions.handlers.tools import Tools
from tests.builders import HOME, NOON, a_policy, a_slot
from tests.handlers.checkers import DeepChecks, with_deep_checks
from tests.handlers.recoveries import a_past_rehearsal
from tests.handlers.test_rehearsal_steps import a_rehearsal
from tests.handlers.world import DAY, World

RULE = DeepCheckRule(every=timedelta(days=30), commands=(DeepCommand(run="ls"),))
DUE = DeepCheck(within=RULE.within, commands=RULE.commands)


@pytest.fixture
def deep(world: World) -> DeepChecks:
    world.with_settings(a_policy(deep_check=RULE))
    return with_deep_checks(world)


def a_point(world: World, kind: Kind = Kind.VOLUME) -> ResourceKey:
    """A resource with a whole point at home."""
    resource = world.a_protected(kind)
    world.owe(resource, policy=a_policy())
    world.minutes(30)
    return resource


def choose(world: World, **given: Any) -> Rehearsal:
    event = {"input": given, "execution": "run-1"}
    chosen = choose_rehearsal.choose_rehearsal(event, world.tools, world.now).rehearsal
    assert chosen is not None
    return chosen


def checked_before(world: World, resource: ResourceKey, **changes: Any) -> None:
    """A day ago it was rehearsed with a deep check."""
    check = DeepCheck(**{"within": RULE.within, "asked_at": world.now - DAY, "checker_id": "i-1"} | changes)
    past = a_past_rehearsal(
        a_slot(world.now - DAY, resource=resource),
        id="0000aaaabbbb",
        region=HOME,
        deep_check=check,
        started_at=world.now - DAY,
    )
    world.ledger.stories.rehearsed(past, world.now)


def test_a_deep_check_is_due_where_the_policy_asks_for_it(world: World, deep: DeepChecks) -> None:
    resource = a_point(world)
    assert choose(world, resource=str(resource)).deep_check == DUE


def test_it_is_due_again_only_after_its_time(world: World, deep: DeepChecks) -> None:
    resource = a_point(world)
    checked_before(world, resource)
    assert choose(world, resource=str(resource)).deep_check is None
    world.pass_time(29 * DAY)
    assert choose(world, resource=str(resource)).deep_check == DUE


def test_somebody_may_ask_for_one_before_its_time_or_for_none(world: World, deep: DeepChecks) -> None:
    resource = a_point(world)
    assert choose(world, resource=str(resource), deep_check=False).deep_check is None
    checked_before(world, resource)
    assert choose(world, resource=str(resource), deep_check=True).deep_check == DUE


def test_without_a_network_none_is_due(world: World) -> None:
    world.with_settings(a_policy(deep_check=RULE))
    assert choose(world, resource=str(a_point(world))).deep_check is None


def test_without_a_word_in_the_policy_none_is_due(world: World, deep: DeepChecks) -> None:
    world.with_settings(a_policy())
    assert choose(world, resource=str(a_point(world))).deep_check is None


def test_a_database_has_none(world: World, deep: DeepChecks) -> None:
    assert choose(world, resource=str(a_point(world, Kind.DATABASE))).deep_check is None


def test_one_that_cannot_be_is_refused_when_it_is_asked_for(world: World) -> None:
    resource = a_point(world)
    with pytest.raises(BadMessage, match="cannot be checked deeply"):
        choose(world, resource=str(resource), deep_check=True)


def test_volumes_are_restored_in_the_zone_of_the_machine(world: World, deep: DeepChecks) -> None:
    start_restore.start_restore(a_rehearsal(deep_check=DUE), world.tools, world.now)
    start_restore.start_restore(a_rehearsal(), world.tools, world.now)
    assert [order.zone for order in world.tools.restored.orders] == [f"{HOME}a", None]


def test_the_machine_is_gone_before_its_volumes_are_asked_away(world: World, deep: DeepChecks) -> None:
    """EC2 deletes no volume that is attached."""
    rehearsal = start_restore.start_restore(a_rehearsal(deep_check=DUE), world.tools, world.now)
    deep.checkers.launch(start_restore.order_of(rehearsal), within=RULE.within)
    removed = remove_restore.remove_restore(rehearsal, world.tools, world.now)
    assert (removed.is_removed, world.tools.restored.removals) == (False, [])
    removed = remove_restore.remove_restore(removed, world.tools, world.now)
    assert deep.checkers.launched == {}
    assert len(world.tools.restored.removals) == 2


def test_a_machine_whose_launch_was_not_written_down_goes_as_well(world: World, deep: DeepChecks) -> None:
    rehearsal = a_rehearsal(deep_check=DUE)
    deep.checkers.launch(start_restore.order_of(rehearsal), within=RULE.within)
    remove_restore.remove_restore(rehearsal, world.tools, world.now)
    assert deep.checkers.removing


def a_machine(**changes: Any) -> Leftover:
    """The machine of a rehearsal whose time is over."""
    return Leftover(
        **{
            "id": "i-1",
            "kind": Kind.INSTANCE,
            "rehearsal_id": "8c1e2f3a4b5d",
            "created_at": NOON - DAY,
            "expires_at": NOON,
            "is_checker": True,
        }
        | changes
    )


def test_a_machine_that_was_left_behind_is_reaped_and_told(world: World, deep: DeepChecks) -> None:
    deep.checkers.left = [a_machine(), a_machine(id="i-2", expires_at=NOON + DAY, created_at=NOON)]
    reaped = reap_rehearsals.reap_rehearsals(world.tools, world.now)
    assert deep.checkers.removing == {"i-1"}
    assert (len(reaped.removed), reaped.going_on) == (1, 1)
    assert "i-1" in world.topic.notices[0][1]


def test_machines_that_cannot_be_listed_keep_nothing_else(world: World, deep: DeepChecks) -> None:
    deep.checkers.unlisted = AwsBusy("no answer", hint="It is asked again.")
    world.tools.restored.left = [a_machine(id="vol-1", kind=Kind.VOLUME, is_checker=False)]
    reaped = reap_rehearsals.reap_rehearsals(world.tools, world.now)
    assert len(reaped.removed) == 1
    assert reaped.left[0].startswith("the machines of deep checks could not be listed")


def record(world: World, rehearsal: Rehearsal) -> Rehearsal:
    return record_rehearsal.record_rehearsal(rehearsal, world.tools, world.now)


def test_what_the_machine_saw_and_how_long_it_took_is_told(world: World, deep: DeepChecks) -> None:
    over = DeepCheck(
        within=RULE.within, stage=Stage.OVER, asked_at=NOON, ended_at=NOON + timedelta(minutes=9), checker_id="i-1"
    )
    damage = judge(
        [Assertion(what="deep check: e2fsck finds no damage in vol-1", held=False, detail="Inode 12 is bad")]
    )
    record(world, a_rehearsal(evidence=damage, deep_check=over))
    [(subject, said)] = world.topic.notices
    assert "unfit" in subject
    assert "e2fsck finds no damage in vol-1: Inode 12 is bad" in said
    [(kind, detail)] = world.bus.events
    assert kind == published.REHEARSAL_RECORDED
    assert detail["stages_seconds"] == {"deep check": 540.0}


def test_what_broke_off_is_not_fit_because_of_what_held_before(world: World) -> None:
    held = judge([Assertion(what="blocks", held=True, detail="2 of 2")])
    recorded = record(world, a_rehearsal(evidence=held, problem="Broken: the machine said nothing"))
    assert recorded.evidence is not None
    assert recorded.evidence.fitness is Fitness.UNDECIDED
    assert recorded.evidence.reason == "Broken: the machine said nothing"
    assert recorded.evidence.assertions == held.assertions


def test_what_broke_off_stays_unfit_once_damage_was_found(world: World) -> None:
    damage = judge([Assertion(what="blocks", held=False, detail="1 of 2")])
    recorded = record(world, a_rehearsal(evidence=damage, problem="Broken: the machine said nothing"))
    assert recorded.evidence == damage


PLACE = {
    "AWS_REGION": HOME,
    "HOLDFAST_KEY_ALIAS": "alias/holdfast",
    "HOLDFAST_DEEP_CHECK_ZONE": f"{HOME}a",
    "HOLDFAST_DEEP_CHECK_SUBNET": "subnet-1",
    "HOLDFAST_DEEP_CHECK_SECURITY_GROUP": "sg-1",
    "HOLDFAST_DEEP_CHECK_PROFILE": "holdfast-deep-check",
}


def test_machines_come_into_the_network_that_the_environment_names() -> None:
    tools = Tools(PLACE)
    assert tools.has_deep_checks
    assert tools.checkers.network == DeepCheckNetwork(
        zone=f"{HOME}a", subnet_id="subnet-1", security_group_id="sg-1", profile="holdfast-deep-check"
    )
    assert tools.scripts


@pytest.mark.parametrize("name", [name for name in PLACE if name != "AWS_REGION"])
def test_what_a_machine_needs_and_the_environment_lacks_is_named(name: str) -> None:
    tools = Tools({key: value for key, value in PLACE.items() if key != name})
    assert tools.has_deep_checks is (name != "HOLDFAST_DEEP_CHECK_SUBNET")
    with pytest.raises(Broken, match=name):
        assert tools.checkers
