"""Volumes on their way to and from an instance; attaching takes its time and is refused where EC2 refuses it."""

from __future__ import annotations

from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.elastic_block_store import VolumeAttachment

from embedded import clock, durations, faults, life
from embedded.volumes.resources import EbsVolume

ATTACHING, ATTACHED, DETACHING = "attaching", "attached", "detaching"


def attach(backend: Any, volume_id: str, instance_id: str, device: str) -> VolumeAttachment:
    """The volume is in use at once and on the instance a little later; EC2's refusal where that cannot be."""
    volume, instance = backend.get_volume(volume_id), backend.get_instance(instance_id)
    _check(volume, instance, device)
    attachment: VolumeAttachment = backend.attach_volume(volume_id, instance_id, device)
    _show(attachment, ATTACHING)
    fault = faults.take("life:attachment", backend.region_name)
    if fault is not None and fault.effect == "stick":
        return attachment

    def finish() -> None:
        if volume.attachment is not attachment or attachment.status != ATTACHING:
            return  # the instance has gone, or somebody has detached it meanwhile
        if fault is not None:
            backend.detach_volume(volume_id, instance_id, device)
        else:
            _show(attachment, ATTACHED)

    life.at(clock.now() + durations.seconds("attachment"), finish, f"attaching {volume_id}")
    return attachment


def detach(backend: Any, volume_id: str, instance_id: str | None, device: str | None) -> VolumeAttachment:
    """The volume leaves its instance and is available a little later."""
    volume: EbsVolume = backend.get_volume(volume_id)
    attachment = volume.attachment
    if attachment is None:
        raise EC2ClientError("IncorrectState", f"Volume '{volume_id}' is in the 'available' state.")
    if instance_id not in (None, attachment.instance.id) or device not in (None, attachment.device):
        raise EC2ClientError(
            "InvalidAttachment.NotFound", f"The volume '{volume_id}' is not attached to '{instance_id}' as '{device}'."
        )
    if attachment.status == DETACHING:
        return attachment
    _show(attachment, DETACHING)

    def finish() -> None:
        if volume.attachment is attachment:
            backend.detach_volume(volume_id, attachment.instance.id, attachment.device)

    life.at(clock.now() + durations.seconds("detachment"), finish, f"detaching {volume_id}")
    return attachment


def _check(volume: EbsVolume, instance: Any, device: str) -> None:
    if volume.attachment is not None:
        raise EC2ClientError("VolumeInUse", f"{volume.id} is already attached to an instance")
    if instance.state not in ("running", "stopped"):
        raise EC2ClientError("IncorrectState", f"Instance '{instance.id}' is not 'running'.")
    if volume.zone.name != instance.availability_zone:
        raise EC2ClientError(
            "InvalidVolume.ZoneMismatch",
            f"The volume '{volume.id}' is not in the same availability zone as instance '{instance.id}'",
        )
    if device in instance.block_device_mapping:
        raise EC2ClientError(
            "InvalidParameterValue",
            f"Invalid value '{device}' for unixDevice. Attachment point {device} is already in use",
        )


def _show(attachment: VolumeAttachment, status: str) -> None:
    attachment.status = status
    attachment.instance.block_device_mapping[attachment.device].status = status
