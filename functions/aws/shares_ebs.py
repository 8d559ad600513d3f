"""Who may use our EBS snapshots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from functions.aws.clients import Clients
from functions.aws.ebs_snapshots import ANY_SNAPSHOT, DESCRIBE, DESCRIBED_AS, MANAGED, PAGE
from functions.aws.faults import code_of, translated
from functions.aws.permissions import Permission
from functions.core import labels
from functions.core.exposures import EVERYBODY, Family, Shareable

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import DescribeSnapshotsRequestPaginateTypeDef, FilterTypeDef

    from functions.core.exposures import Shares

_ATTRIBUTES = Permission(
    actions=("ec2:DescribeSnapshotAttribute",),
    resources=(ANY_SNAPSHOT,),
    why="of any snapshot: one whose tags somebody took off is looked at all the same",
)

PERMISSIONS: Mapping[str, tuple[Permission, ...]] = {
    "ours": (DESCRIBE,),
    "find": (DESCRIBE,),
    "listed": (DESCRIBE,),
    "shared_with": (_ATTRIBUTES,),
    "withdraw": (
        Permission(
            actions=("ec2:ResetSnapshotAttribute",),
            resources=(ANY_SNAPSHOT,),
            conditions={"StringEquals": MANAGED},
            why="only what we took; it can take shares back and, unlike ModifySnapshotAttribute, give none",
        ),
    ),
}

_OURS: FilterTypeDef = {"Name": "description", "Values": [f"{DESCRIBED_AS}*"]}
"""By description, which nobody can change: tags can be taken off before a snapshot is given away."""


class EbsShares:
    """The port `Shares` for EBS."""

    family = Family.EBS

    def __init__(self, region: str, clients: Clients) -> None:
        self.region = region
        self._ec2: EC2Client = clients.retrying("ec2", region)

    def ours(self) -> Iterator[Shareable]:
        """Every snapshot here whose description is ours."""
        return (self._read(described) for described in self._described(_OURS))

    def find(self, id: str) -> Shareable | None:
        """The snapshot, when its description is ours."""
        found = list(self._described(_OURS, {"Name": "snapshot-id", "Values": [id]}))
        return self._read(found[0]) if found else None

    def listed(self, accounts: Iterable[str]) -> Mapping[str, frozenset[str]]:
        """What EBS lists as restorable by everybody, and by each account: only that which is not public anyway."""
        asked = set(accounts)
        public = self._restorable_by(EVERYBODY)
        told = {account: self._restorable_by(account) - public for account in sorted(asked - {EVERYBODY})}
        return told | {EVERYBODY: public} if EVERYBODY in asked else told

    def shared_with(self, id: str) -> frozenset[str] | None:
        """The accounts, and EVERYBODY for the group `all`."""
        with translated("ec2:DescribeSnapshotAttribute", resource=id):
            try:
                answer = self._ec2.describe_snapshot_attribute(SnapshotId=id, Attribute="createVolumePermission")
            except ClientError as refusal:
                if code_of(refusal) == "InvalidSnapshot.NotFound":
                    return None
                raise
        granted = answer.get("CreateVolumePermissions", ())
        return frozenset(word for one in granted if (word := one.get("UserId") or one.get("Group")))

    def withdraw(self, id: str, accounts: frozenset[str]) -> None:  # noqa: ARG002 - EBS resets them all
        """Nobody but this account may use the snapshot."""
        with translated("ec2:ResetSnapshotAttribute", resource=id):
            self._ec2.reset_snapshot_attribute(SnapshotId=id, Attribute="createVolumePermission")

    def _restorable_by(self, account: str) -> frozenset[str]:
        return frozenset(described["SnapshotId"] for described in self._described(_OURS, by=account))

    def _described(self, *filters: FilterTypeDef, by: str | None = None) -> Iterator[Mapping[str, Any]]:
        request: DescribeSnapshotsRequestPaginateTypeDef = {
            "OwnerIds": ["self"],
            "Filters": list(filters),
            "PaginationConfig": {"PageSize": PAGE},
        }
        if by is not None:
            request["RestorableByUserIds"] = [by]
        with translated("ec2:DescribeSnapshots"):
            for page in self._ec2.get_paginator("describe_snapshots").paginate(**request):
                yield from page["Snapshots"]

    def _read(self, described: Mapping[str, Any]) -> Shareable:
        tags = {tag["Key"]: tag["Value"] for tag in described.get("Tags", ())}
        return Shareable(
            family=self.family,
            region=self.region,
            id=described["SnapshotId"],
            resource=tags.get(labels.RESOURCE, "a resource whose tag is gone"),
            started_at=described.get("StartTime"),
            is_encrypted=described.get("Encrypted", False),
            is_copy=labels.SOURCE_SNAPSHOT in tags,
            kms_key_id=described.get("KmsKeyId"),
        )


if TYPE_CHECKING:
    _port: type[Shares] = EbsShares
