"""Snapshots of volumes: taken at the moment of the call, completed later, deleted when nothing forbids it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from moto.ec2.exceptions import EC2ClientError

from embedded import clock, life
from embedded.volumes import announcements
from embedded.volumes.blockstore import changed_indexes
from embedded.volumes.plane import Plane, check_tags, draw_fate, not_found
from embedded.volumes.resources import PENDING, EbsSnapshot, EbsVolume

_ONE_SNAPSHOT_AT_A_TIME = ("st1", "sc1")
_FAILED = "The snapshot could not be completed because of an internal error."


@dataclass(frozen=True)
class SetOfVolumes:
    """Which volumes of an instance CreateSnapshots takes."""

    instance_id: str
    exclude_boot_volume: bool = False
    exclude_data_volume_ids: Sequence[str] = ()


def create(plane: Plane, backend: Any, volume_id: str, description: str, tags: Mapping[str, str]) -> EbsSnapshot:
    """A pending snapshot holds what the volume held when this was called."""
    with plane.lock:
        volume = backend.get_volume(volume_id)
        check_tags(tags)
        _check_limits(plane, backend, [volume])
        snapshot = _take(plane, volume, description, tags)
        draw_fate("snapshot", snapshot)
        _begin(snapshot, lambda: _finish(plane, snapshot))
        return snapshot


def create_set(
    plane: Plane, backend: Any, wanted: SetOfVolumes, description: str, tags: Mapping[str, str], *, copy_tags: bool
) -> list[EbsSnapshot]:
    """Pending snapshots hold what the volumes of the instance held when this was called, all of one instant or none.

    The images are read one after the other: writers outside this process that want a set of one instant, as EBS gives
    it, have to pause while the call runs.
    """
    with plane.lock:
        volumes = _volumes_of(backend, wanted)
        _check_limits(plane, backend, volumes)
        tags_of_each = [{**(_own_tags(volume) if copy_tags else {}), **tags} for volume in volumes]
        for merged in tags_of_each:
            check_tags(merged)
        snapshots = [
            _take(plane, volume, description, merged) for volume, merged in zip(volumes, tags_of_each, strict=True)
        ]
        # AWS gives all members the same start.
        for snapshot in snapshots:
            snapshot.start_time, snapshot.started_at = snapshots[0].start_time, snapshots[0].started_at
        draw_fate("snapshot", snapshots[0])
        for snapshot in snapshots:
            _begin(snapshot, _finisher_of_member(plane, snapshot, snapshots))
        return snapshots


def delete(plane: Plane, backend: Any, snapshot_id: str) -> EbsSnapshot:
    """The snapshot is gone; blocks that no other snapshot consists of are gone with it.

    One deleted while it is pending goes out of sight at once, but keeps its place among the pending ones until AWS
    would have completed it.
    """
    with plane.lock:
        snapshot: EbsSnapshot | None = backend.snapshots.get(snapshot_id)
        if snapshot is None:
            raise not_found(snapshot_id)
        _check_deletion(backend, snapshot)
        del backend.snapshots[snapshot_id]
        backend.tags.pop(snapshot_id, None)
        plane.store.release(snapshot.blocks)
        snapshot.is_deleted = True
        if snapshot.is_stuck and snapshot in plane.in_creation:
            plane.in_creation.remove(snapshot)
        return snapshot


def _take(plane: Plane, volume: EbsVolume, description: str, tags: Mapping[str, str]) -> EbsSnapshot:
    blocks = plane.store.capture(volume.id, volume.last_captured)
    snapshot: EbsSnapshot = volume.ec2_backend.create_snapshot(volume.id, description)
    snapshot.add_tags(dict(tags))
    snapshot.blocks = blocks
    changed = changed_indexes(volume.last_captured, snapshot.blocks)
    volume.last_captured, volume.snapshot_taken_at = snapshot.blocks, snapshot.started_at
    snapshot.ends_at = snapshot.started_at + snapshot.lives_for("snapshot", len(changed))
    plane.in_creation.append(snapshot)
    return snapshot


def _begin(snapshot: EbsSnapshot, finish: Callable[[], None]) -> None:
    if snapshot.is_stuck:
        snapshot.ends_at = math.inf
        return
    life.at(snapshot.ends_at, finish, f"completing {snapshot.id}")


def _finish(plane: Plane, snapshot: EbsSnapshot) -> None:
    with plane.lock:
        plane.in_creation.remove(snapshot)
        if snapshot.is_deleted:
            return
        if snapshot.will_fail:
            snapshot.fail(_FAILED)
        else:
            snapshot.complete()
    announcements.snapshot_created(snapshot)


def _finisher_of_member(plane: Plane, member: EbsSnapshot, members: Sequence[EbsSnapshot]) -> Callable[[], None]:
    def finish() -> None:
        with plane.lock:
            plane.in_creation.remove(member)
            if not member.is_deleted and member.status == PENDING:
                if member.will_fail:
                    # One failed member makes AWS show all of them as failed.
                    for other in members:
                        other.fail(_FAILED)
                else:
                    member.complete()
            ended = not any(other in plane.in_creation for other in members)
            shown = [other for other in members if not other.is_deleted]
        if ended and shown:
            announcements.snapshot_set_created(shown)

    return finish


def _own_tags(volume: EbsVolume) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in volume.get_tags() if not tag["key"].startswith("aws:")}


def _volumes_of(backend: Any, wanted: SetOfVolumes) -> list[EbsVolume]:
    instance = backend.get_instance(wanted.instance_id)
    attached = instance.get_block_device_mapping
    data_volume_ids = {mapping.volume_id for device, mapping in attached if device != instance.root_device_name}
    unknown = [volume_id for volume_id in wanted.exclude_data_volume_ids if volume_id not in data_volume_ids]
    if unknown:
        raise EC2ClientError(
            "InvalidParameterValue", f"{', '.join(unknown)} is not a data volume of instance {wanted.instance_id}."
        )
    volumes = [
        backend.get_volume(mapping.volume_id)
        for device, mapping in attached
        if not (wanted.exclude_boot_volume and device == instance.root_device_name)
        and mapping.volume_id not in wanted.exclude_data_volume_ids
    ]
    if not volumes:
        raise EC2ClientError("InvalidParameterCombination", f"Instance {wanted.instance_id} has no volume to snapshot.")
    return volumes


def _check_limits(plane: Plane, backend: Any, volumes: Sequence[EbsVolume]) -> None:
    quotas = plane.limits.quotas
    plane.check_room_for_snapshots(backend, len(volumes))
    pending = [snapshot for snapshot in plane.in_creation if snapshot.ec2_backend is backend]
    if len(pending) + len(volumes) > quotas.pending_snapshots:
        raise EC2ClientError("PendingSnapshotLimitExceeded", "Maximum number of pending snapshots exceeded.")
    for volume in volumes:
        most = (
            quotas.pending_snapshots_per_throughput_volume
            if volume.volume_type in _ONE_SNAPSHOT_AT_A_TIME
            else quotas.pending_snapshots_per_volume
        )
        if sum(snapshot.volume_id == volume.id for snapshot in pending) >= most:
            raise EC2ClientError(
                "ConcurrentSnapshotLimitExceeded",
                "Maximum allowed in-progress snapshots for a single volume exceeded.",
            )
        taken_at, pause_seconds = volume.snapshot_taken_at, quotas.seconds_between_snapshots_of_a_volume
        if taken_at is not None and 0 <= clock.now() - taken_at < pause_seconds:
            raise EC2ClientError(
                "SnapshotCreationPerVolumeRateExceeded",
                "The rate limit for creating concurrent snapshots of an EBS volume has been exceeded. "
                f"Wait at least {pause_seconds:g} seconds between concurrent volume snapshots.",
            )


def _check_deletion(backend: Any, snapshot: EbsSnapshot) -> None:
    # A disabled AMI is still registered, so it still protects its snapshots.
    image_id = next((image_id for image_id in sorted(snapshot.image_ids) if image_id in backend.amis), None)
    if image_id is not None:
        raise EC2ClientError("InvalidSnapshot.InUse", f"The snapshot {snapshot.id} is currently in use by {image_id}")
    if snapshot.lock is not None and snapshot.lock.forbids_deletion(datetime.now(UTC)):
        raise EC2ClientError("SnapshotLocked", f"The snapshot {snapshot.id} is locked and can't be deleted.")
