"""Volumes: from nothing or from a snapshot, and gone again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embedded import durations
from embedded.volumes import in_process
from embedded.volumes.in_process import Account, refusal

ZONE = "us-east-1a"


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    with in_process.account(tmp_path) as fresh:
        yield fresh


def state(account: Account, volume_id: str) -> str:
    return str(account.ec2().describe_volumes(VolumeIds=[volume_id])["Volumes"][0]["State"])


def test_a_volume_is_creating_and_then_available_with_a_notice(account: Account) -> None:
    durations.update({"volume": 30})
    volume_id = account.ec2().create_volume(AvailabilityZone=ZONE, Size=2)["VolumeId"]
    assert state(account, volume_id) == "creating"
    assert account.notices == []
    account.advance(31)
    assert state(account, volume_id) == "available"
    assert account.image(volume_id).stat().st_size == 2 << 30
    (notice,) = account.notices
    assert notice.detail_type == "EBS Volume Notification"
    assert notice.resources == (f"arn:aws:ec2:us-east-1:123456789012:volume/{volume_id}",)
    assert (notice.detail["event"], notice.detail["result"]) == ("createVolume", "available")


def test_volumes_are_found_by_their_state(account: Account) -> None:
    available = account.make_volume()
    creating = account.ec2().create_volume(AvailabilityZone=ZONE, Size=1)["VolumeId"]

    def found(wanted: str) -> list[str]:
        answer = account.ec2().describe_volumes(Filters=[{"Name": "status", "Values": [wanted]}])
        return [volume["VolumeId"] for volume in answer["Volumes"]]

    assert found("available") == [available]
    assert found("creating") == [creating]


def test_a_repeated_request_with_its_token_makes_no_second_volume(account: Account) -> None:
    wanted: dict[str, Any] = {"AvailabilityZone": ZONE, "Size": 1, "ClientToken": "restore-7"}
    first = account.ec2().create_volume(**wanted)["VolumeId"]
    assert account.ec2().create_volume(**wanted)["VolumeId"] == first
    assert len(account.ec2().describe_volumes()["Volumes"]) == 1
    assert refusal(lambda: account.ec2().create_volume(**(wanted | {"Size": 2}))).code == "IdempotentParameterMismatch"


def test_a_volume_of_a_snapshot_holds_its_bytes_and_may_be_larger(account: Account) -> None:
    origin = account.make_volume()
    account.write(origin, 9, b"restored")
    snapshot_id = account.take_snapshot(origin)
    restored = account.make_volume(SnapshotId=snapshot_id, Size=3)
    with account.image(restored).open("rb") as image:
        image.seek(9 * 512 * 1024)
        assert image.read(8) == b"restored"
    assert account.image(restored).stat().st_size == 3 << 30
    volume = account.ec2().describe_volumes(VolumeIds=[restored])["Volumes"][0]
    assert (volume["SnapshotId"], volume["Size"]) == (snapshot_id, 3)


def test_a_volume_smaller_than_its_snapshot_is_refused(account: Account) -> None:
    snapshot_id = account.take_snapshot(account.make_volume(Size=2))
    assert (
        refusal(lambda: account.ec2().create_volume(AvailabilityZone=ZONE, SnapshotId=snapshot_id, Size=1)).code
        == "InvalidParameterValue"
    )


def test_a_volume_of_a_pending_or_unknown_snapshot_is_refused(account: Account) -> None:
    pending = account.ec2().create_snapshot(VolumeId=account.make_volume())["SnapshotId"]
    wanted = {"AvailabilityZone": ZONE, "SnapshotId": pending}
    assert refusal(account.ec2().create_volume, **wanted).code == "IncorrectState"
    wanted["SnapshotId"] = "snap-0123456789abcdef0"
    assert refusal(account.ec2().create_volume, **wanted).code == "InvalidSnapshot.NotFound"


def test_a_volume_with_a_disabled_key_is_accepted_and_vanishes_with_a_notice(account: Account) -> None:
    key = account.kms("create_key", "us-east-1")["KeyMetadata"]
    account.kms("disable_key", "us-east-1", KeyId=key["KeyId"])
    volume_id = account.ec2().create_volume(AvailabilityZone=ZONE, Size=1, Encrypted=True, KmsKeyId=key["Arn"])[
        "VolumeId"
    ]
    account.advance(60)
    assert refusal(lambda: state(account, volume_id)).code == "InvalidVolume.NotFound"
    assert not account.image(volume_id).exists()
    (notice,) = account.notices
    assert (notice.detail["event"], notice.detail["result"]) == ("createVolume", "failed")
    assert notice.detail["cause"] == f"{key['Arn']} is disabled."


def test_a_volume_of_an_encrypted_snapshot_is_under_the_snapshots_key_or_the_one_it_is_given(account: Account) -> None:
    first, second = (account.kms("create_key", "us-east-1")["KeyMetadata"]["Arn"] for _ in range(2))
    snapshot_id = account.take_snapshot(account.make_volume(Encrypted=True, KmsKeyId=first))
    for wanted, expected in (({}, first), ({"KmsKeyId": second}, second)):
        volume_id = account.make_volume(SnapshotId=snapshot_id, **wanted)
        volume = account.ec2().describe_volumes(VolumeIds=[volume_id])["Volumes"][0]
        assert (volume["Encrypted"], volume["KmsKeyId"]) == (True, expected)


def test_a_volume_is_encrypted_where_encryption_is_the_default(account: Account) -> None:
    account.ec2().enable_ebs_encryption_by_default()
    volume = account.ec2().describe_volumes(VolumeIds=[account.make_volume()])["Volumes"][0]
    assert volume["Encrypted"] is True
    assert volume["KmsKeyId"] == account.ec2().get_ebs_default_kms_key_id()["KmsKeyId"]


def test_a_deleted_volume_takes_its_image_with_it_and_is_noticed(account: Account) -> None:
    volume_id = account.make_volume()
    account.notices.clear()
    account.ec2().delete_volume(VolumeId=volume_id)
    assert not account.image(volume_id).exists()
    (notice,) = account.notices
    assert (notice.detail["event"], notice.detail["result"]) == ("deleteVolume", "deleted")
    assert refusal(lambda: account.ec2().delete_volume(VolumeId=volume_id)).code == "InvalidVolume.NotFound"


def test_an_attached_volume_is_in_use_and_cannot_be_deleted(account: Account) -> None:
    instance_id = account.ec2().run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1)["Instances"][0][
        "InstanceId"
    ]
    volume_id = account.make_volume()
    account.ec2().attach_volume(InstanceId=instance_id, VolumeId=volume_id, Device="/dev/sdf")
    assert state(account, volume_id) == "in-use"
    assert refusal(lambda: account.ec2().delete_volume(VolumeId=volume_id)).code == "VolumeInUse"
    account.ec2().detach_volume(InstanceId=instance_id, VolumeId=volume_id, Device="/dev/sdf")
    account.ec2().delete_volume(VolumeId=volume_id)


def test_a_volume_still_creating_cannot_be_attached(account: Account) -> None:
    instance_id = account.ec2().run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1)["Instances"][0][
        "InstanceId"
    ]
    volume_id = account.ec2().create_volume(AvailabilityZone=ZONE, Size=1)["VolumeId"]
    assert (
        refusal(lambda: account.ec2().attach_volume(InstanceId=instance_id, VolumeId=volume_id, Device="/dev/sdf")).code
        == "IncorrectState"
    )


def test_volumes_of_a_launched_instance_have_images_and_go_with_it(account: Account) -> None:
    instance = account.ec2().run_instances(
        ImageId="ami-12345678",
        MinCount=1,
        MaxCount=1,
        BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 4, "DeleteOnTermination": True}}],
    )["Instances"][0]
    (volume,) = account.ec2().describe_volumes()["Volumes"]
    assert account.image(volume["VolumeId"]).stat().st_size == 4 << 30
    account.ec2().terminate_instances(InstanceIds=[instance["InstanceId"]])
    assert not account.image(volume["VolumeId"]).exists()


def test_an_unknown_zone_is_refused(account: Account) -> None:
    assert (
        refusal(lambda: account.ec2().create_volume(AvailabilityZone="us-east-1z", Size=1)).code
        == "InvalidZone.NotFound"
    )
