"""Volumes made for people to use, out of the snapshots of one point, as the originals were and attached to nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from functions.aws.clients import Clients
from functions.aws.faults import code_of, translated
from functions.aws.permissions import Permission, grant_through
from functions.aws.recoveries.plan_ebs import VolumePlan
from functions.aws.recoveries.settings_ebs import (
    SETTINGS,
    Wanted,
    devices_of,
    parameters_of,
    read_setting,
    wanted_of,
)
from functions.core.errors import AwsBusy, BadMessage, Refused, ResourceGone, SnapshotGone, Unsafe
from functions.core.recoveries import RECOVERY_TAG, PlanLine, RecoveryOrder, Setting
from functions.core.resources import Kind
from functions.core.restores import Restored, RestoreState

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, TagTypeDef

    from functions.core.recoveries import Recoveries

MOST_TAGS = 50
"""EC2 takes no more on one resource."""

_OF_A_RECOVERY = {"Null": {f"aws:ResourceTag/{RECOVERY_TAG}": "false"}}
_FOR_A_RECOVERY = {"Null": {f"aws:RequestTag/{RECOVERY_TAG}": "false"}}
_VOLUMES = ("arn:{partition}:ec2:{region}:{account}:volume/*",)
_SNAPSHOTS = ("arn:{partition}:ec2:{region}::snapshot/*",)
_KEYS = ("arn:{partition}:kms:{region}:{account}:key/*",)

_LOOK = Permission(
    actions=("ec2:DescribeVolumes",),
    resources=("*",),
    why="Describe calls of EC2 have no resource type",
)
_LOOK_AROUND = Permission(
    actions=("ec2:DescribeVolumes", "ec2:DescribeSnapshots", "ec2:DescribeAvailabilityZones"),
    resources=("*",),
    why="Describe calls of EC2 have no resource type",
)

PERMISSIONS: Mapping[str, tuple[Permission, ...]] = {
    "plan": (
        _LOOK_AROUND,
        Permission(
            actions=("kms:DescribeKey",),
            resources=_KEYS,
            why="whether the snapshot's key is enabled; looking opens nothing",
        ),
        Permission(
            actions=("servicequotas:GetServiceQuota",),
            resources=("arn:{partition}:servicequotas:{region}:{account}:ebs/*",),
            why="how much storage of a type the account may have here; quotas of other services are not read",
        ),
    ),
    "begin": (
        _LOOK_AROUND,
        Permission(
            actions=("ec2:CreateVolume",),
            resources=_SNAPSHOTS,
            conditions={"StringEquals": {"aws:ResourceTag/holdfast:managed": "1"}},
            why="a recovery restores the snapshots we took and no others",
        ),
        Permission(
            actions=("ec2:CreateVolume",),
            resources=_VOLUMES,
            conditions=_FOR_A_RECOVERY,
            why="every volume a recovery makes says which recovery it belongs to",
        ),
        Permission(
            actions=("ec2:CreateTags",),
            resources=_VOLUMES,
            conditions={"StringEquals": {"ec2:CreateAction": "CreateVolume"}},
            why="not called: tags ride in the creating call",
        ),
        grant_through("ec2", why="not called: EBS makes grants on the keys as the caller, for itself only"),
        Permission(
            actions=(
                "kms:Decrypt",
                "kms:DescribeKey",
                "kms:GenerateDataKeyWithoutPlaintext",
                "kms:ReEncryptFrom",
                "kms:ReEncryptTo",
            ),
            resources=_KEYS,
            conditions={"StringLike": {"kms:ViaService": "ec2.{region}.amazonaws.com"}},
            why="not called: EBS opens the snapshot's key as the caller, and writes under the original's",
        ),
    ),
    "look": (_LOOK,),
    "configure": (
        _LOOK,
        Permission(
            actions=("ec2:CreateTags",),
            resources=_VOLUMES,
            conditions=_OF_A_RECOVERY,
            why="gives the original's tags to what a recovery made",
        ),
    ),
    "remove": (
        _LOOK,
        Permission(
            actions=("ec2:DeleteVolume",),
            resources=_VOLUMES,
            conditions=_OF_A_RECOVERY,
            why="removes what a recovery made; nothing else carries its tag",
        ),
    ),
}
"""By verb of the port."""

_STATES: Mapping[str, RestoreState] = {
    "creating": RestoreState.CREATING,
    "available": RestoreState.AVAILABLE,
    "in-use": RestoreState.AVAILABLE,
    "error": RestoreState.FAILED,
    "deleted": RestoreState.GONE,
}
_WRONG_CHOICES = frozenset(
    {
        "InvalidParameterCombination",
        "InvalidParameterDependency",
        "InvalidParameterValue",
        "InvalidZone.NotFound",
        "MissingParameter",
    }
)


class VolumeRecoveries:
    """Recoveries of one EBS kind in one Region: the port `Recoveries`."""

    def __init__(self, kind: Kind, region: str, clients: Clients) -> None:
        if kind not in (Kind.VOLUME, Kind.INSTANCE):
            raise ValueError(f"volumes are recovered for volumes and instances, not for a {kind}")
        self.kind = kind
        self.region = region
        self._clients = clients
        self._ec2: EC2Client = clients.retrying("ec2", region)

    def plan(self, order: RecoveryOrder) -> tuple[PlanLine, ...]:
        """What stands in the way, found without making anything; see `plan_ebs`.

        Errors: AwsBusy, NotAllowed.
        """
        return VolumePlan(self.region, self._clients).lines(order)

    def begin(self, order: RecoveryOrder) -> tuple[Restored, ...]:
        """A volume for each snapshot, all of them in one zone; one that this recovery made before is found by its
        tags and answered again.

        The zone is the wanted one if this Region has it, else the first that has room.

        Errors: SnapshotGone, KeyUnusable, QuotaReached, NotAllowed, AwsBusy; BadMessage when EC2 refuses a setting.
        """
        snapshots = self._snapshots(order.snapshot_ids)
        made = {id: volume for id in order.snapshot_ids if (volume := self._found(order, id)) is not None}
        zones = sorted({volume["AvailabilityZone"] for volume in made.values()}) or self._zones(order.wanted)
        for number, snapshot_id in enumerate(order.snapshot_ids):
            if snapshot_id not in made:
                made[snapshot_id] = self._created(order, number, snapshots[snapshot_id], zones)
                # An instance reaches the volumes of its own zone only.
                zones = [made[snapshot_id]["AvailabilityZone"]]
        return tuple(self._restored(made[id], id) for id in order.snapshot_ids)

    def look(self, restored: Restored) -> Restored:
        """The volume as EC2 describes it now. One whose key cannot be used is accepted first and disappears later, so
        GONE is a possible end of a restore."""
        volume = self._volume(restored.id)
        if volume is None:
            return self._restored({"VolumeId": restored.id, "State": "deleted"}, restored.snapshot_id)
        return self._restored(volume, restored.snapshot_id)

    def configure(self, order: RecoveryOrder, restored: Restored) -> tuple[Setting, ...]:
        """Every setting of the original and where it stands; gives the volume the original's tags.

        Nothing is attached: the setting `attachment` says where the original was, and how to attach this one.

        Errors: ResourceGone, Unsafe, AwsBusy.
        """
        volume = self._volume(restored.id)
        if volume is None:
            raise ResourceGone(
                f"the restored volume {restored.id} does not exist any more",
                hint="somebody deleted it, or its key could not be used; recover again if it is needed",
            )
        self._refuse_unless_of(volume, order.recovery_id)
        number = order.snapshot_ids.index(restored.snapshot_id)
        wanted = wanted_of(order, number)
        settings = (read_setting(name, volume, wanted, self.region) for name in SETTINGS)
        return (
            *(setting for setting in settings if setting is not None),
            *self._tagged(volume, wanted),
            *_attachments(volume, devices_of(order, number)),
        )

    def remove(self, restored: Restored, recovery_id: str) -> RestoreState:
        """GONE when there is no such volume, CREATING once EC2 was asked to delete it.

        Errors: Unsafe when it does not carry this recovery's tag, or when somebody attached it.
        """
        volume = self._volume(restored.id)
        if volume is None:
            return RestoreState.GONE
        self._refuse_unless_of(volume, recovery_id)
        if volume.get("State") == "in-use":
            raise Unsafe(
                f"volume {restored.id} in {self.region} is attached to an instance",
                hint="somebody uses it; detach it first if it should go",
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

    # begin

    def _created(
        self, order: RecoveryOrder, number: int, snapshot: Mapping[str, Any], zones: Sequence[str]
    ) -> Mapping[str, Any]:
        """A new volume in the first of these zones that has room.

        The client token names the zone as well: EC2 refuses a token that comes back with other parameters.
        """
        wanted, snapshot_id = wanted_of(order, number), snapshot["SnapshotId"]
        for zone in zones:
            token = hashlib.sha256(f"{order.recovery_id}|{snapshot_id}|{zone}".encode()).hexdigest()
            with translated("ec2:CreateVolume", resource=snapshot_id):
                try:
                    return self._ec2.create_volume(
                        AvailabilityZone=zone,
                        SnapshotId=snapshot_id,
                        ClientToken=token,
                        TagSpecifications=[
                            {"ResourceType": "volume", "Tags": _written(_first_tags(order.recovery_id, wanted))}
                        ],
                        **parameters_of(wanted, snapshot, self.region),
                    )
                except ClientError as refused:
                    if code_of(refused) in _WRONG_CHOICES:
                        raise _wrong_choice(refused, snapshot_id) from refused
                    if code_of(refused) != "InsufficientVolumeCapacity":
                        raise
        raise AwsBusy(
            f"no room for a volume of {snapshot_id} in {', '.join(zones)}",
            hint="it is asked for again; if this lasts, give another value for availability_zone or volume_type",
        )

    def _zones(self, wanted: Wanted) -> list[str]:
        filters: list[FilterTypeDef] = [
            {"Name": "state", "Values": ["available"]},
            {"Name": "zone-type", "Values": ["availability-zone"]},
        ]
        with translated("ec2:DescribeAvailabilityZones"):
            answer = self._ec2.describe_availability_zones(Filters=filters)
        zones = sorted(zone.get("ZoneName", "") for zone in answer["AvailabilityZones"])
        return [zone for zone in zones if zone == wanted.get("availability_zone")] or zones

    def _snapshots(self, ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        with translated("ec2:DescribeSnapshots"):
            pages = self._ec2.get_paginator("describe_snapshots").paginate(
                OwnerIds=["self"], Filters=[{"Name": "snapshot-id", "Values": list(ids)}]
            )
            for page in pages:
                found |= {one.get("SnapshotId", ""): one for one in page["Snapshots"]}
        missing = [id for id in ids if id not in found]
        if missing:
            raise SnapshotGone(
                f"there is no snapshot {', '.join(missing)} in {self.region}",
                hint="recover from another point; holdfast points lists them",
            )
        return found

    def _found(self, order: RecoveryOrder, snapshot_id: str) -> Mapping[str, Any] | None:
        filters: list[FilterTypeDef] = [
            {"Name": f"tag:{RECOVERY_TAG}", "Values": [order.recovery_id]},
            {"Name": "snapshot-id", "Values": [snapshot_id]},
            {"Name": "status", "Values": ["creating", "available", "in-use"]},
        ]
        return next(self._described(filters), None)

    # configure

    def _tagged(self, volume: Mapping[str, Any], wanted: Wanted) -> Iterator[Setting]:
        tags: Mapping[str, str] = wanted.get("tags") or {}
        if not tags:
            return
        carried = _tags_of(volume)
        missing = {key: value for key, value in tags.items() if carried.get(key) != value}
        try:
            if missing:
                with translated("ec2:CreateTags", resource=volume["VolumeId"]):
                    self._ec2.create_tags(Resources=[volume["VolumeId"]], Tags=_written(missing))
        except Refused as refused:
            yield Setting(what="tags", is_applied=False, detail=f"{refused.what}; {refused.hint}")
        else:
            yield Setting(what="tags", is_applied=None if missing else True, detail="asked for" if missing else "")

    # looking

    def _volume(self, id: str) -> Mapping[str, Any] | None:
        return next(self._described([{"Name": "volume-id", "Values": [id]}]), None)

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
            state=_STATES.get(state, RestoreState.CREATING),
            word=state,
            message="" if state in ("creating", "available") else f"EC2 says {state}",
        )

    def _refuse_unless_of(self, volume: Mapping[str, Any], recovery_id: str) -> None:
        if _tags_of(volume).get(RECOVERY_TAG) != recovery_id:
            raise Unsafe(
                f"volume {volume['VolumeId']} in {self.region} was not made by the recovery {recovery_id}: it does "
                f"not carry its tag {RECOVERY_TAG}",
                hint="nothing that is in use is touched; look who made it",
            )


def _attachments(volume: Mapping[str, Any], devices: Sequence[tuple[str, str]]) -> Iterator[Setting]:
    """How the original was attached; people attach, because only they know when its instance may see this one."""
    for instance_id, device in devices:
        attached = next((one for one in volume.get("Attachments", ()) if one.get("State") == "attached"), None)
        if attached is not None:
            yield Setting(what=f"attachment {device}", is_applied=True, detail=f"to {attached.get('InstanceId')}")
            continue
        command = f"aws ec2 attach-volume --volume-id {volume['VolumeId']} --device {device} --instance-id INSTANCE"
        was = f"the original was {device} of {instance_id}" if instance_id else f"the original was {device}"
        yield Setting(what=f"attachment {device}", is_applied=False, detail=f"{was}; to attach this one: {command}")


def _wrong_choice(refused: ClientError, snapshot_id: str) -> BadMessage:
    error = refused.response.get("Error", {})
    return BadMessage(
        f"ec2:CreateVolume of {snapshot_id}: {error.get('Code')}: {error.get('Message')}",
        hint="recover again with another value for the setting that EC2 names: availability_zone, volume_type, iops, "
        "throughput_mibps, size_gib or kms_key_id",
    )


def _first_tags(recovery_id: str, wanted: Wanted) -> dict[str, str]:
    """Ours, and the original's as far as they fit."""
    originals: Mapping[str, str] = wanted.get("tags") or {}
    return {RECOVERY_TAG: recovery_id, **dict(list(originals.items())[: MOST_TAGS - 1])}


def _tags_of(described: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in described.get("Tags", [])}


def _written(labels: Mapping[str, str]) -> list[TagTypeDef]:
    return [{"Key": key, "Value": value} for key, value in labels.items()]


if TYPE_CHECKING:
    _port: type[Recoveries] = VolumeRecoveries
