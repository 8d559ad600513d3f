"""The handle by which tests and the try-out hold an embedded AWS."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from embedded import HOME_REGION, root
from embedded.server import LOG_NAME

_START_SECONDS = 120.0
_STOP_SECONDS = 15.0
_ROOM = Path(__file__).resolve().parent


@dataclass
class EmbeddedAws:
    """A running embedded AWS."""

    port: int
    data_directory: Path
    _process: subprocess.Popen[bytes]
    _clients: dict[tuple[str, str], Any] = field(default_factory=dict)

    @classmethod
    def start(cls, data_directory: Path, *, port: int | None = None, rate: float = 1.0) -> EmbeddedAws:
        """A server is up and healthy; a RuntimeError shows the end of its log if it is not."""
        data_directory.mkdir(parents=True, exist_ok=True)
        port = port or _free_port()
        command = [sys.executable, "-m", "embedded", "serve", "--data", str(data_directory), "--port", str(port)]
        command += ["--rate", str(rate), "--ends-with", str(os.getpid())]
        with (data_directory / LOG_NAME).open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module, no shell
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=_ROOM.parent
            )
        aws = cls(port, data_directory, process)
        aws._wait_until_healthy()
        return aws

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log_path(self) -> Path:
        return self.data_directory / LOG_NAME

    def stop(self) -> None:
        """The server and everything it started are gone."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def client(self, service: str, region: str = HOME_REGION, **settings: Any) -> Any:
        """A boto3 client of the account's root that never retries; `settings` go to botocore's Config."""
        if not settings and (service, region) in self._clients:
            return self._clients[service, region]
        client = root.client(service, region, self.endpoint, **{"retries": {"total_max_attempts": 1}, **settings})
        if not settings:
            self._clients[service, region] = client
        return client

    # ------------------------------------------------------------------------ clock, faults, durations

    def now(self) -> datetime:
        """What the embedded clock shows."""
        return datetime.fromtimestamp(self._control("GET", "clock")["now"], UTC)

    def set_clock(self, instant: datetime) -> None:
        self._control("POST", "clock", {"set": instant.timestamp()})

    def advance(self, seconds: float) -> None:
        self._control("POST", "clock", {"advance": seconds})

    def set_rate(self, rate: float) -> None:
        self._control("POST", "clock", {"rate": rate})

    def arm(self, fault: dict[str, Any]) -> None:
        """The fault waits for its first match; `embedded.faults` says what it may look like."""
        self._control("POST", "faults", fault)

    def faults(self) -> list[dict[str, Any]]:
        """What is still armed."""
        return self._control("GET", "faults")["faults"]

    def clear_faults(self) -> None:
        self._control("DELETE", "faults")

    def set_durations(self, **seconds: float) -> None:
        self._control("POST", "durations", seconds)

    def reset_durations(self) -> None:
        self._control("DELETE", "durations")

    def control_databases(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """What `embedded.databases.controlling` says about `wanted` has happened; the answer is what it answers."""
        return self._control("POST", "databases", wanted)

    def deploy(self, assembly: Path) -> None:
        """Every stack of the synthesised assembly is created or up to date."""
        from embedded.deployer import deploy

        deploy(assembly, self.endpoint)

    # ------------------------------------------------------------------------ inside

    def _control(self, method: str, what: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, f"/_embedded/{what}", json.dumps(body) if body is not None else None)
            answer = connection.getresponse()
            said = json.load(answer)
        if answer.status != HTTPStatus.OK:
            raise ValueError(said["error"])
        return said

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"the embedded AWS stopped while starting; its log ends with:\n{self._log_tail()}")
            with contextlib.suppress(OSError):
                self._control("GET", "clock")
                return
            time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"the embedded AWS did not answer in {_START_SECONDS:.0f} s; its log:\n{self._log_tail()}")

    def _log_tail(self, lines: int = 30) -> str:
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
