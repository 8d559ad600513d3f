"""Step Functions: waits on the embedded clock, and what ministack leaves out of Amazon States Language.

* Wait states, retry intervals and callback time-outs pass on the embedded clock and notice its jumps.
  `TimeoutSeconds` of a task that works (rather than waits for a callback) stays on the wall.
* A retry waits as long as its retrier says, up to `MaxDelaySeconds`; ministack never waits longer than a minute.
  There is no jitter: a retrier with `JitterStrategy` waits its longest.
* A Succeed state may have `Output`.
* `TimeoutSeconds` may be a JSONata expression, and a function that fails before it hands its task token on fails the
  task.
* A nested execution that fails is `States.TaskFailed`, with the whole execution in the cause.
* Errors of SDK integrations carry the name of the SDK's exception class.
* The history says `TaskStarted`.
"""

from __future__ import annotations

import functools
import json
import re
import threading
from typing import Any

import botocore.session
from ministack.services import stepfunctions

from embedded import clock
from embedded.corrections.expected import original, recompiled

_LONGEST_NAP_SECONDS = 0.05
_machines_by_token: dict[str, str] = {}


def install() -> None:
    _wait_on_the_embedded_clock()
    _run_tasks_as_told()
    _tell_what_failed_inside()
    _let_succeed_have_output()
    _name_sdk_errors()
    _tell_when_a_task_started()


def _wait_on_the_embedded_clock() -> None:
    original(stepfunctions, "_scaled_sleep", "time.sleep(scaled)")
    original(stepfunctions, "_sleep_until", "_scaled_sleep(delta)")
    stepfunctions._scaled_sleep = clock.sleep
    stepfunctions.__dict__["_is_answered_within"] = _is_answered_within
    recompiled(
        stepfunctions,
        "_invoke_with_callback",
        {
            "if not evt.wait(timeout=timeout):": "if not _is_answered_within(evt, timeout):",
            "_call_lambda(func_ref, lambda_payload)\n        except _ExecutionError:\n            pass": (
                "_call_lambda(func_ref, lambda_payload)\n"
                "        except _ExecutionError:\n"
                "            _task_tokens.pop(token, None)\n"
                "            raise"
            ),
        },
    )


def _is_answered_within(answered: threading.Event, seconds: float) -> bool:
    """Whether the callback came before so much time of the embedded clock had passed."""
    left, last = seconds, clock.now()
    while left > 0:
        if answered.wait(min(clock.wall_seconds(left), _LONGEST_NAP_SECONDS)):
            return True
        current = clock.now()
        left -= max(0.0, current - last)
        last = current
    return answered.is_set()


def _run_tasks_as_told() -> None:
    # The recompiled functions see only the names of their own module.
    stepfunctions.__dict__.update(_retry_pause=_retry_pause, _with_timeout=_with_timeout, _new_token=_new_token)
    recompiled(
        stepfunctions,
        "_execute_task",
        {
            "_scaled_sleep(min(sleep_sec, 60))": "_scaled_sleep(_retry_pause(retrier, count))",
            'ctx["Task"] = {"Token": new_uuid()}': 'ctx["Task"] = {"Token": _new_token(ctx)}',
            'ctx["Task"]["Token"], state_def)': 'ctx["Task"]["Token"], _with_timeout(state_def, raw_input, ctx))',
            'effective, state_def["TimeoutSeconds"])': (
                'effective, _with_timeout(state_def, raw_input, ctx)["TimeoutSeconds"])'
            ),
        },
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


def machine_waiting_under(token: str) -> str | None:
    """The state machine whose execution waits, or waited, for this task token."""
    return _machines_by_token.get(token)


def _new_token(context: dict[str, Any]) -> str:
    token = stepfunctions.new_uuid()
    _machines_by_token[token] = context["StateMachine"]["Id"]
    return token


def _with_timeout(state: dict[str, Any], given: Any, context: dict[str, Any]) -> dict[str, Any]:
    """The state with a number for its time-out."""
    if not isinstance(state.get("TimeoutSeconds"), str):
        return state
    seconds = stepfunctions._jsonata_state_field(state, "TimeoutSeconds", "number", given, context)
    return {**state, "TimeoutSeconds": seconds}


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


def _tell_what_failed_inside() -> None:
    original(stepfunctions, "_nested_execution_failure", 'return decoded["Error"], decoded.get("Cause", "")')
    original(stepfunctions, "_start_sync_execution", 'resp["cause"] = details.get("cause", "")')

    def nested_execution_failure(execution: dict[str, Any]) -> tuple[str, str]:
        told = {name[:1].upper() + name[1:]: value for name, value in execution.items() if name != "output"}
        return "States.TaskFailed", json.dumps(dict(sorted(told.items())), separators=(",", ":"))

    stepfunctions._nested_execution_failure = nested_execution_failure


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
