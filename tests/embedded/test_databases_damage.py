"""Damage to what a snapshot holds: nobody sees it before the restore, and whoever restores it does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pg8000.exceptions import DatabaseError

from embedded import databases
from embedded.databases import connection, in_process
from embedded.databases.in_process import Account

PASSWORD = "a master's password"


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    with in_process.account() as fresh:
        yield fresh


@pytest.fixture(scope="module")
def shop(account: Account) -> dict[str, Any]:
    """A database with a table on several pages, all of them on storage, and the file that they are in."""
    made = account.make_instance("shop", Engine="postgres", DBName="shop", BackupRetentionPeriod=0)
    with connection(made["Endpoint"], "holdfast", PASSWORD, database="shop") as connected:
        connected.run("CREATE TABLE orders AS SELECT id, repeat('x', 500) FROM generate_series(1, 200) AS id")
        connected.run("VACUUM orders")
        connected.run("CHECKPOINT")
        ((file,),) = connected.run("SELECT pg_relation_filepath('orders')") or []
    return {"file": file}


def _damage(snapshot: str, **wanted: object) -> str:
    return databases.control("POST", {"damage": {"region": "us-east-1", "snapshot": snapshot, **wanted}})["damaged"]


def _restored(account: Account, snapshot: str) -> dict[str, Any]:
    name = f"of-{snapshot}"
    account.rds().restore_db_instance_from_db_snapshot(DBInstanceIdentifier=name, DBSnapshotIdentifier=snapshot)
    account.advance(60)
    for _ in range(600):
        shown = account.rds().describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]
        if shown["DBInstanceStatus"] != "creating":
            return shown
        account.advance(0.1)
    raise AssertionError(f"{name} is still being created")


def _count(shown: dict[str, Any]) -> int:
    with connection(shown["Endpoint"], "holdfast", PASSWORD, database="shop") as connected:
        ((rows,),) = connected.run("SELECT count(*) FROM orders") or []
    return rows


def test_a_damaged_page_is_found_by_the_first_who_reads_it(account: Account, shop: dict[str, Any]) -> None:
    before = account.take_snapshot("shop", "page")
    assert _damage("page", what="page", file=shop["file"], page=3) == shop["file"]
    after = account.rds().describe_db_snapshots(DBSnapshotIdentifier="page")["DBSnapshots"][0]
    assert after == before
    restored = _restored(account, "page")
    assert restored["DBInstanceStatus"] == "available"
    with pytest.raises(DatabaseError) as problem:
        _count(restored)
    assert problem.value.args[0]["C"] == "XX001"
    assert "invalid page in block 3" in problem.value.args[0]["M"]


def test_a_server_whose_first_segment_is_lost_ends_as_an_error_of_the_restore(
    account: Account, shop: dict[str, Any]
) -> None:
    """`restore-error` is what RDS calls an instance that it cannot restore from a snapshot."""
    account.take_snapshot("shop", "wal")
    assert _damage("wal", what="wal").startswith("pg_wal/0000000100000000000000")
    restored = _restored(account, "wal")
    assert restored["DBInstanceStatus"] == "restore-error"
    assert "Endpoint" not in restored


def test_a_copy_is_damaged_alone(account: Account, shop: dict[str, Any]) -> None:
    account.take_snapshot("shop", "whole")
    account.rds().copy_db_snapshot(SourceDBSnapshotIdentifier="whole", TargetDBSnapshotIdentifier="copied")
    account.advance(60)
    _damage("copied", what="wal")
    assert _restored(account, "copied")["DBInstanceStatus"] == "restore-error"
    assert _count(_restored(account, "whole")) == 200


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"what": "dust"}, 'damage is "page" or "wal"'),
        ({"what": "page", "file": "base/1/none"}, "there is no file"),
        ({"what": "page", "file": "../../../../../../etc/passwd"}, "there is no file"),
        ({"what": "page", "file": "PG_VERSION"}, "has 0 pages"),
    ],
)
def test_damage_that_cannot_be_done_is_refused(
    account: Account, shop: dict[str, Any], wanted: dict[str, Any], says: str
) -> None:
    if not account.rds().describe_db_snapshots()["DBSnapshots"]:
        account.take_snapshot("shop", "whole")
    name = account.rds().describe_db_snapshots()["DBSnapshots"][0]["DBSnapshotIdentifier"]
    with pytest.raises(ValueError, match=says):
        _damage(name, **wanted)


def test_a_snapshot_without_content_cannot_be_damaged(account: Account) -> None:
    account.make_instance("bank")
    account.take_snapshot("bank", "bank")
    with pytest.raises(ValueError, match="has no content"):
        _damage("bank", what="wal")
    with pytest.raises(ValueError, match="none"):
        _damage("none", what="wal")
