"""RDS of one Region as its client answers: databases and clusters in every state, manual snapshots and their copies."""

# ruff: noqa: N803
# Parameters have the names that AWS gave them.

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from tests.simulation import faults
from tests.simulation.ec2 import InProgress
from tests.simulation.expressions import NotUnderstood
from tests.simulation.limits import Limits
from tests.simulation.table import refusal

TAKES_SNAPSHOTS = frozenset({"available", "storage-optimization"})
"""The states of a database in which RDS takes a manual snapshot of it."""

STATES = (
    "available",
    "backing-up",
    "configuring-enhanced-monitoring",
    "configuring-iam-database-auth",
    "configuring-log-exports",
    "converting-to-vpc",
    "creating",
    "failed",
    "inaccessible-encryption-credentials",
    "inaccessible-encryption-credentials-recoverable",
    "incompatible-network",
    "incompatible-option-group",
    "incompatible-parameters",
    "incompatible-restore",
    "insufficient-capacity",
    "maintenance",
    "modifying",
    "moving-to-vpc",
    "rebooting",
    "renaming",
    "resetting-master-credentials",
    "restore-error",
    "starting",
    "stopped",
    "stopping",
    "storage-config-upgrade",
    "storage-full",
    "storage-initialization",
    "storage-optimization",
    "upgrading",
)
"""Every documented state of a database that is not on its way out."""


@dataclass(slots=True, kw_only=True)
class Database:
    """An instance or a cluster."""

    id: str
    is_cluster: bool
    status: str = "available"
    tags: dict[str, str] = field(default_factory=dict)
    is_encrypted: bool = True
    busy_until: datetime | None = None


@dataclass(slots=True, kw_only=True)
class DatabaseSnapshot:
    """A manual snapshot; its state follows from the time."""

    id: str
    source_id: str
    is_cluster: bool
    tags: dict[str, str]
    started_at: datetime
    ends_at: datetime | None
    is_encrypted: bool
    failure: str = ""
    key: str = ""
    source_snapshot_id: str = ""
    made_by: str = ""

    def status(self, now: datetime) -> str:
        """RDS's word."""
        if self.ends_at is None or now < self.ends_at:
            return "copying" if self.source_snapshot_id and not self.is_cluster else "creating"
        return "failed" if self.failure else "available"


class Rds:
    """One Region. `others` gives that of another Region; `caller` is the name of the function that asks; `watch` hears
    of every effect at its moment, just before it."""

    def __init__(
        self,
        region: str,
        *,
        now: Callable[[], datetime],
        caller: Callable[[], str],
        others: Callable[[str], Rds],
        limits: Callable[[], Limits],
        snapshot_takes: Callable[[DatabaseSnapshot], timedelta],
        is_key_usable: Callable[[str], bool],
        watch: Callable[[str, Any, str], None],
    ) -> None:
        self.region = region
        self.databases: dict[tuple[bool, str], Database] = {}
        self.snapshots: dict[tuple[bool, str], DatabaseSnapshot] = {}
        self.deleted: list[str] = []
        self.copying = {True: InProgress(), False: InProgress()}
        self._now = now
        self._caller = caller
        self._others = others
        self._limits = limits
        self._takes = snapshot_takes
        self._is_key_usable = is_key_usable
        self._watch = watch
        self._pages: dict[str, list[Any]] = {}
        self._markers = count(1)

    def make(self, id: str, *, is_cluster: bool, tags: Mapping[str, str]) -> Database:
        """A database or cluster that somebody made and that is available."""
        database = Database(id=id, is_cluster=is_cluster, tags=dict(tags))
        self.databases[is_cluster, id] = database
        return database

    # What a client asks

    def describe_db_instances(
        self,
        *,
        Filters: Sequence[Any] = (),
        MaxRecords: int = 100,
        Marker: str | None = None,
    ) -> dict[str, Any]:
        return self._page("DBInstances", lambda: self._described_databases(Filters), MaxRecords, Marker, None)

    def describe_db_clusters(
        self,
        *,
        Filters: Sequence[Any] = (),
        MaxRecords: int = 100,
        Marker: str | None = None,
    ) -> dict[str, Any]:
        return self._page("DBClusters", lambda: self._described_clusters(Filters), MaxRecords, Marker, None)

    def describe_db_snapshots(self, *, SnapshotType: str, **more: Any) -> dict[str, Any]:
        return self._snapshot_page("DBSnapshots", False, SnapshotType, **more)

    def describe_db_cluster_snapshots(self, *, SnapshotType: str, **more: Any) -> dict[str, Any]:
        return self._snapshot_page("DBClusterSnapshots", True, SnapshotType, **more)

    def create_db_snapshot(
        self,
        *,
        DBSnapshotIdentifier: str,
        DBInstanceIdentifier: str,
        Tags: Sequence[Any],
        fault: str | None = None,
    ) -> dict[str, Any]:
        made = self._create(DBSnapshotIdentifier, DBInstanceIdentifier, Tags, fault, is_cluster=False)
        return {"DBSnapshot": self._described(made)}

    def create_db_cluster_snapshot(
        self,
        *,
        DBClusterSnapshotIdentifier: str,
        DBClusterIdentifier: str,
        Tags: Sequence[Any],
        fault: str | None = None,
    ) -> dict[str, Any]:
        made = self._create(DBClusterSnapshotIdentifier, DBClusterIdentifier, Tags, fault, is_cluster=True)
        return {"DBClusterSnapshot": self._described(made)}

    def copy_db_snapshot(
        self,
        *,
        SourceDBSnapshotIdentifier: str,
        TargetDBSnapshotIdentifier: str,
        SourceRegion: str,
        KmsKeyId: str,
        Tags: Sequence[Any],
        fault: str | None = None,
    ) -> dict[str, Any]:
        made = self._copy(
            SourceDBSnapshotIdentifier, TargetDBSnapshotIdentifier, SourceRegion, KmsKeyId, Tags, fault, False
        )
        return {"DBSnapshot": self._described(made)}

    def copy_db_cluster_snapshot(
        self,
        *,
        SourceDBClusterSnapshotIdentifier: str,
        TargetDBClusterSnapshotIdentifier: str,
        SourceRegion: str,
        Tags: Sequence[Any],
        KmsKeyId: str = "",
        fault: str | None = None,
    ) -> dict[str, Any]:
        made = self._copy(
            SourceDBClusterSnapshotIdentifier,
            TargetDBClusterSnapshotIdentifier,
            SourceRegion,
            KmsKeyId,
            Tags,
            fault,
            True,
        )
        return {"DBClusterSnapshot": self._described(made)}

    def add_tags_to_resource(self, *, ResourceName: str, Tags: Sequence[Any]) -> dict[str, Any]:
        kind, name = ResourceName.split(":")[5:7]
        snapshot = self.snapshots.get((kind == "cluster-snapshot", name))
        given = {tag["Key"]: tag["Value"] for tag in Tags}
        may = self._caller() == "mark_expired" and given == {"holdfast:state": "expired"}
        if snapshot is None or not may or snapshot.tags.get("holdfast:managed") != "1":
            raise _denied("AddTagsToResource")
        self._watch("marks", snapshot, self.region)
        snapshot.tags.update(given)
        return {}

    def delete_db_snapshot(self, *, DBSnapshotIdentifier: str) -> dict[str, Any]:
        return self._delete(DBSnapshotIdentifier, is_cluster=False)

    def delete_db_cluster_snapshot(self, *, DBClusterSnapshotIdentifier: str) -> dict[str, Any]:
        return self._delete(DBClusterSnapshotIdentifier, is_cluster=True)

    # How it is kept

    def _create(
        self, name: str, source_id: str, tags: Sequence[Any], fault: str | None, *, is_cluster: bool
    ) -> DatabaseSnapshot:
        source, noun = self.databases.get((is_cluster, source_id)), "DBCluster" if is_cluster else "DBInstance"
        if source is None:
            code = "DBClusterNotFoundFault" if is_cluster else "DBInstanceNotFound"
            raise refusal(code, f"{source_id} not found", f"Create{noun}Snapshot", 404)
        self._must_be_new(name, is_cluster)
        if self.status_of(source) not in TAKES_SNAPSHOTS:
            code = "InvalidDBClusterStateFault" if is_cluster else "InvalidDBInstanceState"
            raise refusal(code, f"{source_id} is {source.status}", f"Create{noun}Snapshot")
        self._must_have_room(fault)
        now = self._now()
        snapshot = DatabaseSnapshot(
            id=name,
            source_id=source_id,
            is_cluster=is_cluster,
            tags={tag["Key"]: tag["Value"] for tag in tags},
            started_at=now,
            ends_at=None,
            is_encrypted=source.is_encrypted,
            made_by=self._caller(),
        )
        return self._on_its_way(snapshot, fault)

    def _copy(
        self,
        source_arn: str,
        name: str,
        source_region: str,
        key: str,
        tags: Sequence[Any],
        fault: str | None,
        is_cluster: bool,
    ) -> DatabaseSnapshot:
        source_id, now, limits = source_arn.split(":")[6], self._now(), self._limits()
        source = self._others(source_region).snapshots.get((is_cluster, source_id))
        if source is None:
            code = "DBClusterSnapshotNotFoundFault" if is_cluster else "DBSnapshotNotFound"
            raise refusal(code, f"{source_id} not found", "CopyDBSnapshot", 404)
        self._must_be_new(name, is_cluster)
        if source.status(now) != "available":
            code = "InvalidDBClusterSnapshotStateFault" if is_cluster else "InvalidDBSnapshotState"
            raise refusal(code, f"{source_id} is {source.status(now)}", "CopyDBSnapshot")
        if not self._is_key_usable(self.region):
            raise refusal("KMSKeyNotAccessibleFault", "The KMS key is not accessible", "CopyDBSnapshot")
        most = limits.cluster_copies_under_way if is_cluster else limits.database_copies_under_way
        if most is not None and self.copying[is_cluster].count(now) >= most:
            raise refusal(
                "SnapshotQuotaExceeded", f"Cannot copy more than {most} snapshots across regions", "CopyDBSnapshot"
            )
        self._must_have_room(fault)
        copy = DatabaseSnapshot(
            id=name,
            source_id=source.source_id,
            is_cluster=is_cluster,
            tags={tag["Key"]: tag["Value"] for tag in tags},
            started_at=now,
            ends_at=None,
            is_encrypted=bool(key) or source.is_encrypted,
            key=key,
            source_snapshot_id=source_id,
            made_by=self._caller(),
        )
        copy = self._on_its_way(copy, fault)
        self.copying[is_cluster].begin(copy.ends_at)
        return copy

    def _on_its_way(self, snapshot: DatabaseSnapshot, fault: str | None) -> DatabaseSnapshot:
        snapshot.ends_at = self._now() + self._takes(snapshot)
        if fault == faults.ENDS_IN_ERROR:
            snapshot.failure = "failed"
        self._watch("copies" if snapshot.source_snapshot_id else "creates", snapshot, self.region)
        self.snapshots[snapshot.is_cluster, snapshot.id] = snapshot
        self._watch("ends later", snapshot, self.region)
        return snapshot

    def status_of(self, database: Database) -> str:
        """The state of a database now; one that was busy for a while is available again."""
        if database.busy_until is not None and self._now() >= database.busy_until:
            database.status, database.busy_until = "available", None
        return database.status

    def _must_be_new(self, name: str, is_cluster: bool) -> None:
        if (is_cluster, name) in self.snapshots:
            code = "DBClusterSnapshotAlreadyExistsFault" if is_cluster else "DBSnapshotAlreadyExists"
            raise refusal(code, f"{name} already exists", "CreateDBSnapshot")

    def _must_have_room(self, fault: str | None) -> None:
        most = self._limits().manual_database_snapshots
        if fault == faults.NO_ROOM or (most is not None and len(self.snapshots) >= most):
            raise refusal(
                "SnapshotQuotaExceeded", f"Cannot create more than {most} manual snapshots", "CreateDBSnapshot"
            )

    def _delete(self, name: str, *, is_cluster: bool) -> dict[str, Any]:
        snapshot = self.snapshots.get((is_cluster, name))
        marked = {"holdfast:managed": "1", "holdfast:state": "expired"}
        if (
            snapshot is None
            or self._caller() != "delete_expired"
            or any(snapshot.tags.get(key) != value for key, value in marked.items())
        ):
            raise _denied("DeleteDBSnapshot")
        if snapshot.status(self._now()) not in ("available", "failed"):
            code = "InvalidDBClusterSnapshotStateFault" if is_cluster else "InvalidDBSnapshotState"
            raise refusal(code, f"{name} is {snapshot.status(self._now())}", "DeleteDBSnapshot")
        self._watch("deletes", snapshot, self.region)
        del self.snapshots[is_cluster, name]
        self.deleted.append(name)
        return {}

    def _snapshot_page(
        self,
        name: str,
        is_cluster: bool,
        snapshot_type: str,
        *,
        Filters: Sequence[Any] = (),
        MaxRecords: int = 100,
        Marker: str | None = None,
        fault: str | None = None,
    ) -> dict[str, Any]:
        if snapshot_type != "manual":
            raise NotUnderstood(f"snapshots of type {snapshot_type}")

        def whole() -> list[Any]:
            if not Filters:
                return [self._described(one) for (cluster, _), one in self.snapshots.items() if cluster is is_cluster]
            [one] = Filters
            if one["Name"] != ("db-cluster-snapshot-id" if is_cluster else "db-snapshot-id"):
                raise NotUnderstood(f"snapshots by {one['Name']}")
            found = [self.snapshots.get((is_cluster, id)) for id in one["Values"]]
            return [self._described(snapshot) for snapshot in found if snapshot is not None]

        return self._page(name, whole, MaxRecords, Marker, fault)

    def _page(
        self, name: str, whole: Callable[[], list[Any]], size: int, marker: str | None, fault: str | None
    ) -> dict[str, Any]:
        if marker is not None:
            if marker not in self._pages:
                raise refusal("ServiceUnavailable", "The listing cannot go on", name, 503)
            left = self._pages.pop(marker)
        else:
            left = whole()
        page, rest = left[:size], left[size:]
        if fault == faults.TRUNCATED:
            return {name: page[: len(page) // 2], "Marker": f"expired-{next(self._markers)}"}
        if not rest:
            return {name: page}
        following = f"page-{next(self._markers)}"
        self._pages[following] = rest
        return {name: page, "Marker": following}

    def _described(self, snapshot: DatabaseSnapshot) -> dict[str, Any]:
        now = self._now()
        answer: dict[str, Any] = {
            "Status": snapshot.status(now),
            "SnapshotCreateTime": snapshot.started_at,
            "AllocatedStorage": 20,
            "Engine": "aurora-postgresql" if snapshot.is_cluster else "postgres",
            "TagList": _listed(snapshot.tags),
        }
        if snapshot.key:
            answer["KmsKeyId"] = snapshot.key
        if snapshot.is_cluster:
            return answer | {
                "DBClusterSnapshotIdentifier": snapshot.id,
                "DBClusterIdentifier": snapshot.source_id,
                "StorageEncrypted": snapshot.is_encrypted,
            }
        return answer | {
            "DBSnapshotIdentifier": snapshot.id,
            "DBInstanceIdentifier": snapshot.source_id,
            "Encrypted": snapshot.is_encrypted,
            "OriginalSnapshotCreateTime": snapshot.started_at,
            "OptionGroupName": "default:postgres-16",
        }

    def _described_databases(self, filters: Sequence[Any]) -> list[dict[str, Any]]:
        found = [one for (is_cluster, _), one in self.databases.items() if not is_cluster]
        for wanted in filters:
            if wanted["Name"] == "db-cluster-id":  # clusters here have no instances
                return []
            if wanted["Name"] != "db-instance-id":
                raise NotUnderstood(f"databases by {wanted['Name']}")
            found = [one for one in found if one.id in wanted["Values"]]
        return [
            {
                "DBInstanceIdentifier": one.id,
                "DBInstanceStatus": self.status_of(one),
                "Engine": "postgres",
                "AllocatedStorage": 20,
                "StorageEncrypted": one.is_encrypted,
                "TagList": _listed(one.tags),
            }
            for one in found
        ]

    def _described_clusters(self, filters: Sequence[Any]) -> list[dict[str, Any]]:
        found = [one for (is_cluster, _), one in self.databases.items() if is_cluster]
        for wanted in filters:
            if wanted["Name"] != "db-cluster-id":
                raise NotUnderstood(f"clusters by {wanted['Name']}")
            found = [one for one in found if one.id in wanted["Values"]]
        return [
            {
                "DBClusterIdentifier": one.id,
                "Status": self.status_of(one),
                "Engine": "aurora-postgresql",
                "AllocatedStorage": 1,
                "StorageEncrypted": one.is_encrypted,
                "DBClusterMembers": [],
                "TagList": _listed(one.tags),
            }
            for one in found
        ]


def _denied(operation: str) -> Exception:
    return refusal("AccessDenied", "User is not authorized to perform this operation", operation, 403)


def _listed(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
