"""Who may use our snapshots, as the adapters see and change it, on the embedded AWS in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from embedded.databases import in_process as databases
from embedded.volumes import in_process as volumes
from functions.aws import shares_ebs, shares_rds
from functions.aws.clients import Clients
from functions.aws.permissions import Permission
from functions.aws.shares_ebs import EbsShares
from functions.aws.shares_rds import RdsShares
from functions.core import labels
from functions.core.errors import AwsBusy
from functions.core.exposures import EVERYBODY, Family
from tests.aws.moto_world import refusal
from tests.aws.recoveries.account import keep_moto_as_it_is

REGION, STRANGER, FRIEND = "us-east-1", "999999999999", "210987654321"
TAGS = {labels.MANAGED: "1", labels.RESOURCE: "volume/us-east-1/vol-1"}
TAG_LIST = [{"Key": key, "Value": value} for key, value in TAGS.items()]
OURS = {"Description": "Holdfast: volume/us-east-1/vol-1, 2026-11-20 12:00 UTC"}


class Given(Clients):
    """The clients of an account in this process."""

    def __init__(self, clients: Any) -> None:
        super().__init__()
        self._clients = clients

    def retrying(self, service: str, region: str) -> Any:
        return self._clients(service, region)


@pytest.fixture
def ebs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[volumes.Account]:
    keep_moto_as_it_is(monkeypatch)
    with volumes.account(tmp_path) as account:
        yield account


@pytest.fixture
def rds(monkeypatch: pytest.MonkeyPatch) -> Iterator[databases.Account]:
    keep_moto_as_it_is(monkeypatch)
    with databases.account() as account:
        account.make_instance("orders")
        account.make_cluster("orders-cluster")
        yield account


def ebs_shares(account: volumes.Account) -> EbsShares:
    return EbsShares(REGION, Given(lambda _, region: account.ec2(region)))


def a_snapshot(account: volumes.Account, **wanted: Any) -> str:
    """A completed snapshot that is ours."""
    tags: dict[str, Any] = {"TagSpecifications": [{"ResourceType": "snapshot", "Tags": TAG_LIST}]}
    volume = wanted.pop("volume", None) or account.make_volume(**wanted.pop("of", {}))
    return account.take_snapshot(volume, **tags | OURS | wanted)


def give(account: volumes.Account, id: str, **to: Any) -> None:
    account.ec2().modify_snapshot_attribute(
        SnapshotId=id, Attribute="createVolumePermission", OperationType="add", **to
    )


class TestEbs:
    def test_ours_are_those_with_our_description_whatever_their_tags(self, ebs: volumes.Account) -> None:
        ours, bare = a_snapshot(ebs), a_snapshot(ebs, TagSpecifications=[])
        a_snapshot(ebs, Description="by hand")
        found = {one.id: one for one in ebs_shares(ebs).ours()}
        assert set(found) == {ours, bare}
        assert found[ours].resource == "volume/us-east-1/vol-1"
        assert found[bare].resource == "a resource whose tag is gone"
        assert found[ours].started_at is not None

    def test_a_snapshot_knows_its_key_and_whether_it_is_a_copy(self, ebs: volumes.Account) -> None:
        copied = {"Tags": [*TAG_LIST, {"Key": labels.SOURCE_SNAPSHOT, "Value": "snap-0"}], "ResourceType": "snapshot"}
        id = a_snapshot(ebs, of={"Encrypted": True}, TagSpecifications=[copied])
        found = ebs_shares(ebs).find(id)
        assert found is not None
        assert (found.is_encrypted, found.is_copy) == (True, True)
        assert str(found.kms_key_id).startswith("arn:aws:kms:us-east-1:")

    def test_what_is_not_ours_or_not_there_is_not_found(self, ebs: volumes.Account) -> None:
        by_hand = a_snapshot(ebs, Description="by hand")
        assert ebs_shares(ebs).find(by_hand) is None
        assert ebs_shares(ebs).find("snap-0123456789abcdef0") is None

    def test_what_is_public_is_listed_to_the_last_page(self, ebs: volumes.Account) -> None:
        volume = ebs.make_volume()
        public = {a_snapshot(ebs, volume=volume) for _ in range(3)}
        private = a_snapshot(ebs, volume=volume)
        for id in public:
            give(ebs, id, GroupNames=["all"])
        listed = ebs_shares(ebs).listed([EVERYBODY, STRANGER])
        assert listed == {EVERYBODY: public, STRANGER: frozenset()}
        assert private not in listed[EVERYBODY]

    def test_what_an_account_may_use_is_listed_for_it(self, ebs: volumes.Account) -> None:
        given, public = a_snapshot(ebs), a_snapshot(ebs)
        give(ebs, given, UserIds=[STRANGER])
        give(ebs, public, GroupNames=["all"])
        assert ebs_shares(ebs).listed([STRANGER, FRIEND]) == {STRANGER: {given}, FRIEND: frozenset()}

    def test_who_may_use_a_snapshot_is_told_in_accounts_and_everybody(self, ebs: volumes.Account) -> None:
        id = a_snapshot(ebs)
        assert ebs_shares(ebs).shared_with(id) == frozenset()
        give(ebs, id, GroupNames=["all"])
        give(ebs, id, UserIds=[STRANGER, FRIEND])
        assert ebs_shares(ebs).shared_with(id) == {EVERYBODY, STRANGER, FRIEND}

    def test_a_snapshot_that_is_gone_is_shared_with_nobody_we_could_tell(self, ebs: volumes.Account) -> None:
        assert ebs_shares(ebs).shared_with("snap-0123456789abcdef0") is None

    def test_after_a_withdrawal_nobody_else_may_use_it(self, ebs: volumes.Account) -> None:
        id = a_snapshot(ebs)
        give(ebs, id, GroupNames=["all"])
        give(ebs, id, UserIds=[STRANGER, FRIEND])
        ebs_shares(ebs).withdraw(id, frozenset({STRANGER}))
        assert ebs_shares(ebs).shared_with(id) == frozenset()

    def test_a_block_hides_a_public_snapshot_and_its_attributes_still_tell(self, ebs: volumes.Account) -> None:
        id = a_snapshot(ebs)
        give(ebs, id, GroupNames=["all"])
        ebs.ec2().enable_snapshot_block_public_access(State="block-all-sharing")
        assert ebs_shares(ebs).listed([EVERYBODY]) == {EVERYBODY: frozenset()}
        assert ebs_shares(ebs).shared_with(id) == {EVERYBODY}


@pytest.fixture(params=[Family.DATABASE, Family.CLUSTER])
def family(request: pytest.FixtureRequest) -> Family:
    return request.param


CALLS: Mapping[Family, Mapping[str, str]] = {
    Family.DATABASE: {"id": "DBSnapshotIdentifier", "source": "DBInstanceIdentifier", "noun": "db_snapshot"},
    Family.CLUSTER: {
        "id": "DBClusterSnapshotIdentifier",
        "source": "DBClusterIdentifier",
        "noun": "db_cluster_snapshot",
    },
}


class TestRds:
    def shares(self, account: databases.Account, family: Family) -> RdsShares:
        return RdsShares(family, REGION, Given(lambda service, region: account.client(service, region)))

    def take(self, account: databases.Account, family: Family, name: str = "holdfast-1", **wanted: Any) -> str:
        words = CALLS[family]
        source = "orders" if family is Family.DATABASE else "orders-cluster"
        create = getattr(account.rds(), f"create_{words['noun']}")
        create(**{words["id"]: name, words["source"]: source, "Tags": TAG_LIST} | wanted)
        account.advance(3600)
        return name

    def give(self, account: databases.Account, family: Family, id: str, *accounts: str) -> None:
        modify = getattr(account.rds(), f"modify_{CALLS[family]['noun']}_attribute")
        modify(**{CALLS[family]["id"]: id, "AttributeName": "restore", "ValuesToAdd": list(accounts)})

    def test_ours_are_those_with_our_name_whatever_their_tags(self, rds: databases.Account, family: Family) -> None:
        ours, bare = self.take(rds, family), self.take(rds, family, "holdfast-2", Tags=[])
        self.take(rds, family, "by-hand")
        found = {one.id: one for one in self.shares(rds, family).ours()}
        assert set(found) == {ours, bare}
        assert found[ours].resource == TAGS[labels.RESOURCE]
        assert found[bare].resource == "a resource whose tag is gone"

    def test_one_of_ours_is_found_and_no_other(self, rds: databases.Account, family: Family) -> None:
        ours = self.take(rds, family)
        self.take(rds, family, "by-hand")
        shares = self.shares(rds, family)
        found = shares.find(ours)
        assert found is not None
        assert (found.id, found.family, found.is_copy) == (ours, family, False)
        assert (shares.find("by-hand"), shares.find("holdfast-nobody")) == (None, None)

    def test_rds_lists_nothing_for_anybody(self, rds: databases.Account, family: Family) -> None:
        self.give(rds, family, self.take(rds, family), STRANGER)
        assert self.shares(rds, family).listed([EVERYBODY, STRANGER]) == {EVERYBODY: frozenset(), STRANGER: frozenset()}

    def test_who_may_restore_a_snapshot_is_told(self, rds: databases.Account, family: Family) -> None:
        id = self.take(rds, family)
        assert self.shares(rds, family).shared_with(id) == frozenset()
        self.give(rds, family, id, STRANGER, FRIEND)
        assert self.shares(rds, family).shared_with(id) == {STRANGER, FRIEND}

    def test_a_snapshot_that_is_gone_is_shared_with_nobody_we_could_tell(
        self, rds: databases.Account, family: Family
    ) -> None:
        assert self.shares(rds, family).shared_with("holdfast-nobody") is None

    def test_a_withdrawal_takes_from_those_it_names_and_from_no_other(
        self, rds: databases.Account, family: Family
    ) -> None:
        id = self.take(rds, family)
        self.give(rds, family, id, STRANGER, FRIEND)
        self.shares(rds, family).withdraw(id, frozenset({STRANGER}))
        assert self.shares(rds, family).shared_with(id) == {FRIEND}


def test_a_throttled_look_is_said_in_our_words(ebs: volumes.Account) -> None:
    client = ebs.ec2()

    def refuse(**_: Any) -> Any:
        raise refusal("RequestLimitExceeded", "DescribeSnapshotAttribute", status=503)

    client.meta.events.register_first("before-call.ec2.DescribeSnapshotAttribute", refuse)
    with pytest.raises(AwsBusy, match="ec2:DescribeSnapshotAttribute of snap-1"):
        ebs_shares(ebs).shared_with("snap-1")


# what the calls may do


ALL = [shares_ebs.PERMISSIONS, *shares_rds.PERMISSIONS.values()]


@pytest.mark.parametrize("permissions", ALL)
def test_looking_changes_nothing(permissions: Mapping[str, tuple[Permission, ...]]) -> None:
    looking = [p for verb in ("ours", "find", "listed", "shared_with") for p in permissions[verb]]
    assert looking
    assert all(":Describe" in action for p in looking for action in p.actions)


@pytest.mark.parametrize("permissions", ALL)
def test_a_share_is_taken_back_only_from_what_carries_our_tag(
    permissions: Mapping[str, tuple[Permission, ...]],
) -> None:
    (withdrawing,) = permissions["withdraw"]
    assert withdrawing.conditions == {"StringEquals": {"aws:ResourceTag/holdfast:managed": "1"}}


def test_nothing_here_can_share_a_snapshot_of_ebs() -> None:
    actions = {a for verbs in shares_ebs.PERMISSIONS.values() for p in verbs for a in p.actions}
    assert "ec2:ResetSnapshotAttribute" in actions
    assert "ec2:ModifySnapshotAttribute" not in actions
