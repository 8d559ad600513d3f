"""Many histories on all cores, in parts: what they met, and which of them broke an invariant.

A part is what one process does at a time: some seeds at random, or every history that begins with one deviation. A
part that is done can be written down and is not done again, so that a campaign may be ended and taken up.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from tests.simulation import faults
from tests.simulation.choices import Deviation
from tests.simulation.exploring import Among, all_of, deviations, differing, distinct, explore, of_effects, shrunk
from tests.simulation.history import History, live, swarm
from tests.simulation.scenarios import SCENARIOS

ROUND = (
    *("backup-volume", "rehearsal", "expiry", "backup-instance", "rehearsal"),
    *("backup-database", "expiry", "rehearsal", "backup-cluster", "rehearsal"),
    *("backup-volume", "rehearsal", "expiry", "fleet", "rehearsal"),
    *("backup-instance", "expiry", "backup-volume", "backup-database", "rehearsal"),
    *("backup-cluster", "expiry", "backup-volume", "lost-table", "rehearsal"),
)
"""Which scenario a seed lives, in turn: the short ones more often than those that take ten times as long."""

ONE_RESOURCE = ("backup-volume", "expiry", "rehearsal")
"""One resource and one slot, from its backup to its end: what is explored exhaustively."""

AT_EVERY_CALL = faults.OF_EVERY_REQUEST
PER_PART = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A history that broke an invariant."""

    scenario: str
    seed: int
    deviations: tuple[str, ...]
    invariant: int
    said: str

    def shrunk(self) -> History:
        """The shortest one that can be found to break it too."""
        scenario = SCENARIOS[self.scenario]
        plan = [Deviation.parse(one) for one in self.deviations]
        return shrunk(scenario, live(scenario, self.seed, planned=plan))


@dataclass(slots=True, kw_only=True)
class Tally:
    """What some histories were, all together. Of each call site, `found` is where it was met first: the scenario, the
    seed, the deviations before it, its number and its faults."""

    histories: int = 0
    calls: int = 0
    checks: int = 0
    cpu_seconds: float = 0.0
    lived: Counter[str] = field(default_factory=Counter[str])
    met: Counter[str] = field(default_factory=Counter[str])
    found: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    broken: list[Broken] = field(default_factory=list["Broken"])

    def add(self, history: History) -> None:
        """One more."""
        self.histories += 1
        self.calls += history.calls
        self.checks += history.checks
        self.lived[history.scenario] += 1
        self.met.update("|".join(one) for one in history.met)
        for (function, what), site in history.first_at.items():
            if f"{function}|{what}" not in self.found:
                plan = ",".join(str(one) for one in history.deviations if one.site < site.number)
                found = [history.scenario, history.seed, plan, site.number, list(site.faults)]
                self.found[f"{function}|{what}"] = found
        if history.invariant is not None:
            self.broken.append(
                Broken(
                    scenario=history.scenario,
                    seed=history.seed,
                    deviations=tuple(map(str, history.deviations)),
                    invariant=history.invariant,
                    said=history.said,
                )
            )

    def join(self, other: Tally) -> None:
        """What others were, too."""
        self.histories += other.histories
        self.calls += other.calls
        self.checks += other.checks
        self.cpu_seconds += other.cpu_seconds
        self.lived.update(other.lived)
        self.met.update(other.met)
        self.found = {**other.found, **self.found}
        self.broken += other.broken

    def written(self) -> dict[str, Any]:
        """For a file; `read` reads it."""
        # `asdict` would make a Counter of the pairs of a Counter.
        told = {one.name: getattr(self, one.name) for one in fields(self)}
        return {**told, "broken": [asdict(one) for one in self.broken]}

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Tally:
        """What `written` wrote."""
        counted = {name: Counter(told[name]) for name in ("lived", "met")}
        broken = [Broken(**{**one, "deviations": tuple(one["deviations"])}) for one in told["broken"]]
        return cls(**{**told, **counted, "broken": broken})

    @property
    def by_fault(self) -> Counter[str]:
        """How often each fault happened."""
        counted: Counter[str] = Counter()
        for name, number in self.met.items():
            counted[name.rpartition("|")[2]] += number
        return counted

    @property
    def call_sites(self) -> dict[str, dict[str, int]]:
        """By function and call, how often it failed in each of the ways in which every call can fail.

        A read has two: it has no effect, so that a reply lost is a refusal, and an end after it an end before the next.
        """
        return {
            site: {fault: self.met[f"{site}|{fault}"] for fault in AT_EVERY_CALL if fault in found[4]}
            for site, found in sorted(self.found.items())
            if not site.startswith("|")  # a tick, a message or the weather, which no function calls
        }

    @property
    def unmet(self) -> list[tuple[str, str]]:
        """The call sites and the ways in which they never failed."""
        return [(site, fault) for site, ways in self.call_sites.items() for fault, number in ways.items() if not number]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Histories at random of so many seeds from `seed` on; or, with `most`, all that begin with `first` and have so
    many deviations; or the one that `first` is."""

    scenario: str = ""
    seed: int = 0
    seeds: int = 0
    most: int = 0
    first: str = ""

    def live(self) -> Tally:
        """Its histories, lived."""
        begun = os.times()
        tally = Tally()
        for history in self.histories():
            tally.add(history)
        ended = os.times()
        tally.cpu_seconds = ended.user + ended.system - begun.user - begun.system
        gc.collect()
        return tally

    def histories(self) -> Iterator[History]:
        """Them, one after the other."""
        if self.seeds:
            for seed in range(self.seed, self.seed + self.seeds):
                yield swarm(SCENARIOS[self.scenario or ROUND[seed % len(ROUND)]], seed)
            return
        after = [Deviation.parse(one) for one in self.first.split(",") if one]
        most = max(self.most, len(after))
        for history in explore(
            SCENARIOS[self.scenario], most=most, seed=self.seed, chosen=distinct, among=_among(most), after=after
        ):
            # Those with fewer are parts of their own: here they only say which sites come after them.
            if len(history.deviations) == most or history.invariant is not None:
                yield history


def at_random(histories: int, *, seed: int = 0, scenario: str = "") -> list[Part]:
    """So many histories from a seed on, of one scenario or of all in turn."""
    last = seed + histories
    return [
        Part(scenario=scenario, seed=first, seeds=min(PER_PART, last - first)) for first in range(seed, last, PER_PART)
    ]


def exhaustive(scenario: str, most: int, *, seed: int = 0) -> list[Part]:
    """Every history with up to so many deviations: all that there are with one; with two, those that differ, as
    `differing` says; with three, those that differ at what has an effect. Each of them once."""
    begun = live(SCENARIOS[scenario], seed, keeps_sites=True)
    parts = [Part(scenario=scenario, seed=seed)]
    parts += [
        Part(scenario=scenario, seed=seed, first=str(first), most=1) for first in deviations(begun, chosen=distinct)
    ]
    for number in range(2, most + 1):
        parts += [
            Part(scenario=scenario, seed=seed, first=str(first), most=number)
            for first in deviations(begun, among=_among(number))
        ]
    return parts


def run(parts: Sequence[Part], *, kept: Path | None = None, processes: int = 0) -> Iterator[Tally]:
    """The tally of each part as it is done, in as many processes as there are cores if nothing is said. With `kept`,
    parts that stand in this file are not done again, and those that are done now are written there."""
    done = _done(kept)
    to_do = []
    for part in parts:
        if str(part) in done:
            yield done[str(part)]
        else:
            to_do.append(part)
    for part, tally in _lived(to_do, processes or os.cpu_count() or 1):
        if kept is not None:
            with kept.open("a") as file:
                file.write(json.dumps([str(part), tally.written()]) + "\n")
        yield tally


def complete(tally: Tally, *, processes: int = 0) -> None:
    """There was one more history for every call site and way to fail that none of these had; and for those that were
    found by that."""
    tried: set[tuple[str, str]] = set()
    while unmet := [one for one in tally.unmet if one not in tried]:
        tried.update(unmet)
        parts: list[Part] = []
        for site, fault in unmet:
            scenario, seed, plan, number, _ = tally.found[site]
            first = ",".join(one for one in (plan, f"{number}:{fault}") if one)
            parts.append(Part(scenario=scenario, seed=seed, first=first))
        for lived in run(parts, processes=processes):
            tally.join(lived)


def _among(number: int) -> Among:
    return all_of if number < 2 else differing if number == 2 else of_effects


def _lived(parts: Iterable[Part], processes: int) -> Iterator[tuple[Part, Tally]]:
    if processes == 1:
        for part in parts:
            yield part, part.live()
        return
    # A pool of this sort ends with whoever made it, however that ends.
    with multiprocessing.get_context("spawn").Pool(processes, _begin) as pool:
        yield from pool.imap_unordered(_live, parts)


def _live(part: Part) -> tuple[Part, Tally]:
    return part, part.live()


def _begin() -> None:
    """A process of the campaign: what it has imported stays, and nobody looks at it again."""
    live(SCENARIOS["rehearsal"], 0)
    gc.collect()
    gc.freeze()
    gc.disable()


def _done(kept: Path | None) -> dict[str, Tally]:
    if kept is None or not kept.exists():
        return {}
    return {part: Tally.read(tally) for part, tally in map(json.loads, kept.read_text().splitlines())}
