"""What stands in the way of recovering volumes, found before anything is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from functions.aws.clients import Clients
from functions.aws.faults import translated
from functions.aws.recoveries.checks import fine, key_line, obstacle, quota_line, warning
from functions.aws.recoveries.settings_ebs import USUAL_TYPE, key_of, wanted_of
from functions.core.errors import HoldfastError
from functions.core.recoveries import PlanLine, RecoveryOrder

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_kms import KMSClient

QUOTAS: Mapping[str, str] = {
    "gp2": "L-D18FCD1D",
    "gp3": "L-7A658B76",
    "io1": "L-FD252861",
    "io2": "L-09BD8365",
    "sc1": "L-17AF77E8",
    "st1": "L-82ACEF56",
    "standard": "L-9CF3C2EB",
}
"""The quota on the storage of each volume type in a Region, in TiB."""

GIB_PER_TIB = 1024


class VolumePlan:
    """The checks before volumes are made in one Region."""

    def __init__(self, region: str, clients: Clients) -> None:
        self._region = region
        self._ec2: EC2Client = clients.retrying("ec2", region)
        self._kms: KMSClient = clients.retrying("kms", region)
        self._quotas: Any = clients.retrying("service-quotas", region)

    def lines(self, order: RecoveryOrder) -> tuple[PlanLine, ...]:
        """One line for each thing looked at; nothing is made.

        Errors: AwsBusy, NotAllowed.
        """
        return tuple(self._lines(order))

    def _lines(self, order: RecoveryOrder) -> Iterator[PlanLine]:
        snapshots = self._snapshots(order.snapshot_ids)
        for snapshot_id in order.snapshot_ids:
            yield self._snapshot_line(snapshot_id, snapshots.get(snapshot_id))
        wanted = {id: wanted_of(order, number) for number, id in enumerate(order.snapshot_ids)}
        keys = {snapshot["KmsKeyId"] for snapshot in snapshots.values() if snapshot.get("KmsKeyId")}
        keys |= {key for one in wanted.values() if (key := key_of(one, self._region))}
        for key in sorted(keys) or [None]:
            yield key_line(self._kms, key)
        yield self._zone_line(order.wanted)
        needed_gib: Counter[str] = Counter()
        for snapshot_id, snapshot in snapshots.items():
            size_gib = max(snapshot.get("VolumeSize", 0), wanted[snapshot_id].get("size_gib") or 0)
            needed_gib[str(wanted[snapshot_id].get("volume_type") or USUAL_TYPE)] += size_gib
        for volume_type, gib in sorted(needed_gib.items()):
            yield self._quota_line(volume_type, gib)

    def _snapshots(self, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        with translated("ec2:DescribeSnapshots"):
            pages = self._ec2.get_paginator("describe_snapshots").paginate(
                OwnerIds=["self"], Filters=[{"Name": "snapshot-id", "Values": list(ids)}]
            )
            for page in pages:
                found |= {one.get("SnapshotId", ""): one for one in page["Snapshots"]}
        return found

    def _snapshot_line(self, snapshot_id: str, snapshot: Mapping[str, Any] | None) -> PlanLine:
        if snapshot is None:
            return obstacle("snapshot", f"there is no {snapshot_id} in {self._region}", "recover from another point")
        tier, state = snapshot.get("StorageTier", "standard"), snapshot.get("State")
        detail = f"{snapshot_id}: {snapshot.get('VolumeSize')} GiB, {state}, in the {tier} tier"
        if tier == "archive":
            step = "restore it from the archive first, which takes up to 72 hours, or recover from another point"
            return obstacle("snapshot", detail, step)
        if state != "completed":
            return obstacle("snapshot", detail, "wait until it is completed, or recover from another point")
        return fine("snapshot", detail)

    def _zone_line(self, wanted: Mapping[str, Any]) -> PlanLine:
        with translated("ec2:DescribeAvailabilityZones"):
            answer = self._ec2.describe_availability_zones(
                Filters=[{"Name": "zone-type", "Values": ["availability-zone"]}]
            )
        states = {zone.get("ZoneName", ""): str(zone.get("State", "")) for zone in answer["AvailabilityZones"]}
        usable = sorted(name for name, state in states.items() if state == "available")
        zone = wanted.get("availability_zone")
        if not usable:
            return obstacle("zone", f"{self._region} has no available zone", "recover in another Region")
        if zone is None:
            return fine("zone", f"the first of {len(usable)} that has room is taken")
        if zone is None:
            return fine("zone", f"none is asked for; the first of {len(usable)} that has room is taken")
        if zone in usable:
            return fine("zone", f"{zone} is available, one of {len(usable)}")
        why = f"{zone} is {states[zone]}" if zone in states else f"{self._region} has no {zone}"
        step = "name another with availability_zone, or the first one with room is taken"
        return warning("zone", f"{why}; {len(usable)} others are available", step)

    def _quota_line(self, volume_type: str, needed_gib: int) -> PlanLine:
        what, code = f"quota of {volume_type}", QUOTAS.get(volume_type)
        if code is None:
            return warning(what, f"no quota is known for the type {volume_type}", "look in Service Quotas")
        try:
            with translated("servicequotas:GetServiceQuota", resource=code):
                most_tib = self._quotas.get_service_quota(ServiceCode="ebs", QuotaCode=code)["Quota"]["Value"]
        except HoldfastError as refused:
            # No volume needs Service Quotas; where it says nothing, EC2 itself will say when there is too much.
            return warning(what, f"it cannot be read here: {refused.what}", "look in Service Quotas")
        used_gib = self._used_gib(volume_type)
        return quota_line(what, used=used_gib, more=needed_gib, most=most_tib * GIB_PER_TIB, unit=" GiB")

    def _used_gib(self, volume_type: str) -> int:
        used = 0
        with translated("ec2:DescribeVolumes"):
            pages = self._ec2.get_paginator("describe_volumes").paginate(
                Filters=[{"Name": "volume-type", "Values": [volume_type]}], PaginationConfig={"PageSize": 500}
            )
            for page in pages:
                used += sum(volume.get("Size", 0) for volume in page["Volumes"])
        return used
