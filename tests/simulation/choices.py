"""What goes wrong, and where: every place where something could is a site with a number, and asks here.

A history is its seed and its deviations: the sites at which something other than the usual happened. Planned
deviations replay a history, or explore one; rates draw them at random. Both are recorded, so that what was drawn can
be replayed as a plan.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, order=True)
class Deviation:
    """At this site, this happened."""

    site: int
    fault: str

    def __str__(self) -> str:
        return f"{self.site}:{self.fault}"

    @classmethod
    def parse(cls, written: str) -> Deviation:
        """What `str` wrote.

        Errors: ValueError when it is not of the form number:fault.
        """
        site, _, fault = written.partition(":")
        return cls(int(site), fault)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Which run of a function made the request of a site. `void` are faults that would have met nobody there: nobody
    else had anything to do, the index did not lag, the listing was empty."""

    function: str
    began_at: datetime
    region: str
    is_read: bool
    void: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Site:
    """A place where something could have gone wrong: its number, what it was, and what could have happened there.
    `request` is None for a site that is not a request: a tick, a message, the weather."""

    number: int
    what: str
    faults: Sequence[str]
    request: Request | None = None


class Choices:
    """Decides at each site; numbers them in the order in which they are reached.

    Once quiet, nothing goes wrong any more: the system must come to rest by itself.
    """

    def __init__(
        self,
        seed: int,
        *,
        planned: Sequence[Deviation] = (),
        rates: Mapping[str, float] | None = None,
        keeps_sites: bool = False,
    ) -> None:
        self.sites = 0
        self.is_quiet = False
        self.made: list[Deviation] = []
        self.offered: list[Site] | None = [] if keeps_sites else None
        self.first_at: dict[tuple[str, str], Site] = {}
        """By function and what it did, the first site of each."""
        self.met: list[tuple[str, str, str]] = []
        """Of each deviation, the function, what it did and the fault."""
        self._planned = {deviation.site: deviation.fault for deviation in planned}
        self._rates = rates
        self._random = random.Random(f"faults of {seed}")  # noqa: S311 - nothing secret is drawn
        self._totals: dict[Sequence[str], float] = {}

    def at(self, what: str, faults: Sequence[str], function: str = "", request: Request | None = None) -> str | None:
        """Which of the faults happens at this site, None for none of them."""
        number = self.sites
        self.sites += 1
        if self.is_quiet:
            return None
        if (function, what) not in self.first_at:
            self.first_at[function, what] = Site(number, what, faults)
        if self.offered is not None:
            self.offered.append(Site(number, what, faults, request))
        fault = self._drawn(faults) if self._rates is not None else self._planned.get(number)
        if fault is None or fault not in faults:  # a shrunk plan may name a site that is another one now
            return None
        self.made.append(Deviation(number, fault))
        self.met.append((function, what, fault))
        return fault

    def _drawn(self, faults: Sequence[str]) -> str | None:
        assert self._rates is not None
        total = self._totals.get(faults)
        if total is None:
            total = self._totals[faults] = sum(self._rates.get(fault, 0.0) for fault in faults)
        if not total:
            return None
        drawn = self._random.random()
        if drawn >= total:
            return None
        for fault in faults:
            drawn -= self._rates.get(fault, 0.0)
            if drawn < 0:
                return fault
        return None


def swarm_rates(seed: int, faults: Sequence[str]) -> Mapping[str, float]:
    """How often each fault happens in this history: most of them never, some often.

    Histories in which everything fails a little all look alike; those in which few things fail much find more.
    """
    chance = random.Random(f"rates of {seed}")  # noqa: S311 - nothing secret is drawn
    return {fault: chance.choice((0.0, 0.0, 0.0, 0.01, 0.03, 0.1)) for fault in faults}
