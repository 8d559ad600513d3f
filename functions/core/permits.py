"""The right to have one more operation in flight at AWS, when it may begin, and how both limits learn.

AWS publishes some limits, hides others and raises them silently, so the published number is only where we start.
How many may be in flight: a refusal lowers the limit to what was really in flight, and quiet success raises it, by one
at first and by twice as many each time that AWS lets them in. How fast they may begin: AWS lets calls in through a
bucket that refills, so permits are handed out with the moment at which their call may be made; throttled calls show the
refill, and quiet minutes at full pace raise it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from functions.core.resources import Kind

FAMILIES: tuple[str, ...] = ("aurora", "ebs", "rds")
"""Kinds in one family share AWS's limits and therefore their permits."""

PROBE_AFTER = timedelta(minutes=5)
"""How long after a refusal the limit stays where it was lowered to."""

PROBE_ANYWAY_AFTER = timedelta(minutes=30)
"""How long after a refusal one more is tried though nothing came to its end."""

ANSWERED_AFTER = timedelta(seconds=10)
"""How long after the moment of its call a holder without a refusal counts as let in, and a raise as tried."""

FIRST_REST_SECONDS, LONGEST_REST_SECONDS = 2.0, 30.0
"""How late AWS's own count may be believed to be: what ended may be counted as under way for so long."""

REMEMBERED = 100
"""Of how many returned permits a pool remembers when that was."""

MOST = 4000
"""No more holders than this in one pool: they are written in one row, and a row holds 400 KB."""


class Operation(StrEnum):
    """What a permit is for."""

    CREATE = "create"
    COPY = "copy"


POOLS: Mapping[Kind, str] = {Kind.VOLUME: "ebs", Kind.INSTANCE: "ebs", Kind.DATABASE: "rds", Kind.CLUSTER: "aurora"}
"""The family of each kind."""

STARTS_AT: Mapping[tuple[Operation, str], int] = {
    (Operation.CREATE, "ebs"): 2000,
    (Operation.CREATE, "rds"): 100,
    (Operation.CREATE, "aurora"): 100,
    (Operation.COPY, "ebs"): 20,
    (Operation.COPY, "rds"): 20,
    (Operation.COPY, "aurora"): 5,
}
"""Published defaults: copies in progress for each destination Region, manual snapshots of databases. How many
snapshots of EBS may be pending is not published any more, and the first refusal says it: more than that never are.
"""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PoolName:
    """Which permits: an operation of a family of kinds in one Region (for copies: the destination)."""

    operation: Operation
    family: str
    region: str

    @classmethod
    def of(cls, operation: Operation, kind: Kind, region: str) -> PoolName:
        """The pool that an operation on this kind draws from."""
        return cls(operation=operation, family=POOLS[kind], region=region)

    def __str__(self) -> str:
        return f"{self.operation}#{self.family}#{self.region}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast calls of one pool may begin, as AWS lets them in: `per_second`, and after a pause those of
    `burst_seconds` at once (the buckets that AWS publishes hold what flows in within 20 seconds).

    `next_at` is when the call after those already handed out may be made if no burst is left. The rest is what this
    window showed: how many were handed out since `since`, how many of them AWS throttled; by which share the next
    quiet window raises the pace, and not before when.
    """

    per_second: float = 5.0
    burst_seconds: float = 20.0
    next_at: datetime | None = None
    since: datetime | None = None
    handed_out: int = 0
    throttled: int = 0
    raises_by: float = 0.04
    steady_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a pool has learnt of how many AWS lets in.

    `proven` were in flight at once and none was refused. The next raise is by `raises_by`, the last was at `raised_at`.
    AWS's count may lag: a permit that was returned rests for `rests_seconds` before a call is made with it again;
    `returned` are the moments of those that rest, and where none has to, the last.
    """

    proven: int = 0
    raises_by: int = 1
    raised_at: datetime | None = None
    rests_seconds: float = 0.0
    returned: tuple[datetime, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The permits of one name: how many there are, who holds one and when its call is made, how fast they are handed
    out. A holder whose moment has come is in flight; before it, it only has its place."""

    name: PoolName
    limit: int
    holders: Mapping[str, datetime]
    refused_at: datetime | None = None
    pace: Pace = field(default_factory=Pace)
    room: Room = field(default_factory=Room)

    @property
    def free(self) -> int:
        """How many more may be given out; never negative, though a lowered limit may be overdrawn."""
        return max(0, self.limit - len(self.holders))

    def without(self, holders: Collection[str]) -> Pool:
        """The pool when none of these has a permit."""
        return replace(self, holders={holder: at for holder, at in self.holders.items() if holder not in holders})

    def in_flight(self, at: datetime) -> int:
        """How many calls were made by then."""
        return sum(1 for moment in self.holders.values() if moment <= at)

    def has_room_for(self, holder: str) -> bool:
        """Whether the holder is one of those that the limit still lets in: a refusal may have lowered it since the
        permit was handed out, and whose moment is earlier goes first."""
        mine = (self.holders[holder], holder)
        return sum(1 for name, moment in self.holders.items() if (moment, name) < mine) < self.limit


def refused(pool: Pool, holder: str, now: datetime) -> Pool:
    """The pool after AWS refused the holder for lack of room: its permit is returned. A raise that was being tried is
    taken back; else the limit is what is in flight without it; at least 1, or nothing would ever be tried.

    Where fewer are in flight than AWS let in before, and one of them ended a moment ago, AWS may only count late: then
    returned permits rest longer, and the limit is believed until that does not help.
    """
    after = pool.without({holder})
    in_flight, room = after.in_flight(now), pool.room
    if pool.limit > room.proven > in_flight:
        return replace(after, limit=room.proven, refused_at=now, room=replace(room, raises_by=1))
    rest = timedelta(seconds=LONGEST_REST_SECONDS)
    may_lag = in_flight < room.proven and any(now - returned <= rest for returned in room.returned)
    if may_lag and room.rests_seconds < LONGEST_REST_SECONDS:
        longer = min(LONGEST_REST_SECONDS, max(FIRST_REST_SECONDS, 2 * room.rests_seconds))
        return replace(after, room=replace(room, rests_seconds=longer, returned=(*room.returned, now)))
    rests = room.rests_seconds if room.rests_seconds < LONGEST_REST_SECONDS else 0.0  # it did not help
    room = replace(room, proven=min(room.proven, in_flight), raises_by=1, rests_seconds=rests)
    return replace(after, limit=max(1, min(pool.limit, in_flight)), refused_at=now, room=room)


def returned(pool: Pool, holders: Collection[str], now: datetime, *, succeeded: bool) -> Pool:
    """The pool after these holders are done. Success at a full pool raises its limit while AWS has not refused for a
    while, and shows how many AWS lets in."""
    left = pool.without(holders).holders
    room, rests = pool.room, timedelta(seconds=pool.room.rests_seconds)
    done = len(pool.holders) - len(left)
    resting = tuple(at for at in room.returned if now - at <= timedelta(seconds=LONGEST_REST_SECONDS))
    room = replace(room, returned=(*resting, *[now] * done)[-REMEMBERED:] if room.rests_seconds else (now,))
    limit = pool.limit
    if succeeded:
        room = replace(room, proven=max(room.proven, pool.in_flight(now - ANSWERED_AFTER)))
        is_quiet = pool.refused_at is None or now - pool.refused_at >= PROBE_AFTER
        is_tried = room.raised_at is None or now - room.raised_at >= ANSWERED_AFTER + rests
        if is_quiet and is_tried and pool.free == 0:
            limit = min(MOST, limit + room.raises_by)
            room = replace(room, raises_by=2 * room.raises_by, raised_at=now)
    return replace(pool, holders=left, limit=limit, room=room)


AHEAD = timedelta(seconds=75)
"""How far ahead permits are handed out, each with its moment: a little more than from one tick to the next."""

WINDOW = timedelta(minutes=1)
STEADY = timedelta(minutes=3)
"""How long the pace stays as AWS showed it before it is raised again."""

FULL = 0.9
"""The share of the pace that must have been used before a quiet window says anything about AWS."""

SLOWEST_PER_SECOND = 0.05


def probed(pool: Pool, now: datetime) -> Pool:
    """The pool with room for one more to be tried, when its limit was lowered and all of it was in use for long: by
    what is stuck, no success would ever raise it."""
    if pool.free or pool.refused_at is None or now - pool.refused_at < PROBE_ANYWAY_AFTER:
        return pool
    return replace(pool, limit=max(pool.limit, len(pool.holders)) + 1, refused_at=now)


def hand_out(pool: Pool, wanted: Sequence[str], now: datetime) -> tuple[Pool, Mapping[str, timedelta]]:
    """The pool after as many of `wanted` as there is room for have a permit, in their order, and how long each waits
    before its call. Who has one already is passed over."""
    pace = reviewed(pool.pace, now)
    between = timedelta(seconds=1 / pace.per_second)
    at_once = timedelta(seconds=pace.burst_seconds)
    next_at = max(pace.next_at or now, now)
    if next_at - now > at_once + AHEAD + WINDOW:  # nobody hands out so far ahead, but a clock that was wrong
        next_at = now
    rested = _rested(pool, now)
    given: dict[str, timedelta] = {}
    for holder in wanted:
        wait = max(timedelta(0), next_at - now - at_once)
        if len(given) >= pool.free or wait > AHEAD:
            break
        if holder not in pool.holders and holder not in given:
            given[holder] = max(wait, rested[len(given)] if len(given) < len(rested) else timedelta(0))
            next_at += between
    pace = replace(pace, next_at=next_at, handed_out=pace.handed_out + len(given), since=pace.since or now)
    holders = {**pool.holders, **{holder: now + wait for holder, wait in given.items()}}
    return replace(pool, holders=holders, pace=pace), given


def _rested(pool: Pool, now: datetime) -> Sequence[timedelta]:
    """How long the next permits still rest, the first of them first: those that were never used do not."""
    rest = timedelta(seconds=pool.room.rests_seconds)
    # Those that are free now came back last; the ones before them are in use again.
    waits = sorted(min(rest, max(timedelta(0), at + rest - now)) for at in pool.room.returned)[-pool.free :]
    return (*[timedelta(0)] * (pool.free - len(waits)), *waits)


def throttled(pool: Pool, holder: str) -> Pool:
    """The pool after AWS let the holder's call not in: its permit is returned, and the window remembers."""
    return replace(pool.without({holder}), pace=replace(pool.pace, throttled=pool.pace.throttled + 1))


def reviewed(pace: Pace, now: datetime) -> Pace:
    """The pace that the last window teaches, when it is over.

    What AWS let in while it throttled is its refill. What it throttled was handed out before, so it is compared with
    the calls that were to be made in the window. A window in which the pace was used up and nothing throttled raises
    it, by twice the share each time, so that a limit that AWS doubled is found within minutes.
    """
    if pace.since is None or now - pace.since < WINDOW:
        return pace
    fresh = replace(pace, since=None, handed_out=0, throttled=0)
    seconds = (now - pace.since).total_seconds()
    if pace.throttled:
        let_in = max(0.0, 1 - pace.throttled / max(pace.handed_out, pace.per_second * seconds))
        slower = max(SLOWEST_PER_SECOND, pace.per_second * max(let_in, 0.5))
        return replace(fresh, per_second=slower, raises_by=Pace().raises_by, steady_until=now + STEADY)
    is_full = pace.handed_out >= FULL * pace.per_second * seconds
    if not is_full or (pace.steady_until is not None and now < pace.steady_until):
        return fresh
    return replace(fresh, per_second=pace.per_second * (1 + pace.raises_by), raises_by=min(1.0, 2 * pace.raises_by))
