"""What a removed defence is looked for with: the mutant, where to look for it, and the history that catches it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.simulation import ebs_direct, world
from tests.simulation.defences_scenes import content_of_the_image
from tests.simulation.exploring import explore
from tests.simulation.history import History, live
from tests.simulation.scenarios import Scenario

Fault = tuple[str, str]
"""What happens at a site, and what goes wrong there."""

Removal = Callable[[pytest.MonkeyPatch], None]
Hunt = Callable[[], Iterator[History]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """The product without one of its defences. `remove` takes it out at one place; some history of `hunt` then breaks
    `invariant`. `defence` says what the product usually does."""

    name: str
    defence: str
    invariant: int
    remove: Removal
    hunt: Hunt


@dataclass(frozen=True, slots=True, kw_only=True)
class Caught:
    """The history that shows what a mutant does, None where it survived, and how many were tried."""

    mutant: Mutant
    history: History | None
    tried: int


def look_for(mutant: Mutant) -> Caught:
    """The first history of the hunt in which the mutant breaks its invariant; what else it breaks is passed over."""
    tried = 0
    with pytest.MonkeyPatch.context() as patch:
        mutant.remove(patch)
        for history in mutant.hunt():
            tried += 1
            if history.invariant == mutant.invariant:
                return Caught(mutant=mutant, history=history, tried=tried)
    return Caught(mutant=mutant, history=None, tried=tried)


# Where to look


def in_quiet(scenario: Scenario) -> Hunt:
    """The one history in which nothing goes wrong."""
    return lambda: iter([live(scenario, 0)])


def after(scenario: Scenario, *faults: Fault) -> Hunt:
    """Every history in which one of these goes wrong."""
    return lambda: explore(scenario, most=1, chosen=lambda what, fault: (what, fault) in faults)


def after_two(scenario: Scenario, first: Sequence[Fault], second: Sequence[Fault]) -> Hunt:
    """Every history in which one of the first goes wrong, and later one of the second."""

    def histories() -> Iterator[History]:
        for begun in after(scenario, *first)():
            if begun.deviations:
                yield from explore(
                    scenario, most=2, chosen=lambda what, fault: (what, fault) in second, after=begun.deviations
                )

    return histories


def on_a_file_system(hunt: Hunt) -> Hunt:
    """The same histories, in which the blocks of the image hold a file system."""

    def histories() -> Iterator[History]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ebs_direct, "_content", content_of_the_image(ebs_direct._content))
            ebs_direct._checksum.cache_clear()
            yield from hunt()
        ebs_direct._checksum.cache_clear()

    return histories


# How a defence is taken out


def replaced(place: Any, name: str, by: Any) -> Removal:
    """Something of the product is something else."""
    return lambda patch: patch.setattr(place, name, by)


def wrapped(place: Any, name: str, around: Callable[..., Any]) -> Removal:
    """`around` is called with what was there before, and then as that was called."""

    def remove(patch: pytest.MonkeyPatch) -> None:
        was = getattr(place, name)
        patch.setattr(place, name, lambda *given, **named: around(was, *given, **named))

    return remove


def never_runs(function: str) -> Removal:
    """A function does nothing, however often it is called."""
    return lambda patch: patch.setitem(world.HANDLERS, function, (lambda *_: {}, 60))


def unconditional(place: Any, name: str) -> Removal:
    """A method of the ledger writes whatever the row says by then."""

    def write(was: Callable[..., Any], rows: Any, *given: Any, **named: Any) -> Any:
        reckless = copy.copy(rows)
        reckless._table = _Reckless(rows._table)
        return was(reckless, *given, **named)

    return wrapped(place, name, write)


class _Reckless:
    """A table that writes to every row that is there."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    def update(self, item: Any, actions: Any, condition: Any) -> bool:
        return self._table.update(item, actions, type(item).pk.exists())

    def put_new(self, item: Any) -> bool:
        self._table.put(item)
        return True
