"""The tags on our snapshots: enough to rebuild the ledger from nothing but them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from functions.core import instants
from functions.core.errors import BadMessage
from functions.core.resources import ResourceKey
from functions.core.slots import Slot, Why
from functions.core.snapshots import CopyOrder, Snapshot, SnapshotOrder

MANAGED = "holdfast:managed"
SLOT = "holdfast:slot"
SLOT_AT = "holdfast:slot-at"
WHY = "holdfast:why"
RESOURCE = "holdfast:resource"
POLICY = "holdfast:policy"
POLICY_VERSION = "holdfast:policy-version"
COPY_TO = "holdfast:copy-to"
ATTEMPT = "holdfast:attempt"
SOURCE = "holdfast:source"
SOURCE_SNAPSHOT = "holdfast:source-snapshot"
STATE = "holdfast:state"
EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What a snapshot's tags say about it. `source_snapshot_id` is set on copies only."""

    slot: Slot
    policy: str
    policy_version: str
    copy_to: tuple[str, ...]
    attempt: int
    source_id: str | None
    source_snapshot_id: str | None
    is_expired: bool


def for_snapshot(order: SnapshotOrder) -> dict[str, str]:
    """The tags of a snapshot in its home Region; they go into the creating call."""
    return _of_slot(order.slot, order.policy, order.policy_version, order.attempt) | {
        COPY_TO: " ".join(order.copy_to) or "-",
    }


def for_copy(order: CopyOrder) -> dict[str, str]:
    """The tags of a copy; they go into the creating call, because AWS copies none."""
    return _of_slot(order.slot, order.policy, order.policy_version, order.attempt) | {
        SOURCE: order.source_id,
        SOURCE_SNAPSHOT: order.source_snapshot_id,
    }


def _of_slot(slot: Slot, policy: str, policy_version: str, attempt: int) -> dict[str, str]:
    return {
        MANAGED: "1",
        SLOT: slot.key,
        SLOT_AT: instants.text(slot.at),
        WHY: slot.why,
        RESOURCE: str(slot.resource),
        POLICY: policy,
        POLICY_VERSION: policy_version,
        ATTEMPT: str(attempt),
    }


def read(snapshot: Snapshot, *, account: str) -> Label:
    """What the tags of one of our snapshots say.

    Errors: BadMessage when a tag is missing, unreadable, or contradicts the slot key; such a snapshot is not ours to
    adopt or delete.
    """
    tags: Mapping[str, str] = snapshot.tags
    try:
        if tags[MANAGED] != "1":
            raise ValueError(f"{MANAGED} is {tags[MANAGED]!r}")
        slot = Slot(
            resource=ResourceKey.parse(tags[RESOURCE], account=account),
            at=instants.parse(tags[SLOT_AT]),
            why=Why(tags[WHY]),
        )
        if slot.key != tags[SLOT]:
            raise ValueError(f"{SLOT} does not belong to this resource and instant")
        is_copy = snapshot.region != slot.resource.region
        copy_to = "-" if is_copy else _plain(tags, COPY_TO, REGIONS)
        return Label(
            slot=slot,
            policy=_plain(tags, POLICY, NAME),
            policy_version=_plain(tags, POLICY_VERSION, VERSION),
            copy_to=() if copy_to == "-" else tuple(copy_to.split(" ")),
            attempt=int(_plain(tags, ATTEMPT, NUMBER)),
            source_id=_plain(tags, SOURCE, IDENTIFIER) if is_copy else None,
            source_snapshot_id=_plain(tags, SOURCE_SNAPSHOT, IDENTIFIER) if is_copy else None,
            is_expired=tags.get(STATE) == EXPIRED,
        )
    except (KeyError, ValueError) as problem:
        raise BadMessage(
            f"the tags of {snapshot.id} in {snapshot.region} do not name a recovery point: {problem}",
            hint="Somebody changed tags that begin with holdfast:; Holdfast leaves this snapshot alone. "
            "Restore the tags or delete the snapshot by hand.",
        ) from problem


def _plain(tags: Mapping[str, str], key: str, form: re.Pattern[str]) -> str:
    """The tag's text, which is of the form we write and nothing else: it goes into keys, requests and logs."""
    if not form.fullmatch(tags[key]):
        raise ValueError(f"{key} is {tags[key][:80]!r}")
    return tags[key]


NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
VERSION = re.compile(r"[0-9a-f]{8}")
NUMBER = re.compile(r"[1-9][0-9]?")
REGIONS = re.compile(r"-|[a-z]{2}(-[a-z]+)+-[0-9]( [a-z]{2}(-[a-z]+)+-[0-9])*")
IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9:.-]{0,254}")


def database_identifier(slot: Slot, *, attempt: int) -> str:
    """The identifier of an RDS or Aurora snapshot: the slot itself, so that "already exists" means "already done".

    At most 63 characters, the limit of cluster snapshots.
    """
    return f"holdfast-{slot.key}" + (f"-a{attempt}" if attempt > 1 else "")
