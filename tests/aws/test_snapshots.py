"""The four adapters, over moto."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from functions.aws.kinds import PERMISSIONS
from functions.core.resources import Kind
from tests.aws.moto_world import MotoWorld
from tests.aws.snapshots_suite import SnapshotsSuite


@pytest.fixture(params=list(Kind))
def world(request: pytest.FixtureRequest, moto: None) -> Iterator[MotoWorld]:
    """Checks in the end that every call made for a verb is one the verb declares."""
    world = MotoWorld(request.param)
    yield world
    for sent in world.sent:
        granted = {action for one in PERMISSIONS[world.kind][sent.verb] for action in one.actions}
        assert sent.action in granted, f"{sent.verb} of a {world.kind} calls {sent.action}"


class TestSnapshots(SnapshotsSuite):
    """Every sentence of the suite, for each kind."""
