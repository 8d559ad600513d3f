"""The promise for a resource: how old its newest point may be, what is kept, where copies go, when not to work."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from functions.core import instants
from functions.core.deep_checks import DeepCheckRule
from functions.core.expected_files import Expected

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiers:
    """How many points each tier keeps: the newest point of each of the last n hours, days, ISO weeks, months, years."""

    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0

    def __post_init__(self) -> None:
        counts = (self.hourly, self.daily, self.weekly, self.monthly, self.yearly)
        if any(count < 0 for count in counts):
            raise ValueError("keep: a tier cannot keep fewer than 0 points")
        if not any(counts):
            raise ValueError("keep: at least one tier must keep at least 1 point")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A daily stretch of UTC time in which no backup is to start; it may run over midnight."""

    starts: timedelta
    ends: timedelta

    def __post_init__(self) -> None:
        if not (timedelta(0) <= self.starts < DAY and timedelta(0) <= self.ends < DAY):
            raise ValueError("avoid: times are between 00:00 and 23:59")
        if self.starts == self.ends:
            raise ValueError("avoid: a window starts and ends at different times")

    @property
    def length(self) -> timedelta:
        """How long the window is; never zero, always under a day."""
        return (self.ends - self.starts) % DAY

    def start_around(self, at: datetime) -> datetime | None:
        """When the window that contains `at` began, or None when `at` is outside of it."""
        midnight = instants.aware(at).replace(hour=0, minute=0, second=0, microsecond=0)
        for day in (midnight, midnight - DAY):
            began = day + self.starts
            if began <= at < began + self.length:
                return began
        return None


class LockMode(StrEnum):
    """EBS snapshot lock. Governance can be lifted by a person with the right to; compliance by nobody."""

    GOVERNANCE = "governance"
    COMPLIANCE = "compliance"


class LockOn(StrEnum):
    """Which of a point's snapshots are locked."""

    BOTH = "both"
    SOURCE = "source"
    COPIES = "copies"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """For how long completed EBS points of the policy cannot be deleted by anybody. RDS has no locks.

    A compliance lock can be taken back for `cool_off_hours`, long enough for a person to notice a wrong policy; with 0
    it holds at once. With `beyond_retention` it may keep points, and their cost, longer than the tiers do.
    """

    mode: LockMode
    days: int
    cool_off_hours: int = 24
    on: LockOn = LockOn.BOTH
    beyond_retention: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.days <= 36500:
            raise ValueError("lock: for must be whole days, between 1d and 36500d")
        if not 0 <= self.cool_off_hours <= 72:
            raise ValueError("lock: cool_off must be whole hours, between 0h and 72h")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraPoints:
    """When an alarm may buy an extra point: so much written since the last one, so many a day at most."""

    written_gib: float
    per_day: int

    def __post_init__(self) -> None:
        if not 0 < self.written_gib < 2**20:
            raise ValueError("extra: written_gib must be above 0 and under 1048576")
        if not 1 <= self.per_day <= 24:
            raise ValueError("extra: per_day must be between 1 and 24")


LONGEST_STATEMENT = 2_000
LONGEST_DATABASE_NAME = 64
LONGEST_FRESHNESS_MINUTES = 10 * 366 * 24 * 60

_WRITES = re.compile(
    r"\b(into|load_file|lo_import|lo_export|pg_read\w*|pg_ls\w*|pg_stat_file|dblink\w*"
    r"|for\s+(no\s+key\s+)?update|for\s+(key\s+)?share|lock\s+in\s+share)\b",
    re.IGNORECASE,
)
"""Words with which a SELECT writes, locks, or leaves the database. The engines stop most of it themselves: the
transaction is read-only and the master user of RDS has no right to files. MySQL writes files even in a read-only
transaction, so it is refused where it is written down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseCheck:
    """One statement a rehearsal runs on the restored database, and what its single number or time must be.

    `at_least` bounds a number from below; `newest_within_minutes` says how much older than the snapshot's own
    database time the returned timestamp may be.
    """

    database: str
    statement: str
    at_least: int | None = None
    newest_within_minutes: int | None = None

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.newest_within_minutes is None):
            raise ValueError("checks: give exactly one of at_least and newest_within_minutes")
        if not 0 <= (self.newest_within_minutes or 0) <= LONGEST_FRESHNESS_MINUTES:
            raise ValueError(f"checks: newest_within_minutes is between 0 and {LONGEST_FRESHNESS_MINUTES}")
        if not 1 <= len(self.database) <= LONGEST_DATABASE_NAME or not self.database.isprintable():
            raise ValueError(f"checks: a database has a name of 1 to {LONGEST_DATABASE_NAME} printable characters")
        self._refuse_what_is_not_one_select()

    def _refuse_what_is_not_one_select(self) -> None:
        if len(self.statement) > LONGEST_STATEMENT or "\0" in self.statement:
            raise ValueError(f"checks: the statement has at most {LONGEST_STATEMENT} characters, and no zero byte")
        if not re.match(r"\s*(select|with)\s", self.statement, re.IGNORECASE | re.ASCII):
            raise ValueError("checks: the statement must be one SELECT")
        if ";" in self.statement:
            raise ValueError("checks: one statement, without a semicolon")
        if "--" in self.statement or "/*" in self.statement:
            raise ValueError("checks: no comments; MySQL runs what stands in some of them")
        if found := _WRITES.search(self.statement):
            raise ValueError(
                f"checks: {found[0]!r} writes, locks or leaves the database, and a check only reads; "
                "a word that only stands in a text is refused too, so compare it in another way"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A named promise. `version` changes whenever the promise does, and travels on every point taken under it."""

    name: str
    version: str
    rpo: timedelta
    keep: Tiers
    copy_to: tuple[str, ...] = ()
    starts: timedelta | None = None
    avoid: tuple[Window, ...] = ()
    rehearse_every: timedelta = timedelta(days=7)
    release_after: timedelta | None = None
    lock: Lock | None = None
    archive_after: timedelta | None = None
    extra: ExtraPoints | None = None
    checks: tuple[DatabaseCheck, ...] = ()
    files: tuple[Expected, ...] = ()
    deep_check: DeepCheckRule | None = None

    def __post_init__(self) -> None:
        if not timedelta(minutes=15) <= self.rpo <= timedelta(days=31):
            raise ValueError("rpo: must be between 15 minutes and 31 days")
        if self.starts is not None and not timedelta(0) <= self.starts < DAY:
            raise ValueError("starts: must be between 00:00 and 23:59")
        for window in self.avoided:
            if window.length + AHEAD_OF_WINDOW > self.rpo:
                raise ValueError(
                    f"avoid: {window.length} without a backup cannot be kept with an RPO of {self.rpo}; "
                    "shorten the windows or lengthen the RPO"
                )
        if (
            self.lock is not None
            and not self.lock.beyond_retention
            and timedelta(days=self.lock.days) > self.surely_kept
        ):
            raise ValueError(
                f"lock: {self.lock.days} days are longer than every point is kept, which is "
                f"{self.surely_kept / timedelta(hours=1):g} hours; "
                "lock shorter, keep more, or say beyond_retention: true and pay for the difference"
            )
        if self.archive_after is not None and self.archive_after < timedelta(days=28):
            raise ValueError("archive_after: AWS bills an archived snapshot for 90 days; give at least 28 days")
        if self.archive_after is not None and not (self.keep.monthly or self.keep.yearly):
            raise ValueError("archive_after: only monthly and yearly points are archived, and none are kept")

    @property
    def surely_kept(self) -> timedelta:
        """How long every scheduled point stays, also one that is the newest of no longer stretch than its own.

        A tier keeps them all when its stretch is no longer than the RPO; without such a tier most go after a day.
        """
        tiers = (
            (timedelta(hours=1), self.keep.hourly),
            (DAY, self.keep.daily),
            (7 * DAY, self.keep.weekly),
            (31 * DAY, self.keep.monthly),
            (366 * DAY, self.keep.yearly),
        )
        return max([DAY, *(count * self.rpo for stretch, count in tiers if stretch <= self.rpo)])

    @property
    def avoided(self) -> tuple[Window, ...]:
        """The avoided windows with those joined that touch, overlap, or leave less than a tick between them.

        Errors: ValueError when no time of day is left.
        """
        return _joined(self.avoid)


AHEAD_OF_WINDOW = timedelta(minutes=5)
"""How long before an avoided window a slot inside it is taken: one tick of the planner."""


def _joined(windows: Iterable[Window]) -> tuple[Window, ...]:
    joined: list[tuple[timedelta, timedelta]] = []
    spans = sorted((window.starts, window.starts + window.length) for window in windows)
    for starts, ends in [*spans, *((starts + DAY, ends + DAY) for starts, ends in spans)]:
        if joined and starts - joined[-1][1] <= AHEAD_OF_WINDOW:
            joined[-1] = (joined[-1][0], max(joined[-1][1], ends))
        else:
            joined.append((starts, ends))
    if any(ends - starts >= DAY for starts, ends in joined):
        raise ValueError("avoid: the windows leave no time of day for a backup")
    # Of each window the second day's picture is whole: on the first, one that began the evening before may be missing.
    return tuple(Window(starts=starts % DAY, ends=ends % DAY) for starts, ends in joined if starts >= DAY or ends > DAY)


@dataclass(frozen=True, slots=True, kw_only=True)
class AutomaticRecovery:
    """An alarm of the account that starts a recovery of a resource beside the original, by its name.

    With `approval_within` a person must agree first, within that time.
    """

    alarm: str
    resource: str
    region: str
    approval_within: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Who may use our snapshots, and under which keys they may lie: whatever else is found is told.

    With `enforce`, shares with accounts that are not in `shared_with` are taken back. `keys` are ARNs of keys that
    copies may be under beside our own.
    """

    shared_with: frozenset[str] = frozenset()
    enforce: bool = False
    keys: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `cdk.json` says, checked: the Regions, the policies, and which policy covers what carries no tag.

    `recover_into` says by Region and kind how restored things are set up there; `automatic` which alarms start a
    recovery by themselves, at most `automatic_per_day` in all.
    """

    home_region: str
    copy_regions: tuple[str, ...]
    policies: Mapping[str, Policy]
    default_policy: str | None = None
    recover_into: Mapping[str, Mapping[str, Mapping[str, object]]] = field(
        default_factory=dict[str, Mapping[str, Mapping[str, object]]]
    )
    automatic: tuple[AutomaticRecovery, ...] = ()
    automatic_per_day: int = 1
    guard: Guard = Guard()

    def __post_init__(self) -> None:
        problems: list[str] = []
        if self.home_region in self.copy_regions:
            problems.append(f"copies: {self.home_region} is the home Region; a copy there protects from nothing")
        if self.default_policy is not None and self.default_policy not in self.policies:
            problems.append(f"default_policy: there is no policy named {self.default_policy!r}")
        for policy in self.policies.values():
            for region in policy.copy_to:
                if region not in self.copy_regions:
                    known = ", ".join(self.copy_regions) or "none"
                    problems.append(
                        f"policies.{policy.name}.copy_to: {region} is not among the copy Regions ({known}); "
                        "add it to copies: recovery is deployed there too"
                    )
        wanted = (*self.recover_into, *(rule.region for rule in self.automatic))
        problems += [
            f"recover: {region} is neither the home Region nor a copy Region"
            for region in wanted
            if region not in self.regions
        ]
        if problems:
            raise ValueError("\n".join(problems))

    @property
    def checks_deeply(self) -> bool:
        """Whether a policy asks for deep checks, which need a network and machines."""
        return any(policy.deep_check is not None for policy in self.policies.values())

    @property
    def regions(self) -> tuple[str, ...]:
        """Home first, then every Region with copies."""
        return (self.home_region, *self.copy_regions)
