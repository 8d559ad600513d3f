"""Step Functions as recoveries use it: tasks that wait for people, executions inside executions, and redrives."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from embedded.aws import EmbeddedAws

Machine = Callable[[dict[str, Any]], str]
INVOKE = "arn:aws:states:::lambda:invoke"


@pytest.fixture
def machine(aws: EmbeddedAws, unique: Callable[[str], str]) -> Machine:
    states, name = aws.client("stepfunctions"), unique("role")
    trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = aws.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]

    def create(states_by_name: dict[str, Any]) -> str:
        definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(states_by_name)), "States": states_by_name}
        created = states.create_state_machine(name=unique("machine"), definition=json.dumps(definition), roleArn=role)
        return created["stateMachineArn"]

    return create


def start(aws: EmbeddedAws, machine_arn: str, given: dict[str, Any] | None = None) -> str:
    started = aws.client("stepfunctions").start_execution(stateMachineArn=machine_arn, input=json.dumps(given or {}))
    return started["executionArn"]


def ended(aws: EmbeddedAws, until: Callable[..., Any], execution: str) -> dict[str, Any]:
    def described() -> dict[str, Any] | None:
        answer = aws.client("stepfunctions").describe_execution(executionArn=execution)
        return answer if answer["status"] != "RUNNING" else None

    return until(described, what="the execution to end")


def asking(function_arn: str, **more: Any) -> dict[str, Any]:
    """A task that hands its token to the function and waits for an answer, as long as the input says."""
    return {
        "Type": "Task",
        "Resource": f"{INVOKE}.waitForTaskToken",
        "Arguments": {"FunctionName": function_arn, "Payload": "{% {'token': $states.context.Task.Token} %}"},
        "TimeoutSeconds": "{% $states.input.seconds %}",
        "End": True,
        **more,
    }


def test_a_task_that_waits_for_an_answer_goes_on_with_it(
    aws: EmbeddedAws, until: Callable[..., Any], machine: Machine, function: Callable[..., Any]
) -> None:
    deployed = function("def handler(event, context): note(event['token'])")
    execution = start(aws, machine({"Ask": asking(deployed.arn)}), {"seconds": 3600})
    (token,) = deployed.wait_for(1)
    aws.client("stepfunctions").send_task_success(taskToken=token, output='{"answer": "yes"}')
    assert json.loads(ended(aws, until, execution)["output"]) == {"answer": "yes"}


def test_a_task_that_nobody_answers_times_out_when_the_clock_jumps_over_its_end(
    aws: EmbeddedAws, until: Callable[..., Any], machine: Machine, function: Callable[..., Any]
) -> None:
    deployed = function("def handler(event, context): note(event['token'])")
    execution = start(aws, machine({"Ask": asking(deployed.arn)}), {"seconds": 3600})
    deployed.wait_for(1)
    aws.advance(3601)
    assert ended(aws, until, execution)["error"] == "States.Timeout"


def test_a_function_that_fails_before_it_hands_the_token_on_fails_the_task(
    aws: EmbeddedAws, until: Callable[..., Any], machine: Machine, function: Callable[..., Any]
) -> None:
    deployed = function("class Unreachable(Exception): pass\ndef handler(event, context): raise Unreachable('x')")
    execution = start(aws, machine({"Ask": asking(deployed.arn)}), {"seconds": 3600})
    assert ended(aws, until, execution)["error"] == "Unreachable"


@pytest.mark.parametrize(("is_allowed", "status"), [(True, "SUCCEEDED"), (False, "FAILED")])
def test_an_answer_needs_permission_on_the_machine_that_waits(
    aws: EmbeddedAws,
    until: Callable[..., Any],
    machine: Machine,
    function: Callable[..., Any],
    *,
    is_allowed: bool,
    status: str,
) -> None:
    asked = function("def handler(event, context): note(event['token'])")
    waiting = machine({"Ask": asking(asked.arn)})
    may = {"Effect": "Allow", "Action": "states:SendTaskSuccess", "Resource": waiting if is_allowed else f"{waiting}x"}
    source = """
    import boto3
    def handler(event, context):
        boto3.client("stepfunctions").send_task_success(taskToken=event["token"], output="{}")
    """
    answering = function(source, statements=[may])
    execution = start(aws, waiting, {"seconds": 60})
    (token,) = asked.wait_for(1)
    task = {"Type": "Task", "Resource": INVOKE, "End": True}
    task["Arguments"] = {"FunctionName": answering.arn, "Payload": {"token": token}}
    assert ended(aws, until, start(aws, machine({"Answer": task})))["status"] == status
    aws.advance(61)
    assert ended(aws, until, execution)["status"] == ("SUCCEEDED" if is_allowed else "FAILED")


def test_a_nested_execution_that_fails_is_told_whole(
    aws: EmbeddedAws, until: Callable[..., Any], machine: Machine
) -> None:
    inner = machine({"Fail": {"Type": "Fail", "Error": "TooDeep", "Cause": "no air"}})
    arguments = {"StateMachineArn": inner, "Input": {"depth": 1}}
    task = {"Type": "Task", "Resource": "arn:aws:states:::states:startExecution.sync:2", "Arguments": arguments}
    outcome = ended(aws, until, start(aws, machine({"Dive": {**task, "End": True}})))
    told = json.loads(outcome["cause"])
    assert outcome["error"] == "States.TaskFailed"
    assert (told["Status"], told["Error"], told["Cause"]) == ("FAILED", "TooDeep", "no air")
    assert json.loads(told["Input"]) == {"depth": 1}


def test_a_redrive_goes_on_in_the_state_that_failed_with_the_variables_of_then(
    aws: EmbeddedAws, until: Callable[..., Any], machine: Machine, function: Callable[..., Any]
) -> None:
    first = function("def handler(event, context):\n    note(1)\n    return 42")
    second = function(
        "def handler(event, context):\n    note(event)\n    if not event['redrives']: raise ValueError('not yet')"
    )
    payload = "{% {'kept': $kept, 'redrives': $states.context.Execution.RedriveCount} %}"
    arn = machine(
        {
            "Count": {
                "Type": "Task",
                "Resource": INVOKE,
                "Arguments": {"FunctionName": first.arn},
                "Assign": {"kept": "{% $states.result.Payload %}"},
                "Next": "Try",
            },
            "Try": {
                "Type": "Task",
                "Resource": INVOKE,
                "Arguments": {"FunctionName": second.arn, "Payload": payload},
                "End": True,
            },
        }
    )
    execution = start(aws, arn)
    failed = ended(aws, until, execution)
    assert (failed["status"], failed["redriveStatus"]) == ("FAILED", "REDRIVABLE")
    states = aws.client("stepfunctions")
    assert states.redrive_execution(executionArn=execution)["redriveDate"] >= failed["stopDate"]
    succeeded = ended(aws, until, execution)
    assert (succeeded["status"], succeeded["redriveCount"]) == ("SUCCEEDED", 1)
    assert first.journal() == [1]
    assert second.journal() == [{"kept": 42, "redrives": 0}, {"kept": 42, "redrives": 1}]
    assert "error" not in succeeded
    with pytest.raises(states.exceptions.ExecutionNotRedrivable):
        states.redrive_execution(executionArn=execution)


def test_service_quotas_tells_how_much_storage_a_region_may_have(aws: EmbeddedAws) -> None:
    quotas = aws.client("service-quotas")
    gp3 = quotas.get_service_quota(ServiceCode="ebs", QuotaCode="L-7A658B76")["Quota"]
    assert (gp3["QuotaName"], gp3["Value"]) == ("Storage for gp3 volumes, in TiB", 50.0)
    with pytest.raises(quotas.exceptions.NoSuchResourceException):
        quotas.get_service_quota(ServiceCode="ebs", QuotaCode="L-00000000")
