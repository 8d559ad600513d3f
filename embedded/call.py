"""One AWS call as it looks on the wire: which operation it is, and how its service would refuse it."""

from __future__ import annotations

import functools
import html
import json
import re
from dataclasses import dataclass
from urllib.parse import parse_qs

import botocore.session
from botocore.model import ServiceModel

_SCOPE = re.compile(r"Credential=[^/]+/[^/]+/[^/]+/([^/]+)/")
# Where the name in the credential scope is not the name of the service in IAM actions and botocore alike.
_BOTOCORE_NAMES = {"states": "stepfunctions", "monitoring": "cloudwatch"}
_ACTION_PREFIXES = {"monitoring": "cloudwatch"}
# EC2 answers these with 503 or 500; everything else we refuse is the caller's own 400.
_UNAVAILABLE = {"RequestLimitExceeded", "Unavailable", "ServiceUnavailable", "InternalError", "SlowDown"}
_FAILED = {"InsufficientInstanceCapacity", "InsufficientCapacity", "InsufficientHostCapacity"}


@dataclass(frozen=True)
class Call:
    """One request to one AWS operation."""

    operation: str
    region: str
    protocol: str

    @classmethod
    def recognise(
        cls, method: str, path: str, headers: dict[str, str], query: str, body: bytes, region: str
    ) -> Call | None:
        """The call, or None where a request is not a signed AWS call or names no known operation."""
        scope = _SCOPE.search(headers.get("authorization", ""))
        if scope is None:
            return None
        service = scope.group(1)
        parameters = {**parse_qs(body.decode("latin-1")), **parse_qs(query)}
        if "Action" in parameters:
            name, protocol = parameters["Action"][0], "ec2" if service == "ec2" else "query"
        elif "x-amz-target" in headers:
            name, protocol = headers["x-amz-target"].rsplit(".", 1)[-1], "json"
        else:
            name, protocol = _rest_operation(service, method, path), "rest-xml" if service == "s3" else "rest-json"
        if name is None:
            return None
        return cls(f"{_ACTION_PREFIXES.get(service, service)}:{name}", region, protocol)

    def refusal(self, error_code: str) -> tuple[int, dict[str, str], bytes]:
        """The answer the service gives when it refuses this call with `error_code`."""
        status = 503 if error_code in _UNAVAILABLE else 500 if error_code in _FAILED else 400
        message = f"{self.operation} was refused: a fault is armed for it"
        if self.protocol in ("ec2", "query", "rest-xml"):
            return status, {"content-type": "text/xml"}, _xml_error(self.protocol, error_code, message).encode()
        headers = {"content-type": "application/json", "x-amzn-errortype": error_code}
        return status, headers, json.dumps({"__type": error_code, "message": message}).encode()


def _xml_error(protocol: str, code: str, message: str) -> str:
    error = f"<Code>{html.escape(code)}</Code><Message>{html.escape(message)}</Message>"
    if protocol == "ec2":
        return f"<Response><Errors><Error>{error}</Error></Errors><RequestID>embedded</RequestID></Response>"
    if protocol == "query":
        error = f"<Error><Type>Sender</Type>{error}</Error><RequestId>embedded</RequestId>"
        return f"<ErrorResponse>{error}</ErrorResponse>"
    return f"<Error>{error}</Error>"


def _rest_operation(service: str, method: str, path: str) -> str | None:
    for verb, pattern, name in _rest_routes(_BOTOCORE_NAMES.get(service, service)):
        if verb == method and pattern.fullmatch(path):
            return name
    return None


@functools.cache
def _rest_routes(service: str) -> list[tuple[str, re.Pattern[str], str]]:
    """The service's operations by verb and path, the most literal path first."""
    session = botocore.session.get_session()
    if service not in session.get_available_services():
        return []
    model: ServiceModel = session.get_service_model(service)
    routes = [(model.operation_model(name).http, name) for name in model.operation_names]
    routes.sort(key=lambda route: route[0]["requestUri"].count("{"))
    return [(http["method"], _pattern(http["requestUri"]), name) for http, name in routes]


def _pattern(request_uri: str) -> re.Pattern[str]:
    pieces = re.split(r"(\{[^}]+\})", request_uri.partition("?")[0].rstrip("/"))
    regex = "".join(
        (r".+" if piece.endswith("+}") else r"[^/]+") if piece.startswith("{") else re.escape(piece) for piece in pieces
    )
    return re.compile(regex + "/?")
