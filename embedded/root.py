"""Clients of the account's root, the only caller that needs no policy."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config

from embedded import ACCOUNT

# boto3's stubs want the name of each service spelled out; here it is always somebody else's argument.
_make: Any = boto3.client


def client(service: str, region: str, endpoint: str, **settings: Any) -> Any:
    """A client of one service in one Region; `settings` go to botocore's Config."""
    return _make(
        service,
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=ACCOUNT,
        aws_secret_access_key="test",  # noqa: S106 - ministack's root has no other
        config=Config(**settings),
    )
