"""The volumes inside the running server: requests over HTTP, notices through EventBridge, roles enforced."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from embedded import disks
from embedded.aws import EmbeddedAws
from embedded.volumes import image_path

HOME, AWAY = "us-east-1", "us-west-2"


def make_volume(aws: EmbeddedAws, region: str, until: Callable[..., Any], **wanted: Any) -> str:
    ec2 = aws.client("ec2", region)
    volume_id: str = ec2.create_volume(**{"AvailabilityZone": f"{region}a", "Size": 1, **wanted})["VolumeId"]

    def is_available() -> bool:
        return bool(ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]["State"] == "available")

    until(is_available, what=f"{volume_id} to be available")
    return volume_id


def wait_for_snapshot(aws: EmbeddedAws, region: str, snapshot_id: str, until: Callable[..., Any]) -> None:
    ec2 = aws.client("ec2", region)

    def is_completed() -> bool:
        return bool(ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]["State"] == "completed")

    until(is_completed, what=f"{snapshot_id} to be completed")


def queue_of_notices(aws: EmbeddedAws, region: str, name: str) -> Callable[[], list[dict[str, Any]]]:
    """Everything EBS announces in a Region from now on."""
    sqs, events = aws.client("sqs", region), aws.client("events", region)
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name=name, EventPattern=json.dumps({"source": ["aws.ec2"]}))
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
    seen: list[dict[str, Any]] = []

    def notices() -> list[dict[str, Any]]:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            seen.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return seen

    return notices


def test_a_disk_comes_back_from_a_copy_in_another_region_and_each_region_hears_its_own_notice(
    aws: EmbeddedAws, until: Callable[..., Any], unique: Callable[[str], str]
) -> None:
    at_home = queue_of_notices(aws, HOME, unique("notices"))
    away = queue_of_notices(aws, AWAY, unique("notices"))
    volume_id = make_volume(aws, HOME, until)
    disk = disks.lay("ext4", image_path(aws.data_directory, volume_id))
    source = aws.client("ec2", HOME).create_snapshot(VolumeId=volume_id)["SnapshotId"]
    wait_for_snapshot(aws, HOME, source, until)
    copy = aws.client("ec2", AWAY).copy_snapshot(SourceRegion=HOME, SourceSnapshotId=source)["SnapshotId"]
    wait_for_snapshot(aws, AWAY, copy, until)
    restored = make_volume(aws, AWAY, until, SnapshotId=copy)

    with image_path(aws.data_directory, restored).open("rb") as image:
        assert hashlib.sha256(image.read(disk.size_bytes)).hexdigest() == disk.sha256

    def heard(notices: Callable[[], list[dict[str, Any]]], event: str, snapshot_id: str) -> bool:
        return any(
            notice["detail"]["event"] == event and notice["resources"][0].endswith(f"/{snapshot_id}")
            for notice in notices()
        )

    until(lambda: heard(at_home, "createSnapshot", source), what="createSnapshot at home")
    until(lambda: heard(away, "copySnapshot", copy), what="copySnapshot in the Region of the copy")
    assert not heard(at_home, "copySnapshot", copy)


def test_blocks_are_read_over_http(aws: EmbeddedAws, until: Callable[..., Any]) -> None:
    volume_id = make_volume(aws, HOME, until)
    disks.lay("gpt", image_path(aws.data_directory, volume_id))
    snapshot_id = aws.client("ec2").create_snapshot(VolumeId=volume_id)["SnapshotId"]
    wait_for_snapshot(aws, HOME, snapshot_id, until)
    ebs = aws.client("ebs")
    block = ebs.list_snapshot_blocks(SnapshotId=snapshot_id)["Blocks"][0]
    content = ebs.get_snapshot_block(SnapshotId=snapshot_id, **block)["BlockData"].read()
    assert (len(content), content[512:520]) == (524_288, b"EFI PART")


def test_a_function_reaches_volumes_and_blocks_only_with_its_roles_permission(
    function: Callable[..., Any], aws: EmbeddedAws, until: Callable[..., Any]
) -> None:
    source = """
        import boto3
        from botocore.exceptions import ClientError
        def outcome(call, **parameters):
            try:
                call(**parameters)
                return "allowed"
            except ClientError as error:
                return error.response["Error"]["Code"]
        def handler(event, context):
            ec2, ebs = boto3.client("ec2"), boto3.client("ebs")
            note([
                outcome(ec2.describe_snapshots, OwnerIds=["self"]),
                outcome(ec2.delete_volume, VolumeId="vol-0123456789abcdef0"),
                outcome(ebs.list_snapshot_blocks, SnapshotId=event["snapshot_id"]),
            ])
    """
    volume_id = make_volume(aws, HOME, until)
    snapshot_id = aws.client("ec2").create_snapshot(VolumeId=volume_id)["SnapshotId"]
    wait_for_snapshot(aws, HOME, snapshot_id, until)
    lambdas, payload = aws.client("lambda"), json.dumps({"snapshot_id": snapshot_id})

    reader = function(source, allow=("ec2:DescribeSnapshots", "ebs:ListSnapshotBlocks"))
    lambdas.invoke(FunctionName=reader.name, Payload=payload)
    assert reader.wait_for(1) == [["allowed", "UnauthorizedOperation", "allowed"]]

    stranger = function(source, allow=("ec2:DeleteVolume",))
    lambdas.invoke(FunctionName=stranger.name, Payload=payload)
    described, deleted, listed = stranger.wait_for(1)[0]
    assert (described, deleted) == ("UnauthorizedOperation", "InvalidVolume.NotFound")
    assert listed.startswith("AccessDenied")


def test_an_advanced_clock_completes_what_was_pending(aws: EmbeddedAws, until: Callable[..., Any]) -> None:
    aws.set_durations(snapshot=7200)
    try:
        ec2 = aws.client("ec2")
        volume_id = make_volume(aws, HOME, until)
        snapshot_id = ec2.create_snapshot(VolumeId=volume_id)["SnapshotId"]
        aws.advance(3600)
        assert ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]["State"] == "pending"
        aws.advance(5400)
        done = ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]
        assert done["State"] == "completed"
        assert 6400 < (done["CompletionTime"] - done["StartTime"]).total_seconds() < 8000
    finally:
        aws.reset_durations()
