"""Permits: who may have one more operation in flight at AWS."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pydantic import TypeAdapter

from functions.core import instants, permits
from functions.core.errors import AwsBusy
from functions.core.permits import STARTS_AT, Pace, Pool, PoolName, Room
from functions.ledger.rows import PermitItem
from functions.ledger.table import Table, read

PACE, ROOM = TypeAdapter(Pace), TypeAdapter(Room)

TRIES = 8
"""How often a change is tried again when others change the same pool at the same moment."""


class Permits:
    """The pools of permits. A holder takes a permit once, however often it asks, and returns it once."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, name: PoolName) -> Pool:
        """The pool as it is now; a pool nobody used yet has its starting limit and no holders."""
        return self._seen(name)[0]

    def hand_out(
        self, name: PoolName, choose: Callable[[Pool], Sequence[str]], now: datetime
    ) -> Mapping[str, timedelta]:
        """Who got a permit now, of those that `choose` names for the pool as it is, and how long each waits with its
        call, so that AWS lets it in."""
        given: Mapping[str, timedelta] = {}

        def handed_out(pool: Pool) -> Pool | None:
            nonlocal given
            pool = permits.probed(pool, now)
            after, given = permits.hand_out(pool, choose(pool), now)
            return after if given else None

        self._change(name, handed_out)
        return given

    def throttled(self, name: PoolName, holder: str) -> None:
        """The holder has no permit any more, and the pool remembers that AWS did not let its call in."""
        self._change(name, lambda pool: permits.throttled(pool, holder) if holder in pool.holders else None)

    def take(self, name: PoolName, holder: str, now: datetime) -> bool:
        """Whether the holder has a permit now; True also when it had one before, unless AWS showed since then that it
        has no room for it: then the permit is returned, and no call is made to hear that again."""

        def taken(pool: Pool) -> Pool | None:
            if holder in pool.holders:
                return None if pool.has_room_for(holder) else _without(pool, holder)
            return replace(pool, holders={**pool.holders, holder: now}) if pool.free else None

        return holder in self._change(name, taken).holders

    def give_back(self, name: PoolName, holders: Collection[str], now: datetime, *, succeeded: bool) -> None:
        """None of the holders has a permit any more. Success lets the limit grow when it was all in use."""

        def returned(pool: Pool) -> Pool | None:
            held = [holder for holder in holders if holder in pool.holders]
            return permits.returned(pool, held, now, succeeded=succeeded) if held else None

        self._change(name, returned)

    def refused(self, name: PoolName, holder: str, now: datetime) -> Pool:
        """The pool after AWS refused the holder: its permit is returned and the limit is what AWS showed it to be."""
        return self._change(name, lambda pool: permits.refused(pool, holder, now))

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
                rows.holders.set({holder: int(at.timestamp()) for holder, at in wanted.holders.items()}),
                rows.pace.set(PACE.dump_python(wanted.pace, mode="json")),
                rows.room.set(ROOM.dump_python(wanted.room, mode="json")),
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
        pool = Pool(
            name=name,
            limit=int(item.limit),
            holders={holder: datetime.fromtimestamp(at, UTC) for holder, at in item.holders.items()},
            refused_at=read(item.refused_at),
            pace=PACE.validate_python(item.pace) if item.pace else Pace(),
            room=ROOM.validate_python(item.room) if item.room else Room(),
        )
        return pool, int(item.revision)


def _without(pool: Pool, holder: str) -> Pool:
    return replace(pool, holders={other: at for other, at in pool.holders.items() if other != holder})
