"""Whether a KMS key can encrypt what we are about to make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from functions.aws.clients import Clients
from functions.aws.faults import code_of, translated
from functions.aws.permissions import Permission

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

PERMISSIONS: Mapping[str, tuple[Permission, ...]] = {
    "key_state": (
        Permission(
            actions=("kms:DescribeKey",),
            resources=("arn:{partition}:kms:{region}:{account}:key/*",),
            why="a copy under an unusable key is accepted and fails silently later, so the key is looked at first",
        ),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """Whether the key can be used, and why not. `arn` is None when there is no such key."""

    is_usable: bool
    reason: str
    arn: str | None = None


def key_state(region: str, alias: str, clients: Clients) -> KeyState:
    """What KMS says now about the key behind an alias, key id or ARN.

    Whether the key's policy lets somebody use it cannot be described; only a use tells.

    Errors: NotAllowed when even looking is denied; AwsBusy.
    """
    kms: KMSClient = clients.retrying("kms", region)
    with translated("kms:DescribeKey", resource=alias):
        try:
            key = kms.describe_key(KeyId=alias)["KeyMetadata"]
        except ClientError as refused:
            if code_of(refused) != "NotFoundException":
                raise
            return KeyState(is_usable=False, reason=f"there is no key {alias} in {region}")
    arn, state = key.get("Arn"), key.get("KeyState", "unknown")
    if state == "PendingDeletion":
        when = key.get("DeletionDate")
        end = f" on {when:%Y-%m-%d}" if when else ""
        reason = f"{alias} in {region} will be deleted{end}; cancel the deletion, or what it encrypts is lost"
        return KeyState(is_usable=False, reason=reason, arn=arn)
    if state != "Enabled":
        return KeyState(is_usable=False, reason=f"{alias} in {region} is {state}; enable it", arn=arn)
    if key.get("KeySpec") != "SYMMETRIC_DEFAULT":
        reason = f"{alias} in {region} is {key.get('KeySpec')}; EBS and RDS encrypt with symmetric keys only"
        return KeyState(is_usable=False, reason=reason, arn=arn)
    return KeyState(is_usable=True, reason=f"{alias} in {region} is enabled", arn=arn)
