"""Databases recovered for people to use, on an embedded AWS that refuses what RDS refuses."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from embedded.databases import in_process
from functions.aws.recoveries.rds import DatabaseRecoveries, newest_restorable
from functions.core.errors import BadMessage, KeyUnusable, ResourceGone, SnapshotGone, Unsafe
from functions.core.recoveries import RECOVERY_TAG, RecoveryOrder, Setting
from functions.core.resources import Kind
from functions.core.restores import Restored, RestoreState
from tests.aws.recoveries.account import (
    AWAY,
    HOME,
    RECOVERY_ID,
    RecoveriesAccount,
    details,
    keep_moto_as_it_is,
    key,
    order,
    standing,
)

ROLE = "arn:aws:iam::123456789012:role/imports"
OURS = {"Key": RECOVERY_TAG, "Value": RECOVERY_ID}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecoveriesAccount]:
    keep_moto_as_it_is(monkeypatch)
    with in_process.account() as fresh:
        yield RecoveriesAccount(fresh)


@pytest.fixture
def databases(world: RecoveriesAccount) -> DatabaseRecoveries:
    return DatabaseRecoveries(HOME, world.clients)


def make_orders(world: RecoveriesAccount, **more: Any) -> dict[str, Any]:
    """A database `orders` with a snapshot, and its configuration as a point would have it."""
    world.account.make_instance("orders", PubliclyAccessible=False, **more)
    world.account.take_snapshot("orders", "holdfast-orders")
    return world.configuration(Kind.DATABASE, "orders")


def make_orders_of_every_setting(world: RecoveriesAccount) -> dict[str, Any]:
    ec2 = world.account.client("ec2")
    subnets = ec2.describe_subnets()["Subnets"]
    group = ec2.create_security_group(GroupName="shop", Description="shop", VpcId=subnets[0]["VpcId"])["GroupId"]
    world.rds.create_db_subnet_group(
        DBSubnetGroupName="shop",
        DBSubnetGroupDescription="shop",
        SubnetIds=[subnet["SubnetId"] for subnet in subnets[:2]],
    )
    world.rds.create_db_parameter_group(
        DBParameterGroupName="shop", DBParameterGroupFamily="mysql8.0", Description="shop"
    )
    world.rds.create_option_group(
        OptionGroupName="shop", EngineName="mysql", MajorEngineVersion="8.0", OptionGroupDescription="shop"
    )
    settings: dict[str, Any] = {
        "DBSubnetGroupName": "shop",
        "VpcSecurityGroupIds": [group],
        "DBParameterGroupName": "shop",
        "OptionGroupName": "shop",
        "MultiAZ": True,
        "Port": 3307,
        "BackupRetentionPeriod": 7,
        "PreferredBackupWindow": "02:00-03:00",
        "PreferredMaintenanceWindow": "sun:05:00-sun:06:00",
        "AutoMinorVersionUpgrade": False,
        "CopyTagsToSnapshot": True,
        "StorageType": "gp3",
        "MaxAllocatedStorage": 200,
        "EnableIAMDatabaseAuthentication": True,
        "EnableCloudwatchLogsExports": ["error"],
        "MonitoringInterval": 60,
        "MonitoringRoleArn": ROLE,
        "EnablePerformanceInsights": True,
        "PerformanceInsightsRetentionPeriod": 31,
        "ManageMasterUserPassword": True,
        "DeletionProtection": True,
        "Tags": [{"Key": "team", "Value": "shop"}, {"Key": "holdfast:policy", "Value": "gold"}],
    }
    world.account.make_instance("orders", **settings)
    world.rds.add_role_to_db_instance(DBInstanceIdentifier="orders", RoleArn=ROLE, FeatureName="S3_INTEGRATION")
    world.account.take_snapshot("orders", "holdfast-orders")
    return world.configuration(Kind.DATABASE, "orders")


def restore(world: RecoveriesAccount, databases: DatabaseRecoveries, wanted: RecoveryOrder) -> Restored:
    (begun,) = databases.begin(wanted)
    world.advance()
    return databases.look(begun)


def configured(
    world: RecoveriesAccount, databases: DatabaseRecoveries, wanted: RecoveryOrder, restored: Restored
) -> list[tuple[Setting, ...]]:
    """The rounds until nothing is under way."""
    rounds = [databases.configure(wanted, restored)]
    while any(setting.is_applied is None for setting in rounds[-1]):
        assert len(rounds) < 20, rounds[-1]
        world.advance()
        rounds.append(databases.configure(wanted, restored))
    return rounds


def test_a_restored_database_is_set_up_as_the_original_was(
    world: RecoveriesAccount, databases: DatabaseRecoveries
) -> None:
    wanted = make_orders_of_every_setting(world)
    restored = restore(world, databases, order(wanted))
    assert restored.state is RestoreState.AVAILABLE
    rounds = configured(world, databases, order(wanted), restored)
    assert set(standing(rounds[-1]).values()) == {True}, details(rounds[-1])
    again = world.configuration(Kind.DATABASE, "orders-restored")
    assert again.pop("master_secret_arn") != wanted.pop("master_secret_arn")
    assert again == wanted


def test_what_the_creating_call_takes_is_not_set_afterwards(
    world: RecoveriesAccount, databases: DatabaseRecoveries
) -> None:
    wanted = make_orders_of_every_setting(world)
    restored = restore(world, databases, order(wanted))
    first = standing(databases.configure(order(wanted), restored))
    assert {what for what, is_applied in first.items() if is_applied is None} == {
        "max_size_gib",
        "monitoring_interval_seconds",
        "has_performance_insights",
        "performance_insights_retention_days",
        "role imports",
        "managed master secret",
        "is_deletion_protected",
    }


def test_protection_is_set_when_nothing_else_is_under_way(
    world: RecoveriesAccount, databases: DatabaseRecoveries
) -> None:
    wanted = make_orders_of_every_setting(world)
    restored = restore(world, databases, order(wanted))
    rounds = configured(world, databases, order(wanted), restored)
    assert [standing(found)["is_deletion_protected"] for found in rounds[:-1]] == [None] * (len(rounds) - 1)
    changes = world.asked("ModifyDBInstance")
    assert [change.get("DeletionProtection") for change in changes] == [None] * (len(changes) - 1) + [True]


def test_the_tags_of_the_recovery_and_of_the_user_ride_in_the_creating_call(
    world: RecoveriesAccount, databases: DatabaseRecoveries
) -> None:
    databases.begin(order(make_orders_of_every_setting(world)))
    (asked,) = world.asked("RestoreDBInstanceFromDBSnapshot")
    assert asked["Tags"] == [OURS, {"Key": "team", "Value": "shop"}]


@pytest.mark.parametrize(("wish", "is_public"), [(None, False), (False, False), (True, True)])
def test_a_database_is_public_only_where_it_is_wanted_so(
    world: RecoveriesAccount, databases: DatabaseRecoveries, wish: bool | None, is_public: bool
) -> None:
    databases.begin(order(make_orders(world) | {"is_public": wish}))
    assert world.instance("orders-restored")["PubliclyAccessible"] is is_public


def test_a_database_begun_twice_is_one(world: RecoveriesAccount, databases: DatabaseRecoveries) -> None:
    wanted = order(make_orders(world))
    assert databases.begin(wanted) == databases.begin(wanted)


@pytest.mark.parametrize("tags", [[], [{"Key": RECOVERY_TAG, "Value": "ffffffffffff"}]])
def test_a_name_that_is_taken_is_left_alone(
    world: RecoveriesAccount, databases: DatabaseRecoveries, tags: list[dict[str, str]]
) -> None:
    wanted = make_orders(world)
    world.account.make_instance("orders-restored", Tags=tags)
    with pytest.raises(Unsafe, match="orders-restored"):
        databases.begin(order(wanted))


def test_a_snapshot_that_is_gone_says_so(world: RecoveriesAccount, databases: DatabaseRecoveries) -> None:
    with pytest.raises(SnapshotGone):
        databases.begin(order(make_orders(world), snapshot="holdfast-nothing"))


def test_a_network_that_is_not_there_names_the_setting(world: RecoveriesAccount, databases: DatabaseRecoveries) -> None:
    with pytest.raises(BadMessage) as refused:
        databases.begin(order(make_orders(world) | {"subnet_group": "nowhere"}))
    assert "subnet_group" in refused.value.hint


def test_a_security_group_of_another_network_is_refused(
    world: RecoveriesAccount, databases: DatabaseRecoveries
) -> None:
    ec2 = world.account.client("ec2")
    other = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    group = ec2.create_security_group(GroupName="other", Description="other", VpcId=other)["GroupId"]
    with pytest.raises(BadMessage, match="different VPCs"):
        databases.begin(order(make_orders(world) | {"security_groups": [group]}))


def test_a_key_that_is_disabled_stops_the_restore(world: RecoveriesAccount, databases: DatabaseRecoveries) -> None:
    arn = world.account.make_key()
    wanted = make_orders(world, StorageEncrypted=True, KmsKeyId=arn)
    world.account.kms("disable_key", KeyId=arn)
    with pytest.raises(KeyUnusable):
        databases.begin(order(wanted))


def test_a_group_that_is_not_here_is_told_and_stops_nothing(
    world: RecoveriesAccount, databases: DatabaseRecoveries
) -> None:
    wanted = order(make_orders(world) | {"parameter_group": "gone", "option_group": "gone", "backup_retention_days": 3})
    last = configured(world, databases, wanted, restore(world, databases, wanted))[-1]
    assert {what for what, is_applied in standing(last).items() if not is_applied} == {
        "parameter_group",
        "option_group",
    }
    assert "there is no gone in us-east-1" in details(last)["parameter_group"]


def test_a_parameter_group_takes_effect_with_one_restart(
    world: RecoveriesAccount, databases: DatabaseRecoveries
) -> None:
    wanted = order(make_orders(world) | {"parameter_group": "late"})
    restored = restore(world, databases, wanted)
    world.rds.create_db_parameter_group(
        DBParameterGroupName="late", DBParameterGroupFamily="mysql8.0", Description="late"
    )
    last = configured(world, databases, wanted, restored)[-1]
    assert standing(last)["parameter_group"] is True
    assert world.instance("orders-restored")["DBParameterGroups"] == [
        {"DBParameterGroupName": "late", "ParameterApplyStatus": "in-sync"}
    ]
    assert len(world.asked("RebootDBInstance")) == 1


def test_a_domain_is_told_and_never_joined(world: RecoveriesAccount, databases: DatabaseRecoveries) -> None:
    wanted = order(make_orders(world) | {"domains": ["d-1234567890"]})
    last = configured(world, databases, wanted, restore(world, databases, wanted))[-1]
    assert standing(last)["domain d-1234567890"] is False


def test_a_refused_setting_does_not_keep_the_others_from_being_set(
    world: RecoveriesAccount, databases: DatabaseRecoveries
) -> None:
    wanted = order(
        make_orders(world) | {"monitoring_interval_seconds": 60, "maintenance_window": "sun:05:00-sun:06:00"}
    )
    last = configured(world, databases, wanted, restore(world, databases, wanted))[-1]
    assert standing(last)["maintenance_window"] is True
    assert standing(last)["monitoring_interval_seconds"] is False
    assert "InvalidParameterCombination" in details(last)["monitoring_interval_seconds"]


def test_a_setting_that_rds_never_shows_is_given_up(world: RecoveriesAccount, databases: DatabaseRecoveries) -> None:
    wanted = order(make_orders(world) | {"network_type": "DUAL"})
    restored = restore(world, databases, wanted)

    def forget(params: dict[str, Any], **_: Any) -> None:
        params["body"].pop("NetworkType", None)

    world.rds.meta.events.register("before-call.rds.ModifyDBInstance", forget)
    wanted = order(dict(wanted.wanted) | {"network_type": "IPV6"})
    last = configured(world, databases, wanted, restored)[-1]
    assert standing(last)["network_type"] is False
    assert len(world.asked("ModifyDBInstance")) == 12


def test_nothing_is_configured_that_is_not_of_this_recovery(
    world: RecoveriesAccount, databases: DatabaseRecoveries
) -> None:
    wanted = order(make_orders(world))
    original = Restored(id="orders", snapshot_id="", kind=Kind.DATABASE, region=HOME, state=RestoreState.AVAILABLE)
    with pytest.raises(Unsafe):
        databases.configure(wanted, original)


def test_a_database_that_disappeared_says_so(world: RecoveriesAccount, databases: DatabaseRecoveries) -> None:
    wanted = order(make_orders(world))
    restored = restore(world, databases, wanted)
    world.rds.delete_db_instance(DBInstanceIdentifier="orders-restored", SkipFinalSnapshot=True)
    world.advance()
    assert databases.look(restored).state is RestoreState.GONE
    with pytest.raises(ResourceGone):
        databases.configure(wanted, restored)


def test_the_message_tells_how_much_of_the_storage_has_arrived(
    world: RecoveriesAccount, databases: DatabaseRecoveries
) -> None:
    (begun,) = databases.begin(order(make_orders(world)))
    world.account.advance(6.25)
    seen = databases.look(begun)
    assert (seen.state, seen.port, seen.is_warm) == (RestoreState.AVAILABLE, 3306, False)
    assert "initializing (25 % done)" in seen.message


def test_a_database_is_restored_by_its_own_log(world: RecoveriesAccount, databases: DatabaseRecoveries) -> None:
    wanted = make_orders(world, BackupRetentionPeriod=7)
    newest = newest_restorable(key(Kind.DATABASE, "orders"), world.clients)
    assert newest is not None
    asked = order(wanted, log_at=newest.at - timedelta(seconds=60))
    restored = restore(world, databases, asked)
    assert (restored.state, restored.snapshot_id) == (RestoreState.AVAILABLE, "")
    assert set(standing(configured(world, databases, asked, restored)[-1]).values()) == {True}


def test_an_instant_that_rds_cannot_restore_says_so(world: RecoveriesAccount, databases: DatabaseRecoveries) -> None:
    wanted = make_orders(world, BackupRetentionPeriod=7)
    newest = newest_restorable(key(Kind.DATABASE, "orders"), world.clients)
    assert newest is not None
    with pytest.raises(BadMessage, match="InvalidRestoreFault") as refused:
        databases.begin(order(wanted, log_at=newest.at - timedelta(days=1)))
    assert "recovery point" in refused.value.hint


@pytest.mark.parametrize("kind", [Kind.DATABASE, Kind.VOLUME])
def test_what_has_no_log_has_no_newest_instant(world: RecoveriesAccount, kind: Kind) -> None:
    world.account.make_instance("orders", BackupRetentionPeriod=0)
    assert newest_restorable(key(kind, "orders"), world.clients) is None
    assert newest_restorable(key(kind, "gone"), world.clients) is None


def test_removing_ends_in_gone_and_may_be_repeated(world: RecoveriesAccount, databases: DatabaseRecoveries) -> None:
    restored = restore(world, databases, order(make_orders(world)))
    states = [databases.remove(restored, RECOVERY_ID) for _ in range(2)]
    world.advance()
    assert [*states, databases.remove(restored, RECOVERY_ID)] == [
        RestoreState.CREATING,
        RestoreState.CREATING,
        RestoreState.GONE,
    ]


def test_what_somebody_protected_is_not_removed(world: RecoveriesAccount, databases: DatabaseRecoveries) -> None:
    restored = restore(world, databases, order(make_orders(world)))
    world.rds.modify_db_instance(DBInstanceIdentifier="orders-restored", DeletionProtection=True)
    world.advance()
    with pytest.raises(Unsafe, match="protected"):
        databases.remove(restored, RECOVERY_ID)


def test_what_another_recovery_made_is_not_removed(world: RecoveriesAccount, databases: DatabaseRecoveries) -> None:
    restored = restore(world, databases, order(make_orders(world)))
    with pytest.raises(Unsafe):
        databases.remove(restored, "ffffffffffff")


def test_in_another_region_the_groups_of_that_region_are_taken(world: RecoveriesAccount) -> None:
    wanted = make_orders(world)
    world.account.rds(AWAY).copy_db_snapshot(
        SourceDBSnapshotIdentifier="arn:aws:rds:us-east-1:123456789012:snapshot:holdfast-orders",
        TargetDBSnapshotIdentifier="holdfast-orders",
        SourceRegion=HOME,
    )
    world.advance()
    groups = world.account.client("ec2", AWAY).describe_security_groups()["SecurityGroups"]
    here = {"subnet_group": "default", "security_groups": [groups[0]["GroupId"]]}
    world.account.make_instance("other", region=AWAY)
    databases = DatabaseRecoveries(AWAY, world.clients)
    databases.begin(order(wanted | here, region=AWAY))
    assert [g["VpcSecurityGroupId"] for g in world.instance("orders-restored", AWAY)["VpcSecurityGroups"]] == [
        groups[0]["GroupId"]
    ]
