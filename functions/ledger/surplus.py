"""Snapshots that exist twice: what the sweep found, waiting to be marked and then deleted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from functions.core import instants
from functions.core.resources import Kind
from functions.core.slots import Slot
from functions.core.snapshots import Snapshot
from functions.ledger.rows import SurplusItem
from functions.ledger.table import Table


class Stage(StrEnum):
    """How far a surplus snapshot is on its way out."""

    FOUND = "found"
    MARKED = "marked"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surplus:
    """One superfluous snapshot."""

    pk: str
    sk: str
    kind: Kind
    region: str
    snapshot_id: str
    stage: Stage


class SurplusSnapshots:
    """The list of them. Nothing is deleted that is not on it."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def found(self, slot: Slot, snapshot: Snapshot, now: datetime) -> bool:
        """Whether this call put the snapshot on the list."""
        return self._table.put_new(
            self._table.rows(SurplusItem)(
                str(slot.resource),
                f"surplus#{instants.text(slot.at)}#{snapshot.region}#{snapshot.id}",
                listed_in="surplus",
                account=slot.resource.account,
                kind=slot.resource.kind,
                region=snapshot.region,
                snapshot_id=snapshot.id,
                found_at=instants.exact(now),
                state=Stage.FOUND,
            )
        )

    def at(self, stage: Stage) -> Iterator[Surplus]:
        """Every surplus snapshot at this stage, from the index; may lag a moment behind."""
        for item in self._table.indexed(SurplusItem, "listed", "surplus"):
            if item.state == stage:
                yield Surplus(
                    pk=item.pk,
                    sk=item.sk,
                    kind=Kind(item.kind),
                    region=item.region,
                    snapshot_id=item.snapshot_id,
                    stage=Stage(item.state),
                )

    def move(self, surplus: Surplus, to: Stage) -> bool:
        """Whether the snapshot is at `to` now; a deleted one leaves the list."""
        rows = SurplusItem
        actions = [rows.state.set(to)]
        if to is Stage.DELETED:
            actions.append(rows.listed_in.remove())
        row = self._table.rows(SurplusItem)(surplus.pk, surplus.sk)
        return self._table.update(row, actions, rows.state == surplus.stage)
