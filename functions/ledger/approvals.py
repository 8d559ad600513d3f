"""Recoveries that wait for a person's answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from functions.core import instants
from functions.core.resources import ResourceKey
from functions.ledger.rows import ApprovalItem
from functions.ledger.table import Table

REMEMBERED = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Who waits: `token` is how its execution goes on, and is worth as much as the answer."""

    recovery_id: str
    resource: str
    token: str
    until: datetime


class Approvals:
    """The newest question of a recovery is the one that can be answered."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def ask(self, recovery_id: str, resource: ResourceKey, token: str, *, until: datetime, now: datetime) -> bool:
        """Whether this call wrote the question down."""
        return self._table.put_new(
            self._table.rows(ApprovalItem)(
                f"approval#{recovery_id}",
                instants.exact(now),
                token=token,
                resource=str(resource),
                until=instants.exact(until),
                forget_at=int((until + REMEMBERED).timestamp()),
            )
        )

    def newest(self, recovery_id: str) -> Approval | None:
        """The last question a recovery asked; None when it never asked one."""
        for item in self._table.newest_first(ApprovalItem, f"approval#{recovery_id}", "2"):
            return Approval(
                recovery_id=recovery_id, resource=item.resource, token=item.token, until=instants.parse(item.until)
            )
        return None
