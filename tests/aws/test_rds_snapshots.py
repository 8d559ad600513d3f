"""What is particular to RDS: names that are slots, keys, option groups, words of AWS."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from functions.aws.permissions import KEY_ALIAS
from functions.aws.rds_clusters import ClusterSnapshots
from functions.aws.rds_databases import DatabaseSnapshots
from functions.core import labels
from functions.core.errors import OutcomeUnknown, Unsafe
from functions.core.resources import Kind
from functions.core.snapshots import Snapshot, SnapshotOrder, State
from tests.aws.moto_world import ACCOUNT, AWAY, HOME, MotoWorld, Sent
from tests.aws.snapshots_suite import copy_order_for, order_for

DATABASE_KINDS = (Kind.DATABASE, Kind.CLUSTER)
EARLY, LATE = datetime(2026, 11, 20, 3, tzinfo=UTC), datetime(2026, 11, 20, 5, tzinfo=UTC)


@pytest.fixture
def databases(moto: None) -> MotoWorld:
    return MotoWorld(Kind.DATABASE)


@pytest.fixture
def clusters(moto: None) -> MotoWorld:
    return MotoWorld(Kind.CLUSTER)


@pytest.fixture(params=DATABASE_KINDS)
def world(request: pytest.FixtureRequest, moto: None) -> MotoWorld:
    return MotoWorld(request.param)


def take(world: MotoWorld, order: SnapshotOrder) -> Snapshot:
    return world.home.take(order, labels.for_snapshot(order))[0]


def copy(world: MotoWorld, source: Snapshot, order: SnapshotOrder) -> Snapshot:
    copying = copy_order_for(source, order, AWAY)
    return world.away.copy(copying, labels.for_copy(copying), home_region=HOME)


def last(world: MotoWorld, operation: str) -> Sent:
    return [sent for sent in world.sent if sent.operation == operation][-1]


def test_a_second_take_of_the_same_slot_is_the_first(world: MotoWorld) -> None:
    order = order_for(world.make_resource())
    first, second = take(world, order), take(world, order)
    assert first.id == second.id == labels.database_identifier(order.slot, attempt=1)
    assert [snapshot.id for snapshot in world.home.ours()] == [first.id]


def test_a_second_copy_of_the_same_slot_is_the_first(world: MotoWorld) -> None:
    order = order_for(world.make_resource())
    source = take(world, order)
    first, second = copy(world, source, order), copy(world, source, order)
    assert first.id == second.id == source.id
    assert len(world.held(AWAY)) == 1


def test_a_second_attempt_has_a_name_of_its_own(world: MotoWorld) -> None:
    resource = world.make_resource()
    names = [take(world, order_for(resource, attempt=attempt)).id for attempt in (1, 2)]
    assert names == [labels.database_identifier(order_for(resource).slot, attempt=a) for a in (1, 2)]


def test_a_strangers_snapshot_under_our_name_is_left_alone(world: MotoWorld) -> None:
    order = order_for(world.make_resource())
    taken = take(world, order)
    world.held(HOME)[taken.id].tags = []
    with pytest.raises(Unsafe, match=taken.id):
        take(world, order)
    assert world.home.find(order.slot, attempt=1) == ()


def test_a_name_that_exists_and_is_not_shown_is_an_unknown_outcome(world: MotoWorld) -> None:
    order = order_for(world.make_resource())
    take(world, order)

    def show_nothing(parsed: Any, **_: Any) -> None:
        for listed in ("DBSnapshots", "DBClusterSnapshots"):
            if listed in parsed:
                parsed[listed] = []

    world.session.events.register("after-call.rds", show_nothing)
    world._renew_adapters()
    with pytest.raises(OutcomeUnknown):
        take(world, order)


def test_a_snapshot_that_is_being_deleted_is_not_found(world: MotoWorld) -> None:
    order = order_for(world.make_resource())
    taken = take(world, order)
    world.held(HOME)[taken.id].status = "deleting"
    assert world.home.find(order.slot, attempt=1) == ()
    assert world.home.look([taken.id])[taken.id].state is State.GONE


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("creating", State.PENDING),
        ("copying", State.PENDING),
        ("available", State.COMPLETED),
        ("failed", State.FAILED),
        ("incompatible-restore", State.FAILED),
        ("deleting", State.GONE),
        ("teleporting", State.UNKNOWN),
    ],
)
def test_a_word_of_rds_in_ours(word: str, state: State, world: MotoWorld) -> None:
    """F27, F49."""
    taken = take(world, order_for(world.make_resource()))
    world.held(HOME)[taken.id].status = word
    assert world.home.look([taken.id])[taken.id].state is state


def test_a_copy_names_its_source_by_arn_and_region(world: MotoWorld) -> None:
    order = order_for(world.make_resource())
    source = take(world, order)
    copy(world, source, order)
    noun = "DBSnapshot" if world.kind is Kind.DATABASE else "DBClusterSnapshot"
    word = "snapshot" if world.kind is Kind.DATABASE else "cluster-snapshot"
    asked = last(world, f"Copy{noun}")
    assert asked.region == AWAY
    assert asked.parameters["SourceRegion"] == HOME
    assert asked.parameters[f"Source{noun}Identifier"] == f"arn:aws:rds:{HOME}:{ACCOUNT}:{word}:{source.id}"
    assert asked.parameters["KmsKeyId"] == KEY_ALIAS
    assert "CopyTags" not in asked.parameters


def test_an_unencrypted_database_gets_an_encrypted_copy(databases: MotoWorld) -> None:
    """F53, invariant 11."""
    order = order_for(databases.make_resource())
    source = take(databases, order)
    assert not source.is_encrypted
    assert copy(databases, source, order).is_encrypted


def test_an_unencrypted_cluster_is_copied_without_a_key_because_aurora_refuses_one(clusters: MotoWorld) -> None:
    clusters.rds.create_db_cluster(
        DBClusterIdentifier="plain",
        Engine="aurora-postgresql",
        MasterUsername="admin1",
        MasterUserPassword="correct-horse",
    )
    order = order_for(clusters._key("plain"))
    copy(clusters, take(clusters, order), order)
    assert "KmsKeyId" not in last(clusters, "CopyDBClusterSnapshot").parameters


def test_a_default_option_group_is_left_to_rds(databases: MotoWorld) -> None:
    order = order_for(databases.make_resource())
    copy(databases, take(databases, order), order)
    assert "OptionGroupName" not in last(databases, "CopyDBSnapshot").parameters


@pytest.mark.parametrize("exists_there", [True, False])
def test_an_own_option_group_is_named_where_it_exists(exists_there: bool, databases: MotoWorld) -> None:
    if exists_there:
        databases.clients.retrying("rds", AWAY).create_option_group(
            OptionGroupName="audited", EngineName="mysql", MajorEngineVersion="8.0", OptionGroupDescription="audit"
        )

    def with_own_group(parsed: Any, **_: Any) -> None:
        for described in parsed.get("DBSnapshots", ()):
            described["OptionGroupName"] = "audited"

    databases.session.events.register("after-call.rds.DescribeDBSnapshots", with_own_group)
    databases._renew_adapters()
    order = order_for(databases.make_resource())
    copy(databases, take(databases, order), order)
    assert ("OptionGroupName" in last(databases, "CopyDBSnapshot").parameters) is exists_there


def test_automated_snapshots_are_never_listed(world: MotoWorld) -> None:
    list(world.home.ours())
    assert {sent.parameters["SnapshotType"] for sent in world.sent if "Describe" in sent.operation} == {"manual"}


def test_the_databases_own_time_counts_most(databases: MotoWorld) -> None:
    adapter = DatabaseSnapshots(region=HOME, account=ACCOUNT, clients=databases.clients)
    described = {"DBSnapshotIdentifier": "x", "SnapshotCreateTime": LATE, "OriginalSnapshotCreateTime": EARLY}
    assert adapter._read(described).consistent_at == EARLY
    assert adapter._read({**described, "SnapshotDatabaseTime": LATE}).consistent_at == LATE


def test_a_cluster_copys_own_creation_is_not_what_its_content_stands_for(clusters: MotoWorld) -> None:
    adapter = ClusterSnapshots(region=HOME, account=ACCOUNT, clients=clusters.clients)
    described = {"DBClusterSnapshotIdentifier": "x", "SnapshotCreateTime": LATE}
    copied = {**described, "TagList": [{"Key": labels.SOURCE_SNAPSHOT, "Value": "y"}]}
    assert adapter._read(described).consistent_at == LATE
    assert adapter._read(copied).consistent_at is None


def test_changed_bytes_are_not_known(world: MotoWorld) -> None:
    assert world.home.changed_bytes("one", "two") is None
    assert world.sent == []
