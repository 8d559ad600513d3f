"""Volumes and snapshots as moto knows them, with the state, the lineage and the content that moto leaves out."""

import math
import uuid
import zlib
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from moto.core.utils import utcnow
from moto.ec2.models import EC2Backend, elastic_block_store
from moto.ec2.models.elastic_block_store import EBSBackend, Snapshot, Volume

from embedded import clock, durations
from embedded.volumes import kms
from embedded.volumes.blockstore import BLOCK_BYTES, GIB, Blocks, BlockStore
from embedded.volumes.locks import Lock

PENDING, COMPLETED, ERROR = "pending", "completed", "error"
CREATING, AVAILABLE = "creating", "available"
VOLUME_OF_EVERY_COPY = "vol-ffffffff"


class SourceSnapshot(NamedTuple):
    """What a copy was made of."""

    region: str
    snapshot_id: str


class CopiedVolume(NamedTuple):
    """Stands where moto expects the volume of a snapshot: a copy has none to show."""

    size: int
    volume_type: str
    id: str = VOLUME_OF_EVERY_COPY


class EbsVolume(Volume):
    """A volume with an image."""

    def __init__(self, store: BlockStore, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._store = store
        # Not called `state`: moto would show it instead of `status` and an attached volume would look available.
        # A volume that moto makes for an instance is there at once; CreateVolume sets CREATING itself.
        self.phase = AVAILABLE
        origin: EbsSnapshot | None = self.ec2_backend.snapshots.get(self.snapshot_id)
        if origin and self.encrypted and not self.kms_key_id:
            self.kms_key_id = origin.kms_key_id  # RunInstances names no key where CreateVolume does
        self.lineage = origin.lineage if origin and origin.kms_key_id == self.kms_key_id else str(uuid.uuid4())
        self.last_captured: Blocks = origin.blocks if origin else {}
        """What the newest snapshot of this volume, or the one it came from, consists of."""
        self.snapshot_taken_at: float | None = None
        self.volume_initialization_rate: int | None = None
        store.create_image(self.id, int(self.size), self.last_captured)

    @property
    def status(self) -> str:
        return "in-use" if self.attachment else self.phase

    def get_tags(self) -> list[dict[str, str]]:
        return _tags_of(self)

    def modify(self, target_size: int | None = None, **kwargs: Any) -> None:
        super().modify(target_size=target_size, **kwargs)
        if target_size:
            self._store.grow_image(self.id, int(target_size))


class EbsSnapshot(Snapshot):
    """A snapshot with content and a life of its own."""

    def __init__(self, ec2_backend: Any, snapshot_id: str, volume: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(ec2_backend, snapshot_id, volume, *args, **kwargs)
        # moto asks the volume for both whenever it describes the snapshot; the volume may have grown or gone by then.
        self._volume_id, self._size_gib, self.volume_type = volume.id, int(volume.size), volume.volume_type
        self.status = COMPLETED if self.from_ami else PENDING
        self.blocks: Blocks = {}
        self.lineage = getattr(volume, "lineage", str(uuid.uuid4()))
        self.kms_key_id = self.kms_key_id or getattr(volume, "kms_key_id", None)
        self.started_at = clock.now()
        self.runs_since = self.started_at
        """Later than `started_at` for a copy that had to wait for its turn."""
        self.ends_at = math.inf
        """Never, while a copy waits for its turn or if it is stuck."""
        self.completed_at: datetime | None = utcnow() if self.from_ami else None
        self.state_message: str | None = None
        self.will_fail = False
        self.is_stuck = False
        self.is_deleted = False
        self.lock: Lock | None = None
        self.image_ids: set[str] = {self.from_ami} if self.from_ami else set()

    @property
    def region(self) -> str:
        return str(self.ec2_backend.region_name)

    @property
    def volume_id(self) -> str:
        return str(self._volume_id)

    @property
    def volume_size(self) -> int:
        return self._size_gib

    @property
    def progress(self) -> str:
        if self.status == COMPLETED:
            return "100%"
        if self.ends_at in (math.inf, self.runs_since):
            return "0%"
        done = (clock.now() - self.runs_since) / (self.ends_at - self.runs_since)
        return f"{min(99, max(0, int(100 * done)))}%"

    def lives_for(self, kind: str, changed_blocks: int) -> float:
        """How long AWS takes to complete it, in seconds: the configured time, spread a little by its id."""
        per_gib = durations.seconds(f"{kind}_per_gib") * changed_blocks * BLOCK_BYTES / GIB
        spread = 0.9 + 0.2 * (zlib.crc32(self.id.encode()) % 1000) / 1000
        return (durations.seconds(kind) + per_gib) * spread

    def complete(self) -> None:
        """It is complete since `ends_at`, however far the clock has jumped past that."""
        ended = datetime.fromtimestamp(self.ends_at, UTC)
        self.status, self.completed_at = COMPLETED, ended.replace(tzinfo=None)  # moto's own times are naive UTC
        if self.lock is not None:
            self.lock = self.lock.started(ended)

    def fail(self, message: str) -> None:
        self.status, self.state_message = ERROR, message
        self.lock = None

    def get_tags(self) -> list[dict[str, str]]:
        return _tags_of(self)

    def get_filter_value(self, filter_name: str, method_name: str | None = None) -> Any:
        if filter_name == "volume-id":
            return self.volume_id
        if filter_name == "volume-size":
            return self.volume_size
        if filter_name in ("transfer-type", "owner-alias"):
            return getattr(self, filter_name.replace("-", "_"), None)
        return super().get_filter_value(filter_name, method_name)

    def describe(self) -> dict[str, Any]:
        """The snapshot as DescribeSnapshots shows it."""
        completed = self.status == COMPLETED
        return {
            "SnapshotId": self.id,
            "VolumeId": self.volume_id,
            "VolumeSize": self.volume_size,
            "State": self.status,
            "StateMessage": self.state_message,
            "Progress": self.progress,
            "StartTime": self.start_time,
            "CompletionTime": self.completed_at,
            "FullSnapshotSizeInBytes": len(self.blocks) * BLOCK_BYTES if completed else None,
            "Description": self.description or "",
            "OwnerId": self.owner_id,
            "Encrypted": self.encrypted,
            "KmsKeyId": self.kms_key_id,
            "DataEncryptionKeyId": self.lineage if self.encrypted else None,
            "StorageTier": self.storage_tier,
            "RestoreExpiryTime": self.restore_expiry_time,
            "Tags": self.tag_set,
        }


class EbsCopy(EbsSnapshot):
    """A snapshot made of another one."""

    def __init__(
        self, ec2_backend: Any, snapshot_id: str, source: SourceSnapshot, of: EbsSnapshot, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(ec2_backend, snapshot_id, CopiedVolume(of.volume_size, of.volume_type), *args, **kwargs)
        self.source = source
        self.blocks = of.blocks
        self.is_incremental = False
        self.completion_duration_minutes: int | None = None

    @property
    def transfer_type(self) -> str:
        return "time-based" if self.completion_duration_minutes else "standard"

    def describe(self) -> dict[str, Any]:
        return super().describe() | {
            "TransferType": self.transfer_type,
            "CompletionDurationMinutes": self.completion_duration_minutes,
        }


def install(store: BlockStore) -> None:
    """moto makes our volumes and snapshots, keeps their images, and takes default keys from ministack's KMS."""
    elastic_block_store.Volume = partial(EbsVolume, store)  # type: ignore[misc]
    elastic_block_store.Snapshot = EbsSnapshot  # type: ignore[misc]
    for patched in ("delete_volume", "_create_default_encryption_key", "modify_ebs_default_kms_key_id"):
        if not hasattr(EBSBackend, patched):
            raise RuntimeError(f"moto has no EBSBackend.{patched} any more; look for what took its place")

    def delete_volume(self: EC2Backend, volume_id: str) -> Volume:
        deleted: Volume = EBSBackend.delete_volume(self, volume_id)
        store.remove_image(volume_id)
        return deleted

    def create_default_key(self: EC2Backend) -> str:
        self.default_kms_key_id = kms.default_key_arn(self.region_name)
        return self.default_kms_key_id

    def modify_default_key(self: EC2Backend, kms_key_id: str) -> str:
        self.default_kms_key_id = kms.key_arn(kms_key_id, self.region_name) if kms_key_id else create_default_key(self)
        return self.default_kms_key_id

    EC2Backend.delete_volume = delete_volume
    EC2Backend._create_default_encryption_key = create_default_key
    EC2Backend.modify_ebs_default_kms_key_id = modify_default_key


def default_key_arn(backend: EC2Backend) -> str:
    """The key that encrypts in this Region when nobody names one."""
    return backend.default_kms_key_id or backend._create_default_encryption_key()


def _tags_of(resource: EbsVolume | EbsSnapshot) -> list[dict[str, str]]:
    # moto's own look-up walks the tags of every resource there is, for each resource it describes.
    tags = resource.ec2_backend.tags.get(resource.id, {})
    return [{"key": key, "value": value} for key, value in tags.items()]
