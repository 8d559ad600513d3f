"""One history from its beginning to rest: what went wrong, and whether every invariant held."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from tests.builders import AWAY, HOME
from tests.simulation import faults
from tests.simulation.choices import Choices, Deviation, Site, swarm_rates
from tests.simulation.oracles import Oracles
from tests.simulation.scenarios import Scenario
from tests.simulation.short_way import short_way
from tests.simulation.world import Violated, World, running

STEP = timedelta(minutes=15)
SETTLES_WITHIN = timedelta(minutes=45)
COMES_TO_REST_WITHIN = timedelta(hours=4)
UNTIL_DEADLINES = timedelta(hours=30)
REAPED_WITHIN = timedelta(hours=14)
"""A rehearsal's time to live, and what the reaper may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a history was, and how it ended. `invariant` is None where every one held."""

    scenario: str
    seed: int
    deviations: tuple[Deviation, ...]
    trace_hash: str
    calls: int
    sites: int
    checks: int
    invariant: int | None = None
    said: str = ""
    lines: tuple[str, ...] = ()
    offered: tuple[Site, ...] = ()
    first_at: Mapping[tuple[str, str], Site] = field(default_factory=dict[tuple[str, str], Site])
    """By function and what it did, the first site where something could have gone wrong."""
    met: tuple[tuple[str, str, str], ...] = ()
    """Of each deviation, the function, what it did and the fault."""

    @property
    def command(self) -> str:
        """The command that replays this history, and no other."""
        plan = ",".join(map(str, self.deviations))
        return (
            f"python -m tests.simulation --scenario {self.scenario} --seed {self.seed} --deviations {shlex.quote(plan)}"
        )

    def __str__(self) -> str:
        if self.invariant is None:
            faults_met = len(self.deviations)
            return f"{self.scenario} seed {self.seed}: every invariant held, {self.calls} calls, {faults_met} faults"
        return (
            f"{self.scenario} seed {self.seed}: invariant {self.invariant} is broken: {self.said}\n"
            f"  deviations: {', '.join(map(str, self.deviations)) or 'none'}\n"
            f"  replay: {self.command}"
        )


def live(
    scenario: Scenario,
    seed: int,
    *,
    planned: Sequence[Deviation] = (),
    rates: Mapping[str, float] | None = None,
    keeps_trace: bool = False,
    keeps_sites: bool = False,
) -> History:
    """The history of this scenario with this seed, and with these deviations or with faults at these rates."""
    choices = Choices(seed, planned=planned, rates=rates, keeps_sites=keeps_sites)
    world = World(
        seed=seed,
        choices=choices,
        settings=scenario.settings,
        starts_at=scenario.starts_at,
        keeps_trace=keeps_trace,
    )
    oracles = Oracles(world, strict=scenario.strict)
    violated: Violated | None = None
    with running(world), short_way():
        scenario.build(world)
        world.watchers.append(oracles)
        try:
            world.run_until(world.now + scenario.lasts)
            come_to_rest(world)
            if not scenario.strict:  # what is older than some hours is compared with AWS once a day
                world.pace = 12
                world.run_until(world.now + timedelta(hours=25))
                end_the_day(world)
            oracles.at_rest()
            oracles.nothing_changes(world.tell_everything_again)
        except Violated as found:
            violated = found
    return History(
        scenario=scenario.name,
        seed=seed,
        deviations=tuple(choices.made),
        trace_hash=world.trace_hash,
        calls=world.wire.calls,
        sites=choices.sites,
        checks=oracles.checks,
        invariant=violated.invariant if violated else None,
        said=violated.said if violated else "",
        lines=tuple(world.lines or ()),
        offered=tuple(choices.offered or ()),
        first_at=choices.first_at,
        met=tuple(choices.met),
    )


def swarm(scenario: Scenario, seed: int, *, keeps_trace: bool = False) -> History:
    """The history of this scenario in which faults happen at random, at rates that the seed chooses."""
    return live(scenario, seed, rates=swarm_rates(seed, faults.ALL), keeps_trace=keeps_trace)


def come_to_rest(world: World) -> None:
    """Nothing goes wrong any more, and everything that was begun has come to its end.

    What still waits after a while waits for hours to pass, and the clock may tick less often for it."""
    world.be_quiet()
    for pace, within in ((1, SETTLES_WITHIN), (4, COMES_TO_REST_WITHIN), (12, UNTIL_DEADLINES)):
        until = world.now + within
        while _is_busy(world) and world.now < until:
            world.pace = pace
            world.run_until(world.now + STEP * pace)
    if _are_rehearsals_left(world):
        world.run_until(world.now + REAPED_WITHIN)
    end_the_day(world)
    if _is_busy(world):  # what the marker found lost is owed again
        world.pace = 1
        world.run_until(world.now + SETTLES_WITHIN)


def end_the_day(world: World) -> None:
    """The sweep, the marker and the deleter have run once more."""
    day_is_over = world.starts_at + timedelta(hours=24)
    for function in ("sweep", "mark_expired", "delete_expired", "sweep"):
        if function != "sweep" or not world.would_sweep_nothing or world.now >= day_is_over:
            world.invoke(function, {})
            world.run_until(world.now + timedelta(minutes=1))


def _is_busy(world: World) -> bool:
    return world.is_anything_on_its_way


def _are_rehearsals_left(world: World) -> bool:
    return any(volume.snapshot_id for region in (HOME, AWAY) for volume in world.ec2[region].volumes.values()) or any(
        "holdfast:proof-of" in one.tags for one in world.ec2[AWAY].snapshots.values()
    )
