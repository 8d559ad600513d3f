"""What the machines of deep checks need: a place in the network, a way to Systems Manager, and a role for no more."""

# pyright: reportArgumentType=false
# jsii's classes and its interfaces disagree about the names of parameters, and pyright about both.

from __future__ import annotations

from aws_cdk import Stack, Tags
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from functions.aws.deep_checks import scripts
from infra import names
from infra.parts.rehearsal_network import RehearsalNetwork


class DeepChecks(Construct):
    """One subnet and one security group in which machines are launched, and the instance profile they get.

    The two interface endpoints cost money every hour, whether a deep check is going on or not.
    """

    def __init__(self, scope: Construct, id: str, *, network: RehearsalNetwork) -> None:
        super().__init__(scope, id)
        subnet = network.vpc.isolated_subnets[0]
        checkers = network.security_group("Checkers", "Machines of deep checks: they may ask Systems Manager")
        for place in (subnet, checkers):
            Tags.of(place).add(names.NETWORK_TAG, names.DEEP_CHECK_NETWORK)
        self.zone = subnet.availability_zone
        self.subnet_id = subnet.subnet_id
        self.security_group_id = checkers.security_group_id
        self.profile = f"{names.DEEP_CHECK}-{Stack.of(self).region}"
        role = iam.Role(
            self,
            "Role",
            role_name=self.profile,  # IAM has no Regions, so the name says which one it is of
            assumed_by=iam.ServicePrincipal(
                "ec2.amazonaws.com",
                # As for functions: EC2 documents nowhere that it always names the account it works for.
                conditions={"StringEqualsIfExists": {"aws:SourceAccount": Stack.of(self).account}},
            ),
            description="What the machine of a deep check may do: let Systems Manager reach its agent",
        )
        iam.CfnInstanceProfile(self, "Profile", instance_profile_name=self.profile, roles=[role.role_name])
        door = network.security_group("Agents", "The way to Systems Manager: machines of deep checks may ask")
        checkers.connections.allow_to(door, ec2.Port.tcp(443))
        permission = scripts.AGENT_PERMISSIONS
        actions, resources = list(permission.actions), list(permission.resources)
        role.add_to_policy(iam.PolicyStatement(actions=actions, resources=resources))
        for name, service in (
            ("Ssm", ec2.InterfaceVpcEndpointAwsService.SSM),
            ("SsmMessages", ec2.InterfaceVpcEndpointAwsService.SSM_MESSAGES),
        ):
            allowed = iam.PolicyStatement(
                principals=[iam.AnyPrincipal()],
                actions=actions,
                resources=resources,
                # Credentials that a restored volume may hold open nothing here.
                conditions={"ArnEquals": {"aws:PrincipalArn": role.role_arn}},
            )
            network.open_door(name, service, door, allowed)
