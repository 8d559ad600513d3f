"""What a rehearsal asks of a restored MySQL or MariaDB: decisions at the driver's edge, and a real MariaDB if there is
one on this machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymysql.constants import CLIENT
from pymysql.err import InternalError, OperationalError, ProgrammingError

from functions.aws.databases import mysql
from functions.aws.databases.checks import DatabaseEvidence, check_database
from functions.aws.databases.lines import Budget, Login, NoAnswer, Part, Server
from functions.aws.databases.mysql import MysqlConversation
from functions.core.evidence import Assertion, Fitness, judge
from functions.core.policies import DatabaseCheck
from functions.core.resources import Kind
from functions.core.restores import Restored, RestoreState
from functions.core.row_counts import Counted
from tests.aws.databases.servers import INSTALL_DB, MARIADBD, PASSWORD, MariadbServer, a_mariadb

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=3)
NOWHERE = Server(address="127.0.0.1", port=9, login=Login(user="master", password="ä"), ca_bundle=Path("none.pem"))

needs_mariadb = pytest.mark.skipif(
    not (Path(MARIADBD).exists() and INSTALL_DB),
    reason="there is no MariaDB server here (Debian: mariadb-server); the decisions are tested without one",
)

# ---------------------------------------------------------------------------- at the driver's edge


class FakeDriver:
    """Stands where PyMySQL's Connection stands: hears statements and answers from a script."""

    version = "8.0.40"

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.made = 0
        self.options: dict[str, Any] = {}
        self.answers: list[tuple[str, Sequence[Any] | Exception]] = []

    def __call__(self, **options: Any) -> FakeDriver:
        self.made += 1
        self.options = options
        return self

    def answer(self, pattern: str, answer: Sequence[Any] | Exception) -> None:
        self.answers.append((pattern, answer))

    def connect(self, line: object) -> None:
        self.heard.append("connect")

    def close(self) -> None:
        self.heard.append("close")

    def get_server_info(self) -> str:
        return self.version

    def cursor(self) -> FakeDriver:
        return self

    def __enter__(self) -> FakeDriver:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, statement: str) -> None:
        self.heard.append(statement)
        found = [answer for pattern, answer in self.answers if re.search(pattern, statement)]
        self.rows: Sequence[Any] = () if not found or isinstance(found[0], Exception) else found[0]
        if found and isinstance(found[0], Exception):
            raise found[0]

    def fetchall(self) -> Sequence[Any]:
        return self.rows


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    fake = FakeDriver()
    monkeypatch.setattr(mysql, "Connection", fake)
    monkeypatch.setattr(mysql, "called", lambda *_: None)
    monkeypatch.setattr(mysql, "verified_context", lambda *_: "a context")
    return fake


def conversation(seconds: float = 60.0) -> MysqlConversation:
    return MysqlConversation(NOWHERE, "shop", Budget(seconds, lambda: 0.0))


def refused(conversation: MysqlConversation, statement: str = "SELECT 1") -> NoAnswer:
    with pytest.raises(NoAnswer) as problem:
        conversation.ask(statement)
    return problem.value


def test_everything_is_read_in_a_transaction_that_cannot_write_and_is_rolled_back(driver: FakeDriver) -> None:
    driver.answer("SELECT 7", [(7,)])
    begun = conversation()
    assert "SET SESSION TRANSACTION READ ONLY" in driver.heard
    del driver.heard[:]
    assert begun.ask("SELECT 7") == [(7,)]
    assert driver.heard == [
        "SET SESSION max_execution_time = 30000",
        "START TRANSACTION READ ONLY",
        "SELECT 7",
        "ROLLBACK",
    ]


def test_mariadb_has_another_word_and_another_unit_for_the_time_limit(driver: FakeDriver) -> None:
    driver.version = "5.5.5-10.11.6-MariaDB-log"
    conversation(12.5).ask("SELECT 1")
    assert "SET SESSION max_statement_time = 12.500" in driver.heard


def test_the_line_is_encrypted_and_the_server_verified_and_no_file_is_handed_over(driver: FakeDriver) -> None:
    conversation()
    assert driver.options["ssl"] == "a context"
    assert driver.options["local_infile"] is False
    assert driver.options["password"] == "ä".encode()


def test_the_driver_asks_for_one_statement_at_a_time() -> None:
    from pymysql.connections import Connection

    made = Connection(user="a", password="b", defer_connect=True)
    assert not made.client_flag & CLIENT.MULTI_STATEMENTS
    assert not made.client_flag & CLIENT.LOCAL_FILES


@pytest.mark.parametrize(
    ("error", "held", "is_late"),
    [
        (ProgrammingError(1146, "Table 'shop.nope' doesn't exist"), False, False),
        (OperationalError(1054, "Unknown column"), False, False),
        (InternalError(1194, "Table 'orders' is marked as crashed"), False, False),
        (InternalError(1712, "Index PRIMARY is corrupted"), False, False),
        (ProgrammingError(1932, "Table doesn't exist in engine"), False, False),
        (ProgrammingError(1064, "You have an error in your SQL syntax"), None, False),
        (OperationalError(1142, "SELECT command denied"), None, False),
        (OperationalError(1792, "Cannot execute statement in a READ ONLY transaction"), None, False),
        (OperationalError(1969, "max_statement_time exceeded"), None, True),
        (OperationalError(3024, "maximum statement execution time exceeded"), None, True),
        (OperationalError(2013, "Lost connection to MySQL server during query"), None, False),
        (OperationalError(), None, False),
        (RuntimeError("**WARN**: Received LOAD_LOCAL packet but local_infile option is false."), None, False),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), None, False),
        (MemoryError(), None, False),
    ],
)
def test_the_servers_number_tells_what_an_error_means(
    driver: FakeDriver, error: Exception, held: bool | None, is_late: bool
) -> None:
    driver.answer("SELECT 1", error)
    answer = refused(conversation())
    assert (answer.held, answer.is_late) == (held, is_late)
    assert answer.detail.isprintable()


def test_a_statement_that_fails_is_rolled_back_on_the_same_line(driver: FakeDriver) -> None:
    driver.answer("SELECT 1", ProgrammingError(1064, "no"))
    begun = conversation()
    refused(begun)
    assert driver.heard[-1] == "ROLLBACK"
    begun.ask("SELECT 2")
    assert driver.made == 1


@pytest.mark.parametrize(
    "error", [OperationalError(2006, "gone"), OperationalError(1927, "killed"), ValueError("noise")]
)
def test_a_line_that_broke_is_opened_again_for_the_next_question(driver: FakeDriver, error: Exception) -> None:
    driver.answer("SELECT 1", error)
    begun = conversation()
    refused(begun)
    begun.ask("SELECT 2")
    assert driver.made == 2


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([("shop.t", "check", "status", "OK")], ""),
        ([("shop.t", "check", "status", "Table is already up to date")], ""),
        ([("shop.t", "check", "warning", "1 client is using it"), ("shop.t", "check", "status", "OK")], ""),
        ([("shop.t", "check", "error", "Size of datafile is: 1"), ("shop.t", "check", "error", "Corrupt")], "Size of"),
        (
            [("shop.t", "check", "Error", "Tablespace is missing"), ("shop.t", "check", "status", "Operation failed")],
            "miss",
        ),
    ],
)
def test_what_check_table_says_about_a_table(driver: FakeDriver, rows: list[Any], says: str) -> None:
    driver.answer("CHECK TABLE", rows)
    wrong = conversation().wrong_with(Part(name="t", kind="table", statement="CHECK TABLE t QUICK"), 5)
    assert says in wrong
    assert bool(wrong) == bool(says)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [
            ("shop.t", "check", "Error", "SELECT command denied to user"),
            ("shop.t", "check", "status", "Operation failed"),
        ],
        [("shop.t", "check", "note", "The storage engine for the table doesn't support check")],
    ],
)
def test_a_check_that_was_not_made_is_no_damage(driver: FakeDriver, rows: list[Any]) -> None:
    driver.answer("CHECK TABLE", rows)
    with pytest.raises(NoAnswer) as problem:
        conversation().wrong_with(Part(name="t", kind="table", statement="CHECK TABLE t QUICK"), 5)
    assert problem.value.held is None


def test_a_table_that_its_engine_cannot_open_is_unfit(driver: FakeDriver) -> None:
    driver.answer("SELECT count", [(9, 8, 1)])
    driver.answer("table_comment", [("orders", "Table 'orders' is marked as crashed\x1b[2J")])
    found = conversation().catalog()
    assert found.held is False
    assert "1 tables that their engine cannot open; orders: " in found.detail
    assert found.detail.isprintable()


def test_a_line_that_cannot_even_be_rolled_back_is_opened_again(driver: FakeDriver) -> None:
    driver.answer("SELECT 1", ProgrammingError(1064, "no"))
    driver.answer("ROLLBACK", OperationalError(2006, "gone"))
    begun = conversation()
    assert refused(begun).code == "1064"
    with pytest.raises(NoAnswer):
        begun.ask("SELECT 2")
    assert driver.made == 2


def test_a_catalog_that_cannot_be_read_is_damaged_or_undecided_as_the_server_says(driver: FakeDriver) -> None:
    begun = conversation()
    driver.answer("SELECT count", InternalError(1034, "Incorrect key file for table"))
    assert begun.catalog().held is False
    driver.answers[:] = [("SELECT count", OperationalError(2013, "Lost connection"))]
    assert begun.catalog().held is None


def test_names_are_written_so_that_they_stay_names(driver: FakeDriver) -> None:
    driver.answer("FROM information_schema.tables", [("a`; DROP TABLE b", 16384, None)])
    [table] = conversation().tables()
    assert table.statement == "SELECT count(*) FROM `shop`.`a``; DROP TABLE b`"
    assert table.estimate is None


def test_a_database_name_reaches_the_server_as_numbers(driver: FakeDriver) -> None:
    driver.answer("SELECT count", [(0, 0, 0)])
    MysqlConversation(NOWHERE, "a' OR '1'='1", Budget(9)).catalog()
    assert not any("OR '1'" in statement for statement in driver.heard)
    assert any("X'6127204f52202731273d2731'" in statement for statement in driver.heard)


# ---------------------------------------------------------------------------- against a real server


@pytest.fixture(scope="module")
def server() -> Iterator[MariadbServer]:
    """With a table of orders whose newest is from ten minutes before noon."""
    with a_mariadb() as running:
        running.run("CREATE DATABASE shop")
        running.run(
            "CREATE TABLE orders (id int PRIMARY KEY, at datetime, note text)",
            "INSERT INTO orders SELECT seq, '2026-11-20 11:50' - INTERVAL seq HOUR, repeat('\x1bé', 500) "
            "FROM seq_0_to_99",
            "CREATE TABLE old (a int) ENGINE=MyISAM",
            "INSERT INTO old SELECT seq FROM seq_1_to_1000",
            "CREATE SEQUENCE numbers",
            "CREATE TABLE odd (b varbinary(9), t varchar(9) CHARACTER SET latin1, d datetime)",
            "SET SESSION sql_mode = ''",
            "INSERT INTO odd VALUES (x'00ff80fe', x'e9ff', '0000-00-00')",
            "CREATE FUNCTION writes() RETURNS int MODIFIES SQL DATA BEGIN INSERT INTO old VALUES (1); RETURN 1; END",
            database="shop",
        )
        yield running


class NoSecrets:
    """Secrets Manager with the master's password in every secret."""

    def retrying(self, service: str, region: str) -> Any:
        return self

    def get_secret_value(self, **_: str) -> dict[str, str]:
        return {"SecretString": f'{{"username": "master", "password": "{PASSWORD}"}}'}


See = Callable[..., DatabaseEvidence]
Ask = Callable[..., Assertion]


@pytest.fixture
def see(server: MariadbServer) -> See:
    restored = Restored(
        id="holdfast-rt-0123456789ab",
        snapshot_id="holdfast-1",
        kind=Kind.DATABASE,
        region="eu-central-1",
        state=RestoreState.AVAILABLE,
        address="127.0.0.1",
        port=server.port,
        engine="mariadb",
        secret_arn="arn",
    )

    def run(*checks: DatabaseCheck, **changes: Any) -> DatabaseEvidence:
        settings: dict[str, Any] = {"consistent_at": NOON, "now": LATER, "ca_bundle": server.ca_bundle} | changes
        return check_database(restored, checks, clients=NoSecrets(), **settings)  # type: ignore[arg-type] - a fake

    return run


@pytest.fixture
def ask(see: See) -> Ask:
    """What was found about one statement."""

    def run(statement: str, at_least: int = 0, **changes: Any) -> Assertion:
        found = see(DatabaseCheck(database="shop", statement=statement, at_least=at_least), **changes)
        return found.assertions[2]

    return run


@needs_mariadb
def test_a_whole_database_with_what_was_promised_is_fit(see: See) -> None:
    found = see(
        DatabaseCheck(database="shop", statement="SELECT count(*) FROM orders", at_least=100),
        DatabaseCheck(database="shop", statement="SELECT max(at) FROM orders", newest_within_minutes=10),
        learned=(Counted(rows={"shop.orders": 90}, at=NOON - timedelta(days=7)),),
    )
    evidence = judge(found.assertions)
    assert evidence.fitness is Fitness.FIT, evidence.reason
    assert found.row_counts == {"shop.odd": 1, "shop.old": 1000, "shop.orders": 100}
    assert [one.what.split(":")[0] for one in found.assertions] == [
        "database shop answers",
        "the catalog of shop is whole",
        "check on shop",
        "check on shop",
        "indexes and tables of shop are sound inside",
        "the tables of the last rehearsal are still there",
        "the tables hold as many rows as is usual",
    ]


@needs_mariadb
def test_without_checks_the_databases_of_users_are_found(see: See) -> None:
    assert "database shop answers" in [one.what for one in see().assertions]


@needs_mariadb
def test_a_missing_database_is_unfit(see: See) -> None:
    [found] = see(DatabaseCheck(database="nope", statement="SELECT 1", at_least=1)).assertions
    assert found.held is False
    assert "1049" in found.detail


@needs_mariadb
@pytest.mark.parametrize(
    ("statement", "held"),
    [
        ("SELECT count(*) FROM nope", False),
        ("SELECT nope FROM orders", False),
        ("SELECT id FROM orders WHERE id < 0", False),
        ("SELECT max(id) FROM orders WHERE id < 0", False),
        ("SELECT id FROM orders", None),
        ("SELECT NEXTVAL(numbers)", None),
        ("SELECT writes()", None),
        ("SELECT b FROM odd", None),
        ("SELECT t FROM odd", None),
        ("SELECT seq FROM seq_1_to_10000000", None),
        ("SELECT repeat('x', 10000000)", None),
        ("SELECT 1 FROM WHERE", None),
    ],
)
def test_a_check_that_gives_no_number_says_why(ask: Ask, statement: str, held: bool | None) -> None:
    found = ask(statement)
    assert found.held is held
    assert found.detail.isprintable()
    assert len(found.detail) < 400


@needs_mariadb
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT SLEEP(1000000000)",
        "SELECT BENCHMARK(100000000000, md5('x'))",
        "SELECT count(*) FROM seq_1_to_1000000 a, seq_1_to_1000000 b",
    ],
)
def test_a_check_that_never_ends_is_stopped_by_the_server(ask: Ask, statement: str) -> None:
    found = ask(statement, budget=Budget(1.0))
    assert found.held is None
    assert "1969" in found.detail


@needs_mariadb
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1; DELETE FROM orders",
        "SELECT 1 INTO OUTFILE '{folder}/stolen'",
        "SELECT 1) AS a LIMIT 0 UNION SELECT 2 INTO OUTFILE '{folder}/stolen' -- ",
        "SELECT 1 /*!INTO OUTFILE '{folder}/stolen'*/",
        "SELECT id FROM orders FOR UPDATE",
    ],
)
def test_what_the_policy_refuses_does_no_harm_at_the_server_either(
    server: MariadbServer, tmp_path: Path, statement: str
) -> None:
    """As if the words were never looked at."""
    target = Server(
        address="127.0.0.1",
        port=server.port,
        login=Login(user="master", password=PASSWORD),
        ca_bundle=server.ca_bundle,
    )
    begun = MysqlConversation(target, "shop", Budget(20))
    written = statement.format(folder=tmp_path)
    refused(begun, f"SELECT * FROM (\n{written}\n) AS answer LIMIT 2")  # noqa: S608 - that is what is tested
    refused(begun, written)
    assert begun.ask("SELECT count(*) FROM orders") == [(100,)]
    begun.close()
    assert list(tmp_path.iterdir()) == []


@needs_mariadb
def test_a_zero_date_is_no_timestamp(see: See) -> None:
    check = DatabaseCheck(database="shop", statement="SELECT d FROM odd", newest_within_minutes=10)
    found = see(check).assertions[2]
    assert found.held is None
    assert "not a timestamp" in found.detail


@needs_mariadb
def test_a_damaged_table_is_unfit(server: MariadbServer, see: See) -> None:
    server.run("CREATE DATABASE broken")
    server.run("CREATE TABLE t (a int) ENGINE=MyISAM", "INSERT INTO t SELECT seq FROM seq_1_to_1000", database="broken")
    server.run("FLUSH TABLES")
    rows = server.data / "broken" / "t.MYD"
    rows.write_bytes(rows.read_bytes()[:1000])
    try:
        evidence = judge(see().assertions)
    finally:
        server.run("DROP DATABASE broken")
    assert evidence.fitness is Fitness.UNFIT
    assert "damaged: table t: " in evidence.reason
