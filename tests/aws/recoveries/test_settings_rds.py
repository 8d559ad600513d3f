"""The names of settings are RDS's own, and nothing is asked for that RDS would refuse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from functions.aws.recoveries import settings_rds as settings
from functions.aws.recoveries.members_rds import Member, member_name, members_of, members_tags, members_told
from functions.aws.recoveries.settings_rds import Choice
from tests.aws.moto_world import LOADER

SHAPES = LOADER.load_service_model("rds", "service-2")["shapes"]
RESTORES = {
    "instance": (
        settings.INSTANCE,
        ("RestoreDBInstanceFromDBSnapshotMessage", "RestoreDBInstanceToPointInTimeMessage"),
    ),
    "member": (settings.MEMBER, ("CreateDBInstanceMessage",)),
    "cluster": (settings.CLUSTER, ("RestoreDBClusterFromSnapshotMessage", "RestoreDBClusterToPointInTimeMessage")),
    "multi-az cluster": (
        settings.MULTI_AZ_CLUSTER,
        ("RestoreDBClusterFromSnapshotMessage", "RestoreDBClusterToPointInTimeMessage"),
    ),
}
CHANGES = [
    pytest.param(settings.INSTANCE, "ModifyDBInstanceMessage", id="instance"),
    pytest.param(settings.MEMBER, "ModifyDBInstanceMessage", id="member"),
    pytest.param(settings.CLUSTER, "ModifyDBClusterMessage", id="cluster"),
    pytest.param(settings.MULTI_AZ_CLUSTER, "ModifyDBClusterMessage", id="multi-az cluster"),
]
EVERYTHING: dict[str, Any] = {
    "log_exports": ["postgresql"],
    "monitoring_interval_seconds": 60,
    "monitoring_role_arn": "arn:aws:iam::1:role/monitoring",
    "performance_insights_retention_days": 465,
    "performance_insights_key_id": "arn:aws:kms:eu-west-1:1:key/k",
    "database_insights_mode": "advanced",
    "serverless_capacity": {"min": 0, "max": 4, "pause_after_seconds": 300},
    "processor_features": {"coreCount": "2"},
}


def members(shape: str) -> set[str]:
    return set(SHAPES[shape]["members"])


@pytest.mark.parametrize("kind", list(RESTORES))
def test_every_name_of_a_creating_call_is_one_that_rds_takes(kind: str) -> None:
    choices, shapes = RESTORES[kind]
    for shape in shapes:
        assert {choice.creating for choice in choices if choice.creating} <= members(shape)


@pytest.mark.parametrize(("choices", "shape"), CHANGES)
def test_every_name_of_a_changing_call_is_one_that_rds_takes(choices: Sequence[Choice], shape: str) -> None:
    for choice in choices:
        wanted = {choice.ours: "value"} | EVERYTHING
        assert set(choice.changed(wanted, "eu-west-1")) <= members(shape), choice.ours


@pytest.mark.parametrize(
    ("storage", "expected"),
    [
        ({"storage_type": "gp3", "iops": 3000, "throughput_mibps": 125}, {"StorageType": "gp3"}),
        (
            {"storage_type": "gp3", "iops": 12000, "throughput_mibps": 500},
            {"StorageType": "gp3", "Iops": 12000, "StorageThroughput": 500},
        ),
        ({"storage_type": "gp2", "iops": 300}, {"StorageType": "gp2"}),
        ({"storage_type": "io1", "iops": 4000}, {"StorageType": "io1", "Iops": 4000}),
    ],
    ids=["gp3 as it comes", "gp3 with more", "gp2 shows what it has", "io1"],
)
def test_storage_is_asked_for_as_rds_takes_it(storage: dict[str, Any], expected: dict[str, Any]) -> None:
    assert settings.creating(settings.INSTANCE, storage) == expected


def test_groups_that_rds_makes_itself_are_left_to_it() -> None:
    wanted = {"parameter_group": "default.postgres16", "option_group": "default:postgres-16"}
    assert settings.creating(settings.INSTANCE, wanted) == {}


def test_what_an_engine_may_not_know_is_not_even_switched_off() -> None:
    wanted = {"has_iam_authentication": False, "has_dedicated_log_volume": False, "log_exports": []}
    assert settings.creating(settings.INSTANCE, wanted) == {}


@pytest.mark.parametrize(("region", "is_named"), [("eu-west-1", True), ("eu-central-1", False)])
def test_a_key_is_named_in_its_own_region_only(region: str, is_named: bool) -> None:
    (choice,) = [choice for choice in settings.INSTANCE if choice.ours == "has_performance_insights"]
    assert ("PerformanceInsightsKMSKeyId" in choice.changed(EVERYTHING, region)) is is_named


def test_aurora_keeps_its_storage_to_itself_and_a_multi_az_cluster_does_not() -> None:
    wanted = {"storage_type": "io1", "iops": 3000, "instance_class": "db.m6gd.large"}
    names = {"StorageType", "Iops", "DBClusterInstanceClass"}
    aurora, multi_az = ({"engine": engine, **wanted} for engine in ("aurora-mysql", "mysql"))
    assert not names & set(settings.creating(settings.of_cluster(aurora), aurora))
    assert names <= set(settings.creating(settings.of_cluster(multi_az), multi_az))


# Members


def test_members_come_back_from_the_tags_they_were_written_into() -> None:
    sixteen = tuple(Member("db.r6gd.16xlarge", tier) for tier in range(16))
    tags = members_tags(sixteen)
    assert all(len(value) <= 256 for value in tags.values())
    assert members_told(tags) == sixteen


def test_a_cluster_that_names_no_members_gets_one() -> None:
    assert members_of({"instance_class": "db.serverless"}) == (Member("db.serverless", 1),)


def test_rds_makes_the_members_of_a_multi_az_cluster() -> None:
    assert members_of({"engine": "postgres", "members": [{"instance_class": "db.m6gd.large"}]}) == ()


def test_a_class_that_is_asked_for_is_every_members() -> None:
    listed = [{"instance_class": "db.r6g.large", "promotion_tier": 0}, {"instance_class": "db.r6g.xlarge"}]
    recorded = {"instance_class": "db.r6g.large", "members": listed}
    assert members_of(recorded) == (Member("db.r6g.large", 0), Member("db.r6g.xlarge", 1))
    assert members_of(recorded | {"instance_class": "db.r8g.large"}) == (
        Member("db.r8g.large", 0),
        Member("db.r8g.large", 1),
    )


def test_a_spoilt_tag_makes_no_member() -> None:
    assert members_told({"holdfast:recovery-members": "db.r6g.large/0 nonsense /1 x/y"}) == (Member("db.r6g.large", 0),)


def test_the_name_of_a_member_fits_where_the_clusters_just_does() -> None:
    name = member_name("o" * 53 + "-restored", 16)
    assert len(name) <= 63
    assert "--" not in name
