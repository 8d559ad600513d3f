"""F22: the calendar is UTC's, so no zone of the IANA database makes a backup be left out or taken twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest

from functions.core.slots import newest_due, slots_between
from tests.builders import a_key, a_policy

FIRST, LAST = datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
ZONES = sorted(available_timezones())
VOLUME = a_key()

QUARTERLY = a_policy(rpo=15 * MINUTE)
HOURLY = a_policy(rpo=HOUR, starts=17 * MINUTE)
DAILY = a_policy(rpo=DAY, starts=2 * HOUR + 30 * MINUTE)


def changes_of(zone: ZoneInfo) -> Iterator[datetime]:
    """The instants, to the minute, at which the zone's clocks are put forward or back in the two years."""
    day = FIRST
    while day < LAST:
        begins, ends = day, day + DAY
        if _offset(begins, zone) != _offset(ends, zone):
            while ends - begins > MINUTE:
                middle = begins + ((ends - begins) / 2 // MINUTE) * MINUTE
                begins, ends = (begins, middle) if _offset(middle, zone) != _offset(begins, zone) else (middle, ends)
            yield ends
        day += DAY


def _offset(at: datetime, zone: ZoneInfo) -> timedelta | None:
    return at.astimezone(zone).utcoffset()


def alike() -> dict[tuple[object, ...], list[str]]:
    """The zones by what their clocks do in the two years: most names of a zone are other names for another one."""
    found: dict[tuple[object, ...], list[str]] = {}
    for name in ZONES:
        zone = ZoneInfo(name)
        # Whether a zone changes at all is seen month by month; the instant is looked for only then.
        months = tuple(_offset(FIRST + 15 * number * DAY, zone) for number in range(49))
        found.setdefault(months, []).append(name)
    return found


ALIKE = alike()
CHANGES = {names[0]: tuple(changes_of(ZoneInfo(names[0]))) for names in ALIKE.values()}
MOVING = [name for name, changes in CHANGES.items() if changes]
"""One zone of each sort that changes its clocks."""


def test_the_zones_and_their_changes_are_known() -> None:
    assert len(ZONES) > 400
    assert sum(map(len, ALIKE.values())) == len(ZONES)
    changes = {name: CHANGES[names[0]] for names in ALIKE.values() for name in names}
    assert datetime(2026, 3, 29, 1, tzinfo=UTC) in changes["Europe/Berlin"]
    assert datetime(2026, 11, 1, 6, tzinfo=UTC) in changes["America/New_York"]
    assert datetime(2026, 4, 4, 15, tzinfo=UTC) in changes["Australia/Lord_Howe"]
    assert changes["Asia/Tokyo"] == ()


@pytest.mark.parametrize(("policy", "step"), [(QUARTERLY, 15 * MINUTE), (HOURLY, HOUR), (DAILY, DAY)])
def test_the_slots_of_two_years_are_as_many_and_as_far_apart_as_the_policy_says(policy, step) -> None:
    """F22, F23."""
    slots = slots_between(policy, VOLUME, after=FIRST, until=LAST)
    assert len(slots) == (LAST - FIRST) / step
    assert {later.at - earlier.at for earlier, later in pairwise(slots)} == {step}
    assert len({slot.key for slot in slots}) == len(slots)


@pytest.mark.parametrize("zone", MOVING)
def test_around_each_change_of_the_clocks_no_slot_is_left_out_or_owed_twice(zone: str) -> None:
    """Asked as somebody would who lives there: from one local midnight to the next, a day of 23, 24 or 25 hours."""
    for change in CHANGES[zone]:
        local = change.astimezone(ZoneInfo(zone))
        begins = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        ends = (begins + DAY + 2 * HOUR).replace(hour=0)
        elapsed = ends.astimezone(UTC) - begins.astimezone(UTC)
        hours = slots_between(HOURLY, VOLUME, after=begins, until=ends)
        assert abs(len(hours) - elapsed / HOUR) < 1
        assert {later.at - earlier.at for earlier, later in pairwise(hours)} == {HOUR}
        assert hours == slots_between(HOURLY, VOLUME, after=begins.astimezone(UTC), until=ends.astimezone(UTC))


@pytest.mark.parametrize("zone", MOVING)
def test_a_planner_whose_clock_shows_local_time_owes_the_same_slots_through_the_change(zone: str) -> None:
    """Every ten minutes, through the hour that does not exist and the hour that is there twice."""
    place = ZoneInfo(zone)
    for change in CHANGES[zone][:2]:
        ticks = [change + minutes * MINUTE for minutes in range(-90, 91, 10)]
        there = [tick.astimezone(place) for tick in ticks]
        assert [newest_due(QUARTERLY, VOLUME, at) for at in there] == [
            newest_due(QUARTERLY, VOLUME, at) for at in ticks
        ]
        owed = [slot for a, b in pairwise(there) for slot in slots_between(QUARTERLY, VOLUME, after=a, until=b)]
        assert tuple(owed) == slots_between(QUARTERLY, VOLUME, after=ticks[0], until=ticks[-1])
        assert len(owed) == 12


def test_a_month_asked_for_locally_is_the_same_month_in_every_zone() -> None:
    expected = slots_between(DAILY, VOLUME, after=FIRST, until=FIRST + 30 * DAY)
    for name in ZONES:
        place = ZoneInfo(name)
        asked = slots_between(DAILY, VOLUME, after=FIRST.astimezone(place), until=(FIRST + 30 * DAY).astimezone(place))
        assert asked == expected, name
