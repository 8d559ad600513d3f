"""Volumes: created empty or from a snapshot, available a little later, deleted with their image."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from moto.ec2.exceptions import EC2ClientError

from embedded import clock, durations, faults, life
from embedded.volumes import announcements, kms
from embedded.volumes.plane import FAIL, STICK, Plane, check_tags, completed
from embedded.volumes.resources import AVAILABLE, CREATING, EbsSnapshot, EbsVolume, SourceSnapshot, default_key_arn

_TYPES_WITH_IOPS = ("gp3", "io1", "io2")
_INITIALIZATION_MIBPS = range(100, 301)


@dataclass(frozen=True)
class VolumeRequest:
    """What CreateVolume was asked for."""

    zone: str
    size_gib: int | None = None
    snapshot_id: str | None = None
    encrypted: bool = False
    kms_key: str | None = None
    volume_type: str | None = None
    iops: int | None = None
    throughput: int | None = None
    multi_attach_enabled: bool | None = None
    initialization_mibps: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Volumes:
    """Creates each requested volume once, however often the request is repeated with its token."""

    plane: Plane
    _made: dict[tuple[str, str], tuple[VolumeRequest, str]] = field(default_factory=dict)
    """(Region, client token) -> what it asked for, and the volume it got."""

    def create(self, backend: Any, request: VolumeRequest, token: str | None) -> EbsVolume:
        """A volume in `creating` holds the bytes of its snapshot; it becomes available, or vanishes if its key cannot
        be used: EBS looks at the key only after it has answered."""
        with self.plane.lock:
            repeated = self._repeated(backend, request, token)
            if repeated is not None:
                return repeated
            volume = self._make(backend, request)
            if token:
                self._made[backend.region_name, token] = (request, volume.id)
            fault = faults.take("life:volume", backend.region_name)
            if fault is None or fault.effect != STICK:
                will_fail = fault is not None and fault.effect == FAIL
                when = clock.now() + durations.seconds("volume")
                life.at(when, lambda: self._finish(volume, will_fail=will_fail), f"creating {volume.id}")
            return volume

    def delete(self, backend: Any, volume_id: str) -> None:
        """The volume and its image are gone, and a notice says so."""
        with self.plane.lock:
            volume: EbsVolume = backend.delete_volume(volume_id)
            backend.tags.pop(volume_id, None)
        announcements.volume_deleted(volume)

    def _repeated(self, backend: Any, request: VolumeRequest, token: str | None) -> EbsVolume | None:
        asked_before, volume_id = self._made.get((backend.region_name, token or ""), (None, ""))
        if asked_before is None:
            return None
        if asked_before != request:
            raise EC2ClientError(
                "IdempotentParameterMismatch",
                "The request uses the same client token as a previous, but non-identical request.",
            )
        volume: EbsVolume = backend.get_volume(volume_id)
        return volume

    def _make(self, backend: Any, request: VolumeRequest) -> EbsVolume:
        if backend.get_zone_by_name(request.zone) is None:
            raise EC2ClientError("InvalidZone.NotFound", f"The zone '{request.zone}' does not exist.")
        check_tags(request.tags)
        _check_performance(request)
        origin = self._origin(backend, request)
        request = _encrypted_as_aws_would(backend, request, origin)
        volume: EbsVolume = backend.create_volume(
            size=request.size_gib,
            zone_name=request.zone,
            snapshot_id=request.snapshot_id,
            encrypted=request.encrypted,
            kms_key_id=request.kms_key,
            volume_type=request.volume_type,
            iops=request.iops,
            throughput=request.throughput,
            multi_attach_enabled=request.multi_attach_enabled,
        )
        volume.phase = CREATING
        volume.volume_initialization_rate = request.initialization_mibps
        volume.add_tags(dict(request.tags))
        return volume

    def _origin(self, backend: Any, request: VolumeRequest) -> EbsSnapshot | None:
        if request.snapshot_id is None:
            return None
        found = self.plane.snapshot(SourceSnapshot(backend.region_name, request.snapshot_id))
        origin = completed(found, request.snapshot_id)
        if request.size_gib is not None and request.size_gib < origin.volume_size:
            raise EC2ClientError(
                "InvalidParameterValue",
                f"The volume size {request.size_gib} GiB is smaller than the snapshot: "
                f"'{origin.id}' needs at least {origin.volume_size} GiB.",
            )
        return origin

    def _finish(self, volume: EbsVolume, *, will_fail: bool) -> None:
        with self.plane.lock:
            backend = volume.ec2_backend
            if volume.id not in backend.volumes:
                return
            cause = _why_impossible(volume)
            if will_fail:
                cause = cause or "The volume could not be created because of an internal error."
            if cause:
                backend.delete_volume(volume.id)
                backend.tags.pop(volume.id, None)
            else:
                volume.phase = AVAILABLE
        if cause:
            announcements.volume_failed(volume, cause)
        else:
            announcements.volume_created(volume)


def _check_performance(request: VolumeRequest) -> None:
    """The type takes what the request says of its speed; EC2's refusal if not. moto would take anything."""
    volume_type = request.volume_type or "gp2"
    if request.iops is not None and volume_type not in _TYPES_WITH_IOPS:
        raise EC2ClientError(
            "InvalidParameterCombination", f"The parameter iops is not supported for {volume_type} volumes."
        )
    if request.iops is None and volume_type in _TYPES_WITH_IOPS[1:]:
        raise EC2ClientError("MissingParameter", f"The parameter iops must be specified for {volume_type} volumes.")
    if request.throughput is not None and volume_type != "gp3":
        raise EC2ClientError(
            "InvalidParameterCombination", f"The parameter throughput is not supported for {volume_type} volumes."
        )
    rate = request.initialization_mibps
    if rate is not None and (request.snapshot_id is None or int(rate) not in _INITIALIZATION_MIBPS):
        raise EC2ClientError(
            "InvalidParameterValue", "The volume initialization rate is 100 to 300 MiB/s, of volumes from snapshots."
        )


def _encrypted_as_aws_would(backend: Any, request: VolumeRequest, origin: EbsSnapshot | None) -> VolumeRequest:
    inherited = origin is not None and origin.encrypted
    if request.kms_key and not (request.encrypted or inherited or backend.ebs_encryption_by_default):
        raise EC2ClientError(
            "InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set."
        )
    if not (request.encrypted or inherited or backend.ebs_encryption_by_default):
        return request
    if request.kms_key:
        key_arn = kms.key_arn(request.kms_key, backend.region_name)
    elif origin is not None and origin.kms_key_id:
        key_arn = origin.kms_key_id
    else:
        key_arn = default_key_arn(backend)
    return replace(request, encrypted=True, kms_key=key_arn)


def _why_impossible(volume: EbsVolume) -> str | None:
    region = volume.ec2_backend.region_name
    origin = volume.ec2_backend.snapshots.get(volume.snapshot_id)
    keys = [volume.kms_key_id, origin.kms_key_id if origin else None]
    return next((cause for key in keys if key and (cause := kms.why_unusable(key, region))), None)
