"""Many histories: every one with few deviations, and the shortest that still breaks what a long one broke."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from tests.simulation import faults
from tests.simulation.choices import Deviation, Site
from tests.simulation.history import History, live
from tests.simulation.scenarios import Scenario
from tests.simulation.wire import READS

Among = Callable[[Sequence[Site]], Iterable[tuple[Site, str]]]
"""Which faults of which sites are explored, given all of them in the order in which they were reached."""

NUMBERS = "cloudwatch.put_metric_data"
"""Nothing in the product reads what it writes there."""

Chosen = Callable[[str, str], bool]
"""Whether a fault at a site, given by what happens there and the fault's name, is explored."""


def everything(what: str, fault: str) -> bool:
    """Every fault at every site."""
    return True


def distinct(what: str, fault: str) -> bool:
    """Every fault, but of ends of a function only those that differ: a function that ends before it reads has done
    what it has done when it ends after its last write, or was never called."""
    return not (fault == faults.CRASH_BEFORE and what.partition(".")[2].startswith(READS))


def all_of(sites: Sequence[Site]) -> Iterator[tuple[Site, str]]:
    """Every fault at every site."""
    for site in sites:
        for fault in site.faults:
            yield site, fault


def differing(sites: Sequence[Site]) -> Iterator[tuple[Site, str]]:
    """Every fault at every site, but for those that lead where another one leads.

    Left out are, beside those of `distinct`: an index that lags behind nothing; a listing of nothing that breaks off,
    which is refused; an end before a request, where the same run has ended after an earlier one and only read since; a
    request that is slow before it begins, where the one just before it was slow in the end. And two by choice, which
    may lead elsewhere: a request that is slow while nobody else has anything to do, which is late by a minute; and of
    the reads of one sort that a run makes between two of its effects, the refusal of all but the first.
    """
    read: dict[tuple[str, datetime], set[tuple[str, str]]] = {}
    had_effect: set[tuple[str, datetime]] = set()
    before: tuple[int, tuple[str, datetime], bool] | None = None
    for site in sites:
        request = site.request
        if request is None:
            for fault in site.faults:
                yield site, fault
            continue
        run, sort = (request.function, request.began_at), (site.what, request.region)
        follows_effect = before == (site.number - 1, run, False)
        is_first = sort not in read.setdefault(run, set())
        for fault in site.faults:
            if (
                fault in request.void
                or not distinct(site.what, fault)
                or (fault == faults.CRASH_BEFORE and run in had_effect)
                or (fault == faults.OVERTAKEN_BEFORE and follows_effect)
                or (fault == faults.THROTTLED and request.is_read and not is_first)
            ):
                continue
            yield site, fault
        if request.is_read:
            read[run].add(sort)
        else:
            read[run].clear()
            had_effect.add(run)
        before = site.number, run, request.is_read


def of_effects(sites: Sequence[Site]) -> Iterator[tuple[Site, str]]:
    """Those of `differing` at what changes something, and at ticks, messages and states."""
    for site, fault in differing(sites):
        if site.what != NUMBERS and (site.request is None or not site.request.is_read):
            yield site, fault


def explore(
    scenario: Scenario,
    *,
    most: int,
    seed: int = 0,
    chosen: Chosen = everything,
    among: Among = all_of,
    after: Sequence[Deviation] = (),
) -> Iterator[History]:
    """Every history of the scenario with up to so many deviations, each once: first the one without any.

    A deviation changes what comes after it and nothing before, so that the histories with one more deviation are
    those of its later sites.
    """
    history = live(scenario, seed, planned=after, keeps_sites=len(after) < most)
    yield history
    if len(after) == most or history.invariant is not None:
        return
    for following in deviations(history, chosen=chosen, among=among):
        yield from explore(scenario, most=most, seed=seed, chosen=chosen, among=among, after=(*after, following))


def deviations(history: History, *, chosen: Chosen = everything, among: Among = all_of) -> Iterator[Deviation]:
    """What may go wrong beside what went wrong in this history, later than all of that."""
    last = history.deviations[-1].site if history.deviations else -1
    for site, fault in among(history.offered):
        if site.number > last and chosen(site.what, fault):
            yield Deviation(site.number, fault)


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
