"""Copies of snapshots in another Region."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embedded import durations
from embedded.volumes import in_process
from embedded.volumes.in_process import Account, refusal

HOME, AWAY = "us-east-1", "us-west-2"


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    with in_process.account(tmp_path) as fresh:
        yield fresh


def make_key(account: Account, region: str = AWAY) -> dict[str, Any]:
    metadata: dict[str, Any] = account.kms("create_key", region)["KeyMetadata"]
    return metadata


def copy_notices(account: Account) -> list[in_process.Notice]:
    return [notice for notice in account.notices if notice.detail["event"] == "copySnapshot"]


def start_copy(account: Account, snapshot_id: str, **wanted: Any) -> str:
    call = {"SourceRegion": HOME, "SourceSnapshotId": snapshot_id, **wanted}
    return str(account.ec2(AWAY).copy_snapshot(**call)["SnapshotId"])


def test_a_copy_keeps_its_blocks_and_nothing_else_of_its_source(account: Account) -> None:
    tags = [{"ResourceType": "snapshot", "Tags": [{"Key": "source", "Value": "only"}]}]
    volume_id = account.make_volume()
    account.write(volume_id, 3, b"the data")
    source = account.take_snapshot(volume_id, TagSpecifications=tags, Description="of the source")
    own = [{"ResourceType": "snapshot", "Tags": [{"Key": "copy", "Value": "own"}]}]
    copy = account.copy_snapshot(source, TagSpecifications=own)

    seen = account.see(copy, AWAY)
    assert seen["State"] == "completed"
    assert seen["VolumeId"] == "vol-ffffffff"
    assert seen["Tags"] == [{"Key": "copy", "Value": "own"}]
    assert seen["Description"] == ""
    assert seen["FullSnapshotSizeInBytes"] == account.see(source)["FullSnapshotSizeInBytes"]
    restored = account.make_volume(AWAY, SnapshotId=copy)
    with account.image(restored).open("rb") as image:
        image.seek(3 * 512 * 1024)
        assert image.read(8) == b"the data"
    assert refusal(lambda: account.see(copy, HOME)).code == "InvalidSnapshot.NotFound"


def test_only_a_completed_snapshot_can_be_copied(account: Account) -> None:
    pending = account.ec2().create_snapshot(VolumeId=account.make_volume())["SnapshotId"]
    assert refusal(lambda: start_copy(account, pending)).code == "IncorrectState"
    assert refusal(lambda: start_copy(account, "snap-0123456789abcdef0")).code == "InvalidSnapshot.NotFound"


def test_a_copy_is_noticed_in_its_own_region_and_full_the_first_time(account: Account) -> None:
    source = account.take_snapshot(account.make_volume())
    copy = account.copy_snapshot(source)
    (notice,) = copy_notices(account)
    assert notice.region == AWAY
    assert notice.resources == (f"arn:aws:ec2::{AWAY}:snapshot/{copy}",)
    assert notice.detail["source"] == f"arn:aws:ec2::{HOME}:snapshot/{source}"
    assert (notice.detail["result"], notice.detail["incremental"]) == ("succeeded", "false")
    assert notice.detail["transferType"] == "standard"


def test_the_next_copy_is_incremental_while_the_newest_copy_is_there(account: Account) -> None:
    volume_id = account.make_volume()
    first, second, third = (account.take_snapshot(volume_id) for _ in range(3))
    account.copy_snapshot(first)
    newest = account.copy_snapshot(second)
    account.ec2(AWAY).delete_snapshot(SnapshotId=newest)
    account.copy_snapshot(third)
    assert [notice.detail["incremental"] for notice in copy_notices(account)] == ["false", "true", "false"]


def test_a_copy_under_another_key_is_a_full_one(account: Account) -> None:
    volume_id = account.make_volume(Encrypted=True)
    first, second, third = (account.take_snapshot(volume_id) for _ in range(3))
    account.copy_snapshot(first)
    other_key = make_key(account)["Arn"]
    account.copy_snapshot(second, KmsKeyId=other_key)
    account.copy_snapshot(third, KmsKeyId=other_key)
    assert [notice.detail["incremental"] for notice in copy_notices(account)] == ["false", "false", "true"]


def test_copies_of_different_volumes_are_full_each(account: Account) -> None:
    for _ in range(2):
        account.copy_snapshot(account.take_snapshot(account.make_volume()))
    assert [notice.detail["incremental"] for notice in copy_notices(account)] == ["false", "false"]


def test_an_encrypted_source_stays_encrypted_under_the_default_key_of_the_destination(account: Account) -> None:
    source = account.take_snapshot(account.make_volume(Encrypted=True))
    seen = account.see(account.copy_snapshot(source), AWAY)
    assert seen["Encrypted"] is True
    assert seen["KmsKeyId"] == account.kms("describe_key", AWAY, KeyId="alias/aws/ebs")["KeyMetadata"]["Arn"]
    assert seen["KmsKeyId"] != account.see(source)["KmsKeyId"]


def test_a_copy_is_under_the_key_it_was_given_even_by_alias(account: Account) -> None:
    key = make_key(account)
    account.kms("create_alias", AWAY, AliasName="alias/backup", TargetKeyId=key["KeyId"])
    source = account.take_snapshot(account.make_volume())
    for name in (key["KeyId"], key["Arn"], "alias/backup"):
        copy = account.copy_snapshot(source, Encrypted=True, KmsKeyId=name)
        assert account.see(copy, AWAY)["KmsKeyId"] == key["Arn"]


def test_a_key_for_an_unencrypted_copy_is_refused(account: Account) -> None:
    source = account.take_snapshot(account.make_volume())
    assert (
        refusal(lambda: start_copy(account, source, KmsKeyId=make_key(account)["Arn"])).code
        == "InvalidParameterDependency"
    )


@pytest.mark.parametrize("fault", ["missing", "disabled", "pending deletion", "of another Region"])
def test_a_copy_with_an_unusable_key_is_accepted_and_fails_without_a_word(account: Account, fault: str) -> None:
    source = account.take_snapshot(account.make_volume(Encrypted=True))
    key = make_key(account, HOME if fault == "of another Region" else AWAY)
    if fault == "disabled":
        account.kms("disable_key", AWAY, KeyId=key["KeyId"])
    if fault == "pending deletion":
        account.kms("schedule_key_deletion", AWAY, KeyId=key["KeyId"])
    named = "alias/nowhere" if fault == "missing" else key["Arn"]

    copy = start_copy(account, source, KmsKeyId=named)
    assert account.see(copy, AWAY)["State"] == "pending"
    account.advance(3600)
    seen = account.see(copy, AWAY)
    assert (seen["State"], seen["StateMessage"]) == ("error", "Given key ID is not accessible")
    assert copy_notices(account) == []


def test_a_copy_fails_if_the_key_of_its_source_is_disabled_meanwhile(account: Account) -> None:
    key = make_key(account, HOME)
    source = account.take_snapshot(account.make_volume(Encrypted=True, KmsKeyId=key["Arn"]))
    copy = start_copy(account, source)
    account.kms("disable_key", HOME, KeyId=key["KeyId"])
    account.advance(3600)
    assert account.see(copy, AWAY)["StateMessage"] == "Given key ID is not accessible"


def test_a_failed_copy_is_no_base_for_the_next(account: Account) -> None:
    volume_id = account.make_volume()
    first, second = account.take_snapshot(volume_id), account.take_snapshot(volume_id)
    account.doom("copy", "fail")
    failed = account.copy_snapshot(first)
    assert account.see(failed, AWAY)["State"] == "error"
    account.copy_snapshot(second)
    assert [notice.detail["result"] for notice in copy_notices(account)] == ["failed", "succeeded"]
    assert copy_notices(account)[-1].detail["incremental"] == "false"


def test_a_copy_whose_source_is_deleted_meanwhile_fails_and_says_so(account: Account) -> None:
    source = account.take_snapshot(account.make_volume())
    copy = start_copy(account, source)
    account.ec2().delete_snapshot(SnapshotId=source)
    account.advance(3600)
    assert account.see(copy, AWAY)["State"] == "error"
    assert copy_notices(account)[0].detail["cause"] == "Source snapshot ID is not valid"


def test_a_second_copy_of_the_same_volume_waits_for_the_first(account: Account) -> None:
    durations.update({"copy": 100})
    volume_id = account.make_volume()
    first, second = account.take_snapshot(volume_id), account.take_snapshot(volume_id)
    running, waiting = start_copy(account, first), start_copy(account, second)
    account.advance(120)
    assert account.see(running, AWAY)["State"] == "completed"
    assert account.see(waiting, AWAY)["State"] == "pending"
    account.advance(120)
    assert account.see(waiting, AWAY)["State"] == "completed"
    assert [notice.detail["incremental"] for notice in copy_notices(account)] == ["false", "true"]


def test_a_waiting_copy_shows_no_progress_until_its_turn(account: Account) -> None:
    durations.update({"copy": 100})
    volume_id = account.make_volume()
    first, second = account.take_snapshot(volume_id), account.take_snapshot(volume_id)
    running = start_copy(account, first)
    account.advance(50)
    waiting = start_copy(account, second)
    assert int(account.see(running, AWAY)["Progress"].rstrip("%")) >= 40
    account.advance(20)
    assert int(account.see(running, AWAY)["Progress"].rstrip("%")) >= 60
    assert account.see(waiting, AWAY)["Progress"] == "0%"
    account.advance(50)
    assert 1 <= int(account.see(waiting, AWAY)["Progress"].rstrip("%")) <= 35


def test_a_copy_deleted_while_pending_is_gone_without_a_notice_and_lets_the_next_run(account: Account) -> None:
    volume_id = account.make_volume()
    first, second = account.take_snapshot(volume_id), account.take_snapshot(volume_id)
    cancelled, waiting = start_copy(account, first), start_copy(account, second)
    account.ec2(AWAY).delete_snapshot(SnapshotId=cancelled)
    account.advance(60)
    assert account.see(waiting, AWAY)["State"] == "completed"
    assert [notice.detail["incremental"] for notice in copy_notices(account)] == ["false"]


def test_deleting_a_stuck_copy_lets_the_next_run(account: Account) -> None:
    volume_id = account.make_volume()
    first, second = account.take_snapshot(volume_id), account.take_snapshot(volume_id)
    account.doom("copy", "stick")
    stuck, waiting = start_copy(account, first), start_copy(account, second)
    account.advance(86_400)
    assert account.see(waiting, AWAY)["State"] == "pending"
    account.ec2(AWAY).delete_snapshot(SnapshotId=stuck)
    account.advance(60)
    assert account.see(waiting, AWAY)["State"] == "completed"


def test_a_time_based_copy_says_what_was_asked_for(account: Account) -> None:
    source = account.take_snapshot(account.make_volume())
    copy = account.copy_snapshot(source, CompletionDurationMinutes=15)
    seen = account.see(copy, AWAY)
    assert (seen["TransferType"], seen["CompletionDurationMinutes"]) == ("time-based", 15)
    (notice,) = copy_notices(account)
    assert notice.detail["transferType"] == "time-based"
    assert notice.detail["completionDurationStartTime"] == notice.detail["startTime"]
    assert refusal(lambda: start_copy(account, source, CompletionDurationMinutes=20)).code == "InvalidParameterValue"


def test_a_copy_is_encrypted_where_encryption_is_the_default(account: Account) -> None:
    account.ec2(AWAY).enable_ebs_encryption_by_default()
    assert account.ec2(AWAY).get_ebs_encryption_by_default()["EbsEncryptionByDefault"] is True
    copy = account.copy_snapshot(account.take_snapshot(account.make_volume()))
    assert account.see(copy, AWAY)["Encrypted"] is True


def test_a_copy_outlives_its_source_and_the_volume(account: Account) -> None:
    volume_id = account.make_volume()
    account.write(volume_id, 0, b"outlives")
    source = account.take_snapshot(volume_id)
    copy = account.copy_snapshot(source)
    account.ec2().delete_snapshot(SnapshotId=source)
    account.ec2().delete_volume(VolumeId=volume_id)
    restored = account.make_volume(AWAY, SnapshotId=copy)
    with account.image(restored).open("rb") as image:
        assert image.read(8) == b"outlives"
