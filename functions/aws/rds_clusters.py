"""Snapshots of clusters: Aurora, Multi-AZ, Neptune, DocumentDB, and whatever else RDS calls a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from functions.aws import rds_snapshots
from functions.aws.permissions import Permission
from functions.aws.rds_snapshots import PAGE, RdsSnapshots, snapshot
from functions.core import labels
from functions.core.resources import Kind
from functions.core.snapshots import Snapshot

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient
    from mypy_boto3_rds.type_defs import CopyDBClusterSnapshotMessageTypeDef, FilterTypeDef, TagTypeDef

    from functions.core.snapshots import Snapshots

PERMISSIONS: Mapping[str, tuple[Permission, ...]] = rds_snapshots.permissions(
    noun="DBClusterSnapshot", resource_type="cluster-snapshot", source_type="cluster"
)


class ClusterSnapshots(RdsSnapshots):
    """The port `Snapshots` for clusters."""

    kind = Kind.CLUSTER
    noun = "DBClusterSnapshot"
    resource_type = "cluster-snapshot"

    def _create(self, name: str, source_id: str, tags: Sequence[TagTypeDef]) -> Snapshot:
        begun = self._rds_once.create_db_cluster_snapshot(
            DBClusterSnapshotIdentifier=name, DBClusterIdentifier=source_id, Tags=tags
        )
        return self._read(begun["DBClusterSnapshot"])

    def _copy(self, name: str, source: Mapping[str, Any], home_region: str, tags: Sequence[TagTypeDef]) -> Snapshot:
        """Under our key where the source is encrypted: for one that is not, Aurora refuses a key."""
        request: CopyDBClusterSnapshotMessageTypeDef = {
            "SourceDBClusterSnapshotIdentifier": self._arn(home_region, source["DBClusterSnapshotIdentifier"]),
            "TargetDBClusterSnapshotIdentifier": name,
            "SourceRegion": home_region,
            "Tags": tags,
        }
        if source.get("StorageEncrypted"):
            request["KmsKeyId"] = self._key
        return self._read(self._rds_once.copy_db_cluster_snapshot(**request)["DBClusterSnapshot"])

    def _delete(self, name: str) -> None:
        self._rds.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier=name)

    def _pages(self, rds: RDSClient, names: Sequence[str] | None) -> Iterator[Mapping[str, Any]]:
        filters: list[FilterTypeDef] = (
            [] if names is None else [{"Name": "db-cluster-snapshot-id", "Values": list(names)}]
        )
        pages = rds.get_paginator("describe_db_cluster_snapshots").paginate(
            SnapshotType="manual", Filters=filters, PaginationConfig={"PageSize": PAGE}
        )
        for page in pages:
            yield from page["DBClusterSnapshots"]

    def _read(self, described: Mapping[str, Any]) -> Snapshot:
        # RDS tells no database time of a cluster snapshot, and a copy's SnapshotCreateTime is that of the copying.
        is_copy = any(tag["Key"] == labels.SOURCE_SNAPSHOT for tag in described.get("TagList", ()))
        return snapshot(
            described,
            id=described["DBClusterSnapshotIdentifier"],
            region=self.region,
            source_id=described.get("DBClusterIdentifier", ""),
            is_encrypted=described.get("StorageEncrypted", False),
            consistent_at=None if is_copy else described.get("SnapshotCreateTime"),
        )


if TYPE_CHECKING:
    _port: type[Snapshots] = ClusterSnapshots
