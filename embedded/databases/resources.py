"""The things RDS shows: moto's models with what they lack or get wrong."""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from moto.rds.models import (
    DBCluster,
    DBClusterSnapshot,
    DBInstance,
    DBInstanceClustered,
    DBSnapshot,
    DBSubnetGroup,
    RDSBackend,
)

from embedded.databases import engines
from embedded.databases.estate import LiveDatabase
from embedded.databases.images import Image
from embedded.databases.master_secret import MasterSecret
from embedded.databases.progress import Progress, now

AVAILABLE, CREATING, COPYING, FAILED = "available", "creating", "copying", "failed"

_RESOURCE_ID_ALPHABET = string.ascii_uppercase + string.digits


IN_SYNC, PENDING_REBOOT = "in-sync", "pending-reboot"
"""Whether a parameter group has taken effect yet."""


def new_resource_id(prefix: str) -> str:
    """An identifier that stays when the resource is renamed and is never given again."""
    return prefix + "".join(secrets.choice(_RESOURCE_ID_ALPHABET) for _ in range(26))


class _Made:
    """What a model's constructor makes is of the model's own class; moto declares only its base class."""

    if TYPE_CHECKING:

        def __new__(cls, *_: Any, **__: Any) -> Self: ...


class _Watched:
    """What moto forgets of an instance or cluster: how it is watched and supported, and on which networks it is."""

    def remember(self, wanted: Mapping[str, Any]) -> None:
        """What the creating or changing call said about it; what it did not say stays as it is."""
        for name, default in _REMEMBERED.items():
            if wanted.get(_ASKED_AS.get(name, name)) is not None:
                setattr(self, name, wanted[_ASKED_AS.get(name, name)])
            elif not hasattr(self, name):
                setattr(self, name, default)


_REMEMBERED: Mapping[str, Any] = {
    "database_insights_mode": None,
    "engine_lifecycle_support": None,
    "monitoring_interval": 0,
    "monitoring_role_arn": None,
    "network_type": "IPV4",
    "performance_insights_enabled": False,
    "performance_insights_kms_key_id": None,
    "performance_insights_retention_period": None,
}
_ASKED_AS: Mapping[str, str] = {"performance_insights_enabled": "enable_performance_insights"}


class _InParameterGroup:
    """An instance knows for itself whether its parameter group has taken effect; moto writes it on the group."""

    parameter_apply_status = IN_SYNC

    if TYPE_CHECKING:

        def db_parameter_groups(self) -> list[Any]: ...

    @property
    def db_parameter_group_status_list(self) -> list[dict[str, str]]:
        return [
            {
                "DBParameterGroupName": group.name,
                "ParameterApplyStatus": self.parameter_apply_status,
            }
            for group in self.db_parameter_groups()
        ]


class SubnetGroup(_Made, DBSubnetGroup):
    """The subnets of a VPC that instances may lie in."""


class Instance(_Made, _Watched, _InParameterGroup, DBInstance):
    """A DB instance of its own. `live` is its server, if its engine is real and the server stands."""

    def __init__(self, backend: RDSBackend, subnet_group: DBSubnetGroup, **wanted: Any) -> None:
        engine: str = wanted["engine"]
        option_group: str | None = wanted.pop("option_group_name", None)
        is_default_group = option_group is None or option_group.startswith("default:")
        understood: dict[str, Any] = wanted | {
            "engine": engines.name_for_moto(engine),
            "option_group_name": None if is_default_group else option_group,
        }
        super().__init__(backend, **understood)
        self.engine = engine
        if is_default_group:
            self.option_group_name = engines.default_option_group(engine, self.engine_version)
        self.db_subnet_group = subnet_group
        self.dbi_resource_id = new_resource_id("db-")
        self.instance_create_time = now()
        self.live: LiveDatabase | None = None
        self.master_user_secret: MasterSecret | None = None
        self.loading: Progress | None = None
        self.remember(wanted)

    @property
    def endpoint(self) -> dict[str, Any] | None:
        if self.live is not None:
            return {"Address": self.live.doorway.address, "Port": self.live.doorway.port}
        if self.engine == engines.POSTGRES or self.status == CREATING:
            return None
        return {"Address": self.address, "Port": self.port}

    @property
    def db_instance_port(self) -> int:
        """What RDS always answers here; the port is in the Endpoint."""
        return 0

    @property
    def is_loading(self) -> bool:
        """Blocks still come from the snapshot on first access, as with a freshly restored volume."""
        return self.loading is not None and self.loading.percent() < 99

    @property
    def storage_operation_status(self) -> str | None:
        return "Initializing" if self.is_loading else None

    @property
    def storage_operation_percent_progress(self) -> int | None:
        return self.loading.percent() if self.loading and self.is_loading else None

    @property
    def latest_restorable_time(self) -> datetime | None:
        return now() if self.backup_retention_period and self.status != CREATING else None


class Member(_Made, _Watched, _InParameterGroup, DBInstanceClustered):
    """A DB instance in an Aurora cluster: its data are the cluster's."""

    live = None
    loading = None
    master_user_secret = None

    def __init__(self, backend: RDSBackend, **wanted: Any) -> None:
        super().__init__(backend=backend, **wanted)
        self.dbi_resource_id = new_resource_id("db-")
        self.instance_create_time = now()
        self.remember(wanted)


class Snapshot(_Made, DBSnapshot):
    """A DB snapshot and, where its engine is real, its content."""

    database: Instance

    def __init__(self, backend: RDSBackend, database: Instance, identifier: str, **wanted: Any) -> None:
        super().__init__(backend, database, identifier, **wanted)
        # moto keeps a copy of the instance as it was; the server is not part of that memory.
        self.database.live = None
        self.status = CREATING
        self.image: Image | None = None
        self.progress = Progress(0.0, None)
        self.availability_zone = database.availability_zone
        self.vpc_id: str | None = database.db_subnet_group.vpc_id
        self.instance_create_time = database.instance_create_time
        self.snapshot_created_at = self.original_snapshot_create_time = now()
        self.snapshot_database_time: datetime | None = None
        self.option_group_name = database.option_group_name
        self.license_model = database.license_model
        self.storage_type = database.storage_type
        self.storage_throughput = database.storage_throughput
        self.iops = database.iops
        self.backup_retention_period = database.backup_retention_period
        self.preferred_backup_window = database.preferred_backup_window
        self.snapshot_target = "region"
        # Only snapshots kept in a Local Zone have one; without it the serializer would show the instance's zone.
        self.snapshot_availability_zone: str | None = None
        self.source_region: str | None = None
        self.source_db_snapshot_identifier: str | None = None

    @property
    def snapshot_create_time(self) -> datetime:
        return self.snapshot_created_at

    @property
    def percent_progress(self) -> int:
        return 100 if self.status == AVAILABLE else self.progress.percent()

    @property
    def full_snapshot_size_in_bytes(self) -> int | None:
        return self.image.size_bytes if self.image and self.status == AVAILABLE else None


class Cluster(_Made, _Watched, DBCluster):
    """An Aurora cluster: what is known about it, without a database."""

    def __init__(self, backend: RDSBackend, subnet_group: DBSubnetGroup, **wanted: Any) -> None:
        super().__init__(backend, **wanted, db_subnet_group_name=subnet_group.name)
        self.vpc_id = subnet_group.vpc_id
        self.cluster_create_time = now()
        if not self.storage_encrypted:
            self.kms_key_id = None
        self.master_user_secret: MasterSecret | None = None
        self.remember(wanted)

    @property
    def latest_restorable_time(self) -> datetime | None:
        return now() if self.status != CREATING else None

    @property
    def earliest_restorable_time(self) -> datetime:
        """As far back as the backups are kept, and not further than the cluster is old."""
        return max(self.cluster_create_time, now() - timedelta(days=self.backup_retention_period))

    @earliest_restorable_time.setter
    def earliest_restorable_time(self, _: datetime) -> None:
        """moto's constructor notes the moment; here it moves on with the clock."""

    # moto's cluster is available as soon as somebody looks at it.
    @property
    def status(self) -> str:
        return self._status

    @status.setter
    def status(self, value: str) -> None:
        self._status = value


class ClusterSnapshot(_Made, DBClusterSnapshot):
    """A snapshot of an Aurora cluster."""

    cluster: Cluster

    def __init__(self, backend: RDSBackend, cluster: Cluster, identifier: str, **wanted: Any) -> None:
        super().__init__(backend, cluster, identifier, **wanted)
        self.status = CREATING
        self.progress = Progress(0.0, None)
        self.snapshot_created_at = now()
        self.cluster_create_time = cluster.cluster_create_time
        self.vpc_id = cluster.vpc_id
        self.availability_zones = cluster.availability_zones
        self.engine_mode = cluster.engine_mode
        self.license_model = cluster.license_model
        self.storage_type = cluster.storage_type
        self.db_cluster_resource_id = cluster.db_cluster_resource_id
        self.iam_database_authentication_enabled = cluster.iam_database_authentication_enabled
        self.source_db_cluster_snapshot_arn: str | None = None

    @property
    def snapshot_create_time(self) -> datetime:
        return self.snapshot_created_at

    @property
    def percent_progress(self) -> int:
        return 100 if self.status == AVAILABLE else self.progress.percent()

    @percent_progress.setter
    def percent_progress(self, _: int) -> None:
        """moto's constructor declares every snapshot complete; only time can do that here."""
