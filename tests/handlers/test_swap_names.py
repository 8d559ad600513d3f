"""Names are swapped for a recovery that was handed over here, and for nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from functions.aws.recoveries.swaps_rds import SwapPlan, SwapSeen, SwapState
from functions.core.errors import BadMessage, NoRecoveryPoint
from functions.core.resources import Kind
from functions.core.restores import Restored, RestoreState
from functions.handlers import swap_names
from tests.builders import AWAY, HOME
from tests.handlers.recoveries import RECOVERY_ID, a_recovery
from tests.handlers.world import CONTEXT, World, example

ASKED = {"resource": "database/eu-central-1/orders", "recovery": RECOVERY_ID}


class FakeSwap:
    """Answers WAITING, and keeps what it was asked."""

    plans: list[SwapPlan]

    def __init__(self, region: str, clients: object) -> None:
        self.region = region

    def step(self, plan: SwapPlan) -> SwapSeen:
        type(self).plans.append(plan)
        return SwapSeen(state=SwapState.WAITING, detail="orders is being renamed")


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[SwapPlan]:
    FakeSwap.plans = []
    monkeypatch.setattr(swap_names, "Swap", FakeSwap)
    return FakeSwap.plans


def hand_over(world: World, kind: Kind = Kind.DATABASE, *, region: str = AWAY) -> None:
    restored = Restored(
        id="orders-restored-0a1b2c3d", snapshot_id="copy-1", kind=kind, region=region, state=RestoreState.AVAILABLE
    )
    recovery = a_recovery(kind, asked={"region": region}, restored=(restored,))
    assert world.ledger.stories.recovered(recovery, "handed over", world.now)


def swap(world: World, **changes: Any) -> swap_names.NamesSwapped:
    return swap_names.swap_names({"input": ASKED | changes}, world.tools, world.now)


def test_the_next_renaming_is_asked_for_with_the_names_of_the_recovery(away: World, plans: list[SwapPlan]) -> None:
    hand_over(away)
    swapped = swap(away)
    [plan] = plans
    assert (plan.original_id, plan.restored_id, plan.is_back) == ("orders", "orders-restored-0a1b2c3d", False)
    assert (plan.region, plan.recovery_id, plan.kind) == (AWAY, RECOVERY_ID, Kind.DATABASE)
    assert (swapped.state, swapped.detail) == ("waiting", "orders is being renamed")


def test_it_can_be_taken_back(away: World, plans: list[SwapPlan]) -> None:
    hand_over(away)
    assert swap(away, back=True).is_back
    assert plans[0].is_back


def test_a_recovery_that_was_told_twice_is_one(away: World, plans: list[SwapPlan]) -> None:
    """It failed first, and was redriven."""
    away.ledger.stories.recovered(a_recovery(Kind.DATABASE, problem="a key"), "failed", away.now)
    hand_over(away)
    swap(away)
    assert [plan.restored_id for plan in plans] == ["orders-restored-0a1b2c3d"]


def test_a_recovery_that_nobody_knows_is_refused(away: World, plans: list[SwapPlan]) -> None:
    hand_over(away)
    with pytest.raises(NoRecoveryPoint, match="no recovery 111111111111"):
        swap(away, recovery="1" * 12)
    with pytest.raises(NoRecoveryPoint):
        swap(away, resource="database/eu-central-1/billing")
    assert plans == []


def test_a_recovery_of_another_region_is_refused(away: World, plans: list[SwapPlan]) -> None:
    hand_over(away, region=HOME)
    with pytest.raises(NoRecoveryPoint, match=AWAY):
        swap(away)
    assert plans == []


def test_a_recovery_whose_things_were_removed_again_is_refused(away: World, plans: list[SwapPlan]) -> None:
    hand_over(away)
    [past] = away.ledger.stories.recoveries(a_recovery(Kind.DATABASE).request.resource)
    gone = replace(past, id="2" * 12, is_removed=True)
    away.ledger.stories.recovered(gone, "torn down", away.now)
    with pytest.raises(NoRecoveryPoint):
        swap(away, recovery=gone.id)


@pytest.mark.parametrize(
    "changes",
    [
        {"resource": "volume/eu-central-1/vol-1"},
        {"resource": "orders"},
        {"resource": None},
        {"recovery": "0a1b"},
        {"recovery": None},
        {"recovery": 7},
        {"recovery": RECOVERY_ID + "\n"},
        {"back": "yes"},
    ],
)
def test_what_is_no_swap_is_refused_with_an_example(away: World, plans: list[SwapPlan], changes: Any) -> None:
    hand_over(away)
    with pytest.raises(BadMessage) as refused:
        swap(away, **changes)
    assert '"recovery"' in refused.value.hint
    assert plans == []


def test_an_execution_without_an_input_is_refused(away: World) -> None:
    with pytest.raises(BadMessage):
        swap_names.swap_names({"input": None}, away.tools, away.now)


def test_the_swap_of_the_example_is_carried_out(away: World, plans: list[SwapPlan]) -> None:
    """As Lambda calls it."""
    hand_over(away)
    assert swap_names.handler(example("workflow_swap_names"), CONTEXT)["state"] == "waiting"
    assert len(plans) == 1
