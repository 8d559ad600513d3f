"""The KMS keys RDS may use. They live in ministack's KMS, per Region."""

from __future__ import annotations

import json

from ministack.core.responses import request_scope
from ministack.services import kms
from moto.rds.exceptions import KMSKeyNotAccessibleFault

from embedded import ACCOUNT

_RDS_DEFAULT_ALIAS = "alias/aws/rds"


def usable_key_arn(region: str, key: str) -> str:
    """The ARN of the key named by id, ARN or alias; KMSKeyNotAccessibleFault if RDS cannot use it in `region`."""
    if key == _RDS_DEFAULT_ALIAS:
        return default_key_arn(region)
    with request_scope(ACCOUNT, region):
        record = kms._resolve_key(key)
    if record is None or record["KeyState"] != "Enabled":
        raise KMSKeyNotAccessibleFault(key)
    return record["Arn"]


def default_key_arn(region: str) -> str:
    """The ARN of the key AWS makes for RDS when an account first encrypts without naming one."""
    with request_scope(ACCOUNT, region):
        if record := kms._resolve_key(_RDS_DEFAULT_ALIAS):
            return record["Arn"]
        description = "Default key that protects my RDS database volumes when no other key is defined"
        _, _, answer = kms._create_key({"Description": description})
        made = json.loads(answer)["KeyMetadata"]
        kms._create_alias({"AliasName": _RDS_DEFAULT_ALIAS, "TargetKeyId": made["KeyId"]})
        return made["Arn"]
