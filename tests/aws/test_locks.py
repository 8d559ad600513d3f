"""Locks as they leave for EC2, and as EC2 keeps them, on the embedded AWS in this process."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from embedded.volumes import in_process
from embedded.volumes.in_process import Account
from functions.aws import locks
from functions.aws.faults import translated
from functions.aws.locks import EbsLocks
from functions.core.errors import SnapshotGone, Unsafe
from functions.core.locks import LockRequest, LockState
from functions.core.policies import LockMode
from tests.aws.recoveries.account import keep_moto_as_it_is
from tests.aws.test_shares import REGION, Given, a_snapshot

GOVERNANCE = LockRequest(mode=LockMode.GOVERNANCE, days=7, cool_off_hours=None)
COMPLIANCE = LockRequest(mode=LockMode.COMPLIANCE, days=7, cool_off_hours=12)


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    keep_moto_as_it_is(monkeypatch)
    with in_process.account(tmp_path) as fresh:
        yield fresh


@pytest.fixture
def adapter(account: Account) -> EbsLocks:
    return EbsLocks(REGION, Given(lambda _, region: account.ec2(region)))


def test_what_nobody_locked_is_not_among_the_locks(account: Account, adapter: EbsLocks) -> None:
    a_snapshot(account)
    assert adapter.held() == {}


def test_a_governance_lock_holds_for_its_days(account: Account, adapter: EbsLocks) -> None:
    id = a_snapshot(account)
    adapter.lock(id, GOVERNANCE)
    held = adapter.held()[id]
    assert held.state == LockState.GOVERNANCE
    assert held.expires_at == datetime.now(UTC) + timedelta(days=7)


def test_a_compliance_lock_cools_off_first(account: Account, adapter: EbsLocks) -> None:
    id = a_snapshot(account)
    adapter.lock(id, COMPLIANCE)
    assert adapter.held()[id].state == LockState.COOLING_OFF
    account.advance(13 * 3600)
    assert adapter.held()[id].state == LockState.COMPLIANCE


def test_a_lock_that_has_run_its_time_is_still_told(account: Account, adapter: EbsLocks) -> None:
    id = a_snapshot(account)
    adapter.lock(id, GOVERNANCE)
    account.advance(8 * 86_400)
    assert adapter.held()[id].state == LockState.EXPIRED


def test_all_locks_are_read_to_the_last_page(
    account: Account, adapter: EbsLocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PAGE", 5)
    volume = account.make_volume()
    ids = {a_snapshot(account, volume=volume) for _ in range(7)}
    for id in ids:
        adapter.lock(id, GOVERNANCE)
    assert set(adapter.held()) == ids


def test_a_snapshot_that_does_not_exist_cannot_be_locked(adapter: EbsLocks) -> None:
    with pytest.raises(SnapshotGone):
        adapter.lock("snap-0123456789abcdef0", GOVERNANCE)


def test_only_what_is_ours_is_locked_and_only_by_days() -> None:
    """The days are narrowed where the role is made."""
    (locking,) = locks.PERMISSIONS["lock"]
    assert locking.actions == ("ec2:LockSnapshot",)
    assert locking.conditions["NumericLessThanEquals"] == {"ec2:SnapshotLockDuration": "36500"}
    assert locking.conditions["StringEquals"] == {"aws:ResourceTag/holdfast:managed": "1"}


def test_a_locked_snapshot_cannot_be_deleted_and_that_is_no_defect(account: Account, adapter: EbsLocks) -> None:
    """F63."""
    id = a_snapshot(account)
    adapter.lock(id, GOVERNANCE)
    with pytest.raises(Unsafe, match="SnapshotLocked"), translated("ec2:DeleteSnapshot", resource=id):
        account.ec2().delete_snapshot(SnapshotId=id)
