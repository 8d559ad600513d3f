"""Volumes restored for a rehearsal, their proofs, and their removal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from moto import mock_aws

from functions.aws.clients import Clients
from functions.aws.restores_ebs import VolumeRestores
from functions.core.errors import AwsBusy, OutcomeUnknown, SnapshotGone, Unsafe
from functions.core.resources import Kind
from functions.core.restores import Restored, RestoreOrder, RestoreState
from functions.core.snapshots import State

REGION = "eu-central-1"


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    with mock_aws():
        yield Clients(boto3.Session(region_name=REGION))


@pytest.fixture
def ec2(clients: Clients) -> Any:
    return clients.retrying("ec2", REGION)


@pytest.fixture
def restores(clients: Clients) -> VolumeRestores:
    return VolumeRestores(Kind.VOLUME, REGION, clients)


@pytest.fixture
def source(ec2: Any) -> str:
    """The volume in use."""
    return ec2.create_volume(AvailabilityZone=f"{REGION}b", Size=7)["VolumeId"]


@pytest.fixture
def order(ec2: Any, source: str) -> RestoreOrder:
    return RestoreOrder(
        rehearsal_id="rehearsal-1",
        kind=Kind.VOLUME,
        region=REGION,
        snapshot_ids=tuple(ec2.create_snapshot(VolumeId=source)["SnapshotId"] for _ in range(2)),
        expires_at=datetime(2026, 11, 21, 6, tzinfo=UTC),
    )


def refusing(client: Any, operation: str, code: str, *, when: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """The client refuses the operation with the code, for these parameters; what it was asked is collected."""
    asked: list[dict[str, Any]] = []

    def refuse(params: dict[str, Any], **_: object) -> None:
        asked.append(dict(params))
        if when is None or when.items() <= params.items():
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, operation)

    client.meta.events.register(f"provide-client-params.ec2.{operation}", refuse)
    return asked


def saying(client: Any, word: str) -> None:
    """From now on EC2 describes every volume with this word as its state."""

    def say(parsed: dict[str, Any], **_: object) -> None:
        for volume in parsed["Volumes"]:
            volume["State"] = word

    client.meta.events.register("after-call.ec2.DescribeVolumes", say)


def described(ec2: Any, restored: Restored) -> dict[str, Any]:
    return ec2.describe_volumes(VolumeIds=[restored.id])["Volumes"][0]


def tags_of(thing: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in thing["Tags"]}


def test_each_snapshot_becomes_a_volume_that_says_whose_it_is(restores: VolumeRestores, order: RestoreOrder, ec2: Any):
    restored = restores.begin(order)
    assert [r.snapshot_id for r in restored] == list(order.snapshot_ids)
    for one in restored:
        volume = described(ec2, one)
        assert (volume["SnapshotId"], volume["VolumeType"], volume["Size"]) == (one.snapshot_id, "gp3", 7)
        tags = tags_of(volume)
        assert tags.pop("Name").startswith("holdfast-rt-")
        assert tags == {"holdfast:rehearsal": "rehearsal-1", "holdfast:expires-at": "2026-11-21T06:00:00Z"}


def test_begun_twice_is_begun_once(restores: VolumeRestores, order: RestoreOrder):
    assert [r.id for r in restores.begin(order)] == [r.id for r in restores.begin(order)]


def test_another_rehearsal_of_the_same_snapshot_gets_its_own_volume(restores: VolumeRestores, order: RestoreOrder):
    other = replace(order, rehearsal_id="rehearsal-2")
    assert not {r.id for r in restores.begin(order)} & {r.id for r in restores.begin(other)}


def test_the_client_token_is_stable_and_one_for_each_snapshot(restores: VolumeRestores, order: RestoreOrder, ec2: Any):
    asked = refusing(ec2, "CreateVolume", "InternalError")
    for rehearsal_id in ("rehearsal-1", "rehearsal-1", "rehearsal-2"):
        for snapshot_id in order.snapshot_ids:
            with pytest.raises(AwsBusy):
                restores.begin(replace(order, rehearsal_id=rehearsal_id, snapshot_ids=(snapshot_id,)))
    tokens = [params["ClientToken"] for params in asked]
    assert tokens[:2] == tokens[2:4]
    assert len(set(tokens)) == 4
    assert all(len(token) <= 64 and token.isascii() for token in tokens)


def test_a_zone_without_room_is_followed_by_the_next(restores: VolumeRestores, order: RestoreOrder, ec2: Any):
    first = {"AvailabilityZone": f"{REGION}a"}
    asked = refusing(ec2, "CreateVolume", "InsufficientVolumeCapacity", when=first)
    restored, _ = restores.begin(order)
    assert described(ec2, restored)["AvailabilityZone"] == f"{REGION}b"
    assert asked[0]["ClientToken"] != asked[1]["ClientToken"]


def test_no_room_in_any_zone_is_tried_again_later(restores: VolumeRestores, order: RestoreOrder, ec2: Any):
    asked = refusing(ec2, "CreateVolume", "InsufficientVolumeCapacity")
    with pytest.raises(AwsBusy, match="no zone of eu-central-1 has room"):
        restores.begin(order)
    assert [params["AvailabilityZone"][-1] for params in asked] == ["a", "b", "c"]


def test_volumes_for_a_machine_are_made_in_its_zone_or_nowhere(restores: VolumeRestores, order: RestoreOrder, ec2: Any):
    in_one = replace(order, zone=f"{REGION}c")
    for restored in restores.begin(in_one):
        assert described(ec2, restored)["AvailabilityZone"] == f"{REGION}c"
    asked = refusing(ec2, "CreateVolume", "InsufficientVolumeCapacity")
    with pytest.raises(AwsBusy, match="zone eu-central-1c has no room"):
        restores.begin(replace(in_one, rehearsal_id="rehearsal-2"))
    assert len(asked) == 1


def test_a_snapshot_that_is_gone_is_refused(restores: VolumeRestores, order: RestoreOrder, ec2: Any):
    refusing(ec2, "CreateVolume", "InvalidSnapshot.NotFound")
    with pytest.raises(SnapshotGone, match=order.snapshot_ids[0]):
        restores.begin(order)


def test_looking_follows_the_volume_to_its_end(restores: VolumeRestores, order: RestoreOrder, ec2: Any):
    restored, _ = restores.begin(order)
    assert restores.look(restored).state is RestoreState.AVAILABLE
    ec2.delete_volume(VolumeId=restored.id)
    gone = restores.look(restored)
    assert (gone.state, gone.id, gone.snapshot_id) == (RestoreState.GONE, restored.id, restored.snapshot_id)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("creating", RestoreState.CREATING),
        ("available", RestoreState.AVAILABLE),
        ("error", RestoreState.FAILED),
        ("deleting", RestoreState.CREATING),
        ("a word of tomorrow", RestoreState.CREATING),
    ],
)
def test_words_of_ec2_become_ours(
    restores: VolumeRestores, order: RestoreOrder, ec2: Any, word: str, state: RestoreState
):
    restored, _ = restores.begin(order)
    saying(ec2, word)
    seen = restores.look(restored)
    assert seen.state is state
    assert (word in seen.message) is (word not in ("creating", "available"))


def test_removing_ends_in_gone_and_may_be_repeated(restores: VolumeRestores, order: RestoreOrder, ec2: Any):
    restored, other = restores.begin(order)
    assert [restores.remove(restored) for _ in range(3)] == [
        RestoreState.CREATING,
        RestoreState.GONE,
        RestoreState.GONE,
    ]
    assert described(ec2, other)["State"] == "available"


def test_a_volume_that_vanishes_while_it_is_removed_is_gone(restores: VolumeRestores, order: RestoreOrder, ec2: Any):
    restored, _ = restores.begin(order)
    refusing(ec2, "DeleteVolume", "InvalidVolume.NotFound")
    assert restores.remove(restored) is RestoreState.GONE


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"Name": "holdfast-rt-0123456789ab"},
        {"holdfast:rehearsal": "rehearsal-1"},
        {"holdfast:rehearsal": "rehearsal-1", "Name": "production"},
    ],
)
def test_a_volume_without_both_name_and_tag_is_never_removed(
    restores: VolumeRestores, ec2: Any, source: str, tags: dict[str, str]
):
    if tags:
        ec2.create_tags(Resources=[source], Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
    in_use = Restored(id=source, snapshot_id="snap-1", kind=Kind.VOLUME, region=REGION, state=RestoreState.AVAILABLE)
    with pytest.raises(Unsafe):
        restores.remove(in_use)
    assert described(ec2, in_use)["State"] == "available"


def test_a_volume_that_somebody_attached_is_not_removed(restores: VolumeRestores, order: RestoreOrder, ec2: Any):
    restored, _ = restores.begin(order)
    saying(ec2, "in-use")
    with pytest.raises(Unsafe, match="attached"):
        restores.remove(restored)


def test_a_proof_is_a_tagged_snapshot_of_the_restored_volume(restores: VolumeRestores, order: RestoreOrder, ec2: Any):
    restored, _ = restores.begin(order)
    proof = restores.begin_proof(restored, order)
    (snapshot,) = ec2.describe_snapshots(SnapshotIds=[proof])["Snapshots"]
    assert snapshot["VolumeId"] == restored.id
    tags = tags_of(snapshot)
    assert tags.pop("Name").startswith("holdfast-rt-")
    assert tags == {
        "holdfast:rehearsal": "rehearsal-1",
        "holdfast:expires-at": "2026-11-21T06:00:00Z",
        "holdfast:proof-of": restored.id,
    }
    assert restores.look_proof(proof) is State.COMPLETED


def test_a_proof_begun_twice_is_one_snapshot(restores: VolumeRestores, order: RestoreOrder):
    first, second = restores.begin(order)
    assert restores.begin_proof(first, order) == restores.begin_proof(first, order)
    assert restores.begin_proof(first, order) != restores.begin_proof(second, order)


def test_the_creating_request_of_a_proof_is_sent_once(restores: VolumeRestores, order: RestoreOrder, clients: Clients):
    restored, _ = restores.begin(order)
    sent: list[str] = []

    def lose(**_: object) -> None:
        sent.append("CreateSnapshot")
        raise ReadTimeoutError(endpoint_url="https://ec2")

    for client in (clients.once("ec2", REGION), clients.retrying("ec2", REGION)):
        client.meta.events.register_first("before-send.ec2.CreateSnapshot", lose)
    with pytest.raises(OutcomeUnknown):
        restores.begin_proof(restored, order)
    assert len(sent) == 1


def test_a_proof_is_removed_and_may_be_removed_again(restores: VolumeRestores, order: RestoreOrder):
    restored, _ = restores.begin(order)
    proof = restores.begin_proof(restored, order)
    for _ in range(2):
        restores.remove_proof(proof)
        assert restores.look_proof(proof) is State.GONE


def test_a_recovery_point_is_never_removed_as_a_proof(restores: VolumeRestores, order: RestoreOrder, ec2: Any):
    point, tagged = order.snapshot_ids
    ec2.create_tags(
        Resources=[tagged],
        Tags=[{"Key": "holdfast:rehearsal", "Value": "r"}, {"Key": "Name", "Value": "holdfast-rt-0123456789ab"}],
    )
    for snapshot_id in (point, tagged):
        with pytest.raises(Unsafe):
            restores.remove_proof(snapshot_id)
        assert restores.look_proof(snapshot_id) is State.COMPLETED


def test_volumes_are_not_restored_from_databases(clients: Clients):
    with pytest.raises(ValueError, match="database"):
        VolumeRestores(Kind.DATABASE, REGION, clients)
