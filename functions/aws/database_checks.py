"""What a restored PostgreSQL database says about itself: it answers, its catalog is whole, the stated checks hold."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

from pg8000.exceptions import DatabaseError, Error
from pg8000.native import Connection

from functions.aws.clients import Clients
from functions.aws.faults import translated
from functions.aws.permissions import Permission
from functions.core import instants
from functions.core.errors import Broken
from functions.core.evidence import Assertion
from functions.core.policies import DatabaseCheck
from functions.core.restores import Restored

CONNECT_SECONDS = 10
STATEMENT_SECONDS = 30
SILENCE_SECONDS = STATEMENT_SECONDS + 15
"""How long the socket waits: longer than the server lets a statement run, so that the server's answer arrives."""

ANY_DATABASE = "postgres"
"""The database every PostgreSQL server has; asked when no check names another."""

LONGEST_QUOTE = 120

SAYS_THE_DATA_IS_NOT_THERE = ("XX", "3D000", "3F000", "42P01", "42703", "58P01")
"""SQLSTATEs that speak about the content: corruption, and a missing database, schema, table, column or file. Every
other one (a timeout, a missing right, a mistake in the statement) leaves the question open."""

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

PERMISSIONS: Mapping[str, tuple[Permission, ...]] = {
    "check_database": (
        Permission(
            actions=("secretsmanager:GetSecretValue",),
            resources=("arn:{partition}:secretsmanager:{region}:{account}:secret:rds!*",),
            conditions={"StringLike": {"aws:ResourceTag/aws:rds:primaryDBInstanceArn": ("*:holdfast-rt-*",)}},
            why="reads the master password of a restored instance; the secrets of databases in use carry another name",
        ),
        Permission(
            actions=("secretsmanager:GetSecretValue",),
            resources=("arn:{partition}:secretsmanager:{region}:{account}:secret:rds!*",),
            conditions={"StringLike": {"aws:ResourceTag/aws:rds:primaryDBClusterArn": ("*:holdfast-rt-*",)}},
            why="reads the master password of a restored cluster; the secrets of clusters in use carry another name",
        ),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Login:
    user: str
    password: str


def check_database(
    restored: Restored,
    checks: Sequence[DatabaseCheck],
    *,
    consistent_at: datetime | None,
    now: datetime,
    clients: Clients,
    ca_bundle: Path | None = None,
) -> tuple[Assertion, ...]:
    """What the restored database showed; nothing in it was changed.

    `consistent_at` is the instant the snapshot stands for. With `ca_bundle` (the certificate authorities of RDS) the
    server must prove its name; without, the connection is encrypted to a server that nobody verified, and the
    evidence says so.

    Errors: NotAllowed, AwsBusy, Broken when the master secret cannot be read.
    """
    obstacle = _obstacle(restored)
    if obstacle:
        return (Assertion(what="the database answers", held=None, detail=obstacle),)
    login = _login(restored, clients)
    by_database = sorted(checks, key=lambda check: check.database)
    grouped = {name: list(group) for name, group in groupby(by_database, key=lambda check: check.database)}
    return tuple(
        assertion
        for database, its_checks in (grouped or {ANY_DATABASE: []}).items()
        for assertion in _check_one(
            restored, login, database, its_checks, consistent_at=consistent_at, now=now, ca_bundle=ca_bundle
        )
    )


def _obstacle(restored: Restored) -> str:
    """Why the database cannot be asked at all; empty when it can."""
    if "postgres" not in (restored.engine or ""):
        return f"checks are written for PostgreSQL and the engine is {restored.engine or 'unknown'}"
    if restored.address is None or restored.port is None:
        return "RDS names no address to connect to"
    if restored.secret_arn is None:
        return f"there is no managed master secret to log in with. {restored.message}".strip()
    return ""


def _login(restored: Restored, clients: Clients) -> _Login:
    with translated("secretsmanager:GetSecretValue", resource=restored.secret_arn or ""):
        answer = clients.retrying("secretsmanager", restored.region).get_secret_value(SecretId=restored.secret_arn)
    try:
        secret = json.loads(answer["SecretString"])
        return _Login(user=secret["username"], password=secret["password"])
    except (KeyError, TypeError, ValueError):
        raise Broken(
            f"the managed secret of {restored.id} does not hold a username and a password",
            hint="look at the secret's form in the Secrets Manager console and report it; the value is not shown here",
        ) from None


def _check_one(
    restored: Restored,
    login: _Login,
    database: str,
    checks: Sequence[DatabaseCheck],
    *,
    consistent_at: datetime | None,
    now: datetime,
    ca_bundle: Path | None,
) -> Iterator[Assertion]:
    """The assertions about one database of the server, the connection first; the rest only when it answers."""
    what = f"database {database} answers"
    try:
        connection = _connect(restored, login, database, ca_bundle)
    except (Error, OSError) as problem:
        yield Assertion(what=what, held=_held_by(problem), detail=_told(problem))
        return
    try:
        verified = "TLS, server verified" if ca_bundle else "TLS, server NOT verified (no CA bundle is configured)"
        yield Assertion(what=what, held=True, detail=f"{restored.address}, {verified}")
        yield _catalog(connection, database)
        for check in checks:
            yield _checked(connection, check, consistent_at=consistent_at, now=now)
    finally:
        with suppress(Error, OSError):  # saying goodbye to a connection that died changes no finding
            connection.close()


def _connect(restored: Restored, login: _Login, database: str, ca_bundle: Path | None) -> Connection:
    context = ssl.create_default_context(cafile=ca_bundle)
    if ca_bundle is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    line = socket.create_connection((restored.address, restored.port), timeout=CONNECT_SECONDS)
    try:
        line.settimeout(SILENCE_SECONDS)
        return Connection(
            user=login.user,
            password=login.password,
            host=restored.address,
            database=database,
            sock=line,
            ssl_context=context,
            application_name="holdfast-rehearsal",
            startup_params={"statement_timeout": f"{STATEMENT_SECONDS}s", "TimeZone": "UTC"},
        )
    except BaseException:
        line.close()
        raise


@contextmanager
def _reading(connection: Connection) -> Iterator[None]:
    """A transaction that cannot write and that nothing remains of."""
    connection.run("START TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield
    except (Error, OSError):
        with suppress(Error, OSError):  # on a dead connection the first error is the one that explains
            connection.run("ROLLBACK")
        raise
    connection.run("ROLLBACK")


def _rows(connection: Connection, statement: str) -> list[list[Any]]:
    """The rows of exactly one statement: the extended protocol takes no second one."""
    with _reading(connection):
        return connection.execute_unnamed(statement).rows or []


def _catalog(connection: Connection, database: str) -> Assertion:
    what = f"the catalog of {database} is whole"
    try:
        relations, tables, *orphans = _rows(connection, _CATALOG)[0]
    except (Error, OSError) as problem:
        return Assertion(what=what, held=_held_by(problem), detail=_told(problem))
    homeless, ownerless, loose = orphans
    detail = (
        f"{relations:,} relations, {tables:,} tables of users; {homeless} relations without a schema, "
        f"{ownerless} columns without a relation, {loose} indexes without a table"
    )
    return Assertion(what=what, held=not any(orphans), detail=detail)


def _checked(
    connection: Connection, check: DatabaseCheck, *, consistent_at: datetime | None, now: datetime
) -> Assertion:
    what = f"check on {check.database}: {_quoted(check.statement)}"
    try:
        rows = _rows(connection, _capped(check.statement))
    except (Error, OSError) as problem:
        return Assertion(what=what, held=_held_by(problem), detail=_told(problem))
    if not rows or rows == [[None]]:
        return Assertion(what=what, held=False, detail="it returned no row" if not rows else "it returned NULL")
    if len(rows) > 1 or len(rows[0]) != 1:
        detail = "it returned more than one value; a check returns one row with one column"
        return Assertion(what=what, held=None, detail=detail)
    held, detail = (
        _enough(rows[0][0], check.at_least)
        if check.at_least is not None
        else _recent(rows[0][0], check.newest_within_minutes or 0, consistent_at, now)
    )
    return Assertion(what=what, held=held, detail=detail)


def _capped(statement: str) -> str:
    """The statement cut off at two rows: enough to know that it does not give one value, and a million would fill
    the memory. It is the account owner's own, from the policy, and runs in a transaction that cannot write."""
    return f"SELECT * FROM (\n{statement}\n) AS answer LIMIT 2"  # noqa: S608


def _enough(value: object, at_least: int) -> tuple[bool | None, str]:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None, f"it returned {_quoted(value)}, which is not a number"
    return value >= at_least, f"it returned {value}; at least {at_least} was promised"


def _recent(
    value: object, within_minutes: int, consistent_at: datetime | None, now: datetime
) -> tuple[bool | None, str]:
    if not isinstance(value, datetime):
        return None, f"it returned {_quoted(value)}, which is not a timestamp"
    if consistent_at is None:
        return None, "the snapshot does not say for which instant its content stands"
    newest = instants.aware(value if value.tzinfo else value.replace(tzinfo=UTC))
    zone = "" if value.tzinfo else " (it has no zone and was read as UTC)"
    if newest > now:
        return None, f"the newest is {newest.isoformat()}{zone}, in the future: a clock is wrong somewhere"
    age = consistent_at - newest
    detail = (
        f"the newest is {newest.isoformat()}{zone}, {age.total_seconds() / 60:.1f} min before the snapshot's instant "
        f"{consistent_at.isoformat()}; {within_minutes} min were promised"
    )
    return age <= timedelta(minutes=within_minutes), detail


def _held_by(problem: Exception) -> bool | None:
    """False when the server itself says that content is missing or damaged, None when nobody knows."""
    return False if _sqlstate(problem).startswith(SAYS_THE_DATA_IS_NOT_THERE) else None


def _sqlstate(problem: Exception) -> str:
    said = problem.args[0] if isinstance(problem, DatabaseError) and problem.args else None
    return str(said.get("C", "")) if isinstance(said, Mapping) else ""


def _told(problem: Exception) -> str:
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"the server could not prove its name: {_quoted(problem.verify_message)}; check the CA bundle"
    if _sqlstate(problem):
        return f"PostgreSQL says {_sqlstate(problem)}: {_quoted(problem.args[0].get('M', ''))}"
    if isinstance(problem, OSError):
        return (
            f"no network path: {type(problem).__name__}: {_quoted(str(problem))}; "
            "check that the security group of the rehearsals lets the checking function in"
        )
    return f"the connection failed: {_quoted(str(problem))}"


def _quoted(value: object) -> str:
    """Text of the database, escaped and short: it goes into tables, notices and reports."""
    written = ascii(value)
    return written if len(written) <= LONGEST_QUOTE else f"{written[:LONGEST_QUOTE]}..."
