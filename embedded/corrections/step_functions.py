"""Step Functions: waits on the embedded clock, and what ministack leaves out of Amazon States Language.

* Wait states, retry intervals and callback time-outs pass on the embedded clock and notice its jumps.
  `TimeoutSeconds` of a task that works (rather than waits for a callback) stays on the wall.
* A retry waits as long as its retrier says, up to `MaxDelaySeconds`; ministack never waits longer than a minute.
  There is no jitter: a retrier with `JitterStrategy` waits its longest.
* A Succeed state may have `Output`.
* Errors of SDK integrations carry the name of the SDK's exception class.
* The history says `TaskStarted`.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import botocore.session
from ministack.services import stepfunctions

from embedded import clock
from embedded.corrections.expected import original, recompiled


def install() -> None:
    _wait_on_the_embedded_clock()
    _wait_before_retries_as_told()
    _let_succeed_have_output()
    _name_sdk_errors()
    _tell_when_a_task_started()


def _wait_on_the_embedded_clock() -> None:
    original(stepfunctions, "_scaled_sleep", "time.sleep(scaled)")
    original(stepfunctions, "_sleep_until", "_scaled_sleep(delta)")
    invoke = original(stepfunctions, "_invoke_with_callback", 'timeout = state_def.get("TimeoutSeconds", 99999)')

    def invoke_with_callback(resource: str, arguments: Any, token: str, state: dict[str, Any]) -> Any:
        if "TimeoutSeconds" in state:
            state = {**state, "TimeoutSeconds": clock.wall_seconds(float(state["TimeoutSeconds"]))}
        return invoke(resource, arguments, token, state)

    stepfunctions._scaled_sleep = clock.sleep
    stepfunctions._invoke_with_callback = invoke_with_callback


def _wait_before_retries_as_told() -> None:
    # The recompiled functions see only the names of their own module.
    stepfunctions.__dict__["_retry_pause"] = _retry_pause
    recompiled(
        stepfunctions,
        "_execute_task",
        {"_scaled_sleep(min(sleep_sec, 60))": "_scaled_sleep(_retry_pause(retrier, count))"},
    )
    recompiled(
        stepfunctions,
        "_with_retry_and_catch",
        {
            '_scaled_sleep(min(interval * (retrier.get("BackoffRate", 2.0) ** count), 60))': (
                "_scaled_sleep(_retry_pause(retrier, count))"
            )
        },
    )


def _retry_pause(retrier: dict[str, Any], retries_so_far: int) -> float:
    seconds = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** retries_so_far
    return min(seconds, retrier.get("MaxDelaySeconds", seconds))


def _let_succeed_have_output() -> None:
    original(stepfunctions, "_run_execution", 'if state_type == "Succeed":', "_apply_output_path(state_def")
    apply = original(stepfunctions, "_apply_output_path")

    def apply_output_path(state: Any, data: Any, context: Any = None) -> Any:
        ends_with_output = isinstance(state, dict) and state.get("Type") == "Succeed" and "Output" in state
        if ends_with_output and stepfunctions._state_query_language(state, context) == "JSONata":
            return stepfunctions._apply_jsonata_output(state, data, context)
        return apply(state, data, context)

    stepfunctions._apply_output_path = apply_output_path


def _name_sdk_errors() -> None:
    prefix = original(stepfunctions, "_prefix_sdk_error", "_AWS_SDK_ERROR_CODE_OVERRIDES")

    def prefix_sdk_error(service: str, code: str) -> str:
        if service == "ec2":
            # EC2 models no error shapes, so its SDK has the one exception class.
            return "Ec2.Ec2Exception"
        if service == "rds":
            return "Rds." + _rds_exceptions().get(code, "RdsException")
        return prefix(service, code)

    stepfunctions._prefix_sdk_error = prefix_sdk_error


@functools.cache
def _rds_exceptions() -> dict[str, str]:
    """The SDK's class name for each error code of RDS: DBSnapshotNotFound -> DbSnapshotNotFoundException."""
    names = {}
    for shape in botocore.session.get_session().get_service_model("rds").error_shapes:
        code = shape.metadata.get("error", {}).get("code", shape.name)
        stem = re.sub("(Fault|Exception)$", "", shape.name)
        names[code] = re.sub("^DB", "Db", stem) + "Exception"
    return names


def _tell_when_a_task_started() -> None:
    add = original(stepfunctions, "_add_event", 'execution["events"].append(event)')

    def add_event(execution: dict[str, Any], event_type: str, details: dict[str, Any] | None = None) -> Any:
        event = add(execution, event_type, details)
        if event_type == "TaskScheduled":
            scheduled = (details or {}).get("taskScheduledEventDetails", {})
            started = {key: scheduled.get(key, "") for key in ("resource", "resourceType")}
            add(execution, "TaskStarted", {"taskStartedEventDetails": started})
        return event

    stepfunctions._add_event = add_event
