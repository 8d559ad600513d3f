"""CreateSnapshots: the volumes of one instance as one set."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embedded.volumes import in_process
from embedded.volumes.in_process import Account, refusal

ROOT, DATA, LOGS = "/dev/sda1", "/dev/sdb", "/dev/sdc"


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    with in_process.account(tmp_path) as fresh:
        yield fresh


@pytest.fixture
def instance(account: Account) -> dict[str, Any]:
    """An instance with a root and a data volume from its launch, and one volume attached later."""
    launched: dict[str, Any] = account.ec2().run_instances(
        ImageId="ami-12345678",
        MinCount=1,
        MaxCount=1,
        Placement={"AvailabilityZone": "us-east-1a"},
        BlockDeviceMappings=[
            {"DeviceName": ROOT, "Ebs": {"VolumeSize": 1}},
            {"DeviceName": DATA, "Ebs": {"VolumeSize": 1}},
        ],
    )["Instances"][0]
    tags = [{"Key": "team", "Value": "shop"}, {"Key": "kind", "Value": "logs"}]
    volume_id = account.make_volume(TagSpecifications=[{"ResourceType": "volume", "Tags": tags}])
    account.ec2().attach_volume(InstanceId=launched["InstanceId"], VolumeId=volume_id, Device=LOGS)
    account.notices.clear()
    return launched


def volumes_of(account: Account, instance: dict[str, Any]) -> dict[str, str]:
    filters = [{"Name": "attachment.instance-id", "Values": [instance["InstanceId"]]}]
    found = account.ec2().describe_volumes(Filters=filters)["Volumes"]
    return {volume["Attachments"][0]["Device"]: volume["VolumeId"] for volume in found}


def test_a_set_has_one_snapshot_per_volume_all_of_one_start(account: Account, instance: dict[str, Any]) -> None:
    volumes = volumes_of(account, instance)
    for volume_id in volumes.values():
        account.write(volume_id, 0, volume_id.encode())
    made = account.ec2().create_snapshots(InstanceSpecification={"InstanceId": instance["InstanceId"]})["Snapshots"]
    assert {snapshot["VolumeId"] for snapshot in made} == set(volumes.values())
    assert len({snapshot["StartTime"] for snapshot in made}) == 1
    assert {snapshot["State"] for snapshot in made} == {"pending"}
    account.advance(3600)
    for snapshot in made:
        restored = account.make_volume(SnapshotId=snapshot["SnapshotId"])
        with account.image(restored).open("rb") as image:
            assert image.read(len(snapshot["VolumeId"])).decode() == snapshot["VolumeId"]


def test_a_set_is_noticed_once_when_its_last_member_is_complete(account: Account, instance: dict[str, Any]) -> None:
    made = account.ec2().create_snapshots(InstanceSpecification={"InstanceId": instance["InstanceId"]})["Snapshots"]
    account.advance(3600)
    (notice,) = account.notices
    assert notice.detail_type == "EBS Multi-Volume Snapshots Completion Status"
    assert (notice.detail["event"], notice.detail["result"]) == ("createSnapshots", "succeeded")
    arns = {f"arn:aws:ec2::us-east-1:snapshot/{snapshot['SnapshotId']}" for snapshot in made}
    assert set(notice.resources) == arns == {member["snapshot_id"] for member in notice.detail["snapshots"]}
    assert {member["status"] for member in notice.detail["snapshots"]} == {"completed"}


def test_one_failed_member_fails_the_whole_set(account: Account, instance: dict[str, Any]) -> None:
    account.doom("snapshot", "fail")
    made = account.ec2().create_snapshots(InstanceSpecification={"InstanceId": instance["InstanceId"]})["Snapshots"]
    account.advance(3600)
    assert {account.see(snapshot["SnapshotId"])["State"] for snapshot in made} == {"error"}
    (notice,) = account.notices
    assert notice.detail["result"] == "failed"
    assert notice.detail["cause"].endswith("is in status error")


def test_a_set_with_a_stuck_member_is_never_noticed(account: Account, instance: dict[str, Any]) -> None:
    account.doom("snapshot", "stick")
    made = account.ec2().create_snapshots(InstanceSpecification={"InstanceId": instance["InstanceId"]})["Snapshots"]
    account.advance(86_400)
    states = [account.see(snapshot["SnapshotId"])["State"] for snapshot in made]
    assert sorted(states) == ["completed", "completed", "pending"]
    assert account.notices == []


def test_the_boot_volume_and_named_data_volumes_can_be_left_out(account: Account, instance: dict[str, Any]) -> None:
    volumes = volumes_of(account, instance)
    wanted = {
        "InstanceId": instance["InstanceId"],
        "ExcludeBootVolume": True,
        "ExcludeDataVolumeIds": [volumes[DATA]],
    }
    made = account.ec2().create_snapshots(InstanceSpecification=wanted)["Snapshots"]
    assert [snapshot["VolumeId"] for snapshot in made] == [volumes[LOGS]]


def test_leaving_out_a_volume_that_is_not_a_data_volume_is_refused(account: Account, instance: dict[str, Any]) -> None:
    boot = volumes_of(account, instance)[ROOT]
    assert (
        refusal(
            lambda: account.ec2().create_snapshots(
                InstanceSpecification={"InstanceId": instance["InstanceId"], "ExcludeDataVolumeIds": [boot]}
            )
        ).code
        == "InvalidParameterValue"
    )


def test_tags_of_the_volume_are_copied_when_asked_and_the_calls_own_tags_win(
    account: Account, instance: dict[str, Any]
) -> None:
    logs = volumes_of(account, instance)[LOGS]
    own = [{"Key": "kind", "Value": "backup"}]

    def tags_of_logs(**wanted: Any) -> dict[str, str]:
        account.advance(60)
        made = account.ec2().create_snapshots(
            InstanceSpecification={"InstanceId": instance["InstanceId"]},
            TagSpecifications=[{"ResourceType": "snapshot", "Tags": own}],
            **wanted,
        )["Snapshots"]
        (of_logs,) = (snapshot for snapshot in made if snapshot["VolumeId"] == logs)
        return {tag["Key"]: tag["Value"] for tag in of_logs["Tags"]}

    assert tags_of_logs(CopyTagsFromSource="volume") == {"team": "shop", "kind": "backup"}
    assert tags_of_logs() == {"kind": "backup"}


def test_a_refused_set_takes_no_snapshot_at_all(account: Account, instance: dict[str, Any]) -> None:
    account.ec2().create_snapshot(VolumeId=volumes_of(account, instance)[LOGS])
    assert (
        refusal(
            lambda: account.ec2().create_snapshots(InstanceSpecification={"InstanceId": instance["InstanceId"]})
        ).code
        == "SnapshotCreationPerVolumeRateExceeded"
    )
    assert len(account.ec2().describe_snapshots(OwnerIds=["self"])["Snapshots"]) == 1
