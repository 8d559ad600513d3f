"""The world that the tests of this room act on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from aws_lambda_powertools import Logger

from functions.handlers import frame
from tests.builders import NOON, some_settings
from tests.handlers.world import GOLD, FakedTools, MortalAws, World
from tests.ledger.dynamodb import a_ledger

NUMBERS = itertools.count()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An empty deployment at noon with one policy, gold; the frame works with its tools, its clock and its log."""
    with a_ledger() as ledger:
        aws = MortalAws(now=NOON)
        world = World(aws=aws, ledger=ledger, tools=FakedTools(aws, ledger, some_settings(GOLD)))
        logger = Logger(service=f"test-{next(NUMBERS)}", stream=world.log)
        monkeypatch.setattr(frame, "tools", lambda: world.tools)
        monkeypatch.setattr(frame, "now", lambda: world.now)
        monkeypatch.setattr(frame, "logger", lambda: logger)
        yield world
