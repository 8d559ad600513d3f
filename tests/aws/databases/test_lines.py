"""Servers that lie, fall silent, flood or stutter: each costs its own question, in bounded time, and learns nothing."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from functions.aws.databases.lines import (
    LARGEST_ANSWER_BYTES,
    LONGEST_KEY,
    LONGEST_QUOTE,
    Budget,
    Conversation,
    Login,
    Meter,
    NoAnswer,
    Server,
    TooMuch,
    key_of,
    quoted,
)
from functions.aws.databases.mysql import MysqlConversation
from functions.aws.databases.postgresql import PostgresqlConversation
from tests.aws.databases.servers import PASSWORD, certificate, server_context

Begin = Callable[[Server, str, Budget], Conversation]
Play = Callable[[socket.socket], None]

PATIENCE_SECONDS = 1.0
CLIENT_SSL = 0x800
ENGINES: dict[str, Begin] = {"postgresql": PostgresqlConversation, "mysql": MysqlConversation}


class Heard(list[bytes]):
    """What reached the server in the clear."""

    @property
    def all(self) -> bytes:
        return b"".join(self)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    certificate(tmp_path)
    return tmp_path


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


@contextlib.contextmanager
def a_server(play: Play) -> Iterator[int]:
    """Plays for everybody who calls, until the test is over."""
    listener = socket.create_server(("127.0.0.1", 0))
    callers: list[socket.socket] = []
    players: list[threading.Thread] = []

    def welcome() -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = listener.accept()
                callers.append(caller)
                players.append(threading.Thread(target=perform, args=(caller,), daemon=True))
                players[-1].start()

    def perform(caller: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), caller:
            play(caller)

    porter = threading.Thread(target=welcome, daemon=True)
    porter.start()
    try:
        yield listener.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for caller in callers:
            with contextlib.suppress(OSError):
                caller.shutdown(socket.SHUT_RDWR)
        for thread in (porter, *players):
            thread.join(timeout=5)


def greeting(capabilities: int) -> bytes:
    """MySQL's first packet."""
    body = (
        b"\x0a8.0.40\0"
        + struct.pack("<I", 7)
        + b"saltsalt\0"
        + struct.pack("<HBHHB", capabilities & 0xFFFF, 45, 2, 0x000F, 21)
        + bytes(10)
        + b"saltsaltsalt\0"
    )
    return struct.pack("<I", len(body))[:3] + b"\0" + body


def until_tls(caller: socket.socket, engine: str, heard: Heard) -> None:
    """The server's side of what both sides say before they encrypt."""
    if engine == "postgresql":
        heard.append(caller.recv(8))
        caller.sendall(b"S")
    else:
        caller.sendall(greeting(0xFFFF))
        heard.append(caller.recv(36))


def begun_and_asked(begin: Begin, server: Server, budget: Budget) -> None:
    """Some servers let everybody in and have nothing to say."""
    with contextlib.closing(begin(server, "shop", budget)) as conversation:
        conversation.ask("SELECT 1")


def asked(engine: str, port: int, home: Path, *, address: str = "127.0.0.1", seconds: float = 20.0) -> NoAnswer:
    """What is said about a server that does not let us in."""
    login = Login(user="master", password=PASSWORD)
    server = Server(address=address, port=port, login=login, ca_bundle=home / "server.pem")
    with pytest.raises(NoAnswer) as problem:
        begun_and_asked(ENGINES[engine], server, Budget(seconds))
    assert problem.value.held is None
    assert problem.value.detail.isprintable()
    return problem.value


def test_a_server_of_another_authority_is_sent_no_password(engine: str, home: Path, tmp_path: Path) -> None:
    another = tmp_path / "another"
    another.mkdir()
    certificate(another)
    heard = Heard()

    def play(caller: socket.socket) -> None:
        until_tls(caller, engine, heard)
        with server_context(another).wrap_socket(caller, server_side=True) as line:
            heard.append(line.recv(65536))

    with a_server(play) as port:
        said = asked(engine, port, home)
    assert "could not prove its name" in said.detail
    assert "was sent no password" in said.detail
    assert len(heard.all) == (8 if engine == "postgresql" else 36)


def test_a_certificate_for_another_name_is_no_proof(engine: str, home: Path) -> None:
    heard = Heard()

    def play(caller: socket.socket) -> None:
        until_tls(caller, engine, heard)
        with server_context(home).wrap_socket(caller, server_side=True) as line:
            heard.append(line.recv(65536))

    with a_server(play) as port:
        assert "could not prove its name" in asked(engine, port, home, address="localhost").detail
    assert len(heard.all) == (8 if engine == "postgresql" else 36)


def test_a_server_without_tls_is_sent_no_password(engine: str, home: Path) -> None:
    heard = Heard()

    def play(caller: socket.socket) -> None:
        if engine == "postgresql":
            heard.append(caller.recv(8))
            caller.sendall(b"N")
        else:
            caller.sendall(greeting(0xFFFF & ~CLIENT_SSL))
        while received := caller.recv(65536):
            heard.append(received)

    with a_server(play) as port:
        assert "SSL" in asked(engine, port, home).detail
    assert len(heard.all) == (8 if engine == "postgresql" else 0)


def test_a_server_that_says_nothing_costs_the_time_it_was_given(engine: str, home: Path) -> None:
    def play(caller: socket.socket) -> None:
        while caller.recv(65536):
            pass

    with a_server(play) as port:
        said = asked(engine, port, home, seconds=PATIENCE_SECONDS)
    assert said.is_late
    assert "fell silent" in said.detail


def test_a_server_that_stutters_does_not_get_more_time_for_it(engine: str, home: Path) -> None:
    heard = Heard()
    heard_out = threading.Event()

    def stutter(line: socket.socket) -> None:
        # The beginning of a packet of 16 MiB, in either protocol; then byte after byte, for twenty times the patience.
        for byte in (b"N\x00\xff\xff\xff" if engine == "postgresql" else b"\xfe\xff\xff\x03") + bytes(1000):
            line.sendall(bytes([byte]))
            time.sleep(0.02)
        heard_out.set()

    def play(caller: socket.socket) -> None:
        until_tls(caller, engine, heard)
        with server_context(home).wrap_socket(caller, server_side=True) as line:
            line.recv(65536)
            stutter(line)

    with a_server(play) as port:
        said = asked(engine, port, home, seconds=PATIENCE_SECONDS)
    assert said.is_late
    assert not heard_out.is_set()


def test_a_server_that_stutters_before_it_encrypts_does_not_get_more_time_either(home: Path) -> None:
    heard_out = threading.Event()

    def play(caller: socket.socket) -> None:
        for byte in b"\xfe\xff\xff\x00" + bytes(1000):
            caller.sendall(bytes([byte]))
            time.sleep(0.02)
        heard_out.set()

    with a_server(play) as port:
        assert asked("mysql", port, home, seconds=PATIENCE_SECONDS).is_late
    assert not heard_out.is_set()


def test_a_server_that_never_stops_talking_is_hung_up_on(engine: str, home: Path) -> None:
    # Notices without end, and one packet of 16 MiB.
    begins, again = (b"", b"N" + struct.pack("!i", 2**20 + 4)) if engine == "postgresql" else (b"\xff\xff\xff\x03", b"")
    flood = again + bytes(2**20)
    sent: list[int] = []
    heard = Heard()

    def play(caller: socket.socket) -> None:
        until_tls(caller, engine, heard)
        with server_context(home).wrap_socket(caller, server_side=True) as line:
            line.recv(65536)
            line.sendall(begins)
            while True:
                line.sendall(flood)
                sent.append(len(flood))

    with a_server(play) as port:
        assert "more than 4,194,304 bytes" in asked(engine, port, home).detail
    assert sum(sent) < 4 * LARGEST_ANSWER_BYTES


@pytest.mark.parametrize("seed", range(8))
def test_whatever_bytes_come_they_are_no_answer(engine: str, home: Path, seed: int) -> None:
    heard = Heard()
    noise = b"".join(struct.pack("!I", (seed * 2654435761 + n * 40503) & 0xFFFFFFFF) for n in range(2000))
    # The first letter decides what the drivers take it for.
    letters = b"RSKZTDEN" if engine == "postgresql" else b"\x00\x01\x07\x1e\xfb\xfe\xff\x0a"
    begins = letters[seed : seed + 1] + (b"\x00\x00\x00\x20" if engine == "postgresql" else b"\x00\x00\x03")

    def play(caller: socket.socket) -> None:
        until_tls(caller, engine, heard)
        with server_context(home).wrap_socket(caller, server_side=True) as line:
            line.recv(65536)
            line.sendall(begins + noise)

    with a_server(play) as port:
        asked(engine, port, home)


@pytest.mark.parametrize("length", [0, 1, 3, 5, 60])
def test_a_server_that_hangs_up_in_the_middle_is_no_answer(engine: str, home: Path, length: int) -> None:
    whole = b"S" + os.urandom(80) if engine == "postgresql" else greeting(0xFFFF)
    with a_server(lambda caller: caller.sendall(whole[:length])) as port:
        asked(engine, port, home)


def test_a_bundle_that_cannot_be_read_is_no_answer_and_nobody_is_called(engine: str, home: Path) -> None:
    called: list[Any] = []
    (home / "server.pem").unlink()
    with a_server(called.append) as port:
        asked(engine, port, home)
    assert called == []


def test_no_time_is_no_call(engine: str, home: Path) -> None:
    called: list[Any] = []
    with a_server(called.append) as port:
        assert "not reached within the 0 s" in asked(engine, port, home, seconds=0).detail
    assert called == []


class TestABudget:
    def test_it_is_used_up_by_the_clock(self) -> None:
        ticks = iter([0.0, 4.0, 9.0, 11.0])
        budget = Budget(10, lambda: next(ticks))
        assert [budget.left_seconds for _ in range(3)] == [6.0, 1.0, 0.0]

    def test_a_part_never_ends_after_the_whole(self) -> None:
        budget = Budget(10, lambda: 0.0)
        assert budget.part(60).left_seconds == 10
        assert budget.part(3).left_seconds == 3

    def test_a_question_gets_what_is_left(self) -> None:
        assert Budget(10, lambda: 0.0).seconds_for(30) == 10
        with pytest.raises(NoAnswer) as problem:
            Budget(0.01, lambda: 0.0).seconds_for(30)
        assert problem.value.is_late


class TestAMeter:
    def test_every_question_has_its_own_bytes(self) -> None:
        meter = Meter()
        meter.took(LARGEST_ANSWER_BYTES)
        with pytest.raises(TooMuch):
            meter.took(1)
        meter.begin(1)
        meter.took(LARGEST_ANSWER_BYTES)

    def test_a_question_that_had_its_time_waits_no_longer(self) -> None:
        meter = Meter()
        meter.begin(0)
        with pytest.raises(TimeoutError):
            meter.wait_seconds()


@pytest.mark.parametrize("value", ["x" * 10_000, b"\xff" * 10_000, 10**4000, "\x1b[2J\u202e\n", ["a" * 1000] * 1000])
def test_text_of_a_database_is_printable_and_short(value: object) -> None:
    assert quoted(value).isprintable()
    assert len(quoted(value)) <= LONGEST_QUOTE + 3


def test_different_tables_have_different_names_in_evidence() -> None:
    names = [("a.b", "c"), ("a", "b.c"), ("a", "b", "c"), ("a b", "c"), ("'a'", "c"), ("\u0430", "c"), ("a", "c")]
    assert len({key_of(*parts) for parts in names}) == len(names)
    assert all(key_of(*parts).isprintable() for parts in names)


def test_a_long_name_is_cut_and_still_its_own() -> None:
    long = ["\u044b" * 62 + end for end in "ab"]
    keys = {key_of("shop", "public", name) for name in long}
    assert len(keys) == 2
    assert {len(key) for key in keys} == {LONGEST_KEY}


def test_what_is_encrypted_is_at_least_tls_1_2(home: Path) -> None:
    from functions.aws.databases.lines import verified_context

    context = verified_context(home / "server.pem", Meter())
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
