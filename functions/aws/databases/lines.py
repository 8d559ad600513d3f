"""The line to a restored database: its server has proven its name, and what it sends is bounded in bytes and in time.

Both drivers read for as long and as much as a server sends. Here every read goes through a meter, so that a server
that trickles, floods or falls silent costs its own question and never the function.
"""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from functions.core.evidence import Assertion

CONNECT_SECONDS = 10.0
STATEMENT_SECONDS = 30.0
ANSWER_SECONDS = 5.0
"""How much longer than the server lets a statement run the line is kept open, so that the server's answer arrives."""

SHORTEST_SECONDS = 0.05
LARGEST_ANSWER_BYTES = 4 * 2**20
MOST_LISTED_TABLES = 10_000
MOST_NEIGHBOURS = 100
LONGEST_QUOTE = 120
LONGEST_KEY = 100
"""Counts of hundreds of tables ride in the workflow's state, and one name may have 600 escaped characters."""

Row = Sequence[Any]


class NoAnswer(Exception):
    """A question stays without its answer. `held` is False when the server itself says that content is missing or
    damaged, None when nobody knows; `code` is the server's own code, empty when the server said nothing. It is late
    when time ran out, and a refusal when the server does not let us ask."""

    def __init__(
        self,
        detail: str,
        *,
        held: bool | None = None,
        code: str = "",
        is_late: bool = False,
        is_refusal: bool = False,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.held = held
        self.code = code
        self.is_late = is_late
        self.is_refusal = is_refusal


class TooMuch(OSError):
    """An answer is larger than any answer should be."""


class Budget:
    """A stretch of time that everything asked of one restored server shares."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._began = clock()

    @property
    def spent_seconds(self) -> float:
        return self._clock() - self._began

    @property
    def left_seconds(self) -> float:
        """What is left, never less than nothing."""
        return max(0.0, self.seconds - self.spent_seconds)

    def part(self, seconds: float) -> Budget:
        """A stretch that begins now and ends with this one at the latest."""
        return Budget(min(seconds, self.left_seconds), self._clock)

    def seconds_for(self, wanted_seconds: float) -> float:
        """How long a question may take.

        Errors: NoAnswer when the time is used up.
        """
        allowed = min(wanted_seconds, self.left_seconds)
        if allowed < SHORTEST_SECONDS:
            raise NoAnswer(
                f"not reached within the {self.seconds:g} s that all checks share; ask for less, or split the checks "
                "between policies",
                is_late=True,
            )
        return allowed


class Meter:
    """How long the question under way may still be waited for, and how much may still come. It knows its line."""

    def __init__(self) -> None:
        self.line: socket.socket | None = None
        self._wait = Budget(CONNECT_SECONDS)
        self._bytes_left = LARGEST_ANSWER_BYTES

    def begin(self, seconds: float) -> None:
        """The next bytes belong to a new question."""
        self._wait = Budget(seconds)
        self._bytes_left = LARGEST_ANSWER_BYTES

    def wait_seconds(self) -> float:
        left = self._wait.left_seconds
        if left <= 0:
            raise TimeoutError(f"no whole answer within {self._wait.seconds:.1f} s")
        return left

    def took(self, count: int) -> None:
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise TooMuch(f"an answer of more than {LARGEST_ANSWER_BYTES:,} bytes")

    def hang_up(self) -> None:
        """The line is closed. A driver's own closing leaves it open while an error of the driver is remembered."""
        line, self.line = self.line, None
        if line is not None and line.fileno() >= 0:
            os.close(line.detach())


class _Line(socket.socket):
    """A line before it is encrypted. MySQL's server speaks first here, so that even this is metered."""

    meter: Meter

    def recv_into(self, *to: Any, **options: Any) -> int:
        self.settimeout(self.meter.wait_seconds())
        count = super().recv_into(*to, **options)
        self.meter.took(count)
        return count

    def recv(self, *sizes: Any) -> bytes:
        self.settimeout(self.meter.wait_seconds())
        return super().recv(*sizes)


class _TlsLine(ssl.SSLSocket):
    """The same line, encrypted."""

    def recv_into(self, *to: Any, **options: Any) -> int:
        meter = self._meter
        self.settimeout(meter.wait_seconds())
        count = super().recv_into(*to, **options)
        meter.took(count)
        return count

    def recv(self, *sizes: Any) -> bytes:
        # Python looks once, before the handshake, whether the caller has gone already, and forgets an open line if so.
        self._meter.line = self
        return super().recv(*sizes)

    @property
    def _meter(self) -> Meter:
        return self.context.meter  # pyright: ignore[reportAttributeAccessIssue] - only _Verified makes these


class _Verified(ssl.SSLContext):
    """Lets nobody in who cannot prove the name that was called."""

    meter: Meter
    sslsocket_class = _TlsLine

    def wrap_socket(self, *line: Any, **options: Any) -> ssl.SSLSocket:
        encrypted = super().wrap_socket(*line, **options)
        self.meter.line = encrypted
        return encrypted


def verified_context(ca_bundle: Path, meter: Meter) -> ssl.SSLContext:
    """A context for one line. Its server must show a certificate of these authorities, for the name that was called.

    Errors: OSError when the bundle cannot be read, ssl.SSLError when it holds no certificate.
    """
    context = _Verified(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Chain, dates and name are proven without it. It also asks for fields that authorities older than Python 3.13
    # leave out, and a rehearsal that fails over one of those proves nothing about the backup.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.load_verify_locations(ca_bundle)
    context.meter = meter
    return context


def called(address: str, port: int, meter: Meter, seconds: float) -> socket.socket:
    """A metered line to the server.

    Errors: OSError when nobody answers in time.
    """
    plain = socket.create_connection((address, port), timeout=seconds)
    line = _Line(plain.family, plain.type, plain.proto, fileno=plain.detach())
    line.meter = meter
    meter.line = line
    line.settimeout(seconds)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return line


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """The master user of a restored server."""

    user: str
    password: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where a restored server answers, and whom it must be."""

    address: str
    port: int
    login: Login
    ca_bundle: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A table or an index whose inside can be looked at, and the statement that looks."""

    name: str
    kind: str
    statement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What can be looked at, smallest first. `total` counts those beyond the list too; `note` says why there is no
    list."""

    listed: tuple[Part, ...] = ()
    total: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table whose rows can be counted. `estimate` is what the engine's statistics say, None when they say nothing."""

    name: str
    size_bytes: int
    estimate: int | None
    statement: str


class Conversation(Protocol):
    """The port: one database of a restored server, whatever its engine. Every call raises NoAnswer and nothing else."""

    database: str

    def ask(self, statement: str, seconds: float = STATEMENT_SECONDS) -> list[Row]:
        """The rows of one statement, in a transaction that cannot write and of which nothing remains."""
        ...

    def catalog(self) -> Assertion:
        """Whether the database's account of itself is whole."""
        ...

    def parts(self, *, may_install: bool) -> Parts:
        """What can be looked into; with `may_install` the engine's own tool for it may be added to the database."""
        ...

    def wrong_with(self, part: Part, seconds: float) -> str:
        """What is damaged inside of it; empty when it is sound."""
        ...

    def tables(self) -> tuple[Table, ...]:
        """The tables of users, smallest first, at most `MOST_LISTED_TABLES`."""
        ...

    def neighbours(self) -> tuple[str, ...]:
        """The names of the databases of the server that hold content of users, at most `MOST_NEIGHBOURS`."""
        ...

    def close(self) -> None:
        """The line is closed; closing it again changes nothing."""
        ...


def key_of(*names: str) -> str:
    """The name of a table in evidence and counts: printable, short, and different for different tables."""
    key = ".".join(name if name.replace("_", "").isalnum() and name.isascii() else ascii(name) for name in names)
    if len(key) <= LONGEST_KEY:
        return key
    return f"{key[: LONGEST_KEY - 13]}~{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def quoted(value: object) -> str:
    """Text of the database, escaped and short: it goes into tables, notices and reports."""
    written = ascii(value[: LONGEST_QUOTE + 1] if isinstance(value, str | bytes) else value)
    return written if len(written) <= LONGEST_QUOTE else f"{written[:LONGEST_QUOTE]}..."


def line_trouble(problem: BaseException) -> NoAnswer:
    """Why a line gave no answer, and what to look at next. The server itself has said nothing about its content."""
    if isinstance(problem, ssl.SSLCertVerificationError):
        return NoAnswer(
            f"the server could not prove its name: {quoted(problem.verify_message)}; it could not be asked safely and "
            "was sent no password; see whether functions/aws/databases/certificates has the authority of this Region"
        )
    if isinstance(problem, ssl.SSLError):
        return NoAnswer(
            f"no encrypted line: {quoted(problem.reason or str(problem))}; see which TLS the server's "
            "parameter group allows: 1.2 or newer is asked for"
        )
    if isinstance(problem, TooMuch):
        return NoAnswer(f"{problem}; ask for a number or a time, and not for content")
    if isinstance(problem, TimeoutError):
        return NoAnswer(
            f"the server fell silent: {quoted(str(problem))}; look at its load, and if it never answered, at the "
            "security group of the rehearsals",
            is_late=True,
        )
    if isinstance(problem, OSError):
        return NoAnswer(
            f"no network path: {type(problem).__name__}: {quoted(str(problem))}; "
            "check that the security group of the rehearsals lets the checking function in"
        )
    return NoAnswer(
        f"the connection failed: {type(problem).__name__}: {quoted(str(problem))}; look at the server's own log"
    )
