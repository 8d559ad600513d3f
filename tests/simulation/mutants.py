"""The product without its defences, one by one, and the invariant that each of them breaks.

    python -m tests.simulation.mutants            # the table

Not here are defences behind which a second one stands, so that no invariant breaks without them: the claim that a
record names (the grace is longer than a function may run), the state of a source before its copy (AWS refuses to copy
what is not complete), points under way that count for nothing (AWS itself is asked what stays), the right to delete
(IAM asks for the mark). Permits and pace keep calls from being refused, which is no invariant: benchmarks measure it.
"""

# ruff: noqa: T201
# It is a command, and prints.

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence

from tests.simulation.defences import Caught, Mutant, look_for
from tests.simulation.mutants_of_backups import OF_CLAIMS, OF_LOOKING
from tests.simulation.mutants_of_rehearsals import OF_REHEARSALS
from tests.simulation.mutants_of_upkeep import OF_EXPIRY, OF_SWEEPING

MUTANTS: Sequence[Mutant] = (*OF_CLAIMS, *OF_LOOKING, *OF_SWEEPING, *OF_EXPIRY, *OF_REHEARSALS)


def table(found: Iterable[Caught]) -> Iterator[str]:
    """One line for each mutant: what is gone, what catches it and after how many histories."""
    yield f"{'without':42} {'invariant':>9} {'histories':>9}  the product usually sees to it that"
    for one in found:
        mutant = one.mutant
        caught = str(mutant.invariant) if one.history else "SURVIVES"
        yield f"{mutant.name:42} {caught:>9} {one.tried:>9}  {mutant.defence}"


def main() -> int:
    """The exit status: 0 when every mutant was caught."""
    found = [look_for(mutant) for mutant in MUTANTS]
    print("\n".join(table(found)))
    survivors = sum(1 for one in found if one.history is None)
    print(f"{len(found)} defences removed one by one, {survivors} of them unnoticed")
    return 1 if survivors else 0


if __name__ == "__main__":
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ.setdefault(name, "simulated")
    sys.exit(main())
