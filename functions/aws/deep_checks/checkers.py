"""The machine of a deep check: launched in a network without exits, given the restored volumes, and terminated."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from functions.aws.clients import Clients
from functions.aws.faults import code_of, translated
from functions.aws.permissions import DEEP_CHECK_NETWORK, KEY_ALIAS, NETWORK_TAG, Permission, grant_through
from functions.core.coverage import REHEARSAL_TAG
from functions.core.errors import AwsBusy, Refused, Unsafe
from functions.core.resources import Kind
from functions.core.restores import EXPIRES_TAG, NAME_PREFIX, Leftover, RestoreOrder, expiry, name_of, tags

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, TagSpecificationTypeDef, TagTypeDef

IMAGE = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
"""The newest Amazon Linux 2023, by Amazon's own public parameter; its root device is /dev/xvda."""

TYPES = ("t4g.small", "t4g.medium", "m7g.medium")
"""In the order in which they are asked for: the volumes have a zone, so only another type helps where one is short."""

DEVICES = tuple(f"/dev/sd{letter}" for letter in "fghijklmnopqrstuvwxyz")
"""So many volumes a machine of these types takes besides its own."""

ALIVE = ("pending", "running", "stopping", "stopped")
POWERS_OFF_LATER = timedelta(minutes=10)
"""After a deep check's time is up its machine powers itself off, and is terminated by that, whoever else lives on."""

_OF_A_REHEARSAL = {"Null": {f"aws:ResourceTag/{REHEARSAL_TAG}": "false"}}
_FOR_A_REHEARSAL = {"Null": {f"aws:RequestTag/{REHEARSAL_TAG}": "false", f"aws:RequestTag/{EXPIRES_TAG}": "false"}}
_INSTANCES = ("arn:{partition}:ec2:{region}:{account}:instance/*",)
_VOLUMES = ("arn:{partition}:ec2:{region}:{account}:volume/*",)
_INTERFACES = ("arn:{partition}:ec2:{region}:{account}:network-interface/*",)
_KEYS = ("arn:{partition}:kms:{region}:{account}:key/*",)
_OUR_KEY = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": KEY_ALIAS}}
_THROUGH_EC2 = {"StringLike": {"kms:ViaService": "ec2.{region}.amazonaws.com"}}

_SEE_MACHINES, _SEE_VOLUMES, _LOOK = (
    Permission(actions=actions, resources=("*",), why="Describe calls of EC2 have no resource type")
    for actions in (
        ("ec2:DescribeInstances",),
        ("ec2:DescribeVolumes",),
        ("ec2:DescribeInstances", "ec2:DescribeVolumes"),
    )
)
_TERMINATE = Permission(
    actions=("ec2:TerminateInstances",),
    resources=_INSTANCES,
    conditions=_OF_A_REHEARSAL,
    why="ends the machines of deep checks; nothing that people run carries a rehearsal's tag",
)
PERMISSIONS: Mapping[str, tuple[Permission, ...]] = {
    "launch": (
        _SEE_MACHINES,
        Permission(
            actions=("ssm:GetParameters",),
            resources=("arn:{partition}:ssm:{region}::parameter" + IMAGE,),
            why="not called: EC2 reads as the caller which image is the newest",
        ),
        Permission(
            actions=("ec2:RunInstances",),
            resources=("arn:{partition}:ec2:{region}::image/*",),
            conditions={"StringEquals": {"ec2:Owner": "amazon"}},
            why="the machine is made from an image of Amazon's",
        ),
        Permission(
            actions=("ec2:RunInstances",),
            resources=_INSTANCES,
            conditions={
                **_FOR_A_REHEARSAL,
                "StringEquals": {"ec2:InstanceType": TYPES, "ec2:MetadataHttpTokens": "required"},
            },
            why="the machine is small, says whose it is and when it may go, and tells its role to no forged request",
        ),
        Permission(
            actions=("ec2:RunInstances",),
            resources=(*_VOLUMES, *_INTERFACES),
            conditions=_FOR_A_REHEARSAL,
            why="the machine's disk and its network interface say whose they are",
        ),
        Permission(
            actions=("ec2:RunInstances",),
            resources=(
                "arn:{partition}:ec2:{region}:{account}:subnet/*",
                "arn:{partition}:ec2:{region}:{account}:security-group/*",
            ),
            conditions={"StringEquals": {f"aws:ResourceTag/{NETWORK_TAG}": DEEP_CHECK_NETWORK}},
            why="the machine comes into the network without exits and into no other",
        ),
        Permission(
            actions=("ec2:CreateTags",),
            resources=(*_INSTANCES, *_VOLUMES, *_INTERFACES),
            conditions={"StringEquals": {"ec2:CreateAction": "RunInstances"}},
            why="not called: tags ride in the launching call; nothing that exists can be tagged",
        ),
        Permission(
            actions=("iam:PassRole",),
            resources=("arn:{partition}:iam::{account}:role/holdfast-deep-check-{region}",),
            conditions={"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
            why="not called: the machine gets the one role that lets its agent reach Systems Manager, and no other",
        ),
        Permission(
            actions=("kms:CreateGrant",),
            resources=_KEYS,
            conditions={**_THROUGH_EC2, **_OUR_KEY, "Bool": {"kms:GrantIsForAWSResource": "true"}},
            why="not called: EC2 makes a grant on our key as the caller, for the machine's disk",
        ),
        Permission(
            actions=("kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptTo"),
            resources=_KEYS,
            conditions={**_THROUGH_EC2, **_OUR_KEY},
            why="not called: EC2 makes the machine's disk as the caller, under our key and no other",
        ),
    ),
    "attach": (
        _SEE_VOLUMES,
        Permission(
            actions=("ec2:AttachVolume",),
            resources=(*_INSTANCES, *_VOLUMES),
            conditions=_OF_A_REHEARSAL,
            why="only what a rehearsal restored is attached, and only to the machine of a rehearsal",
        ),
        grant_through(
            "ec2",
            why="not called: EC2 makes a grant on the volume's key as the caller, for the machine it is attached to",
        ),
        Permission(
            actions=("kms:Decrypt", "kms:DescribeKey"),
            resources=_KEYS,
            conditions=_THROUGH_EC2,
            why="not called: EC2 opens the key of an encrypted volume as the caller",
        ),
    ),
    "look": (_LOOK,),
    "leftovers": (_LOOK,),
    "remove": (_LOOK, _TERMINATE),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepCheckNetwork:
    """Where machines are launched: a subnet in one zone, a security group, and the instance profile they get."""

    zone: str
    subnet_id: str
    security_group_id: str
    profile: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checker:
    """A machine as EC2 describes it now. `ended` says how it ended, empty while it has not."""

    id: str
    is_running: bool
    ended: str = ""


class Checkers:
    """The machines of deep checks in one Region. Every call may be repeated; twice is once."""

    def __init__(self, region: str, clients: Clients, network: DeepCheckNetwork, *, key: str = KEY_ALIAS) -> None:
        self.region = region
        self.network = network
        self._key = key
        self._ec2: EC2Client = clients.retrying("ec2", region)

    def others(self, rehearsal_id: str) -> tuple[str, ...]:
        """The machines of other rehearsals that are there now."""
        alive = self._alive([{"Name": "tag-key", "Values": [REHEARSAL_TAG]}])
        return tuple(
            instance["InstanceId"] for instance in alive if _tags_of(instance).get(REHEARSAL_TAG) != rehearsal_id
        )

    def launch(self, order: RestoreOrder, *, within: timedelta) -> str:
        """The id of the rehearsal's machine, launched now or before, which powers itself off a while after `within`.

        The client token names the type as well: EC2 refuses a token that comes back with other parameters.

        Errors: AwsBusy when EC2 has no machine of any of the types, QuotaReached, NotAllowed, KeyUnusable.
        """
        for launched in self._alive([{"Name": f"tag:{REHEARSAL_TAG}", "Values": [order.rehearsal_id]}]):
            return launched["InstanceId"]
        for instance_type in TYPES:
            with translated("ec2:RunInstances", resource=f"a {instance_type} in {self.network.zone}"):
                try:
                    return self._launched(order, instance_type, within)
                except ClientError as refused:
                    if code_of(refused) not in ("InsufficientInstanceCapacity", "Unsupported"):
                        raise
        raise AwsBusy(
            f"EC2 has none of {', '.join(TYPES)} to give in {self.network.zone}",
            hint="nothing to do now; it is asked again",
        )

    def look(self, id: str) -> Checker:
        """The machine as EC2 describes it now; one that is shutting down has ended."""
        for instance in self._described([{"Name": "instance-id", "Values": [id]}]):
            state = instance.get("State", {}).get("Name", "")
            reason = instance.get("StateReason", {}).get("Message", "")
            is_there = state in ALIVE
            return Checker(id=id, is_running=state == "running", ended="" if is_there else f"{state}: {reason}")
        # EC2 may not show at once what it has just launched: the caller's time decides how long that is believed.
        return Checker(id=id, is_running=False)

    def attach(self, id: str, volume_ids: Sequence[str]) -> bool:
        """Whether all of the volumes are attached to the machine; those that are not have been asked to be.

        Errors: Refused for more volumes than a machine takes, Unsafe when somebody attached one elsewhere, AwsBusy.
        """
        if len(volume_ids) > len(DEVICES):
            raise Refused(
                f"{len(volume_ids)} volumes are more than the {len(DEVICES)} that one machine takes",
                hint="Leave `deep_check` out of the policy of this resource.",
            )
        attached = 0
        devices = dict(zip(volume_ids, DEVICES, strict=False))
        for volume in self._volumes([{"Name": "volume-id", "Values": list(volume_ids)}]):
            for attachment in volume.get("Attachments", []):
                if attachment.get("InstanceId") != id:
                    raise Unsafe(
                        f"volume {volume['VolumeId']} is attached to {attachment.get('InstanceId')}",
                        hint="Detach it there; what a rehearsal restored is nobody else's to use.",
                    )
                attached += attachment.get("State") == "attached"
            if not volume.get("Attachments"):
                with translated("ec2:AttachVolume", resource=volume["VolumeId"]):
                    device = devices[volume["VolumeId"]]
                    self._ec2.attach_volume(VolumeId=volume["VolumeId"], InstanceId=id, Device=device)
        return attached == len(volume_ids)

    def remove(self, id: str) -> None:
        """The machine was asked to go.

        Errors: Unsafe when it does not carry our name and our rehearsal tag.
        """
        for instance in self._described([{"Name": "instance-id", "Values": [id]}]):
            carried = _tags_of(instance)
            if REHEARSAL_TAG not in carried or not carried.get("Name", "").startswith(NAME_PREFIX):
                raise Unsafe(
                    f"instance {id} carries no Name that begins with {NAME_PREFIX}, or no tag {REHEARSAL_TAG}",
                    hint="no rehearsal made it; look who did and terminate it by hand if it should go",
                )
            if instance.get("State", {}).get("Name") in ALIVE:
                with translated("ec2:TerminateInstances", resource=id):
                    try:
                        self._ec2.terminate_instances(InstanceIds=[id])
                    except ClientError as refused:
                        if code_of(refused) != "InvalidInstanceID.NotFound":
                            raise

    def remove_all_of(self, rehearsal_id: str) -> bool:
        """Whether nothing is left of the rehearsal's machines, and no volume is attached to one; what is there was
        asked to go."""
        there = list(self._described([{"Name": f"tag:{REHEARSAL_TAG}", "Values": [rehearsal_id]}]))
        for instance in there:
            self.remove(instance["InstanceId"])
        if any(instance.get("State", {}).get("Name") != "terminated" for instance in there):
            return False
        ids = [instance["InstanceId"] for instance in there]
        return not ids or next(self._volumes([{"Name": "attachment.instance-id", "Values": ids}]), None) is None

    def leftovers(self) -> Iterator[Leftover]:
        """Every machine here that carries a rehearsal's name and tag and has not ended."""
        named: list[FilterTypeDef] = [
            {"Name": "tag-key", "Values": [REHEARSAL_TAG]},
            {"Name": "tag:Name", "Values": [f"{NAME_PREFIX}*"]},
        ]
        for instance in self._alive(named):
            carried = _tags_of(instance)
            launched_at: datetime = instance["LaunchTime"]
            yield Leftover(
                id=instance["InstanceId"],
                kind=Kind.INSTANCE,
                rehearsal_id=carried.get(REHEARSAL_TAG, ""),
                created_at=launched_at,
                expires_at=expiry(carried),
                is_checker=True,
            )

    def _launched(self, order: RestoreOrder, instance_type: str, within: timedelta) -> str:
        labels = tags(order) | {"Name": name_of(order.rehearsal_id, "checker")}
        tagged: list[TagTypeDef] = [{"Key": key, "Value": value} for key, value in labels.items()]
        token = hashlib.sha256(f"{order.rehearsal_id}|checker|{instance_type}".encode()).hexdigest()
        specifications: list[TagSpecificationTypeDef] = [
            {"ResourceType": "instance", "Tags": tagged},
            {"ResourceType": "volume", "Tags": tagged},
            {"ResourceType": "network-interface", "Tags": tagged},
        ]
        minutes = int((within + POWERS_OFF_LATER).total_seconds() // 60)
        answer = self._ec2.run_instances(
            ImageId=f"resolve:ssm:{IMAGE}",
            InstanceType=instance_type,  # type: ignore[arg-type] - the stubs list the types of their day
            MinCount=1,
            MaxCount=1,
            ClientToken=token,
            SubnetId=self.network.subnet_id,
            SecurityGroupIds=[self.network.security_group_id],
            IamInstanceProfile={"Name": self.network.profile},
            InstanceInitiatedShutdownBehavior="terminate",
            MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "HttpEndpoint": "enabled"},
            BlockDeviceMappings=[
                {
                    "DeviceName": "/dev/xvda",
                    "Ebs": {
                        "Encrypted": True,
                        "KmsKeyId": self._key,
                        "VolumeType": "gp3",
                        "DeleteOnTermination": True,
                    },
                }
            ],
            TagSpecifications=specifications,
            UserData=f"#!/bin/bash\nshutdown --poweroff +{minutes}\n",
        )
        return answer["Instances"][0].get("InstanceId", "")

    def _alive(self, filters: Sequence[FilterTypeDef]) -> Iterator[Mapping[str, Any]]:
        return self._described([*filters, {"Name": "instance-state-name", "Values": list(ALIVE)}])

    def _described(self, filters: Sequence[FilterTypeDef]) -> Iterator[Mapping[str, Any]]:
        with translated("ec2:DescribeInstances"):
            for page in self._ec2.get_paginator("describe_instances").paginate(Filters=filters):
                for reservation in page["Reservations"]:
                    yield from reservation.get("Instances", [])

    def _volumes(self, filters: Sequence[FilterTypeDef]) -> Iterator[Mapping[str, Any]]:
        with translated("ec2:DescribeVolumes"):
            for page in self._ec2.get_paginator("describe_volumes").paginate(Filters=filters):
                yield from page["Volumes"]


def _tags_of(described: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in described.get("Tags", [])}
