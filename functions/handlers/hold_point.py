"""Hold point: a person holds a point, or releases one that a verdict or a rehearsal holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from functions.core import instants
from functions.core.errors import BadMessage, NoRecoveryPoint
from functions.core.holds import HeldBy, Hold, Release, in_force
from functions.core.plain_text import one_line
from functions.core.resources import ResourceKey
from functions.handlers import frame
from functions.handlers.tools import Tools
from functions.ledger.holds import LONGEST_REASON

EXAMPLE = (
    '{"resource": "volume/eu-central-1/vol-0123456789abcdef0", "slot": "2026-11-20T02:00:00Z", '
    '"do": "release", "because": "the import on Friday was ours", "by": "your name"}'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PointHeld:
    """How the point stands now."""

    resource: str
    slot: str
    is_held: bool
    because: str


def hold_point(event: dict[str, Any], tools: Tools, now: datetime) -> PointHeld:
    """The point is held, or is not any more; who said so and why is on the ledger.

    Errors: BadMessage when the input says something else; NoRecoveryPoint when there is no such point.
    """
    resource, at = _named(event, tools)
    point = next((one for one in tools.ledger.points.of(resource) if one.slot.at == at), None)
    if point is None:
        raise NoRecoveryPoint(
            f"there is no point of {resource} from {instants.text(at)}",
            hint="Take the slot from the notice, or from the run in the ledger.",
        )
    because = one_line(f"{event['by'].strip()}: {event['because'].strip()}", longest=LONGEST_REASON)
    if event["do"] == "hold":
        tools.ledger.holds.hold(Hold(slot=point.slot, by=HeldBy.PERSON, because=because, at=now))
    else:
        tools.ledger.holds.release(Release(slot=point.slot, by="person", because=because, at=now))
    is_held = point.slot.key in in_force(tools.ledger.holds.of(resource))
    return PointHeld(resource=str(resource), slot=instants.text(at), is_held=is_held, because=because)


def _named(event: dict[str, Any], tools: Tools) -> tuple[ResourceKey, datetime]:
    said = [event.get(name) for name in ("resource", "slot", "do", "because", "by")]
    try:
        if not all(isinstance(one, str) and one.strip() for one in said) or said[2] not in ("hold", "release"):
            raise ValueError("resource, slot, do (hold or release), because and by must all be there")
        return ResourceKey.parse(str(said[0]), account=tools.account), instants.parse(str(said[1]))
    except ValueError as problem:
        raise BadMessage(f"not a hold or a release: {problem}", hint=f"Start with {EXAMPLE}") from problem


handler = frame.event(hold_point)
