"""Alarms change their state as AWS documents it and tell everyone in AWS's own words."""

import pytest

NOTE_EVENT = "def handler(event, context): note(event)"


@pytest.fixture
def alarm(aws, unique):
    cloudwatch, made = aws.client("cloudwatch"), []

    def make(**settings) -> str:
        name = unique("alarm")
        cloudwatch.put_metric_alarm(
            AlarmName=name,
            Namespace="Tests",
            MetricName=name,
            **{
                "Statistic": "Sum",
                "Period": 60,
                "EvaluationPeriods": 1,
                "Threshold": 1,
                "ComparisonOperator": "GreaterThanOrEqualToThreshold",
                "TreatMissingData": "notBreaching",
                **settings,
            },
        )
        made.append(name)
        return name

    yield make
    cloudwatch.delete_alarms(AlarmNames=made)


def _put(aws, name, value, **dimensions):
    datum = {"MetricName": name, "Value": value, "Dimensions": [{"Name": k, "Value": v} for k, v in dimensions.items()]}
    aws.client("cloudwatch").put_metric_data(Namespace="Tests", MetricData=[datum])


def _state(aws, name):
    return aws.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"]


def test_an_alarm_tells_its_function_and_the_bus_what_changed(aws, function, alarm, unique):
    by_action, by_event = function(NOTE_EVENT), function(NOTE_EVENT)
    name = alarm(Dimensions=[{"Name": "Shop", "Value": "north"}], AlarmActions=[by_action.arn])
    events, rule = aws.client("events"), unique("rule")
    events.put_rule(
        Name=rule,
        EventPattern='{"detail-type": ["CloudWatch Alarm State Change"], "detail": {"state": {"value": ["ALARM"]}}}',
    )
    events.put_targets(Rule=rule, Targets=[{"Id": "1", "Arn": by_event.arn}])

    _put(aws, name, 3, Shop="north")

    (event,) = by_event.wait_for(1)
    detail = event["detail"]
    assert (event["source"], detail["alarmName"]) == ("aws.cloudwatch", name)
    assert detail["state"].keys() == {"value", "reason", "reasonData", "timestamp"}
    assert (detail["previousState"]["value"], detail["state"]["value"]) == ("OK", "ALARM")
    (metric,) = detail["configuration"]["metrics"]
    assert metric["metricStat"]["metric"] == {"namespace": "Tests", "name": name, "dimensions": {"Shop": "north"}}
    (action,) = by_action.wait_for(1)
    assert (action["source"], action["alarmData"]["state"]["value"]) == ("aws.cloudwatch", "ALARM")
    events.remove_targets(Rule=rule, Ids=["1"])
    events.delete_rule(Name=rule)


def test_another_dimension_is_another_metric(aws, alarm):
    name = alarm(Dimensions=[{"Name": "Shop", "Value": "north"}])
    _put(aws, name, 3, Shop="south")
    assert _state(aws, name) == "OK"


def test_three_of_three_periods_means_three(aws, alarm, until):
    name = alarm(EvaluationPeriods=3)
    for expected in ("OK", "OK", "ALARM"):
        _put(aws, name, 3)
        assert _state(aws, name) == expected
        aws.advance(60)


def test_two_of_three_periods_are_enough_when_the_alarm_says_so(aws, alarm):
    name = alarm(EvaluationPeriods=3, DatapointsToAlarm=2)
    for value, expected in ((3, "OK"), (0, "OK"), (3, "ALARM")):
        _put(aws, name, value)
        assert _state(aws, name) == expected
        aws.advance(60)


@pytest.mark.parametrize(
    ("missing", "state"), [("breaching", "ALARM"), ("notBreaching", "OK"), ("missing", "INSUFFICIENT_DATA")]
)
def test_silence_is_judged_as_the_alarm_says(aws, alarm, until, missing, state):
    name = alarm(TreatMissingData=missing)
    _put(aws, name, 0)
    assert _state(aws, name) == "OK"
    aws.advance(300)
    until(lambda: _state(aws, name) == state, what=f"{state} for {missing}")
