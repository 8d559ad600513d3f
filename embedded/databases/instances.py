"""DB instances of a Region: how they come, change and go."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from concurrent.futures import Future
from typing import Any

from moto.rds.exceptions import (
    DBInstanceAlreadyExists,
    DBInstanceNotFoundError,
    InvalidParameterCombination,
    InvalidParameterValue,
    RDSClientError,
)
from moto.rds.models import RDSBackend

from embedded import durations
from embedded.databases import announcements, engines, keys, quotas, surroundings, turns
from embedded.databases.announcements import announce
from embedded.databases.engines import POSTGRES
from embedded.databases.estate import LiveDatabase, estate
from embedded.databases.master_secret import MasterSecret
from embedded.databases.resources import AVAILABLE, CREATING, FAILED, IN_SYNC, PENDING_REBOOT, Instance, Member

_logger = logging.getLogger("embedded.databases")

_SHORTEST_PASSWORD = 8
_BACKING_UP_AFTER = 0.8
"""A restored instance with automated backups takes its first one towards the end of being made."""
_CHANGEABLE = (AVAILABLE, "storage-optimization", "storage-full")
_DELETABLE = (
    *_CHANGEABLE,
    "backing-up",
    "modifying",
    "stopped",
    FAILED,
    "restore-error",
    "incompatible-restore",
    "incompatible-network",
    "incompatible-parameters",
    "inaccessible-encryption-credentials",
)


class InstancesOfRegion(RDSBackend):
    """The operations on DB instances, and on the members of clusters."""

    databases: MutableMapping[str, Instance | Member]

    # ------------------------------------------------------------------ create

    def create_db_instance(self, db_kwargs: Any) -> Instance | Member:
        """CreateDBInstance: the instance is `creating`; where its engine is real, a server is being built."""
        wanted = dict(db_kwargs)
        self.refuse_new_instance(wanted["db_instance_identifier"])
        if wanted.get("db_cluster_identifier"):
            return self._create_member(wanted)
        manages_password = bool(wanted.pop("manage_master_user_password", False))
        secret_key = wanted.pop("master_user_secret_kms_key_id", None)
        password: str = wanted.get("master_user_password") or ""
        if not wanted.get("master_username"):
            raise InvalidParameterValue("The parameter MasterUsername must be provided and must not be blank.")
        if manages_password and password:
            raise InvalidParameterCombination(
                "You can't specify MasterUserPassword when ManageMasterUserPassword is enabled."
            )
        if not manages_password:
            _require_password(password)
        wanted["storage_encrypted"] = bool(wanted.get("storage_encrypted"))
        if wanted["storage_encrypted"]:
            key = wanted.get("kms_key_id")
            region = self.region_name
            wanted["kms_key_id"] = keys.usable_key_arn(region, key) if key else keys.default_key_arn(region)
        instance = self.add_instance(wanted)
        if manages_password:
            secret = MasterSecret(self.region_name, wanted["master_username"], instance.arn, secret_key)
            instance.master_user_secret, password = secret, secret.password
        building = None
        if instance.engine == POSTGRES:
            version = engines.postgresql(instance.engine_version)
            who = wanted["master_username"]
            building = estate().builders.submit(estate().build, version, who, password, instance.db_name)
        self.finish_when_built(instance, building, durations.seconds("db_restore"))
        return instance

    def refuse_new_instance(self, identifier: str) -> None:
        """There may be a new instance of this name; the refusal of RDS if not."""
        self._validate_db_identifier(identifier)
        if identifier in self.databases:
            raise DBInstanceAlreadyExists
        if len(self.databases) >= quotas.limit("db_instances"):
            raise RDSClientError("InstanceQuotaExceeded", "DB Instance quota exceeded")

    def add_instance(self, wanted: dict[str, Any]) -> Instance:
        """The Region has the instance, `creating`, with every choice RDS makes where `wanted` makes none."""
        engine = wanted["engine"]
        wanted["engine_version"] = engines.resolve_version(engine, wanted.get("engine_version"))
        wanted["port"] = wanted.get("port") or engines.default_port(engine)
        wanted["license_model"] = wanted.get("license_model") or engines.default_license(engine)
        wanted["allocated_storage"] = wanted.get("allocated_storage") or 20
        group = surroundings.subnet_group(self, wanted.pop("db_subnet_group_name", None))
        wanted["vpc_security_group_ids"] = surroundings.security_groups(
            self.region_name, group.vpc_id, wanted.get("vpc_security_group_ids")
        )
        if wanted.get("publicly_accessible") is None:
            wanted["publicly_accessible"] = surroundings.is_public_by_default(self.region_name, group)
        instance = Instance(self, group, **wanted)
        instance.status = CREATING
        self.databases[instance.db_instance_identifier] = instance
        return instance

    def finish_when_built(
        self, instance: Instance, building: Future[LiveDatabase] | None, seconds: float, from_snapshot: str = ""
    ) -> None:
        """The instance becomes available after `seconds`, or whenever its server is built if that takes longer."""

        def finish() -> None:
            if building is not None and not building.done():
                building.add_done_callback(lambda _: turns.after(0, finish, what))
            else:
                self._finish_creation(instance, building, from_snapshot)

        def back_up() -> None:
            if instance.status == CREATING:
                instance.status = "backing-up"

        what = f"creation of {instance.arn}"
        if from_snapshot and instance.backup_retention_period:
            turns.after(_BACKING_UP_AFTER * seconds, back_up, f"first backup of {instance.arn}")
        turns.after(seconds, finish, what)

    def _finish_creation(self, instance: Instance, building: Future[LiveDatabase] | None, from_snapshot: str) -> None:
        if building is not None:
            if problem := building.exception():
                _logger.error("no server for %s", instance.arn, exc_info=problem)
                instance.status = "restore-error" if from_snapshot else FAILED
                reason = str(problem).partition("\n")[0]
                announce(announcements.INSTANCE_CREATION_FAILED, instance, reason=reason)
                return
            instance.live = building.result()
            instance.port = instance.live.doorway.port
        if instance.master_user_secret:
            instance.master_user_secret.activate()
        instance.status = AVAILABLE
        if from_snapshot:
            announce(announcements.INSTANCE_RESTORED, instance, snapshot=from_snapshot)
        announce(announcements.INSTANCE_CREATED, instance)

    def _create_member(self, wanted: dict[str, Any]) -> Member:
        # The cluster decides these; moto refuses to hear them from a member.
        for decided_by_cluster in ("engine_version", "storage_encrypted", "kms_key_id"):
            wanted.pop(decided_by_cluster, None)
        member = Member(self, **wanted)
        if member.engine != member.cluster.engine:
            raise InvalidParameterCombination(
                f"The engine name requested for your DB instance ({member.engine}) doesn't match "
                f"the engine name of your DB cluster ({member.cluster.engine})."
            )
        member.status = CREATING
        self.databases[member.db_instance_identifier] = member
        turns.after(durations.seconds("db_restore"), lambda: self._member_is_there(member), f"creation of {member.arn}")
        return member

    def _member_is_there(self, member: Member) -> None:
        member.status = AVAILABLE
        announce(announcements.INSTANCE_CREATED, member)

    # ------------------------------------------------------------------ change

    def modify_db_instance(self, db_instance_identifier: str, db_kwargs: Any) -> Instance | Member:
        """ModifyDBInstance: `modifying`, and after that with the new settings and the new master password."""
        wanted = dict(db_kwargs)
        instance = self.instance(db_instance_identifier)
        _require_state(instance, _CHANGEABLE, "modified")
        new_name = self._checked_new_name(wanted)
        self._check_new_settings(instance, wanted)
        password = self._change_master_password(instance, wanted)
        if wanted.get("db_parameter_group_name", instance.db_parameter_group_name) != instance.db_parameter_group_name:
            instance.parameter_apply_status = PENDING_REBOOT
        super().modify_db_instance(instance.db_instance_identifier, wanted)
        instance.remember(wanted)
        if new_name:
            return self._rename(instance, new_name)
        instance.status = "modifying"
        turns.after(
            durations.seconds("db_modify"),
            lambda: self._finish_modification(instance, password),
            f"modification of {instance.arn}",
        )
        return instance

    def _checked_new_name(self, wanted: dict[str, Any]) -> str | None:
        name: str | None = wanted.pop("new_db_instance_identifier", None)
        if name is None:
            return None
        if not wanted.get("apply_immediately"):
            raise NotImplementedError("The embedded RDS has no maintenance windows: rename with ApplyImmediately")
        self._validate_db_identifier(name)
        if name.lower() in self.databases:
            raise DBInstanceAlreadyExists
        return name.lower()

    def _rename(self, instance: Instance | Member, name: str) -> Instance | Member:
        def arrive() -> None:
            del self.databases[instance.db_instance_identifier]
            instance.db_instance_identifier = name
            self.databases[name] = instance
            instance.status = AVAILABLE

        instance.status = "renaming"
        turns.after(durations.seconds("db_modify"), arrive, f"renaming of {instance.arn}")
        return instance

    def _check_new_settings(self, instance: Instance | Member, wanted: dict[str, Any]) -> None:
        """RDS would take these settings; its refusal if not. Moto would take anything."""
        port: int | None = wanted.pop("db_port_number", None)
        if port is not None and instance.live is not None and port != instance.live.doorway.port:
            raise InvalidParameterValue(f"The embedded RDS cannot move a database to port {port} once it stands")
        if port is not None:
            wanted["port"] = port
        seconds = wanted.get("monitoring_interval", instance.monitoring_interval)
        if bool(seconds) and not wanted.get("monitoring_role_arn", instance.monitoring_role_arn):
            raise InvalidParameterCombination(
                "A MonitoringRoleARN value is required if you specify a MonitoringInterval value other than 0."
            )
        surroundings.require_option_group(self, wanted.get("option_group_name"))
        if wanted.get("vpc_security_group_ids") and isinstance(instance, Instance):
            vpc_id = str(instance.db_subnet_group.vpc_id)
            surroundings.security_groups(self.region_name, vpc_id, wanted["vpc_security_group_ids"])

    def _change_master_password(self, instance: Instance | Member, wanted: dict[str, Any]) -> str | None:
        """The password the master user will have, if the request changes it; the secret is already prepared."""
        password: str | None = wanted.pop("master_user_password", None)
        manages: bool | None = wanted.pop("manage_master_user_password", None)
        rotates = bool(wanted.pop("rotate_master_user_password", False))
        key = wanted.pop("master_user_secret_kms_key_id", None)
        if password is manages is None and not rotates:
            return None
        if isinstance(instance, Member):
            raise InvalidParameterCombination(
                "You can't change the master user password of a DB cluster member; call ModifyDBCluster instead."
            )
        secret = instance.master_user_secret
        if password is not None and (manages or (secret and manages is None)):
            raise InvalidParameterCombination(
                "You can't specify MasterUserPassword when ManageMasterUserPassword is enabled."
            )
        if rotates and not wanted.get("apply_immediately"):
            raise InvalidParameterCombination(
                "You must specify apply immediately when rotating the master user password."
            )
        if rotates and secret is None:
            raise InvalidParameterCombination(
                "You can't rotate the master user password: Secrets Manager doesn't manage it."
            )
        if manages is False and secret is not None:
            _require_password(password or "")
            secret.delete()
            instance.master_user_secret = None
        if password is not None:
            _require_password(password)
            return password
        if manages and secret is None:
            secret = MasterSecret(self.region_name, str(instance.master_username), instance.arn, key)
            instance.master_user_secret = secret
            return secret.password
        if rotates and secret is not None:
            secret.rotate()
            return secret.password
        return None

    def _finish_modification(self, instance: Instance | Member, password: str | None) -> None:
        if password is not None and instance.live is not None:
            try:
                instance.live.server.set_master_password(str(instance.master_username), password)
            except Exception as problem:
                _logger.exception("the master password of %s stays as it was", instance.arn)
                instance.status = AVAILABLE
                announce(announcements.MASTER_PASSWORD_NOT_RESET, instance, reason=problem)
                return
        if instance.master_user_secret:
            instance.master_user_secret.activate()
        instance.status = AVAILABLE
        if password is not None:
            announce(announcements.MASTER_PASSWORD_RESET, instance)

    # ------------------------------------------------------------------ stop, start, reboot

    def stop_db_instance(
        self, db_instance_identifier: str, db_snapshot_identifier: str | None = None
    ) -> Instance | Member:
        """StopDBInstance: the server ends after a checkpoint."""
        instance = self.instance(db_instance_identifier)
        _require_state(instance, (AVAILABLE,), "stopped")
        if db_snapshot_identifier:
            self.create_db_snapshot(db_instance_identifier, db_snapshot_identifier)
        return self._pass_through(instance, "stopping", "stopped", announcements.INSTANCE_SHUT_DOWN)

    def start_db_instance(self, db_instance_identifier: str) -> Instance | Member:
        """StartDBInstance: the server answers again, on the same endpoint."""
        instance = self.instance(db_instance_identifier)
        _require_state(instance, ("stopped",), "started")
        return self._pass_through(instance, "starting", AVAILABLE, announcements.INSTANCE_RESTARTED)

    def reboot_db_instance(self, db_instance_identifier: str) -> Instance | Member:
        """RebootDBInstance: the server stopped and started."""
        instance = self.instance(db_instance_identifier)
        _require_state(instance, (AVAILABLE,), "rebooted")
        return self._pass_through(instance, "rebooting", AVAILABLE, announcements.INSTANCE_RESTARTED)

    def _pass_through(
        self, instance: Instance | Member, state: str, last_state: str, announcement: announcements.Announcement
    ) -> Instance | Member:
        def arrive() -> None:
            if instance.live:
                instance.live.server.stop()
                if last_state == AVAILABLE:
                    instance.live.server.start()
            if last_state == AVAILABLE:
                instance.parameter_apply_status = IN_SYNC
            instance.status = last_state
            announce(announcement, instance)

        instance.status = state
        turns.after(durations.seconds("db_modify"), arrive, f"{state} of {instance.arn}")
        return instance

    # ------------------------------------------------------------------ delete

    def delete_db_instance(
        self,
        db_instance_identifier: str,
        final_db_snapshot_identifier: str | None = None,
        skip_final_snapshot: bool | None = False,
        delete_automated_backups: bool | None = True,
    ) -> Instance | Member:
        """DeleteDBInstance: `deleting`, and after that no server, no files, no managed secret."""
        instance = self.instance(db_instance_identifier)
        if instance.deletion_protection:
            raise InvalidParameterCombination(
                "Cannot delete protected DB Instance, please disable deletion protection and try again."
            )
        if instance.status == "deleting":
            raise RDSClientError(
                "InvalidDBInstanceState", f"Instance {db_instance_identifier} is already being deleted."
            )
        _require_state(instance, _DELETABLE, "deleted")
        if isinstance(instance, Instance):
            if bool(final_db_snapshot_identifier) == bool(skip_final_snapshot):
                raise InvalidParameterCombination(
                    "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified, "
                    "and cannot be specified with it."
                )
            if final_db_snapshot_identifier:
                self.create_db_snapshot(db_instance_identifier, final_db_snapshot_identifier)
        instance.status = "deleting"
        turns.after(
            durations.seconds("db_delete"),
            lambda: self._finish_deletion(instance, delete_automated_backups is not False),
            f"deletion of {instance.arn}",
        )
        return instance

    def _finish_deletion(self, instance: Instance | Member, with_automated_backups: bool) -> None:
        del self.databases[instance.db_instance_identifier]
        if instance.live:
            instance.live.remove()
            instance.live = None
        if instance.master_user_secret:
            instance.master_user_secret.delete()
        if with_automated_backups:
            self.delete_automated_snapshots(instance.dbi_resource_id)
        announce(announcements.INSTANCE_DELETED, instance)

    def delete_automated_snapshots(self, dbi_resource_id: str) -> None:
        """No automated snapshot of the instance is left."""
        raise NotImplementedError

    # ------------------------------------------------------------------ look

    def instance(self, identifier: str) -> Instance | Member:
        """The instance of this name or ARN; DBInstanceNotFound if there is none."""
        found = self.databases.get(identifier.rpartition(":")[2])
        if found is None:
            raise DBInstanceNotFoundError(identifier)
        return found


def _require_state(instance: Instance | Member, states: tuple[str, ...], done: str) -> None:
    if instance.status not in states:
        raise RDSClientError(
            "InvalidDBInstanceState",
            f"Instance {instance.db_instance_identifier} cannot be {done} in the state {instance.status}; "
            f"it can be in: {', '.join(states)}.",
        )


def _require_password(password: str) -> None:
    if len(password) < _SHORTEST_PASSWORD:
        raise InvalidParameterValue(
            "The parameter MasterUserPassword is not a valid password because it is shorter than "
            f"{_SHORTEST_PASSWORD} characters."
        )
