"""EC2 of one Region as its client answers: volumes, instances, snapshots and their copies, tags, locks.

A method takes boto3's parameters and returns boto3's dicts, or raises what botocore raises. `fault` is what goes wrong
with what the request makes; whether the request itself arrives is not decided here.
"""

# ruff: noqa: N803
# Parameters have the names that AWS gave them.

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from tests.simulation import faults
from tests.simulation.expressions import NotUnderstood
from tests.simulation.limits import Limits
from tests.simulation.table import refusal

SHOWN_AFTER = timedelta(minutes=5)
"""EC2's own bound for how late it may show what exists."""

INDEXED_TAGS = frozenset({"holdfast:managed", "holdfast:slot", "holdfast:rehearsal", "holdfast:proof-of"})
KEY_NOT_ACCESSIBLE = "Given key ID is not accessible"


@dataclass(slots=True, kw_only=True)
class Volume:
    """A volume; `blocks` is its content, by index a number that stands for 512 KiB."""

    id: str
    size_gib: int = 8
    tags: dict[str, str] = field(default_factory=dict)
    instance_id: str | None = None
    blocks: dict[int, int] = field(default_factory=dict)
    created_at: datetime
    available_at: datetime
    visible_at: datetime
    fails: bool = False
    vanishes_at: datetime | None = None
    snapshot_id: str = ""
    token: str = ""
    made_by: str = ""


@dataclass(slots=True, kw_only=True)
class EbsSnapshot:
    """A snapshot as EBS keeps it; its state follows from the time. Without `ends_at` it is stuck."""

    id: str
    volume_id: str
    tags: dict[str, str]
    started_at: datetime
    ends_at: datetime | None
    visible_at: datetime
    tags_visible_at: datetime
    size_gib: int
    blocks: Mapping[int, int]
    failure: str = ""
    is_encrypted: bool = False
    key: str = ""
    source_snapshot_id: str = ""
    locked_until: datetime | None = None
    lock_mode: str = ""
    is_in_use: bool = False
    is_archived: bool = False
    made_by: str = ""
    set_size: int = 1
    """How many snapshots the one request began that began this one."""

    def state(self, now: datetime) -> str:
        """EC2's word."""
        if self.ends_at is None or now < self.ends_at:
            return "pending"
        return "error" if self.failure else "completed"


class InProgress:
    """How many operations of one sort are under way, without looking at all of them.

    The counter that AWS decides by may lag: what ended is then counted for a while longer.
    """

    def __init__(self) -> None:
        self._ends: list[datetime] = []
        self._stuck = 0

    def begin(self, ends_at: datetime | None) -> None:
        if ends_at is None:
            self._stuck += 1
        else:
            heapq.heappush(self._ends, ends_at)

    def count(self, now: datetime, lag_seconds: float = 0.0) -> int:
        """How many are under way, or ended less than the lag ago."""
        until = now - timedelta(seconds=lag_seconds)
        while self._ends and self._ends[0] <= until:
            heapq.heappop(self._ends)
        return self._stuck + len(self._ends)


class Ec2:
    """One Region. `others` gives that of another Region; `caller` is the name of the function that asks; `watch` hears
    of every effect at its moment, just before it."""

    def __init__(
        self,
        region: str,
        *,
        now: Callable[[], datetime],
        caller: Callable[[], str],
        others: Callable[[str], Ec2],
        numbers: Iterator[int],
        limits: Callable[[], Limits],
        snapshot_takes: Callable[[EbsSnapshot], timedelta],
        watch: Callable[[str, Any, str], None],
    ) -> None:
        self.region = region
        self.volumes: dict[str, Volume] = {}
        self.instances: dict[str, dict[str, Any]] = {}
        self.snapshots: dict[str, EbsSnapshot] = {}
        self.is_key_usable = True
        self.deleted: list[str] = []
        self.copying = InProgress()
        self.pending = InProgress()
        self._now = now
        self._caller = caller
        self._others = others
        self._numbers = numbers
        self._limits = limits
        self._takes = snapshot_takes
        self._watch = watch
        self._by_tag: dict[tuple[str, str], dict[str, EbsSnapshot]] = {}
        self._by_volume: dict[str, list[EbsSnapshot]] = {}
        self._by_token: dict[str, Volume] = {}
        self._pages: dict[str, list[Any]] = {}
        self._tokens = count(1)

    # What the simulation itself does

    def make_volume(self, *, tags: Mapping[str, str], instance_id: str | None = None, blocks: int = 2) -> Volume:
        """A volume that somebody made and that is ready."""
        now = self._now()
        volume = Volume(
            id=f"vol-{next(self._numbers):017x}",
            tags=dict(tags),
            instance_id=instance_id,
            blocks=dict.fromkeys(range(blocks), 1),
            created_at=now,
            available_at=now,
            visible_at=now,
        )
        self.volumes[volume.id] = volume
        return volume

    def make_instance(self, *, tags: Mapping[str, str], volumes: int) -> str:
        """An instance with so many volumes."""
        id = f"i-{next(self._numbers):017x}"
        made = [self.make_volume(tags={}, instance_id=id) for _ in range(volumes)]
        self.instances[id] = {
            "InstanceId": id,
            "State": {"Name": "running"},
            "RootDeviceName": "/dev/xvda",
            "BlockDeviceMappings": [
                {"DeviceName": f"/dev/xvd{chr(ord('a') + at)}", "Ebs": {"VolumeId": volume.id}}
                for at, volume in enumerate(made)
            ],
            "Tags": _listed(tags),
        }
        return id

    def hold(self, snapshot: EbsSnapshot) -> None:
        """The snapshot exists from now on, in every index."""
        self.snapshots[snapshot.id] = snapshot
        self._by_volume.setdefault(snapshot.volume_id, []).append(snapshot)
        self._index_tags(snapshot, snapshot.tags)

    def vanish(self, id: str) -> None:
        """The snapshot is gone."""
        snapshot = self.snapshots.pop(id)
        self._by_volume[snapshot.volume_id].remove(snapshot)
        for key, value in snapshot.tags.items():
            self._by_tag.get((key, value), {}).pop(id, None)

    def tagged(self, key: str, value: str) -> Iterable[EbsSnapshot]:
        """Every snapshot that carries the tag, whether EC2 shows it yet or not."""
        return self._by_tag.get((key, value), {}).values()

    # What a client asks

    def create_snapshot(
        self,
        *,
        VolumeId: str,
        Description: str = "",
        TagSpecifications: Any = (),
        fault: str | None = None,
    ) -> dict[str, Any]:
        volume = self._volume(VolumeId)
        self._must_have_room([volume], fault)
        return self._described(self._begun(volume, _given(TagSpecifications, "snapshot"), fault))

    def create_snapshots(
        self,
        *,
        InstanceSpecification: Mapping[str, Any],
        Description: str = "",
        TagSpecifications: Any = (),
        fault: str | None = None,
    ) -> dict[str, Any]:
        instance = self.instances.get(InstanceSpecification["InstanceId"])
        if instance is None:
            raise refusal("InvalidInstanceID.NotFound", "The instance does not exist", "CreateSnapshots")
        volumes = [self._volume(mapping["Ebs"]["VolumeId"]) for mapping in instance["BlockDeviceMappings"]]
        left_out = set(InstanceSpecification.get("ExcludeDataVolumeIds", ()))
        volumes = [volume for volume in volumes if volume.id not in left_out]
        self._must_have_room(volumes, fault)
        tags = _given(TagSpecifications, "snapshot")
        # What goes wrong, goes wrong with one of them.
        begun = [self._begun(volume, tags, fault if at == 0 else None, at) for at, volume in enumerate(volumes)]
        for snapshot in begun:
            snapshot.set_size = len(begun)
        answers = [self._described(snapshot) for snapshot in begun]
        for answer in answers:
            # CreateSnapshots says nothing of size used, and has another word for the state in its model only.
            answer.pop("FullSnapshotSizeInBytes", None)
        return {"Snapshots": answers}

    def copy_snapshot(
        self,
        *,
        SourceRegion: str,
        SourceSnapshotId: str,
        Encrypted: bool = False,
        KmsKeyId: str = "",
        Description: str = "",
        TagSpecifications: Any = (),
        fault: str | None = None,
    ) -> dict[str, Any]:
        there, now, limits = self._others(SourceRegion), self._now(), self._limits()
        source = there.snapshots.get(SourceSnapshotId)
        if source is None or now < source.visible_at:
            raise refusal("InvalidSnapshot.NotFound", f"{SourceSnapshotId} does not exist", "CopySnapshot")
        if source.state(now) != "completed":
            raise refusal("IncorrectState", f"{SourceSnapshotId} is {source.state(now)}", "CopySnapshot")
        under_way = self.copying.count(now, limits.copy_counter_lags_seconds)
        if fault == faults.NO_ROOM or (limits.copies_under_way is not None and under_way >= limits.copies_under_way):
            raise refusal("ResourceLimitExceeded", "Too many snapshot copies in progress.", "CopySnapshot")
        copy = EbsSnapshot(
            id=f"snap-{next(self._numbers):017x}",
            volume_id="vol-ffffffff",
            tags=_given(TagSpecifications, "snapshot"),
            started_at=now,
            ends_at=None,
            visible_at=now,
            tags_visible_at=now,
            size_gib=source.size_gib,
            blocks=source.blocks,
            is_encrypted=Encrypted,
            key=KmsKeyId,
            source_snapshot_id=SourceSnapshotId,
            made_by=self._caller(),
        )
        if fault == faults.KEY_FAILS_SILENTLY or not self.is_key_usable or not there.is_key_usable:
            copy.failure = KEY_NOT_ACCESSIBLE
        self._watch("copies", copy, self.region)
        self._on_its_way(copy, fault)
        self.copying.begin(copy.ends_at)
        return {"SnapshotId": copy.id, "Tags": _listed(copy.tags)}

    def describe_snapshots(
        self,
        *,
        OwnerIds: Sequence[str] = (),
        Filters: Sequence[Any] = (),
        MaxResults: int = 1000,
        NextToken: str | None = None,
        fault: str | None = None,
    ) -> dict[str, Any]:
        if list(OwnerIds) != ["self"]:
            raise NotUnderstood(f"DescribeSnapshots of owners {OwnerIds}")
        return self._page(
            "Snapshots", lambda: [self._described(one) for one in self._filtered(Filters)], MaxResults, NextToken, fault
        )

    def create_tags(self, *, Resources: Sequence[str], Tags: Sequence[Any]) -> dict[str, Any]:
        for id in Resources:
            snapshot = self.snapshots.get(id)
            if snapshot is None or snapshot.tags.get("holdfast:managed") != "1":
                raise _denied("CreateTags")
            self._watch("marks", snapshot, self.region)
            given = {tag["Key"]: tag["Value"] for tag in Tags}
            if given != {"holdfast:state": "expired"} or self._caller() != "mark_expired":
                raise _denied("CreateTags")
            snapshot.tags.update(given)
            self._index_tags(snapshot, given)
        return {}

    def delete_snapshot(self, *, SnapshotId: str) -> dict[str, Any]:
        snapshot = self.snapshots.get(SnapshotId)
        if snapshot is None or not _may_delete(self._caller(), snapshot.tags):
            raise _denied("DeleteSnapshot")
        if snapshot.locked_until is not None and self._now() < snapshot.locked_until:
            raise refusal("SnapshotLocked", f"{SnapshotId} is locked", "DeleteSnapshot")
        if snapshot.is_in_use:
            raise refusal("InvalidSnapshot.InUse", f"{SnapshotId} is in use by ami-1", "DeleteSnapshot")
        self._watch("deletes", snapshot, self.region)
        self.vanish(SnapshotId)
        self.deleted.append(SnapshotId)
        return {}

    def list_snapshots_in_recycle_bin(self, *, MaxResults: int = 1000) -> dict[str, Any]:
        """There is no rule that keeps what is deleted."""
        return {"Snapshots": []}

    def describe_locked_snapshots(self, *, SnapshotIds: Sequence[str]) -> dict[str, Any]:
        now = self._now()
        held = [self.snapshots[id] for id in SnapshotIds if id in self.snapshots]
        return {
            "Snapshots": [
                {
                    "SnapshotId": one.id,
                    "LockState": one.lock_mode if one.locked_until and now < one.locked_until else "expired",
                }
                for one in held
                if one.lock_mode
            ]
        }

    def lock_snapshot(
        self,
        *,
        SnapshotId: str,
        LockMode: str,
        LockDuration: int,
        CoolOffPeriod: int | None = None,
    ) -> dict[str, Any]:
        snapshot = self.snapshots.get(SnapshotId)
        if snapshot is None:
            raise refusal("InvalidSnapshot.NotFound", f"{SnapshotId} does not exist", "LockSnapshot")
        snapshot.lock_mode = LockMode if CoolOffPeriod is None else f"{LockMode}-cooloff"
        snapshot.locked_until = self._now() + timedelta(days=LockDuration)
        return {"SnapshotId": SnapshotId, "LockState": snapshot.lock_mode}

    def describe_volumes(
        self,
        *,
        Filters: Sequence[Any] = (),
        MaxResults: int = 500,
        NextToken: str | None = None,
        fault: str | None = None,
    ) -> dict[str, Any]:
        return self._page("Volumes", lambda: self._volumes_matching(Filters), MaxResults, NextToken, fault)

    def describe_instances(
        self,
        *,
        Filters: Sequence[Any] = (),
        MaxResults: int = 1000,
        NextToken: str | None = None,
    ) -> dict[str, Any]:
        found = list(self.instances.values())
        for one in Filters:
            if one["Name"] != "instance-id":
                raise NotUnderstood(f"DescribeInstances by {one['Name']}")
            found = [instance for instance in found if instance["InstanceId"] in one["Values"]]
        return self._page(
            "Reservations", lambda: [{"Instances": [dict(instance)]} for instance in found], MaxResults, NextToken, None
        )

    def describe_availability_zones(self, *, Filters: Sequence[Any] = ()) -> dict[str, Any]:
        return {"AvailabilityZones": [{"ZoneName": f"{self.region}{letter}"} for letter in "ab"]}

    def create_volume(
        self,
        *,
        AvailabilityZone: str,
        SnapshotId: str,
        VolumeType: str,
        ClientToken: str,
        TagSpecifications: Any = (),
        fault: str | None = None,
    ) -> dict[str, Any]:
        now = self._now()
        if ClientToken in self._by_token:  # said twice is done once
            return self._described_volume(self._by_token[ClientToken])
        source = self.snapshots.get(SnapshotId)
        if source is None or now < source.visible_at:
            raise refusal("InvalidSnapshot.NotFound", f"{SnapshotId} does not exist", "CreateVolume")
        if source.state(now) != "completed":
            raise refusal("IncorrectState", f"{SnapshotId} is {source.state(now)}", "CreateVolume")
        volume = Volume(
            id=f"vol-{next(self._numbers):017x}",
            size_gib=source.size_gib,
            tags=_given(TagSpecifications, "volume"),
            blocks=dict(source.blocks),
            created_at=now,
            available_at=now + timedelta(seconds=40),
            visible_at=now + timedelta(minutes=1) if fault == faults.SHOWN_LATE else now,
            fails=fault == faults.ENDS_IN_ERROR,
            snapshot_id=SnapshotId,
            token=ClientToken,
            made_by=self._caller(),
        )
        if fault == faults.KEY_FAILS_SILENTLY or not self.is_key_usable:
            volume.vanishes_at = now + timedelta(seconds=30)
        if fault == faults.RESTORED_WRONG:
            volume.blocks[0] = 99
        self._watch("restores", volume, self.region)
        self.volumes[volume.id] = self._by_token[ClientToken] = volume
        return self._described_volume(volume)

    def delete_volume(self, *, VolumeId: str) -> dict[str, Any]:
        volume = self._volume_now(VolumeId)
        if volume is None:
            raise refusal("InvalidVolume.NotFound", f"{VolumeId} does not exist", "DeleteVolume")
        if "holdfast:rehearsal" not in volume.tags:
            raise _denied("DeleteVolume")
        self._watch("removes", volume, self.region)
        del self.volumes[VolumeId]
        self.deleted.append(VolumeId)
        return {}

    # How it is kept

    def _begun(self, volume: Volume, tags: dict[str, str], fault: str | None, member: int = 0) -> EbsSnapshot:
        now = self._now()
        snapshot = EbsSnapshot(
            id=f"snap-{next(self._numbers):017x}",
            volume_id=volume.id,
            tags=dict(tags),
            started_at=now,
            ends_at=None,
            visible_at=now,
            tags_visible_at=now,
            size_gib=volume.size_gib,
            blocks=dict(volume.blocks),
            made_by=self._caller(),
        )
        if member == 0:  # a set begins in one moment
            self._watch("creates", snapshot, self.region)
        self._on_its_way(snapshot, fault)
        self.pending.begin(snapshot.ends_at)
        return snapshot

    def _on_its_way(self, snapshot: EbsSnapshot, fault: str | None) -> None:
        now = snapshot.started_at
        if fault != faults.STUCK:
            snapshot.ends_at = now + self._takes(snapshot)
        if fault == faults.ENDS_IN_ERROR:
            snapshot.failure = "Internal error"
        if fault == faults.SHOWN_LATE:
            snapshot.visible_at = snapshot.tags_visible_at = now + SHOWN_AFTER
        if fault == faults.TAGS_SHOWN_LATE:
            snapshot.tags_visible_at = now + SHOWN_AFTER
        self.hold(snapshot)
        self._watch("ends later", snapshot, self.region)

    def _must_have_room(self, volumes: Sequence[Volume], fault: str | None) -> None:
        now, limits = self._now(), self._limits()
        if fault == faults.NO_ROOM or (
            limits.pending_snapshots is not None and self.pending.count(now) + len(volumes) > limits.pending_snapshots
        ):
            raise refusal("PendingSnapshotLimitExceeded", "Too many pending snapshots", "CreateSnapshot")
        for volume in volumes:
            of_it = self._by_volume.get(volume.id, ())
            pending = [one for one in of_it if one.state(now) == "pending"]
            if limits.pending_per_volume is not None and len(pending) >= limits.pending_per_volume:
                raise refusal("ConcurrentSnapshotLimitExceeded", "Maximum allowed in-progress", "CreateSnapshot")
            apart = timedelta(seconds=limits.seconds_between_snapshots_of_a_volume)
            if any(now - one.started_at < apart for one in of_it):
                raise refusal("SnapshotCreationPerVolumeRateExceeded", "Wait at least 15 seconds", "CreateSnapshot")

    def _volume(self, id: str) -> Volume:
        volume = self._volume_now(id)
        if volume is None:
            raise refusal("InvalidVolume.NotFound", f"The volume '{id}' does not exist.", "CreateSnapshot")
        return volume

    def _volume_now(self, id: str) -> Volume | None:
        volume = self.volumes.get(id)
        if volume is not None and volume.vanishes_at is not None and self._now() >= volume.vanishes_at:
            del self.volumes[id]
            return None
        return volume

    def _volumes_matching(self, filters: Sequence[Any]) -> list[dict[str, Any]]:
        wanted = {one["Name"]: one["Values"] for one in filters}
        ids = wanted.pop("volume-id", None)
        shown: list[dict[str, Any]] = []
        for id in list(self.volumes) if ids is None else ids:
            volume = self._volume_now(id)
            if volume is None or self._now() < volume.visible_at:
                continue
            described = self._described_volume(volume)
            if all(_volume_matches(volume, described, name, values) for name, values in wanted.items()):
                shown.append(described)
        return shown

    def _filtered(self, filters: Sequence[Any]) -> list[EbsSnapshot]:
        now = self._now()
        wanted = {one["Name"]: one["Values"] for one in filters}
        candidates: Iterable[EbsSnapshot] = self.snapshots.values()
        if "snapshot-id" in wanted:
            candidates = [self.snapshots[id] for id in wanted.pop("snapshot-id") if id in self.snapshots]
        else:
            for name, values in wanted.items():
                key = name.removeprefix("tag:")
                if name.startswith("tag:") and key in INDEXED_TAGS:
                    candidates = [one for value in values for one in self.tagged(key, value)]
                    break
        return [
            one
            for one in candidates
            if now >= one.visible_at
            and all(_snapshot_matches(one, now, name, values) for name, values in wanted.items())
        ]

    def _page(
        self, name: str, whole: Callable[[], list[Any]], size: int, token: str | None, fault: str | None
    ) -> dict[str, Any]:
        """One page of an answer, kept whole when the first page is asked for. A truncated answer has a next page that
        nobody gets: the service is unavailable by then."""
        if token is not None:
            if token not in self._pages:
                raise refusal("Unavailable", "The listing cannot go on", name, 503)
            left = self._pages.pop(token)
        else:
            left = whole()
        page, rest = left[:size], left[size:]
        if fault == faults.TRUNCATED:
            return {name: page[: len(page) // 2], "NextToken": f"expired-{next(self._tokens)}"}
        if not rest:
            return {name: page}
        following = f"page-{next(self._tokens)}"
        self._pages[following] = rest
        return {name: page, "NextToken": following}

    def _described(self, snapshot: EbsSnapshot) -> dict[str, Any]:
        now = self._now()
        state = snapshot.state(now)
        answer: dict[str, Any] = {
            "SnapshotId": snapshot.id,
            "VolumeId": snapshot.volume_id,
            "State": state,
            "StartTime": snapshot.started_at.replace(microsecond=0),
            "Progress": "100%" if state == "completed" else "0%",
            "VolumeSize": snapshot.size_gib,
            "Encrypted": snapshot.is_encrypted,
            "StorageTier": "archive" if snapshot.is_archived else "standard",
            "Tags": _listed(snapshot.tags) if now >= snapshot.tags_visible_at else [],
        }
        if state == "completed":
            answer["CompletionTime"] = snapshot.ends_at
            answer["FullSnapshotSizeInBytes"] = len(snapshot.blocks) * 2**19
        if state == "error":
            answer["StateMessage"] = snapshot.failure
        if snapshot.is_encrypted:
            answer["KmsKeyId"] = snapshot.key
        return answer

    def _described_volume(self, volume: Volume) -> dict[str, Any]:
        state = "in-use" if volume.instance_id else "available"
        if volume.fails:
            state = "error"
        elif self._now() < volume.available_at:
            state = "creating"
        return {
            "VolumeId": volume.id,
            "State": state,
            "Size": volume.size_gib,
            "VolumeType": "gp3",
            "AvailabilityZone": f"{self.region}a",
            "CreateTime": volume.created_at,
            "SnapshotId": volume.snapshot_id,
            "Tags": _listed(volume.tags),
            "Attachments": [{"InstanceId": volume.instance_id, "State": "attached"}] if volume.instance_id else [],
        }

    def _index_tags(self, snapshot: EbsSnapshot, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            if key in INDEXED_TAGS:
                self._by_tag.setdefault((key, value), {})[snapshot.id] = snapshot


def _snapshot_matches(snapshot: EbsSnapshot, now: datetime, name: str, values: Sequence[str]) -> bool:
    tags = snapshot.tags if now >= snapshot.tags_visible_at else {}
    if name == "status":
        return snapshot.state(now) in values
    if name == "tag-key":
        return any(value in tags for value in values)
    if name.startswith("tag:"):
        return _tag_matches(tags.get(name.removeprefix("tag:")), values)
    raise NotUnderstood(f"DescribeSnapshots by {name}")


def _volume_matches(volume: Volume, described: Mapping[str, Any], name: str, values: Sequence[str]) -> bool:
    if name == "status":
        return described["State"] in values
    if name == "snapshot-id":
        return volume.snapshot_id in values
    if name == "attachment.instance-id":
        return volume.instance_id in values
    if name == "tag-key":
        return any(value in volume.tags for value in values)
    if name.startswith("tag:"):
        return _tag_matches(volume.tags.get(name.removeprefix("tag:")), values)
    raise NotUnderstood(f"DescribeVolumes by {name}")


def _tag_matches(held: str | None, values: Sequence[str]) -> bool:
    if held is None:
        return False
    return any(held.startswith(value[:-1]) if value.endswith("*") else held == value for value in values)


def _may_delete(caller: str, tags: Mapping[str, str]) -> bool:
    """What IAM says: the deleter's role may touch what is marked, a rehearsal's roles what is a rehearsal's."""
    if "holdfast:proof-of" in tags:
        return "holdfast:rehearsal" in tags and caller in ("remove_restore", "reap_rehearsals")
    is_marked = tags.get("holdfast:managed") == "1" and tags.get("holdfast:state") == "expired"
    return is_marked and caller == "delete_expired"


def _denied(operation: str) -> Exception:
    return refusal("UnauthorizedOperation", "You are not authorized to perform this operation.", operation, 403)


def _given(specifications: Any, resource_type: str) -> dict[str, str]:
    return {
        tag["Key"]: tag["Value"]
        for one in specifications
        if one["ResourceType"] == resource_type
        for tag in one["Tags"]
    }


def _listed(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
