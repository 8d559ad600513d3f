"""The bond between the rows and a table: which one, in which Region, and what a refused condition means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar, cast

from pynamodb.exceptions import (
    DeleteError,
    DoesNotExist,
    GetError,
    PutError,
    PynamoDBException,
    QueryError,
    UpdateError,
)
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from functions.core import instants
from functions.core.errors import AwsBusy, Broken, NotAllowed
from functions.ledger.rows import Item

Row = TypeVar("Row", bound=Item)

BUSY = {
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingException",
    "TransactionInProgressException",
    "InternalServerError",
}

NO_ANSWER = "no answer"

PAGE = 20
"""How many items one request brings when usually one of the first is the one."""

OPEN_PAGE = 200
"""As many of open work at most: enough for a tick. A caller who needs three says so, and pays for no more."""


class Table:
    """One DynamoDB table in one Region. Row classes are bound to it on first use, never on import."""

    def __init__(self, *, name: str, region: str) -> None:
        self.name = name
        self.region = region
        self._bound: dict[type[Item], type[Item]] = {}

    def rows(self, row: type[Row]) -> type[Row]:
        """The row class, bound to this table."""
        if row not in self._bound:
            meta = type("Meta", (), {"table_name": self.name, "region": self.region, "max_retry_attempts": 4})
            self._bound[row] = cast(
                type[Item], type(row.__name__, (row,), {"Meta": meta, "__module__": row.__module__})
            )
        return cast(type[Row], self._bound[row])

    def get(self, row: type[Row], pk: str, sk: str) -> Row | None:
        """The item as it is now (a consistent read), or None."""
        bound = self.rows(row)
        with _named("read", f"{pk} {sk}"):
            try:
                return bound.get(pk, sk, consistent_read=True)
            except DoesNotExist:
                return None

    def put_new(self, item: Item) -> bool:
        """Whether this call wrote the item; False when one with its key was there before."""
        return self._conditional(item, lambda: item.save(condition=type(item).pk.does_not_exist()))

    def put(self, item: Item) -> None:
        """The item is as given, whatever was there before: only for what has one writer."""
        self._conditional(item, item.save)

    def update(self, item: Item, actions: Sequence[Action], condition: Condition) -> bool:
        """Whether the condition held and the actions are now written; `item` then shows the new state."""
        return self._conditional(item, lambda: item.update(actions=list(actions), condition=condition))

    def starting(self, row: type[Row], pk: str, prefix: str) -> list[Row]:
        """Every item of `pk` whose sort key starts with `prefix`, oldest first; complete, or an error."""
        bound = self.rows(row)
        with _named("query", f"{pk} {prefix}"):
            return list(bound.query(pk, bound.sk.startswith(prefix), consistent_read=True))

    def newest_first(self, row: type[Row], pk: str, prefix: str) -> Iterator[Row]:
        """The same items the other way round, read page by page for as long as the caller asks on."""
        bound = self.rows(row)
        with _named("query", f"{pk} {prefix}"):
            yield from bound.query(
                pk, bound.sk.startswith(prefix), consistent_read=True, scan_index_forward=False, page_size=PAGE
            )

    def indexed(self, row: type[Row], index: str, partition: str) -> Iterator[Row]:
        """Every item of a partition of an index, in the index's order; may lag a moment behind."""
        with _named("query", f"{index} {partition}"):
            yield from getattr(self.rows(row), index).query(partition)

    def open(self, row: type[Row], partition: str, *, until: str | None = None, page: int = OPEN_PAGE) -> Iterator[Row]:
        """Every item of a partition of the index of open work, earliest first and page by page for as long as the
        caller asks on; with `until`, those that are not later. May lag a moment behind."""
        bound: Any = self.rows(row)
        earlier = None if until is None else bound.open_until <= until
        with _named("query", f"open {partition}"):
            yield from bound.open.query(partition, earlier, page_size=min(page, OPEN_PAGE))

    def _conditional(self, item: Item, write: Any) -> bool:
        with _named("write", f"{item.pk} {item.sk}"):
            try:
                write()
            except (PutError, UpdateError) as refused:
                if _code(refused) == "ConditionalCheckFailedException":
                    return False
                raise
            return True


@contextmanager
def _named(verb: str, what: str) -> Iterator[None]:
    """Errors of PynamoDB leave as ours, with the next step."""
    try:
        yield
    except (PutError, UpdateError, GetError, QueryError, DeleteError) as problem:
        code = _code(problem)
        if code in BUSY or code == NO_ANSWER:
            raise AwsBusy(f"could not {verb} {what}: {code}", hint="The order comes back by itself.") from problem
        if code == "AccessDeniedException":
            raise NotAllowed(
                f"could not {verb} {what}: {code}", hint="Deploy again; the function's role lacks the ledger."
            ) from problem
        raise Broken(
            f"could not {verb} {what}: {code}", hint="Look at the function's log for the request."
        ) from problem
    except PynamoDBException as problem:
        raise Broken(f"could not {verb} {what}: {problem}", hint="Look at the function's log.") from problem


def _code(problem: PynamoDBException) -> str:
    """DynamoDB's code. PynamoDB's own property fails on an error of the connection, which carries an empty response."""
    response: Mapping[str, Any] = getattr(problem.cause, "response", None) or {}
    return response.get("Error", {}).get("Code") or NO_ANSWER


def written(at: datetime | None) -> str | None:
    """An instant as the ledger writes it."""
    return None if at is None else instants.exact(at)


def read(at: str | None) -> datetime | None:
    """An instant as the ledger wrote it."""
    return None if at is None else instants.parse(at)
