"""Recoveries on an embedded AWS, each verb in a role that has exactly what the verb declares."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from functions.aws.clients import Clients
from functions.aws.inventory import Inventory
from functions.aws.permissions import Permission
from functions.aws.recoveries import ebs as recoveries_ebs
from functions.aws.recoveries import permissions_rds as recovery_permissions_rds
from functions.aws.recoveries.ebs import VolumeRecoveries
from functions.aws.recoveries.rds import DatabaseRecoveries
from functions.aws.recoveries.rds_clusters import ClusterRecoveries
from functions.core.errors import NotAllowed
from functions.core.recoveries import Found, Recoveries, RecoveryOrder, Source
from functions.core.resources import Kind, ResourceKey
from functions.core.restores import RestoreState
from tests.aws.moto_world import ACCOUNT, HOME
from tests.conformance.embedded_account import ROOT, TRUST, EmbeddedAccount, EmbeddedSession

RECOVERY_ID = "0123456789ab"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/monitoring"
Speak = Callable[[str], Recoveries]
"""The adapter in the role of a verb."""

_roles: dict[tuple[str, str], Mapping[str, str]] = {}


def in_role(embedded: EmbeddedAccount, name: str, permissions: tuple[Permission, ...]) -> Clients:
    """Clients that may do this and nothing else."""
    if (embedded.aws.endpoint, name) not in _roles:
        iam = embedded.aws.client("iam")
        policy = {"Version": "2012-10-17", "Statement": [TRUST]}
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(policy))["Role"]["Arn"]
        allowed = [one.statement(partition="aws", account=ACCOUNT, region=HOME) for one in permissions]
        document = json.dumps({"Version": "2012-10-17", "Statement": allowed})
        iam.put_role_policy(RoleName=name, PolicyName="allow", PolicyDocument=document)
        assumed = embedded.aws.client("sts").assume_role(RoleArn=arn, RoleSessionName=name)
        _roles[embedded.aws.endpoint, name] = assumed["Credentials"]
    return Clients(EmbeddedSession(embedded.aws.endpoint, _roles[embedded.aws.endpoint, name]))


@pytest.fixture
def rooted(embedded_account: EmbeddedAccount) -> Clients:
    return Clients(EmbeddedSession(embedded_account.aws.endpoint, ROOT))


@pytest.fixture(autouse=True)
def nothing_left_over(embedded_account: EmbeddedAccount) -> Iterator[None]:
    yield
    embedded_account.remove_snapshots()


def of_databases(embedded: EmbeddedAccount) -> Speak:
    verbs = recovery_permissions_rds.PERMISSIONS
    return lambda verb: DatabaseRecoveries(HOME, in_role(embedded, f"recover-rds-{verb}", verbs[verb]))


def of_clusters(embedded: EmbeddedAccount) -> Speak:
    verbs = recovery_permissions_rds.PERMISSIONS
    return lambda verb: ClusterRecoveries(HOME, in_role(embedded, f"recover-rds-{verb}", verbs[verb]))


def of_volumes(embedded: EmbeddedAccount) -> Speak:
    verbs = recoveries_ebs.PERMISSIONS
    return lambda verb: VolumeRecoveries(Kind.VOLUME, HOME, in_role(embedded, f"recover-ebs-{verb}", verbs[verb]))


def order(kind: Kind, snapshot: str, source: str, wanted: Mapping[str, Any], name: str = "") -> RecoveryOrder:
    return RecoveryOrder(
        recovery_id=RECOVERY_ID,
        kind=kind,
        region=HOME,
        source=Source.HOME,
        snapshot_ids=(snapshot,),
        source_ids=(source,),
        content_at=datetime(2026, 11, 21, 6, tzinfo=UTC),
        names=(name,),
        wanted=wanted,
    )


def whole_way(embedded: EmbeddedAccount, speak: Speak, wanted: RecoveryOrder) -> None:
    """From the plan to the removal."""
    lines = speak("plan").plan(wanted)
    assert [line for line in lines if line.found is Found.OBSTACLE] == []
    (begun,) = speak("begin").begin(wanted)
    seen = begun
    for _ in range(5):
        embedded.pass_time()
        seen = speak("look").look(begun)
        if seen.state is not RestoreState.CREATING:
            break
    assert seen.state is RestoreState.AVAILABLE, seen
    for _ in range(12):
        settings = speak("configure").configure(wanted, seen)
        if all(setting.is_applied is not None for setting in settings):
            break
        embedded.pass_time()
    assert [setting for setting in settings if not setting.is_applied] == []
    states: list[RestoreState] = []
    while RestoreState.GONE not in states:
        states.append(speak("remove").remove(seen, RECOVERY_ID))
        embedded.pass_time()
        assert len(states) < 6


def configuration(clients: Clients, kind: Kind, id: str) -> dict[str, Any]:
    key = ResourceKey(account=ACCOUNT, region=HOME, kind=kind, id=id)
    return dict(Inventory(region=HOME, account=ACCOUNT, clients=clients).configuration(key))


def test_a_database_is_recovered_with_what_is_declared(embedded_account: EmbeddedAccount, rooted: Clients) -> None:
    source = embedded_account.resource(Kind.DATABASE, 0)
    embedded_account.rds.create_db_snapshot(DBInstanceIdentifier=source, DBSnapshotIdentifier="holdfast-for-recovery")
    embedded_account.pass_time()
    wanted = configuration(rooted, Kind.DATABASE, source) | {
        "monitoring_interval_seconds": 60,
        "monitoring_role_arn": ROLE,
        "roles": [{"arn": ROLE, "feature": "S3_INTEGRATION"}],
        "master_secret_arn": "arn of a secret",
        "tags": {"team": "shop"},
    }
    whole_way(
        embedded_account,
        of_databases(embedded_account),
        order(Kind.DATABASE, "holdfast-for-recovery", source, wanted, f"{source}-restored"),
    )


def test_a_cluster_is_recovered_with_what_is_declared(embedded_account: EmbeddedAccount, rooted: Clients) -> None:
    source = embedded_account.resource(Kind.CLUSTER, 0)
    embedded_account.rds.create_db_cluster_snapshot(
        DBClusterIdentifier=source, DBClusterSnapshotIdentifier="holdfast-for-recovery"
    )
    embedded_account.pass_time()
    members = [{"instance_class": "db.r6g.large", "promotion_tier": tier} for tier in (0, 1)]
    wanted = configuration(rooted, Kind.CLUSTER, source) | {
        "members": members,
        "instance_class": "db.r6g.large",
        "maintenance_window": "sun:05:00-sun:06:00",
        "roles": [{"arn": ROLE, "feature": "s3Import"}],
    }
    whole_way(
        embedded_account,
        of_clusters(embedded_account),
        order(Kind.CLUSTER, "holdfast-for-recovery", source, wanted, f"{source}-restored"),
    )


def test_a_volume_is_recovered_with_what_is_declared(embedded_account: EmbeddedAccount, rooted: Clients) -> None:
    source = embedded_account.resource(Kind.VOLUME, 0)
    managed = [{"ResourceType": "snapshot", "Tags": [{"Key": "holdfast:managed", "Value": "1"}]}]
    snapshot = embedded_account.ec2.create_snapshot(VolumeId=source, TagSpecifications=managed)["SnapshotId"]
    embedded_account.pass_time()
    wanted = configuration(rooted, Kind.VOLUME, source) | {"tags": {"team": "shop"}}
    whole_way(embedded_account, of_volumes(embedded_account), order(Kind.VOLUME, snapshot, source, wanted))


@pytest.mark.parametrize("verb", ["configure", "remove"])
def test_iam_alone_keeps_a_recovery_from_a_database_in_use(embedded_account: EmbeddedAccount, verb: str) -> None:
    source = embedded_account.resource(Kind.DATABASE, 0)
    rds = in_role(embedded_account, f"recover-rds-{verb}", recovery_permissions_rds.PERMISSIONS[verb]).retrying(
        "rds", HOME
    )
    with pytest.raises(rds.exceptions.ClientError, match="not authorized"):
        rds.modify_db_instance(DBInstanceIdentifier=source, BackupRetentionPeriod=0)
    with pytest.raises(rds.exceptions.ClientError, match="not authorized"):
        rds.delete_db_instance(DBInstanceIdentifier=source, SkipFinalSnapshot=True)


def test_a_snapshot_of_somebody_else_is_not_recovered(embedded_account: EmbeddedAccount) -> None:
    source = embedded_account.resource(Kind.VOLUME, 0)
    snapshot = embedded_account.ec2.create_snapshot(VolumeId=source)["SnapshotId"]
    embedded_account.pass_time()
    with pytest.raises(NotAllowed):
        of_volumes(embedded_account)("begin").begin(order(Kind.VOLUME, snapshot, source, {}))
