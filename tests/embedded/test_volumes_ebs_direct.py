"""The EBS direct APIs."""

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embedded.volumes import in_process
from embedded.volumes.blockstore import BLOCK_BYTES
from embedded.volumes.in_process import Account, refusal

DAY = 86_400


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    with in_process.account(tmp_path) as fresh:
        yield fresh


def snapshot_of(account: Account, *indexes: int, **wanted: Any) -> tuple[str, str]:
    """A volume with data in these blocks, and a completed snapshot of it."""
    volume_id = account.make_volume(**wanted)
    for index in indexes:
        account.write(volume_id, index, b"block %d" % index)
    return volume_id, account.take_snapshot(volume_id)


def all_pages(account: Account, operation: str, member: str, **wanted: Any) -> list[list[dict[str, Any]]]:
    pages, token = [], None
    while True:
        answer = getattr(account.ebs(), operation)(**wanted, **({"NextToken": token} if token else {}))
        pages.append(answer[member])
        token = answer.get("NextToken")
        if not token:
            return pages


def listed(account: Account, snapshot_id: str) -> list[dict[str, Any]]:
    pages = all_pages(account, "list_snapshot_blocks", "Blocks", SnapshotId=snapshot_id)
    return [block for page in pages for block in page]


def changed(account: Account, first: str, second: str) -> list[dict[str, Any]]:
    pages = all_pages(account, "list_changed_blocks", "ChangedBlocks", FirstSnapshotId=first, SecondSnapshotId=second)
    return [block for page in pages for block in page]


def refused(account: Account, operation: str, **wanted: Any) -> tuple[str, str | None]:
    answer = refusal(getattr(account.ebs(), operation), **wanted)
    return answer.code, answer.reason


def test_a_block_is_read_with_its_checksum(account: Account) -> None:
    _, snapshot_id = snapshot_of(account, 2)
    (block,) = listed(account, snapshot_id)
    assert block["BlockIndex"] == 2
    answer = account.ebs().get_snapshot_block(SnapshotId=snapshot_id, **block)
    content = answer["BlockData"].read()
    assert content == b"block 2".ljust(BLOCK_BYTES, b"\0")
    assert (answer["DataLength"], answer["ChecksumAlgorithm"]) == (BLOCK_BYTES, "SHA256")
    assert answer["Checksum"] == base64.b64encode(hashlib.sha256(content).digest()).decode()


def test_a_listing_says_the_sizes_and_when_its_tokens_end(account: Account) -> None:
    _, snapshot_id = snapshot_of(account, 0, Size=3)
    answer = account.ebs().list_snapshot_blocks(SnapshotId=snapshot_id)
    assert (answer["BlockSize"], answer["VolumeSize"]) == (BLOCK_BYTES, 3)
    completed_at = account.see(snapshot_id)["CompletionTime"]
    assert 6 < (answer["ExpiryTime"] - completed_at).days <= 7


def test_pages_are_as_long_as_asked_and_end_with_the_listing(account: Account) -> None:
    _, snapshot_id = snapshot_of(account, *range(250))
    pages = all_pages(account, "list_snapshot_blocks", "Blocks", SnapshotId=snapshot_id, MaxResults=100)
    assert [len(page) for page in pages] == [100, 100, 50]
    assert [block["BlockIndex"] for page in pages for block in page] == list(range(250))


def test_fewer_than_100_blocks_cannot_be_asked_for(account: Account) -> None:
    _, snapshot_id = snapshot_of(account, *range(120))
    pages = all_pages(account, "list_snapshot_blocks", "Blocks", SnapshotId=snapshot_id, MaxResults=5)
    assert [len(page) for page in pages] == [100, 20]


def test_a_long_hole_makes_a_short_page_and_an_empty_one(account: Account) -> None:
    _, snapshot_id = snapshot_of(account, 0, 1, 1500)
    pages = all_pages(account, "list_snapshot_blocks", "Blocks", SnapshotId=snapshot_id)
    assert [[block["BlockIndex"] for block in page] for page in pages] == [[0, 1], [], [1500]]


def test_a_listing_may_start_later(account: Account) -> None:
    _, snapshot_id = snapshot_of(account, 0, 1, 2, 3)
    answer = account.ebs().list_snapshot_blocks(SnapshotId=snapshot_id, StartingBlockIndex=2)
    assert [block["BlockIndex"] for block in answer["Blocks"]] == [2, 3]


def test_changed_blocks_are_exactly_those_that_changed(account: Account) -> None:
    volume_id, first = snapshot_of(account, 0, 1, 2)
    account.write(volume_id, 1, b"changed")
    account.write(volume_id, 3, b"new")
    second = account.take_snapshot(volume_id)
    blocks = changed(account, first, second)
    assert [block["BlockIndex"] for block in blocks] == [1, 3]
    assert ["FirstBlockToken" in block for block in blocks] == [True, False]
    for snapshot_id, name, expected in (
        (first, "FirstBlockToken", b"block 1"),
        (second, "SecondBlockToken", b"changed"),
    ):
        answer = account.ebs().get_snapshot_block(SnapshotId=snapshot_id, BlockIndex=1, BlockToken=blocks[0][name])
        assert answer["BlockData"].read(7) == expected


def test_nothing_changed_is_an_empty_listing(account: Account) -> None:
    volume_id, first = snapshot_of(account, 0)
    assert changed(account, first, account.take_snapshot(volume_id)) == []


def test_snapshots_of_different_volumes_are_unrelated(account: Account) -> None:
    _, first = snapshot_of(account, 0)
    _, second = snapshot_of(account, 0)
    answer = refused(account, "list_changed_blocks", FirstSnapshotId=first, SecondSnapshotId=second)
    assert answer == ("ValidationException", "UNRELATED_SNAPSHOTS")


def test_incremental_copies_are_of_one_lineage_and_a_full_one_starts_another(account: Account) -> None:
    volume_id = account.make_volume()
    copies = []
    for content in (b"one", b"two", b"six"):
        account.write(volume_id, 0, content)
        copies.append(account.copy_snapshot(account.take_snapshot(volume_id)))
        if content == b"two":
            account.ec2("us-west-2").delete_snapshot(SnapshotId=copies[-1])
    away = account.ebs("us-west-2")
    unrelated = refusal(away.list_changed_blocks, FirstSnapshotId=copies[0], SecondSnapshotId=copies[2])
    assert unrelated.reason == "UNRELATED_SNAPSHOTS"
    account.write(volume_id, 1, b"more")
    copies.append(account.copy_snapshot(account.take_snapshot(volume_id)))
    answer = away.list_changed_blocks(FirstSnapshotId=copies[2], SecondSnapshotId=copies[3])
    assert [block["BlockIndex"] for block in answer["ChangedBlocks"]] == [1]


def test_a_volume_and_the_snapshot_it_came_from_are_of_one_lineage(account: Account) -> None:
    _, origin = snapshot_of(account, 0)
    restored = account.make_volume(SnapshotId=origin)
    account.write(restored, 4, b"since")
    assert [block["BlockIndex"] for block in changed(account, origin, account.take_snapshot(restored))] == [4]


def test_blocks_of_a_copy_are_read_in_its_own_region_only(account: Account) -> None:
    _, source = snapshot_of(account, 0)
    copy = account.copy_snapshot(source)
    (block,) = account.ebs("us-west-2").list_snapshot_blocks(SnapshotId=copy)["Blocks"]
    answer = account.ebs("us-west-2").get_snapshot_block(SnapshotId=copy, **block)
    assert answer["BlockData"].read(7) == b"block 0"
    assert refused(account, "list_snapshot_blocks", SnapshotId=copy) == (
        "ResourceNotFoundException",
        "SNAPSHOT_NOT_FOUND",
    )


def test_a_pending_snapshot_has_no_blocks_to_read(account: Account) -> None:
    pending = account.ec2().create_snapshot(VolumeId=account.make_volume())["SnapshotId"]
    answer = refused(account, "list_snapshot_blocks", SnapshotId=pending)
    assert answer == ("ValidationException", "INVALID_SNAPSHOT_ID")


def test_a_block_token_is_for_one_block_of_one_snapshot_and_a_week(account: Account) -> None:
    volume_id, first = snapshot_of(account, 0, 1)
    second = account.take_snapshot(volume_id)
    token = listed(account, first)[0]["BlockToken"]
    bad = ("ValidationException", "INVALID_BLOCK_TOKEN")
    assert refused(account, "get_snapshot_block", SnapshotId=first, BlockIndex=1, BlockToken=token) == bad
    assert refused(account, "get_snapshot_block", SnapshotId=second, BlockIndex=0, BlockToken=token) == bad
    assert refused(account, "get_snapshot_block", SnapshotId=first, BlockIndex=0, BlockToken="made up") == bad
    account.advance(6 * DAY)
    account.ebs().get_snapshot_block(SnapshotId=first, BlockIndex=0, BlockToken=token)
    account.advance(DAY)
    assert refused(account, "get_snapshot_block", SnapshotId=first, BlockIndex=0, BlockToken=token) == bad


def test_a_page_token_is_for_one_listing_and_an_hour(account: Account) -> None:
    volume_id, first = snapshot_of(account, *range(150))
    second = account.take_snapshot(volume_id)
    token = account.ebs().list_snapshot_blocks(SnapshotId=first, MaxResults=100)["NextToken"]
    bad = ("ValidationException", "INVALID_PAGE_TOKEN")
    assert refused(account, "list_snapshot_blocks", SnapshotId=second, NextToken=token) == bad
    token = account.ebs().list_snapshot_blocks(SnapshotId=first, MaxResults=100)["NextToken"]
    account.advance(59 * 60)
    account.ebs().list_snapshot_blocks(SnapshotId=first, NextToken=token)
    account.advance(60)
    assert refused(account, "list_snapshot_blocks", SnapshotId=first, NextToken=token) == bad


def test_blocks_under_a_disabled_key_cannot_be_read(account: Account) -> None:
    key = account.kms("create_key", "us-east-1")["KeyMetadata"]
    _, snapshot_id = snapshot_of(account, 0, Encrypted=True, KmsKeyId=key["Arn"])
    (block,) = listed(account, snapshot_id)
    account.kms("disable_key", "us-east-1", KeyId=key["KeyId"])
    answer = refused(account, "get_snapshot_block", SnapshotId=snapshot_id, **block)
    assert answer == ("ValidationException", "INVALID_CUSTOMER_KEY")


def test_a_damaged_block_does_not_vouch_for_itself(account: Account) -> None:
    _, snapshot_id = snapshot_of(account, 0)
    (block,) = listed(account, snapshot_id)
    (stored,) = (path for path in (account.data_directory / "blocks").rglob("*") if path.is_file())
    promised = stored.name
    stored.write_bytes(b"rotten".ljust(BLOCK_BYTES, b"\0"))
    answer = account.ebs().get_snapshot_block(SnapshotId=snapshot_id, **block)
    assert base64.b64decode(answer["Checksum"]).hex() != promised
