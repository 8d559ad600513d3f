"""Every defence is needed: without it an invariant breaks in a history in which all of them hold with it."""

from __future__ import annotations

import pytest

from tests.simulation.defences import Mutant, look_for
from tests.simulation.mutants import MUTANTS, table


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_without_the_defence_its_invariant_breaks(mutant: Mutant) -> None:
    assert [str(history) for history in mutant.hunt() if history.invariant is not None] == []
    caught = look_for(mutant)
    assert caught.history is not None, f"{caught.tried} histories without the defence broke no invariant"
    assert next(line for line in table([caught]) if mutant.name in line).split()[-1] == mutant.defence.split()[-1]


def test_no_two_mutants_are_called_the_same() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_what_was_not_caught_is_said_to_survive() -> None:
    harmless = Mutant(
        name="nothing is removed",
        defence=MUTANTS[0].defence,
        invariant=MUTANTS[0].invariant,
        remove=lambda _: None,
        hunt=lambda: iter(()),
    )
    caught = look_for(harmless)
    assert caught.history is None
    assert "SURVIVES" in "\n".join(table([caught]))
