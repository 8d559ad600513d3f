"""Whether a caller may read blocks: ministack decides from its IAM, but does not know the EBS direct APIs."""

from collections.abc import Iterable, Mapping
from typing import Any

from ministack.core.iam_evaluator import enforce
from ministack.core.router import extract_access_key_id

from embedded.moto_service import Headers


def is_allowed(
    headers: Headers, query: Mapping[str, Any], action: str, region: str, snapshot_ids: Iterable[str]
) -> bool:
    """Whether the caller's policies allow the action on each of these snapshots."""
    caller = extract_access_key_id(headers, dict(query))
    # As in EC2's policies, the ARN of a snapshot names no account.
    arns = [f"arn:aws:ec2:{region}::snapshot/{snapshot_id}" for snapshot_id in snapshot_ids]
    return all(enforce(caller, f"ebs:{action}", "ebs", region, resource_arn=arn) is None for arn in arns)
