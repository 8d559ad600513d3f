"""Snapshots of an EC2 instance: its volumes as one crash-consistent set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from functions.aws import ebs_snapshots
from functions.aws.ebs_snapshots import EbsSnapshots, description, tagged
from functions.aws.faults import translated
from functions.aws.permissions import Permission
from functions.core import labels
from functions.core.coverage import EXCLUDED, POLICY_TAG
from functions.core.errors import BadMessage, ResourceGone
from functions.core.resources import Kind
from functions.core.snapshots import Snapshot, SnapshotOrder, State

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import FilterTypeDef, InstanceSpecificationTypeDef

    from functions.core.snapshots import Snapshots

EXCLUSIONS = 40
"""How many data volumes one CreateSnapshots call can leave out."""

PERMISSIONS: Mapping[str, tuple[Permission, ...]] = {
    **ebs_snapshots.PERMISSIONS,
    "take": (
        Permission(
            actions=("ec2:DescribeInstances", "ec2:DescribeVolumes"),
            resources=("*",),
            why="which volumes are excluded by their own tag; Describe of EC2 knows no resource types",
        ),
        Permission(
            actions=("ec2:CreateSnapshots",),
            resources=(
                "arn:{partition}:ec2:{region}:{account}:instance/*",
                "arn:{partition}:ec2:{region}:{account}:volume/*",
            ),
            why="any instance and its volumes: a default policy covers instances without tags",
        ),
        Permission(
            actions=("ec2:CreateSnapshots",),
            resources=(ebs_snapshots.ANY_SNAPSHOT,),
            conditions={
                "StringEquals": {"aws:RequestTag/holdfast:managed": "1"},
                "ForAllValues:StringLike": {"aws:TagKeys": "holdfast:*"},
                **ebs_snapshots.UNMARKED,
            },
            why="the new snapshots, which must say that they are ours",
        ),
        Permission(
            actions=("ec2:CreateTags",),
            resources=(ebs_snapshots.ANY_SNAPSHOT,),
            conditions={"StringEquals": {"ec2:CreateAction": "CreateSnapshots"}},
            why="not called: EC2 checks it for the tags inside CreateSnapshots",
        ),
    ),
}


class InstanceSnapshots(EbsSnapshots):
    """The port `Snapshots` for instances."""

    kind = Kind.INSTANCE

    def _hopeful(self, found: Sequence[Snapshot], attempt: int) -> list[Snapshot]:
        """The copies that have not failed, and this attempt's members unless one of them has: one request begins them,
        and half a set is no point. Of an earlier attempt, which ended so, nothing is a set any more."""
        copies = [one for one in super()._hopeful(found, attempt) if labels.SOURCE_SNAPSHOT in one.tags]
        members = [
            one
            for one in found
            if labels.SOURCE_SNAPSHOT not in one.tags and one.tags.get(labels.ATTEMPT) == str(attempt)
        ]
        return copies if any(member.state is State.FAILED for member in members) else copies + members

    def take(self, order: SnapshotOrder, tags: Mapping[str, str]) -> tuple[Snapshot, ...]:
        """One snapshot for each volume that is not excluded by its own tag, all of the same instant.

        The members carry the same tags, because one call writes one set of them; which volume each is of, EC2 says.
        """
        instance_id = order.slot.resource.id
        specification = self._without_excluded_volumes(self._instance(instance_id))
        with translated("ec2:CreateSnapshots", resource=instance_id, once=True):
            begun = self._ec2_once.create_snapshots(
                InstanceSpecification=specification,
                Description=description(order.slot),
                TagSpecifications=tagged(tags),
            )
        return tuple(self._read(member) for member in begun["Snapshots"])

    def _instance(self, instance_id: str) -> Mapping[str, Any]:
        with translated("ec2:DescribeInstances", resource=instance_id):
            answer = self._ec2.describe_instances(Filters=[{"Name": "instance-id", "Values": [instance_id]}])
        reservations: list[Any] = answer["Reservations"]
        for reservation in reservations:
            for instance in reservation["Instances"]:
                if instance["State"]["Name"] not in ("shutting-down", "terminated"):
                    return instance
        raise ResourceGone(
            f"instance {instance_id} does not exist in {self.region} any more",
            hint="It was terminated. Its recovery points stay; nothing needs to be done unless it should exist.",
        )

    def _without_excluded_volumes(self, instance: Mapping[str, Any]) -> InstanceSpecificationTypeDef:
        devices = {
            mapping["Ebs"]["VolumeId"]: mapping["DeviceName"]
            for mapping in instance["BlockDeviceMappings"]
            if "Ebs" in mapping
        }
        excluded = self._excluded(devices)
        if len(excluded) == len(devices):
            raise BadMessage(
                f"every volume of instance {instance['InstanceId']} carries {POLICY_TAG}={EXCLUDED}",
                hint=f"Remove the tag from the volumes to protect, or set {POLICY_TAG}={EXCLUDED} on the instance too.",
            )
        boot = {volume_id for volume_id in excluded if devices[volume_id] == instance.get("RootDeviceName")}
        data = sorted(excluded - boot)
        if len(data) > EXCLUSIONS:
            raise BadMessage(
                f"{len(data)} volumes of instance {instance['InstanceId']} are excluded, more than {EXCLUSIONS}",
                hint="AWS takes no longer list. Give the volumes to protect a policy of their own instead.",
            )
        specification: InstanceSpecificationTypeDef = {"InstanceId": instance["InstanceId"]}
        if boot:
            specification["ExcludeBootVolume"] = True
        if data:
            specification["ExcludeDataVolumeIds"] = data
        return specification

    def _excluded(self, volume_ids: Mapping[str, str]) -> frozenset[str]:
        filters: list[FilterTypeDef] = [
            {"Name": "volume-id", "Values": sorted(volume_ids)},
            {"Name": f"tag:{POLICY_TAG}", "Values": [EXCLUDED]},
        ]
        pages = self._ec2.get_paginator("describe_volumes").paginate(Filters=filters)
        with translated("ec2:DescribeVolumes"):
            return frozenset(volume.get("VolumeId", "") for page in pages for volume in page["Volumes"])


if TYPE_CHECKING:
    _port: type[Snapshots] = InstanceSnapshots
