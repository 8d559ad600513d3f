"""Permits: who may have one more operation in flight at AWS."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime

from functions.core import instants
from functions.core.errors import AwsBusy
from functions.core.permits import STARTS_AT, Pool, PoolName, limit_after_refusal, limit_after_success
from functions.ledger.rows import PermitItem
from functions.ledger.table import Table, read

TRIES = 8
"""How often a change is tried again when others change the same pool at the same moment."""


class Permits:
    """The pools of permits. A holder takes a permit once, however often it asks, and returns it once."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, name: PoolName) -> Pool:
        """The pool as it is now; a pool nobody used yet has its starting limit and no holders."""
        return self._seen(name)[0]

    def take(self, name: PoolName, holder: str, now: datetime) -> bool:
        """Whether the holder has a permit now; True also when it had one before."""

        def taken(pool: Pool) -> Pool | None:
            if holder in pool.holders or pool.free == 0:
                return None
            return replace(pool, holders={**pool.holders, holder: now})

        return holder in self._change(name, taken).holders

    def give_back(self, name: PoolName, holders: Collection[str], now: datetime, *, succeeded: bool) -> None:
        """None of the holders has a permit any more. Success lets the limit grow when it was all in use."""

        def returned(pool: Pool) -> Pool | None:
            left = {holder: at for holder, at in pool.holders.items() if holder not in holders}
            if len(left) == len(pool.holders):
                return None
            limit = limit_after_success(pool, now) if succeeded else pool.limit
            return replace(pool, holders=left, limit=limit)

        self._change(name, returned)

    def refused(self, name: PoolName, holder: str, now: datetime) -> Pool:
        """The pool after AWS refused the holder: its permit is returned and the limit is what AWS showed it to be."""

        def lowered(pool: Pool) -> Pool:
            left = {other: at for other, at in pool.holders.items() if other != holder}
            return replace(pool, holders=left, limit=limit_after_refusal(pool), refused_at=now)

        return self._change(name, lowered)

    def _change(self, name: PoolName, change: Callable[[Pool], Pool | None]) -> Pool:
        """The pool after `change`; when somebody else changed it in between, it is seen and decided again.

        Errors: AwsBusy when others were faster every time.
        """
        rows = PermitItem
        for _ in range(TRIES):
            pool, revision = self._seen(name)
            wanted = change(pool)
            if wanted is None:
                return pool
            actions = [
                rows.revision.set(revision + 1),
                rows.limit.set(wanted.limit),
                rows.holders.set({holder: instants.exact(at) for holder, at in wanted.holders.items()}),
            ]
            if wanted.refused_at is not None:
                actions.append(rows.refused_at.set(instants.exact(wanted.refused_at)))
            unchanged = rows.revision == revision if revision else rows.pk.does_not_exist()
            if self._table.update(self._table.rows(PermitItem)("permits", str(name)), actions, unchanged):
                return wanted
        raise AwsBusy(f"permits {name} are changed by too many at once", hint="The order comes back by itself.")

    def _seen(self, name: PoolName) -> tuple[Pool, int]:
        item = self._table.get(PermitItem, "permits", str(name))
        if item is None:
            return Pool(name=name, limit=STARTS_AT[name.operation, name.family], holders={}), 0
        holders = {holder: instants.parse(at) for holder, at in item.holders.items()}
        pool = Pool(name=name, limit=int(item.limit), holders=holders, refused_at=read(item.refused_at))
        return pool, int(item.revision)
