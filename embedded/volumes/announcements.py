"""The notices EBS sends, in the shapes it really sends them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from embedded import ACCOUNT, clock, notices
from embedded.volumes.resources import ERROR, EbsCopy, EbsSnapshot, EbsVolume

_SNAPSHOT = "EBS Snapshot Notification"
_SNAPSHOT_SET = "EBS Multi-Volume Snapshots Completion Status"
_VOLUME = "EBS Volume Notification"


def snapshot_created(snapshot: EbsSnapshot) -> None:
    """`createSnapshot` is on the bus of the snapshot's Region."""
    failed = snapshot.status == ERROR
    arn = _malformed_arn(snapshot.region, "snapshot", snapshot.id)
    detail = {
        "event": "createSnapshot",
        "result": "failed" if failed else "succeeded",
        "cause": snapshot.state_message if failed else "",
        "request-id": "",
        "snapshot_id": arn,
        "source": _malformed_arn(snapshot.region, "volume", snapshot.volume_id),
        "startTime": _time(snapshot.started_at),
        "endTime": _end(snapshot),
    }
    notices.send(snapshot.region, "aws.ec2", _SNAPSHOT, detail, [arn])


def snapshot_set_created(snapshots: Sequence[EbsSnapshot]) -> None:
    """One `createSnapshots` for the whole set is on the bus; one failed member is a failed set."""
    region = snapshots[0].region
    failed = next((snapshot for snapshot in snapshots if snapshot.status == ERROR), None)
    arns = [_malformed_arn(region, "snapshot", snapshot.id) for snapshot in snapshots]
    detail = {
        "event": "createSnapshots",
        "result": "failed" if failed else "succeeded",
        "cause": f"Snapshot {failed.id} is in status error" if failed else "",
        "request-id": "",
        "startTime": _time(snapshots[0].started_at),
        "endTime": max(_end(snapshot) for snapshot in snapshots),
        "snapshots": [
            {
                "snapshot_id": arn,
                "source": _malformed_arn(region, "volume", snapshot.volume_id),
                "status": snapshot.status,
            }
            for arn, snapshot in zip(arns, snapshots, strict=True)
        ],
    }
    notices.send(region, "aws.ec2", _SNAPSHOT_SET, detail, arns)


def snapshot_copied(copy: EbsCopy) -> None:
    """`copySnapshot` is on the bus of the Region the copy is in, not of the one it came from."""
    failed = copy.status == ERROR
    arn = _malformed_arn(copy.region, "snapshot", copy.id)
    detail: dict[str, Any] = {
        "event": "copySnapshot",
        "result": "failed" if failed else "succeeded",
        "cause": copy.state_message if failed else "",
        "request-id": "",
        "snapshot_id": arn,
        "source": _malformed_arn(copy.source.region, "snapshot", copy.source.snapshot_id),
        "startTime": _time(copy.started_at),
        "endTime": _end(copy),
    }
    if not failed:
        detail["incremental"] = "true" if copy.is_incremental else "false"
        detail["transferType"] = copy.transfer_type
        if copy.completion_duration_minutes:
            detail["completionDurationStartTime"] = _time(copy.started_at)
    notices.send(copy.region, "aws.ec2", _SNAPSHOT, detail, [arn])


def volume_created(volume: EbsVolume) -> None:
    _volume(volume, "createVolume", "available", "")


def volume_failed(volume: EbsVolume, cause: str) -> None:
    _volume(volume, "createVolume", "failed", cause)


def volume_deleted(volume: EbsVolume) -> None:
    _volume(volume, "deleteVolume", "deleted", "")


def _volume(volume: EbsVolume, event: str, result: str, cause: str) -> None:
    region = volume.ec2_backend.region_name
    detail = {"result": result, "cause": cause, "event": event, "request-id": ""}
    notices.send(region, "aws.ec2", _VOLUME, detail, [f"arn:aws:ec2:{region}:{ACCOUNT}:volume/{volume.id}"])


def _malformed_arn(region: str, kind: str, resource_id: str) -> str:
    # EBS really puts the Region where the account belongs; whoever parses these must not trip over it.
    return f"arn:aws:ec2::{region}:{kind}/{resource_id}"


def _end(snapshot: EbsSnapshot) -> str:
    return _time(min(snapshot.ends_at, clock.now()))


def _time(epoch_seconds: float) -> str:
    return datetime.fromtimestamp(epoch_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
