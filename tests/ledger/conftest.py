"""What the tests of this room share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from functions.ledger.ledger import Ledger
from tests.ledger.dynamodb import a_ledger
from tests.ledger.works import CopyWork, PointWork, Work


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with a_ledger() as ledger:
        yield ledger


@pytest.fixture(params=[PointWork, CopyWork], ids=["point", "copy"])
def work(request: pytest.FixtureRequest, ledger: Ledger) -> Work:
    """A point, and once more a copy: both are claimed and fenced in the same way."""
    return request.param(ledger)
