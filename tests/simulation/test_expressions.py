"""The expressions of the ledger are evaluated as DynamoDB's are; moto, which has its own evaluator, is the witness."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from tests.builders import HOME, NOON
from tests.simulation.expressions import NotUnderstood, condition, key_condition, update
from tests.simulation.table import LedgerTable

NAMES = {"#0": "status", "#1": "claimed_at", "#2": "waits", "#3": "errors", "#4": "pk"}
CONDITIONS = (
    "attribute_not_exists (#4)",
    "attribute_exists (#4)",
    "#0 = :0",
    "#0 <> :0",
    "(#0 = :0 AND #1 = :1)",
    "(#0 = :0 AND attribute_not_exists (#1))",
    "(attribute_not_exists (#1) OR #1 < :1)",
    "(attribute_not_exists (#1) OR #1 <= :1)",
    "#2 = :2",
)
UPDATES = (
    "SET #0 = :0",
    "SET #0 = :0, #1 = :1",
    "SET #0 = :0 REMOVE #1",
    "SET #0 = :0 REMOVE #1 ADD #2 :2",
    "SET #3 = list_append (#3, :3), #0 = :0",
    "REMOVE #1, #2",
    "ADD #2 :2",
)
WORDS = st.sampled_from(("OWED", "INTENT", "CREATED", ""))
TIMES = st.sampled_from(("2026-11-20T12:00:00Z", "2026-11-20T12:00:01Z", "2026-11-19T12:00:00Z"))
ITEMS = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "status": WORDS.map(lambda word: {"S": word}),
        "claimed_at": TIMES.map(lambda at: {"S": at}),
        "waits": st.integers(0, 3).map(lambda number: {"N": str(number)}),
        "errors": st.lists(st.just({"S": "it failed"}), max_size=2).map(lambda errors: {"L": errors}),
    },
)
VALUES = st.fixed_dictionaries(
    {
        ":0": WORDS.map(lambda word: {"S": word}),
        ":1": TIMES.map(lambda at: {"S": at}),
        ":2": st.integers(0, 3).map(lambda number: {"N": str(number)}),
        ":3": st.just({"L": [{"S": "once more"}]}),
    }
)
KEY = {"pk": {"S": "volume/eu-central-1/vol-1"}, "sk": {"S": "point#2026-11-20T12:00:00Z"}}


@pytest.fixture(scope="module")
def witness() -> Iterator[Any]:
    with mock_aws():
        client: Any = boto3.client("dynamodb", HOME)
        client.create_table(
            TableName="witness",
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        )
        yield client


def outcome(table: Any, before: dict[str, Any] | None, **request: Any) -> tuple[str, Any]:
    """What a table makes of an update of this item: the error's code, or the item after it."""
    if before is not None:
        table.put_item(TableName="witness", Item={**KEY, **before})
    try:
        answer = table.update_item(TableName="witness", Key=KEY, ReturnValues="ALL_NEW", **request)
    except ClientError as refused:
        return refused.response.get("Error", {}).get("Code", ""), None
    return "", answer["Attributes"]


@given(before=ITEMS, test=st.sampled_from((None, *CONDITIONS)), change=st.sampled_from(UPDATES), values=VALUES)
def test_an_update_does_what_the_witness_does(
    witness: Any, before: dict[str, Any] | None, test: str | None, change: str, values: dict[str, Any]
) -> None:
    written = f"{test or ''} {change}"
    request: dict[str, Any] = {
        "UpdateExpression": change,
        "ExpressionAttributeNames": {key: name for key, name in NAMES.items() if key in written},
        "ExpressionAttributeValues": {key: value for key, value in values.items() if key in written},
    }
    if not request["ExpressionAttributeValues"]:
        del request["ExpressionAttributeValues"]
    if test is not None:
        request["ConditionExpression"] = test
    witness.delete_item(TableName="witness", Key=KEY)
    assert outcome(LedgerTable("witness", lambda: NOON), before, **request) == outcome(witness, before, **request)


@pytest.mark.parametrize("written", ["size (#0) > :0", "#0 BETWEEN :0 AND :1", "NOT #0 = :0", "#0 IN (:0)", "#0 = #1"])
def test_a_condition_that_the_ledger_does_not_write_is_not_guessed(written: str) -> None:
    with pytest.raises(NotUnderstood):
        condition(written)


@pytest.mark.parametrize("written", ["DELETE #0 :0", "SET #0 = if_not_exists (#0, :0)", "SET #0 = #1 + :0"])
def test_an_update_that_the_ledger_does_not_write_is_not_guessed(written: str) -> None:
    with pytest.raises(NotUnderstood):
        update(written)


def test_a_key_condition_says_what_it_lets_through() -> None:
    values = {":0": {"S": "a"}, ":1": {"S": "point#"}}
    beginning = key_condition("(#0 = :0 AND begins_with (#1, :1))", values)
    assert (beginning.partition, beginning.lets_through("point#1"), beginning.lets_through("copy#1")) == (
        "a",
        True,
        False,
    )
    until = key_condition("(#0 = :0 AND #1 <= :1)", values)
    assert (until.lets_through("copy#1"), until.lets_through("point#1")) == (True, False)
    assert key_condition("#0 = :0", values).lets_through("anything")
    with pytest.raises(NotUnderstood):
        key_condition("(#0 = :0 AND #1 BETWEEN :1 AND :2)", values)
