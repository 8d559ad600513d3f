"""Histories that once broke an invariant, each with the proof that it still would without its defence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest

from functions.aws import ebs_snapshots
from functions.aws.ebs_snapshots import EbsSnapshots
from functions.aws.ec2_instances import InstanceSnapshots
from functions.core.slots import Slot
from functions.core.snapshots import Snapshot, State
from functions.handlers import settling
from tests.simulation import faults
from tests.simulation.exploring import Chosen, explore
from tests.simulation.history import History
from tests.simulation.scenarios import SCENARIOS

CREATING = ("ec2.create_snapshot", "ec2.copy_snapshot")


def only(*chosen: tuple[str, str]) -> Chosen:
    return lambda what, fault: (what, fault) in chosen


def followed_by(scenario: str, first: Chosen, second: Chosen) -> Iterator[History]:
    """Every history with one deviation of the first sort, and then one of the second."""
    for begun in explore(SCENARIOS[scenario], most=1, chosen=first):
        if begun.deviations:
            yield from explore(SCENARIOS[scenario], most=2, chosen=second, after=begun.deviations)


def unrecorded_and_then_not_seen() -> list[History]:
    """What was begun is not recorded, and the look for it, when the claim is taken over, gets no answer."""
    first = only(*((operation, faults.CRASH_AFTER) for operation in CREATING))
    second = only(("ec2.describe_snapshots", faults.THROTTLED), ("ec2.describe_volumes", faults.THROTTLED))
    return list(followed_by("backup-volume", first, second))


def half_a_set_and_then_a_take_over() -> list[History]:
    """One volume of a set fails, and the next attempt ends after its claim."""
    first = only(("ec2.create_snapshots", faults.ENDS_IN_ERROR))
    second = only(("dynamodb.update_item", faults.CRASH_AFTER))
    return list(followed_by("backup-instance", first, second))


@pytest.mark.parametrize("histories", [unrecorded_and_then_not_seen, half_a_set_and_then_a_take_over])
def test_every_invariant_holds(histories: Callable[[], list[History]]) -> None:
    lived = histories()
    assert len(lived) > 5
    assert [str(one) for one in lived if one.invariant is not None] == []


def test_without_the_claim_that_stands_a_second_snapshot_and_a_second_copy_are_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settling, "claim_stands", nullcontext)
    assert {one.invariant for one in unrecorded_and_then_not_seen()} >= {1, 2}


def test_without_looking_at_the_whole_set_half_of_it_is_taken_for_a_point(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(self: EbsSnapshots, slot: Slot, *, attempt: int) -> tuple[Snapshot, ...]:
        found = self._described([{"Name": f"tag:{ebs_snapshots.labels.SLOT}", "Values": [slot.key]}])
        return tuple(snapshot for snapshot in found if snapshot.state is not State.FAILED)

    monkeypatch.setattr(InstanceSnapshots, "find", find)
    assert 15 in {one.invariant for one in half_a_set_and_then_a_take_over()}
