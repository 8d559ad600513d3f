"""A campaign, with its progress on stderr: a bar, or a line now and then where that is no terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.simulation.campaign import Part, Tally, run

LINE_EVERY_SECONDS = 30.0


def lived(parts: Sequence[Part], *, kept: Path | None = None, processes: int = 0) -> Tally:
    """All of them together, as `run` lives them."""
    tally, console = Tally(), Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("parts, {task.fields[histories]:,} histories, {task.fields[broken]} broken"),
        TimeRemainingColumn(),
    )
    told_at = time.monotonic()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("simulating", total=len(parts), histories=0, broken=0)
        for number, part in enumerate(run(parts, kept=kept, processes=processes), 1):
            tally.join(part)
            progress.update(bar, advance=1, histories=tally.histories, broken=len(tally.broken))
            if not console.is_terminal and time.monotonic() - told_at > LINE_EVERY_SECONDS:
                told_at = time.monotonic()
                done = f"{number:,} of {len(parts):,} parts, {tally.histories:,} histories, {len(tally.broken)} broken"
                console.print(done, highlight=False, soft_wrap=True)
    return tally
