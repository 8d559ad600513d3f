"""How many recoveries alarms have started today: places that are taken one by one, each once."""

from __future__ import annotations

from datetime import datetime, timedelta

from functions.core import instants
from functions.ledger.rows import StartItem
from functions.ledger.table import Table

REMEMBERED = timedelta(days=30)


class Starts:
    """The day's places for recoveries that nobody asked for."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def place(self, execution: str, resource: str, *, per_day: int, now: datetime) -> int | None:
        """The place that this execution has among today's, taken now or before; None when all are others'."""
        day = f"starts#{instants.aware(now):%Y-%m-%d}"
        for number in range(1, per_day + 1):
            item = self._table.rows(StartItem)(
                day,
                f"{number:02}",
                execution=execution,
                resource=resource,
                at=instants.exact(now),
                forget_at=int((now + REMEMBERED).timestamp()),
            )
            if self._table.put_new(item):
                return number
            taken = self._table.get(StartItem, day, f"{number:02}")
            if taken is not None and taken.execution == execution:
                return number
        return None
