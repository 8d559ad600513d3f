"""Who may use our manual snapshots of RDS.

RDS lists the public snapshots of the whole world and none by account, so each of ours is asked for its attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from functions.aws.clients import Clients
from functions.aws.faults import code_of, translated
from functions.aws.permissions import Permission
from functions.aws.rds_snapshots import MANAGED, NAME_PREFIX, PAGE
from functions.core import labels
from functions.core.exposures import Family, Shareable

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient

    from functions.core.exposures import Shares

ABSENT = frozenset({"DBSnapshotNotFound", "DBClusterSnapshotNotFoundFault"})
RESTORE = "restore"
"""The attribute that holds who may restore."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    """How RDS says it for one family."""

    noun: str
    resource_type: str
    encrypted: str
    listing: str
    name_filter: str


_WORDS: Mapping[Family, _Words] = {
    Family.DATABASE: _Words(
        noun="DBSnapshot",
        resource_type="snapshot",
        encrypted="Encrypted",
        listing="describe_db_snapshots",
        name_filter="db-snapshot-id",
    ),
    Family.CLUSTER: _Words(
        noun="DBClusterSnapshot",
        resource_type="cluster-snapshot",
        encrypted="StorageEncrypted",
        listing="describe_db_cluster_snapshots",
        name_filter="db-cluster-snapshot-id",
    ),
}


def _permissions(words: _Words) -> Mapping[str, tuple[Permission, ...]]:
    def arns(names: str) -> tuple[str, ...]:
        return (f"arn:{{partition}}:rds:{{region}}:{{account}}:{words.resource_type}:{names}",)

    describe = Permission(
        actions=(f"rds:Describe{words.noun}s",),
        resources=arns("*"),
        why="a call with filters is checked against all snapshots",
    )
    return {
        "ours": (describe,),
        "find": (describe,),
        "listed": (),
        "shared_with": (
            Permission(
                actions=(f"rds:Describe{words.noun}Attributes",),
                resources=arns(f"{NAME_PREFIX}*"),
                why="who may restore it; by name, so that one whose tags somebody took off is looked at all the same",
            ),
        ),
        "withdraw": (
            Permission(
                actions=(f"rds:Modify{words.noun}Attribute",),
                resources=arns(f"{NAME_PREFIX}*"),
                conditions={"StringEquals": MANAGED},
                why="only what we took. IAM has no key that tells taking a share back from giving one: that is why "
                "only this role has it, and only where the settings say enforce",
            ),
        ),
    }


PERMISSIONS: Mapping[Family, Mapping[str, tuple[Permission, ...]]] = {
    family: _permissions(words) for family, words in _WORDS.items()
}


class RdsShares:
    """The port `Shares` for one family of RDS."""

    def __init__(self, family: Family, region: str, clients: Clients) -> None:
        self.family = family
        self.region = region
        self._words = _WORDS[family]
        self._rds: RDSClient = clients.retrying("rds", region)

    def ours(self) -> Iterator[Shareable]:
        """Every manual snapshot here that has our name, which nobody can change."""
        return (self._read(one) for one in self._described(()) if self._id(one).startswith(NAME_PREFIX))

    def find(self, id: str) -> Shareable | None:
        """The snapshot, when it has our name."""
        if not id.startswith(NAME_PREFIX):
            return None
        return next((self._read(described) for described in self._described((id,))), None)

    def listed(self, accounts: Iterable[str]) -> Mapping[str, frozenset[str]]:
        """Nothing: RDS has no listing of ours that are shared."""
        return {account: frozenset() for account in accounts}

    def shared_with(self, id: str) -> frozenset[str] | None:
        """The accounts of the attribute `restore`, EVERYBODY among them."""
        describe: Mapping[Family, Callable[[], Any]] = {
            Family.DATABASE: lambda: self._rds.describe_db_snapshot_attributes(DBSnapshotIdentifier=id),
            Family.CLUSTER: lambda: self._rds.describe_db_cluster_snapshot_attributes(DBClusterSnapshotIdentifier=id),
        }
        with translated(f"rds:Describe{self._words.noun}Attributes", resource=id):
            try:
                answer = describe[self.family]()
            except ClientError as refusal:
                if code_of(refusal) in ABSENT:
                    return None
                raise
        attributes = answer[f"{self._words.noun}AttributesResult"].get(f"{self._words.noun}Attributes", ())
        return frozenset(
            account
            for attribute in attributes
            if attribute.get("AttributeName") == RESTORE
            for account in attribute.get("AttributeValues", ())
        )

    def withdraw(self, id: str, accounts: frozenset[str]) -> None:
        """None of these may restore the snapshot any more; the others still may."""
        removed = sorted(accounts)
        with translated(f"rds:Modify{self._words.noun}Attribute", resource=id):
            if self.family is Family.DATABASE:
                self._rds.modify_db_snapshot_attribute(
                    DBSnapshotIdentifier=id, AttributeName=RESTORE, ValuesToRemove=removed
                )
            else:
                self._rds.modify_db_cluster_snapshot_attribute(
                    DBClusterSnapshotIdentifier=id, AttributeName=RESTORE, ValuesToRemove=removed
                )

    def _described(self, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        filters = [{"Name": self._words.name_filter, "Values": list(names)}] if names else []
        # The name of the listing differs by family, so the stubs cannot tell which paginator it is.
        paginator: Any = self._rds.get_paginator(self._words.listing)  # type: ignore[call-overload]
        with translated(f"rds:Describe{self._words.noun}s"):
            pages = paginator.paginate(SnapshotType="manual", Filters=filters, PaginationConfig={"PageSize": PAGE})
            for page in pages:
                yield from page[f"{self._words.noun}s"]

    def _id(self, described: Mapping[str, Any]) -> str:
        return described[f"{self._words.noun}Identifier"]

    def _read(self, described: Mapping[str, Any]) -> Shareable:
        tags = {tag["Key"]: tag["Value"] for tag in described.get("TagList", ())}
        return Shareable(
            family=self.family,
            region=self.region,
            id=self._id(described),
            resource=tags.get(labels.RESOURCE, "a resource whose tag is gone"),
            started_at=described.get("SnapshotCreateTime"),
            is_encrypted=described.get(self._words.encrypted, False),
            is_copy=labels.SOURCE_SNAPSHOT in tags,
            kms_key_id=described.get("KmsKeyId"),
        )


if TYPE_CHECKING:
    _port: type[Shares] = RdsShares
