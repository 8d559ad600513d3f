"""Through real clients and AWS's bytes, every invariant holds as without them, and the same things happen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ParamValidationError

from functions.aws import clients
from tests.builders import AWAY, HOME
from tests.simulation import faults
from tests.simulation.exploring import explore
from tests.simulation.history import live
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.wire_level import bytes_on_the_wire, network, swarm_in_bytes

SHORT = tuple(name for name in SCENARIOS if name not in ("fleet", "lost-table"))
HISTORIES = 120
"""How many the tests live; 2,000 are lived by the command."""


@pytest.fixture
def new_clients() -> Iterator[None]:
    network.cache_clear()
    yield
    network.cache_clear()


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_happens_through_bytes_and_without_them(name: str) -> None:
    with bytes_on_the_wire():
        through = live(SCENARIOS[name], 1, keeps_trace=True)
    without = live(SCENARIOS[name], 1, keeps_trace=True)
    assert through.invariant is None, str(through)
    assert _told(through.lines) == _told(without.lines)
    assert through.checks == without.checks


def _told(lines: tuple[str, ...]) -> list[str]:
    """The trace; that nothing is filtered by is written in three ways."""
    return [line.rstrip().removesuffix("()").removesuffix("[]").rstrip() for line in lines]


def test_every_invariant_holds_in_random_histories() -> None:
    histories = list(swarm_in_bytes(SHORT, HISTORIES))
    assert [str(one) for one in histories if one.invariant is not None] == []
    assert sum(len(one.deviations) for one in histories) > HISTORIES


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("backup-volume", "ec2.create_snapshot"),
        ("backup-volume", "ec2.copy_snapshot"),
        ("backup-instance", "ec2.create_snapshots"),
        ("backup-database", "rds.create_db_snapshot"),
        ("backup-database", "rds.copy_db_snapshot"),
        ("backup-cluster", "rds.create_db_cluster_snapshot"),
        ("backup-cluster", "rds.copy_db_cluster_snapshot"),
    ],
)
def test_a_create_whose_reply_is_lost_is_one_request(name: str, operation: str) -> None:
    with bytes_on_the_wire(of_ledger=False):
        lived = list(explore(SCENARIOS[name], most=1, chosen=lambda *site: site == (operation, faults.REPLY_LOST)))
    assert len(lived) > 1
    assert [str(one) for one in lived if one.invariant is not None] == []


@pytest.mark.usefixtures("new_clients")
def test_clients_that_repeat_creates_are_caught_by_the_requests_they_send(monkeypatch: pytest.MonkeyPatch) -> None:
    once: Any = clients.ONCE  # the stubs do not know what a Config holds
    monkeypatch.setitem(once.retries, "total_max_attempts", 5)
    chosen = ("ec2.create_snapshot", faults.REPLY_LOST)
    with bytes_on_the_wire(of_ledger=False):
        lived = list(explore(SCENARIOS["backup-volume"], most=1, chosen=lambda *site: site == chosen))
    assert 3 in {one.invariant for one in lived}


def test_parameters_are_validated_before_anything_is_sent() -> None:
    with pytest.raises(ParamValidationError):
        network().clients.once("ec2", HOME).create_snapshot(VolumeId=1)
    with pytest.raises(ParamValidationError):
        network().ledger(AWAY, 1).get_item(TableName="holdfast-ledger")
