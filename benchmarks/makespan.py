"""Measures how near a night of a whole fleet comes to what AWS's limits allow, in the simulated AWS of the tests.

python benchmarks/makespan.py [--json] [--sizes 100,1000,10000]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

if not __package__:  # run as a file: then Python looks beside the file, and not where the rooms are
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.fleet import peers
from benchmarks.fleet.bounds import EBS, RDS, lower_bound, perfect
from benchmarks.fleet.night import LIMITS, SPREAD_OVER_A_DAY, Night, times
from benchmarks.fleet.planning import planned
from benchmarks.sizes import Bar

SIZES = (100, 1_000)
PLANNED_SIZES = (1_000, 10_000, 100_000)
COMPARED_WITH_PEERS_UP_TO = 1_000
"""The events of a polling fleet grow with the square of it."""

LARGE = 1_000
"""From here on a fleet's tail is short beside its night."""

LEARNS_WITHIN = 600.0
HOUR = 3600.0
LAG_SECONDS = 6.0
"""How late AWS frees a copy's place in the night in which it counts late. No document says that it does; what must not
come of it is a limit that is thrown down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One night with one controller, for people."""

    night: str
    controller: str
    makespan_hours: float
    of_bound: float
    copy_slots: float | None = None
    create_bucket: float | None = None
    calls_per_needed: float
    describe_share: float
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A night to be lived: `changes` are AWS's limits from those seconds on."""

    name: str
    night: Night
    learns_after: Sequence[float] = ()


def stories(sizes: Sequence[int]) -> Iterator[Story]:
    """Every night that is measured."""
    for size in sizes:
        yield Story(name=f"{size:,} at once", night=Night(size=size))
    some = min(LARGE, max(sizes))
    yield Story(name=f"{some:,} over a day", night=Night(size=some, policy=SPREAD_OVER_A_DAY))
    yield Story(
        name=f"{some:,} at once, AWS counts late",
        night=Night(size=some, limits=replace(LIMITS, copy_counter_lags_seconds=LAG_SECONDS)),
    )
    halved_at, doubled_at = (0.7 * HOUR, 2 * HOUR) if some >= LARGE else (0.2 * HOUR, 0.5 * HOUR)
    yield Story(
        name=f"{some:,} at once, limits halved, then doubled",
        night=Night(size=some, changes={halved_at: times(LIMITS, 0.5), doubled_at: LIMITS}),
        learns_after=(halved_at, doubled_at),
    )


def bars(story: Story) -> Iterator[Bar]:
    """What must hold of a night that was lived."""
    night, name = story.night, story.name
    learning = [(at, at + LEARNS_WITHIN) for at in story.learns_after]
    is_steady = night.policy is not SPREAD_OVER_A_DAY and night.size >= LARGE
    lags = night.limits.copy_counter_lags_seconds > 0
    if is_steady and not learning and not lags:
        bound = lower_bound(night.jobs, night.allowed(0))
        yield _at_most(f"{name}: makespan / lower bound", night.makespan_seconds / bound, 1.05)
    else:
        most = 1.05 if night.size >= LARGE else 1.03
        bound = perfect(night.jobs, night.allowed)
        yield _at_most(f"{name}: makespan / perfect controller", night.makespan_seconds / bound, most)
    if is_steady:
        slots = night.copy_slots(EBS, apart_from=learning).share
        yield _at_least(f"{name}: copy slots used", slots, 0.95 if lags else 0.97)
        yield _at_least(f"{name}: database copy slots used", night.copy_slots(RDS, apart_from=learning).share, 0.97)
        yield _at_least(f"{name}: create bucket used", night.create_bucket(apart_from=learning).share, 0.95)
    yield _at_most(f"{name}: mutating calls / needed", night.calls_per_needed(apart_from=learning), 1.05)
    yield _at_most(f"{name}: Describe calls / refill", night.describe_share, 0.05)
    yield _at_most(f"{name}: resources failed", night.not_protected, 0, unit="resources")


def line(story: Story) -> Line:
    """The night for people."""
    night = story.night
    learning = [(at, at + LEARNS_WITHIN) for at in story.learns_after]
    return Line(
        night=story.name,
        controller="Holdfast",
        makespan_hours=night.makespan_seconds / HOUR,
        of_bound=night.makespan_seconds / perfect(night.jobs, night.allowed),
        copy_slots=night.copy_slots(EBS, apart_from=learning).share,
        create_bucket=night.create_bucket(apart_from=learning).share,
        calls_per_needed=night.calls_per_needed(apart_from=learning),
        describe_share=night.describe_share,
        failed=night.not_protected,
    )


def of_peers(story: Story) -> Iterator[Line]:
    """The same fleet with what others do, where AWS's limits stay as they are."""
    night = story.night
    if story.learns_after or night.size > COMPARED_WITH_PEERS_UP_TO:
        return
    for peer in (peers.POLLING_MACHINE, peers.SLEEPING_LAMBDA):
        lived = peers.live(peer, night.jobs, night.allowed(0))
        yield Line(
            night=story.name,
            controller=peer.name,
            makespan_hours=lived.makespan_seconds / HOUR,
            of_bound=lived.makespan_seconds / perfect(night.jobs, night.allowed),
            calls_per_needed=lived.mutating_calls_per_needed,
            describe_share=lived.describe_share,
            failed=lived.failed,
        )


def planning_bars() -> Iterator[Bar]:
    """Planning grows with what is due and not with the fleet."""
    measured = {size: min((planned(size) for _ in range(2)), key=lambda one: one.cpu_ms) for size in PLANNED_SIZES}
    first, last = measured[PLANNED_SIZES[0]], measured[PLANNED_SIZES[-1]]
    for size, one in measured.items():
        sys.stderr.write(f"fleet of {size:>7,}, {one.due:,} due: {one.calls:.2f} calls and {one.cpu_ms:.2f} ms each\n")
    of = f"{last.fleet:,} / {first.fleet:,}"
    yield _at_most(f"planning: calls for each resource due, {of}", last.calls / first.calls, 1.2)
    yield _at_most(f"planning: CPU for each resource due, {of}", last.cpu_ms / first.cpu_ms, 1.2)


def _at_most(name: str, value: float, bar: float, unit: str = "x") -> Bar:
    return Bar(name=name, value=round(value, 4), bar=bar, holds=value <= bar, unit=unit)


def _at_least(name: str, value: float, bar: float) -> Bar:
    return Bar(name=name, value=round(value, 4), bar=bar, holds=value >= bar, unit="share, at least")


def _told(lines: Sequence[Line]) -> str:
    head = f"{'night':44}{'controller':24}{'hours':>7}{'/perfect':>9}{'slots':>7}{'creates':>9}"
    rows = [f"{head}{'calls':>7}{'Describe':>10}{'failed':>8}"]
    for one in lines:
        slots = "" if one.copy_slots is None else f"{one.copy_slots:.1%}"
        creates = "" if one.create_bucket is None else f"{one.create_bucket:.1%}"
        rows.append(
            f"{one.night:44}{one.controller:24}{one.makespan_hours:7.2f}{one.of_bound:9.3f}{slots:>7}{creates:>9}"
            f"{one.calls_per_needed:7.2f}{one.describe_share:10.2%}{one.failed:8}"
        )
    return "\n".join(rows)


def _watched() -> Callable[[str], None]:
    """Says now and then how far a night is, where somebody looks."""
    said_at = 0.0

    def say(what: str) -> None:
        nonlocal said_at
        if sys.stderr.isatty() and time.monotonic() - said_at > 1:
            said_at = time.monotonic()
            sys.stderr.write(f"\r{what:60}")

    return say


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one object with every bar")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="fleets of so many resources")
    asked = parser.parse_args()
    found: list[Bar] = []
    lines: list[Line] = []
    for story in stories([int(size) for size in asked.sizes.split(",")]):
        story.night.run(_watched())
        found += bars(story)
        lines += [line(story), *of_peers(story)]
    found += planning_bars()
    if asked.json:
        sys.stdout.write(json.dumps({"bars": [asdict(bar) for bar in found]}, indent=2) + "\n")
    else:
        sys.stdout.write(_told(lines) + "\n\n")
        for bar in found:
            said = "holds" if bar.holds else "BROKEN"
            sys.stdout.write(f"{bar.name:66} {bar.value:9.4f} {bar.unit:16} bar {bar.bar:g}: {said}\n")
    return 0 if all(bar.holds for bar in found) else 1


if __name__ == "__main__":
    sys.exit(main())
