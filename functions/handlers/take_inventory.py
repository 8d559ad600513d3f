"""Take inventory: what exists in the home Region, and where each resource stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from functions.core.coverage import Coverage, Standing, cover
from functions.handlers import frame
from functions.handlers.tools import Tools

FORGOTTEN_AFTER = timedelta(minutes=5)
"""A resource that this inventory did not see, but a moment ago another one did, is not gone: the two overlapped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryTaken:
    """How many resources stand where; every GAP is named."""

    protected: int
    excluded: int
    gaps: tuple[str, ...]
    gone: tuple[str, ...]


def take_inventory(tools: Tools, now: datetime) -> InventoryTaken:
    """Every resource of the home Region is on the ledger with its coverage; those that vanished are marked as gone."""
    found = tuple(tools.inventory(tools.settings.home_region).resources())
    coverage = cover(found, tools.settings)
    known_before = {known.resource: known for known in tools.ledger.resources.all()}
    for one in coverage:
        tools.ledger.resources.stand(one, now, known_before.get(one.resource.key))
    seen = {resource.key for resource in found}
    gone = [
        known
        for known in known_before.values()
        if known.resource not in seen and not known.is_gone and now - known.seen_at > FORGOTTEN_AFTER
    ]
    for known in gone:
        tools.ledger.resources.gone(known, now)
    return InventoryTaken(
        protected=_count(coverage, Standing.PROTECTED),
        excluded=_count(coverage, Standing.EXCLUDED),
        gaps=tuple(f"{c.resource.key}: {c.reason}" for c in coverage if c.standing is Standing.GAP),
        gone=tuple(str(known.resource) for known in gone),
    )


def _count(coverage: tuple[Coverage, ...], standing: Standing) -> int:
    return sum(1 for one in coverage if one.standing is standing)


handler = frame.tick(take_inventory)
