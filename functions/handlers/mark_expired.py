"""Mark expired: decide which points may go, say why, and mark them. Deleting is another function with another role.

What only a monthly or yearly tier keeps goes into the archive tier afterwards, when its policy wants that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from functions.core.errors import HoldfastError, SnapshotGone
from functions.core.evidence import Fitness
from functions.core.holds import in_force, released_by_policy
from functions.core.points import GRACE, Copy, Point, Status
from functions.core.resources import Kind, ResourceKey
from functions.core.retention import Decision, Fate, Standing, decide
from functions.core.snapshots import Snapshot, State
from functions.handlers import frame, losses
from functions.handlers.losses import Loss
from functions.handlers.tools import Tools
from functions.ledger.surplus import Stage
from functions.ledger.works import by_slot

Seen = Mapping[tuple[Kind, str], Mapping[str, Snapshot]]
"""Every snapshot of ours by kind and Region, then by id: what AWS really has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """Which points were marked or archived and why, whose hold is over, which are gone though the ledger had them, and
    what was left alone."""

    expired: tuple[str, ...]
    released: tuple[str, ...]
    lost: tuple[str, ...]
    surplus: tuple[str, ...]
    archived: tuple[str, ...]
    kept: int
    left_alone: tuple[str, ...]


def mark_expired(tools: Tools, now: datetime) -> Marked:
    """Every point the policy lets go carries the mark that lets the deleter touch it, after a durable EXPIRED; every
    point that it wants archived is on its way into the archive.

    AWS is listed first and completely; a listing that fails ends the run before any decision.
    """
    seen: Seen = {
        (kind, region): {snapshot.id: snapshot for snapshot in tools.snapshots(kind, region).ours()}
        for kind in Kind
        for region in tools.settings.regions
    }
    clock_seen_at = tools.ledger.since.clock(now)
    expired: list[str] = []
    released: list[str] = []
    lost: list[Loss] = []
    left_alone: list[str] = []
    outgrown: list[Decision] = []
    kept = 0
    for known in tools.ledger.resources.all():
        released += _release_in_time(known.resource, tools, now)
        points = tools.ledger.points.of(known.resource)
        copies = tools.ledger.copies.of(known.resource)
        gone = _write_down_losses(points, copies, seen, tools, now)
        lost += gone
        if gone:
            points = tools.ledger.points.of(known.resource)
            copies = tools.ledger.copies.of(known.resource)
        decisions = _decide(known.resource, points, copies, clock_seen_at, tools, now)
        going = [decision for decision in decisions if decision.fate is Fate.EXPIRE]
        aging = [decision for decision in decisions if decision.fate is Fate.ARCHIVE]
        kept += len(decisions) - len(going)
        if (going or aging) and not _something_stays(decisions, seen):
            left_alone.append(f"{known.resource}: none of the points that would stay was seen at AWS")
            going, aging = [], []
        outgrown += aging
        moved = [d for d in going if tools.ledger.points.move(d.point, Status.EXPIRED, now=now)]
        expired += [_told(decision) for decision in moved]
        marking = [point for point in points if point.status is Status.EXPIRED] + [d.point for d in moved]
        left_alone += _mark(marking, copies, seen, tools)
    losses.tell(lost, tools)
    surplus = _mark_surplus(tools, left_alone)
    archived = _archive(outgrown, tools, now, left_alone)
    tools.health.count(Lost=len(lost))
    return Marked(
        expired=tuple(expired),
        released=tuple(released),
        lost=tuple(loss.what for loss in lost),
        surplus=tuple(surplus),
        archived=tuple(archived),
        kept=kept,
        left_alone=tuple(left_alone),
    )


def _release_in_time(resource: ResourceKey, tools: Tools, now: datetime) -> list[str]:
    """The points whose hold ended today because their policy holds what is merely unusual no longer than this."""
    held = in_force(tools.ledger.holds.of(resource))
    if not held:
        return []
    policies = {point.slot.key: point.policy for point in tools.ledger.points.of(resource)}
    released: list[str] = []
    for key, hold in held.items():
        policy = tools.settings.policies.get(policies.get(key, ""))
        release = released_by_policy(hold, policy.release_after if policy else None, now)
        if release is not None and tools.ledger.holds.release(release):
            released.append(f"{resource} {hold.slot.at:%Y-%m-%dT%H:%MZ}: {release.because}")
    return released


def _decide(
    resource: ResourceKey,
    points: Sequence[Point],
    copies: Sequence[Copy],
    clock_seen_at: datetime,
    tools: Tools,
    now: datetime,
) -> Sequence[Decision]:
    """The fate of each completed point, under the policy its newest one was taken under."""
    verified = frozenset(
        rehearsal.slot.key
        for rehearsal in tools.ledger.stories.rehearsals(resource)
        if rehearsal.evidence is not None and rehearsal.evidence.fitness is Fitness.FIT
    )
    newest = max((p for p in points if p.status is Status.COMPLETED), key=lambda p: p.slot.at, default=None)
    policy = tools.settings.policies.get(newest.policy) if newest else None
    standing = Standing(
        points=points,
        copies=by_slot(copies),
        verified=verified,
        policy=policy,
        policy_since=tools.ledger.since.policy(policy, now) if policy else now,
        clock_seen_at=clock_seen_at,
        deleted_today=sum(1 for p in points if p.expired_at is not None and p.expired_at.date() == now.date()),
    )
    return decide(standing, now)


def _something_stays(decisions: Sequence[Decision], seen: Seen) -> bool:
    """Whether AWS itself shows at least one whole point among those that would be left as they are."""
    for decision in decisions:
        if decision.fate is Fate.KEEP:
            key = decision.point.slot.resource
            here = seen.get((key.kind, key.region), {})
            ids = [part.snapshot_id for part in decision.point.parts]
            if ids and all(id in here and here[id].state is State.COMPLETED for id in ids):
                return True
    return False


def _write_down_losses(
    points: Sequence[Point], copies: Sequence[Copy], seen: Seen, tools: Tools, now: datetime
) -> list[Loss]:
    """Completed points and copies that AWS no longer has are GONE on the ledger too: somebody deleted them.

    What lies in a Region that was not listed, because the settings no longer name it, is not judged.
    """
    lost: list[Loss] = []
    standing = {point.slot.key for point in points if point.status is Status.COMPLETED}
    for point in points:
        key = point.slot.resource
        here = seen.get((key.kind, key.region))
        if here is None:
            continue
        absent = [part.snapshot_id for part in point.parts if part.snapshot_id not in here]
        if point.status is Status.COMPLETED and absent and _is_old(point.completed_at, now):
            error = f"{', '.join(absent)} is not at AWS any more"
            if tools.ledger.points.move(point, Status.GONE, now=now, error=error):
                what = f"{key} {point.slot.at:%Y-%m-%dT%H:%MZ}"
                lost.append(Loss(what=what, region=key.region, snapshot_ids=tuple(absent)))
    for copy in copies:
        key = copy.slot.resource
        here = seen.get((key.kind, copy.region))
        is_absent = copy.status is Status.COMPLETED and here is not None and copy.snapshot_id not in here
        if copy.slot.key in standing and is_absent and _is_old(copy.completed_at, now):
            error = f"{copy.snapshot_id} is not at AWS any more"
            if tools.ledger.copies.move(copy, Status.GONE, now=now, error=error):
                what = f"{key} {copy.slot.at:%Y-%m-%dT%H:%MZ} in {copy.region}"
                lost.append(Loss(what=what, region=copy.region, snapshot_ids=(str(copy.snapshot_id),)))
    return lost


def _is_old(completed_at: datetime | None, listed_at: datetime) -> bool:
    """Whether a listing begun at `listed_at` must have shown it: it was complete by then, and long enough for EC2."""
    return completed_at is not None and listed_at - completed_at >= GRACE


def _mark(points: Sequence[Point], copies: Sequence[Copy], seen: Seen, tools: Tools) -> list[str]:
    """Why some could not be marked; every other snapshot of these EXPIRED points carries the mark. Those of yesterday
    are among them, so that a marking that was cut off is finished."""
    left_alone: list[str] = []
    copied = by_slot(copies)
    for point in points:
        key = point.slot.resource
        ids = [(key.region, part.snapshot_id) for part in point.parts]
        ids += [(c.region, c.snapshot_id) for c in copied.get(point.slot.key, []) if c.snapshot_id is not None]
        for region, id in ids:
            if id not in seen.get((key.kind, region), {}):
                continue
            try:
                tools.snapshots(key.kind, region).mark_expired(id)
            except HoldfastError as problem:
                left_alone.append(f"{id} in {region}: {problem}")
    return left_alone


def _mark_surplus(tools: Tools, left_alone: list[str]) -> list[str]:
    marked: list[str] = []
    for surplus in list(tools.ledger.surplus.at(Stage.FOUND)):
        try:
            tools.snapshots(surplus.kind, surplus.region).mark_expired(surplus.snapshot_id)
        except SnapshotGone:
            tools.ledger.surplus.move(surplus, Stage.DELETED)
            continue
        except HoldfastError as problem:
            left_alone.append(f"{surplus.snapshot_id} in {surplus.region}: {problem}")
            continue
        if tools.ledger.surplus.move(surplus, Stage.MARKED):
            marked.append(f"{surplus.snapshot_id} in {surplus.region}")
    return marked


def _archive(decisions: Iterable[Decision], tools: Tools, now: datetime, left_alone: list[str]) -> list[str]:
    """Which points are archived at home from now on, and why. Their copies stay as they are: recovery restores those.

    A point is written down as archived when all of its snapshots are, so that one that was refused is tried again.
    """
    archived: list[str] = []
    for decision in decisions:
        key = decision.point.slot.resource
        snapshots = tools.snapshots(key.kind, key.region)
        is_archived = True
        for part in decision.point.parts:
            try:
                is_archived &= snapshots.archive(part.snapshot_id)
            except HoldfastError as problem:
                is_archived = False
                left_alone.append(f"{part.snapshot_id} in {key.region}: {problem}")
        if is_archived and tools.ledger.points.archived(decision.point, now):
            archived.append(_told(decision))
    return archived


def _told(decision: Decision) -> str:
    slot = decision.point.slot
    return f"{slot.resource} {slot.at:%Y-%m-%dT%H:%MZ}: {decision.reason}"


handler = frame.tick(mark_expired)
