"""What is refused, with which code, and when it is not refused any more."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from embedded import durations
from embedded.volumes import control, in_process
from embedded.volumes.in_process import Account, refusal
from embedded.volumes.limits import Limits, in_force

AWAY = "us-west-2"


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    with in_process.account(tmp_path) as fresh:
        yield fresh


def code(call: Callable[..., Any], **parameters: Any) -> str:
    return refusal(call, **parameters).code


@pytest.mark.parametrize(
    ("action", "burst", "per_second"),
    [
        ("CreateSnapshot", 100, 5),
        ("CreateSnapshots", 100, 5),
        ("CopySnapshot", 50, 5),
        ("DeleteSnapshot", 100, 5),
        ("CreateVolume", 100, 5),
        ("DeleteVolume", 100, 5),
        ("CreateTags", 100, 10),
        ("DescribeSnapshots", 100, 20),
        ("DescribeKeyPairs", 100, 20),
        ("DescribeSnapshots (unfiltered)", 50, 10),
        ("ListSnapshotBlocks", 50, 50),
        ("GetSnapshotBlock", 1000, 1000),
    ],
)
def test_a_bucket_lets_its_burst_through_and_then_its_rate(
    account: Account, action: str, burst: int, per_second: int
) -> None:
    limits = Limits()
    assert [limits.admit(action, "us-east-1") for _ in range(burst + 1)] == [True] * burst + [False]
    account.advance(1)
    assert [limits.admit(action, "us-east-1") for _ in range(per_second + 1)] == [True] * per_second + [False]
    account.advance(3600)
    assert sum(limits.admit(action, "us-east-1") for _ in range(2 * burst)) == burst


def test_buckets_are_per_region_and_per_action(account: Account) -> None:
    limits = Limits()
    while limits.admit("DescribeSnapshots", "us-east-1"):
        pass
    assert limits.admit("DescribeSnapshots", "us-west-2")
    assert limits.admit("DescribeVolumes", "us-east-1")


def test_a_clock_set_back_does_not_drain_a_bucket(account: Account) -> None:
    limits = Limits()
    assert limits.admit("CreateSnapshot", "us-east-1")
    account.advance(-3600)
    assert limits.admit("CreateSnapshot", "us-east-1")


def test_an_empty_bucket_is_answered_with_503(account: Account) -> None:
    in_force.change({"CreateVolume": {"burst": 1, "per_second": 1}})
    account.ec2().create_volume(AvailabilityZone="us-east-1a", Size=1)
    answer = refusal(account.ec2().create_volume, AvailabilityZone="us-east-1a", Size=1)
    assert (answer.code, answer.status) == ("RequestLimitExceeded", 503)
    account.advance(1)
    account.ec2().create_volume(AvailabilityZone="us-east-1a", Size=1)


def test_a_description_nobody_narrowed_down_has_a_smaller_bucket(account: Account) -> None:
    in_force.change({"DescribeSnapshots (unfiltered)": {"burst": 1, "per_second": 1}})
    account.ec2().describe_snapshots()
    assert code(account.ec2().describe_snapshots) == "RequestLimitExceeded"
    account.ec2().describe_snapshots(MaxResults=100)


@pytest.mark.parametrize(("volume_type", "most"), [("gp3", 5), ("st1", 1)])
def test_a_volume_has_only_so_many_pending_snapshots(account: Account, volume_type: str, most: int) -> None:
    durations.update({"snapshot": 1000})
    volume_id = account.make_volume(VolumeType=volume_type, Size=125)
    for _ in range(most):
        account.ec2().create_snapshot(VolumeId=volume_id)
        account.advance(15)
    assert code(account.ec2().create_snapshot, VolumeId=volume_id) == "ConcurrentSnapshotLimitExceeded"
    account.advance(1200)
    account.ec2().create_snapshot(VolumeId=volume_id)


def test_a_snapshot_deleted_while_pending_still_counts_as_pending(account: Account) -> None:
    durations.update({"snapshot": 1000})
    volume_id = account.make_volume(VolumeType="st1", Size=125)
    pending = account.ec2().create_snapshot(VolumeId=volume_id)["SnapshotId"]
    account.ec2().delete_snapshot(SnapshotId=pending)
    account.advance(15)
    assert code(account.ec2().create_snapshot, VolumeId=volume_id) == "ConcurrentSnapshotLimitExceeded"


def test_snapshots_of_one_volume_need_15_seconds_between_them(account: Account) -> None:
    volume_id, other = account.make_volume(), account.make_volume()
    account.ec2().create_snapshot(VolumeId=volume_id)
    account.advance(14)
    assert code(account.ec2().create_snapshot, VolumeId=volume_id) == "SnapshotCreationPerVolumeRateExceeded"
    account.ec2().create_snapshot(VolumeId=other)
    account.advance(1)
    account.ec2().create_snapshot(VolumeId=volume_id)


def test_a_region_has_only_so_many_pending_snapshots(account: Account) -> None:
    in_force.change({"pending_snapshots": 2})
    volumes = [account.make_volume() for _ in range(3)]
    abroad = account.make_volume("eu-west-1")
    for volume_id in volumes[:2]:
        account.ec2().create_snapshot(VolumeId=volume_id)
    assert code(account.ec2().create_snapshot, VolumeId=volumes[2]) == "PendingSnapshotLimitExceeded"
    account.ec2("eu-west-1").create_snapshot(VolumeId=abroad)
    account.advance(60)
    account.ec2().create_snapshot(VolumeId=volumes[2])


def test_a_region_holds_only_so_many_snapshots(account: Account) -> None:
    in_force.change({"snapshots": 1})
    volume_id = account.make_volume()
    snapshot_id = account.take_snapshot(volume_id)
    assert code(account.ec2().create_snapshot, VolumeId=volume_id) == "SnapshotLimitExceeded"
    account.ec2().delete_snapshot(SnapshotId=snapshot_id)
    account.ec2().create_snapshot(VolumeId=volume_id)


def test_a_destination_has_only_20_copies_in_progress(account: Account) -> None:
    snapshots = [account.take_snapshot(account.make_volume()) for _ in range(21)]
    for snapshot_id in snapshots[:20]:
        account.ec2(AWAY).copy_snapshot(SourceRegion="us-east-1", SourceSnapshotId=snapshot_id)
    again = {"SourceRegion": "us-east-1", "SourceSnapshotId": snapshots[20]}
    answer = refusal(account.ec2(AWAY).copy_snapshot, **again)
    assert answer.code == "ResourceLimitExceeded"
    assert answer.message == ("Too many snapshot copies in progress. The limit is 20 for this destination region.")
    account.ec2("eu-west-1").copy_snapshot(**again)
    account.advance(60)
    account.ec2(AWAY).copy_snapshot(**again)


def test_copies_that_wait_for_their_turn_are_in_progress_too(account: Account) -> None:
    in_force.change({"copies_in_progress": 2})
    volume_id = account.make_volume()
    first, second, third = (account.take_snapshot(volume_id) for _ in range(3))
    for snapshot_id in (first, second):
        account.ec2(AWAY).copy_snapshot(SourceRegion="us-east-1", SourceSnapshotId=snapshot_id)
    refused = code(account.ec2(AWAY).copy_snapshot, SourceRegion="us-east-1", SourceSnapshotId=third)
    assert refused == "ResourceLimitExceeded"


def test_the_block_apis_are_throttled_with_their_own_error(account: Account) -> None:
    in_force.change({"ListSnapshotBlocks": {"burst": 1, "per_second": 1}})
    snapshot_id = account.take_snapshot(account.make_volume())
    account.ebs().list_snapshot_blocks(SnapshotId=snapshot_id)
    answer = refusal(account.ebs().list_snapshot_blocks, SnapshotId=snapshot_id)
    assert (answer.code, answer.reason) == ("RequestThrottledException", "ACCOUNT_THROTTLED")


def test_an_unknown_limit_is_refused_with_the_known_ones() -> None:
    limits = Limits()
    with pytest.raises(ValueError, match="copies_in_progress"):
        limits.change({"copies": 3})


def test_the_limits_in_force_are_shown_changed_and_put_back(account: Account) -> None:
    published = control("GET", {})
    assert control("POST", {"copies_in_progress": 1})["copies_in_progress"] == 1
    assert in_force.quotas.copies_in_progress == 1
    assert control("DELETE", {}) == published
    with pytest.raises(ValueError, match="PUT"):
        control("PUT", {})


def test_limits_are_described_the_way_they_are_changed() -> None:
    limits = Limits()
    limits.change({"copies_in_progress": 3, "CopySnapshot": {"burst": 2, "per_second": 0.5}})
    assert limits.describe()["copies_in_progress"] == 3
    assert limits.describe()["CopySnapshot"] == {"burst": 2.0, "per_second": 0.5}
    other = Limits()
    other.change(limits.describe())
    assert other.describe() == limits.describe()
    limits.reset()
    assert limits.describe() == Limits().describe()
