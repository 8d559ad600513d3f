"""The key of a Region: it encrypts copies, the ledger and notices, and nothing else is kept here."""

# pyright: reportArgumentType=false
# jsii's classes and its interfaces disagree about the names of parameters, and pyright about both.

from __future__ import annotations

from aws_cdk import Duration, Environment, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from infra import names
from infra.settings import Deployment

STORES = ("dynamodb", "ec2", "rds", "sns")
"""The services through which whoever may use the service may use the key. A role of our own needs no line here, and a
person can restore on the night when our roles are what is broken."""

USE = ("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*")


class VaultStack(Stack):
    """One customer key, found by its alias in every Region."""

    def __init__(self, scope: Construct, id: str, *, deployment: Deployment, env: Environment) -> None:
        super().__init__(
            scope,
            id,
            env=env,
            description="Holdfast: the key that encrypts what is kept in this Region",
            termination_protection=deployment.is_kept,
        )
        key = kms.Key(
            self,
            "Key",
            description="Holdfast: copies of snapshots, the ledger, notices. Without it none of them can be read",
            enable_key_rotation=True,
            pending_window=Duration.days(30),
            removal_policy=deployment.removal_policy,
        )
        kms.Alias(
            self,
            "Alias",
            alias_name=names.KEY_ALIAS,
            target_key=key,
            removal_policy=deployment.removal_policy,
        )
        through_our_stores = {
            "kms:CallerAccount": self.account,
            "kms:ViaService": [f"{service}.{self.region}.amazonaws.com" for service in STORES],
        }
        key.add_to_resource_policy(
            iam.PolicyStatement(
                sid="UseThroughTheStores",
                principals=[iam.AnyPrincipal()],
                actions=list(USE),
                resources=["*"],
                conditions={"StringEquals": through_our_stores},
            )
        )
        key.add_to_resource_policy(
            iam.PolicyStatement(
                sid="GrantsForTheStores",
                principals=[iam.AnyPrincipal()],
                actions=["kms:CreateGrant"],
                resources=["*"],
                conditions={"StringEquals": through_our_stores, "Bool": {"kms:GrantIsForAWSResource": "true"}},
            )
        )
        # An alarm reaches an encrypted topic only when CloudWatch itself may use the topic's key.
        key.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsToTheTopic",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["kms:Decrypt", "kms:GenerateDataKey*"],
                resources=["*"],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
