"""Track points: look at AWS, move points and copies along, and send the next ones on their way.

A notice only says where to look sooner. What is true is what AWS answers now, so a lost, late, doubled or forged
notice changes nothing but the hour.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any, TypeVar

from functions.contracts import from_aws
from functions.core import copies as copying
from functions.core import labels
from functions.core.errors import BadMessage, HoldfastError
from functions.core.permits import Operation, PoolName
from functions.core.points import GRACE, Copy, Part, Point, Stage, Status, part_of, status_of
from functions.core.resources import Kind
from functions.core.slots import Slot
from functions.core.snapshots import Snapshot, Snapshots, State
from functions.handlers import dispatching, frame, settling
from functions.handlers.tools import Tools

Work = TypeVar("Work", Point, Copy)

KINDS_OF: Mapping[str, tuple[Kind, ...]] = {"aws.ec2": (Kind.VOLUME,), "aws.rds": (Kind.DATABASE, Kind.CLUSTER)}
"""By the source of a notice, the kinds whose adapters can look at what it names; one of EC2's sees every snapshot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsTracked:
    """What moved where, which points and copies were ordered, which runs were closed. `ignored` says of each notice
    that told of nothing of ours why."""

    looked_in: tuple[str, ...]
    moved: tuple[str, ...]
    points_ordered: tuple[str, ...]
    copies_ordered: tuple[str, ...]
    closed: tuple[str, ...]
    ignored: tuple[str, ...] = ()


def track_points(event: dict[str, Any], tools: Tools, now: datetime) -> PointsTracked:
    """Every point and copy under way stands where AWS says it is; free permits are used; settled runs are closed.

    What goes wrong with one kind in one Region is raised after everything else is done: the night on which a Region is
    down is the night on which the others must go on.
    """
    troubles: list[HoldfastError] = []
    settings = tools.settings
    regions = settings.regions
    heard = from_aws.notices(event["Records"]) if "Records" in event else ()
    # Before anything that takes long: how long each order waits is counted from now.
    points_ordered = [] if "Records" in event else dispatching.order_points(tools, now)
    if "Records" in event:
        hinted = {notice.region for notice in heard if notice.account == tools.account}
        regions = tuple(region for region in settings.regions if region in hinted)
    moved: list[tuple[Slot, str]] = []
    under_way: set[str] = set()
    for region in regions:
        with settling.apart(troubles):
            points, copies = _named(heard, region, tools) if "Records" in event else _all(region, tools)
            under_way.update(part.snapshot_id for point in points for part in point.parts)
            under_way.update(copy.snapshot_id for copy in copies if copy.snapshot_id is not None)
            moved += _track_points(points, region, tools, now, troubles)
            moved += _track_copies(copies, region, tools, now, troubles)
    points_ordered += dispatching.order_points(tools, now)
    copies_ordered = dispatching.order_copies(tools, now)
    touched = {slot.key: slot for slot, _ in moved}
    closed = [slot for slot in touched.values() if settling.close_if_settled(slot, tools, now)]
    if troubles:
        frame.logger().error("some could not be tracked", extra={"why": [str(trouble) for trouble in troubles]})
        raise troubles[0]
    return PointsTracked(
        looked_in=regions,
        moved=tuple(said for _, said in moved),
        points_ordered=tuple(str(point.slot.resource) for point in points_ordered),
        copies_ordered=tuple(f"{copy.source_snapshot_id} to {copy.region}" for copy in copies_ordered),
        closed=tuple(f"{slot.resource} {slot.at:%Y-%m-%dT%H:%MZ}" for slot in closed),
        ignored=tuple(why for notice in heard if (why := _why_ignored(notice, regions, under_way, tools))),
    )


def _all(region: str, tools: Tools) -> tuple[list[Point], list[Copy]]:
    """The points and copies that are under way in a Region."""
    is_home = region == tools.settings.home_region
    points = tools.ledger.points.open_in(region, Stage.UNDER_WAY) if is_home else ()
    copies = () if is_home else tools.ledger.copies.open_in(region, Stage.UNDER_WAY)
    return (
        [point for point in points if point.status is Status.CREATED],
        [copy for copy in copies if copy.status is Status.CREATED],
    )


def _named(notices: Sequence[from_aws.Notice], region: str, tools: Tools) -> tuple[list[Point], list[Copy]]:
    """Those of them that notices name: what a notice costs must not grow with what else is under way.

    Which point a snapshot belongs to, its tags say, where AWS shows them yet; else the next tick sees it.
    """
    points: dict[str, Point] = {}
    copies: dict[str, Copy] = {}
    for snapshot in _told_of(notices, region, tools):
        try:
            label = labels.read(snapshot, account=tools.account)
        except BadMessage:
            continue
        if label.source_snapshot_id is None:
            point = tools.ledger.points.get(label.slot)
            if point is not None and point.status is Status.CREATED:
                points[point.slot.key] = point
        else:
            copy = tools.ledger.copies.get(label.slot, region, label.source_snapshot_id)
            if copy is not None and copy.status is Status.CREATED:
                copies[settling.copy_holder(copy)] = copy
    return list(points.values()), list(copies.values())


def _told_of(notices: Sequence[from_aws.Notice], region: str, tools: Tools) -> Iterator[Snapshot]:
    """The snapshots that notices of this account name, as AWS describes them now."""
    for source, kinds in KINDS_OF.items():
        here = (n for n in notices if (n.source, n.account, n.region) == (source, tools.account, region))
        ids = {id for notice in here for id in notice.snapshot_ids}
        for kind in kinds:
            found = tools.snapshots(kind, region).look(ids) if ids else {}
            yield from found.values()
            ids -= found.keys()


def _why_ignored(notice: from_aws.Notice, regions: Collection[str], under_way: Collection[str], tools: Tools) -> str:
    """Why a notice told of nothing of ours; empty when it did."""
    if notice.account != tools.account:
        return f"a notice of account {notice.account}, which is not this one"
    if notice.region not in regions:
        return f"a notice from {notice.region}, where nothing of ours is"
    if not any(id in under_way for id in notice.snapshot_ids):
        named = ", ".join(notice.snapshot_ids) or "what it tells of"
        return f"{named} in {notice.region} belongs to nothing that is under way"
    return ""


def _track_points(
    begun: Sequence[Point], region: str, tools: Tools, now: datetime, troubles: list[HoldfastError]
) -> list[tuple[Slot, str]]:
    moved: list[tuple[Slot, str]] = []
    for kind, points in _by_kind(begun, lambda point: point.slot.resource.kind):
        with settling.apart(troubles):
            snapshots = tools.snapshots(kind, region)
            seen = snapshots.look(part.snapshot_id for point in points for part in point.parts)
            ended: dict[bool, list[str]] = {True: [], False: []}
            for point in points:
                with settling.apart(troubles):
                    status = _move_point(point, seen, snapshots, tools, now)
                    if status is not Status.CREATED:
                        moved.append((point.slot, f"{point.slot.resource} {point.slot.at:%H:%MZ}: {status}"))
                        ended[status is Status.COMPLETED].append(point.slot.key)
            _return_permits(PoolName.of(Operation.CREATE, kind, region), ended, tools, now)
    return moved


def _move_point(
    point: Point, seen: Mapping[str, Snapshot], snapshots: Snapshots, tools: Tools, now: datetime
) -> Status:
    """Where the point stands now, by what AWS says of its parts."""
    parts = tuple(
        part_of(seen[part.snapshot_id], before=part) if part.snapshot_id in seen else _absent(part, point, now)
        for part in point.parts
    )
    status = status_of(tuple(part.state for part in parts))
    if status is Status.CREATED:
        return status
    errors = [f"{part.snapshot_id} is {part.state}: {part.message}" for part in parts if part.message]
    if status is Status.COMPLETED:
        parts = _with_copies_owed(point, parts, snapshots, tools, now)
    elif not errors:
        errors = [f"{part.snapshot_id} is {part.state}" for part in parts if part.state is not State.COMPLETED]
    tools.ledger.points.move(point, status, parts=parts, now=_ended(parts, now), error="; ".join(errors))
    return status


def _return_permits(pool: PoolName, ended: Mapping[bool, Collection[str]], tools: Tools, now: datetime) -> None:
    for succeeded, holders in ended.items():
        if holders:
            tools.ledger.permits.give_back(pool, holders, now, succeeded=succeeded)


def _with_copies_owed(
    point: Point, parts: Sequence[Part], snapshots: Snapshots, tools: Tools, now: datetime
) -> tuple[Part, ...]:
    """The parts with their changed bytes; before the point is called complete, its copies are owed.

    In this order, a crash in between is repaired by doing it again: owing twice is owing once.
    """
    before = tools.ledger.points.newest_complete_before(point.slot)
    earlier = {part.source_id: part.snapshot_id for part in before.parts} if before else {}
    measured = tuple(_measured(part, earlier.get(part.source_id), snapshots) for part in parts)
    expected = _expected_seconds(before, measured, tools)
    whole = replace(point, status=Status.COMPLETED, parts=measured)
    for copy in copying.owed(whole, settling.rpo_of(point, tools), now, expected_seconds=expected):
        tools.ledger.copies.owe(copy)
    return measured


def _measured(part: Part, earlier_id: str | None, snapshots: Snapshots) -> Part:
    """The part with the bytes that differ from the snapshot before it. Not knowing them must not stop a backup."""
    if earlier_id is None:
        return part
    try:
        return replace(part, changed_bytes=snapshots.changed_bytes(earlier_id, part.snapshot_id))
    except HoldfastError as problem:
        frame.logger().warning("changed bytes stay unknown", extra={"snapshot": part.snapshot_id, "why": str(problem)})
        return part


def _expected_seconds(before: Point | None, parts: Sequence[Part], tools: Tools) -> Callable[[str, str], float]:
    """How long each copy will take: as long as the last one, or as its size suggests at 60 MiB/s."""
    took = {
        (copy.source_id, copy.region): (copy.completed_at - copy.created_at).total_seconds()
        for copy in (tools.ledger.copies.of_slot(before.slot) if before else ())
        if copy.completed_at is not None and copy.created_at is not None
    }
    sizes = {part.source_id: part.full_size_bytes or (part.size_gib or 0) * 2**30 for part in parts}
    return lambda source, region: took.get((source, region), sizes.get(source, 0) / (60 * 2**20))


def _track_copies(
    begun: Sequence[Copy], region: str, tools: Tools, now: datetime, troubles: list[HoldfastError]
) -> list[tuple[Slot, str]]:
    moved: list[tuple[Slot, str]] = []
    for kind, copies in _by_kind(begun, lambda copy: copy.slot.resource.kind):
        with settling.apart(troubles):
            seen = tools.snapshots(kind, region).look(copy.snapshot_id for copy in copies if copy.snapshot_id)
            ended: dict[bool, list[str]] = {True: [], False: []}
            for copy in copies:
                with settling.apart(troubles):
                    status = _move_copy(copy, seen.get(copy.snapshot_id or ""), tools, now)
                    if status is not Status.CREATED:
                        moved.append((copy.slot, f"{copy.slot.resource} copy in {region}: {status}"))
                        ended[status is Status.COMPLETED].append(settling.copy_holder(copy))
            _return_permits(PoolName.of(Operation.COPY, kind, region), ended, tools, now)
    return moved


def _move_copy(copy: Copy, snapshot: Snapshot | None, tools: Tools, now: datetime) -> Status:
    """Where the copy stands now, by what its own Region says of it."""
    is_young = copy.created_at is not None and now - copy.created_at < GRACE
    if snapshot is None and is_young:  # EC2 may not show it yet
        return Status.CREATED
    status = status_of((snapshot.state,) if snapshot else ())
    if status is not Status.CREATED:
        error = "" if status is Status.COMPLETED else f"{copy.snapshot_id} is {status}: {_said(snapshot)}"
        at = (snapshot.completed_at if snapshot else None) or now
        tools.ledger.copies.move(copy, status, now=at, snapshot=snapshot, error=error)
    return status


def _by_kind(works: Iterable[Work], kind_of: Callable[[Work], Kind]) -> Iterator[tuple[Kind, list[Work]]]:
    for kind, same in groupby(sorted(works, key=kind_of), key=kind_of):
        yield kind, list(same)


def _absent(part: Part, point: Point, now: datetime) -> Part:
    """A snapshot that AWS does not show: gone, unless it is so young that EC2 may not show it yet."""
    is_young = point.created_at is not None and now - point.created_at < GRACE
    return part if is_young else replace(part, state=State.GONE)


def _ended(parts: Sequence[Part], now: datetime) -> datetime:
    """When the last part was complete, as AWS says; RDS does not say, so it is when we saw it."""
    times = [part.completed_at for part in parts]
    known = [at for at in times if at is not None]
    return max(known) if known and len(known) == len(times) else now


def _said(snapshot: Snapshot | None) -> str:
    return (snapshot.message if snapshot else "") or "AWS gives no reason"


handler = frame.event(track_points)
