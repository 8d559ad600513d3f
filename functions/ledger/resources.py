"""What the inventory found, and how far the planner got with each resource."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from pynamodb.expressions.update import Action

from functions.core import instants
from functions.core.coverage import Coverage, Standing
from functions.core.resources import ResourceKey
from functions.ledger.rows import ResourceItem
from functions.ledger.table import Table, read

GONE = "gone"
"""The state of what the inventory no longer sees; no state of AWS is called so."""

WRITTEN_AGAIN_AFTER = timedelta(days=1)

SHARDS = 8
"""Over how many index partitions resources are spread, so that an inventory of 10,000 does not write to one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A resource as the ledger knows it."""

    resource: ResourceKey
    standing: Standing
    by: str
    reason: str
    policy: str | None
    seen_at: datetime
    newest_slot_at: datetime | None
    is_gone: bool = False
    members: tuple[str, ...] = ()
    engine: str | None = None
    state: str | None = None
    size_gib: int | None = None


class Resources:
    """Every resource the inventory ever saw, with where it stands."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, resource: ResourceKey) -> Known | None:
        """One resource as it is known now."""
        item = self._table.get(ResourceItem, str(resource), "resource")
        return _known(item) if item else None

    def stand(self, coverage: Coverage, now: datetime, known: Known | None = None) -> None:
        """Where the resource stands is written down; what the planner remembers about it is kept.

        `known` is what the ledger said when the inventory began: what reads the same is not written again before a day
        is over, and what has another policy is looked at by the planner at once.
        """
        if known is not None and _reads_the_same(known, coverage) and now - known.seen_at < WRITTEN_AGAIN_AFTER:
            return
        rows = ResourceItem
        resource = coverage.resource
        actions = [
            *_planned_anew(coverage, known, now),
            rows.listed_in.set(_shard(resource.key)),
            rows.account.set(resource.key.account),
            rows.standing.set(coverage.standing),
            rows.by.set(coverage.by[:200]),
            rows.reason.set(coverage.reason[:500]),
            rows.seen_at.set(instants.exact(now)),
            rows.state.set(resource.state),
            rows.members.set(list(resource.members)),
            rows.policy.set(coverage.policy) if coverage.policy else rows.policy.remove(),
            rows.engine.set(resource.engine) if resource.engine else rows.engine.remove(),
            rows.size_gib.set(resource.size_gib) if resource.size_gib is not None else rows.size_gib.remove(),
        ]
        older = rows.seen_at.does_not_exist() | (rows.seen_at <= instants.exact(now))
        self._table.update(self._key(resource.key), actions, older)

    def gone(self, known: Known, now: datetime) -> bool:
        """Whether a resource that the inventory no longer sees is now written down as such; its points stay."""
        rows = ResourceItem
        return self._table.update(
            self._key(known.resource),
            [
                rows.standing.set(Standing.EXCLUDED),
                rows.state.set(GONE),
                rows.by.set("holdfast"),
                rows.reason.set("it does not exist any more; its points are kept as its policy says"),
                rows.policy.remove(),
                *_not_planned(),
                rows.seen_at.set(instants.exact(now)),
            ],
            rows.seen_at == instants.exact(known.seen_at),
        )

    def planned(self, resource: ResourceKey, slot_at: datetime, *, due_at: datetime) -> bool:
        """Whether `slot_at` is now the newest slot planned for the resource, and the next is looked for at `due_at`;
        an older one changes nothing."""
        rows = ResourceItem
        at = instants.exact(slot_at)
        newer = rows.newest_slot_at.does_not_exist() | (rows.newest_slot_at < at)
        return self._table.update(self._key(resource), [rows.newest_slot_at.set(at), *_due(resource, due_at)], newer)

    def look_again(self, known: Known, due_at: datetime) -> bool:
        """Whether the planner looks at the resource at `due_at` and not before; False when it changed meanwhile."""
        rows = ResourceItem
        unchanged = rows.policy == known.policy if known.policy else rows.policy.does_not_exist()
        return self._table.update(self._key(known.resource), _due(known.resource, due_at), unchanged)

    def due(self, now: datetime) -> Iterator[Known]:
        """Every protected resource whose next slot is to be looked for by now; may lag a moment behind."""
        for shard in range(SHARDS):
            for item in self._table.open(ResourceItem, _plan(shard), until=instants.text(now)):
                yield _known(item)

    def bought_today(self, resource: ResourceKey, now: datetime) -> int:
        """How many extra points were bought on the UTC day of `now`."""
        item = self._table.get(ResourceItem, str(resource), "resource")
        if item is None or item.extra_day != f"{now:%Y-%m-%d}":
            return 0
        return int(item.extra_bought or 0)

    def buy(self, resource: ResourceKey, *, bought_today: int, now: datetime) -> bool:
        """Whether one more extra point is now booked on today's budget; False when somebody else was faster."""
        rows = ResourceItem
        today = f"{now:%Y-%m-%d}"
        if bought_today:
            unchanged = (rows.extra_day == today) & (rows.extra_bought == bought_today)
        else:
            unchanged = rows.extra_day.does_not_exist() | (rows.extra_day != today)
        actions = [rows.extra_day.set(today), rows.extra_bought.set(bought_today + 1)]
        return self._table.update(self._key(resource), actions, unchanged)

    def all(self) -> Iterator[Known]:
        """Every resource, from the index; may lag a moment behind."""
        for shard in range(SHARDS):
            for item in self._table.indexed(ResourceItem, "listed", f"resource#{shard}"):
                yield _known(item)

    def _key(self, resource: ResourceKey) -> ResourceItem:
        return self._table.rows(ResourceItem)(str(resource), "resource")


def _shard(resource: ResourceKey) -> str:
    return f"resource#{_number(resource)}"


def _number(resource: ResourceKey) -> int:
    return sum(resource.id.encode()) % SHARDS


def _plan(shard: int) -> str:
    return f"plan#{shard}"


def _due(resource: ResourceKey, at: datetime) -> list[Action]:
    rows = ResourceItem
    return [rows.open_in.set(_plan(_number(resource))), rows.open_until.set(instants.text(at))]


def _not_planned() -> list[Action]:
    return [ResourceItem.open_in.remove(), ResourceItem.open_until.remove()]


def _planned_anew(coverage: Coverage, known: Known | None, now: datetime) -> list[Action]:
    """When the planner looks at the resource: at once when it is new or has another policy, else as it was."""
    if coverage.policy is None:
        return _not_planned()
    if known is None or known.policy != coverage.policy:
        return _due(coverage.resource.key, now)
    return []


def _reads_the_same(known: Known, coverage: Coverage) -> bool:
    resource = coverage.resource
    return (
        not known.is_gone
        and (known.standing, known.by, known.reason) == (coverage.standing, coverage.by[:200], coverage.reason[:500])
        and (known.policy, known.engine, known.state) == (coverage.policy or None, resource.engine, resource.state)
        and (known.members, known.size_gib) == (tuple(resource.members), resource.size_gib)
    )


def _known(item: ResourceItem) -> Known:
    return Known(
        resource=ResourceKey.parse(item.pk, account=item.account),
        standing=Standing(item.standing),
        by=item.by,
        reason=item.reason,
        policy=item.policy,
        seen_at=instants.parse(item.seen_at),
        newest_slot_at=read(item.newest_slot_at),
        is_gone=item.state == GONE,
        members=tuple(item.members or ()),
        engine=item.engine,
        state=item.state,
        size_gib=None if item.size_gib is None else int(item.size_gib),
    )
