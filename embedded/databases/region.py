"""RDS in one Region."""

from __future__ import annotations

from typing import Any, NoReturn

from moto.ec2.models import ec2_backends

from embedded import ACCOUNT
from embedded.databases import keys, orderable, quotas
from embedded.databases.point_in_time import PointsInTimeOfRegion
from embedded.databases.resources import Instance


class RegionDatabases(PointsInTimeOfRegion):
    """Every RDS operation Holdfast or its users call, on top of moto's models for all the rest."""

    def account_quotas(self) -> list[dict[str, Any]]:
        """What DescribeAccountAttributes tells about the quotas that backups and restores can run into."""
        used = {
            "DBInstances": (len(self.databases), quotas.limit("db_instances")),
            "DBClusters": (len(self.clusters), quotas.limit("db_clusters")),
            "AllocatedStorage": (self._allocated_gib(), quotas.limit("allocated_storage_gib")),
            "ManualSnapshots": (self.manual_snapshot_count(), quotas.limit("manual_snapshots")),
            "ManualClusterSnapshots": (
                self.manual_cluster_snapshot_count(),
                quotas.limit("manual_cluster_snapshots"),
            ),
        }
        return [{"AccountQuotaName": name, "Used": count, "Max": maximum} for name, (count, maximum) in used.items()]

    def _allocated_gib(self) -> int:
        return sum(int(one.allocated_storage) for one in self.databases.values() if isinstance(one, Instance))

    def orderable_options(self, engine: str, version: str | None, instance_class: str | None) -> list[dict[str, Any]]:
        """What DescribeOrderableDBInstanceOptions tells."""
        zones = ec2_backends[ACCOUNT][self.region_name].describe_availability_zones()
        return orderable.options(engine, version, instance_class, [zone.name for zone in zones])

    def _validate_kms_key(self, kms_key_id: str) -> str:
        return keys.usable_key_arn(self.region_name, kms_key_id)

    # moto answers these from copies of its models, which would share a server between two instances.

    def create_db_instance_read_replica(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError("The embedded RDS has no read replicas")

    def create_blue_green_deployment(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError("The embedded RDS has no blue/green deployments")
