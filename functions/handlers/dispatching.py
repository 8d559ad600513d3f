"""What several verbs do the same way: permits are handed out, and whoever got one is ordered.

The ledger is the queue: everything owed waits there in the order of its deadline, and an order is sent for the moment
at which AWS is expected to let its call in. So limits are met without calls that AWS refuses, and no order goes round
in circles while it waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from math import ceil

from functions.contracts import wire
from functions.core import copies as copying
from functions.core.permits import FAMILIES, Operation, Pool, PoolName
from functions.core.points import Copy, Point
from functions.handlers import settling
from functions.handlers.tools import Queue, Tools

PASSED_OVER = 10
"""How many more are read than there are permits, because some have their order already."""


def order_points(tools: Tools, now: datetime) -> list[Point]:
    """Every free permit to create is with what waited for it, earliest deadline first; its order is in the queue.

    An order that gets lost leaves its permit with somebody who does nothing: the sweep returns it, and what is still
    owed is ordered again.
    """
    names = _pools(Operation.CREATE, tools.settings.home_region)
    return [point for name in names for point in _points(name, tools, now)]


def order_copies(tools: Tools, now: datetime) -> list[Copy]:
    """The same for copies, among equal deadlines the longest first."""
    names = (name for region in tools.settings.copy_regions for name in _pools(Operation.COPY, region))
    return [copy for name in names for copy in _copies(name, tools, now)]


def _points(name: PoolName, tools: Tools, now: datetime) -> list[Point]:
    seen: dict[str, Point] = {}

    def choose(pool: Pool) -> Sequence[str]:
        waiting = tools.ledger.points.waiting(name, page=pool.free + PASSED_OVER)
        ready = (p for p in waiting if p.slot.key not in pool.holders and (p.not_before is None or p.not_before <= now))
        seen.update({point.slot.key: point for point in islice(ready, pool.free)})
        return tuple(seen)

    given = _handed_out(name, tools.ledger.points.waiting, choose, tools, now)
    _send(tools.snapshot_orders, {key: wire.dump(settling.snapshot_order(seen[key])) for key in given}, given)
    return [seen[key] for key in given]


def _copies(name: PoolName, tools: Tools, now: datetime) -> list[Copy]:
    seen: dict[str, Copy] = {}

    def choose(pool: Pool) -> Sequence[str]:
        if not pool.free:
            return ()
        busy = {copy.source_id for copy in tools.ledger.copies.under_way(name)}
        chosen = copying.choose(
            tools.ledger.copies.waiting(name, page=pool.free + PASSED_OVER),
            free=pool.free,
            busy_sources=busy,
            has_permit=lambda copy: settling.copy_holder(copy) in pool.holders,
        )
        seen.update({settling.copy_holder(copy): copy for copy in chosen})
        return tuple(seen)

    given = _handed_out(name, tools.ledger.copies.waiting, choose, tools, now)
    _send(tools.copy_orders, {holder: wire.dump(settling.copy_order(seen[holder])) for holder in given}, given)
    return [seen[holder] for holder in given]


def _handed_out(
    name: PoolName,
    waiting: Callable[..., Iterator[object]],
    choose: Callable[[Pool], Sequence[str]],
    tools: Tools,
    now: datetime,
) -> Mapping[str, timedelta]:
    """Who got a permit; where nothing waits, which is most of the time, the pool is not even read."""
    return {} if next(waiting(name, page=1), None) is None else tools.ledger.permits.hand_out(name, choose, now)


def _send(queue: Queue, bodies: Mapping[str, str], waits: Mapping[str, timedelta]) -> None:
    # Rounded up: a call that is early is one that AWS throttles.
    queue.send(list(bodies.values()), delays_seconds=[ceil(waits[holder].total_seconds()) for holder in bodies])


def _pools(operation: Operation, region: str) -> list[PoolName]:
    return [PoolName(operation=operation, family=family, region=region) for family in FAMILIES]
