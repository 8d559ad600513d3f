"""An alarm that the settings name starts a recovery, so many a day, and each once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from functions.contracts import recovery_requests
from functions.core.errors import AwsBusy, BadMessage, NotAllowed
from functions.core.policies import AutomaticRecovery
from functions.handlers import heed_failure
from tests.builders import ACCOUNT, AWAY, HOME
from tests.handlers.world import CONTEXT, DAY, World, example

ALARM = example("alarm_of_a_failure")
NAME = ALARM["detail"]["alarmName"]
ORDERS = AutomaticRecovery(alarm=NAME, resource="database/eu-central-1/orders", region=AWAY)


def at(minute: int) -> dict[str, Any]:
    """The alarm went off at that minute."""
    return ALARM | {"time": f"2026-11-20T09:{minute:02}:27Z"}


def heed(world: World, event: Any = ALARM) -> tuple[str, ...]:
    return heed_failure.heed_failure(event, world.tools, world.now).answers


def named(world: World, *rules: AutomaticRecovery, per_day: int = 1) -> None:
    world.with_changed_settings(automatic=rules, automatic_per_day=per_day)


def started(world: World, region: str = AWAY) -> dict[str, Any]:
    return dict(world.tools.executions_in(region).started)


def test_until_somebody_names_an_alarm_nothing_is_started(world: World) -> None:
    assert heed(world) == ("no rule names it",)
    assert started(world) == {}


def test_a_named_alarm_starts_the_recovery_in_its_region(world: World) -> None:
    named(world, ORDERS)
    [answer] = heed(world)
    assert "recovery started as alarm-" in answer
    assert list(started(world).values()) == [{"resource": ORDERS.resource, "asked_by": f"the alarm {NAME}"}]
    assert started(world, HOME) == {}


def test_what_it_starts_is_a_request_that_the_recovery_can_read(world: World) -> None:
    approved = AutomaticRecovery(
        alarm=NAME, resource=ORDERS.resource, region=AWAY, approval_within=timedelta(minutes=90)
    )
    named(world, approved)
    heed(world)
    [given] = started(world).values()
    request = recovery_requests.read(given, account=ACCOUNT, region=AWAY)
    assert (str(request.resource), request.approval_seconds) == (ORDERS.resource, 90 * 60)
    assert request.asked_by == f"the alarm {NAME}"


def test_the_same_alarm_delivered_twice_starts_one(world: World) -> None:
    """F30: EventBridge delivers at least once."""
    named(world, ORDERS, per_day=3)
    heed(world)
    [again] = heed(world)
    assert "was started before" in again
    assert len(started(world)) == 1
    assert heed(world, at(50))[0].count("recovery started") == 1


def test_an_alarm_that_flaps_starts_no_more_than_the_settings_say(world: World) -> None:
    named(world, ORDERS, per_day=2)
    answers = [heed(world, at(minute))[0] for minute in (1, 2, 3)]
    assert ["recovery started" in answer for answer in answers] == [True, True, False]
    assert "2 a day are allowed" in answers[2]
    assert len(started(world)) == 2
    [(subject, said)] = world.topic.notices
    assert subject == f"No automatic recovery of {ORDERS.resource}"
    assert f'{{"resource": "{ORDERS.resource}"}}' in said


def test_the_days_places_are_for_all_resources_together(world: World) -> None:
    """An outage makes many alarms, and each of them would fill the Region with databases."""
    billing = AutomaticRecovery(alarm=NAME, resource="database/eu-central-1/billing", region=AWAY)
    named(world, ORDERS, billing)
    answers = heed(world)
    assert ["recovery started" in answer for answer in answers] == [True, False]
    assert len(started(world)) == 1


def test_the_next_day_has_places_of_its_own(world: World) -> None:
    named(world, ORDERS)
    heed(world)
    world.pass_time(DAY)
    assert "recovery started" in heed(world, at(50))[0]


def test_a_start_that_was_refused_keeps_its_place(world: World) -> None:
    """F20: Lambda tries again, and that is no second recovery."""
    named(world, ORDERS)
    world.tools.executions_in(AWAY).refuses = AwsBusy("no answer from Step Functions", hint="Again.")
    with pytest.raises(AwsBusy):
        heed(world)
    world.tools.executions_in(AWAY).refuses = None
    assert "recovery started" in heed(world)[0]
    assert len(started(world)) == 1


def test_an_alarm_that_is_over_starts_nothing(world: World) -> None:
    named(world, ORDERS)
    over = ALARM | {"detail": ALARM["detail"] | {"state": ALARM["detail"]["state"] | {"value": "OK"}}}
    assert heed(world, over) == ("it is not in ALARM",)
    assert started(world) == {}


def test_an_alarm_that_no_rule_names_starts_nothing(world: World) -> None:
    named(world, AutomaticRecovery(alarm="another", resource=ORDERS.resource, region=AWAY))
    assert heed(world) == ("no rule names it",)
    assert started(world) == {}


def test_the_alarm_of_another_account_is_refused(world: World) -> None:
    """Whoever may put events on our bus may not start recoveries by naming an alarm like ours."""
    named(world, ORDERS)
    with pytest.raises(NotAllowed, match="another account"):
        heed(world, ALARM | {"account": "210987654321"})
    assert started(world) == {}


def test_an_event_that_is_no_alarm_is_refused(world: World) -> None:
    """F37."""
    named(world, ORDERS)
    with pytest.raises(BadMessage):
        heed(world, example("notice_ebs_snapshot_created"))


def test_the_alarm_of_the_example_is_heeded(world: World) -> None:
    """As Lambda calls it."""
    named(world, ORDERS)
    assert "recovery started" in heed_failure.handler(ALARM, CONTEXT)["answers"][0]
