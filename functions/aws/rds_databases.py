"""Snapshots of RDS instances that are no member of a cluster, of every engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from functions.aws import rds_snapshots
from functions.aws.faults import code_of, translated
from functions.aws.permissions import Permission
from functions.aws.rds_snapshots import PAGE, RdsSnapshots, snapshot
from functions.core.resources import Kind
from functions.core.snapshots import Snapshot

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient
    from mypy_boto3_rds.type_defs import CopyDBSnapshotMessageTypeDef, FilterTypeDef, TagTypeDef

    from functions.core.snapshots import Snapshots

_SAME = rds_snapshots.permissions(noun="DBSnapshot", resource_type="snapshot", source_type="db")

PERMISSIONS: Mapping[str, tuple[Permission, ...]] = {
    **_SAME,
    "copy": (
        *_SAME["copy"],
        Permission(
            actions=("rds:DescribeOptionGroups", "rds:CopyDBSnapshot"),
            resources=("arn:{partition}:rds:{region}:{account}:og:*",),
            why="a source with an option group of its own is copied with the group of that name, if there is one here",
        ),
    ),
}


class DatabaseSnapshots(RdsSnapshots):
    """The port `Snapshots` for RDS instances."""

    kind = Kind.DATABASE
    noun = "DBSnapshot"
    resource_type = "snapshot"

    def _create(self, name: str, source_id: str, tags: Sequence[TagTypeDef]) -> Snapshot:
        begun = self._rds_once.create_db_snapshot(DBSnapshotIdentifier=name, DBInstanceIdentifier=source_id, Tags=tags)
        return self._read(begun["DBSnapshot"])

    def _copy(self, name: str, source: Mapping[str, Any], home_region: str, tags: Sequence[TagTypeDef]) -> Snapshot:
        """Always under our key: RDS makes an encrypted copy even of a snapshot that is not encrypted."""
        request: CopyDBSnapshotMessageTypeDef = {
            "SourceDBSnapshotIdentifier": self._arn(home_region, source["DBSnapshotIdentifier"]),
            "TargetDBSnapshotIdentifier": name,
            "SourceRegion": home_region,
            "KmsKeyId": self._key,
            "Tags": tags,
        }
        group = self._option_group_here(source.get("OptionGroupName", ""))
        if group:
            request["OptionGroupName"] = group
        return self._read(self._rds_once.copy_db_snapshot(**request)["DBSnapshot"])

    def _delete(self, name: str) -> None:
        self._rds.delete_db_snapshot(DBSnapshotIdentifier=name)

    def _pages(self, rds: RDSClient, names: Sequence[str] | None) -> Iterator[Mapping[str, Any]]:
        filters: list[FilterTypeDef] = [] if names is None else [{"Name": "db-snapshot-id", "Values": list(names)}]
        pages = rds.get_paginator("describe_db_snapshots").paginate(
            SnapshotType="manual", Filters=filters, PaginationConfig={"PageSize": PAGE}
        )
        for page in pages:
            yield from page["DBSnapshots"]

    def _read(self, described: Mapping[str, Any]) -> Snapshot:
        # A copy's SnapshotCreateTime is that of the copying; the database's own time is the honest one.
        consistent_at = described.get("SnapshotDatabaseTime") or described.get("OriginalSnapshotCreateTime")
        return snapshot(
            described,
            id=described["DBSnapshotIdentifier"],
            region=self.region,
            source_id=described.get("DBInstanceIdentifier", ""),
            is_encrypted=described.get("Encrypted", False),
            consistent_at=consistent_at,
        )

    def _option_group_here(self, name: str) -> str | None:
        """The option group to name in the copy: the source's own, where one of that name exists in this Region.

        Without one the copy carries the engine's default group, and the group to restore with is in the point's
        configuration. RDS refuses that only for TDE of Oracle and SQL Server, and says so itself.
        """
        if not name or name.startswith("default:"):
            return None
        with translated("rds:DescribeOptionGroups", resource=name):
            try:
                self._rds.describe_option_groups(OptionGroupName=name)
            except ClientError as refusal:
                if code_of(refusal) != "OptionGroupNotFoundFault":
                    raise
                return None
        return name


if TYPE_CHECKING:
    _port: type[Snapshots] = DatabaseSnapshots
