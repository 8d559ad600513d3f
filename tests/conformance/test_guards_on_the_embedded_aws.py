"""Watching, withdrawing, locking and looking at keys on an embedded AWS, each in a role that has exactly what it
declares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.aws.clients import Clients
from functions.aws.keys import Keys
from functions.aws.locks import EbsLocks
from functions.aws.permissions import KEY_ALIAS
from functions.aws.shares_ebs import EbsShares
from functions.aws.shares_rds import RdsShares
from functions.core import labels
from functions.core.errors import NotAllowed
from functions.core.exposures import Family, Shares
from functions.core.keys import KeyState
from functions.core.locks import LockRequest, LockState
from functions.core.policies import LockMode
from functions.core.resources import Kind
from infra import functions as deployed
from tests.aws.moto_world import HOME
from tests.conformance.embedded_account import EmbeddedAccount
from tests.conformance.test_recoveries_on_the_embedded_aws import in_role

STRANGER = "999999999999"
TAGS = [{"Key": labels.MANAGED, "Value": "1"}]
SEVEN_DAYS = LockRequest(mode=LockMode.COMPLIANCE, days=7, cool_off_hours=24)


@pytest.fixture(autouse=True)
def nothing_left_over(embedded_account: EmbeddedAccount) -> Iterator[None]:
    yield
    embedded_account.remove_snapshots()


def role(embedded: EmbeddedAccount, spec: deployed.Spec) -> Clients:
    """Clients that may do at AWS what the function may."""
    return in_role(embedded, spec.name, spec.permissions)


def take(embedded: EmbeddedAccount, family: Family, *, tags: list[dict[str, str]] = TAGS) -> str:
    """A completed snapshot that is ours, shared with a stranger."""
    match family:
        case Family.EBS:
            specification: Any = {"ResourceType": "snapshot", "Tags": tags}
            id = embedded.ec2.create_snapshot(
                VolumeId=embedded.resource(Kind.VOLUME, 0),
                Description="Holdfast: volume/1, 2026-11-20 12:00 UTC",
                TagSpecifications=[specification] if tags else [],
            )["SnapshotId"]
            embedded.pass_time()
            embedded.ec2.modify_snapshot_attribute(
                SnapshotId=id, Attribute="createVolumePermission", OperationType="add", UserIds=[STRANGER]
            )
        case Family.DATABASE:
            id = "holdfast-db"
            embedded.rds.create_db_snapshot(
                DBSnapshotIdentifier=id, DBInstanceIdentifier=embedded.resource(Kind.DATABASE, 0), Tags=tags
            )
            embedded.pass_time()
            embedded.rds.modify_db_snapshot_attribute(
                DBSnapshotIdentifier=id, AttributeName="restore", ValuesToAdd=[STRANGER]
            )
        case Family.CLUSTER:
            id = "holdfast-cluster"
            embedded.rds.create_db_cluster_snapshot(
                DBClusterSnapshotIdentifier=id, DBClusterIdentifier=embedded.resource(Kind.CLUSTER, 0), Tags=tags
            )
            embedded.pass_time()
            embedded.rds.modify_db_cluster_snapshot_attribute(
                DBClusterSnapshotIdentifier=id, AttributeName="restore", ValuesToAdd=[STRANGER]
            )
    return id


def shares(clients: Clients, family: Family) -> Shares:
    return EbsShares(HOME, clients) if family is Family.EBS else RdsShares(family, HOME, clients)


@pytest.mark.parametrize("family", list(Family))
def test_the_watch_sees_who_may_use_a_snapshot_and_cannot_change_it(
    embedded_account: EmbeddedAccount, family: Family
) -> None:
    id = take(embedded_account, family)
    watching = shares(role(embedded_account, deployed.WATCH_SHARING), family)
    assert [one.id for one in watching.ours()] == [id]
    assert watching.shared_with(id) == {STRANGER}
    with pytest.raises(NotAllowed):
        watching.withdraw(id, frozenset({STRANGER}))


@pytest.mark.parametrize("family", list(Family))
def test_withdrawing_takes_the_share_from_what_carries_our_tag(
    embedded_account: EmbeddedAccount, family: Family
) -> None:
    id = take(embedded_account, family)
    withdrawing = shares(role(embedded_account, deployed.WITHDRAW_SHARES), family)
    withdrawing.withdraw(id, frozenset({STRANGER}))
    assert withdrawing.shared_with(id) == frozenset()


@pytest.mark.parametrize("family", list(Family))
def test_withdrawing_touches_nothing_that_does_not_carry_our_tag(
    embedded_account: EmbeddedAccount, family: Family
) -> None:
    id = take(embedded_account, family, tags=[])
    withdrawing = shares(role(embedded_account, deployed.WITHDRAW_SHARES), family)
    with pytest.raises(NotAllowed):
        withdrawing.withdraw(id, frozenset({STRANGER}))
    assert withdrawing.shared_with(id) == {STRANGER}


def test_whoever_withdraws_shares_of_ebs_can_give_none(embedded_account: EmbeddedAccount) -> None:
    id = take(embedded_account, Family.EBS)
    ec2 = role(embedded_account, deployed.WITHDRAW_SHARES).retrying("ec2", HOME)
    with pytest.raises(ClientError, match=r"UnauthorizedOperation|AccessDenied"):
        ec2.modify_snapshot_attribute(
            SnapshotId=id, Attribute="createVolumePermission", OperationType="add", UserIds=[STRANGER]
        )


def test_what_is_ours_is_locked_and_can_be_unlocked_by_nobody_here(embedded_account: EmbeddedAccount) -> None:
    id = take(embedded_account, Family.EBS)
    clients = role(embedded_account, deployed.locking_at_most(7))
    EbsLocks(HOME, clients).lock(id, SEVEN_DAYS)
    assert EbsLocks(HOME, clients).held()[id].state == LockState.COOLING_OFF
    with pytest.raises(ClientError, match=r"UnauthorizedOperation|AccessDenied"):
        clients.retrying("ec2", HOME).unlock_snapshot(SnapshotId=id)


@pytest.mark.parametrize(("days", "tags"), [(8, TAGS), (36_500, TAGS), (7, [])])
def test_a_longer_lock_or_one_of_something_else_is_denied(
    embedded_account: EmbeddedAccount, days: int, tags: list[dict[str, str]]
) -> None:
    """F97."""
    id = take(embedded_account, Family.EBS, tags=tags)
    locks = EbsLocks(HOME, role(embedded_account, deployed.locking_at_most(7)))
    with pytest.raises(NotAllowed):
        locks.lock(id, replace(SEVEN_DAYS, days=days))
    assert locks.held() == {}


def test_a_lock_until_a_date_has_no_days_that_could_be_bounded_and_is_denied(embedded_account: EmbeddedAccount) -> None:
    id = take(embedded_account, Family.EBS)
    ec2 = role(embedded_account, deployed.locking_at_most(7)).retrying("ec2", HOME)
    with pytest.raises(ClientError, match=r"UnauthorizedOperation|AccessDenied"):
        ec2.lock_snapshot(SnapshotId=id, LockMode="governance", ExpirationDate="2126-11-20T12:00:00Z")


def test_our_key_is_seen_by_its_alias_and_in_every_state(embedded_account: EmbeddedAccount) -> None:
    kms, id = embedded_account.aws.client("kms", HOME), embedded_account.keys[HOME]
    keys = Keys(HOME, role(embedded_account, deployed.CHECK_KEYS))
    looked = keys.look(KEY_ALIAS)
    assert (looked.state, looked.arn.endswith(id)) == (KeyState.USABLE, True)
    kms.disable_key(KeyId=id)
    try:
        assert keys.look(looked.arn).state is KeyState.DISABLED
    finally:
        kms.enable_key(KeyId=id)
