"""CloudWatch alarms: evaluated as AWS documents it, and announced to everyone they should reach.

An alarm looks at its own dimensions, at M of N periods, treats missing data as told, and is evaluated on a
timer as well as on new data. A change of state is an event on the bus and may invoke Lambda functions.
Left out: metric math, anomaly bands, the wider evaluation range AWS fetches when data is sparse.
"""

from __future__ import annotations

import json
import logging
import operator
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import cloudwatch, lambda_svc

from embedded import clock, notices
from embedded.corrections.expected import original

Alarm = dict[str, Any]

_logger = logging.getLogger("embedded.alarms")
_EVALUATE_EVERY_WALL_SECONDS = 0.5
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
_ACTIONS = {"ALARM": "AlarmActions", "OK": "OKActions", "INSUFFICIENT_DATA": "InsufficientDataActions"}


def install() -> None:
    original(cloudwatch, "_evaluate_alarm", "_dispatch_alarm_actions(alarm, old_state, new_state, reason)")
    original(cloudwatch, "_set_alarm_state", "_dispatch_alarm_actions(alarm, old_state, new_state, reason)")
    dispatch = original(cloudwatch, "_dispatch_alarm_actions", "_sns._fanout(")

    def dispatch_alarm_actions(alarm: Alarm, old_state: str, new_state: str, reason: str) -> None:
        previous = _remember(alarm, reason)
        dispatch(alarm, old_state, new_state, reason)
        _announce(alarm, {"value": old_state, **previous})
        if alarm.get("ActionsEnabled", True):
            for arn in alarm.get(_ACTIONS[new_state]) or []:
                if arn.startswith("arn:aws:lambda:"):
                    _invoke(arn, alarm, {"value": old_state, **previous})

    cloudwatch._evaluate_alarm = evaluate
    cloudwatch._dispatch_alarm_actions = dispatch_alarm_actions
    threading.Thread(target=_keep_evaluating, name="embedded-alarms", daemon=True).start()


def _keep_evaluating() -> None:
    while True:
        time.sleep(_EVALUATE_EVERY_WALL_SECONDS)
        for account, region in {key[:2] for key in list(cloudwatch._alarms._data)}:
            with request_scope(account, region):
                for alarm in list(cloudwatch._alarms.values()):
                    try:
                        evaluate(alarm)
                    except Exception:
                        _logger.exception("alarm %s could not be evaluated", alarm.get("AlarmName"))


# ---------------------------------------------------------------------------- evaluation

_evaluating = threading.RLock()


def evaluate(alarm: Alarm) -> None:
    """The alarm's state is what its metric says now; a change has been announced."""
    if alarm.get("Metrics") or alarm.get("ComparisonOperator") not in _COMPARE:
        return
    with _evaluating:
        values = _latest_values(alarm)
        new_state, reason = _judge(alarm, values)
        old_state = alarm["StateValue"]
        if new_state == old_state:
            return
        alarm.update(StateValue=new_state, StateReason=reason, StateUpdatedTimestamp=int(clock.now()))
        alarm["StateReasonData"] = _reason_data(alarm, values)
        cloudwatch._record_history(alarm["AlarmName"], old_state, new_state, reason)
    cloudwatch._dispatch_alarm_actions(alarm, old_state, new_state, reason)
    cloudwatch._evaluate_parent_alarms(alarm)


def _judge(alarm: Alarm, values: list[float | None]) -> tuple[str, str]:
    needed = int(alarm.get("DatapointsToAlarm") or len(values))
    missing = alarm.get("TreatMissingData") or "missing"
    threshold = float(alarm.get("Threshold", 0))
    compare = _COMPARE[alarm["ComparisonOperator"]]
    fill = {"breaching": True, "notBreaching": False}.get(missing)
    if fill is None and all(value is None for value in values):
        if missing == "ignore":
            return alarm["StateValue"], alarm.get("StateReason", "")
        return "INSUFFICIENT_DATA", f"Insufficient Data: {len(values)} datapoints were unknown."
    breaching = [fill if value is None else compare(value, threshold) for value in values]
    count = sum(bool(breach) for breach in breaching)
    state = "ALARM" if count >= needed else "OK"
    known = [value for value in values if value is not None]
    reason = (
        f"Threshold Crossed: {count} out of the last {len(values)} datapoints {known} was breaching the threshold "
        f"({threshold}), {len(values) - len(known)} missing treated as {missing}."
    )
    return state, reason


def _latest_values(alarm: Alarm) -> list[float | None]:
    """The statistic of the last N periods, newest first; the running period counts once it has data."""
    period, count = int(alarm.get("Period", 60)), int(alarm.get("EvaluationPeriods", 1))
    running = clock.now() // period * period
    values = [_value(alarm, running - index * period, period) for index in range(count + 1)]
    return values[:count] if values[0] is not None else values[1:]


def _value(alarm: Alarm, start: float, period: int) -> float | None:
    points = [point for point in _points(alarm) if start <= point["Timestamp"] < start + period]
    if not points:
        return None
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic", "Average")
    return cloudwatch._stat_value(cloudwatch._calc_stats(points), statistic, points)


def _points(alarm: Alarm) -> Iterator[dict[str, Any]]:
    wanted = {dimension["Name"]: dimension["Value"] for dimension in alarm.get("Dimensions") or []}
    for (namespace, name, _), points in list(cloudwatch._metrics.items()):
        if namespace == alarm.get("Namespace") and name == alarm.get("MetricName"):
            yield from (point for point in list(points) if (point.get("Dimensions") or {}) == wanted)


def _reason_data(alarm: Alarm, values: list[float | None]) -> str:
    return json.dumps(
        {
            "version": "1.0",
            "queryDate": _timestamp(clock.now()),
            "statistic": alarm.get("ExtendedStatistic") or alarm.get("Statistic"),
            "period": int(alarm.get("Period", 60)),
            "recentDatapoints": [value for value in reversed(values) if value is not None],
            "threshold": float(alarm.get("Threshold", 0)),
        }
    )


# ---------------------------------------------------------------------------- announcements


_said: dict[str, dict[str, Any]] = {}


def _remember(alarm: Alarm, reason: str) -> dict[str, Any]:
    """What the alarm said before this change; kept here because ministack forgets it."""
    previous = _said.get(alarm["AlarmArn"], {})
    _said[alarm["AlarmArn"]] = _statement(alarm, reason)
    return previous


def _statement(alarm: Alarm, reason: str) -> dict[str, Any]:
    said = {"reason": reason, "timestamp": _timestamp(clock.now())}
    if alarm.get("StateReasonData"):
        said["reasonData"] = alarm["StateReasonData"]
    return said


def _announce(alarm: Alarm, previous: dict[str, Any]) -> None:
    detail = {
        "alarmName": alarm["AlarmName"],
        "state": {"value": alarm["StateValue"], **_said[alarm["AlarmArn"]]},
        "previousState": previous,
        "configuration": _configuration(alarm),
    }
    notices.send(get_region(), "aws.cloudwatch", "CloudWatch Alarm State Change", detail, [alarm["AlarmArn"]])


def _configuration(alarm: Alarm) -> dict[str, Any]:
    if "MetricName" not in alarm:
        return {"alarmRule": alarm.get("AlarmRule", ""), "actionsEnabled": alarm.get("ActionsEnabled", True)}
    metric = {
        "namespace": alarm.get("Namespace", ""),
        "name": alarm.get("MetricName", ""),
        "dimensions": {dimension["Name"]: dimension["Value"] for dimension in alarm.get("Dimensions") or []},
    }
    statistic = {
        "metric": metric,
        "period": int(alarm.get("Period", 60)),
        "stat": alarm.get("ExtendedStatistic") or alarm.get("Statistic", "Average"),
    }
    return {
        "description": alarm.get("AlarmDescription", ""),
        "metrics": [{"id": alarm["AlarmName"], "metricStat": statistic, "returnData": True}],
    }


def _invoke(function_arn: str, alarm: Alarm, previous: dict[str, Any]) -> None:
    function, config, name = lambda_svc._get_func_record_for_ref(function_arn)
    if not function or not config:
        _logger.warning("alarm %s invokes the function %s, which does not exist", alarm["AlarmName"], name)
        return
    event = {
        "source": "aws.cloudwatch",
        "alarmArn": alarm["AlarmArn"],
        "accountId": get_account_id(),
        "time": _timestamp(clock.now()),
        "region": get_region(),
        "alarmData": {
            "alarmName": alarm["AlarmName"],
            "state": {"value": alarm["StateValue"], **_said[alarm["AlarmArn"]]},
            "previousState": previous,
            "configuration": _configuration(alarm),
        },
    }
    lambda_svc.invoke_async_with_retry(lambda_svc._execution_record_for_config(function, config), event)


def _timestamp(epoch_seconds: float) -> str:
    """As CloudWatch writes it in events: 2026-11-21T03:05:00.123+0000."""
    return datetime.fromtimestamp(epoch_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "+0000")
