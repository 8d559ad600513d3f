"""What the EBS operations share: the bytes, the limits, and what is still being made."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import ec2_backends

from embedded import ACCOUNT, faults
from embedded.volumes.blockstore import BlockStore
from embedded.volumes.limits import Limits, in_force
from embedded.volumes.resources import COMPLETED, EbsSnapshot, SourceSnapshot
from embedded.volumes.sharing import PublicAccess

FAIL, STICK = "fail", "stick"
MOST_TAGS = 50


@dataclass
class Plane:
    """One per server. `lock` guards every change of state; notices are sent after it is let go, because what they
    start may call EC2 again."""

    store: BlockStore
    limits: Limits = in_force
    lock: threading.RLock = field(default_factory=threading.RLock)
    in_creation: list[EbsSnapshot] = field(default_factory=list)
    """Snapshots of volumes that AWS still works on: pending ones, and ones deleted while they were pending."""
    public_access: dict[str, PublicAccess] = field(default_factory=dict)
    """What a Region does about public snapshots, where it does anything."""

    def backend(self, region: str) -> Any:
        return ec2_backends[ACCOUNT][region]

    def snapshot(self, source: SourceSnapshot) -> EbsSnapshot | None:
        found: EbsSnapshot | None = self.backend(source.region).snapshots.get(source.snapshot_id)
        return found

    def check_room_for_snapshots(self, backend: Any, wanted: int) -> None:
        """There is room for `wanted` more snapshots in the Region; the refusal AWS answers with, if not."""
        owned = sum(snapshot.owner_id == ACCOUNT for snapshot in list(backend.snapshots.values()))
        if owned + wanted > self.limits.quotas.snapshots:
            raise EC2ClientError(
                "SnapshotLimitExceeded",
                f"Maximum number of snapshots ({self.limits.quotas.snapshots}) would be exceeded in this Region.",
            )


def check_tags(tags: Mapping[str, str]) -> None:
    """EC2 takes these tags; its refusal, before anything was made, if not."""
    if len(tags) > MOST_TAGS:
        raise EC2ClientError("TagLimitExceeded", f"The maximum number of Tags for a resource is {MOST_TAGS}.")
    if any(key.startswith("aws:") for key in tags):
        raise EC2ClientError(
            "InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use; use another key."
        )


def draw_fate(kind: str, snapshot: EbsSnapshot) -> None:
    """An armed fault on `life:<kind>` makes this snapshot fail, or never end."""
    fault = faults.take(f"life:{kind}", snapshot.region)
    if fault is not None:
        snapshot.will_fail, snapshot.is_stuck = fault.effect == FAIL, fault.effect == STICK


def completed(snapshot: EbsSnapshot | None, snapshot_id: str) -> EbsSnapshot:
    """The snapshot, if it exists and is complete; the refusal AWS answers with, if not."""
    if snapshot is None:
        raise not_found(snapshot_id)
    if snapshot.status != COMPLETED:
        raise EC2ClientError("IncorrectState", f"Snapshot '{snapshot_id}' is not 'completed'.")
    return snapshot


def not_found(snapshot_id: str) -> EC2ClientError:
    return EC2ClientError("InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist.")
