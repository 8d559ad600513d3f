"""What a rehearsal asks of a restored PostgreSQL, against a real server behind real TLS."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import boto3
import pytest
from moto import mock_aws

from functions.aws.clients import Clients
from functions.aws.databases import checks as database_checks
from functions.aws.databases.checks import DatabaseEvidence, check_database
from functions.aws.databases.lines import Budget, NoAnswer, Part, Parts, Row, Server, Table
from functions.core.errors import AwsBusy
from functions.core.evidence import Assertion, Fitness, judge
from functions.core.policies import DatabaseCheck
from functions.core.resources import Kind
from functions.core.restores import Restored, RestoreState
from functions.core.row_counts import Counted
from tests.aws.databases.servers import PASSWORD, PostgresqlServer, a_postgresql, free_port

REGION = "eu-central-1"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=3)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    """With a table of orders whose newest is from ten minutes before noon."""
    with a_postgresql() as running:
        with running.master() as master:
            master.run("CREATE DATABASE shop")
        with running.master("shop") as master:
            master.run("CREATE TABLE orders (id int PRIMARY KEY, at timestamptz, local timestamp, note text)")
            master.run(
                "INSERT INTO orders SELECT n, timestamptz '2026-11-20 11:50Z' - n * interval '1 h', "
                "timestamp '2026-11-20 11:50' - n * interval '1 h', repeat(chr(27) || 'é', 500) "
                "FROM generate_series(0, 99) n"
            )
            master.run("CREATE TABLE empty (at timestamptz)")
        yield running


@pytest.fixture(scope="module")
def clients() -> Iterator[Clients]:
    """Made once: a boto3 session reads for half a second."""
    with mock_aws():
        yield Clients(boto3.Session(region_name=REGION))


@pytest.fixture
def restored(server: PostgresqlServer, clients: Clients) -> Restored:
    secret = clients.retrying("secretsmanager", REGION).create_secret(
        Name=f"rds!db-{uuid4()}", SecretString=json.dumps({"username": "master", "password": PASSWORD})
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


Ask = Callable[..., list[Assertion]]
See = Callable[..., DatabaseEvidence]


@pytest.fixture
def see(restored: Restored, clients: Clients, server: PostgresqlServer) -> See:
    def run(
        *checks: DatabaseCheck,
        of: Restored = restored,
        consistent_at: datetime | None = NOON,
        learned: tuple[Counted, ...] = (),
        budget: Budget | None = None,
    ) -> DatabaseEvidence:
        return check_database(
            of,
            checks,
            consistent_at=consistent_at,
            now=LATER,
            clients=clients,
            learned=learned,
            ca_bundle=server.ca_bundle,
            budget=budget,
        )

    return run


@pytest.fixture
def ask(see: See) -> Ask:
    """What was found about the databases that the checks name; about everything without checks."""

    def run(*checks: DatabaseCheck, **changes: object) -> list[Assertion]:
        named = {check.database for check in checks}
        found = see(*checks, **changes).assertions
        return [one for one in found if not named or any(name in one.what for name in named)]

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


def test_without_checks_every_database_is_evidence(ask: Ask):
    assert {(a.what, a.held) for a in ask()} >= {
        ("database postgres answers", True),
        ("the catalog of postgres is whole", True),
        ("database shop answers", True),
        ("the catalog of shop is whole", True),
    }


def test_the_tables_of_every_database_are_counted(see: See):
    seen = see()
    assert seen.row_counts == {"shop.public.empty": 0, "shop.public.orders": 100}
    assert seen.estimated_tables == ()


def test_a_table_that_an_earlier_rehearsal_counted_and_that_is_gone_is_unfit(see: See):
    learned = (Counted(rows={"shop.public.orders": 90, "shop.public.invoices": 3}, at=NOON - timedelta(days=1)),)
    evidence = judge(see(learned=learned).assertions)
    assert evidence.fitness is Fitness.UNFIT
    assert "shop.public.invoices" in evidence.reason


def test_tables_of_a_database_that_the_time_did_not_reach_are_not_gone(see: See):
    learned = (Counted(rows={"shop.public.orders": 90}, at=NOON - timedelta(days=1)),)
    check = DatabaseCheck(database="postgres", statement="SELECT 1 FROM pg_sleep(9)", at_least=1)
    found = see(check, learned=learned, budget=Budget(1)).assertions
    assert [one.held for one in found if "last rehearsal" in one.what] == [None]


def test_tables_of_a_database_that_is_gone_are_gone(see: See):
    learned = (Counted(rows={"warehouse.public.orders": 90}, at=NOON - timedelta(days=1)),)
    assert [one.held for one in see(learned=learned).assertions if "last rehearsal" in one.what] == [False]


def test_the_first_answer_comes_after_the_beginning_and_before_the_end(see: See):
    budget = Budget(240)
    first = see(budget=budget).first_query_at
    assert first is not None
    assert LATER < first < LATER + timedelta(seconds=budget.spent_seconds)


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


def test_a_check_cannot_write(ask: Ask, server: PostgresqlServer):
    *_, sequence, escape = ask(
        at_least(1, "SELECT lo_create(424242)"),
        at_least(1, "SELECT length(set_config('transaction_read_only', 'off', false)) + lo_create(424242)::int"),
    )
    assert (sequence.held, escape.held) == (None, None)
    with server.master("shop") as master:
        assert master.run("SELECT count(*) FROM pg_largeobject_metadata") == [[0]]


def test_a_colon_in_a_statement_is_not_a_parameter(ask: Ask):
    assert ask(at_least(2, "SELECT cardinality((array[1,2,3])[1:2])::int + length(':x') - 2"))[-1].held is True


def test_a_statement_that_takes_too_long_is_stopped_by_the_server(ask: Ask):
    *_, assertion = ask(at_least(1, "SELECT 1 FROM pg_sleep(30)"), budget=Budget(1))
    assert assertion.held is None
    assert "57014" in assertion.detail


def test_checks_that_never_end_end_together_in_the_time_they_share(ask: Ask):
    budget = Budget(2)
    found = ask(*[at_least(1, "SELECT 1 FROM pg_sleep(1e9)")] * 20, budget=budget)
    assert [one.held for one in found[2:]] == [None] * 20
    assert budget.spent_seconds < 4


def test_what_the_time_does_not_reach_is_undecided_and_says_so(ask: Ask):
    *_, assertion = ask(
        at_least(1, "SELECT 1 FROM pg_sleep(30)"), at_least(1, "SELECT count(*) FROM orders"), budget=Budget(1)
    )
    assert assertion.held is None
    assert "not reached within the 1 s" in assertion.detail


def test_a_check_that_returns_a_flood_is_cut_off(ask: Ask):
    *_, assertion = ask(at_least(1, "SELECT generate_series(1, 2000000000)"))
    assert assertion.held is None
    assert "more than one value" in assertion.detail


def test_a_check_that_breaks_the_line_leaves_its_own_question_open_only(ask: Ask):
    *_, killer, after = ask(
        at_least(1, "SELECT pg_terminate_backend(pg_backend_pid())::int"),
        at_least(1, "SELECT count(*) FROM orders"),
    )
    assert (killer.held, after.held) == (None, True)
    assert "the connection failed" in killer.detail


def test_a_giant_value_is_not_read(ask: Ask):
    *_, giant, after = ask(at_least(1, "SELECT repeat('x', 20000000)"), at_least(1, "SELECT count(*) FROM orders"))
    assert (giant.held, after.held) == (None, True)
    assert "more than 4,194,304 bytes" in giant.detail


@pytest.mark.parametrize(
    "statement", ["SELECT 'NaN'::numeric", "SELECT 'infinity'::float8", "SELECT E'\\\\x00ff'::bytea"]
)
def test_what_is_no_finite_number_proves_nothing(ask: Ask, statement: str):
    assert ask(at_least(0, statement))[-1].held is None


@pytest.mark.parametrize("statement", ["SELECT timestamptz 'infinity'", "SELECT timestamptz '0044-03-15 12:00 BC'"])
def test_a_time_outside_of_the_calendar_proves_nothing(ask: Ask, statement: str):
    assert ask(newest_within(10, statement))[-1].held is None


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT nextval('numbers')",
        "SELECT setval('numbers', 7)",
        "WITH gone AS (DELETE FROM empty RETURNING 1) SELECT count(*) FROM gone",
        "SELECT pg_notify('a', 'b')::text::int",
    ],
)
def test_a_function_with_an_effect_is_stopped(ask: Ask, server: PostgresqlServer, statement: str):
    with server.master("shop") as master:
        master.run("CREATE SEQUENCE IF NOT EXISTS numbers")
    assert ask(at_least(0, statement))[-1].held is None
    with server.master("shop") as master:
        assert master.run("SELECT is_called FROM numbers") == [[False]]


def test_a_database_may_have_any_name(ask: Ask, see: See, server: PostgresqlServer):
    name = "a\"b'; DROP TABLE t"
    with server.master() as master:
        master.run('CREATE DATABASE "a""b\'\'; DROP TABLE t"'.replace("''", "'"))
    with server.master(name) as master:
        master.run('CREATE TABLE "t.""u" (a int)')
    try:
        seen = see(DatabaseCheck(database=name, statement="SELECT 7", at_least=7))
        assert seen.assertions[2].held is True
        assert [rows for table, rows in seen.row_counts.items() if "DROP TABLE" in table] == [0]
    finally:
        with server.master() as master:
            master.run('DROP DATABASE "a""b\'; DROP TABLE t"')


def test_text_of_the_database_is_escaped_and_short(ask: Ask):
    *_, assertion = ask(at_least(1, "SELECT note FROM orders WHERE id = 1"))
    assert "\\x1b\\xe9" in assertion.detail
    assert assertion.detail.isprintable()
    assert len(assertion.detail) < 200


def test_a_server_that_cannot_prove_its_name_is_not_trusted(ask: Ask, restored: Restored):
    (assertion,) = ask(of=replace(restored, address="localhost"))
    assert assertion.held is None
    assert "could not prove its name" in assertion.detail


def test_by_default_only_the_authorities_of_rds_are_believed(restored: Restored, clients: Clients):
    (assertion,) = check_database(restored, (), consistent_at=NOON, now=LATER, clients=clients).assertions
    assert assertion.held is None
    assert "could not prove its name" in assertion.detail


def test_another_aws_names_its_own_authorities(
    restored: Restored, clients: Clients, server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOLDFAST_CA_BUNDLE", str(server.ca_bundle))
    first, *_ = check_database(restored, (), consistent_at=NOON, now=LATER, clients=clients).assertions
    assert first.held is True


def test_a_server_without_tls_is_not_spoken_to(ask: Ask, restored: Restored, server: PostgresqlServer):
    (assertion,) = ask(of=replace(restored, port=server.plain_port))
    assert assertion.held is None
    assert "SSL" in assertion.detail


def test_no_network_path_is_undecided_and_says_what_to_check(ask: Ask, restored: Restored):
    (assertion,) = ask(of=replace(restored, port=free_port()))
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
        ({"engine": "oracle-ee"}, "oracle-ee"),
        ({"engine": None}, "unknown"),
        ({"secret_arn": None}, "no managed master secret"),
        ({"address": None}, "no address"),
    ],
)
def test_what_cannot_be_asked_is_undecided_with_the_reason(ask: Ask, restored: Restored, change: dict, says: str):
    (assertion,) = ask(of=replace(restored, **change))
    assert assertion.held is None
    assert says in assertion.detail


@pytest.mark.parametrize(
    "secret",
    [
        "hunter2",
        '"hunter2"',
        '{"username": "master"}',
        '{"username": "master", "password": ""}',
        '{"username": "master", "password": ["hunter2"]}',
    ],
)
def test_a_secret_without_a_password_is_undecided_and_not_shown(
    ask: Ask, restored: Restored, clients: Clients, secret: str
):
    """F93."""
    clients.retrying("secretsmanager", REGION).put_secret_value(SecretId=restored.secret_arn, SecretString=secret)
    (assertion,) = ask(of=restored)
    assert assertion.held is None
    assert "does not hold a username and a password" in assertion.detail
    assert "hunter2" not in assertion.detail


def test_a_secret_that_does_not_exist_is_undecided(ask: Ask, restored: Restored):
    (assertion,) = ask(of=replace(restored, secret_arn=f"{restored.secret_arn}x"))
    assert assertion.held is None
    assert "GetSecretValue" in assertion.detail


def test_a_server_that_never_answered_has_no_first_answer(see: See, restored: Restored):
    assert see(of=replace(restored, port=free_port())).first_query_at is None


def test_when_secrets_manager_is_busy_the_workflow_asks_again(see: See, monkeypatch: pytest.MonkeyPatch):
    def busy(restored: Restored, clients: Clients) -> None:
        raise AwsBusy("throttled", hint="wait")

    monkeypatch.setattr(database_checks, "_login", busy)
    with pytest.raises(AwsBusy):
        see()


def test_a_database_beyond_the_bound_is_told(see: See, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(database_checks, "MOST_DATABASES", 1)
    catalog = see(at_least(1, "SELECT 1")).assertions[1]
    assert "further databases were not looked at" in catalog.detail


class Scripted:
    """A database whose server says what no honest one says."""

    def __init__(self, server: Server, database: str, budget: Budget) -> None:
        self.database = database

    def ask(self, statement: str, seconds: float = 0) -> list[Row]:
        return [[datetime.min.replace(tzinfo=timezone(timedelta(hours=15)))]]

    def catalog(self) -> Assertion:
        return Assertion(what="the catalog is whole", held=True, detail="it is")

    def parts(self, *, may_install: bool) -> Parts:
        return Parts(note="no way")

    def wrong_with(self, part: Part, seconds: float) -> str:
        raise AssertionError(part)

    def tables(self) -> tuple[Table, ...]:
        raise NoAnswer("42501", is_refusal=True)

    def neighbours(self) -> tuple[str, ...]:
        raise NoAnswer("42501", is_refusal=True)

    def close(self) -> None:
        pass


def test_a_time_before_all_times_and_questions_that_are_refused_are_told(see: See, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(database_checks, "_ENGINES", {"postgres": database_checks._Engine(Scripted, "postgres")})
    answers, catalog, check = see(newest_within(10, "SELECT max(at) FROM orders")).assertions
    assert (answers.held, catalog.held, check.held) == (True, True, None)
    assert "no time in UTC" in check.detail
    assert "the other databases are not known: 42501" in catalog.detail
    assert "its inside was not looked at: no way" in catalog.detail
    assert "not counted: the tables of shop: 42501" in catalog.detail


def test_an_orphan_in_the_catalog_is_unfit(ask: Ask, server: PostgresqlServer):
    with server.master() as master:
        master.run("CREATE DATABASE damaged")
    with server.master("damaged") as master:
        master.run("SET allow_system_table_mods = on")
        master.run("CREATE TABLE t (a int)")
        master.run("DELETE FROM pg_class WHERE relname = 't'")
    assertions = ask(DatabaseCheck(database="damaged", statement="SELECT 1", at_least=1))
    assert assertions[1].held is False
    assert "columns without a relation" in assertions[1].detail
