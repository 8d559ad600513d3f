"""Every invariant holds, whatever goes wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.simulation import faults, history
from tests.simulation.campaign import ROUND, Part, Tally, complete, exhaustive, run
from tests.simulation.choices import Deviation
from tests.simulation.exploring import all_of, differing, distinct, explore, of_effects
from tests.simulation.history import live, swarm
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.wire import Wire

ROOT = Path(__file__).parents[2]
ALL = sorted(SCENARIOS)
HISTORIES = {"fleet": 4, "lost-table": 6}
"""How many random histories a scenario gets here, where it is not 12; `make histories` lives 2,000."""


@pytest.mark.parametrize("name", ALL)
def test_nothing_goes_wrong_where_nothing_is_wrong(name: str) -> None:
    lived = live(SCENARIOS[name], 1)
    assert lived.invariant is None, str(lived)
    assert lived.checks > 10


@pytest.mark.parametrize("name", ALL)
def test_every_invariant_holds_in_random_histories(name: str) -> None:
    number = HISTORIES.get(name, 12)
    histories = [swarm(SCENARIOS[name], seed) for seed in range(number)]
    assert [str(one) for one in histories if one.invariant is not None] == []
    assert sum(len(one.deviations) for one in histories) > number


def test_every_invariant_holds_whatever_one_thing_goes_wrong() -> None:
    lived = list(explore(SCENARIOS["rehearsal"], most=1, chosen=distinct))
    assert [str(one) for one in lived if one.invariant is not None] == []
    assert len(lived) > 100


def test_an_index_that_lags_behind_nothing_changes_no_call() -> None:
    usual = live(SCENARIOS["backup-volume"], 0, keeps_sites=True)
    void = [site for site in usual.offered if site.request is not None and faults.INDEX_BEHIND in site.request.void]
    assert len(void) > 10
    for site in void[:: len(void) // 10]:
        lived = live(SCENARIOS["backup-volume"], 0, planned=[Deviation(site.number, faults.INDEX_BEHIND)])
        assert len(lived.deviations) == 1
        assert (lived.calls, lived.sites, lived.invariant) == (usual.calls, usual.sites, None), str(site)


def test_what_differs_is_a_part_of_everything() -> None:
    sites = live(SCENARIOS["backup-volume"], 0, keeps_sites=True).offered
    everything, differ, effects = (
        {(site.number, fault) for site, fault in among(sites)} for among in (all_of, differing, of_effects)
    )
    assert effects < differ < everything
    made = {site.number for site in sites if site.what in ("ec2.create_snapshot", "ec2.copy_snapshot")}
    for number in made:  # of what begins a snapshot nothing but an end before it is left out
        left_out = {fault for site, fault in everything - effects if site == number}
        assert left_out <= {faults.CRASH_BEFORE, *faults.OF_TIMING}


def test_a_round_has_every_scenario() -> None:
    assert set(ROUND) == set(SCENARIOS)
    assert 5_000 * ROUND.count("fleet") // len(ROUND) >= 200


def test_every_call_site_of_a_rehearsal_fails_in_every_way_it_can() -> None:
    tally = Tally()
    tally.add(live(SCENARIOS["rehearsal"], 0))
    assert len(tally.unmet) > 50
    complete(tally, processes=1)
    assert tally.unmet == []
    assert [one.said for one in tally.broken] == []
    assert {"start_restore|ec2.create_volume", "remove_restore|ec2.delete_volume"} <= set(tally.call_sites)
    assert all(set(ways) >= {faults.THROTTLED, faults.CRASH_BEFORE} for ways in tally.call_sites.values())


def test_an_exhaustive_run_lives_no_history_twice() -> None:
    parts = exhaustive("rehearsal", 2)
    lived = [one.deviations for part in (*parts[:20], *parts[-6:]) for one in part.histories()]
    assert len(lived) == len(set(lived))
    assert {len(deviations) for deviations in lived} == {0, 1, 2}


def test_a_campaign_that_is_taken_up_does_nothing_twice(tmp_path: Path) -> None:
    kept = tmp_path / "done.jsonl"
    parts = [Part(scenario="rehearsal", seed=seed, seeds=1) for seed in range(3)]
    [first] = run(parts[:1], kept=kept, processes=1)
    again = list(run(parts, kept=kept, processes=1))
    assert again[0].written() == first.written()
    assert [one.histories for one in again] == [1, 1, 1]
    assert len(kept.read_text().splitlines()) == 3


@pytest.mark.parametrize("name", ALL)
def test_the_short_way_asks_for_what_the_long_way_asks_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    carry = Wire.carry

    def heard(self: Wire, service: str, region: str, operation: str, parameters: Any, *more: Any) -> Any:
        asked.append((service, region, operation, dict(parameters)))
        return carry(self, service, region, operation, parameters, *more)

    monkeypatch.setattr(Wire, "carry", heard)
    short = swarm(SCENARIOS[name], 3).trace_hash, list(asked)
    asked.clear()
    monkeypatch.setattr(history, "short_way", nullcontext)
    assert (swarm(SCENARIOS[name], 3).trace_hash, asked) == short
    assert len(asked) > 100


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
