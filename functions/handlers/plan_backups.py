"""Plan backups: which slots are due, written down as owed and ordered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from functions.contracts import wire
from functions.core.planning import Planned, plan
from functions.handlers import frame, settling
from functions.handlers.tools import Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMade:
    """What was ordered, for which reason, and how many slots had been missed."""

    ordered: tuple[str, ...]
    missed: int


def plan_backups(tools: Tools, now: datetime) -> PlanMade:
    """Every due slot is on the ledger as owed and has an order in the queue.

    The ledger comes first: an order that gets lost is sent again by the sweep, because the slot is still owed.
    """
    known = [
        Planned(resource=one.resource, policy=one.policy, newest_slot_at=one.newest_slot_at)
        for one in tools.ledger.resources.all()
        if one.policy is not None
    ]
    owed = plan(known, tools.settings, now)
    new = [one for one in owed if tools.ledger.points.owe(one, now)]
    missed = sum(1 for one in owed for slot in one.missed if tools.ledger.points.miss(slot, one))
    tools.snapshot_orders.send([wire.dump(settling.first_order(one)) for one in new])
    for one in owed:
        tools.ledger.resources.planned(one.slot.resource, one.slot.at)
    tools.health.count(PlansMade=1)
    return PlanMade(ordered=tuple(f"{o.slot.resource}: {o.reason}" for o in new), missed=missed)


handler = frame.tick(plan_backups)
