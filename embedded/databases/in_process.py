"""The databases without a server: boto3 clients answered inside this process, a clock moved by hand, notices kept.

Requests and answers are still the bytes that botocore and the handlers exchange, and PostgreSQL servers are still
real. For tests; one at a time.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any, cast
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
from ministack.core.responses import request_scope
from ministack.services import kms, secretsmanager
from moto.ec2.models import ec2_backends
from moto.ec2.responses import EC2Response
from moto.rds.models import rds_backends

from embedded import databases, durations, faults, life, moto_service, notices
from embedded.databases import quotas, waiting
from embedded.databases.estate import estate
from embedded.databases.resources import Instance, Snapshot
from embedded.moto_service import Handler, Response

_FIRST_DAY = datetime(2026, 3, 1, 9, tzinfo=UTC)
_SETTLE_SECONDS = 10.0
# Each account lives on a later day than the one before it, so nothing that one left to be done happens in the next.
_days = count()


@dataclass(frozen=True)
class Notice:
    """A notice as it was handed to EventBridge."""

    region: str
    detail_type: str
    detail: Mapping[str, Any]
    resources: list[str]


@dataclass
class Account:
    """An account with nothing in it but its databases."""

    _handlers: Mapping[str, Handler]
    _traveller: Any
    notices: list[Notice] = field(default_factory=list)
    _clients: dict[tuple[str, str], Any] = field(default_factory=dict)

    def rds(self, region: str = "us-east-1") -> Any:
        """A client of RDS that never retries."""
        return self.client("rds", region)

    def client(self, service: str, region: str = "us-east-1") -> Any:
        """A client, which never retries, of `rds`, of `ec2` for the networks that databases are in, or of `kms`."""
        if (service, region) not in self._clients:
            self._clients[service, region] = self._new_client(service, region)
        return self._clients[service, region]

    def make_instance(self, identifier: str, region: str = "us-east-1", **wanted: Any) -> dict[str, Any]:
        """An available instance: of an engine that is only a name, unless `wanted` says otherwise."""
        defaults = {"Engine": "mysql", "DBInstanceClass": "db.t4g.micro", "AllocatedStorage": 20}
        master = {"MasterUsername": "holdfast"}
        if "ManageMasterUserPassword" not in wanted:
            master["MasterUserPassword"] = "a master's password"
        self.rds(region).create_db_instance(DBInstanceIdentifier=identifier, **(defaults | master | wanted))
        self.advance(60)
        return waiting.instance_in_state(self.rds(region), identifier)

    def take_snapshot(self, instance: str, snapshot: str, region: str = "us-east-1", **wanted: Any) -> dict[str, Any]:
        """An available snapshot."""
        self.rds(region).create_db_snapshot(DBInstanceIdentifier=instance, DBSnapshotIdentifier=snapshot, **wanted)
        self.advance(60)
        return waiting.snapshot_in_state(self.rds(region), snapshot)

    def make_cluster(self, identifier: str, region: str = "us-east-1", **wanted: Any) -> dict[str, Any]:
        """An available Aurora cluster without instances."""
        master = {"MasterUsername": "holdfast", "MasterUserPassword": "a master's password"}
        self.rds(region).create_db_cluster(
            DBClusterIdentifier=identifier, **({"Engine": "aurora-postgresql"} | master | wanted)
        )
        self.advance(60)
        return waiting.cluster_in_state(self.rds(region), identifier)

    def make_member(self, identifier: str, cluster: str, engine: str = "aurora-postgresql") -> dict[str, Any]:
        """An available instance of the cluster."""
        self.rds().create_db_instance(
            DBInstanceIdentifier=identifier,
            DBClusterIdentifier=cluster,
            Engine=engine,
            DBInstanceClass="db.r6g.large",
        )
        self.advance(60)
        return waiting.instance_in_state(self.rds(), identifier)

    def events(self, region: str = "us-east-1") -> list[str]:
        """The ids of the RDS events of a Region, in their order."""
        self.advance(0)
        return [notice.detail["EventID"] for notice in self.notices if notice.region == region]

    def secret(self, arn: str, region: str = "us-east-1") -> dict[str, str] | None:
        """The content of a secret, or None where there is none."""
        with request_scope(ACCOUNT, region):
            text = secretsmanager.resolve_secret_string(arn)
        return json.loads(text) if text else None

    def kms(self, action: str, region: str = "us-east-1", **parameters: Any) -> dict[str, Any]:
        """The answer of ministack's KMS, which has no handler here: `kms("create_key")`."""
        with request_scope(ACCOUNT, region):
            status, _, body = getattr(kms, f"_{action}")(parameters)
        if status != 200:
            raise RuntimeError(f"KMS refused {action} with {status}: {body!r}")
        return json.loads(body)

    def doom(self, kind: str, effect: str, region: str | None = None) -> None:
        """The next thing of this kind to be made ("db-snapshot", "db-copy", ...) will "fail" or "stick"."""
        faults.arm({"operation": f"life:{kind}", "effect": effect, "region": region, "count": 1})

    def make_key(self, region: str = "us-east-1") -> str:
        """The ARN of a new key."""
        return self.kms("create_key", region)["KeyMetadata"]["Arn"]

    def advance(self, seconds: float) -> None:
        """So much time has passed, and everything that was due by then has happened in its order."""
        self._traveller.shift(timedelta(seconds=seconds))
        _settle()

    def _new_client(self, service: str, region: str) -> Any:
        make: Any = boto3.client  # its overloads know no service by a variable
        client = make(
            service,
            region_name=region,
            aws_access_key_id=ACCOUNT,
            aws_secret_access_key="embedded",  # noqa: S106
            config=Config(retries={"total_max_attempts": 1}),
        )

        def answer(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
            return self._answer(service, region, request)

        # botocore's own types forbid what its documentation describes: a handler here may answer the request.
        register: Any = client.meta.events.register
        register(f"before-send.{service}", answer)
        return client

    async def _handle(
        self, service: str, method: str, path: str, headers: dict[str, str], content: bytes, query: str
    ) -> Response:
        return await self._handlers[service](method, path, headers, content, parse_qs(query))

    def _answer(self, service: str, region: str, request: AWSPreparedRequest) -> AWSResponse:
        url = urlsplit(request.url)
        headers = {name.lower(): _text(value) for name, value in request.headers.items()}
        content = _text(cast("str | bytes | None", request.body) or "").encode()
        with request_scope(ACCOUNT, region):
            status, answered, payload = asyncio.run(
                self._handle(service, request.method, url.path, headers, content, url.query)
            )
        return AWSResponse(request.url, status, HTTPHeaders.from_dict(answered), _Raw(payload))


@contextmanager
def account() -> Iterator[Account]:
    """A fresh account whose clock stands still until it is moved."""
    with time_machine.travel(_FIRST_DAY + timedelta(days=next(_days)), tick=False) as traveller:
        kept: list[Notice] = []

        def keep(region: str, _: str, detail_type: str, detail: dict[str, Any], resources: list[str]) -> None:
            kept.append(Notice(region, detail_type, detail, resources))

        with patch.object(notices, "send", keep):
            _settle()
            kept.clear()
            _forget_everything()
            handlers: dict[str, Handler] = {}
            databases.install(SimpleNamespace(SERVICE_HANDLERS=handlers))
            try:
                networks = moto_service.handler(EC2Response, "ec2")
                yield Account({**handlers, "ec2": networks, "kms": kms.handle_request}, traveller, kept)
            finally:
                _forget_everything()


def _settle() -> None:
    if not life.settle(_SETTLE_SECONDS):
        raise TimeoutError(f"What was due did not happen within {_SETTLE_SECONDS:g} s.")


def _forget_everything() -> None:
    for region in rds_backends.get(ACCOUNT, {}).values():
        for instance in region.databases.values():
            if isinstance(instance, Instance) and instance.live:
                instance.live.remove()
        for snapshot in region.database_snapshots.values():
            if isinstance(snapshot, Snapshot) and snapshot.image:
                estate().images.release(snapshot.image)
    ec2_backends.reset()
    rds_backends.clear()
    for restore in (kms.reset, secretsmanager.reset, faults.clear, durations.reset, quotas.reset):
        restore()


class _Raw(io.BytesIO):
    """What botocore expects of an HTTP response: a file that can be streamed."""

    def stream(self, chunk_bytes: int = 65_536, **_: Any) -> Iterator[bytes]:
        while chunk := self.read(chunk_bytes):
            yield chunk


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
