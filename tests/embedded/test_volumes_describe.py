"""What DescribeSnapshots and DescribeVolumes show: owners, filters and pages."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.ec2.models import ec2_backends

from embedded import ACCOUNT
from embedded.volumes import in_process
from embedded.volumes.in_process import Account, refusal


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    with in_process.account(tmp_path) as fresh:
        yield fresh


def tagged(**tags: str) -> list[dict[str, Any]]:
    return [{"ResourceType": "snapshot", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}]


def found(account: Account, *filters: tuple[str, list[str]]) -> set[str]:
    wanted = [{"Name": name, "Values": values} for name, values in filters]
    answer = account.ec2().describe_snapshots(OwnerIds=["self"], Filters=wanted)
    return {snapshot["SnapshotId"] for snapshot in answer["Snapshots"]}


def all_pages(account: Account, size: int, **wanted: Any) -> list[list[str]]:
    pages, token = [], None
    while True:
        more = {"NextToken": token} if token else {}
        answer = account.ec2().describe_snapshots(OwnerIds=["self"], MaxResults=size, **wanted, **more)
        pages.append([snapshot["SnapshotId"] for snapshot in answer["Snapshots"]])
        token = answer.get("NextToken")
        if not token:
            return pages


def test_snapshots_of_other_accounts_are_hidden_from_self_and_shown_if_public_or_shared(account: Account) -> None:
    volume_id = account.make_volume()
    own = account.take_snapshot(volume_id)
    backend = ec2_backends[ACCOUNT]["us-east-1"]
    public, shared, private = (backend.create_snapshot(volume_id, "", owner_id="999988887777") for _ in range(3))
    public.create_volume_permission_groups.add("all")
    shared.create_volume_permission_userids.add(ACCOUNT)

    assert found(account) == {own}
    everything = {snapshot["SnapshotId"] for snapshot in account.ec2().describe_snapshots()["Snapshots"]}
    assert everything == {own, public.id, shared.id}
    assert private.id not in everything


def test_snapshots_are_found_by_status_volume_id_and_start(account: Account) -> None:
    first_volume, second_volume = account.make_volume(), account.make_volume()
    completed = account.take_snapshot(first_volume)
    account.advance(86_400)
    pending = account.ec2().create_snapshot(VolumeId=second_volume)
    assert found(account, ("status", ["pending"])) == {pending["SnapshotId"]}
    assert found(account, ("status", ["completed", "error"])) == {completed}
    assert found(account, ("volume-id", [first_volume])) == {completed}
    assert found(account, ("snapshot-id", [completed])) == {completed}
    day = pending["StartTime"].astimezone().date()
    assert found(account, ("start-time", [f"{day}T*"])) == {pending["SnapshotId"]}
    assert found(account, ("status", ["completed"]), ("volume-id", [second_volume])) == set()


def test_snapshots_are_found_by_tag_value_and_by_any_of_several_tag_keys(account: Account) -> None:
    volume_id = account.make_volume()
    nightly = account.take_snapshot(volume_id, TagSpecifications=tagged(slot="night-1", team="shop"))
    weekly = account.take_snapshot(volume_id, TagSpecifications=tagged(slot="week-1"))
    bare = account.take_snapshot(volume_id)
    assert found(account, ("tag:slot", ["night-1"])) == {nightly}
    assert found(account, ("tag:slot", ["night-1", "week-1"])) == {nightly, weekly}
    assert found(account, ("tag:slot", ["*-1"])) == {nightly, weekly}
    assert found(account, ("tag:slot", [r"\*-1"])) == set()
    assert found(account, ("tag-key", ["team", "owner"])) == {nightly}
    assert found(account, ("tag-key", ["slot", "team"])) == {nightly, weekly}
    assert bare not in found(account, ("tag-key", ["*"]))


def test_tags_created_and_deleted_later_are_seen(account: Account) -> None:
    snapshot_id = account.take_snapshot(account.make_volume())
    account.ec2().create_tags(Resources=[snapshot_id], Tags=[{"Key": "state", "Value": "expired"}])
    assert found(account, ("tag:state", ["expired"])) == {snapshot_id}
    account.ec2().delete_tags(Resources=[snapshot_id], Tags=[{"Key": "state"}])
    assert found(account, ("tag:state", ["expired"])) == set()


def test_every_snapshot_is_on_exactly_one_page_and_no_page_but_the_last_ends_the_listing(account: Account) -> None:
    volume_id = account.make_volume()
    taken = [account.take_snapshot(volume_id) for _ in range(13)]
    pages = all_pages(account, 8)
    assert [snapshot for page in pages for snapshot in page] == taken
    assert len(pages) > 1
    assert all(len(page) < 8 for page in pages)


def test_a_deletion_between_two_pages_loses_nothing(account: Account) -> None:
    volume_id = account.make_volume()
    taken = [account.take_snapshot(volume_id) for _ in range(9)]
    first = account.ec2().describe_snapshots(OwnerIds=["self"], MaxResults=5)
    shown = [snapshot["SnapshotId"] for snapshot in first["Snapshots"]]
    account.ec2().delete_snapshot(SnapshotId=shown[0])
    rest = account.ec2().describe_snapshots(OwnerIds=["self"], MaxResults=1000, NextToken=first["NextToken"])
    assert shown + [snapshot["SnapshotId"] for snapshot in rest["Snapshots"]] == taken


def test_pages_of_filtered_snapshots_hold_only_those(account: Account) -> None:
    volume_id = account.make_volume()
    wanted = [account.take_snapshot(volume_id, TagSpecifications=tagged(keep="yes")) for _ in range(6)]
    account.take_snapshot(volume_id)
    pages = all_pages(account, 5, Filters=[{"Name": "tag:keep", "Values": ["yes"]}])
    assert [snapshot for page in pages for snapshot in page] == wanted


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"MaxResults": 4}, "InvalidParameterValue"),
        ({"MaxResults": 10, "SnapshotIds": ["ID"]}, "InvalidParameterCombination"),
        ({"MaxResults": 10, "NextToken": "nonsense"}, "InvalidParameterValue"),
        ({"SnapshotIds": ["snap-0123456789abcdef0"]}, "InvalidSnapshot.NotFound"),
    ],
)
def test_an_impossible_question_is_refused(account: Account, wanted: dict[str, Any], code: str) -> None:
    snapshot_id = account.take_snapshot(account.make_volume())
    asked = {name: [snapshot_id] if value == ["ID"] else value for name, value in wanted.items()}
    assert refusal(lambda: account.ec2().describe_snapshots(**asked)).code == code


def test_an_unknown_filter_is_refused(account: Account) -> None:
    account.take_snapshot(account.make_volume())
    wanted = [{"Name": "colour", "Values": ["blue"]}]
    assert refusal(account.ec2().describe_snapshots, Filters=wanted).code == "InvalidParameterValue"


def test_copies_are_found_by_how_they_were_transferred(account: Account) -> None:
    source = account.take_snapshot(account.make_volume())
    standard = account.copy_snapshot(source)
    timed = account.copy_snapshot(source, CompletionDurationMinutes=30)
    for value, expected in (("standard", standard), ("time-based", timed)):
        wanted = [{"Name": "transfer-type", "Values": [value]}]
        answer = account.ec2("us-west-2").describe_snapshots(Filters=wanted)
        assert [snapshot["SnapshotId"] for snapshot in answer["Snapshots"]] == [expected]
    assert found(account, ("transfer-type", ["*"])) == set()


def test_volumes_come_in_pages_too(account: Account) -> None:
    made = {account.make_volume() for _ in range(7)}
    pages = list(account.ec2().get_paginator("describe_volumes").paginate(PaginationConfig={"PageSize": 5}))
    assert len(pages) == 2
    assert {volume["VolumeId"] for page in pages for volume in page["Volumes"]} == made


def test_instances_come_in_pages_too(account: Account) -> None:
    for _ in range(7):
        account.ec2().run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1)
    pages = list(account.ec2().get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5}))
    assert len(pages) == 2
    assert sum(len(page["Reservations"]) for page in pages) == 7


def test_a_snapshot_is_described_without_a_walk_through_the_tags_of_everything(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """moto's own look-up takes as many walks as there are snapshots, and so minutes for thousands of them."""
    volume_id = account.make_volume()
    snapshots = {account.take_snapshot(volume_id, TagSpecifications=tagged(team="shop")) for _ in range(3)}
    monkeypatch.setattr(ec2_backends[ACCOUNT]["us-east-1"], "describe_tags", None)
    assert found(account, ("tag:team", ["shop"])) == snapshots
