"""Plan backups: which slots are due, written down as owed and ordered."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from functions.core.planning import Planned, looks_again_at, plan
from functions.handlers import dispatching, frame
from functions.handlers.tools import Tools
from functions.ledger.resources import Known

AT_ONCE = 2000
"""For how many resources slots are written down in one run, which takes seconds for each hundred; those of a larger
fleet have their turn in the next run, and still faster than AWS lets snapshots begin."""

IN_A_MOMENT = 200
"""How many are written down before the moment is over from which the waits of orders are counted."""

WAITS_AT_MOST = timedelta(hours=3)
"""For how long a new ledger, or one that was lost, owes nothing: the sweep has a dozen turns until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMade:
    """What is owed from now on and for which reason, what was ordered, and how many slots had been missed; or what the
    plan waits for."""

    owed: tuple[str, ...]
    ordered: tuple[str, ...]
    missed: int
    waits_for: str = ""


def plan_backups(tools: Tools, now: datetime) -> PlanMade:
    """Every due slot is on the ledger as owed, and has an order in the queue as far as there are permits. When many are
    due at once, the next run of track_points sends their orders, and the next run of this one owes the rest.

    Only resources whose next slot has come are read. When a policy reads differently than the last time, all are:
    nobody knows then whose slot has come.

    A ledger that was never compared with AWS as a whole owes nothing before it is: it may have lost what AWS has, and
    a slot that has its snapshot would have a second one.
    """
    if _waits_for_the_sweep(tools, now):
        tools.health.count(PlansMade=1)
        return PlanMade(owed=(), ordered=(), missed=0, waits_for="the first full sweep")
    resources = tools.ledger.resources
    version = _version(tools)
    is_as_before = tools.ledger.since.reads("policies", version)
    looked_at = islice(resources.due(now), AT_ONCE) if is_as_before else resources.all()
    known = {one.resource: one for one in looked_at if one.policy}
    planned = {one.resource: _planned(one) for one in known.values()}
    owed = plan(planned.values(), tools.settings, now)
    new = [one for one in owed if tools.ledger.points.owe(one, now)]
    missed = sum(1 for one in owed for slot in one.missed if tools.ledger.points.miss(slot, one))
    for one in owed:
        resources.planned(one.slot.resource, one.slot.at, due_at=one.deadline)
    owing = {one.slot.resource for one in owed}
    for resource, one in planned.items():
        if resource not in owing:
            resources.look_again(known[resource], looks_again_at(one, tools.settings, now))
    if not is_as_before:
        tools.ledger.since.noted("policies", version, now)
    ordered = dispatching.order_points(tools, now) if len(owed) <= IN_A_MOMENT else []
    tools.health.count(PlansMade=1)
    return PlanMade(
        owed=tuple(f"{one.slot.resource}: {one.reason}" for one in new),
        ordered=tuple(str(point.slot.resource) for point in ordered),
        missed=missed,
    )


def _waits_for_the_sweep(tools: Tools, now: datetime) -> bool:
    """Whether no sweep ever compared everything, and one still may: a Region that answers none keeps no others from
    their backups for longer than WAITS_AT_MOST."""
    since = tools.ledger.since
    if since.done_at("full sweep") is not None:
        return False
    waits_since = since.done_at("first plan")
    if waits_since is None:
        since.did("first plan", now)
    return waits_since is None or now - waits_since < WAITS_AT_MOST


def _planned(known: Known) -> Planned:
    return Planned(resource=known.resource, policy=known.policy or "", newest_slot_at=known.newest_slot_at)


def _version(tools: Tools) -> str:
    """One name for how all policies read."""
    policies: Iterable[tuple[str, str]] = ((p.name, p.version) for p in tools.settings.policies.values())
    return hashlib.sha256(repr(sorted(policies)).encode()).hexdigest()[:16]


handler = frame.tick(plan_backups)
