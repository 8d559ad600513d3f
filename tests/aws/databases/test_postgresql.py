"""One database of a restored PostgreSQL: what its catalog tells, and a line that breaks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from functions.aws.databases.lines import Budget, Login, NoAnswer, Row, Server
from functions.aws.databases.postgresql import PostgresqlConversation
from tests.aws.databases.servers import PASSWORD, PostgresqlServer, a_postgresql


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    with a_postgresql() as running, running.master() as master:
        master.run("CREATE DATABASE shop")
        yield running


@pytest.fixture
def address(server: PostgresqlServer) -> Server:
    login = Login(user="master", password=PASSWORD)
    return Server(address="127.0.0.1", port=server.tls_port, login=login, ca_bundle=server.ca_bundle)


def test_a_catalog_that_the_time_does_not_reach_is_undecided(address: Server):
    times = [0.0]
    with closing(PostgresqlConversation(address, "shop", Budget(10, lambda: times[-1]))) as conversation:
        times.append(60.0)
        assert conversation.catalog().held is None


@pytest.mark.parametrize(
    ("problem", "says"),
    [
        (NoAnswer("no such column", held=False, code="42703"), ""),
        (NoAnswer("no such function", code="42883"), ""),
        (NoAnswer("too slow", is_late=True), "versions of collations unknown: too slow"),
    ],
)
def test_a_server_that_keeps_no_versions_of_collations_is_not_held_to_them(
    address: Server, monkeypatch: pytest.MonkeyPatch, problem: NoAnswer, says: str
):
    with closing(PostgresqlConversation(address, "shop", Budget(10))) as conversation:
        asked = conversation.ask

        def ask(statement: str, seconds: float = 5) -> list[Row]:
            if "datcollversion" in statement:
                raise problem
            return asked(statement, seconds)

        monkeypatch.setattr(conversation, "ask", ask)
        catalog = conversation.catalog()
    assert catalog.held is True
    assert "collations" in catalog.detail if says else "collations" not in catalog.detail
    assert says in catalog.detail


def test_a_server_that_is_shut_down_and_comes_back_is_asked_again(address: Server, server: PostgresqlServer):
    with closing(PostgresqlConversation(address, "shop", Budget(20))) as conversation:
        with server.master() as master:
            master.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'holdfast%'")
        with pytest.raises(NoAnswer):
            conversation.ask("SELECT 1")
        assert conversation.ask("SELECT 1") == [[1]]


def test_rows_of_partitions_are_counted_under_the_table_they_belong_to(address: Server, server: PostgresqlServer):
    """Partitions come and go every day; the table they make up stays."""
    with server.master("shop") as master:
        master.run("CREATE TABLE clicks (day date) PARTITION BY RANGE (day)")
        for month in (1, 2):
            master.run(
                f"CREATE TABLE clicks_{month} PARTITION OF clicks "
                f"FOR VALUES FROM ('2026-0{month}-01') TO ('2026-0{month + 1}-01')"
            )
        master.run("INSERT INTO clicks VALUES ('2026-01-05'), ('2026-02-05'), ('2026-02-06')")
        master.run("CREATE TABLE parent (a int)")
        master.run("CREATE TABLE child () INHERITS (parent)")
        master.run("INSERT INTO child VALUES (1)")
        master.run("CREATE UNLOGGED TABLE scratch (a int)")
    with closing(PostgresqlConversation(address, "shop", Budget(20))) as conversation:
        counted = {table.name: conversation.ask(table.statement) for table in conversation.tables()}
    assert counted == {"shop.public.clicks": [[3]], "shop.public.parent": [[0]], "shop.public.child": [[1]]}


def test_counting_a_table_reads_the_table_and_not_an_index_of_it(address: Server, server: PostgresqlServer):
    """A page of the table that is broken is found only so, where no `amcheck` can be had."""
    with server.master("shop") as master:
        master.run("CREATE TABLE goods (id int PRIMARY KEY, name text)")
        master.run("INSERT INTO goods SELECT id, repeat('x', 200) FROM generate_series(1, 400) AS id")
        master.run("VACUUM ANALYZE goods")
    with closing(PostgresqlConversation(address, "shop", Budget(20))) as conversation:
        (goods,) = [table for table in conversation.tables() if table.name == "shop.public.goods"]
        assert conversation.ask(goods.statement) == [[400]]
        plan = str(conversation.ask(f"EXPLAIN {goods.statement}"))
        with_star = str(conversation.ask("EXPLAIN SELECT count(*) FROM ONLY goods"))
    assert "Index Only Scan" in with_star
    assert "Seq Scan on goods" in plan
