"""Instances are launched, managed by SSM, given volumes and terminated, each after its time and as EC2 does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from embedded.aws import EmbeddedAws
from embedded.volumes.in_process import refusal
from tests.embedded.instances import HOME, LONG_ENOUGH_SECONDS, Place, https_from, make_place

X86 = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
ARM = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"


@pytest.fixture
def place(aws: EmbeddedAws, unique: Callable[[str], str]) -> Iterator[Place]:
    yield make_place(aws, unique("place"))
    aws.clear_faults()


# ---------------------------------------------------------------------------- launching


def test_an_instance_is_pending_then_running_then_online(place: Place) -> None:
    place.aws.set_durations(instance_launch=100, ssm_registration=100)
    try:
        instance_id = place.launch()
        assert (place.state(instance_id), place.ping(instance_id)) == ("pending", None)
        place.aws.advance(110)
        assert (place.state(instance_id), place.ping(instance_id)) == ("running", None)
        place.aws.advance(100)
        assert (place.state(instance_id), place.ping(instance_id)) == ("running", "Online")
    finally:
        place.aws.reset_durations()


def test_an_instance_is_what_it_was_asked_to_be(place: Place) -> None:
    said = [
        {"ResourceType": kind, "Tags": [{"Key": "holdfast:rehearsal", "Value": kind}]}
        for kind in ("instance", "volume")
    ]
    instance = place.instance(place.launch(TagSpecifications=said))
    root = instance["BlockDeviceMappings"][0]
    volume = place.ec2.describe_volumes(VolumeIds=[root["Ebs"]["VolumeId"]])["Volumes"][0]
    assert instance["ImageId"] == place.ssm.get_parameter(Name=ARM)["Parameter"]["Value"]
    assert instance["IamInstanceProfile"]["Arn"].endswith(f":instance-profile/{place.profile}")
    assert (instance["SubnetId"], instance["InstanceType"]) == (place.subnet_id, "t4g.micro")
    assert [group["GroupId"] for group in instance["SecurityGroups"]] == [place.group_id]
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert (root["DeviceName"], root["Ebs"]["DeleteOnTermination"]) == ("/dev/xvda", True)
    assert (volume["Size"], volume["VolumeType"]) == (8, "gp3")
    assert instance["Tags"] == [{"Key": "holdfast:rehearsal", "Value": "instance"}]
    assert volume["Tags"] == [{"Key": "holdfast:rehearsal", "Value": "volume"}]


def test_managed_instances_are_found_by_tag_and_by_ping_status(place: Place) -> None:
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "place", "Value": place.profile}]}]
    ours, _ = place.online(TagSpecifications=tags), place.online()

    def found(**wanted: str) -> list[str]:
        filters = [{"Key": key.replace("_", ":"), "Values": [value]} for key, value in wanted.items()]
        listed = place.ssm.describe_instance_information(Filters=filters)["InstanceInformationList"]
        return [one["InstanceId"] for one in listed]

    assert found(tag_place=place.profile, PingStatus="Online") == [ours]
    assert found(tag_place=place.profile, PingStatus="ConnectionLost") == []


def test_a_repeated_token_launches_nothing_more(place: Place) -> None:
    assert place.launch(ClientToken="rehearsal-1") == place.launch(ClientToken="rehearsal-1")


def test_a_token_with_another_request_is_refused(place: Place) -> None:
    place.launch(ClientToken="rehearsal-2")
    refused = refusal(place.launch, ClientToken="rehearsal-2", InstanceType="t4g.small")
    assert refused.code == "IdempotentParameterMismatch"


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"InstanceType": "m5.large"}, "InvalidParameterValue"),
        ({"InstanceType": "t4g.enormous"}, "InvalidParameterValue"),
        ({"ImageId": "resolve:ssm:/aws/service/nothing"}, "InvalidParameterValue"),
        ({"IamInstanceProfile": {"Name": "nobody"}}, "InvalidParameterValue"),
        ({"SubnetId": "subnet-0123456789abcdef0"}, "InvalidSubnetID.NotFound"),
        ({"SecurityGroupIds": ["sg-0123456789abcdef0"]}, "InvalidGroup.NotFound"),
    ],
)
def test_what_ec2_would_not_launch_is_refused(place: Place, wanted: dict[str, Any], code: str) -> None:
    assert refusal(place.launch, **wanted).code == code


def test_a_security_group_of_another_network_is_refused(place: Place, unique: Callable[[str], str]) -> None:
    elsewhere = make_place(place.aws, unique("elsewhere"))
    assert refusal(place.launch, SecurityGroupIds=[elsewhere.group_id]).code == "InvalidParameter"


def test_public_images_are_found_by_their_parameters(place: Place) -> None:
    for parameter, architecture in ((ARM, "arm64"), (X86, "x86_64")):
        image_id = place.ssm.get_parameter(Name=parameter)["Parameter"]["Value"]
        image = place.ec2.describe_images(ImageIds=[image_id])["Images"][0]
        assert (image["Architecture"], image["ImageOwnerAlias"]) == (architecture, "amazon")
        assert image["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] == 8


def test_a_lack_of_capacity_is_answered_as_a_failure_of_ec2(place: Place) -> None:
    place.aws.arm(
        {"operation": "ec2:RunInstances", "effect": "refuse", "error_code": "InsufficientInstanceCapacity", "count": 1}
    )
    refused = refusal(place.launch)
    assert (refused.code, refused.status) == ("InsufficientInstanceCapacity", 500)


def test_a_launch_that_fails_ends_terminated_with_its_reason(place: Place) -> None:
    place.aws.arm({"operation": "life:instance", "effect": "fail", "count": 1})
    instance_id = place.launch()
    place.aws.advance(LONG_ENOUGH_SECONDS)
    instance = place.instance(instance_id)
    assert (instance["State"]["Name"], instance["StateReason"]["Code"]) == ("terminated", "Server.InternalError")


def test_the_root_volume_may_be_encrypted_under_a_key_of_ones_own(place: Place) -> None:
    key = place.aws.client("kms").create_key()["KeyMetadata"]
    place.aws.client("kms").create_alias(AliasName=f"alias/{place.profile}", TargetKeyId=key["KeyId"])
    disk = {"Encrypted": True, "KmsKeyId": f"alias/{place.profile}", "DeleteOnTermination": True}
    instance_id = place.online(BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": disk}])
    root = place.instance(instance_id)["BlockDeviceMappings"][0]["Ebs"]
    volume = place.ec2.describe_volumes(VolumeIds=[root["VolumeId"]])["Volumes"][0]
    assert (volume["Size"], volume["VolumeType"]) == (8, "gp3")
    assert (volume["Encrypted"], volume["KmsKeyId"]) == (True, key["Arn"])


def test_a_launch_under_a_disabled_key_ends_terminated(place: Place) -> None:
    key_id = place.aws.client("kms").create_key()["KeyMetadata"]["KeyId"]
    place.aws.client("kms").disable_key(KeyId=key_id)
    disk = {"Encrypted": True, "KmsKeyId": key_id}
    instance_id = place.launch(BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": disk}])
    place.aws.advance(LONG_ENOUGH_SECONDS)
    instance = place.instance(instance_id)
    assert (instance["State"]["Name"], instance["StateReason"]["Code"]) == ("terminated", "Client.InternalError")


def test_a_network_interface_bears_the_tags_it_was_launched_with(place: Place) -> None:
    tags = [{"ResourceType": "network-interface", "Tags": [{"Key": "place", "Value": place.profile}]}]
    interface = place.instance(place.launch(TagSpecifications=tags))["NetworkInterfaces"][0]["NetworkInterfaceId"]
    shown = place.ec2.describe_network_interfaces(NetworkInterfaceIds=[interface])["NetworkInterfaces"][0]
    assert shown["TagSet"] == [{"Key": "place", "Value": place.profile}]


def test_instances_and_their_volumes_are_found_by_what_they_are(place: Place) -> None:
    said = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": f"holdfast-{place.profile}"}]}]
    ours, volume_id = place.online(TagSpecifications=said), place.volume()
    place.launch()
    place.attach(volume_id, ours)

    def found(**wanted: list[str]) -> list[str]:
        filters = [{"Name": name.replace("_", "-"), "Values": values} for name, values in wanted.items()]
        filters += [{"Name": "subnet-id", "Values": [place.subnet_id]}]
        reservations = place.ec2.describe_instances(Filters=filters)["Reservations"]
        return [instance["InstanceId"] for one in reservations for instance in one["Instances"]]

    assert found(tag_key=["Name"], instance_state_name=["pending", "running"]) == [ours]
    assert found(instance_id=["i-0123456789abcdef0"]) == []
    named = [{"Name": "tag:Name", "Values": ["holdfast-place*"]}, {"Name": "instance-id", "Values": [ours]}]
    assert len(place.ec2.describe_instances(Filters=named)["Reservations"]) == 1
    attached = [{"Name": "attachment.instance-id", "Values": [ours]}]
    volumes = place.ec2.describe_volumes(Filters=attached)["Volumes"]
    assert volume_id in [volume["VolumeId"] for volume in volumes]
    place.ec2.terminate_instances(InstanceIds=[ours])
    assert found(tag_key=["Name"], instance_state_name=["pending", "running"]) == []
    assert found(tag_key=["Name"], instance_state_name=["shutting-down"]) == [ours]
    place.aws.advance(LONG_ENOUGH_SECONDS)
    assert place.ec2.describe_volumes(Filters=attached)["Volumes"] == []


def test_an_instance_powers_itself_off_when_its_user_data_says_so(place: Place) -> None:
    instance_id = place.online(UserData="#!/bin/bash\nshutdown --poweroff +55\n")
    place.aws.advance(50 * 60)
    assert place.state(instance_id) == "running"
    place.aws.advance(10 * 60)
    place.aws.advance(LONG_ENOUGH_SECONDS)
    instance = place.instance(instance_id)
    assert instance["State"]["Name"] == "terminated"
    assert instance["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"


def test_a_launch_that_sticks_stays_pending_until_it_is_terminated(place: Place) -> None:
    place.aws.arm({"operation": "life:instance", "effect": "stick", "count": 1})
    instance_id = place.launch()
    place.aws.advance(3600)
    assert place.state(instance_id) == "pending"
    place.ec2.terminate_instances(InstanceIds=[instance_id])
    place.aws.advance(LONG_ENOUGH_SECONDS)
    assert place.state(instance_id) == "terminated"


# ---------------------------------------------------------------------------- the way to SSM


def test_an_instance_without_a_profile_never_comes_online(place: Place) -> None:
    instance_id = place.launch(IamInstanceProfile={})
    place.aws.advance(3600)
    assert (place.state(instance_id), place.ping(instance_id)) == ("running", None)


def test_an_instance_whose_role_may_not_register_never_comes_online(place: Place) -> None:
    policy = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
    place.aws.client("iam").detach_role_policy(RoleName=place.profile, PolicyArn=policy)
    instance_id = place.launch()
    place.aws.advance(3600)
    assert place.ping(instance_id) is None


def test_an_instance_whose_network_lacks_an_endpoint_never_comes_online(place: Place) -> None:
    vpc_id = place.ec2.describe_subnets(SubnetIds=[place.subnet_id])["Subnets"][0]["VpcId"]
    doors = place.ec2.describe_vpc_endpoints(Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])["VpcEndpoints"]
    unneeded = [door["VpcEndpointId"] for door in doors if door["ServiceName"] == f"com.amazonaws.{HOME}.ssmmessages"]
    place.ec2.delete_vpc_endpoints(VpcEndpointIds=unneeded)
    instance_id = place.launch()
    place.aws.advance(3600)
    assert place.ping(instance_id) is None
    assert f"no interface endpoint for com.amazonaws.{HOME}.ssmmessages" in place.aws.log_path.read_text()


def test_an_instance_that_no_endpoint_lets_in_comes_online_once_one_does(place: Place) -> None:
    permission = https_from(place.group_id)
    place.ec2.revoke_security_group_ingress(GroupId=place.door_group_id, IpPermissions=[permission])
    instance_id = place.launch()
    place.aws.advance(3600)
    assert place.ping(instance_id) is None
    place.ec2.authorize_security_group_ingress(GroupId=place.door_group_id, IpPermissions=[permission])
    assert place.ping(instance_id) == "Online"


def test_an_agent_can_be_made_to_stay_silent(place: Place) -> None:
    place.aws.arm({"operation": "life:ssm-agent", "effect": "stick", "count": 1})
    instance_id = place.launch()
    place.aws.advance(3600)
    assert (place.state(instance_id), place.ping(instance_id)) == ("running", None)


def test_an_agent_can_be_made_to_lose_its_connection(place: Place) -> None:
    place.aws.arm({"operation": "life:ssm-agent", "effect": "fail", "count": 1})
    instance_id = place.launch()
    place.aws.advance(LONG_ENOUGH_SECONDS)
    assert place.ping(instance_id) == "ConnectionLost"


# ---------------------------------------------------------------------------- volumes


def test_a_volume_is_attaching_then_attached_then_detaching_then_available(place: Place) -> None:
    instance_id, volume_id = place.online(), place.volume()
    place.aws.set_durations(attachment=100, detachment=100)
    try:
        answer = place.ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdf")
        assert (answer["State"], place.volume_state(volume_id)) == ("attaching", ("in-use", ["attaching"]))
        place.aws.advance(110)
        assert place.volume_state(volume_id) == ("in-use", ["attached"])
        answer = place.ec2.detach_volume(VolumeId=volume_id)
        assert (answer["State"], place.volume_state(volume_id)) == ("detaching", ("in-use", ["detaching"]))
        place.aws.advance(110)
        assert place.volume_state(volume_id) == ("available", [])
    finally:
        place.aws.reset_durations()


def test_an_attached_volume_is_not_deleted(place: Place) -> None:
    instance_id, volume_id = place.online(), place.volume()
    place.attach(volume_id, instance_id)
    assert refusal(place.ec2.delete_volume, VolumeId=volume_id).code == "VolumeInUse"


def test_an_attached_volume_is_not_attached_again(place: Place) -> None:
    instance_id, volume_id = place.online(), place.volume()
    place.attach(volume_id, instance_id)
    again = {"VolumeId": volume_id, "InstanceId": instance_id, "Device": "/dev/sdg"}
    assert refusal(place.ec2.attach_volume, **again).code == "VolumeInUse"


def test_a_device_name_is_taken_once(place: Place) -> None:
    instance_id = place.online()
    place.attach(place.volume(), instance_id)
    second = {"VolumeId": place.volume(), "InstanceId": instance_id, "Device": "/dev/sdf"}
    assert refusal(place.ec2.attach_volume, **second).code == "InvalidParameterValue"


def test_a_pending_instance_takes_no_volume(place: Place) -> None:
    volume_id = place.volume()
    place.aws.arm({"operation": "life:instance", "effect": "stick", "count": 1})
    wanted = {"VolumeId": volume_id, "InstanceId": place.launch(), "Device": "/dev/sdf"}
    assert refusal(place.ec2.attach_volume, **wanted).code == "IncorrectState"


def test_a_volume_of_another_zone_is_refused(place: Place) -> None:
    instance_id = place.online()
    zone = place.instance(instance_id)["Placement"]["AvailabilityZone"]
    elsewhere = next(other for other in (f"{HOME}a", f"{HOME}b") if other != zone)
    volume_id = place.ec2.create_volume(AvailabilityZone=elsewhere, Size=1)["VolumeId"]
    place.aws.advance(LONG_ENOUGH_SECONDS)
    wanted = {"VolumeId": volume_id, "InstanceId": instance_id, "Device": "/dev/sdf"}
    assert refusal(place.ec2.attach_volume, **wanted).code == "InvalidVolume.ZoneMismatch"


def test_an_attachment_that_fails_leaves_the_volume_available(place: Place) -> None:
    instance_id, volume_id = place.online(), place.volume()
    place.aws.arm({"operation": "life:attachment", "effect": "fail", "count": 1})
    place.attach(volume_id, instance_id)
    assert place.volume_state(volume_id) == ("available", [])


def test_an_attachment_that_sticks_ends_with_its_instance(place: Place) -> None:
    instance_id, volume_id = place.online(), place.volume()
    place.aws.arm({"operation": "life:attachment", "effect": "stick", "count": 1})
    place.attach(volume_id, instance_id)
    assert place.volume_state(volume_id) == ("in-use", ["attaching"])
    place.ec2.terminate_instances(InstanceIds=[instance_id])
    place.aws.advance(LONG_ENOUGH_SECONDS)
    assert place.volume_state(volume_id) == ("available", [])


# ---------------------------------------------------------------------------- ending


def test_a_terminated_instance_lets_go_of_what_was_attached_and_takes_its_root_along(place: Place) -> None:
    instance_id, volume_id = place.online(), place.volume()
    root_id = place.instance(instance_id)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    place.attach(volume_id, instance_id)
    ending = place.ec2.terminate_instances(InstanceIds=[instance_id])["TerminatingInstances"][0]
    assert (ending["PreviousState"]["Name"], ending["CurrentState"]["Name"]) == ("running", "shutting-down")
    assert place.ping(instance_id) is None
    place.aws.advance(LONG_ENOUGH_SECONDS)
    assert place.state(instance_id) == "terminated"
    assert place.volume_state(volume_id) == ("available", [])
    assert refusal(place.ec2.describe_volumes, VolumeIds=[root_id]).code == "InvalidVolume.NotFound"
    place.ec2.delete_volume(VolumeId=volume_id)
    assert refusal(place.ec2.describe_volumes, VolumeIds=[volume_id]).code == "InvalidVolume.NotFound"


def test_a_terminated_instance_may_be_terminated_again_until_it_is_forgotten(place: Place) -> None:
    instance_id = place.online()
    place.ec2.terminate_instances(InstanceIds=[instance_id])
    place.aws.advance(LONG_ENOUGH_SECONDS)
    again = place.ec2.terminate_instances(InstanceIds=[instance_id])["TerminatingInstances"][0]
    assert (again["PreviousState"]["Name"], again["CurrentState"]["Name"]) == ("terminated", "terminated")
    place.aws.advance(2 * 3600)
    assert refusal(place.ec2.terminate_instances, InstanceIds=[instance_id]).code == "InvalidInstanceID.NotFound"


def test_the_subnet_of_a_terminated_instance_can_be_deleted(place: Place) -> None:
    instance_id = place.online()
    place.ec2.terminate_instances(InstanceIds=[instance_id])
    place.aws.advance(LONG_ENOUGH_SECONDS)
    left = place.ec2.describe_network_interfaces(Filters=[{"Name": "group-id", "Values": [place.group_id]}])
    assert left["NetworkInterfaces"] == []
