"""Since when: policies read as they do, chores are done, and deletions trust the clock."""

from __future__ import annotations

from datetime import datetime, timedelta

from functions.core import instants
from functions.core.policies import Policy
from functions.ledger.rows import SinceItem
from functions.ledger.table import Table


class Since:
    """What a deletion must know about the past of its own rules."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def policy(self, policy: Policy, now: datetime) -> datetime:
        """When the policy began to read as it does; `now` when nobody saw this version before."""
        rows = SinceItem
        item = self._table.get(SinceItem, "policy", policy.name)
        if item is not None and item.version == policy.version:
            return instants.parse(item.since)
        actions = [rows.version.set(policy.version), rows.since.set(instants.exact(now))]
        unchanged = rows.version == item.version if item else rows.pk.does_not_exist()
        self._table.update(self._table.rows(SinceItem)("policy", policy.name), actions, unchanged)
        return now

    def reads(self, what: str, version: str) -> bool:
        """Whether `what` was last noted in this version."""
        item = self._table.get(SinceItem, "version", what)
        return item is not None and item.version == version

    def noted(self, what: str, version: str, now: datetime) -> None:
        """`what` reads like this, as of now."""
        row = self._table.rows(SinceItem)
        self._table.put(row("version", what, version=version, since=instants.exact(now)))

    def clock(self, now: datetime) -> datetime:
        """The latest time at which anybody decided about a deletion; from now on at least `now`."""
        rows = SinceItem
        item = self._table.get(SinceItem, "clock", "retention")
        seen = instants.parse(item.since) if item else now
        if now >= seen:
            later = rows.since.does_not_exist() | (rows.since < instants.exact(now))
            row = self._table.rows(SinceItem)("clock", "retention")
            self._table.update(row, [rows.since.set(instants.exact(now))], later)
        return seen

    def is_due(self, chore: str, *, every: timedelta, now: datetime) -> bool:
        """Whether a chore was not done for so long, or never; a lost table has done nothing."""
        done_at = self.done_at(chore)
        return done_at is None or now - done_at >= every

    def done_at(self, chore: str) -> datetime | None:
        """When the chore was last done; None when never."""
        item = self._table.get(SinceItem, "chore", chore)
        return None if item is None else instants.parse(item.since)

    def did(self, chore: str, now: datetime) -> None:
        """The chore was done now."""
        row = self._table.rows(SinceItem)("chore", chore)
        later = SinceItem.since.does_not_exist() | (SinceItem.since < instants.exact(now))
        self._table.update(row, [SinceItem.since.set(instants.exact(now))], later)
