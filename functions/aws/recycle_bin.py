"""The Recycle Bin of EBS: what was deleted and can still be brought back. Only a person brings something back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from functions.aws.clients import Clients
from functions.aws.ebs_snapshots import PAGE
from functions.aws.faults import translated
from functions.aws.permissions import Permission

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

PERMISSIONS: Mapping[str, tuple[Permission, ...]] = {
    "held": (
        Permission(
            actions=("ec2:ListSnapshotsInRecycleBin",),
            resources=("*",),
            why="called after a loss only; the listing of the bin has no resource type",
        ),
    ),
}


class RecycleBin:
    """What lies in the bin of one Region."""

    def __init__(self, region: str, clients: Clients) -> None:
        self._ec2: EC2Client = clients.retrying("ec2", region)

    def held(self) -> Mapping[str, datetime | None]:
        """Until when each deleted snapshot can be brought back, by id; to the last page."""
        pages = self._ec2.get_paginator("list_snapshots_in_recycle_bin").paginate(PaginationConfig={"PageSize": PAGE})
        with translated("ec2:ListSnapshotsInRecycleBin"):
            return {
                one.get("SnapshotId", ""): one.get("RecycleBinExitTime") for page in pages for one in page["Snapshots"]
            }
