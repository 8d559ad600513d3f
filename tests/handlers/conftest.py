"""The world that the tests of this room act on, and the disks in it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path

import pytest
from aws_lambda_powertools import Logger

from embedded.disks import DISKS, lay
from embedded.disks.image_blocks import ImageBlocks
from functions.handlers import frame
from tests.builders import AWAY, NOON, a_policy, some_settings
from tests.handlers.world import GOLD, FakedTools, MortalAws, World
from tests.ledger.dynamodb import a_ledger

NUMBERS = itertools.count()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An empty deployment at noon, swept, with one policy, gold; the frame works with its tools, its clock and log."""
    with a_ledger() as ledger:
        aws = MortalAws(now=NOON)
        world = World(aws=aws, ledger=ledger, tools=FakedTools(aws, ledger, some_settings(GOLD)))
        ledger.since.did("full sweep", NOON)
        logger = Logger(service=f"test-{next(NUMBERS)}", stream=world.log)
        monkeypatch.setattr(frame, "tools", lambda: world.tools)
        monkeypatch.setattr(frame, "now", lambda: world.now)
        monkeypatch.setattr(frame, "logger", lambda: logger)
        yield world


@pytest.fixture
def away(world: World) -> World:
    """The world as the functions in the copies' Region see it."""
    world.with_settings(a_policy(version="0a1b2c3d", copy_to=(AWAY,)))
    world.in_region(AWAY)
    return world


@pytest.fixture(scope="session")
def laid_disk(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The image file of a prepared disk, laid out once."""
    folder = tmp_path_factory.mktemp("laid-disks")

    @cache
    def path(name: str) -> Path:
        image = folder / f"{name}.img"
        with image.open("wb") as file:
            file.truncate(DISKS[name].size_bytes)
        lay(name, image)
        return image

    return path


@pytest.fixture
def disk(laid_disk: Callable[[str], Path]) -> Iterator[Callable[[str], ImageBlocks]]:
    """The blocks of a prepared disk, to be damaged at will."""
    with ExitStack() as opened:
        yield lambda name: opened.enter_context(closing(ImageBlocks(laid_disk(name))))
