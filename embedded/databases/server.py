"""One PostgreSQL server: a data directory, its process, and the ways to stop, pause and administer it.

The server listens on a Unix socket only. What RDS calls the endpoint is a `Doorway` in front of it.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from pg8000.native import Connection, identifier, literal

from embedded.databases import programs
from embedded.databases.programs import Programs

ADMINISTRATOR = "rdsadmin"
"""The superuser RDS keeps for itself in every instance."""

_SOCKET_PORT = 5432
_LOOK_AGAIN_SECONDS = 0.02
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_PAUSE_SECONDS = 5.0

_SETTINGS = {
    "listen_addresses": "",
    # Servers end with their machine at the latest, and images are taken from what the operating system holds, so
    # nothing is won by waiting for the disk; recovery alone would wait for a thousand files.
    "fsync": "off",
    "port": str(_SOCKET_PORT),
    "shared_buffers": "16MB",
    "max_connections": "40",
    "wal_level": "replica",
    "max_wal_size": "64MB",
    "min_wal_size": "4MB",
    "jit": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}

# What an RDS master user may do without being a superuser.
_MASTER_ROLES = ("pg_monitor", "pg_signal_backend", "pg_checkpoint")


class ServerError(RuntimeError):
    """The server did not do what was asked; the message carries the end of its log."""


class Server:
    """A PostgreSQL server below `home`."""

    def __init__(self, version: Programs, home: Path, administrator_password: str) -> None:
        self.version = version
        self.home = home
        self.administrator_password = administrator_password
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def create(cls, version: Programs, home: Path) -> Server:
        """A new, empty database cluster lies below `home`; its server is not started yet."""
        server = cls(version, home, secrets.token_urlsafe(24))
        server._make_home()
        password_file = home / "administrator"
        password_file.touch(mode=0o600)
        password_file.write_text(server.administrator_password)
        programs.give_to_servers(password_file)
        settings = ["--username", ADMINISTRATOR, "--pwfile", str(password_file), "--auth", "scram-sha-256"]
        shape = ["--data-checksums", "--wal-segsize", "1", "--encoding", "UTF8", "--locale", "C", "--no-sync"]
        version.run("initdb", ["--pgdata", str(server.data_directory), *settings, *shape])
        password_file.unlink()
        return server

    @classmethod
    def on_copied_data(cls, version: Programs, home: Path, administrator_password: str) -> Server:
        """A server whose data directory the caller fills before it starts."""
        server = cls(version, home, administrator_password)
        server._make_home()
        return server

    def _make_home(self) -> None:
        self.home.mkdir(mode=0o700, parents=True)
        programs.give_to_servers(self.home)

    @property
    def data_directory(self) -> Path:
        return self.home / "data"

    @property
    def log_path(self) -> Path:
        return self.home / "log"

    @property
    def socket_path(self) -> Path:
        return self.home / f".s.PGSQL.{_SOCKET_PORT}"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """The server has finished recovery and accepts connections."""
        settings = _SETTINGS | {"unix_socket_directories": str(self.home)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with self.log_path.open("ab") as log:
            self._process = self.version.start("postgres", ["-D", str(self.data_directory), *options], log)
        if not self._becomes(lambda: self._is_ready() or not self.is_running, _START_SECONDS) or not self.is_running:
            self.kill()
            raise ServerError(f"PostgreSQL did not start on {self.data_directory}. Its log ends with:\n{self.log()}")

    def _is_ready(self) -> bool:
        # The last line of this file is how pg_ctl knows, too: it says "ready" once recovery is over.
        try:
            lines = (self.data_directory / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def stop(self) -> None:
        """The server wrote a checkpoint and ended."""
        if self.is_running:
            self._postmaster().send_signal(signal.SIGINT)
            if not self._becomes(lambda: not self.is_running, _STOP_SECONDS):
                self.kill()

    def kill(self) -> None:
        """The server ended at once, as in a power cut."""
        if self.is_running:
            self._postmaster().send_signal(signal.SIGQUIT)
            if not self._becomes(lambda: not self.is_running, _STOP_SECONDS):
                self._postmaster().kill()
                self._postmaster().wait()

    def remove(self) -> None:
        """Nothing is left of the server, neither a process nor a file."""
        self.kill()
        shutil.rmtree(self.home)

    def log(self, lines: int = 30) -> str:
        """The end of the server's log."""
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """No process of the server runs inside the block: its files are those of one instant."""
        postmaster = psutil.Process(self._postmaster().pid)
        stopped: list[psutil.Process] = []
        try:
            # The postmaster first: nobody else starts processes, so the list of its children is then complete.
            self._suspend(postmaster, stopped)
            for child in postmaster.children(recursive=True):
                self._suspend(child, stopped)
            yield
        finally:
            for process in reversed(stopped):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()

    def _suspend(self, process: psutil.Process, stopped: list[psutil.Process]) -> None:
        quiet = (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
        try:
            process.suspend()
            stopped.append(process)
            # SIGSTOP takes effect only when a running write() returns.
            if not self._becomes(lambda: process.status() in quiet, _PAUSE_SECONDS, look_again_seconds=0.001):
                raise ServerError(f"process {process.pid} of {self.home} did not pause in {_PAUSE_SECONDS:g} s")
        except psutil.NoSuchProcess:
            return

    def _postmaster(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServerError(f"the server in {self.home} is not started")
        return self._process

    @staticmethod
    def _becomes(
        condition: Callable[[], bool], timeout_seconds: float, look_again_seconds: float = _LOOK_AGAIN_SECONDS
    ) -> bool:
        deadline = time.monotonic() + timeout_seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(look_again_seconds)
        return True

    @contextlib.contextmanager
    def administration(self, database: str = "postgres") -> Iterator[Connection]:
        """A connection of the administrator."""
        connection = Connection(
            ADMINISTRATOR,
            unix_sock=str(self.socket_path),
            database=database,
            password=self.administrator_password,
            application_name=ADMINISTRATOR,
        )
        try:
            yield connection
        finally:
            connection.close()

    def add_master(self, username: str, password: str, database: str | None) -> None:
        """The master user exists and owns `postgres` and, if named, a database of its own."""
        master = identifier(username)
        with self.administration() as connection:
            connection.run(f"CREATE ROLE rds_superuser NOLOGIN IN ROLE {', '.join(_MASTER_ROLES)}")
            connection.run(
                f"CREATE ROLE {master} LOGIN CREATEDB CREATEROLE IN ROLE rds_superuser PASSWORD {literal(password)}"
            )
            connection.run(f"ALTER DATABASE postgres OWNER TO {master}")
            if database and database != "postgres":
                connection.run(f"CREATE DATABASE {identifier(database)} OWNER {master}")

    def set_master_password(self, username: str, password: str) -> None:
        """The master user logs in with `password` from now on."""
        with self.administration() as connection:
            connection.run(f"ALTER ROLE {identifier(username)} PASSWORD {literal(password)}")
