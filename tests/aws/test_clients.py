"""How many requests leave, counted by a server that answers badly."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from functions.aws.clients import ONCE, RETRYING, Clients
from functions.aws.ebs_volumes import VolumeSnapshots
from functions.aws.ec2_instances import InstanceSnapshots
from functions.aws.rds_clusters import ClusterSnapshots
from functions.aws.rds_databases import DatabaseSnapshots
from functions.core import labels
from functions.core.errors import AwsBusy, OutcomeUnknown
from functions.core.resources import Kind, ResourceKey
from functions.core.snapshots import Snapshot, Snapshots, State
from tests.aws.moto_world import ACCOUNT, AWAY, HOME, new_session
from tests.aws.snapshots_suite import copy_order_for, order_for

CREATES = {
    "CreateSnapshot": (Kind.VOLUME, "take"),
    "CreateSnapshots": (Kind.INSTANCE, "take"),
    "CopySnapshot": (Kind.VOLUME, "copy"),
    "CreateDBSnapshot": (Kind.DATABASE, "take"),
    "CopyDBSnapshot": (Kind.DATABASE, "copy"),
    "CreateDBClusterSnapshot": (Kind.CLUSTER, "take"),
    "CopyDBClusterSnapshot": (Kind.CLUSTER, "copy"),
}
ADAPTERS: dict[Kind, Any] = {
    Kind.VOLUME: VolumeSnapshots,
    Kind.INSTANCE: InstanceSnapshots,
    Kind.DATABASE: DatabaseSnapshots,
    Kind.CLUSTER: ClusterSnapshots,
}
DESCRIPTIONS = {
    "DescribeInstances": "<reservationSet><item><instancesSet><item><instanceId>i-1</instanceId><instanceState>"
    "<name>running</name></instanceState><blockDeviceMapping><item><deviceName>/dev/sda1</deviceName><ebs>"
    "<volumeId>vol-1</volumeId></ebs></item></blockDeviceMapping></item></instancesSet></item></reservationSet>",
    "DescribeVolumes": "<volumeSet/>",
    "DescribeDBSnapshots": "<DescribeDBSnapshotsResult><DBSnapshots><DBSnapshot><DBSnapshotIdentifier>snap-source"
    "</DBSnapshotIdentifier></DBSnapshot></DBSnapshots></DescribeDBSnapshotsResult>",
    "DescribeDBClusterSnapshots": "<DescribeDBClusterSnapshotsResult><DBClusterSnapshots><DBClusterSnapshot>"
    "<DBClusterSnapshotIdentifier>snap-source</DBClusterSnapshotIdentifier></DBClusterSnapshot></DBClusterSnapshots>"
    "</DescribeDBClusterSnapshotsResult>",
}


class Failing(BaseHTTPRequestHandler):
    """Describes what is asked for, and fails every request that creates or deletes in the server's way."""

    protocol_version = "HTTP/1.1"
    server: FailingServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        operation = body.partition("Action=")[2].partition("&")[0]
        if operation in DESCRIPTIONS:
            self.answer(200, f"<{operation}Response>{DESCRIPTIONS[operation]}</{operation}Response>")
            return
        self.server.seen.append(operation)
        self.server.failure(self)

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the test reads `seen`."""


class FailingServer(ThreadingHTTPServer):
    """A server that keeps the operations it was asked for."""

    daemon_threads = True

    def __init__(self, failure: Callable[[Failing], None]) -> None:
        super().__init__(("127.0.0.1", 0), Failing)
        self.failure = failure
        self.seen: list[str] = []


def drop_the_connection(request: Failing) -> None:
    request.close_connection = True
    request.connection.shutdown(socket.SHUT_RDWR)


def answer_500(request: Failing) -> None:
    request.answer(500, "")


def answer_503_throttled(request: Failing) -> None:
    """RDS and EC2 wrap an error differently; botocore reads this form for both."""
    request.answer(
        503,
        "<Response><Errors><Error><Code>RequestLimitExceeded</Code><Message>slow</Message></Error></Errors>"
        "<Error><Code>RequestLimitExceeded</Code><Message>slow</Message></Error></Response>",
    )


def answer_fragments(request: Failing) -> None:
    request.answer(200, "<CreateSnapshotResponse><snapsh")


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[FailingServer]:
    with FailingServer(request.param) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def clients(server: FailingServer, monkeypatch: pytest.MonkeyPatch) -> Clients:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "9")  # what a user's profile says must not matter
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    return Clients(new_session())


def speak(operation: str, clients: Clients) -> None:
    kind, verb = CREATES[operation]
    adapter: Snapshots = ADAPTERS[kind](region=HOME if verb == "take" else AWAY, account=ACCOUNT, clients=clients)
    order = order_for(ResourceKey(account=ACCOUNT, region=HOME, kind=kind, id="i-1"))
    if verb == "take":
        adapter.take(order, labels.for_snapshot(order))
        return
    source = Snapshot(id="snap-source", region=HOME, state=State.COMPLETED, source_id="vol-1")
    copying = copy_order_for(source, order, AWAY)
    adapter.copy(copying, labels.for_copy(copying), home_region=HOME)


@pytest.mark.parametrize("operation", CREATES)
@pytest.mark.parametrize("server", [drop_the_connection, answer_500], indirect=True)
def test_one_order_is_one_request_whose_loss_is_an_unknown_outcome(
    operation: str, server: FailingServer, clients: Clients
) -> None:
    """F03, invariant 3."""
    with pytest.raises(OutcomeUnknown):
        speak(operation, clients)
    assert server.seen == [operation]


@pytest.mark.parametrize("operation", CREATES)
@pytest.mark.parametrize("server", [answer_503_throttled], indirect=True)
def test_a_throttled_create_is_not_repeated_and_was_not_done(
    operation: str, server: FailingServer, clients: Clients
) -> None:
    with pytest.raises(AwsBusy):
        speak(operation, clients)
    assert server.seen == [operation]


@pytest.mark.parametrize("server", [answer_fragments], indirect=True)
def test_an_answer_in_fragments_is_an_unknown_outcome(server: FailingServer, clients: Clients) -> None:
    with pytest.raises(OutcomeUnknown):
        speak("CreateSnapshot", clients)
    assert server.seen == ["CreateSnapshot"]


@pytest.mark.parametrize("server", [drop_the_connection, answer_500], indirect=True)
def test_what_may_be_repeated_is_sent_five_times(server: FailingServer, clients: Clients) -> None:
    volumes = VolumeSnapshots(region=HOME, account=ACCOUNT, clients=clients)
    with pytest.raises(AwsBusy):
        volumes.delete("snap-1")
    assert server.seen == ["DeleteSnapshot"] * 5


def test_no_connection_is_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(AwsBusy):
            speak("CreateSnapshot", Clients(new_session()))


def test_a_client_is_built_once_and_the_two_kinds_are_two_clients() -> None:
    clients = Clients(new_session())
    assert clients.retrying("ec2", HOME) is clients.retrying("ec2", HOME)
    assert clients.once("ec2", HOME) is not clients.retrying("ec2", HOME)
    assert clients.once("ec2", HOME) is not clients.once("ec2", AWAY)


def test_the_time_limits_are_those_we_promise() -> None:
    retrying, once = Clients(new_session()).retrying("ec2", HOME), Clients(new_session()).once("ec2", HOME)
    assert (retrying.meta.config.connect_timeout, retrying.meta.config.read_timeout) == (3, 20)
    assert (once.meta.config.connect_timeout, once.meta.config.read_timeout) == (3, 60)
    assert (retrying.meta.config.retries["total_max_attempts"], once.meta.config.retries["total_max_attempts"]) == (
        5,
        1,
    )
    assert RETRYING is not ONCE


def test_the_partition_is_that_of_the_region() -> None:
    clients = Clients(new_session())
    assert [clients.partition(r) for r in ("eu-west-1", "cn-north-1", "us-gov-west-1")] == [
        "aws",
        "aws-cn",
        "aws-us-gov",
    ]
