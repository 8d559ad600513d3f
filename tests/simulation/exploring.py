"""Many histories: every one with few deviations, and the shortest that still breaks what a long one broke."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tests.simulation import faults
from tests.simulation.choices import Deviation
from tests.simulation.history import History, live
from tests.simulation.scenarios import Scenario
from tests.simulation.wire import READS

Chosen = Callable[[str, str], bool]
"""Whether a fault at a site, given by what happens there and the fault's name, is explored."""


def everything(what: str, fault: str) -> bool:
    """Every fault at every site."""
    return True


def distinct(what: str, fault: str) -> bool:
    """Every fault, but of ends of a function only those that differ: a function that ends before it reads has done
    what it has done when it ends after its last write, or was never called."""
    return not (fault == faults.CRASH_BEFORE and what.partition(".")[2].startswith(READS))


def explore(
    scenario: Scenario, *, most: int, seed: int = 0, chosen: Chosen = everything, after: Sequence[Deviation] = ()
) -> Iterator[History]:
    """Every history of the scenario with up to so many deviations, each once: first the one without any.

    A deviation changes what comes after it and nothing before, so that the histories with one more deviation are
    those of its later sites.
    """
    history = live(scenario, seed, planned=after, keeps_sites=len(after) < most)
    yield history
    if len(after) == most or history.invariant is not None:
        return
    reached = after[-1].site + 1 if after else 0
    for site in history.offered:
        if site.number >= reached:
            for fault in site.faults:
                if chosen(site.what, fault):
                    following = (*after, Deviation(site.number, fault))
                    yield from explore(scenario, most=most, seed=seed, chosen=chosen, after=following)


def shrunk(scenario: Scenario, history: History, *, most_tries: int = 200) -> History:
    """A history with as few deviations as can be found that breaks the same invariant; with its trace."""
    plan, tries, width = list(history.deviations), 0, max(1, len(history.deviations) // 2)
    best = history
    while tries < most_tries:
        is_shorter = False
        for start in range(0, len(plan), width):
            tries += 1
            candidate = plan[:start] + plan[start + width :]
            found = live(scenario, history.seed, planned=candidate)
            if found.invariant == history.invariant:
                plan, best, is_shorter = list(found.deviations), found, True
                break
        if not is_shorter:
            if width == 1:
                break
            width = max(1, width // 2)
        width = min(width, max(1, len(plan)))
    return live(scenario, history.seed, planned=best.deviations, keeps_trace=True)
