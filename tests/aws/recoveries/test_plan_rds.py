"""What a plan finds before a database or a cluster is recovered, line by line, with nothing made."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from moto.ec2.models import ec2_backends

from embedded.databases import in_process, quotas
from functions.aws.recoveries.rds import DatabaseRecoveries, newest_restorable
from functions.aws.recoveries.rds_clusters import ClusterRecoveries
from functions.core.recoveries import RECOVERY_TAG, Found, PlanLine, RecoveryOrder
from functions.core.resources import Kind
from tests.aws.recoveries.account import ACCOUNT, HOME, RECOVERY_ID, RecoveriesAccount, keep_moto_as_it_is, key, order


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecoveriesAccount]:
    keep_moto_as_it_is(monkeypatch)
    with in_process.account() as fresh:
        yield RecoveriesAccount(fresh)


def make_orders(world: RecoveriesAccount, **more: Any) -> dict[str, Any]:
    world.account.make_instance("orders", **more)
    world.account.take_snapshot("orders", "holdfast-orders")
    return world.configuration(Kind.DATABASE, "orders")


def plan(world: RecoveriesAccount, wanted: RecoveryOrder) -> tuple[PlanLine, ...]:
    adapter = DatabaseRecoveries if wanted.kind is Kind.DATABASE else ClusterRecoveries
    world.calls.clear()
    lines = adapter(HOME, world.clients).plan(wanted)
    assert all(name.startswith("Describe") for name, _ in world.calls)
    return lines


def worst(lines: tuple[PlanLine, ...]) -> dict[str, Found]:
    """What is not fine."""
    return {line.what: line.found for line in lines if line.found is not Found.FINE}


def line(lines: tuple[PlanLine, ...], what: str) -> PlanLine:
    return next(line for line in lines if line.what == what)


def test_a_plan_in_whose_way_nothing_stands_says_what_was_looked_at(world: RecoveriesAccount) -> None:
    arn = world.account.make_key()
    lines = plan(world, order(make_orders(world, StorageEncrypted=True, KmsKeyId=arn)))
    assert worst(lines) == {}
    assert [line.what for line in lines] == [
        "snapshot",
        "key",
        "name",
        "subnet group",
        "security groups",
        "instance class",
        "quota DBInstances",
        "quota AllocatedStorage",
    ]
    assert line(lines, "quota DBInstances").detail == "1 of 40 used, 1 more needed"
    assert line(lines, "snapshot").detail == "holdfast-orders: mysql 8.0.40, 20 GiB, available"
    assert "4091 free addresses" in line(lines, "subnet group").detail


@pytest.mark.parametrize(
    ("change", "what", "found"),
    [
        ({"subnet_group": "nowhere"}, "subnet group", Found.OBSTACLE),
        ({"subnet_group": None}, "subnet group", Found.WARNING),
        ({"security_groups": ["sg-0123456789abcdef0"]}, "security groups", Found.OBSTACLE),
        ({"security_groups": []}, "security groups", Found.WARNING),
        ({"parameter_group": "gone"}, "parameter group", Found.WARNING),
        ({"option_group": "gone"}, "option group", Found.WARNING),
        ({"option_group": "gone", "engine": "oracle-se2"}, "option group", Found.OBSTACLE),
        ({"instance_class": "db.z9.large"}, "instance class", Found.OBSTACLE),
        ({"domains": ["d-1"]}, "domain", Found.WARNING),
    ],
)
def test_what_stands_in_the_way_is_found(
    world: RecoveriesAccount, change: dict[str, Any], what: str, found: Found
) -> None:
    lines = plan(world, order(make_orders(world) | change))
    assert worst(lines) == {what: found}
    assert line(lines, what).next_step


def test_a_snapshot_that_is_gone_is_an_obstacle(world: RecoveriesAccount) -> None:
    lines = plan(world, order(make_orders(world), snapshot="holdfast-gone"))
    assert worst(lines) == {"snapshot": Found.OBSTACLE}


def test_a_snapshot_in_the_making_is_an_obstacle(world: RecoveriesAccount) -> None:
    wanted = make_orders(world)
    world.rds.create_db_snapshot(DBInstanceIdentifier="orders", DBSnapshotIdentifier="holdfast-new")
    assert worst(plan(world, order(wanted, snapshot="holdfast-new"))) == {"snapshot": Found.OBSTACLE}


@pytest.mark.parametrize(("tags", "expected"), [({}, {"name": Found.OBSTACLE}), ({RECOVERY_TAG: RECOVERY_ID}, {})])
def test_a_name_that_is_taken_is_an_obstacle_unless_we_took_it(
    world: RecoveriesAccount, tags: dict[str, str], expected: dict[str, Found]
) -> None:
    wanted = make_orders(world)
    world.account.make_instance("orders-restored", Tags=[{"Key": k, "Value": v} for k, v in tags.items()])
    assert worst(plan(world, order(wanted))) == expected


def test_a_key_that_is_disabled_is_an_obstacle(world: RecoveriesAccount) -> None:
    arn = world.account.make_key()
    wanted = make_orders(world, StorageEncrypted=True, KmsKeyId=arn)
    world.account.kms("disable_key", KeyId=arn)
    lines = plan(world, order(wanted))
    assert worst(lines) == {"key": Found.OBSTACLE}
    assert "Disabled" in line(lines, "key").detail


@pytest.mark.parametrize("name", ["db_instances", "allocated_storage_gib"])
def test_a_quota_that_is_used_up_is_an_obstacle(world: RecoveriesAccount, name: str) -> None:
    wanted = make_orders(world)
    quotas.update({name: 1})
    (found,) = worst(plan(world, order(wanted))).values()
    assert found is Found.OBSTACLE


@pytest.mark.parametrize(
    ("full", "found"), [(1, Found.WARNING), (2, Found.OBSTACLE)], ids=["one zone full", "two of three zones full"]
)
def test_a_full_subnet_is_told_and_too_many_stop_the_recovery(
    world: RecoveriesAccount, full: int, found: Found
) -> None:
    subnets = sorted(world.account.client("ec2").describe_subnets()["Subnets"], key=lambda one: one["SubnetId"])[:3]
    world.rds.create_db_subnet_group(
        DBSubnetGroupName="three", DBSubnetGroupDescription="x", SubnetIds=[one["SubnetId"] for one in subnets]
    )
    wanted = make_orders(world, DBSubnetGroupName="three")
    for one in subnets[:full]:
        zone = ec2_backends[ACCOUNT][HOME].subnets[one["AvailabilityZone"]]
        zone[one["SubnetId"]]._available_ip_addresses = 0
    assert worst(plan(world, order(wanted))) == {"subnet group": found}


def test_an_option_group_of_another_network_is_not_taken(world: RecoveriesAccount) -> None:
    world.rds.create_option_group(
        OptionGroupName="tde", EngineName="mysql", MajorEngineVersion="8.0", OptionGroupDescription="x"
    )

    def bind(parsed: dict[str, Any], **_: Any) -> None:
        parsed["OptionGroupsList"][0]["VpcId"] = "vpc-other"

    world.rds.meta.events.register("after-call.rds.DescribeOptionGroups", bind)
    lines = plan(world, order(make_orders(world) | {"option_group": "tde"}))
    assert worst(lines) == {"option group": Found.WARNING}
    assert "vpc-other" in line(lines, "option group").detail


@pytest.mark.parametrize(
    ("days", "back", "expected"),
    [
        (7, timedelta(minutes=1), {}),
        (7, -timedelta(minutes=1), {"log": Found.OBSTACLE}),
        (0, timedelta(minutes=1), {"log": Found.OBSTACLE}),
    ],
    ids=["within reach", "not yet", "no backups"],
)
def test_how_far_the_log_reaches_is_told(
    world: RecoveriesAccount, days: int, back: timedelta, expected: dict[str, Found]
) -> None:
    wanted = make_orders(world, BackupRetentionPeriod=7)
    newest = newest_restorable(key(Kind.DATABASE, "orders"), world.clients)
    assert newest is not None
    world.rds.modify_db_instance(DBInstanceIdentifier="orders", BackupRetentionPeriod=days)
    assert worst(plan(world, order(wanted, log_at=newest.at - back))) == expected


def test_a_cluster_needs_room_for_itself_and_its_members(world: RecoveriesAccount) -> None:
    world.account.make_cluster("orders")
    world.account.make_member("orders-a", "orders")
    world.account.make_member("orders-b", "orders")
    world.rds.create_db_cluster_snapshot(DBClusterIdentifier="orders", DBClusterSnapshotIdentifier="holdfast-orders")
    world.advance()
    lines = plan(world, order(world.configuration(Kind.CLUSTER, "orders"), kind=Kind.CLUSTER))
    assert worst(lines) == {}
    assert line(lines, "quota DBClusters").detail == "1 of 40 used, 1 more needed"
    assert line(lines, "quota DBInstances").detail == "2 of 40 used, 2 more needed"
    assert [one.detail for one in lines if one.what == "name"] == [
        "orders-restored is free",
        "orders-restored-1 is free",
        "orders-restored-2 is free",
    ]


def test_a_parameter_group_of_a_cluster_that_is_not_here_is_told(world: RecoveriesAccount) -> None:
    world.account.make_cluster("orders")
    world.account.make_member("orders-a", "orders")
    world.rds.create_db_cluster_snapshot(DBClusterIdentifier="orders", DBClusterSnapshotIdentifier="holdfast-orders")
    world.advance()
    wanted = {**world.configuration(Kind.CLUSTER, "orders"), "cluster_parameter_group": "gone"}
    lines = plan(world, order(wanted, kind=Kind.CLUSTER))
    assert worst(lines) == {"cluster parameter group": Found.WARNING}
