"""Runs histories and says which invariants they broke: one, many at random, or every one with few deviations."""

# ruff: noqa: T201
# It is a command, and prints.

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator

from tests.simulation.choices import Deviation
from tests.simulation.exploring import distinct, explore, shrunk
from tests.simulation.history import History, live, swarm
from tests.simulation.scenarios import SCENARIOS

LAST_LINES = 60
SHOWN = 5


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 when every invariant held in every history."""
    asked = _parser().parse_args(arguments)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ.setdefault(name, "simulated")
    names = [asked.scenario] if asked.scenario else list(SCENARIOS)
    if asked.deviations is not None or (
        asked.seed is not None and asked.histories is None and asked.exhaustive is None
    ):
        return _one(asked, names[0] if asked.scenario else "fleet")
    begun = time.monotonic()
    done, broken = 0, []
    calls: Counter[str] = Counter()
    for history in _histories(asked, names):
        done += 1
        calls["calls"] += history.calls
        calls["faults"] += len(history.deviations)
        calls["checks"] += history.checks
        if history.invariant is not None:
            broken.append(history)
            if len(broken) <= SHOWN:
                print(shrunk(SCENARIOS[history.scenario], history), flush=True)
    seconds = time.monotonic() - begun
    print(
        f"{done:,} histories in {seconds:,.0f} s ({done / seconds:,.1f} a second): {calls['calls']:,} calls, "
        f"{calls['faults']:,} faults, {calls['checks']:,} checks of invariants, {len(broken):,} histories broke one"
    )
    for invariant, number in sorted(Counter(history.invariant or 0 for history in broken).items()):
        print(f"  invariant {invariant}: {number:,} histories")
    return 1 if broken else 0


def _one(asked: argparse.Namespace, name: str) -> int:
    scenario, seed = SCENARIOS[name], asked.seed or 0
    if asked.deviations is None:
        history = swarm(scenario, seed, keeps_trace=True)
        if history.invariant is not None:
            history = shrunk(scenario, history)
    else:
        plan = [Deviation.parse(one) for one in asked.deviations.split(",") if one]
        history = live(scenario, seed, planned=plan, keeps_trace=True)
    print("".join(history.lines if asked.trace else history.lines[-LAST_LINES:]), end="")
    print(history)
    print(f"trace {history.trace_hash}")
    return 0 if history.invariant is None else 1


def _histories(asked: argparse.Namespace, names: list[str]) -> Iterator[History]:
    if asked.exhaustive is not None:
        for name in names:
            yield from explore(SCENARIOS[name], most=asked.exhaustive, seed=asked.seed or 0, chosen=distinct)
        return
    first = asked.seed or 0
    turns = itertools.cycle(names)
    for seed in range(first, first + (asked.histories or 300)):
        yield swarm(SCENARIOS[next(turns)], seed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--scenario", choices=list(SCENARIOS), help="one scenario; otherwise all of them in turn")
    parser.add_argument("--seed", type=int, help="the seed of one history, or of the first of many")
    parser.add_argument("--deviations", help="replay exactly these, as site:fault,site:fault")
    parser.add_argument("--histories", type=int, help="so many histories at random")
    parser.add_argument("--exhaustive", type=int, metavar="K", help="every history with up to K deviations")
    parser.add_argument("--trace", action="store_true", help="print the whole trace of one history")
    return parser


if __name__ == "__main__":
    sys.exit(main())
