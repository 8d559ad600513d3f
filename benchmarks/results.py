"""Runs benchmarks, keeps what they measured, and writes the tables that people read from what was kept.

python -m benchmarks.results [--write] [NAME ...]

With names, those benchmarks run now and what they print is kept in results/NAME.json, with the day and the machine.
Then the tables of README.md and of RESULTS.md are compared with what is kept; `--write` writes them anew. A test
compares them as well, so no README states a number that no benchmark measured.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
KEPT = Path(__file__).parent / "results"
BEGINS, ENDS = "<!-- measured: written by benchmarks/results.py -->", "<!-- measured: ends -->"
MOST_LINES = 8
"""Of a benchmark with more bars the README only says how many hold; RESULTS.md has all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one benchmark printed, and when."""

    name: str
    measured_on: str
    machine: str
    bars: Sequence[Mapping[str, Any]]

    @property
    def broken(self) -> Sequence[Mapping[str, Any]]:
        return [bar for bar in self.bars if not bar["holds"]]


def names() -> list[str]:
    """Every benchmark: a script beside this one that says what it measures when asked for help."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in ("__init__", "results"))


def run(name: str) -> None:
    """What the benchmark prints is kept, whether its bars hold or not.

    Errors: ValueError when it ended without having measured.
    """
    script = Path(__file__).with_name(f"{name}.py")
    done = subprocess.run(  # noqa: S603 - one of our own scripts
        [sys.executable, str(script), "--json"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    try:
        bars = json.loads(done.stdout)["bars"]
    except (json.JSONDecodeError, KeyError) as problem:
        raise ValueError(
            f"{script.name} ended with {done.returncode} and measured nothing; run it by itself"
        ) from problem
    kept = {
        "measured_on": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "bars": bars,
    }
    KEPT.mkdir(exist_ok=True)
    (KEPT / f"{name}.json").write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def kept() -> Iterator[Result]:
    """Every result that was kept, by name."""
    for path in sorted(KEPT.glob("*.json")):
        yield Result(name=path.stem, **json.loads(path.read_text(encoding="utf-8")))


def short(results: Iterable[Result]) -> str:
    """The README's table."""
    lines = ["| measured | value | bar | |", "|---|---|---|---|"]
    for result in results:
        if len(result.bars) <= MOST_LINES:
            lines += [_line(bar) for bar in result.bars]
            continue
        holding = len(result.bars) - len(result.broken)
        lines.append(f"| {result.name}: bars that hold | {holding} | {len(result.bars)} | {_said(not result.broken)} |")
        lines += [_line(bar) for bar in result.broken]
    return "\n".join(lines)


def long(results: Iterable[Result]) -> str:
    """Every number, by benchmark."""
    how = "how each is measured stands in [README.md](README.md)"
    parts = [f"# What was measured\n\nWritten by `python -m benchmarks.results`; {how}.\n"]
    for result in results:
        parts.append(f"## {result.name}\n\nMeasured on {result.measured_on}, {result.machine}.\n")
        parts.append("| measured | value | bar | |\n|---|---|---|---|\n" + "\n".join(map(_line, result.bars)) + "\n")
    return "\n".join(parts)


def with_table(readme: str, table: str) -> str:
    """The README with this table between its two marks.

    Errors: ValueError when the marks are not there.
    """
    before, begins, rest = readme.partition(BEGINS)
    _, ends, after = rest.partition(ENDS)
    if not begins or not ends:
        raise ValueError(f"README.md has no place for the table: {BEGINS} and {ENDS}")
    return f"{before}{BEGINS}\n{table}\n{ENDS}{after}"


def _line(bar: Mapping[str, Any]) -> str:
    name = str(bar["name"]).replace("|", "/")
    limit = "" if bar["bar"] is None else f"{bar['bar']:,g}"
    return f"| {name} | {bar['value']:,g} {bar['unit']} | {limit} | {_said(bar['holds']) if limit else 'told only'} |"


def _said(holds: bool) -> str:
    return "holds" if holds else "**missed**"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.results", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*names(), []], help=", ".join(names()))
    parser.add_argument("--write", action="store_true", help="write the tables, instead of comparing them")
    asked = parser.parse_args()
    for name in asked.names:
        sys.stderr.write(f"{name} ...\n")
        run(name)
    readme, page = ROOT / "README.md", KEPT.parent / "RESULTS.md"
    results = list(kept())
    wanted = {readme: with_table(readme.read_text(encoding="utf-8"), short(results)), page: long(results)}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale if asked.write else ():
        path.write_text(wanted[path], encoding="utf-8")
    if stale and not asked.write:
        sys.stderr.write(f"not as measured: {', '.join(path.name for path in stale)}; run it with --write\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
