"""Restores to an instant, renaming, and what else a recovery asks of RDS."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from embedded.corrections.authorization import questions
from embedded.databases import connection, in_process, waiting
from embedded.databases.in_process import Account

PASSWORD = "a master's password"


@pytest.fixture
def account() -> Iterator[Account]:
    with in_process.account() as fresh:
        yield fresh


def _code(refused: pytest.ExceptionInfo[ClientError]) -> str | None:
    return refused.value.response.get("Error", {}).get("Code")


def _instance(account: Account, identifier: str) -> dict[str, Any]:
    return account.rds().describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0]


def _latest(account: Account, identifier: str) -> datetime:
    return _instance(account, identifier)["LatestRestorableTime"]


def test_a_database_restored_to_now_holds_what_the_source_holds_on_the_port_that_was_asked_for(
    account: Account,
) -> None:
    shop = account.make_instance("shop", Engine="postgres", DBName="shop", BackupRetentionPeriod=1)
    with connection(shop["Endpoint"], "holdfast", PASSWORD, database="shop") as connected:
        connected.run("CREATE TABLE orders (id int)")
        connected.run("INSERT INTO orders VALUES (42)")
    account.rds().restore_db_instance_to_point_in_time(
        SourceDBInstanceIdentifier="shop",
        TargetDBInstanceIdentifier="restored",
        RestoreTime=_latest(account, "shop"),
        Port=shop["Endpoint"]["Port"],
    )
    account.advance(60)
    restored = waiting.instance_in_state(account.rds(), "restored")
    assert restored["Endpoint"]["Port"] == shop["Endpoint"]["Port"]
    assert restored["Endpoint"]["Address"] != shop["Endpoint"]["Address"]
    with connection(restored["Endpoint"], "holdfast", PASSWORD, database="shop") as connected:
        assert connected.run("SELECT id FROM orders") == [[42]]


@pytest.mark.parametrize("minutes", [-1, 6, 600])
def test_no_instant_is_restored_that_could_only_be_lied_about(account: Account, minutes: int) -> None:
    account.make_instance("shop", BackupRetentionPeriod=1)
    with pytest.raises(ClientError) as refused:
        account.rds().restore_db_instance_to_point_in_time(
            SourceDBInstanceIdentifier="shop",
            TargetDBInstanceIdentifier="restored",
            RestoreTime=_latest(account, "shop") - timedelta(minutes=minutes),
        )
    assert _code(refused) == "InvalidRestoreFault"


@pytest.mark.parametrize(
    ("source", "wanted", "code"),
    [
        ("unsaved", {"UseLatestRestorableTime": True}, "PointInTimeRestoreNotEnabled"),
        ("shop", {}, "InvalidParameterCombination"),
        ("gone", {"UseLatestRestorableTime": True}, "DBInstanceNotFound"),
        ("shop", {"UseLatestRestorableTime": True, "TargetDBInstanceIdentifier": "shop"}, "DBInstanceAlreadyExists"),
        ("shop", {"UseLatestRestorableTime": True, "OptionGroupName": "gone"}, "OptionGroupNotFoundFault"),
    ],
)
def test_restores_to_an_instant_are_refused_as_rds_does(
    account: Account, source: str, wanted: dict[str, Any], code: str
) -> None:
    account.make_instance("shop", BackupRetentionPeriod=1)
    account.make_instance("unsaved", BackupRetentionPeriod=0)
    with pytest.raises(ClientError) as refused:
        account.rds().restore_db_instance_to_point_in_time(
            **({"SourceDBInstanceIdentifier": source, "TargetDBInstanceIdentifier": "restored"} | wanted)
        )
    assert _code(refused) == code


def test_a_restored_instance_is_created_then_backed_up_then_available(account: Account) -> None:
    account.make_instance("shop", BackupRetentionPeriod=1)
    account.rds().restore_db_instance_to_point_in_time(
        SourceDBInstanceIdentifier="shop", TargetDBInstanceIdentifier="restored", UseLatestRestorableTime=True
    )
    states = []
    for seconds in (0, 4.5, 1):
        account.advance(seconds)
        states.append(_instance(account, "restored")["DBInstanceStatus"])
    assert states == ["creating", "backing-up", "available"]


def test_an_instance_is_renamed_a_while_after_it_is_asked_for(account: Account) -> None:
    before = account.make_instance("shop", Tags=[{"Key": "team", "Value": "shop"}])
    account.rds().modify_db_instance(
        DBInstanceIdentifier="shop", NewDBInstanceIdentifier="Shop-Old", ApplyImmediately=True
    )
    assert _instance(account, "shop")["DBInstanceStatus"] == "renaming"
    account.advance(60)
    after = _instance(account, "shop-old")
    assert (after["DBInstanceStatus"], after["DbiResourceId"]) == ("available", before["DbiResourceId"])
    assert after["DBInstanceArn"].endswith(":db:shop-old")
    assert after["TagList"] == [{"Key": "team", "Value": "shop"}]
    with pytest.raises(ClientError):
        _instance(account, "shop")


def test_no_name_is_given_twice(account: Account) -> None:
    account.make_instance("shop")
    account.make_instance("other")
    with pytest.raises(ClientError) as refused:
        account.rds().modify_db_instance(
            DBInstanceIdentifier="shop", NewDBInstanceIdentifier="other", ApplyImmediately=True
        )
    assert _code(refused) == "DBInstanceAlreadyExists"


def test_a_parameter_group_waits_for_a_restart(account: Account) -> None:
    account.make_instance("shop")
    account.rds().create_db_parameter_group(
        DBParameterGroupName="mine", DBParameterGroupFamily="mysql8.0", Description="mine"
    )
    account.rds().modify_db_instance(DBInstanceIdentifier="shop", DBParameterGroupName="mine", ApplyImmediately=True)
    account.advance(60)
    waiting_for_it = _instance(account, "shop")["DBParameterGroups"][0]
    account.rds().reboot_db_instance(DBInstanceIdentifier="shop")
    account.advance(60)
    assert waiting_for_it == {"DBParameterGroupName": "mine", "ParameterApplyStatus": "pending-reboot"}
    assert _instance(account, "shop")["DBParameterGroups"][0]["ParameterApplyStatus"] == "in-sync"


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({"Engine": "aurora-mysql", "DBInstanceClass": "db.serverless"}, 2),
        ({"Engine": "mysql", "DBInstanceClass": "db.serverless"}, 0),
        ({"Engine": "mysql", "DBInstanceClass": "db.r6g.large"}, 3),
        ({"Engine": "postgres", "EngineVersion": "7.4", "DBInstanceClass": "db.r6g.large"}, 0),
    ],
)
def test_what_can_be_ordered_depends_on_engine_version_and_class(
    account: Account, wanted: dict[str, str], count: int
) -> None:
    options = account.rds().describe_orderable_db_instance_options(**wanted)["OrderableDBInstanceOptions"]
    assert len(options) == count


def test_everything_that_can_be_ordered_comes_in_pages(account: Account) -> None:
    pages = account.rds().get_paginator("describe_orderable_db_instance_options").paginate(Engine="mysql")
    listed = [
        (one["DBInstanceClass"], one["StorageType"]) for page in pages for one in page["OrderableDBInstanceOptions"]
    ]
    assert len(listed) == len(set(listed)) > 100


def test_a_security_group_of_another_network_is_refused(account: Account) -> None:
    ec2 = account.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    group = ec2.create_security_group(GroupName="other", Description="other", VpcId=vpc)["GroupId"]
    account.make_instance("shop")
    with pytest.raises(ClientError, match="different VPCs"):
        account.rds().modify_db_instance(DBInstanceIdentifier="shop", VpcSecurityGroupIds=[group])


def _asked(operation: str, **parameters: str) -> set[tuple[str, str]]:
    asked = questions("rds", f"rds:{operation}", "us-east-1", "/", parameters)
    return {(question.action, question.arn.rpartition("123456789012:")[2] or question.arn) for question in asked}


def test_iam_is_asked_about_both_databases_of_a_restore_to_an_instant() -> None:
    named = {"TargetDBInstanceIdentifier": "new", "SourceDBInstanceIdentifier": "old"}
    assert _asked("RestoreDBInstanceToPointInTime", **named) == {
        ("rds:RestoreDBInstanceToPointInTime", "db:new"),
        ("rds:RestoreDBInstanceToPointInTime", "db:old"),
    }


@pytest.mark.parametrize(
    ("operation", "kind"), [("AddRoleToDBInstance", "Instance"), ("AddRoleToDBCluster", "Cluster")]
)
def test_whoever_gives_rds_a_role_must_be_allowed_to_pass_it(operation: str, kind: str) -> None:
    role = "arn:aws:iam::123456789012:role/imports"
    asked = _asked(operation, **{f"DB{kind}Identifier": "shop", "RoleArn": role})
    assert ("iam:PassRole", "role/imports") in asked
