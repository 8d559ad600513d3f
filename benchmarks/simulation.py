"""Measures how much of what can go wrong the simulation lives through, and how fast.

python benchmarks/simulation.py [--json] [--histories N] [--one-in N]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

if not __package__:  # run as a file: then Python looks beside the file, and not where the rooms are
    sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.simulation import campaign
from tests.simulation.campaign import Tally
from tests.simulation.progress import lived

MOST: Mapping[str, int] = {"backup-volume": 2, "expiry": 3, "rehearsal": 3}
"""Up to how many faults a history has that is one of all. Three in a backup are a million more: `make simulate`."""

AT_RANDOM, EXHAUSTIVE = 5_000, 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What was measured, and what it must reach, or must not; None where it is only told."""

    name: str
    value: float
    bar: float | None
    holds: bool
    unit: str


def bars(at_random: Tally, exhaustive: Tally, *, a_second: float) -> Iterator[Bar]:
    """What both runs showed; `a_second` is how many random histories were lived in a second of the clock."""
    number, faults = at_random.histories, sum(at_random.met.values())
    yield Bar(name="histories at random", value=number, bar=AT_RANDOM, holds=number >= AT_RANDOM, unit="histories")
    for name, tally in (("at random", at_random), ("exhaustively", exhaustive)):
        broken = len(tally.broken)
        yield Bar(name=f"invariants broken {name}", value=broken, bar=0, holds=not broken, unit="histories")
    yield _told("faults injected at random", faults, "faults")
    yield _told("sorts of faults injected", len(at_random.by_fault), "sorts")
    yield _told("call sites that failed", len(at_random.call_sites), "call sites")
    unmet = len(at_random.unmet)
    yield Bar(name="ways in which a call site never failed", value=unmet, bar=0, holds=not unmet, unit="ways")
    number = exhaustive.histories
    yield Bar(
        name="histories of all with few faults",
        value=number,
        bar=EXHAUSTIVE,
        holds=number >= EXHAUSTIVE,
        unit="histories",
    )
    yield _told("random histories a second", round(a_second, 1), "a second")
    yield _told("random histories a second of one core", round(number_a_second(at_random), 1), "a second")
    yield _told("exhaustive histories a second of one core", round(number_a_second(exhaustive), 1), "a second")


def number_a_second(tally: Tally) -> float:
    """Histories in a second of processor time."""
    return tally.histories / tally.cpu_seconds if tally.cpu_seconds else 0.0


def _told(name: str, value: float, unit: str) -> Bar:
    return Bar(name=name, value=value, bar=None, holds=True, unit=unit)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--histories", type=int, default=AT_RANDOM, help="how many at random")
    parser.add_argument("--one-in", type=int, default=1, metavar="N", help="of the exhaustive ones, one part in N")
    asked = parser.parse_args()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ.setdefault(name, "simulated")
    begun = time.monotonic()
    at_random = lived(campaign.at_random(asked.histories))
    a_second = at_random.histories / (time.monotonic() - begun)
    campaign.complete(at_random)
    parts = [part for name, most in MOST.items() for part in campaign.exhaustive(name, most)]
    measured = list(bars(at_random, lived(parts[:: asked.one_in]), a_second=a_second))
    if asked.json:
        sys.stdout.write(json.dumps({"bars": [asdict(bar) for bar in measured]}) + "\n")
    else:
        for bar in measured:
            limit = "" if bar.bar is None else f"  ({'holds' if bar.holds else 'MISSED'}: {bar.bar:,g})"
            sys.stdout.write(f"{bar.name:45} {bar.value:12,g} {bar.unit}{limit}\n")
    return 0 if all(bar.holds for bar in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
