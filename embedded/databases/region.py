"""RDS in one Region."""

from __future__ import annotations

from typing import Any, NoReturn

from embedded.databases import keys, quotas
from embedded.databases.clusters import ClustersOfRegion
from embedded.databases.snapshots import SnapshotsOfRegion


class RegionDatabases(SnapshotsOfRegion, ClustersOfRegion):
    """Every RDS operation Holdfast or its users call, on top of moto's models for all the rest."""

    def account_quotas(self) -> list[dict[str, Any]]:
        """What DescribeAccountAttributes tells about the quotas that a backup can run into."""
        used = {
            "DBInstances": (len(self.databases), quotas.limit("db_instances")),
            "ManualSnapshots": (self.manual_snapshot_count(), quotas.limit("manual_snapshots")),
            "ManualClusterSnapshots": (
                self.manual_cluster_snapshot_count(),
                quotas.limit("manual_cluster_snapshots"),
            ),
        }
        return [{"AccountQuotaName": name, "Used": count, "Max": maximum} for name, (count, maximum) in used.items()]

    def _validate_kms_key(self, kms_key_id: str) -> str:
        return keys.usable_key_arn(self.region_name, kms_key_id)

    # moto answers these from copies of its models, which would share a server between two instances.

    def restore_db_instance_to_point_in_time(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError("The embedded RDS has no point-in-time restore; restore a snapshot instead")

    def restore_db_cluster_to_point_in_time(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError("The embedded RDS has no point-in-time restore; restore a cluster snapshot instead")

    def create_db_instance_read_replica(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError("The embedded RDS has no read replicas")

    def create_blue_green_deployment(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError("The embedded RDS has no blue/green deployments")
