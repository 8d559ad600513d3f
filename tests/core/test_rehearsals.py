from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.core.holds import HeldBy, Hold
from functions.core.points import Copy, Point, Status
from functions.core.rehearsals import Candidate, Rehearsal, Risk, in_turn, restorable
from functions.core.resources import Kind, ResourceKey
from tests.builders import AWAY, FAR, HOME, NOON, a_copy, a_key, a_part, a_point, a_slot, ago

OLD, NEW = a_point(ago(days=2)), a_point(ago(days=1))


def chosen(points: list[Point], copies: list[Copy]) -> Point | None:
    candidate = restorable(points, copies, region=AWAY)
    return candidate and candidate.point


def turn_of(resources: Iterable[ResourceKey], last: Mapping[ResourceKey, datetime]) -> list[ResourceKey]:
    return [risk.resource for risk in in_turn(Risk(resource=r, last_rehearsed_at=last.get(r)) for r in resources)]


def test_never_rehearsed_comes_first_then_longest_ago() -> None:
    never, long_ago, lately = a_key(id="vol-3"), a_key(id="vol-2"), a_key(id="vol-1")
    last = {long_ago: ago(days=30), lately: ago(days=1)}
    assert turn_of([lately, long_ago, never], last) == [never, long_ago, lately]


def test_what_is_suspicious_comes_before_everything_else() -> None:
    never, suspicious = a_key(id="vol-1"), a_key(id="vol-2")
    risks = [Risk(resource=never), Risk(resource=suspicious, last_rehearsed_at=NOON, suspicion="it shrank")]
    assert [risk.resource for risk in in_turn(risks)] == [suspicious, never]
    assert [risk.reason for risk in in_turn(risks)] == [
        "its point is suspicious: it shrank",
        "it was never rehearsed here",
    ]


def test_among_equals_databases_come_before_volumes() -> None:
    keys = [a_key(kind) for kind in Kind]
    order = [Kind.DATABASE, Kind.CLUSTER, Kind.INSTANCE, Kind.VOLUME]
    assert [key.kind for key in turn_of(keys, {})] == order
    assert [key.kind for key in turn_of(keys, dict.fromkeys(keys, NOON))] == order


keys = st.lists(st.builds(a_key, st.sampled_from(Kind), st.sampled_from("abcdef")), unique=True)


@given(keys, st.dictionaries(st.builds(a_key, st.sampled_from(Kind), st.sampled_from("abc")), st.just(NOON)), st.data())
def test_the_turn_holds_everybody_once_and_does_not_depend_on_the_order_given(seen, last, data) -> None:
    turn = turn_of(seen, last)
    assert sorted(turn) == sorted(seen)
    assert turn_of(data.draw(st.permutations(seen)), last) == turn


def test_everybody_has_a_turn_before_anybody_has_a_second() -> None:
    fleet, last = [a_key(id=f"vol-{n}") for n in range(7)], {}
    rehearsed = []
    for day in range(14):
        first = turn_of(fleet, last)[0]
        last[first] = NOON + timedelta(days=day)
        rehearsed.append(first)
    assert sorted(rehearsed[:7]) == sorted(fleet)
    assert rehearsed[7:] == rehearsed[:7]


def test_the_newest_point_with_a_complete_copy_in_the_region_is_restored() -> None:
    copies = [a_copy(OLD), a_copy(NEW)]
    for points in ([OLD, NEW], [NEW, OLD]):
        assert restorable(points, copies, region=AWAY) == Candidate(
            point=NEW, snapshot_ids=(str(copies[1].snapshot_id),)
        )


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.COMPLETED])
def test_a_copy_or_point_that_is_not_complete_is_passed_over(status: Status) -> None:
    assert chosen([OLD, NEW], [a_copy(OLD), a_copy(NEW, status=status)]) == OLD
    half_made = a_point(NEW.slot.at, status=status)
    assert chosen([OLD, half_made], [a_copy(OLD), a_copy(half_made)]) == OLD


def test_a_held_point_is_passed_over() -> None:
    held = a_point(NEW.slot.at, is_held=True)
    assert chosen([OLD, held], [a_copy(OLD), a_copy(held)]) == OLD
    assert restorable([held], [a_copy(held)], region=AWAY) is None


@pytest.mark.parametrize("region", [FAR, HOME])
def test_a_copy_in_another_region_helps_nobody_here(region: str) -> None:
    assert restorable([NEW], [a_copy(NEW, region)], region=AWAY) is None


def test_at_home_a_point_is_rehearsed_from_its_own_snapshots() -> None:
    assert restorable([OLD, NEW], [], region=HOME) == Candidate(point=NEW, snapshot_ids=(NEW.parts[0].snapshot_id,))


def test_a_point_that_a_verdict_suspects_is_rehearsed_and_one_known_to_be_bad_is_not() -> None:
    suspected = a_point(NEW.slot.at, is_held=True)
    copies = [a_copy(OLD), a_copy(suspected)]
    for by, expected in ((HeldBy.VERDICT, suspected), (HeldBy.REHEARSAL, OLD), (HeldBy.PERSON, OLD)):
        held = {suspected.slot.key: Hold(slot=suspected.slot, by=by, because="", at=NOON)}
        candidate = restorable([OLD, suspected], copies, region=AWAY, held=held)
        assert candidate is not None
        assert candidate.point == expected


def test_a_set_needs_a_copy_of_every_part_and_gets_them_in_the_order_of_its_parts() -> None:
    parts = tuple(a_part(f"snap-{n}", source_id=f"vol-{n}") for n in range(3))
    point = a_point(parts=parts)
    copies = [a_copy(point, part=n) for n in range(3)]
    assert restorable([point], copies[:2], region=AWAY) is None
    candidate = restorable([point], list(reversed(copies)), region=AWAY)
    assert candidate is not None
    assert candidate.snapshot_ids == tuple(copy.snapshot_id for copy in copies)


def test_a_point_without_parts_and_an_empty_vault_are_not_restorable() -> None:
    assert restorable([a_point(parts=())], [], region=AWAY) is None
    assert restorable([], [], region=AWAY) is None


def test_recovery_time_runs_from_the_request_to_readable_content() -> None:
    rehearsal = Rehearsal(
        id="r-1",
        slot=a_slot(),
        region=AWAY,
        snapshot_ids=("snap-1",),
        source_snapshot_ids=("snap-0",),
        home_region=HOME,
        policy="gold",
        reason="its turn",
        started_at=NOON,
        available_at=NOON + timedelta(minutes=7),
        readable_at=NOON + timedelta(minutes=9),
        verified_at=NOON + timedelta(minutes=30),
    )
    assert rehearsal.recovery_seconds == 540
    assert replace(rehearsal, readable_at=None).recovery_seconds is None
