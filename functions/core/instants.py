"""Instants: aware, in UTC, and written one way."""

from __future__ import annotations

from datetime import UTC, datetime


def aware(at: datetime) -> datetime:
    """The same instant in UTC.

    Errors: ValueError for a time without a zone, because guessing one is how a backup gets lost in October, and for
    one that in UTC lies before the first year or after the last.
    """
    if at.tzinfo is None:
        raise ValueError(f"time without a zone: {at.isoformat()}")
    try:
        return at.astimezone(UTC)
    except OverflowError as problem:
        raise ValueError(f"no instant in UTC: {at.isoformat()}") from problem


def text(at: datetime) -> str:
    """`2026-11-20T03:00:00Z`: sorts by time, and is legal in tags of EC2 and RDS. Below a second is cut off."""
    return aware(at).strftime("%Y-%m-%dT%H:%M:%SZ")


def exact(at: datetime) -> str:
    """As `text`, to the microsecond: for fences and for times that are measured."""
    return aware(at).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse(written: str) -> datetime:
    """The instant that `text` or `exact` wrote.

    Errors: ValueError when it is not an instant with a zone.
    """
    return aware(datetime.fromisoformat(written))
