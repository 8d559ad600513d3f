"""How long it takes a workflow to see that AWS is done: little, compared with how long AWS took.

Every loop is walked with an AWS that is never done. That tells when it is looked at, and so for each moment at which
AWS might be done how long that stays unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache

import pytest

from tests.workflows import test_recover_stories as recovering
from tests.workflows import test_rehearse_stories as rehearsing
from tests.workflows.test_workflows import MACHINES, of_type
from tests.workflows.walk import Handler, Uncaught, Walk, choosing

HOUR, DAY = 3600, 86_400
LEAST_SECONDS, SHARE = 10.0, 0.05
"""What may pass unseen: 10 seconds, or a twentieth of the time that has passed where that is more."""

SLOW_LOOK_SECONDS = 2.0

NOT_READY, NOT_REMOVED = recovering.answering(readiness="not yet"), recovering.answering(is_removed=False)
NEVER_RENAMED = choosing(state="renaming", detail="b is renaming")


def until_late(not_yet: Handler, at_last: Handler) -> list[Handler]:
    """A rehearsal's looks are bounded by its six hours alone, which a walk does not know: here they end."""
    return [not_yet] * 150 + [at_last]


READY_LATE = until_late(rehearsing.answering(), rehearsing.answering(readiness="ready"))
REMOVED_LATE = until_late(rehearsing.answering(is_removed=False), rehearsing.answering(is_removed=True))

LOOPS: dict[tuple[str, str], tuple[int, Callable[[], Walk]]] = {
    ("recover", "Wait for AWS"): (DAY, lambda: recovering.scripted(CheckRecovery=NOT_READY)),
    ("recover", "Wait for settings"): (10 * HOUR, lambda: recovering.scripted(ConfigureRecovery=NOT_READY)),
    ("recover", "Wait for removal"): (
        10 * HOUR,
        lambda: recovering.scripted(request={"ending": "tear down"}, RemoveRecovery=NOT_REMOVED),
    ),
    ("recover", "Wait for what failed to go"): (
        10 * HOUR,
        lambda: recovering.scripted(CheckRecovery=recovering.answering(readiness="failed"), RemoveRecovery=NOT_REMOVED),
    ),
    ("rehearse", "Wait for restore"): (4 * HOUR, lambda: rehearsing.scripted(CheckRestore=[*READY_LATE])),
    ("rehearse", "Wait for removal"): (4 * HOUR, lambda: rehearsing.scripted(RemoveRestore=[*REMOVED_LATE])),
    ("rehearse", "Wait for the rest to go"): (
        4 * HOUR,
        lambda: rehearsing.scripted(
            CheckRestore=rehearsing.answering(readiness="failed"), RemoveRestore=[*REMOVED_LATE]
        ),
    ),
    ("swap_names", "Wait for RDS"): (100 * 60, lambda: Walk("swap_names", {"SwapNames": NEVER_RENAMED})),
}
"""By workflow and wait: how long AWS may take and is still waited for, and a walk on which it takes longer."""

COARSE = {("rehearse", "Wait for turn"), ("rehearse", "Wait for deep check")}
"""They come after everything that recovery time is measured by, and what they wait for is our own work on a machine: a
tenth of what has passed may stay unseen there."""

IN_EVERY_LOOP = pytest.mark.parametrize(
    ("workflow", "wait"), [pytest.param(*names, id=": ".join(names)) for names in LOOPS]
)


@cache
def waits_of(workflow: str, wait: str) -> Sequence[float]:
    """The seconds of every wait of a loop that AWS is never done in."""
    _, begun = LOOPS[workflow, wait]
    walk = begun()
    with suppress(Uncaught):  # a recovery that gives up stands in the stop from which it is redriven
        walk.run({})
    return tuple(walk.waited_in[wait])


def test_every_wait_of_every_workflow_is_walked_here() -> None:
    assert {(name, title) for name, title, _ in (one.values for one in of_type("Wait"))} == LOOPS.keys() | COARSE


@IN_EVERY_LOOP
@pytest.mark.parametrize("look_seconds", [0.0, SLOW_LOOK_SECONDS])
def test_what_aws_has_done_stays_unseen_for_ten_seconds_or_a_twentieth_of_the_time_it_took(
    workflow: str, wait: str, look_seconds: float
) -> None:
    """Every second of the whole patience is tried as the one in which AWS is done."""
    patience_seconds, _ = LOOPS[workflow, wait]
    asked, done = 0.0, 1
    for waited in waits_of(workflow, wait):
        asked += waited
        while done <= min(asked, patience_seconds):
            assert asked - done <= max(LEAST_SECONDS, SHARE * done)
            done += 1
        asked += look_seconds
    assert done > patience_seconds, "the last look is after all of them"


@IN_EVERY_LOOP
def test_a_wait_is_a_whole_number_of_seconds_and_short_at_first(workflow: str, wait: str) -> None:
    """Step Functions fails an execution whose wait is a fraction."""
    waits = waits_of(workflow, wait)
    assert waits[0] == 5
    assert all(type(waited) is int for waited in waits)
    assert list(waits) == sorted(waits)


def test_a_recovery_gives_up_by_itself_before_its_own_time_is_over() -> None:
    """Giving up tells people and can be redriven; an execution that times out tells nobody."""
    longest = [sum(waits_of("recover", wait)) for wait in ("Wait for AWS", "Wait for settings")]
    assert sum(longest) < MACHINES["recover"]["TimeoutSeconds"]


def test_a_swap_gives_up_by_itself_before_its_own_time_is_over() -> None:
    assert sum(waits_of("swap_names", "Wait for RDS")) < MACHINES["swap_names"]["TimeoutSeconds"]
