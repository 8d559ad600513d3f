"""What is remembered of the blocks of each volume between two inspections. Packed and read by whoever inspects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from functions.core import instants
from functions.core.errors import Broken
from functions.core.resources import ResourceKey
from functions.ledger.rows import BlocksItem
from functions.ledger.table import Table

REMEMBERED = timedelta(days=400)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockMemory:
    """The packed digests of one volume's blocks at one point: by number, the rows that whoever inspects made."""

    source_id: str
    snapshot_id: str
    slot_at: datetime
    rows: Mapping[int, bytes] = field(default_factory=dict[int, bytes])


class BlockMemories:
    """One memory for each volume and Region: inspections of two Regions read different copies at different times."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def recall(self, resource: ResourceKey, region: str, source_id: str) -> BlockMemory | None:
        """What is remembered of a volume, None when nothing is.

        Errors: Broken when rows are missing, which nobody may take for blocks that were never read.
        """
        head = self._table.get(BlocksItem, str(resource), _head(region, source_id))
        if head is None:
            return None
        prefix = f"{_head(region, source_id)}#{head.snapshot_id}#"
        rows = {
            int(item.sk.removeprefix(prefix)): item.body or b""
            for item in self._table.starting(BlocksItem, str(resource), prefix)
        }
        if len(rows) != head.rows_written:
            raise Broken(
                f"of what is remembered of {source_id}, {len(rows)} of {int(head.rows_written or 0)} rows are there",
                hint=f"Delete the item {_head(region, source_id)} of {resource}; the next inspection remembers anew.",
            )
        return BlockMemory(
            source_id=source_id, snapshot_id=head.snapshot_id, slot_at=instants.parse(head.slot_at), rows=rows
        )

    def remember(self, resource: ResourceKey, region: str, memory: BlockMemory, now: datetime) -> None:
        """From now on this is what is remembered of the volume. The rows are written before what points to them, so
        that an end in between leaves the memory as it was."""
        common = {
            "snapshot_id": memory.snapshot_id,
            "slot_at": instants.text(memory.slot_at),
            "forget_at": int((now + REMEMBERED).timestamp()),
        }
        head = _head(region, memory.source_id)
        for number, body in memory.rows.items():
            sk = f"{head}#{memory.snapshot_id}#{number:05}"
            self._table.put(self._table.rows(BlocksItem)(str(resource), sk, body=body, **common))
        self._table.put(self._table.rows(BlocksItem)(str(resource), head, rows_written=len(memory.rows), **common))


def _head(region: str, source_id: str) -> str:
    return f"blocks#{region}#{source_id}"
