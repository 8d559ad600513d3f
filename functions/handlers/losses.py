"""Points that somebody else deleted: people hear of them, with what the Recycle Bin still has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from functions.core.errors import HoldfastError
from functions.handlers.tools import Tools

MOST_TOLD = 50
"""Losses that one notice spells out; all of them are on the ledger."""

IN_BIN = "snap-"
"""How ids begin of what can be in a Recycle Bin: RDS has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A point, or a copy of one, of which AWS no longer has these snapshots."""

    what: str
    region: str
    snapshot_ids: tuple[str, ...]


def tell(losses: Sequence[Loss], tools: Tools) -> None:
    """People have heard of every loss, and how what can be brought back is brought back."""
    if not losses:
        return
    shown = losses[:MOST_TOLD]
    bins = {
        region: _bin(region, tools)
        for region in sorted({loss.region for loss in shown if any(map(_may_be_binned, loss.snapshot_ids))})
    }
    lines = [line for loss in shown for line in (f"- {loss.what}", *_ways_back(loss, bins))]
    if len(losses) > len(shown):
        lines.append(f"... and {len(losses) - len(shown)} more; they are GONE on the ledger.")
    lines.append(
        "\nCloudTrail says who deleted them. Lost copies are made again by themselves while their source is there. "
        "What is brought back is an ordinary snapshot again, with its tags, and can be restored as one."
    )
    tools.topic.notify(f"Recovery points were deleted by somebody else ({len(losses)})", "\n".join(lines))


def _bin(region: str, tools: Tools) -> Mapping[str, datetime | None] | str:
    """What the bin has, or why nobody knows."""
    try:
        return tools.recycle_bin(region).held()
    except HoldfastError as problem:
        return problem.what


def _ways_back(loss: Loss, bins: Mapping[str, Mapping[str, datetime | None] | str]) -> list[str]:
    lines: list[str] = []
    for id in filter(_may_be_binned, loss.snapshot_ids):
        held = bins[loss.region]
        if isinstance(held, str):
            lines.append(f"  {id}: the Recycle Bin of {loss.region} could not be asked: {held}")
        elif id not in held:
            lines.append(f"  {id}: it is in no Recycle Bin")
        else:
            until = held[id]
            last = f" until {until:%Y-%m-%d %H:%M} UTC" if until else ""
            command = f"aws --region {loss.region} ec2 restore-snapshot-from-recycle-bin --snapshot-id {id}"
            lines.append(f"  {id}: it can be brought back{last}: {command}")
    return lines


def _may_be_binned(id: str) -> bool:
    return id.startswith(IN_BIN)
