"""What others do with the same fleet, under the same limits of AWS: models, not their code.

`PollingMachine` is a state machine for each resource, as the published samples are: it creates, looks every minute,
copies, looks every minute; what AWS has no room for is tried again a minute later, and nobody knows of the others.
`SleepingLambda` is a function for each resource that sleeps between its looks and ends with its fifteen minutes.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.fleet.bounds import EBS, Allowed, Job

DESCRIBE = (100.0, 20.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """How it works: looks and tries again every so many seconds, and is ended after `lives_seconds`."""

    name: str
    looks_every_seconds: float
    lives_seconds: float = float("inf")


POLLING_MACHINE = Peer(name="polling state machine", looks_every_seconds=60.0)
SLEEPING_LAMBDA = Peer(name="sleeping Lambda", looks_every_seconds=15.0, lives_seconds=900.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerNight:
    """What came of a night: `failed` resources have no copy in the end."""

    makespan_seconds: float
    mutating_calls_per_needed: float
    describe_share: float
    failed: int


class _Bucket:
    def __init__(self, size: float, per_second: float) -> None:
        self._size, self._per_second, self._left, self._at = size, per_second, size, 0.0

    def lets_in(self, now: float) -> bool:
        self._left = min(self._size, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def live(peer: Peer, jobs: Sequence[Job], allowed: Allowed) -> PeerNight:
    """The night of a fleet with a peer."""
    return _Night(peer, allowed).of(jobs)


class _Night:
    """A resource is called again at its times; what it does next is a method."""

    def __init__(self, peer: Peer, allowed: Allowed) -> None:
        self._peer = peer
        self._allowed = allowed
        self._luck = random.Random("peers")  # noqa: S311 - jitter, the same each time
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._number = 0
        self._buckets = {
            "create": _Bucket(*allowed.create),
            "copy": _Bucket(*allowed.copy),
            "describe": _Bucket(*DESCRIBE),
            "describe copies": _Bucket(*DESCRIBE),
        }
        self._copying: dict[str, list[float]] = {family: [] for family in allowed.copies_under_way}
        self._mutating = self._described = self._failed = 0
        self._ended = 0.0

    def of(self, jobs: Sequence[Job]) -> PeerNight:
        for job in jobs:
            self._at(job.due, self._create(job, job.due + self._peer.lives_seconds, tries=0))
        while self._due:
            now, _, action = heapq.heappop(self._due)
            action(now)
        return PeerNight(
            makespan_seconds=self._ended,
            mutating_calls_per_needed=self._mutating / (2 * len(jobs)),
            describe_share=self._described / 2 / DESCRIBE[1] / max(self._ended, 1.0),
            failed=self._failed,
        )

    def _at(self, when: float, action: Callable[[float], None]) -> None:
        self._number += 1
        heapq.heappush(self._due, (when, self._number, action))

    def _create(self, job: Job, until: float, *, tries: int) -> Callable[[float], None]:
        def act(now: float) -> None:
            if self._is_over(now, until):
                return
            self._mutating += 1
            if job.family == EBS and not self._buckets["create"].lets_in(now):
                self._at(now + self._backs_off(tries), self._create(job, until, tries=tries + 1))
                return
            ends_at = now + job.snapshot_takes
            self._look(now, "describe", ends_at, until, lambda: self._copy(job, until, tries=0))

        return act

    def _copy(self, job: Job, until: float, *, tries: int) -> Callable[[float], None]:
        def act(now: float) -> None:
            if self._is_over(now, until):
                return
            self._mutating += 1
            if job.family == EBS and not self._buckets["copy"].lets_in(now):
                self._at(now + self._backs_off(tries), self._copy(job, until, tries=tries + 1))
                return
            busy = self._copying[job.family]
            while busy and busy[0] <= now:
                heapq.heappop(busy)
            if len(busy) >= self._allowed.copies_under_way[job.family]:
                self._at(now + self._peer.looks_every_seconds, self._copy(job, until, tries=0))
                return
            ends_at = now + job.copy_takes
            heapq.heappush(busy, ends_at + self._allowed.slot_freed_after_seconds)
            self._look(now, "describe copies", ends_at, until, lambda: self._done(ends_at))

        return act

    def _look(
        self, now: float, what: str, ends_at: float, until: float, then: Callable[[], Callable[[float], None]]
    ) -> None:
        """Looked at every so often until it has ended."""

        def act(now: float) -> None:
            if self._is_over(now, until):
                return
            self._described += 1
            is_told = self._buckets[what].lets_in(now)
            self._at(now, then()) if is_told and now >= ends_at else self._at(now + self._peer.looks_every_seconds, act)

        self._at(now + self._peer.looks_every_seconds, act)

    def _done(self, ends_at: float) -> Callable[[float], None]:
        def act(_: float) -> None:
            self._ended = max(self._ended, ends_at)

        return act

    def _is_over(self, now: float, until: float) -> bool:
        if now <= until:
            return False
        self._failed += 1
        return True

    def _backs_off(self, tries: int) -> float:
        """As SDKs and Retry clauses do: exponentially, with jitter."""
        return self._luck.uniform(0.5, 1.0) * min(60.0, 2.0**tries)
