"""Every due slot is owed and ordered; whatever gets lost afterwards is still owed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from functions.core.coverage import Coverage, Standing
from functions.core.errors import AwsBusy
from functions.core.points import Status
from functions.core.policies import Tiers
from functions.core.resources import Resource
from functions.handlers import plan_backups
from tests.builders import HOME, a_policy
from tests.handlers.world import CONTEXT, DAY, HOUR, World, example
from tests.ledger.dynamodb import forget_everything


def plan(world: World) -> plan_backups.PlanMade:
    return plan_backups.plan_backups(world.tools, world.now)


def test_a_new_resource_is_owed_its_newest_slot_at_once(world: World) -> None:
    key = world.a_protected()
    assert len(plan(world).ordered) == 1
    [point] = world.ledger.points.of(key)
    assert (point.status, point.slot.at, point.policy, point.copy_to) == (
        Status.OWED,
        world.now.replace(hour=0),
        "gold",
        ("eu-west-1",),
    )
    assert [order["slot"]["resource"]["id"] for order in world.snapshot_orders.orders] == [key.id]


def test_a_slot_is_ordered_once_however_often_the_clock_ticks(world: World) -> None:
    """F30."""
    world.a_protected()
    assert [len(plan(world).ordered) for _ in range(3)] == [1, 0, 0]
    assert len(world.snapshot_orders.messages) == 1


def test_after_the_loss_of_the_table_nothing_is_owed_before_aws_was_asked_what_it_has(world: World) -> None:
    """F95, invariants 1 and 25: AWS has the slot's snapshot, and only the ledger has forgotten it."""
    key = world.a_protected()
    plan(world)
    world.minutes(14)
    forget_everything()
    world.inventory(key)
    made = plan(world)
    assert (made.owed, made.ordered, made.waits_for) == ((), (), "the first full sweep")
    world.sweep()
    assert plan(world).owed == ()
    assert [point.status for point in world.ledger.points.of(key)] == [Status.CREATED]
    assert world.requests("take") == 1


def test_a_new_ledger_owes_after_its_first_sweep(world: World) -> None:
    forget_everything()
    world.a_protected()
    assert plan(world).owed == ()
    world.sweep()
    assert len(plan(world).owed) == 1


def test_a_region_that_never_answers_keeps_no_other_from_its_backups(world: World) -> None:
    """F24, F25: no sweep ever compares everything, and backups at home are made all the same."""
    forget_everything()
    world.a_protected()
    assert plan(world).owed == ()
    world.pass_time(plan_backups.WAITS_AT_MOST - timedelta(seconds=1))
    assert plan(world).owed == ()
    world.pass_time(timedelta(seconds=1))
    assert len(plan(world).owed) == 1


def test_a_plan_that_waits_for_the_sweep_is_counted(world: World) -> None:
    """The alarm listens for a planner that does not run; that the sweep does not run has an alarm of its own."""
    forget_everything()
    plan(world)
    assert world.health.numbers["PlansMade"] == [1]


def test_the_next_slot_is_ordered_when_it_is_due_and_not_before(world: World) -> None:
    world.a_protected()
    plan(world)
    world.pass_time(12 * HOUR - timedelta(seconds=1))
    assert plan(world).ordered == ()
    world.pass_time(timedelta(seconds=1))
    assert len(plan(world).ordered) == 1


def test_after_an_outage_the_newest_slot_is_taken_and_the_others_are_written_down_as_missed(world: World) -> None:
    """F20, F33: yesterday's snapshot taken today would have today's content."""
    key = world.a_protected()
    plan(world)
    world.pass_time(4 * DAY)
    made = plan(world)
    assert (len(made.owed), made.missed) == (1, 3)
    assert "catches up for 3 missed" in made.owed[0]
    assert [point.status for point in world.ledger.points.of(key)] == [
        Status.OWED,
        Status.MISSED,
        Status.MISSED,
        Status.MISSED,
        Status.OWED,
    ]


def test_a_queue_that_does_not_answer_loses_no_slot(world: World) -> None:
    """F20: the ledger came first, so that the sweep sends the order."""
    key = world.a_protected()
    world.snapshot_orders.refuses = AwsBusy("no answer from SQS", hint="Again.")
    with pytest.raises(AwsBusy):
        plan(world)
    world.snapshot_orders.refuses = None
    assert [point.status for point in world.ledger.points.open_in(HOME)] == [Status.OWED]
    world.minutes(30)
    assert [point.status for point in world.ledger.points.of(key)] == [Status.COMPLETED]


def test_a_plan_that_died_before_its_end_is_made_again_without_a_second_order(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F19: the slot is owed, and the planner's memory was not written."""
    key = world.a_protected()

    def dies(*_: object, **__: object) -> bool:
        raise AwsBusy("no", hint="Again.")

    with monkeypatch.context() as patch:
        patch.setattr(world.ledger.resources, "planned", dies)
        with pytest.raises(AwsBusy):
            plan(world)
    assert (plan(world).owed, plan(world).ordered) == ((), ())
    assert len(world.snapshot_orders.messages) == len(world.ledger.points.of(key)) == 1


def test_a_resource_without_a_policy_is_owed_nothing(world: World) -> None:
    world.a_protected(policy=None)
    assert plan(world).ordered == ()


def test_a_policy_that_is_gone_owes_nothing_and_stops_no_other(world: World) -> None:
    world.a_protected(policy="bronze")
    world.a_protected()
    assert len(plan(world).ordered) == 1


def test_a_resource_that_changes_its_policy_is_not_owed_the_slot_of_this_morning_again(world: World) -> None:
    key = world.a_protected()
    plan(world)
    world.with_settings(a_policy("platinum", version="11111111", keep=Tiers(daily=14)))
    coverage = Coverage(
        resource=Resource(key=key, tags={}, state="in-use"),
        standing=Standing.PROTECTED,
        by="tag holdfast:policy",
        reason="policy platinum",
        policy="platinum",
    )
    world.ledger.resources.stand(coverage, world.now)
    assert plan(world).ordered == ()


def test_a_plan_reads_what_is_due_and_not_the_fleet(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick of five minutes over a hundred thousand resources costs what the due ones cost."""
    world.a_protected()
    plan(world)
    asked_all: list[str] = []
    monkeypatch.setattr(world.ledger.resources, "all", lambda: iter(asked_all.append("all") or ()))
    late = world.a_protected()
    assert [one.resource for one in world.ledger.resources.due(world.now)] == [late]
    assert plan(world).ordered == (str(late),)
    world.pass_time(12 * HOUR)
    assert len(plan(world).owed) == 2
    assert asked_all == []


def test_when_a_policy_reads_differently_every_resource_is_looked_at(world: World) -> None:
    """Its next slot may be earlier than the one that was written down."""
    key = world.a_protected()
    plan(world)
    world.pass_time(2 * HOUR)
    world.with_settings(a_policy("gold", version="11111111", rpo=timedelta(hours=1), keep=Tiers(daily=14)))
    assert plan(world).owed == (f"{key}: slot of policy gold; catches up for 13 missed",)


def test_a_resource_whose_policy_nobody_states_is_looked_at_again_in_an_hour(world: World) -> None:
    key = world.a_protected(policy="bronze")
    plan(world)
    assert list(world.ledger.resources.due(world.now)) == []
    assert [one.resource for one in world.ledger.resources.due(world.now + HOUR)] == [key]


def test_every_plan_is_counted(world: World) -> None:
    """The alarm outside listens for the silence."""
    plan(world)
    plan(world)
    assert world.health.numbers["PlansMade"] == [1, 1]


def test_the_tick_of_the_example_is_heeded(world: World) -> None:
    """As Lambda calls it."""
    world.a_protected()
    assert len(plan_backups.handler(example("schedule_tick"), CONTEXT)["ordered"]) == 1
    assert [line["message"] for line in world.decisions()] == ["plan_backups"]


def test_a_crowd_is_owed_in_turns_and_ordered_by_the_next_tick(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long to write down must neither end in a time-out nor make the waits of its orders wrong."""
    monkeypatch.setattr(plan_backups, "AT_ONCE", 3)
    monkeypatch.setattr(plan_backups, "IN_A_MOMENT", 1)
    plan(world)  # all are looked at when policies read differently than before, and now they no longer do
    for _ in range(4):
        world.a_protected()
    assert (len(plan(world).owed), len(world.snapshot_orders.messages)) == (3, 0)
    assert (len(plan(world).owed), len(world.snapshot_orders.messages)) == (1, 4)
