"""What no role of ours may ever do, whatever else a policy comes to say."""

# pyright: reportArgumentType=false
# jsii's classes and its interfaces disagree about the names of parameters, and pyright about both.

from __future__ import annotations

from aws_cdk import Stack
from aws_cdk import aws_iam as iam

NEVER = (
    "backup:Delete*",
    "backup:PutBackupVaultAccessPolicy",
    "dynamodb:Delete*",
    "dynamodb:PartiQLDelete",
    "dynamodb:UpdateContinuousBackups",
    "ebs:PutSnapshotBlock",
    "ec2:DisableSnapshotBlockPublicAccess",
    "ec2:UnlockSnapshot",
    "kms:DeleteAlias",
    "kms:DisableKey",
    "kms:PutKeyPolicy",
    "kms:ScheduleKeyDeletion",
    "kms:UpdateAlias",
    "lambda:UpdateFunction*",
    "organizations:*",
    "rbin:DeleteRule",
    "rbin:UnlockRule",
    "s3:BypassGovernanceRetention",
    "s3:PutObjectRetention",
    "states:DeleteStateMachine",
    "states:UpdateStateMachine",
    "sts:AssumeRole*",
)
"""Whatever takes protection away, or makes more of oneself than one is."""

SHARES = {"ForAnyValue:StringLike": {"ec2:Add/group": "*"}}


def forbid(stack: Stack) -> None:
    """Every role of the stack is denied what `NEVER` names, identities, and making a snapshot public.

    Deny outweighs every Allow, so this holds for policies that are yet to be written too. A stack without roles is
    left as it is.
    """
    roles = [made for made in stack.node.find_all() if isinstance(made, iam.Role)]
    if not roles:
        return
    policy = iam.ManagedPolicy(
        stack,
        "Never",
        description="Holdfast: what no role may do, whatever else its policies say",
        statements=[
            iam.PolicyStatement(effect=iam.Effect.DENY, actions=list(NEVER), resources=["*"]),
            # All of IAM but passing a role, the only call that names a service which it is passed to.
            iam.PolicyStatement(
                effect=iam.Effect.DENY,
                actions=["iam:*"],
                resources=["*"],
                conditions={"Null": {"iam:PassedToService": "true"}},
            ),
            iam.PolicyStatement(
                effect=iam.Effect.DENY,
                actions=["ec2:ModifySnapshotAttribute"],
                resources=["*"],
                conditions=SHARES,
            ),
        ],
    )
    for role in roles:
        policy.attach_to_role(role)
