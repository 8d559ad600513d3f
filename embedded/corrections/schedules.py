"""EventBridge rules and Scheduler schedules: prompt, on the embedded minute, with the context they promise.

ministack sweeps its schedules every ten wall seconds and stamps an event with the time of the sweep.
A jump of the clock over several occurrences still fires a schedule once: step the clock per occurrence.
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from typing import Any

from ministack.services import eventbridge, scheduler

from embedded import faults
from embedded.corrections.expected import expect, original

_SWEEP_SECONDS = 0.2


def install() -> None:
    _sweep_often()
    _stamp_the_scheduled_minute()
    _lose_and_double_notices()


def _sweep_often() -> None:
    original(eventbridge, "_scheduler_loop", "time.sleep(_SCHEDULER_TICK_INTERVAL)")
    original(scheduler, "_ticker_loop", "time.sleep(_SCHEDULE_TICK_INTERVAL)")
    expect(eventbridge._SCHEDULER_TICK_INTERVAL == 10, "eventbridge._SCHEDULER_TICK_INTERVAL to be 10")
    expect(scheduler._SCHEDULE_TICK_INTERVAL == 10, "scheduler._SCHEDULE_TICK_INTERVAL to be 10")
    eventbridge._SCHEDULER_TICK_INTERVAL = _SWEEP_SECONDS
    scheduler._SCHEDULE_TICK_INTERVAL = _SWEEP_SECONDS
    # Both sweeps parse every expression again at every sweep, fifty times as often now.
    original(eventbridge, "_parse_cron_fields")
    eventbridge._parse_cron_fields = functools.lru_cache(maxsize=256)(eventbridge._parse_cron_fields)


def _stamp_the_scheduled_minute() -> None:
    invoke = original(eventbridge, "_invoke_target", "event_payload = json.dumps(view.event_with_detail())")
    original(eventbridge, "_tick_scheduled_rules", '"DetailType": "Scheduled Event"', '"Time": now')
    original(
        scheduler, "_tick_schedules", '"DetailType": "Scheduled Event"', "_eb._invoke_target(target, event, sched)"
    )

    def invoke_target(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any = None) -> None:
        if event.get("DetailType") == "Scheduled Event" and "ScheduleExpression" in rule:
            event["Time"] = _occurrence(rule["ScheduleExpression"], event["Time"])
            view = None  # it was built with the time of the sweep
            if event["Source"] == "aws.scheduler" and "Input" in target:
                target = {**target, "Input": _with_context(target["Input"], event)}
        invoke(target, event, rule, view)

    eventbridge._invoke_target = invoke_target


def _occurrence(expression: str, swept_at: float) -> float:
    """The instant an `at`, or the minute a `cron`, meant if the sweep came within it; else the time of the sweep."""
    once = scheduler._at_time_epoch(expression)
    if once is not None:
        return once
    fields = eventbridge._parse_cron_fields(expression)
    if fields is None:
        return swept_at
    minute = datetime.fromtimestamp(swept_at, UTC).replace(second=0, microsecond=0)
    if eventbridge._cron_next_fire(fields, minute - timedelta(minutes=1)) == minute:
        return minute.timestamp()
    return swept_at


def _with_context(payload: str, event: dict[str, Any]) -> str:
    """The schedule's input with Scheduler's context attributes filled in, which ministack delivers as they stand."""
    instant = datetime.fromtimestamp(event["Time"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    attributes = {
        "<aws.scheduler.scheduled-time>": instant,
        "<aws.scheduler.schedule-arn>": event["Resources"][0],
        "<aws.scheduler.execution-id>": event["EventId"],
        "<aws.scheduler.attempt-number>": "1",
    }
    for attribute, value in attributes.items():
        payload = payload.replace(attribute, value)
    return payload


def _lose_and_double_notices() -> None:
    dispatch = original(eventbridge, "_dispatch_event", "_invoke_target(target, event, rule, view)")

    def dispatch_event(event: dict[str, Any], view: Any = None) -> None:
        source = str(event.get("Source", ""))
        is_notice = source.startswith("aws.") and "_DispatchPath" not in event
        fault = faults.take_notice(event.get("DetailType", ""), event.get("Region", "")) if is_notice else None
        deliveries = {"lose": 0, "double": 2}[fault.notice] if fault and fault.notice else 1
        for _ in range(deliveries):
            dispatch(event, view)

    eventbridge._dispatch_event = dispatch_event
