"""Manual snapshots of RDS: what is the same for a database and for a cluster.

The identifier of a snapshot is made of its slot, so "already exists" is how AWS says "already done".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from functions.aws.absence import afterwards, gone_is_not_forbidden
from functions.aws.clients import Clients
from functions.aws.faults import code_of, translated
from functions.aws.permissions import KEY_ALIAS, Permission, keys_behind_a_copy
from functions.core import labels
from functions.core.errors import OutcomeUnknown, SnapshotGone, Unsafe
from functions.core.resources import Kind
from functions.core.slots import Slot
from functions.core.snapshots import CopyOrder, Snapshot, SnapshotOrder, State

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient
    from mypy_boto3_rds.type_defs import TagTypeDef

STATES: Mapping[str, State] = {
    "creating": State.PENDING,
    "copying": State.PENDING,
    "pending": State.PENDING,
    "available": State.COMPLETED,
    "failed": State.FAILED,
    "incompatible-parameters": State.FAILED,
    "incompatible-restore": State.FAILED,
    "deleting": State.GONE,
    "deleted": State.GONE,
}
"""AWS's words in ours; a word that is not here is UNKNOWN."""

ALREADY_THERE = frozenset({"DBSnapshotAlreadyExists", "DBClusterSnapshotAlreadyExistsFault"})

NAME_PREFIX = "holdfast-"
PAGE = 100
IDS_AT_ONCE = 100
"""One page of answers: RDS publishes no limit for the values of a filter."""

MANAGED = {"aws:ResourceTag/holdfast:managed": "1"}


def permissions(*, noun: str, resource_type: str, source_type: str) -> Mapping[str, tuple[Permission, ...]]:
    """What the verbs need, for `DBSnapshot` of a `db` or `DBClusterSnapshot` of a `cluster`.

    RDS, unlike EC2, has resource types for its Describe calls and our names in its ARNs.
    """
    ours = f"arn:{{partition}}:rds:{{region}}:{{account}}:{resource_type}:{NAME_PREFIX}*"
    anywhere = f"arn:{{partition}}:rds:*:{{account}}:{resource_type}:{NAME_PREFIX}*"
    tagged = {
        "StringEquals": {"aws:RequestTag/holdfast:managed": "1"},
        "Null": {"aws:RequestTag/holdfast:state": "true"},
    }
    describe = Permission(
        actions=(f"rds:Describe{noun}s",),
        resources=(f"arn:{{partition}}:rds:{{region}}:{{account}}:{resource_type}:*",),
        why="a call with filters is checked against all snapshots",
    )
    tag = Permission(
        actions=("rds:AddTagsToResource",),
        resources=(ours,),
        conditions=tagged,
        why="not called: RDS checks it for the tags in the creating call; the mark of the expired is not ours to write",
    )
    return {
        "find": (describe,),
        "look": (describe,),
        "ours": (describe,),
        "archive": (),
        "changed_bytes": (),
        "take": (
            describe,
            tag,
            Permission(
                actions=(f"rds:Create{noun}",),
                resources=(f"arn:{{partition}}:rds:{{region}}:{{account}}:{source_type}:*",),
                why="any source: a default policy covers resources without tags",
            ),
            Permission(
                actions=(f"rds:Create{noun}",),
                resources=(ours,),
                conditions=tagged,
                why="the new snapshot: our name, and tags that say so",
            ),
        ),
        "copy": (
            tag,
            Permission(
                actions=(f"rds:Describe{noun}s",),
                resources=(f"arn:{{partition}}:rds:*:{{account}}:{resource_type}:*",),
                why="the source, in its home Region: whether it is encrypted decides the call; and the copy, here",
            ),
            Permission(
                actions=(f"rds:Copy{noun}",),
                resources=(anywhere,),
                conditions={"StringEquals": MANAGED},
                why="the source, which RDS reads in its home Region through a request signed for there",
            ),
            Permission(
                actions=(f"rds:Copy{noun}",),
                resources=(ours,),
                conditions=tagged,
                why="the copy: our name, and tags that say so",
            ),
            *keys_behind_a_copy("rds"),
        ),
        "mark_expired": (
            afterwards(describe),
            Permission(
                actions=("rds:AddTagsToResource",),
                resources=(ours,),
                conditions={
                    "StringEquals": MANAGED | {"aws:RequestTag/holdfast:state": labels.EXPIRED},
                    "ForAllValues:StringEquals": {"aws:TagKeys": labels.STATE},
                },
                why="one tag with one value, on what we took",
            ),
        ),
        "delete": (
            afterwards(describe),
            Permission(
                actions=(f"rds:Delete{noun}",),
                resources=(ours,),
                conditions={"StringEquals": MANAGED | {"aws:ResourceTag/holdfast:state": labels.EXPIRED}},
                why="only what another role has marked",
            ),
        ),
    }


class RdsSnapshots(ABC):
    """The port's verbs that are the same for databases and clusters; a kind says which calls of RDS they are."""

    kind: Kind
    noun: str
    """The word in the names of RDS's operations."""
    resource_type: str
    """The word in a snapshot's ARN."""

    def __init__(self, *, region: str, account: str, clients: Clients, key: str = KEY_ALIAS) -> None:
        self.region = region
        self._account = account
        self._key = key
        self._clients = clients
        self._rds: RDSClient = clients.retrying("rds", region)
        self._rds_once: RDSClient = clients.once("rds", region)

    def find(self, slot: Slot, *, attempt: int) -> tuple[Snapshot, ...]:
        """The snapshots under the slot's names, of this attempt or an earlier one, that carry its tag; failed ones
        and those AWS is deleting left out."""
        names = [labels.database_identifier(slot, attempt=number) for number in range(1, attempt + 1)]
        return tuple(
            snapshot
            for snapshot in self._described(self._rds, names)
            if snapshot.tags.get(labels.SLOT) == slot.key and snapshot.state not in (State.FAILED, State.GONE)
        )

    def take(self, order: SnapshotOrder, tags: Mapping[str, str]) -> tuple[Snapshot, ...]:
        """The one snapshot RDS began, or had begun for the same slot and attempt before.

        Errors: Unsafe when somebody else's snapshot has our name.
        """
        source_id = order.slot.resource.id
        name = labels.database_identifier(order.slot, attempt=order.attempt)
        with translated(f"rds:Create{self.noun}", resource=source_id, once=True):
            begun = _unless_there(lambda: self._create(name, source_id, _listed(tags)))
        return (begun or self._existing(name, order.slot),)

    def copy(self, order: CopyOrder, tags: Mapping[str, str], *, home_region: str) -> Snapshot:
        """The copy RDS began here, or had begun for the same slot and attempt before.

        Errors: SnapshotGone when the source does not exist; Unsafe when somebody else's snapshot has our name.
        """
        name = labels.database_identifier(order.slot, attempt=order.attempt)
        source = self._source(order.source_snapshot_id, home_region)
        with translated(f"rds:Copy{self.noun}", resource=order.source_snapshot_id, once=True):
            begun = _unless_there(lambda: self._copy(name, source, home_region, _listed(tags)))
        return begun or self._existing(name, order.slot)

    def look(self, ids: Iterable[str]) -> Mapping[str, Snapshot]:
        """What RDS says now about each id."""
        wanted = sorted(set(ids))
        return {
            snapshot.id: snapshot
            for start in range(0, len(wanted), IDS_AT_ONCE)
            for snapshot in self._described(self._rds, wanted[start : start + IDS_AT_ONCE])
        }

    def ours(self) -> Iterator[Snapshot]:
        """Every manual snapshot here that carries both our name and our tag."""
        return (
            snapshot
            for snapshot in self._described(self._rds, None)
            if snapshot.id.startswith(NAME_PREFIX) and snapshot.tags.get(labels.MANAGED) == "1"
        )

    def archive(self, id: str) -> bool:  # noqa: ARG002 - the port's signature
        """False: RDS has no archive tier."""
        return False

    def mark_expired(self, id: str) -> None:
        """The snapshot carries holdfast:state=expired."""
        with gone_is_not_forbidden(id, self.look), translated("rds:AddTagsToResource", resource=id):
            self._rds.add_tags_to_resource(
                ResourceName=self._arn(self.region, id), Tags=[{"Key": labels.STATE, "Value": labels.EXPIRED}]
            )

    def delete(self, id: str) -> None:
        """AWS is deleting the snapshot, or it was gone before.

        Errors: NotAllowed when it was not marked; ResourceBusy while it is being made.
        """
        with (
            suppress(SnapshotGone),
            gone_is_not_forbidden(id, self.look),
            translated(f"rds:Delete{self.noun}", resource=id),
        ):
            self._delete(id)

    def changed_bytes(self, earlier_id: str, id: str) -> int | None:  # noqa: ARG002 - the port's signature
        """None: RDS does not tell."""
        return None

    @abstractmethod
    def _create(self, name: str, source_id: str, tags: Sequence[TagTypeDef]) -> Snapshot:
        """The snapshot the one request began."""

    @abstractmethod
    def _copy(self, name: str, source: Mapping[str, Any], home_region: str, tags: Sequence[TagTypeDef]) -> Snapshot:
        """The copy the one request began of the source as its own Region describes it."""

    @abstractmethod
    def _delete(self, name: str) -> None:
        """RDS was asked to delete it."""

    @abstractmethod
    def _pages(self, rds: RDSClient, names: Sequence[str] | None) -> Iterator[Mapping[str, Any]]:
        """The manual snapshots with these names, or all of them, as RDS describes them, to the last page."""

    @abstractmethod
    def _read(self, described: Mapping[str, Any]) -> Snapshot:
        """A snapshot in our words."""

    def _arn(self, region: str, name: str) -> str:
        return f"arn:{self._clients.partition(region)}:rds:{region}:{self._account}:{self.resource_type}:{name}"

    def _described(self, rds: RDSClient, names: Sequence[str] | None) -> Iterator[Snapshot]:
        with translated(f"rds:Describe{self.noun}s"):
            for described in self._pages(rds, names):
                yield self._read(described)

    def _source(self, name: str, home_region: str) -> Mapping[str, Any]:
        with translated(f"rds:Describe{self.noun}s", resource=name):
            for described in self._pages(self._clients.retrying("rds", home_region), [name]):
                return described
        raise SnapshotGone(
            f"{name} does not exist in {home_region} any more",
            hint="Somebody outside of Holdfast deleted the snapshot; CloudTrail says who. There is nothing to copy.",
        )

    def _existing(self, name: str, slot: Slot) -> Snapshot:
        """The snapshot that had our name already, which is our own earlier work if it carries our slot."""
        existing = self.look((name,)).get(name)
        if existing is None:
            raise OutcomeUnknown(
                f"{name} in {self.region} exists, but RDS does not show it",
                hint="Holdfast looks again. If this lasts, search the console for the name.",
            )
        if existing.tags.get(labels.SLOT) != slot.key:
            raise Unsafe(
                f"{name} in {self.region} exists and does not carry the tag {labels.SLOT}={slot.key}",
                hint=f"Names that begin with {NAME_PREFIX} are Holdfast's: rename or delete that snapshot, "
                "or restore its tags.",
            )
        return existing


def _unless_there(make: Callable[[], Snapshot]) -> Snapshot | None:
    try:
        return make()
    except ClientError as refusal:
        if code_of(refusal) in ALREADY_THERE:
            return None
        raise


def snapshot(
    described: Mapping[str, Any],
    *,
    id: str,
    region: str,
    source_id: str,
    is_encrypted: bool,
    consistent_at: datetime | None,
) -> Snapshot:
    """A snapshot in our words, from what databases and clusters call alike and what they do not."""
    tags = {tag["Key"]: tag["Value"] for tag in described.get("TagList", ())}
    status = described.get("Status", "")
    state = STATES.get(status, State.UNKNOWN)
    return Snapshot(
        id=id,
        region=region,
        state=state,
        source_id=tags.get(labels.SOURCE, source_id),
        started_at=described.get("SnapshotCreateTime"),
        consistent_at=consistent_at,
        progress_percent=100 if state is State.COMPLETED else described.get("PercentProgress", 0),
        size_gib=described.get("AllocatedStorage"),
        full_size_bytes=described.get("FullSnapshotSizeInBytes"),
        is_encrypted=is_encrypted,
        kms_key_id=described.get("KmsKeyId"),
        message="" if state in (State.PENDING, State.COMPLETED) else f"RDS says {status}",
        tags=tags,
    )


def _listed(tags: Mapping[str, str]) -> list[TagTypeDef]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
