"""Delete expired: remove what the ledger says is expired and another role has marked. This role can touch no more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from functions.core.errors import HoldfastError
from functions.core.points import Point, Status
from functions.handlers import frame
from functions.handlers.tools import Tools
from functions.ledger.surplus import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """What is gone, and what stays with the reason why."""

    deleted: tuple[str, ...]
    stays: tuple[str, ...]


def delete_expired(tools: Tools, now: datetime) -> Deleted:
    """Every marked snapshot of every EXPIRED point is gone, or is said to stay.

    Copies go before their source, so that an interruption leaves the point restorable at home.
    """
    deleted: list[str] = []
    stays: list[str] = []
    for known in tools.ledger.resources.all():
        for point in tools.ledger.points.of(known.resource):
            if point.status is Status.EXPIRED and point.is_held:
                stays.append(f"{known.resource} {point.slot.at:%Y-%m-%dT%H:%MZ}: it is held since it expired")
            elif point.status is Status.EXPIRED:
                problems = _delete(point, tools)
                stays += problems
                if not problems and tools.ledger.points.move(point, Status.DELETED, now=now):
                    deleted.append(f"{known.resource} {point.slot.at:%Y-%m-%dT%H:%MZ}")
    for surplus in list(tools.ledger.surplus.at(Stage.MARKED)):
        try:
            tools.snapshots(surplus.kind, surplus.region).delete(surplus.snapshot_id)
        except HoldfastError as problem:
            stays.append(f"{surplus.snapshot_id} in {surplus.region}: {problem}")
            continue
        if tools.ledger.surplus.move(surplus, Stage.DELETED):
            deleted.append(f"{surplus.snapshot_id} in {surplus.region}")
    return Deleted(deleted=tuple(deleted), stays=tuple(stays))


def _delete(point: Point, tools: Tools) -> list[str]:
    """Why some of the point's snapshots stay; all others are gone. One that stays stops nothing else."""
    kind, home = point.slot.resource.kind, point.slot.resource.region
    copies = [(c.region, c.snapshot_id) for c in tools.ledger.copies.of_slot(point.slot) if c.snapshot_id is not None]
    problems: list[str] = []
    for region, id in [*copies, *((home, part.snapshot_id) for part in point.parts)]:
        try:
            tools.snapshots(kind, region).delete(id)
        except HoldfastError as problem:
            problems.append(f"{id} in {region}: {problem}")
    return problems


handler = frame.tick(delete_expired)
