"""An alarm makes us look, and what was written decides; one alarm buys one point at most."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from functions.core.coverage import Coverage, Standing
from functions.core.errors import AwsBusy, BadMessage
from functions.core.points import Status
from functions.core.policies import ExtraPoints, Window
from functions.core.resources import Kind, Resource, ResourceKey
from functions.core.slots import Slot, Why
from functions.handlers import heed_alarm
from tests.builders import AWAY, GIB, HOME, a_key, a_policy
from tests.handlers.world import CONTEXT, DAY, HOUR, MINUTE, World, example

ALARM = example("alarm_on_a_volume")
ALARMED_AT = datetime.fromisoformat(ALARM["time"]).replace(second=0)
VOLUME = a_key(Kind.VOLUME)
EAGER = a_policy(version="0a1b2c3d", copy_to=(AWAY,), extra=ExtraPoints(written_gib=2, per_day=3))


@dataclass
class Writes:
    """What CloudWatch would say was written, and what it was asked."""

    bytes: int | None = 10 * GIB
    asked: list[tuple[ResourceKey, datetime, datetime, tuple[str, ...]]] = field(default_factory=list)

    def __call__(
        self, key: ResourceKey, since: datetime, until: datetime, clients: object, *, members: tuple[str, ...] = ()
    ) -> int | None:
        self.asked.append((key, since, until, members))
        return self.bytes


@pytest.fixture
def written(world: World, monkeypatch: pytest.MonkeyPatch) -> Writes:
    """Ten GiB were written; the volume of the alarm is protected by an eager policy."""
    writes = Writes()
    monkeypatch.setattr(heed_alarm, "written_bytes", writes)
    world.with_settings(EAGER)
    world.aws.now = world.swept_at = ALARMED_AT + timedelta(seconds=40)
    protect(world, VOLUME)
    return writes


def protect(world: World, key: ResourceKey, **changes: Any) -> None:
    world.aws.resources[key] = (key.id,)
    resource = Resource(key=key, tags={}, state="in-use", members=changes.pop("members", ()))
    coverage = Coverage(
        resource=resource, standing=Standing.PROTECTED, by="tag holdfast:policy", reason="policy gold", policy="gold"
    )
    world.ledger.resources.stand(replace(coverage, **changes), world.now)


def heed(world: World, event: Any = ALARM) -> str:
    [answer] = heed_alarm.heed_alarm(event, world.tools, world.now).answers
    return answer


def test_an_alarm_with_much_written_buys_a_point_of_its_minute(world: World, written: Writes) -> None:
    assert "an extra point is ordered: 10.00 GiB were written" in heed(world)
    [point] = world.ledger.points.of(VOLUME)
    assert (point.status, point.slot) == (Status.OWED, Slot(resource=VOLUME, at=ALARMED_AT, why=Why.EXTRA))
    assert [order["slot"]["why"] for order in world.snapshot_orders.orders] == ["extra"]
    world.minutes(15)
    assert world.ledger.stories.runs(VOLUME)[0].is_complete


def test_the_same_alarm_delivered_twice_buys_one_point(world: World, written: Writes) -> None:
    """F30, F35."""
    heed(world)
    world.pass_time(MINUTE)
    assert heed(world) == f"{VOLUME}: a point of this minute exists or is under way"
    assert len(world.ledger.points.of(VOLUME)) == len(world.snapshot_orders.messages) == 1
    assert world.ledger.resources.bought_today(VOLUME, world.now) == 1


def test_a_flapping_alarm_buys_no_more_than_its_budget(world: World, written: Writes) -> None:
    """F35: a thousand alarms cost what the policy allows."""
    answers = []
    for minutes in range(0, 60, 5):
        at = ALARMED_AT + timedelta(minutes=minutes)
        world.aws.now = at + timedelta(seconds=10)
        answers.append(heed(world, ALARM | {"time": at.isoformat()}))
    assert len(world.ledger.points.of(VOLUME)) == 3
    assert answers[-1] == f"{VOLUME}: the budget of 3 extra points a day is used up"


def test_the_budget_is_new_on_the_next_day(world: World, written: Writes) -> None:
    for days in range(2):
        for number in range(3):
            at = ALARMED_AT + days * DAY + number * 5 * MINUTE
            world.aws.now = at
            heed(world, ALARM | {"time": at.isoformat()})
    assert len(world.ledger.points.of(VOLUME)) == 6


def test_little_written_buys_nothing(world: World, written: Writes) -> None:
    written.bytes = GIB
    assert heed(world) == f"{VOLUME}: 1.00 GiB were written, under 2 GiB"
    assert world.ledger.points.of(VOLUME) == []


def test_not_knowing_what_was_written_buys_nothing(world: World, written: Writes) -> None:
    written.bytes = None
    assert "CloudWatch has no data" in heed(world)


def test_what_was_written_is_counted_since_the_last_point(world: World, written: Writes) -> None:
    slot = world.owe(VOLUME, at=world.now - 3 * HOUR)
    heed(world)
    assert written.asked[0][:3] == (VOLUME, slot.at, world.now)


def test_without_a_point_it_is_counted_no_further_back_than_the_promise(world: World, written: Writes) -> None:
    heed(world)
    assert written.asked[0][1] == world.now - DAY


def test_a_policy_without_extra_points_asks_nobody(world: World, written: Writes) -> None:
    world.with_settings(a_policy(version="0a1b2c3d"))
    assert heed(world) == f"{VOLUME}: policy gold takes no extra points"
    assert written.asked == []


def test_an_avoided_time_of_day_stays_avoided(world: World, written: Writes) -> None:
    window = Window(starts=timedelta(hours=9), ends=timedelta(hours=17))
    world.with_settings(replace(EAGER, avoid=(window,)))
    assert "avoids this time of day" in heed(world)


def test_a_resource_that_nobody_protects_gets_no_point(world: World, written: Writes) -> None:
    protect(world, VOLUME, standing=Standing.GAP, by="holdfast", reason="no tag", policy=None)
    assert heed(world) == f"{VOLUME}: it is not protected"


def test_an_unknown_resource_gets_no_point(world: World, written: Writes) -> None:
    """F34: an event about something the inventory never saw."""
    event = example("alarm_on_metric_math")
    answers = heed_alarm.heed_alarm(event, world.tools, world.now).answers
    assert [answer.split(": ")[1] for answer in answers] == ["it is not protected"] * 2


def test_the_volume_of_a_protected_instance_buys_a_point_of_the_instance(world: World, written: Writes) -> None:
    instance = a_key(Kind.INSTANCE)
    protect(world, instance, members=(VOLUME.id, "vol-2"))
    protect(world, VOLUME, by=str(instance), policy=None)
    assert "an extra point is ordered" in heed(world)
    assert [point.slot.resource for point in world.ledger.points.open_in(HOME)] == [instance]
    assert written.asked[0][3] == (VOLUME.id, "vol-2")


def test_an_alarm_that_is_over_asks_nobody(world: World, written: Writes) -> None:
    assert heed(world, example("alarm_recovered")) == "it is not in ALARM"
    assert written.asked == []


def test_an_alarm_on_something_else_is_none_of_our_business(world: World, written: Writes) -> None:
    event = ALARM | {"detail": ALARM["detail"] | {"configuration": {"metrics": []}}}
    assert heed(world, event) == "it watches no resource of ours"


def test_an_event_that_is_no_alarm_is_refused(world: World) -> None:
    """F37."""
    with pytest.raises(BadMessage):
        heed_alarm.heed_alarm(example("notice_ebs_snapshot_created"), world.tools, world.now)


def test_a_queue_that_does_not_answer_loses_no_point(world: World, written: Writes) -> None:
    """F20: it is owed, and the sweep sends its order."""
    world.snapshot_orders.refuses = AwsBusy("no answer from SQS", hint="Again.")
    with pytest.raises(AwsBusy):
        heed(world)
    world.snapshot_orders.refuses = None
    world.minutes(45)
    assert [run.slot.why for run in world.ledger.stories.runs(VOLUME)] == [Why.EXTRA]


def test_the_alarm_of_the_example_is_heeded(world: World, written: Writes) -> None:
    """As Lambda calls it."""
    answer = heed_alarm.handler(ALARM, CONTEXT)
    assert answer["alarm"] == "orders-data-writes"
    assert "an extra point is ordered" in answer["answers"][0]
