"""How much of a restored database is looked into, and what follows; with PostgreSQL's amcheck where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from functions.aws.databases.lines import STATEMENT_SECONDS, Budget, Login, NoAnswer, Part, Parts, Row, Server, Table
from functions.aws.databases.postgresql import PostgresqlConversation
from functions.aws.databases.structure import IN_A_ROW, MOST_NAMED, look_inside
from functions.core.evidence import Assertion
from tests.aws.databases.servers import DEBIANS_POSTGRESQL, PASSWORD, PostgresqlServer, a_postgresql

LATE = NoAnswer("not reached", is_late=True)
REFUSED = NoAnswer("the server says 1142", is_refusal=True)
SILENT = NoAnswer("the connection failed")


@dataclass
class FakeConversation:
    """A database of which every part answers as written."""

    answers: list[str | NoAnswer]
    note: str = ""
    database: str = "shop"
    looked_at: list[str] = field(default_factory=list)

    def parts(self, *, may_install: bool) -> Parts:
        listed = tuple(Part(name=f"t{n}", kind="table", statement="") for n in range(len(self.answers)))
        return Parts(listed=listed, total=len(listed) + 10, note=self.note)

    def wrong_with(self, part: Part, seconds: float) -> str:
        self.looked_at.append(part.name)
        answer = self.answers[int(part.name[1:])]
        if isinstance(answer, NoAnswer):
            raise answer
        return answer

    def ask(self, statement: str, seconds: float = STATEMENT_SECONDS) -> list[Row]:
        raise AssertionError(statement)

    def catalog(self) -> Assertion:
        raise AssertionError

    def tables(self) -> tuple[Table, ...]:
        raise AssertionError

    def neighbours(self) -> tuple[str, ...]:
        raise AssertionError

    def close(self) -> None:
        raise AssertionError


def looked(*answers: str | NoAnswer, note: str = "") -> tuple[Assertion | None, str]:
    return look_inside(FakeConversation(list(answers), note), Budget(60, lambda: 0.0), may_install=False)


def found(*answers: str | NoAnswer) -> Assertion:
    assertion, _ = looked(*answers)
    assert assertion is not None
    return assertion


def test_what_was_looked_at_and_is_sound_holds_as_the_sample_it_is() -> None:
    assertion = found("", "", "", LATE, "")
    assert assertion.held is True
    assert assertion.detail == "3 of 15 looked at within 0.0 s; sound: 3 tables"


def test_after_the_time_is_up_nothing_larger_is_tried() -> None:
    fake = FakeConversation(["", LATE, "", ""])
    look_inside(fake, Budget(60, lambda: 0.0), may_install=False)
    assert fake.looked_at == ["t0", "t1"]


def test_nothing_looked_at_is_undecided() -> None:
    assert found(LATE, "").held is None


def test_one_damaged_part_is_unfit_and_named() -> None:
    assertion = found("", "item order is wrong", "")
    assert assertion.held is False
    assert "damaged: table t1: item order is wrong" in assertion.detail


def test_enough_damage_is_enough() -> None:
    assert found(*["torn"] * 50).detail.count("torn") == MOST_NAMED


def test_a_part_at_which_the_server_stopped_answering_is_undecided() -> None:
    assertion = found("", SILENT, "")
    assert assertion.held is None
    assert "no answer about 1: table t1: the connection failed" in assertion.detail


def test_a_server_that_never_answers_is_not_asked_about_every_part() -> None:
    fake = FakeConversation([SILENT] * 100)
    look_inside(fake, Budget(60, lambda: 0.0), may_install=False)
    assert len(fake.looked_at) == IN_A_ROW


def test_a_user_who_may_look_at_nothing_is_a_note_and_no_finding() -> None:
    assert looked(*[REFUSED] * 9) == (None, "table t0: the server says 1142")


def test_a_user_who_may_look_at_some_has_looked_at_some() -> None:
    assertion = found("", REFUSED, "")
    assert assertion.held is True
    assert "refused for 1" in assertion.detail


def test_a_database_without_a_way_to_look_is_a_note() -> None:
    assert looked(note="amcheck is not installed") == (None, "amcheck is not installed")


# ---------------------------------------------------------------------------- against a real PostgreSQL with amcheck

needs_amcheck = pytest.mark.skipif(
    not (DEBIANS_POSTGRESQL / "bin/postgres").exists(),
    reason="there is no PostgreSQL with contrib modules here (Debian: postgresql-15); the wheel's has no amcheck",
)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    """With three databases of the same content, two of them damaged on disk: an index, and a table."""
    with a_postgresql(DEBIANS_POSTGRESQL) as running:
        for name in ("sound", "index", "heap"):
            _filled(running, name)
        _spoil(running, "index", "orders_note", page=1, at=6000)
        _spoil(running, "heap", "orders", page=2, at=7700)
        yield running


def _filled(server: PostgresqlServer, name: str) -> None:
    with server.master() as master:
        master.run(f"CREATE DATABASE {name}_first")
    with server.master(f"{name}_first") as master:
        master.run("CREATE TABLE orders AS SELECT n AS id, md5(n::text) AS note FROM generate_series(1, 2000) n")
        master.run("CREATE INDEX orders_note ON orders (note)")


def _spoil(server: PostgresqlServer, name: str, relation: str, *, page: int, at: int) -> None:
    """The file of the relation has a hole; databases copied from this one read it, and no cache hides it."""
    with server.master(f"{name}_first") as master:
        master.run("CHECKPOINT")
        path = first(master.run(f"SELECT pg_relation_filepath('{relation}')"))
    file: Path = server.home / "data" / str(path)
    content = bytearray(file.read_bytes())
    content[page * 8192 + at : page * 8192 + at + 400] = bytes(400)
    file.write_bytes(content)


def first(rows: list[Any] | None) -> Any:
    """The only value."""
    assert rows
    return rows[0][0]


def conversation(server: PostgresqlServer, name: str) -> PostgresqlConversation:
    """With a fresh copy of the database."""
    with server.master() as master:
        master.run(f"DROP DATABASE IF EXISTS {name}")
        master.run(f"CREATE DATABASE {name} TEMPLATE {name}_first STRATEGY file_copy")
    login = Login(user="master", password=PASSWORD)
    address = Server(address="127.0.0.1", port=server.tls_port, login=login, ca_bundle=server.ca_bundle)
    return PostgresqlConversation(address, name, Budget(60))


def has_amcheck(server: PostgresqlServer, name: str) -> bool:
    with server.master(name) as master:
        return master.run("SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'") == [[1]]


@needs_amcheck
def test_without_leave_nothing_is_installed_and_the_note_says_so(server: PostgresqlServer) -> None:
    begun = conversation(server, "sound")
    assert look_inside(begun, Budget(30), may_install=False) == (None, "the extension amcheck is not installed")
    begun.close()
    assert not has_amcheck(server, "sound")


@needs_amcheck
def test_in_a_database_that_is_thrown_away_every_index_and_table_is_looked_at(server: PostgresqlServer) -> None:
    begun = conversation(server, "sound")
    assertion, _ = look_inside(begun, Budget(60), may_install=True)
    begun.close()
    assert has_amcheck(server, "sound")
    assert assertion is not None
    assert assertion.held is True
    looked_at, _, total = assertion.detail.split()[:3]
    assert looked_at == total
    assert "indexes" in assertion.detail
    assert "tables" in assertion.detail


@needs_amcheck
def test_after_installing_the_conversation_still_cannot_write(server: PostgresqlServer) -> None:
    begun = conversation(server, "sound")
    begun.parts(may_install=True)
    with pytest.raises(NoAnswer) as problem:
        begun.ask("DELETE FROM orders RETURNING 1")
    begun.close()
    assert problem.value.code == "25006"


@needs_amcheck
@pytest.mark.parametrize(("name", "says"), [("index", "index public.orders_note: "), ("heap", "table public.orders: ")])
def test_damage_that_no_query_meets_is_found(server: PostgresqlServer, name: str, says: str) -> None:
    begun = conversation(server, name)
    assertion, _ = look_inside(begun, Budget(60), may_install=True)
    begun.close()
    assert assertion is not None
    assert assertion.held is False
    assert f"damaged: {says}" in assertion.detail
    assert assertion.detail.isprintable()


@needs_amcheck
def test_in_a_short_time_the_smallest_are_looked_at(server: PostgresqlServer) -> None:
    begun = conversation(server, "sound")
    begun.parts(may_install=True)
    seconds = count(step=1.0)  # every look at the clock takes one
    assertion, _ = look_inside(begun, Budget(60, lambda: next(seconds)), may_install=True)
    begun.close()
    assert assertion is not None
    looked_at, _, total = assertion.detail.split()[:3]
    assert 0 < int(looked_at) < int(total)
    assert assertion.held is True


@needs_amcheck
def test_a_collation_of_another_version_is_noted(server: PostgresqlServer) -> None:
    begun = conversation(server, "sound")
    with server.master("sound") as master:
        master.run("SET allow_system_table_mods = on")
        name = first(
            master.run(
                "UPDATE pg_collation SET collversion = '1.0' WHERE oid = (SELECT min(oid) FROM pg_collation "
                "WHERE pg_collation_actual_version(oid) IS NOT NULL) RETURNING collname::text"
            )
        )
    catalog = begun.catalog()
    begun.close()
    assert catalog.held is True
    assert f"1 collations are of another version than this server's, '{name}'" in catalog.detail
