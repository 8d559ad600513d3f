"""Volumes made from snapshots for a rehearsal, and the snapshots of those volumes that prove their content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from functions.aws.clients import Clients
from functions.aws.ebs_snapshots import STATES
from functions.aws.faults import code_of, translated
from functions.aws.permissions import Permission, grant_through
from functions.core.coverage import REHEARSAL_TAG
from functions.core.errors import AwsBusy, Unsafe
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
from functions.core.snapshots import State

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, TagTypeDef

    from functions.core.restores import Restores

PROOF_TAG = "holdfast:proof-of"
"""On the snapshot of a restored volume: the volume whose content it shows."""

_OF_A_REHEARSAL = {"Null": {f"aws:ResourceTag/{REHEARSAL_TAG}": "false"}}
_FOR_A_REHEARSAL = {"Null": {f"aws:RequestTag/{REHEARSAL_TAG}": "false", f"aws:RequestTag/{EXPIRES_TAG}": "false"}}
_VOLUMES = ("arn:{partition}:ec2:{region}:{account}:volume/*",)
_SNAPSHOTS = ("arn:{partition}:ec2:{region}::snapshot/*",)
_KEYS = ("arn:{partition}:kms:{region}:{account}:key/*",)


def _looks(*actions: str) -> Permission:
    return Permission(actions=actions, resources=("*",), why="Describe calls of EC2 have no resource type")


_LOOK_AT_VOLUMES = _looks("ec2:DescribeVolumes")
_LOOK_AT_SNAPSHOTS = _looks("ec2:DescribeSnapshots")

PERMISSIONS: Mapping[str, tuple[Permission, ...]] = {
    "begin": (
        _looks("ec2:DescribeVolumes", "ec2:DescribeAvailabilityZones"),
        Permission(
            actions=("ec2:CreateVolume",),
            resources=_SNAPSHOTS,
            conditions={"StringEquals": {"aws:ResourceTag/holdfast:managed": "1"}},
            why="a rehearsal restores the snapshots we took and no others",
        ),
        Permission(
            actions=("ec2:CreateVolume",),
            resources=_VOLUMES,
            conditions=_FOR_A_REHEARSAL,
            why="every volume a rehearsal makes says whose it is and when it may go",
        ),
        Permission(
            actions=("ec2:CreateTags",),
            resources=_VOLUMES,
            conditions={"StringEquals": {"ec2:CreateAction": "CreateVolume"}},
            why="not called: tags ride in the creating call; nothing that exists can be tagged",
        ),
        grant_through("ec2", why="not called: EBS makes a grant on the snapshot's key as the caller, for itself only"),
        Permission(
            actions=("kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext"),
            resources=_KEYS,
            conditions={"StringLike": {"kms:ViaService": "ec2.{region}.amazonaws.com"}},
            why="not called: EBS opens the snapshot's key as the caller to make an encrypted volume",
        ),
    ),
    "look": (_LOOK_AT_VOLUMES,),
    "leftovers": (_LOOK_AT_VOLUMES, _LOOK_AT_SNAPSHOTS),
    "remove": (
        _LOOK_AT_VOLUMES,
        Permission(
            actions=("ec2:DeleteVolume",),
            resources=_VOLUMES,
            conditions=_OF_A_REHEARSAL,
            why="removes what a rehearsal made; a volume in use carries no such tag",
        ),
    ),
    "begin_proof": (
        _LOOK_AT_SNAPSHOTS,
        Permission(
            actions=("ec2:CreateSnapshot",),
            resources=_VOLUMES,
            conditions=_OF_A_REHEARSAL,
            why="only restored volumes are snapshot as a proof",
        ),
        Permission(
            actions=("ec2:CreateSnapshot",),
            resources=_SNAPSHOTS,
            conditions={
                "Null": {
                    f"aws:RequestTag/{REHEARSAL_TAG}": "false",
                    f"aws:RequestTag/{PROOF_TAG}": "false",
                    "aws:RequestTag/holdfast:managed": "true",
                },
            },
            why="every proof says which rehearsal and which volume it is of, and none calls itself a recovery point",
        ),
        Permission(
            actions=("ec2:CreateTags",),
            resources=_SNAPSHOTS,
            conditions={"StringEquals": {"ec2:CreateAction": "CreateSnapshot"}},
            why="not called: tags ride in the creating call; nothing that exists can be tagged",
        ),
    ),
    "look_proof": (_LOOK_AT_SNAPSHOTS,),
    "remove_proof": (
        _LOOK_AT_SNAPSHOTS,
        Permission(
            actions=("ec2:DeleteSnapshot",),
            resources=_SNAPSHOTS,
            conditions={
                "Null": {
                    f"aws:ResourceTag/{REHEARSAL_TAG}": "false",
                    f"aws:ResourceTag/{PROOF_TAG}": "false",
                    "aws:ResourceTag/holdfast:managed": "true",
                },
            },
            why="removes proofs; what says that it is a recovery point is none, whatever else it says",
        ),
    ),
}

_VOLUME_STATES: Mapping[str, RestoreState] = {
    "creating": RestoreState.CREATING,
    "available": RestoreState.AVAILABLE,
    "in-use": RestoreState.AVAILABLE,
    "error": RestoreState.FAILED,
    "deleted": RestoreState.GONE,
}


class VolumeRestores:
    """Restores for one EBS kind in one Region: a volume for each snapshot, attached to nothing."""

    def __init__(self, kind: Kind, region: str, clients: Clients) -> None:
        if kind not in (Kind.VOLUME, Kind.INSTANCE):
            raise ValueError(f"volumes are restored for volumes and instances, not for a {kind}")
        self.kind = kind
        self.region = region
        self._ec2: EC2Client = clients.retrying("ec2", region)
        self._ec2_once: EC2Client = clients.once("ec2", region)

    def begin(self, order: RestoreOrder) -> tuple[Restored, ...]:
        """A volume for each snapshot; one that this rehearsal made before is found by its tags and answered again.

        Errors: SnapshotGone, KeyUnusable, QuotaReached, NotAllowed, AwsBusy.
        """
        return tuple(
            self._restored(self._found(order, snapshot_id) or self._created(order, snapshot_id), snapshot_id)
            for snapshot_id in order.snapshot_ids
        )

    def look(self, restored: Restored) -> Restored:
        """The volume as EC2 describes it now; one that EC2 does not know is GONE.

        A volume whose key cannot be used is accepted first and disappears later, so GONE is a possible end of a
        restore and not only of a removal.
        """
        volume = self._volume(restored.id)
        if volume is None:
            return self._restored({"VolumeId": restored.id, "State": "deleted"}, restored.snapshot_id)
        return self._restored(volume, restored.snapshot_id)

    def remove(self, restored: Restored) -> RestoreState:
        """GONE when there is no such volume, CREATING once EC2 was asked to delete it.

        Errors: Unsafe when it does not carry our name and our rehearsal tag, or when somebody attached it.
        """
        volume = self._volume(restored.id)
        if volume is None:
            return RestoreState.GONE
        _refuse_unless_ours(f"volume {restored.id}", _tags_of(volume))
        if volume.get("State") == "in-use":
            raise Unsafe(
                f"volume {restored.id} in {self.region} is attached to an instance",
                hint="detach it when it is not needed any more; the next round removes it",
            )
        if volume.get("State") != "deleting":
            with translated("ec2:DeleteVolume", resource=restored.id):
                try:
                    self._ec2.delete_volume(VolumeId=restored.id)
                except ClientError as refused:
                    if code_of(refused) != "InvalidVolume.NotFound":
                        raise
                    return RestoreState.GONE
        return RestoreState.CREATING

    def begin_proof(self, restored: Restored, order: RestoreOrder) -> str:
        """The id of the snapshot that shows the restored volume's content; one begun before is found by its tags.

        The creating request is sent once: CreateSnapshot takes no client token.

        Errors: OutcomeUnknown, TooManyInFlight, QuotaReached, NotAllowed, AwsBusy.
        """
        filters: list[FilterTypeDef] = [
            {"Name": f"tag:{REHEARSAL_TAG}", "Values": [order.rehearsal_id]},
            {"Name": f"tag:{PROOF_TAG}", "Values": [restored.id]},
            {"Name": "status", "Values": ["pending", "completed"]},
        ]
        begun = next(self._snapshots(filters), None)
        if begun is not None:
            return begun["SnapshotId"]
        labels = tags(order) | {PROOF_TAG: restored.id, "Name": name_of(order.rehearsal_id, restored.snapshot_id)}
        with translated("ec2:CreateSnapshot", resource=restored.id, once=True):
            created = self._ec2_once.create_snapshot(
                VolumeId=restored.id,
                Description=f"Content of {restored.id}, restored from {restored.snapshot_id} by a rehearsal",
                TagSpecifications=[{"ResourceType": "snapshot", "Tags": _written(labels)}],
            )
        return created["SnapshotId"]

    def look_proof(self, snapshot_id: str) -> State:
        """The state of a proof as EC2 describes it now; one that EC2 does not know is GONE."""
        snapshot = self._proof(snapshot_id)
        return State.GONE if snapshot is None else STATES.get(snapshot.get("State", ""), State.UNKNOWN)

    def remove_proof(self, snapshot_id: str) -> None:
        """The proof is gone; one that was gone before is fine.

        Errors: Unsafe when the snapshot is not the proof of a rehearsal.
        """
        snapshot = self._proof(snapshot_id)
        if snapshot is None:
            return
        carried = _tags_of(snapshot)
        _refuse_unless_ours(f"snapshot {snapshot_id}", carried)
        if PROOF_TAG not in carried:
            raise Unsafe(
                f"snapshot {snapshot_id} has no tag {PROOF_TAG}",
                hint="it is not a proof; look who made it and delete it by hand if it should go",
            )
        with translated("ec2:DeleteSnapshot", resource=snapshot_id):
            try:
                self._ec2.delete_snapshot(SnapshotId=snapshot_id)
            except ClientError as refused:
                if code_of(refused) != "InvalidSnapshot.NotFound":
                    raise

    def leftovers(self) -> Iterator[Leftover]:
        """Every volume and every proof here that carries a rehearsal's name and tag."""
        named: list[FilterTypeDef] = [
            {"Name": "tag-key", "Values": [REHEARSAL_TAG]},
            {"Name": "tag:Name", "Values": [f"{NAME_PREFIX}*"]},
        ]
        for volume in self._described(named):
            if volume.get("State") not in ("deleting", "deleted"):
                yield self._leftover(volume["VolumeId"], volume, volume["CreateTime"], is_proof=False)
        for snapshot in self._snapshots([*named, {"Name": "tag-key", "Values": [PROOF_TAG]}]):
            yield self._leftover(snapshot["SnapshotId"], snapshot, snapshot["StartTime"], is_proof=True)

    def _leftover(self, id: str, described: Mapping[str, Any], created_at: datetime, *, is_proof: bool) -> Leftover:
        carried = _tags_of(described)
        return Leftover(
            id=id,
            kind=self.kind,
            rehearsal_id=carried.get(REHEARSAL_TAG, ""),
            created_at=created_at,
            expires_at=expiry(carried),
            is_proof=is_proof,
        )

    def _found(self, order: RestoreOrder, snapshot_id: str) -> Mapping[str, Any] | None:
        filters: list[FilterTypeDef] = [
            {"Name": f"tag:{REHEARSAL_TAG}", "Values": [order.rehearsal_id]},
            {"Name": "snapshot-id", "Values": [snapshot_id]},
            {"Name": "status", "Values": ["creating", "available", "in-use"]},
        ]
        return next(self._described(filters), None)

    def _created(self, order: RestoreOrder, snapshot_id: str) -> Mapping[str, Any]:
        """A new volume in the order's zone, or in the first that has room.

        The client token names the zone as well: EC2 refuses a token that comes back with other parameters.
        """
        labels = tags(order) | {"Name": name_of(order.rehearsal_id, snapshot_id)}
        for zone in [order.zone] if order.zone else self._zones():
            token = hashlib.sha256(f"{order.rehearsal_id}|{snapshot_id}|{zone}".encode()).hexdigest()
            with translated("ec2:CreateVolume", resource=snapshot_id):
                try:
                    return self._ec2.create_volume(
                        AvailabilityZone=zone,
                        SnapshotId=snapshot_id,
                        VolumeType="gp3",
                        ClientToken=token,
                        TagSpecifications=[{"ResourceType": "volume", "Tags": _written(labels)}],
                    )
                except ClientError as refused:
                    if code_of(refused) != "InsufficientVolumeCapacity":
                        raise
        full = f"zone {order.zone} has no room" if order.zone else f"no zone of {self.region} has room"
        raise AwsBusy(
            f"{full} for a gp3 volume of {snapshot_id}",
            hint="nothing to do now; the rehearsal is tried again later",
        )

    def _zones(self) -> list[str]:
        filters: list[FilterTypeDef] = [
            {"Name": "state", "Values": ["available"]},
            {"Name": "zone-type", "Values": ["availability-zone"]},
        ]
        with translated("ec2:DescribeAvailabilityZones"):
            answer = self._ec2.describe_availability_zones(Filters=filters)
        return sorted(zone.get("ZoneName", "") for zone in answer["AvailabilityZones"])

    def _volume(self, id: str) -> Mapping[str, Any] | None:
        return next(self._described([{"Name": "volume-id", "Values": [id]}]), None)

    def _proof(self, id: str) -> Mapping[str, Any] | None:
        return next(self._snapshots([{"Name": "snapshot-id", "Values": [id]}]), None)

    def _snapshots(self, filters: Sequence[FilterTypeDef]) -> Iterator[Mapping[str, Any]]:
        with translated("ec2:DescribeSnapshots"):
            for page in self._ec2.get_paginator("describe_snapshots").paginate(OwnerIds=["self"], Filters=filters):
                yield from page["Snapshots"]

    def _described(self, filters: Sequence[FilterTypeDef]) -> Iterator[Mapping[str, Any]]:
        with translated("ec2:DescribeVolumes"):
            for page in self._ec2.get_paginator("describe_volumes").paginate(Filters=filters):
                yield from page["Volumes"]

    def _restored(self, volume: Mapping[str, Any], snapshot_id: str) -> Restored:
        state = volume.get("State", "")
        return Restored(
            id=volume["VolumeId"],
            snapshot_id=snapshot_id,
            kind=self.kind,
            region=self.region,
            state=_VOLUME_STATES.get(state, RestoreState.CREATING),
            message="" if state in ("creating", "available") else f"EC2 says {state}",
        )


def _refuse_unless_ours(what: str, carried: Mapping[str, str]) -> None:
    if REHEARSAL_TAG not in carried or not carried.get("Name", "").startswith(NAME_PREFIX):
        raise Unsafe(
            f"{what} does not carry both a Name that begins with {NAME_PREFIX} and the tag {REHEARSAL_TAG}",
            hint="no rehearsal made it; look who did and remove it by hand if it should go",
        )


def _tags_of(described: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in described.get("Tags", [])}


def _written(labels: Mapping[str, str]) -> list[TagTypeDef]:
    return [{"Key": key, "Value": value} for key, value in labels.items()]


if TYPE_CHECKING:
    _port: type[Restores] = VolumeRestores
