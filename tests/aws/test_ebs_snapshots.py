"""What is particular to EBS: requests as they leave, words of AWS, locks, exclusions, changed blocks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from moto.ec2.models import ec2_backends

from functions.aws.ebs_snapshots import EbsSnapshots
from functions.aws.ebs_volumes import VolumeSnapshots
from functions.aws.permissions import KEY_ALIAS
from functions.core import labels
from functions.core.errors import BadMessage, SnapshotGone, Unsafe
from functions.core.resources import Kind
from functions.core.snapshots import Snapshot, State
from tests.aws.moto_world import ACCOUNT, AWAY, HOME, MotoWorld, Sent, refusal
from tests.aws.snapshots_suite import copy_order_for, order_for


@pytest.fixture
def volumes(moto: None) -> MotoWorld:
    return MotoWorld(Kind.VOLUME)


@pytest.fixture
def instances(moto: None) -> MotoWorld:
    return MotoWorld(Kind.INSTANCE)


def taken(world: MotoWorld) -> Snapshot:
    order = order_for(world.make_resource())
    return world.home.take(order, labels.for_snapshot(order))[0]


def last(world: MotoWorld, operation: str) -> Sent:
    return [sent for sent in world.sent if sent.operation == operation][-1]


def read(described: dict[str, Any], world: MotoWorld) -> Snapshot:
    adapter: EbsSnapshots = VolumeSnapshots(region=HOME, account=ACCOUNT, clients=world.clients)
    return adapter._read({"SnapshotId": "snap-1", **described})


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("pending", State.PENDING),
        ("completed", State.COMPLETED),
        ("error", State.FAILED),
        ("recoverable", State.UNUSABLE),
        ("recovering", State.UNUSABLE),
        ("teleporting", State.UNKNOWN),
    ],
)
def test_a_word_of_ebs_in_ours(word: str, state: State, volumes: MotoWorld) -> None:
    """F27, F42."""
    assert read({"State": word}, volumes).state is state


def test_progress_may_be_missing_or_a_percentage(volumes: MotoWorld) -> None:
    assert [read({"Progress": p}, volumes).progress_percent for p in ("", "7%", "100%")] == [0, 7, 100]


def test_a_copy_is_asked_for_with_our_key_and_always_encrypted(volumes: MotoWorld) -> None:
    """F53, invariant 11."""
    order = order_for(volumes.make_resource())
    (source,) = volumes.home.take(order, labels.for_snapshot(order))
    copying = copy_order_for(source, order, AWAY)
    copy = volumes.away.copy(copying, labels.for_copy(copying), home_region=HOME)
    sent = last(volumes, "CopySnapshot")
    assert (sent.region, sent.parameters["SourceRegion"]) == (AWAY, HOME)
    assert (sent.parameters["Encrypted"], sent.parameters["KmsKeyId"]) == (True, KEY_ALIAS)
    assert copy.state is State.PENDING


def test_a_copy_without_our_source_tag_has_no_source_rather_than_an_arbitrary_one(volumes: MotoWorld) -> None:
    tags = [{"Key": labels.SOURCE_SNAPSHOT, "Value": "snap-0"}]
    copy = read({"VolumeId": "vol-ffffffff", "Tags": tags, "StartTime": "now"}, volumes)
    assert (copy.source_id, copy.consistent_at) == ("", None)


def test_looking_asks_by_filter_and_for_our_own_snapshots_only(volumes: MotoWorld) -> None:
    volumes.home.look(volumes.missing_ids(201))
    asked = [sent.parameters for sent in volumes.sent if sent.operation == "DescribeSnapshots"]
    assert [len(one["Filters"][0]["Values"]) for one in asked] == [200, 1]
    assert all(one["OwnerIds"] == ["self"] and "SnapshotIds" not in one for one in asked)


# the archive


def test_of_two_snapshots_of_one_volume_the_earlier_is_found(volumes: MotoWorld) -> None:
    """F44, invariant 15: a point of one volume is one snapshot."""
    order = order_for(volumes.make_resource())
    _, earlier = [volumes.home.take(order, labels.for_snapshot(order))[0] for _ in range(2)]
    ec2_backends[ACCOUNT][HOME].snapshots[earlier.id].start_time -= timedelta(hours=1)
    assert [found.id for found in volumes.home.find(order.slot, attempt=1)] == [earlier.id]


def test_copies_of_two_snapshots_of_one_volume_are_both_found(volumes: MotoWorld) -> None:
    """F44: each is looked for by the snapshot it is of."""
    order = order_for(volumes.make_resource())
    sources = [volumes.home.take(order, labels.for_snapshot(order))[0] for _ in range(2)]
    copies = set()
    for source in sources:
        copying = copy_order_for(source, order, AWAY)
        copies.add(volumes.away.copy(copying, labels.for_copy(copying), home_region=HOME).id)
    assert {found.id for found in volumes.away.find(order.slot, attempt=1)} == copies


def test_a_copy_is_found_beside_a_failed_one_of_the_same_attempt(volumes: MotoWorld) -> None:
    """F95, invariant 2: a ledger that was lost counts its attempts from one again."""
    order = order_for(volumes.make_resource())
    copying = copy_order_for(volumes.home.take(order, labels.for_snapshot(order))[0], order, AWAY)
    failed, copy = [volumes.away.copy(copying, labels.for_copy(copying), home_region=HOME) for _ in range(2)]
    volumes.fail(failed)
    assert [found.id for found in volumes.away.find(order.slot, attempt=1)] == [copy.id]


def test_a_snapshot_is_asked_into_the_archive_once(volumes: MotoWorld) -> None:
    snapshot = taken(volumes)
    volumes.make_pages_small()
    for _ in range(3):
        assert volumes.home.archive(snapshot.id)
    assert [sent.operation for sent in volumes.sent].count("ModifySnapshotTier") == 1
    assert last(volumes, "ModifySnapshotTier").parameters == {"SnapshotId": snapshot.id, "StorageTier": "archive"}


def test_a_snapshot_on_its_way_into_the_archive_is_not_asked_there_again(volumes: MotoWorld) -> None:
    snapshot = taken(volumes)
    held = volumes.held(HOME)[snapshot.id]
    held.last_tiering_operation_status = "archival-in-progress"
    assert volumes.home.archive(snapshot.id)
    assert "ModifySnapshotTier" not in {sent.operation for sent in volumes.sent}
    assert not volumes.home.look([snapshot.id])[snapshot.id].is_archived


def test_a_snapshot_that_failed_to_be_archived_is_asked_there_again(volumes: MotoWorld) -> None:
    snapshot = taken(volumes)
    volumes.held(HOME)[snapshot.id].last_tiering_operation_status = "archival-failed"
    assert volumes.home.archive(snapshot.id)
    assert volumes.home.look([snapshot.id])[snapshot.id].is_archived


def test_archiving_what_is_gone_says_so(volumes: MotoWorld) -> None:
    snapshot = taken(volumes)
    volumes.vanish(snapshot)
    with pytest.raises(SnapshotGone):
        volumes.home.archive(snapshot.id)


def test_a_snapshot_that_an_ami_needs_is_not_archived_and_a_person_is_told_why(volumes: MotoWorld) -> None:
    snapshot = taken(volumes)

    def hold(model: Any, **_: Any) -> None:
        raise refusal("InvalidSnapshot.InUse", model.name)

    volumes.session.events.register_first("before-call.ec2.ModifySnapshotTier", hold)
    volumes._renew_adapters()
    with pytest.raises(Unsafe, match="ec2:ModifySnapshotTier") as caught:
        volumes.home.archive(snapshot.id)
    assert "AMI" in caught.value.hint


# changed blocks


def test_changed_bytes_adds_up_every_page_with_the_size_each_tells(volumes: MotoWorld) -> None:
    earlier, later = taken(volumes), taken(volumes)
    block = {"BlockIndex": 0}
    volumes.changed_pages = [
        {"ChangedBlocks": [block] * 3, "BlockSize": 524288},
        {"ChangedBlocks": [], "BlockSize": 524288},
        {"ChangedBlocks": [block], "BlockSize": 524288},
    ]
    assert volumes.home.changed_bytes(earlier.id, later.id) == 4 * 524288
    asked = last(volumes, "ListChangedBlocks").parameters
    assert (asked["FirstSnapshotId"], asked["SecondSnapshotId"]) == (earlier.id, later.id)


def test_changed_bytes_waits_until_both_are_completed(volumes: MotoWorld) -> None:
    earlier, later = taken(volumes), taken(volumes)
    volumes.held(HOME)[later.id].status = "pending"
    assert volumes.home.changed_bytes(earlier.id, later.id) is None
    assert "ListChangedBlocks" not in {sent.operation for sent in volumes.sent}


@pytest.mark.parametrize("archived", [0, 1])
def test_changed_bytes_of_what_is_archived_are_not_asked_for(archived: int, volumes: MotoWorld) -> None:
    pair = [taken(volumes), taken(volumes)]
    volumes.home.archive(pair[archived].id)
    assert volumes.home.changed_bytes(pair[0].id, pair[1].id) is None
    assert "ListChangedBlocks" not in {sent.operation for sent in volumes.sent}


def test_changed_bytes_against_a_snapshot_that_is_gone_says_so(volumes: MotoWorld) -> None:
    earlier, later = taken(volumes), taken(volumes)
    volumes.vanish(earlier)
    with pytest.raises(SnapshotGone, match=earlier.id):
        volumes.home.changed_bytes(earlier.id, later.id)


def test_changed_bytes_of_strangers_are_not_known(volumes: MotoWorld) -> None:
    earlier, later = taken(volumes), taken(volumes)
    ebs = volumes.clients.retrying("ebs", HOME)

    def refuse(model: Any, **_: Any) -> None:
        known = refusal("ValidationException", model.name, Reason="UNRELATED_SNAPSHOTS")
        raise ebs.exceptions.ValidationException(known.response, model.name)

    ebs.meta.events.register_first("before-call.ebs.ListChangedBlocks", refuse)
    assert volumes.home.changed_bytes(earlier.id, later.id) is None


# instances


def test_an_instance_is_one_request_for_all_its_volumes(instances: MotoWorld) -> None:
    resource = instances.make_resource()
    order = order_for(resource)
    instances.home.take(order, labels.for_snapshot(order))
    assert last(instances, "CreateSnapshots").parameters["InstanceSpecification"] == {"InstanceId": resource.id}


def test_volumes_excluded_by_their_own_tag_stay_out_of_the_set(instances: MotoWorld) -> None:
    resource = instances.make_resource()
    data = _volume_at(instances, resource.id, "/dev/sdf")
    instances.ec2.create_tags(Resources=[data], Tags=[{"Key": "holdfast:policy", "Value": "none"}])
    order = order_for(resource)
    instances.home.take(order, labels.for_snapshot(order))
    specification = last(instances, "CreateSnapshots").parameters["InstanceSpecification"]
    assert specification == {"InstanceId": resource.id, "ExcludeDataVolumeIds": [data]}


def test_an_excluded_boot_volume_is_named_as_such(instances: MotoWorld) -> None:
    resource = instances.make_resource()
    (boot,) = instances.members(resource) - {_volume_at(instances, resource.id, "/dev/sdf")}
    instances.ec2.create_tags(Resources=[boot], Tags=[{"Key": "holdfast:policy", "Value": "none"}])
    order = order_for(resource)
    members = instances.home.take(order, labels.for_snapshot(order))
    specification = last(instances, "CreateSnapshots").parameters["InstanceSpecification"]
    assert specification == {"InstanceId": resource.id, "ExcludeBootVolume": True}
    assert boot not in {member.source_id for member in members}


def test_a_volume_with_a_policy_of_its_own_stays_in_the_set(instances: MotoWorld) -> None:
    resource = instances.make_resource()
    tag = {"Key": "holdfast:policy", "Value": "gold"}
    instances.ec2.create_tags(Resources=sorted(instances.members(resource)), Tags=[tag])
    order = order_for(resource)
    assert len(instances.home.take(order, labels.for_snapshot(order))) == 2


def test_an_instance_with_every_volume_excluded_is_told_to_a_person(instances: MotoWorld) -> None:
    resource = instances.make_resource()
    tag = {"Key": "holdfast:policy", "Value": "none"}
    instances.ec2.create_tags(Resources=sorted(instances.members(resource)), Tags=[tag])
    order = order_for(resource)
    with pytest.raises(BadMessage, match="every volume"):
        instances.home.take(order, labels.for_snapshot(order))


def test_each_ebs_snapshot_belongs_to_one_kind(moto: None, volumes: MotoWorld) -> None:
    of_volume = taken(volumes)
    instances = MotoWorld.beside(volumes, Kind.INSTANCE)
    order = order_for(instances.make_resource())
    of_instance = instances.home.take(order, labels.for_snapshot(order))
    assert {s.id for s in volumes.home.ours()} == {of_volume.id}
    assert {s.id for s in instances.home.ours()} == {s.id for s in of_instance}


def test_a_snapshot_with_a_spoilt_resource_tag_is_told_with_the_volumes(volumes: MotoWorld) -> None:
    snapshot = taken(volumes)
    volumes.ec2.delete_tags(Resources=[snapshot.id], Tags=[{"Key": labels.RESOURCE}])
    assert {s.id for s in volumes.home.ours()} == {snapshot.id}


def _volume_at(world: MotoWorld, instance_id: str, device: str) -> str:
    (instance,) = world.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"]
    return next(m["Ebs"]["VolumeId"] for m in instance["BlockDeviceMappings"] if m["DeviceName"] == device)
