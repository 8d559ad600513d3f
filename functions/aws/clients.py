"""boto3 clients: one set that may repeat a request, and one that sends it exactly once."""

from __future__ import annotations

import threading
from typing import Any

import boto3
from botocore.config import Config

RETRYING = Config(
    retries={"mode": "standard", "total_max_attempts": 5},
    connect_timeout=3,
    read_timeout=20,
    user_agent_extra="holdfast",
)
"""For whatever may be said twice: every Describe and List, and changes that are idempotent at AWS."""

ONCE = Config(
    retries={"mode": "standard", "total_max_attempts": 1},
    connect_timeout=3,
    read_timeout=60,
    user_agent_extra="holdfast",
)
"""For the creates and copies of snapshots. They take no client token, and botocore by itself sends a request again
whose reply was lost: up to five snapshots for one order. The long read timeout makes a lost reply rarer."""


class Clients:
    """The clients of one session, built when first asked for and kept; safe to share between threads."""

    def __init__(self, session: boto3.Session | None = None) -> None:
        self._session = session or boto3.Session()
        self._built: dict[tuple[str, str, bool], Any] = {}
        self._building = threading.Lock()

    def retrying(self, service: str, region: str) -> Any:
        """The client that repeats a request after throttling, a 5xx or a lost reply."""
        return self._client(service, region, is_once=False)

    def once(self, service: str, region: str) -> Any:
        """The client for which one call is one request, whatever happens to the reply."""
        return self._client(service, region, is_once=True)

    def partition(self, region: str) -> str:
        """The first word of every ARN there: aws, aws-cn, aws-us-gov."""
        return self._session.get_partition_for_region(region)

    def _client(self, service: str, region: str, *, is_once: bool) -> Any:
        wanted = (service, region, is_once)
        with self._building:  # a boto3 session is not thread-safe, its clients are
            if wanted not in self._built:
                # The name comes as a variable, so the stubs cannot tell which client this is; the adapters say it.
                build: Any = self._session.client
                self._built[wanted] = build(service, region_name=region, config=ONCE if is_once else RETRYING)
            return self._built[wanted]
