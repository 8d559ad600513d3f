"""The swap of names: forward, back, from wherever it stopped, and never of what no recovery made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from embedded.databases import in_process
from functions.aws.recoveries.swaps_rds import PERMISSIONS, Swap, SwapPlan, SwapSeen, SwapState
from functions.core.errors import ResourceGone, Unsafe
from functions.core.recoveries import RECOVERY_TAG
from functions.core.resources import Kind
from tests.aws.recoveries.account import HOME, RECOVERY_ID, RecoveriesAccount, keep_moto_as_it_is

PLAN = SwapPlan(
    kind=Kind.DATABASE, region=HOME, recovery_id=RECOVERY_ID, original_id="orders", restored_id="orders-restored"
)
BACK = replace(PLAN, is_back=True)
ASIDE = f"orders-before-{RECOVERY_ID}"
OURS = [{"Key": RECOVERY_TAG, "Value": RECOVERY_ID}]


@pytest.fixture(params=[Kind.DATABASE, Kind.CLUSTER])
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecoveriesAccount]:
    keep_moto_as_it_is(monkeypatch)
    with in_process.account() as fresh:
        yield RecoveriesAccount(fresh)


def make(world: RecoveriesAccount, kind: Kind, name: str, tags: list[dict[str, str]]) -> None:
    make_one = world.account.make_instance if kind is Kind.DATABASE else world.account.make_cluster
    make_one(name, Tags=tags)


def names(world: RecoveriesAccount, kind: Kind) -> dict[str, bool]:
    """Every name there is, and whether what has it is the restored one."""
    if kind is Kind.DATABASE:
        found = {one["DBInstanceIdentifier"]: one for one in world.rds.describe_db_instances()["DBInstances"]}
    else:
        found = {one["DBClusterIdentifier"]: one for one in world.rds.describe_db_clusters()["DBClusters"]}
    return {name: one["TagList"] == OURS for name, one in found.items()}


def walk(world: RecoveriesAccount, plan: SwapPlan) -> list[SwapSeen]:
    """Every step until it is done, with time between them."""
    swap, seen = Swap(HOME, world.clients), [Swap(HOME, world.clients).look(plan)]
    while seen[-1].state is not SwapState.DONE:
        assert len(seen) < 10, seen[-1]
        seen.append(swap.step(plan))
        seen.append(swap.step(plan))  # asked twice, done once
        world.advance()
    return seen


def test_names_are_swapped_and_swapped_back(world: RecoveriesAccount, kind: Kind) -> None:
    make(world, kind, "orders", [])
    make(world, kind, "orders-restored", OURS)
    plan, back = replace(PLAN, kind=kind), replace(BACK, kind=kind)
    walk(world, plan)
    assert names(world, kind) == {ASIDE: False, "orders": True}
    walk(world, back)
    assert names(world, kind) == {"orders": False, "orders-restored": True}


def test_members_keep_their_names_and_their_cluster(world: RecoveriesAccount) -> None:
    make(world, Kind.CLUSTER, "orders", [])
    make(world, Kind.CLUSTER, "orders-restored", OURS)
    world.account.make_member("orders-restored-1", "orders-restored")
    walk(world, replace(PLAN, kind=Kind.CLUSTER))
    assert [one["DBInstanceIdentifier"] for one in world.cluster("orders")["DBClusterMembers"]] == ["orders-restored-1"]


def test_a_swap_that_stopped_halfway_goes_on(world: RecoveriesAccount) -> None:
    make(world, Kind.DATABASE, ASIDE, [])
    make(world, Kind.DATABASE, "orders-restored", OURS)
    assert Swap(HOME, world.clients).look(PLAN).state is SwapState.HALFWAY
    walk(world, PLAN)
    assert names(world, Kind.DATABASE) == {ASIDE: False, "orders": True}


def test_the_restored_one_takes_the_name_of_an_original_that_is_gone(world: RecoveriesAccount) -> None:
    make(world, Kind.DATABASE, "orders-restored", OURS)
    walk(world, PLAN)
    assert names(world, Kind.DATABASE) == {"orders": True}


def test_a_swap_that_never_was_is_already_back(world: RecoveriesAccount) -> None:
    make(world, Kind.DATABASE, "orders", [])
    make(world, Kind.DATABASE, "orders-restored", OURS)
    assert Swap(HOME, world.clients).look(BACK).state is SwapState.DONE
    assert world.asked("ModifyDBInstance") == []


def test_nothing_is_renamed_while_one_of_them_is_busy(world: RecoveriesAccount) -> None:
    make(world, Kind.DATABASE, "orders", [])
    make(world, Kind.DATABASE, "orders-restored", OURS)
    world.rds.reboot_db_instance(DBInstanceIdentifier="orders-restored")
    seen = Swap(HOME, world.clients).step(PLAN)
    assert (seen.state, seen.detail) == (SwapState.WAITING, "orders-restored is rebooting")
    assert world.asked("ModifyDBInstance") == []


@pytest.mark.parametrize("tags", [[], [{"Key": RECOVERY_TAG, "Value": "ffffffffffff"}]])
def test_what_this_recovery_did_not_make_is_not_swapped(world: RecoveriesAccount, tags: list[dict[str, str]]) -> None:
    make(world, Kind.DATABASE, "orders", [])
    make(world, Kind.DATABASE, "orders-restored", tags)
    for plan in (PLAN, BACK):
        with pytest.raises(Unsafe):
            Swap(HOME, world.clients).step(plan)
    assert names(world, Kind.DATABASE) == {"orders": False, "orders-restored": False}


def test_a_third_one_in_the_way_stops_the_swap(world: RecoveriesAccount) -> None:
    for name, tags in (("orders", []), (ASIDE, []), ("orders-restored", OURS)):
        make(world, Kind.DATABASE, name, tags)
    with pytest.raises(Unsafe, match="both exist"):
        Swap(HOME, world.clients).step(PLAN)


def test_a_restored_one_that_is_gone_says_so(world: RecoveriesAccount) -> None:
    make(world, Kind.DATABASE, "orders", [])
    with pytest.raises(ResourceGone):
        Swap(HOME, world.clients).step(PLAN)


def test_the_name_aside_fits_whatever_the_originals_length() -> None:
    long = replace(PLAN, original_id="o" * 63)
    assert len(long.aside_id) == 63
    assert long.aside_id.endswith(f"-before-{RECOVERY_ID}")


def test_a_swap_may_rename_and_nothing_else() -> None:
    actions = {action for permissions in PERMISSIONS.values() for one in permissions for action in one.actions}
    assert actions == {
        "rds:DescribeDBInstances",
        "rds:DescribeDBClusters",
        "rds:ModifyDBInstance",
        "rds:ModifyDBCluster",
    }
