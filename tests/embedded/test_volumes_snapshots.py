"""Snapshots of volumes: their content, their life, their notices, their end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded import durations
from embedded.volumes import in_process
from embedded.volumes.blockstore import BLOCK_BYTES
from embedded.volumes.in_process import Account, refusal


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    with in_process.account(tmp_path) as fresh:
        yield fresh


def test_a_snapshot_is_pending_moves_and_completes(account: Account) -> None:
    durations.update({"snapshot": 100})
    volume_id = account.make_volume()
    account.write(volume_id, 0, b"data")
    started = account.ec2().create_snapshot(VolumeId=volume_id, Description="nightly")
    assert (started["State"], started["Description"], started["VolumeSize"]) == ("pending", "nightly", 1)
    assert "CompletionTime" not in started

    account.advance(50)
    half = account.see(started["SnapshotId"])
    assert half["State"] == "pending"
    assert 40 <= int(half["Progress"].rstrip("%")) <= 60
    assert "FullSnapshotSizeInBytes" not in half

    account.advance(70)
    done = account.see(started["SnapshotId"])
    assert (done["State"], done["Progress"]) == ("completed", "100%")
    assert done["FullSnapshotSizeInBytes"] == BLOCK_BYTES
    assert 90 <= (done["CompletionTime"] - done["StartTime"]).total_seconds() <= 121
    assert done["VolumeId"] == volume_id


def test_changed_data_makes_a_snapshot_take_longer(account: Account) -> None:
    durations.update({"snapshot": 10, "snapshot_per_gib": 3600})
    volume_id = account.make_volume()
    account.write(volume_id, 0, b"x" * (64 * BLOCK_BYTES))
    first = account.ec2().create_snapshot(VolumeId=volume_id)["SnapshotId"]
    account.advance(60)
    assert account.see(first)["State"] == "pending"
    account.advance(100)
    assert account.see(first)["State"] == "completed"
    second = account.ec2().create_snapshot(VolumeId=volume_id)["SnapshotId"]
    account.advance(12)
    assert account.see(second)["State"] == "completed"


def test_a_snapshot_holds_what_the_volume_held_at_the_call(account: Account) -> None:
    volume_id = account.make_volume()
    account.write(volume_id, 5, b"before")
    started = account.ec2().create_snapshot(VolumeId=volume_id)
    account.write(volume_id, 5, b"after!")
    account.advance(3600)
    restored = account.make_volume(SnapshotId=started["SnapshotId"])
    with account.image(restored).open("rb") as image:
        image.seek(5 * BLOCK_BYTES)
        assert image.read(6) == b"before"


def test_a_completed_snapshot_is_noticed_in_its_own_region_with_the_arns_aws_really_writes(account: Account) -> None:
    volume_id = account.make_volume(region="eu-west-1")
    account.notices.clear()
    snapshot_id = account.take_snapshot(volume_id, region="eu-west-1")
    (notice,) = account.notices
    assert (notice.region, notice.source, notice.detail_type) == ("eu-west-1", "aws.ec2", "EBS Snapshot Notification")
    assert notice.resources == (f"arn:aws:ec2::eu-west-1:snapshot/{snapshot_id}",)
    assert notice.detail["event"] == "createSnapshot"
    assert notice.detail["result"] == "succeeded"
    assert notice.detail["snapshot_id"] == f"arn:aws:ec2::eu-west-1:snapshot/{snapshot_id}"
    assert notice.detail["source"] == f"arn:aws:ec2::eu-west-1:volume/{volume_id}"
    assert notice.detail["startTime"].endswith("Z")
    assert notice.detail["startTime"] < notice.detail["endTime"]


def test_a_snapshot_told_to_fail_ends_in_error_and_says_so(account: Account) -> None:
    volume_id = account.make_volume()
    account.notices.clear()
    account.doom("snapshot", "fail")
    failed = account.take_snapshot(volume_id)
    assert account.see(failed)["State"] == "error"
    assert [notice.detail["result"] for notice in account.notices] == ["failed"]
    assert account.see(account.take_snapshot(volume_id))["State"] == "completed"


def test_a_snapshot_told_to_stick_stays_pending_for_ever(account: Account) -> None:
    volume_id = account.make_volume()
    account.notices.clear()
    account.doom("snapshot", "stick")
    stuck = account.take_snapshot(volume_id)
    account.advance(30 * 86_400)
    assert account.see(stuck)["State"] == "pending"
    assert account.notices == []


def test_a_deleted_snapshot_is_not_found_any_more(account: Account) -> None:
    snapshot_id = account.take_snapshot(account.make_volume())
    account.ec2().delete_snapshot(SnapshotId=snapshot_id)
    assert refusal(account.ec2().delete_snapshot, SnapshotId=snapshot_id).code == "InvalidSnapshot.NotFound"
    assert refusal(account.see, snapshot_id=snapshot_id).code == "InvalidSnapshot.NotFound"


def test_a_snapshot_deleted_while_pending_goes_out_of_sight_without_a_notice(account: Account) -> None:
    volume_id = account.make_volume()
    account.notices.clear()
    snapshot_id = account.ec2().create_snapshot(VolumeId=volume_id)["SnapshotId"]
    account.ec2().delete_snapshot(SnapshotId=snapshot_id)
    account.advance(3600)
    assert account.ec2().describe_snapshots(OwnerIds=["self"])["Snapshots"] == []
    assert account.notices == []


def test_deleting_an_old_snapshot_leaves_the_blocks_a_newer_one_needs(account: Account) -> None:
    volume_id = account.make_volume()
    account.write(volume_id, 0, b"shared")
    first = account.take_snapshot(volume_id)
    second = account.take_snapshot(volume_id)
    account.ec2().delete_snapshot(SnapshotId=first)
    restored = account.make_volume(SnapshotId=second)
    with account.image(restored).open("rb") as image:
        assert image.read(6) == b"shared"


def test_the_last_snapshot_takes_its_blocks_with_it(account: Account) -> None:
    volume_id = account.make_volume()
    account.write(volume_id, 0, b"data")
    snapshot_id = account.take_snapshot(volume_id)
    copy = account.copy_snapshot(snapshot_id)

    def blocks() -> int:
        return sum(path.is_file() for path in (account.data_directory / "blocks").rglob("*"))

    account.ec2().delete_snapshot(SnapshotId=snapshot_id)
    assert blocks() == 1
    account.ec2("us-west-2").delete_snapshot(SnapshotId=copy)
    assert blocks() == 0


@pytest.mark.parametrize("disabled", [False, True])
def test_a_snapshot_of_a_registered_image_cannot_be_deleted_even_if_the_image_is_disabled(
    account: Account, disabled: bool
) -> None:
    snapshot_id = account.take_snapshot(account.make_volume())
    image_id = account.ec2().register_image(
        Name="golden",
        RootDeviceName="/dev/xvda",
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id}}],
    )["ImageId"]
    if disabled:
        account.ec2().disable_image(ImageId=image_id)
    assert refusal(lambda: account.ec2().delete_snapshot(SnapshotId=snapshot_id)).code == "InvalidSnapshot.InUse"
    account.ec2().deregister_image(ImageId=image_id)
    account.ec2().delete_snapshot(SnapshotId=snapshot_id)


def test_tags_of_the_call_are_on_the_snapshot_at_once(account: Account) -> None:
    tags = [{"ResourceType": "snapshot", "Tags": [{"Key": "holdfast:slot", "Value": "s1"}]}]
    started = account.ec2().create_snapshot(VolumeId=account.make_volume(), TagSpecifications=tags)
    assert started["Tags"] == [{"Key": "holdfast:slot", "Value": "s1"}]
    assert account.see(started["SnapshotId"])["Tags"] == [{"Key": "holdfast:slot", "Value": "s1"}]


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({f"tag-{number}": "x" for number in range(51)}, "TagLimitExceeded"),
        ({"aws:backup": "x"}, "InvalidParameterValue"),
    ],
)
def test_impossible_tags_are_refused_before_anything_is_made(account: Account, tags: dict[str, str], code: str) -> None:
    volume_id = account.make_volume()
    specification = [{"ResourceType": "snapshot", "Tags": [{"Key": key, "Value": tags[key]} for key in tags]}]
    wanted = {"VolumeId": volume_id, "TagSpecifications": specification}
    assert refusal(account.ec2().create_snapshot, **wanted).code == code
    assert account.ec2().describe_snapshots(OwnerIds=["self"])["Snapshots"] == []


def test_a_snapshot_keeps_the_size_its_volume_had(account: Account) -> None:
    volume_id = account.make_volume()
    snapshot_id = account.take_snapshot(volume_id)
    account.ec2().modify_volume(VolumeId=volume_id, Size=3)
    assert account.image(volume_id).stat().st_size == 3 << 30
    assert account.see(snapshot_id)["VolumeSize"] == 1
    account.ec2().delete_volume(VolumeId=volume_id)
    assert account.see(snapshot_id)["VolumeSize"] == 1


def test_a_snapshot_of_an_unknown_volume_is_refused(account: Account) -> None:
    assert (
        refusal(lambda: account.ec2().create_snapshot(VolumeId="vol-0123456789abcdef0")).code
        == "InvalidVolume.NotFound"
    )
