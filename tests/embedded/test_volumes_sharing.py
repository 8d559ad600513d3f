"""Who else may use a snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embedded.volumes import in_process
from embedded.volumes.in_process import Account, refusal

STRANGER = "999999999999"
TO_EVERYBODY: dict[str, Any] = {"Attribute": "createVolumePermission", "OperationType": "add", "GroupNames": ["all"]}
TO_ONE: dict[str, Any] = {"Attribute": "createVolumePermission", "OperationType": "add", "UserIds": [STRANGER]}


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    with in_process.account(tmp_path) as fresh:
        yield fresh


@pytest.fixture
def snapshot_id(account: Account) -> str:
    return account.take_snapshot(account.make_volume())


def share(account: Account, snapshot_id: str, how: dict[str, Any]) -> None:
    account.ec2().modify_snapshot_attribute(SnapshotId=snapshot_id, **how)


def shown(account: Account, snapshot_id: str) -> list[dict[str, str]]:
    wanted = {"SnapshotId": snapshot_id, "Attribute": "createVolumePermission"}
    return list(account.ec2().describe_snapshot_attribute(**wanted)["CreateVolumePermissions"])


def restorable_by(account: Account, *users: str) -> list[str]:
    found = account.ec2().describe_snapshots(OwnerIds=["self"], RestorableByUserIds=list(users))["Snapshots"]
    return [snapshot["SnapshotId"] for snapshot in found]


def test_a_snapshot_is_its_owners_alone_until_it_is_shared(account: Account, snapshot_id: str) -> None:
    assert shown(account, snapshot_id) == []
    assert restorable_by(account, "all") == []
    assert restorable_by(account, "self") == [snapshot_id]


def test_a_public_snapshot_is_listed_for_all_and_not_for_an_account(account: Account, snapshot_id: str) -> None:
    share(account, snapshot_id, TO_EVERYBODY)
    assert shown(account, snapshot_id) == [{"Group": "all"}]
    assert restorable_by(account, "all") == [snapshot_id]
    assert restorable_by(account, STRANGER) == []


def test_a_snapshot_shared_with_an_account_is_listed_for_that_account(account: Account, snapshot_id: str) -> None:
    share(account, snapshot_id, TO_ONE)
    assert shown(account, snapshot_id) == [{"UserId": STRANGER}]
    assert restorable_by(account, STRANGER) == [snapshot_id]
    assert restorable_by(account, "all") == []


def test_the_new_form_of_the_request_does_the_same(account: Account, snapshot_id: str) -> None:
    added = {"Add": [{"UserId": STRANGER}, {"Group": "all"}]}
    account.ec2().modify_snapshot_attribute(SnapshotId=snapshot_id, CreateVolumePermission=added)
    assert shown(account, snapshot_id) == [{"Group": "all"}, {"UserId": STRANGER}]
    removed = {"Remove": [{"Group": "all"}]}
    account.ec2().modify_snapshot_attribute(SnapshotId=snapshot_id, CreateVolumePermission=removed)
    assert shown(account, snapshot_id) == [{"UserId": STRANGER}]


def test_a_reset_takes_every_share_back(account: Account, snapshot_id: str) -> None:
    share(account, snapshot_id, TO_EVERYBODY)
    share(account, snapshot_id, TO_ONE)
    account.ec2().reset_snapshot_attribute(SnapshotId=snapshot_id, Attribute="createVolumePermission")
    assert shown(account, snapshot_id) == []


def test_what_is_encrypted_cannot_be_made_public(account: Account) -> None:
    snapshot_id = account.take_snapshot(account.make_volume(Encrypted=True))
    refused = refusal(account.ec2().modify_snapshot_attribute, SnapshotId=snapshot_id, **TO_EVERYBODY)
    assert refused.code == "OperationNotPermitted"
    share(account, snapshot_id, TO_ONE)


@pytest.mark.parametrize("state", ["block-new-sharing", "block-all-sharing"])
def test_a_block_forbids_new_public_snapshots_in_its_region(account: Account, snapshot_id: str, state: str) -> None:
    assert account.ec2().enable_snapshot_block_public_access(State=state)["State"] == state
    refused = refusal(account.ec2().modify_snapshot_attribute, SnapshotId=snapshot_id, **TO_EVERYBODY)
    assert refused.code == "OperationNotPermitted"
    assert account.ec2("us-west-2").get_snapshot_block_public_access_state()["State"] == "unblocked"


def test_blocking_all_hides_what_is_public_and_leaves_its_permissions(account: Account, snapshot_id: str) -> None:
    share(account, snapshot_id, TO_EVERYBODY)
    account.ec2().enable_snapshot_block_public_access(State="block-all-sharing")
    assert restorable_by(account, "all") == []
    assert shown(account, snapshot_id) == [{"Group": "all"}]
    account.ec2().disable_snapshot_block_public_access()
    assert restorable_by(account, "all") == [snapshot_id]


def test_a_snapshot_that_does_not_exist_has_no_attributes(account: Account) -> None:
    call = account.ec2().describe_snapshot_attribute
    refused = refusal(call, SnapshotId="snap-0123456789abcdef0", Attribute="createVolumePermission")
    assert refused.code == "InvalidSnapshot.NotFound"
