"""How many rows the tables of a restored database hold, against what earlier rehearsals counted.

A backup that restores but is empty, or lost half of a table, answers every question about its form. Only what it held
before tells. Growth is never held against it, and a table that is emptied and filled again is allowed to be.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from functions.core.evidence import Assertion

MOST_TABLES = 200
"""So many tables of one restored server are counted or estimated."""

MOST_EARLIER = 5
"""So many earlier counts are worth carrying into a rehearsal: they ride in the workflow's state, which AWS bounds."""

EARLIER_FOR_A_BAND = 3
"""With fewer earlier counts nobody knows what is usual for a table."""

SCALED = 1.4826
"""What makes a median absolute deviation comparable to a standard deviation."""

DEVIATIONS = 4.0
SMALLEST_SHARE = 0.2
FEWEST_ROWS = 1_000
"""A band is as wide as the widest of these: the usual deviation, a share of the table, and so many rows."""

BROKEN_BELOW_SHARE = 0.5
"""A table outside of its band is broken only when less than this share of what is usual is left: archiving and
clearing up make tables shrink too, but seldom by more than half between two rehearsals."""

MOST_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The rows of one restored server, by table. `at` is the instant its content stands for.

    `estimated` names the tables whose rows are the engine's own statistics: too large to be counted in time.
    """

    rows: Mapping[str, int]
    at: datetime
    estimated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Finding:
    is_broken: bool
    says: str


def judge(
    now: Mapping[str, int],
    history: Sequence[Counted],
    *,
    estimated: Collection[str] = (),
    not_counted: Collection[str] = (),
    not_looked_for: Collection[str] = (),
) -> tuple[Assertion, ...]:
    """Whether the tables of earlier rehearsals are still there, and whether they hold what is usual for them.

    `not_counted` are tables that exist and that nobody came to count, `not_looked_for` those of databases that could
    not be listed: about both nothing is said but that. An estimate never breaks anything, because engines are wrong
    about them by half and more. Nothing is judged without a history.
    """
    if not history:
        return ()
    earlier = sorted(history, key=lambda counted: counted.at)
    gone = sorted(set(earlier[-1].rows).difference(now, not_counted, not_looked_for))
    unknown = set(earlier[-1].rows).difference(now, not_counted).intersection(not_looked_for)
    findings = {
        table: finding
        for table in sorted(now)
        if table not in estimated and (finding := _finding(now[table], _known(table, earlier)))
    }
    return (_still_there(gone, len(unknown), len(earlier[-1].rows)), _usual(now, findings, len(earlier), not_counted))


def _known(table: str, earlier: Iterable[Counted]) -> list[int]:
    """What earlier rehearsals counted of the table, oldest first; estimates are no counts."""
    return [one.rows[table] for one in earlier if table in one.rows and table not in one.estimated]


def _finding(rows: int, known: Sequence[int]) -> _Finding | None:
    """What is unusual about the number, or None."""
    if not known:
        return None
    if rows == 0 and known[-1] > 0:
        if 0 in known:
            return _Finding(False, f"is empty, as it was before; it had {known[-1]:,}")
        return _Finding(True, f"is empty; it had {known[-1]:,}")
    if len(known) < EARLIER_FOR_A_BAND:
        return None
    usual, width = _band(known)
    if rows > usual + width:
        return _Finding(False, f"grew to {rows:,} from {usual:,.0f}")
    if rows >= usual - width:
        return None
    return _Finding(rows < usual * BROKEN_BELOW_SHARE, f"shrank to {rows:,} from {usual:,.0f}")


def _band(known: Sequence[int]) -> tuple[float, float]:
    """What is usual for the table, and how far from it is still usual.

    A table that has only ever grown is measured by its newest count: half of its median would be most of its history,
    and the steps of its growth are no deviation.
    """
    if _only_grew(known):
        usual, deviation = float(known[-1]), 0.0
    else:
        usual = statistics.median(known)
        deviation = SCALED * statistics.median(abs(count - usual) for count in known)
    return usual, max(DEVIATIONS * deviation, SMALLEST_SHARE * usual, float(FEWEST_ROWS))


def _only_grew(known: Sequence[int]) -> bool:
    return all(before <= after for before, after in itertools.pairwise(known))


def _still_there(gone: Sequence[str], unknown: int, before: int) -> Assertion:
    what = "the tables of the last rehearsal are still there"
    more = f"; {unknown} could not be looked for" if unknown else ""
    if gone:
        return Assertion(what=what, held=False, detail=f"{len(gone)} of {before} are gone: {_named(gone)}{more}")
    return Assertion(what=what, held=None if unknown else True, detail=f"{before - unknown} of {before}{more}")


def _usual(
    now: Mapping[str, int], findings: Mapping[str, _Finding], earlier: int, not_counted: Collection[str]
) -> Assertion:
    what = "the tables hold as many rows as is usual"
    uncounted = f"; {len(not_counted)} tables were not counted" if not_counted else ""
    if not now:
        return Assertion(what=what, held=None, detail=f"no table was counted{uncounted}")
    broken = [f"{table} {found.says}" for table, found in findings.items() if found.is_broken]
    mentioned = [f"{table} {found.says}" for table, found in findings.items() if not found.is_broken]
    compared = f"{len(now)} tables against {earlier} earlier rehearsals{uncounted}"
    said = [compared, *([f"broken: {_named(broken)}"] if broken else [])]
    said += [f"unusual, and no proof of damage: {_named(mentioned)}"] if mentioned else []
    return Assertion(what=what, held=not broken, detail="; ".join(said))


def _named(all_of_them: Sequence[str]) -> str:
    more = len(all_of_them) - MOST_NAMED
    return ", ".join(all_of_them[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
