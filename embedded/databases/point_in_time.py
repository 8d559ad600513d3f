"""Restores to an instant: instances and clusters made out of what another one holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from moto.rds.exceptions import InvalidParameterCombination, RDSClientError

from embedded import durations
from embedded.databases import copying, keys, surroundings
from embedded.databases.clusters import INHERITED as INHERITED_BY_CLUSTERS
from embedded.databases.clusters import ClustersOfRegion
from embedded.databases.estate import LiveDatabase, estate
from embedded.databases.progress import Progress, now
from embedded.databases.resources import CREATING, Cluster, Instance, Member
from embedded.databases.snapshots import INHERITED, SnapshotsOfRegion

REACH = timedelta(minutes=5)
"""RDS writes its logs away every five minutes. There is no log here: the content is that of this moment, which is
near enough to an instant within this reach, and would be a lie about an earlier one."""


class PointsInTimeOfRegion(SnapshotsOfRegion, ClustersOfRegion):
    """RestoreDBInstanceToPointInTime and RestoreDBClusterToPointInTime."""

    def restore_db_instance_to_point_in_time(
        self, source_db_identifier: str, target_db_identifier: str, overrides: Any
    ) -> Instance:
        """A new instance with what the source's storage holds now, where an instant of the last minutes was asked."""
        wanted = {name: value for name, value in dict(overrides).items() if value is not None}
        source = self.instance(source_db_identifier)
        if isinstance(source, Member):
            raise InvalidParameterCombination("A member of a cluster is restored with RestoreDBClusterToPointInTime.")
        self.refuse_new_instance(target_db_identifier)
        if not source.backup_retention_period:
            raise RDSClientError("PointInTimeRestoreNotEnabled", f"{source_db_identifier} keeps no automated backups.")
        if source.status == CREATING:
            raise RDSClientError("InvalidDBInstanceState", f"{source_db_identifier} is {source.status}.")
        _require_near(_instant(wanted.pop("restore_time", None), wanted.pop("use_latest_restorable_time", None)))
        self.refuse_what_restores_cannot(source, wanted)
        surroundings.require_option_group(self, wanted.get("option_group_name"))
        for name in ("source_db_instance_identifier", "target_db_instance_identifier"):
            wanted.pop(name, None)
        inherited = {name: getattr(source, name) for name in INHERITED}
        encryption = {"storage_encrypted": source.storage_encrypted, "kms_key_id": source.kms_key_id}
        named = {"db_instance_identifier": target_db_identifier, "deletion_protection": False}
        tags = copying.checked_tags(wanted.pop("tags", None)) or []
        image = estate().images.take(source.live.server) if source.live else None
        try:
            instance = self.add_instance(inherited | wanted | named | encryption | {"tags": tags})
        except Exception:
            if image:
                estate().images.release(image)
            raise
        seconds = durations.seconds("db_restore")
        instance.loading = Progress(now().timestamp() + seconds, now().timestamp() + 2 * seconds)
        building = None
        if image:
            port: int | None = wanted.get("port")

            def rebuild() -> LiveDatabase:
                try:
                    return estate().rebuild(image, port)
                finally:
                    estate().images.release(image)

            building = estate().builders.submit(rebuild)
        self.finish_when_built(instance, building, seconds, from_snapshot=source.db_instance_identifier)
        return instance

    def restore_db_cluster_to_point_in_time(
        self,
        db_cluster_identifier: str,
        source_db_cluster_identifier: str,
        restore_type: str = "full-copy",
        restore_to_time: datetime | None = None,
        use_latest_restorable_time: bool | None = None,
        **overrides: Any,
    ) -> Cluster:
        """A new cluster without instances. There is no content here that could be of another instant."""
        source = self.cluster(source_db_cluster_identifier)
        asked = _instant(restore_to_time, use_latest_restorable_time)
        if restore_type == "copy-on-write" and restore_to_time is not None:
            raise InvalidParameterCombination("RestoreToTime cannot be specified when RestoreType is copy-on-write")
        if asked is not None and not source.earliest_restorable_time <= asked <= now():
            raise RDSClientError(
                "InvalidRestoreFault",
                f"{source_db_cluster_identifier} can be restored between {source.earliest_restorable_time} and {now()}",
            )
        wanted = {name: value for name, value in overrides.items() if value is not None}
        inherited = {name: getattr(source, name) for name in INHERITED_BY_CLUSTERS}
        key = wanted.pop("kms_key_id", None) or source.kms_key_id
        encryption: dict[str, Any] = {"storage_encrypted": bool(key)}
        if key:
            encryption["kms_key_id"] = keys.usable_key_arn(self.region_name, key)
        tags = copying.checked_tags(wanted.pop("tags", None)) or []
        named = {"db_cluster_identifier": db_cluster_identifier, "tags": tags}
        return self.add_cluster(inherited | {"deletion_protection": False} | wanted | encryption | named)


def _instant(at: datetime | str | None, use_latest: object) -> datetime | None:
    """The instant that is asked for; None for the latest one."""
    is_latest = use_latest in (True, "true")
    if (at is None) == (not is_latest):
        raise InvalidParameterCombination("Specify either an instant to restore to or UseLatestRestorableTime.")
    if at is None:
        return None
    parsed = datetime.fromisoformat(at) if isinstance(at, str) else at
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _require_near(asked: datetime | None) -> None:
    if asked is not None and not now() - REACH <= asked <= now():
        raise RDSClientError(
            "InvalidRestoreFault",
            f"The embedded RDS restores to instants from {now() - REACH} to {now()}, not to {asked}: it keeps no logs.",
        )
