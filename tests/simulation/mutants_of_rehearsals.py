"""Rehearsals and their reaper without their defences."""

from __future__ import annotations

from typing import Any

from functions.aws import restores_ebs
from functions.core.evidence import Evidence, Fitness
from functions.handlers import inspect_content, reap_rehearsals, verify_volume
from tests.simulation import faults
from tests.simulation.defences import (
    Mutant,
    after,
    in_quiet,
    never_runs,
    on_a_file_system,
    replaced,
    wrapped,
)
from tests.simulation.defences_scenes import (
    STRANGER,
    WITH_A_FILE_SYSTEM,
)
from tests.simulation.scenarios import SCENARIOS

REHEARSAL = SCENARIOS["rehearsal"]


def fit_by_itself(assertions: Any) -> Evidence:
    return Evidence(fitness=Fitness.FIT, reason="nothing speaks against it", assertions=())


def never_compared(compare: Any, source: Any, restored: Any, **how: Any) -> Any:
    return compare(source, source, **how)


OF_REHEARSALS = (
    Mutant(
        name="the reaper asks for no name",
        defence="only what has a rehearsal's name is reaped",
        invariant=14,
        remove=replaced(restores_ebs, "NAME_PREFIX", ""),
        hunt=in_quiet(STRANGER),
    ),
    Mutant(
        name="no reaper",
        defence="what a rehearsal leaves behind is reaped",
        invariant=28,
        remove=never_runs("reap_rehearsals"),
        hunt=after(REHEARSAL, *((f"state {state}", faults.STOPPED) for state in ("check_restore", "remove_restore"))),
    ),
    Mutant(
        name="nothing is ever over",
        defence="a leftover expires, whatever became of its rehearsal",
        invariant=28,
        remove=replaced(reap_rehearsals, "why_over", lambda *_: ""),
        hunt=after(REHEARSAL, ("state check_restore", faults.STOPPED)),
    ),
    Mutant(
        name="restored under any name",
        defence="what is restored says in the creating call whose it is",
        invariant=13,
        remove=replaced(restores_ebs, "_written", lambda _: []),
        hunt=in_quiet(REHEARSAL),
    ),
    Mutant(
        name="fit without a check",
        defence="nothing checked proves nothing",
        invariant=16,
        remove=replaced(inspect_content, "judge", fit_by_itself),
        hunt=in_quiet(REHEARSAL),
    ),
    Mutant(
        name="the restored is not read",
        defence="what was restored is compared with its source",
        invariant=16,
        remove=wrapped(verify_volume, "compare", never_compared),
        hunt=on_a_file_system(after(WITH_A_FILE_SYSTEM, ("ec2.create_volume", faults.RESTORED_WRONG))),
    ),
)
