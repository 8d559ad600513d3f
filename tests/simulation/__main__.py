"""Runs histories and says which invariants they broke: one, many at random, or every one with few deviations."""

# ruff: noqa: T201
# It is a command, and prints.

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.simulation import campaign
from tests.simulation.campaign import ONE_RESOURCE, Part, Tally
from tests.simulation.choices import Deviation
from tests.simulation.exploring import shrunk
from tests.simulation.history import live, swarm
from tests.simulation.progress import lived
from tests.simulation.scenarios import SCENARIOS

LAST_LINES = 60
SHOWN = 5


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 when every invariant held in every history."""
    asked = _parser().parse_args(arguments)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ.setdefault(name, "simulated")
    is_one = asked.seed is not None and asked.histories is None and asked.exhaustive is None
    if asked.deviations is not None or is_one:
        return _one(asked)
    begun = time.monotonic()
    tally = lived(_parts(asked), kept=asked.resume, processes=asked.processes)
    if asked.every_call:
        campaign.complete(tally, processes=asked.processes)
    for one in tally.broken[:SHOWN]:
        print(one.shrunk(), file=sys.stderr)
    if asked.json:
        print(json.dumps(summary(tally, time.monotonic() - begun)))
    else:
        _say(tally, time.monotonic() - begun)
    if asked.calls:
        _say_calls(tally)
    return 1 if tally.broken or (asked.every_call and tally.unmet) else 0


def summary(tally: Tally, seconds: float) -> dict[str, Any]:
    """What was lived, for machines."""
    return {
        "histories": tally.histories,
        "by_scenario": dict(sorted(tally.lived.items())),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(tally.cpu_seconds, 1),
        "calls": tally.calls,
        "checks": tally.checks,
        "faults": dict(sorted(tally.by_fault.items())),
        "call_sites": len(tally.call_sites),
        "never_failed_so": [f"{site.replace('|', ' ')} {fault}" for site, fault in tally.unmet],
        "broken": [asdict(one) for one in tally.broken],
    }


def _parts(asked: argparse.Namespace) -> list[Part]:
    seed = asked.seed or 0
    if asked.exhaustive is None:
        return campaign.at_random(asked.histories or 300, seed=seed, scenario=asked.scenario or "")
    names = [asked.scenario] if asked.scenario else ONE_RESOURCE
    parts = [part for name in names for part in campaign.exhaustive(name, asked.exhaustive, seed=seed)]
    return parts[:: asked.one_in]


def _say(tally: Tally, seconds: float) -> None:
    print(
        f"{tally.histories:,} histories in {seconds:,.0f} s ({tally.histories / seconds:,.0f} a second, "
        f"{tally.histories / tally.cpu_seconds:,.0f} a second of one core): {tally.calls:,} calls, "
        f"{sum(tally.met.values()):,} faults, {tally.checks:,} checks of invariants, "
        f"{len(tally.broken):,} histories broke one"
    )
    print("  histories: " + _counted(tally.lived))
    print("  faults: " + _counted(tally.by_fault))
    never = f"{len(tally.unmet)} of their ways to fail not met" if tally.unmet else "each failed in every way it can"
    print(f"  call sites: {len(tally.call_sites)}, {never}")
    for invariant, number in sorted(Counter(one.invariant for one in tally.broken).items()):
        print(f"  invariant {invariant}: {number:,} histories")


def _counted(numbers: Counter[str]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in sorted(numbers.items()))


def _say_calls(tally: Tally) -> None:
    ways = campaign.AT_EVERY_CALL
    print(f"{'call site':58}" + "".join(f"{way:>14}" for way in ways))
    for site, numbers in tally.call_sites.items():
        told: Iterable[str] = (f"{numbers[way]:,}" if way in numbers else "-" for way in ways)
        print(f"{site.replace('|', ' '):58}" + "".join(f"{one:>14}" for one in told))


def _one(asked: argparse.Namespace) -> int:
    scenario, seed = SCENARIOS[asked.scenario or "fleet"], asked.seed or 0
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--scenario", choices=list(SCENARIOS), help="one scenario; otherwise all of them in turn")
    parser.add_argument("--seed", type=int, help="the seed of one history, or of the first of many")
    parser.add_argument("--deviations", help="replay exactly these, as site:fault,site:fault")
    parser.add_argument("--trace", action="store_true", help="print the whole trace of one history")
    parser.add_argument("--histories", type=int, help="so many histories at random")
    parser.add_argument("--exhaustive", type=int, metavar="K", help="every history with up to K deviations")
    parser.add_argument("--one-in", type=int, default=1, metavar="N", help="of an exhaustive run, one part in N")
    parser.add_argument("--every-call", action="store_true", help="go on until every call has failed in every way")
    parser.add_argument("--calls", action="store_true", help="print how often each call failed in each way")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="keep finished parts in FILE and skip those there")
    parser.add_argument("--processes", type=int, default=0, help="how many at a time, otherwise one for each core")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
