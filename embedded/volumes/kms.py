"""Which keys EBS can use: the ones in ministack's KMS, because moto's own KMS is never asked by anyone else."""

from typing import Any

from ministack.core.responses import request_scope
from ministack.services import kms

from embedded import ACCOUNT

DEFAULT_KEY_ALIAS = "alias/aws/ebs"
NOT_ACCESSIBLE = "Given key ID is not accessible"

_CAUSES = {"Disabled": "is disabled", "PendingDeletion": "is pending deletion", "PendingImport": "is pending import"}


def key_arn(key: str, region: str) -> str:
    """The ARN of the key that an id, alias or ARN means in a Region; what was given, if it means none."""
    found = _find(key, region)
    return str(found["Arn"]) if found else key


def why_unusable(key: str, region: str) -> str | None:
    """What keeps EBS from using the key, in the words of a failed notice; None if it is usable now."""
    found = _find(key, region)
    if found is None:
        return f"{key} does not exist"
    if found["KeyState"] == "Enabled":
        return None
    return f"{found['Arn']} {_CAUSES.get(found['KeyState'], 'is not enabled')}."


def default_key_arn(region: str) -> str:
    """The ARN of the Region's own EBS key, which AWS creates when it is first needed."""
    with request_scope(ACCOUNT, region):
        if kms._resolve_key(DEFAULT_KEY_ALIAS) is None:
            kms._create_key({"Description": "Default key that protects EBS volumes when no other key is defined"})
            newest = list(kms._keys.values())[-1]
            kms._create_alias({"AliasName": DEFAULT_KEY_ALIAS, "TargetKeyId": newest["KeyId"]})
        return str(kms._arn(kms._aliases[kms._alias_arn(DEFAULT_KEY_ALIAS)]))


def _find(key: str, region: str) -> dict[str, Any] | None:
    with request_scope(ACCOUNT, region):
        found: dict[str, Any] | None = kms._resolve_key(key)
        return found
