"""The frame around every handler: the only place that knows Lambda, Powertools and the clock on the wall.

A verb is a plain function of its message, the tools and the time. The frame parses the message, calls the verb, logs
the one line that says what was decided and why, and lets errors out under their own names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, TypeVar

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.contracts import wire
from functions.core.errors import BadMessage, HoldfastError, TryAgain
from functions.handlers.tools import Tools, from_environment

Message = TypeVar("Message")
Handler = Callable[[dict[str, Any], LambdaContext], Any]

LONGEST_DELAY_SECONDS = 900
"""SQS delays no message longer."""

LONGEST_LOGGED = 2_000
"""Characters of one text in a log line."""


@cache
def tools() -> Tools:
    """The tools of this process, made once and kept while it is warm."""
    return from_environment()


@cache
def logger() -> Logger:
    """The log of this process: JSON lines in ASCII, so that no text from outside can forge one, or show a reader
    something else than it says."""
    return Logger(json_serializer=partial(json.dumps, default=str, separators=(",", ":")))


def now() -> datetime:
    """The time on the wall, read here and nowhere else."""
    return datetime.now(UTC)


def tick(work: Callable[[Tools, datetime], object]) -> Handler:
    """A handler for a schedule: nothing in the event matters but that it came."""

    def handler(event: dict[str, Any], context: LambdaContext) -> Any:
        return _done(work, lambda: work(tools(), now()))

    return handler


def event(work: Callable[[dict[str, Any], Tools, datetime], object]) -> Handler:
    """A handler that reads the event itself."""

    def handler(event: dict[str, Any], context: LambdaContext) -> Any:
        return _done(work, lambda: work(_whole(event), tools(), now()))

    return handler


def orders(shape: type[Message], queue: Callable[[Tools], Any]) -> Callable[[Callable[..., object]], Handler]:
    """A handler for a queue of orders.

    An order that must wait goes back to the queue as a new message with a delay, so that waiting is never counted as
    failing; any other error leaves it to SQS, which gives up on it after its receive count and keeps it for a person.
    """

    def framed(work: Callable[[Message, Tools, datetime], object]) -> Handler:
        def one(record: Any) -> None:
            body = record.body
            try:
                _done(work, lambda: work(wire.load(shape, body), tools(), now()))
            except TryAgain as waits:
                queue(tools()).send([body], delays_seconds=[min(waits.after_seconds, LONGEST_DELAY_SECONDS)])

        def handler(event: dict[str, Any], context: LambdaContext) -> Any:
            processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
            return process_partial_response(event=event, record_handler=one, processor=processor, context=context)

        return handler

    return framed


def task(shape: type[Message]) -> Callable[[Callable[[Message, Tools, datetime], Message]], Handler]:
    """A handler for a state of a workflow: one fact in, the same fact with more known out, under one name."""

    name = shape.__name__.lower()

    def framed(work: Callable[[Message, Tools, datetime], Message]) -> Handler:
        def handler(event: dict[str, Any], context: LambdaContext) -> Any:
            fact = _done(work, lambda: work(wire.read(shape, _whole(event).get(name)), tools(), now()))
            return {name: fact}

        return handler

    return framed


def _whole(event: dict[str, Any]) -> dict[str, Any]:
    """The event, in which every character is whole.

    Errors: BadMessage for half of a surrogate pair. JSON can write one; no key, request or log line can hold it.
    """
    try:
        json.dumps(event, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as problem:
        raise BadMessage(
            f"the event holds half a character: {problem.object[problem.start : problem.end]!a}",
            hint="Something between its author and us broke the text; send it again in UTF-8.",
        ) from problem
    return event


def _done(work: Callable[..., object], call: Callable[[], object]) -> Any:
    """The fact as plain data, after exactly one line about it in the log."""
    verb = getattr(work, "__name__", "work")
    try:
        fact = wire.plain(call())
    except HoldfastError as problem:
        level = logger().warning if isinstance(problem, TryAgain) else logger().error
        level(verb, extra={"error": type(problem).__name__, "what": _short(problem.what), "hint": problem.hint})
        raise
    logger().info(verb, extra={"decision": _short(fact)})
    return fact


def _short(fact: Any) -> Any:
    """The fact for the log: long lists as their length and long texts cut, because a log line is read by people and
    paid by the byte."""
    if isinstance(fact, Mapping):
        return {key: _short(value) for key, value in fact.items() if value not in (None, "", [], {})}
    if isinstance(fact, list) and len(fact) > 20:
        return f"{len(fact)} items"
    if isinstance(fact, list):
        return [_short(one) for one in fact]
    if isinstance(fact, str) and len(fact) > LONGEST_LOGGED:
        return f"{fact[:LONGEST_LOGGED]}... ({len(fact)} characters)"
    return fact
