"""One night of a fleet with the real handlers, and what was made of AWS's limits in it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise

from benchmarks.fleet.bounds import EBS, RDS, Allowed, Job
from benchmarks.fleet.world import FleetWorld, at_work
from functions.core.policies import Policy, Settings, Tiers
from functions.core.resources import Kind, ResourceKey
from functions.core.slots import newest_due, next_after
from functions.handlers.plan_backups import _version
from tests.builders import ACCOUNT, AWAY, HOME, NOON, a_policy
from tests.simulation.ec2 import EbsSnapshot
from tests.simulation.limits import DOCUMENTED, Limits
from tests.simulation.rds import DatabaseSnapshot
from tests.simulation.scenarios import TAGS, somebody, stand
from tests.simulation.world import ledger_in

DATABASES = 0.1
"""Their share of a fleet."""

SPREAD = 0.5
"""Standard deviation of AWS's times, as a share of their mean."""

SNAPSHOT_SECONDS, COPY_SECONDS = 300.0, 240.0
DATABASE_SNAPSHOT_SECONDS, DATABASE_COPY_SECONDS = 600.0, 1200.0
COPY_STARTS_SECONDS, MIB_PER_SECOND = 70.0, 60.0
"""A copy takes a moment to begin, and then follows its size."""

HOUR = timedelta(hours=1)
LIMITS = replace(DOCUMENTED, pending_snapshots=None, manual_database_snapshots=None)
"""The documented limits but two: how many snapshots may be pending is not in today's list of quotas, and the quota of
manual database snapshots does not hold a fleet's seven days, so somebody had it raised."""

ALL_AT_ONCE = a_policy(version="0a1b2c3d", copy_to=(AWAY,), starts=timedelta(hours=12), keep=Tiers(daily=7))
SPREAD_OVER_A_DAY = replace(ALL_AT_ONCE, starts=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """How much of what AWS allowed was used while something waited for it, both in AWS's units."""

    used: float
    allowed: float

    @property
    def share(self) -> float:
        return self.used / self.allowed if self.allowed else 1.0


@dataclass(kw_only=True)
class Night:
    """A fleet of `size`, due by `policy`; from `changes` on, at their seconds, AWS has other limits."""

    size: int
    policy: Policy = ALL_AT_ONCE
    limits: Limits = LIMITS
    changes: Mapping[float, Limits] = field(default_factory=dict)
    lasts_at_most: timedelta = timedelta(days=30)
    has_inventory: bool = True

    def __post_init__(self) -> None:
        self._luck = random.Random(f"fleet of {self.size}")  # noqa: S311 - the same fleet each time, and no secret
        self._takes: dict[str, tuple[float, float]] = {}
        settings = Settings(home_region=HOME, copy_regions=(AWAY,), policies={"gold": self.policy})
        self.world = FleetWorld(settings=settings, starts_at=NOON, limits=self.limits, spans=self._span)
        self._due: dict[str, datetime] = {}
        self.ended_at = NOON

    # The fleet

    def run(self, progress: Callable[[str], None] = lambda _: None) -> Night:
        """The night is over: every copy is complete and every run is closed, or `lasts_at_most` has passed."""
        with at_work(self.world):
            self.build()
            self.world.calls.clear()
            self.world.table.units_read = self.world.table.units_written = 0.0
            self._by_the_clock()
            until = NOON + self.lasts_at_most
            while self.world.now < until and not self._is_over:
                self.world.run_until(min(until, self.world.now + timedelta(minutes=10)))
                progress(f"{self.size}: {(self.world.now - NOON) / HOUR:6.1f} h, {len(self._copies)} copies")
        self.ended_at = max(self._protected().values(), default=self.world.now)
        return self

    def build(self) -> None:
        """The fleet is there, known to the inventory and due at its times."""
        databases = round(self.size * DATABASES)
        with somebody(self.world):
            for number in range(self.size):
                key = self._database(number) if number < databases else self._volume()
                stand(self.world, key)
                newest = newest_due(self.policy, key, NOON - timedelta(seconds=1))
                due = next_after(self.policy, newest)
                self._due[key.id] = due
                ledger_in(HOME).resources.planned(key, newest.at, due_at=due)
            for chore in ("sweep", "full sweep"):
                ledger_in(HOME).since.did(chore, NOON)
            ledger_in(HOME).since.noted("policies", _version(self.world.tools()), NOON)
        self.world.clock.now = NOON

    def _volume(self) -> ResourceKey:
        copy_takes = _drawn(self._luck, COPY_SECONDS - COPY_STARTS_SECONDS) + COPY_STARTS_SECONDS
        volume = self.world.ec2[HOME].make_volume(tags=TAGS, blocks=1)
        volume.size_gib = max(1, round((copy_takes - COPY_STARTS_SECONDS) * MIB_PER_SECOND / 1024))
        takes = COPY_STARTS_SECONDS + volume.size_gib * 1024 / MIB_PER_SECOND * self._luck.uniform(0.9, 1.1)
        self._takes[volume.id] = (_drawn(self._luck, SNAPSHOT_SECONDS), takes)
        return ResourceKey(account=ACCOUNT, region=HOME, kind=Kind.VOLUME, id=volume.id)

    def _database(self, number: int) -> ResourceKey:
        id = f"orders-{number}"
        self.world.rds[HOME].make(id, is_cluster=False, tags=TAGS)
        self._takes[id] = (
            _drawn(self._luck, DATABASE_SNAPSHOT_SECONDS),
            _drawn(self._luck, DATABASE_COPY_SECONDS),
        )
        return ResourceKey(account=ACCOUNT, region=HOME, kind=Kind.DATABASE, id=id)

    def _span(self, snapshot: EbsSnapshot | DatabaseSnapshot) -> timedelta:
        return timedelta(seconds=self._takes[self._source(snapshot)][1 if snapshot.source_snapshot_id else 0])

    def _source(self, snapshot: EbsSnapshot | DatabaseSnapshot) -> str:
        """The volume or database that it was taken of."""
        if isinstance(snapshot, DatabaseSnapshot):
            return snapshot.source_id
        if snapshot.source_snapshot_id:
            return self.world.ec2[HOME].snapshots[snapshot.source_snapshot_id].volume_id
        return snapshot.volume_id

    def _by_the_clock(self) -> None:
        start, world = self.world.now, self.world
        world.every("plan_backups", first=start + timedelta(seconds=20), minutes=5)
        world.every("track_points", first=start + timedelta(seconds=40), minutes=1)
        world.every("sweep", first=start + timedelta(minutes=10, seconds=5), minutes=15)
        if self.has_inventory:
            world.every("take_inventory", first=start + timedelta(minutes=33), minutes=60)
        for seconds, limits in self.changes.items():
            world.at(NOON + timedelta(seconds=seconds), "limits", lambda limits=limits: world.change_limits(limits))

    @property
    def _is_over(self) -> bool:
        if len(self._copies) < self.size or self.not_protected:
            return False
        # Over a day, the next day's slots come before this one's work is all done.
        return self.policy.starts is None or not self.world.table.is_anything_open

    # What came of it

    @property
    def _copies(self) -> list[EbsSnapshot | DatabaseSnapshot]:
        return [*self.world.ec2[AWAY].snapshots.values(), *self.world.rds[AWAY].snapshots.values()]

    @property
    def _points(self) -> list[EbsSnapshot | DatabaseSnapshot]:
        return [*self.world.ec2[HOME].snapshots.values(), *self.world.rds[HOME].snapshots.values()]

    @property
    def makespan_seconds(self) -> float:
        """From noon until every resource had its copy."""
        return (self.ended_at - NOON).total_seconds()

    @property
    def first_create_seconds(self) -> float:
        """From noon until the first snapshot began."""
        return min(_seconds(point.started_at) for point in self._points)

    @property
    def jobs(self) -> list[Job]:
        return [
            Job(
                family=RDS if id.startswith("orders-") else EBS,
                due=(self._due[id] - NOON).total_seconds(),
                snapshot_takes=takes[0],
                copy_takes=takes[1],
            )
            for id, takes in self._takes.items()
        ]

    def allowed(self, seconds: float) -> Allowed:
        """What AWS lets through then."""
        return allowed(self.limits_at(seconds))

    def limits_at(self, seconds: float) -> Limits:
        """AWS's limits then."""
        passed = [at for at in self.changes if at <= seconds]
        return self.changes[max(passed)] if passed else self.limits

    @property
    def not_protected(self) -> int:
        """How many resources have no complete copy."""
        return self.size - len(self._protected())

    def _protected(self) -> Mapping[str, datetime]:
        """When the first copy of each resource was complete."""
        whole: dict[str, datetime] = {}
        for copy in self._copies:
            if not copy.failure and copy.ends_at is not None and copy.ends_at <= self.world.now:
                source = self._source(copy)
                whole[source] = min(whole.get(source, copy.ends_at), copy.ends_at)
        return whole

    def calls_per_needed(self, *, apart_from: Sequence[tuple[float, float]] = ()) -> float:
        """Requests that change something at EC2 and RDS, for each that had to be made, but for these stretches."""

        def counted(times: Iterable[datetime]) -> int:
            return sum(not any(a <= _seconds(at) < b for a, b in apart_from) for at in times)

        needed = counted(one.started_at for one in (*self._points, *self._copies))
        refused = counted(at for at, what, _ in self.world.refusals if what.startswith(("create_", "copy_")))
        return (needed + refused) / max(needed, 1)

    @property
    def describe_share(self) -> float:
        """Of the refill of EC2's busiest Describe operation in the busiest Region, over the whole night."""
        busiest = max(
            sum(n for (name, where, _), n in self.world.calls.items() if (name, where) == (operation, region))
            for operation in ("describe_snapshots", "describe_volumes", "describe_instances")
            for region in (HOME, AWAY)
        )
        return busiest / (self.limits.describe or (0, math.inf))[1] / max(1.0, self.makespan_seconds)

    def copy_slots(self, family: str, *, apart_from: Sequence[tuple[float, float]] = ()) -> Used:
        """Slot-seconds while copies waited, but for these stretches of the night."""
        lag = self.limits.copy_counter_lags_seconds if family == EBS else 0.0
        points = (
            self.world.ec2[HOME].snapshots
            if family == EBS
            else {one.id: one for one in self.world.rds[HOME].snapshots.values()}
        )
        copies = (self.world.ec2 if family == EBS else self.world.rds)[AWAY].snapshots.values()
        events: list[tuple[float, int, int]] = []
        for copy in copies:
            ready = points[copy.source_snapshot_id].ends_at
            if ready is None or copy.ends_at is None:
                raise ValueError(f"{copy.id} never ends; nothing here gets stuck")
            begins, ends = _seconds(copy.started_at), _seconds(copy.ends_at) + lag
            events += [(_seconds(ready), 0, 1), (begins, 1, -1), (ends, -1, 0)]
        edges = {0.0, *self.changes, *(edge for stretch in apart_from for edge in stretch)}
        events += [(edge, 0, 0) for edge in edges]
        under_way = waiting = 0
        used = could = last = 0.0
        for at, begun, ready_now in sorted(events):
            if waiting > 0 and not any(a <= last < b for a, b in apart_from):
                at_once = self.allowed(last).copies_under_way[family]
                used += min(under_way, at_once) * (at - last)
                could += at_once * (at - last)
            last = at
            under_way += begun
            waiting += ready_now
        return Used(used=used, allowed=could)

    def create_bucket(self, *, apart_from: Sequence[tuple[float, float]] = ()) -> Used:
        """Tokens of CreateSnapshot from the first create to the last, but for these stretches of the night."""
        created = sorted(_seconds(point.started_at) for point in self.world.ec2[HOME].snapshots.values())
        first, last, (size, _) = created[0], created[-1], self.allowed(0).create
        inner = {*self.changes, *(edge for stretch in apart_from for edge in stretch)}
        edges = sorted({first, last, *(edge for edge in inner if first < edge < last)})
        could, used = (0.0 if any(begins <= first < ends for begins, ends in apart_from) else size), 0.0
        for begins, ends in pairwise(edges):
            if not any(a <= begins < b for a, b in apart_from):
                could += (ends - begins) * self.allowed(begins).create[1]
                used += sum(1 for at in created if begins <= at < ends or at == last == ends)
        return Used(used=used, allowed=could)


def allowed(limits: Limits) -> Allowed:
    """What these limits let through."""
    buckets = limits.buckets or {}
    return Allowed(
        create=buckets["create_snapshot"],
        copy=buckets["copy_snapshot"],
        copies_under_way={EBS: limits.copies_under_way or 10**9, RDS: limits.database_copies_under_way or 10**9},
        slot_freed_after_seconds=limits.copy_counter_lags_seconds,
    )


def times(limits: Limits, factor: float) -> Limits:
    """The same limits, so many times as much of each."""
    return replace(
        limits,
        buckets={name: (size * factor, refill * factor) for name, (size, refill) in (limits.buckets or {}).items()},
        copies_under_way=round((limits.copies_under_way or 20) * factor),
        database_copies_under_way=round((limits.database_copies_under_way or 20) * factor),
    )


def _drawn(luck: random.Random, mean: float) -> float:
    """A time of that mean: never short, now and then long."""
    sigma = math.sqrt(math.log(1 + SPREAD**2))
    return luck.lognormvariate(math.log(mean) - sigma**2 / 2, sigma)


def _seconds(at: datetime) -> float:
    return (at - NOON).total_seconds()
