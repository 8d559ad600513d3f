"""A network, a role and instances in it, for tests of what runs on instances."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from embedded.aws import EmbeddedAws
from embedded.volumes import image_path

HOME = "us-east-1"
IMAGE = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
MANAGED = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
TRUST = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}

# Everything an instance needs has happened by then, however the durations are spread over it.
LONG_ENOUGH_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where instances are launched: an isolated subnet and a profile that SSM accepts."""

    aws: EmbeddedAws
    subnet_id: str
    group_id: str
    door_group_id: str
    profile: str

    @property
    def ec2(self) -> Any:
        return self.aws.client("ec2")

    @property
    def ssm(self) -> Any:
        return self.aws.client("ssm")

    def launch(self, **wanted: Any) -> str:
        """An instance that is being launched, as a deep check asks for it unless `wanted` says otherwise."""
        asked: dict[str, Any] = {
            "ImageId": IMAGE,
            "InstanceType": "t4g.micro",
            "MinCount": 1,
            "MaxCount": 1,
            "SubnetId": self.subnet_id,
            "SecurityGroupIds": [self.group_id],
            "IamInstanceProfile": {"Name": self.profile},
            "InstanceInitiatedShutdownBehavior": "terminate",
            "MetadataOptions": {"HttpTokens": "required"},
        }
        return self.ec2.run_instances(**(asked | wanted))["Instances"][0]["InstanceId"]

    def online(self, **wanted: Any) -> str:
        """An instance that runs and that SSM manages."""
        instance_id = self.launch(**wanted)
        self.aws.advance(LONG_ENOUGH_SECONDS)
        assert self.ping(instance_id) == "Online"
        return instance_id

    def instance(self, instance_id: str) -> dict[str, Any]:
        """The instance as DescribeInstances shows it."""
        return self.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]

    def state(self, instance_id: str) -> str:
        return self.instance(instance_id)["State"]["Name"]

    def ping(self, instance_id: str) -> str | None:
        """What SSM says of the agent; None where it does not know the instance."""
        filters = [{"Key": "InstanceIds", "Values": [instance_id]}]
        found = self.ssm.describe_instance_information(Filters=filters)["InstanceInformationList"]
        return found[0]["PingStatus"] if found else None

    def volume(self) -> str:
        """An available volume of 1 GiB beside the instances, with an ext4 file system on it."""
        zone = self.ec2.describe_subnets(SubnetIds=[self.subnet_id])["Subnets"][0]["AvailabilityZone"]
        volume_id = self.ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]
        self.aws.advance(LONG_ENOUGH_SECONDS)
        image = image_path(self.aws.data_directory, volume_id)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", str(image)], check=True)  # noqa: S603, S607
        return volume_id

    def attach(self, volume_id: str, instance_id: str) -> None:
        """The volume is attached."""
        self.ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdf")
        self.aws.advance(LONG_ENOUGH_SECONDS)

    def volume_state(self, volume_id: str) -> tuple[str, list[str]]:
        """The state of the volume and of its attachments."""
        volume = self.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]
        return volume["State"], [attachment["State"] for attachment in volume["Attachments"]]

    def send(self, instance_id: str, *commands: str, timeout_seconds: int = 300, **wanted: Any) -> str:
        """The id of a command that has been delivered."""
        command_id = self.send_without_delivery(instance_id, *commands, timeout_seconds=timeout_seconds, **wanted)
        self.aws.advance(20.0)
        return command_id

    def send_without_delivery(self, instance_id: str, *commands: str, timeout_seconds: int = 300, **wanted: Any) -> str:
        """The id of a command that is on its way."""
        parameters = {"commands": list(commands), "executionTimeout": [str(timeout_seconds)]}
        sent = self.ssm.send_command(
            DocumentName="AWS-RunShellScript", InstanceIds=[instance_id], Parameters=parameters, **wanted
        )
        return sent["Command"]["CommandId"]

    def look(self, command_id: str, instance_id: str) -> dict[str, Any]:
        """The invocation as GetCommandInvocation shows it."""
        return self.ssm.get_command_invocation(CommandId=command_id, InstanceId=instance_id)

    def run(self, until: Callable[..., Any], instance_id: str, *commands: str, **wanted: Any) -> dict[str, Any]:
        """What became of the commands."""
        command_id = self.send(instance_id, *commands, **wanted)
        return self.ended(until, command_id, instance_id)

    def ended(self, until: Callable[..., Any], command_id: str, instance_id: str) -> dict[str, Any]:
        """The invocation once it has ended."""

        def ending() -> dict[str, Any] | None:
            shown = self.look(command_id, instance_id)
            return None if shown["Status"] in ("Pending", "InProgress", "Delayed", "Cancelling") else shown

        return until(ending, 60, f"command {command_id} to end")


def make_place(aws: EmbeddedAws, name: str) -> Place:
    """A VPC without a way out but the endpoints SSM's agent needs."""
    ec2, iam = aws.client("ec2"), aws.client("iam")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [TRUST]}))
    iam.attach_role_policy(RoleName=name, PolicyArn=MANAGED)
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    vpc_id = ec2.create_vpc(CidrBlock="10.0.0.0/24")["Vpc"]["VpcId"]
    subnet_id = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.0.0.0/26")["Subnet"]["SubnetId"]
    group_id, door_group_id = (
        ec2.create_security_group(VpcId=vpc_id, GroupName=f"{name}-{end}", Description="for a test")["GroupId"]
        for end in ("instance", "door")
    )
    ec2.authorize_security_group_ingress(GroupId=door_group_id, IpPermissions=[https_from(group_id)])
    for service in ("ssm", "ssmmessages"):
        ec2.create_vpc_endpoint(
            VpcEndpointType="Interface",
            VpcId=vpc_id,
            ServiceName=f"com.amazonaws.{HOME}.{service}",
            SubnetIds=[subnet_id],
            SecurityGroupIds=[door_group_id],
            PrivateDnsEnabled=True,
        )
    return Place(aws=aws, subnet_id=subnet_id, group_id=group_id, door_group_id=door_group_id, profile=name)


def https_from(group_id: str) -> dict[str, Any]:
    """The permission of a security group to be reached by another on port 443."""
    return {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "UserIdGroupPairs": [{"GroupId": group_id}]}
