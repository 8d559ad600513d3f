"""What feeds Lambda functions from queues and streams.

* Queues and streams are looked at several times a wall second, because on an accelerated clock a visibility
  time-out or a batching window may end at any moment.
* `MaximumBatchingWindowInSeconds` is kept, for queues and streams.
* A DynamoDB stream keeps its retries, bisecting, age and partial batch responses, and a slow handler on a
  stream holds up no other source.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import dynamodb, lambda_svc, sqs

from embedded import clock
from embedded.corrections.expected import expect, original

Mapping = dict[str, Any]
Record = dict[str, Any]

_LOOK_EVERY_WALL_SECONDS = 0.2
_UNLIMITED = -1


def install() -> None:
    _look_often()
    _keep_batching_windows_of_queues()
    original(lambda_svc, "_poll_loop", "_poll_dynamodb_streams() or processed", "_esm_wake.wait(")
    original(lambda_svc, "_poll_dynamodb_streams", "_esm_backoff_until")
    original(lambda_svc, "_dispatch_esm_batch", "_esm_inflight[esm_id]")
    original(lambda_svc, "_send_ddb_stream_failure_record", "DDBStreamBatchInfo")
    lambda_svc._poll_dynamodb_streams = _poll_streams


def _look_often() -> None:
    expect(isinstance(lambda_svc._esm_wake, threading.Event), "lambda_svc._esm_wake to be an Event")

    def pulse() -> None:
        while True:
            time.sleep(_LOOK_EVERY_WALL_SECONDS)
            lambda_svc._esm_wake.set()

    threading.Thread(target=pulse, name="embedded-event-sources", daemon=True).start()


# ---------------------------------------------------------------------------- queues


def _keep_batching_windows_of_queues() -> None:
    receive = original(sqs, "_receive_messages_for_esm", "_collect_msgs(q, max_n, vis)")

    def receive_messages(queue_url: str, max_number: int) -> list[Record]:
        queue = sqs._queues.get(queue_url)
        if queue is not None and _is_gathering(queue, min(int(max_number or 1), 10)):
            return []
        return receive(queue_url, max_number)

    sqs._receive_messages_for_esm = receive_messages


def _is_gathering(queue: dict[str, Any], batch_size: int) -> bool:
    arn = queue["attributes"].get("QueueArn")
    windows = [_window(mapping) for mapping in lambda_svc._esms.values() if mapping["EventSourceArn"] == arn]
    now = clock.now()
    visible_since = [message["visible_at"] for message in list(queue["messages"]) if message["visible_at"] <= now]
    return (
        bool(visible_since) and len(visible_since) < batch_size and now - min(visible_since) < max(windows, default=0)
    )


def _window(mapping: Mapping) -> float:
    return float(mapping.get("MaximumBatchingWindowInSeconds") or 0)


# ---------------------------------------------------------------------------- streams


@dataclass
class _Trouble:
    """What is known of a batch that failed: how often, and how small it was cut."""

    attempts: int = 0
    batch_size: int | None = None


_troubles: dict[str, _Trouble] = {}


def _poll_streams() -> bool:
    """Each stream with something to read has one batch on its way; true if any was started."""
    started = False
    for account, region, mapping in lambda_svc._iter_all_esms():
        with request_scope(account, region):
            batch = _next_batch(mapping, region)
            if batch:
                lambda_svc._dispatch_esm_batch(mapping["UUID"], _deliver, mapping, batch)
                started = True
    return started


def _next_batch(mapping: Mapping, region: str) -> list[Record]:
    source = str(mapping.get("EventSourceArn", ""))
    if not source.startswith(f"arn:aws:dynamodb:{region}:") or not mapping.get("Enabled", True):
        return []
    identifier = mapping["UUID"]
    busy = lambda_svc._esm_inflight.get(identifier, 0) > 0
    if busy or lambda_svc._esm_backoff_until.get(identifier, 0) > clock.now():
        return []
    table_name = source.split("/")[1]
    table = dynamodb._tables.get(table_name)
    if not table or table.get("LatestStreamArn") != source:
        return []
    limit = _troubles.get(identifier, _Trouble()).batch_size or int(mapping.get("BatchSize", 100))
    batch = dynamodb.stream_records_since(table_name, _position(mapping, table_name), limit)
    if batch and len(batch) < limit and clock.now() - _created_at(batch[0]) < _window(mapping):
        return []
    return batch


def _position(mapping: Mapping, table_name: str) -> int:
    horizon = dynamodb.stream_start_position(table_name)
    with lambda_svc._dynamodb_stream_positions_lock:
        positions = lambda_svc._dynamodb_stream_positions
        if mapping["UUID"] not in positions:
            from_start = mapping.get("StartingPosition", "LATEST") == "TRIM_HORIZON"
            positions[mapping["UUID"]] = horizon if from_start else dynamodb.stream_end_position(table_name)
        # What expired since the last look is gone.
        positions[mapping["UUID"]] = max(positions[mapping["UUID"]], horizon)
        return positions[mapping["UUID"]]


def _deliver(mapping: Mapping, batch: list[Record]) -> None:
    wanted = lambda_svc._apply_filter_criteria(batch, mapping)
    if not wanted:
        _advance(mapping, len(batch))
        return
    function, _ = lambda_svc._get_func_record_for_qualifier(mapping["FunctionName"], mapping.get("Qualifier"))
    if function is None:
        _retry_later(mapping)
        return
    result = lambda_svc._execute_function(function, {"Records": wanted})
    done = 0 if result.get("error") else _done(mapping, batch, result.get("body"))
    if done == len(batch):
        mapping["LastProcessingResult"] = "OK"
        _advance(mapping, done)
    elif done:
        _advance(mapping, done)
    else:
        _after_failure(mapping, function, batch, result)


def _done(mapping: Mapping, batch: list[Record], answer: Any) -> int:
    """How many records from the front are done: up to the first one the function reports as failed."""
    if "ReportBatchItemFailures" not in mapping.get("FunctionResponseTypes", []) or not isinstance(answer, dict):
        return len(batch)
    failed = {item.get("itemIdentifier") for item in answer.get("batchItemFailures") or []}
    for index, record in enumerate(batch):
        if record["dynamodb"]["SequenceNumber"] in failed:
            return index
    return 0 if failed else len(batch)


def _after_failure(mapping: Mapping, function: dict[str, Any], batch: list[Record], result: dict[str, Any]) -> None:
    trouble = _troubles.setdefault(mapping["UUID"], _Trouble())
    trouble.attempts += 1
    mapping["LastProcessingResult"] = "FAILED"
    reason = _reason_to_give_up(mapping, trouble, batch)
    if reason:
        source = mapping["EventSourceArn"]
        lambda_svc._send_ddb_stream_failure_record(mapping, function, batch, source, result, reason)
        _advance(mapping, len(batch))
        return
    if mapping.get("BisectBatchOnFunctionError") and len(batch) > 1:
        trouble.batch_size = (len(batch) + 1) // 2
    _retry_later(mapping)


def _reason_to_give_up(mapping: Mapping, trouble: _Trouble, batch: list[Record]) -> str | None:
    retries = int(mapping.get("MaximumRetryAttempts", _UNLIMITED))
    age = int(mapping.get("MaximumRecordAgeInSeconds", _UNLIMITED))
    if age > 0 and clock.now() - _created_at(batch[0]) > age:
        return "MaxRecordAgeExceeded"
    if retries >= 0 and trouble.attempts > retries:
        return "RetryAttemptsExhausted"
    return None


def _advance(mapping: Mapping, count: int) -> None:
    _troubles.pop(mapping["UUID"], None)
    lambda_svc._esm_backoff_until.pop(mapping["UUID"], None)
    with lambda_svc._dynamodb_stream_positions_lock:
        lambda_svc._dynamodb_stream_positions[mapping["UUID"]] += count


def _retry_later(mapping: Mapping) -> None:
    lambda_svc._esm_backoff_until[mapping["UUID"]] = clock.now() + lambda_svc._ESM_BACKOFF_SECONDS


def _created_at(record: Record) -> float:
    return float(record["dynamodb"]["ApproximateCreationDateTime"])
