"""Snapshot locks."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from embedded import durations
from embedded.volumes import in_process
from embedded.volumes.in_process import Account, refusal

DAY, HOUR = 86_400, 3600


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    with in_process.account(tmp_path) as fresh:
        yield fresh


@pytest.fixture
def snapshot_id(account: Account) -> str:
    return account.take_snapshot(account.make_volume())


def lock(account: Account, snapshot_id: str, **wanted: Any) -> dict[str, Any]:
    answer: dict[str, Any] = account.ec2().lock_snapshot(SnapshotId=snapshot_id, **wanted)
    return answer


def locked(account: Account, **wanted: Any) -> dict[str, str]:
    answer = account.ec2().describe_locked_snapshots(**wanted)
    return {shown["SnapshotId"]: shown["LockState"] for shown in answer["Snapshots"]}


def refused(account: Account, call: str, **parameters: Any) -> str:
    return refusal(getattr(account.ec2(), call), **parameters).code


def test_a_governed_lock_forbids_deletion_until_it_is_taken_off(account: Account, snapshot_id: str) -> None:
    answer = lock(account, snapshot_id, LockMode="governance", LockDuration=7)
    assert (answer["LockState"], answer["LockDuration"]) == ("governance", 7)
    assert refused(account, "delete_snapshot", SnapshotId=snapshot_id) == "SnapshotLocked"
    account.ec2().unlock_snapshot(SnapshotId=snapshot_id)
    account.ec2().delete_snapshot(SnapshotId=snapshot_id)


def test_a_lock_expires_and_then_forbids_nothing(account: Account, snapshot_id: str) -> None:
    lock(account, snapshot_id, LockMode="governance", LockDuration=1)
    account.advance(DAY - 1)
    assert refused(account, "delete_snapshot", SnapshotId=snapshot_id) == "SnapshotLocked"
    account.advance(2)
    assert locked(account) == {snapshot_id: "expired"}
    account.ec2().delete_snapshot(SnapshotId=snapshot_id)


def test_a_compliance_lock_can_be_taken_off_only_while_it_cools_off(account: Account, snapshot_id: str) -> None:
    lock(account, snapshot_id, LockMode="compliance", LockDuration=7, CoolOffPeriod=2)
    assert locked(account) == {snapshot_id: "compliance-cooloff"}
    assert refused(account, "delete_snapshot", SnapshotId=snapshot_id) == "SnapshotLocked"
    account.ec2().unlock_snapshot(SnapshotId=snapshot_id)

    lock(account, snapshot_id, LockMode="compliance", LockDuration=7, CoolOffPeriod=2)
    account.advance(2 * HOUR)
    assert locked(account) == {snapshot_id: "compliance"}
    assert refused(account, "unlock_snapshot", SnapshotId=snapshot_id) == "OperationNotPermitted"


def test_a_compliance_lock_without_cool_off_binds_at_once_and_can_only_grow(account: Account, snapshot_id: str) -> None:
    lock(account, snapshot_id, LockMode="compliance", LockDuration=7)
    wanted = {"SnapshotId": snapshot_id}
    assert refused(account, "unlock_snapshot", **wanted) == "OperationNotPermitted"
    shorter = wanted | {"LockMode": "compliance", "LockDuration": 6}
    assert refused(account, "lock_snapshot", **shorter) == "OperationNotPermitted"
    weaker = wanted | {"LockMode": "governance", "LockDuration": 9}
    assert refused(account, "lock_snapshot", **weaker) == "OperationNotPermitted"
    assert lock(account, snapshot_id, LockMode="compliance", LockDuration=9)["LockDuration"] == 9


def test_a_governed_lock_may_be_shortened_and_made_compliant(account: Account, snapshot_id: str) -> None:
    lock(account, snapshot_id, LockMode="governance", LockDuration=30)
    lock(account, snapshot_id, LockMode="governance", LockDuration=2)
    assert lock(account, snapshot_id, LockMode="compliance", LockDuration=1)["LockState"] == "compliance"


def test_a_lock_on_a_pending_snapshot_runs_from_its_completion(account: Account) -> None:
    durations.update({"snapshot": 10 * HOUR})
    pending = account.ec2().create_snapshot(VolumeId=account.make_volume())["SnapshotId"]
    answer = lock(account, pending, LockMode="governance", LockDuration=1)
    assert "LockExpiresOn" not in answer
    account.advance(12 * HOUR)
    shown = account.ec2().describe_locked_snapshots(SnapshotIds=[pending])["Snapshots"][0]
    completed_at = account.see(pending)["CompletionTime"]
    assert abs(shown["LockDurationStartTime"] - completed_at) < timedelta(seconds=1)
    assert shown["LockExpiresOn"] - shown["LockDurationStartTime"] == timedelta(days=1)


def test_a_lock_is_dropped_with_a_failed_snapshot(account: Account) -> None:
    account.doom("snapshot", "fail")
    failing = account.ec2().create_snapshot(VolumeId=account.make_volume())["SnapshotId"]
    lock(account, failing, LockMode="compliance", LockDuration=7)
    account.advance(HOUR)
    assert locked(account) == {}
    account.ec2().delete_snapshot(SnapshotId=failing)


def test_a_lock_may_be_given_an_end_instead_of_a_length(account: Account, snapshot_id: str) -> None:
    until = datetime.now(UTC) + timedelta(days=3, hours=5)
    answer = lock(account, snapshot_id, LockMode="governance", ExpirationDate=until)
    assert abs(answer["LockExpiresOn"] - until) < timedelta(seconds=1)
    account.advance(3 * DAY + 5 * HOUR + 1)
    assert locked(account) == {snapshot_id: "expired"}


def test_locks_are_found_by_state(account: Account, snapshot_id: str) -> None:
    other = account.take_snapshot(account.make_volume())
    lock(account, snapshot_id, LockMode="governance", LockDuration=7)
    lock(account, other, LockMode="compliance", LockDuration=7)
    assert locked(account, Filters=[{"Name": "lock-state", "Values": ["compliance"]}]) == {other: "compliance"}


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"LockMode": "governance"}, "InvalidParameterCombination"),
        ({"LockMode": "governance", "LockDuration": 0}, "InvalidParameterValue"),
        ({"LockMode": "governance", "LockDuration": 36_501}, "InvalidParameterValue"),
        ({"LockMode": "governance", "LockDuration": 1, "CoolOffPeriod": 1}, "InvalidParameterCombination"),
        ({"LockMode": "compliance", "LockDuration": 1, "CoolOffPeriod": 73}, "InvalidParameterValue"),
    ],
)
def test_an_impossible_lock_is_refused(account: Account, snapshot_id: str, wanted: dict[str, Any], code: str) -> None:
    assert refused(account, "lock_snapshot", SnapshotId=snapshot_id, **wanted) == code
    assert locked(account) == {}


def test_what_is_not_locked_or_not_any_more_cannot_be_unlocked(account: Account, snapshot_id: str) -> None:
    assert refused(account, "unlock_snapshot", SnapshotId=snapshot_id) == "SnapshotNotLocked"
    lock(account, snapshot_id, LockMode="governance", LockDuration=1)
    account.advance(DAY)
    assert refused(account, "unlock_snapshot", SnapshotId=snapshot_id) == "SnapshotNotLocked"
