"""Aurora clusters of a Region and their snapshots. There is no database behind them, only what RDS tells about one."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any, cast

from moto.rds.exceptions import (
    DBClusterNotFoundError,
    DBClusterSnapshotAlreadyExistsError,
    DBClusterSnapshotNotFoundError,
    DBClusterToBeDeletedHasActiveMembers,
    InvalidParameterCombination,
    InvalidParameterValue,
    RDSClientError,
)
from moto.rds.models import RDSBackend, rds_backends
from moto.rds.utils import split_arn

from embedded import ACCOUNT, clock, durations
from embedded.databases import announcements, copying, engines, keys, quotas, surroundings, turns
from embedded.databases.announcements import announce
from embedded.databases.copying import FAIL, STICK, Tags
from embedded.databases.master_secret import MasterSecret
from embedded.databases.progress import Progress
from embedded.databases.resources import (
    AVAILABLE,
    COPYING,
    CREATING,
    FAILED,
    Cluster,
    ClusterSnapshot,
    new_resource_id,
)

_SNAPSHOT_NAME = re.compile(r"(?!.*--)[a-z][a-z0-9-]{0,61}[a-z0-9]|[a-z]", re.IGNORECASE)
INHERITED = (
    "allocated_storage",
    "backup_retention_period",
    "database_name",
    "engine",
    "engine_mode",
    "engine_version",
    "master_username",
    "port",
    "preferred_backup_window",
    "preferred_maintenance_window",
    "storage_type",
)
"""What a restored cluster has from its snapshot or source. Networks, groups and protection start from the defaults."""

# moto insists on a password of every cluster, and never shows it.
_UNUSED_PASSWORD = "of-no-database"  # noqa: S105


class ClustersOfRegion(RDSBackend):
    """The operations on clusters and cluster snapshots."""

    clusters: MutableMapping[str, Cluster]
    cluster_snapshots: MutableMapping[str, ClusterSnapshot]

    # ------------------------------------------------------------------ clusters

    def create_db_cluster(self, kwargs: Any) -> Cluster:
        """CreateDBCluster: the cluster is `creating`, without instances."""
        wanted = dict(kwargs)
        manages_password = bool(wanted.pop("manage_master_user_password", False))
        secret_key = wanted.pop("master_user_secret_kms_key_id", None)
        if not manages_password and not wanted.get("master_user_password"):
            raise InvalidParameterValue("The parameter MasterUserPassword must be provided and must not be blank.")
        wanted["storage_encrypted"] = bool(wanted.get("storage_encrypted"))
        if wanted["storage_encrypted"]:
            key, region = wanted.get("kms_key_id"), self.region_name
            wanted["kms_key_id"] = keys.usable_key_arn(region, key) if key else keys.default_key_arn(region)
        cluster = self.add_cluster(wanted)
        if manages_password:
            secret = MasterSecret(self.region_name, wanted["master_username"], cluster.arn, secret_key)
            cluster.master_user_secret = secret
        return cluster

    def add_cluster(self, wanted: dict[str, Any]) -> Cluster:
        """The Region has the cluster, `creating`, with every choice RDS makes where `wanted` makes none."""
        identifier = wanted["db_cluster_identifier"]
        self._validate_db_identifier(identifier)
        if identifier in self.clusters:
            raise RDSClientError("DBClusterAlreadyExistsFault", "DB Cluster already exists")
        wanted["engine_version"] = engines.resolve_version(wanted["engine"], wanted.get("engine_version"))
        wanted["master_user_password"] = wanted.get("master_user_password") or _UNUSED_PASSWORD
        surroundings.require_cluster_parameter_group(self, wanted.get("db_cluster_parameter_group_name"))
        group = surroundings.subnet_group(self, wanted.pop("db_subnet_group_name", None))
        wanted["vpc_security_group_ids"] = surroundings.security_groups(
            self.region_name, group.vpc_id, wanted.get("vpc_security_group_ids")
        )
        cluster = Cluster(self, group, **wanted)
        cluster.db_cluster_resource_id = new_resource_id("cluster-")
        self.clusters[identifier] = cluster
        turns.after(
            durations.seconds("db_restore"), lambda: self._cluster_is_there(cluster), f"creation of {cluster.arn}"
        )
        return cluster

    def _cluster_is_there(self, cluster: Cluster) -> None:
        if cluster.master_user_secret:
            cluster.master_user_secret.activate()
        cluster.status = AVAILABLE
        announce(announcements.CLUSTER_CREATED, cluster)

    def modify_db_cluster(self, kwargs: Any) -> Cluster:
        """ModifyDBCluster: `modifying`, and after that with the new settings."""
        wanted = dict(kwargs)
        cluster = self.cluster(wanted["db_cluster_identifier"])
        _require_state(cluster, (AVAILABLE,), "modified")
        manages: bool | None = wanted.pop("manage_master_user_password", None)
        rotates = bool(wanted.pop("rotate_master_user_password", False))
        key = wanted.pop("master_user_secret_kms_key_id", None)
        if rotates and cluster.master_user_secret is None:
            raise InvalidParameterCombination("You can't rotate a password Secrets Manager doesn't manage.")
        new_name = self._checked_new_cluster_name(wanted)
        self._check_new_cluster_settings(cluster, wanted)
        super().modify_db_cluster(wanted)
        cluster.remember(wanted)
        if new_name:
            return self._rename_cluster(cluster, new_name)
        if manages and cluster.master_user_secret is None:
            secret = MasterSecret(self.region_name, str(cluster.master_username), cluster.arn, key)
            cluster.master_user_secret = secret
        if rotates and cluster.master_user_secret:
            cluster.master_user_secret.rotate()
        if manages is False and cluster.master_user_secret:
            cluster.master_user_secret.delete()
            cluster.master_user_secret = None
        cluster.status = "modifying"
        turns.after(durations.seconds("db_modify"), lambda: _is_modified(cluster), f"modification of {cluster.arn}")
        return cluster

    def _checked_new_cluster_name(self, wanted: dict[str, Any]) -> str | None:
        name: str | None = wanted.pop("new_db_cluster_identifier", None)
        if name is None:
            return None
        if not wanted.get("apply_immediately"):
            raise NotImplementedError("The embedded RDS has no maintenance windows: rename with ApplyImmediately")
        self._validate_db_identifier(name)
        if name.lower() in self.clusters:
            raise RDSClientError("DBClusterAlreadyExistsFault", "DB Cluster already exists")
        return name.lower()

    def _check_new_cluster_settings(self, cluster: Cluster, wanted: dict[str, Any]) -> None:
        """RDS would take these settings, and moto will see them; RDS's refusal if not."""
        surroundings.require_cluster_parameter_group(self, wanted.get("db_cluster_parameter_group_name"))
        if wanted.get("vpc_security_group_ids"):
            surroundings.security_groups(self.region_name, cluster.vpc_id, wanted["vpc_security_group_ids"])
        logs: dict[str, list[str]] | None = wanted.pop("cloudwatch_logs_export_configuration", None)
        if logs:
            exported = set(cluster.enabled_cloudwatch_logs_exports) | set(logs.get("EnableLogTypes", ()))
            cluster.enabled_cloudwatch_logs_exports = sorted(exported - set(logs.get("DisableLogTypes", ())))
        if (is_on := wanted.pop("enable_iam_database_authentication", None)) is not None:
            cluster.iam_auth = is_on

    def _rename_cluster(self, cluster: Cluster, name: str) -> Cluster:
        def arrive() -> None:
            members = list(cluster.members)
            del self.clusters[cluster.db_cluster_identifier]
            cluster.db_cluster_identifier = name
            self.clusters[name] = cluster
            for member in members:
                member.db_cluster_identifier = name
            cluster.status = AVAILABLE

        cluster.status = "renaming"
        turns.after(durations.seconds("db_modify"), arrive, f"renaming of {cluster.arn}")
        return cluster

    def delete_db_cluster(
        self, cluster_identifier: str, snapshot_name: str | None = None, skip_final_snapshot: bool = False
    ) -> Cluster:
        """DeleteDBCluster: `deleting`, and after that gone."""
        cluster = self.cluster(cluster_identifier)
        if cluster.deletion_protection:
            raise InvalidParameterCombination(
                "Cannot delete protected Cluster, please disable deletion protection and try again."
            )
        if any(member.status != "deleting" for member in cluster.members):
            raise DBClusterToBeDeletedHasActiveMembers
        _require_state(cluster, (AVAILABLE, "stopped", FAILED), "deleted")
        if bool(snapshot_name) == skip_final_snapshot:
            raise InvalidParameterCombination(
                "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified, "
                "and cannot be specified with it."
            )
        if snapshot_name:
            self.create_db_cluster_snapshot(cluster_identifier, snapshot_name)
        cluster.status = "deleting"
        turns.after(
            durations.seconds("db_delete"), lambda: self._cluster_is_gone(cluster), f"deletion of {cluster.arn}"
        )
        return cluster

    def _cluster_is_gone(self, cluster: Cluster) -> None:
        del self.clusters[cluster.db_cluster_identifier]
        if cluster.master_user_secret:
            cluster.master_user_secret.delete()
        announce(announcements.CLUSTER_DELETED, cluster)

    def cluster(self, identifier: str) -> Cluster:
        """The cluster of this name or ARN; DBClusterNotFoundFault if there is none."""
        found = self.clusters.get(identifier.rpartition(":")[2])
        if found is None:
            raise DBClusterNotFoundError(identifier)
        return found

    # ------------------------------------------------------------------ snapshots

    def create_db_cluster_snapshot(
        self, db_cluster_identifier: str, db_cluster_snapshot_identifier: str, tags: Tags | None = None
    ) -> ClusterSnapshot:
        """CreateDBClusterSnapshot: `creating`, available later. The cluster goes on meanwhile."""
        cluster = self.cluster(db_cluster_identifier)
        self._require_snapshot_name(db_cluster_snapshot_identifier)
        _require_state(cluster, (AVAILABLE,), "snapshotted")
        copying.require_quota(self.manual_cluster_snapshot_count(), quotas.limit("manual_cluster_snapshots"))
        snapshot = ClusterSnapshot(
            self,
            cluster,
            db_cluster_snapshot_identifier,
            tags=copying.checked_tags(tags),
        )
        self._add_snapshot(snapshot, "db_snapshot", "db-cluster-snapshot")
        announce(announcements.CLUSTER_SNAPSHOT_STARTED, snapshot)
        return snapshot

    def copy_db_cluster_snapshot(
        self,
        source_db_cluster_snapshot_identifier: str,
        target_db_cluster_snapshot_identifier: str,
        kms_key_id: str | None = None,
        copy_tags: bool | None = False,
        tags: Tags | None = None,
        **_: Any,
    ) -> ClusterSnapshot:
        """CopyDBClusterSnapshot, called in the Region of the copy. RDS sends no event about it, ever."""
        source = self._source_cluster_snapshot(source_db_cluster_snapshot_identifier)
        self._require_snapshot_name(target_db_cluster_snapshot_identifier)
        copying.require_available(source, "InvalidDBClusterSnapshotStateFault")
        if kms_key_id and not source.storage_encrypted:
            raise InvalidParameterCombination(
                "An unencrypted DB cluster snapshot can't be copied to an encrypted one: leave out KmsKeyId."
            )
        copying.require_quota(self.manual_cluster_snapshot_count(), quotas.limit("manual_cluster_snapshots"))
        if source.region != self.region_name:
            copying.require_copy_slot(len(self._copies_of_clusters()), quotas.limit("cluster_snapshot_copies"))
        key = copying.choose_key(source, self.region_name, kms_key_id)
        copy = ClusterSnapshot(self, source.cluster, target_db_cluster_snapshot_identifier, kms_key_id=key)
        copy.tags = copying.choose_tags(tags, copy_tags, source.tags)
        copy.status = COPYING
        copy.source_db_cluster_snapshot_arn = source.arn
        copy.availability_zones = [f"{self.region_name}{zone}" for zone in "abc"]
        self._add_snapshot(copy, "db_copy", "db-cluster-copy", source)
        return copy

    def _add_snapshot(
        self, snapshot: ClusterSnapshot, duration: str, kind: str, source: ClusterSnapshot | None = None
    ) -> None:
        fate = copying.draw_fate(kind, self.region_name)
        seconds = durations.seconds(duration)
        snapshot.progress = Progress(clock.now(), None if fate == STICK else clock.now() + seconds)
        self.cluster_snapshots[snapshot.resource_id] = snapshot
        if fate != STICK:
            turns.after(seconds, lambda: self._finish_snapshot(snapshot, source, fate), f"completion of {snapshot.arn}")

    def _finish_snapshot(self, snapshot: ClusterSnapshot, source: ClusterSnapshot | None, fate: str | None) -> None:
        if self.cluster_snapshots.get(snapshot.resource_id) is not snapshot:
            return
        source_is_gone = source and _in_region(source.region).cluster_snapshots.get(source.resource_id) is not source
        if fate == FAIL or source_is_gone:
            snapshot.status = FAILED
            return
        snapshot.status = AVAILABLE
        if source is None:
            announce(announcements.CLUSTER_SNAPSHOT_CREATED, snapshot)

    def delete_db_cluster_snapshot(self, db_snapshot_identifier: str) -> ClusterSnapshot:
        """DeleteDBClusterSnapshot: the snapshot is gone; a copy in progress is called off."""
        snapshot = self.cluster_snapshot(db_snapshot_identifier)
        if snapshot.snapshot_type != "manual" or snapshot.status == CREATING:
            raise RDSClientError(
                "InvalidDBClusterSnapshotStateFault",
                f"Cannot delete the {snapshot.snapshot_type} cluster snapshot {db_snapshot_identifier} in the state "
                f"{snapshot.status}.",
            )
        del self.cluster_snapshots[snapshot.resource_id]
        snapshot.status = "deleted"
        return snapshot

    def restore_db_cluster_from_snapshot(self, from_snapshot_id: str, overrides: Any) -> Cluster:
        """RestoreDBClusterFromSnapshot: a new cluster without instances; whoever restores creates those."""
        wanted = {name: value for name, value in dict(overrides).items() if value is not None}
        snapshot = self.cluster_snapshot(from_snapshot_id)
        copying.require_available(snapshot, "InvalidDBClusterSnapshotStateFault")
        if wanted["engine"] != snapshot.engine:
            raise InvalidParameterCombination(
                f"The snapshot holds a cluster of {snapshot.engine}; it cannot be restored as {wanted['engine']}."
            )
        key = wanted.pop("kms_key_id", None) or snapshot.kms_key_id
        encryption: dict[str, Any] = {"storage_encrypted": bool(key)}
        if key:
            encryption["kms_key_id"] = keys.usable_key_arn(self.region_name, key)
        inherited = {name: getattr(snapshot.cluster, name) for name in INHERITED}
        tags = copying.checked_tags(wanted.pop("tags", None)) or copying.choose_tags(None, True, snapshot.tags)
        return self.add_cluster(inherited | {"deletion_protection": False} | wanted | encryption | {"tags": tags})

    # ------------------------------------------------------------------ look

    def cluster_snapshot(self, identifier: str) -> ClusterSnapshot:
        """The cluster snapshot of this name, or of this ARN if it lies here; a not-found fault if there is none."""
        name = identifier
        if identifier.startswith("arn:"):
            region, _, _, name = split_arn(identifier)
            if region != self.region_name:
                raise DBClusterSnapshotNotFoundError(identifier)
        if name not in self.cluster_snapshots:
            raise DBClusterSnapshotNotFoundError(identifier)
        return self.cluster_snapshots[name]

    def _source_cluster_snapshot(self, identifier: str) -> ClusterSnapshot:
        if not identifier.startswith("arn:"):
            return self.cluster_snapshot(identifier)
        region, _, kind, name = split_arn(identifier)
        if kind != "cluster-snapshot":
            raise InvalidParameterValue(f"Invalid snapshot identifier:  {identifier}")
        return _in_region(region).cluster_snapshot(name)

    def manual_cluster_snapshot_count(self) -> int:
        """How many cluster snapshots count against the quota."""
        return sum(found.snapshot_type == "manual" for found in self.cluster_snapshots.values())

    def _copies_of_clusters(self) -> list[ClusterSnapshot]:
        return [
            found
            for found in self.cluster_snapshots.values()
            if found.status == COPYING
            and found.source_db_cluster_snapshot_arn
            and split_arn(found.source_db_cluster_snapshot_arn)[0] != self.region_name
        ]

    def _require_snapshot_name(self, identifier: str) -> None:
        if not _SNAPSHOT_NAME.fullmatch(identifier):
            raise InvalidParameterValue(
                f"{identifier} is not a valid identifier of a DB cluster snapshot. It has 1 to 63 letters, digits and "
                "hyphens, begins with a letter, and neither ends with a hyphen nor contains two in a row."
            )
        if identifier in self.cluster_snapshots:
            raise DBClusterSnapshotAlreadyExistsError(identifier)


def _is_modified(cluster: Cluster) -> None:
    if cluster.master_user_secret:
        cluster.master_user_secret.activate()
    cluster.status = AVAILABLE


def _require_state(cluster: Cluster, states: tuple[str, ...], done: str) -> None:
    if cluster.status not in states:
        raise RDSClientError(
            "InvalidDBClusterStateFault",
            f"DB cluster {cluster.db_cluster_identifier} cannot be {done} in the state {cluster.status}; "
            f"it can be in: {', '.join(states)}.",
        )


def _in_region(region: str) -> ClustersOfRegion:
    return cast("ClustersOfRegion", rds_backends[ACCOUNT][region])
