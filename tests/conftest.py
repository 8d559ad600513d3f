"""No network, no real AWS credentials, and the same random examples on every machine."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

from tests.security.recording import issued_calls as issued_calls

hypothesis.settings.register_profile("house", derandomize=True, deadline=None, max_examples=50, database=None)
# `make adversary` asks for this one: other examples every time, and as many as a release wants.
hypothesis.settings.register_profile("adversary", deadline=None, max_examples=100_000, database=None, print_blob=True)
hypothesis.settings.load_profile("house")

PRETENDED_AWS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


class NetworkRefused(RuntimeError):
    """A test tried to leave this machine."""

    def __init__(self, address: object) -> None:
        super().__init__(f"a test tried to reach {address!r}; tests use 127.0.0.1 or a fake")


OF_ONE_WORKER = ("tests/e2e", "tests/infra")
"""Folders whose files share what takes a minute to make: a deployment, or the templates of several."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile` a file stays on one worker, and so do all files that share what is dear."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            folder = file.rpartition("/")[0]
            return folder if folder in OF_ONE_WORKER else file

    return Scheduling(config, log)


@pytest.fixture(scope="session", autouse=True)
def no_aws_account() -> Iterator[None]:
    """Whatever the person at this machine is logged in to is out of reach."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("AWS_"):
                patch.delenv(name)
        for name, value in PRETENDED_AWS.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """A socket reaches this machine only, and no name but its own is looked up."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex
    sendto, getaddrinfo = socket.socket.sendto, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _refuse_strangers(self.family, address)
        return connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _refuse_strangers(self.family, address)
        return connect_ex(self, address)

    def guarded_sendto(self: socket.socket, data: Any, *flags_and_address: Any) -> int:
        _refuse_strangers(self.family, flags_and_address[-1])
        return sendto(self, data, *flags_and_address)

    def guarded_getaddrinfo(host: Any, *more: Any, **options: Any) -> Any:
        if host is not None and not _is_here(host.decode() if isinstance(host, bytes) else host):
            raise NetworkRefused(host)
        return getaddrinfo(host, *more, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket.socket, "sendto", guarded_sendto)
        patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
        yield


def _refuse_strangers(family: int, address: Any) -> None:
    if family in (socket.AF_INET, socket.AF_INET6) and not _is_here(address[0]):
        raise NetworkRefused(address)


def _is_here(host: str) -> bool:
    if host in ("", "localhost") or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
