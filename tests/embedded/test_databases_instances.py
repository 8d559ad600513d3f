"""DB instances: how they come, change, are restored, and go."""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pg8000.exceptions import DatabaseError, InterfaceError

from embedded import databases, durations
from embedded.databases import connection, in_process, waiting
from embedded.databases.estate import estate
from embedded.databases.in_process import Account

PASSWORD = "a master's password"


@pytest.fixture
def account() -> Iterator[Account]:
    with in_process.account() as fresh:
        yield fresh


def _instance(account: Account, identifier: str, region: str = "us-east-1") -> dict[str, Any]:
    return account.rds(region).describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0]


def _code(refused: pytest.ExceptionInfo[ClientError]) -> str | None:
    return refused.value.response.get("Error", {}).get("Code")


def _wanted(identifier: str, **more: Any) -> dict[str, Any]:
    master = {"MasterUsername": "holdfast", "MasterUserPassword": PASSWORD}
    return {"DBInstanceIdentifier": identifier, "Engine": "mysql", "DBInstanceClass": "db.t4g.micro"} | master | more


def _restore(account: Account, snapshot: str, instance: str, **more: Any) -> dict[str, Any]:
    wanted = {"DBSnapshotIdentifier": snapshot, "DBInstanceIdentifier": instance} | more
    return account.rds().restore_db_instance_from_db_snapshot(**wanted)["DBInstance"]


def _query(instance: dict[str, Any], password: str, statement: str, database: str = "postgres") -> Any:
    with connection(instance["Endpoint"], "holdfast", password, database=database) as connected:
        return connected.run(statement)


# ---------------------------------------------------------------------------- creation


def test_an_instance_is_created_and_only_then_has_an_endpoint(account: Account) -> None:
    durations.update({"db_restore": 300})
    account.rds().create_db_instance(**_wanted("shop"))
    account.advance(290)
    assert _instance(account, "shop")["DBInstanceStatus"] == "creating"
    assert "Endpoint" not in _instance(account, "shop")
    account.advance(11)
    available = _instance(account, "shop")
    assert available["DBInstanceStatus"] == "available"
    assert available["Endpoint"]["Address"].startswith("shop.")
    assert account.events() == ["RDS-EVENT-0005"]


def test_a_postgres_instance_answers_sql_on_its_endpoint(account: Account) -> None:
    shop = account.make_instance("shop", Engine="postgres", DBName="orders")
    assert shop["Endpoint"]["Address"] == "127.0.0.1"
    assert _query(shop, PASSWORD, "SELECT current_database()::text", "orders") == [["orders"]]
    server_version = _query(shop, PASSWORD, "SHOW server_version")[0][0]
    assert server_version == shop["EngineVersion"]


def test_an_engine_version_picks_the_postgresql_that_runs(account: Account) -> None:
    shop = account.make_instance("shop", Engine="postgres", EngineVersion="18")
    assert _query(shop, PASSWORD, "SHOW server_version")[0][0].startswith("18.")
    with pytest.raises(ClientError, match=r"Cannot find version 9\.3\.3 for postgres") as refused:
        account.rds().create_db_instance(**_wanted("old", Engine="postgres", EngineVersion="9.3.3"))
    assert _code(refused) == "InvalidParameterCombination"


@pytest.mark.parametrize("engine", ["mysql", "mariadb", "oracle-se2", "sqlserver-se", "db2-se", "engine-of-tomorrow"])
def test_other_engines_are_known_by_name_only(account: Account, engine: str) -> None:
    instance = account.make_instance("shop", Engine=engine)
    assert instance["Engine"] == engine
    assert account.take_snapshot("shop", "nightly")["Engine"] == engine
    assert _restore(account, "nightly", "again")["Engine"] == engine


def test_a_managed_password_is_in_the_secret(account: Account) -> None:
    account.rds().create_db_instance(
        DBInstanceIdentifier="shop",
        Engine="postgres",
        DBInstanceClass="db.t4g.micro",
        AllocatedStorage=20,
        MasterUsername="holdfast",
        ManageMasterUserPassword=True,
    )
    assert _instance(account, "shop")["MasterUserSecret"]["SecretStatus"] == "creating"
    account.advance(60)
    shop = waiting.instance_in_state(account.rds(), "shop")
    assert shop["MasterUserSecret"]["SecretStatus"] == "active"
    secret = account.secret(shop["MasterUserSecret"]["SecretArn"])
    assert secret is not None
    assert _query(shop, secret["password"], "SELECT current_user::text") == [[secret["username"]]]


def test_an_identifier_belongs_to_one_instance(account: Account) -> None:
    account.make_instance("shop")
    with pytest.raises(ClientError) as refused:
        account.rds().create_db_instance(**_wanted("SHOP"))
    assert _code(refused) == "DBInstanceAlreadyExists"


def test_the_number_of_instances_is_limited(account: Account) -> None:
    databases.control("POST", {"quotas": {"db_instances": 1}})
    account.make_instance("shop")
    with pytest.raises(ClientError) as refused:
        account.rds().create_db_instance(**_wanted("bank"))
    assert _code(refused) == "InstanceQuotaExceeded"


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"MasterUserPassword": "short"}, "InvalidParameterValue"),
        ({"ManageMasterUserPassword": True}, "InvalidParameterCombination"),
        ({"DBSubnetGroupName": "missing"}, "DBSubnetGroupNotFoundFault"),
        ({"DBParameterGroupName": "missing"}, "DBParameterGroupNotFound"),
        ({"OptionGroupName": "missing"}, "OptionGroupNotFoundFault"),
        ({"VpcSecurityGroupIds": ["sg-0000"]}, "InvalidParameterValue"),
        ({"StorageEncrypted": True, "KmsKeyId": "missing"}, "KMSKeyNotAccessibleFault"),
    ],
)
def test_what_an_instance_names_must_exist(account: Account, wanted: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as refused:
        account.rds().create_db_instance(**_wanted("shop", **wanted))
    assert _code(refused) == code
    assert account.rds().describe_db_instances()["DBInstances"] == []


def test_instances_come_in_pages(account: Account) -> None:
    for number in range(23):
        account.rds().create_db_instance(**_wanted(f"shop-{number:02d}"))
    pages = list(account.rds().get_paginator("describe_db_instances").paginate(PaginationConfig={"PageSize": 20}))
    assert [len(page["DBInstances"]) for page in pages] == [20, 3]
    names = [instance["DBInstanceIdentifier"] for page in pages for instance in page["DBInstances"]]
    assert names == [f"shop-{number:02d}" for number in range(23)]


# ---------------------------------------------------------------------------- restore


def test_a_restored_instance_starts_from_the_defaults_of_rds(account: Account) -> None:
    rds = account.rds()
    rds.create_db_parameter_group(DBParameterGroupName="own", DBParameterGroupFamily="mysql8.0", Description="own")
    shop = account.make_instance(
        "shop", DBParameterGroupName="own", DeletionProtection=True, PubliclyAccessible=False, MultiAZ=True
    )
    account.take_snapshot("shop", "nightly", Tags=[{"Key": "a", "Value": "b"}])
    restored = _restore(account, "nightly", "again")
    assert restored["DBInstanceStatus"] == "creating"
    assert restored["DBParameterGroups"][0]["DBParameterGroupName"] == "default.mysql8.0"
    assert restored["OptionGroupMemberships"][0]["OptionGroupName"].startswith("default:")
    assert restored["VpcSecurityGroups"] == shop["VpcSecurityGroups"]
    assert (restored["DeletionProtection"], restored["PubliclyAccessible"], restored["MultiAZ"]) == (False, True, False)
    assert restored["TagList"] == [{"Key": "a", "Value": "b"}]
    assert restored["DbiResourceId"] != shop["DbiResourceId"]
    assert restored["DBInstanceClass"] == shop["DBInstanceClass"]


def test_a_restored_instance_gets_what_is_asked_for(account: Account) -> None:
    account.make_instance("shop")
    account.take_snapshot("shop", "nightly", Tags=[{"Key": "a", "Value": "b"}])
    wanted = {"PubliclyAccessible": False, "DBInstanceClass": "db.r6g.large", "Tags": [{"Key": "own", "Value": "1"}]}
    restored = _restore(account, "nightly", "again", **wanted)
    assert {name: restored[name] for name in ("PubliclyAccessible", "DBInstanceClass", "TagList")} == {
        "PubliclyAccessible": False,
        "DBInstanceClass": "db.r6g.large",
        "TagList": [{"Key": "own", "Value": "1"}],
    }


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"DBInstanceIdentifier": "shop"}, "DBInstanceAlreadyExists"),
        ({"DBSnapshotIdentifier": "missing"}, "DBSnapshotNotFound"),
        ({"DBSubnetGroupName": "missing"}, "DBSubnetGroupNotFoundFault"),
        ({"DBParameterGroupName": "missing"}, "DBParameterGroupNotFound"),
        ({"OptionGroupName": "missing"}, "OptionGroupNotFoundFault"),
        ({"VpcSecurityGroupIds": ["sg-0000"]}, "InvalidParameterValue"),
        ({"AllocatedStorage": 10}, "InvalidParameterValue"),
        ({"ManageMasterUserPassword": True}, "InvalidParameterCombination"),
        ({"Engine": "mysql"}, "InvalidParameterCombination"),
    ],
)
def test_a_restore_is_refused(account: Account, wanted: dict[str, Any], code: str) -> None:
    account.make_instance("shop", Engine="mariadb")
    account.take_snapshot("shop", "nightly")
    with pytest.raises(ClientError) as refused:
        account.rds().restore_db_instance_from_db_snapshot(
            **({"DBSnapshotIdentifier": "nightly", "DBInstanceIdentifier": "again"} | wanted)
        )
    assert _code(refused) == code


def test_a_snapshot_in_the_making_is_not_restored(account: Account) -> None:
    account.make_instance("shop")
    account.rds().create_db_snapshot(DBInstanceIdentifier="shop", DBSnapshotIdentifier="nightly")
    with pytest.raises(ClientError) as refused:
        _restore(account, "nightly", "again")
    assert _code(refused) == "InvalidDBSnapshotState"


def test_a_snapshot_without_its_key_is_not_restored(account: Account) -> None:
    key = account.make_key()
    account.make_instance("shop", StorageEncrypted=True, KmsKeyId=key)
    account.take_snapshot("shop", "nightly")
    account.kms("disable_key", KeyId=key)
    with pytest.raises(ClientError) as refused:
        _restore(account, "nightly", "again")
    assert _code(refused) == "KMSKeyNotAccessibleFault"


def test_a_restored_database_recovers_and_has_a_life_of_its_own(account: Account) -> None:
    shop = account.make_instance("shop", Engine="postgres")
    _query(shop, PASSWORD, "CREATE TABLE orders AS SELECT generate_series(1, 1000) AS id")
    snapshot = account.take_snapshot("shop", "nightly")
    assert snapshot["FullSnapshotSizeInBytes"] > 20_000_000
    _query(shop, PASSWORD, "DELETE FROM orders")
    _restore(account, "nightly", "again")
    account.advance(60)
    again = waiting.instance_in_state(account.rds(), "again")
    assert again["Endpoint"]["Port"] != shop["Endpoint"]["Port"]
    assert _query(again, PASSWORD, "SELECT count(*) FROM orders") == [[1000]]
    _query(again, PASSWORD, "TRUNCATE orders")
    _restore(account, "nightly", "once-more")
    account.advance(60)
    once_more = waiting.instance_in_state(account.rds(), "once-more")
    assert _query(once_more, PASSWORD, "SELECT count(*) FROM orders") == [[1000]]
    log = (estate().directory / "servers").glob("*/log")
    assert sum("automatic recovery in progress" in path.read_text() for path in log) == 2


def test_blocks_come_in_after_a_restored_instance_is_available(account: Account) -> None:
    durations.update({"db_restore": 100})
    account.rds().create_db_instance(**_wanted("shop"))
    account.advance(101)
    account.take_snapshot("shop", "nightly")
    _restore(account, "nightly", "again")
    account.advance(150)
    shown = _instance(account, "again")
    assert shown["DBInstanceStatus"] == "available"
    assert (shown["StorageOperationStatus"], shown["StorageOperationPercentProgress"]) == ("Initializing", 50)
    account.advance(51)
    assert "StorageOperationStatus" not in _instance(account, "again")


def test_a_snapshot_of_damaged_data_restores_to_an_error(account: Account) -> None:
    account.make_instance("shop", Engine="postgres")
    account.take_snapshot("shop", "nightly")
    (image,) = (estate().directory / "images").glob("image-*")
    control_file = image / "global" / "pg_control"
    control_file.chmod(0o600)
    control_file.write_bytes(b"\0" * 8192)
    account.notices.clear()
    _restore(account, "nightly", "again")
    account.advance(60)
    waiting.instance_in_state(account.rds(), "again", "restore-error")
    assert account.events() == ["RDS-EVENT-0278"]


@pytest.mark.parametrize(("effect", "state"), [("fail", "restore-error"), ("stick", "creating")])
def test_a_restore_can_fail_or_stick(account: Account, effect: str, state: str) -> None:
    account.make_instance("shop")
    account.take_snapshot("shop", "nightly")
    account.doom("db-restore", effect)
    _restore(account, "nightly", "again")
    account.advance(3600)
    assert _instance(account, "again")["DBInstanceStatus"] == state


# ---------------------------------------------------------------------------- change


def test_rds_takes_over_the_password_of_a_restored_database(account: Account) -> None:
    account.make_instance("shop", Engine="postgres")
    account.take_snapshot("shop", "nightly")
    _restore(account, "nightly", "again")
    account.advance(60)
    waiting.instance_in_state(account.rds(), "again")
    changed = account.rds().modify_db_instance(
        DBInstanceIdentifier="again", ManageMasterUserPassword=True, ApplyImmediately=True
    )["DBInstance"]
    assert changed["DBInstanceStatus"] == "modifying"
    assert changed["MasterUserSecret"]["SecretStatus"] == "creating"
    account.advance(60)
    again = waiting.instance_in_state(account.rds(), "again")
    secret = account.secret(again["MasterUserSecret"]["SecretArn"])
    assert secret is not None
    assert again["MasterUserSecret"]["SecretStatus"] == "active"
    assert _query(again, secret["password"], "SELECT 1") == [[1]]
    with pytest.raises(DatabaseError, match="password authentication failed"):
        _query(again, PASSWORD, "SELECT 1")

    account.rds().modify_db_instance(DBInstanceIdentifier="again", RotateMasterUserPassword=True, ApplyImmediately=True)
    account.advance(60)
    rotated = account.secret(again["MasterUserSecret"]["SecretArn"])
    assert rotated is not None
    assert rotated["password"] != secret["password"]
    assert _query(again, rotated["password"], "SELECT 1") == [[1]]


def test_a_given_password_replaces_the_old_one(account: Account) -> None:
    shop = account.make_instance("shop", Engine="postgres")
    account.rds().modify_db_instance(DBInstanceIdentifier="shop", MasterUserPassword="quite'another")
    assert _query(shop, PASSWORD, "SELECT 1") == [[1]]
    account.advance(60)
    assert _query(shop, "quite'another", "SELECT 1") == [[1]]
    assert account.events()[-1] == "RDS-EVENT-0016"


@pytest.mark.parametrize("state", ["creating", "backing-up", "deleting", "stopped"])
def test_an_instance_is_changed_in_a_state_that_allows_it(account: Account, state: str) -> None:
    account.make_instance("shop")
    databases.control("POST", {"status": {"region": "us-east-1", "instance": "shop", "status": state}})
    with pytest.raises(ClientError) as refused:
        account.rds().modify_db_instance(DBInstanceIdentifier="shop", BackupRetentionPeriod=7)
    assert _code(refused) == "InvalidDBInstanceState"


def test_a_stopped_database_is_silent_and_keeps_its_endpoint(account: Account) -> None:
    shop = account.make_instance("shop", Engine="postgres")
    account.rds().stop_db_instance(DBInstanceIdentifier="shop")
    account.advance(60)
    assert _instance(account, "shop")["DBInstanceStatus"] == "stopped"
    with pytest.raises((InterfaceError, OSError)):
        _query(shop, PASSWORD, "SELECT 1")
    account.rds().start_db_instance(DBInstanceIdentifier="shop")
    account.advance(60)
    assert _instance(account, "shop")["Endpoint"] == shop["Endpoint"]
    assert _query(shop, PASSWORD, "SELECT 1") == [[1]]


# ---------------------------------------------------------------------------- deletion


def test_a_deleted_instance_leaves_nothing(account: Account) -> None:
    homes = estate().directory / "servers"
    before = set(homes.iterdir())
    shop = account.make_instance("shop", Engine="postgres", ManageMasterUserPassword=True)
    assert len(set(homes.iterdir()) - before) == 1
    plant = {"region": "us-east-1", "instance": "shop", "snapshot": "rds:shop-1", "type": "automated"}
    databases.control("POST", {"plant": plant})
    gone = account.rds().delete_db_instance(DBInstanceIdentifier="shop", SkipFinalSnapshot=True)["DBInstance"]
    assert gone["DBInstanceStatus"] == "deleting"
    account.advance(60)
    with pytest.raises(ClientError) as refused:
        _instance(account, "shop")
    assert _code(refused) == "DBInstanceNotFound"
    assert set(homes.iterdir()) == before
    assert account.secret(shop["MasterUserSecret"]["SecretArn"]) is None
    assert account.rds().describe_db_snapshots()["DBSnapshots"] == []
    with pytest.raises(InterfaceError, match="Can't create a connection"):
        _query(shop, PASSWORD, "SELECT 1")
    assert account.events()[-1] == "RDS-EVENT-0003"


def test_automated_snapshots_stay_if_the_deletion_says_so(account: Account) -> None:
    account.make_instance("shop")
    plant = {"region": "us-east-1", "instance": "shop", "snapshot": "rds:shop-1", "type": "automated"}
    databases.control("POST", {"plant": plant})
    account.rds().delete_db_instance(DBInstanceIdentifier="shop", SkipFinalSnapshot=True, DeleteAutomatedBackups=False)
    account.advance(60)
    assert len(account.rds().describe_db_snapshots()["DBSnapshots"]) == 1


@pytest.mark.parametrize(
    ("settings", "wanted", "code"),
    [
        ({"DeletionProtection": True}, {"SkipFinalSnapshot": True}, "InvalidParameterCombination"),
        ({}, {}, "InvalidParameterCombination"),
        ({}, {"SkipFinalSnapshot": True, "FinalDBSnapshotIdentifier": "last"}, "InvalidParameterCombination"),
    ],
)
def test_a_deletion_is_refused(account: Account, settings: dict[str, Any], wanted: dict[str, Any], code: str) -> None:
    account.make_instance("shop", **settings)
    with pytest.raises(ClientError) as refused:
        account.rds().delete_db_instance(DBInstanceIdentifier="shop", **wanted)
    assert _code(refused) == code
    assert _instance(account, "shop")["DBInstanceStatus"] == "available"


def test_a_last_snapshot_outlives_its_instance(account: Account) -> None:
    account.make_instance("shop")
    account.rds().delete_db_instance(DBInstanceIdentifier="shop", FinalDBSnapshotIdentifier="last")
    account.advance(60)
    assert account.rds().describe_db_instances()["DBInstances"] == []
    assert waiting.snapshot_in_state(account.rds(), "last")["DBInstanceIdentifier"] == "shop"


def test_what_is_not_built_says_so(account: Account) -> None:
    account.make_instance("shop")
    with pytest.raises(ClientError, match="The embedded RDS has no") as refused:
        account.rds().create_db_instance_read_replica(SourceDBInstanceIdentifier="shop", DBInstanceIdentifier="replica")
    assert _code(refused) == "InvalidAction"
