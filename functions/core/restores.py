"""Making something usable out of a snapshot, for a rehearsal, and taking it away again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from functions.core import instants
from functions.core.coverage import REHEARSAL_TAG
from functions.core.resources import Kind

EXPIRES_TAG = "holdfast:expires-at"
NAME_PREFIX = "holdfast-rt-"
"""Every database a rehearsal makes is named with it; the roles may touch no other name."""

LIVES_AT_MOST = timedelta(hours=24)
"""How long a thing of a rehearsal is left alone whose expiry nobody can read."""

REMOVED_WITHIN = timedelta(hours=1)
"""A database takes minutes to go; after this long nothing is removing it any more."""


class RestoreState(StrEnum):
    """How far a restored thing is. FAILED carries AWS's own word in the message."""

    CREATING = "creating"
    AVAILABLE = "available"
    FAILED = "failed"
    GONE = "gone"


OF_THE_CONTENT = frozenset({"failed", "restore-error", "incompatible-restore"})
"""Words with which RDS says that it cannot make a working database of what it was given. The other words for a failure
speak about keys, capacity, parameters and networks: they leave open whether the content is whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOrder:
    """Restore these snapshots of one point, all in `region`, beside everything that is in use there.

    With a `zone` volumes are made in that one, because a machine there is to have them.
    """

    rehearsal_id: str
    kind: Kind
    region: str
    snapshot_ids: tuple[str, ...]
    expires_at: datetime
    configuration: Mapping[str, object] = field(default_factory=dict[str, object])
    zone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A restored volume, database or cluster as AWS describes it now.

    `word` is RDS's own name for the state; `is_warm` whether its storage has all arrived, None
    when nobody says. `address` and `port` are set when a database answers there; `secret_arn`
    once its master password is in a managed secret.
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
    word: str = ""
    is_warm: bool | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """Something in the Region that carries both a rehearsal's name and its tag.

    `expires_at` is None when the tag that says so is missing or unreadable: somebody changed it. `is_proof` is a
    snapshot of a restored volume, `is_checker` the machine of a deep check.
    """

    id: str
    kind: Kind
    rehearsal_id: str
    created_at: datetime
    expires_at: datetime | None = None
    is_proof: bool = False
    is_checker: bool = False


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

    def leftovers(self) -> Iterator[Leftover]:
        """Everything in the Region that rehearsals made of this kind and that is still there, to the last page."""
        ...


def why_over(leftover: Leftover, ended: Mapping[str, datetime], now: datetime) -> str:
    """Why nobody needs it any more; empty while its rehearsal may still be going on.

    `ended` says when the rehearsals on the ledger were recorded. A rehearsal removes what it made right after it is
    recorded, so what is there an hour later was left behind.
    """
    lives_until = leftover.created_at + LIVES_AT_MOST  # by AWS's clock: what it carries says what ours said
    expires_at = min(leftover.expires_at or lives_until, lives_until)
    if now >= expires_at:
        return f"nobody may need it after {instants.text(expires_at)}"
    ended_at = ended.get(leftover.rehearsal_id)
    if ended_at is not None and now >= ended_at + REMOVED_WITHIN:
        return f"its rehearsal ended at {instants.text(ended_at)}"
    return ""


def tags(order: RestoreOrder) -> dict[str, str]:
    """The tags of everything a rehearsal makes: whose it is, and after when anybody may remove it."""
    return {
        REHEARSAL_TAG: order.rehearsal_id,
        EXPIRES_TAG: instants.text(order.expires_at),
    }


def expiry(carried: Mapping[str, str]) -> datetime | None:
    """After when anybody may remove what carries these tags; None when they do not say."""
    try:
        return instants.parse(carried[EXPIRES_TAG])
    except (KeyError, ValueError):
        return None


def name_of(rehearsal_id: str, snapshot_id: str) -> str:
    """The name of what a rehearsal makes of a snapshot: the same however often it is begun, and nobody else's."""
    return NAME_PREFIX + hashlib.sha256(f"{rehearsal_id}|{snapshot_id}".encode()).hexdigest()[:12]
