"""An adversary against retention: he takes, fails, holds and proves points, changes policies and turns clocks.

Whatever he does, the marker then marks what it may. A usable point, and a proven one, that were there before it are
never the last ones afterwards. `make adversary` plays 100,000 such games, the suite some hundreds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import floor

from hypothesis import given, settings
from hypothesis import strategies as st

from functions.core.points import Copy, Point, Status
from functions.core.policies import Lock, LockMode, Policy, Tiers
from functions.core.retention import SHARE_PER_DAY, WAIT_AFTER_CHANGE, Fate, Standing, decide
from functions.core.slots import Why
from tests.builders import AWAY, FAR, NOON, a_copy, a_point, a_policy

GAMES = max(300, settings.default.max_examples if settings.default else 0)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

POLICIES: tuple[Policy | None, ...] = (
    a_policy(version="v1", keep=Tiers(daily=7, weekly=4)),
    a_policy(version="v2", keep=Tiers(hourly=1)),
    a_policy(version="v3", keep=Tiers(yearly=1)),
    a_policy(version="v4", keep=Tiers(daily=4), lock=Lock(mode=LockMode.GOVERNANCE, days=3)),
    a_policy(version="v5", keep=Tiers(daily=1, monthly=2), archive_after=28 * DAY),
    a_policy(version="v6", keep=Tiers(hourly=500)),
    None,
)


@dataclass
class Game:
    """One resource as the ledger has it, with what `mark_expired` knows besides."""

    now: datetime = NOON
    seen_at: datetime = NOON
    policy: Policy | None = POLICIES[0]
    policy_since: datetime = NOON - 30 * DAY
    points: dict[datetime, Point] = field(default_factory=dict)
    copies: dict[str, tuple[Copy, ...]] = field(default_factory=dict)
    verified: set[str] = field(default_factory=set)
    marked: int = 0

    @property
    def usable(self) -> list[Point]:
        return [p for p in self.points.values() if p.status is Status.COMPLETED and not p.is_held]

    @property
    def proven(self) -> list[Point]:
        return [p for p in self.usable if p.slot.key in self.verified]

    def any_of(self, number: int) -> Point | None:
        chosen = sorted(self.points)
        return self.points[chosen[number % len(chosen)]] if chosen else None

    def change(self, number: int, **changes: object) -> None:
        """Something about one point is otherwise now."""
        if point := self.any_of(number):
            self.points[point.slot.at] = replace(point, **changes)  # type: ignore[arg-type]  # the moves below say what

    def mark(self) -> None:
        """The marker's turn, as the handler puts its question: everything that goes is EXPIRED afterwards."""
        seen_at, self.seen_at = self.seen_at, max(self.seen_at, self.now)
        today = sum(
            1 for p in self.points.values() if p.expired_at is not None and p.expired_at.date() == self.now.date()
        )
        completed = sum(1 for p in self.points.values() if p.status is Status.COMPLETED)
        usable, proven = self.usable, self.proven
        decisions = decide(
            Standing(
                points=tuple(self.points.values()),
                copies=self.copies,
                verified=frozenset(self.verified),
                policy=self.policy,
                policy_since=self.policy_since,
                clock_seen_at=seen_at,
                deleted_today=today,
            ),
            self.now,
        )
        going = [decision.point for decision in decisions if decision.fate is Fate.EXPIRE]
        for point in going:
            self.points[point.slot.at] = replace(point, status=Status.EXPIRED, expired_at=self.now)
        self.marked += len(going)
        self._judge(going, usable, proven, seen_at, max(1, floor(completed * SHARE_PER_DAY)) - today)

    def _judge(
        self, going: list[Point], usable: list[Point], proven: list[Point], seen_at: datetime, allowed: int
    ) -> None:
        """Invariants 4 to 7 and 9, at the moment of the decision."""
        for before, after in ((usable, self.usable), (proven, self.proven)):
            if before:
                newest = max(before, key=lambda point: point.slot.at)
                assert newest.slot.at in {point.slot.at for point in after}, f"the last one went: {newest.slot.at}"
        if going:
            assert self.now >= seen_at
            assert self.policy is not None
            assert self.now - self.policy_since >= WAIT_AFTER_CHANGE
            assert len(going) <= allowed
        for point in going:
            assert not point.is_held
            assert set(point.copy_to) <= {copy.region for copy in self.copies.get(point.slot.key, ())}


Move = Callable[[Game], None]
numbers = st.integers(0, 10_000)


def takes(count: int, minutes_apart: int, status: Status, why: Why, regions: tuple[str, ...], hours_ahead: int) -> Move:
    """A flood of points, of any state, maybe with slots that are not yet."""

    def move(game: Game) -> None:
        for number in range(count):
            at = game.now + hours_ahead * HOUR - number * timedelta(minutes=minutes_apart)
            point = a_point(at, status=status, why=why, copy_to=regions, created_at=min(at, game.now))
            game.points.setdefault(point.slot.at, point)

    return move


def turns_clock(hours: int) -> Move:
    """Also backwards, and also by years."""

    def move(game: Game) -> None:
        game.now += hours * HOUR

    return move


def changes_policy(number: int) -> Move:
    def move(game: Game) -> None:
        policy = POLICIES[number % len(POLICIES)]
        if policy is not game.policy:
            game.policy, game.policy_since = policy, game.now

    return move


def proves(number: int) -> Move:
    def move(game: Game) -> None:
        if point := game.any_of(number):
            game.verified.add(point.slot.key)

    return move


def holds(number: int, is_held: bool) -> Move:
    return lambda game: game.change(number, is_held=is_held)


def loses(number: int, status: Status) -> Move:
    """AWS or a person takes a point away behind our back."""
    return lambda game: game.change(number, status=status)


def copies_arrive(number: int, region: str) -> Move:
    def move(game: Game) -> None:
        if (point := game.any_of(number)) and region in point.copy_to:
            key = point.slot.key
            game.copies[key] = (*game.copies.get(key, ()), a_copy(point, region))

    return move


moves: st.SearchStrategy[Move] = st.one_of(
    st.builds(
        takes,
        st.integers(1, 40),
        st.sampled_from([1, 60, 24 * 60, 30 * 24 * 60]),
        st.sampled_from([Status.COMPLETED] * 5 + [Status.FAILED, Status.CREATED, Status.OWED]),
        st.sampled_from(Why),
        st.sampled_from([(), (), (AWAY,), (AWAY, FAR)]),
        st.sampled_from([0, 0, 0, 1, 24 * 400]),
    ),
    st.builds(turns_clock, st.sampled_from([1, 24, 24, 72, 24 * 30, 24 * 400, -1, -36, -24 * 400])),
    st.builds(changes_policy, numbers),
    st.builds(proves, numbers),
    st.builds(holds, numbers, st.booleans()),
    st.builds(loses, numbers, st.sampled_from([Status.GONE, Status.FAILED, Status.COMPLETED])),
    st.builds(copies_arrive, numbers, st.sampled_from([AWAY, FAR])),
)


@settings(max_examples=GAMES)
@given(st.lists(st.tuples(moves, st.integers(0, 12)), min_size=1, max_size=12))
def test_whatever_an_adversary_does_the_last_proven_point_is_never_lost(steps: list[tuple[Move, int]]) -> None:
    """F21, F60 to F62, F65, F67, invariants 4 to 7 and 9."""
    game = Game()
    takes(4, 24 * 60, Status.COMPLETED, Why.SCHEDULED, (), -48)(game)
    proves(0)(game)
    for move, days in steps:
        move(game)
        game.mark()
        for _ in range(days):
            game.now += DAY
            game.mark()


def test_the_marker_of_the_game_does_mark() -> None:
    """A game in which nothing ever goes would prove nothing."""
    game = Game()
    takes(60, 24 * 60, Status.COMPLETED, Why.SCHEDULED, (), -48)(game)
    proves(3)(game)
    for _ in range(20):
        game.mark()
        game.now += DAY
    assert game.marked >= 40
    assert len(game.proven) == 1


def test_the_game_is_lost_without_the_guard_of_the_last_proven_point() -> None:
    """The same game, against a marker that knows of no proof: then the oracle speaks."""
    game = Game(policy=a_policy(keep=Tiers(daily=3)))
    takes(40, 24 * 60, Status.COMPLETED, Why.SCHEDULED, (), -48)(game)
    oldest = min(game.points)
    proven = {game.points[oldest].slot.key}
    for _ in range(20):
        game.verified = set()
        game.mark()
        game.now += DAY
    assert [p for p in game.usable if p.slot.key in proven] == []
