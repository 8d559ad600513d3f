"""EBS snapshots: all but the taking, which differs between a volume and an instance's set of volumes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from functions.aws.absence import afterwards, gone_is_not_forbidden
from functions.aws.clients import Clients
from functions.aws.faults import translated
from functions.aws.permissions import KEY_ALIAS, Permission, grant_through, keys_behind_a_copy
from functions.core import labels
from functions.core.errors import SnapshotGone
from functions.core.resources import Kind
from functions.core.slots import Slot
from functions.core.snapshots import CopyOrder, Snapshot, State

if TYPE_CHECKING:
    from mypy_boto3_ebs import EBSClient
    from mypy_boto3_ebs.type_defs import ListChangedBlocksRequestTypeDef
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, TagSpecificationTypeDef

STATES: Mapping[str, State] = {
    "pending": State.PENDING,
    "completed": State.COMPLETED,
    "error": State.FAILED,
    "recoverable": State.UNUSABLE,
    "recovering": State.UNUSABLE,
}
"""AWS's words in ours; a word that is not here is UNKNOWN."""

PAGE = 1000
BLOCKS_PAGE = 10_000
IDS_AT_ONCE = 200
"""How many values one filter takes."""

ARCHIVING = "archival-in-progress"
"""AWS's word for what is on its way into the archive, and until it has arrived is still in the standard tier."""

DESCRIBED_AS = "Holdfast: "
"""How the description of every snapshot begins that we took or copied. Nobody can change it afterwards."""

ANY_SNAPSHOT = "arn:{partition}:ec2:{region}::snapshot/*"
MANAGED = {"aws:ResourceTag/holdfast:managed": "1"}
UNMARKED = {"Null": {"aws:RequestTag/holdfast:state": "true"}}
"""Of what is created: the mark of the expired is not for its maker to write."""

DESCRIBE = Permission(
    actions=("ec2:DescribeSnapshots",),
    resources=("*",),
    why="Describe of EC2 knows no resource types",
)

PERMISSIONS: Mapping[str, tuple[Permission, ...]] = {
    "find": (DESCRIBE,),
    "look": (DESCRIBE,),
    "ours": (DESCRIBE,),
    "copy": (
        Permission(
            actions=("ec2:CopySnapshot",),
            resources=("arn:{partition}:ec2:*::snapshot/snap-*",),
            why="the source, in its home Region; AWS's table of keys has no tag condition for it",
        ),
        Permission(
            actions=("ec2:CopySnapshot",),
            resources=("arn:{partition}:ec2:{region}::snapshot/${*}",),
            conditions={"StringEquals": {"aws:RequestTag/holdfast:managed": "1"}, **UNMARKED},
            why="the copy, which has no id yet; IAM names it with a literal asterisk",
        ),
        Permission(
            actions=("ec2:CreateTags",),
            resources=(ANY_SNAPSHOT,),
            conditions={"StringEquals": {"ec2:CreateAction": "CopySnapshot"}},
            why="not called: EC2 checks it for the tags inside CopySnapshot",
        ),
        *keys_behind_a_copy("ec2"),
    ),
    "archive": (
        Permission(
            actions=("ec2:DescribeSnapshotTierStatus",),
            resources=("*",),
            why="Describe of EC2 knows no resource types; what is archived already is not asked for again",
        ),
        Permission(
            actions=("ec2:ModifySnapshotTier",),
            resources=(ANY_SNAPSHOT,),
            conditions={"StringEquals": MANAGED},
            why="only what we took; the one tier it can name is the archive",
        ),
        grant_through("ec2", why="not called: EBS makes a grant on an encrypted snapshot's key, as the caller"),
        Permission(
            actions=("kms:Decrypt", "kms:DescribeKey"),
            resources=("arn:{partition}:kms:{region}:{account}:key/*",),
            conditions={"StringLike": {"kms:ViaService": "ec2.{region}.amazonaws.com"}},
            why="not called: EBS reads an encrypted snapshot as the caller to make it a full one, under any key",
        ),
    ),
    "mark_expired": (
        afterwards(DESCRIBE),
        Permission(
            actions=("ec2:CreateTags",),
            resources=(ANY_SNAPSHOT,),
            conditions={
                "StringEquals": MANAGED | {"aws:RequestTag/holdfast:state": labels.EXPIRED},
                "ForAllValues:StringEquals": {"aws:TagKeys": labels.STATE},
            },
            why="one tag with one value, on what we took",
        ),
    ),
    "delete": (
        afterwards(DESCRIBE),
        Permission(
            actions=("ec2:DeleteSnapshot",),
            resources=(ANY_SNAPSHOT,),
            conditions={"StringEquals": MANAGED | {"aws:ResourceTag/holdfast:state": labels.EXPIRED}},
            why="only what another role has marked",
        ),
    ),
    "changed_bytes": (
        DESCRIBE,
        Permission(
            actions=("ebs:ListChangedBlocks",),
            resources=(ANY_SNAPSHOT,),
            conditions={"StringEquals": MANAGED},
            why="counts the blocks that differ; their content stays unread",
        ),
    ),
}
"""For each verb but `take`, which its own kind declares."""


class EbsSnapshots:
    """The port's verbs that are the same for every EBS snapshot; a kind adds `take`."""

    kind: Kind

    def __init__(self, *, region: str, account: str, clients: Clients, key: str = KEY_ALIAS) -> None:
        self.region = region
        self._account = account
        self._key = key
        self._ec2: EC2Client = clients.retrying("ec2", region)
        self._ec2_once: EC2Client = clients.once("ec2", region)
        self._ebs: EBSClient = clients.retrying("ebs", region)

    def find(self, slot: Slot, *, attempt: int) -> tuple[Snapshot, ...]:
        """The snapshots here that carry the slot's key, without those of which there will be no point. Of two of one
        source the earlier counts; the other is surplus."""
        found = tuple(self._described([{"Name": f"tag:{labels.SLOT}", "Values": [slot.key]}]))
        first: dict[tuple[str, str | None], Snapshot] = {}
        for snapshot in sorted(self._hopeful(found, attempt), key=_age):
            first.setdefault((snapshot.source_id, snapshot.tags.get(labels.SOURCE_SNAPSHOT)), snapshot)
        return tuple(first.values())

    def _hopeful(self, found: Sequence[Snapshot], attempt: int) -> list[Snapshot]:  # noqa: ARG002 - a set's needs it
        """Those of a slot's snapshots that have not failed, of any attempt."""
        return [snapshot for snapshot in found if snapshot.state is not State.FAILED]

    def copy(self, order: CopyOrder, tags: Mapping[str, str], *, home_region: str) -> Snapshot:
        """The copy EBS began here, encrypted under this Region's key whatever the source is.

        AWS checks the key only later: an unusable one shows as a FAILED copy with "Given key ID is not accessible".
        """
        with translated("ec2:CopySnapshot", resource=order.source_snapshot_id, once=True):
            begun = self._ec2_once.copy_snapshot(
                SourceRegion=home_region,
                SourceSnapshotId=order.source_snapshot_id,
                Encrypted=True,
                KmsKeyId=self._key,
                Description=description(order.slot),
                TagSpecifications=tagged(tags),
            )
        return Snapshot(
            id=begun["SnapshotId"],
            region=self.region,
            state=State.PENDING,
            source_id=order.source_id,
            is_encrypted=True,
            tags=dict(tags),
        )

    def look(self, ids: Iterable[str]) -> Mapping[str, Snapshot]:
        """What EC2 says now about each id.

        Asked for by filter, because one id that EC2 does not know would fail the whole list of `SnapshotIds`.
        """
        wanted = sorted(set(ids))
        return {
            snapshot.id: snapshot
            for start in range(0, len(wanted), IDS_AT_ONCE)
            for snapshot in self._described([{"Name": "snapshot-id", "Values": wanted[start : start + IDS_AT_ONCE]}])
        }

    def ours(self) -> Iterator[Snapshot]:
        """Every snapshot here that Holdfast took of this kind or copied of it.

        One whose tag no longer names a kind is told with the volumes, so that somebody hears of it.
        """
        for snapshot in self._described([{"Name": f"tag:{labels.MANAGED}", "Values": ["1"]}]):
            is_of_instance = snapshot.tags.get(labels.RESOURCE, "").startswith(f"{Kind.INSTANCE}/")
            if is_of_instance == (self.kind is Kind.INSTANCE):
                yield snapshot

    def archive(self, id: str) -> bool:
        """True once the snapshot is archived or being archived.

        Errors: SnapshotGone when it does not exist; Unsafe when an AMI needs it.
        """
        pages = self._ec2.get_paginator("describe_snapshot_tier_status").paginate(
            Filters=[{"Name": "snapshot-id", "Values": [id]}]
        )
        with translated("ec2:DescribeSnapshotTierStatus", resource=id):
            tiering = [status for page in pages for status in page["SnapshotTierStatuses"]]
        if any(_is_archived(status) or status.get("LastTieringOperationStatus") == ARCHIVING for status in tiering):
            return True
        with translated("ec2:ModifySnapshotTier", resource=id):
            self._ec2.modify_snapshot_tier(SnapshotId=id, StorageTier="archive")
        return True

    def mark_expired(self, id: str) -> None:
        """The snapshot carries holdfast:state=expired."""
        with gone_is_not_forbidden(id, self.look), translated("ec2:CreateTags", resource=id):
            self._ec2.create_tags(Resources=[id], Tags=[{"Key": labels.STATE, "Value": labels.EXPIRED}])

    def delete(self, id: str) -> None:
        """The snapshot is gone.

        Errors: Unsafe when it is locked or an AMI uses it; NotAllowed when it was not marked.
        """
        with (
            suppress(SnapshotGone),
            gone_is_not_forbidden(id, self.look),
            translated("ec2:DeleteSnapshot", resource=id),
        ):
            self._ec2.delete_snapshot(SnapshotId=id)

    def changed_bytes(self, earlier_id: str, id: str) -> int | None:
        """The bytes of the blocks that differ; None while either is not completed or cannot be read from the archive,
        or when they have no lineage.

        Errors: SnapshotGone when either does not exist.
        """
        both = self.look((earlier_id, id))
        for wanted in (earlier_id, id):
            if wanted not in both:
                raise SnapshotGone(
                    f"{wanted} does not exist in {self.region} any more",
                    hint="Nothing is compared with it; the next point is compared with a later one.",
                )
        if any(snapshot.state is not State.COMPLETED or snapshot.is_archived for snapshot in both.values()):
            return None
        changed_bytes = 0
        request: ListChangedBlocksRequestTypeDef = {
            "FirstSnapshotId": earlier_id,
            "SecondSnapshotId": id,
            "MaxResults": BLOCKS_PAGE,
        }
        while True:
            with translated("ebs:ListChangedBlocks", resource=id):
                try:
                    page = self._ebs.list_changed_blocks(**request)
                except self._ebs.exceptions.ValidationException as refusal:
                    if _reason(refusal) == "UNRELATED_SNAPSHOTS":
                        return None
                    raise
            changed_bytes += len(page.get("ChangedBlocks", ())) * page.get("BlockSize", 0)
            next_token = page.get("NextToken")
            if not next_token:
                return changed_bytes
            request["NextToken"] = next_token

    def _described(self, filters: Sequence[FilterTypeDef]) -> Iterator[Snapshot]:
        """Every one of our own snapshots that the filters let through, to the last page; an empty page is not it."""
        pages = self._ec2.get_paginator("describe_snapshots").paginate(
            OwnerIds=["self"], Filters=filters, PaginationConfig={"PageSize": PAGE}
        )
        with translated("ec2:DescribeSnapshots"):
            for page in pages:
                for described in page["Snapshots"]:
                    yield self._read(described)

    def _read(self, described: Mapping[str, Any]) -> Snapshot:
        """A snapshot in our words, from any of the shapes in which EC2 describes one."""
        tags = {tag["Key"]: tag["Value"] for tag in described.get("Tags", ())}
        is_copy = labels.SOURCE_SNAPSHOT in tags
        started_at = described.get("StartTime")
        return Snapshot(
            id=described["SnapshotId"],
            region=self.region,
            state=STATES.get(described.get("State", ""), State.UNKNOWN),
            # A copy's VolumeId is arbitrary, and its StartTime is when the copying began.
            source_id=tags.get(labels.SOURCE, "") if is_copy else described.get("VolumeId", ""),
            started_at=started_at,
            completed_at=described.get("CompletionTime"),
            consistent_at=None if is_copy else started_at,
            progress_percent=int(described.get("Progress", "").rstrip("%") or 0),
            size_gib=described.get("VolumeSize"),
            full_size_bytes=described.get("FullSnapshotSizeInBytes"),
            is_encrypted=described.get("Encrypted", False),
            is_archived=_is_archived(described),
            kms_key_id=described.get("KmsKeyId"),
            message=described.get("StateMessage", ""),
            tags=tags,
        )


def tagged(tags: Mapping[str, str]) -> list[TagSpecificationTypeDef]:
    """The tags as the creating call takes them: a crash after it must not leave a snapshot without any."""
    return [{"ResourceType": "snapshot", "Tags": [{"Key": key, "Value": value} for key, value in sorted(tags.items())]}]


def description(slot: Slot) -> str:
    """What the EC2 console shows beside the snapshot."""
    return f"{DESCRIBED_AS}{slot.resource}, {slot.at:%Y-%m-%d %H:%M} UTC"


def _age(snapshot: Snapshot) -> tuple[datetime, str]:
    """The earliest first; one that does not say when it began comes last."""
    return snapshot.started_at or datetime.max.replace(tzinfo=UTC), snapshot.id


def _is_archived(described: Mapping[str, Any]) -> bool:
    return described.get("StorageTier") == "archive"


def _reason(refusal: ClientError) -> str:
    answer: Mapping[str, Any] = refusal.response
    return answer.get("Reason", "")
