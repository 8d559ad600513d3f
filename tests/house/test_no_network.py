"""The guard that conftest.py puts up."""

from __future__ import annotations

import os
import socket

import pytest

from tests.conftest import PRETENDED_AWS, NetworkRefused


@pytest.mark.parametrize("address", [("93.184.216.34", 80), ("169.254.169.254", 80), ("10.0.0.1", 443)])
def test_a_socket_to_another_machine_is_refused(address: tuple[str, int]) -> None:
    with socket.socket() as caller:
        caller.settimeout(0.2)
        with pytest.raises(NetworkRefused, match=address[0].replace(".", r"\.")):
            caller.connect(address)
        with pytest.raises(NetworkRefused):
            caller.connect_ex(address)


def test_a_datagram_to_another_machine_is_refused() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller, pytest.raises(NetworkRefused):
        caller.sendto(b"hello", ("93.184.216.34", 53))


def test_the_name_of_another_machine_is_not_looked_up() -> None:
    with pytest.raises(NetworkRefused, match="amazonaws"):
        socket.getaddrinfo("ec2.eu-central-1.amazonaws.com", 443)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_reached(host: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection((host, server.getsockname()[1]), timeout=2) as caller,
    ):
        assert caller.getpeername() == server.getsockname()


def test_nobody_is_logged_in_to_aws() -> None:
    assert {name: os.environ.get(name) for name in PRETENDED_AWS} == PRETENDED_AWS
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"} & set(os.environ)
