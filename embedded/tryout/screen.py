"""What a person sees during the night and after it."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, Group
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from embedded.tryout.ledger import Told
from embedded.tryout.promise import Kept

STYLES = {
    "COMPLETED": "green",
    "fit": "bold green",
    "usual": "green",
    "FAILED": "bold red",
    "GONE": "bold red",
    "MISSED": "bold red",
    "unfit": "bold red",
    "unusual": "bold red",
    "undecided": "yellow",
    "GAP": "yellow",
}


def night(told: Iterable[Told], doing: str, clock: str) -> Group:
    """The live picture: one line for each resource, and what is going on."""
    table = Table(title=f"Holdfast, {clock} UTC on the embedded clock", expand=True, title_justify="left")
    for column in ("resource", "what", "standing", "recovery point", "copy", "verdict", "rehearsal"):
        table.add_column(column, overflow="fold")
    for one in told:
        table.add_row(
            f"{one.thing.kind} {one.thing.id}",
            one.thing.what,
            _styled(one.resource.get("standing", "")),
            _styled(one.point.get("status", "")),
            _styled(_copy_status(one)),
            _styled(one.verdict.get("word", "")),
            _styled(one.fitness or ""),
        )
    return Group(table, Spinner("dots", Text(f" {doing}")))


def morning(console: Console, told: Iterable[Told], kept: Kept) -> None:
    """The table at the end: a line for each resource, then what was promised and whether it was kept."""
    table = Table(title="The night, resource by resource", title_justify="left", show_lines=True, expand=True)
    for column in ("resource", "recovery point at home", "copy", "bytes", "verdict", "rehearsal"):
        table.add_column(column, overflow="fold")
    for one in told:
        table.add_row(
            f"[bold]{one.thing.kind}[/] {one.thing.id}\n{one.thing.what}",
            _point(one),
            _copies(one),
            _bytes(one.full_size_bytes),
            _verdict(one),
            _rehearsal(one),
        )
    console.print(table)
    promises = Table(title="What was promised", title_justify="left", expand=True)
    promises.add_column("promise", overflow="fold", ratio=2)
    promises.add_column("kept", no_wrap=True)
    promises.add_column("seen", overflow="fold", ratio=3)
    for promise in kept.promises:
        promises.add_row(promise.what, "[green]yes[/]" if promise.is_kept else "[bold red]NO[/]", promise.seen)
    console.print(promises)


def _point(one: Told) -> Text:
    if not one.point:
        standing = one.resource.get("standing", "not seen")
        return Text(f"{standing}: {one.resource.get('reason', '')}", style=STYLES.get(standing, ""))
    ids = ", ".join(part["snapshot_id"] for part in one.parts)
    text = _styled(one.point["status"])
    return text.append(f"\n{ids}\n{one.point['slot_at']}{_took(one.snapshot_seconds)}", style="default")


def _copies(one: Told) -> Text:
    if not one.copies:
        return Text("")
    where = ", ".join(sorted({copy["region"] for copy in one.copies}))
    ids = ", ".join(copy.get("snapshot_id") or "-" for copy in one.copies)
    return _styled(_copy_status(one)).append(f"\n{ids}\n{where}{_took(one.copy_seconds)}", style="default")


def _copy_status(one: Told) -> str:
    if not one.copies:
        return ""
    return next((copy["status"] for copy in one.copies if copy["status"] != "COMPLETED"), "COMPLETED")


def _verdict(one: Told) -> Text:
    if not one.verdict:
        return Text("")
    reasons = "; ".join(reason["text"] for reason in one.verdict["reasons"])
    return _styled(one.verdict["word"]).append(f"\n{reasons}", style="default")


def _rehearsal(one: Told) -> Text:
    if one.fitness is None:
        return Text("")
    took = f"\nrecovered in {one.recovery_seconds:.0f} s" if one.recovery_seconds is not None else ""
    return _styled(one.fitness).append(f"{took}\n{one.rehearsal['evidence']['reason']}", style="default")


def _styled(word: str) -> Text:
    return Text(word, style=STYLES.get(word, "default"))


def _took(seconds: float | None) -> str:
    return "" if seconds is None else f"\nin {seconds:.0f} s"


def _bytes(count: int | None) -> str:
    return "" if count is None else f"{count / 2**20:.1f} MiB"
