"""What the inventory found, and how far the planner got with each resource."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from functions.core import instants
from functions.core.coverage import Coverage, Standing
from functions.core.resources import ResourceKey
from functions.ledger.rows import ResourceItem
from functions.ledger.table import Table, read

GONE = "gone"
"""The state of what the inventory no longer sees; no state of AWS is called so."""

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


class Resources:
    """Every resource the inventory ever saw, with where it stands."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, resource: ResourceKey) -> Known | None:
        """One resource as it is known now."""
        item = self._table.get(ResourceItem, str(resource), "resource")
        return _known(item) if item else None

    def stand(self, coverage: Coverage, now: datetime) -> None:
        """Where the resource stands is written down; what the planner remembers about it is kept."""
        rows = ResourceItem
        resource = coverage.resource
        actions = [
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
                rows.seen_at.set(instants.exact(now)),
            ],
            rows.seen_at == instants.exact(known.seen_at),
        )

    def planned(self, resource: ResourceKey, slot_at: datetime) -> bool:
        """Whether `slot_at` is now the newest slot planned for the resource; an older one changes nothing."""
        rows = ResourceItem
        at = instants.exact(slot_at)
        newer = rows.newest_slot_at.does_not_exist() | (rows.newest_slot_at < at)
        return self._table.update(self._key(resource), [rows.newest_slot_at.set(at)], newer)

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
    return f"resource#{sum(resource.id.encode()) % SHARDS}"


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
    )
