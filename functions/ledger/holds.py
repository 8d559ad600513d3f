"""Holds on points and their releases: each a row of its own, written once, so that every Region may write them."""

from __future__ import annotations

from functions.core import instants
from functions.core.holds import HeldBy, Hold, Release
from functions.core.resources import ResourceKey
from functions.core.slots import Slot, Why
from functions.ledger.rows import HoldItem
from functions.ledger.table import Table

LONGEST_REASON = 1000


class Holds:
    """What holds the points of a resource, and what released them."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def hold(self, hold: Hold) -> bool:
        """Whether this call wrote the hold; False when it was written before."""
        return self._say(hold.slot, "held", str(hold.by), hold.because, instants.exact(hold.at))

    def release(self, release: Release) -> bool:
        """Whether this call wrote the release; False when it was written before."""
        return self._say(release.slot, "released", release.by, release.because, instants.exact(release.at))

    def of(self, resource: ResourceKey) -> list[Hold | Release]:
        """Everything that was ever said about the points of a resource; complete, or an error."""
        return [_read(item) for item in self._table.starting(HoldItem, str(resource), "hold#")]

    def _say(self, slot: Slot, what: str, by: str, because: str, at: str) -> bool:
        return self._table.put_new(
            self._table.rows(HoldItem)(
                str(slot.resource),
                f"hold#{instants.text(slot.at)}#{at}#{what}",
                account=slot.resource.account,
                slot_at=instants.text(slot.at),
                why=str(slot.why),
                what=what,
                by=by,
                because=because[:LONGEST_REASON],
                at=at,
            )
        )


def _read(item: HoldItem) -> Hold | Release:
    resource = ResourceKey.parse(item.pk, account=item.account)
    slot = Slot(resource=resource, at=instants.parse(item.slot_at), why=Why(item.why))
    at = instants.parse(item.at)
    if item.what == "held":
        return Hold(slot=slot, by=HeldBy(item.by), because=item.because, at=at)
    return Release(slot=slot, by=item.by, because=item.because, at=at)
