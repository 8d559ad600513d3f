"""How Lambda functions are called by other services, and what CloudWatch hears of it.

* Every execution counts in AWS/Lambda Invocations, Errors and Duration; ministack counts only the Invoke API,
  and counts an asynchronous failure as a success.
* EventBridge and Scheduler invoke asynchronously, so a failure is tried twice more and then goes to the
  function's dead-letter queue or on-failure destination.
* The pauses before those tries are AWS's one and two minutes, on the embedded clock.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from ministack.services import cloudwatch, eventbridge, lambda_svc

from embedded.corrections.embedded_time import EmbeddedTime
from embedded.corrections.expected import original

_logger = logging.getLogger("embedded.lambda")


def install() -> None:
    _count_every_execution()
    _retry_what_events_invoke()
    _pause_on_the_embedded_clock()


def _count_every_execution() -> None:
    emit = original(lambda_svc, "_emit_lambda_metrics", '"Errors", 1 if error else 0')
    dispatch = original(lambda_svc, "_execute_function_dispatch", "duration_ms = int((time.time() - started) * 1000)")

    def execute_function_dispatch(
        function: dict[str, Any], config: dict[str, Any], event: Any, request_id: str, started: float
    ) -> dict[str, Any]:
        began = time.monotonic()
        result = dispatch(function, config, event, request_id, started)
        elapsed_ms = (time.monotonic() - began) * 1000
        failed = bool(result.get("error"))
        emit(config.get("FunctionName", "unknown"), duration_ms=elapsed_ms, error=failed, throttle=False)
        _evaluate_alarms_on("AWS/Lambda")
        return result

    def emit_throttles_only(function_name: str, duration_ms: float, error: bool, throttle: bool) -> None:
        # The callers that emit count an execution a second time, or count one that has not happened yet.
        if throttle:
            emit(function_name, duration_ms=duration_ms, error=error, throttle=True)

    lambda_svc._execute_function_dispatch = execute_function_dispatch
    lambda_svc._emit_lambda_metrics = emit_throttles_only


def _evaluate_alarms_on(namespace: str) -> None:
    for alarm in list(cloudwatch._alarms.values()):
        if alarm.get("Namespace") == namespace:
            cloudwatch._evaluate_alarm(alarm)


def _retry_what_events_invoke() -> None:
    original(eventbridge, "_dispatch_to_lambda", "target=lambda_svc._execute_function_with_config_scope")

    def dispatch_to_lambda(arn: str, payload: str) -> None:
        function, config, name = lambda_svc._get_func_record_for_ref(arn)
        if not function or not config:
            _logger.warning("nothing was invoked: a rule targets the function %s, which does not exist", name)
            return
        record = lambda_svc._execution_record_for_config(function, config)
        lambda_svc.invoke_async_with_retry(record, json.loads(payload))

    eventbridge._dispatch_to_lambda = dispatch_to_lambda


def _pause_on_the_embedded_clock() -> None:
    backoff = "_LAMBDA_ASYNC_RETRY_BASE_SECONDS * (2 ** (attempt - 1))"
    original(lambda_svc, "invoke_async_with_retry", backoff, "time.sleep(delay)")
    lambda_svc._LAMBDA_ASYNC_RETRY_BASE_SECONDS = 60.0
    lambda_svc._LAMBDA_ASYNC_RETRY_MAX_SECONDS = 300.0
    lambda_svc.time = EmbeddedTime()
