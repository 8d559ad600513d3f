"""The settings of databases and clusters: our name, RDS's names in the calls that set it, and where RDS shows it.

A table and pure functions; nothing here talks to AWS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

Described = Mapping[str, Any]
Wanted = Mapping[str, Any]
"""A resource's configuration, under the names that the inventory gives."""

MULTI_AZ_CLUSTER_ENGINES = frozenset({"mysql", "postgres"})
"""Engines of Multi-AZ DB clusters, whose instances RDS makes by itself."""

GP3_BASELINE_IOPS = 3000
GP3_BASELINE_THROUGHPUT_MIBPS = 125
"""What gp3 has without asking. RDS refuses these very numbers where the storage is too small to be striped."""

SUPPORTED_LIFECYCLES = ("aurora-mysql", "aurora-postgresql", "mysql", "postgres")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One setting. Without `creating` no restore takes it; without `changing` it cannot be set afterwards.

    `pending` is RDS's name for it among the changes that are under way, where that is not `creating`. `request` says
    the parameters of the change where they are more than one name and the value.
    """

    ours: str
    shown: Callable[[Described], Any]
    creating: str = ""
    changing: str = ""
    pending: str = ""
    counts: Callable[[Wanted], bool] = lambda _: True
    is_met: Callable[[Any, Any], bool] = lambda shown, wanted: shown == wanted
    written: Callable[[Any], Any] = lambda value: value
    request: Callable[[Wanted, str], dict[str, Any]] | None = None

    def applies(self, wanted: Wanted) -> bool:
        """The configuration says something about it that a thing of its kind takes."""
        return wanted.get(self.ours) is not None and self.counts(wanted)

    def created(self, wanted: Wanted) -> dict[str, Any]:
        """The parameters of the creating call; none where that takes it only when changed afterwards."""
        return {self.creating: self.written(wanted[self.ours])} if self.creating and self.applies(wanted) else {}

    def changed(self, wanted: Wanted, region: str) -> dict[str, Any]:
        """The parameters of the changing call; none where it cannot be changed."""
        if self.request is not None:
            return self.request(wanted, region)
        return {self.changing: self.written(wanted[self.ours])} if self.changing else {}

    def is_under_way(self, described: Described) -> bool:
        """RDS has accepted the change and has not made it yet."""
        pending = described.get("PendingModifiedValues") or {}
        return (self.pending or self.creating or self.changing) in pending


def region_of(arn: object) -> str:
    """The Region an ARN names; empty for anything else."""
    parts = str(arn or "").split(":")
    return parts[3] if len(parts) > 5 and parts[0] == "arn" else ""


def is_default_group(name: object) -> bool:
    """RDS made the group itself, and picks it when nobody names one."""
    return not name or str(name).startswith(("default.", "default:"))


def is_multi_az_cluster(wanted: Wanted) -> bool:
    """The cluster is one whose instances RDS makes."""
    return wanted.get("engine") in MULTI_AZ_CLUSTER_ENGINES


def _at(*path: str | int) -> Callable[[Described], Any]:
    def shown(described: Described) -> Any:
        value: Any = described
        for step in path:
            if isinstance(step, int):
                value = value[step] if len(value or ()) > step else None
            else:
                value = (value or {}).get(step)
        return value

    return shown


def _is_true(name: str) -> Callable[[Described], bool]:
    return lambda described: bool(described.get(name))


def _security_groups(described: Described) -> list[str]:
    return [group["VpcSecurityGroupId"] for group in described.get("VpcSecurityGroups", ())]


def _port(described: Described) -> Any:
    endpoint = described.get("Endpoint")
    if isinstance(endpoint, Mapping):
        return endpoint.get("Port")
    return described.get("Port")


def _same_set(shown: Sequence[str], wanted: Sequence[str]) -> bool:
    return set(shown) == set(wanted)


def _has_all(shown: Sequence[str] | None, wanted: Sequence[str]) -> bool:
    return set(wanted) <= set(shown or ())


def _same_group(shown: Any, wanted: Any) -> bool:
    return shown == wanted or (is_default_group(shown) and is_default_group(wanted))


def _at_least(shown: Any, wanted: Any) -> bool:
    return shown is not None and shown >= wanted


def _same_key(shown: Any, wanted: Any) -> bool:
    """A key is shown by its ARN and may be asked for by its id; what an alias stands for is not looked up."""
    name = str(wanted)
    return shown == wanted or (bool(shown) and ("alias/" in name or str(shown).endswith(f"/{name}")))


def _same_window(shown: Any, wanted: Any) -> bool:
    return str(shown).lower() == str(wanted).lower()


def _is_on(name: str) -> Callable[[Wanted], bool]:
    """The setting counts where it is on: engines that do not know it refuse even to switch it off."""
    return lambda wanted: bool(wanted.get(name))


def _has_own_iops(wanted: Wanted) -> bool:
    kind = wanted.get("storage_type")
    return kind in ("io1", "io2") or (kind == "gp3" and not _is_baseline(wanted))


def _has_own_throughput(wanted: Wanted) -> bool:
    return wanted.get("storage_type") == "gp3" and not _is_baseline(wanted)


def _is_baseline(wanted: Wanted) -> bool:
    return (wanted.get("iops") or GP3_BASELINE_IOPS) == GP3_BASELINE_IOPS and (
        wanted.get("throughput_mibps") or GP3_BASELINE_THROUGHPUT_MIBPS
    ) == GP3_BASELINE_THROUGHPUT_MIBPS


def _monitoring(wanted: Wanted, _region: str) -> dict[str, Any]:
    seconds = wanted["monitoring_interval_seconds"]
    role = {"MonitoringRoleArn": wanted["monitoring_role_arn"]} if seconds and wanted.get("monitoring_role_arn") else {}
    return {"MonitoringInterval": seconds} | role


def _performance_insights(wanted: Wanted, region: str) -> dict[str, Any]:
    """A key belongs to one Region; in another one the default key takes its place."""
    asked: dict[str, Any] = {"EnablePerformanceInsights": True}
    if wanted.get("performance_insights_retention_days"):
        asked["PerformanceInsightsRetentionPeriod"] = wanted["performance_insights_retention_days"]
    if region_of(wanted.get("performance_insights_key_id")) == region:
        asked["PerformanceInsightsKMSKeyId"] = wanted["performance_insights_key_id"]
    if wanted.get("database_insights_mode"):
        asked["DatabaseInsightsMode"] = wanted["database_insights_mode"]
    return asked


def _logs(wanted: Wanted, _region: str) -> dict[str, Any]:
    return {"CloudwatchLogsExportConfiguration": {"EnableLogTypes": list(wanted["log_exports"])}}


def _capacity(value: Mapping[str, Any]) -> dict[str, Any]:
    names = {"min": "MinCapacity", "max": "MaxCapacity", "pause_after_seconds": "SecondsUntilAutoPause"}
    return {theirs: value[ours] for ours, theirs in names.items() if value.get(ours) is not None}


def _same_capacity(shown: Any, wanted: Any) -> bool:
    return _capacity(wanted).items() <= (shown or {}).items()


def _features(value: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": amount} for name, amount in value.items()]


def _has_lifecycle(wanted: Wanted) -> bool:
    return wanted.get("engine") in SUPPORTED_LIFECYCLES


_BOTH = (
    Choice(
        ours="security_groups",
        creating="VpcSecurityGroupIds",
        changing="VpcSecurityGroupIds",
        shown=_security_groups,
        counts=_is_on("security_groups"),
        is_met=_same_set,
        written=list,
    ),
    Choice(
        ours="has_iam_authentication",
        creating="EnableIAMDatabaseAuthentication",
        changing="EnableIAMDatabaseAuthentication",
        pending="IAMDatabaseAuthenticationEnabled",
        shown=_is_true("IAMDatabaseAuthenticationEnabled"),
        counts=_is_on("has_iam_authentication"),
    ),
    Choice(
        ours="log_exports",
        creating="EnableCloudwatchLogsExports",
        pending="PendingCloudwatchLogsExports",
        shown=_at("EnabledCloudwatchLogsExports"),
        counts=_is_on("log_exports"),
        is_met=_has_all,
        written=list,
        request=_logs,
    ),
    Choice(
        ours="backup_retention_days",
        creating="BackupRetentionPeriod",
        changing="BackupRetentionPeriod",
        shown=_at("BackupRetentionPeriod"),
    ),
    Choice(
        ours="backup_window",
        creating="PreferredBackupWindow",
        changing="PreferredBackupWindow",
        shown=_at("PreferredBackupWindow"),
    ),
    Choice(
        ours="maintenance_window",
        changing="PreferredMaintenanceWindow",
        shown=_at("PreferredMaintenanceWindow"),
        is_met=_same_window,
    ),
    Choice(
        ours="copies_tags_to_snapshots",
        creating="CopyTagsToSnapshot",
        changing="CopyTagsToSnapshot",
        shown=_is_true("CopyTagsToSnapshot"),
    ),
    Choice(ours="network_type", creating="NetworkType", changing="NetworkType", shown=_at("NetworkType")),
    Choice(
        ours="lifecycle_support",
        creating="EngineLifecycleSupport",
        changing="EngineLifecycleSupport",
        shown=_at("EngineLifecycleSupport"),
        counts=_has_lifecycle,
    ),
    Choice(
        ours="is_encrypted",
        shown=_is_true("StorageEncrypted"),
        is_met=lambda shown, wanted: bool(shown) >= bool(wanted),
    ),
)

_KEY = Choice(ours="kms_key_id", shown=_at("KmsKeyId"), is_met=_same_key)
"""The key of a database is that of its snapshot: no restore of an instance takes another."""

_OWN = (
    Choice(
        ours="is_public",
        creating="PubliclyAccessible",
        changing="PubliclyAccessible",
        shown=_is_true("PubliclyAccessible"),
    ),
    Choice(
        ours="auto_minor_upgrade",
        creating="AutoMinorVersionUpgrade",
        changing="AutoMinorVersionUpgrade",
        shown=_is_true("AutoMinorVersionUpgrade"),
    ),
    Choice(
        ours="ca_certificate",
        creating="CACertificateIdentifier",
        changing="CACertificateIdentifier",
        shown=_at("CACertificateIdentifier"),
    ),
    Choice(
        ours="parameter_group",
        creating="DBParameterGroupName",
        changing="DBParameterGroupName",
        shown=_at("DBParameterGroups", 0, "DBParameterGroupName"),
        is_met=_same_group,
    ),
)

_MONITORED = (
    Choice(
        ours="monitoring_interval_seconds",
        shown=lambda described: described.get("MonitoringInterval") or 0,
        request=_monitoring,
    ),
)

_INSIGHTS = (
    Choice(
        ours="has_performance_insights",
        shown=_is_true("PerformanceInsightsEnabled"),
        counts=_is_on("has_performance_insights"),
        request=_performance_insights,
    ),
    Choice(
        ours="performance_insights_retention_days",
        shown=_at("PerformanceInsightsRetentionPeriod"),
        counts=_is_on("has_performance_insights"),
        request=_performance_insights,
    ),
    Choice(
        ours="database_insights_mode",
        shown=_at("DatabaseInsightsMode"),
        counts=_is_on("has_performance_insights"),
        request=_performance_insights,
    ),
)

INSTANCE: Sequence[Choice] = (
    Choice(ours="instance_class", creating="DBInstanceClass", changing="DBInstanceClass", shown=_at("DBInstanceClass")),
    Choice(ours="subnet_group", creating="DBSubnetGroupName", shown=_at("DBSubnetGroup", "DBSubnetGroupName")),
    Choice(ours="port", creating="Port", changing="DBPortNumber", shown=_port),
    Choice(
        ours="availability_zone",
        creating="AvailabilityZone",
        shown=_at("AvailabilityZone"),
        counts=lambda wanted: not wanted.get("is_multi_az"),
    ),
    Choice(ours="is_multi_az", creating="MultiAZ", changing="MultiAZ", shown=_is_true("MultiAZ")),
    Choice(ours="storage_type", creating="StorageType", changing="StorageType", shown=_at("StorageType")),
    Choice(ours="iops", creating="Iops", changing="Iops", shown=_at("Iops"), counts=_has_own_iops),
    Choice(
        ours="throughput_mibps",
        creating="StorageThroughput",
        changing="StorageThroughput",
        shown=_at("StorageThroughput"),
        counts=_has_own_throughput,
    ),
    Choice(
        ours="size_gib",  # a snapshot has its size; only to grow has to be asked for, and not of every engine at once
        changing="AllocatedStorage",
        shown=_at("AllocatedStorage"),
        is_met=_at_least,
    ),
    Choice(ours="max_size_gib", changing="MaxAllocatedStorage", shown=_at("MaxAllocatedStorage")),
    Choice(
        ours="option_group",
        creating="OptionGroupName",
        changing="OptionGroupName",
        shown=_at("OptionGroupMemberships", 0, "OptionGroupName"),
        is_met=_same_group,
    ),
    Choice(ours="license_model", creating="LicenseModel", changing="LicenseModel", shown=_at("LicenseModel")),
    Choice(
        ours="processor_features",
        creating="ProcessorFeatures",
        changing="ProcessorFeatures",
        shown=lambda described: {one["Name"]: one["Value"] for one in described.get("ProcessorFeatures", ())},
        counts=_is_on("processor_features"),
        written=_features,
    ),
    Choice(
        ours="has_dedicated_log_volume",
        creating="DedicatedLogVolume",
        changing="DedicatedLogVolume",
        shown=_is_true("DedicatedLogVolume"),
        counts=_is_on("has_dedicated_log_volume"),
    ),
    _KEY,
    *_OWN,
    *_BOTH,
    *_MONITORED,
    *_INSIGHTS,
)
"""Of a database that is in no cluster."""

MEMBER: Sequence[Choice] = (
    Choice(ours="instance_class", creating="DBInstanceClass", changing="DBInstanceClass", shown=_at("DBInstanceClass")),
    Choice(ours="promotion_tier", creating="PromotionTier", changing="PromotionTier", shown=_at("PromotionTier")),
    *_OWN,
    *_MONITORED,
    *_INSIGHTS,
)
"""Of one instance in a cluster; the rest is the cluster's."""

CLUSTER: Sequence[Choice] = (
    replace(_KEY, creating="KmsKeyId"),
    Choice(ours="subnet_group", creating="DBSubnetGroupName", shown=_at("DBSubnetGroup")),
    Choice(ours="port", creating="Port", changing="Port", shown=_port),
    Choice(
        ours="cluster_parameter_group",
        creating="DBClusterParameterGroupName",
        changing="DBClusterParameterGroupName",
        shown=_at("DBClusterParameterGroup"),
        is_met=_same_group,
    ),
    Choice(
        ours="backtrack_window_seconds",
        creating="BacktrackWindow",
        changing="BacktrackWindow",
        shown=_at("BacktrackWindow"),
        counts=_is_on("backtrack_window_seconds"),
    ),
    Choice(
        ours="storage_type",
        creating="StorageType",
        changing="StorageType",
        shown=_at("StorageType"),
        counts=lambda wanted: wanted.get("storage_type") == "aurora-iopt1" or is_multi_az_cluster(wanted),
    ),
    Choice(
        ours="serverless_capacity",
        creating="ServerlessV2ScalingConfiguration",
        changing="ServerlessV2ScalingConfiguration",
        shown=_at("ServerlessV2ScalingConfiguration"),
        counts=_is_on("serverless_capacity"),
        is_met=_same_capacity,
        written=_capacity,
    ),
    *_BOTH,
    *_INSIGHTS,
)

MULTI_AZ_CLUSTER: Sequence[Choice] = (
    Choice(
        ours="instance_class",
        creating="DBClusterInstanceClass",
        changing="DBClusterInstanceClass",
        shown=_at("DBClusterInstanceClass"),
    ),
    Choice(ours="iops", creating="Iops", changing="Iops", shown=_at("Iops")),
    Choice(ours="is_public", creating="PubliclyAccessible", shown=_is_true("PubliclyAccessible")),
    Choice(ours="auto_minor_upgrade", changing="AutoMinorVersionUpgrade", shown=_is_true("AutoMinorVersionUpgrade")),
    *CLUSTER,
    *_MONITORED,
)
"""Of a cluster whose instances RDS makes: what Aurora has on its members, it has on itself."""


def of_cluster(wanted: Wanted) -> Sequence[Choice]:
    """The settings that such a cluster has."""
    return MULTI_AZ_CLUSTER if is_multi_az_cluster(wanted) else CLUSTER


def creating(choices: Sequence[Choice], wanted: Wanted, *, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Every parameter of the creating call but those under our names in `without`.

    Groups that RDS picks by itself are left to it: in another version or Region they have other names.
    """
    parameters: dict[str, Any] = {}
    for choice in choices:
        is_group = choice.ours in ("parameter_group", "option_group", "cluster_parameter_group")
        if choice.ours in without or (is_group and is_default_group(wanted.get(choice.ours))):
            continue
        parameters |= choice.created(wanted)
    return parameters
