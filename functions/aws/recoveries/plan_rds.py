"""What stands in the way of recovering a database or a cluster, found before anything is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from functions.aws import rds_described
from functions.aws.clients import Clients
from functions.aws.faults import code_of, translated
from functions.aws.recoveries import calls_rds as calls
from functions.aws.recoveries.checks import fine, key_line, obstacle, quota_line, warning
from functions.aws.recoveries.members_rds import member_name, members_of
from functions.aws.recoveries.settings_rds import is_default_group, is_multi_az_cluster
from functions.core.recoveries import RECOVERY_TAG, PlanLine, RecoveryOrder, Source

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_rds import RDSClient

LEAST_ZONES = 2
"""RDS makes no database in a subnet group that covers fewer zones."""

MULTI_AZ_CLUSTER_INSTANCES = 3
"""A Multi-AZ DB cluster is a writer and two readers, each with storage of its own."""

_NEED_THEIR_OPTIONS = ("oracle-", "sqlserver-")
"""Engines with options, such as TDE, without which a snapshot cannot be opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the restored database is to live; empty where that could not be found out."""

    lines: tuple[PlanLine, ...]
    vpc: str = ""
    zones: frozenset[str] = frozenset()


class DatabasePlan:
    """The checks before an RDS instance is restored in one Region."""

    groups: tuple[str, ...] = ("parameter_group", "option_group")

    def __init__(self, region: str, clients: Clients) -> None:
        self._region = region
        self._rds: RDSClient = clients.retrying("rds", region)
        self._ec2: EC2Client = clients.retrying("ec2", region)
        self._kms: KMSClient = clients.retrying("kms", region)

    def lines(self, order: RecoveryOrder) -> tuple[PlanLine, ...]:
        """One line for each thing looked at; nothing is made.

        Errors: AwsBusy, NotAllowed.
        """
        looked_at = {source: self._source(order, source) for source in calls.sources(order)}
        found = [described for described in looked_at.values() if described is not None]
        place = self._place(order.wanted)
        return (
            *(self._source_line(order, source, described) for source, described in looked_at.items()),
            *(key_line(self._kms, described.get("KmsKeyId")) for described in found),
            *(line for name in order.names for line in self._name_lines(order, name.lower())),
            *place.lines,
            *(line for group in self.groups for line in self._group_lines(order.wanted, group, place.vpc)),
            *(line for described in found for line in self._class_lines(order.wanted, described, place)),
            *self._quota_lines(order, found),
            *_domain_lines(order.wanted),
        )

    # what differs for clusters

    def _source(self, order: RecoveryOrder, source: str) -> Mapping[str, Any] | None:
        if order.source is Source.POINT_IN_TIME:
            return rds_described.instance(self._rds, source)
        with translated("rds:DescribeDBSnapshots", resource=source):
            try:
                answer = self._rds.describe_db_snapshots(DBSnapshotIdentifier=source)
            except ClientError as refused:
                if code_of(refused) != "DBSnapshotNotFound":
                    raise
                return None
        return answer["DBSnapshots"][0]

    def _classes(self, wanted: Mapping[str, Any], described: Mapping[str, Any]) -> Sequence[str]:
        name = wanted.get("instance_class") or described.get("DBInstanceClass")
        return [str(name)] if name else []

    def _needed(self, order: RecoveryOrder, found: Sequence[Mapping[str, Any]]) -> Mapping[str, float]:
        size_gib = sum(described.get("AllocatedStorage") or 0 for described in found)
        return {"DBInstances": len(order.names), "AllocatedStorage": size_gib}

    # what it is made of

    def _source_line(self, order: RecoveryOrder, source: str, described: Mapping[str, Any] | None) -> PlanLine:
        if order.source is Source.POINT_IN_TIME:
            return self._log_line(order, source, described)
        if described is None:
            return obstacle("snapshot", f"there is no {source} in {self._region}", "recover from another point")
        engine, state = f"{described.get('Engine')} {described.get('EngineVersion')}", described.get("Status")
        detail = f"{source}: {engine}, {described.get('AllocatedStorage')} GiB, {state}"
        if state != "available":
            return obstacle("snapshot", detail, "wait until it is available, or recover from another point")
        return fine("snapshot", detail)

    def _log_line(self, order: RecoveryOrder, source: str, described: Mapping[str, Any] | None) -> PlanLine:
        instead = "recover from a recovery point instead"
        if described is None:
            return obstacle("log", f"{source} does not exist any more in {self._region}", instead)
        days, latest = described.get("BackupRetentionPeriod") or 0, described.get("LatestRestorableTime")
        if not days or latest is None:
            return obstacle("log", f"{source} keeps no automated backups", instead)
        reach = f"{source} can be restored until {latest:%Y-%m-%d %H:%M:%S} UTC and keeps {days} days"
        earliest = described.get("EarliestRestorableTime")
        if order.content_at > latest or (earliest is not None and order.content_at < earliest):
            asked = f"{order.content_at:%Y-%m-%d %H:%M:%S} UTC was asked for"
            return obstacle("log", f"{reach}; {asked}", f"ask for an instant within its reach, or {instead}")
        return fine("log", reach)

    def _name_lines(self, order: RecoveryOrder, name: str) -> Iterator[PlanLine]:
        yield self._name_line(order, name, rds_described.instance(self._rds, name))

    def _name_line(self, order: RecoveryOrder, name: str, described: Mapping[str, Any] | None) -> PlanLine:
        if described is None:
            return fine("name", f"{name} is free")
        if rds_described.tags_of(described).get(RECOVERY_TAG) == order.recovery_id:
            return fine("name", f"{name} was begun by this recovery before")
        return obstacle("name", f"{name} is taken in {self._region}", "recover under another name")

    # where it goes

    def _place(self, wanted: Mapping[str, Any]) -> Place:
        name = wanted.get("subnet_group")
        if not name:
            step = "name one, or it comes up in the default network of this Region"
            return Place(lines=(warning("subnet group", "the configuration names none", step),))
        group = self._subnet_group(str(name))
        if group is None:
            step = "make one there, or recover with another value for subnet_group"
            return Place(lines=(obstacle("subnet group", f"there is no {name} in {self._region}", step),))
        vpc = group.get("VpcId", "")
        free = self._free_addresses([subnet["SubnetIdentifier"] for subnet in group.get("Subnets", ())])
        lines = (_addresses_line(str(name), free), *self._security_group_lines(wanted, vpc))
        return Place(lines=lines, vpc=vpc, zones=frozenset(zone for zone, _, _ in free))

    def _subnet_group(self, name: str) -> Mapping[str, Any] | None:
        with translated("rds:DescribeDBSubnetGroups", resource=name):
            try:
                answer = self._rds.describe_db_subnet_groups(DBSubnetGroupName=name)
            except ClientError as refused:
                if code_of(refused) != "DBSubnetGroupNotFoundFault":
                    raise
                return None
        return answer["DBSubnetGroups"][0]

    def _free_addresses(self, subnets: Sequence[str]) -> list[tuple[str, str, int]]:
        """Zone, subnet and how many addresses are free in it; a subnet that was deleted is not among them."""
        found: list[tuple[str, str, int]] = []
        with translated("ec2:DescribeSubnets"):
            pages = self._ec2.get_paginator("describe_subnets").paginate(
                Filters=[{"Name": "subnet-id", "Values": list(subnets)}]
            )
            for page in pages:
                found += [
                    (one.get("AvailabilityZone", ""), one.get("SubnetId", ""), one.get("AvailableIpAddressCount", 0))
                    for one in page["Subnets"]
                ]
        return sorted(found)

    def _security_group_lines(self, wanted: Mapping[str, Any], vpc: str) -> Iterator[PlanLine]:
        groups: Sequence[str] = wanted.get("security_groups") or ()
        if not groups:
            yield warning("security groups", "the configuration names none", "name some, or the default one is taken")
            return
        there: dict[str, str] = {}
        with translated("ec2:DescribeSecurityGroups"):
            pages = self._ec2.get_paginator("describe_security_groups").paginate(
                Filters=[{"Name": "group-id", "Values": list(groups)}]
            )
            for page in pages:
                there |= {one.get("GroupId", ""): one.get("VpcId", "") for one in page["SecurityGroups"]}
        for group in groups:
            if there.get(group) == vpc:
                yield fine("security groups", f"{group} is in {vpc}")
            else:
                where = f"is in {there[group]}, not in {vpc}" if group in there else f"does not exist in {self._region}"
                step = "recover with another value for security_groups"
                yield obstacle("security groups", f"{group} {where}", step)

    def _group_lines(self, wanted: Mapping[str, Any], setting: str, vpc: str) -> Iterator[PlanLine]:
        name, what = wanted.get(setting), setting.replace("_", " ")
        if is_default_group(name):
            return
        group = calls.group(self._rds, setting, str(name))
        bound_to = (group or {}).get("VpcId")
        if group is not None and bound_to in (None, "", vpc):
            yield fine(what, f"{name} exists in {self._region}")
            return
        why = f"there is no {name} in {self._region}" if group is None else f"{name} belongs to {bound_to}"
        step = f"make it there, or recover with another value for {setting}"
        if setting == "option_group" and str(wanted.get("engine", "")).startswith(_NEED_THEIR_OPTIONS):
            yield obstacle(what, f"{why}, and {wanted['engine']} may not open without its options", step)
        else:
            yield warning(what, f"{why}: the default is used", step)

    # whether there is room

    def _class_lines(self, wanted: Mapping[str, Any], described: Mapping[str, Any], place: Place) -> Iterator[PlanLine]:
        engine, version = str(described.get("Engine")), str(described.get("EngineVersion"))
        for name in self._classes(wanted, described):
            offered = self._offered_in(engine, version, name)
            of = f"{name} for {engine} {version}"
            if offered is None:
                step = "recover with another value for instance_class; an old version may need an upgraded snapshot"
                yield obstacle("instance class", f"{of} cannot be ordered in {self._region}", step)
            elif place.zones and offered and not place.zones & offered:
                zones = f"it is offered in {', '.join(sorted(offered))}, the subnets are in "
                step = "recover with another value for instance_class or subnet_group"
                yield obstacle("instance class", f"{of}: {zones}{', '.join(sorted(place.zones))}", step)
            else:
                yield fine("instance class", f"{of} can be ordered in {len(offered & place.zones or offered)} zones")

    def _offered_in(self, engine: str, version: str, name: str) -> frozenset[str] | None:
        """The zones in which the class can be ordered for the version; None when it is not offered at all."""
        zones: set[str] = set()
        is_offered = False
        pages = self._rds.get_paginator("describe_orderable_db_instance_options").paginate(
            Engine=engine, EngineVersion=version, DBInstanceClass=name
        )
        with translated("rds:DescribeOrderableDBInstanceOptions", resource=name):
            for page in pages:
                for option in page["OrderableDBInstanceOptions"]:
                    is_offered = True
                    zones |= {zone.get("Name", "") for zone in option.get("AvailabilityZones", ())}
        return frozenset(zones) if is_offered else None

    def _quota_lines(self, order: RecoveryOrder, found: Sequence[Mapping[str, Any]]) -> Iterator[PlanLine]:
        with translated("rds:DescribeAccountAttributes"):
            answer = self._rds.describe_account_attributes()
        quotas = {one.get("AccountQuotaName"): one for one in answer["AccountQuotas"]}
        for name, more in self._needed(order, found).items():
            quota = quotas.get(name)
            if quota is None:
                yield warning(f"quota {name}", "RDS does not tell it", "look in Service Quotas")
            else:
                unit = " GiB" if name == "AllocatedStorage" else ""
                used, most = quota.get("Used", 0), quota.get("Max", 0)
                yield quota_line(f"quota {name}", used=used, more=more, most=most, unit=unit)


class ClusterPlan(DatabasePlan):
    """The checks before a cluster is restored in one Region."""

    groups = ("cluster_parameter_group",)

    def _source(self, order: RecoveryOrder, source: str) -> Mapping[str, Any] | None:
        if order.source is Source.POINT_IN_TIME:
            return rds_described.cluster(self._rds, source)
        with translated("rds:DescribeDBClusterSnapshots", resource=source):
            try:
                answer = self._rds.describe_db_cluster_snapshots(DBClusterSnapshotIdentifier=source)
            except ClientError as refused:
                if code_of(refused) != "DBClusterSnapshotNotFoundFault":
                    raise
                return None
        return answer["DBClusterSnapshots"][0]

    def _name_lines(self, order: RecoveryOrder, name: str) -> Iterator[PlanLine]:
        yield self._name_line(order, name, rds_described.cluster(self._rds, name))
        for number, _ in enumerate(members_of(order.wanted), start=1):
            member = member_name(name, number)
            yield self._name_line(order, member, rds_described.instance(self._rds, member))

    def _classes(self, wanted: Mapping[str, Any], described: Mapping[str, Any]) -> Sequence[str]:
        if is_multi_az_cluster({"engine": described.get("Engine")}):
            return [str(wanted["instance_class"])] if wanted.get("instance_class") else []
        return sorted({member.instance_class for member in members_of(wanted)})

    def _needed(self, order: RecoveryOrder, found: Sequence[Mapping[str, Any]]) -> Mapping[str, float]:
        number = len(order.names)
        if not is_multi_az_cluster(order.wanted):
            return {"DBClusters": number, "DBInstances": len(members_of(order.wanted)) * number}
        size_gib = sum(described.get("AllocatedStorage") or 0 for described in found)
        return {
            "DBClusters": number,
            "DBInstances": MULTI_AZ_CLUSTER_INSTANCES * number,
            "AllocatedStorage": MULTI_AZ_CLUSTER_INSTANCES * size_gib,
        }


def _addresses_line(name: str, free: Sequence[tuple[str, str, int]]) -> PlanLine:
    """A database needs a free address in at least two zones, and one more there for a failover."""
    zones = {zone for zone, _, addresses in free if addresses}
    counted = ", ".join(f"{addresses} free addresses in {subnet} ({zone})" for zone, subnet, addresses in free)
    detail = f"{name}: {counted or 'none of its subnets exists'}"
    if len(zones) < LEAST_ZONES:
        step = "free some addresses, add a subnet in another zone, or recover with another value for subnet_group"
        return obstacle("subnet group", f"{detail}; free ones are needed in {LEAST_ZONES} zones", step)
    if not all(addresses for _, _, addresses in free):
        return warning("subnet group", detail, "free addresses in the subnet that is full, or take it out of the group")
    return fine("subnet group", detail)


def _domain_lines(wanted: Mapping[str, Any]) -> Iterator[PlanLine]:
    for domain in wanted.get("domains") or ():
        step = "join it by hand: nobody joins a domain without the secrets of one who may"
        yield warning("domain", f"the original is in the domain {domain}", step)
