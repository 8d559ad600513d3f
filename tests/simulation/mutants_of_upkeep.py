"""The sweep and expiry without their defences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from functions.aws.ebs_snapshots import EbsSnapshots
from functions.core import retention
from functions.core.errors import HoldfastError
from functions.core.points import Status
from functions.handlers import mark_expired, sweep
from functions.ledger import works
from functions.ledger.since import Since
from functions.ledger.stories import Stories
from functions.ledger.works import Points
from tests.simulation import faults
from tests.simulation.defences import (
    Mutant,
    after,
    after_two,
    in_quiet,
    never_runs,
    replaced,
    wrapped,
)
from tests.simulation.defences_scenes import (
    ALL_ARE_LOCKED,
    CLOCK_TURNED_BACK,
    NEWEST_LOST,
    NONE_IS_COPIED,
    NOTHING_IS_KNOWN,
    ONE_IS_HELD,
    POLICY_CHANGED,
    TWO_OF_ONE_SLOT,
)
from tests.simulation.scenarios import SCENARIOS

VOLUME, EXPIRY = SCENARIOS["backup-volume"], SCENARIOS["expiry"]


def as_far_as_it_goes(ours: Any, adapter: Any) -> Iterator[Any]:
    with suppress(HoldfastError):
        yield from ours(adapter)


def written_in_thought_only(move: Any, points: Any, point: Any, to: Status, **how: Any) -> bool:
    return True if to is Status.EXPIRED else move(points, point, to, **how)


def only_new_ones(mark: Any, points: Any, *how: Any) -> Any:
    return mark([point for point in points if point.status is Status.COMPLETED], *how)


def surplus_at_once(reconcile: Any, snapshot: Any, label: Any, *known: Any) -> Any:
    *_, tools, now = known
    point = tools.ledger.points.get(label.slot)
    if point is not None and all(part.snapshot_id != snapshot.id for part in point.parts):
        tools.ledger.surplus.found(label.slot, snapshot, now)
        return sweep.Found.SURPLUS
    return reconcile(snapshot, label, *known)


def a_verdict_decides(judge: Any, stories: Any, slot: Any, verdict: Any, now: Any) -> bool:
    is_written = judge(stories, slot, verdict, now)
    works.Points(stories._table, None).settle(slot)  # pyright: ignore[reportArgumentType]
    return is_written


OF_SWEEPING = (
    Mutant(
        name="no sweep",
        defence="a sweep every 15 minutes",
        invariant=29,
        remove=never_runs("sweep"),
        hunt=after(VOLUME, ("message to snapshot-orders", faults.LOST)),
    ),
    Mutant(
        name="nothing is adopted",
        defence="what AWS has and the ledger does not is adopted",
        invariant=24,
        remove=replaced(sweep, "_reconciled", lambda *_: {found: [] for found in sweep.Found}),
        hunt=in_quiet(NOTHING_IS_KNOWN),
    ),
    Mutant(
        name="lost claims are not ordered again",
        defence="a claim that nobody finished is ordered again",
        invariant=23,
        remove=replaced(sweep, "_reorder_points", lambda *_: []),
        hunt=after_two(
            VOLUME, [("ec2.create_snapshot", faults.REPLY_LOST)], [("message to snapshot-orders", faults.LOST)]
        ),
    ),
    Mutant(
        name="permits stay with the dead",
        defence="a permit of nobody comes back",
        invariant=23,
        remove=replaced(sweep, "_return_permits", lambda *_: 0),
        hunt=after(VOLUME, ("message to snapshot-orders", faults.LOST)),
    ),
    Mutant(
        name="failed copies are dropped",
        defence="a copy that AWS failed is begun again",
        invariant=26,
        remove=replaced(sweep, "may_begin_again", lambda *_: False),
        hunt=after(VOLUME, ("ec2.copy_snapshot", faults.KEY_FAILS_SILENTLY)),
    ),
    Mutant(
        name="surplus too early",
        defence="a second snapshot is surplus once the recorded one is complete",
        invariant=4,
        remove=wrapped(sweep, "_reconcile_home", surplus_at_once),
        hunt=in_quiet(TWO_OF_ONE_SLOT),
    ),
)


OF_EXPIRY = (
    Mutant(
        name="all in one day",
        defence="at most a tenth of a resource's points goes in a day",
        invariant=7,
        remove=replaced(retention, "_a_few_a_day", lambda decisions, *_: tuple(decisions)),
        hunt=in_quiet(EXPIRY),
    ),
    Mutant(
        name="a new policy at once",
        defence="a changed policy deletes nothing for 72 hours",
        invariant=7,
        remove=replaced(Since, "policy", lambda *known: known[-1] - timedelta(days=30)),
        hunt=in_quiet(POLICY_CHANGED),
    ),
    Mutant(
        name="the clock is trusted",
        defence="nothing expires by a clock that ran backwards",
        invariant=6,
        remove=replaced(Since, "clock", lambda _, now: now),
        hunt=in_quiet(CLOCK_TURNED_BACK),
    ),
    Mutant(
        name="half a listing",
        defence="a listing that breaks off decides nothing",
        invariant=6,
        remove=wrapped(EbsSnapshots, "ours", as_far_as_it_goes),
        hunt=after(EXPIRY, ("ec2.describe_snapshots", faults.TRUNCATED)),
    ),
    Mutant(
        name="the last verified may go",
        defence="the newest point proven to restore stays",
        invariant=4,
        remove=wrapped(
            mark_expired, "decide", lambda decide, standing, now: decide(replace(standing, verified=frozenset()), now)
        ),
        hunt=in_quiet(EXPIRY),
    ),
    Mutant(
        name="owed copies are forgotten",
        defence="what is still owed a copy stays",
        invariant=9,
        remove=replaced(retention, "_copied_to", lambda point, _: set(point.copy_to)),
        hunt=in_quiet(NONE_IS_COPIED),
    ),
    Mutant(
        name="holds are forgotten",
        defence="what is held stays",
        invariant=5,
        remove=replaced(works, "in_force", lambda _: {}),
        hunt=in_quiet(ONE_IS_HELD),
    ),
    Mutant(
        name="locks are forgotten",
        defence="what the policy locks does not expire",
        invariant=5,
        remove=wrapped(
            mark_expired, "decide", lambda decide, standing, now: decide(retention._without_lock(standing), now)
        ),
        hunt=in_quiet(ALL_ARE_LOCKED),
    ),
    Mutant(
        name="what stays is not looked for",
        defence="nothing expires before AWS has shown what stays",
        invariant=4,
        remove=replaced(mark_expired, "_something_stays", lambda *_: True),
        hunt=in_quiet(NEWEST_LOST),
    ),
    Mutant(
        name="marked before it is written",
        defence="the mark follows a durable EXPIRED",
        invariant=8,
        remove=wrapped(Points, "move", written_in_thought_only),
        hunt=in_quiet(EXPIRY),
    ),
    Mutant(
        name="never marked",
        defence="what expired is marked for the deleter",
        invariant=27,
        remove=replaced(mark_expired, "_mark", lambda *_: []),
        hunt=in_quiet(EXPIRY),
    ),
    Mutant(
        name="a marking that was cut off stays so",
        defence="what expired yesterday and is not marked is marked today",
        invariant=27,
        remove=wrapped(mark_expired, "_mark", only_new_ones),
        hunt=after(EXPIRY, ("dynamodb.update_item", faults.CRASH_AFTER)),
    ),
    Mutant(
        name="no deletion",
        defence="what is marked is deleted",
        invariant=27,
        remove=never_runs("delete_expired"),
        hunt=in_quiet(EXPIRY),
    ),
    Mutant(
        name="a verdict decides",
        defence="a verdict only adds protection",
        invariant=18,
        remove=wrapped(Stories, "judge", a_verdict_decides),
        hunt=in_quiet(VOLUME),
    ),
)
