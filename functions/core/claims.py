"""Who may create, decided from what the ledger remembers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from functions.core.points import ATTEMPTS, GRACE, Status


class Step(StrEnum):
    """What the holder of an order does next."""

    CREATE = "create"
    LOOK_FIRST = "look first"
    LEAVE = "leave"
    WAIT = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What to do with an order for a slot, and why."""

    step: Step
    reason: str


def decide(status: Status | None, claimed_at: datetime | None, attempt: int, now: datetime) -> Claim:
    """What an order may do about a slot (or a copy) that the ledger knows like this.

    None is a slot nobody ever claimed. CREATE still needs the conditional write to succeed: two callers may both be
    told to create, and exactly one of them will have its claim accepted.
    """
    match status:
        case None | Status.OWED:
            return Claim(step=Step.CREATE, reason="nobody has claimed it")
        case Status.INTENT if claimed_at is not None and now - claimed_at < GRACE:
            return Claim(step=Step.WAIT, reason=f"claimed {_minutes(now - claimed_at)} ago; its holder may be creating")
        case Status.INTENT:
            return Claim(step=Step.LOOK_FIRST, reason=f"claimed over {_minutes(GRACE)} ago and never recorded")
        case Status.FAILED | Status.GONE if attempt < ATTEMPTS:
            return Claim(step=Step.CREATE, reason=f"attempt {attempt} is {status}")
        case _:
            return Claim(step=Step.LEAVE, reason=f"it is {status} already")


def _minutes(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:.0f} min"
