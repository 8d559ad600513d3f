"""What stands in front of ministack: the control endpoints, and the armed faults around every AWS call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from hypercorn.protocol.events import StreamClosed
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from ministack.core.router import extract_region

from embedded import clock, databases, durations, faults, life, volumes
from embedded.call import Call
from embedded.corrections import lambda_workers

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_CONTROL = "/_embedded/"
_HANG_UP = "embedded.hang_up"
# After a jump the answer waits until what became due has happened, so that a test can look at once.
_SETTLE_SECONDS = 5.0


def around(app: App) -> App:
    """`app` with our control endpoints beside it and the armed faults around it."""
    _teach_hypercorn_to_hang_up()

    async def gateway(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
        elif scope["path"].startswith(_CONTROL):
            await _answer_control(scope, receive, send)
        elif faults.any_on_operations():
            await _answer_under_faults(app, scope, receive, send)
        else:
            await app(scope, receive, send)

    return gateway


# ---------------------------------------------------------------------------- control


async def _answer_control(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        wanted = json.loads(await _read(receive) or b"{}")
        status, answer = 200, await asyncio.to_thread(_control, scope["path"], scope["method"], wanted)
    except (ValueError, TypeError, KeyError) as wrong:
        status, answer = 400, {"error": str(wrong)}
    await _send_json(send, status, answer)


def _control(path: str, method: str, wanted: dict[str, Any]) -> dict[str, Any]:
    match path.removeprefix(_CONTROL), method:
        case "clock", "GET":
            pass
        case "clock", "POST":
            _move_clock(wanted)
        case "faults", "GET":
            return {"faults": faults.armed()}
        case "faults", "POST":
            faults.arm(wanted)
            return {"faults": faults.armed()}
        case "faults", "DELETE":
            faults.clear()
            return {"faults": []}
        case "durations", "GET":
            return {"durations": durations.all_seconds()}
        case "durations", "POST":
            durations.update(wanted)
            return {"durations": durations.all_seconds()}
        case "durations", "DELETE":
            durations.reset()
            return {"durations": durations.all_seconds()}
        case "limits", _:
            return volumes.control(method, wanted)
        case "databases", _:
            return databases.control(method, wanted)
        case _:
            raise ValueError(f"no control endpoint answers {method} {path}; embedded/README.md lists them")
    return {"now": clock.now(), "rate": clock.rate()}


def _move_clock(wanted: dict[str, Any]) -> None:
    unknown = set(wanted) - {"set", "advance", "rate"}
    if unknown or not wanted:
        raise ValueError('move the clock with {"set": epoch seconds}, {"advance": seconds} or {"rate": x}')
    if "rate" in wanted:
        clock.set_rate(float(wanted["rate"]))
    if "set" in wanted:
        clock.set_to(float(wanted["set"]))
    if "advance" in wanted:
        clock.advance(float(wanted["advance"]))
    life.settle(_SETTLE_SECONDS)


# ---------------------------------------------------------------------------- faults


async def _answer_under_faults(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    call, receive = await _recognise(scope, receive)
    fault = faults.take(call.operation, call.region) if call else None
    if call is None or fault is None:
        await app(scope, receive, send)
    elif fault.effect == "refuse":
        status, headers, body = call.refusal(fault.error_code or "InternalError")
        await _send_whole(send, status, headers, body)
    else:
        await app(scope, receive, _into_nothing)
        if fault.effect == "kill-caller":
            await asyncio.to_thread(lambda_workers.kill, fault.function or "")
        await send({"type": _HANG_UP})


async def _recognise(scope: Scope, receive: Receive) -> tuple[Call | None, Receive]:
    """The AWS call in this request, and a `receive` that still yields the whole of it."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    query = scope.get("query_string", b"").decode("latin-1")
    body = b""
    if "x-www-form-urlencoded" in headers.get("content-type", ""):
        body = await _read(receive)
        receive = _replay(body, receive)
    return Call.recognise(scope["method"], scope["path"], headers, query, body, extract_region(headers)), receive


def _replay(body: bytes, receive: Receive) -> Receive:
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed


async def _into_nothing(message: Message) -> None:
    """The effect has happened; its answer is lost."""


def _teach_hypercorn_to_hang_up() -> None:
    """A message of type `embedded.hang_up` closes the connection without a byte of answer.

    ASGI has no such message: an application that ends without an answer is answered 500 on its behalf.
    """
    original = HTTPStream.app_send

    async def app_send(self: HTTPStream, message: Any) -> None:
        if message is not None and message["type"] == _HANG_UP:
            self.state = ASGIHTTPState.CLOSED
            await self.send(StreamClosed(stream_id=self.stream_id))
        else:
            await original(self, message)

    HTTPStream.app_send = app_send  # type: ignore[method-assign]


# ---------------------------------------------------------------------------- bytes in and out


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return bytes(body)
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)


async def _send_json(send: Send, status: int, answer: dict[str, Any]) -> None:
    await _send_whole(send, status, {"content-type": "application/json"}, json.dumps(answer).encode())


async def _send_whole(send: Send, status: int, headers: dict[str, str], body: bytes) -> None:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    pairs.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
