"""The EC2 requests about volumes, snapshots and locks; everything else is moto's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses import EC2Response

from embedded import ACCOUNT
from embedded.volumes import locks, pages, sharing, snapshots
from embedded.volumes.copies import Copies, CopyRequest
from embedded.volumes.locks import Lock, LockRequest
from embedded.volumes.plane import Plane, not_found
from embedded.volumes.resources import AVAILABLE, PENDING, EbsSnapshot, EbsVolume, SourceSnapshot, default_key_arn
from embedded.volumes.sharing import PublicAccess
from embedded.volumes.snapshots import SetOfVolumes
from embedded.volumes.volumes import VolumeRequest, Volumes

_NARROWED_BY = ("Filters", "MaxResults", "SnapshotIds", "VolumeIds", "InstanceIds")
_TOO_MANY_REQUESTS = (
    "<Response><Errors><Error><Code>RequestLimitExceeded</Code><Message>Request limit exceeded.</Message></Error>"
    "</Errors><RequestID>00000000-0000-0000-0000-000000000000</RequestID></Response>"
)


@dataclass
class Operations:
    """What the requests are answered with."""

    plane: Plane
    copies: Copies
    volumes: Volumes


class Ec2Api(EC2Response):
    """moto's EC2, with honest volumes. One object per request; `operations` is set once, on installation."""

    operations: ClassVar[Operations]

    def call_action(self) -> Any:
        if not self.operations.plane.limits.admit(self._limited_as(), self.region):
            # moto cannot answer an EC2 error with 503, and SDKs read the status.
            return 503, {"Content-Type": "text/xml;charset=UTF-8"}, _TOO_MANY_REQUESTS
        return super().call_action()

    def _limited_as(self) -> str:
        action = self._get_action()
        if f"{action} (unfiltered)" not in self.operations.plane.limits.rates:
            return action
        narrowed = any(self._get_param(name) for name in _NARROWED_BY)
        return action if narrowed else f"{action} (unfiltered)"

    # -- snapshots

    def create_snapshot(self) -> ActionResult:
        self.error_on_dryrun()
        snapshot = snapshots.create(
            self.operations.plane,
            self.ec2_backend,
            self._get_param("VolumeId"),
            self._get_param("Description", ""),
            self._tags_for("snapshot"),
        )
        return ActionResult(_as_created(snapshot))

    def create_snapshots(self) -> ActionResult:
        self.error_on_dryrun()
        wanted = self._get_param("InstanceSpecification", {})
        made = snapshots.create_set(
            self.operations.plane,
            self.ec2_backend,
            SetOfVolumes(
                wanted["InstanceId"],
                bool(wanted.get("ExcludeBootVolume", False)),
                tuple(wanted.get("ExcludeDataVolumeIds", ())),
            ),
            self._get_param("Description", ""),
            self._tags_for("snapshot"),
            copy_tags=self._get_param("CopyTagsFromSource") == "volume",
        )
        return ActionResult({"Snapshots": [_as_created(snapshot) for snapshot in made]})

    def copy_snapshot(self) -> ActionResult:
        self.error_on_dryrun()
        minutes = self._get_param("CompletionDurationMinutes")
        request = CopyRequest(
            SourceSnapshot(self._get_param("SourceRegion"), self._get_param("SourceSnapshotId")),
            self._get_param("Description", ""),
            self._tags_for("snapshot"),
            bool(self._get_param("Encrypted", False)),
            self._get_param("KmsKeyId"),
            int(minutes) if minutes is not None else None,
        )
        copy = self.operations.copies.start(self.ec2_backend, request)
        return ActionResult({"SnapshotId": copy.id, "Tags": copy.tag_set})

    def delete_snapshot(self) -> ActionResult:
        self.error_on_dryrun()
        deleted = snapshots.delete(self.operations.plane, self.ec2_backend, self._get_param("SnapshotId"))
        self.operations.copies.forget(deleted)
        return EmptyResult()

    def describe_snapshots(self) -> ActionResult:
        ids = self._get_param("SnapshotIds", [])
        missing = [snapshot_id for snapshot_id in ids if snapshot_id not in self.ec2_backend.snapshots]
        if missing:
            raise not_found(missing[0])
        owners = {ACCOUNT if owner == "self" else owner for owner in self._get_param("OwnerIds", [])}
        users = self._get_param("RestorableByUserIds", [])
        found = [
            snapshot
            for snapshot in list(self.ec2_backend.snapshots.values())
            if _is_visible(snapshot, owners)
            and (not ids or snapshot.id in ids)
            and (not users or sharing.is_restorable_by(snapshot, users, self._public_access))
        ]
        return self._paged(
            found, "Snapshots", ids, "snapshotIds", by=_by_start, show=lambda snapshot: snapshot.describe()
        )

    # -- volumes

    def create_volume(self) -> ActionResult:
        self.error_on_dryrun()
        size = self._get_param("Size")
        request = VolumeRequest(
            zone=self._zone(),
            size_gib=int(size) if size is not None else None,
            snapshot_id=self._get_param("SnapshotId"),
            encrypted=bool(self._get_param("Encrypted", False)),
            kms_key=self._get_param("KmsKeyId"),
            volume_type=self._get_param("VolumeType"),
            iops=self._get_param("Iops"),
            throughput=self._get_param("Throughput"),
            multi_attach_enabled=self._get_param("MultiAttachEnabled"),
            initialization_mibps=self._get_param("VolumeInitializationRate"),
            tags=self._tags_for("volume"),
        )
        return ActionResult(self.operations.volumes.create(self.ec2_backend, request, self._get_param("ClientToken")))

    def delete_volume(self) -> ActionResult:
        self.error_on_dryrun()
        self.operations.volumes.delete(self.ec2_backend, self._get_param("VolumeId"))
        return EmptyResult()

    def attach_volume(self) -> ActionResult:
        volume: EbsVolume = self.ec2_backend.get_volume(self._get_param("VolumeId"))
        if volume.attachment is None and volume.phase != AVAILABLE:
            raise EC2ClientError("IncorrectState", f"{volume.id} is not 'available'.")
        return super().attach_volume()

    def describe_volumes(self) -> ActionResult:
        ids = self._get_param("VolumeIds", [])
        found = self.ec2_backend.describe_volumes(volume_ids=ids)
        return self._paged(found, "Volumes", ids, "volumeIds", by=_by_creation, show=lambda volume: volume)

    def get_ebs_default_kms_key_id(self) -> ActionResult:
        return ActionResult({"KmsKeyId": default_key_arn(self.ec2_backend)})

    # -- locks

    def lock_snapshot(self) -> ActionResult:
        self.error_on_dryrun()
        snapshot = self._snapshot()
        days, hours = self._get_param("LockDuration"), self._get_param("CoolOffPeriod")
        request = LockRequest.parse(
            self._get_param("LockMode"),
            int(days) if days is not None else None,
            _aware(self._get_param("ExpirationDate")),
            int(hours) if hours is not None else None,
        )
        with self.operations.plane.lock:
            snapshot.lock = locks.lock(request, snapshot.lock, datetime.now(UTC), pending=snapshot.status == PENDING)
            return ActionResult(_describe_lock(snapshot, snapshot.lock))

    def unlock_snapshot(self) -> ActionResult:
        self.error_on_dryrun()
        snapshot = self._snapshot()
        with self.operations.plane.lock:
            locks.unlock(snapshot.lock, datetime.now(UTC))
            snapshot.lock = None
        return ActionResult({"SnapshotId": snapshot.id})

    def describe_locked_snapshots(self) -> ActionResult:
        ids = self._get_param("SnapshotIds", [])
        states = self._filters_from_querystring().pop("lock-state", None)
        found = [
            snapshot
            for snapshot in list(self.ec2_backend.snapshots.values())
            if snapshot.lock is not None
            and (not ids or snapshot.id in ids)
            and (states is None or snapshot.lock.state(datetime.now(UTC)) in states)
        ]
        return self._paged(
            found,
            "Snapshots",
            ids,
            "snapshotIds",
            by=_by_start,
            show=lambda snapshot: _describe_lock(snapshot, snapshot.lock),
            filters={},
        )

    # -- sharing

    def describe_snapshot_attribute(self) -> ActionResult:
        snapshot = self._snapshot()
        if self._get_param("Attribute") == "productCodes":
            return ActionResult({"SnapshotId": snapshot.id, "ProductCodes": []})
        return ActionResult({"SnapshotId": snapshot.id, "CreateVolumePermissions": sharing.permissions(snapshot)})

    def modify_snapshot_attribute(self) -> ActionResult:
        self.error_on_dryrun()
        named = [{"UserId": user_id} for user_id in self._get_param("UserIds", [])]
        named += [{"Group": group} for group in self._get_param("GroupNames", [])]
        old_form = {str(self._get_param("OperationType", "add")).capitalize(): named}
        wanted = self._get_param("CreateVolumePermission") or old_form
        with self.operations.plane.lock:
            sharing.change(self._snapshot(), wanted, self._public_access)
        return EmptyResult()

    def reset_snapshot_attribute(self) -> ActionResult:
        self.error_on_dryrun()
        with self.operations.plane.lock:
            sharing.reset(self._snapshot())
        return EmptyResult()

    def enable_snapshot_block_public_access(self) -> ActionResult:
        self.error_on_dryrun()
        state = PublicAccess(self._get_param("State"))
        if state is PublicAccess.UNBLOCKED:
            raise EC2ClientError("InvalidParameterValue", "unblocked is not valid; disable the block instead.")
        self.operations.plane.public_access[self.region] = state
        return ActionResult({"State": state})

    def disable_snapshot_block_public_access(self) -> ActionResult:
        self.error_on_dryrun()
        self.operations.plane.public_access.pop(self.region, None)
        return ActionResult({"State": self._public_access})

    def get_snapshot_block_public_access_state(self) -> ActionResult:
        return ActionResult({"State": self._public_access, "ManagedBy": "account"})

    @property
    def _public_access(self) -> PublicAccess:
        return self.operations.plane.public_access.get(self.region, PublicAccess.UNBLOCKED)

    # -- images

    def register_image(self) -> ActionResult:
        answer = super().register_image()
        image_id = answer.result["ImageId"]  # type: ignore[index]
        mappings = self._get_param("BlockDeviceMappings", [])
        named = [mapping["Ebs"]["SnapshotId"] for mapping in mappings if "SnapshotId" in mapping.get("Ebs", {})]
        if not named:
            return answer
        image = self.ec2_backend.amis[image_id]
        with self.operations.plane.lock:
            # moto invents a snapshot for every image; this image was made of the ones that were named.
            self.ec2_backend.snapshots.pop(image.ebs_snapshot.id)
            image.ebs_snapshot = self._snapshot(named[0])
            for snapshot_id in named:
                self._snapshot(snapshot_id).image_ids.add(image_id)
        return answer

    # -- shared

    def _snapshot(self, snapshot_id: str | None = None) -> EbsSnapshot:
        wanted = snapshot_id or self._get_param("SnapshotId")
        found: EbsSnapshot | None = self.ec2_backend.snapshots.get(wanted)
        if found is None:
            raise not_found(wanted)
        return found

    def _tags_for(self, resource_type: str) -> dict[str, str]:
        tags: dict[str, str] = self._parse_tag_specification().get(resource_type, {})
        return tags

    def _zone(self) -> str:
        name, zone_id = self._get_param("AvailabilityZone"), self._get_param("AvailabilityZoneId")
        if not name and not zone_id:
            raise EC2ClientError("MissingParameter", "The request must contain the parameter AvailabilityZone")
        zones = self.ec2_backend.describe_availability_zones()
        return str(name or next((zone.name for zone in zones if zone.zone_id == zone_id), zone_id))

    def _paged(
        self,
        found: Sequence[Any],
        member: str,
        ids: Sequence[str],
        ids_parameter: str,
        *,
        by: pages.Key,
        show: Callable[[Any], Any],
        filters: dict[str, Any] | None = None,
    ) -> ActionResult:
        size = self._get_param("MaxResults")
        pages.check_page_size(int(size) if size is not None else None, ids, ids_parameter)
        wanted = self._filters_from_querystring() if filters is None else filters
        kept = [resource for resource in found if pages.matches(resource, wanted)]
        shown, token = pages.page(kept, by, self._get_param("NextToken"), int(size) if size is not None else None)
        return ActionResult({member: [show(resource) for resource in shown], "NextToken": token})


def _as_created(snapshot: EbsSnapshot) -> dict[str, Any]:
    # CompletionTime, the size and the reason of a failure are for DescribeSnapshots alone.
    later = {"StateMessage", "CompletionTime", "FullSnapshotSizeInBytes", "DataEncryptionKeyId"}
    return {name: value for name, value in snapshot.describe().items() if name not in later}


def _is_visible(snapshot: EbsSnapshot, owners: set[str]) -> bool:
    if owners:
        return snapshot.owner_id in owners
    return (
        snapshot.owner_id == ACCOUNT
        or "all" in snapshot.create_volume_permission_groups
        or ACCOUNT in snapshot.create_volume_permission_userids
    )


def _by_start(snapshot: EbsSnapshot) -> tuple[str, ...]:
    return snapshot.start_time.isoformat(timespec="microseconds"), snapshot.id


def _by_creation(volume: EbsVolume) -> tuple[str, ...]:
    return volume.create_time.isoformat(timespec="microseconds"), volume.id


def _describe_lock(snapshot: EbsSnapshot, lock: Lock) -> dict[str, Any]:
    return {
        "OwnerId": snapshot.owner_id,
        "SnapshotId": snapshot.id,
        "LockState": lock.state(datetime.now(UTC)),
        "LockDuration": lock.duration_days,
        "CoolOffPeriod": lock.cool_off_hours,
        "CoolOffPeriodExpiresOn": lock.cool_off_until,
        "LockCreatedOn": lock.created_at,
        "LockDurationStartTime": lock.starts_at,
        "LockExpiresOn": lock.expires_at,
    }


def _aware(moment: datetime | None) -> datetime | None:
    if moment is None or moment.tzinfo is not None:
        return moment
    return moment.replace(tzinfo=UTC)
