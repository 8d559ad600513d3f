"""What a restored database says about itself: it answers, it is whole, the stated checks hold, no rows are missing."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from math import isfinite
from pathlib import Path
from typing import Protocol

from functions.aws.clients import Clients
from functions.aws.databases import mysql, postgresql
from functions.aws.databases.certificates import ca_bundle as authorities
from functions.aws.databases.counting import MOST_NAMED, Counts, count
from functions.aws.databases.lines import (
    MOST_NEIGHBOURS,
    Budget,
    Conversation,
    Login,
    NoAnswer,
    Server,
    key_of,
    quoted,
)
from functions.aws.databases.structure import look_inside
from functions.aws.faults import translated
from functions.aws.permissions import Permission
from functions.core import instants
from functions.core.errors import Broken, HoldfastError, TryAgain
from functions.core.evidence import Assertion
from functions.core.policies import DatabaseCheck
from functions.core.restores import Restored
from functions.core.row_counts import Counted, judge

ALL_SECONDS = 240.0
"""What all checks of one rehearsal share: less than the function may run, so that it lives to say what it saw."""

STRUCTURE_SECONDS = 60.0
COUNTING_SECONDS = 60.0
MOST_DATABASES = 20

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


class _Begins(Protocol):
    """Begins a conversation with one database; raises NoAnswer when the server does not let us in."""

    def __call__(self, server: Server, database: str, budget: Budget) -> Conversation: ...


@dataclass(frozen=True, slots=True)
class _Engine:
    begins: _Begins
    any_database: str


_POSTGRESQL = _Engine(postgresql.PostgresqlConversation, postgresql.ANY_DATABASE)
_MYSQL = _Engine(mysql.MysqlConversation, mysql.ANY_DATABASE)
_ENGINES: Mapping[str, _Engine] = {
    "postgres": _POSTGRESQL,
    "aurora-postgresql": _POSTGRESQL,
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "aurora-mysql": _MYSQL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseEvidence:
    """What one restored server showed.

    `row_counts` are the rows by table, for later rehearsals to compare with; those of `estimated_tables` are the
    engine's own statistics. `first_query_at` is when it gave its first answer, None when it gave none.
    """

    assertions: tuple[Assertion, ...]
    row_counts: Mapping[str, int] = field(default_factory=dict[str, int])
    estimated_tables: tuple[str, ...] = ()
    first_query_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Newest:
    """The two times that a newest row is held against."""

    consistent_at: datetime | None
    now: datetime


@dataclass(slots=True)
class _Asked:
    """One database of the server, and what is known of it so far; `line` is None when it does not answer."""

    database: str
    line: Conversation | None
    answers: Assertion
    catalog: Assertion | None = None
    notes: list[str] = field(default_factory=list[str])
    others: list[Assertion] = field(default_factory=list[Assertion])

    def told(self) -> list[Assertion]:
        notes = "".join(f"; {note}" for note in self.notes)
        catalog = [replace(self.catalog, detail=self.catalog.detail + notes)] if self.catalog else []
        return [self.answers, *catalog, *self.others]


def check_database(
    restored: Restored,
    checks: Sequence[DatabaseCheck],
    *,
    consistent_at: datetime | None,
    now: datetime,
    clients: Clients,
    learned: Sequence[Counted] = (),
    is_throwaway: bool = False,
    ca_bundle: Path | None = None,
    budget: Budget | None = None,
) -> DatabaseEvidence:
    """What the restored database showed. Nothing in it was changed, but that with `is_throwaway` PostgreSQL's own
    extension `amcheck` may have been added to it.

    `consistent_at` is the instant the snapshot stands for, `learned` what earlier rehearsals counted. The server must
    prove its name by an authority of `ca_bundle`, those of RDS unless another is given; before, it is sent no
    password. What the time does not reach is told: a stated check is then undecided, and what is looked at by sample
    says how much of it was. A `budget` that is handed in began at `now`.

    Errors: AwsBusy when Secrets Manager asks to come again.
    """
    time = budget or Budget(ALL_SECONDS)
    try:
        engine = _engine(restored)
        server = _server(restored, clients, ca_bundle or authorities())
    except NoAnswer as problem:
        return DatabaseEvidence(assertions=(Assertion(what="the database answers", held=None, detail=problem.detail),))
    with ExitStack() as lines:
        asking = _Asking(engine, server, time, lines, _Newest(consistent_at=consistent_at, now=now))
        asking.stated(checks)
        asking.neighbours()
        asking.structure(may_install=is_throwaway)
        counts = count(asking.lines, time.part(COUNTING_SECONDS), learned)
        asking.note(counts.problems)
    return DatabaseEvidence(
        assertions=(*asking.told(), *_judged(counts, learned, asking.databases)),
        row_counts=counts.rows,
        estimated_tables=tuple(sorted(counts.estimated)),
        first_query_at=None if asking.first_answer is None else now + asking.first_answer,
    )


def _judged(counts: Counts, learned: Sequence[Counted], databases: Collection[str] | None) -> tuple[Assertion, ...]:
    judged = judge(
        counts.rows,
        learned,
        estimated=counts.estimated,
        not_counted=counts.not_counted,
        not_looked_for=counts.not_looked_for(learned, databases),
    )
    return (*counts.told(), *judged)


def _engine(restored: Restored) -> _Engine:
    engine = _ENGINES.get(restored.engine or "")
    if engine is None:
        raise NoAnswer(
            f"checks are written for PostgreSQL, MySQL and MariaDB and the engine is {restored.engine or 'unknown'}; "
            "rehearse it by hand"
        )
    return engine


def _server(restored: Restored, clients: Clients, ca_bundle: Path) -> Server:
    """Where the database answers and with what to log in.

    Errors: NoAnswer when it cannot be asked at all; AwsBusy.
    """
    if restored.address is None or restored.port is None:
        raise NoAnswer("RDS names no address to connect to; look at the restored database in the RDS console")
    if restored.secret_arn is None:
        raise NoAnswer(f"there is no managed master secret to log in with. {restored.message}".strip())
    try:
        login = _login(restored, clients)
    except TryAgain:
        raise
    except HoldfastError as problem:
        raise NoAnswer(f"{problem.what}; {problem.hint}") from problem
    return Server(address=restored.address, port=restored.port, login=login, ca_bundle=ca_bundle)


def _login(restored: Restored, clients: Clients) -> Login:
    with translated("secretsmanager:GetSecretValue", resource=restored.secret_arn or ""):
        answer = clients.retrying("secretsmanager", restored.region).get_secret_value(SecretId=restored.secret_arn)
    try:
        secret = json.loads(answer["SecretString"])
        user, password = secret["username"], secret["password"]
    except (KeyError, TypeError, ValueError):
        user, password = None, None
    if not (isinstance(user, str) and isinstance(password, str) and user and password):
        raise Broken(
            f"the managed secret of {restored.id} does not hold a username and a password",
            hint="look at the secret's form in the Secrets Manager console and report it; the value is not shown here",
        )
    return Login(user=user, password=password)


class _Asking:
    """The databases of one server, asked one after the other within the time they share."""

    def __init__(self, engine: _Engine, server: Server, time: Budget, stack: ExitStack, newest: _Newest) -> None:
        self._engine = engine
        self._server = server
        self._time = time
        self._stack = stack
        self._newest = newest
        self._asked: dict[str, _Asked] = {}
        self.first_answer: timedelta | None = None
        self.databases: set[str] | None = None

    @property
    def lines(self) -> list[Conversation]:
        """The databases that answer."""
        return [asked.line for asked in self._asked.values() if asked.line is not None]

    def told(self) -> list[Assertion]:
        """Everything that was found, database by database."""
        return [assertion for asked in self._asked.values() for assertion in asked.told()]

    def note(self, problems: Sequence[str]) -> None:
        """What could not be counted, and why, stands beside what else is known of the first database."""
        if problems:
            more = f" and {len(problems) - MOST_NAMED} more" if len(problems) > MOST_NAMED else ""
            first = next(asked for asked in self._asked.values() if asked.line is not None)
            first.notes.append(f"not counted: {'; '.join(problems[:MOST_NAMED])}{more}")

    def stated(self, checks: Sequence[DatabaseCheck]) -> None:
        """The policy's own checks are answered; they come first, because they were promised."""
        ordered = sorted(checks, key=lambda check: check.database)
        grouped = {name: list(group) for name, group in groupby(ordered, key=lambda check: check.database)}
        for database, its_checks in (grouped or {self._engine.any_database: []}).items():
            asked = self._begin(database)
            if asked.line is not None:
                asked.others += [_checked(asked.line, check, self._newest) for check in its_checks]

    def neighbours(self) -> None:
        """The databases that no check names are known too: their tables can be lost as well."""
        if not self.lines:
            return
        asked = self._asked[self.lines[0].database]
        try:
            names = self.lines[0].neighbours()
        except NoAnswer as problem:
            asked.notes.append(f"the other databases are not known: {problem.detail}")
            return
        self.databases = {key_of(name) for name in names} if len(names) < MOST_NEIGHBOURS else None
        unknown = [name for name in names if name not in self._asked]
        room = max(0, MOST_DATABASES - len(self._asked))
        for name in unknown[:room]:
            self._begin(name)
        if unknown[room:]:
            asked.notes.append(f"{len(unknown[room:])} further databases were not looked at: {quoted(unknown[room:])}")

    def structure(self, *, may_install: bool) -> None:
        """Indexes and tables were looked into, each database with an even share of what is left of the time."""
        time = self._time.part(STRUCTURE_SECONDS)
        answering = [(asked, asked.line) for asked in self._asked.values() if asked.line is not None]
        for position, (asked, line) in enumerate(answering):
            share = time.part(time.left_seconds / (len(answering) - position))
            found, note = look_inside(line, share, may_install=may_install)
            asked.others += [found] if found else []
            asked.notes += [f"its inside was not looked at: {note}"] if note else []

    def _begin(self, database: str) -> _Asked:
        what = f"database {key_of(database)} answers"
        try:
            line = self._engine.begins(self._server, database, self._time)
        except NoAnswer as problem:
            refused = Assertion(what=what, held=problem.held, detail=problem.detail)
            return self._asked.setdefault(database, _Asked(database, None, refused))
        self._stack.callback(line.close)
        answers = Assertion(what=what, held=True, detail=f"{self._server.address}, TLS, server verified")
        asked = self._asked[database] = _Asked(database, line, answers)
        asked.catalog = line.catalog()
        if self.first_answer is None and asked.catalog.held is not None:
            self.first_answer = timedelta(seconds=self._time.spent_seconds)
        return asked


def _checked(line: Conversation, check: DatabaseCheck, newest: _Newest) -> Assertion:
    what = f"check on {key_of(check.database)}: {quoted(check.statement)}"
    try:
        rows = line.ask(_capped(check.statement))
    except NoAnswer as problem:
        return Assertion(what=what, held=problem.held, detail=problem.detail)
    if not rows or [list(row) for row in rows] == [[None]]:
        return Assertion(what=what, held=False, detail="it returned no row" if not rows else "it returned NULL")
    if len(rows) > 1 or len(rows[0]) != 1:
        detail = "it returned more than one value; a check returns one row with one column"
        return Assertion(what=what, held=None, detail=detail)
    held, detail = (
        _enough(rows[0][0], check.at_least)
        if check.at_least is not None
        else _recent(rows[0][0], check.newest_within_minutes or 0, newest)
    )
    return Assertion(what=what, held=held, detail=detail)


def _capped(statement: str) -> str:
    """The statement cut off at two rows: enough to know that it does not give one value, and a million would fill
    the memory. It is the account owner's own, from the policy, and runs in a transaction that cannot write."""
    return f"SELECT * FROM (\n{statement}\n) AS answer LIMIT 2"  # noqa: S608


def _enough(value: object, at_least: int) -> tuple[bool | None, str]:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not isfinite(value):
        return None, f"it returned {quoted(value)}, which is not a number"
    return value >= at_least, f"it returned {quoted(str(value))[1:-1]}; at least {at_least} was promised"


def _recent(value: object, within_minutes: int, compared: _Newest) -> tuple[bool | None, str]:
    if not isinstance(value, datetime):
        return None, f"it returned {quoted(value)}, which is not a timestamp"
    if compared.consistent_at is None:
        return None, "the snapshot does not say for which instant its content stands"
    try:
        newest = instants.aware(value if value.tzinfo else value.replace(tzinfo=UTC))
    except ValueError:
        return None, f"it returned {quoted(value)}, which is no time in UTC"
    zone = "" if value.tzinfo else " (it has no zone and was read as UTC)"
    if newest > compared.now:
        return None, f"the newest is {newest.isoformat()}{zone}, in the future: a clock is wrong somewhere"
    age = compared.consistent_at - newest
    detail = (
        f"the newest is {newest.isoformat()}{zone}, {age.total_seconds() / 60:.1f} min before the snapshot's instant "
        f"{compared.consistent_at.isoformat()}; {within_minutes} min were promised"
    )
    return age <= timedelta(minutes=within_minutes), detail
