"""The RDS events Holdfast may meet on EventBridge, in RDS's own words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from embedded import clock, life, notices


@dataclass(frozen=True)
class Announcement:
    """One kind of RDS event."""

    event_id: str
    source_type: str
    category: str
    message: str


class Announced(Protocol):
    """What an event can be about."""

    @property
    def region(self) -> str: ...
    @property
    def arn(self) -> str: ...
    @property
    def resource_id(self) -> str: ...
    @property
    def tags(self) -> list[dict[str, str]]: ...


_AT_ONCE = 0.0
_DETAIL_TYPES = {
    "DB_INSTANCE": "RDS DB Instance Event",
    "SNAPSHOT": "RDS DB Snapshot Event",
    "CLUSTER": "RDS DB Cluster Event",
    "CLUSTER_SNAPSHOT": "RDS DB Cluster Snapshot Event",
}


def _of_instance(number: str, category: str, message: str) -> Announcement:
    return Announcement(f"RDS-EVENT-{number}", "DB_INSTANCE", category, message)


def _of_snapshot(number: str, category: str, message: str) -> Announcement:
    return Announcement(f"RDS-EVENT-{number}", "SNAPSHOT", category, message)


INSTANCE_CREATED = _of_instance("0005", "creation", "DB instance created")
INSTANCE_DELETED = _of_instance("0003", "deletion", "DB instance deleted")
INSTANCE_SHUT_DOWN = _of_instance("0004", "availability", "DB instance shutdown")
INSTANCE_RESTARTED = _of_instance("0006", "availability", "DB instance restarted")
INSTANCE_BACKUP_STARTED = _of_instance("0001", "backup", "Backing up DB instance")
INSTANCE_BACKUP_FINISHED = _of_instance("0002", "backup", "Finished DB Instance backup")
INSTANCE_CREATION_FAILED = _of_instance("0278", "failure", "The DB instance creation failed. {reason}")
INSTANCE_RESTORED = _of_instance("0043", "restoration", "Restored from snapshot {snapshot}")
MASTER_PASSWORD_RESET = _of_instance("0016", "configuration change", "Reset master credentials")
MASTER_PASSWORD_NOT_RESET = _of_instance(
    "0067", "configuration change", "Unable to reset your password. Error information: {reason}"
)

SNAPSHOT_STARTED = _of_snapshot("0040", "creation", "Creating manual snapshot")
SNAPSHOT_CREATED = _of_snapshot("0042", "creation", "Manual snapshot created")
SNAPSHOT_DELETED = _of_snapshot("0041", "deletion", "Deleted manual snapshot")
COPY_STARTED = _of_snapshot("0059", "notification", "Started copy of snapshot {source} from region {region}")
COPY_FINISHED = _of_snapshot(
    "0060", "notification", "Finished copy of snapshot {source} from region {region} in {minutes} minutes"
)
COPY_CANCELED = _of_snapshot("0061", "notification", "Canceled snapshot copy request of {source} from region {region}")
LOCAL_COPY_STARTED = _of_snapshot("0196", "notification", "Started copy of snapshot {source} in region {region}")
LOCAL_COPY_FINISHED = _of_snapshot("0197", "notification", "Finished copy of snapshot {source} in region {region}")
LOCAL_COPY_CANCELED = _of_snapshot(
    "0190", "notification", "Canceled snapshot copy request of {source} in region {region}"
)

CLUSTER_CREATED = Announcement("RDS-EVENT-0170", "CLUSTER", "creation", "DB cluster created")
CLUSTER_DELETED = Announcement("RDS-EVENT-0171", "CLUSTER", "deletion", "DB cluster deleted")
CLUSTER_SNAPSHOT_STARTED = Announcement(
    "RDS-EVENT-0074", "CLUSTER_SNAPSHOT", "backup", "Creating manual cluster snapshot"
)
CLUSTER_SNAPSHOT_CREATED = Announcement(
    "RDS-EVENT-0075", "CLUSTER_SNAPSHOT", "backup", "Manual cluster snapshot created"
)


def announce(announcement: Announcement, about: Announced, **words: object) -> None:
    """The event is on its way to the rules of the Region the resource is in."""
    detail: dict[str, Any] = {
        "EventCategories": [announcement.category],
        "SourceType": announcement.source_type,
        "SourceArn": about.arn,
        "Date": f"{datetime.fromtimestamp(clock.now(), UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
        "Message": announcement.message.format(**words),
        "SourceIdentifier": about.resource_id,
        "EventID": announcement.event_id,
        "Tags": {tag["Key"]: tag["Value"] for tag in about.tags},
    }
    detail_type, region, arn = _DETAIL_TYPES[announcement.source_type], about.region, about.arn
    # Sent by the ticker, in the order of the calls: whoever announces holds the databases' lock, and what a notice
    # starts may call RDS again.
    life.at(_AT_ONCE, lambda: notices.send(region, "aws.rds", detail_type, detail, [arn]), f"{detail_type} of {arn}")
