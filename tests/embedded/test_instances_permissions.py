"""What a function needs to launch an instance and to send it a script, and a network for both from CloudFormation."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from embedded import ACCOUNT
from embedded.aws import EmbeddedAws
from tests.embedded.instances import HOME, IMAGE, LONG_ENOUGH_SECONDS, MANAGED, TRUST, Place, make_place

LAUNCH = """
    import boto3
    from botocore.exceptions import ClientError
    def handler(event, context):
        try:
            boto3.client(event["service"]).__getattribute__(event["operation"])(**event["parameters"])
            note("allowed")
        except ClientError as error:
            note(error.response["Error"]["Code"])
"""
EC2 = f"arn:aws:ec2:{HOME}:{ACCOUNT}:"
TAG = {"StringEquals": {"aws:RequestTag/holdfast:rehearsal": "yes"}}


@pytest.fixture(scope="module")
def place(aws: EmbeddedAws) -> Place:
    return make_place(aws, "permissions")


def statements(place: Place) -> dict[str, dict[str, Any]]:
    """The least that launching needs, by a name for each statement."""
    made = [f"{EC2}{kind}/*" for kind in ("instance", "volume")]
    used = [f"arn:aws:ec2:{HOME}::image/*", f"{EC2}network-interface/*"]
    used += [f"{EC2}subnet/{place.subnet_id}", f"{EC2}security-group/{place.group_id}"]
    role = f"arn:aws:iam::{ACCOUNT}:role/{place.profile}"
    return {
        "parameter": allow("ssm:GetParameters", f"arn:aws:ssm:{HOME}::parameter/aws/service/*"),
        "made": allow("ec2:RunInstances", made, TAG),
        "used": allow("ec2:RunInstances", used),
        "tags": allow("ec2:CreateTags", made, {"StringEquals": {"ec2:CreateAction": "RunInstances"}}),
        "role": allow("iam:PassRole", role, {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}),
    }


def allow(action: str, resource: str | list[str], condition: dict[str, Any] | None = None) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    return {**statement, "Condition": condition} if condition else statement


def launching(place: Place) -> dict[str, Any]:
    tags = [{"Key": "holdfast:rehearsal", "Value": "yes"}]
    parameters = {
        "ImageId": IMAGE,
        "InstanceType": "t4g.micro",
        "MinCount": 1,
        "MaxCount": 1,
        "SubnetId": place.subnet_id,
        "SecurityGroupIds": [place.group_id],
        "IamInstanceProfile": {"Name": place.profile},
        "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume")],
    }
    return {"service": "ec2", "operation": "run_instances", "parameters": parameters}


def outcome(place: Place, function: Callable[..., Any], allowed: list[Any], event: dict[str, Any]) -> str:
    """What the function with these permissions is answered."""
    caller = function(LAUNCH, statements=allowed)
    place.aws.client("lambda").invoke(FunctionName=caller.name, Payload=json.dumps(event))
    return caller.wait_for(1)[0]


def test_the_least_permissions_launch_an_instance(place: Place, function: Callable[..., Any]) -> None:
    assert outcome(place, function, list(statements(place).values()), launching(place)) == "allowed"


@pytest.mark.parametrize("missing", ["parameter", "made", "used", "tags", "role"])
def test_no_permission_to_launch_can_be_spared(place: Place, function: Callable[..., Any], missing: str) -> None:
    allowed = [statement for name, statement in statements(place).items() if name != missing]
    assert outcome(place, function, allowed, launching(place)) == "UnauthorizedOperation"


def test_a_command_is_asked_about_for_its_document_and_for_its_instance(
    place: Place, function: Callable[..., Any]
) -> None:
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "holdfast:rehearsal", "Value": "yes"}]}]
    instance_id = place.online(TagSpecifications=tags)
    parameters = {
        "DocumentName": "AWS-RunShellScript",
        "InstanceIds": [instance_id],
        "Parameters": {"commands": ["true"]},
    }
    event = {"service": "ssm", "operation": "send_command", "parameters": parameters}
    document = allow("ssm:SendCommand", f"arn:aws:ssm:{HOME}::document/AWS-RunShellScript")
    tagged = {"StringEquals": {"aws:ResourceTag/holdfast:rehearsal": "yes"}}
    instance = allow("ssm:SendCommand", f"{EC2}instance/*", tagged)
    assert outcome(place, function, [document, instance], event) == "allowed"
    assert outcome(place, function, [document], event).startswith("AccessDenied")
    assert outcome(place, function, [instance], event).startswith("AccessDenied")


def test_an_instance_is_terminated_only_with_the_tag_the_policy_asks_for(
    place: Place, function: Callable[..., Any]
) -> None:
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "holdfast:rehearsal", "Value": "yes"}]}]
    ours, foreign = place.launch(TagSpecifications=tags), place.launch()
    tagged = {"StringEquals": {"aws:ResourceTag/holdfast:rehearsal": "yes"}}
    allowed = [allow("ec2:TerminateInstances", f"{EC2}instance/*", tagged)]

    def terminating(instance_id: str) -> dict[str, Any]:
        return {"service": "ec2", "operation": "terminate_instances", "parameters": {"InstanceIds": [instance_id]}}

    assert outcome(place, function, allowed, terminating(ours)) == "allowed"
    assert outcome(place, function, allowed, terminating(foreign)) == "UnauthorizedOperation"


def test_a_network_and_a_profile_of_a_stack_bring_an_instance_online(
    aws: EmbeddedAws, until: Callable[..., Any]
) -> None:
    cloudformation, ec2 = aws.client("cloudformation"), aws.client("ec2")
    cloudformation.create_stack(
        StackName="deep-check", TemplateBody=json.dumps(_template()), Capabilities=["CAPABILITY_IAM"]
    )

    def stack() -> dict[str, Any]:
        return cloudformation.describe_stacks(StackName="deep-check")["Stacks"][0]

    until(lambda: not stack()["StackStatus"].endswith("IN_PROGRESS"), 60, "the stack to be there")
    assert stack()["StackStatus"] == "CREATE_COMPLETE"
    made = {output["OutputKey"]: output["OutputValue"] for output in stack()["Outputs"]}
    place = Place(
        aws=aws,
        subnet_id=made["Subnet"],
        group_id=made["Group"],
        door_group_id=made["Door"],
        profile=made["Profile"],
    )
    instance_id = place.online(ImageId=made["Image"])
    ec2.terminate_instances(InstanceIds=[instance_id])
    aws.advance(LONG_ENOUGH_SECONDS)
    cloudformation.delete_stack(StackName="deep-check")
    until(lambda: _is_gone(cloudformation), 60, "the stack to be gone")
    assert ec2.describe_subnets(Filters=[{"Name": "subnet-id", "Values": [made["Subnet"]]}])["Subnets"] == []


def _is_gone(cloudformation: Any) -> bool:
    stacks = cloudformation.list_stacks()["StackSummaries"]
    return any(one["StackName"] == "deep-check" and one["StackStatus"] == "DELETE_COMPLETE" for one in stacks)


def _template() -> dict[str, Any]:
    """What the CDK makes of an isolated VPC with the agent's endpoints, a role and its profile."""
    nothing = {"CidrIp": "255.255.255.255/32", "IpProtocol": "icmp", "FromPort": 252, "ToPort": 86}

    def group(of: str) -> dict[str, Any]:
        properties = {"GroupDescription": of, "VpcId": {"Ref": "Vpc"}, "SecurityGroupEgress": [nothing]}
        return {"Type": "AWS::EC2::SecurityGroup", "Properties": properties}

    def rule(kind: str, of: str, other: str, by: str) -> dict[str, Any]:
        ports = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443}
        ends = {"GroupId": {"Fn::GetAtt": [of, "GroupId"]}, by: {"Fn::GetAtt": [other, "GroupId"]}}
        return {"Type": f"AWS::EC2::SecurityGroup{kind}", "Properties": ports | ends}

    def endpoint(service: str) -> dict[str, Any]:
        properties = {
            "VpcId": {"Ref": "Vpc"},
            "ServiceName": {"Fn::Sub": "com.amazonaws.${AWS::Region}." + service},
            "VpcEndpointType": "Interface",
            "PrivateDnsEnabled": True,
            "SubnetIds": [{"Ref": "Subnet"}],
            "SecurityGroupIds": [{"Fn::GetAtt": ["Door", "GroupId"]}],
        }
        return {"Type": "AWS::EC2::VPCEndpoint", "Properties": properties}

    trust = {"Version": "2012-10-17", "Statement": [TRUST]}
    parameter = IMAGE.removeprefix("resolve:ssm:")
    return {
        "Parameters": {"Image": {"Type": "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>", "Default": parameter}},
        "Resources": {
            "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.1.0.0/24", "EnableDnsHostnames": True}},
            "Subnet": {
                "Type": "AWS::EC2::Subnet",
                "Properties": {"VpcId": {"Ref": "Vpc"}, "CidrBlock": "10.1.0.0/26"},
            },
            "Group": group("instances"),
            "Door": group("endpoints"),
            "Out": rule("Egress", "Group", "Door", "DestinationSecurityGroupId"),
            "In": rule("Ingress", "Door", "Group", "SourceSecurityGroupId"),
            **{name: endpoint(name) for name in ("ssm", "ssmmessages", "ec2messages")},
            "Role": {
                "Type": "AWS::IAM::Role",
                "Properties": {"AssumeRolePolicyDocument": trust, "ManagedPolicyArns": [MANAGED]},
            },
            "Profile": {"Type": "AWS::IAM::InstanceProfile", "Properties": {"Roles": [{"Ref": "Role"}]}},
        },
        "Outputs": {
            "Image": {"Value": {"Ref": "Image"}},
            **{name: {"Value": {"Ref": name}} for name in ("Subnet", "Profile")},
            **{name: {"Value": {"Fn::GetAtt": [name, "GroupId"]}} for name in ("Group", "Door")},
        },
    }
