"""Snapshots of one EBS volume."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from functions.aws import ebs_snapshots
from functions.aws.ebs_snapshots import EbsSnapshots, description, tagged
from functions.aws.faults import translated
from functions.aws.permissions import Permission
from functions.core.resources import Kind
from functions.core.snapshots import Snapshot, SnapshotOrder

if TYPE_CHECKING:
    from functions.core.snapshots import Snapshots

PERMISSIONS: Mapping[str, tuple[Permission, ...]] = {
    **ebs_snapshots.PERMISSIONS,
    "take": (
        Permission(
            actions=("ec2:CreateSnapshot",),
            resources=("arn:{partition}:ec2:{region}:{account}:volume/*",),
            why="any volume: a default policy covers volumes without tags",
        ),
        Permission(
            actions=("ec2:CreateSnapshot",),
            resources=(ebs_snapshots.ANY_SNAPSHOT,),
            conditions={
                "StringEquals": {"aws:RequestTag/holdfast:managed": "1"},
                "ForAllValues:StringLike": {"aws:TagKeys": "holdfast:*"},
                **ebs_snapshots.UNMARKED,
            },
            why="the new snapshot, which must say that it is ours",
        ),
        Permission(
            actions=("ec2:CreateTags",),
            resources=(ebs_snapshots.ANY_SNAPSHOT,),
            conditions={"StringEquals": {"ec2:CreateAction": "CreateSnapshot"}},
            why="not called: EC2 checks it for the tags inside CreateSnapshot",
        ),
    ),
}


class VolumeSnapshots(EbsSnapshots):
    """The port `Snapshots` for volumes."""

    kind = Kind.VOLUME

    def take(self, order: SnapshotOrder, tags: Mapping[str, str]) -> tuple[Snapshot, ...]:
        """The one snapshot EBS began of the volume."""
        volume_id = order.slot.resource.id
        with translated("ec2:CreateSnapshot", resource=volume_id, once=True):
            begun = self._ec2_once.create_snapshot(
                VolumeId=volume_id, Description=description(order.slot), TagSpecifications=tagged(tags)
            )
        return (self._read(begun),)


if TYPE_CHECKING:
    _port: type[Snapshots] = VolumeSnapshots
