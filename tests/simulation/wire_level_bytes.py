"""Requests read from AWS's bytes, and answers written as them: each protocol by the shapes of the service's model."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from xml.sax.saxutils import escape

import botocore.session
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ClientError
from moto.core.model import OperationModel, ServiceModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.serialize import SERIALIZERS
from werkzeug.datastructures import Headers, MultiDict

from tests.simulation.expressions import NotUnderstood

CALLED = {"monitoring": "cloudwatch"}
"""Services whose endpoint has another name."""


@dataclass(frozen=True, slots=True)
class Request:
    """What AWS reads from a request: `parameters` have the names and types of the service's model. Every attempt of one
    call carries the same `id`."""

    id: str
    service: str
    region: str
    operation: OperationModel
    parameters: Mapping[str, Any]


@cache
def model(service: str) -> ServiceModel:
    """The service as botocore's data describe it."""
    return ServiceModel(
        botocore.session.get_session().get_component("data_loader").load_service_model(service, "service-2"), service
    )


def read(prepared: AWSPreparedRequest) -> Request:
    """What the bytes of a request say; nothing else that the client knows is looked at."""
    url = urlsplit(prepared.url)
    name, region = url.netloc.split(".")[:2]
    service = CALLED.get(name, name)
    sent: Any = prepared.body or b""
    body: bytes = sent.encode() if isinstance(sent, str) else sent
    headers = {
        key: value.decode() if isinstance(value, bytes) else str(value) for key, value in prepared.headers.items()
    }
    protocol = model(service).resolved_protocol
    said = dict(parse_qsl(body.decode(), keep_blank_values=True)) if protocol in ("ec2", "query") else {}
    placed: Mapping[str, str] = {}
    if protocol == "rest-json":
        operation, placed = _routed(service, str(prepared.method), url.path)
    else:
        asked = said["Action"] if said else headers["X-Amz-Target"].rpartition(".")[2]
        operation = model(service).operation_model(asked)
    parameters = PROTOCOL_PARSERS[protocol](operation).parse(
        {
            "body": body,
            "headers": Headers(headers),
            "method": str(prepared.method),
            "url_params": dict(placed),
            "url_path": url.path,
            "values": MultiDict(said or parse_qsl(url.query, keep_blank_values=True)),
        }
    )
    return Request(
        id=headers["amz-sdk-invocation-id"],
        service=service,
        region=region,
        operation=operation,
        parameters=_as_asked(parameters, region),
    )


def _routed(service: str, method: str, path: str) -> tuple[OperationModel, Mapping[str, str]]:
    """Which operation a path is of, and what it says."""
    for name in model(service).operation_names:
        operation = model(service).operation_model(name)
        pattern = re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", operation.http["requestUri"])
        found = re.fullmatch(pattern, path)
        if found and operation.http["method"] == method:
            return operation, found.groupdict()
    raise NotUnderstood(f"{service} {method} {path}")


def _as_asked(parameters: Mapping[str, Any], region: str) -> Mapping[str, Any]:
    """The parameters without what botocore adds to a copy: a request to the Region of the source, signed beforehand.
    RDS learns that Region from nothing else."""
    asked = {name: value for name, value in parameters.items() if value is not None}
    signed = asked.pop("PresignedUrl", None) or asked.pop("PreSignedUrl", None)
    if signed is not None:
        source = urlsplit(signed).netloc.split(".")[1]
        query = dict(parse_qsl(urlsplit(signed).query))
        if asked.pop("DestinationRegion", region) != region or query["DestinationRegion"] != region:
            raise NotUnderstood(f"a copy that was signed for {query['DestinationRegion']} and asked for in {region}")
        if asked.setdefault("SourceRegion", source) != source:
            raise NotUnderstood(f"a copy from {asked['SourceRegion']} that was signed for {source}")
    return asked


def in_bytes(request: Request, result: Mapping[str, Any]) -> AWSResponse:
    """The answer as the protocol writes it, by the shapes of the service's model."""
    serializer = SERIALIZERS[request.operation.service_model.resolved_protocol](
        request.operation, value_picker=lambda wanted: wanted.obj.get(wanted.key)
    )
    plain = {name: value.read() if isinstance(value, io.BytesIO) else value for name, value in result.items()}
    answer = serializer.serialize(plain)
    return _response(request, answer["status_code"], answer["headers"], answer["body"])


def in_bytes_refused(request: Request, refused: ClientError) -> AWSResponse:
    """An error as the protocol writes it."""
    answer: Any = refused.response
    code, message = answer["Error"]["Code"], answer["Error"]["Message"]
    status = answer["ResponseMetadata"]["HTTPStatusCode"]
    told = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    match request.operation.service_model.resolved_protocol:
        case "ec2":
            body = f"<Response><Errors><Error>{told}</Error></Errors><RequestID>1</RequestID></Response>"
            return _response(request, status, {}, body)
        case "query":
            body = f"<ErrorResponse><Error><Type>Sender</Type>{told}</Error><RequestId>1</RequestId></ErrorResponse>"
            return _response(request, status, {}, body)
        case _:
            more = {name: value for name, value in answer.items() if name not in ("Error", "ResponseMetadata")}
            body = json.dumps({"__type": code, "message": message} | more)
            return _response(request, status, {"x-amzn-ErrorType": code}, body)


class _Body(io.BytesIO):
    """The body of an answer as urllib3 hands it out."""

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        while part := self.read(65536):
            yield part


def _response(request: Request, status: int, headers: Mapping[str, str], body: str | bytes) -> AWSResponse:
    content = body.encode() if isinstance(body, str) else body
    url = f"https://{request.service}.{request.region}.amazonaws.com"
    told: Any = {**headers, "Content-Length": str(len(content))}
    return AWSResponse(url, status, told, _Body(content))
