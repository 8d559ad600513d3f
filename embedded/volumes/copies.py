"""Copies of snapshots in another Region: one after the other for each volume, incremental when AWS's rule allows."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.utils import random_snapshot_id

from embedded import clock, life
from embedded.volumes import announcements, kms
from embedded.volumes.blockstore import changed_indexes
from embedded.volumes.plane import Plane, check_tags, completed, draw_fate
from embedded.volumes.resources import EbsCopy, EbsSnapshot, SourceSnapshot, default_key_arn

_SOURCE_GONE = "Source snapshot ID is not valid"
_FAILED = "The copy could not be completed because of an internal error."
_LONGEST_COMPLETION_MINUTES = 2880
_COMPLETION_STEP_MINUTES = 15


class Lane(NamedTuple):
    """Copies of one source lineage into one Region: AWS makes them one at a time."""

    region: str
    lineage: str


@dataclass(frozen=True)
class CopyRequest:
    """What CopySnapshot was asked for, in the destination Region."""

    source: SourceSnapshot
    description: str
    tags: Mapping[str, str]
    encrypted: bool = False
    kms_key: str | None = None
    completion_duration_minutes: int | None = None


@dataclass
class Copies:
    """The copies of all Regions that are under way, and the newest finished one of every lane."""

    plane: Plane
    _lanes: dict[Lane, list[EbsCopy]] = field(default_factory=lambda: defaultdict(list))
    _newest: dict[Lane, EbsCopy] = field(default_factory=dict)

    def start(self, backend: Any, request: CopyRequest) -> EbsCopy:
        """A pending copy is in the Region of `backend`; it runs when the earlier copy of its volume has ended."""
        with self.plane.lock:
            source = completed(self.plane.snapshot(request.source), request.source.snapshot_id)
            check_tags(request.tags)
            self._check(backend, source, request)
            copy = self._make(backend, source, request)
            draw_fate("copy", copy)
            lane = Lane(copy.region, source.lineage)
            self._lanes[lane].append(copy)
            if len(self._lanes[lane]) == 1:
                self._run(lane, clock.now())
            return copy

    def forget(self, deleted: EbsSnapshot) -> None:
        """A deleted copy that would never have ended no longer keeps the next one waiting."""
        with self.plane.lock:
            lane = next((lane for lane, copies in self._lanes.items() if deleted in copies), None)
            if lane is None or not deleted.is_stuck:
                return
            was_running = self._lanes[lane][0] is deleted
            self._lanes[lane] = [copy for copy in self._lanes[lane] if copy is not deleted]
            if was_running:
                self._run(lane, clock.now())

    def _check(self, backend: Any, source: EbsSnapshot, request: CopyRequest) -> None:
        minutes = request.completion_duration_minutes
        if minutes is not None and (
            minutes % _COMPLETION_STEP_MINUTES or not 0 < minutes <= _LONGEST_COMPLETION_MINUTES
        ):
            raise EC2ClientError(
                "InvalidParameterValue",
                f"CompletionDurationMinutes must be a multiple of {_COMPLETION_STEP_MINUTES}, "
                f"up to {_LONGEST_COMPLETION_MINUTES}.",
            )
        if request.kms_key and not (source.encrypted or request.encrypted or backend.ebs_encryption_by_default):
            raise EC2ClientError(
                "InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set."
            )
        self.plane.check_room_for_snapshots(backend, 1)
        most = self.plane.limits.quotas.copies_in_progress
        under_way = sum(len(copies) for lane, copies in self._lanes.items() if lane.region == backend.region_name)
        if under_way >= most:
            raise EC2ClientError(
                "ResourceLimitExceeded",
                f"Too many snapshot copies in progress. The limit is {most} for this destination region.",
            )

    def _make(self, backend: Any, source: EbsSnapshot, request: CopyRequest) -> EbsCopy:
        encrypted = source.encrypted or request.encrypted or backend.ebs_encryption_by_default
        key_arn = None
        if encrypted:
            named = request.kms_key
            key_arn = kms.key_arn(named, backend.region_name) if named else default_key_arn(backend)
        made: Any = EbsCopy(
            backend,
            random_snapshot_id(),
            request.source,
            source,
            request.description,
            encrypted=encrypted,
            kms_key_id=key_arn,
        )
        copy: EbsCopy = made  # moto's models hide their own type from a type checker
        copy.completion_duration_minutes = request.completion_duration_minutes
        self.plane.store.hold(copy.blocks)
        backend.snapshots[copy.id] = copy
        copy.add_tags(dict(request.tags))
        return copy

    def _run(self, lane: Lane, since: float) -> None:
        """The first copy of the lane, if there is one, is on its way `since` then: in a jump of the clock the copies
        that waited for each other happen one after the other all the same."""
        if not self._lanes[lane]:
            return
        copy = self._lanes[lane][0]
        base = self._base(lane, copy)
        copy.is_incremental = base is not None
        if base is not None:
            copy.lineage = base.lineage
        if copy.is_stuck:
            return
        changed = changed_indexes(base.blocks, copy.blocks) if base else copy.blocks.keys()
        copy.runs_since, copy.ends_at = since, since + copy.lives_for("copy", len(changed))
        life.at(copy.ends_at, lambda: self._finish(lane, copy), f"completing the copy {copy.id}")

    def _base(self, lane: Lane, copy: EbsCopy) -> EbsCopy | None:
        """What the copy only has to add to: the newest copy made here, if it still exists under the same key."""
        newest = self._newest.get(lane)
        if newest is None or newest.is_deleted or newest.kms_key_id != copy.kms_key_id:
            return None
        return newest

    def _finish(self, lane: Lane, copy: EbsCopy) -> None:
        with self.plane.lock:
            self._lanes[lane].remove(copy)
            told = not copy.is_deleted and self._settle(lane, copy)
            self._run(lane, copy.ends_at)
        if told:
            announcements.snapshot_copied(copy)

    def _settle(self, lane: Lane, copy: EbsCopy) -> bool:
        """The copy is complete or failed; False if AWS says nothing about it."""
        source = self.plane.snapshot(copy.source)
        if source is None:
            copy.fail(_SOURCE_GONE)
        elif self._lacks_a_key(source) or self._lacks_a_key(copy):
            copy.fail(kms.NOT_ACCESSIBLE)
            return False
        elif copy.will_fail:
            copy.fail(_FAILED)
        else:
            copy.complete()
            self._newest[lane] = copy
        return True

    @staticmethod
    def _lacks_a_key(snapshot: EbsSnapshot) -> bool:
        return bool(snapshot.kms_key_id and kms.why_unusable(snapshot.kms_key_id, snapshot.region))
