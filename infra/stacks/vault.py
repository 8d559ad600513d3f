"""The key of a Region: it encrypts copies, the ledger and notices. Beside it, where the settings ask for them, what the
account itself does about snapshots there: the Recycle Bin, and no public sharing."""

# pyright: reportArgumentType=false
# jsii's classes and its interfaces disagree about the names of parameters, and pyright about both.

from __future__ import annotations

from aws_cdk import Duration, Environment, RemovalPolicy, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_rbin as rbin
from constructs import Construct

from functions.contracts.settings import RecycleBin
from infra import names
from infra.parts.encrypted_logs import allow_logs
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
        self.key = key = kms.Key(
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
        allow_logs(key)
        guard = deployment.configuration.guard
        if guard.recycle_bin is not None:
            self._keep_what_was_deleted(guard.recycle_bin, deployment)
        if self.region in guard.block_public_access:
            self._block_public_access(guard.block_public_access[self.region])

    def _keep_what_was_deleted(self, wanted: RecycleBin, deployment: Deployment) -> None:
        """Deleted snapshots can be brought back for a while: ours, or all of the Region, which alone can be locked."""
        rule = rbin.CfnRule(
            self,
            "RecycleBin",
            resource_type="EBS_SNAPSHOT",
            description="Holdfast: deleted snapshots can be brought back",
            retention_period=rbin.CfnRule.RetentionPeriodProperty(
                retention_period_unit="DAYS", retention_period_value=wanted.keep.days
            ),
        )
        if not wanted.every_snapshot:
            rule.resource_tags = [
                rbin.CfnRule.ResourceTagProperty(resource_tag_key="holdfast:managed", resource_tag_value="1")
            ]
        if wanted.unlock_delay is not None:
            rule.lock_configuration = rbin.CfnRule.UnlockDelayProperty(
                unlock_delay_unit="DAYS", unlock_delay_value=wanted.unlock_delay.days
            )
        rule.apply_removal_policy(deployment.removal_policy)

    def _block_public_access(self, state: str) -> None:
        """For every snapshot of the account in this Region. It stays when the stack goes: what protects others too is
        not taken away by removing Holdfast."""
        setting = ec2.CfnSnapshotBlockPublicAccess(self, "BlockPublicAccess", state=state)
        setting.apply_removal_policy(RemovalPolicy.RETAIN)
