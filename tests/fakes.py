"""An AWS in memory for tests of what is decided and done: snapshots with states over time, and faults on demand."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count

from functions.core import labels
from functions.core.errors import (
    HoldfastError,
    NotAllowed,
    OutcomeUnknown,
    ResourceGone,
    SnapshotGone,
    TooManyInFlight,
    Unsafe,
)
from functions.core.resources import Kind, ResourceKey
from functions.core.slots import Slot
from functions.core.snapshots import CopyOrder, Snapshot, SnapshotOrder, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request that reached the fake, with the tags it carried."""

    region: str
    verb: str
    tags: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class Held:
    """A snapshot as the fake keeps it; what is told about it depends on the time."""

    snapshot: Snapshot
    kind: Kind
    made_at: datetime
    completes_at: datetime
    failure: str = ""
    is_locked: bool = False
    is_in_use: bool = False


@dataclass(slots=True, kw_only=True)
class FakeAws:
    """Every Region of one account. Time stands still until `pass_time`.

    `limits` is how many snapshots may be pending for a Region and verb ("take", "copy"); `visible_after` is how late
    Describe shows what exists; a Region in `broken_keys` accepts copies and fails them later, as EBS does.
    """

    account: str = "123456789012"
    now: datetime = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
    snapshot_takes: timedelta = timedelta(minutes=5)
    copy_takes: timedelta = timedelta(minutes=4)
    visible_after: timedelta = timedelta(0)
    size_gib: int = 10
    resources: dict[ResourceKey, tuple[str, ...]] = field(default_factory=dict)
    limits: dict[tuple[str, str], int] = field(default_factory=dict)
    broken_keys: set[str] = field(default_factory=set)
    changed_bytes: dict[tuple[str, str], int] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    held: dict[tuple[str, str], Held] = field(default_factory=dict)
    _refusals: defaultdict[str, deque[HoldfastError]] = field(default_factory=lambda: defaultdict(deque))
    _lost: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def snapshots(self, kind: Kind, region: str) -> FakeSnapshots:
        """The port for one kind in one Region."""
        return FakeSnapshots(self, kind, region)

    def make(self, kind: Kind, region: str, *, volumes: int = 1) -> ResourceKey:
        """A new resource; an instance gets so many volumes."""
        number = next(self._numbers)
        key = ResourceKey(account=self.account, region=region, kind=kind, id=f"{kind}-{number}")
        sources = tuple(f"vol-{number}-{v}" for v in range(volumes)) if kind is Kind.INSTANCE else (key.id,)
        self.resources[key] = sources
        return key

    def pass_time(self, span: timedelta) -> None:
        """It is later by `span`; what was due in between has happened."""
        self.now += span

    def refuse_next(self, verb: str, error: HoldfastError) -> None:
        """The next such request raises `error` before any effect."""
        self._refusals[verb].append(error)

    def writes_again(self, verb: str) -> None:
        """What was still to be refused is not."""
        self._refusals[verb].clear()

    def lose_next_reply(self, verb: str) -> None:
        """The next such request has its effect, and the caller gets OutcomeUnknown."""
        self._lost[verb] += 1

    def fail(self, region: str, id: str, message: str = "internal failure") -> None:
        """AWS fails this snapshot after having accepted it."""
        self.held[region, id].failure = message

    def vanish(self, region: str, id: str) -> None:
        """Somebody outside of Holdfast deletes it."""
        del self.held[region, id]

    def arrive(self, region: str, verb: str, tags: Mapping[str, str] | None = None) -> None:
        """A request arrives, and may be refused."""
        self.requests.append(Request(region=region, verb=verb, tags=dict(tags or {})))
        if self._refusals[verb]:
            raise self._refusals[verb].popleft()
        limit = self.limits.get((region, verb))
        if limit is not None and self._pending(region, verb) >= limit:
            raise TooManyInFlight(f"{limit} are in progress in {region}", hint="The order waits for its turn.")

    def reply(self, verb: str) -> None:
        """The reply leaves, and may be lost."""
        if self._lost[verb]:
            self._lost[verb] -= 1
            raise OutcomeUnknown(f"{verb}: the reply was lost", hint="Look before asking again.")

    def hold(self, snapshot: Snapshot, kind: Kind, takes: timedelta, failure: str = "") -> Snapshot:
        """The snapshot exists from now on."""
        self.held[snapshot.region, snapshot.id] = Held(
            snapshot=snapshot, kind=kind, made_at=self.now, completes_at=self.now + takes, failure=failure
        )
        return self.told(self.held[snapshot.region, snapshot.id])

    def new_id(self) -> str:
        """An id no snapshot had before."""
        return f"snap-{next(self._numbers):017x}"

    def told(self, held: Held) -> Snapshot:
        """What Describe says of it now."""
        if held.failure:
            return replace(held.snapshot, state=State.FAILED, message=held.failure)
        if self.now < held.completes_at:
            takes = (held.completes_at - held.made_at) or timedelta(seconds=1)
            return replace(held.snapshot, progress_percent=int(100 * (self.now - held.made_at) / takes))
        return replace(
            held.snapshot,
            state=State.COMPLETED,
            completed_at=held.completes_at,
            progress_percent=100,
            full_size_bytes=self.size_gib * 2**30,
        )

    def _pending(self, region: str, verb: str) -> int:
        is_copying = verb == "copy"
        return sum(
            held.snapshot.region == region
            and self.told(held).state is State.PENDING
            and (labels.SOURCE_SNAPSHOT in held.snapshot.tags) == is_copying
            for held in self.held.values()
        )


class FakeSnapshots:
    """The port `Snapshots` over the fake; it passes the same sentences as the adapters."""

    def __init__(self, aws: FakeAws, kind: Kind, region: str) -> None:
        self.kind = kind
        self.region = region
        self._aws = aws

    def find(self, slot: Slot, *, attempt: int) -> tuple[Snapshot, ...]:
        self._aws.arrive(self.region, "find")
        first: dict[tuple[str, str | None], Snapshot] = {}
        for snapshot in self._visible():
            if snapshot.tags.get(labels.SLOT) == slot.key and snapshot.state is not State.FAILED:
                first.setdefault((snapshot.source_id, snapshot.tags.get(labels.SOURCE_SNAPSHOT)), snapshot)
        return tuple(first.values())

    def take(self, order: SnapshotOrder, tags: Mapping[str, str]) -> tuple[Snapshot, ...]:
        self._aws.arrive(self.region, "take", tags)
        if order.slot.resource not in self._aws.resources:
            raise ResourceGone(f"{order.slot.resource} does not exist", hint="It was deleted.")
        existing = self._of_the_same_name(order.slot, order.attempt)
        taken = (
            (existing,)
            if existing
            else tuple(
                self._aws.hold(
                    Snapshot(
                        id=self._id(order.slot, order.attempt),
                        region=self.region,
                        state=State.PENDING,
                        source_id=source_id,
                        started_at=self._aws.now,
                        consistent_at=self._aws.now,
                        size_gib=self._aws.size_gib,
                        tags=dict(tags),
                    ),
                    self.kind,
                    self._aws.snapshot_takes,
                )
                for source_id in self._aws.resources[order.slot.resource]
            )
        )
        self._aws.reply("take")
        return taken

    def copy(self, order: CopyOrder, tags: Mapping[str, str], *, home_region: str) -> Snapshot:
        self._aws.arrive(self.region, "copy", tags)
        source = self._aws.held.get((home_region, order.source_snapshot_id))
        if source is None:
            raise SnapshotGone(f"{order.source_snapshot_id} does not exist", hint="Choose another point.")
        copied = self._of_the_same_name(order.slot, order.attempt) or self._aws.hold(
            Snapshot(
                id=self._id(order.slot, order.attempt),
                region=self.region,
                state=State.PENDING,
                source_id=tags[labels.SOURCE],
                started_at=self._aws.now,
                size_gib=source.snapshot.size_gib,
                is_encrypted=True,
                tags=dict(tags),
            ),
            self.kind,
            self._aws.copy_takes,
            failure="Given key ID is not accessible" if self.region in self._aws.broken_keys else "",
        )
        self._aws.reply("copy")
        return copied

    def look(self, ids: Iterable[str]) -> Mapping[str, Snapshot]:
        self._aws.arrive(self.region, "look")
        wanted = set(ids)
        return {snapshot.id: snapshot for snapshot in self._visible() if snapshot.id in wanted}

    def ours(self) -> Iterator[Snapshot]:
        self._aws.arrive(self.region, "ours")
        yield from [snapshot for snapshot in self._visible() if snapshot.tags.get(labels.MANAGED) == "1"]

    def archive(self, id: str) -> bool:
        self._aws.arrive(self.region, "archive")
        if self.kind in (Kind.DATABASE, Kind.CLUSTER):
            return False
        held = self._aws.held.get((self.region, id))
        if held is None:
            raise SnapshotGone(f"{id} does not exist", hint="Nothing is left to archive.")
        held.snapshot = replace(held.snapshot, is_archived=True)
        return True

    def mark_expired(self, id: str) -> None:
        self._aws.arrive(self.region, "mark_expired")
        held = self._aws.held.get((self.region, id))
        if held is None:
            raise SnapshotGone(f"{id} does not exist", hint="Nothing is left to mark.")
        held.snapshot = replace(held.snapshot, tags={**held.snapshot.tags, labels.STATE: labels.EXPIRED})

    def delete(self, id: str) -> None:
        self._aws.arrive(self.region, "delete")
        held = self._aws.held.get((self.region, id))
        if held is None:
            return
        if held.snapshot.tags.get(labels.MANAGED) != "1" or held.snapshot.tags.get(labels.STATE) != labels.EXPIRED:
            raise NotAllowed(f"{id} is not marked", hint="The marker marks first.")
        if held.is_locked or held.is_in_use:
            raise Unsafe(f"{id} is locked or in use", hint="It stays.")
        del self._aws.held[self.region, id]
        self._aws.reply("delete")

    def changed_bytes(self, earlier_id: str, id: str) -> int | None:
        self._aws.arrive(self.region, "changed_bytes")
        both = [held for one in (earlier_id, id) if (held := self._aws.held.get((self.region, one)))]
        if any(held.snapshot.is_archived for held in both):
            return None
        return self._aws.changed_bytes.get((earlier_id, id))

    def _visible(self) -> list[Snapshot]:
        return [
            self._aws.told(held)
            for (region, _), held in self._aws.held.items()
            if region == self.region
            and held.kind is self.kind
            and held.made_at + self._aws.visible_after <= self._aws.now
        ]

    def _id(self, slot: Slot, attempt: int) -> str:
        is_named_by_us = self.kind in (Kind.DATABASE, Kind.CLUSTER)
        return labels.database_identifier(slot, attempt=attempt) if is_named_by_us else self._aws.new_id()

    def _of_the_same_name(self, slot: Slot, attempt: int) -> Snapshot | None:
        """RDS only: the name is the slot, so asking twice answers with the first."""
        if self.kind in (Kind.VOLUME, Kind.INSTANCE):
            return None
        held = self._aws.held.get((self.region, labels.database_identifier(slot, attempt=attempt)))
        return self._aws.told(held) if held else None
