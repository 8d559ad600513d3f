"""What a person sees during the night and after it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
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
            _shown(f"{one.thing.kind} {one.thing.id}"),
            _shown(one.thing.what),
            _styled(one.resource.get("standing", "")),
            _styled(one.point.get("status", "")),
            _styled(_copy_status(one)),
            _styled(one.verdict.get("word", "")),
            _styled(one.fitness or ""),
        )
    return Group(table, Spinner("dots", Text(f" {doing}")))


def morning(console: Console, told: Iterable[Told], kept: Kept) -> None:
    """The table at the end: a line for each resource, then what was promised and whether it was kept."""
    table = Table(
        title="The night, resource by resource", title_justify="left", box=box.SIMPLE_HEAD, leading=1, pad_edge=False
    )
    for column, width in (("resource", 28), ("recovery point", 22), ("copy", 22)):
        table.add_column(column, width=width, overflow="fold")
    for column in ("verdict", "rehearsal"):
        table.add_column(column, overflow="fold")
    for one in told:
        table.add_row(_thing(one), _point(one), _copies(one), _verdict(one), _rehearsal(one))
    console.print(table)
    promises = Table(title="What was promised", title_justify="left", box=box.SIMPLE_HEAD)
    promises.add_column("promise", overflow="fold", ratio=2)
    promises.add_column("kept", no_wrap=True)
    promises.add_column("seen", overflow="fold", ratio=3)
    for promise in kept.promises:
        kept_or_not = Text("yes", style="green") if promise.is_kept else Text("NO", style="bold red")
        promises.add_row(_shown(promise.what), kept_or_not, _shown(promise.seen))
    console.print(promises)


def _thing(one: Told) -> Text:
    return _shown(one.thing.what, style="bold").append(_shown(f"\n{one.thing.kind} {one.thing.id}", style="not bold"))


def _point(one: Told) -> Text:
    if not one.point:
        standing = one.resource.get("standing", "not seen")
        return _styled(standing).append(_shown(f"\n{one.resource.get('reason', '')}"))
    lines = [part["snapshot_id"] for part in one.parts]
    if one.full_size_bytes:
        lines.append(f"{one.full_size_bytes / 2**20:.1f} MiB")
    return _lines(one.point["status"], one.snapshot_seconds, lines)


def _copies(one: Told) -> Text:
    if not one.copies:
        return Text("")
    return _lines(_copy_status(one), one.copy_seconds, [copy.get("snapshot_id") or "-" for copy in one.copies])


def _lines(status: str, seconds: float | None, lines: Sequence[str]) -> Text:
    took = "" if seconds is None else f" in {seconds:.0f} s"
    return _styled(status).append(_shown("\n".join([took, *lines])))


def _copy_status(one: Told) -> str:
    if not one.copies:
        return ""
    return next((copy["status"] for copy in one.copies if copy["status"] != "COMPLETED"), "COMPLETED")


def _verdict(one: Told) -> Text:
    """The word, and for an unusual run why; the reasons of the others are in the report."""
    text = _styled(one.verdict.get("word", ""))
    if one.verdict.get("word") == "unusual":
        text.append(_shown("\n" + "\n".join(reason["text"] for reason in one.verdict["reasons"])))
    return text


def _rehearsal(one: Told) -> Text:
    if one.fitness is None:
        return Text("")
    took = f" in {one.recovery_seconds:.0f} s" if one.recovery_seconds is not None else ""
    return _styled(one.fitness).append(_shown(f"{took}\n{one.rehearsal['evidence']['reason']}"))


def _styled(word: str) -> Text:
    return _shown(word, style=STYLES.get(word, "default"))


def _shown(text: str, style: str = "default") -> Text:
    """The text as it is: no markup of rich's in it is obeyed, and no control character reaches the terminal."""
    return Text("".join(c if c == "\n" or c.isprintable() else ascii(c)[1:-1] for c in text), style=style)
