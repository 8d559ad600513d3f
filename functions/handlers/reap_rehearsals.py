"""Reap rehearsals: what a rehearsal left behind is removed, whatever became of its workflow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from functions.core.errors import HoldfastError
from functions.core.resources import Kind
from functions.core.restores import Leftover, Restored, RestoreState, why_over
from functions.handlers import frame
from functions.handlers.tools import Tools

VOLUMES = Kind.VOLUME
"""Restored volumes of an instance's set look like any other restored volume; one listing finds both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaped:
    """What was asked away and why, what could not be, and how many belong to rehearsals that are going on."""

    removed: tuple[str, ...]
    left: tuple[str, ...]
    going_on: int


def reap_rehearsals(tools: Tools, now: datetime) -> Reaped:
    """Everything here that carries a rehearsal's name and tag, and that its expiry or the ledger says is over, was
    asked away; people hear of it, because a rehearsal should have removed it itself.

    What cannot be removed now is left for the next round, and stops nothing else.
    """
    ended = {
        past.id: past.verified_at or past.started_at or past.slot.at
        for past in tools.ledger.stories.rehearsed_in(tools.region)
    }
    removed: list[str] = []
    left: list[str] = []
    going_on = 0
    for leftover in _leftovers(tools, left):
        why = why_over(leftover, ended, now)
        if not why:
            going_on += 1
            continue
        try:
            _remove(leftover, tools)
        except HoldfastError as problem:
            left.append(f"{leftover.id}: {problem}")
        else:
            removed.append(f"{leftover.id} of rehearsal {leftover.rehearsal_id}: {why}")
    if removed or left:
        tools.topic.notify(f"Rehearsals left something behind in {tools.region}", _notice(removed, left))
    return Reaped(removed=tuple(removed), left=tuple(left), going_on=going_on)


def _leftovers(tools: Tools, left: list[str]) -> Iterator[Leftover]:
    if tools.has_deep_checks:  # first: a volume that is attached cannot be removed before the next round
        try:
            yield from tools.checkers.leftovers()
        except HoldfastError as problem:
            left.append(f"the machines of deep checks could not be listed: {problem}")
    kinds = (VOLUMES, Kind.DATABASE, Kind.CLUSTER) if tools.has_rehearsal_network else (VOLUMES,)
    for kind in kinds:
        try:
            yield from tools.restores(kind).leftovers()
        except HoldfastError as problem:
            left.append(f"the {kind}s of rehearsals could not be listed: {problem}")


def _remove(leftover: Leftover, tools: Tools) -> None:
    if leftover.is_checker:
        tools.checkers.remove(leftover.id)
        return
    if leftover.is_proof:
        tools.volume_restores(leftover.kind).remove_proof(leftover.id)
        return
    tools.restores(leftover.kind).remove(
        Restored(id=leftover.id, snapshot_id="", kind=leftover.kind, region=tools.region, state=RestoreState.AVAILABLE)
    )


def _notice(removed: list[str], left: list[str]) -> str:
    lines = [f"- removed: {one}" for one in removed] + [f"- still there: {one}" for one in left]
    return (
        "Rehearsals remove what they make. These did not, because their workflow was stopped or broke:\n\n"
        + "\n".join(lines)
        + "\n\nWhat is still there is tried again in 15 minutes."
    )


handler = frame.tick(reap_rehearsals)
