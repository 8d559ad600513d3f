"""Who else may use a snapshot: permissions on it, and the account's block on public ones.

How AWS words its refusals here is not documented; the codes are EC2's own for what is not permitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from moto.ec2.exceptions import EC2ClientError

from embedded import ACCOUNT
from embedded.volumes.resources import EbsSnapshot

EVERYBODY = "all"


class PublicAccess(StrEnum):
    """What a Region does about public snapshots of the account."""

    UNBLOCKED = "unblocked"
    NEW_SHARING = "block-new-sharing"
    ALL_SHARING = "block-all-sharing"


def permissions(snapshot: EbsSnapshot) -> list[dict[str, str]]:
    """As DescribeSnapshotAttribute shows them. A block hides a public snapshot and leaves its permissions."""
    groups = [{"Group": group} for group in sorted(snapshot.create_volume_permission_groups)]
    return groups + [{"UserId": user_id} for user_id in sorted(snapshot.create_volume_permission_userids)]


def change(snapshot: EbsSnapshot, wanted: Mapping[str, Any], block: PublicAccess) -> None:
    """The permissions are added or removed that ModifySnapshotAttribute names, in its new form or its old one."""
    adding, removing = _named(wanted.get("Add", ())), _named(wanted.get("Remove", ()))
    if adding and removing:
        raise EC2ClientError("InvalidParameterCombination", "Permissions are added or removed, not both at once.")
    if EVERYBODY in adding:
        _check_public(snapshot, block)
    groups, users = snapshot.create_volume_permission_groups, snapshot.create_volume_permission_userids
    groups.update(adding & {EVERYBODY})
    users.update(adding - {EVERYBODY})
    groups.difference_update(removing)
    users.difference_update(removing)


def reset(snapshot: EbsSnapshot) -> None:
    """Only the owner may use the snapshot."""
    snapshot.create_volume_permission_groups.clear()
    snapshot.create_volume_permission_userids.clear()


def is_restorable_by(snapshot: EbsSnapshot, wanted: Iterable[str], block: PublicAccess) -> bool:
    """Whether RestorableByUserIds lets it through: for `all` what is public, for `self` what is the account's."""
    users = set(wanted)
    is_public = EVERYBODY in snapshot.create_volume_permission_groups and block is not PublicAccess.ALL_SHARING
    is_own = snapshot.owner_id == ACCOUNT and bool(users & {"self", ACCOUNT})
    return is_own or (EVERYBODY in users and is_public) or bool(users & snapshot.create_volume_permission_userids)


def _check_public(snapshot: EbsSnapshot, block: PublicAccess) -> None:
    if snapshot.encrypted:
        raise EC2ClientError("OperationNotPermitted", "Encrypted snapshots cannot be made public.")
    if block is not PublicAccess.UNBLOCKED:
        raise EC2ClientError("OperationNotPermitted", "Public sharing of snapshots is blocked in this Region.")


def _named(permissions: Iterable[Mapping[str, str]]) -> set[str]:
    return {name for one in permissions if (name := one.get("UserId") or one.get("Group"))}
