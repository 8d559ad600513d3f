"""A hold on a point: something speaks against it, so nothing restores it unasked and nothing deletes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from functions.core.slots import Slot


class HeldBy(StrEnum):
    """Who holds. What a verdict suspects may be released by the policy after a time; what a rehearsal has shown, by a
    person or by a rehearsal of the same point that was fit."""

    VERDICT = "verdict"
    REHEARSAL = "rehearsal"
    PERSON = "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """From `at` on the point is held."""

    slot: Slot
    by: HeldBy
    because: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Every hold on the point that is older than `at` has ended."""

    slot: Slot
    by: str
    because: str
    at: datetime


STRONGER = (HeldBy.VERDICT, HeldBy.REHEARSAL, HeldBy.PERSON)
"""Each of these stands in front of those before it: a suspicion must not be what decides when a point is released
that was shown to be unfit, or that a person holds."""


def in_force(said: Iterable[Hold | Release]) -> Mapping[str, Hold]:
    """The hold that stands on each held point, by slot key: of those that nothing has released since the strongest,
    and of those the oldest."""
    standing: dict[str, Hold] = {}
    for one in sorted(said, key=lambda one: (one.at, isinstance(one, Release))):
        known = standing.get(one.slot.key)
        if isinstance(one, Release):
            standing.pop(one.slot.key, None)
        elif known is None or STRONGER.index(one.by) > STRONGER.index(known.by):
            standing[one.slot.key] = one
    return standing


def released_by_policy(hold: Hold, release_after: timedelta | None, now: datetime) -> Release | None:
    """The release that the policy gives a hold whose time is over, or None while it stands.

    Only what a verdict suspects ends by itself: nobody has seen anything wrong with the content.
    """
    if hold.by is not HeldBy.VERDICT or release_after is None or now < hold.at + release_after:
        return None
    because = f"held for {release_after.days} days as the policy says, and nobody found anything"
    return Release(slot=hold.slot, by="policy", because=because, at=now)
