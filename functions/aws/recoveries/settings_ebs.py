"""The settings of volumes: what a new one is made with, and where it stands beside the original."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from functions.aws.recoveries.settings_rds import region_of
from functions.core.recoveries import RecoveryOrder, Setting
from functions.core.resources import Kind

Wanted = Mapping[str, Any]
"""The configuration of one volume, under the names that the inventory gives."""

_NAMES = {
    "availability_zone": "AvailabilityZone",
    "volume_type": "VolumeType",
    "size_gib": "Size",
    "iops": "Iops",
    "throughput_mibps": "Throughput",
    "kms_key_id": "KmsKeyId",
}
SETTINGS = tuple(_NAMES)
"""What can be compared between the original and the restored volume."""

_TYPES_WITH_IOPS = ("gp3", "io1", "io2")
_TYPES_FOR_SEVERAL = ("io1", "io2")
USUAL_TYPE = "gp3"


def wanted_of(order: RecoveryOrder, number: int) -> Wanted:
    """The configuration of the volume of that number. For an instance, each volume has its own, and what somebody
    asked for besides holds for all of them."""
    wanted: Wanted = order.wanted
    if order.kind is not Kind.INSTANCE:
        return wanted
    volumes: Mapping[str, Wanted] = wanted.get("volumes") or {}
    asked = {name: wanted[name] for name in (*_NAMES, "initialization_mibps") if wanted.get(name) is not None}
    return {**volumes.get(_source_of(order, number), {}), **asked}


def devices_of(order: RecoveryOrder, number: int) -> tuple[tuple[str, str], ...]:
    """Where the original was attached, as instance and device; the instance is empty where it is not recorded."""
    wanted: Wanted = order.wanted
    if order.kind is Kind.INSTANCE:
        device = (wanted.get("devices") or {}).get(_source_of(order, number))
        return (("", str(device)),) if device else ()
    return tuple(
        (str(one.get("instance_id", "")), str(one.get("device", "")))
        for one in wanted.get("attachments") or ()
        if one.get("device")
    )


def parameters_of(wanted: Wanted, snapshot: Mapping[str, Any], region: str) -> dict[str, Any]:
    """The parameters of CreateVolume beside zone, snapshot and tags; a type is never given what it does not take."""
    volume_type = wanted.get("volume_type") or USUAL_TYPE
    parameters: dict[str, Any] = {"VolumeType": volume_type}
    if volume_type in _TYPES_WITH_IOPS and wanted.get("iops"):
        parameters["Iops"] = wanted["iops"]
    if volume_type == "gp3" and wanted.get("throughput_mibps"):
        parameters["Throughput"] = wanted["throughput_mibps"]
    # The volume may have been smaller when its configuration was saved than when the snapshot was taken.
    if (wanted.get("size_gib") or 0) > snapshot.get("VolumeSize", 0):
        parameters["Size"] = wanted["size_gib"]
    if wanted.get("initialization_mibps"):
        parameters["VolumeInitializationRate"] = wanted["initialization_mibps"]
    if volume_type in _TYPES_FOR_SEVERAL and wanted.get("is_multi_attach"):
        parameters["MultiAttachEnabled"] = True
    key = key_of(wanted, region)
    if key and key != snapshot.get("KmsKeyId"):
        parameters |= {"Encrypted": True, "KmsKeyId": key}
    return parameters


def key_of(wanted: Wanted, region: str) -> str | None:
    """The key a new volume is to have; None for the snapshot's. A key belongs to one Region."""
    key = wanted.get("kms_key_id")
    return str(key) if key and region_of(key) in ("", region) else None


def read_setting(name: str, volume: Mapping[str, Any], wanted: Wanted, region: str) -> Setting | None:
    """Where one setting stands; None where the original says nothing that such a volume has."""
    value, shown = wanted.get(name), volume.get(_NAMES[name])
    volume_type = wanted.get("volume_type") or USUAL_TYPE
    if value is None or (name == "iops" and volume_type not in _TYPES_WITH_IOPS):
        return None
    if name == "throughput_mibps" and volume_type != "gp3":
        return None
    if name == "kms_key_id":
        return _key_setting(value, shown, region)
    if name == "size_gib" and shown is not None and shown >= value:
        return Setting(what=name, is_applied=True)
    if shown == value:
        return Setting(what=name, is_applied=True)
    step = "attach it where it is" if name == "availability_zone" else "change it with ModifyVolume"
    return Setting(what=name, is_applied=False, detail=f"it is {shown}, the original had {value}; {step}")


def _key_setting(value: Any, shown: Any, region: str) -> Setting:
    if shown == value:
        return Setting(what="kms_key_id", is_applied=True)
    if region_of(value) not in ("", region):
        return Setting(what="kms_key_id", is_applied=bool(shown), detail=f"in {region} it is {shown or 'none'}")
    step = "recover again with another value for kms_key_id"
    return Setting(what="kms_key_id", is_applied=False, detail=f"it is {shown}, the original had {value}; {step}")


def _source_of(order: RecoveryOrder, number: int) -> str:
    return order.source_ids[number] if number < len(order.source_ids) else ""
