"""A ledger table in this process.

The clients are made once and kept: making them costs more than all the requests of a test. moto decides conditions
without a lock, so that two threads may both be told yes; DynamoDB never does that, and a lock stands in for it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import boto3
from moto import mock_aws
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.responses import DynamoHandler

from functions.core import instants
from functions.core.slots import Slot
from functions.ledger.ledger import Ledger
from tests.builders import ACCOUNT, HOME

TABLE = "holdfast-ledger"


@cache
def _client() -> Any:
    return boto3.client("dynamodb", HOME)


@cache
def _ledger() -> Ledger:
    return Ledger(table=TABLE, region=HOME)


@contextmanager
def a_ledger() -> Iterator[Ledger]:
    """The real ledger over an empty table with the keys and indexes that are deployed."""
    with mock_aws():
        _client().create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=_keys("pk", "sk"),
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": "S"}
                for name in ("pk", "sk", "open_in", "open_until", "listed_in")
            ],
            GlobalSecondaryIndexes=[_index("open", "open_in", "open_until"), _index("listed", "listed_in", "pk")],
        )
        with _one_request_at_a_time():
            yield _ledger()


def items() -> list[dict[str, Any]]:
    """Every item of the table, as DynamoDB keeps it."""
    return _client().scan(TableName=TABLE, ConsistentRead=True)["Items"]


def forget_everything() -> None:
    """The table is empty, as after its loss and before anything was restored."""
    dynamodb_backends[ACCOUNT][HOME].tables[TABLE].items.clear()


def forget(slot: Slot) -> None:
    """The point of the slot is not in the table any more."""
    key = {"pk": {"S": str(slot.resource)}, "sk": {"S": f"point#{instants.text(slot.at)}"}}
    _client().delete_item(TableName=TABLE, Key=key)


@contextmanager
def _one_request_at_a_time() -> Iterator[None]:
    answer, lock = DynamoHandler.call_action, threading.Lock()

    def in_turn(self: DynamoHandler, *arguments: Any, **options: Any) -> Any:
        with lock:
            return answer(self, *arguments, **options)

    DynamoHandler.call_action = in_turn
    try:
        yield
    finally:
        DynamoHandler.call_action = answer


def _index(name: str, partition: str, sort: str) -> Any:
    return {"IndexName": name, "KeySchema": _keys(partition, sort), "Projection": {"ProjectionType": "ALL"}}


def _keys(partition: str, sort: str) -> Any:
    return [{"AttributeName": partition, "KeyType": "HASH"}, {"AttributeName": sort, "KeyType": "RANGE"}]
