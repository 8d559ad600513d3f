"""Databases made for people to use, out of snapshots or out of a database's own log, and set up like the original."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from functions.aws import rds_described
from functions.aws.clients import Clients
from functions.aws.faults import code_of
from functions.aws.recoveries import calls_rds as calls
from functions.aws.recoveries import settings_rds as settings
from functions.aws.recoveries.configure_rds import Round, Target
from functions.aws.recoveries.plan_rds import DatabasePlan
from functions.core.errors import ResourceGone
from functions.core.recoveries import Newest, PlanLine, RecoveryOrder, Setting, Source
from functions.core.resources import Kind, ResourceKey
from functions.core.restores import Restored, RestoreState

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient

    from functions.core.recoveries import Recoveries

_GROUPS = ("parameter_group", "option_group")
_NOT_IN_THIS_ZONE = frozenset(
    {"InsufficientDBInstanceCapacity", "InvalidVPCNetworkStateFault", "ProvisionedIopsNotAvailableInAZFault"}
)
"""Codes with which RDS refuses a zone, and may take another."""


class DatabaseRecoveries:
    """Recoveries of RDS instances in one Region: the port `Recoveries`."""

    kind = Kind.DATABASE

    def __init__(self, region: str, clients: Clients) -> None:
        self.region = region
        self._clients = clients
        self._rds: RDSClient = clients.retrying("rds", region)

    def plan(self, order: RecoveryOrder) -> tuple[PlanLine, ...]:
        """What stands in the way, found without making anything; see `plan_rds`.

        Errors: AwsBusy, NotAllowed.
        """
        return DatabasePlan(self.region, self._clients).lines(order)

    def begin(self, order: RecoveryOrder) -> tuple[Restored, ...]:
        """An instance under each name, with every setting that the creating call takes.

        It is public only where `wanted` says so, and is protected against deletion only at the end of `configure`. A
        zone without room, and a parameter or option group that this Region does not have, are left to RDS to replace;
        `configure` tells.

        Errors: SnapshotGone, ResourceGone, KeyUnusable, QuotaReached, NotAllowed, AwsBusy, ResourceBusy; BadMessage
        when RDS refuses a setting; Unsafe when a name is taken by something this recovery did not make.
        """
        absent = calls.absent_groups(self._rds, order.wanted, _GROUPS)
        if not str(order.wanted.get("availability_zone", "")).startswith(self.region):
            absent |= {"availability_zone"}
        parameters = settings.creating(settings.INSTANCE, order.wanted, without=absent) | {
            "PubliclyAccessible": order.wanted.get("is_public") is True,
            "DeletionProtection": False,
            "Tags": rds_described.written(calls.first_tags(order)),
        }
        return tuple(
            self._begun(order, name, source, parameters)
            for name, source in zip(order.names, calls.sources(order), strict=True)
        )

    def look(self, restored: Restored) -> Restored:
        """How far the instance is. AVAILABLE is RDS's word; the message tells how much of the storage has arrived."""
        instance = rds_described.instance(self._rds, restored.id)
        if instance is None:
            return replace(restored, state=RestoreState.GONE, message="RDS does not know it")
        word, endpoint = instance["DBInstanceStatus"], instance.get("Endpoint") or {}
        return replace(
            restored,
            state=rds_described.state(word),
            address=endpoint.get("Address"),
            port=endpoint.get("Port"),
            engine=instance.get("Engine"),
            secret_arn=readable_secret(instance),
            word=word,
            is_warm=instance.get("StorageOperationStatus") != "Initializing" if word == "available" else None,
            message=calls.told(instance, word),
        )

    def configure(self, order: RecoveryOrder, restored: Restored) -> tuple[Setting, ...]:
        """Every setting of the original and where it stands; asks for one kind of change each time.

        A setting that RDS refuses is told with RDS's words and the rest goes on. The master password is the one that
        the snapshot has, unless the original's was in a managed secret: then RDS makes a new one.

        Errors: ResourceGone, Unsafe, AwsBusy.
        """
        instance = rds_described.instance(self._rds, restored.id)
        if instance is None:
            raise ResourceGone(
                f"the restored database {restored.id} does not exist any more",
                hint="somebody deleted or renamed it; look in CloudTrail who did, and recover again if it is needed",
            )
        calls.refuse_unless_of(restored.id, instance, order.recovery_id)
        return Round(self._rds, self.region, instance_target(self._rds, instance), order.wanted).settings()

    def remove(self, restored: Restored, recovery_id: str) -> RestoreState:
        """GONE when RDS does not know it, CREATING while RDS is removing it or cannot begin to yet.

        Errors: Unsafe when it does not carry this recovery's tag, is protected against deletion or feeds a replica.
        """
        return calls.instance_removed(self._rds, restored.id, recovery_id, DeleteAutomatedBackups=True)

    def _begun(self, order: RecoveryOrder, name: str, source: str, parameters: Mapping[str, Any]) -> Restored:
        identifier = name.lower()
        with calls.explained("rds:RestoreDBInstance", resource=source):
            try:
                self._restore_somewhere(order, identifier, source, dict(parameters))
            except ClientError as refused:
                if code_of(refused) != "DBInstanceAlreadyExists":
                    raise
                calls.adopt(identifier, rds_described.instance(self._rds, identifier), order.recovery_id)
        return calls.creating(order, identifier, source, self.kind)

    def _restore_somewhere(
        self, order: RecoveryOrder, identifier: str, source: str, parameters: dict[str, Any]
    ) -> None:
        """In the wanted zone if it has room, else in any: the original's zone may be what failed."""
        try:
            self._restore(order, identifier, source, parameters)
        except ClientError as refused:
            if "AvailabilityZone" not in parameters or code_of(refused) not in _NOT_IN_THIS_ZONE:
                raise
            anywhere = {name: value for name, value in parameters.items() if name != "AvailabilityZone"}
            self._restore(order, identifier, source, anywhere)

    def _restore(self, order: RecoveryOrder, identifier: str, source: str, parameters: dict[str, Any]) -> None:
        if order.source is not Source.POINT_IN_TIME:
            self._rds.restore_db_instance_from_db_snapshot(
                DBInstanceIdentifier=identifier, DBSnapshotIdentifier=source, **parameters
            )
            return
        limit = order.wanted.get("max_size_gib")
        self._rds.restore_db_instance_to_point_in_time(
            SourceDBInstanceIdentifier=source,
            TargetDBInstanceIdentifier=identifier,
            RestoreTime=order.content_at,
            **({"MaxAllocatedStorage": limit} if limit else {}),
            **parameters,
        )


def instance_target(
    rds: RDSClient, instance: Mapping[str, Any], *, member_status: str = "", prefix: str = ""
) -> Target:
    """The instance as a round configures it. `member_status` is that of its cluster's parameter group on it."""
    identifier: str = instance["DBInstanceIdentifier"]
    is_member = bool(instance.get("DBClusterIdentifier"))
    statuses = {one.get("ParameterApplyStatus", "") for one in instance.get("DBParameterGroups", ())} | {member_status}

    def add_role(role: Mapping[str, str]) -> object:
        return rds.add_role_to_db_instance(
            DBInstanceIdentifier=identifier, RoleArn=role["arn"], FeatureName=role.get("feature", "")
        )

    return Target(
        id=identifier,
        arn=instance["DBInstanceArn"],
        word=instance["DBInstanceStatus"],
        described=instance,
        choices=settings.MEMBER if is_member else settings.INSTANCE,
        modify=lambda **changes: rds.modify_db_instance(
            DBInstanceIdentifier=identifier, ApplyImmediately=True, **changes
        ),
        add_role=None if is_member else add_role,
        restart=lambda: rds.reboot_db_instance(DBInstanceIdentifier=identifier),
        apply_status=frozenset(statuses),
        prefix=prefix,
    )


def readable_secret(described: Mapping[str, Any]) -> str | None:
    """The managed master secret, once it can be read."""
    secret = described.get("MasterUserSecret") or {}
    return secret.get("SecretArn") if secret.get("SecretStatus") in ("active", "rotating", "impaired") else None


def newest_restorable(resource: ResourceKey, clients: Clients) -> Newest | None:
    """How near to now RDS can restore a database or cluster at its home; None where it cannot: no automated backups,
    no such database any more, or a kind that has no log.

    Errors: AwsBusy, NotAllowed.
    """
    if resource.kind not in (Kind.DATABASE, Kind.CLUSTER):
        return None
    rds: RDSClient = clients.retrying("rds", resource.region)
    look = rds_described.instance if resource.kind is Kind.DATABASE else rds_described.cluster
    described = look(rds, resource.id)
    if described is None or not described.get("BackupRetentionPeriod") or not described.get("LatestRestorableTime"):
        return None
    return Newest(at=described["LatestRestorableTime"], source_id=resource.id)


if TYPE_CHECKING:
    _port: type[Recoveries] = DatabaseRecoveries
