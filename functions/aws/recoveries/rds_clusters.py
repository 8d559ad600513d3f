"""Clusters made for people to use, out of snapshots or out of a cluster's own log, with all their members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from functions.aws import rds_described
from functions.aws.clients import Clients
from functions.aws.faults import code_of, translated
from functions.aws.recoveries import calls_rds as calls
from functions.aws.recoveries import settings_rds as settings
from functions.aws.recoveries.configure_rds import Round, Target
from functions.aws.recoveries.members_rds import (
    MEMBER_GROUP_TAG,
    MOST_MEMBERS,
    Member,
    listed_in,
    member_name,
    members_of,
    members_tags,
    members_told,
    with_settings,
)
from functions.aws.recoveries.plan_rds import ClusterPlan
from functions.aws.recoveries.rds import instance_target, readable_secret
from functions.core.errors import HoldfastError, ResourceGone, SnapshotGone
from functions.core.recoveries import RECOVERY_TAG, PlanLine, RecoveryOrder, Setting, Source
from functions.core.resources import Kind
from functions.core.restores import Restored, RestoreState

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient

    from functions.core.recoveries import Recoveries


class ClusterRecoveries:
    """Recoveries of clusters in one Region: the port `Recoveries`."""

    kind = Kind.CLUSTER

    def __init__(self, region: str, clients: Clients) -> None:
        self.region = region
        self._clients = clients
        self._rds: RDSClient = clients.retrying("rds", region)

    def plan(self, order: RecoveryOrder) -> tuple[PlanLine, ...]:
        """What stands in the way, found without making anything; see `plan_rds`.

        Errors: AwsBusy, NotAllowed.
        """
        return ClusterPlan(self.region, self._clients).lines(order)

    def begin(self, order: RecoveryOrder) -> tuple[Restored, ...]:
        """A cluster under each name, with every setting that the creating call takes; `look` makes its members.

        Errors: SnapshotGone, ResourceGone, KeyUnusable, QuotaReached, NotAllowed, AwsBusy, ResourceBusy; BadMessage
        when RDS refuses a setting; Unsafe when a name is taken by something this recovery did not make.
        """
        return tuple(
            self._begun(order, name, source) for name, source in zip(order.names, calls.sources(order), strict=True)
        )

    def look(self, restored: Restored) -> Restored:
        """How far the cluster is; makes its members, the writer first. AVAILABLE once the writer is: readers that
        are still being made are told by `configure`.

        Errors: AwsBusy, NotAllowed, QuotaReached when the writer cannot be made; Unsafe when its name is taken.
        """
        cluster = rds_described.cluster(self._rds, restored.id)
        if cluster is None:
            return replace(restored, state=RestoreState.GONE, message="RDS does not know it")
        word = cluster["Status"]
        seen = replace(
            restored,
            state=rds_described.state(word),
            address=cluster.get("Endpoint"),
            port=cluster.get("Port"),
            engine=cluster.get("Engine"),
            secret_arn=readable_secret(cluster),
            word=word,
            message=calls.told(cluster, word),
        )
        carried = rds_described.tags_of(cluster)
        wanted = members_told(carried)
        if seen.state is not RestoreState.AVAILABLE or RECOVERY_TAG not in carried or not wanted:
            return seen
        return self._with_members(seen, cluster, carried, wanted)

    def configure(self, order: RecoveryOrder, restored: Restored) -> tuple[Setting, ...]:
        """Every setting of the cluster and of its members and where it stands; asks for one kind of change of each.

        Errors: ResourceGone, Unsafe, AwsBusy.
        """
        cluster = rds_described.cluster(self._rds, restored.id)
        if cluster is None:
            raise ResourceGone(
                f"the restored cluster {restored.id} does not exist any more",
                hint="somebody deleted or renamed it; look in CloudTrail who did, and recover again if it is needed",
            )
        calls.refuse_unless_of(restored.id, cluster, order.recovery_id)
        of_members = self._members_configured(order, cluster)
        round_ = Round(self._rds, self.region, self._target(cluster, order.wanted), order.wanted)
        return *round_.settings(others=of_members), *of_members

    def remove(self, restored: Restored, recovery_id: str) -> RestoreState:
        """GONE when neither the cluster nor a member is left, CREATING while RDS is removing them.

        Errors: Unsafe when the cluster or one of its members does not carry this recovery's tag, when it is protected
        against deletion or feeds a replica.
        """
        cluster = rds_described.cluster(self._rds, restored.id)
        if cluster is None:
            left = [calls.instance_removed(self._rds, name, recovery_id) for name in self._left_over(restored.id)]
            return RestoreState.GONE if set(left) <= {RestoreState.GONE} else RestoreState.CREATING
        calls.refuse_unless_of(restored.id, cluster, recovery_id)
        calls.refuse_if_used(restored.id, cluster)
        if not settings.is_multi_az_cluster({"engine": cluster.get("Engine")}):
            self._refuse_foreign_members(cluster, recovery_id)
            for member in cluster.get("DBClusterMembers", []):
                calls.instance_removed(self._rds, member["DBInstanceIdentifier"], recovery_id)
        if cluster["Status"] != "deleting":
            self._delete(restored.id)
        return RestoreState.CREATING

    # begin

    def _begun(self, order: RecoveryOrder, name: str, source: str) -> Restored:
        identifier = name.lower()
        wanted = dict(order.wanted)
        version: dict[str, Any] = {}
        if order.source is not Source.POINT_IN_TIME:
            snapshot = self._snapshot(source)
            wanted["engine"] = snapshot["Engine"]
            version = {"Engine": snapshot["Engine"], "EngineVersion": snapshot["EngineVersion"]}
            own_key = snapshot.get("KmsKeyId")
        else:
            own_key = wanted.get("kms_key_id")
        if wanted.get("kms_key_id") == own_key or settings.region_of(wanted.get("kms_key_id")) not in ("", self.region):
            wanted.pop("kms_key_id", None)  # the snapshot's own key is taken without being named
        choices = settings.of_cluster(wanted)
        absent = calls.absent_groups(self._rds, wanted, ("cluster_parameter_group",))
        parameters = settings.creating(choices, wanted, without=absent) | {
            "DeletionProtection": False,
            "Tags": rds_described.written(calls.first_tags(order) | self._members_tags(wanted)),
        }
        if settings.is_multi_az_cluster(wanted):
            parameters["PubliclyAccessible"] = wanted.get("is_public") is True
        with calls.explained("rds:RestoreDBCluster", resource=source):
            try:
                self._restore(order, identifier, source, version, parameters)
            except ClientError as refused:
                if code_of(refused) != "DBClusterAlreadyExistsFault":
                    raise
                calls.adopt(identifier, rds_described.cluster(self._rds, identifier), order.recovery_id)
        return calls.creating(order, identifier, source, self.kind)

    def _restore(
        self,
        order: RecoveryOrder,
        identifier: str,
        source: str,
        version: Mapping[str, Any],
        parameters: Mapping[str, Any],
    ) -> None:
        if order.source is Source.POINT_IN_TIME:
            self._rds.restore_db_cluster_to_point_in_time(
                DBClusterIdentifier=identifier,
                SourceDBClusterIdentifier=source,
                RestoreToTime=order.content_at,
                **parameters,
            )
        else:
            request: dict[str, Any] = {**version, **parameters}
            self._rds.restore_db_cluster_from_snapshot(
                DBClusterIdentifier=identifier, SnapshotIdentifier=source, **request
            )

    def _snapshot(self, snapshot_id: str) -> Mapping[str, Any]:
        with translated("rds:DescribeDBClusterSnapshots", resource=snapshot_id):
            try:
                answer = self._rds.describe_db_cluster_snapshots(DBClusterSnapshotIdentifier=snapshot_id)
            except ClientError as refused:
                if code_of(refused) != "DBClusterSnapshotNotFoundFault":
                    raise
                raise SnapshotGone(
                    f"there is no cluster snapshot {snapshot_id} in {self.region}",
                    hint="recover from another point; holdfast points lists them",
                ) from refused
        return answer["DBClusterSnapshots"][0]

    def _members_tags(self, wanted: Mapping[str, Any]) -> dict[str, str]:
        if settings.is_multi_az_cluster(wanted):
            return {}
        group = next((one["parameter_group"] for one in listed_in(wanted) if one.get("parameter_group")), None)
        is_there = not settings.is_default_group(group) and calls.group(self._rds, "parameter_group", str(group))
        return members_tags(members_of(wanted)) | ({MEMBER_GROUP_TAG: str(group)} if is_there else {})

    # look

    def _with_members(
        self, seen: Restored, cluster: Mapping[str, Any], carried: Mapping[str, str], wanted: Sequence[Member]
    ) -> Restored:
        writer = rds_described.instance(self._rds, member_name(seen.id, 1))
        if writer is None:
            self._make_member(cluster, carried, 1, wanted[0])
            return replace(seen, state=RestoreState.CREATING, message="its writer is being created")
        calls.refuse_unless_of(member_name(seen.id, 1), writer, carried[RECOVERY_TAG])
        there = {member["DBInstanceIdentifier"] for member in cluster.get("DBClusterMembers", [])}
        problems = [
            problem
            for number, member in enumerate(wanted[1:], start=2)
            if member_name(seen.id, number) not in there
            and (problem := self._reader_problem(cluster, carried, number, member))
        ]
        word = writer["DBInstanceStatus"]
        state = rds_described.state(word)
        if state is not RestoreState.AVAILABLE:
            return replace(seen, state=state, word=word, message=f"its writer is {word}")
        return replace(seen, message="; ".join(filter(None, [seen.message, *problems])))

    def _reader_problem(
        self, cluster: Mapping[str, Any], carried: Mapping[str, str], number: int, member: Member
    ) -> str:
        """Why a reader cannot be made now: a cluster with a writer serves, so this is told and not raised."""
        try:
            self._make_member(cluster, carried, number, member)
        except HoldfastError as refused:
            return f"{member_name(cluster['DBClusterIdentifier'], number)} cannot be made: {refused.what}"
        return ""

    def _make_member(self, cluster: Mapping[str, Any], carried: Mapping[str, str], number: int, member: Member) -> None:
        """One more member is being made; one of the name that this recovery made before is fine."""
        identifier = member_name(cluster["DBClusterIdentifier"], number)
        group = carried.get(MEMBER_GROUP_TAG)
        choice: dict[str, Any] = {"DBParameterGroupName": group} if group else {}
        with calls.explained("rds:CreateDBInstance", resource=identifier):
            try:
                self._rds.create_db_instance(
                    DBInstanceIdentifier=identifier,
                    DBClusterIdentifier=cluster["DBClusterIdentifier"],
                    DBInstanceClass=member.instance_class,
                    PromotionTier=member.promotion_tier,
                    Engine=cluster["Engine"],
                    PubliclyAccessible=False,
                    Tags=rds_described.written({RECOVERY_TAG: carried[RECOVERY_TAG]}),
                    **choice,
                )
            except ClientError as refused:
                if code_of(refused) != "DBInstanceAlreadyExists":
                    raise
                calls.adopt(identifier, rds_described.instance(self._rds, identifier), carried[RECOVERY_TAG])

    # configure

    def _target(self, cluster: Mapping[str, Any], wanted: Mapping[str, Any]) -> Target:
        identifier: str = cluster["DBClusterIdentifier"]

        def add_role(role: Mapping[str, str]) -> object:
            feature: dict[str, Any] = {"FeatureName": role["feature"]} if role.get("feature") else {}
            return self._rds.add_role_to_db_cluster(DBClusterIdentifier=identifier, RoleArn=role["arn"], **feature)

        return Target(
            id=identifier,
            arn=cluster["DBClusterArn"],
            word=cluster["Status"],
            described=cluster,
            choices=settings.of_cluster({**wanted, "engine": cluster.get("Engine")}),
            modify=lambda **changes: self._rds.modify_db_cluster(
                DBClusterIdentifier=identifier, ApplyImmediately=True, **changes
            ),
            add_role=add_role,
        )

    def _members_configured(self, order: RecoveryOrder, cluster: Mapping[str, Any]) -> list[Setting]:
        if settings.is_multi_az_cluster({"engine": cluster.get("Engine")}):
            return []
        statuses = {
            member["DBInstanceIdentifier"]: member.get("DBClusterParameterGroupStatus", "")
            for member in cluster.get("DBClusterMembers", [])
        }
        found: list[Setting] = []
        for number, (member, wanted) in enumerate(with_settings(order.wanted), start=1):
            name = member_name(cluster["DBClusterIdentifier"], number)
            found += self._member_configured(cluster, name, number, member, wanted, statuses.get(name, ""))
        return found

    def _member_configured(
        self,
        cluster: Mapping[str, Any],
        name: str,
        number: int,
        member: Member,
        wanted: Mapping[str, Any],
        status: str,
    ) -> list[Setting]:
        instance = rds_described.instance(self._rds, name)
        if instance is None:
            if cluster["Status"] != "available":
                return [Setting(what=name, is_applied=None, detail=f"RDS says {cluster['Status']} of the cluster")]
            problem = self._reader_problem(cluster, rds_described.tags_of(cluster), number, member)
            if problem:
                return [Setting(what=name, is_applied=False, detail=f"{problem}; add a reader by hand when it can be")]
            return [Setting(what=name, is_applied=None, detail="it is being created")]
        state = rds_described.state(instance["DBInstanceStatus"])
        if state is RestoreState.FAILED:
            return [Setting(what=name, is_applied=False, detail=f"RDS says {instance['DBInstanceStatus']}; replace it")]
        target = instance_target(self._rds, instance, member_status=status, prefix=f"{name}: ")
        of_member = Round(self._rds, self.region, target, wanted).settings()
        is_there = True if state is RestoreState.AVAILABLE else None
        return [Setting(what=name, is_applied=is_there, detail=instance["DBInstanceStatus"]), *of_member]

    # remove

    def _refuse_foreign_members(self, cluster: Mapping[str, Any], recovery_id: str) -> None:
        """Before the first one is removed: a cluster is not to be left half taken apart."""
        for member in cluster.get("DBClusterMembers", []):
            described = rds_described.instance(self._rds, member["DBInstanceIdentifier"])
            if described is not None:
                calls.refuse_unless_of(member["DBInstanceIdentifier"], described, recovery_id)

    def _left_over(self, identifier: str) -> Sequence[str]:
        """The members' names, until the first one that is not there."""
        names: list[str] = []
        for number in range(1, MOST_MEMBERS + 1):
            name = member_name(identifier, number)
            if rds_described.instance(self._rds, name) is None:
                break
            names.append(name)
        return names

    def _delete(self, identifier: str) -> None:
        with translated("rds:DeleteDBCluster", resource=identifier):
            try:
                self._rds.delete_db_cluster(
                    DBClusterIdentifier=identifier, SkipFinalSnapshot=True, DeleteAutomatedBackups=True
                )
            except ClientError as refused:
                if code_of(refused) not in ("DBClusterNotFoundFault", "InvalidDBClusterStateFault"):
                    raise


if TYPE_CHECKING:
    _port: type[Recoveries] = ClusterRecoveries
