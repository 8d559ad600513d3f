"""How fast a night can be at all: from the limits that AWS enforces and the times that it takes, nothing else.

`lower_bound` is arithmetic, and no controller can be below it. `perfect` is a controller that knows everything at once
and loses no moment; it shows what the tail of a small fleet costs, which the arithmetic leaves out.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

EBS, RDS = "ebs", "rds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One resource's night at AWS, in seconds: when it is due, and how long its snapshot and its copy take."""

    family: str
    due: float
    snapshot_takes: float
    copy_takes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What AWS lets through: `create` and `copy` are the size of a bucket and its refill a second."""

    create: tuple[float, float]
    copy: tuple[float, float]
    copies_under_way: Mapping[str, int]
    slot_freed_after_seconds: float = 0.0


def lower_bound(jobs: Sequence[Job], allowed: Allowed) -> float:
    """The seconds from the first slot until the last copy ends, that no controller can be below."""
    bound = max(job.due + job.snapshot_takes + job.copy_takes for job in jobs)
    for family, at_once in allowed.copies_under_way.items():
        mine = [job for job in jobs if job.family == family]
        if not mine:
            continue
        first = min(job.due + job.snapshot_takes for job in mine)
        busy = sum(job.copy_takes + allowed.slot_freed_after_seconds for job in mine)
        bound = max(bound, first + busy / at_once - allowed.slot_freed_after_seconds)
        if family == EBS:
            last = min(job.snapshot_takes + job.copy_takes for job in mine)
            bound = max(bound, (len(mine) - allowed.create[0]) / allowed.create[1] + last)
    return bound


def perfect(jobs: Sequence[Job], allowed: Callable[[float], Allowed]) -> float:
    """The same for a controller without any delay: each call is made in the moment in which AWS lets it in, the
    longest copy first. `allowed` says what AWS lets through at a time."""
    return max(_family(jobs, family, allowed) for family in {job.family for job in jobs})


def _family(jobs: Sequence[Job], family: str, allowed: Callable[[float], Allowed]) -> float:
    mine = sorted((job for job in jobs if job.family == family), key=lambda job: job.due)
    tokens, at = allowed(0).create[0], 0.0
    ready: list[tuple[float, float]] = []
    for job in mine:  # into AWS as its bucket lets them in
        begins = max(job.due, at)
        if family == EBS:
            size, per_second = allowed(begins).create
            tokens = min(size, tokens + (begins - at) * per_second)
            if tokens < 1:
                begins += (1 - tokens) / per_second
                tokens = 1
            tokens -= 1
            at = begins
        ready.append((begins + job.snapshot_takes, job.copy_takes))
    ready.sort()
    return _copied(ready, family, allowed)


def _copied(ready: Sequence[tuple[float, float]], family: str, allowed: Callable[[float], Allowed]) -> float:
    waiting: list[float] = []
    busy: list[float] = []
    now, next_ready, end = 0.0, 0, 0.0
    while next_ready < len(ready) or waiting:
        while next_ready < len(ready) and ready[next_ready][0] <= now:
            heapq.heappush(waiting, -ready[next_ready][1])
            next_ready += 1
        while busy and busy[0] <= now:
            heapq.heappop(busy)
        at_once = allowed(now).copies_under_way[family]
        while waiting and len(busy) < at_once:
            takes = -heapq.heappop(waiting)
            end = max(end, now + takes)
            heapq.heappush(busy, now + takes + allowed(now).slot_freed_after_seconds)
        following = [busy[0]] if busy else []
        if next_ready < len(ready):
            following.append(ready[next_ready][0])
        if not following:
            break
        # Limits that change between two events are seen at the next one: a second later at the latest.
        now = min(min(following), now + 1.0) if waiting else min(following)
    return end
