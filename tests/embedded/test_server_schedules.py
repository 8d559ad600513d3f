"""Schedules fire at the embedded minute, on both of AWS's schedulers, at any rate."""

import json
from datetime import UTC, datetime

import pytest

NOTE_EVENT = """
def handler(event, context):
    note(event)
"""


@pytest.fixture(autouse=True)
def _rate_of_one(aws):
    yield
    aws.set_rate(1)


@pytest.fixture
def rule(aws, unique):
    events, made = aws.client("events"), []

    def make(function_arn: str, **what) -> str:
        name = unique("rule")
        events.put_rule(Name=name, **what)
        events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": function_arn}])
        made.append(name)
        return name

    yield make
    for name in made:
        events.remove_targets(Rule=name, Ids=["1"])
        events.delete_rule(Name=name)


def test_a_cron_rule_fires_at_its_minute_when_the_clock_jumps_onto_it(aws, function, rule):
    deployed, witness = function(NOTE_EVENT), function(NOTE_EVENT)
    aws.set_clock(datetime(2030, 4, 30, 12, 0, tzinfo=UTC))
    rule(deployed.arn, ScheduleExpression="cron(0 3 * * ? *)")
    # The rule must have been seen once, as on AWS it must exist before its minute: so was what fires after it.
    rule(witness.arn, ScheduleExpression="cron(* * * * ? *)")
    aws.set_rate(60)
    witness.wait_for(1)
    aws.set_rate(1)
    assert deployed.journal() == []

    aws.set_clock(datetime(2030, 5, 1, 3, 0, 1, tzinfo=UTC))

    (event,) = deployed.wait_for(1)
    assert (event["time"], event["source"]) == ("2030-05-01T03:00:00Z", "aws.events")


def test_a_fast_clock_fires_every_minute_once(aws, function, rule):
    deployed = function(NOTE_EVENT)
    aws.client("lambda").invoke(FunctionName=deployed.name, Payload=b"{}")  # warm
    rule(deployed.arn, ScheduleExpression="cron(* * * * ? *)")
    aws.set_rate(60)

    deployed.wait_for(5)
    aws.set_rate(1)

    times = [event["time"] for event in deployed.journal()[1:]]
    assert all(instant.endswith(":00Z") for instant in times)
    assert len(times) == len(set(times))


def test_scheduler_fills_in_the_scheduled_time(aws, function, unique):
    deployed = function(NOTE_EVENT)
    aws.set_clock(datetime(2030, 6, 1, 4, 29, 50, tzinfo=UTC))
    name = unique("schedule")
    aws.client("scheduler").create_schedule(
        Name=name,
        ScheduleExpression="at(2030-06-01T04:30:00)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": deployed.arn,
            "RoleArn": deployed.role_arn,
            "Input": json.dumps({"slot": "<aws.scheduler.scheduled-time>"}),
        },
    )

    aws.advance(15)

    (event,) = deployed.wait_for(1)
    assert event == {"slot": "2030-06-01T04:30:00Z"}
    aws.client("scheduler").delete_schedule(Name=name)
