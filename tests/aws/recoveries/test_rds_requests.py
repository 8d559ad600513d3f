"""Requests of recoveries, word for word against recorded shapes, and the whole way on moto."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from functions.aws.clients import Clients
from functions.aws.inventory import Inventory
from functions.aws.recoveries.rds import DatabaseRecoveries
from functions.aws.recoveries.rds_clusters import ClusterRecoveries
from functions.core.errors import AwsBusy, NotAllowed, Unsafe
from functions.core.recoveries import (
    RECOVERY_TAG,
    Chosen,
    Ending,
    RecoveryOrder,
    RecoveryRequest,
    Source,
    order_of,
)
from functions.core.resources import Kind, ResourceKey
from functions.core.restores import Restored, RestoreState
from functions.core.slots import Slot
from tests.aws.moto_world import ACCOUNT, HOME, MotoWorld

RECOVERY_ID = "0123456789ab"
TAGS = [{"Key": RECOVERY_TAG, "Value": RECOVERY_ID}]
NAME = "orders-restored"


@pytest.fixture
def clients() -> Clients:
    return Clients(boto3.Session("testing", "testing", region_name=HOME))


@pytest.fixture
def rds(clients: Clients) -> Iterator[Stubber]:
    """RDS answers what a test says it answers, in that order, and nothing else is asked."""
    with Stubber(clients.retrying("rds", HOME)) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def order(kind: Kind = Kind.DATABASE, *, source: Source = Source.COPY, **wanted: Any) -> RecoveryOrder:
    return RecoveryOrder(
        recovery_id=RECOVERY_ID,
        kind=kind,
        region=HOME,
        source=source,
        snapshot_ids=() if source is Source.POINT_IN_TIME else ("holdfast-snap",),
        source_ids=("orders",),
        content_at=datetime(2026, 11, 21, 6, tzinfo=UTC),
        names=(NAME,),
        wanted=wanted,
    )


def restored(kind: Kind = Kind.DATABASE) -> Restored:
    return Restored(id=NAME, snapshot_id="holdfast-snap", kind=kind, region=HOME, state=RestoreState.CREATING)


def instance(status: str = "available", **more: Any) -> dict[str, Any]:
    return {
        "DBInstanceIdentifier": NAME,
        "DBInstanceArn": f"arn:aws:rds:{HOME}:1:db:{NAME}",
        "DBInstanceStatus": status,
        "Engine": "postgres",
        "TagList": TAGS,
    } | more


def sees(rds: Stubber, **more: Any) -> None:
    rds.add_response("describe_db_instances", {"DBInstances": [instance(**more)]}, {"DBInstanceIdentifier": NAME})


def notes_a_request(rds: Stubber, number: int) -> None:
    rds.add_response(
        "add_tags_to_resource",
        {},
        {
            "ResourceName": f"arn:aws:rds:{HOME}:1:db:{NAME}",
            "Tags": [{"Key": "holdfast:recovery-asks", "Value": str(number)}],
        },
    )


def modifies(rds: Stubber, error: str = "", **changes: Any) -> None:
    request = {"DBInstanceIdentifier": NAME, "ApplyImmediately": True} | changes
    if error:
        rds.add_client_error("modify_db_instance", error, "it does not fit", expected_params=request)
    else:
        rds.add_response("modify_db_instance", {"DBInstance": instance("modifying")}, request)


def test_a_restore_by_the_log_names_the_source_the_instant_and_the_limit(clients: Clients, rds: Stubber) -> None:
    rds.add_response(
        "restore_db_instance_to_point_in_time",
        {"DBInstance": instance("creating")},
        {
            "SourceDBInstanceIdentifier": "orders",
            "TargetDBInstanceIdentifier": NAME,
            "RestoreTime": datetime(2026, 11, 21, 6, tzinfo=UTC),
            "MaxAllocatedStorage": 500,
            "DBInstanceClass": "db.r8g.large",
            "PubliclyAccessible": False,
            "DeletionProtection": False,
            "Tags": TAGS,
        },
    )
    wanted = order(source=Source.POINT_IN_TIME, instance_class="db.r8g.large", max_size_gib=500)
    assert DatabaseRecoveries(HOME, clients).begin(wanted) == (replace(restored(), snapshot_id=""),)


def test_a_multi_az_cluster_is_asked_for_with_its_class_and_gets_no_members(clients: Clients, rds: Stubber) -> None:
    snapshot = {"Engine": "postgres", "EngineVersion": "16.6"}
    rds.add_response("describe_db_cluster_snapshots", {"DBClusterSnapshots": [snapshot]})
    rds.add_response(
        "restore_db_cluster_from_snapshot",
        {"DBCluster": {"DBClusterIdentifier": NAME}},
        {
            "DBClusterIdentifier": NAME,
            "SnapshotIdentifier": "holdfast-snap",
            **snapshot,
            "DBClusterInstanceClass": "db.m6gd.large",
            "StorageType": "io1",
            "Iops": 3000,
            "PubliclyAccessible": False,
            "DeletionProtection": False,
            "Tags": TAGS,
        },
    )
    wanted = order(Kind.CLUSTER, engine="postgres", instance_class="db.m6gd.large", storage_type="io1", iops=3000)
    ClusterRecoveries(HOME, clients).begin(wanted)
    cluster = {
        "DBClusterIdentifier": NAME,
        "Status": "available",
        "Engine": "postgres",
        "TagList": TAGS,
        "DBClusterMembers": [{"DBInstanceIdentifier": f"{NAME}-instance-1"}],
    }
    rds.add_response("describe_db_clusters", {"DBClusters": [cluster]})
    assert ClusterRecoveries(HOME, clients).look(restored(Kind.CLUSTER)).state is RestoreState.AVAILABLE


def test_a_zone_without_room_is_left_for_any_other(clients: Clients, rds: Stubber) -> None:
    request = {
        "DBInstanceIdentifier": NAME,
        "DBSnapshotIdentifier": "holdfast-snap",
        "PubliclyAccessible": False,
        "DeletionProtection": False,
        "Tags": TAGS,
    }
    rds.add_client_error(
        "restore_db_instance_from_db_snapshot",
        "InsufficientDBInstanceCapacity",
        expected_params=request | {"AvailabilityZone": f"{HOME}a"},
    )
    rds.add_response("restore_db_instance_from_db_snapshot", {"DBInstance": instance("creating")}, request)
    assert DatabaseRecoveries(HOME, clients).begin(order(availability_zone=f"{HOME}a")) == (restored(),)


@pytest.mark.parametrize("key", [f"arn:aws:kms:{HOME}:1:key/other", "alias/other"])
def test_a_cluster_is_encrypted_under_another_key_where_one_is_asked_for(
    clients: Clients, rds: Stubber, key: str
) -> None:
    snapshot = {"Engine": "aurora-mysql", "EngineVersion": "8.0.mysql_aurora.3.08.0"}
    described = snapshot | {"KmsKeyId": f"arn:aws:kms:{HOME}:1:key/own"}
    seen: list[Any] = []
    clients.retrying("rds", HOME).meta.events.register(
        "before-parameter-build.rds.RestoreDBClusterFromSnapshot", lambda params, **_: seen.append(params)
    )
    for _ in range(2):
        rds.add_response("describe_db_cluster_snapshots", {"DBClusterSnapshots": [described]})
        rds.add_response("restore_db_cluster_from_snapshot", {"DBCluster": {"DBClusterIdentifier": NAME}})
    for wanted in (key, described["KmsKeyId"]):
        ClusterRecoveries(HOME, clients).begin(order(Kind.CLUSTER, engine="aurora-mysql", kms_key_id=wanted))
    assert [one.get("KmsKeyId") for one in seen] == [key, None]


def test_what_is_torn_down_again_is_never_protected() -> None:
    resource = ResourceKey(account=ACCOUNT, region=HOME, kind=Kind.DATABASE, id="orders")
    chosen = Chosen(
        slot=Slot(resource=resource, at=datetime(2026, 11, 21, 6, tzinfo=UTC)),
        source=Source.HOME,
        region=HOME,
        snapshot_ids=("holdfast-snap",),
        source_ids=("orders",),
        content_at=datetime(2026, 11, 21, 6, tzinfo=UTC),
        reason="",
        configuration={"is_deletion_protected": True},
    )
    kept, drill = (
        RecoveryRequest(resource=resource, region=HOME, ending=ending)
        for ending in (Ending.HAND_OVER, Ending.TEAR_DOWN)
    )
    assert order_of(RECOVERY_ID, chosen, kept, {}).wanted == {"is_deletion_protected": True}
    assert order_of(RECOVERY_ID, chosen, drill, {}).wanted == {}


def test_more_tags_than_fit_leave_room_for_ours(clients: Clients, rds: Stubber) -> None:
    tags = {f"tag-{number:02}": "value" for number in range(50)}
    kept = [{"Key": key, "Value": "value"} for key in list(tags)[:42]]
    rds.add_response(
        "restore_db_instance_from_db_snapshot",
        {"DBInstance": instance("creating")},
        {
            "DBInstanceIdentifier": NAME,
            "DBSnapshotIdentifier": "holdfast-snap",
            "PubliclyAccessible": False,
            "DeletionProtection": False,
            "Tags": [*TAGS, *kept],
        },
    )
    DatabaseRecoveries(HOME, clients).begin(order(tags=tags))


def test_a_name_that_rds_is_giving_up_is_waited_for(clients: Clients, rds: Stubber) -> None:
    rds.add_client_error("restore_db_instance_from_db_snapshot", "DBInstanceAlreadyExists")
    rds.add_client_error("describe_db_instances", "DBInstanceNotFound")
    with pytest.raises(AwsBusy):
        DatabaseRecoveries(HOME, clients).begin(order())


def test_a_refusal_of_several_settings_is_taken_apart(clients: Clients, rds: Stubber) -> None:
    window, days = {"PreferredMaintenanceWindow": "sun:05:00-sun:06:00"}, {"BackupRetentionPeriod": 40}
    sees(rds)
    notes_a_request(rds, 1)
    modifies(rds, "InvalidParameterValue", **days, **window)
    modifies(rds, "InvalidParameterValue", **days)
    modifies(rds, **window)
    wanted = order(backup_retention_days=40, maintenance_window="sun:05:00-sun:06:00")
    found = {one.what: one for one in DatabaseRecoveries(HOME, clients).configure(wanted, restored())}
    assert found["backup_retention_days"].is_applied is False
    assert "it does not fit" in found["backup_retention_days"].detail
    assert found["maintenance_window"].is_applied is None


def test_a_role_that_may_not_be_passed_is_told(clients: Clients, rds: Stubber) -> None:
    sees(rds)
    notes_a_request(rds, 1)
    rds.add_client_error("add_role_to_db_instance", "AccessDenied", "not authorized to perform: iam:PassRole")
    wanted = order(roles=[{"arn": "arn:aws:iam::1:role/imports", "feature": "s3Import"}])
    (found,) = DatabaseRecoveries(HOME, clients).configure(wanted, restored())
    assert (found.what, found.is_applied) == ("role imports", False)
    assert "iam:PassRole" in found.detail


@pytest.mark.parametrize(
    ("described", "is_applied"),
    [
        ({"AssociatedRoles": [{"RoleArn": "arn:aws:iam::1:role/imports", "Status": "ACTIVE"}]}, True),
        ({"AssociatedRoles": [{"RoleArn": "arn:aws:iam::1:role/imports", "Status": "PENDING"}]}, None),
        ({"AssociatedRoles": [{"RoleArn": "arn:aws:iam::1:role/imports", "Status": "INVALID"}]}, False),
        ({"status": "modifying"}, None),
    ],
)
def test_a_role_is_as_far_as_rds_says(
    clients: Clients, rds: Stubber, described: dict[str, Any], is_applied: bool | None
) -> None:
    sees(rds, **described)
    wanted = order(roles=[{"arn": "arn:aws:iam::1:role/imports", "feature": ""}])
    (found,) = DatabaseRecoveries(HOME, clients).configure(wanted, restored())
    assert found.is_applied is is_applied


def test_a_change_that_is_pending_is_not_asked_for_again(clients: Clients, rds: Stubber) -> None:
    sees(rds, MultiAZ=False, PendingModifiedValues={"MultiAZ": True})
    (found,) = DatabaseRecoveries(HOME, clients).configure(order(is_multi_az=True), restored())
    assert (found.what, found.is_applied) == ("is_multi_az", None)


def test_an_instance_is_not_restarted_twice(clients: Clients, rds: Stubber) -> None:
    groups = [{"DBParameterGroupName": "mine", "ParameterApplyStatus": "pending-reboot"}]
    was_restarted = [{"Key": "holdfast:recovery-restarted", "Value": "1"}]
    sees(rds, DBParameterGroups=groups, TagList=[*TAGS, *was_restarted])
    notes_a_request(rds, 1)
    found = DatabaseRecoveries(HOME, clients).configure(order(parameter_group="mine"), restored())
    assert found[-1].is_applied is None
    asked_often = [{"Key": "holdfast:recovery-asks", "Value": "12"}]
    sees(rds, DBParameterGroups=groups, TagList=[*TAGS, *was_restarted, *asked_often])
    found = DatabaseRecoveries(HOME, clients).configure(order(parameter_group="mine"), restored())
    assert found[-1].is_applied is False


def test_a_busy_rds_is_asked_again_later(clients: Clients, rds: Stubber) -> None:
    sees(rds)
    notes_a_request(rds, 1)
    modifies(rds, "InvalidDBInstanceState", MultiAZ=True)
    (found,) = DatabaseRecoveries(HOME, clients).configure(order(is_multi_az=True), restored())
    assert found.is_applied is None


def test_a_restore_that_is_not_allowed_says_so(clients: Clients, rds: Stubber) -> None:
    rds.add_client_error("restore_db_instance_from_db_snapshot", "AccessDenied")
    with pytest.raises(NotAllowed):
        DatabaseRecoveries(HOME, clients).begin(order())


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("creating", RestoreState.CREATING),
        ("backing-up", RestoreState.CREATING),
        ("a word of tomorrow", RestoreState.CREATING),
        ("storage-initialization", RestoreState.AVAILABLE),
        ("restore-error", RestoreState.FAILED),
        ("incompatible-network", RestoreState.FAILED),
    ],
)
def test_words_of_rds_become_ours(clients: Clients, rds: Stubber, word: str, state: RestoreState) -> None:
    sees(rds, status=word)
    assert DatabaseRecoveries(HOME, clients).look(restored()).state is state


def test_what_feeds_a_replica_is_not_removed(clients: Clients, rds: Stubber) -> None:
    sees(rds, ReadReplicaDBInstanceIdentifiers=["reporting"])
    with pytest.raises(Unsafe, match="reporting"):
        DatabaseRecoveries(HOME, clients).remove(restored(), RECOVERY_ID)


# On moto, which is kinder and knows other corners


@pytest.mark.parametrize("kind", [Kind.DATABASE, Kind.CLUSTER])
def test_the_whole_way_on_moto(kind: Kind, moto: None) -> None:
    world = MotoWorld(kind)
    id = world.make_resource().id
    key = ResourceKey(account=ACCOUNT, region=HOME, kind=kind, id=id)
    wanted = order(kind, **Inventory(region=HOME, account=ACCOUNT, clients=world.clients).configuration(key))
    if kind is Kind.DATABASE:
        adapter = DatabaseRecoveries(HOME, world.clients)
        world.rds.create_db_snapshot(DBSnapshotIdentifier="holdfast-snap", DBInstanceIdentifier=id)
    else:
        adapter = ClusterRecoveries(HOME, world.clients)
        world.rds.create_db_cluster_snapshot(DBClusterSnapshotIdentifier="holdfast-snap", DBClusterIdentifier=id)
    wanted = replace(wanted, wanted={name: value for name, value in wanted.wanted.items() if name != "subnet_group"})
    (begun,) = adapter.begin(wanted)
    if kind is Kind.DATABASE:  # moto restores over a cluster of the same name
        assert adapter.begin(wanted) == (begun,)
    looks = [adapter.look(begun) for _ in range(4)]
    assert looks[-1].state is RestoreState.AVAILABLE
    rounds = [adapter.configure(wanted, begun) for _ in range(3)]
    assert {one.is_applied for one in rounds[-1]} == {True}, rounds[-1]
    assert [adapter.remove(begun, RECOVERY_ID) for _ in range(3)][-1] is RestoreState.GONE
