"""Making something usable out of a snapshot, for a rehearsal, and taking it away again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from functions.core import instants
from functions.core.coverage import REHEARSAL_TAG
from functions.core.resources import Kind

EXPIRES_TAG = "holdfast:expires-at"
NAME_PREFIX = "holdfast-rt-"
"""Every database a rehearsal makes is named with it; the roles may touch no other name."""


class RestoreState(StrEnum):
    """How far a restored thing is. FAILED carries AWS's own word in the message."""

    CREATING = "creating"
    AVAILABLE = "available"
    FAILED = "failed"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOrder:
    """Restore these snapshots of one point, all in `region`, beside everything that is in use there."""

    rehearsal_id: str
    kind: Kind
    region: str
    snapshot_ids: tuple[str, ...]
    expires_at: datetime
    configuration: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A restored volume, database or cluster as AWS describes it now.

    `address` and `port` are set when a database answers there; `secret_arn` once its master password is in a managed
    secret. `available_at` is when we saw it available.
    """

    id: str
    snapshot_id: str
    kind: Kind
    region: str
    state: RestoreState
    address: str | None = None
    port: int | None = None
    engine: str | None = None
    secret_arn: str | None = None
    message: str = ""


class Restores(Protocol):
    """The port: how one kind is restored in one Region. Every call may be repeated; twice is once."""

    kind: Kind
    region: str

    def begin(self, order: RestoreOrder) -> tuple[Restored, ...]:
        """One restored thing for each snapshot, begun with every tag in the creating call; begun before is fine.

        Errors: SnapshotGone, KeyUnusable, QuotaReached, NotAllowed, AwsBusy, Broken.
        """
        ...

    def look(self, restored: Restored) -> Restored:
        """How far it is; for a database this also asks for a managed master secret once it is available, and answers
        CREATING until the secret can be read."""
        ...

    def remove(self, restored: Restored) -> RestoreState:
        """GONE when nothing is left of it, CREATING while AWS is still removing.

        Errors: Unsafe when the thing does not carry both our name and our rehearsal tag.
        """
        ...


def tags(order: RestoreOrder) -> dict[str, str]:
    """The tags of everything a rehearsal makes: whose it is, and after when anybody may remove it."""
    return {
        REHEARSAL_TAG: order.rehearsal_id,
        EXPIRES_TAG: instants.text(order.expires_at),
    }


def name_of(rehearsal_id: str, snapshot_id: str) -> str:
    """The name of what a rehearsal makes of a snapshot: the same however often it is begun, and nobody else's."""
    return NAME_PREFIX + hashlib.sha256(f"{rehearsal_id}|{snapshot_id}".encode()).hexdigest()[:12]
