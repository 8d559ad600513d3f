"""Checks before a recovery that databases and volumes have in common: lines of a plan, and keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from functions.aws.faults import code_of, translated
from functions.core.errors import NotAllowed
from functions.core.recoveries import Found, PlanLine

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient


def fine(what: str, detail: str) -> PlanLine:
    """Nothing stands in the way."""
    return PlanLine(what=what, found=Found.FINE, detail=detail)


def warning(what: str, detail: str, next_step: str = "") -> PlanLine:
    """The recovery goes on, and something is different from the original."""
    return PlanLine(what=what, found=Found.WARNING, detail=detail, next_step=next_step)


def obstacle(what: str, detail: str, next_step: str) -> PlanLine:
    """The recovery would fail."""
    return PlanLine(what=what, found=Found.OBSTACLE, detail=detail, next_step=next_step)


def key_line(kms: KMSClient, key: str | None) -> PlanLine:
    """Whether what is encrypted under the key can be opened. That we may not look is a warning, because the service
    may be allowed what we are not.

    Errors: AwsBusy.
    """
    if not key:
        return fine("key", "the snapshot is not encrypted")
    step = "open the key in the KMS console of this Region: enable it, or cancel its deletion"
    try:
        with translated("kms:DescribeKey", resource=key):
            try:
                described: Mapping[str, Any] = kms.describe_key(KeyId=key)["KeyMetadata"]
            except ClientError as refused:
                if code_of(refused) != "NotFoundException":
                    raise
                return obstacle("key", f"the key {key} does not exist: nothing under it can be read", step)
    except NotAllowed as refused:
        return warning("key", f"nobody here may look at the key {key}: {refused.what}", step)
    if described.get("KeyState") != "Enabled":
        return obstacle("key", f"the key {key} is {described.get('KeyState')}", step)
    return fine("key", f"the key {key} is enabled")


def quota_line(what: str, *, used: float, more: float, most: float, unit: str = "") -> PlanLine:
    """Whether so much more fits under a quota."""
    after = used + more
    detail = f"{_number(used)}{unit} of {_number(most)}{unit} used, {_number(more)}{unit} more needed"
    if after > most:
        return obstacle(what, detail, "raise the quota in Service Quotas for this Region, or delete what is not needed")
    return fine(what, detail)


def _number(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.1f}"
