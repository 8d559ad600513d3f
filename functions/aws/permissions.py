"""What a call needs of IAM, said beside the call, and turned into a policy statement where roles are built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Conditions = Mapping[str, Mapping[str, str | tuple[str, ...]]]
"""IAM's own form: operator, then condition key, then one value or several."""

KEY_ALIAS = "alias/holdfast"
"""The key that encrypts copies, by the same name in every Region that holds some."""

NETWORK_TAG, DEEP_CHECK_NETWORK = "holdfast:network", "deep-check"
"""Carried by the one subnet and the one security group in which machines of deep checks may be launched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """Actions on resources under conditions, and why they are needed.

    Texts may hold the placeholders {partition}, {account} and {region}. Other braces are IAM's: `${*}` is its way
    to write a literal asterisk.
    """

    actions: tuple[str, ...]
    resources: tuple[str, ...]
    why: str
    conditions: Conditions = field(default_factory=dict[str, Mapping[str, str | tuple[str, ...]]])

    def statement(self, *, partition: str, account: str, region: str) -> dict[str, Any]:
        """The Allow statement for one account; `region` is "*" for a role that works in several."""

        def filled(text: str) -> str:
            return text.replace("{partition}", partition).replace("{account}", account).replace("{region}", region)

        def filled_values(values: str | tuple[str, ...]) -> str | list[str]:
            return filled(values) if isinstance(values, str) else [filled(value) for value in values]

        statement: dict[str, Any] = {
            "Effect": "Allow",
            "Action": list(self.actions),
            "Resource": [filled(resource) for resource in self.resources],
        }
        if self.conditions:
            statement["Condition"] = {
                operator: {key: filled_values(values) for key, values in keys.items()}
                for operator, keys in self.conditions.items()
            }
        return statement


def grant_through(service: str, *, why: str) -> Permission:
    """Grants that EC2 or RDS makes for itself as the caller, on whatever key of this Region it works with."""
    return Permission(
        actions=("kms:CreateGrant",),
        resources=("arn:{partition}:kms:{region}:{account}:key/*",),
        conditions={
            "StringLike": {"kms:ViaService": f"{service}.{{region}}.amazonaws.com"},
            "Bool": {"kms:GrantIsForAWSResource": "true"},
        },
        why=why,
    )


def keys_behind_a_copy(service: str) -> tuple[Permission, ...]:
    """What EC2 or RDS does with KMS, as the caller, for a copy: reads under any key, writes under ours."""
    return (
        Permission(
            actions=("kms:CreateGrant",),
            resources=("arn:{partition}:kms:*:{account}:key/*",),
            conditions={
                "StringLike": {"kms:ViaService": f"{service}.*.amazonaws.com"},
                "Bool": {"kms:GrantIsForAWSResource": "true"},
            },
            why="not called: the service makes grants on the source's key and on ours, as the caller",
        ),
        Permission(
            actions=("kms:Decrypt", "kms:DescribeKey", "kms:ReEncryptFrom"),
            resources=("arn:{partition}:kms:*:{account}:key/*",),
            conditions={"StringLike": {"kms:ViaService": f"{service}.*.amazonaws.com"}},
            why="not called: the service reads an encrypted source as the caller, under whatever key it has",
        ),
        Permission(
            actions=("kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptTo"),
            resources=("arn:{partition}:kms:{region}:{account}:key/*",),
            conditions={
                "StringLike": {"kms:ViaService": f"{service}.{{region}}.amazonaws.com"},
                "ForAnyValue:StringEquals": {"kms:ResourceAliases": KEY_ALIAS},
            },
            why="not called: the service writes the copy as the caller, under our key of that Region and no other",
        ),
    )
