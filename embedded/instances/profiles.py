"""Instance profiles, which live in ministack's IAM, and what their roles allow."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ministack.core import iam_evaluator
from ministack.services import iam

from embedded import ACCOUNT

_EC2 = "ec2.amazonaws.com"


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """An instance profile and the role in it, if any."""

    name: str
    id: str
    arn: str
    role: str | None

    @property
    def role_arn(self) -> str | None:
        return str(iam._roles[self.role]["Arn"]) if self.role else None


def find(name: str | None, arn: str | None) -> Profile | None:
    """The profile of that name or ARN in IAM, or None."""
    for found in iam._instance_profiles.values():
        if name == found["InstanceProfileName"] or arn == found["Arn"]:
            roles = [role for role in found["Roles"] if role in iam._roles]
            return Profile(
                name=found["InstanceProfileName"],
                id=found["InstanceProfileId"],
                arn=found["Arn"],
                role=roles[0] if roles else None,
            )
    return None


def why_not_allowed(profile: Profile, action: str, region: str) -> str | None:
    """Why an instance with this profile may not do `action`; None if it may."""
    if profile.role is None:
        return f"its instance profile {profile.name} holds no role; add one"
    role = iam._roles[profile.role]
    if not _trusts_ec2(role.get("AssumeRolePolicyDocument") or "{}"):
        return f"its role {profile.role} does not let {_EC2} assume it; say so in the role's trust policy"
    asked = iam_evaluator.EvalContext(
        principal_arn=role["Arn"],
        principal_type="AssumedRole",
        principal_account=ACCOUNT,
        action=action,
        resource_arn="*",
        region=region,
    )
    answer = iam_evaluator.evaluate(asked, iam_evaluator._gather_role_policies(profile.role, ACCOUNT))
    if answer.decision == "Allow":
        return None
    return f"its role {profile.role} does not allow {action}; attach AmazonSSMManagedInstanceCore"


def _trusts_ec2(document: str | dict[str, Any]) -> bool:
    statements = (json.loads(document) if isinstance(document, str) else document).get("Statement", [])
    for statement in [statements] if isinstance(statements, dict) else statements:
        principal = statement.get("Principal", {})
        services = principal.get("Service", []) if isinstance(principal, dict) else []
        if statement.get("Effect") == "Allow" and _EC2 in ([services] if isinstance(services, str) else services):
            return True
    return False
