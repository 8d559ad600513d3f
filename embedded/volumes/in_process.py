"""The volumes without a server: boto3 clients answered inside this process, a clock moved by hand, notices kept.

Requests and answers are still the bytes that botocore and the handlers exchange. For tests; one at a time.
"""

import asyncio
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

from embedded import ACCOUNT

# moto reads these when it makes its first object; a server sets them for its whole process.
os.environ.setdefault("MOTO_ACCOUNT_ID", ACCOUNT)
os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
os.environ.setdefault("MINISTACK_ACCOUNT_ID", ACCOUNT)

import boto3
import time_machine
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ClientError
from ministack.core.responses import request_scope
from ministack.services import kms
from moto.ec2.models import ec2_backends

from embedded import durations, faults, life, notices
from embedded.moto_service import Handler, Response
from embedded.volumes import image_path, limits
from embedded.volumes.blockstore import BLOCK_BYTES
from embedded.volumes.services import handlers

_FIRST_DAY = datetime(2026, 10, 1, 9, tzinfo=UTC)
_SETTLE_SECONDS = 10.0
# Each account lives on a later day than the one before it, so nothing that one left to be done happens in the next.
_days = count()


@dataclass(frozen=True)
class Notice:
    """A notice as it was handed to EventBridge."""

    region: str
    source: str
    detail_type: str
    detail: Mapping[str, Any]
    resources: tuple[str, ...]


@dataclass
class Account:
    """An account with nothing in it but its volumes plane."""

    data_directory: Path
    notices: list[Notice] = field(default_factory=list)
    _handlers: Mapping[str, Handler] = field(default_factory=dict)
    _traveller: Any = None
    _clients: dict[tuple[str, str], Any] = field(default_factory=dict)

    def ec2(self, region: str = "us-east-1") -> Any:
        """A client of EC2 that never retries."""
        return self._client("ec2", region)

    def ebs(self, region: str = "us-east-1") -> Any:
        """A client of the EBS direct APIs that never retries."""
        return self._client("ebs", region)

    def image(self, volume_id: str) -> Path:
        return image_path(self.data_directory, volume_id)

    def make_volume(self, region: str = "us-east-1", **wanted: Any) -> str:
        """An available volume of 1 GiB, unless `wanted` says otherwise."""
        volume = self.ec2(region).create_volume(**{"AvailabilityZone": f"{region}a", "Size": 1, **wanted})
        self.advance(60)
        return str(volume["VolumeId"])

    def take_snapshot(self, volume_id: str, region: str = "us-east-1", **wanted: Any) -> str:
        """A snapshot whose work has ended."""
        snapshot = self.ec2(region).create_snapshot(VolumeId=volume_id, **wanted)
        self.advance(3600)
        return str(snapshot["SnapshotId"])

    def copy_snapshot(self, snapshot_id: str, region: str = "us-west-2", **wanted: Any) -> str:
        """A copy in `region` whose work has ended."""
        copy = self.ec2(region).copy_snapshot(
            **{"SourceRegion": "us-east-1", "SourceSnapshotId": snapshot_id, **wanted}
        )
        self.advance(3600)
        return str(copy["SnapshotId"])

    def see(self, snapshot_id: str, region: str = "us-east-1") -> dict[str, Any]:
        """The snapshot as DescribeSnapshots shows it."""
        shown: dict[str, Any] = self.ec2(region).describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]
        return shown

    def write(self, volume_id: str, block_index: int, content: bytes) -> None:
        """The volume holds `content` at the beginning of the block."""
        with self.image(volume_id).open("r+b") as image:
            image.seek(block_index * BLOCK_BYTES)
            image.write(content)

    def advance(self, seconds: float) -> None:
        """So much time has passed, and everything that was due by then has happened in its order."""
        self._traveller.shift(timedelta(seconds=seconds))
        if not life.settle(_SETTLE_SECONDS):
            raise TimeoutError(f"What was due did not happen within {_SETTLE_SECONDS:g} s.")

    def doom(self, kind: str, effect: str) -> None:
        """The next snapshot, copy or volume (`kind`) will "fail" or "stick"."""
        faults.arm({"operation": f"life:{kind}", "effect": effect, "count": 1})

    def kms(self, action: str, region: str, **parameters: Any) -> dict[str, Any]:
        """The answer of ministack's KMS, which has no handler here: `kms("create_key", "us-east-1")`."""
        with request_scope(ACCOUNT, region):
            status, _, body = getattr(kms, f"_{action}")(parameters)
        if status != 200:
            raise RuntimeError(f"KMS refused {action} with {status}: {body!r}")
        answer: dict[str, Any] = json.loads(body)
        return answer

    def _client(self, service: str, region: str) -> Any:
        if (service, region) in self._clients:
            return self._clients[service, region]
        made: Any = boto3.client  # its overloads know no service by a variable
        client = made(
            service,
            region_name=region,
            aws_access_key_id=ACCOUNT,
            aws_secret_access_key="embedded",  # noqa: S106 - nobody checks it
            config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
        )

        def answer(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
            return self._answer(service, region, request)

        client.meta.events.register(f"before-send.{service}", answer)
        self._clients[service, region] = client
        return client

    def _answer(self, service: str, region: str, request: AWSPreparedRequest) -> AWSResponse:
        url = urlsplit(request.url)
        headers = {name: _text(value) for name, value in request.headers.items()}
        body: Any = request.body or b""
        content = body.encode() if isinstance(body, str) else bytes(body)

        async def call() -> Response:
            return await self._handlers[service](request.method, url.path, headers, content, parse_qs(url.query))

        with request_scope(ACCOUNT, region):
            status, answered, payload = asyncio.run(call())
        return AWSResponse(request.url, status, HTTPHeaders.from_dict(answered), _Raw(payload))


@contextmanager
def account(data_directory: Path) -> Iterator[Account]:
    """A fresh account whose clock stands still until it is moved."""
    with time_machine.travel(_FIRST_DAY + timedelta(days=next(_days)), tick=False) as traveller:
        fresh = Account(data_directory, _traveller=traveller)

        def keep(region: str, source: str, detail_type: str, detail: dict[str, Any], resources: list[str]) -> None:
            fresh.notices.append(Notice(region, source, detail_type, detail, tuple(resources)))

        with patch.object(notices, "send", keep):
            fresh.advance(0)
            fresh.notices.clear()
            ec2_backends.reset()
            kms.reset()
            _restore_settings()
            fresh._handlers = handlers(data_directory, is_guarded=False)
            try:
                yield fresh
            finally:
                _restore_settings()


def _restore_settings() -> None:
    faults.clear()
    durations.reset()
    limits.in_force.reset()


@dataclass(frozen=True)
class Refusal:
    """How AWS said no."""

    code: str
    message: str
    status: int
    reason: str | None
    """Of the EBS direct APIs only."""


def refusal(call: Callable[..., object], **parameters: Any) -> Refusal:
    """The refusal the call is answered with; an AssertionError if it is not refused."""
    try:
        call(**parameters)
    except ClientError as refused:
        answer: Any = refused.response
        error, status = answer["Error"], answer["ResponseMetadata"]["HTTPStatusCode"]
        return Refusal(error["Code"], error["Message"], status, answer.get("Reason"))
    raise AssertionError("The call was answered, not refused.")


class _Raw(io.BytesIO):
    """What botocore expects of an HTTP response: a file that can be streamed."""

    def stream(self, chunk_bytes: int = 65_536, **_: Any) -> Iterator[bytes]:
        while chunk := self.read(chunk_bytes):
            yield chunk


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
