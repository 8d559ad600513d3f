"""The measure of a night tells a good controller from a bad one, and its bounds are bounds."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import makespan
from benchmarks.fleet import peers
from benchmarks.fleet.bounds import EBS, RDS, Allowed, Job, lower_bound, perfect
from benchmarks.fleet.night import LIMITS, SPREAD_OVER_A_DAY, Night
from functions.core import permits
from tests.simulation.world import NOTICES

FEW = replace(LIMITS, copies_under_way=4)
"""So few copies at once that a small fleet waits for them for most of its night."""


@pytest.fixture
def night() -> Night:
    return Night(size=60, limits=FEW, has_inventory=False)


def slots_used(night: Night) -> float:
    return night.run().copy_slots(EBS).share


def test_a_night_ends_with_every_resource_copied_near_what_aws_allows(night: Night) -> None:
    night.run()
    assert night.not_protected == 0
    assert night.copy_slots(EBS).share > 0.95
    assert night.makespan_seconds < 1.05 * perfect(night.jobs, night.allowed)
    assert night.makespan_seconds >= lower_bound(night.jobs, night.allowed(0))


def test_a_controller_that_hears_no_notices_leaves_slots_unused(night: Night) -> None:
    night.world.deliveries[NOTICES] = "score_run"  # which finds nothing in them
    assert slots_used(night) < 0.93


def test_a_controller_that_learns_nothing_from_refusals_asks_too_often(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt = permits.refused
    monkeypatch.setattr(permits, "refused", lambda *given: replace(learnt(*given), limit=given[0].limit))
    assert night.run().calls_per_needed() > 1.05
    bars = makespan.bars(makespan.Story(name="without learning", night=night))
    assert [bar.name for bar in bars if not bar.holds and "mutating" in bar.name] != []


def test_what_never_gets_its_copy_is_told(night: Night) -> None:
    night.lasts_at_most = timedelta(minutes=20)
    assert night.run().not_protected > 0


ALLOWED = Allowed(create=(10, 1), copy=(50, 5), copies_under_way={EBS: 2, RDS: 1})
jobs = st.lists(
    st.builds(
        Job,
        family=st.sampled_from([EBS, RDS]),
        due=st.integers(0, 600).map(float),
        snapshot_takes=st.integers(1, 600).map(float),
        copy_takes=st.integers(1, 600).map(float),
    ),
    min_size=1,
    max_size=30,
)


def test_over_a_day_every_resource_counts_once() -> None:
    over_a_day = Night(size=10, policy=SPREAD_OVER_A_DAY, has_inventory=False).run()
    assert over_a_day.not_protected == 0
    assert over_a_day.makespan_seconds <= 1.05 * perfect(over_a_day.jobs, over_a_day.allowed)
    assert max(job.due for job in over_a_day.jobs) > 12 * 3600


@given(jobs)
def test_no_controller_is_below_the_lower_bound(some: list[Job]) -> None:
    assert perfect(some, lambda _: ALLOWED) >= lower_bound(some, ALLOWED) - 1e-6


def test_the_perfect_controller_uses_every_slot_and_every_token() -> None:
    some = [Job(family=EBS, due=0, snapshot_takes=10, copy_takes=60) for _ in range(20)]
    assert perfect(some, lambda _: ALLOWED) == 10 + 60 * 10
    quick = [Job(family=EBS, due=0, snapshot_takes=1, copy_takes=1) for _ in range(30)]
    assert perfect(quick, lambda _: replace(ALLOWED, copies_under_way={EBS: 99, RDS: 1})) == pytest.approx(20 + 2)


def test_limits_that_change_count_from_their_moment() -> None:
    some = [Job(family=EBS, due=0, snapshot_takes=0, copy_takes=60) for _ in range(8)]
    wider = replace(ALLOWED, copies_under_way={EBS: 6, RDS: 1})
    assert perfect(some, lambda seconds: ALLOWED if seconds < 60 else wider) == pytest.approx(120, abs=1)


@pytest.fixture
def waiting() -> list[Job]:
    return [Job(family=EBS, due=0, snapshot_takes=100, copy_takes=240) for _ in range(60)]


def test_a_machine_for_each_resource_asks_over_and_over_for_what_is_full(waiting: list[Job]) -> None:
    lived = peers.live(peers.POLLING_MACHINE, waiting, ALLOWED)
    assert lived.failed == 0
    assert lived.mutating_calls_per_needed > 5
    assert lived.makespan_seconds > perfect(waiting, lambda _: ALLOWED)


def test_a_function_that_sleeps_dies_of_its_time_limit_where_copies_wait(waiting: list[Job]) -> None:
    assert peers.live(peers.SLEEPING_LAMBDA, waiting, ALLOWED).failed > 30
