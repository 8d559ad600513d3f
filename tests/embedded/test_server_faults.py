"""Armed faults do to callers and notices what a bad day at AWS does."""

import json

import botocore.exceptions
import pytest

TAKE = {"operation": "sns:CreateTopic"}


@pytest.fixture(autouse=True)
def _no_faults_left(aws):
    yield
    aws.clear_faults()


def _topics(aws, name):
    found = aws.client("sns").list_topics()["Topics"]
    return [topic for topic in found if topic["TopicArn"].endswith(":" + name)]


def _refusal(refused: pytest.ExceptionInfo[botocore.exceptions.ClientError]) -> tuple[str | None, int | None]:
    """The error code and the HTTP status AWS answered with."""
    response = refused.value.response
    return response.get("Error", {}).get("Code"), response.get("ResponseMetadata", {}).get("HTTPStatusCode")


def test_a_refused_call_has_no_effect_and_the_next_one_has(aws, unique):
    sns, name = aws.client("sns"), unique("topic")
    aws.arm({**TAKE, "effect": "refuse", "error_code": "Throttling", "count": 1})

    with pytest.raises(botocore.exceptions.ClientError) as refused:
        sns.create_topic(Name=name)

    assert _refusal(refused) == ("Throttling", 400)
    assert _topics(aws, name) == []
    assert aws.faults() == []
    sns.create_topic(Name=name)
    assert len(_topics(aws, name)) == 1


@pytest.mark.parametrize(
    ("service", "operation", "call", "status"),
    [
        ("ec2", "DescribeVolumes", lambda client: client.describe_volumes(), 503),
        ("rds", "DescribeDBInstances", lambda client: client.describe_db_instances(), 503),
        ("dynamodb", "ListTables", lambda client: client.list_tables(), 503),
        ("lambda", "ListFunctions", lambda client: client.list_functions(), 503),
        ("ebs", "ListSnapshotBlocks", lambda client: client.list_snapshot_blocks(SnapshotId="snap-0123456789"), 503),
        ("sqs", "ListQueues", lambda client: client.list_queues(), 503),
        ("cloudwatch", "ListMetrics", lambda client: client.list_metrics(), 503),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_protocol_refuses_in_its_own_words(aws, service, operation, call, status):
    aws.arm({"operation": f"{service}:{operation}", "effect": "refuse", "error_code": "RequestLimitExceeded"})
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        call(aws.client(service))
    assert _refusal(refused) == ("RequestLimitExceeded", status)


def test_a_fault_of_one_region_leaves_the_other_alone(aws):
    aws.arm(
        {"operation": "ec2:DescribeVolumes", "effect": "refuse", "error_code": "Unavailable", "region": "us-west-2"}
    )
    aws.client("ec2", "us-east-1").describe_volumes()
    with pytest.raises(botocore.exceptions.ClientError):
        aws.client("ec2", "us-west-2").describe_volumes()


def test_a_lost_reply_leaves_the_effect_and_a_closed_connection(aws, unique):
    name = unique("topic")
    aws.arm({**TAKE, "effect": "lose-reply", "count": 1})

    with pytest.raises(botocore.exceptions.ConnectionClosedError):
        aws.client("sns").create_topic(Name=name)

    assert len(_topics(aws, name)) == 1


def test_a_killed_caller_leaves_the_effect_and_dies_under_the_call(aws, function, unique):
    name = unique("topic")
    deployed = function(
        """
        import boto3
        def handler(event, context):
            note("began")
            boto3.client("sns").create_topic(Name=event["topic"])
            note("ended")
        """,
        allow=("sns:CreateTopic",),
    )
    aws.arm({**TAKE, "effect": "kill-caller", "function": deployed.name, "count": 1})

    answer = aws.client("lambda").invoke(FunctionName=deployed.name, Payload=json.dumps({"topic": name}))

    assert json.load(answer["Payload"])["errorType"] == "Runtime.ExitError"
    assert deployed.journal() == ["began"]
    assert len(_topics(aws, name)) == 1
    aws.client("lambda").invoke(FunctionName=deployed.name, Payload=json.dumps({"topic": name}))
    assert deployed.journal() == ["began", "began", "ended"], "a new process serves the next call"


@pytest.fixture
def stopped_alarm(aws, function, unique):
    """A function that notes every alarm notice, and a way to make one notice happen."""
    deployed, name, events = (
        function("def handler(event, context): note(event['id'])"),
        unique("alarm"),
        aws.client("events"),
    )
    pattern = json.dumps({"source": ["aws.cloudwatch"], "detail": {"alarmName": [name]}})
    events.put_rule(Name=name, EventPattern=pattern)
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": deployed.arn}])
    cloudwatch = aws.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace="Tests",
        MetricName=name,
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="ignore",
    )
    aws.client("lambda").invoke(FunctionName=deployed.name, Payload=b'{"id": "warm"}')
    yield deployed, lambda state: cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason="a test")
    cloudwatch.delete_alarms(AlarmNames=[name])


NOTICE = {"detail_type": "CloudWatch Alarm State Change", "count": 1}


def test_a_lost_notice_never_arrives_and_the_next_one_does(aws, stopped_alarm):
    deployed, set_state = stopped_alarm
    aws.arm({**NOTICE, "notice": "lose"})
    set_state("OK")
    assert aws.faults() == [], "the notice was lost"
    set_state("ALARM")
    assert len(deployed.wait_for(2)) == 2


def test_a_doubled_notice_arrives_twice_with_one_id(aws, stopped_alarm):
    deployed, set_state = stopped_alarm
    aws.arm({**NOTICE, "notice": "double"})
    set_state("ALARM")
    _, first, second = deployed.wait_for(3)
    assert first == second


def test_a_fault_that_makes_no_sense_is_refused(aws):
    for wrong, why in [
        ({"operation": "CreateSnapshot", "effect": "refuse"}, "ec2:CreateSnapshot"),
        ({"operation": "ec2:CreateSnapshot", "effect": "refuse"}, "error_code"),
        ({"operation": "ec2:CreateSnapshot", "effect": "explode"}, "lose-reply"),
        ({"notice": "lose", "operation": "ec2:CreateSnapshot"}, "either"),
        ({"notice": "lose", "count": 0}, "null"),
        ({"operations": "ec2:CreateSnapshot"}, "operations"),
    ]:
        with pytest.raises(ValueError, match=why):
            aws.arm(wrong)
    assert aws.faults() == []
