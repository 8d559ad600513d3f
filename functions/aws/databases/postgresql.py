"""What a restored PostgreSQL is asked: whole catalog, sound indexes and tables, rows; also Aurora's PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from pg8000.exceptions import DatabaseError
from pg8000.native import Connection

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

ANY_DATABASE = "postgres"
"""The database every PostgreSQL server has; asked when no check names another."""

MOST_PARTS = 2_000
LOCK_SECONDS = 5

SAYS_THE_DATA_IS_NOT_THERE = ("XX", "3D000", "3F000", "42P01", "42703", "58P01")
"""SQLSTATEs that speak about the content: corruption, and a missing database, schema, table, column or file. Every
other one (a timeout, a missing right, a mistake in the statement) leaves the question open."""

STOPPED_BY_THE_SERVER = "57014"
REFUSED = "42501"
ENDS_THE_LINE = ("57P", "08", "53")

_CATALOG = """
SELECT (SELECT count(*) FROM pg_catalog.pg_class),
       (SELECT count(*) FROM pg_catalog.pg_class
         WHERE relkind IN ('r', 'p') AND relnamespace NOT IN
               (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname LIKE 'pg\\_%' OR nspname = 'information_schema')),
       (SELECT count(*) FROM pg_catalog.pg_class WHERE relnamespace NOT IN (SELECT oid FROM pg_catalog.pg_namespace)),
       (SELECT count(*) FROM pg_catalog.pg_attribute WHERE attrelid NOT IN (SELECT oid FROM pg_catalog.pg_class)),
       (SELECT count(*) FROM pg_catalog.pg_index
         WHERE indrelid NOT IN (SELECT oid FROM pg_catalog.pg_class)
            OR indexrelid NOT IN (SELECT oid FROM pg_catalog.pg_class))
"""

_COLLATIONS = """
SELECT collname::text FROM pg_catalog.pg_collation
 WHERE collversion IS NOT NULL AND collversion <> pg_catalog.pg_collation_actual_version(oid)
 ORDER BY 1 LIMIT 100
"""

_COLLATION_OF_THE_DATABASE = """
SELECT datname::text FROM pg_catalog.pg_database
 WHERE datname = pg_catalog.current_database() AND datcollversion IS NOT NULL
   AND datcollversion <> pg_catalog.pg_database_collation_actual_version(oid)
"""

_NEIGHBOURS = """
SELECT datname::text FROM pg_catalog.pg_database
 WHERE datallowconn AND NOT datistemplate AND datname <> 'rdsadmin'
   AND pg_catalog.has_database_privilege(oid, 'CONNECT')
 ORDER BY pg_catalog.pg_database_size(oid) DESC, datname LIMIT {most}
"""

_AMCHECK = """
SELECT n.nspname::text, EXISTS (SELECT FROM pg_catalog.pg_proc p
         WHERE p.pronamespace = n.oid AND p.proname = 'verify_heapam')
  FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
 WHERE e.extname = 'amcheck'
"""

_PARTS = """
SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind = 'i', count(*) OVER ()
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_am a ON a.oid = c.relam
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
 WHERE c.relpersistence = 'p'
   AND (c.relkind = 'i' AND a.amname = 'btree' AND i.indisvalid AND i.indisready
        OR {and_tables} AND c.relkind IN ('r', 't', 'm') AND a.amname = 'heap')
 ORDER BY pg_catalog.pg_relation_size(c.oid), c.oid LIMIT {most}
"""

_ROWS = "count(tableoid)"
"""How many rows, from the table itself: PostgreSQL answers count(*) of a vacuumed table out of an index alone, and then
nobody has read the table. No index holds a system column."""

_TABLES = """
SELECT n.nspname::text, c.relname::text, c.relkind = 'p',
       CASE c.relkind WHEN 'p' THEN (
              SELECT coalesce(sum(pg_catalog.pg_relation_size(t.relid)), 0)
                FROM pg_catalog.pg_partition_tree(c.oid) t WHERE t.isleaf)
            ELSE pg_catalog.pg_relation_size(c.oid) END::int8,
       CASE c.relkind WHEN 'p' THEN (
              SELECT CASE WHEN min(leaf.reltuples) < 0 THEN -1 ELSE coalesce(sum(leaf.reltuples), 0) END
                FROM pg_catalog.pg_partition_tree(c.oid) t JOIN pg_catalog.pg_class leaf ON leaf.oid = t.relid
               WHERE t.isleaf)
            ELSE c.reltuples END::int8,
       pg_catalog.format('%I.%I', n.nspname, c.relname)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p'
   AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
 ORDER BY 4, 1, 2 LIMIT {most}
"""


class PostgresqlConversation:
    """One database of a restored PostgreSQL server. A line that broke is opened again for the next question."""

    def __init__(self, server: Server, database: str, budget: Budget) -> None:
        """A conversation that has begun.

        Errors: NoAnswer when the server does not let us in, or cannot prove its name.
        """
        self.database = database
        self._server = server
        self._budget = budget
        self._meter = Meter()
        self._connection: Connection | None = None
        self._open()

    def ask(self, statement: str, seconds: float = STATEMENT_SECONDS) -> list[Row]:
        with self._line(seconds) as connection:
            # One statement: the extended protocol takes no second one.
            rows = connection.execute_unnamed(statement).rows or []
            connection.run("ROLLBACK")
        return rows

    def catalog(self) -> Assertion:
        what = f"the catalog of {key_of(self.database)} is whole"
        try:
            relations, tables, *orphans = self.ask(_CATALOG)[0]
        except NoAnswer as problem:
            return Assertion(what=what, held=problem.held, detail=problem.detail)
        homeless, ownerless, loose = orphans
        detail = (
            f"{relations:,} relations, {tables:,} tables of users; {homeless} relations without a schema, "
            f"{ownerless} columns without a relation, {loose} indexes without a table{self._collations()}"
        )
        return Assertion(what=what, held=not any(orphans), detail=detail)

    def _collations(self) -> str:
        """A note on what sorted text when the indexes were built, if that was another library than the one here."""
        stale: list[str] = []
        for statement in (_COLLATIONS, _COLLATION_OF_THE_DATABASE):
            try:
                stale += [str(name) for (name,) in self.ask(statement)]
            except NoAnswer as problem:
                if (
                    problem.code != "42703" and problem.code != "42883"
                ):  # servers before 15 keep no version of their own
                    return f"; versions of collations unknown: {problem.detail}"
        if not stale:
            return ""
        return (
            f"; {len(stale)} collations are of another version than this server's, {quoted(', '.join(stale))}: "
            "indexes over text may be out of order until they are rebuilt"
        )

    def parts(self, *, may_install: bool) -> Parts:
        try:
            found = self.ask(_AMCHECK)
            if not found and may_install:
                self._install("amcheck")
                found = self.ask(_AMCHECK)
        except NoAnswer as problem:
            return Parts(note=f"amcheck cannot be had: {problem.detail}")
        if not found:
            return Parts(note="the extension amcheck is not installed")
        [(schema, knows_tables)] = found
        listing = _PARTS.format(and_tables=knows_tables, most=MOST_PARTS)
        rows = self.ask(listing)
        return Parts(
            listed=tuple(_part(schema, *row[:4]) for row in rows),
            total=rows[0][4] if rows else 0,
        )

    def wrong_with(self, part: Part, seconds: float) -> str:
        try:
            rows = self.ask(part.statement, seconds)
        except NoAnswer as problem:
            if problem.held is False:
                return problem.detail
            raise
        # bt_index_check raises what it finds and returns nothing; verify_heapam returns what it finds.
        said = [row[0] for row in rows if row[0] not in (None, "")]
        return quoted("; ".join(map(str, said)))[1:-1] if said else ""

    def tables(self) -> tuple[Table, ...]:
        return tuple(
            Table(
                name=key_of(self.database, schema, name),
                size_bytes=size_bytes,
                estimate=estimate if estimate >= 0 else None,
                statement=f"SELECT {_ROWS} FROM {'' if is_partitioned else 'ONLY '}{written}",  # noqa: S608 - by %I
            )
            for schema, name, is_partitioned, size_bytes, estimate, written in self.ask(
                _TABLES.format(most=MOST_LISTED_TABLES)
            )
        )

    def neighbours(self) -> tuple[str, ...]:
        return tuple(str(name) for (name,) in self.ask(_NEIGHBOURS.format(most=MOST_NEIGHBOURS)))

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # saying goodbye to a line that died changes no finding
                self._meter.begin(ANSWER_SECONDS)
                connection.close()
        self._meter.hang_up()

    def _install(self, extension: str) -> None:
        """The extension is in the database, committed: the one thing a rehearsal ever adds to what it restored."""
        with self._line(STATEMENT_SECONDS) as connection:
            connection.run("ROLLBACK")
            connection.run("START TRANSACTION READ WRITE")
            connection.run(f"CREATE EXTENSION IF NOT EXISTS {extension}")
            connection.run("COMMIT")

    @contextmanager
    def _line(self, seconds: float) -> Iterator[Connection]:
        """The line inside a transaction that cannot write, for so long.

        Errors: NoAnswer, whatever went wrong.
        """
        allowed = self._budget.seconds_for(seconds)
        connection = self._connection or self._open()
        self._meter.begin(allowed + ANSWER_SECONDS)
        try:
            connection.run("START TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            connection.run(f"SET LOCAL statement_timeout = {max(1, int(allowed * 1000))}")
            yield connection
        except NoAnswer:
            raise
        except DatabaseError as problem:
            answer = _said(problem)
            if answer.code.startswith(ENDS_THE_LINE):
                self.close()
            else:
                self._roll_back(connection)
            raise answer from None
        except Exception as problem:  # noqa: BLE001 - a driver that reads garbage raises whatever its parsing trips over
            self.close()
            raise line_trouble(problem) from None

    def _roll_back(self, connection: Connection) -> None:
        try:
            connection.run("ROLLBACK")
        except Exception:  # noqa: BLE001 - the first error is the one that explains; the line is opened again
            self.close()

    def _open(self) -> Connection:
        allowed = self._budget.seconds_for(CONNECT_SECONDS)
        self._meter.begin(allowed)
        try:
            self._connection = self._connected(allowed)
        except DatabaseError as problem:
            self._meter.hang_up()
            raise _said(problem) from None
        except Exception as problem:  # noqa: BLE001 - as above: what answers need not be PostgreSQL
            self._meter.hang_up()
            raise line_trouble(problem) from None
        return self._connection

    def _connected(self, seconds: float) -> Connection:
        server = self._server
        context = verified_context(server.ca_bundle, self._meter)
        return Connection(
            user=server.login.user,
            password=server.login.password,
            host=server.address,
            database=self.database,
            sock=called(server.address, server.port, self._meter, seconds),
            ssl_context=context,
            application_name="holdfast-rehearsal",
            startup_params={
                "default_transaction_read_only": "on",
                "statement_timeout": f"{int(STATEMENT_SECONDS)}s",
                "lock_timeout": f"{LOCK_SECONDS}s",
                "TimeZone": "UTC",
            },
        )


def _part(schema: str, oid: int, namespace: str, name: str, is_index: bool) -> Part:
    home = '"' + schema.replace('"', '""') + '"'
    # By number: a name could be one that another schema on the search path has too.
    look = (
        f"{home}.bt_index_check({oid}::pg_catalog.regclass, true)::text"
        if is_index
        else f"msg FROM {home}.verify_heapam({oid}::pg_catalog.regclass, true, true) LIMIT 3"
    )
    return Part(name=key_of(namespace, name), kind="index" if is_index else "table", statement=f"SELECT {look}")


def _said(problem: DatabaseError) -> NoAnswer:
    """What the server itself said."""
    said: Any = problem.args[0] if problem.args and isinstance(problem.args[0], Mapping) else {}
    code = str(said.get("C", ""))
    return NoAnswer(
        f"PostgreSQL says {quoted(code)[1:-1]}: {quoted(str(said.get('M', '')))}{_next_step(code)}",
        held=False if code.startswith(SAYS_THE_DATA_IS_NOT_THERE) else None,
        code=code,
        is_late=code == STOPPED_BY_THE_SERVER,
        is_refusal=code == REFUSED,
    )


def _next_step(code: str) -> str:
    steps = {
        "28": "; the managed secret and the database disagree about the password: look at the secret's rotation",
        STOPPED_BY_THE_SERVER: "; ask for less, or give the table an index that answers it",
        "25006": "; a check only reads",
        "42501": "; the master user may not read it: grant it pg_read_all_data",
    }
    return next((step for begins, step in steps.items() if code.startswith(begins)), "")
