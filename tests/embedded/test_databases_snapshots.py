"""DB snapshots: their life, their facts, their copies, their limits, their end."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from embedded import clock, databases, durations
from embedded.databases import in_process
from embedded.databases.in_process import Account


@pytest.fixture
def account() -> Iterator[Account]:
    with in_process.account() as fresh:
        yield fresh


def _snapshot(account: Account, identifier: str, region: str = "us-east-1") -> dict[str, Any]:
    return account.rds(region).describe_db_snapshots(DBSnapshotIdentifier=identifier)["DBSnapshots"][0]


def _status(account: Account, instance: str) -> str:
    shown = account.rds().describe_db_instances(DBInstanceIdentifier=instance)["DBInstances"][0]
    return shown["DBInstanceStatus"]


def _code(refused: pytest.ExceptionInfo[ClientError]) -> str | None:
    return refused.value.response.get("Error", {}).get("Code")


def _arn(snapshot: str, region: str = "us-east-1") -> str:
    return f"arn:aws:rds:{region}:123456789012:snapshot:{snapshot}"


def _copy(account: Account, source: str, target: str, **wanted: Any) -> dict[str, Any]:
    return account.rds("us-west-2").copy_db_snapshot(
        SourceDBSnapshotIdentifier=_arn(source),
        TargetDBSnapshotIdentifier=target,
        **({"SourceRegion": "us-east-1"} | wanted),
    )["DBSnapshot"]


# ---------------------------------------------------------------------------- creation


def test_a_snapshot_is_created_moves_and_becomes_available(account: Account) -> None:
    durations.update({"db_snapshot": 100})
    account.make_instance("shop")
    started = account.rds().create_db_snapshot(DBInstanceIdentifier="shop", DBSnapshotIdentifier="nightly")[
        "DBSnapshot"
    ]
    assert (started["Status"], started["PercentProgress"]) == ("creating", 0)
    account.advance(50)
    assert (_snapshot(account, "nightly")["Status"], _snapshot(account, "nightly")["PercentProgress"]) == (
        "creating",
        50,
    )
    account.advance(51)
    assert (_snapshot(account, "nightly")["Status"], _snapshot(account, "nightly")["PercentProgress"]) == (
        "available",
        100,
    )


def test_an_instance_is_backing_up_as_long_as_its_snapshot_is_created(account: Account) -> None:
    account.make_instance("shop")
    account.rds().create_db_snapshot(DBInstanceIdentifier="shop", DBSnapshotIdentifier="first")
    assert _status(account, "shop") == "backing-up"
    with pytest.raises(ClientError) as refused:
        account.rds().create_db_snapshot(DBInstanceIdentifier="shop", DBSnapshotIdentifier="second")
    assert _code(refused) == "InvalidDBInstanceState"
    account.advance(10)
    assert _status(account, "shop") == "available"


@pytest.mark.parametrize("state", ["available", "storage-optimization"])
def test_a_snapshot_is_taken_in_the_two_states_rds_allows(account: Account, state: str) -> None:
    account.make_instance("shop")
    databases.control("POST", {"status": {"region": "us-east-1", "instance": "shop", "status": state}})
    assert account.take_snapshot("shop", "nightly")["Status"] == "available"


OTHER_STATES = (
    "backing-up creating deleting failed maintenance modifying rebooting starting stopped stopping storage-full "
    "upgrading inaccessible-encryption-credentials configuring-log-exports"
)


@pytest.mark.parametrize("state", OTHER_STATES.split())
def test_a_snapshot_is_refused_in_every_other_state(account: Account, state: str) -> None:
    account.make_instance("shop")
    databases.control("POST", {"status": {"region": "us-east-1", "instance": "shop", "status": state}})
    with pytest.raises(ClientError, match="not currently in the available state") as refused:
        account.rds().create_db_snapshot(DBInstanceIdentifier="shop", DBSnapshotIdentifier="nightly")
    assert _code(refused) == "InvalidDBInstanceState"


def test_an_identifier_is_given_once(account: Account) -> None:
    account.make_instance("shop")
    account.take_snapshot("shop", "nightly")
    with pytest.raises(ClientError) as refused:
        account.rds().create_db_snapshot(DBInstanceIdentifier="shop", DBSnapshotIdentifier="NIGHTLY")
    assert _code(refused) == "DBSnapshotAlreadyExists"
    _copy(account, "nightly", "elsewhere")
    account.advance(60)
    with pytest.raises(ClientError) as refused:
        _copy(account, "nightly", "elsewhere")
    assert _code(refused) == "DBSnapshotAlreadyExists"


def test_a_snapshot_of_nothing_is_refused(account: Account) -> None:
    with pytest.raises(ClientError) as refused:
        account.rds().create_db_snapshot(DBInstanceIdentifier="nobody", DBSnapshotIdentifier="nightly")
    assert _code(refused) == "DBInstanceNotFound"
    assert refused.value.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404


@pytest.mark.parametrize("identifier", ["9lives", "a--b", "ends-", "rds:shop-2026-01-01-01-01"])
def test_an_identifier_follows_the_rules_of_rds(account: Account, identifier: str) -> None:
    account.make_instance("shop")
    with pytest.raises(ClientError) as refused:
        account.rds().create_db_snapshot(DBInstanceIdentifier="shop", DBSnapshotIdentifier=identifier)
    assert _code(refused) == "InvalidParameterValue"


def test_a_snapshot_tells_the_facts_of_its_instance(account: Account) -> None:
    key = account.make_key()
    instance = account.make_instance(
        "shop", Engine="oracle-se2", StorageEncrypted=True, KmsKeyId=key, AllocatedStorage=77
    )
    asked_at = clock.now()
    snapshot = account.take_snapshot("shop", "nightly", Tags=[{"Key": "holdfast:slot", "Value": "2026"}])
    assert snapshot["TagList"] == [{"Key": "holdfast:slot", "Value": "2026"}]
    assert snapshot["SnapshotType"] == "manual"
    assert (snapshot["Encrypted"], snapshot["KmsKeyId"]) == (True, key)
    assert snapshot["AllocatedStorage"] == 77
    for fact in ("DbiResourceId", "Engine", "EngineVersion", "InstanceCreateTime", "MasterUsername", "LicenseModel"):
        assert snapshot[fact] == instance[fact], fact
    assert snapshot["OptionGroupName"] == instance["OptionGroupMemberships"][0]["OptionGroupName"]
    assert snapshot["VpcId"] == instance["DBSubnetGroup"]["VpcId"]
    for instant in ("SnapshotCreateTime", "OriginalSnapshotCreateTime", "SnapshotDatabaseTime"):
        assert snapshot[instant].timestamp() == pytest.approx(asked_at, abs=0.01)


def test_a_tag_of_aws_cannot_be_given(account: Account) -> None:
    account.make_instance("shop")
    with pytest.raises(ClientError) as refused:
        account.take_snapshot("shop", "nightly", Tags=[{"Key": "aws:backup", "Value": "mine"}])
    assert _code(refused) == "InvalidParameterValue"


def test_a_default_key_of_rds_is_made_when_it_is_first_needed(account: Account) -> None:
    instance = account.make_instance("shop", StorageEncrypted=True)
    assert account.kms("describe_key", KeyId="alias/aws/rds")["KeyMetadata"]["Arn"] == instance["KmsKeyId"]


# ---------------------------------------------------------------------------- faults


def test_a_snapshot_can_end_failed_and_its_instance_is_available_again(account: Account) -> None:
    account.make_instance("shop")
    account.doom("db-snapshot", "fail")
    account.rds().create_db_snapshot(DBInstanceIdentifier="shop", DBSnapshotIdentifier="nightly")
    account.advance(60)
    assert _snapshot(account, "nightly")["Status"] == "failed"
    assert _status(account, "shop") == "available"
    assert "RDS-EVENT-0042" not in account.events()
    account.rds().delete_db_snapshot(DBSnapshotIdentifier="nightly")


def test_a_snapshot_can_stick(account: Account) -> None:
    account.make_instance("shop")
    account.doom("db-snapshot", "stick")
    account.rds().create_db_snapshot(DBInstanceIdentifier="shop", DBSnapshotIdentifier="nightly")
    account.advance(timedelta(days=1).total_seconds() / 4)
    stuck = _snapshot(account, "nightly")
    assert (stuck["Status"], stuck["PercentProgress"]) == ("creating", 0)
    assert account.take_snapshot("shop", "next")["Status"] == "available"


@pytest.mark.parametrize(("effect", "state"), [("fail", "failed"), ("stick", "copying")])
def test_a_copy_can_fail_or_stick(account: Account, effect: str, state: str) -> None:
    account.make_instance("shop")
    account.take_snapshot("shop", "nightly")
    account.doom("db-copy", effect, "us-west-2")
    _copy(account, "nightly", "nightly-copy")
    account.advance(3600)
    assert _snapshot(account, "nightly-copy", "us-west-2")["Status"] == state


# ---------------------------------------------------------------------------- quotas


def test_the_hundred_and_first_manual_snapshot_is_refused(account: Account) -> None:
    account.make_instance("shop")
    account.take_snapshot("shop", "original")
    for number in range(99):
        account.rds().copy_db_snapshot(
            SourceDBSnapshotIdentifier="original", TargetDBSnapshotIdentifier=f"copy-{number}"
        )
    with pytest.raises(ClientError, match="Cannot create more than 100 manual snapshots") as refused:
        account.rds().create_db_snapshot(DBInstanceIdentifier="shop", DBSnapshotIdentifier="one-more")
    assert _code(refused) == "SnapshotQuotaExceeded"
    assert _status(account, "shop") == "available"
    quotas = {
        quota["AccountQuotaName"]: quota for quota in account.rds().describe_account_attributes()["AccountQuotas"]
    }
    assert (quotas["ManualSnapshots"]["Used"], quotas["ManualSnapshots"]["Max"]) == (100, 100)
    with pytest.raises(ClientError, match="Cannot create more than 100 manual snapshots"):
        account.rds().copy_db_snapshot(SourceDBSnapshotIdentifier="original", TargetDBSnapshotIdentifier="copy")


def test_only_manual_snapshots_count_against_the_quota(account: Account) -> None:
    account.make_instance("shop")
    databases.control("POST", {"quotas": {"manual_snapshots": 1}})
    where = {"region": "us-east-1", "instance": "shop"}
    databases.control("POST", {"plant": where | {"snapshot": "rds:shop-2026-01-01-01-01", "type": "automated"}})
    databases.control("POST", {"plant": where | {"snapshot": "awsbackup:job-1", "type": "awsbackup"}})
    account.take_snapshot("shop", "mine")
    with pytest.raises(ClientError, match="Cannot create more than 1 manual snapshots"):
        account.take_snapshot("shop", "another")


def test_the_twenty_first_copy_into_a_region_is_refused_with_the_same_code_in_other_words(account: Account) -> None:
    durations.update({"db_copy": 1000})
    account.make_instance("shop")
    account.take_snapshot("shop", "nightly")
    for number in range(20):
        _copy(account, "nightly", f"copy-{number}")
    with pytest.raises(ClientError, match="Cannot copy more than 20 snapshots across regions") as refused:
        _copy(account, "nightly", "copy-20")
    assert _code(refused) == "SnapshotQuotaExceeded"
    account.advance(1001)
    _copy(account, "nightly", "copy-20")


def test_an_unknown_quota_is_named_with_the_known_ones(account: Account) -> None:
    with pytest.raises(ValueError, match="there is no quota snapshots; known ones are db_instances"):
        databases.control("POST", {"quotas": {"snapshots": 1}})
    assert databases.control("GET", {})["quotas"]["manual_snapshots"] == 100


# ---------------------------------------------------------------------------- copies


def test_a_copy_keeps_what_is_true_of_its_source_and_has_a_life_of_its_own(account: Account) -> None:
    account.make_instance("shop")
    source = account.take_snapshot("shop", "nightly", Tags=[{"Key": "a", "Value": "b"}])
    account.advance(3600)
    started = _copy(account, "nightly", "nightly-copy")
    assert (started["Status"], started["PercentProgress"]) == ("copying", 0)
    account.advance(60)
    copy = _snapshot(account, "nightly-copy", "us-west-2")
    assert (copy["Status"], copy["SnapshotType"]) == ("available", "manual")
    assert (copy["SourceDBSnapshotIdentifier"], copy["SourceRegion"]) == (_arn("nightly"), "us-east-1")
    assert copy["OriginalSnapshotCreateTime"] == source["OriginalSnapshotCreateTime"]
    assert copy["SnapshotDatabaseTime"] == source["SnapshotDatabaseTime"]
    assert (copy["SnapshotCreateTime"] - source["SnapshotCreateTime"]).total_seconds() == pytest.approx(3660, abs=1)
    assert copy["DbiResourceId"] == source["DbiResourceId"]
    assert copy["TagList"] == []


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, {}),
        ({"CopyTags": True}, {"team": "shop"}),
        ({"Tags": [{"Key": "own", "Value": "1"}]}, {"own": "1"}),
        ({"Tags": [{"Key": "own", "Value": "1"}], "CopyTags": True}, {"own": "1"}),
    ],
)
def test_tags_of_a_copy(account: Account, wanted: dict[str, Any], expected: dict[str, str]) -> None:
    account.make_instance("shop", CopyTagsToSnapshot=True, Tags=[{"Key": "never", "Value": "copied"}])
    account.take_snapshot("shop", "nightly", Tags=[{"Key": "team", "Value": "shop"}])
    copy = _copy(account, "nightly", "nightly-copy", **wanted)
    assert {tag["Key"]: tag["Value"] for tag in copy["TagList"]} == expected


def test_only_an_available_snapshot_is_copied(account: Account) -> None:
    account.make_instance("shop")
    account.rds().create_db_snapshot(DBInstanceIdentifier="shop", DBSnapshotIdentifier="nightly")
    with pytest.raises(ClientError) as refused:
        _copy(account, "nightly", "nightly-copy")
    assert _code(refused) == "InvalidDBSnapshotState"
    with pytest.raises(ClientError) as refused:
        _copy(account, "nowhere", "nightly-copy")
    assert _code(refused) == "DBSnapshotNotFound"


def test_an_encrypted_snapshot_needs_a_key_of_the_region_it_is_copied_to(account: Account) -> None:
    account.make_instance("shop", StorageEncrypted=True, KmsKeyId=account.make_key())
    account.take_snapshot("shop", "nightly")
    with pytest.raises(ClientError, match="KmsKeyId") as refused:
        _copy(account, "nightly", "nightly-copy")
    assert _code(refused) == "InvalidParameterCombination"
    with pytest.raises(ClientError) as refused:
        _copy(account, "nightly", "nightly-copy", KmsKeyId=account.make_key("us-east-1"))
    assert _code(refused) == "KMSKeyNotAccessibleFault"
    key = account.make_key("us-west-2")
    account.kms("create_alias", "us-west-2", AliasName="alias/vault", TargetKeyId=key)
    copy = _copy(account, "nightly", "nightly-copy", KmsKeyId="alias/vault")
    assert (copy["Encrypted"], copy["KmsKeyId"]) == (True, key)


@pytest.mark.parametrize("region", ["us-east-1", "us-west-2"])
def test_a_disabled_key_on_either_side_stops_a_copy(account: Account, region: str) -> None:
    keys = {name: account.make_key(name) for name in ("us-east-1", "us-west-2")}
    account.make_instance("shop", StorageEncrypted=True, KmsKeyId=keys["us-east-1"])
    account.take_snapshot("shop", "nightly")
    account.kms("disable_key", region, KeyId=keys[region])
    with pytest.raises(ClientError) as refused:
        _copy(account, "nightly", "nightly-copy", KmsKeyId=keys["us-west-2"])
    assert _code(refused) == "KMSKeyNotAccessibleFault"


def test_a_plain_snapshot_can_be_encrypted_by_copying_it(account: Account) -> None:
    account.make_instance("shop")
    account.take_snapshot("shop", "nightly")
    assert _copy(account, "nightly", "nightly-copy", KmsKeyId=account.make_key("us-west-2"))["Encrypted"] is True


def test_copies_of_one_instance_wait_for_each_other(account: Account) -> None:
    durations.update({"db_copy": 100})
    account.make_instance("shop")
    account.take_snapshot("shop", "nightly")
    _copy(account, "nightly", "first")
    _copy(account, "nightly", "second")
    account.advance(101)
    assert _snapshot(account, "first", "us-west-2")["Status"] == "available"
    waiting = _snapshot(account, "second", "us-west-2")
    assert (waiting["Status"], waiting["PercentProgress"]) == ("copying", 1)
    account.advance(100)
    assert _snapshot(account, "second", "us-west-2")["Status"] == "available"


def test_a_copy_fails_when_its_source_is_deleted_meanwhile(account: Account) -> None:
    account.make_instance("shop")
    account.take_snapshot("shop", "nightly")
    _copy(account, "nightly", "nightly-copy")
    account.rds().delete_db_snapshot(DBSnapshotIdentifier="nightly")
    account.advance(60)
    assert _snapshot(account, "nightly-copy", "us-west-2")["Status"] == "failed"


# ---------------------------------------------------------------------------- deletion


def test_a_snapshot_being_created_is_not_deleted(account: Account) -> None:
    account.make_instance("shop")
    account.rds().create_db_snapshot(DBInstanceIdentifier="shop", DBSnapshotIdentifier="nightly")
    with pytest.raises(ClientError) as refused:
        account.rds().delete_db_snapshot(DBSnapshotIdentifier="nightly")
    assert _code(refused) == "InvalidDBSnapshotState"


def test_a_deleted_snapshot_is_gone(account: Account) -> None:
    account.make_instance("shop")
    account.take_snapshot("shop", "nightly")
    account.rds().delete_db_snapshot(DBSnapshotIdentifier="nightly")
    for look in (account.rds().describe_db_snapshots, account.rds().delete_db_snapshot):
        with pytest.raises(ClientError) as refused:
            look(DBSnapshotIdentifier="nightly")
        assert _code(refused) == "DBSnapshotNotFound"
    assert account.events()[-1] == "RDS-EVENT-0041"


def test_deleting_a_copy_in_progress_calls_it_off(account: Account) -> None:
    account.make_instance("shop")
    account.take_snapshot("shop", "nightly")
    _copy(account, "nightly", "nightly-copy")
    account.rds("us-west-2").delete_db_snapshot(DBSnapshotIdentifier="nightly-copy")
    account.advance(60)
    assert account.rds("us-west-2").describe_db_snapshots()["DBSnapshots"] == []
    assert account.events("us-west-2") == ["RDS-EVENT-0059", "RDS-EVENT-0061"]


def test_an_automated_snapshot_is_not_ours_to_delete(account: Account) -> None:
    account.make_instance("shop")
    name = "rds:shop-2026-01-02-03-04"
    plant = {"region": "us-east-1", "instance": "shop", "snapshot": name, "type": "automated", "tags": {"a": "b"}}
    databases.control("POST", {"plant": plant})
    assert _snapshot(account, name)["TagList"] == [{"Key": "a", "Value": "b"}]
    with pytest.raises(ClientError) as refused:
        account.rds().delete_db_snapshot(DBSnapshotIdentifier=name)
    assert _code(refused) == "InvalidDBSnapshotState"
    assert _copy(account, name, "kept")["SnapshotType"] == "manual"


# ---------------------------------------------------------------------------- looking


def test_snapshots_come_in_pages_and_none_is_skipped_when_one_is_deleted_between_them(account: Account) -> None:
    account.make_instance("shop")
    account.take_snapshot("shop", "original")
    for number in range(44):
        account.rds().copy_db_snapshot(
            SourceDBSnapshotIdentifier="original", TargetDBSnapshotIdentifier=f"copy-{number:02d}"
        )
    account.advance(600)
    first = account.rds().describe_db_snapshots(MaxRecords=20)
    assert len(first["DBSnapshots"]) == 20
    account.rds().delete_db_snapshot(DBSnapshotIdentifier=first["DBSnapshots"][-1]["DBSnapshotIdentifier"])
    seen = [snapshot["DBSnapshotIdentifier"] for snapshot in first["DBSnapshots"]]
    marker = first["Marker"]
    while marker:
        page = account.rds().describe_db_snapshots(MaxRecords=20, Marker=marker)
        seen += [snapshot["DBSnapshotIdentifier"] for snapshot in page["DBSnapshots"]]
        marker = page.get("Marker")
    assert seen == [f"copy-{number:02d}" for number in range(44)] + ["original"]


@pytest.mark.parametrize("size", [1, 19, 101])
def test_a_page_has_twenty_to_a_hundred_records(account: Account, size: int) -> None:
    with pytest.raises(ClientError) as refused:
        account.rds().describe_db_snapshots(MaxRecords=size)
    assert _code(refused) == "InvalidParameterValue"


def test_snapshots_are_found_by_type_instance_and_filter(account: Account) -> None:
    shop = account.make_instance("shop")
    account.make_instance("bank")
    for instance in ("shop", "bank"):
        account.take_snapshot(instance, f"{instance}-manual")
        where = {"region": "us-east-1", "instance": instance}
        databases.control("POST", {"plant": where | {"snapshot": f"rds:{instance}", "type": "automated"}})
        databases.control("POST", {"plant": where | {"snapshot": f"awsbackup:{instance}", "type": "awsbackup"}})

    def names(**wanted: Any) -> list[str]:
        found = account.rds().describe_db_snapshots(**wanted)["DBSnapshots"]
        return [snapshot["DBSnapshotIdentifier"] for snapshot in found]

    assert names() == ["bank-manual", "rds:bank", "rds:shop", "shop-manual"]
    assert names(SnapshotType="manual") == ["bank-manual", "shop-manual"]
    assert names(SnapshotType="automated") == ["rds:bank", "rds:shop"]
    assert names(SnapshotType="awsbackup") == ["awsbackup:bank", "awsbackup:shop"]
    assert names(DBInstanceIdentifier="shop") == ["rds:shop", "shop-manual"]
    assert names(DbiResourceId=shop["DbiResourceId"], SnapshotType="manual") == ["shop-manual"]
    assert names(Filters=[{"Name": "db-instance-id", "Values": ["bank"]}], SnapshotType="manual") == ["bank-manual"]


# ---------------------------------------------------------------------------- notices


def test_a_snapshot_is_announced_at_home_and_its_copy_where_it_goes(account: Account) -> None:
    account.make_instance("shop")
    account.notices.clear()
    account.take_snapshot("shop", "nightly", Tags=[{"Key": "a", "Value": "b"}])
    _copy(account, "nightly", "nightly-copy")
    account.advance(150)
    snapshot_events = [notice for notice in account.notices if notice.detail_type == "RDS DB Snapshot Event"]
    home = [notice for notice in snapshot_events if notice.region == "us-east-1"]
    away = [notice for notice in snapshot_events if notice.region == "us-west-2"]
    assert [notice.detail["EventID"] for notice in home] == ["RDS-EVENT-0040", "RDS-EVENT-0042"]
    assert [notice.detail["EventID"] for notice in away] == ["RDS-EVENT-0059", "RDS-EVENT-0060"]
    created = home[1]
    assert created.resources == [_arn("nightly")]
    assert {key: value for key, value in created.detail.items() if key != "Date"} == {
        "EventCategories": ["creation"],
        "SourceType": "SNAPSHOT",
        "SourceArn": _arn("nightly"),
        "SourceIdentifier": "nightly",
        "Message": "Manual snapshot created",
        "EventID": "RDS-EVENT-0042",
        "Tags": {"a": "b"},
    }
    assert created.detail["Date"].endswith("Z")
    assert away[1].detail["SourceArn"] == _arn("nightly-copy", "us-west-2")
    assert away[1].detail["Message"] == "Finished copy of snapshot nightly from region us-east-1 in 2 minutes"


def test_a_copy_within_the_region_has_announcements_of_its_own(account: Account) -> None:
    account.make_instance("shop")
    account.take_snapshot("shop", "nightly")
    account.notices.clear()
    account.rds().copy_db_snapshot(SourceDBSnapshotIdentifier="nightly", TargetDBSnapshotIdentifier="again")
    account.advance(60)
    assert account.events() == ["RDS-EVENT-0196", "RDS-EVENT-0197"]
