"""What EC2, EBS, RDS and SSM authorize in one call, after AWS's service authorization reference.

ministack asks the role's policies one question per call, about one resource; AWS asks one per resource, and one
more for tags set on creation. A policy written for AWS is only told apart from a wrong one by all of them.
`permissions` puts these questions into ministack.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from embedded import ACCOUNT

_NEW = "*"
"""AWS's name for a resource that the call is about to make."""


@dataclass(frozen=True)
class Question:
    """May the caller do `action` on `arn`? `keys` are condition keys that hold for this resource."""

    action: str
    arn: str
    keys: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Call:
    """The parts of a request that decide who must be asked what."""

    service: str
    operation: str
    region: str
    path: str
    parameters: dict[str, str]

    def named(self, parameter: str) -> str | None:
        return self.parameters.get(parameter) or None

    def numbered(self, parameter: str) -> list[str]:
        pattern = re.compile(rf"{re.escape(parameter)}\.\d+")
        return [value for name, value in self.parameters.items() if pattern.fullmatch(name)]

    def on(self, arn: str, **keys: Any) -> Question:
        return Question(f"{self.service}:{self.operation}", arn, keys)


def questions(service: str, action: str, region: str, path: str, parameters: dict[str, str]) -> list[Question]:
    """Every question AWS asks about this call; empty where this table does not know the operation."""
    call = _Call(service, action.partition(":")[2], region, path, parameters)
    ask = {"ec2": _ec2, "ebs": _ebs, "rds": _rds}[service]
    return list(ask(call))


# ---------------------------------------------------------------------------- EC2

_SNAPSHOT_CHANGES = {
    "DeleteSnapshot", "DescribeSnapshotAttribute", "ModifySnapshotAttribute", "ModifySnapshotTier",
    "ResetSnapshotAttribute", "RestoreSnapshotTier", "UnlockSnapshot",
}  # fmt: skip
_KIND_OF_ID = {
    "i": "instance", "vol": "volume", "snap": "snapshot", "ami": "image", "vpc": "vpc", "subnet": "subnet",
    "sg": "security-group", "rtb": "route-table", "vpce": "vpc-endpoint", "eni": "network-interface",
}  # fmt: skip
_WITHOUT_ACCOUNT = {"snapshot", "image"}


def _ec2_arn(region: str, kind: str, identifier: str) -> str:
    owner = "" if kind in _WITHOUT_ACCOUNT else ACCOUNT
    return f"arn:aws:ec2:{region}:{owner}:{kind}/{identifier}"


def _ec2(call: _Call) -> Iterator[Question]:
    def of(kind: str, identifier: str | None, region: str = call.region) -> Question:
        return call.on(_ec2_arn(region, kind, identifier or _NEW))

    operation = call.operation
    if operation == "CreateSnapshot":
        yield of("volume", call.named("VolumeId"))
        yield from _making(call, "snapshot")
    elif operation == "CreateSnapshots":
        yield of("instance", call.named("InstanceSpecification.InstanceId"))
        yield of("volume", _NEW)
        yield from _making(call, "snapshot")
    elif operation == "CopySnapshot":
        yield of("snapshot", call.named("SourceSnapshotId"), call.named("SourceRegion") or call.region)
        yield from _making(call, "snapshot")
    elif operation == "CreateVolume":
        if call.named("SnapshotId"):
            yield of("snapshot", call.named("SnapshotId"))
        yield from _making(call, "volume")
    elif operation in _SNAPSHOT_CHANGES:
        yield of("snapshot", call.named("SnapshotId"))
    elif operation == "LockSnapshot":
        wanted = {"ec2:SnapshotLockDuration": "LockDuration", "ec2:SnapshotCoolOffPeriod": "CoolOffPeriod"}
        keys = {key: call.named(parameter) for key, parameter in wanted.items() if call.named(parameter)}
        yield call.on(_ec2_arn(call.region, "snapshot", call.named("SnapshotId") or _NEW), **keys)
    elif operation == "RunInstances":
        yield from _launching(call)
    elif operation in ("RebootInstances", "StartInstances", "StopInstances", "TerminateInstances"):
        for identifier in call.numbered("InstanceId"):
            yield of("instance", identifier)
    elif operation in ("DeleteVolume", "ModifyVolume", "AttachVolume", "DetachVolume"):
        yield of("volume", call.named("VolumeId"))
        if call.named("InstanceId"):
            yield of("instance", call.named("InstanceId"))
    elif operation in ("CreateTags", "DeleteTags"):
        keys = _tag_keys(call, r"Tag\.(\d+)\.")
        for identifier in call.numbered("ResourceId"):
            kind = _KIND_OF_ID.get(identifier.partition("-")[0], "*")
            yield Question(f"ec2:{operation}", _ec2_arn(call.region, kind, identifier), keys)


def _making(call: _Call, kind: str, keys: Mapping[str, Any] | None = None) -> Iterator[Question]:
    """To make a thing of this kind, and to tag it in the same breath."""
    arn, tags = _ec2_arn(call.region, kind, _NEW), _tags_on_creation(call, kind)
    yield Question(f"ec2:{call.operation}", arn, {**tags, **(keys or {})})
    if tags:
        yield Question("ec2:CreateTags", arn, {**tags, "ec2:CreateAction": call.operation})


def _tags_on_creation(call: _Call, kind: str) -> dict[str, Any]:
    for name, value in call.parameters.items():
        found = re.fullmatch(r"TagSpecification\.(\d+)\.ResourceType", name)
        if found and value == kind:
            return _tag_keys(call, rf"TagSpecification\.{found[1]}\.Tag\.(\d+)\.")
    return {}


def _tag_keys(call: _Call, prefix: str) -> dict[str, Any]:
    """`aws:RequestTag/...` and `aws:TagKeys` for the tags whose parameters begin with `prefix`."""
    tags = {}
    for name, key in call.parameters.items():
        if re.fullmatch(prefix + "Key", name):
            tags[key] = call.parameters.get(name.removesuffix("Key") + "Value", "")
    if not tags:
        return {}
    return {"aws:TagKeys": list(tags), **{f"aws:RequestTag/{key}": value for key, value in tags.items()}}


def _launching(call: _Call) -> Iterator[Question]:
    """To make an instance with its root volume and network interface, from what it names, and to give it its role."""
    # ministack's IAM and SSM: they read the environment as they are imported.
    from embedded.instances import images, profiles

    image_id = call.named("ImageId") or _NEW
    parameter = images.parameter_of(image_id)
    if parameter is not None:
        yield Question("ssm:GetParameters", _parameter_arn(call.region, parameter))
        image_id = images.image_id_in(parameter) or _NEW
    instance = {
        "ec2:InstanceType": call.named("InstanceType") or "m1.small",
        "ec2:MetadataHttpTokens": call.named("MetadataOptions.HttpTokens") or "optional",
    }
    network = {"ec2:Subnet": _ec2_arn(call.region, "subnet", call.named("SubnetId") or _NEW)}
    profile = profiles.find(call.named("IamInstanceProfile.Name"), call.named("IamInstanceProfile.Arn"))
    if profile is not None:
        instance["ec2:InstanceProfile"] = profile.arn
    owner = {"ec2:Owner": "amazon"} if images.is_public(image_id) else {}
    yield call.on(_ec2_arn(call.region, "image", image_id), **owner)
    yield from _making(call, "instance", instance)
    yield from _making(call, "volume")
    yield from _making(call, "network-interface", network)
    for kind, parameter_name in (("subnet", "SubnetId"), ("key-pair", "KeyName")):
        if call.named(parameter_name):
            yield call.on(_ec2_arn(call.region, kind, call.parameters[parameter_name]))
    for group_id in call.numbered("SecurityGroupId"):
        yield call.on(_ec2_arn(call.region, "security-group", group_id))
    if profile is not None and profile.role_arn:
        yield Question("iam:PassRole", profile.role_arn, {"iam:PassedToService": "ec2.amazonaws.com"})


# ---------------------------------------------------------------------------- SSM


def ssm_questions(operation: str, region: str, asked: Mapping[str, Any]) -> list[Question]:
    """Every question AWS asks about this call of SSM; empty where ministack's own is right."""
    action = f"ssm:{operation}"
    if operation == "SendCommand":
        # As in SSM's policies, the ARN of a document of AWS's names no account.
        document = str(asked.get("DocumentName", _NEW))
        account = "" if document.startswith("AWS") else ACCOUNT
        arns = [f"arn:aws:ssm:{region}:{account}:document/{document}"]
        named = list(asked.get("InstanceIds") or [])
        for target in asked.get("Targets") or []:
            named += target.get("Values", []) if target.get("Key", "").lower() == "instanceids" else []
        arns += [_ec2_arn(region, "instance", instance_id) for instance_id in named]
        return [Question(action, arn, _ssm_tags_of(arn)) for arn in arns]
    names = [asked["Name"]] if operation == "GetParameter" and "Name" in asked else asked.get("Names") or []
    if operation in ("GetParameter", "GetParameters"):
        return [Question(action, _parameter_arn(region, str(name))) for name in names]
    return []


def _parameter_arn(region: str, name: str) -> str:
    if name.startswith("arn:"):
        return name
    account = "" if name.startswith("/aws/") else ACCOUNT
    return f"arn:aws:ssm:{region}:{account}:parameter/{name.lstrip('/')}"


def _ssm_tags_of(arn: str) -> dict[str, Any]:
    from ministack.services import tagging

    return {f"ssm:resourceTag/{key}": value for key, value in (tagging.resource_tags(arn) or {}).items()}


# ---------------------------------------------------------------------------- EBS direct


def _ebs(call: _Call) -> Iterator[Question]:
    path = re.fullmatch(r"/snapshots(?:/completion)?(?:/([^/]+))?(?:/.*)?", unquote(call.path))
    identifiers = [path[1] if path and path[1] else _NEW]
    if call.operation == "ListChangedBlocks" and call.named("firstSnapshotId"):
        identifiers.append(call.parameters["firstSnapshotId"])
    for identifier in identifiers:
        yield call.on(_ec2_arn(call.region, "snapshot", identifier))


# ---------------------------------------------------------------------------- RDS

# The kinds of resource in an RDS ARN, by the parameter that names one.
_INSTANCE = ("db", "DBInstanceIdentifier")
_CLUSTER = ("cluster", "DBClusterIdentifier")
_SNAPSHOT = ("snapshot", "DBSnapshotIdentifier")
_CLUSTER_SNAPSHOT = ("cluster-snapshot", "DBClusterSnapshotIdentifier")
_OPTION_GROUP = ("og", "OptionGroupName")
_SUBNET_GROUP = ("subgrp", "DBSubnetGroupName")
_PARAMETER_GROUP = ("pg", "DBParameterGroupName")
_CLUSTER_PARAMETER_GROUP = ("cluster-pg", "DBClusterParameterGroupName")

_Kinds = tuple[tuple[str, str], ...]
# First what must be named or is everything ("*") when it is not, then what is asked about only if it is named.
_RDS: dict[str, tuple[_Kinds, _Kinds]] = {
    "DescribeDBInstances": ((_INSTANCE,), ()),
    "DescribeDBClusters": ((_CLUSTER,), ()),
    "DescribeDBSnapshots": ((_SNAPSHOT,), ()),
    "DescribeDBClusterSnapshots": ((_CLUSTER_SNAPSHOT,), ()),
    "DescribeDBSubnetGroups": ((_SUBNET_GROUP,), ()),
    "DescribeOptionGroups": ((_OPTION_GROUP,), ()),
    "DescribeDBParameterGroups": ((_PARAMETER_GROUP,), ()),
    "DescribeDBClusterParameterGroups": ((_CLUSTER_PARAMETER_GROUP,), ()),
    "CreateDBSnapshot": ((_SNAPSHOT, _INSTANCE), ()),
    "CreateDBClusterSnapshot": ((_CLUSTER_SNAPSHOT, _CLUSTER), ()),
    "CopyDBSnapshot": (
        (("snapshot", "TargetDBSnapshotIdentifier"), ("snapshot", "SourceDBSnapshotIdentifier")),
        (_OPTION_GROUP,),
    ),
    "CopyDBClusterSnapshot": (
        (
            ("cluster-snapshot", "TargetDBClusterSnapshotIdentifier"),
            ("cluster-snapshot", "SourceDBClusterSnapshotIdentifier"),
        ),
        (),
    ),
    "DeleteDBSnapshot": ((_SNAPSHOT,), ()),
    "DeleteDBClusterSnapshot": ((_CLUSTER_SNAPSHOT,), ()),
    "DescribeDBSnapshotAttributes": ((_SNAPSHOT,), ()),
    "DescribeDBClusterSnapshotAttributes": ((_CLUSTER_SNAPSHOT,), ()),
    "ModifyDBSnapshotAttribute": ((_SNAPSHOT,), ()),
    "ModifyDBClusterSnapshotAttribute": ((_CLUSTER_SNAPSHOT,), ()),
    "RestoreDBInstanceFromDBSnapshot": (
        (_INSTANCE, _SNAPSHOT),
        (_SUBNET_GROUP, _OPTION_GROUP, _PARAMETER_GROUP),
    ),
    "RestoreDBClusterFromSnapshot": (
        (_CLUSTER, ("cluster-snapshot", "SnapshotIdentifier")),
        (_SUBNET_GROUP, _OPTION_GROUP, _CLUSTER_PARAMETER_GROUP),
    ),
    "RestoreDBInstanceToPointInTime": (
        (("db", "TargetDBInstanceIdentifier"), ("db", "SourceDBInstanceIdentifier")),
        (_SUBNET_GROUP, _OPTION_GROUP, _PARAMETER_GROUP),
    ),
    "RestoreDBClusterToPointInTime": (
        (_CLUSTER, ("cluster", "SourceDBClusterIdentifier")),
        (_SUBNET_GROUP, _OPTION_GROUP, _CLUSTER_PARAMETER_GROUP),
    ),
    "CreateDBInstance": ((_INSTANCE,), (_CLUSTER, _SUBNET_GROUP, _OPTION_GROUP, _PARAMETER_GROUP)),
    "CreateDBCluster": ((_CLUSTER,), (_SUBNET_GROUP, _OPTION_GROUP, _CLUSTER_PARAMETER_GROUP)),
    "ModifyDBInstance": ((_INSTANCE,), (_OPTION_GROUP, _PARAMETER_GROUP)),
    "ModifyDBCluster": ((_CLUSTER,), (_OPTION_GROUP, _CLUSTER_PARAMETER_GROUP)),
    "RebootDBInstance": ((_INSTANCE,), ()),
    "AddRoleToDBInstance": ((_INSTANCE,), ()),
    "AddRoleToDBCluster": ((_CLUSTER,), ()),
    "DeleteDBInstance": ((_INSTANCE,), (("snapshot", "FinalDBSnapshotIdentifier"),)),
    "DeleteDBCluster": ((_CLUSTER,), (("cluster-snapshot", "FinalDBSnapshotIdentifier"),)),
}
# Whoever gives RDS a role must be allowed to pass it on.
_ROLES_GIVEN = {"MonitoringRoleArn": "monitoring.rds.amazonaws.com", "RoleArn": "rds.amazonaws.com"}
_TAGS_GO_ON_THE_FIRST = re.compile(r"(Create|Copy|Restore)")


def _rds(call: _Call) -> Iterator[Question]:
    if call.operation in ("AddTagsToResource", "RemoveTagsFromResource", "ListTagsForResource"):
        yield call.on(call.named("ResourceName") or "*")
        return
    always, if_named = _RDS.get(call.operation, ((), ()))
    named = [(kind, call.named(parameter) or _NEW) for kind, parameter in always]
    named += [(kind, call.parameters[parameter]) for kind, parameter in if_named if call.named(parameter)]
    arns = [_rds_arn(call.region, kind, identifier) for kind, identifier in named]
    yield from (call.on(arn) for arn in arns)
    for parameter, receiver in _ROLES_GIVEN.items():
        if call.named(parameter):
            keys = {"iam:PassedToService": receiver}
            yield Question("iam:PassRole", call.parameters[parameter], keys)
    if arns and _TAGS_GO_ON_THE_FIRST.match(call.operation) and any(".Key" in name for name in call.parameters):
        yield Question("rds:AddTagsToResource", arns[0])


def _rds_arn(region: str, kind: str, identifier: str) -> str:
    return identifier if identifier.startswith("arn:") else f"arn:aws:rds:{region}:{ACCOUNT}:{kind}:{identifier}"
