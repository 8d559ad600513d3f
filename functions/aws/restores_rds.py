"""Databases and clusters made from snapshots for a rehearsal, inside the rehearsal's own network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from functions.aws import rds_described
from functions.aws.clients import Clients
from functions.aws.faults import code_of, translated
from functions.aws.permissions import Permission, grant_through
from functions.core.coverage import REHEARSAL_TAG
from functions.core.errors import SnapshotGone, Unsafe
from functions.core.resources import Kind
from functions.core.restores import (
    EXPIRES_TAG,
    NAME_PREFIX,
    Leftover,
    Restored,
    RestoreOrder,
    RestoreState,
    expiry,
    name_of,
    tags,
)

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient

    from functions.core.restores import Restores

MEMBER_CLASS_TAG = "holdfast:member-class"
"""On a restored cluster: the class its one member gets once the cluster is available. A tag, because the step that
makes the member knows nothing but the cluster."""

MEMBER_CLASS = "db.t4g.medium"
"""The smallest class that every Aurora engine takes."""

SERVERLESS_CLASS = "db.serverless"
SERVERLESS_CAPACITY = {"MinCapacity": 0.5, "MaxCapacity": 4.0}
"""Aurora capacity units of a serverless member: enough for one connection, and a bound on what it may cost."""

_OF_A_REHEARSAL = {"Null": {f"aws:ResourceTag/{REHEARSAL_TAG}": "false"}}
_FOR_A_REHEARSAL = {"Null": {f"aws:RequestTag/{REHEARSAL_TAG}": "false", f"aws:RequestTag/{EXPIRES_TAG}": "false"}}
_PRIVATE_FOR_A_REHEARSAL = _FOR_A_REHEARSAL | {"BoolIfExists": {"rds:PubliclyAccessible": "false"}}
_INSTANCES = ("arn:{partition}:rds:{region}:{account}:db:holdfast-rt-*",)
_CLUSTERS = ("arn:{partition}:rds:{region}:{account}:cluster:holdfast-rt-*",)
_OURS = _INSTANCES + _CLUSTERS
_NETWORK = ("arn:{partition}:rds:{region}:{account}:subgrp:holdfast-rehearsal",)
"""The one subnet group for rehearsals, which has no way out: a copy of production must not wake up beside it."""
_AROUND = (
    "arn:{partition}:rds:{region}:{account}:pg:*",
    "arn:{partition}:rds:{region}:{account}:cluster-pg:*",
    "arn:{partition}:rds:{region}:{account}:og:*",
)
_AROUND_A_MEMBER = (
    "arn:{partition}:rds:{region}:{account}:subgrp:*",
    "arn:{partition}:rds:{region}:{account}:pg:*",
    "arn:{partition}:rds:{region}:{account}:og:*",
)
_SNAPSHOTS = (
    "arn:{partition}:rds:{region}:{account}:snapshot:holdfast-*",
    "arn:{partition}:rds:{region}:{account}:cluster-snapshot:holdfast-*",
)
_KEYS = ("arn:{partition}:kms:{region}:{account}:key/*",)

_LOOK = Permission(
    actions=("rds:DescribeDBInstances", "rds:DescribeDBClusters"),
    resources=_OURS,
    why="looks at what rehearsals made, by name",
)
_MEMBER = (
    Permission(
        actions=("rds:CreateDBInstance",),
        resources=_INSTANCES,
        conditions=_PRIVATE_FOR_A_REHEARSAL,
        why="a restored cluster answers only through a member; it says whose it is and when it may go",
    ),
    Permission(
        actions=("rds:CreateDBInstance",),
        resources=_CLUSTERS + _AROUND_A_MEMBER,
        why="the cluster and the groups a new member is created with are resources of the same call",
    ),
    Permission(
        actions=("rds:AddTagsToResource",),
        resources=_INSTANCES,
        conditions=_FOR_A_REHEARSAL,
        why="not called: tags ride in the creating call",
    ),
)

PERMISSIONS: Mapping[str, tuple[Permission, ...]] = {
    "begin": (
        _LOOK,
        Permission(
            actions=("rds:RestoreDBInstanceFromDBSnapshot", "rds:RestoreDBClusterFromSnapshot"),
            resources=_OURS,
            conditions=_PRIVATE_FOR_A_REHEARSAL,
            why="the new database carries our name, is private, says whose it is and when it may go",
        ),
        Permission(
            actions=("rds:RestoreDBInstanceFromDBSnapshot", "rds:RestoreDBClusterFromSnapshot"),
            resources=_SNAPSHOTS + _NETWORK + _AROUND,
            why="the snapshot, the network and the groups a database is restored with are resources of the same call",
        ),
        Permission(
            actions=("rds:AddTagsToResource",),
            resources=_OURS,
            conditions=_FOR_A_REHEARSAL,
            why="not called: tags ride in the creating call",
        ),
        Permission(
            actions=("rds:DescribeDBClusterSnapshots",),
            resources=("arn:{partition}:rds:{region}:{account}:cluster-snapshot:holdfast-*",),
            why="a cluster is restored with the engine and version that its snapshot names",
        ),
        grant_through("rds", why="not called: RDS makes a grant on the snapshot's key as the caller, for itself only"),
        Permission(
            actions=("kms:Decrypt", "kms:DescribeKey"),
            resources=_KEYS,
            conditions={"StringLike": {"kms:ViaService": "rds.{region}.amazonaws.com"}},
            why="not called: RDS opens the snapshot's key as the caller",
        ),
    ),
    "look": (
        _LOOK,
        *_MEMBER,
        Permission(
            actions=("rds:ModifyDBInstance", "rds:ModifyDBCluster"),
            resources=_OURS,
            conditions=_OF_A_REHEARSAL,
            why="asks RDS to put the master password of a restored database into a secret",
        ),
        Permission(
            actions=("secretsmanager:CreateSecret", "secretsmanager:TagResource"),
            resources=("arn:{partition}:secretsmanager:{region}:{account}:secret:rds!*",),
            why="not called: RDS makes the managed secret with the caller's rights",
        ),
        Permission(
            actions=("kms:DescribeKey",),
            resources=_KEYS,
            why="not called: RDS looks at the key of Secrets Manager with the caller's rights",
        ),
    ),
    "leftovers": (
        Permission(
            actions=("rds:DescribeDBInstances", "rds:DescribeDBClusters"),
            resources=(
                "arn:{partition}:rds:{region}:{account}:db:*",
                "arn:{partition}:rds:{region}:{account}:cluster:*",
            ),
            why="RDS filters by exact names only; what is not a rehearsal's is passed over",
        ),
    ),
    "remove": (
        _LOOK,
        Permission(
            actions=("rds:DeleteDBInstance", "rds:DeleteDBCluster"),
            resources=_OURS,
            conditions=_OF_A_REHEARSAL,
            why="removes what a rehearsal made: our name and our tag, both",
        ),
    ),
}

INITIALIZING = "Initializing"
"""While RDS says this of the storage, every first read of a block comes from the snapshot and is slow."""

_UNDER_WAY = frozenset(
    {"creating", "backing-up", "modifying", "resetting-master-credentials", "configuring-iam-database-auth"}
)
_READABLE = frozenset({"active", "rotating", "impaired"})
"""States of a managed secret in which it can be read; an impaired one only cannot be rotated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsalNetwork:
    """Where rehearsed databases live: a subnet group and security groups that serve nothing else.

    Without them RDS would take the default security group of the default network.
    """

    subnet_group: str
    security_group_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.subnet_group or not self.security_group_ids:
            raise ValueError("rehearsals: give a subnet group and at least one security group of their own")


class DatabaseRestores:
    """Restores for RDS instances in one Region."""

    kind = Kind.DATABASE

    def __init__(self, region: str, clients: Clients, network: RehearsalNetwork) -> None:
        self.region = region
        self._network = network
        self._rds: RDSClient = clients.retrying("rds", region)

    def begin(self, order: RestoreOrder) -> tuple[Restored, ...]:
        """An instance for each snapshot, private and in the rehearsal's network.

        The identifier follows from rehearsal and snapshot, so one that exists is the one begun before.

        Errors: SnapshotGone, KeyUnusable, QuotaReached, NotAllowed, AwsBusy; Unsafe when the name is taken by a thing
        that this rehearsal did not make.
        """
        return tuple(self._begun(order, snapshot_id) for snapshot_id in order.snapshot_ids)

    def look(self, restored: Restored) -> Restored:
        """How far the instance is; AVAILABLE once RDS says so and the master secret can be read.

        An engine for which RDS manages no secret is AVAILABLE without one, and the message says why.
        """
        instance = rds_described.instance(self._rds, restored.id)
        if instance is None:
            return replace(restored, state=RestoreState.GONE, message="RDS does not know it")
        seen = _seen(restored, instance, word=instance["DBInstanceStatus"], endpoint=instance.get("Endpoint", {}))
        if seen.state is not RestoreState.AVAILABLE or seen.secret_arn:
            return seen
        _refuse_unless_ours(restored.id, instance)

        return _with_secret(
            seen,
            instance,
            lambda: self._rds.modify_db_instance(
                DBInstanceIdentifier=restored.id, ManageMasterUserPassword=True, ApplyImmediately=True
            ),
        )

    def remove(self, restored: Restored) -> RestoreState:
        """GONE when RDS does not know it, CREATING while RDS is removing it or cannot begin to yet.

        Errors: Unsafe when it does not carry our name and our rehearsal tag.
        """
        return _instance_removed(self._rds, restored.id, DeleteAutomatedBackups=True)

    def leftovers(self) -> Iterator[Leftover]:
        """Every instance here that carries a rehearsal's name and tag and is no member of a cluster."""
        with translated("rds:DescribeDBInstances"):
            for page in self._rds.get_paginator("describe_db_instances").paginate():
                for instance in page["DBInstances"]:
                    if not instance.get("DBClusterIdentifier"):
                        identifier = instance.get("DBInstanceIdentifier", "")
                        yield from _leftover(self.kind, identifier, instance, instance.get("InstanceCreateTime"))

    def _begun(self, order: RestoreOrder, snapshot_id: str) -> Restored:
        identifier = name_of(order.rehearsal_id, snapshot_id)
        instance_class = order.configuration.get("instance_class")
        choice: dict[str, Any] = {"DBInstanceClass": str(instance_class)} if instance_class else {}
        with translated("rds:RestoreDBInstanceFromDBSnapshot", resource=snapshot_id):
            try:
                self._rds.restore_db_instance_from_db_snapshot(
                    DBInstanceIdentifier=identifier,
                    DBSnapshotIdentifier=snapshot_id,
                    DBSubnetGroupName=self._network.subnet_group,
                    VpcSecurityGroupIds=list(self._network.security_group_ids),
                    PubliclyAccessible=False,
                    MultiAZ=False,
                    DeletionProtection=False,
                    AutoMinorVersionUpgrade=False,
                    CopyTagsToSnapshot=False,
                    Tags=rds_described.written(tags(order)),
                    **choice,
                )
            except ClientError as refused:
                if code_of(refused) != "DBInstanceAlreadyExists":
                    raise
                _adopt(identifier, rds_described.instance(self._rds, identifier), order)
        return _creating(order, identifier, snapshot_id)


class ClusterRestores:
    """Restores for Aurora clusters in one Region: the cluster and one member to ask it through."""

    kind = Kind.CLUSTER

    def __init__(self, region: str, clients: Clients, network: RehearsalNetwork) -> None:
        self.region = region
        self._network = network
        self._rds: RDSClient = clients.retrying("rds", region)

    def begin(self, order: RestoreOrder) -> tuple[Restored, ...]:
        """A cluster for each snapshot; its member follows in `look`, because RDS takes none before the cluster is
        available.

        Errors: SnapshotGone, KeyUnusable, QuotaReached, NotAllowed, AwsBusy; Unsafe when the name is taken by a thing
        that this rehearsal did not make.
        """
        return tuple(self._begun(order, snapshot_id) for snapshot_id in order.snapshot_ids)

    def look(self, restored: Restored) -> Restored:
        """How far the cluster is; makes its member, then AVAILABLE once the member is and the secret can be read."""
        cluster = rds_described.cluster(self._rds, restored.id)
        if cluster is None:
            return replace(restored, state=RestoreState.GONE, message="RDS does not know it")
        seen = _seen(
            restored,
            cluster,
            word=cluster["Status"],
            endpoint={"Address": cluster.get("Endpoint"), "Port": cluster.get("Port")},
        )
        if seen.state is not RestoreState.AVAILABLE:
            return seen
        _refuse_unless_ours(restored.id, cluster)
        member = rds_described.instance(self._rds, _member_of(restored.id))
        if member is None:
            self._add_member(cluster)
            return replace(seen, state=RestoreState.CREATING, message="its member is being created")
        member_state = rds_described.state(member["DBInstanceStatus"])
        if member_state is not RestoreState.AVAILABLE:
            word = member["DBInstanceStatus"]
            return replace(seen, state=member_state, word=word, message=f"its member is {word}")
        if seen.secret_arn:
            return seen
        return _with_secret(
            seen,
            cluster,
            lambda: self._rds.modify_db_cluster(
                DBClusterIdentifier=restored.id, ManageMasterUserPassword=True, ApplyImmediately=True
            ),
        )

    def remove(self, restored: Restored) -> RestoreState:
        """GONE when neither cluster nor member is left, CREATING while RDS is removing them.

        Errors: Unsafe when the cluster or one of its members does not carry our name and our rehearsal tag.
        """
        cluster = rds_described.cluster(self._rds, restored.id)
        if cluster is None:
            return _instance_removed(self._rds, _member_of(restored.id))
        _refuse_unless_ours(restored.id, cluster)
        members = [member["DBInstanceIdentifier"] for member in cluster.get("DBClusterMembers", [])]
        for identifier in members:
            _instance_removed(self._rds, identifier)
        if cluster["Status"] != "deleting":
            with translated("rds:DeleteDBCluster", resource=restored.id):
                try:
                    self._rds.delete_db_cluster(
                        DBClusterIdentifier=restored.id, SkipFinalSnapshot=True, DeleteAutomatedBackups=True
                    )
                except ClientError as refused:
                    if code_of(refused) not in ("DBClusterNotFoundFault", "InvalidDBClusterStateFault"):
                        raise
        return RestoreState.CREATING

    def leftovers(self) -> Iterator[Leftover]:
        """Every cluster here that carries a rehearsal's name and tag; its members go with it."""
        with translated("rds:DescribeDBClusters"):
            for page in self._rds.get_paginator("describe_db_clusters").paginate():
                for cluster in page["DBClusters"]:
                    identifier = cluster.get("DBClusterIdentifier", "")
                    yield from _leftover(self.kind, identifier, cluster, cluster.get("ClusterCreateTime"))

    def _begun(self, order: RestoreOrder, snapshot_id: str) -> Restored:
        identifier = name_of(order.rehearsal_id, snapshot_id)
        member_class = str(order.configuration.get("instance_class") or MEMBER_CLASS)
        capacity: dict[str, Any] = (
            {"ServerlessV2ScalingConfiguration": SERVERLESS_CAPACITY} if member_class == SERVERLESS_CLASS else {}
        )
        source = self._snapshot(snapshot_id)
        with translated("rds:RestoreDBClusterFromSnapshot", resource=snapshot_id):
            try:
                self._rds.restore_db_cluster_from_snapshot(
                    DBClusterIdentifier=identifier,
                    SnapshotIdentifier=snapshot_id,
                    Engine=source["Engine"],
                    EngineVersion=source["EngineVersion"],
                    DBSubnetGroupName=self._network.subnet_group,
                    VpcSecurityGroupIds=list(self._network.security_group_ids),
                    DeletionProtection=False,
                    CopyTagsToSnapshot=False,
                    Tags=rds_described.written(tags(order) | {MEMBER_CLASS_TAG: member_class}),
                    **capacity,
                )
            except ClientError as refused:
                if code_of(refused) != "DBClusterAlreadyExistsFault":
                    raise
                _adopt(identifier, rds_described.cluster(self._rds, identifier), order)
        return _creating(order, identifier, snapshot_id)

    def _add_member(self, cluster: Mapping[str, Any]) -> None:
        carried = rds_described.tags_of(cluster)
        with translated("rds:CreateDBInstance"):
            try:
                self._rds.create_db_instance(
                    DBInstanceIdentifier=_member_of(cluster["DBClusterIdentifier"]),
                    DBClusterIdentifier=cluster["DBClusterIdentifier"],
                    DBInstanceClass=carried.get(MEMBER_CLASS_TAG, MEMBER_CLASS),
                    Engine=cluster["Engine"],
                    PubliclyAccessible=False,
                    AutoMinorVersionUpgrade=False,
                    Tags=rds_described.written(
                        {key: carried[key] for key in (REHEARSAL_TAG, EXPIRES_TAG) if key in carried}
                    ),
                )
            except ClientError as refused:
                if code_of(refused) != "DBInstanceAlreadyExists":
                    raise

    def _snapshot(self, snapshot_id: str) -> Mapping[str, Any]:
        with translated("rds:DescribeDBClusterSnapshots", resource=snapshot_id):
            try:
                answer = self._rds.describe_db_cluster_snapshots(DBClusterSnapshotIdentifier=snapshot_id)
            except ClientError as refused:
                if code_of(refused) != "DBClusterSnapshotNotFoundFault":
                    raise
                raise SnapshotGone(
                    f"there is no cluster snapshot {snapshot_id} in {self.region}",
                    hint="rehearse another point; holdfast points lists them",
                ) from refused
        return answer["DBClusterSnapshots"][0]


def _seen(restored: Restored, described: Mapping[str, Any], *, word: str, endpoint: Mapping[str, Any]) -> Restored:
    """The restored thing with what RDS says of it now; its secret only when that can be read."""
    secret = described.get("MasterUserSecret") or {}
    return replace(
        restored,
        state=rds_described.state(word),
        address=endpoint.get("Address"),
        port=endpoint.get("Port"),
        engine=described.get("Engine"),
        secret_arn=secret.get("SecretArn") if secret.get("SecretStatus") in _READABLE else None,
        word=word,
        is_warm=described.get("StorageOperationStatus") != INITIALIZING if word == "available" else None,
        message="" if word == "available" or word in _UNDER_WAY else f"RDS says {word}",
    )


def _with_secret(seen: Restored, described: Mapping[str, Any], ask: Callable[[], object]) -> Restored:
    """CREATING while the master secret is on its way; asks for it when nobody has."""
    waiting = replace(seen, state=RestoreState.CREATING, message="its master secret is being made")
    if described.get("MasterUserSecret") or described.get("PendingModifiedValues", {}).get("MasterUserPassword"):
        return waiting
    with translated("rds:ModifyDBInstance or ModifyDBCluster", resource=seen.id):
        try:
            ask()
        except ClientError as refused:
            if code_of(refused) in ("InvalidDBInstanceState", "InvalidDBClusterStateFault"):
                return waiting
            if code_of(refused) in ("InvalidParameterCombination", "InvalidParameterValue"):
                return replace(seen, message=f"RDS manages no master secret for {seen.engine}")
            raise
    return waiting


def _instance_removed(rds: RDSClient, identifier: str, **options: Any) -> RestoreState:
    instance = rds_described.instance(rds, identifier)
    if instance is None:
        return RestoreState.GONE
    _refuse_unless_ours(identifier, instance)
    if instance["DBInstanceStatus"] != "deleting":
        with translated("rds:DeleteDBInstance", resource=identifier):
            try:
                rds.delete_db_instance(DBInstanceIdentifier=identifier, SkipFinalSnapshot=True, **options)
            except ClientError as refused:
                if code_of(refused) == "DBInstanceNotFound":
                    return RestoreState.GONE
                if code_of(refused) != "InvalidDBInstanceState":
                    raise
    return RestoreState.CREATING


def _adopt(identifier: str, described: Mapping[str, Any] | None, order: RestoreOrder) -> None:
    if described is not None and rds_described.tags_of(described).get(REHEARSAL_TAG) != order.rehearsal_id:
        raise Unsafe(
            f"{identifier} in {order.region} exists and was not made by rehearsal {order.rehearsal_id}",
            hint="look who made it and remove it by hand if it should go; then rehearse again",
        )


def _refuse_unless_ours(identifier: str, described: Mapping[str, Any]) -> None:
    if not identifier.startswith(NAME_PREFIX) or REHEARSAL_TAG not in rds_described.tags_of(described):
        raise Unsafe(
            f"{identifier} does not carry both a name that begins with {NAME_PREFIX} and the tag {REHEARSAL_TAG}",
            hint="no rehearsal made it; look who did and remove it by hand if it should go",
        )


def _creating(order: RestoreOrder, identifier: str, snapshot_id: str) -> Restored:
    return Restored(
        id=identifier, snapshot_id=snapshot_id, kind=order.kind, region=order.region, state=RestoreState.CREATING
    )


def _leftover(
    kind: Kind, identifier: str, described: Mapping[str, Any], created_at: datetime | None
) -> Iterator[Leftover]:
    """What a rehearsal made, if it did; RDS says no time of creation while it is only just creating."""
    carried = rds_described.tags_of(described)
    is_ours = identifier.startswith(NAME_PREFIX) and REHEARSAL_TAG in carried
    if is_ours and created_at is not None:
        yield Leftover(
            id=identifier,
            kind=kind,
            rehearsal_id=carried[REHEARSAL_TAG],
            created_at=created_at,
            expires_at=expiry(carried),
        )


def _member_of(cluster_identifier: str) -> str:
    return f"{cluster_identifier}-1"


if TYPE_CHECKING:
    _database_port: type[Restores] = DatabaseRestores
    _cluster_port: type[Restores] = ClusterRestores
