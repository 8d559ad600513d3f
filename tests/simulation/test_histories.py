"""Every invariant holds, whatever goes wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation import faults
from tests.simulation.choices import Deviation
from tests.simulation.exploring import distinct, explore
from tests.simulation.history import live, swarm
from tests.simulation.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]
ALL = sorted(SCENARIOS)
HISTORIES = {"fleet": 12}
"""How many random histories a scenario gets in the tests, where it is not 45."""


@pytest.mark.parametrize("name", ALL)
def test_nothing_goes_wrong_where_nothing_is_wrong(name: str) -> None:
    history = live(SCENARIOS[name], 1)
    assert history.invariant is None, str(history)
    assert history.checks > 10


@pytest.mark.parametrize("name", ALL)
def test_every_invariant_holds_in_random_histories(name: str) -> None:
    number = HISTORIES.get(name, 45)
    histories = [swarm(SCENARIOS[name], seed) for seed in range(number)]
    assert [str(one) for one in histories if one.invariant is not None] == []
    assert sum(len(one.deviations) for one in histories) > number


@pytest.mark.parametrize("name", ["backup-volume", "expiry", "rehearsal"])
def test_every_invariant_holds_whatever_one_thing_goes_wrong(name: str) -> None:
    histories = 0
    for history in explore(SCENARIOS[name], most=1, chosen=distinct):
        assert history.invariant is None, str(history)
        histories += 1
    assert histories > 100


def test_a_history_is_the_same_whatever_python_hashes() -> None:
    program = (
        "from tests.simulation.history import swarm\n"
        "from tests.simulation.scenarios import SCENARIOS\n"
        "print([(swarm(SCENARIOS[name], 3).trace_hash, swarm(SCENARIOS[name], 3).deviations) for name in SCENARIOS])"
    )
    told = [
        subprocess.run(  # noqa: S603 - our own interpreter and our own program
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert len(told[0]) > 100


def test_another_seed_is_another_history() -> None:
    scenario = SCENARIOS["backup-volume"]
    assert swarm(scenario, 1).trace_hash != swarm(scenario, 2).trace_hash


def test_the_deviations_of_a_random_history_replay_it() -> None:
    drawn = swarm(SCENARIOS["backup-volume"], 5)
    assert drawn.deviations
    assert live(SCENARIOS["backup-volume"], 5, planned=drawn.deviations).trace_hash == drawn.trace_hash


def test_every_fault_is_offered_somewhere() -> None:
    offered: set[str] = set()
    for scenario in SCENARIOS.values():
        for site in live(scenario, 0, keeps_sites=True).offered:
            offered.update(site.faults)
    # A queue gives out of order only where two messages wait at once, which is by luck.
    assert set(faults.ALL) - offered <= {faults.OUT_OF_ORDER, faults.TABLE_LOST}  # the latter is a scenario


def test_a_deviation_is_read_as_it_is_written() -> None:
    assert Deviation.parse(str(Deviation(41, "reply-lost"))) == Deviation(41, "reply-lost")
