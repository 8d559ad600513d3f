"""Clusters recovered for people to use, with all their members, on an embedded AWS."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from embedded.databases import in_process, quotas
from functions.aws.recoveries.rds import newest_restorable
from functions.aws.recoveries.rds_clusters import ClusterRecoveries
from functions.core.errors import BadMessage, SnapshotGone, Unsafe
from functions.core.recoveries import RECOVERY_TAG, RecoveryOrder, Setting
from functions.core.resources import Kind
from functions.core.restores import Restored, RestoreState
from tests.aws.recoveries.account import (
    HOME,
    RECOVERY_ID,
    RecoveriesAccount,
    details,
    keep_moto_as_it_is,
    key,
    standing,
)
from tests.aws.recoveries.account import order as any_order

ROLE = "arn:aws:iam::123456789012:role/imports"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecoveriesAccount]:
    keep_moto_as_it_is(monkeypatch)
    with in_process.account() as fresh:
        yield RecoveriesAccount(fresh)


@pytest.fixture
def clusters(world: RecoveriesAccount) -> ClusterRecoveries:
    return ClusterRecoveries(HOME, world.clients)


def order(wanted: dict[str, Any], **more: Any) -> RecoveryOrder:
    return any_order(wanted, kind=Kind.CLUSTER, **more)


def make_orders(world: RecoveriesAccount, **more: Any) -> dict[str, Any]:
    """A cluster `orders` of a writer and a reader with a snapshot, and its configuration."""
    world.account.make_cluster("orders", **more)
    for name, tier in (("orders-a", 0), ("orders-b", 15)):
        world.rds.create_db_instance(
            DBInstanceIdentifier=name,
            DBClusterIdentifier="orders",
            Engine="aurora-postgresql",
            DBInstanceClass="db.r6g.large" if tier == 0 else "db.r6g.xlarge",
            PromotionTier=tier,
            PubliclyAccessible=False,
        )
        world.advance()
    world.rds.create_db_cluster_snapshot(DBClusterIdentifier="orders", DBClusterSnapshotIdentifier="holdfast-orders")
    world.advance()
    return world.configuration(Kind.CLUSTER, "orders")


def restore(world: RecoveriesAccount, clusters: ClusterRecoveries, wanted: RecoveryOrder) -> list[Restored]:
    """Every look, from the beginning to the end of the wait."""
    (begun,) = clusters.begin(wanted)
    seen = [begun]
    while seen[-1].state is RestoreState.CREATING:
        assert len(seen) < 10, seen[-1]
        world.advance()
        seen.append(clusters.look(begun))
    return seen


def configured(
    world: RecoveriesAccount, clusters: ClusterRecoveries, wanted: RecoveryOrder, restored: Restored
) -> tuple[Setting, ...]:
    for _ in range(20):
        found = clusters.configure(wanted, restored)
        if all(setting.is_applied is not None for setting in found):
            return found
        world.advance()
    pytest.fail(f"not configured: {found}")


def test_a_restored_cluster_is_set_up_as_the_original_was(
    world: RecoveriesAccount, clusters: ClusterRecoveries
) -> None:
    world.rds.create_db_cluster_parameter_group(
        DBClusterParameterGroupName="shop", DBParameterGroupFamily="aurora-postgresql16", Description="shop"
    )
    wanted = make_orders(
        world,
        DBClusterParameterGroupName="shop",
        BackupRetentionPeriod=7,
        EnableCloudwatchLogsExports=["postgresql"],
        EnableIAMDatabaseAuthentication=True,
        DeletionProtection=True,
        CopyTagsToSnapshot=True,
        ServerlessV2ScalingConfiguration={"MinCapacity": 0.5, "MaxCapacity": 8},
        Tags=[{"Key": "team", "Value": "shop"}],
    ) | {"roles": [{"arn": ROLE, "feature": "s3Import"}], "master_secret_arn": "arn of a secret"}
    restored = restore(world, clusters, order(wanted))[-1]
    found = configured(world, clusters, order(wanted), restored)
    assert set(standing(found).values()) == {True}, details(found)
    again = world.configuration(Kind.CLUSTER, "orders-restored")
    renamed = {"orders-restored-1": "orders-a", "orders-restored-2": "orders-b"}
    again["members"] = [member | {"id": renamed[member["id"]]} for member in again["members"]]
    assert again.pop("master_secret_arn").startswith("arn:aws:secretsmanager:")
    assert again == {name: value for name, value in wanted.items() if name != "master_secret_arn"}


def test_a_cluster_whose_parameter_group_is_not_here_keeps_rdss_own(
    world: RecoveriesAccount, clusters: ClusterRecoveries
) -> None:
    wanted = make_orders(world) | {"cluster_parameter_group": "gone"}
    restored = restore(world, clusters, order(wanted))[-1]
    found = standing(configured(world, clusters, order(wanted), restored))
    assert [name for name, is_applied in found.items() if is_applied is False] == ["cluster_parameter_group"]


def test_the_writer_is_made_first_and_has_the_writers_class(
    world: RecoveriesAccount, clusters: ClusterRecoveries
) -> None:
    restore(world, clusters, order(make_orders(world)))
    made = [(one["DBInstanceIdentifier"], one["DBInstanceClass"]) for one in world.asked("CreateDBInstance")[2:]]
    assert made == [("orders-restored-1", "db.r6g.large"), ("orders-restored-2", "db.r6g.xlarge")]
    members = world.cluster("orders-restored")["DBClusterMembers"]
    assert [one["DBInstanceIdentifier"] for one in members if one["IsClusterWriter"]] == ["orders-restored-1"]


def test_every_member_says_which_recovery_it_belongs_to(world: RecoveriesAccount, clusters: ClusterRecoveries) -> None:
    restore(world, clusters, order(make_orders(world)))
    for number in (1, 2):
        assert world.instance(f"orders-restored-{number}")["TagList"] == [{"Key": RECOVERY_TAG, "Value": RECOVERY_ID}]


def test_a_cluster_is_available_once_its_writer_is(world: RecoveriesAccount, clusters: ClusterRecoveries) -> None:
    seen = restore(world, clusters, order(make_orders(world)))
    assert [one.message for one in seen[1:]] == ["its writer is being created", ""]
    assert seen[-1].address == world.cluster("orders-restored")["Endpoint"]


def test_a_reader_that_cannot_be_made_keeps_nobody_from_the_writer(
    world: RecoveriesAccount, clusters: ClusterRecoveries
) -> None:
    wanted = order(make_orders(world))
    quotas.update({"db_instances": 3})
    restored = restore(world, clusters, wanted)[-1]
    assert restored.state is RestoreState.AVAILABLE
    assert "orders-restored-2 cannot be made" in restored.message
    assert standing(configured(world, clusters, wanted, restored))["orders-restored-2"] is False
    quotas.update({"db_instances": 40})
    assert standing(configured(world, clusters, wanted, restored))["orders-restored-2"] is True


def test_a_cluster_begun_twice_is_one(world: RecoveriesAccount, clusters: ClusterRecoveries) -> None:
    wanted = order(make_orders(world))
    assert clusters.begin(wanted) == clusters.begin(wanted)


def test_a_name_that_is_taken_is_left_alone(world: RecoveriesAccount, clusters: ClusterRecoveries) -> None:
    wanted = make_orders(world)
    world.account.make_cluster("orders-restored")
    with pytest.raises(Unsafe):
        clusters.begin(order(wanted))


def test_a_members_name_that_is_taken_stops_the_recovery(world: RecoveriesAccount, clusters: ClusterRecoveries) -> None:
    wanted = order(make_orders(world))
    world.account.make_cluster("others")
    world.account.make_member("orders-restored-1", "others")
    (begun,) = clusters.begin(wanted)
    world.advance()
    with pytest.raises(Unsafe, match="orders-restored-1"):
        clusters.look(begun)


def test_a_snapshot_that_is_gone_says_so(clusters: ClusterRecoveries) -> None:
    with pytest.raises(SnapshotGone):
        clusters.begin(order({"engine": "aurora-postgresql"}))


def test_a_cluster_is_restored_by_its_own_log(world: RecoveriesAccount, clusters: ClusterRecoveries) -> None:
    wanted = make_orders(world, BackupRetentionPeriod=7)
    newest = newest_restorable(key(Kind.CLUSTER, "orders"), world.clients)
    assert newest is not None
    asked = order(wanted, log_at=newest.at - timedelta(seconds=60))
    assert restore(world, clusters, asked)[-1].state is RestoreState.AVAILABLE
    assert newest_restorable(key(Kind.CLUSTER, "gone"), world.clients) is None


def test_an_instant_before_the_backups_says_so(world: RecoveriesAccount, clusters: ClusterRecoveries) -> None:
    wanted = make_orders(world)
    newest = newest_restorable(key(Kind.CLUSTER, "orders"), world.clients)
    assert newest is not None
    with pytest.raises(BadMessage, match="InvalidRestoreFault"):
        clusters.begin(order(wanted, log_at=newest.at - timedelta(days=9)))


def test_removing_takes_the_members_along(world: RecoveriesAccount, clusters: ClusterRecoveries) -> None:
    restored = restore(world, clusters, order(make_orders(world)))[-1]
    states = []
    for _ in range(4):
        states.append(clusters.remove(restored, RECOVERY_ID))
        world.advance()
    assert states[-1] is RestoreState.GONE
    assert [one["DBInstanceIdentifier"] for one in world.rds.describe_db_instances()["DBInstances"]] == [
        "orders-a",
        "orders-b",
    ]


def test_a_member_that_somebody_added_stops_the_removal_before_it_begins(
    world: RecoveriesAccount, clusters: ClusterRecoveries
) -> None:
    restored = restore(world, clusters, order(make_orders(world)))[-1]
    world.account.make_member("reporting", "orders-restored")
    with pytest.raises(Unsafe, match="reporting"):
        clusters.remove(restored, RECOVERY_ID)
    assert world.instance("orders-restored-1")["DBInstanceStatus"] == "available"


def test_a_cluster_in_use_is_left_alone(world: RecoveriesAccount, clusters: ClusterRecoveries) -> None:
    wanted = order(make_orders(world))
    original = Restored(id="orders", snapshot_id="", kind=Kind.CLUSTER, region=HOME, state=RestoreState.AVAILABLE)
    with pytest.raises(Unsafe):
        clusters.configure(wanted, original)
    with pytest.raises(Unsafe):
        clusters.remove(original, RECOVERY_ID)


def test_no_members_are_added_to_a_cluster_in_use(world: RecoveriesAccount, clusters: ClusterRecoveries) -> None:
    make_orders(world)
    clusters.look(Restored(id="orders", snapshot_id="", kind=Kind.CLUSTER, region=HOME, state=RestoreState.CREATING))
    with pytest.raises(ClientError, match="not found"):
        world.instance("orders-1")
