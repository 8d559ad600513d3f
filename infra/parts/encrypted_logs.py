"""Every log group is encrypted under the key of its Region, whoever made the group."""

# pyright: reportArgumentType=false
# jsii's classes and its interfaces disagree about the names of parameters, and pyright about both.

from __future__ import annotations

from typing import cast

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs


def allow_logs(key: kms.Key) -> None:
    """CloudWatch Logs may use the key, for log groups of this account and Region."""
    stack = Stack.of(key)
    of_ours = f"arn:{stack.partition}:logs:{stack.region}:{stack.account}:log-group:*"
    key.add_to_resource_policy(
        iam.PolicyStatement(
            sid="Logs",
            principals=[iam.ServicePrincipal(f"logs.{stack.region}.amazonaws.com")],
            actions=["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
            resources=["*"],
            conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": of_ours}},
        )
    )


def encrypt_logs(stack: Stack, key: kms.Key) -> None:
    """Every log group of the stack is encrypted under the key.

    By its ARN, the one reference there is to a vault: CloudWatch Logs takes no alias.
    """
    for made in stack.node.find_all():
        if isinstance(made, logs.LogGroup):
            cast(logs.CfnLogGroup, made.node.default_child).kms_key_id = key.key_arn
