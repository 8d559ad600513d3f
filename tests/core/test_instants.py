from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.core import instants

any_instant = st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1), timezones=st.timezones())  # noqa: DTZ001


@given(any_instant)
def test_what_was_written_exactly_is_read_as_the_same_instant(at: datetime) -> None:
    assert instants.parse(instants.exact(at)) == at.astimezone(UTC)


@given(any_instant, any_instant)
def test_written_instants_sort_as_the_instants_do(one: datetime, other: datetime) -> None:
    earlier, later = sorted((one.astimezone(UTC), other.astimezone(UTC)))
    assert instants.text(earlier) <= instants.text(later)
    assert instants.exact(earlier) <= instants.exact(later)


def test_a_written_instant_is_utc_to_the_second() -> None:
    berlin = datetime(2026, 10, 25, 2, 30, 15, 999999, tzinfo=ZoneInfo("Europe/Berlin"))
    assert instants.text(berlin) == "2026-10-25T00:30:15Z"
    assert instants.text(berlin.replace(fold=1)) == "2026-10-25T01:30:15Z"


def test_a_time_without_a_zone_is_refused_and_named() -> None:
    with pytest.raises(ValueError, match="2026-11-20T03:00:00"):
        instants.aware(datetime(2026, 11, 20, 3))  # noqa: DTZ001
    with pytest.raises(ValueError, match="without a zone"):
        instants.parse("2026-11-20T03:00:00")


@pytest.mark.parametrize(
    "written", ["", "yesterday", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "12:00Z", "0001-01-01T00:00:00+23:00"]
)
def test_what_is_no_instant_is_a_value_error_and_nothing_else(written: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        instants.parse(written)


def test_an_aware_instant_is_in_utc() -> None:
    there = datetime(2026, 11, 20, 3, tzinfo=timezone(timedelta(hours=-7)))
    assert instants.aware(there).utcoffset() == timedelta(0)
    assert instants.aware(there) == there
