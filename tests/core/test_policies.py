from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from functions.core.policies import DatabaseCheck, ExtraPoints, Lock, LockMode, Settings, Tiers, Window
from tests.builders import AWAY, FAR, HOME, a_policy, some_settings

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("counts", [{}, {"daily": 0}, {"daily": 7, "weekly": -1}])
def test_a_policy_that_keeps_nothing_is_refused(counts: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"^keep: "):
        Tiers(**counts)


@pytest.mark.parametrize(
    ("starts", "ends"), [(-HOUR, HOUR), (HOUR, 24 * HOUR), (25 * HOUR, HOUR), (HOUR, HOUR), (0 * HOUR, 0 * HOUR)]
)
def test_a_window_that_is_no_part_of_a_day_is_refused(starts: timedelta, ends: timedelta) -> None:
    with pytest.raises(ValueError, match=r"^avoid: "):
        Window(starts=starts, ends=ends)


def test_a_window_over_midnight_has_the_length_of_both_sides() -> None:
    assert Window(starts=22 * HOUR, ends=3 * HOUR).length == 5 * HOUR


@pytest.mark.parametrize("days", [0, -1, 36501])
def test_a_lock_of_no_days_or_of_more_than_a_century_is_refused(days: int) -> None:
    with pytest.raises(ValueError, match=r"^lock: "):
        Lock(mode=LockMode.GOVERNANCE, days=days)


@pytest.mark.parametrize(("written_gib", "per_day"), [(0, 1), (-1, 1), (1, 0), (1, 25), (float("nan"), 1)])
def test_an_extra_point_that_any_alarm_could_buy_is_refused(written_gib: float, per_day: int) -> None:
    with pytest.raises(ValueError, match=r"^extra: "):
        ExtraPoints(written_gib=written_gib, per_day=per_day)


@pytest.mark.parametrize(
    "statement",
    [
        "delete from orders",
        "selectx",
        "select 1; drop table orders",
        "select 1;",
        "-- select\ndelete from orders",
        "/* select */ delete from orders",
        "",
        "explain select 1",
    ],
)
def test_a_check_that_is_not_one_select_is_refused(statement: str) -> None:
    with pytest.raises(ValueError, match=r"^checks: "):
        DatabaseCheck(database="shop", statement=statement, at_least=1)


@pytest.mark.parametrize("statement", ["select 1", "  SELECT\n count(*) from orders", "with a as (select 1) select 1"])
def test_a_select_is_a_check(statement: str) -> None:
    assert DatabaseCheck(database="shop", statement=statement, at_least=1).statement == statement


@pytest.mark.parametrize("bounds", [{}, {"at_least": 1, "newest_within_minutes": 5}])
def test_a_check_says_exactly_one_thing(bounds: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        DatabaseCheck(database="shop", statement="select 1", **bounds)


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("select 1 into outfile '/tmp/a'", "'into'"),
        ("select 1 INTO\nDUMPFILE '/tmp/a'", "'INTO'"),
        ("select * into stolen from orders", "'into'"),
        ("select id from orders for update", "'for update'"),
        ("select id from orders FOR  NO KEY UPDATE", "'FOR  NO KEY UPDATE'"),
        ("select id from orders lock in share mode", "'lock in share'"),
        ("select length(pg_read_file('/etc/passwd'))", "'pg_read_file'"),
        ("select load_file('/etc/passwd')", "'load_file'"),
        ("select lo_export(1, '/tmp/a')", "'lo_export'"),
        ("select * from dblink('host=elsewhere', 'select 1') as t(a int)", "'dblink'"),
        ("select 1 /*!into outfile '/tmp/a'*/", "no comments"),
        ("select 1 -- and more", "no comments"),
        ("select 1; copy orders to program 'sh'", "without a semicolon"),
    ],
)
def test_a_select_that_does_more_than_read_is_refused_by_the_word(statement: str, word: str) -> None:
    with pytest.raises(ValueError, match=r"^checks: ") as problem:
        DatabaseCheck(database="shop", statement=statement, at_least=1)
    assert word in str(problem.value)


@pytest.mark.parametrize(
    "statement",
    [
        "select count(*) from printouts",
        "select count(*) from intro where points_into_the = 1",
        "select count(*) from a where b #> '{c}' is null",
        "select substring(a for 3)::int from b",
    ],
)
def test_a_column_that_only_resembles_such_a_word_is_fine(statement: str) -> None:
    assert DatabaseCheck(database="shop", statement=statement, at_least=1)


@pytest.mark.parametrize("database", ["", "a" * 65, "shop\0user\0other", "shop\n", "\x1b[2J"])
def test_a_database_name_that_no_server_has_is_refused(database: str) -> None:
    with pytest.raises(ValueError, match=r"^checks: a database has a name"):
        DatabaseCheck(database=database, statement="select 1", at_least=1)


@pytest.mark.parametrize("minutes", [-1, 10**9])
def test_a_freshness_beyond_any_calendar_is_refused(minutes: int) -> None:
    with pytest.raises(ValueError, match=r"^checks: newest_within_minutes"):
        DatabaseCheck(database="shop", statement="select 1", newest_within_minutes=minutes)


@pytest.mark.parametrize("statement", ["select '" + "a" * 10_000 + "'", "select '\0'"])
def test_a_statement_of_no_sensible_length_is_refused(statement: str) -> None:
    with pytest.raises(ValueError, match=r"^checks: the statement has at most"):
        DatabaseCheck(database="shop", statement=statement, at_least=1)


def test_archiving_is_refused_where_aws_would_bill_it_for_nothing() -> None:
    keep = Tiers(daily=7, monthly=12)
    with pytest.raises(ValueError, match=r"^archive_after: "):
        a_policy(keep=keep, archive_after=timedelta(days=27))
    with pytest.raises(ValueError, match=r"^archive_after: "):
        a_policy(keep=Tiers(daily=7), archive_after=timedelta(days=90))
    assert a_policy(keep=keep, archive_after=timedelta(days=28)).archive_after == timedelta(days=28)


def test_a_start_that_is_no_time_of_day_is_refused() -> None:
    for starts in (-HOUR, 24 * HOUR):
        with pytest.raises(ValueError, match=r"^starts: "):
            a_policy(starts=starts)


def test_a_copy_into_the_home_region_is_refused() -> None:
    with pytest.raises(ValueError, match=f"^copies: {HOME}"):
        Settings(home_region=HOME, copy_regions=(AWAY, HOME), policies={})


def test_a_default_policy_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^default_policy: .*'silver'"):
        some_settings(default_policy="silver")


def test_a_policy_that_copies_where_no_recovery_is_deployed_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^policies\.gold\.copy_to: us-east-1.*eu-west-1"):
        some_settings(a_policy(copy_to=(AWAY, "us-east-1")))


def test_the_regions_begin_at_home() -> None:
    assert some_settings().regions == (HOME, AWAY, FAR)


# locks and retention


def test_a_lock_is_no_longer_than_every_point_is_kept() -> None:
    lock = Lock(mode=LockMode.GOVERNANCE, days=7)
    assert a_policy(keep=Tiers(daily=7), lock=lock).lock == lock
    with pytest.raises(ValueError, match="beyond_retention"):
        a_policy(keep=Tiers(daily=6), lock=lock)


def test_a_lock_may_be_longer_when_the_policy_says_so() -> None:
    lock = Lock(mode=LockMode.GOVERNANCE, days=365, beyond_retention=True)
    assert a_policy(keep=Tiers(daily=1), lock=lock).lock == lock


@pytest.mark.parametrize(
    ("rpo_hours", "keep", "days"),
    [
        (24, Tiers(daily=7), 7),
        (24, Tiers(daily=7, weekly=52), 7),
        (24, Tiers(hourly=48), 48),  # hours without a point do not count
        (1, Tiers(hourly=48, daily=30), 2),
        (1, Tiers(daily=30), 1),  # all but the newest of a day go after a day
        (168, Tiers(weekly=8), 56),
        (168, Tiers(monthly=12), 1),
    ],
)
def test_every_point_is_kept_as_long_as_a_tier_that_keeps_them_all(rpo_hours: int, keep: Tiers, days: int) -> None:
    assert a_policy(rpo=timedelta(hours=rpo_hours), keep=keep).surely_kept == timedelta(days=days)


@pytest.mark.parametrize("changes", [{"days": 0}, {"days": 36501}, {"cool_off_hours": -1}, {"cool_off_hours": 73}])
def test_a_lock_that_aws_does_not_know_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^lock: "):
        Lock(**{"mode": LockMode.COMPLIANCE, "days": 1} | changes)
