from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.core.copies import choose, owed
from functions.core.points import Copy, Status
from functions.core.snapshots import State
from tests.builders import AWAY, FAR, NOON, a_copy, a_part, a_point

RPO = timedelta(hours=24)


def a_minute(_source: str, _region: str) -> float:
    return 60.0


def waiting(source: str, *, hours: int = 24, seconds: float = 60) -> Copy:
    point = a_point(parts=(a_part(f"snap-of-{source}", source_id=source),))
    return a_copy(point, status=Status.OWED, deadline=NOON + timedelta(hours=hours), expected_seconds=seconds)


owed_copies = st.lists(
    st.builds(
        waiting,
        st.sampled_from(["vol-1", "vol-2", "vol-3", "vol-4", "vol-5", "vol-6"]),
        hours=st.integers(1, 3),
        seconds=st.sampled_from([10.0, 60.0, 3600.0]),
    ),
    max_size=12,
)


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.COMPLETED])
def test_a_point_that_is_not_complete_owes_no_copy(status: Status) -> None:
    assert owed(a_point(status=status, copy_to=(AWAY,)), RPO, NOON, expected_seconds=a_minute) == ()


def test_a_complete_point_owes_each_part_to_each_region_by_slot_and_rpo() -> None:
    parts = (a_part("snap-1", source_id="vol-1"), a_part("snap-2", source_id="vol-2"))
    point = a_point(parts=parts, copy_to=(AWAY, FAR))
    copies = owed(point, RPO, NOON + timedelta(hours=3), expected_seconds=lambda source, region: len(source + region))
    assert {(c.region, c.source_snapshot_id, c.source_id) for c in copies} == {
        (AWAY, "snap-1", "vol-1"),
        (AWAY, "snap-2", "vol-2"),
        (FAR, "snap-1", "vol-1"),
        (FAR, "snap-2", "vol-2"),
    }
    for copy in copies:
        assert copy.slot == point.slot
        assert copy.status is Status.OWED
        assert copy.deadline == point.slot.at + RPO
        assert copy.owed_at == NOON + timedelta(hours=3)
        assert copy.expected_seconds == len(copy.source_id + copy.region)
        assert (copy.policy, copy.policy_version) == (point.policy, point.policy_version)


def test_a_snapshot_that_is_not_complete_is_not_copied() -> None:
    point = a_point(parts=(a_part("snap-1"), a_part("snap-2", state=State.UNUSABLE)), copy_to=(AWAY,))
    assert [c.source_snapshot_id for c in owed(point, RPO, NOON, expected_seconds=a_minute)] == ["snap-1"]


def chosen(
    waiting_now: Iterable[Copy], *, free: int, busy: Collection[str] = (), permits: Collection[Copy] = ()
) -> Any:
    return choose(waiting_now, free=free, busy_sources=busy, has_permit=lambda copy: copy in permits)


def test_those_who_wait_longest_in_line_go_first_and_nobody_behind_them_is_read() -> None:
    """A line of ten thousand is not read to fill three places."""
    line = (waiting(f"vol-{number}") for number in range(10_000))
    assert [copy.source_id for copy in chosen(line, free=3)] == ["vol-0", "vol-1", "vol-2"]
    assert next(line).source_id == "vol-3"


def test_a_source_with_a_copy_in_progress_is_passed_over_and_its_permit_goes_to_the_next() -> None:
    busy, idle = waiting("a", hours=1), waiting("b", hours=2)
    assert chosen([busy, idle], free=1, busy={"a"}) == (idle,)


def test_who_has_a_permit_gets_no_second_one_and_its_source_is_busy() -> None:
    """Its order is on its way; another copy of the same source would wait for it at AWS."""
    ordered, other, idle = waiting("a", hours=1), waiting("a", hours=2), waiting("b", hours=3)
    assert chosen([ordered, other, idle], free=2, permits=[ordered]) == (idle,)


def test_one_source_gets_one_permit_and_it_is_for_its_most_urgent_copy() -> None:
    urgent, other = waiting("a", hours=1), waiting("a", hours=2)
    assert chosen([urgent, other], free=5) == (urgent,)


@given(owed_copies, st.integers(0, 14), st.sets(st.sampled_from(["vol-1", "vol-2"])))
def test_no_permit_idles_while_a_copy_could_use_it_and_none_is_overdrawn(copies, free, busy) -> None:
    given_out = chosen(copies, free=free, busy=busy)
    able = {copy.source_id for copy in copies} - busy
    assert len(given_out) == min(free, len(able))
    assert len({copy.source_id for copy in given_out}) == len(given_out)
    assert not busy & {copy.source_id for copy in given_out}
    places = [copies.index(copy) for copy in given_out]
    assert places == sorted(places)


@pytest.mark.parametrize("free", [0, -1, -20])
def test_without_a_free_permit_nothing_is_chosen(free: int) -> None:
    assert chosen([waiting("a"), waiting("b")], free=free) == ()
