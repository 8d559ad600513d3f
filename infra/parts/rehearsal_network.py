"""Where what is restored lives for the length of a rehearsal: a network that nothing enters and nothing leaves."""

# pyright: reportArgumentType=false
# jsii's classes and its interfaces disagree about the names of parameters, and pyright about both.

from __future__ import annotations

from aws_cdk import Fn
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_rds as rds
from constructs import Construct

from infra import names

ENGINE_PORTS = (5432, 3306)


class RehearsalNetwork(Construct):
    """Two isolated subnets without a way to the internet, for databases, for the machines of deep checks, or both.

    The verifier reaches the databases on their ports and Secrets Manager over HTTPS. Nothing else reaches anything,
    so a restored production database cannot phone its old neighbours.
    """

    def __init__(self, scope: Construct, id: str, *, databases: bool) -> None:
        super().__init__(scope, id)
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            vpc_name="holdfast-rehearsal",
            ip_addresses=ec2.IpAddresses.cidr("10.0.0.0/24"),
            # Named by position, because asking AWS for the names would need credentials at synth.
            availability_zones=[Fn.select(position, Fn.get_azs()) for position in range(2)],
            nat_gateways=0,
            create_internet_gateway=False,
            subnet_configuration=[
                ec2.SubnetConfiguration(name="Isolated", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=26)
            ],
        )
        if databases:
            self._take_databases()

    def security_group(self, id: str, description: str) -> ec2.SecurityGroup:
        """A group in the network that nothing enters and nothing leaves, until that is said."""
        return ec2.SecurityGroup(self, id, vpc=self.vpc, description=description, allow_all_outbound=False)

    def open_door(
        self,
        id: str,
        service: ec2.InterfaceVpcEndpointAwsService,
        door: ec2.ISecurityGroup,
        allowed: iam.PolicyStatement,
    ) -> None:
        """There is an interface endpoint to a service of AWS, behind `door`, for what is allowed and nothing else."""
        endpoint = self.vpc.add_interface_endpoint(
            id,
            service=service,
            security_groups=[door],
            open=False,
            # One zone halves the standing cost of rehearsals; without that zone a rehearsal waits a day.
            subnets=ec2.SubnetSelection(subnets=self.vpc.isolated_subnets[:1]),
        )
        endpoint.add_to_policy(allowed)

    def _take_databases(self) -> None:
        self.databases = self.security_group("Databases", "Restored databases: the verifier may ask them")
        self.verifier = self.security_group("Verifier", "verify_database: may ask restored databases and read secrets")
        for port in ENGINE_PORTS:
            self.verifier.connections.allow_to(self.databases, ec2.Port.tcp(port))
        rds.SubnetGroup(
            self,
            "SubnetGroup",
            vpc=self.vpc,
            subnet_group_name=names.SUBNET_GROUP,
            description="Where rehearsals restore databases",
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED),
        )
        self._offer_secrets()

    def _offer_secrets(self) -> None:
        """Master passwords of restored databases can be read from inside, and no other secret."""
        door = self.security_group("Secrets", "The way to Secrets Manager: the verifier may ask")
        allowed = iam.PolicyStatement(
            principals=[iam.AnyPrincipal()],
            actions=["secretsmanager:GetSecretValue"],
            resources=[f"arn:{self.vpc.stack.partition}:secretsmanager:*:{self.vpc.stack.account}:secret:rds!*"],
        )
        self.open_door("SecretsManager", ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER, door, allowed)
        self.verifier.connections.allow_to(door, ec2.Port.tcp(443))
