from __future__ import annotations

from collections.abc import Mapping
from graphlib import TopologicalSorter
from itertools import product

import pytest

from functions.core.points import ATTEMPTS, MOVES, OPEN, Status, may_begin_again, part_of, status_of
from functions.core.snapshots import State
from tests.builders import GIB, a_part, a_snapshot

WAYS_BACK = {
    (Status.INTENT, Status.OWED): "AWS refused before any effect",
    (Status.FAILED, Status.INTENT): "a new attempt",
    (Status.FAILED, Status.OWED): "a new attempt",
    (Status.GONE, Status.INTENT): "a new attempt",
    (Status.GONE, Status.OWED): "a copy is owed again while its source lives",
}
"""The only arrows that may lead to an earlier status, and why."""

ALL_STATES = [states for length in range(4) for states in product(State, repeat=length)]


@pytest.mark.parametrize("states", ALL_STATES, ids=lambda states: "+".join(states) or "nothing")
def test_a_point_is_complete_only_when_every_snapshot_is_and_lost_or_failed_when_one_is(states) -> None:
    status = status_of(states)
    assert (status is Status.COMPLETED) == (states != () and set(states) == {State.COMPLETED})
    assert (status is Status.GONE) == (states == () or State.GONE in states)
    assert (status is Status.FAILED) == (State.FAILED in states and State.GONE not in states)
    assert status in {Status.COMPLETED, Status.GONE, Status.FAILED, Status.CREATED}


def test_the_order_of_the_parts_does_not_matter() -> None:
    assert all(status_of(states) is status_of(tuple(reversed(states))) for states in ALL_STATES)


def test_every_status_says_where_it_may_go() -> None:
    assert set(MOVES) == set(Status)
    assert all(target in Status for targets in MOVES.values() for target in targets)


def test_no_status_is_left_backwards_except_by_the_documented_ways() -> None:
    onward: Mapping[Status, set[Status]] = {
        status: {target for target in targets if (status, target) not in WAYS_BACK} for status, targets in MOVES.items()
    }
    assert set(TopologicalSorter(onward).static_order()) == set(Status), "a cycle would have raised"


def test_each_documented_way_back_is_really_there() -> None:
    assert all(target in MOVES[status] for status, target in WAYS_BACK)


def test_what_is_deleted_or_missed_stays_so_and_only_the_expired_or_failed_is_deleted() -> None:
    assert MOVES[Status.DELETED] == MOVES[Status.MISSED] == frozenset()
    assert {status for status in Status if Status.DELETED in MOVES[status]} == {Status.EXPIRED, Status.FAILED}
    assert {status for status in Status if Status.EXPIRED in MOVES[status]} == {Status.COMPLETED}


def test_only_what_was_created_can_complete() -> None:
    assert {status for status in Status if Status.COMPLETED in MOVES[status]} == {Status.CREATED}


def test_all_open_work_can_end() -> None:
    for status in OPEN:
        assert MOVES[status] - OPEN


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("attempt", range(1, ATTEMPTS + 2))
def test_only_failed_or_lost_work_begins_again_and_only_a_few_times(status: Status, attempt: int) -> None:
    again = may_begin_again(status, attempt)
    assert again == (status in {Status.FAILED, Status.GONE} and attempt < 3)
    if again:
        assert {Status.INTENT, Status.OWED} & MOVES[status], "it is allowed to, so there must be an arrow"


def test_a_part_seen_again_keeps_what_only_we_knew() -> None:
    before = a_part("snap-1", source_id="vol-1", changed_bytes=7 * GIB, state=State.PENDING)
    seen = a_snapshot("snap-1", source_id="vol-ffffffff", state=State.COMPLETED, full_size_bytes=9 * GIB, size_gib=16)
    part = part_of(seen, before=before)
    assert (part.source_id, part.changed_bytes) == ("vol-1", 7 * GIB)
    assert (part.state, part.full_size_bytes, part.size_gib) == (State.COMPLETED, 9 * GIB, 16)


def test_a_part_seen_first_is_what_aws_says() -> None:
    part = part_of(a_snapshot("snap-9", source_id="vol-9", state=State.FAILED, message="KMS key is disabled"))
    assert (part.snapshot_id, part.source_id, part.state) == ("snap-9", "vol-9", State.FAILED)
    assert part.message == "KMS key is disabled"
    assert part.changed_bytes is None
