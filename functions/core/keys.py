"""The keys our points are encrypted with: a point whose key is gone is not one any more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class KeyState(StrEnum):
    """Where a key stands. UNSEEN is a key that we may not look at: it may be fine."""

    USABLE = "usable"
    DISABLED = "disabled"
    PENDING_DELETION = "pending deletion"
    PENDING_IMPORT = "without its key material"
    UNAVAILABLE = "unavailable"
    GONE = "deleted"
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key as its Region describes it. `deleted_at` is when AWS destroys a key that is pending deletion; None while
    replicas of it must go first."""

    arn: str
    region: str
    state: KeyState
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why a key is in somebody's way, and what a person does next."""

    told: str
    next_step: str


def trouble(key: Key, *, snapshots: int, resources: int) -> Trouble | None:
    """What is wrong with a key that so many of our snapshots of so many resources need; None when nothing is known to
    be."""
    needs = f"{_many(snapshots, 'snapshot')} of {_many(resources, 'resource')} in {key.region}"
    at = f"aws --region {key.region} kms"
    match key.state:
        case KeyState.USABLE | KeyState.UNSEEN:
            return None
        case KeyState.PENDING_DELETION:
            when = f"on {key.deleted_at:%Y-%m-%d at %H:%M} UTC" if key.deleted_at else "when its last replica is gone"
            return Trouble(
                told=f"the key {key.arn} is pending deletion. It is destroyed {when}; from then on {needs} can never "
                "be read again, and already now none can be restored or copied",
                next_step=f"Until then it can be taken back: {at} cancel-key-deletion --key-id {key.arn}; "
                f"{at} enable-key --key-id {key.arn}",
            )
        case KeyState.DISABLED:
            return Trouble(
                told=f"the key {key.arn} is disabled: {needs} can be neither restored nor copied",
                next_step=f"{at} enable-key --key-id {key.arn}",
            )
        case KeyState.PENDING_IMPORT:
            return Trouble(
                told=f"the key {key.arn} has lost its imported material: {needs} can be neither restored nor copied",
                next_step="Import the same key material again; AWS takes no other for this key.",
            )
        case KeyState.UNAVAILABLE:
            return Trouble(
                told=f"the key {key.arn} is unavailable: {needs} can be neither restored nor copied",
                next_step="Connect its custom key store again (KMS console, Custom key stores).",
            )
        case KeyState.GONE:
            return Trouble(
                told=f"the key {key.arn} does not exist any more: {needs} can never be read again",
                next_step="Take new points under a key that exists; what can still be read is only what other keys "
                "encrypt, such as the copies in other Regions.",
            )


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
