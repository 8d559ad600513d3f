"""What a restored MySQL or MariaDB is asked: whole catalog, sound tables, rows; also Aurora's MySQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pymysql.connections import Connection
from pymysql.err import MySQLError

from functions.aws.databases.lines import (
    ANSWER_SECONDS,
    CONNECT_SECONDS,
    MOST_LISTED_TABLES,
    MOST_NEIGHBOURS,
    STATEMENT_SECONDS,
    Budget,
    Meter,
    NoAnswer,
    Part,
    Parts,
    Row,
    Server,
    Table,
    called,
    key_of,
    line_trouble,
    quoted,
    verified_context,
)
from functions.core.evidence import Assertion

ANY_DATABASE = "information_schema"
"""The database every server has; asked when no check names another and nobody made one."""

MOST_PARTS = 2_000
LOCK_SECONDS = 5

SAYS_THE_DATA_IS_NOT_THERE = frozenset(
    {1016, 1017, 1033, 1034, 1035, 1049, 1054, 1146, 1194, 1195, 1712, 1812, 1814, 1877, 1932}
)
"""Error numbers that speak about the content: a missing database, table, column or file, and a crashed or corrupt
table. Every other one leaves the question open."""

STOPPED_BY_THE_SERVER = frozenset({1317, 1969, 3024})
REFUSED = frozenset({1142, 1143, 1227, 1370, 1792})
ENDS_THE_LINE = frozenset({1053, 1077, 1079, 1152, 1184, 1927})
FIRST_OF_THE_DRIVER, LAST_OF_THE_DRIVER = 2000, 2999
"""Numbers that the client gives itself, when the server says nothing that it understands."""

_OF_THE_SERVER = "('mysql', 'information_schema', 'performance_schema', 'sys', 'innodb', 'tmp')"

_CATALOG = """
SELECT count(*), coalesce(sum(table_type = 'BASE TABLE'), 0),
       coalesce(sum(table_type = 'BASE TABLE' AND engine IS NULL), 0)
  FROM information_schema.tables WHERE table_schema = {database}
"""

_CRASHED = """
SELECT table_name, table_comment FROM information_schema.tables
 WHERE table_schema = {database} AND table_type = 'BASE TABLE' AND engine IS NULL ORDER BY table_name LIMIT 5
"""

_TABLES = """
SELECT table_name, coalesce(data_length, 0) + coalesce(index_length, 0), table_rows
  FROM information_schema.tables
 WHERE table_schema = {database} AND table_type = 'BASE TABLE' AND engine IS NOT NULL
 ORDER BY 2, 1 LIMIT {most}
"""

_CAN_BE_CHECKED = "('InnoDB', 'MyISAM', 'Aria', 'ARCHIVE', 'CSV')"

_PARTS = """
SELECT table_name FROM information_schema.tables
 WHERE table_schema = {database} AND table_type = 'BASE TABLE' AND engine IN {engines}
 ORDER BY coalesce(data_length, 0) + coalesce(index_length, 0), table_name LIMIT {most}
"""

_HOW_MANY_PARTS = """
SELECT count(*) FROM information_schema.tables
 WHERE table_schema = {database} AND table_type = 'BASE TABLE' AND engine IN {engines}
"""

_NEIGHBOURS = f"""
SELECT schema_name FROM information_schema.schemata WHERE schema_name NOT IN {_OF_THE_SERVER}
 ORDER BY schema_name LIMIT {MOST_NEIGHBOURS}
"""  # noqa: S608 - our own constants


class MysqlConversation:
    """One database of a restored server. A line that broke is opened again for the next question."""

    def __init__(self, server: Server, database: str, budget: Budget) -> None:
        """A conversation that has begun.

        Errors: NoAnswer when the server does not let us in, or cannot prove its name.
        """
        self.database = database
        self._server = server
        self._budget = budget
        self._meter = Meter()
        self._connection: Connection[Any] | None = None
        self._open()

    def ask(self, statement: str, seconds: float = STATEMENT_SECONDS) -> list[Row]:
        with self._line(seconds) as connection:
            _run(connection, "START TRANSACTION READ ONLY")
            rows = _run(connection, statement)
            _run(connection, "ROLLBACK")
        return rows

    def catalog(self) -> Assertion:
        what = f"the catalog of {key_of(self.database)} is whole"
        name = _text(self.database)
        try:
            [(listed, tables, crashed)] = self.ask(_CATALOG.format(database=name))
            examples = self.ask(_CRASHED.format(database=name)) if crashed else []
        except NoAnswer as problem:
            return Assertion(what=what, held=problem.held, detail=problem.detail)
        detail = f"{listed:,} tables and views, {tables:,} tables; {crashed} tables that their engine cannot open"
        said = "".join(f"; {key_of(str(table))}: {quoted(comment)}" for table, comment in examples)
        return Assertion(what=what, held=not crashed, detail=detail + said)

    def parts(self, *, may_install: bool) -> Parts:  # noqa: ARG002 - the server's own CHECK TABLE is always there
        where = {"database": _text(self.database), "engines": _CAN_BE_CHECKED}
        rows = self.ask(_PARTS.format(most=MOST_PARTS, **where))
        [(total,)] = self.ask(_HOW_MANY_PARTS.format(**where))
        return Parts(listed=tuple(self._part(str(name)) for (name,) in rows), total=total)

    def _part(self, name: str) -> Part:
        # QUICK leaves the links between rows alone: all of a table would be read, and some engines more than once.
        statement = f"CHECK TABLE {_name(self.database)}.{_name(name)} QUICK"
        return Part(name=key_of(name), kind="table", statement=statement)

    def wrong_with(self, part: Part, seconds: float) -> str:
        with self._line(seconds) as connection:
            rows = _run(connection, part.statement)
        messages = [(str(row[2]).lower(), str(row[3])) for row in rows]
        if not messages:
            raise NoAnswer("CHECK TABLE said nothing; look at the server's own log")
        if messages[-1][1] in ("OK", "Table is already up to date"):
            return ""
        said = "; ".join(text for kind, text in messages if kind != "note")
        if any("denied" in text for _, text in messages) or not said:
            raise NoAnswer(f"CHECK TABLE was refused: {quoted(messages[0][1])}", is_refusal=True)
        return quoted(said)[1:-1]

    def tables(self) -> tuple[Table, ...]:
        rows = self.ask(_TABLES.format(database=_text(self.database), most=MOST_LISTED_TABLES))
        return tuple(
            Table(
                name=key_of(self.database, str(name)),
                size_bytes=int(size_bytes),
                estimate=None if estimate is None else int(estimate),
                statement=f"SELECT count(*) FROM {_name(self.database)}.{_name(str(name))}",  # noqa: S608 - by _name
            )
            for name, size_bytes, estimate in rows
        )

    def neighbours(self) -> tuple[str, ...]:
        return tuple(str(name) for (name,) in self.ask(_NEIGHBOURS))

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # saying goodbye to a line that died changes no finding
                self._meter.begin(ANSWER_SECONDS)
                connection.close()
        self._meter.hang_up()

    @contextmanager
    def _line(self, seconds: float) -> Iterator[Connection[Any]]:
        """The line, on which a statement is stopped after so long.

        Errors: NoAnswer, whatever went wrong.
        """
        allowed = self._budget.seconds_for(seconds)
        connection = self._connection or self._open()
        self._meter.begin(allowed + ANSWER_SECONDS)
        try:
            _run(connection, _time_limit(connection, allowed))
            yield connection
        except NoAnswer:
            raise
        except MySQLError as problem:
            answer = _said(problem)
            if answer.code and int(answer.code) not in ENDS_THE_LINE:
                self._roll_back(connection)
            else:
                self.close()
            raise answer from None
        except Exception as problem:  # noqa: BLE001 - a driver that reads garbage raises whatever its parsing trips over
            self.close()
            raise line_trouble(problem) from None

    def _roll_back(self, connection: Connection[Any]) -> None:
        try:
            _run(connection, "ROLLBACK")
        except Exception:  # noqa: BLE001 - the first error is the one that explains; the line is opened again
            self.close()

    def _open(self) -> Connection[Any]:
        allowed = self._budget.seconds_for(CONNECT_SECONDS)
        self._meter.begin(allowed)
        try:
            self._connection = self._connected(allowed)
        except MySQLError as problem:
            self._meter.hang_up()
            raise _said(problem) from None
        except Exception as problem:  # noqa: BLE001 - as above: what answers need not be MySQL
            self._meter.hang_up()
            raise line_trouble(problem) from None
        return self._connection

    def _connected(self, seconds: float) -> Connection[Any]:
        server = self._server
        connection: Connection[Any] = Connection(
            user=server.login.user,
            password=server.login.password.encode(),
            host=server.address,
            port=server.port,
            database=self.database,
            charset="utf8mb4",
            # A context, and not a set of paths: with those the driver talks on in the clear to whom has no TLS.
            ssl=verified_context(server.ca_bundle, self._meter),
            local_infile=False,
            autocommit=None,
            program_name="holdfast-rehearsal",
            defer_connect=True,
        )
        connection.connect(called(server.address, server.port, self._meter, seconds))
        for statement in _BEFORE_ALL_ELSE:
            _run(connection, statement)
        return connection


_BEFORE_ALL_ELSE = (
    "SET SESSION TRANSACTION READ ONLY",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "SET SESSION time_zone = '+00:00'",
    f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}",
    f"SET SESSION innodb_lock_wait_timeout = {LOCK_SECONDS}",
    # Backslashes and double quotes in texts mean what the checks' author and this file expect, whatever the server's
    # own setting; the rest of the mode has no say in what is read.
    "SET SESSION sql_mode = ''",
)


def _time_limit(connection: Connection[Any], seconds: float) -> str:
    """The two families of servers name it differently, and count it in different units."""
    if "mariadb" in str(connection.get_server_info()).lower():
        return f"SET SESSION max_statement_time = {seconds:.3f}"
    return f"SET SESSION max_execution_time = {max(1, int(seconds * 1000))}"


def _run(connection: Connection[Any], statement: str) -> list[Row]:
    """The rows of exactly one statement: the driver asks the server to take no second one."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def _name(written: str) -> str:
    return "`" + written.replace("`", "``") + "`"


def _text(written: str) -> str:
    """The text as a literal. Its letters go as numbers, so that no setting of the server reads them otherwise; and it
    stays a literal, because a column compared with anything else must agree with it on a collation."""
    return f"_utf8mb4 X'{written.encode().hex()}'"


def _said(problem: MySQLError) -> NoAnswer:
    """What the server itself said, or what became of the line."""
    cause = getattr(problem, "original_exception", None) or problem.__context__
    number = problem.args[0] if problem.args and isinstance(problem.args[0], int) else 0
    if isinstance(cause, OSError):
        return line_trouble(cause)
    if not number or FIRST_OF_THE_DRIVER <= number <= LAST_OF_THE_DRIVER:
        return NoAnswer(
            f"the connection failed: {quoted(str(problem.args[-1] if problem.args else problem))}; "
            "look at the server's own log"
        )
    return NoAnswer(
        f"the server says {number}: {quoted(str(problem.args[-1]))}{_NEXT_STEPS.get(number, '')}",
        held=False if number in SAYS_THE_DATA_IS_NOT_THERE else None,
        code=str(number),
        is_late=number in STOPPED_BY_THE_SERVER,
        is_refusal=number in REFUSED,
    )


_NEXT_STEPS = {
    1045: "; the managed secret and the database disagree about the password: look at the secret's rotation",
    1142: "; the master user may not read it: grant it SELECT",
    1317: "; ask for less, or give the table an index that answers it",
    1969: "; ask for less, or give the table an index that answers it",
    3024: "; ask for less, or give the table an index that answers it",
    1792: "; a check only reads",
}
