"""The rules that are the same for copies of instance snapshots and of cluster snapshots."""

from __future__ import annotations

from collections.abc import Sequence

from moto.rds.exceptions import InvalidParameterCombination, InvalidParameterValue, RDSClientError
from moto.rds.models import DBClusterSnapshot, DBSnapshot

from embedded import faults
from embedded.databases import keys
from embedded.databases.resources import AVAILABLE

Tags = list[dict[str, str]]

FAIL, STICK = "fail", "stick"
_RESERVED = "aws:"


def draw_fate(kind: str, region: str) -> str | None:
    """What a fault armed on `life:<kind>` does to the thing in the making: FAIL, STICK or nothing."""
    fault = faults.take(f"life:{kind}", region)
    return fault.effect if fault else None


def require_quota(existing: int, limit: int) -> None:
    """One more manual snapshot fits into the Region."""
    if existing >= limit:
        raise RDSClientError("SnapshotQuotaExceeded", f"Cannot create more than {limit} manual snapshots")


def require_copy_slot(in_progress: int, limit: int) -> None:
    """One more cross-Region copy may be in progress: the same code as the other quota, only other words."""
    if in_progress >= limit:
        raise RDSClientError("SnapshotQuotaExceeded", f"Cannot copy more than {limit} snapshots across regions")


def choose_tags(given: Tags | None, copies_tags: bool | None, source: Tags) -> Tags:
    """Tags in the request win, CopyTags comes second, and by default a copy has none."""
    if given:
        return checked_tags(given) or []
    return [tag for tag in source if not tag["Key"].startswith(_RESERVED)] if copies_tags else []


def checked_tags(given: Sequence[dict[str, str]] | None) -> Tags | None:
    """The given tags as RDS stores them; InvalidParameterValue for a name only AWS may use."""
    if given is None:
        return None
    tags = [{"Key": tag["Key"], "Value": tag.get("Value", "")} for tag in given]
    if reserved := [tag["Key"] for tag in tags if tag["Key"].startswith(_RESERVED)]:
        raise InvalidParameterValue(f"Tag keys beginning with {_RESERVED} are reserved: {', '.join(reserved)}")
    return tags


def choose_key(source: DBSnapshot | DBClusterSnapshot, target_region: str, wanted: str | None) -> str | None:
    """The key that will encrypt the copy, usable by RDS in the target Region; None for a plain copy."""
    source_key = source.kms_key_id
    if source_key is not None:
        keys.usable_key_arn(source.region, source_key)
        if wanted is None and source.region != target_region:
            raise InvalidParameterCombination(
                "The source snapshot is encrypted: specify the KmsKeyId of a key in the destination Region "
                f"({target_region})."
            )
    return keys.usable_key_arn(target_region, wanted) if wanted else source_key


def require_available(snapshot: DBSnapshot | DBClusterSnapshot, error_code: str) -> None:
    """The snapshot can be copied or restored."""
    if snapshot.status != AVAILABLE:
        raise RDSClientError(
            error_code, f"The snapshot {snapshot.resource_id} is not in the available state but {snapshot.status}."
        )
