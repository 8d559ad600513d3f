"""The short way below the ledger: PynamoDB asks what it always asks, without what it does beside asking.

A history makes hundreds of queries that differ in their values alone. PynamoDB builds the expression of each of them
anew, draws an identifier for it and tells listeners that nobody registered; that was half of what a history cost. Here
the expression is built by PynamoDB once and kept. What reaches the client is equal in every parameter: a test lives
histories both ways and compares everything that was asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
from pynamodb.connection.base import BOTOCORE_EXCEPTIONS, Connection
from pynamodb.exceptions import QueryError
from pynamodb.expressions.condition import BeginsWith, Comparison, Condition
from pynamodb.expressions.operand import Path

LONG_WAY = Connection.query


@contextmanager
def short_way() -> Iterator[None]:
    """Inside, PynamoDB goes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "dispatch", _dispatch)
        patch.setattr(Connection, "query", _query)
        yield


def _dispatch(self: Connection, operation_name: str, operation_kwargs: dict[str, Any]) -> Any:
    operation_kwargs.setdefault("ReturnConsumedCapacity", "TOTAL")
    return self._make_api_call(operation_name, operation_kwargs)


def _query(
    self: Connection,
    table_name: str,
    hash_key: str,
    range_key_condition: Condition | None = None,
    consistent_read: bool = False,
    exclusive_start_key: Any = None,
    index_name: str | None = None,
    limit: int | None = None,
    scan_index_forward: bool | None = None,
    **more: Any,
) -> Any:
    is_plain = range_key_condition is None or type(range_key_condition) in (Comparison, BeginsWith)
    if not is_plain or exclusive_start_key or any(value is not None for value in more.values()):
        return LONG_WAY(
            self,
            table_name,
            hash_key,
            range_key_condition=range_key_condition,
            consistent_read=consistent_read,
            exclusive_start_key=exclusive_start_key,
            index_name=index_name,
            limit=limit,
            scan_index_forward=scan_index_forward,
            **more,
        )
    table = self.get_meta_table(table_name)
    partition = table.get_index_hash_keyname(index_name) if index_name else table.hash_keyname
    asked: dict[str, Any] = {"TableName": table_name}
    values: dict[str, Any] = {":0": {"S": hash_key}}
    if range_key_condition is None:
        asked["KeyConditionExpression"], names = _expression(partition, None, None, "")
    else:
        path, value = range_key_condition.values
        asked["KeyConditionExpression"], names = _expression(
            partition, type(range_key_condition), path.values[0][0], range_key_condition.operator
        )
        values[":1"] = value.values[0]
    if consistent_read:
        asked["ConsistentRead"] = True
    if index_name:
        asked["IndexName"] = index_name
    if limit is not None:
        asked["Limit"] = limit
    if scan_index_forward is not None:
        asked["ScanIndexForward"] = scan_index_forward
    asked["ExpressionAttributeNames"] = names
    asked["ExpressionAttributeValues"] = values
    try:
        return self.dispatch("Query", asked)
    except BOTOCORE_EXCEPTIONS as problem:
        raise QueryError(f"Failed to query items: {problem}", problem) from problem


@cache
def _expression(
    partition: str, compared: type[Condition] | None, sort: str | None, operator: str
) -> tuple[str, dict[str, str]]:
    """What PynamoDB writes for such a query, and the names in it."""
    condition: Condition = Path([partition]) == {"S": "of the partition"}
    if compared is not None:
        path, value = Path([sort or ""]), Path([partition]) == {"S": "of the sort key"}
        bound = value.values[1]
        condition &= BeginsWith(path, bound) if compared is BeginsWith else Comparison(operator, path, bound)
    names: dict[str, str] = {}
    written = condition.serialize(names, {})
    return written, {placeholder: name for name, placeholder in names.items()}
