"""Counts the rows of a restored database's tables, smallest first, and takes the engine's estimate of the rest."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from functions.aws.databases.lines import MOST_LISTED_TABLES, Budget, Conversation, NoAnswer, Table, key_of
from functions.core.evidence import Assertion
from functions.core.row_counts import MOST_TABLES, Counted

LONGEST_COUNT_SECONDS = 15.0
LARGEST_COUNTED_BYTES = 8 * 2**30
"""A restored volume fetches its blocks from S3 as they are read: more than this is not counted in the time there is."""

MOST_NAMED = 5


@dataclass(slots=True)
class Counts:
    """The rows by table; which of them are estimates, and which tables exist without a number.

    `listed` are the databases whose every table is known.
    `unreadable` are the tables of which the server says itself that content is damaged or missing, with its words;
    `problems` are all others without a count, and those that could not even be listed.
    """

    rows: dict[str, int] = field(default_factory=dict[str, int])
    estimated: set[str] = field(default_factory=set[str])
    not_counted: set[str] = field(default_factory=set[str])
    listed: set[str] = field(default_factory=set[str])
    unreadable: list[str] = field(default_factory=list[str])
    problems: list[str] = field(default_factory=list[str])

    def without_answer(self, what: str, problem: NoAnswer) -> None:
        said = f"{what}: {problem.detail}"
        if problem.held is False:
            self.unreadable.append(said)
        elif not problem.is_late:
            self.problems.append(said)

    def not_looked_for(self, learned: Sequence[Counted], databases: Collection[str] | None) -> set[str]:
        """Tables of earlier counts of which nobody knows whether they are there: their database is, and it could not
        be listed. `databases` are all of the server, None when they are not known either."""
        tables = {table for counted in learned for table in counted.rows}
        return {
            table
            for table in tables
            if not _is_in(table, self.listed) and (databases is None or _is_in(table, databases))
        }

    def told(self) -> tuple[Assertion, ...]:
        """The assertion that follows from what could not be read; none when everything could."""
        if not self.unreadable:
            return ()
        detail = f"{len(self.unreadable)} cannot be: {'; '.join(self.unreadable[:MOST_NAMED])}"
        return (Assertion(what="every table can be read", held=False, detail=detail),)


def count(conversations: Iterable[Conversation], time: Budget, learned: Sequence[Counted]) -> Counts:
    """The rows of at most `MOST_TABLES` tables of the server.

    Tables that earlier rehearsals counted come first, so that the same ones are compared night after night; then the
    smallest. One that is too large, or that the time does not reach, is estimated.
    """
    counts = Counts()
    found = [(table, one) for one in conversations for table in _tables(one, counts)]
    known = set(max(learned, key=lambda counted: counted.at).rows) if learned else set[str]()
    found.sort(key=lambda pair: (pair[0].name not in known, pair[0].size_bytes, pair[0].name))
    for table, _ in found[MOST_TABLES:]:
        counts.not_counted.add(table.name)
    for table, conversation in sorted(found[:MOST_TABLES], key=lambda pair: pair[0].size_bytes):
        rows = _counted(table, conversation, time, counts)
        if rows is not None:
            counts.rows[table.name] = rows
        elif table.estimate is not None:
            counts.rows[table.name] = table.estimate
            counts.estimated.add(table.name)
        else:
            counts.not_counted.add(table.name)
    return counts


def _is_in(table: str, databases: Collection[str]) -> bool:
    return any(table.startswith(f"{database}.") for database in databases)


def _tables(conversation: Conversation, counts: Counts) -> Collection[Table]:
    try:
        found = conversation.tables()
    except NoAnswer as problem:
        counts.without_answer(f"the tables of {key_of(conversation.database)}", problem)
        return ()
    if len(found) < MOST_LISTED_TABLES:
        counts.listed.add(key_of(conversation.database))
    return found


def _counted(table: Table, conversation: Conversation, time: Budget, counts: Counts) -> int | None:
    if table.size_bytes > LARGEST_COUNTED_BYTES:
        return None
    try:
        [[rows]] = conversation.ask(table.statement, time.seconds_for(LONGEST_COUNT_SECONDS))
    except NoAnswer as problem:
        counts.without_answer(table.name, problem)
        return None
    return int(rows)
