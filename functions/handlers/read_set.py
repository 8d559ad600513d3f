"""Read set: what a person wrote about several recoveries, checked before the first of them begins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from functions.contracts import recovery_requests
from functions.core.recovery_sets import RecoverySet
from functions.handlers import frame
from functions.handlers.tools import Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRead:
    """The set that begins."""

    recoveryset: RecoverySet


def read_set(event: dict[str, Any], tools: Tools, now: datetime) -> SetRead:
    """The set with its members in groups, every one of them readable by the recovery that will serve it.

    Errors: BadMessage that lists every problem of every member.
    """
    whole = recovery_requests.read_set(
        event.get("input") or {}, execution=str(event.get("execution", "")), account=tools.account, region=tools.region
    )
    return SetRead(recoveryset=whole)


handler = frame.event(read_set)
