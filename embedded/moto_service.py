"""A moto response class as a ministack service."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

from ministack.core.responses import get_region
from moto.core.request import Request
from moto.core.responses import BaseResponse

Headers = dict[str, str]
Response = tuple[int, Headers, bytes]
Handler = Callable[[str, str, Headers, bytes, dict[str, Any]], Awaitable[Response]]


def handler(response_class: type[BaseResponse], service: str) -> Handler:
    """The handler that answers `service` from moto's `response_class`, off the event loop."""

    def answer(method: str, path: str, headers: Headers, body: bytes, query: dict[str, Any]) -> Response:
        query_string = urlencode(query, doseq=True)
        url = f"https://{service}.{get_region()}.amazonaws.com{path}" + (f"?{query_string}" if query_string else "")
        request = Request.from_primitives(method, url, headers, body)
        status, answered_headers, answered = _dispatch(response_class, request)
        payload = answered if isinstance(answered, bytes) else str(answered).encode()
        if status >= 400:
            # ministack's Step Functions finds <Code> only in an error without a namespace.
            payload = re.sub(rb' xmlns="[^"]*"', b"", payload)
        kept = {str(name): str(value) for name, value in answered_headers.items() if str(name).lower() != "server"}
        return status, kept, payload

    async def handle(method: str, path: str, headers: Headers, body: bytes, query: dict[str, Any]) -> Response:
        return await asyncio.to_thread(answer, method, path, headers, body, query)

    return handle


def _dispatch(response_class: type[BaseResponse], request: Request) -> tuple[int, dict[str, Any], str | bytes]:
    try:
        return response_class.dispatch(request, request.raw_url, request.headers)
    except NotImplementedError as missing:
        return 400, {"Content-Type": "text/xml"}, _invalid_action(str(missing))
    except Exception as error:
        # moto raises AWS errors as HTTP exceptions that know their own response; anything else is a defect.
        get_response = getattr(error, "get_response", None)
        if get_response is None:
            raise
        response = get_response(request.environ)
        return response.status_code, dict(response.headers), response.get_data()


def _invalid_action(message: str) -> str:
    error = f"<Error><Code>InvalidAction</Code><Message>{html.escape(message)}</Message></Error>"
    return f"<Response><Errors>{error}</Errors></Response>"
