"""What may go. Golden files show the tiers; an adversary and chance attack the guards."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from math import floor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.core import instants
from functions.core.points import Point, Status
from functions.core.policies import Lock, LockMode, Tiers
from functions.core.resources import Kind
from functions.core.retention import Decision, Fate, Standing, decide
from functions.core.slots import Why
from tests.builders import AWAY, FAR, NOON, a_copy, a_key, a_part, a_point, a_policy, ago

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.json"))
LONG_AGO = ago(days=400)
DAY = timedelta(days=1)


def standing(points: Iterable[Point], **changes: Any) -> Standing:
    """All copies that the points owe are complete, the policy is old and the clock runs."""
    points = tuple(points)
    return Standing(
        **{
            "points": points,
            "copies": {p.slot.key: copies_of(p) for p in points},
            "verified": frozenset(),
            "policy": a_policy(keep=Tiers(daily=1)),
            "policy_since": LONG_AGO,
            "clock_seen_at": NOON,
        }
        | changes
    )


def copies_of(point: Point, *regions: str) -> tuple[Any, ...]:
    return tuple(a_copy(point, region, part=n) for region in regions or point.copy_to for n in range(len(point.parts)))


def expired(decisions: Iterable[Decision]) -> list[Point]:
    return [d.point for d in decisions if d.fate is Fate.EXPIRE]


def archived(decisions: Iterable[Decision]) -> list[Point]:
    return [d.point for d in decisions if d.fate is Fate.ARCHIVE]


def reason_for(point: Point, decisions: Iterable[Decision]) -> str:
    (decision,) = [d for d in decisions if d.point is point]
    assert decision.fate is Fate.KEEP
    return decision.reason


def a_lock(days: int) -> Lock:
    """As long as a test likes, whatever the tiers keep."""
    return Lock(mode=LockMode.GOVERNANCE, days=days, beyond_retention=True)


def keys(*points: Point) -> frozenset[str]:
    return frozenset(p.slot.key for p in points)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_fates_and_reasons_are_those_of_the_golden_file(path: Path) -> None:
    golden = json.loads(path.read_text())
    policy = a_policy(
        keep=Tiers(**golden["keep"]),
        lock=a_lock(golden["lock_days"]) if "lock_days" in golden else None,
    )
    points = [
        a_point(
            instants.parse(row["at"]),
            is_held=row.get("held", False),
            why=Why(row.get("why", "scheduled")),
            status=Status(row.get("status", "COMPLETED")),
            copy_to=tuple(golden.get("copy_to", ())),
        )
        for row in golden["points"]
    ]
    decisions = decide(
        Standing(
            points=points,
            copies={
                p.slot.key: copies_of(p, *r["copied_to"])
                for p, r in zip(points, golden["points"], strict=True)
                if r.get("copied_to")
            },
            verified=keys(*(p for p, r in zip(points, golden["points"], strict=True) if r.get("verified"))),
            policy=policy if not golden.get("policy_is_gone") else None,
            policy_since=instants.parse(golden.get("policy_since", "2020-01-01T00:00:00Z")),
            clock_seen_at=instants.parse(golden.get("clock_seen_at", golden["now"])),
            deleted_today=golden.get("deleted_today", 0),
        ),
        instants.parse(golden["now"]),
    )
    said = {d.point.slot.key: f"{d.fate}: {d.reason}" for d in decisions}
    told = [row | {"fate": said.get(p.slot.key)} for p, row in zip(points, golden["points"], strict=True)]
    assert told == golden["points"]


def test_there_are_golden_files() -> None:
    assert len(GOLDEN) >= 5


@st.composite
def standings(draw: st.DrawFn) -> Standing:
    """Any state of one resource: chance decides ages, statuses, copies, holds, proofs, policy and clock."""
    hours = draw(st.lists(st.integers(0, 24 * 500), min_size=0, max_size=40, unique=True))
    points: list[Point] = []
    for hour in hours:
        parts = tuple(a_part(f"snap-{hour}-{n}", source_id=f"vol-{n}") for n in range(draw(st.integers(1, 2))))
        at = ago(hours=hour)
        points.append(
            a_point(
                at,
                status=draw(st.sampled_from([Status.COMPLETED] * 8 + list(Status))),
                is_held=draw(st.integers(0, 5)) == 0,
                why=draw(st.sampled_from(Why)),
                parts=parts,
                copy_to=draw(st.sampled_from([(), (AWAY,), (AWAY, FAR)])),
                completed_at=at + timedelta(hours=draw(st.integers(0, 48))),
            )
        )
    copies = {
        p.slot.key: tuple(
            replace(copy, status=draw(st.sampled_from([Status.COMPLETED] * 5 + list(Status)))) for copy in copies_of(p)
        )
        for p in points
        if draw(st.integers(0, 9)) > 0
    }
    policy = a_policy(
        keep=Tiers(
            hourly=draw(st.integers(0, 5)),
            daily=draw(st.integers(0, 4)),
            weekly=draw(st.integers(0, 3)),
            monthly=draw(st.integers(0, 2)),
            yearly=draw(st.integers(1, 2)),
        ),
        lock=draw(st.none() | st.builds(a_lock, st.integers(1, 200))),
    )
    return Standing(
        points=points,
        copies=copies,
        verified=frozenset(p.slot.key for p in points if draw(st.integers(0, 3)) == 0),
        policy=draw(st.sampled_from([policy] * 9 + [None])),
        policy_since=draw(st.sampled_from([LONG_AGO, LONG_AGO, LONG_AGO, ago(hours=72), ago(hours=71)])),
        clock_seen_at=draw(st.sampled_from([NOON, NOON, ago(days=1), NOON + timedelta(seconds=1)])),
        deleted_today=draw(st.sampled_from([0, 0, 1, 4, -1000, -1000, -1000])),
    )


@st.composite
def shelved_standings(draw: st.DrawFn) -> Standing:
    """The same, under an old policy that archives: chance decides the rest, and that some points are months old."""
    state = draw(standings())
    months = draw(st.lists(st.integers(1, 15), min_size=1, max_size=8, unique=True))
    old = [
        a_point(
            ago(days=30 * month),
            copy_to=draw(st.sampled_from([(), (AWAY,)])),
            is_held=draw(st.integers(0, 5)) == 0,
            archived_at=draw(st.sampled_from([None, None, None, NOON])),
        )
        for month in months
    ]
    taken = {p.slot.key for p in state.points}
    old = [p for p in old if p.slot.key not in taken]
    return replace(
        state,
        points=[*state.points, *old],
        copies={**state.copies, **{p.slot.key: copies_of(p) for p in old if draw(st.integers(0, 4)) > 0}},
        verified=state.verified | {p.slot.key for p in old if draw(st.integers(0, 3)) == 0},
        policy=a_policy(
            keep=Tiers(daily=draw(st.integers(0, 2)), monthly=draw(st.integers(1, 12)), yearly=1),
            archive_after=draw(st.sampled_from([28 * DAY, 90 * DAY])),
            lock=draw(st.none() | st.just(a_lock(500))),
        ),
        policy_since=LONG_AGO,
        clock_seen_at=NOON,
    )


def has_every_copy(point: Point, state: Standing) -> bool:
    done = {
        (c.region, c.source_snapshot_id) for c in state.copies.get(point.slot.key, ()) if c.status is Status.COMPLETED
    }
    return all((region, part.snapshot_id) in done for region in point.copy_to for part in point.parts)


@given(standings())
def test_every_completed_point_gets_one_fate_with_a_reason_newest_first(state: Standing) -> None:
    decisions = decide(state, NOON)
    assert sorted(d.point.slot.at for d in decisions) == sorted(
        p.slot.at for p in state.points if p.status is Status.COMPLETED
    )
    assert [d.point.slot.at for d in decisions] == sorted((d.point.slot.at for d in decisions), reverse=True)
    assert all(d.reason for d in decisions)


@given(standings())
def test_nothing_goes_without_a_policy_after_a_change_or_while_the_clock_is_behind(state: Standing) -> None:
    doubtful = state.policy is None or state.clock_seen_at > NOON or NOON - state.policy_since < timedelta(hours=72)
    if doubtful:
        assert expired(decide(state, NOON)) == []


@given(standings())
def test_the_last_usable_point_and_the_last_proven_one_stay(state: Standing) -> None:
    gone = keys(*expired(decide(state, NOON)))
    usable = [p for p in state.points if p.status is Status.COMPLETED and not p.is_held]
    proven = [p for p in usable if p.slot.key in state.verified]
    for kind in (usable, proven):
        if kind:
            assert max(kind, key=lambda p: p.slot.at).slot.key not in gone


@given(standings())
def test_nothing_goes_that_is_held_locked_owed_a_copy_or_younger_than_a_day(state: Standing) -> None:
    for point in expired(decide(state, NOON)):
        assert point.status is Status.COMPLETED
        assert not point.is_held
        assert NOON - point.slot.at >= DAY
        assert has_every_copy(point, state)
        if state.policy and state.policy.lock and point.completed_at:
            assert point.completed_at + timedelta(days=state.policy.lock.days) <= NOON


@given(standings())
def test_a_tenth_of_the_points_goes_in_a_day_and_at_least_one_may(state: Standing) -> None:
    decisions = decide(state, NOON)
    allowed = max(1, floor(len(decisions) / 10))
    gone = expired(decisions)
    assert len(gone) <= max(0, allowed - state.deleted_today)
    waiting = [d.point for d in decisions if "waits for tomorrow" in d.reason]
    if gone and waiting:
        assert max(p.slot.at for p in gone) < min(p.slot.at for p in waiting), "the oldest go first"
    if waiting:
        assert len(gone) == max(0, allowed - state.deleted_today)


@given(standings())
def test_the_newest_copy_in_a_region_stays_because_the_next_one_builds_on_it(state: Standing) -> None:
    gone = keys(*expired(decide(state, NOON)))
    for region in (AWAY, FAR):
        with_copy = [
            p
            for p in state.points
            if p.status is Status.COMPLETED
            and region in p.copy_to
            and has_every_copy(replace(p, copy_to=(region,)), state)
        ]
        if with_copy and not max(with_copy, key=lambda p: p.slot.at).is_held:
            assert max(with_copy, key=lambda p: p.slot.at).slot.key not in gone


@given(shelved_standings())
def test_what_is_archived_is_old_and_whole_and_not_what_the_next_restore_or_copy_needs(state: Standing) -> None:
    usable = sorted(
        (p for p in state.points if p.status is Status.COMPLETED and not p.is_held),
        key=lambda p: p.slot.at,
        reverse=True,
    )
    needed = [
        usable[:1],
        [p for p in usable if p.slot.key in state.verified][:1],
        *(
            [p for p in usable if region in p.copy_to and has_every_copy(replace(p, copy_to=(region,)), state)][:1]
            for region in (AWAY, FAR)
        ),
    ]
    for point in archived(decide(state, NOON)):
        assert state.policy is not None
        assert state.policy.archive_after is not None
        assert NOON - point.slot.at >= state.policy.archive_after
        assert point in usable
        assert point.archived_at is None
        assert has_every_copy(point, state)
        assert [point] not in needed


@given(shelved_standings())
def test_archiving_lets_nothing_go_that_would_have_stayed(state: Standing) -> None:
    policy = replace(state.policy, archive_after=None) if state.policy else None
    assert expired(decide(state, NOON)) == expired(decide(replace(state, policy=policy), NOON))


def days_pass(state: Standing, days: int) -> Standing:
    """What is left when the deleter does for so many days all that it is allowed to."""
    for day in range(days):
        now = NOON + day * DAY
        gone = keys(*expired(decide(replace(state, clock_seen_at=now, deleted_today=0), now)))
        state = replace(state, points=[p for p in state.points if p.slot.key not in gone])
    return state


@given(standings(), st.integers(1, 12))
def test_however_long_backups_are_stopped_a_usable_and_a_proven_point_remain(state: Standing, days: int) -> None:
    left = days_pass(state, days).points
    for is_good in (
        lambda p: p.status is Status.COMPLETED and not p.is_held,
        lambda p: p.status is Status.COMPLETED and not p.is_held and p.slot.key in state.verified,
    ):
        assert any(map(is_good, left)) == any(map(is_good, state.points))


@given(
    st.lists(st.integers(0, 60 * 24 * 40), min_size=30, max_size=120, unique=True),
    st.sampled_from([Tiers(daily=1), Tiers(hourly=3), Tiers(daily=7, weekly=2), Tiers(yearly=1)]),
    st.booleans(),
)
def test_a_flood_of_fresh_points_cannot_push_out_an_older_proven_one(minutes, keep, held) -> None:
    proven, others = a_point(ago(days=45)), [a_point(ago(days=45 + n)) for n in range(1, 4)]
    flood = [a_point(ago(minutes=m), why=Why.EXTRA, is_held=held) for m in minutes]
    state = standing([*flood, proven, *others], verified=keys(proven), policy=a_policy(keep=keep))
    assert proven in days_pass(state, 25).points


def test_the_good_points_of_this_morning_survive_a_flood_until_the_next_day() -> None:
    morning = [a_point(ago(hours=hours)) for hours in (3, 5, 7, 23)]
    flood = [a_point(ago(minutes=n), why=Why.EXTRA) for n in range(1, 150)]
    decisions = decide(standing([*morning, *flood], policy=a_policy(keep=Tiers(hourly=1))), NOON)
    assert expired(decisions) == []


def test_suspicious_points_take_no_place_in_a_tier() -> None:
    good = [a_point(ago(days=n)) for n in (10, 11, 12)]
    held = [a_point(ago(days=n), is_held=True) for n in (2, 3, 4)]
    decisions = decide(standing([*held, *good], policy=a_policy(keep=Tiers(daily=3))), NOON)
    assert expired(decisions) == []
    assert [reason_for(p, decisions) for p in good] == ["daily 1 of 3", "daily 2 of 3", "daily 3 of 3"]


def test_a_point_taken_late_for_an_old_slot_is_as_young_as_its_content() -> None:
    late = a_point(ago(days=6), created_at=ago(hours=2), completed_at=ago(hours=1))
    newer = a_point(ago(days=2))
    decisions = decide(standing([newer, late]), NOON)
    assert "younger than a day" in reason_for(late, decisions)


def test_a_held_point_is_not_the_last_usable_one() -> None:
    held, good = a_point(ago(days=3), is_held=True), a_point(ago(days=9))
    decisions = decide(standing([held, good]), NOON)
    assert expired(decisions) == []


def test_a_held_proven_point_does_not_stand_for_the_older_proven_one() -> None:
    held, proven = a_point(ago(days=5), is_held=True), a_point(ago(days=30))
    state = standing([a_point(ago(days=2)), held, proven], verified=keys(held, proven))
    assert reason_for(proven, decide(state, NOON)) == "it is the newest point proven to restore"


def test_a_proven_point_that_is_not_complete_any_more_does_not_stand_for_the_one_that_is() -> None:
    lost, proven = a_point(ago(days=5), status=Status.GONE), a_point(ago(days=30))
    state = standing([a_point(ago(days=2)), lost, proven], verified=keys(lost, proven))
    assert reason_for(proven, decide(state, NOON)) == "it is the newest point proven to restore"


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.COMPLETED])
def test_a_copy_that_is_not_complete_keeps_its_source(status: Status) -> None:
    point, newer = a_point(ago(days=9), copy_to=(AWAY,)), a_point(ago(days=2), copy_to=(AWAY,))
    copies = {newer.slot.key: copies_of(newer), point.slot.key: (a_copy(point, status=status),)}
    decisions = decide(standing([newer, point], copies=copies), NOON)
    assert reason_for(point, decisions) == f"it is still owed a copy in {AWAY}"


def test_a_set_of_which_one_part_is_not_copied_is_still_owed_a_copy() -> None:
    parts = (a_part("snap-1"), a_part("snap-2"))
    point, newer = a_point(ago(days=9), parts=parts, copy_to=(AWAY,)), a_point(ago(days=2))
    copies = {point.slot.key: (a_copy(point, part=0), a_copy(point, FAR, part=1))}
    assert "owed a copy" in reason_for(point, decide(standing([newer, point], copies=copies), NOON))


@pytest.mark.parametrize(("days", "goes"), [(9, True), (10, True), (11, False)])
def test_a_locked_point_goes_when_its_lock_ends_and_not_before(days: int, goes: bool) -> None:
    policy = a_policy(keep=Tiers(daily=1), lock=a_lock(days))
    point = a_point(ago(days=11), completed_at=ago(days=10))
    decisions = decide(standing([a_point(ago(days=2)), point], policy=policy), NOON)
    assert (point in expired(decisions)) is goes


@pytest.mark.parametrize(("hours", "goes"), [(71, False), (72, True)])
def test_a_changed_policy_deletes_nothing_for_three_days_and_says_until_when(hours: int, goes: bool) -> None:
    points = [a_point(ago(days=2)), a_point(ago(days=9))]
    decisions = decide(standing(points, policy_since=ago(hours=hours)), NOON)
    assert bool(expired(decisions)) is goes
    if not goes:
        assert "2026-11-20 13:00 UTC" in reason_for(points[1], decisions)


@given(st.lists(st.integers(0, 24 * 900), min_size=1, max_size=60, unique=True), st.data())
def test_each_tier_keeps_the_newest_point_of_as_many_buckets_as_it_says(hours, data) -> None:
    counts = {tier: data.draw(st.integers(0, 4), tier) for tier in ("hourly", "daily", "weekly", "monthly")}
    points = [a_point(ago(hours=hour)) for hour in hours]
    policy = a_policy(keep=Tiers(yearly=1, **counts))
    kept = {
        d.point.slot.at
        for d in decide(standing(points, policy=policy, deleted_today=-1000), NOON)
        if d.fate is Fate.KEEP
    }
    at = sorted((p.slot.at for p in points), reverse=True)
    expected = {at[0]} | {moment for moment in at if NOON - moment < DAY}
    for tier, form in [
        ("hourly", "%Y-%m-%d %H"),
        ("daily", "%Y-%m-%d"),
        ("weekly", "%G-%V"),
        ("monthly", "%Y-%m"),
        ("yearly", "%Y"),
    ]:
        newest: dict[str, datetime] = {}
        for moment in at:
            newest.setdefault(moment.strftime(form), moment)
        expected |= set(list(newest.values())[: {**counts, "yearly": 1}[tier]])
    assert kept == expected


SHELVED = a_policy(keep=Tiers(daily=1, weekly=1, monthly=6, yearly=2), archive_after=90 * DAY)
"""What is older than 90 days and kept by a month or a year alone is archived."""


def test_what_only_a_month_or_a_year_keeps_is_archived_when_it_is_old_enough_and_says_why() -> None:
    new, month, old_month, year = (a_point(ago(days=days)) for days in (2, 60, 91, 400))
    decisions = decide(standing([new, month, old_month, year], policy=SHELVED), NOON)
    assert [(d.fate, d.reason) for d in decisions] == [
        (Fate.KEEP, "daily 1 of 1"),
        (Fate.KEEP, "monthly 2 of 6"),
        (Fate.ARCHIVE, "monthly 3 of 6, and older than 90 days"),
        (Fate.ARCHIVE, "monthly 4 of 6, and older than 90 days"),
    ]
    years = decide(standing([new, year], policy=replace(SHELVED, keep=Tiers(daily=1, yearly=2))), NOON)
    assert [d.reason for d in years if d.fate is Fate.ARCHIVE] == ["yearly 2 of 2, and older than 90 days"]


@pytest.mark.parametrize(("age", "goes"), [(90 * DAY - timedelta(seconds=1), False), (90 * DAY, True)])
def test_a_point_is_archived_on_the_day_and_not_before(age: timedelta, goes: bool) -> None:
    old = a_point(NOON - age, created_at=None)
    assert (old in archived(decide(standing([a_point(ago(days=2)), old], policy=SHELVED), NOON))) is goes


def test_without_archive_after_nothing_is_archived() -> None:
    points = [a_point(ago(days=days)) for days in (2, 100, 400)]
    assert archived(decide(standing(points, policy=replace(SHELVED, archive_after=None)), NOON)) == []


def test_what_a_shorter_tier_keeps_too_stays_at_hand_however_old_it_is() -> None:
    new, old = a_point(ago(days=2)), a_point(ago(days=200))
    decisions = decide(standing([new, old], policy=replace(SHELVED, keep=Tiers(daily=2, monthly=6))), NOON)
    assert reason_for(old, decisions) == "daily 2 of 2"


def test_an_archived_point_is_kept_as_a_completed_one_and_expires_like_any_other() -> None:
    new, old = a_point(ago(days=2)), a_point(ago(days=100), archived_at=ago(days=10))
    assert reason_for(old, decide(standing([new, old], policy=SHELVED), NOON)) == "monthly 2 of 6"
    assert expired(decide(standing([new, old]), NOON)) == [old]


def test_a_locked_point_is_archived_because_a_lock_forbids_deleting_alone() -> None:
    new, old = a_point(ago(days=2)), a_point(ago(days=100))
    policy = replace(SHELVED, lock=a_lock(365))
    assert archived(decide(standing([new, old], policy=policy), NOON)) == [old]


def test_the_newest_usable_point_is_not_archived_when_backups_stopped_long_ago() -> None:
    last, before = a_point(ago(days=150)), a_point(ago(days=200))
    policy = replace(SHELVED, keep=Tiers(monthly=6))
    assert archived(decide(standing([last, before], policy=policy), NOON)) == [before]


@pytest.mark.parametrize(
    ("point", "changes"),
    [
        pytest.param({}, {"policy_since": ago(hours=71)}, id="the policy changed lately"),
        pytest.param({}, {"clock_seen_at": NOON + timedelta(seconds=1)}, id="the clock is behind"),
        pytest.param({}, {"policy": None}, id="the policy is gone"),
        pytest.param({"is_held": True}, {}, id="it is held"),
        pytest.param({"created_at": ago(hours=2)}, {}, id="it was taken late and is young"),
        pytest.param({}, {"verified": keys(a_point(ago(days=100)))}, id="it is the newest one proven to restore"),
        pytest.param({"copy_to": (AWAY,)}, {"copies": {}}, id="it still owes a copy"),
        pytest.param({"copy_to": (AWAY,)}, {}, id="it is the newest copy in a Region"),
    ],
)
def test_a_point_that_may_be_needed_at_once_is_not_archived(point: dict[str, Any], changes: dict[str, Any]) -> None:
    new, old = a_point(ago(days=2)), a_point(ago(days=100), **point)
    assert archived(decide(standing([new, old], **{"policy": SHELVED} | changes), NOON)) == []
    assert archived(decide(standing([new, a_point(ago(days=100))], policy=SHELVED), NOON)) != []


def test_without_points_there_is_nothing_to_decide() -> None:
    assert decide(standing([]), NOON) == ()


def test_the_reasons_name_what_the_guards_saw() -> None:
    old, new = a_point(ago(days=9)), a_point(ago(days=2))
    for changes, reason in [
        ({"policy": None}, "its policy does not exist any more"),
        ({"clock_seen_at": NOON + timedelta(seconds=1)}, "the clock is behind"),
        ({"deleted_today": 1}, "waits for tomorrow"),
    ]:
        assert reason in reason_for(old, decide(standing([old, new], **changes), NOON))


def test_a_point_stays_while_the_lock_of_its_latest_copy_runs() -> None:
    policy = a_policy(keep=Tiers(daily=1), lock=a_lock(10))
    point = a_point(ago(days=12), copy_to=(AWAY,), completed_at=ago(days=11))
    copy = a_copy(point, completed_at=ago(days=9))
    newest = a_point(ago(days=2), copy_to=(AWAY,))
    copies = {point.slot.key: (copy,), newest.slot.key: (a_copy(newest),)}
    decisions = decide(standing([newest, point], policy=policy, copies=copies), NOON)
    assert reason_for(point, decisions) == "it is locked until 2026-11-21"
    assert point in expired(decide(standing([newest, point], policy=policy, copies=copies), NOON + DAY))


def test_a_policys_lock_holds_no_point_of_a_database_because_rds_has_none() -> None:
    policy = a_policy(keep=Tiers(daily=1), lock=a_lock(100))
    points = [a_point(ago(days=days), resource=a_key(Kind.DATABASE)) for days in (2, 11)]
    assert points[1] in expired(decide(standing(points, policy=policy), NOON))
