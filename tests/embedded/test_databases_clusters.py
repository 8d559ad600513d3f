"""Aurora clusters and their snapshots: told about, not run."""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from embedded import durations
from embedded.databases import in_process
from embedded.databases.in_process import Account


@pytest.fixture
def account() -> Iterator[Account]:
    with in_process.account() as fresh:
        yield fresh


def _snapshot(account: Account, identifier: str, region: str = "us-east-1") -> dict[str, Any]:
    found = account.rds(region).describe_db_cluster_snapshots(DBClusterSnapshotIdentifier=identifier)
    return found["DBClusterSnapshots"][0]


def _take(account: Account, cluster: str, snapshot: str, **more: Any) -> dict[str, Any]:
    account.rds().create_db_cluster_snapshot(DBClusterIdentifier=cluster, DBClusterSnapshotIdentifier=snapshot, **more)
    account.advance(60)
    return _snapshot(account, snapshot)


def _copy(account: Account, source: str, target: str, **more: Any) -> dict[str, Any]:
    return account.rds("us-west-2").copy_db_cluster_snapshot(
        SourceDBClusterSnapshotIdentifier=f"arn:aws:rds:us-east-1:123456789012:cluster-snapshot:{source}",
        TargetDBClusterSnapshotIdentifier=target,
        SourceRegion="us-east-1",
        **more,
    )["DBClusterSnapshot"]


def _code(refused: pytest.ExceptionInfo[ClientError]) -> str | None:
    return refused.value.response.get("Error", {}).get("Code")


def test_a_cluster_stays_creating_however_often_one_looks(account: Account) -> None:
    durations.update({"db_restore": 100})
    master = {"MasterUsername": "holdfast", "MasterUserPassword": "a master's password"}
    account.rds().create_db_cluster(DBClusterIdentifier="shop", Engine="aurora-postgresql", **master)
    states = [account.rds().describe_db_clusters()["DBClusters"][0]["Status"] for _ in range(3)]
    account.advance(101)
    assert [*states, account.rds().describe_db_clusters()["DBClusters"][0]["Status"]] == ["creating"] * 3 + [
        "available"
    ]
    with pytest.raises(ClientError) as refused:
        account.rds().create_db_cluster(DBClusterIdentifier="shop", Engine="aurora-postgresql", **master)
    assert _code(refused) == "DBClusterAlreadyExistsFault"


def test_members_show_their_cluster_and_have_no_snapshots_of_their_own(account: Account) -> None:
    account.make_cluster("shop")
    member = account.make_member("shop-1", "shop")
    assert (member["DBClusterIdentifier"], member["Engine"]) == ("shop", "aurora-postgresql")
    cluster = account.rds().describe_db_clusters(DBClusterIdentifier="shop")["DBClusters"][0]
    assert [found["DBInstanceIdentifier"] for found in cluster["DBClusterMembers"]] == ["shop-1"]
    with pytest.raises(ClientError, match="CreateDBClusterSnapshot") as refused:
        account.rds().create_db_snapshot(DBInstanceIdentifier="shop-1", DBSnapshotIdentifier="nightly")
    assert _code(refused) == "InvalidParameterValue"


def test_a_cluster_snapshot_is_created_moves_and_becomes_available(account: Account) -> None:
    durations.update({"db_snapshot": 100})
    key = account.make_key()
    cluster = account.make_cluster("shop", StorageEncrypted=True, KmsKeyId=key)
    started = account.rds().create_db_cluster_snapshot(
        DBClusterIdentifier="shop", DBClusterSnapshotIdentifier="nightly", Tags=[{"Key": "a", "Value": "b"}]
    )["DBClusterSnapshot"]
    assert (started["Status"], started["PercentProgress"]) == ("creating", 0)
    account.advance(50)
    assert _snapshot(account, "nightly")["PercentProgress"] == 50
    account.advance(51)
    done = _snapshot(account, "nightly")
    assert (done["Status"], done["PercentProgress"], done["SnapshotType"]) == ("available", 100, "manual")
    assert (done["StorageEncrypted"], done["KmsKeyId"]) == (True, key)
    assert done["TagList"] == [{"Key": "a", "Value": "b"}]
    for fact in ("DbClusterResourceId", "Engine", "EngineVersion", "ClusterCreateTime", "MasterUsername"):
        assert done[fact] == cluster[fact], fact


def test_a_snapshot_waits_for_an_available_cluster(account: Account) -> None:
    account.make_cluster("shop")
    account.rds().modify_db_cluster(DBClusterIdentifier="shop", BackupRetentionPeriod=7)
    with pytest.raises(ClientError) as refused:
        account.rds().create_db_cluster_snapshot(DBClusterIdentifier="shop", DBClusterSnapshotIdentifier="nightly")
    assert _code(refused) == "InvalidDBClusterStateFault"
    account.advance(60)
    assert _take(account, "shop", "nightly")["Status"] == "available"


def test_a_cluster_snapshot_can_end_failed_or_stick(account: Account) -> None:
    account.make_cluster("shop")
    account.doom("db-cluster-snapshot", "fail")
    assert _take(account, "shop", "first")["Status"] == "failed"
    account.doom("db-cluster-snapshot", "stick")
    assert _take(account, "shop", "second")["Status"] == "creating"
    with pytest.raises(ClientError) as refused:
        account.rds().delete_db_cluster_snapshot(DBClusterSnapshotIdentifier="second")
    assert _code(refused) == "InvalidDBClusterSnapshotStateFault"


def test_a_cluster_snapshot_has_at_most_63_characters(account: Account) -> None:
    account.make_cluster("shop")
    assert _take(account, "shop", "a" * 63)["Status"] == "available"
    with pytest.raises(ClientError) as refused:
        _take(account, "shop", "a" * 64)
    assert _code(refused) == "InvalidParameterValue"
    with pytest.raises(ClientError) as refused:
        _take(account, "shop", "A" * 63)
    assert _code(refused) == "DBClusterSnapshotAlreadyExistsFault"


def test_a_copy_says_where_it_comes_from_and_is_never_announced(account: Account) -> None:
    account.make_cluster("shop")
    _take(account, "shop", "nightly", Tags=[{"Key": "a", "Value": "b"}])
    assert account.events()[-2:] == ["RDS-EVENT-0074", "RDS-EVENT-0075"]
    started = _copy(account, "nightly", "nightly-copy", CopyTags=True)
    assert started["Status"] == "copying"
    account.advance(60)
    copy = _snapshot(account, "nightly-copy", "us-west-2")
    assert copy["Status"] == "available"
    assert copy["SourceDBClusterSnapshotArn"] == _snapshot(account, "nightly")["DBClusterSnapshotArn"]
    assert copy["TagList"] == [{"Key": "a", "Value": "b"}]
    assert account.events("us-west-2") == []


def test_a_key_makes_the_copy_of_a_plain_cluster_snapshot_an_error(account: Account) -> None:
    account.make_cluster("shop")
    _take(account, "shop", "nightly")
    with pytest.raises(ClientError) as refused:
        _copy(account, "nightly", "nightly-copy", KmsKeyId=account.make_key("us-west-2"))
    assert _code(refused) == "InvalidParameterCombination"


def test_an_encrypted_cluster_snapshot_needs_a_key_to_be_copied(account: Account) -> None:
    account.make_cluster("shop", StorageEncrypted=True)
    _take(account, "shop", "nightly")
    with pytest.raises(ClientError) as refused:
        _copy(account, "nightly", "nightly-copy")
    assert _code(refused) == "InvalidParameterCombination"
    key = account.make_key("us-west-2")
    assert _copy(account, "nightly", "nightly-copy", KmsKeyId=key)["KmsKeyId"] == key
    assert _snapshot(account, "nightly")["KmsKeyId"] != key


def test_the_sixth_copy_into_a_region_is_refused(account: Account) -> None:
    account.make_cluster("shop")
    _take(account, "shop", "nightly")
    for number in range(5):
        _copy(account, "nightly", f"copy-{number}")
    with pytest.raises(ClientError, match="Cannot copy more than 5 snapshots across regions") as refused:
        _copy(account, "nightly", "copy-5")
    assert _code(refused) == "SnapshotQuotaExceeded"


def test_a_copy_in_progress_is_called_off_and_fails_without_its_source(account: Account) -> None:
    account.make_cluster("shop")
    _take(account, "shop", "nightly")
    _copy(account, "nightly", "first")
    _copy(account, "nightly", "second")
    account.rds("us-west-2").delete_db_cluster_snapshot(DBClusterSnapshotIdentifier="first")
    account.rds().delete_db_cluster_snapshot(DBClusterSnapshotIdentifier="nightly")
    account.advance(60)
    left = account.rds("us-west-2").describe_db_cluster_snapshots()["DBClusterSnapshots"]
    assert [(found["DBClusterSnapshotIdentifier"], found["Status"]) for found in left] == [("second", "failed")]


def test_a_restored_cluster_has_no_instances(account: Account) -> None:
    key = account.make_key()
    account.make_cluster("shop", StorageEncrypted=True, KmsKeyId=key, DeletionProtection=True)
    account.make_member("shop-1", "shop")
    _take(account, "shop", "nightly")
    restored = account.rds().restore_db_cluster_from_snapshot(
        DBClusterIdentifier="again", SnapshotIdentifier="nightly", Engine="aurora-postgresql"
    )["DBCluster"]
    assert (restored["Status"], restored["DBClusterMembers"]) == ("creating", [])
    assert (restored["StorageEncrypted"], restored["KmsKeyId"], restored["DeletionProtection"]) == (True, key, False)
    account.advance(60)
    assert account.make_member("again-1", "again")["DBClusterIdentifier"] == "again"
    with pytest.raises(ClientError) as refused:
        account.rds().restore_db_cluster_from_snapshot(
            DBClusterIdentifier="again", SnapshotIdentifier="nightly", Engine="aurora-postgresql"
        )
    assert _code(refused) == "DBClusterAlreadyExistsFault"


def test_a_cluster_is_deleted_after_its_members(account: Account) -> None:
    account.make_cluster("shop")
    account.make_member("shop-1", "shop")
    with pytest.raises(ClientError) as refused:
        account.rds().delete_db_cluster(DBClusterIdentifier="shop", SkipFinalSnapshot=True)
    assert _code(refused) == "InvalidDBClusterStateFault"
    account.rds().delete_db_instance(DBInstanceIdentifier="shop-1")
    account.advance(60)
    with pytest.raises(ClientError) as refused:
        account.rds().delete_db_cluster(DBClusterIdentifier="shop")
    assert _code(refused) == "InvalidParameterCombination"
    account.rds().delete_db_cluster(DBClusterIdentifier="shop", FinalDBSnapshotIdentifier="last")
    account.advance(60)
    assert account.rds().describe_db_clusters()["DBClusters"] == []
    assert _snapshot(account, "last")["Status"] == "available"


def test_cluster_snapshots_come_in_pages(account: Account) -> None:
    account.make_cluster("shop")
    _take(account, "shop", "original")
    for number in range(22):
        account.rds().copy_db_cluster_snapshot(
            SourceDBClusterSnapshotIdentifier="original", TargetDBClusterSnapshotIdentifier=f"copy-{number:02d}"
        )
    pages = account.rds().get_paginator("describe_db_cluster_snapshots").paginate(PaginationConfig={"PageSize": 20})
    names = [found["DBClusterSnapshotIdentifier"] for page in pages for found in page["DBClusterSnapshots"]]
    assert names == [f"copy-{number:02d}" for number in range(22)] + ["original"]
