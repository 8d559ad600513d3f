"""Step Functions: waits follow the embedded clock, errors have names, and a Succeed state has an output."""

import json
import time

import pytest


@pytest.fixture
def run(aws, unique):
    states, name = aws.client("stepfunctions"), unique("workflow")
    trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = aws.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]

    def start(definition, payload=None) -> str:
        machine = states.create_state_machine(
            name=unique("workflow"),
            definition=json.dumps({"QueryLanguage": "JSONata", **definition}),
            roleArn=role,
        )
        started = states.start_execution(stateMachineArn=machine["stateMachineArn"], input=json.dumps(payload or {}))
        return started["executionArn"]

    return start


def _ended(aws, until, execution):
    states = aws.client("stepfunctions")

    def described():
        answer = states.describe_execution(executionArn=execution)
        return answer if answer["status"] != "RUNNING" else None

    return until(described, what="the workflow to end")


def test_a_long_wait_ends_when_the_clock_jumps_over_it(aws, run, until):
    definition = {
        "StartAt": "Wait a day",
        "States": {
            "Wait a day": {"Type": "Wait", "Seconds": 86_400, "Next": "Done"},
            "Done": {"Type": "Succeed", "Output": "{% {'answer': 6 * 7} %}"},
        },
    }
    execution = run(definition)
    history = aws.client("stepfunctions").get_execution_history
    until(lambda: "WaitStateEntered" in [event["type"] for event in history(executionArn=execution)["events"]])
    aws.advance(86_400)
    ended = _ended(aws, until, execution)
    assert (ended["status"], json.loads(ended["output"])) == ("SUCCEEDED", {"answer": 42})


def test_a_wait_passes_at_the_clocks_rate(aws, run, until):
    execution = run(
        {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}}},
    )
    aws.set_rate(600)
    assert _ended(aws, until, execution)["status"] == "SUCCEEDED"
    aws.set_rate(1)


def test_an_exception_is_caught_by_its_name(aws, run, until, function):
    deployed = function("class TooSoon(Exception): pass\ndef handler(event, context): raise TooSoon('later')")
    ended = _ended(
        aws,
        until,
        run(
            {
                "StartAt": "Try",
                "States": {
                    "Try": {
                        "Type": "Task",
                        "Resource": "arn:aws:states:::lambda:invoke",
                        "Arguments": {"FunctionName": deployed.arn},
                        "Catch": [{"ErrorEquals": ["TooSoon"], "Next": "Caught"}],
                        "End": True,
                    },
                    "Caught": {"Type": "Pass", "Output": "caught", "End": True},
                },
            }
        ),
    )
    assert json.loads(ended["output"]) == "caught"


def test_an_error_of_an_sdk_call_has_the_sdks_name(aws, run, until):
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:ec2:describeSnapshots",
        "Arguments": {"SnapshotIds": ["snap-0123456789abcdef0"]},
        "End": True,
    }
    execution = run({"StartAt": "Look", "States": {"Look": task}})
    ended = _ended(aws, until, execution)
    assert (ended["status"], ended["error"]) == ("FAILED", "Ec2.Ec2Exception")
    history = aws.client("stepfunctions").get_execution_history(executionArn=execution)["events"]
    assert "TaskStarted" in [event["type"] for event in history]


def test_a_retry_waits_as_long_as_it_is_told(aws, run, until, function):
    deployed = function("def handler(event, context):\n    note(1)\n    raise ValueError('again')")
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": deployed.arn},
        "Retry": [
            {
                "ErrorEquals": ["ValueError"],
                "IntervalSeconds": 200,
                "BackoffRate": 10,
                "MaxDelaySeconds": 300,
                "MaxAttempts": 2,
            }
        ],
        "End": True,
    }
    execution = run({"StartAt": "Try", "States": {"Try": task}})
    deployed.wait_for(1)
    history = aws.client("stepfunctions").get_execution_history
    for tries, seconds in ((1, 200), (2, 300)):
        until(lambda n=tries: [e["type"] for e in history(executionArn=execution)["events"]].count("TaskFailed") == n)
        aws.advance(seconds - 30)
        time.sleep(0.3)
        assert len(deployed.journal()) == tries, "the pause is not over yet"
        aws.advance(31)
        deployed.wait_for(tries + 1)
    assert _ended(aws, until, execution)["error"] == "ValueError"
