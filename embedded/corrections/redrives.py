"""Step Functions: RedriveExecution, which ministack does not have.

A failed execution goes on in the state that failed, with the input and the variables it had there; states before it
are not run again. `$states.context.Execution.RedriveCount` counts, and DescribeExecution tells how often.
"""

from __future__ import annotations

import contextvars
import copy
import json
import threading
from typing import Any

from ministack.core.responses import error_response_json, json_response, now_iso
from ministack.services import stepfunctions

from embedded.corrections.expected import expect, original, recompiled

Reached = tuple[str, Any, dict[str, Any]]

_REDRIVABLE = ("FAILED", "ABORTED", "TIMED_OUT")

_reached: dict[str, Reached] = {}
"""By execution: the state it is in or ended in, what that state was given, and the context with all variables."""


def install() -> None:
    """After the other corrections of Step Functions: a recompiled function has no source to look at any more."""
    _remember_how_far_an_execution_is()
    _answer_redrives()
    _describe_redrives()
    expect("redriveDate" in stepfunctions._TIMESTAMP_RESPONSE_FIELDS, "redriveDate to be a known time stamp")


def _remember_how_far_an_execution_is() -> None:
    # The recompiled function sees only the names of its own module.
    stepfunctions.__dict__.update(_enter_state=_enter_state, _resumed=_resumed)
    recompiled(
        stepfunctions,
        "_run_execution",
        {
            'ctx["State"] = {"Name": current_name, "EnteredTime": now_iso(), "RetryCount": 0}': (
                "_enter_state(exec_arn, current_name, current_input, ctx)"
            ),
            "    try:\n        while current_name and": (
                "    current_name, current_input, ctx = _resumed(execution, current_name, current_input, ctx)\n"
                "    try:\n        while current_name and"
            ),
        },
    )


def _enter_state(arn: str, name: str, given: Any, context: dict[str, Any]) -> None:
    context["State"] = {"Name": name, "EnteredTime": now_iso(), "RetryCount": 0}
    _reached[arn] = name, copy.deepcopy(given), context


def _resumed(execution: dict[str, Any], name: str, given: Any, context: dict[str, Any]) -> Reached:
    """Where the execution begins: at its start, or where a redrive found it."""
    count = execution.get("redriveCount", 0)
    if count:
        name, given, context = _reached[execution["executionArn"]]
        context["Execution"]["RedriveTime"] = execution["redriveDate"]
    context["Execution"]["RedriveCount"] = count
    return name, given, context


def _answer_redrives() -> None:
    handle = original(stepfunctions, "handle_request", '"StopExecution": _stop_execution', "_finalize_response(")

    async def handle_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Any:
        if headers.get("x-amz-target", "").endswith(".RedriveExecution"):
            return stepfunctions._finalize_response(_redrive(json.loads(body)))
        return await handle(method, path, headers, body, query)

    stepfunctions.handle_request = handle_request


def _redrive(wanted: dict[str, Any]) -> Any:
    arn = wanted.get("executionArn", "")
    execution = stepfunctions._executions.get(arn)
    if execution is None:
        return error_response_json("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'", 400)
    if execution["status"] not in _REDRIVABLE or arn not in _reached:
        why = f"Execution is not redrivable: it is {execution['status']}"
        return error_response_json("ExecutionNotRedrivable", why, 400)
    execution.update(
        status="RUNNING",
        stopDate=None,
        output=None,
        error=None,
        cause=None,
        redriveCount=execution.get("redriveCount", 0) + 1,
        redriveDate=now_iso(),
    )
    details = {"redriveCount": execution["redriveCount"]}
    stepfunctions._add_event(execution, "ExecutionRedriven", {"executionRedrivenEventDetails": details})
    # The thread acts for the account and the Region of this request.
    run = contextvars.copy_context().run
    threading.Thread(target=run, args=(stepfunctions._run_execution, arn), daemon=True).start()
    return json_response({"redriveDate": execution["redriveDate"]})


def _describe_redrives() -> None:
    describe = original(stepfunctions, "_describe_execution", 'result["cause"] = execution["cause"]')

    def describe_execution(wanted: dict[str, Any]) -> Any:
        status, headers, body = describe(wanted)
        execution = stepfunctions._executions.get(wanted.get("executionArn"))
        if status != 200 or execution is None:
            return status, headers, body
        is_redrivable = execution["status"] in _REDRIVABLE and execution["executionArn"] in _reached
        told = {
            "redriveCount": execution.get("redriveCount", 0),
            "redriveStatus": "REDRIVABLE" if is_redrivable else "NOT_REDRIVABLE",
        }
        if "redriveDate" in execution:
            told["redriveDate"] = execution["redriveDate"]
        return json_response(json.loads(body) | told)

    stepfunctions._describe_execution = describe_execution
