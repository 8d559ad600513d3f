"""DB snapshots of a Region: taken, copied, deleted, and restored to new instances."""

from __future__ import annotations

from collections.abc import MutableMapping
from concurrent.futures import Future
from typing import Any, cast

from moto.rds.exceptions import (
    DBSnapshotAlreadyExistsError,
    DBSnapshotNotFoundFault,
    InvalidParameterCombination,
    InvalidParameterValue,
    RDSClientError,
)
from moto.rds.models import rds_backends
from moto.rds.utils import split_arn

from embedded import ACCOUNT, clock, durations
from embedded.databases import announcements, copying, engines, keys, quotas, surroundings, turns
from embedded.databases.announcements import announce
from embedded.databases.copying import FAIL, STICK, Tags
from embedded.databases.estate import LiveDatabase, estate
from embedded.databases.instances import InstancesOfRegion
from embedded.databases.progress import Progress, now
from embedded.databases.resources import AVAILABLE, COPYING, FAILED, Instance, Member, Snapshot
from embedded.databases.server import ServerError

MANUAL, AUTOMATED, AWS_BACKUP = "manual", "automated", "awsbackup"

_SNAPSHOT_STATES = (AVAILABLE, "storage-optimization")
INHERITED = (
    "allocated_storage",
    "auto_minor_version_upgrade",
    "backup_retention_period",
    "character_set_name",
    "copy_tags_to_snapshot",
    "db_instance_class",
    "db_name",
    "engine",
    "engine_version",
    "iops",
    "license_model",
    "master_username",
    "preferred_backup_window",
    "preferred_maintenance_window",
    "storage_throughput",
    "storage_type",
)
"""What a restored instance has from its snapshot. Networks, groups and protection start from RDS's defaults."""


class SnapshotsOfRegion(InstancesOfRegion):
    """The operations on DB snapshots."""

    database_snapshots: MutableMapping[str, Snapshot]

    # ------------------------------------------------------------------ create

    def create_db_snapshot(
        self, db_instance_identifier: str, db_snapshot_identifier: str, tags: Tags | None = None
    ) -> Snapshot:
        """CreateDBSnapshot: the content is what the instance's storage holds now; it is available later."""
        instance = self.instance(db_instance_identifier)
        if isinstance(instance, Member):
            raise InvalidParameterValue(
                "The specified instance is a member of a cluster and a snapshot cannot be created directly. "
                "Please use the CreateDBClusterSnapshot API instead."
            )
        self._require_name(db_snapshot_identifier)
        if instance.status not in _SNAPSHOT_STATES:
            raise RDSClientError(
                "InvalidDBInstanceState",
                f"Cannot create a snapshot because the database instance {instance.db_instance_identifier} "
                "is not currently in the available state.",
            )
        copying.require_quota(self.manual_snapshot_count(), quotas.limit("manual_snapshots"))
        snapshot = self._take(instance, db_snapshot_identifier, MANUAL, copying.checked_tags(tags))
        fate = copying.draw_fate("db-snapshot", self.region_name)
        ends_at = None if fate == STICK else clock.now() + durations.seconds("db_snapshot")
        snapshot.progress = Progress(clock.now(), ends_at)
        instance.status = "backing-up"
        announce(announcements.INSTANCE_BACKUP_STARTED, instance)
        announce(announcements.SNAPSHOT_STARTED, snapshot)
        turns.after(
            durations.seconds("db_snapshot"),
            lambda: self._finish_creation_of(snapshot, instance, fate),
            f"creation of {snapshot.arn}",
        )
        return snapshot

    def _take(self, instance: Instance, identifier: str, kind: str, tags: Tags | None) -> Snapshot:
        snapshot = Snapshot(self, instance, identifier, snapshot_type=kind, tags=tags)
        snapshot.snapshot_database_time = now()
        if instance.live:
            snapshot.image = estate().images.take(instance.live.server)
        self.database_snapshots[identifier] = snapshot
        return snapshot

    def _finish_creation_of(self, snapshot: Snapshot, instance: Instance, fate: str | None) -> None:
        if instance.status == "backing-up":
            instance.status = AVAILABLE
        if fate == FAIL:
            self._fail(snapshot)
        elif fate != STICK:
            snapshot.status = AVAILABLE
            announce(announcements.SNAPSHOT_CREATED, snapshot)
        announce(announcements.INSTANCE_BACKUP_FINISHED, instance)

    def plant_snapshot(self, db_instance_identifier: str, identifier: str, kind: str, tags: Tags | None) -> Snapshot:
        """There is an available snapshot nobody asked RDS for: an automated one, or one of AWS Backup."""
        instance = self.instance(db_instance_identifier)
        if not isinstance(instance, Instance) or kind not in (AUTOMATED, AWS_BACKUP, MANUAL):
            raise ValueError(f"plant {AUTOMATED}, {AWS_BACKUP} or {MANUAL} snapshots of instances outside clusters")
        if identifier in self.database_snapshots:
            raise ValueError(f"{identifier} is there already; choose another name or delete it first")
        snapshot = self._take(instance, identifier, kind, tags or [])
        snapshot.status = AVAILABLE
        return snapshot

    # ------------------------------------------------------------------ copy

    def copy_db_snapshot(
        self,
        source_db_snapshot_identifier: str,
        target_db_snapshot_identifier: str,
        kms_key_id: str | None = None,
        tags: Tags | None = None,
        copy_tags: bool | None = False,
        option_group_name: str | None = None,
        **_: Any,
    ) -> Snapshot:
        """CopyDBSnapshot, called in the Region of the copy: the same content under another name, `copying`."""
        source = self._source(source_db_snapshot_identifier)
        self._require_name(target_db_snapshot_identifier)
        copying.require_available(source, "InvalidDBSnapshotState")
        copying.require_quota(self.manual_snapshot_count(), quotas.limit("manual_snapshots"))
        is_cross_region = source.region != self.region_name
        if is_cross_region:
            copying.require_copy_slot(len(self._copies_in_progress()), quotas.limit("snapshot_copies"))
        key = copying.choose_key(source, self.region_name, kms_key_id)

        copy = Snapshot(self, source.database, target_db_snapshot_identifier, kms_key_id=key)
        copy.tags = copying.choose_tags(tags, copy_tags, source.tags)
        copy.status = COPYING
        copy.original_snapshot_create_time = source.original_snapshot_create_time
        copy.snapshot_database_time = source.snapshot_database_time
        copy.source_db_snapshot_identifier = source.arn
        copy.source_region = source.region if is_cross_region else None
        copy.option_group_name = option_group_name or engines.default_option_group(source.engine, source.engine_version)
        copy.availability_zone = f"{self.region_name}a"
        copy.vpc_id = None if is_cross_region else source.vpc_id
        copy.image = source.image
        if copy.image:
            estate().images.hold(copy.image)
        fate = copying.draw_fate("db-copy", self.region_name)
        starts_at = self._when_predecessor_ends(copy)
        self.database_snapshots[target_db_snapshot_identifier] = copy
        ends_at = starts_at + durations.seconds("db_copy")
        copy.progress = Progress(starts_at, None if fate == STICK else ends_at)
        started = announcements.COPY_STARTED if is_cross_region else announcements.LOCAL_COPY_STARTED
        announce(started, copy, source=source.resource_id, region=source.region)
        if fate != STICK:
            turns.after(
                ends_at - clock.now(), lambda: self._finish_copy(copy, source, fate), f"completion of {copy.arn}"
            )
        return copy

    def _source(self, identifier: str) -> Snapshot:
        if not identifier.startswith("arn:"):
            return self.snapshot(identifier)
        region, _, kind, name = split_arn(identifier)
        if kind != "snapshot":
            raise InvalidParameterValue(f"Invalid snapshot identifier:  {identifier}")
        return _in_region(region).snapshot(name)

    def _when_predecessor_ends(self, copy: Snapshot) -> float:
        """Copies of one instance wait for each other, without progress while they wait."""
        ends = [
            other.progress.ends_at
            for other in self._copies_in_progress()
            if other.dbi_resource_id == copy.dbi_resource_id and other.progress.ends_at is not None
        ]
        return max([clock.now(), *ends])

    def _copies_in_progress(self) -> list[Snapshot]:
        return [found for found in self.database_snapshots.values() if found.status == COPYING and found.source_region]

    def _finish_copy(self, copy: Snapshot, source: Snapshot, fate: str | None) -> None:
        if self.database_snapshots.get(copy.resource_id) is not copy:
            return
        source_is_gone = _in_region(source.region).database_snapshots.get(source.resource_id) is not source
        if fate == FAIL or source_is_gone:
            self._fail(copy)
            return
        copy.status = AVAILABLE
        minutes = max(1, round((clock.now() - copy.progress.starts_at) / 60))
        finished = announcements.COPY_FINISHED if copy.source_region else announcements.LOCAL_COPY_FINISHED
        announce(finished, copy, source=source.resource_id, region=source.region, minutes=minutes)

    # ------------------------------------------------------------------ delete

    def delete_db_snapshot(self, db_snapshot_identifier: str) -> Snapshot:
        """DeleteDBSnapshot: the snapshot is gone; a copy in progress is called off."""
        snapshot = self.snapshot(db_snapshot_identifier)
        if snapshot.snapshot_type != MANUAL:
            raise RDSClientError(
                "InvalidDBSnapshotState",
                f"The snapshot {db_snapshot_identifier} is {snapshot.snapshot_type}: only manual snapshots can be "
                "deleted with DeleteDBSnapshot.",
            )
        if snapshot.status not in (AVAILABLE, FAILED, COPYING):
            raise RDSClientError(
                "InvalidDBSnapshotState",
                f"Cannot delete the snapshot because it is not currently in the available state but {snapshot.status}.",
            )
        if snapshot.source_db_snapshot_identifier and snapshot.status == COPYING:
            region, _, _, source = split_arn(snapshot.source_db_snapshot_identifier)
            canceled = announcements.COPY_CANCELED if snapshot.source_region else announcements.LOCAL_COPY_CANCELED
            announce(canceled, snapshot, source=source, region=region)
        else:
            announce(announcements.SNAPSHOT_DELETED, snapshot)
        self._drop(snapshot)
        snapshot.status = "deleted"
        return snapshot

    def delete_automated_snapshots(self, dbi_resource_id: str) -> None:
        for snapshot in list(self.database_snapshots.values()):
            if snapshot.dbi_resource_id == dbi_resource_id and snapshot.snapshot_type == AUTOMATED:
                self._drop(snapshot)

    def _drop(self, snapshot: Snapshot) -> None:
        del self.database_snapshots[snapshot.resource_id]
        self._let_go_of_content(snapshot)

    def _fail(self, snapshot: Snapshot) -> None:
        snapshot.status = FAILED
        self._let_go_of_content(snapshot)

    def _let_go_of_content(self, snapshot: Snapshot) -> None:
        if snapshot.image:
            estate().images.release(snapshot.image)
            snapshot.image = None

    # ------------------------------------------------------------------ restore

    def restore_db_instance_from_db_snapshot(self, from_snapshot_id: str, overrides: Any) -> Instance:
        """RestoreDBInstanceFromDBSnapshot: always a new instance, whose server recovers from the copied content."""
        wanted = {name: value for name, value in dict(overrides).items() if value is not None}
        snapshot = self.snapshot(from_snapshot_id)
        self.refuse_new_instance(wanted["db_instance_identifier"])
        copying.require_available(snapshot, "InvalidDBSnapshotState")
        self.refuse_what_restores_cannot(snapshot, wanted)
        surroundings.require_option_group(self, wanted.get("option_group_name"))
        if snapshot.kms_key_id:
            keys.usable_key_arn(self.region_name, snapshot.kms_key_id)
        inherited = {name: getattr(snapshot.database, name) for name in INHERITED}
        encryption = {"storage_encrypted": snapshot.encrypted, "kms_key_id": snapshot.kms_key_id}
        tags = copying.checked_tags(wanted.pop("tags", None)) or copying.choose_tags(None, True, snapshot.tags)
        instance = self.add_instance(inherited | {"deletion_protection": False} | wanted | encryption | {"tags": tags})
        fate = copying.draw_fate("db-restore", self.region_name)
        if fate == STICK:
            return instance
        seconds = durations.seconds("db_restore")
        # The instance is available before its blocks have come: they are fetched as long again in the background.
        instance.loading = Progress(clock.now() + seconds, clock.now() + 2 * seconds)
        building: Future[LiveDatabase] | None = None
        if fate == FAIL:
            building = Future()
            building.set_exception(ServerError("The restore failed: a fault is armed for it."))
        elif snapshot.image:
            building = estate().builders.submit(estate().rebuild, snapshot.image, wanted.get("port"))
        self.finish_when_built(instance, building, seconds, from_snapshot=snapshot.resource_id)
        return instance

    @staticmethod
    def refuse_what_restores_cannot(snapshot: Snapshot | Instance, wanted: dict[str, Any]) -> None:
        """RDS's refusal of a setting that no restore of this takes, if one of them is wanted."""
        if wanted.get("allocated_storage", snapshot.allocated_storage) < snapshot.allocated_storage:
            raise InvalidParameterValue(
                "The allocated storage size can't be less than the source snapshot or backup size."
            )
        if wanted.pop("manage_master_user_password", False):
            raise InvalidParameterCombination(
                f"ManageMasterUserPassword isn't supported when restoring {snapshot.engine}: "
                "call ModifyDBInstance once the instance is available."
            )
        if wanted.get("engine", snapshot.engine) != snapshot.engine:
            raise InvalidParameterCombination(
                f"The snapshot holds a database of {snapshot.engine}; it cannot be restored as {wanted['engine']}."
            )

    # ------------------------------------------------------------------ look

    def snapshot(self, identifier: str) -> Snapshot:
        """The snapshot of this name, or of this ARN if it lies in this Region; DBSnapshotNotFound if there is none."""
        name = identifier
        if identifier.startswith("arn:"):
            region, _, _, name = split_arn(identifier)
            if region != self.region_name:
                raise DBSnapshotNotFoundFault(identifier)
        if name not in self.database_snapshots:
            raise DBSnapshotNotFoundFault(identifier)
        return self.database_snapshots[name]

    def manual_snapshot_count(self) -> int:
        """How many snapshots count against the quota: copies do, automated ones and those of AWS Backup do not."""
        return sum(found.snapshot_type == MANUAL for found in self.database_snapshots.values())

    def _require_name(self, identifier: str) -> None:
        if identifier in self.database_snapshots:
            raise DBSnapshotAlreadyExistsError(identifier)


def _in_region(region: str) -> SnapshotsOfRegion:
    return cast("SnapshotsOfRegion", rds_backends[ACCOUNT][region])
