"""What AWS says about a snapshot, in one shape for every kind, and the port through which we ask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from functions.core.resources import Kind
from functions.core.slots import Slot


class State(StrEnum):
    """A snapshot's state, in our words.

    UNUSABLE is a snapshot in the Recycle Bin or coming out of it. UNKNOWN is a word of AWS that we do not know; both
    are never a recovery point and never deleted.
    """

    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"
    GONE = "gone"
    UNUSABLE = "unusable"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One snapshot as its own Region describes it.

    `source_id` is the volume, database or cluster it was taken of, as our tags say: on a copy, EBS answers with an
    arbitrary volume id. `consistent_at` is the instant the content stands for. What is archived is complete, and
    cannot be read before AWS has brought it back.
    """

    id: str
    region: str
    state: State
    source_id: str
    started_at: datetime | None = None
    completed_at: datetime | None = None
    consistent_at: datetime | None = None
    progress_percent: int = 0
    size_gib: int | None = None
    full_size_bytes: int | None = None
    is_encrypted: bool = False
    is_archived: bool = False
    kms_key_id: str | None = None
    message: str = ""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotOrder:
    """Take the snapshots of this slot."""

    slot: Slot
    policy: str
    policy_version: str
    copy_to: tuple[str, ...]
    deadline: datetime
    attempt: int = 1
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOrder:
    """Copy one completed snapshot of a point into `region`; the permit for it is already held."""

    slot: Slot
    source_snapshot_id: str
    source_id: str
    region: str
    policy: str
    policy_version: str
    deadline: datetime
    attempt: int = 1


class Snapshots(Protocol):
    """The port: how one kind's snapshots are made, seen and removed in one Region.

    The sentences of tests/aws/snapshots_suite.py are its contract; every adapter and the fake pass them.
    """

    kind: Kind
    region: str

    def find(self, slot: Slot, *, attempt: int) -> tuple[Snapshot, ...]:
        """The snapshots here that carry the slot's key, one of each source, failed ones left out; read to the last
        page."""
        ...

    def take(self, order: SnapshotOrder, tags: Mapping[str, str]) -> tuple[Snapshot, ...]:
        """The snapshots AWS began, from exactly one request that carried every tag and was sent once.

        Errors: TooManyInFlight, ResourceBusy, ResourceGone, OutcomeUnknown, QuotaReached, NotAllowed, AwsBusy.
        """
        ...

    def copy(self, order: CopyOrder, tags: Mapping[str, str], *, home_region: str) -> Snapshot:
        """The copy AWS began in this Region under this Region's key, from exactly one request that was sent once.

        Errors: as take; SnapshotGone when the source does not exist, KeyUnusable when AWS says so at once.
        """
        ...

    def look(self, ids: Iterable[str]) -> Mapping[str, Snapshot]:
        """What AWS says now about each id; an id AWS does not know is missing from the answer."""
        ...

    def ours(self) -> Iterator[Snapshot]:
        """Every snapshot here that Holdfast made, complete: an answer that stops early raises."""
        ...

    def archive(self, id: str) -> bool:
        """Whether the snapshot is in, or on its way to, the archive tier; False where the kind has none.

        Errors: SnapshotGone when it does not exist; Unsafe when an image needs it.
        """
        ...

    def mark_expired(self, id: str) -> None:
        """The snapshot carries the mark without which the deleter's role cannot touch it."""
        ...

    def delete(self, id: str) -> None:
        """The snapshot is gone; one that was gone before is fine.

        Errors: Unsafe when AWS holds it (locked, in use by an image); NotAllowed when it was not marked.
        """
        ...

    def changed_bytes(self, earlier_id: str, id: str) -> int | None:
        """How many bytes of blocks differ between two snapshots of one volume; None where AWS does not tell.

        It does not for what is archived.
        """
        ...
