"""The account on an embedded AWS that all sentences share: its clock, its resources, its roles and what they sent.

Servers, clients and resources are made once, because making them is what takes time. A sentence finds no snapshot of
an earlier one.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
import botocore.session

from embedded.aws import EmbeddedAws
from functions.aws.clients import Clients
from functions.aws.kinds import PERMISSIONS, snapshots
from functions.aws.permissions import KEY_ALIAS
from functions.core.resources import Kind
from functions.core.snapshots import Snapshots
from tests.aws.moto_world import ACCOUNT, AWAY, HOME, LOADER

MAKING_SECONDS = 30.0
"""How long AWS makes a snapshot or a copy: far longer than a sentence takes, so nothing is done before it is told."""
PASSING_SECONDS = 2 * MAKING_SECONDS
ROLE_SESSION_SECONDS = 12 * 3600
"""The longest AWS gives: the sentences move the clock by hours."""

TRUST = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}

ROOT = {"AccessKeyId": ACCOUNT, "SecretAccessKey": "test"}

Wiring = Callable[[boto3.Session], None]
"""Puts something between a session's clients and AWS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A call of a role, as botocore took it."""

    region: str
    operation: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Who speaks where: the role of one verb of one kind, in one Region."""

    kind: Kind
    verb: str
    region: str

    @property
    def role(self) -> str:
        return f"{self.kind}-{self.verb}-{self.region}"


class EmbeddedSession(boto3.Session):
    """A session whose clients talk to an embedded AWS."""

    def __init__(self, endpoint: str, credentials: Mapping[str, str]) -> None:
        botocore_session = botocore.session.Session()
        botocore_session.register_component("data_loader", LOADER)  # reading EC2's model takes long
        super().__init__(
            botocore_session=botocore_session,
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials.get("SessionToken"),
            region_name=HOME,
        )
        self._endpoint = endpoint

    def client(self, *args: Any, **settings: Any) -> Any:
        build: Any = super().client  # the stubs want the service's name spelled out
        return build(*args, endpoint_url=self._endpoint, **settings)


@dataclass
class EmbeddedAccount:
    """The account, once for all sentences."""

    aws: EmbeddedAws
    sent: list[Sent] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    """The id of the key behind our alias, by Region."""
    _adapters: dict[Place, Snapshots] = field(default_factory=dict)
    _credentials: dict[Place, Mapping[str, str]] = field(default_factory=dict)
    _resources: dict[Kind, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.aws.set_durations(
            snapshot=MAKING_SECONDS, copy=MAKING_SECONDS, db_snapshot=MAKING_SECONDS, db_copy=MAKING_SECONDS
        )
        for region in (HOME, AWAY):
            kms = self.aws.client("kms", region)
            self.keys[region] = kms.create_key()["KeyMetadata"]["KeyId"]
            kms.create_alias(AliasName=KEY_ALIAS, TargetKeyId=self.keys[region])

    @property
    def ec2(self) -> Any:
        return self.aws.client("ec2", HOME)

    @property
    def rds(self) -> Any:
        return self.aws.client("rds", HOME)

    def pass_time(self) -> None:
        """Whatever was in progress has ended."""
        self.aws.advance(PASSING_SECONDS)

    def resource(self, kind: Kind, number: int) -> str:
        """The id of the kind's resource of that number, counted from 0; the same one for every sentence."""
        made = self._resources.setdefault(kind, [])
        while len(made) <= number:
            made.append(MAKERS[kind](self, len(made)))
            self.pass_time()
        return made[number]

    def adapter(self, place: Place) -> Snapshots:
        """The adapter in a role that has what the verb declares and nothing else."""
        if place not in self._adapters:
            self._adapters[place] = self.rewired_adapter(place)
        return self._adapters[place]

    def rewired_adapter(self, place: Place, *wirings: Wiring) -> Snapshots:
        """Another such adapter, with something put between it and AWS."""
        session = EmbeddedSession(self.aws.endpoint, self._credentials_of(place))
        session.events.register("before-parameter-build", self._record)
        for wire in wirings:
            wire(session)
        return snapshots(place.kind, place.region, account=ACCOUNT, clients=Clients(session))

    def adapter_of_root(self, kind: Kind, region: str) -> Snapshots:
        """The adapter for the account's root, whom no policy holds back."""
        return snapshots(kind, region, account=ACCOUNT, clients=Clients(EmbeddedSession(self.aws.endpoint, ROOT)))

    def remove_snapshots(self) -> None:
        """No Region has a snapshot, no fault is armed and nothing is in progress."""
        self.aws.clear_faults()
        self.pass_time()
        for region in (HOME, AWAY):
            _remove_ebs_snapshots(self.aws.client("ec2", region))
            _remove_rds_snapshots(self.aws.client("rds", region))
        self.sent.clear()

    def _record(self, params: Any, model: Any, context: Any, **_: Any) -> None:
        self.sent.append(Sent(region=context["client_region"], operation=model.name, parameters=copy.deepcopy(params)))

    def _credentials_of(self, place: Place) -> Mapping[str, str]:
        if place not in self._credentials:
            iam, name = self.aws.client("iam"), place.role
            arn = iam.create_role(
                RoleName=name, AssumeRolePolicyDocument=_policy(TRUST), MaxSessionDuration=ROLE_SESSION_SECONDS
            )["Role"]["Arn"]
            allowed = [
                permission.statement(partition="aws", account=ACCOUNT, region=place.region)
                for permission in PERMISSIONS[place.kind][place.verb]
            ]
            if allowed:
                iam.put_role_policy(RoleName=name, PolicyName=place.verb, PolicyDocument=_policy(*allowed))
            self._credentials[place] = self.aws.client("sts").assume_role(
                RoleArn=arn, RoleSessionName=name, DurationSeconds=ROLE_SESSION_SECONDS
            )["Credentials"]
        return self._credentials[place]


def _policy(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _remove_ebs_snapshots(ec2: Any) -> None:
    for locked in ec2.describe_locked_snapshots()["Snapshots"]:
        ec2.unlock_snapshot(SnapshotId=locked["SnapshotId"])
    for snapshot in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]:
        ec2.delete_snapshot(SnapshotId=snapshot["SnapshotId"])


def _remove_rds_snapshots(rds: Any) -> None:
    for snapshot in rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]:
        rds.delete_db_snapshot(DBSnapshotIdentifier=snapshot["DBSnapshotIdentifier"])
    for snapshot in rds.describe_db_cluster_snapshots(SnapshotType="manual")["DBClusterSnapshots"]:
        rds.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier=snapshot["DBClusterSnapshotIdentifier"])


def _make_volume(account: EmbeddedAccount, number: int) -> str:
    return account.ec2.create_volume(AvailabilityZone=f"{HOME}a", Size=1)["VolumeId"]


def _make_instance(account: EmbeddedAccount, number: int) -> str:
    disks = [{"DeviceName": device, "Ebs": {"VolumeSize": 1}} for device in ("/dev/xvda", "/dev/xvdb")]
    started = account.ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1, BlockDeviceMappings=disks)
    return started["Instances"][0]["InstanceId"]


def _make_database(account: EmbeddedAccount, number: int) -> str:
    id = f"database-{number}"
    account.rds.create_db_instance(
        DBInstanceIdentifier=id,
        DBInstanceClass="db.t4g.micro",
        Engine="mysql",  # of which the embedded AWS runs no server: the snapshots' lives are what counts here
        AllocatedStorage=20,
        MasterUsername="clerk",
        MasterUserPassword="correct-horse",
    )
    return id


def _make_cluster(account: EmbeddedAccount, number: int) -> str:
    id = f"cluster-{number}"
    account.rds.create_db_cluster(
        DBClusterIdentifier=id,
        Engine="aurora-postgresql",
        MasterUsername="clerk",
        MasterUserPassword="correct-horse",
        StorageEncrypted=True,
    )
    return id


MAKERS: Mapping[Kind, Callable[[EmbeddedAccount, int], str]] = {
    Kind.VOLUME: _make_volume,
    Kind.INSTANCE: _make_instance,
    Kind.DATABASE: _make_database,
    Kind.CLUSTER: _make_cluster,
}
