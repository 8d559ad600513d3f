"""Databases and clusters restored for a rehearsal, against recorded shapes of RDS's answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from functions.aws.clients import Clients
from functions.aws.restores_rds import PERMISSIONS, ClusterRestores, DatabaseRestores, RehearsalNetwork
from functions.core.errors import AwsBusy, KeyUnusable, SnapshotGone, Unsafe
from functions.core.resources import Kind
from functions.core.restores import Restored, RestoreOrder, RestoreState

REGION = "eu-central-1"
NETWORK = RehearsalNetwork(subnet_group="rehearsals", security_group_ids=("sg-rehearsals",))
NAME = "holdfast-rt-ac6d816c1f02"
TAGS = [
    {"Key": "holdfast:rehearsal", "Value": "rehearsal-1"},
    {"Key": "holdfast:expires-at", "Value": "2026-11-21T06:00:00Z"},
]
SECRET = {"SecretArn": "arn:aws:secretsmanager:eu-central-1:1:secret:rds!db-1", "SecretStatus": "active"}


@pytest.fixture
def clients() -> Clients:
    return Clients(boto3.Session("testing", "testing", region_name=REGION))


@pytest.fixture
def rds(clients: Clients) -> Iterator[Stubber]:
    """RDS answers what a test says it answers, in that order, and nothing else is asked."""
    with Stubber(clients.retrying("rds", REGION)) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def databases(clients: Clients) -> DatabaseRestores:
    return DatabaseRestores(REGION, clients, NETWORK)


@pytest.fixture
def clusters(clients: Clients) -> ClusterRestores:
    return ClusterRestores(REGION, clients, NETWORK)


def order(kind: Kind = Kind.DATABASE, **configuration: object) -> RestoreOrder:
    return RestoreOrder(
        rehearsal_id="rehearsal-1",
        kind=kind,
        region=REGION,
        snapshot_ids=("holdfast-snap",),
        expires_at=datetime(2026, 11, 21, 6, tzinfo=UTC),
        configuration=configuration,
    )


def restored(kind: Kind = Kind.DATABASE, id: str = NAME) -> Restored:
    return Restored(id=id, snapshot_id="holdfast-snap", kind=kind, region=REGION, state=RestoreState.CREATING)


def restore_request(**more: object) -> dict[str, object]:
    return {
        "DBInstanceIdentifier": NAME,
        "DBSnapshotIdentifier": "holdfast-snap",
        "DBSubnetGroupName": "rehearsals",
        "VpcSecurityGroupIds": ["sg-rehearsals"],
        "PubliclyAccessible": False,
        "MultiAZ": False,
        "DeletionProtection": False,
        "AutoMinorVersionUpgrade": False,
        "CopyTagsToSnapshot": False,
        "Tags": TAGS,
    } | more


def instance(status: str, *, id: str = NAME, tags: list[dict[str, str]] = TAGS, **more: object) -> dict[str, Any]:
    return {
        "DBInstanceIdentifier": id,
        "DBInstanceStatus": status,
        "Engine": "postgres",
        "Endpoint": {"Address": f"{id}.example", "Port": 5432},
        "TagList": tags,
    } | more


def cluster(status: str, *, tags: list[dict[str, str]] = TAGS, **more: object) -> dict[str, Any]:
    return {
        "DBClusterIdentifier": NAME,
        "Status": status,
        "Engine": "aurora-postgresql",
        "Endpoint": f"{NAME}.cluster.example",
        "Port": 5432,
        "TagList": tags,
        "DBClusterMembers": [],
    } | more


def sees_instance(rds: Stubber, seen: Mapping[str, Any] | None, id: str = NAME) -> None:
    if seen is None:
        rds.add_client_error(
            "describe_db_instances", "DBInstanceNotFound", expected_params={"DBInstanceIdentifier": id}
        )
    else:
        rds.add_response("describe_db_instances", {"DBInstances": [seen]}, {"DBInstanceIdentifier": id})


def sees_cluster(rds: Stubber, seen: Mapping[str, Any] | None) -> None:
    if seen is None:
        rds.add_client_error(
            "describe_db_clusters", "DBClusterNotFoundFault", expected_params={"DBClusterIdentifier": NAME}
        )
    else:
        rds.add_response("describe_db_clusters", {"DBClusters": [seen]}, {"DBClusterIdentifier": NAME})


def asks_for_the_secret(rds: Stubber, error: str = "") -> None:
    request = {"DBInstanceIdentifier": NAME, "ManageMasterUserPassword": True, "ApplyImmediately": True}
    if error:
        rds.add_client_error("modify_db_instance", error, expected_params=request)
    else:
        rds.add_response("modify_db_instance", {"DBInstance": instance("modifying")}, request)


def deletes_instance(rds: Stubber, id: str = NAME, **more: object) -> None:
    rds.add_response(
        "delete_db_instance",
        {"DBInstance": instance("deleting", id=id)},
        {"DBInstanceIdentifier": id, "SkipFinalSnapshot": True} | more,
    )


# Databases


def test_a_database_is_restored_private_into_the_rehearsals_own_network(databases: DatabaseRestores, rds: Stubber):
    rds.add_response("restore_db_instance_from_db_snapshot", {"DBInstance": instance("creating")}, restore_request())
    (begun,) = databases.begin(order())
    assert begun == restored()


def test_the_class_of_the_configuration_is_kept(databases: DatabaseRestores, rds: Stubber):
    rds.add_response(
        "restore_db_instance_from_db_snapshot",
        {"DBInstance": instance("creating")},
        restore_request(DBInstanceClass="db.r8g.large"),
    )
    databases.begin(order(instance_class="db.r8g.large"))


def test_a_database_begun_before_is_taken_over(databases: DatabaseRestores, rds: Stubber):
    rds.add_client_error("restore_db_instance_from_db_snapshot", "DBInstanceAlreadyExists")
    sees_instance(rds, instance("available"))
    assert databases.begin(order()) == (restored(),)


@pytest.mark.parametrize("tags", [[], [{"Key": "holdfast:rehearsal", "Value": "rehearsal-2"}]])
def test_a_database_of_somebody_else_is_not_taken_over(
    databases: DatabaseRestores, rds: Stubber, tags: list[dict[str, str]]
):
    rds.add_client_error("restore_db_instance_from_db_snapshot", "DBInstanceAlreadyExists")
    sees_instance(rds, instance("available", tags=tags))
    with pytest.raises(Unsafe, match="rehearsal-1"):
        databases.begin(order())


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("DBSnapshotNotFound", SnapshotGone),
        ("KMSKeyNotAccessibleFault", KeyUnusable),
        ("InsufficientDBInstanceCapacity", AwsBusy),
    ],
)
def test_refusals_of_a_restore_have_our_names(
    databases: DatabaseRestores, rds: Stubber, code: str, problem: type[Exception]
):
    rds.add_client_error("restore_db_instance_from_db_snapshot", code)
    with pytest.raises(problem):
        databases.begin(order())


@pytest.mark.parametrize(
    ("group", "security_groups"), [("", ("sg-1",)), ("rehearsals", ())], ids=["no subnet group", "no security group"]
)
def test_a_network_that_would_fall_back_to_the_default_one_is_refused(group: str, security_groups: tuple[str, ...]):
    with pytest.raises(ValueError, match="security group"):
        RehearsalNetwork(subnet_group=group, security_group_ids=security_groups)


@pytest.mark.parametrize(
    ("word", "state", "message"),
    [
        ("creating", RestoreState.CREATING, ""),
        ("backing-up", RestoreState.CREATING, ""),
        ("modifying", RestoreState.CREATING, ""),
        ("upgrading", RestoreState.CREATING, "RDS says upgrading"),
        ("a word of tomorrow", RestoreState.CREATING, "RDS says a word of tomorrow"),
        ("failed", RestoreState.FAILED, "RDS says failed"),
        ("restore-error", RestoreState.FAILED, "RDS says restore-error"),
        ("incompatible-network", RestoreState.FAILED, "RDS says incompatible-network"),
        ("incompatible-of-tomorrow", RestoreState.FAILED, "RDS says incompatible-of-tomorrow"),
        ("inaccessible-encryption-credentials", RestoreState.FAILED, "RDS says inaccessible-encryption-credentials"),
        ("storage-full", RestoreState.FAILED, "RDS says storage-full"),
    ],
)
def test_words_of_rds_become_ours(
    databases: DatabaseRestores, rds: Stubber, word: str, state: RestoreState, message: str
):
    sees_instance(rds, instance(word))
    seen = databases.look(restored())
    assert (seen.state, seen.message) == (state, message)


def test_a_database_that_is_gone_is_gone(databases: DatabaseRestores, rds: Stubber):
    sees_instance(rds, None)
    assert databases.look(restored()).state is RestoreState.GONE


def test_an_available_database_is_asked_for_its_secret_and_waited_for(databases: DatabaseRestores, rds: Stubber):
    making = {"SecretArn": SECRET["SecretArn"], "SecretStatus": "creating"}
    sees_instance(rds, instance("available"))
    asks_for_the_secret(rds)
    sees_instance(rds, instance("available", PendingModifiedValues={"MasterUserPassword": "****"}))
    sees_instance(rds, instance("resetting-master-credentials", MasterUserSecret=making))
    sees_instance(rds, instance("available", MasterUserSecret=making))
    sees_instance(rds, instance("modifying", MasterUserSecret=SECRET))
    assert [databases.look(restored()).state for _ in range(5)] == [RestoreState.CREATING] * 5

    sees_instance(rds, instance("available", MasterUserSecret=SECRET))
    assert databases.look(restored()) == replace(
        restored(),
        state=RestoreState.AVAILABLE,
        address=f"{NAME}.example",
        port=5432,
        engine="postgres",
        secret_arn=SECRET["SecretArn"],
        word="available",
        is_warm=True,
    )


def test_a_database_that_still_optimises_its_storage_can_be_asked(databases: DatabaseRestores, rds: Stubber):
    sees_instance(rds, instance("storage-optimization", MasterUserSecret=SECRET))
    assert databases.look(restored()).state is RestoreState.AVAILABLE


def test_a_database_that_began_to_change_meanwhile_is_waited_for(databases: DatabaseRestores, rds: Stubber):
    sees_instance(rds, instance("available"))
    asks_for_the_secret(rds, error="InvalidDBInstanceState")
    assert databases.look(restored()).state is RestoreState.CREATING


def test_an_engine_without_managed_secrets_is_available_without_one(databases: DatabaseRestores, rds: Stubber):
    sees_instance(rds, instance("available", Engine="oracle-ee-cdb"))
    asks_for_the_secret(rds, error="InvalidParameterCombination")
    seen = databases.look(restored())
    assert (seen.state, seen.secret_arn) == (RestoreState.AVAILABLE, None)
    assert "oracle-ee-cdb" in seen.message


def test_the_password_of_a_database_in_use_is_never_touched(databases: DatabaseRestores, rds: Stubber):
    sees_instance(rds, instance("available", id="orders", tags=[]), id="orders")
    with pytest.raises(Unsafe):
        databases.look(restored(id="orders"))


def test_removing_a_database_ends_in_gone_and_may_be_repeated(databases: DatabaseRestores, rds: Stubber):
    sees_instance(rds, instance("available"))
    deletes_instance(rds, DeleteAutomatedBackups=True)
    sees_instance(rds, instance("deleting"))
    sees_instance(rds, None)
    assert [databases.remove(restored()) for _ in range(3)] == [
        RestoreState.CREATING,
        RestoreState.CREATING,
        RestoreState.GONE,
    ]


@pytest.mark.parametrize(
    ("code", "state"),
    [("InvalidDBInstanceState", RestoreState.CREATING), ("DBInstanceNotFound", RestoreState.GONE)],
)
def test_a_removal_that_rds_does_not_begin_now_is_tried_again(
    databases: DatabaseRestores, rds: Stubber, code: str, state: RestoreState
):
    sees_instance(rds, instance("creating"))
    rds.add_client_error("delete_db_instance", code)
    assert databases.remove(restored()) is state


@pytest.mark.parametrize(
    ("id", "tags"), [("orders", TAGS), (NAME, []), ("orders", [])], ids=["our tag only", "our name only", "neither"]
)
def test_a_database_without_both_name_and_tag_is_never_removed(
    databases: DatabaseRestores, rds: Stubber, id: str, tags: list[dict[str, str]]
):
    sees_instance(rds, instance("available", id=id, tags=tags), id=id)
    with pytest.raises(Unsafe):
        databases.remove(restored(id=id))


# Clusters


def restores_cluster(rds: Stubber, member_class: str, **more: object) -> None:
    rds.add_response(
        "describe_db_cluster_snapshots",
        {"DBClusterSnapshots": [{"Engine": "aurora-postgresql", "EngineVersion": "16.6"}]},
        {"DBClusterSnapshotIdentifier": "holdfast-snap"},
    )
    rds.add_response(
        "restore_db_cluster_from_snapshot",
        {"DBCluster": cluster("creating")},
        {
            "DBClusterIdentifier": NAME,
            "SnapshotIdentifier": "holdfast-snap",
            "Engine": "aurora-postgresql",
            "EngineVersion": "16.6",
            "DBSubnetGroupName": "rehearsals",
            "VpcSecurityGroupIds": ["sg-rehearsals"],
            "DeletionProtection": False,
            "CopyTagsToSnapshot": False,
            "Tags": [*TAGS, {"Key": "holdfast:member-class", "Value": member_class}],
        }
        | more,
    )


def test_a_cluster_is_restored_with_its_snapshots_engine_into_the_rehearsals_network(
    clusters: ClusterRestores, rds: Stubber
):
    restores_cluster(rds, "db.t4g.medium")
    assert clusters.begin(order(Kind.CLUSTER)) == (restored(Kind.CLUSTER),)


def test_a_serverless_cluster_is_bounded_in_what_it_may_cost(clusters: ClusterRestores, rds: Stubber):
    restores_cluster(rds, "db.serverless", ServerlessV2ScalingConfiguration={"MinCapacity": 0.5, "MaxCapacity": 4.0})
    clusters.begin(order(Kind.CLUSTER, instance_class="db.serverless"))


def test_a_cluster_snapshot_that_is_gone_says_so(clusters: ClusterRestores, rds: Stubber):
    rds.add_client_error("describe_db_cluster_snapshots", "DBClusterSnapshotNotFoundFault")
    with pytest.raises(SnapshotGone, match="holdfast-snap"):
        clusters.begin(order(Kind.CLUSTER))


@pytest.mark.parametrize(("owner", "is_ours"), [("rehearsal-1", True), ("rehearsal-2", False)])
def test_a_cluster_begun_before_is_taken_over_when_it_is_ours(
    clusters: ClusterRestores, rds: Stubber, owner: str, is_ours: bool
):
    rds.add_response(
        "describe_db_cluster_snapshots",
        {"DBClusterSnapshots": [{"Engine": "aurora-postgresql", "EngineVersion": "16.6"}]},
    )
    rds.add_client_error("restore_db_cluster_from_snapshot", "DBClusterAlreadyExistsFault")
    sees_cluster(rds, cluster("creating", tags=[{"Key": "holdfast:rehearsal", "Value": owner}]))
    if is_ours:
        assert clusters.begin(order(Kind.CLUSTER)) == (restored(Kind.CLUSTER),)
    else:
        with pytest.raises(Unsafe):
            clusters.begin(order(Kind.CLUSTER))


def test_a_cluster_gets_its_member_only_once_it_is_available(clusters: ClusterRestores, rds: Stubber):
    tags = [*TAGS, {"Key": "holdfast:member-class", "Value": "db.r8g.large"}]
    sees_cluster(rds, cluster("creating"))
    assert clusters.look(restored(Kind.CLUSTER)).state is RestoreState.CREATING

    sees_cluster(rds, cluster("available", tags=tags))
    sees_instance(rds, None, id=f"{NAME}-1")
    rds.add_response(
        "create_db_instance",
        {"DBInstance": instance("creating", id=f"{NAME}-1")},
        {
            "DBInstanceIdentifier": f"{NAME}-1",
            "DBClusterIdentifier": NAME,
            "DBInstanceClass": "db.r8g.large",
            "Engine": "aurora-postgresql",
            "PubliclyAccessible": False,
            "AutoMinorVersionUpgrade": False,
            "Tags": TAGS,
        },
    )
    seen = clusters.look(restored(Kind.CLUSTER))
    assert (seen.state, seen.message) == (RestoreState.CREATING, "its member is being created")


def test_a_cluster_is_available_once_member_and_secret_are(clusters: ClusterRestores, rds: Stubber):
    sees_cluster(rds, cluster("available"))
    sees_instance(rds, instance("configuring-enhanced-monitoring", id=f"{NAME}-1"), id=f"{NAME}-1")
    sees_cluster(rds, cluster("available"))
    sees_instance(rds, instance("available", id=f"{NAME}-1"), id=f"{NAME}-1")
    rds.add_response(
        "modify_db_cluster",
        {"DBCluster": cluster("available")},
        {"DBClusterIdentifier": NAME, "ManageMasterUserPassword": True, "ApplyImmediately": True},
    )
    assert [clusters.look(restored(Kind.CLUSTER)).state for _ in range(2)] == [RestoreState.CREATING] * 2

    sees_cluster(rds, cluster("available", MasterUserSecret=SECRET))
    sees_instance(rds, instance("available", id=f"{NAME}-1"), id=f"{NAME}-1")
    seen = clusters.look(restored(Kind.CLUSTER))
    assert (seen.state, seen.address, seen.port, seen.secret_arn) == (
        RestoreState.AVAILABLE,
        f"{NAME}.cluster.example",
        5432,
        SECRET["SecretArn"],
    )


def test_a_cluster_whose_member_failed_has_failed(clusters: ClusterRestores, rds: Stubber):
    sees_cluster(rds, cluster("available"))
    sees_instance(rds, instance("incompatible-parameters", id=f"{NAME}-1"), id=f"{NAME}-1")
    seen = clusters.look(restored(Kind.CLUSTER))
    assert (seen.state, seen.message) == (RestoreState.FAILED, "its member is incompatible-parameters")


def test_a_cluster_that_is_gone_is_gone(clusters: ClusterRestores, rds: Stubber):
    sees_cluster(rds, None)
    assert clusters.look(restored(Kind.CLUSTER)).state is RestoreState.GONE


def test_no_member_is_added_to_a_cluster_in_use(clusters: ClusterRestores, rds: Stubber):
    sees_cluster(rds, cluster("available", tags=[]))
    with pytest.raises(Unsafe):
        clusters.look(restored(Kind.CLUSTER))


def test_removing_a_cluster_takes_its_member_along(clusters: ClusterRestores, rds: Stubber):
    member = {"DBInstanceIdentifier": f"{NAME}-1"}
    sees_cluster(rds, cluster("available", DBClusterMembers=[member]))
    sees_instance(rds, instance("available", id=f"{NAME}-1"), id=f"{NAME}-1")
    deletes_instance(rds, id=f"{NAME}-1")
    rds.add_response(
        "delete_db_cluster",
        {"DBCluster": cluster("deleting")},
        {"DBClusterIdentifier": NAME, "SkipFinalSnapshot": True, "DeleteAutomatedBackups": True},
    )
    assert clusters.remove(restored(Kind.CLUSTER)) is RestoreState.CREATING

    sees_cluster(rds, cluster("deleting"))
    assert clusters.remove(restored(Kind.CLUSTER)) is RestoreState.CREATING

    sees_cluster(rds, None)
    sees_instance(rds, instance("deleting", id=f"{NAME}-1"), id=f"{NAME}-1")
    assert clusters.remove(restored(Kind.CLUSTER)) is RestoreState.CREATING

    sees_cluster(rds, None)
    sees_instance(rds, None, id=f"{NAME}-1")
    assert clusters.remove(restored(Kind.CLUSTER)) is RestoreState.GONE


def test_a_cluster_that_rds_does_not_remove_yet_is_tried_again(clusters: ClusterRestores, rds: Stubber):
    sees_cluster(rds, cluster("creating"))
    rds.add_client_error("delete_db_cluster", "InvalidDBClusterStateFault")
    assert clusters.remove(restored(Kind.CLUSTER)) is RestoreState.CREATING


def test_a_member_that_somebody_added_stops_the_removal(clusters: ClusterRestores, rds: Stubber):
    sees_cluster(rds, cluster("available", DBClusterMembers=[{"DBInstanceIdentifier": "reporting"}]))
    sees_instance(rds, instance("available", id="reporting", tags=[]), id="reporting")
    with pytest.raises(Unsafe, match="reporting"):
        clusters.remove(restored(Kind.CLUSTER))


@pytest.mark.parametrize("verb", ["look", "remove"])
def test_a_database_in_use_is_out_of_reach_of_every_change(verb: str):
    for permission in PERMISSIONS[verb]:
        changes = [a for a in permission.actions if a.startswith(("rds:Modify", "rds:Delete"))]
        if changes:
            assert all(":holdfast-rt-" in resource for resource in permission.resources)
            assert permission.conditions == {"Null": {"aws:ResourceTag/holdfast:rehearsal": "false"}}
