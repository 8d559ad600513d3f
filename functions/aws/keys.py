"""The keys of KMS that snapshots are encrypted with: where they stand, never what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from functions.aws.clients import Clients
from functions.aws.faults import code_of, translated
from functions.aws.permissions import Permission
from functions.core.errors import NotAllowed
from functions.core.keys import Key, KeyState

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

STATES: Mapping[str, KeyState] = {
    "Creating": KeyState.USABLE,
    "Enabled": KeyState.USABLE,
    "Updating": KeyState.USABLE,
    "Disabled": KeyState.DISABLED,
    "PendingDeletion": KeyState.PENDING_DELETION,
    "PendingReplicaDeletion": KeyState.PENDING_DELETION,
    "PendingImport": KeyState.PENDING_IMPORT,
    "Unavailable": KeyState.UNAVAILABLE,
}
"""AWS's words in ours; a word that is not here is UNSEEN."""

PERMISSIONS: Mapping[str, tuple[Permission, ...]] = {
    "look": (
        Permission(
            actions=("kms:DescribeKey",),
            resources=("arn:{partition}:kms:{region}:{account}:key/*",),
            why="whatever key the account's volumes and databases have, their snapshots have too",
        ),
    ),
}


class Keys:
    """The keys of one Region."""

    def __init__(self, region: str, clients: Clients) -> None:
        self.region = region
        self._kms: KMSClient = clients.retrying("kms", region)

    def look(self, key_id: str) -> Key:
        """Where the key of this ARN or alias stands; UNSEEN when its policy or its account does not let us look."""
        try:
            with translated("kms:DescribeKey", resource=key_id):
                try:
                    told = self._kms.describe_key(KeyId=key_id)["KeyMetadata"]
                except ClientError as refusal:
                    if code_of(refusal) == "NotFoundException":
                        return Key(arn=key_id, region=self.region, state=KeyState.GONE)
                    raise
        except NotAllowed:
            return Key(arn=key_id, region=self.region, state=KeyState.UNSEEN)
        return Key(
            arn=told.get("Arn", key_id),
            region=self.region,
            state=STATES.get(told.get("KeyState", ""), KeyState.UNSEEN),
            deleted_at=told.get("DeletionDate"),
        )
