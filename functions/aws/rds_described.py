"""What RDS says about one instance or cluster: found by its name, its state, its tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from functions.aws.faults import code_of, translated
from functions.core.restores import RestoreState

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient
    from mypy_boto3_rds.type_defs import TagTypeDef

STATES: Mapping[str, RestoreState] = {
    "available": RestoreState.AVAILABLE,
    "storage-optimization": RestoreState.AVAILABLE,
    "storage-initialization": RestoreState.AVAILABLE,
    "failed": RestoreState.FAILED,
    "restore-error": RestoreState.FAILED,
    "inaccessible-encryption-credentials": RestoreState.FAILED,
    "inaccessible-encryption-credentials-recoverable": RestoreState.FAILED,
    "insufficient-capacity": RestoreState.FAILED,
    "storage-full": RestoreState.FAILED,
}
"""Words of RDS that end the wait; every other one is CREATING with the word as its message."""


def instance(rds: RDSClient, identifier: str) -> Mapping[str, Any] | None:
    """The instance of this name as RDS describes it; None where there is none."""
    with translated("rds:DescribeDBInstances", resource=identifier):
        try:
            answer = rds.describe_db_instances(DBInstanceIdentifier=identifier)
        except ClientError as refused:
            if code_of(refused) != "DBInstanceNotFound":
                raise
            return None
    return answer["DBInstances"][0]


def cluster(rds: RDSClient, identifier: str) -> Mapping[str, Any] | None:
    """The cluster of this name as RDS describes it; None where there is none."""
    with translated("rds:DescribeDBClusters", resource=identifier):
        try:
            answer = rds.describe_db_clusters(DBClusterIdentifier=identifier)
        except ClientError as refused:
            if code_of(refused) != "DBClusterNotFoundFault":
                raise
            return None
    return answer["DBClusters"][0]


def tags_of(described: Mapping[str, Any]) -> dict[str, str]:
    """The tags RDS shows on an instance or a cluster."""
    return {tag["Key"]: tag["Value"] for tag in described.get("TagList", [])}


def written(labels: Mapping[str, str]) -> list[TagTypeDef]:
    """Tags in the form RDS takes."""
    return [{"Key": key, "Value": value} for key, value in labels.items()]


def state(word: str) -> RestoreState:
    """What a status of RDS means for somebody who waits."""
    return RestoreState.FAILED if word.startswith("incompatible-") else STATES.get(word, RestoreState.CREATING)
