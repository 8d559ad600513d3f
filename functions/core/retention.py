"""Which points may go, and which into the archive. Every answer has a reason, and every doubt keeps the point.

The tiers say what the policy wants kept; the guards after them say what is kept although the policy would let it go.
Only points that pass all of them expire, oldest first and a few a day. A point that is wanted for long only, and that
no guard needs at hand, is archived once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from math import floor

from functions.core.points import Copy, Point, Status
from functions.core.policies import Policy
from functions.core.resources import Kind

KEEP_WITHIN = timedelta(days=1)
"""Whatever is younger stays: a flood of fresh points must not push out the good ones of this morning."""

WAIT_AFTER_CHANGE = timedelta(hours=72)
"""How long a changed policy deletes nothing, so that a mistyped one can be noticed."""

SHARE_PER_DAY = 0.1
"""At most this share of a resource's points goes in a day, and at least one may."""

LONG_TERM = frozenset({"monthly", "yearly"})
"""The tiers whose points may be archived: AWS bills an archived snapshot for at least 90 days."""


Guard = Callable[[Point], str | None]
"""Why the point stays as it is, or None when this guard has nothing against a change."""


class Fate(StrEnum):
    """What becomes of a point."""

    KEEP = "keep"
    ARCHIVE = "archive"
    EXPIRE = "expire"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The fate of one point and why."""

    point: Point
    fate: Fate
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The place a point has in the first tier, from hourly to yearly, that keeps it."""

    tier: str
    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.tier} {self.number} of {self.of}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Everything the decision about one resource's points rests on.

    `points` must be all of them: a decision from a partial listing may delete the last good one. `copies` are theirs,
    by slot key. `verified` are the slot keys proven fit, `policy_since` is when the policy last changed,
    `clock_seen_at` the latest time any decision was made at.
    """

    points: Sequence[Point]
    copies: Mapping[str, Sequence[Copy]]
    verified: frozenset[str]
    policy: Policy | None
    policy_since: datetime
    clock_seen_at: datetime
    deleted_today: int = 0


def decide(standing: Standing, now: datetime) -> tuple[Decision, ...]:
    """The fate of every completed point, newest first."""
    complete = sorted(
        (p for p in standing.points if p.status is Status.COMPLETED), key=lambda p: p.slot.at, reverse=True
    )
    usable = [point for point in complete if not point.is_held]
    wanted: Mapping[str, Place] = _wanted(usable, standing.policy) if standing.policy else {}
    against_expiring = _guards(complete, standing, now)
    against_archiving = _guards(complete, _without_lock(standing), now)
    decisions: list[Decision] = []
    for point in complete:
        place = wanted.get(point.slot.key)
        if place is None:
            keeps = _first_reason(against_expiring, point)
            fate, reason = (Fate.KEEP, keeps) if keeps else (Fate.EXPIRE, "no tier of its policy keeps it")
        elif archives := _why_archive(point, place, standing.policy, against_archiving, now):
            fate, reason = Fate.ARCHIVE, archives
        else:
            fate, reason = Fate.KEEP, str(place)
        decisions.append(Decision(point=point, fate=fate, reason=reason))
    return _a_few_a_day(decisions, len(complete), standing.deleted_today)


def _wanted(newest_first: Sequence[Point], policy: Policy) -> Mapping[str, Place]:
    """Which tier keeps a point, by slot key: the newest point of each of the last n buckets that have one.

    Buckets without points do not count, so that a stopped backup never ages its way to nothing.
    """
    tiers: tuple[tuple[str, int, Callable[[datetime], object]], ...] = (
        ("hourly", policy.keep.hourly, lambda at: (at.date(), at.hour)),
        ("daily", policy.keep.daily, lambda at: at.date()),
        ("weekly", policy.keep.weekly, lambda at: at.isocalendar()[:2]),
        ("monthly", policy.keep.monthly, lambda at: (at.year, at.month)),
        ("yearly", policy.keep.yearly, lambda at: at.year),
    )
    keeps: dict[str, Place] = {}
    for name, count, bucket_of in tiers:
        buckets: set[object] = set()
        for point in newest_first:
            bucket = bucket_of(point.slot.at)
            if bucket in buckets or len(buckets) == count:
                continue
            buckets.add(bucket)
            keeps.setdefault(point.slot.key, Place(tier=name, number=len(buckets), of=count))
    return keeps


def _why_archive(
    point: Point, place: Place, policy: Policy | None, guards: Iterable[Guard], now: datetime
) -> str | None:
    """Why the point goes into the archive; None when it stays at hand, or is there already."""
    after = policy.archive_after if policy else None
    if after is None or place.tier not in LONG_TERM or point.archived_at is not None or _age(point, now) < after:
        return None
    return None if _first_reason(guards, point) else f"{place}, and older than {after.days} days"


def _without_lock(standing: Standing) -> Standing:
    """The same without the policy's lock, which forbids deleting and nothing else."""
    return replace(standing, policy=replace(standing.policy, lock=None)) if standing.policy else standing


def _first_reason(guards: Iterable[Guard], point: Point) -> str | None:
    return next((why for guard in guards if (why := guard(point))), None)


def _age(point: Point, now: datetime) -> timedelta:
    """How old the content is: a point taken late for an old slot is as young as what it holds."""
    return now - max(point.slot.at, point.created_at or point.slot.at)


def _guards(newest_first: Sequence[Point], standing: Standing, now: datetime) -> tuple[Guard, ...]:
    usable = [p for p in newest_first if not p.is_held]
    verified = [p for p in usable if p.slot.key in standing.verified]
    newest_copied = _newest_with_copy(usable, standing.copies)
    lock = standing.policy.lock if standing.policy else None

    def policy_is_gone(_: Point) -> str | None:
        return None if standing.policy else "its policy does not exist any more; put it back or delete by hand"

    def clock_ran_backwards(_: Point) -> str | None:
        return "the clock is behind the last decision's" if now < standing.clock_seen_at else None

    def policy_changed_lately(_: Point) -> str | None:
        waits = standing.policy_since + WAIT_AFTER_CHANGE
        return f"the policy changed lately; nothing goes before {waits:%Y-%m-%d %H:%M} UTC" if now < waits else None

    def is_held(point: Point) -> str | None:
        return "it is held" if point.is_held else None

    def is_young(point: Point) -> str | None:
        return "it is younger than a day" if _age(point, now) < KEEP_WITHIN else None

    def is_last(point: Point) -> str | None:
        return "it is the newest usable point" if usable and point is usable[0] else None

    def is_last_verified(point: Point) -> str | None:
        return "it is the newest point proven to restore" if verified and point is verified[0] else None

    def is_locked(point: Point) -> str | None:
        has_locks = point.slot.resource.kind in (Kind.VOLUME, Kind.INSTANCE)
        if lock is None or point.completed_at is None or not has_locks:
            return None
        copied = (copy.completed_at for copy in standing.copies.get(point.slot.key, ()))
        until = max([point.completed_at, *filter(None, copied)]) + timedelta(days=lock.days)
        return f"it is locked until {until:%Y-%m-%d}" if now < until else None

    def owes_a_copy(point: Point) -> str | None:
        missing = sorted(set(point.copy_to) - _copied_to(point, standing.copies))
        return f"it is still owed a copy in {', '.join(missing)}" if missing else None

    def holds_newest_copy(point: Point) -> str | None:
        regions = sorted(region for region, newest in newest_copied.items() if newest is point)
        return f"it is the newest copy in {', '.join(regions)}; the next one builds on it" if regions else None

    return (
        policy_is_gone,
        clock_ran_backwards,
        policy_changed_lately,
        is_held,
        is_young,
        is_last,
        is_last_verified,
        is_locked,
        owes_a_copy,
        holds_newest_copy,
    )


def _copied_to(point: Point, copies: Mapping[str, Sequence[Copy]]) -> set[str]:
    whole = {part.snapshot_id for part in point.parts}
    done: dict[str, set[str]] = {}
    for copy in copies.get(point.slot.key, ()):
        if copy.status is Status.COMPLETED:
            done.setdefault(copy.region, set()).add(copy.source_snapshot_id)
    return {region for region, sources in done.items() if sources >= whole}


def _newest_with_copy(newest_first: Iterable[Point], copies: Mapping[str, Sequence[Copy]]) -> Mapping[str, Point]:
    newest: dict[str, Point] = {}
    for point in newest_first:
        for region in _copied_to(point, copies):
            newest.setdefault(region, point)
    return newest


def _a_few_a_day(decisions: Sequence[Decision], points: int, deleted_today: int) -> tuple[Decision, ...]:
    left = max(1, floor(points * SHARE_PER_DAY)) - deleted_today
    answer: list[Decision] = []
    for decision in reversed(decisions):  # oldest first: what goes today is what is least worth keeping
        if decision.fate is Fate.EXPIRE:
            if left <= 0:
                decision = Decision(
                    point=decision.point,
                    fate=Fate.KEEP,
                    reason="enough of this resource's points go today; it waits for tomorrow",
                )
            left -= 1
        answer.append(decision)
    return tuple(reversed(answer))
