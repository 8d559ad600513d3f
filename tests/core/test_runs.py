from __future__ import annotations

from datetime import timedelta

import pytest

from functions.core.points import ATTEMPTS, OPEN, Status
from functions.core.runs import close, is_closed
from tests.builders import AWAY, FAR, GIB, NOON, a_copy, a_part, a_point, a_run, a_story

PARTS = (a_part("snap-1", source_id="vol-1"), a_part("snap-2", source_id="vol-2"))
SET = a_point(parts=PARTS, copy_to=(AWAY, FAR))
ITS_COPIES = [a_copy(SET, region, part=part) for region in (AWAY, FAR) for part in (0, 1)]
LATER = NOON + timedelta(hours=2)


@pytest.mark.parametrize("status", sorted(OPEN))
def test_a_point_under_way_is_not_closed(status: Status) -> None:
    assert not is_closed(a_point(status=status), [])


@pytest.mark.parametrize("attempt", [1, 2, 3, 4])
def test_a_failed_point_is_closed_when_it_will_not_be_tried_again(attempt: int) -> None:
    assert is_closed(a_point(status=Status.FAILED, attempt=attempt, completed_at=None), []) == (attempt >= ATTEMPTS)


@pytest.mark.parametrize("status", [Status.MISSED, Status.EXPIRED, Status.DELETED])
def test_a_point_at_its_end_is_closed_whatever_its_copies(status: Status) -> None:
    assert is_closed(a_point(status=status, copy_to=(AWAY,)), [])


def test_a_complete_point_that_owes_no_copy_is_closed() -> None:
    assert is_closed(a_point(), [])


def test_a_set_is_closed_when_every_part_is_settled_in_every_region() -> None:
    assert is_closed(SET, ITS_COPIES)


@pytest.mark.parametrize("missing", range(4))
def test_a_set_with_one_copy_missing_is_not_closed(missing: int) -> None:
    assert not is_closed(SET, [copy for n, copy in enumerate(ITS_COPIES) if n != missing])


@pytest.mark.parametrize("status", sorted(OPEN))
@pytest.mark.parametrize("which", range(4))
def test_a_set_with_one_copy_under_way_is_not_closed(which: int, status: Status) -> None:
    copies = [
        a_copy(SET, c.region, part=n % 2, status=status if n == which else c.status) for n, c in enumerate(ITS_COPIES)
    ]
    assert not is_closed(SET, copies)


def test_a_copy_that_failed_for_good_is_settled_and_one_with_attempts_left_is_not() -> None:
    point = a_point(copy_to=(AWAY,))
    assert is_closed(point, [a_copy(point, status=Status.FAILED, attempt=ATTEMPTS)])
    assert not is_closed(point, [a_copy(point, status=Status.FAILED, attempt=ATTEMPTS - 1)])


def test_the_copies_of_another_snapshot_settle_nothing() -> None:
    point = a_point(copy_to=(AWAY,))
    assert not is_closed(point, [a_copy(point, source_snapshot_id="snap-of-yesterday")])


def test_the_bytes_of_a_set_are_summed_and_its_times_are_the_points() -> None:
    run = close(SET, ITS_COPIES, LATER)
    assert run.full_size_bytes == 8 * GIB
    assert run.changed_bytes == 2 * GIB
    assert run.closed_at == LATER
    assert run.lag_seconds == 60
    assert run.duration_seconds == 600
    assert run.is_complete
    assert [(story.region, story.full_size_bytes) for story in run.copies] == [(AWAY, 8 * GIB), (FAR, 8 * GIB)]


@pytest.mark.parametrize("known", [None, 0, GIB])
def test_unknown_bytes_never_become_zero_and_zero_stays_zero(known: int | None) -> None:
    one = a_point(parts=(a_part(full_size_bytes=known, changed_bytes=known),))
    run = close(one, [], LATER)
    assert run.full_size_bytes == known
    assert run.changed_bytes == known
    half = a_point(parts=(a_part("snap-1", full_size_bytes=known), a_part("snap-2", full_size_bytes=None)))
    assert close(half, [], LATER).full_size_bytes is None
    assert close(half, [a_copy(half, full_size_bytes=None)], LATER).copies[0].full_size_bytes is None


def test_a_point_without_parts_has_no_bytes() -> None:
    run = close(a_point(status=Status.MISSED, parts=(), created_at=None, completed_at=None), [], LATER)
    assert run.full_size_bytes is None
    assert run.changed_bytes is None
    assert run.lag_seconds is None
    assert run.duration_seconds is None
    assert not run.is_complete


def test_a_region_is_as_late_as_its_last_part_and_as_bad_as_its_worst() -> None:
    first = a_copy(SET, part=0, created_at=LATER, completed_at=LATER + timedelta(minutes=5), waits=2)
    last = a_copy(
        SET, part=1, created_at=LATER + timedelta(minutes=1), completed_at=LATER + timedelta(minutes=9), waits=3
    )
    (story,) = close(SET, [last, first], LATER).copies
    assert (story.duration_seconds, story.waits, story.status) == (540, 5, Status.COMPLETED)
    failed = a_copy(SET, part=1, status=Status.FAILED, completed_at=None, errors=("KMS key is disabled",))
    (story,) = close(SET, [first, failed], LATER).copies
    assert story.status is Status.FAILED
    assert story.completed_at is None
    assert story.duration_seconds is None
    assert story.errors == ("KMS key is disabled",)


@pytest.mark.parametrize(
    ("status", "copies", "complete"),
    [
        (Status.COMPLETED, (), True),
        (Status.COMPLETED, (a_story(AWAY), a_story(FAR)), True),
        (Status.COMPLETED, (a_story(AWAY), a_story(FAR, status=Status.FAILED)), False),
        (Status.FAILED, (), False),
        (Status.FAILED, (a_story(AWAY),), False),
    ],
)
def test_a_run_is_complete_when_the_point_and_every_copy_are(status, copies, complete: bool) -> None:
    assert a_run(status=status, copies=copies).is_complete is complete
