"""Points and copies move along the graph, and leave the index of open work when there is none left."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from functions.core.permits import Operation, PoolName
from functions.core.points import ATTEMPTS, MOVES, Stage, Status
from functions.core.resources import Kind
from functions.core.snapshots import State
from functions.ledger.ledger import Ledger
from tests.builders import (
    AWAY,
    FAR,
    GIB,
    HOME,
    NOON,
    a_copy,
    a_key,
    a_part,
    a_point,
    a_policy,
    a_slot,
    a_snapshot,
)
from tests.ledger.dynamodb import items
from tests.ledger.works import OWED_COPY, Work, an_owed

FORBIDDEN = [(at, to) for at in Status for to in Status if to not in MOVES[at]]


@pytest.mark.parametrize(("at", "to"), FORBIDDEN, ids=lambda status: status.value)
def test_a_move_that_is_not_in_the_graph_is_never_even_asked_for(ledger: Ledger, at: Status, to: Status) -> None:
    """Invariant 17."""
    point = a_point(status=at)
    with pytest.raises(ValueError, match=f"never goes from {at} to {to}"):
        ledger.points.move(point, to, now=NOON)
    with pytest.raises(ValueError, match=f"never goes from {at} to {to}"):
        ledger.copies.move(a_copy(status=at), to, now=NOON)


def test_whoever_saw_an_older_state_moves_nothing(work: Work) -> None:
    """F31: a notice that comes late finds the work moved on."""
    work.owe()
    work.claim(NOON)
    work.record(NOON)
    seen = work.see()
    assert work.move(Status.COMPLETED, seen=seen)
    assert not work.move(Status.FAILED, seen=seen, error="too late")
    assert (work.see().status, work.see().errors) == (Status.COMPLETED, ())


def test_of_many_who_see_the_same_completion_exactly_one_moves(work: Work) -> None:
    """F30: duplicated notices."""
    work.owe()
    work.claim(NOON)
    work.record(NOON)
    seen = work.see()
    with ThreadPoolExecutor(6) as crowd:
        moved = list(crowd.map(lambda _: work.move(Status.COMPLETED, seen=seen), range(6)))
    assert moved.count(True) == 1


def test_a_completed_point_says_when_and_what_of(ledger: Ledger) -> None:
    ledger.points.adopt(a_point(status=Status.CREATED, completed_at=None))
    seen = ledger.points.get(a_slot())
    assert seen is not None
    done = NOON + timedelta(minutes=9)
    ledger.points.move(seen, Status.COMPLETED, parts=[a_part("snap-9", changed_bytes=7)], now=done)
    point = ledger.points.get(a_slot())
    assert point is not None
    assert (point.completed_at, point.parts) == (done, (a_part("snap-9", changed_bytes=7),))


def test_a_point_stays_open_until_its_run_is_closed(ledger: Ledger) -> None:
    """A crash between the last move and the closing is seen by the next sweep."""
    ledger.points.adopt(a_point(status=Status.CREATED, copy_to=(AWAY,)))
    seen = next(ledger.points.open_in(HOME))
    ledger.points.move(seen, Status.COMPLETED, now=NOON)
    assert [point.status for point in ledger.points.open_in(HOME)] == [Status.COMPLETED]
    ledger.points.settle(seen.slot)
    assert list(ledger.points.open_in(HOME)) == []
    settled = ledger.points.get(seen.slot)
    assert settled is not None
    assert settled.status is Status.COMPLETED


def test_settling_what_does_not_exist_makes_nothing(ledger: Ledger) -> None:
    ledger.points.settle(a_slot())
    assert items() == []


def test_open_work_comes_earliest_deadline_first(ledger: Ledger) -> None:
    for days, id in ((3, "vol-c"), (1, "vol-a"), (2, "vol-b")):
        slot = a_slot(resource=a_key(id=id))
        ledger.points.owe(an_owed(slot=slot, deadline=NOON + timedelta(days=days)), NOON)
        ledger.copies.owe(replace(OWED_COPY, slot=slot, deadline=NOON + timedelta(days=days)))
    assert [point.slot.resource.id for point in ledger.points.open_in(HOME)] == ["vol-a", "vol-b", "vol-c"]
    assert [copy.slot.resource.id for copy in ledger.copies.open_in(AWAY)] == ["vol-a", "vol-b", "vol-c"]


def test_each_kind_of_open_work_is_on_a_list_of_its_own(ledger: Ledger) -> None:
    """Whoever looks for what is under way does not read the thousands that wait."""
    stages = {
        Status.OWED: Stage.WAITING,
        Status.INTENT: Stage.UNDER_WAY,
        Status.CREATED: Stage.UNDER_WAY,
        Status.FAILED: Stage.ENDED,
        Status.COMPLETED: Stage.COPYING,
    }
    for number, status in enumerate(stages):
        ledger.points.adopt(a_point(resource=a_key(id=f"vol-{number}"), status=status, copy_to=(AWAY,)))
    for stage in Stage:
        found = [point.status for point in ledger.points.open_in(HOME, stage)]
        assert found == [status for status, its_stage in stages.items() if its_stage is stage]


def test_a_point_that_owes_no_copy_waits_only_for_its_run_to_be_closed(ledger: Ledger) -> None:
    ledger.points.adopt(a_point(copy_to=()))
    assert len(list(ledger.points.open_in(HOME, Stage.ENDED))) == 1


def test_work_is_asked_for_up_to_a_deadline(ledger: Ledger) -> None:
    for hours in (1, 2, 3):
        slot = a_slot(resource=a_key(id=f"vol-{hours}"))
        ledger.points.owe(an_owed(slot=slot, deadline=NOON + timedelta(hours=hours)), NOON)
    late = ledger.points.open_in(HOME, until=NOON + timedelta(hours=2))
    assert [point.slot.resource.id for point in late] == ["vol-1", "vol-2"]


def test_of_copies_with_one_deadline_the_longest_waits_in_front(ledger: Ledger) -> None:
    for seconds in (60.0, 9_000.0, 0.0, 600.0, 1e12):
        ledger.copies.owe(replace(OWED_COPY, source_snapshot_id=f"snap-{seconds}", expected_seconds=seconds))
    pool = PoolName.of(Operation.COPY, Kind.VOLUME, AWAY)
    assert [copy.expected_seconds for copy in ledger.copies.waiting(pool)] == [1e12, 9_000.0, 600.0, 60.0, 0.0]


def test_the_families_of_kinds_wait_apart(ledger: Ledger) -> None:
    """A night of volumes must not be read to find the one database."""
    for kind in Kind:
        ledger.points.owe(an_owed(slot=a_slot(resource=a_key(kind))), NOON)
    for kind in Kind:
        waiting = ledger.points.waiting(PoolName.of(Operation.CREATE, kind, HOME))
        assert kind in {point.slot.resource.kind for point in waiting}
    assert len(list(ledger.points.waiting(PoolName.of(Operation.CREATE, Kind.CLUSTER, HOME)))) == 1


def test_what_happens_to_a_point_whose_run_is_closed_opens_it_no_more(ledger: Ledger) -> None:
    ledger.points.adopt(a_point())
    ledger.points.settle(a_slot())
    seen = ledger.points.get(a_slot())
    assert seen is not None
    ledger.points.move(seen, Status.GONE, now=NOON)
    assert list(ledger.points.open_in(HOME)) == []


def test_many_with_one_deadline_are_all_in_the_index(ledger: Ledger) -> None:
    """Equal sort keys must not hide one another."""
    for number in range(25):
        ledger.points.owe(an_owed(slot=a_slot(resource=a_key(id=f"vol-{number}"))), NOON)
    assert len({point.slot.resource.id for point in ledger.points.open_in(HOME)}) == 25


def test_a_missed_slot_is_history_and_never_open(ledger: Ledger) -> None:
    assert ledger.points.miss(a_slot(NOON - timedelta(days=1)), an_owed())
    assert not ledger.points.miss(a_slot(NOON - timedelta(days=1)), an_owed())
    assert list(ledger.points.open_in(HOME)) == []
    assert [point.status for point in ledger.points.of(a_key())] == [Status.MISSED]


def test_a_slot_that_has_a_point_is_not_written_over_as_missed(ledger: Ledger) -> None:
    ledger.points.adopt(a_point())
    assert not ledger.points.miss(a_slot(), an_owed(NOON + timedelta(days=1)))
    assert [point.status for point in ledger.points.of(a_key())] == [Status.COMPLETED]


def test_an_expired_point_says_since_when(ledger: Ledger) -> None:
    """F65: the budget of deletions of a day is counted from it."""
    ledger.points.adopt(a_point())
    seen = ledger.points.get(a_slot())
    assert seen is not None
    assert ledger.points.move(seen, Status.EXPIRED, now=NOON + timedelta(days=9))
    expired = ledger.points.get(a_slot())
    assert expired is not None
    assert expired.expired_at == NOON + timedelta(days=9)
    assert ledger.points.move(expired, Status.DELETED, now=NOON + timedelta(days=9))


@pytest.mark.parametrize("end", [Status.FAILED, Status.GONE])
def test_a_copy_that_gets_another_attempt_stays_open_and_is_owed_again(ledger: Ledger, end: Status) -> None:
    """F57: a failed copy is tried again."""
    ledger.copies.owe(a_copy(status=Status.CREATED, completed_at=None))
    seen = next(ledger.copies.open_in(AWAY))
    ledger.copies.move(seen, end, now=NOON, error="the key is not accessible")
    failed = next(ledger.copies.open_in(AWAY))
    assert failed.status is end
    ledger.copies.move(failed, Status.OWED, now=NOON)
    again = next(ledger.copies.open_in(AWAY))
    assert (again.status, again.attempt, again.claimed_at) == (Status.OWED, 2, None)
    assert again.errors == ("the key is not accessible",)


def test_a_copy_whose_attempts_are_used_up_is_open_no_more(ledger: Ledger) -> None:
    ledger.copies.owe(a_copy(status=Status.CREATED, completed_at=None, attempt=ATTEMPTS))
    seen = next(ledger.copies.open_in(AWAY))
    ledger.copies.move(seen, Status.FAILED, now=NOON, error="the key is not accessible")
    assert list(ledger.copies.open_in(AWAY)) == []


def test_a_completed_copy_is_open_no_more_and_knows_its_size(ledger: Ledger) -> None:
    ledger.copies.owe(a_copy(status=Status.CREATED, completed_at=None, full_size_bytes=None))
    seen = next(ledger.copies.open_in(AWAY))
    ledger.copies.move(seen, Status.COMPLETED, now=NOON, snapshot=a_snapshot(full_size_bytes=3 * GIB))
    assert list(ledger.copies.open_in(AWAY)) == []
    [copy] = ledger.copies.of_slot(a_slot())
    assert (copy.status, copy.completed_at, copy.full_size_bytes) == (Status.COMPLETED, NOON, 3 * GIB)


def test_a_copy_that_was_complete_and_is_gone_leaves_nothing_in_the_index(ledger: Ledger) -> None:
    """F56: the sweep of open work must not trip over it; it says GONE on the ledger."""
    ledger.copies.owe(a_copy(attempt=ATTEMPTS))
    [seen] = ledger.copies.of_slot(a_slot())
    assert ledger.copies.move(seen, Status.GONE, now=NOON, error="not at AWS any more")
    assert list(ledger.copies.open_in(AWAY)) == []


def test_copies_are_told_apart_by_region_and_by_source(ledger: Ledger) -> None:
    point = a_point(parts=(a_part("snap-1"), a_part("snap-2", source_id="vol-2")))
    wanted = [a_copy(point, region, part=part) for region in (AWAY, FAR) for part in (0, 1)]
    assert [ledger.copies.owe(copy) for copy in wanted] == [True] * 4
    assert len(ledger.copies.of_slot(point.slot)) == 4
    assert len(ledger.copies.of(a_key())) == 4


def test_the_copies_of_one_slot_are_not_those_of_another(ledger: Ledger) -> None:
    ledger.copies.owe(a_copy(a_point()))
    ledger.copies.owe(a_copy(a_point(NOON + timedelta(hours=1))))
    assert [copy.slot.at for copy in ledger.copies.of_slot(a_slot())] == [NOON]


def test_points_are_told_oldest_first_and_only_those_of_the_resource(ledger: Ledger) -> None:
    for hours in (2, 0, 1):
        ledger.points.adopt(a_point(NOON + timedelta(hours=hours)))
    ledger.points.adopt(a_point(resource=a_key(Kind.DATABASE)))
    assert [point.slot.at.hour for point in ledger.points.of(a_key())] == [12, 13, 14]


def test_a_point_is_compared_with_the_last_complete_one_before_it(ledger: Ledger) -> None:
    ledger.points.adopt(a_point(NOON - timedelta(days=3)))
    ledger.points.adopt(a_point(NOON - timedelta(days=2)))
    ledger.points.adopt(a_point(NOON - timedelta(days=1), status=Status.FAILED))
    ledger.points.adopt(a_point(NOON + timedelta(days=1)))
    before = ledger.points.newest_complete_before(a_slot())
    assert before is not None
    assert before.slot.at == NOON - timedelta(days=2)
    assert ledger.points.newest_complete_before(a_slot(NOON - timedelta(days=3))) is None


@pytest.mark.parametrize(
    ("status", "counts"),
    [
        (Status.OWED, True),
        (Status.CREATED, True),
        (Status.COMPLETED, True),
        (Status.FAILED, False),
        (Status.MISSED, False),
    ],
)
def test_the_newest_point_is_one_that_exists_or_is_under_way(ledger: Ledger, status: Status, counts: bool) -> None:
    ledger.points.adopt(a_point(NOON - timedelta(days=1)))
    ledger.points.adopt(a_point(status=status))
    assert ledger.points.newest_at(a_key()) == (NOON if counts else NOON - timedelta(days=1))


def test_the_newest_point_is_found_behind_a_long_row_of_failures(ledger: Ledger) -> None:
    """F61: after a month of failures the last good point is still the one that counts."""
    ledger.points.adopt(a_point(NOON - timedelta(days=40)))
    for days in range(39, 0, -1):
        ledger.points.adopt(a_point(NOON - timedelta(days=days), status=Status.FAILED))
    assert ledger.points.newest_at(a_key()) == NOON - timedelta(days=40)
    before = ledger.points.newest_complete_before(a_slot())
    assert before is not None
    assert before.slot.at == NOON - timedelta(days=40)


def test_a_point_comes_back_as_it_was_written(ledger: Ledger) -> None:
    owed = an_owed(policy=a_policy(copy_to=(AWAY, FAR)))
    ledger.points.owe(owed, NOON)
    seen = ledger.points.get(a_slot())
    assert seen is not None
    assert (seen.policy, seen.policy_version, seen.copy_to) == ("gold", "v1", (AWAY, FAR))
    assert (seen.deadline, seen.ordered_at, seen.reason) == (owed.deadline, NOON, owed.reason)
    ledger.points.claim(seen, NOON)
    part = a_part(state=State.PENDING, started_at=NOON, consistent_at=NOON, message="10 %")
    ledger.points.record(seen.slot, NOON, [part], NOON, {"iops": 3000, "groups": ["a", "b"]})
    seen = ledger.points.get(a_slot())
    assert seen is not None
    assert seen.parts == (part,)
    assert seen.configuration == {"iops": 3000, "groups": ["a", "b"]}
    assert (seen.ordered_at, seen.claimed_at, seen.created_at) == (NOON, NOON, NOON)


def test_an_adopted_point_does_not_replace_one_that_is_there(ledger: Ledger) -> None:
    ledger.points.owe(an_owed(), NOON)
    assert not ledger.points.adopt(a_point(reason="adopted"))
    assert [point.status for point in ledger.points.of(a_key())] == [Status.OWED]


def test_an_archived_point_says_since_when_and_is_complete_as_before(ledger: Ledger) -> None:
    ledger.points.adopt(a_point())
    seen = ledger.points.get(a_slot())
    assert seen is not None
    assert seen.archived_at is None
    assert ledger.points.archived(seen, NOON)
    assert ledger.points.get(a_slot()) == replace(seen, archived_at=NOON)


def test_a_point_that_expired_meanwhile_is_not_written_down_as_archived(ledger: Ledger) -> None:
    ledger.points.adopt(a_point())
    seen = ledger.points.get(a_slot())
    assert seen is not None
    ledger.points.move(seen, Status.EXPIRED, now=NOON)
    assert not ledger.points.archived(seen, NOON)


def test_an_extra_point_remembers_why_it_exists(ledger: Ledger) -> None:
    from functions.core.slots import Why

    ledger.points.owe(an_owed(slot=a_slot(why=Why.EXTRA)), NOON)
    assert next(ledger.points.open_in(HOME)).slot.why is Why.EXTRA


def test_only_the_last_errors_are_remembered(ledger: Ledger) -> None:
    ledger.points.owe(an_owed(), NOON)
    for number in range(12):
        at = NOON + timedelta(minutes=number)
        seen = ledger.points.get(a_slot())
        assert seen is not None
        ledger.points.claim(seen, at)
        ledger.points.fail_claim(seen, at, f"error {number}")
    seen = ledger.points.get(a_slot())
    assert seen is not None
    assert seen.errors == tuple(f"error {number}" for number in range(2, 12))
