"""The bond with DynamoDB: its errors leave under our names, and two tables in one process stay two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import botocore.client
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError

from functions.aws.faults import code_of
from functions.core.errors import AwsBusy, Broken, HoldfastError, NotAllowed
from functions.ledger.ledger import Ledger
from functions.ledger.surplus import Stage
from tests.builders import AWAY, HOME, NOON, a_copy, a_key, a_point, a_resource, a_run, a_slot
from tests.ledger.dynamodb import TABLE
from tests.ledger.test_resources import covered
from tests.ledger.works import an_owed

Failing = Callable[[Exception], None]

ASKS: dict[str, Callable[[Ledger], Any]] = {
    "read": lambda ledger: ledger.points.get(a_slot()),
    "write": lambda ledger: ledger.points.owe(an_owed(), NOON),
    "move": lambda ledger: ledger.points.settle(a_slot()),
    "list points": lambda ledger: ledger.points.of(a_key()),
    "list newest": lambda ledger: ledger.points.newest_at(a_key()),
    "list open points": lambda ledger: list(ledger.points.open_in(HOME)),
    "list open copies": lambda ledger: list(ledger.copies.open_in(AWAY)),
    "list resources": lambda ledger: list(ledger.resources.all()),
    "list rehearsals": lambda ledger: list(ledger.stories.rehearsed_in(AWAY)),
    "list surplus": lambda ledger: list(ledger.surplus.at(Stage.FOUND)),
}


@pytest.fixture
def failing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Failing:
    """Every further request to DynamoDB ends in the error given."""

    def fails(error: Exception) -> None:
        def request(*_: Any, **__: Any) -> Any:
            raise error

        monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", request)

    return fails


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "said DynamoDB"}}, "GetItem")


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refusal("ProvisionedThroughputExceededException"), AwsBusy),
        (refusal("ThrottlingException"), AwsBusy),
        (refusal("RequestLimitExceeded"), AwsBusy),
        (refusal("InternalServerError"), AwsBusy),
        (refusal("TransactionInProgressException"), AwsBusy),
        (EndpointConnectionError(endpoint_url="https://dynamodb"), AwsBusy),
        (ConnectionClosedError(endpoint_url="https://dynamodb"), AwsBusy),
        (refusal("AccessDeniedException"), NotAllowed),
        (refusal("ValidationException"), Broken),
        (refusal("ResourceNotFoundException"), Broken),
    ],
    ids=lambda value: code_of(value) if isinstance(value, ClientError) else None,
)
def test_an_error_of_dynamodb_leaves_under_our_name_with_the_next_step(
    ledger: Ledger, failing: Failing, ask: str, error: Exception, expected: type[HoldfastError]
) -> None:
    """F13, F16."""
    failing(error)
    with pytest.raises(expected) as raised:
        ASKS[ask](ledger)
    assert type(raised.value) is expected
    assert raised.value.hint


def test_a_refused_condition_is_an_answer_and_no_error(ledger: Ledger) -> None:
    """F14."""
    ledger.points.owe(an_owed(), NOON)
    assert ledger.points.owe(an_owed(), NOON) is False
    assert ledger.points.record(a_slot(), NOON, [], NOON, {}) is False


def test_a_long_list_is_read_to_its_last_page(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """F06: DynamoDB ends a page after 1 MB; a decision from the first page alone could delete the last good point."""
    from moto.dynamodb.models import table

    monkeypatch.setattr(table, "RESULT_SIZE_LIMIT", 4_000)
    for number in range(30):
        ledger.points.adopt(a_point(a_slot().at.replace(minute=number)))
    assert len(ledger.points.of(a_key())) == 30


def test_two_tables_in_one_process_do_not_mix(ledger: Ledger) -> None:
    """The same rows are bound to a table of each Region; binding one must not turn the other away."""
    ledger.points.owe(an_owed(), NOON)
    elsewhere = Ledger(table="another", region=AWAY)
    with pytest.raises(Broken, match="ResourceNotFoundException"):
        list(elsewhere.points.open_in(HOME))
    assert [point.slot for point in ledger.points.open_in(HOME)] == [a_slot()]
    assert (ledger.points._table.name, elsewhere.points._table.name) == (TABLE, "another")


def test_making_a_ledger_calls_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def request(*_: Any, **__: Any) -> Any:
        raise AssertionError("the ledger was asked before anybody asked it")

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", request)
    assert Ledger(table="another", region=AWAY).points


def test_the_things_of_one_resource_lie_under_its_name(ledger: Ledger) -> None:
    """Readable by a person, and in one partition, so that one query tells the whole story of a resource."""
    from tests.ledger.dynamodb import items

    ledger.resources.stand(covered(resource=a_resource()), NOON)
    ledger.points.adopt(a_point())
    ledger.copies.owe(a_copy())
    ledger.stories.close(replace(a_run(), copies=()))
    assert sorted((item["pk"]["S"], item["sk"]["S"].split("#")[0]) for item in items()) == [
        (str(a_key()), sort) for sort in ("copy", "point", "resource", "run")
    ]
