"""Track points: look at AWS, move points and copies along, and send the next copies on their way.

A notice only says where to look sooner. What is true is what AWS answers now, so a lost, late, doubled or forged
notice changes nothing but the hour.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any, TypeVar

from functions.contracts import from_aws, wire
from functions.core import copies as copying
from functions.core.errors import HoldfastError
from functions.core.permits import Operation, PoolName
from functions.core.points import GRACE, Copy, Part, Point, Status, part_of, status_of
from functions.core.resources import Kind
from functions.core.slots import Slot
from functions.core.snapshots import Snapshot, Snapshots, State
from functions.handlers import frame, settling
from functions.handlers.tools import Tools

Work = TypeVar("Work", Point, Copy)


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsTracked:
    """What moved where, which copies were ordered, which runs were closed."""

    looked_in: tuple[str, ...]
    moved: tuple[str, ...]
    copies_ordered: tuple[str, ...]
    closed: tuple[str, ...]


def track_points(event: dict[str, Any], tools: Tools, now: datetime) -> PointsTracked:
    """Every open point and copy stands where AWS says it is; free permits are used; settled runs are closed.

    What goes wrong with one kind in one Region is raised after everything else is done: the night on which a Region is
    down is the night on which the others must go on.
    """
    troubles: list[HoldfastError] = []
    settings = tools.settings
    regions = settings.regions
    if "Records" in event:
        hinted = {notice.region for notice in from_aws.notices(event["Records"])}
        regions = tuple(region for region in settings.regions if region in hinted)
    moved: list[tuple[Slot, str]] = []
    if settings.home_region in regions:
        moved += _track_home(settings.home_region, tools, now, troubles)
    for region in settings.copy_regions:
        if region in regions:
            moved += _track_copies(region, tools, now, troubles)
    ordered = [copy for region in settings.copy_regions for copy in _order_copies(region, tools, now)]
    touched = {slot.key: slot for slot, _ in moved}
    closed = [slot for slot in touched.values() if settling.close_if_settled(slot, tools, now)]
    if troubles:
        frame.logger().error("some could not be tracked", extra={"why": [str(trouble) for trouble in troubles]})
        raise troubles[0]
    return PointsTracked(
        looked_in=regions,
        moved=tuple(said for _, said in moved),
        copies_ordered=tuple(f"{copy.source_snapshot_id} to {copy.region}" for copy in ordered),
        closed=tuple(f"{slot.resource} {slot.at:%Y-%m-%dT%H:%MZ}" for slot in closed),
    )


def _track_home(region: str, tools: Tools, now: datetime, troubles: list[HoldfastError]) -> list[tuple[Slot, str]]:
    under_way = [point for point in tools.ledger.points.open_in(region) if point.status is Status.CREATED]
    moved: list[tuple[Slot, str]] = []
    for kind, points in _by_kind(under_way, lambda point: point.slot.resource.kind):
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
        errors += _lock(point, parts, snapshots, tools)
        parts = _with_copies_owed(point, parts, snapshots, tools, now)
    elif not errors:
        errors = [f"{part.snapshot_id} is {part.state}" for part in parts if part.state is not State.COMPLETED]
    tools.ledger.points.move(point, status, parts=parts, now=_ended(parts, now), error="; ".join(errors))
    return status


def _return_permits(pool: PoolName, ended: Mapping[bool, Collection[str]], tools: Tools, now: datetime) -> None:
    for succeeded, holders in ended.items():
        if holders:
            tools.ledger.permits.give_back(pool, holders, now, succeeded=succeeded)


def _lock(point: Point, parts: Sequence[Part], snapshots: Snapshots, tools: Tools) -> list[str]:
    """Why a part could not be locked; all others are, when the policy says so. An unlocked point is still a point."""
    policy = tools.settings.policies.get(point.policy)
    if policy is None or policy.lock is None:
        return []
    problems: list[str] = []
    for part in parts:
        try:
            snapshots.lock(part.snapshot_id, policy.lock)
        except HoldfastError as problem:
            problems.append(f"{part.snapshot_id} is not locked: {problem.what}")
    return problems


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


def _track_copies(region: str, tools: Tools, now: datetime, troubles: list[HoldfastError]) -> list[tuple[Slot, str]]:
    under_way = [copy for copy in tools.ledger.copies.open_in(region) if copy.status is Status.CREATED]
    moved: list[tuple[Slot, str]] = []
    for kind, copies in _by_kind(under_way, lambda copy: copy.slot.resource.kind):
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


def _order_copies(region: str, tools: Tools, now: datetime) -> list[Copy]:
    """The copies that got a permit now, ordered: earliest deadline first, the longest first among equals."""
    open_now = list(tools.ledger.copies.open_in(region))
    ordered: list[Copy] = []
    for family in sorted({PoolName.of(Operation.COPY, copy.slot.resource.kind, region) for copy in open_now}):
        mine = [c for c in open_now if PoolName.of(Operation.COPY, c.slot.resource.kind, region) == family]
        pool = tools.ledger.permits.get(family)
        waiting = [c for c in mine if c.status is Status.OWED and settling.copy_holder(c) not in pool.holders]
        busy = {c.source_id for c in mine if settling.copy_holder(c) in pool.holders}
        chosen = copying.choose(waiting, free=pool.free, busy_sources=busy)
        ordered += [c for c in chosen if tools.ledger.permits.take(family, settling.copy_holder(c), now)]
    tools.copy_orders.send([wire.dump(settling.copy_order(copy)) for copy in ordered])
    return ordered


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
