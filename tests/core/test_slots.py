"""The calendar, attacked with every policy that can be written down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given, reject
from hypothesis import strategies as st

from functions.core.policies import AHEAD_OF_WINDOW, DAY, Policy, Tiers, Window
from functions.core.resources import Kind
from functions.core.slots import EPOCH, Slot, Why, newest_due, period, slots_between
from tests.builders import a_key, a_policy, a_slot

MINUTE = timedelta(minutes=1)

instants = st.datetimes(datetime(2024, 2, 1), datetime(2029, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
resources = st.builds(a_key, st.sampled_from(Kind), st.text("0123456789abcdef", min_size=4, max_size=8))
rpos = st.one_of(
    st.sampled_from([15, 17, 60, 7 * 60, 12 * 60, 1440, 1441, 47 * 60, 3 * 1440, 7 * 1440, 31 * 1440]),
    st.integers(15, 31 * 1440),
).map(lambda minutes: timedelta(minutes=minutes))


def a_window(starts_minute: int, length_minutes: int) -> Window:
    return Window(starts=starts_minute * MINUTE, ends=(starts_minute + length_minutes) % 1440 * MINUTE)


@st.composite
def policies(draw: st.DrawFn, most_windows: int = 3) -> Policy:
    """Any policy that its own rules accept."""
    rpo = draw(rpos)
    longest = min(1439, (rpo - AHEAD_OF_WINDOW) // MINUTE)
    window = st.builds(a_window, st.integers(0, 1439), st.integers(1, longest))
    try:
        return a_policy(
            rpo=rpo,
            starts=draw(st.none() | st.integers(0, 1439).map(lambda minutes: minutes * MINUTE)),
            avoid=tuple(draw(st.lists(window, max_size=most_windows))),
        )
    except ValueError:  # a set of windows that no calendar could keep
        reject()


def policy_avoiding(rpo: timedelta, starts: timedelta, *windows: tuple[int, int]) -> Policy:
    """Windows are (minute of the day, length in minutes)."""
    return a_policy(rpo=rpo, starts=starts, avoid=tuple(a_window(*window) for window in windows))


def accepted(rpo: timedelta, starts: timedelta, *windows: tuple[int, int]) -> Policy | None:
    """The policy, or None where it is refused for its windows."""
    try:
        return policy_avoiding(rpo, starts, *windows)
    except ValueError as refusal:
        if not str(refusal).startswith("avoid: "):
            raise
        return None


def some_while(policy: Policy) -> timedelta:
    return max(timedelta(days=3), 3 * policy.rpo)


def widest_gap(policy: Policy, after: datetime) -> timedelta:
    until = after + some_while(policy)
    slots = slots_between(policy, a_key(), after=after, until=until)
    times = [newest_due(policy, a_key(), after).at, *(slot.at for slot in slots)]
    return max(later - earlier for earlier, later in pairwise([*times, max(until, times[-1])]))


@given(policies(most_windows=1), instants)
def test_no_gap_is_longer_than_the_rpo_whatever_the_window(policy: Policy, after: datetime) -> None:
    assert widest_gap(policy, after) <= policy.rpo


@given(policies(), instants)
def test_no_gap_is_longer_than_the_rpo_and_one_tick_of_the_planner_whatever_the_windows(
    policy: Policy, after: datetime
) -> None:
    assert widest_gap(policy, after) <= policy.rpo + AHEAD_OF_WINDOW


@pytest.mark.parametrize(
    "windows",
    [
        pytest.param(((600, 355), (242, 355)), id="the second window ends three minutes before the first begins"),
        pytest.param(((0, 300), (300, 300)), id="two windows that touch"),
        pytest.param(((0, 300), (240, 300)), id="two windows that overlap"),
        pytest.param(((0, 240), (240, 240), (480, 240)), id="three windows that touch"),
    ],
)
def test_windows_that_together_are_longer_than_the_rpo_are_refused_or_the_rpo_is_kept(
    windows: tuple[tuple[int, int], ...],
) -> None:
    policy = accepted(timedelta(hours=6), timedelta(minutes=30), *windows)
    assert policy is None or widest_gap(policy, EPOCH + 30 * DAY) <= policy.rpo + AHEAD_OF_WINDOW


def test_windows_that_cover_the_whole_day_are_refused_or_the_rpo_is_kept() -> None:
    policy = accepted(timedelta(hours=24), timedelta(hours=3), (0, 720), (720, 720))
    assert policy is None or widest_gap(policy, EPOCH + 30 * DAY) <= policy.rpo + AHEAD_OF_WINDOW


def test_windows_that_together_leave_enough_of_the_day_are_accepted_and_the_rpo_is_kept() -> None:
    policy = accepted(timedelta(hours=12), timedelta(hours=1), (0, 240), (240, 240), (960, 300))
    assert policy is not None
    assert widest_gap(policy, EPOCH + 30 * DAY) <= policy.rpo


@given(policies(), resources, instants, st.floats(0, 1), st.floats(0, 1))
def test_the_slots_are_the_same_in_whatever_pieces_they_are_asked_for(policy, resource, after, here, there) -> None:
    span = some_while(policy)
    first, second = sorted((after + here * span, after + there * span))
    until = after + span
    pieces = [(after, first), (first, second), (second, until)]
    whole = slots_between(policy, resource, after=after, until=until)
    assert whole == tuple(slot for a, b in pieces for slot in slots_between(policy, resource, after=a, until=b))


@given(policies(), resources, instants)
def test_slots_rise_strictly_and_stay_inside_what_was_asked(policy, resource, after) -> None:
    until = after + some_while(policy)
    slots = slots_between(policy, resource, after=after, until=until)
    times = [slot.at for slot in slots]
    assert times == sorted(set(times))
    assert all(after < at <= until for at in times)
    assert all(slot.resource == resource and slot.why is Why.SCHEDULED for slot in slots)


@given(policies(), resources, instants)
def test_the_newest_due_slot_exists_is_not_in_the_future_and_has_none_after_it(policy, resource, now) -> None:
    slot = newest_due(policy, resource, now)
    assert slot.at <= now
    assert slots_between(policy, resource, after=slot.at, until=now) == ()
    assert slots_between(policy, resource, after=slot.at - timedelta(seconds=1), until=now) == (slot,)


@given(policies(), resources, instants)
def test_a_slot_is_its_own_newest_due_slot_at_its_own_instant(policy, resource, now) -> None:
    slot = newest_due(policy, resource, now)
    assert newest_due(policy, resource, slot.at) == slot


def stretch_around(policy: Policy, at: datetime) -> timedelta:
    """How long, around `at`, there is no free moment that is not also within a planner's tick before a window."""

    def is_free(moment: datetime) -> bool:
        ticks = range(int(AHEAD_OF_WINDOW / MINUTE) + 1)
        return not any(window.start_around(moment + tick * MINUTE) for window in policy.avoid for tick in ticks)

    began = ended = at
    while not is_free(began) and at - began < policy.rpo:
        began -= MINUTE
    while not is_free(ended) and ended - began < policy.rpo:
        ended += MINUTE
    return ended - began


@given(policies(), resources, instants)
@example(policy_avoiding(timedelta(hours=24), timedelta(hours=9), (480, 600)), a_key(), EPOCH + 40 * DAY)
@example(policy_avoiding(timedelta(hours=6), timedelta(hours=23), (1380, 120)), a_key(), EPOCH + 40 * DAY)
def test_no_slot_is_inside_an_avoided_window_unless_the_windows_are_longer_than_the_rpo(
    policy, resource, after
) -> None:
    for slot in slots_between(policy, resource, after=after, until=after + some_while(policy)):
        if any(window.start_around(slot.at) for window in policy.avoid):
            assert stretch_around(policy, slot.at) >= policy.rpo


def test_a_slot_in_a_window_is_owed_five_minutes_before_it_and_the_others_stay() -> None:
    policy = policy_avoiding(timedelta(hours=6), timedelta(hours=2), (7 * 60, 120))
    slots = slots_between(policy, a_key(), after=EPOCH, until=EPOCH + DAY)
    assert [f"{slot.at:%H:%M}" for slot in slots] == ["02:00", "06:55", "09:00", "14:00", "20:00"]


def test_no_extra_slot_at_the_end_of_a_window_when_the_rpo_holds_without() -> None:
    policy = policy_avoiding(timedelta(hours=7), timedelta(hours=2), (7 * 60 + 30, 120))
    slots = slots_between(policy, a_key(), after=EPOCH, until=EPOCH + DAY)
    assert [f"{slot.at:%H:%M}" for slot in slots] == ["02:00", "07:25", "14:00", "20:00"]


def test_a_window_over_midnight_is_one_window() -> None:
    policy = policy_avoiding(timedelta(hours=24), timedelta(minutes=30), (23 * 60, 180))
    slots = slots_between(policy, a_key(), after=EPOCH + 10 * DAY, until=EPOCH + 12 * DAY)
    assert [f"{slot.at:%d %H:%M}" for slot in slots][:1] == ["11 22:55"]
    assert all(slot.at.hour == 22 or slot.at.hour == 2 for slot in slots)


def test_a_window_holds_its_start_and_not_its_end() -> None:
    window = a_window(600, 60)
    ten = EPOCH + timedelta(hours=10)
    assert window.start_around(ten) == ten
    assert window.start_around(ten + timedelta(minutes=59, seconds=59)) == ten
    assert window.start_around(ten + timedelta(hours=1)) is None
    assert window.start_around(ten - timedelta(microseconds=1)) is None


@pytest.mark.parametrize(
    "night",
    [
        pytest.param(datetime(2026, 3, 29, tzinfo=UTC), id="clocks go forward in Europe"),
        pytest.param(datetime(2026, 10, 25, tzinfo=UTC), id="clocks go back in Europe"),
        pytest.param(datetime(2026, 11, 1, tzinfo=UTC), id="clocks go back in America"),
        pytest.param(datetime(2028, 2, 29, tzinfo=UTC), id="leap day"),
        pytest.param(datetime(2026, 12, 31, tzinfo=UTC), id="end of the year"),
    ],
)
@pytest.mark.parametrize("hours", [1, 6, 24])
def test_a_strange_night_owes_as_many_slots_at_the_same_times_as_any_other(night: datetime, hours: int) -> None:
    policy = a_policy(rpo=timedelta(hours=hours), starts=timedelta(hours=2, minutes=30))
    strange = slots_between(policy, a_key(), after=night, until=night + DAY)
    plain = slots_between(policy, a_key(), after=EPOCH, until=EPOCH + DAY)
    assert [slot.at.time() for slot in strange] == [slot.at.time() for slot in plain]
    assert len(strange) == 24 / hours


@given(policies(), resources, instants, st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]))
def test_the_slots_are_the_same_asked_in_any_time_zone(policy, resource, after, zone) -> None:
    until = after + some_while(policy)
    there = [at.astimezone(ZoneInfo(zone)) for at in (after, until)]
    slots = slots_between(policy, resource, after=after, until=until)
    assert slots_between(policy, resource, after=there[0], until=there[1]) == slots
    assert all(slot.at.utcoffset() == timedelta(0) for slot in slots)


@given(policies(most_windows=0), resources, instants)
def test_slots_without_windows_are_one_period_apart(policy, resource, after) -> None:
    times = [s.at for s in slots_between(policy, resource, after=after, until=after + some_while(policy))]
    assert all(abs(later - earlier - period(policy)) <= timedelta(seconds=1) for earlier, later in pairwise(times))


@given(rpos)
def test_a_period_keeps_the_rpo_and_repeats_every_day_or_every_n_days(rpo: timedelta) -> None:
    step = period(a_policy(rpo=rpo))
    assert step <= rpo
    if rpo <= DAY:
        times_a_day = DAY / step
        assert abs(times_a_day - round(times_a_day)) < 1e-6
        assert round(times_a_day) == 1 or DAY / (round(times_a_day) - 1) > rpo, "a longer step would have done"
    else:
        assert step % DAY == timedelta(0)
        assert rpo - step < DAY


def test_a_weekly_policy_keeps_its_weekday_over_the_years() -> None:
    policy = a_policy(rpo=timedelta(days=7), starts=timedelta(hours=1))
    slots = slots_between(policy, a_key(), after=EPOCH, until=EPOCH + timedelta(days=366 * 6))
    assert {(slot.at.weekday(), slot.at.hour, slot.at.minute) for slot in slots} == {(0, 1, 0)}


def test_a_fleet_without_a_stated_start_is_spread_over_the_period() -> None:
    policy = a_policy(rpo=timedelta(hours=1), starts=None)
    fleet = [a_key(id=f"vol-{number:017x}") for number in range(600)]
    minutes = [slots_between(policy, key, after=EPOCH, until=EPOCH + timedelta(hours=1))[0].at.minute for key in fleet]
    assert max(minutes.count(minute) for minute in range(60)) <= 30, "a minute starts at most thrice its share"
    assert len(set(minutes)) > 50


def test_slots_before_the_epoch_exist_too() -> None:
    slots = slots_between(a_policy(), a_key(), after=EPOCH - 3 * DAY, until=EPOCH)
    assert [slot.at for slot in slots] == [EPOCH - 2 * DAY, EPOCH - DAY, EPOCH]


@given(policies(), instants)
def test_nothing_is_owed_in_a_stretch_that_is_empty_or_backwards(policy, at) -> None:
    assert slots_between(policy, a_key(), after=at, until=at) == ()
    assert slots_between(policy, a_key(), after=at, until=at - 10 * policy.rpo) == ()


def test_the_key_of_a_slot_is_the_same_for_ever() -> None:
    assert a_slot(datetime(2026, 11, 20, 3, tzinfo=UTC)).key == "224beef2aaa280192790076c"


@given(resources, instants)
def test_the_key_depends_on_the_instant_not_on_how_it_is_written(resource, at) -> None:
    key = Slot(resource=resource, at=at).key
    assert len(key) == 24
    assert set(key) <= set("0123456789abcdef")
    tokyo = at.astimezone(ZoneInfo("Asia/Tokyo")).replace(microsecond=0)
    assert Slot(resource=resource, at=tokyo).key == key
    assert Slot(resource=resource, at=at + timedelta(seconds=1)).key != key


def test_two_resources_never_share_a_key() -> None:
    keys = [
        a_key(),
        a_key(account="210987654321"),
        a_key(region="eu-west-1"),
        a_key(Kind.INSTANCE, a_key().id),
        a_key(id="vol-2"),
    ]
    assert len({a_slot(resource=key).key for key in keys}) == len(keys)


def test_a_slot_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        a_slot(datetime(2026, 11, 20, 3))  # noqa: DTZ001


def test_a_policy_shorter_than_fifteen_minutes_or_longer_than_a_month_is_refused() -> None:
    for rpo in (timedelta(minutes=14, seconds=59), timedelta(days=31, seconds=1)):
        with pytest.raises(ValueError, match="rpo"):
            a_policy(rpo=rpo, keep=Tiers(daily=1))


@given(rpos, st.integers(0, 1439), st.integers(1, 1439))
def test_a_window_longer_than_the_rpo_allows_is_refused(rpo, starts, length) -> None:
    assume(length * MINUTE + AHEAD_OF_WINDOW > rpo)
    with pytest.raises(ValueError, match="avoid"):
        a_policy(rpo=rpo, avoid=(a_window(starts, length),))
