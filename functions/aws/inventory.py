"""Everything in a Region that could be protected, and how it is configured.

No engine is left out because its name is new here: an engine nobody thought of is a gap somebody must hear of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from functions.aws.clients import Clients
from functions.aws.faults import translated
from functions.aws.permissions import Permission
from functions.core.errors import ResourceGone
from functions.core.resources import Kind, Resource, ResourceKey

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_rds import RDSClient

PERMISSIONS: Mapping[str, tuple[Permission, ...]] = {
    verb: (
        Permission(
            actions=("ec2:DescribeInstances", "ec2:DescribeVolumes"),
            resources=("*",),
            why="Describe of EC2 knows no resource types",
        ),
        Permission(
            actions=("rds:DescribeDBInstances",),
            resources=("arn:{partition}:rds:{region}:{account}:db:*",),
            why="databases of every engine, and the members of clusters",
        ),
        Permission(
            actions=("rds:DescribeDBClusters",),
            resources=("arn:{partition}:rds:{region}:{account}:cluster:*",),
            why="clusters of every engine; RDS answers for Neptune and DocumentDB too",
        ),
    )
    for verb in ("resources", "configuration")
}

EC2_PAGE = 500
RDS_PAGE = 100
LEAVING = frozenset({"deleting", "deleted", "shutting-down", "terminated"})
"""States in which a resource can no longer be backed up, and soon is not there."""

_VOLUME: Mapping[str, str] = {
    "availability_zone": "AvailabilityZone",
    "volume_type": "VolumeType",
    "size_gib": "Size",
    "iops": "Iops",
    "throughput_mibps": "Throughput",
    "is_encrypted": "Encrypted",
    "kms_key_id": "KmsKeyId",
    "is_multi_attach": "MultiAttachEnabled",
}
_INSTANCE: Mapping[str, str] = {
    "instance_type": "InstanceType",
    "image_id": "ImageId",
    "architecture": "Architecture",
    "subnet_id": "SubnetId",
    "vpc_id": "VpcId",
    "key_name": "KeyName",
    "root_device": "RootDeviceName",
    "private_address": "PrivateIpAddress",
}
_DATABASE_AND_CLUSTER: Mapping[str, str] = {
    "engine": "Engine",
    "engine_version": "EngineVersion",
    "is_multi_az": "MultiAZ",
    "storage_type": "StorageType",
    "iops": "Iops",
    "throughput_mibps": "StorageThroughput",
    "is_encrypted": "StorageEncrypted",
    "kms_key_id": "KmsKeyId",
    "is_deletion_protected": "DeletionProtection",
    "has_iam_authentication": "IAMDatabaseAuthenticationEnabled",
    "monitoring_interval_seconds": "MonitoringInterval",
    "monitoring_role_arn": "MonitoringRoleArn",
    "backup_retention_days": "BackupRetentionPeriod",
    "master_username": "MasterUsername",
    "network_type": "NetworkType",
    "is_public": "PubliclyAccessible",
    "copies_tags_to_snapshots": "CopyTagsToSnapshot",
    "log_exports": "EnabledCloudwatchLogsExports",
    "backup_window": "PreferredBackupWindow",
    "maintenance_window": "PreferredMaintenanceWindow",
    "auto_minor_upgrade": "AutoMinorVersionUpgrade",
    "has_performance_insights": "PerformanceInsightsEnabled",
    "performance_insights_key_id": "PerformanceInsightsKMSKeyId",
    "performance_insights_retention_days": "PerformanceInsightsRetentionPeriod",
    "database_insights_mode": "DatabaseInsightsMode",
    "lifecycle_support": "EngineLifecycleSupport",
}
_DATABASE: Mapping[str, str] = {
    **_DATABASE_AND_CLUSTER,
    "instance_class": "DBInstanceClass",
    "size_gib": "AllocatedStorage",
    "max_size_gib": "MaxAllocatedStorage",
    "ca_certificate": "CACertificateIdentifier",
    "license_model": "LicenseModel",
    "database_name": "DBName",
    "availability_zone": "AvailabilityZone",
    "character_set": "CharacterSetName",
    "timezone": "Timezone",
    "has_dedicated_log_volume": "DedicatedLogVolume",
    "is_multi_tenant": "MultiTenant",
}
_CLUSTER: Mapping[str, str] = {
    **_DATABASE_AND_CLUSTER,
    "engine_mode": "EngineMode",
    "port": "Port",
    "database_name": "DatabaseName",
    "subnet_group": "DBSubnetGroup",
    "cluster_parameter_group": "DBClusterParameterGroup",
    "availability_zones": "AvailabilityZones",
    "backtrack_window_seconds": "BacktrackWindow",
}
_MEMBER: Mapping[str, str] = {
    ours: theirs
    for ours, theirs in _DATABASE.items()
    if ours
    in {
        "auto_minor_upgrade",
        "ca_certificate",
        "has_performance_insights",
        "is_public",
        "monitoring_interval_seconds",
        "monitoring_role_arn",
        "performance_insights_key_id",
        "performance_insights_retention_days",
    }
}
"""What a member of a cluster has for itself, beside its class and its place in the order of promotion."""

_VOLUME_OF_INSTANCE = ("volume_type", "size_gib", "iops", "throughput_mibps", "kms_key_id")
_NOT_THE_USERS = ("aws:", "holdfast:")
"""How the tags begin that AWS or Holdfast set; nobody may give the former, and the latter say what is no longer so."""


class Inventory:
    """One Region of the account, as AWS describes it now."""

    def __init__(self, *, region: str, account: str, clients: Clients) -> None:
        self._region = region
        self._account = account
        self._ec2: EC2Client = clients.retrying("ec2", region)
        self._rds: RDSClient = clients.retrying("rds", region)

    def resources(self) -> Iterator[Resource]:
        """Every volume, instance, database and cluster, complete: an answer that stops early raises."""
        volumes = tuple(map(self._of_volume, self._volumes()))
        for instance in self._instances():
            yield self._of_instance(instance, volumes)
        yield from volumes
        databases = tuple(self._databases())
        for database in databases:
            yield self._of_database(database)
        for cluster in self._clusters():
            yield self._of_cluster(cluster, databases)

    def configuration(self, key: ResourceKey) -> Mapping[str, Any]:
        """What a restore needs and the snapshot does not carry, in values that JSON knows.

        Errors: ResourceGone when it does not exist.
        """
        match key.kind:
            case Kind.VOLUME:
                found = map(self._of_volume, self._volumes([{"Name": "volume-id", "Values": [key.id]}]))
            case Kind.INSTANCE:
                attached = [{"Name": "attachment.instance-id", "Values": [key.id]}]
                volumes = tuple(map(self._of_volume, self._volumes(attached)))
                instances = self._instances([{"Name": "instance-id", "Values": [key.id]}])
                found = (self._of_instance(instance, volumes) for instance in instances)
            case Kind.DATABASE:
                found = map(self._of_database, self._databases([{"Name": "db-instance-id", "Values": [key.id]}]))
            case Kind.CLUSTER:
                by_id = [{"Name": "db-cluster-id", "Values": [key.id]}]
                members = tuple(self._databases(by_id))
                found = (self._of_cluster(cluster, members) for cluster in self._clusters(by_id))
        for resource in found:
            return resource.configuration
        raise ResourceGone(
            f"{key} does not exist any more",
            hint="It was deleted, or renamed. Its points stay; nothing needs to be done unless it should exist.",
        )

    def _volumes(self, filters: Sequence[Any] = ()) -> Iterator[Mapping[str, Any]]:
        pages = self._ec2.get_paginator("describe_volumes").paginate(
            Filters=filters, PaginationConfig={"PageSize": EC2_PAGE}
        )
        with translated("ec2:DescribeVolumes"):
            for page in pages:
                yield from (volume for volume in page["Volumes"] if volume.get("State") not in LEAVING)

    def _instances(self, filters: Sequence[Any] = ()) -> Iterator[Mapping[str, Any]]:
        pages = self._ec2.get_paginator("describe_instances").paginate(
            Filters=filters, PaginationConfig={"PageSize": EC2_PAGE}
        )
        with translated("ec2:DescribeInstances"):
            for page in pages:
                for reservation in page["Reservations"]:
                    for instance in reservation.get("Instances", ()):
                        if instance.get("State", {}).get("Name") not in LEAVING:
                            yield instance

    def _databases(self, filters: Sequence[Any] = ()) -> Iterator[Mapping[str, Any]]:
        pages = self._rds.get_paginator("describe_db_instances").paginate(
            Filters=filters, PaginationConfig={"PageSize": RDS_PAGE}
        )
        with translated("rds:DescribeDBInstances"):
            for page in pages:
                yield from (one for one in page["DBInstances"] if one.get("DBInstanceStatus") not in LEAVING)

    def _clusters(self, filters: Sequence[Any] = ()) -> Iterator[Mapping[str, Any]]:
        pages = self._rds.get_paginator("describe_db_clusters").paginate(
            Filters=filters, PaginationConfig={"PageSize": RDS_PAGE}
        )
        with translated("rds:DescribeDBClusters"):
            for page in pages:
                yield from (one for one in page["DBClusters"] if one.get("Status") not in LEAVING)

    def _of_volume(self, volume: Mapping[str, Any]) -> Resource:
        attachments = [
            {"instance_id": a["InstanceId"], "device": a.get("Device", "")}
            for a in volume.get("Attachments", ())
            if a.get("InstanceId") and a.get("State") not in ("detaching", "detached")
        ]
        attachments.sort(key=lambda attachment: attachment["instance_id"])
        return Resource(
            key=self._key(Kind.VOLUME, volume["VolumeId"]),
            tags=_tags(volume.get("Tags")),
            state=volume["State"],
            size_gib=volume.get("Size"),
            # A volume attached to several instances is judged by the first: EBS snapshots it once all the same.
            belongs_to=attachments[0]["instance_id"] if attachments else None,
            configuration=_taken(volume, _VOLUME)
            | {"attachments": attachments}
            | _if_any("tags", _of_the_user(volume.get("Tags"))),
        )

    def _of_instance(self, instance: Mapping[str, Any], volumes: Sequence[Resource]) -> Resource:
        devices = {
            mapping["Ebs"]["VolumeId"]: mapping["DeviceName"]
            for mapping in instance.get("BlockDeviceMappings", ())
            if "Ebs" in mapping
        }
        return Resource(
            key=self._key(Kind.INSTANCE, instance["InstanceId"]),
            tags=_tags(instance.get("Tags")),
            state=instance["State"]["Name"],
            members=tuple(sorted(devices)),
            configuration=_taken(instance, _INSTANCE)
            | {
                "availability_zone": instance.get("Placement", {}).get("AvailabilityZone"),
                "devices": devices,
                "volumes": {volume.key.id: _of_one_volume(volume) for volume in volumes if volume.key.id in devices},
                "security_groups": [group["GroupId"] for group in instance.get("SecurityGroups", ())],
                "instance_profile": instance.get("IamInstanceProfile", {}).get("Arn"),
            }
            | _if_any("tags", _of_the_user(instance.get("Tags"))),
        )

    def _of_database(self, database: Mapping[str, Any]) -> Resource:
        return Resource(
            key=self._key(Kind.DATABASE, database["DBInstanceIdentifier"]),
            tags=_tags(database.get("TagList")),
            state=database["DBInstanceStatus"],
            size_gib=database.get("AllocatedStorage"),
            engine=database.get("Engine"),
            belongs_to=database.get("DBClusterIdentifier") or None,
            configuration=_taken(database, _DATABASE)
            | _of_both(database)
            | {
                # DbInstancePort is 0 for most engines; the endpoint is missing until the database has been available.
                "port": database.get("Endpoint", {}).get("Port") or database.get("DbInstancePort") or None,
                "subnet_group": database.get("DBSubnetGroup", {}).get("DBSubnetGroupName"),
                "parameter_group": _first(database.get("DBParameterGroups"), "DBParameterGroupName"),
                "option_group": _first(database.get("OptionGroupMemberships"), "OptionGroupName"),
                "promotion_tier": database.get("PromotionTier"),
            }
            | _if_any(
                "processor_features",
                {feature["Name"]: feature["Value"] for feature in database.get("ProcessorFeatures", ())},
            ),
        )

    def _of_cluster(self, cluster: Mapping[str, Any], databases: Sequence[Mapping[str, Any]]) -> Resource:
        by_id = {database["DBInstanceIdentifier"]: database for database in databases}
        listed = cluster.get("DBClusterMembers", ())
        members = [
            _of_member(member, by_id.get(member["DBInstanceIdentifier"], {}))
            for member in sorted(listed, key=lambda member: not member.get("IsClusterWriter", False))
        ]
        size_gib = cluster.get("AllocatedStorage", 0)
        return Resource(
            key=self._key(Kind.CLUSTER, cluster["DBClusterIdentifier"]),
            tags=_tags(cluster.get("TagList")),
            state=cluster["Status"],
            size_gib=size_gib if size_gib > 1 else None,  # 0 and 1 are what RDS says of storage that grows by itself
            engine=cluster.get("Engine"),
            members=tuple(sorted(member["id"] for member in members)),
            configuration=_taken(cluster, _CLUSTER)
            | _of_both(cluster)
            | {
                "instance_class": cluster.get("DBClusterInstanceClass")
                or next((member["instance_class"] for member in members if member["instance_class"]), None),
                "members": members,
                "option_group": _first(cluster.get("DBClusterOptionGroupMemberships"), "DBClusterOptionGroupName"),
                "serverless_capacity": _taken(
                    cluster.get("ServerlessV2ScalingConfiguration", {}),
                    {"min": "MinCapacity", "max": "MaxCapacity", "pause_after_seconds": "SecondsUntilAutoPause"},
                )
                or None,
            },
        )

    def _key(self, kind: Kind, id: str) -> ResourceKey:
        return ResourceKey(account=self._account, region=self._region, kind=kind, id=id)


def _taken(described: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """What AWS said, under our names; what it did not say is missing."""
    return {ours: described[theirs] for ours, theirs in names.items() if described.get(theirs) is not None}


def _of_both(described: Mapping[str, Any]) -> dict[str, Any]:
    secret = described.get("MasterUserSecret", {})
    domains = [membership["Domain"] for membership in described.get("DomainMemberships", ()) if "Domain" in membership]
    return {
        "security_groups": [group["VpcSecurityGroupId"] for group in described.get("VpcSecurityGroups", ())],
        "roles": [
            {"arn": role["RoleArn"], "feature": role.get("FeatureName", "")}
            for role in described.get("AssociatedRoles", ())
        ],
        "master_secret_arn": secret.get("SecretArn"),
        **_if_any("master_secret_key_id", secret.get("KmsKeyId")),
        # Only to warn of: nobody joins a domain without the secrets of one who may.
        **_if_any("domains", domains),
        **_if_any("tags", _of_the_user(described.get("TagList"))),
    }


def _of_member(member: Mapping[str, Any], database: Mapping[str, Any]) -> dict[str, Any]:
    """A member of a cluster: its place there, and what it has for itself."""
    return {
        "id": member["DBInstanceIdentifier"],
        "is_writer": member.get("IsClusterWriter", False),
        "promotion_tier": member.get("PromotionTier"),
        "instance_class": database.get("DBInstanceClass"),
        "availability_zone": database.get("AvailabilityZone"),
        "parameter_group": _first(database.get("DBParameterGroups"), "DBParameterGroupName"),
        **_taken(database, _MEMBER),
    }


def _of_one_volume(volume: Resource) -> dict[str, Any]:
    """What an instance's configuration keeps of a volume: enough to make it again."""
    kept = {name: volume.configuration[name] for name in _VOLUME_OF_INSTANCE if name in volume.configuration}
    return kept | _if_any("tags", volume.configuration.get("tags"))


def _of_the_user(listed: Sequence[Mapping[str, str]] | None) -> dict[str, str]:
    return {key: value for key, value in _tags(listed).items() if not key.startswith(_NOT_THE_USERS)}


def _if_any(name: str, value: object) -> dict[str, Any]:
    """The value under its name, and nothing where there is none: most resources have none, and rows should be small."""
    return {name: value} if value else {}


def _first(memberships: Sequence[Mapping[str, Any]] | None, name: str) -> str | None:
    return memberships[0].get(name) if memberships else None


def _tags(listed: Sequence[Mapping[str, str]] | None) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in listed or ()}
