"""Locks of EBS snapshots. Nothing here, and nothing that is deployed, can unlock one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from functions.aws.clients import Clients
from functions.aws.ebs_snapshots import ANY_SNAPSHOT, MANAGED, PAGE
from functions.aws.faults import translated
from functions.aws.permissions import Permission
from functions.core.locks import HeldLock, LockRequest

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from functions.core.locks import Locks

LONGEST_DAYS = 36_500
LONGEST_COOL_OFF_HOURS = 72
"""What AWS takes. Where a role is made, the days are narrowed to the longest lock that a policy asks for."""

PERMISSIONS: Mapping[str, tuple[Permission, ...]] = {
    "held": (
        Permission(
            actions=("ec2:DescribeLockedSnapshots",),
            resources=("*",),
            why="Describe of EC2 knows no resource types; locking again would start the lock anew",
        ),
    ),
    "lock": (
        Permission(
            actions=("ec2:LockSnapshot",),
            resources=(ANY_SNAPSHOT,),
            conditions={
                "StringEquals": MANAGED,
                # Without IfExists: a lock that names a date instead of days would otherwise have no bound.
                "NumericLessThanEquals": {"ec2:SnapshotLockDuration": str(LONGEST_DAYS)},
                "NumericLessThanEqualsIfExists": {"ec2:SnapshotCoolOffPeriod": str(LONGEST_COOL_OFF_HOURS)},
            },
            why="only what we took, and no longer than the longest lock of a policy",
        ),
    ),
}


class EbsLocks:
    """The port `Locks`."""

    def __init__(self, region: str, clients: Clients) -> None:
        self._ec2: EC2Client = clients.retrying("ec2", region)

    def held(self) -> Mapping[str, HeldLock]:
        """Every lock of the account's snapshots here, to the last page."""
        found: dict[str, HeldLock] = {}
        token: dict[str, Any] = {}
        while True:  # botocore has no paginator for it
            with translated("ec2:DescribeLockedSnapshots"):
                page = self._ec2.describe_locked_snapshots(MaxResults=PAGE, **token)
            for lock in page["Snapshots"]:
                state, expires_at = lock.get("LockState", ""), lock.get("LockExpiresOn")
                found[lock.get("SnapshotId", "")] = HeldLock(state=state, expires_at=expires_at)
            next_token = page.get("NextToken")
            if not next_token:
                return found
            token = {"NextToken": next_token}

    def lock(self, id: str, request: LockRequest) -> None:
        """The snapshot is locked from now for these days."""
        cool_off: Any = {} if request.cool_off_hours is None else {"CoolOffPeriod": request.cool_off_hours}
        with translated("ec2:LockSnapshot", resource=id):
            self._ec2.lock_snapshot(SnapshotId=id, LockMode=request.mode.value, LockDuration=request.days, **cool_off)


if TYPE_CHECKING:
    _port: type[Locks] = EbsLocks
