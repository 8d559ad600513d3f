"""What is not as it should be: each finding is one row, that stands until it is over."""

from __future__ import annotations

from datetime import datetime, timedelta

from functions.core import instants
from functions.core.findings import Concern, Finding
from functions.ledger.rows import FindingItem
from functions.ledger.table import Table

REMEMBERED = timedelta(days=400)
"""How long a finding that is over can still be read."""


class Findings:
    """What was told to people and is not over, and what is over."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def standing(self, concern: Concern) -> list[Finding]:
        """Every finding that is not over; complete, or an error."""
        rows = self._table.starting(FindingItem, _pk(concern), "in#")
        return [_read(concern, row) for row in rows if row.over_at is None]

    def begin(self, finding: Finding, now: datetime) -> bool:
        """Whether this call made it stand; False when it stood before."""
        rows = FindingItem
        actions = [
            rows.region.set(finding.region),
            rows.subject.set(finding.subject),
            rows.what.set(finding.what),
            rows.told.set(finding.told),
            rows.next_step.set(finding.next_step),
            rows.since.set(instants.exact(now)),
            rows.over_at.remove(),
            rows.forget_at.remove(),
            rows.times.add(1),
        ]
        return self._table.update(self._row(finding), actions, rows.pk.does_not_exist() | rows.over_at.exists())

    def end(self, finding: Finding, now: datetime) -> bool:
        """Whether this call wrote down that it is over; False when it was, or never stood."""
        rows = FindingItem
        forget_at = int((now + REMEMBERED).timestamp())
        actions = [rows.over_at.set(instants.exact(now)), rows.forget_at.set(forget_at)]
        return self._table.update(self._row(finding), actions, rows.pk.exists() & rows.over_at.does_not_exist())

    def _row(self, finding: Finding) -> FindingItem:
        sk = f"in#{finding.region}#{finding.subject}#{finding.what}"
        return self._table.rows(FindingItem)(_pk(finding.concern), sk)


def _pk(concern: Concern) -> str:
    return f"finding#{concern}"


def _read(concern: Concern, row: FindingItem) -> Finding:
    return Finding(
        concern=concern,
        region=row.region,
        subject=row.subject,
        what=row.what,
        told=row.told,
        next_step=row.next_step,
    )
