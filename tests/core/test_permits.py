from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.core.permits import (
    AHEAD,
    MOST,
    POOLS,
    PROBE_AFTER,
    PROBE_ANYWAY_AFTER,
    STARTS_AT,
    Operation,
    Pace,
    Pool,
    PoolName,
    hand_out,
    probed,
    refused,
    returned,
    throttled,
)
from functions.core.resources import Kind
from tests.builders import AWAY, NOON


def a_pool(limit: int, held: int, refused_at: datetime | None = None) -> Pool:
    name = PoolName.of(Operation.COPY, Kind.VOLUME, AWAY)
    return Pool(name=name, limit=limit, holders={f"copy-{n}": NOON for n in range(held)}, refused_at=refused_at)


refusals = st.none() | st.integers(0, 3600).map(lambda seconds: NOON - timedelta(seconds=seconds))
pools = st.builds(a_pool, st.integers(1, 200), st.integers(0, 250), refusals)


@given(pools)
def test_a_pool_never_has_fewer_than_no_permits_and_never_more_than_its_limit(pool: Pool) -> None:
    assert 0 <= pool.free <= pool.limit
    assert pool.free == 0 or pool.free + len(pool.holders) == pool.limit


@given(pools)
def test_a_refusal_never_raises_the_limit_and_always_leaves_one(pool: Pool) -> None:
    pool = replace(pool, holders={**pool.holders, "one more": NOON})
    after = refused(pool, "one more", NOON)
    assert 1 <= after.limit <= pool.limit
    assert after.limit <= max(1, len(pool.holders) - 1), "what AWS refused cannot have been in flight"
    assert (after.refused_at, "one more" in after.holders) == (NOON, False)


@given(pools)
def test_success_raises_the_limit_by_one_only_when_all_is_in_use_and_it_was_quiet(pool: Pool) -> None:
    after = returned(pool, list(pool.holders)[:1], NOON, succeeded=True)
    quiet = pool.refused_at is None or NOON - pool.refused_at >= PROBE_AFTER
    assert after.limit - pool.limit == (1 if quiet and pool.free == 0 else 0)


def test_what_only_waits_for_its_moment_is_not_in_flight() -> None:
    """A refusal says how many were in flight; orders that lie in the queue were not."""
    ahead = {f"later-{n}": NOON + timedelta(seconds=n) for n in range(1, 61)}
    pool = replace(a_pool(limit=200, held=100), holders={**a_pool(200, 100).holders, **ahead})
    after = refused(pool, "copy-0", NOON + timedelta(seconds=20))
    assert after.limit == 99 + 20


def test_a_lowered_limit_lets_in_those_whose_moment_is_first() -> None:
    holders = {f"copy-{n}": NOON + timedelta(seconds=n) for n in range(5)}
    pool = replace(a_pool(limit=3, held=0), holders=holders)
    assert [pool.has_room_for(holder) for holder in holders] == [True, True, True, False, False]


class Copies:
    """AWS's copies in progress: each takes four minutes, and its place is counted for `lag` seconds longer. A copy
    that ended is heard of three seconds later, when the next are sent on their way."""

    def __init__(self, allowed: int, *, lag_seconds: int = 0) -> None:
        self.allowed = allowed
        self.lag = timedelta(seconds=lag_seconds)
        self.pool = a_pool(limit=20, held=0)
        self.now = NOON
        self.refusals = 0
        self._ends: dict[str, datetime] = {}
        self._sent: dict[str, datetime] = {}
        self._number = 0

    def minutes(self, number: float) -> float:
        """So much time passes; the share of AWS's places that was used in it."""
        used = seconds = 0
        for _ in range(round(number * 60)):
            self.now += timedelta(seconds=1)
            self._second()
            used += sum(1 for ends in self._ends.values() if ends > self.now)
            seconds += 1
        return used / seconds / self.allowed

    def _second(self) -> None:
        counted = [ends for ends in self._ends.values() if ends + self.lag > self.now]
        for holder in [holder for holder, at in self._sent.items() if at <= self.now]:
            del self._sent[holder]
            if len(counted) >= self.allowed:
                self.refusals += 1
                self.pool = refused(self.pool, holder, self.now)
            else:
                # The first twenty end one after the other, and so do those after them.
                takes = 12 * (self._number_of(holder) + 1) if self._number_of(holder) < 20 else 240
                self._ends[holder] = self.now + timedelta(seconds=takes)
                counted.append(self._ends[holder])
        heard = [holder for holder in self.pool.holders if self._has_ended(holder)]
        if heard or (self.now - NOON).seconds % 60 == 0:
            self.pool = returned(self.pool, heard, self.now, succeeded=True) if heard else self.pool
            wanted = [f"copy-{self._number + n}" for n in range(self.pool.free)]
            self._number += len(wanted)
            self.pool, given = hand_out(self.pool, wanted, self.now)
            self._sent |= {holder: self.now + wait for holder, wait in given.items()}

    def _has_ended(self, holder: str) -> bool:
        return holder in self._ends and self._ends[holder] + timedelta(seconds=3) <= self.now

    def _number_of(self, holder: str) -> int:
        return int(holder.removeprefix("copy-"))


def test_at_the_published_limit_a_refusal_now_and_then_is_all_that_learning_costs() -> None:
    copies = Copies(20)
    copies.minutes(10)
    before = copies.refusals
    assert copies.minutes(60) > 0.97
    assert copies.refusals - before <= 60 / 5 + 1


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_ten_minutes_after_aws_changed_its_limit_it_is_known(factor: float) -> None:
    copies = Copies(20)
    copies.minutes(37)
    copies.allowed = round(20 * factor)
    copies.minutes(10)
    before = copies.refusals
    assert copies.minutes(30) > 0.97
    assert copies.refusals - before <= 30 / 5 + 1


def test_a_count_that_lags_is_waited_for_and_lowers_no_limit() -> None:
    """A place that AWS frees late costs its delay, and not a place for minutes each time."""
    copies = Copies(20, lag_seconds=8)
    copies.minutes(20)
    before = copies.refusals
    assert copies.minutes(60) > 240 / (240 + 8 + 5) - 0.01
    assert copies.refusals - before <= 60 / 5 * 2
    assert copies.pool.limit in (20, 21)


def test_from_an_unknown_limit_one_refusal_says_what_it_is() -> None:
    pool = Pool(name=PoolName.of(Operation.CREATE, Kind.VOLUME, AWAY), limit=2000, holders={})
    pool, given = hand_out(pool, [f"point-{n}" for n in range(300)], NOON)
    in_order = list(given)
    pool = refused(pool, in_order[100], NOON)
    assert pool.limit == 100
    assert [holder for holder in in_order if holder in pool.holders and pool.has_room_for(holder)] == in_order[:100]


def test_no_pool_grows_beyond_what_a_row_holds() -> None:
    pool = a_pool(limit=MOST, held=MOST)
    assert returned(pool, ["copy-0"], NOON, succeeded=True).limit == MOST


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("operation", Operation)
def test_every_kind_and_operation_has_a_pool_and_a_limit_to_start_at(kind: Kind, operation: Operation) -> None:
    name = PoolName.of(operation, kind, AWAY)
    assert name.family == POOLS[kind]
    assert STARTS_AT[operation, name.family] >= 1
    assert str(name) == f"{operation}#{name.family}#{AWAY}"


def test_volumes_and_instances_share_their_permits_and_databases_do_not() -> None:
    names = {kind: PoolName.of(Operation.CREATE, kind, AWAY) for kind in Kind}
    assert names[Kind.VOLUME] == names[Kind.INSTANCE]
    assert len(set(names.values())) == 3


def handed_out(pool: Pool, number: int, at: datetime) -> tuple[Pool, Sequence[timedelta]]:
    wanted = [f"{at:%H:%M:%S}-{n}" for n in range(number)]
    after, given = hand_out(pool, wanted, at)
    assert list(given) == wanted[: len(given)], "in their order"
    return after, list(given.values())


def roomy(**pace: Any) -> Pool:
    name = PoolName.of(Operation.CREATE, Kind.VOLUME, AWAY)
    return Pool(name=name, limit=100_000, holders={}, pace=Pace(**pace))


def let_in_by_aws(
    pool: Pool, per_second: float, *, minutes: int, begins: datetime = NOON
) -> Iterator[tuple[Pool, int]]:
    """The pool and how many calls AWS throttled, minute by minute, while more wait than can go and AWS lets in
    `per_second`, with a bucket that holds twenty seconds of it."""
    tokens, capacity = per_second * 20, per_second * 20
    for minute in range(minutes):
        at = begins + timedelta(minutes=minute)
        wanted = [f"{minute}-{number}" for number in range(5_000)]
        pool, given = hand_out(pool, wanted, at)
        refused, last = 0, timedelta(0)
        for holder, wait in given.items():
            tokens = min(capacity, tokens + (wait - last).total_seconds() * per_second)
            last = wait
            if tokens >= 1:
                tokens -= 1
            else:
                refused += 1
                pool = throttled(pool, holder)
        tokens = min(capacity, tokens + max(0.0, (timedelta(minutes=1) - last).total_seconds()) * per_second)
        yield replace(pool, holders={}), refused
        pool = replace(pool, holders={})


def test_after_a_pause_a_burst_goes_at_once_and_the_others_at_the_pace_of_aws() -> None:
    _, waits = handed_out(roomy(per_second=2.0, burst_seconds=5.0), 20, NOON)
    assert waits[:11] == [timedelta(0)] * 11
    assert waits[11:] == [timedelta(seconds=0.5 * number) for number in range(1, 10)]


def test_nothing_is_handed_out_further_ahead_than_the_next_tick() -> None:
    pool, waits = handed_out(roomy(per_second=1.0, burst_seconds=1.0), 500, NOON)
    assert waits[-1] <= AHEAD
    assert handed_out(pool, 500, NOON)[1] == []
    later, more = handed_out(pool, 500, NOON + timedelta(seconds=10))
    assert len(more) == 10
    assert len(later.holders) == len(waits) + 10


def test_who_has_a_permit_is_passed_over_and_takes_no_turn() -> None:
    pool, _ = hand_out(roomy(), ["one"], NOON)
    after, given = hand_out(pool, ["one", "two"], NOON)
    assert (list(given), sorted(after.holders)) == (["two"], ["one", "two"])


def test_no_more_are_handed_out_than_may_be_in_flight() -> None:
    assert len(hand_out(a_pool(limit=20, held=15), [f"new-{n}" for n in range(9)], NOON)[1]) == 5
    assert hand_out(a_pool(limit=3, held=9), ["new"], NOON)[1] == {}


def test_a_throttled_call_returns_its_permit() -> None:
    pool, _ = hand_out(roomy(), ["one", "two"], NOON)
    assert list(throttled(pool, "one").holders) == ["two"]


def shares(pool: Pool, per_second: float, begins: datetime) -> tuple[float, float]:
    """Of an hour: which share of the calls AWS throttled, and which share of what it would have let in was used."""
    handed, refused = 0, 0
    for after, throttled_now in let_in_by_aws(pool, per_second, minutes=60, begins=begins):
        handed += after.pace.handed_out
        refused += throttled_now
    return refused / handed, (handed - refused) / (3600 * per_second)


def after_minutes(pool: Pool, per_second: float, minutes: int, begins: datetime = NOON) -> Pool:
    *_, (last, _) = let_in_by_aws(pool, per_second, minutes=minutes, begins=begins)
    return last


@pytest.mark.parametrize("per_second", [0.5, 2.5, 5.0, 20.0])
def test_ten_minutes_after_the_start_little_is_throttled_and_little_unused(per_second: float) -> None:
    """What AWS publishes is where it starts, what it does is what counts."""
    pool = after_minutes(roomy(), per_second, 10)
    throttled_share, used_share = shares(pool, per_second, NOON + timedelta(minutes=10))
    assert throttled_share <= 0.05
    assert used_share >= 0.95


@pytest.mark.parametrize("change", [0.5, 2.0])
def test_ten_minutes_after_aws_changed_its_pace_little_is_throttled_and_little_unused(change: float) -> None:
    pool = after_minutes(roomy(), 5.0, 30)
    pool = after_minutes(pool, 5.0 * change, 10, NOON + timedelta(minutes=30))
    throttled_share, used_share = shares(pool, 5.0 * change, NOON + timedelta(minutes=40))
    assert throttled_share <= 0.05
    assert used_share >= 0.95


def test_a_quiet_pool_says_nothing_about_aws() -> None:
    pool = roomy()
    for minute in range(60):
        pool, _ = handed_out(pool, 3, NOON + timedelta(minutes=minute))
        pool = replace(pool, holders={})
    assert pool.pace.per_second == Pace().per_second


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 50), st.integers(0, 50)), max_size=20),
    st.floats(0.05, 50),
)
def test_the_pace_never_stops_and_never_runs_away_in_one_step(steps: list[tuple[int, int, int]], start: float) -> None:
    pool, at = roomy(per_second=start), NOON
    for seconds, wanted, number in steps:
        at += timedelta(seconds=seconds)
        before = pool.pace.per_second
        pool, waits = handed_out(pool, wanted, at)
        for holder in list(pool.holders)[:number]:
            pool = throttled(pool, holder)
        assert 0.05 <= pool.pace.per_second <= 2 * before
        assert all(timedelta(0) <= wait <= AHEAD for wait in waits)
        pool = replace(pool, holders={})


def test_a_pool_that_only_stuck_work_holds_lets_one_more_try_after_a_while() -> None:
    """F40: without a success nothing else would ever raise a limit that one refusal lowered."""
    stuck = a_pool(1, 1, refused_at=NOON)
    just_before = probed(stuck, NOON + PROBE_ANYWAY_AFTER - timedelta(seconds=1))
    after = probed(stuck, NOON + PROBE_ANYWAY_AFTER)
    assert (just_before.free, after.free, after.limit) == (0, 1, 2)
    assert probed(replace(after, holders={**after.holders, "one more": NOON}), NOON + PROBE_ANYWAY_AFTER).free == 0


@pytest.mark.parametrize("pool", [a_pool(2, 1, refused_at=NOON), a_pool(1, 1)], ids=["has room", "was never refused"])
def test_a_pool_with_room_or_without_a_refusal_is_not_probed(pool: Pool) -> None:
    assert probed(pool, NOON + 2 * PROBE_ANYWAY_AFTER) == pool


def test_permits_that_a_clock_ahead_handed_out_keep_nobody_waiting() -> None:
    """F21: the moments of its calls are no moments of ours."""
    after, _ = hand_out(a_pool(10, 0), ["one"], NOON + timedelta(hours=36))
    after = replace(after, room=replace(after.room, rests_seconds=30.0, returned=(NOON + timedelta(hours=36),)))
    _, given = hand_out(after, ["another"], NOON)
    assert given["another"] <= timedelta(seconds=30)
