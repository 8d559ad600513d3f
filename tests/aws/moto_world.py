"""The suite's world over moto, in process, with what moto lacks put in beside it.

moto is kind. What it does not do, or does differently from AWS, is corrected here through botocore's events and
moto's own objects, and nowhere else:
- its ListChangedBlocks knows no snapshot of EC2;
- it never pages DescribeSnapshots, and never answers an empty page;
- it checks no permission: the deleter's conditions, as declared beside the adapters, are checked here;
- its copies keep the volume id, which AWS makes arbitrary, and stay unencrypted unless their source is not;
- it completes everything at once: `fail` reaches into its objects.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import boto3
import botocore.session
from botocore.exceptions import ClientError
from moto.ec2.models import ec2_backends
from moto.rds.models import rds_backends

from functions.aws.clients import Clients
from functions.aws.kinds import PERMISSIONS, snapshots
from functions.aws.permissions import KEY_ALIAS
from functions.core.resources import Kind, ResourceKey
from functions.core.snapshots import Snapshot, Snapshots

ACCOUNT = "123456789012"
LOADER = botocore.session.Session().get_component("data_loader")
HOME, AWAY = "us-east-1", "eu-west-1"

CREATING = frozenset(
    {
        "CreateSnapshot",
        "CreateSnapshots",
        "CopySnapshot",
        "CreateDBSnapshot",
        "CopyDBSnapshot",
        "CreateDBClusterSnapshot",
        "CopyDBClusterSnapshot",
    }
)
LISTINGS: Mapping[str, tuple[str, str]] = {
    "DescribeSnapshots": ("Snapshots", "NextToken"),
    "DescribeSnapshotTierStatus": ("SnapshotTierStatuses", "NextToken"),
    "DescribeDBSnapshots": ("DBSnapshots", "Marker"),
    "DescribeDBClusterSnapshots": ("DBClusterSnapshots", "Marker"),
    "DescribeVolumes": ("Volumes", "NextToken"),
    "DescribeInstances": ("Reservations", "NextToken"),
    "DescribeDBInstances": ("DBInstances", "Marker"),
    "DescribeDBClusters": ("DBClusters", "Marker"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A call as botocore took it, with the verb of the port during which it left."""

    verb: str
    region: str
    service: str
    operation: str
    parameters: Mapping[str, Any]

    @property
    def action(self) -> str:
        """IAM's name for it."""
        return f"{self.service}:{self.operation}"


@dataclass
class MotoWorld:
    """Two Regions of moto and an adapter in each; to be made inside `mock_aws`."""

    kind: Kind
    account: str = ACCOUNT
    sent: list[Sent] = field(default_factory=list)
    changed_pages: list[Mapping[str, Any]] = field(default_factory=list)
    verb: str = ""
    has_keys_to_make: bool = True
    session: boto3.Session = field(init=False)
    clients: Clients = field(init=False)
    home: Snapshots = field(init=False)
    away: Snapshots = field(init=False)

    def __post_init__(self) -> None:
        self._plain = Clients(new_session())
        self.session = new_session()
        for event, handler in self._corrections().items():
            self.session.events.register(event, handler)
        self.clients = Clients(self.session)
        self.home = self._adapter(HOME)
        self.away = self._adapter(AWAY)
        for region in (HOME, AWAY) if self.has_keys_to_make else ():
            kms = self._plain.retrying("kms", region)
            kms.create_alias(AliasName=KEY_ALIAS, TargetKeyId=kms.create_key()["KeyMetadata"]["KeyId"])

    @classmethod
    def beside(cls, other: MotoWorld, kind: Kind) -> MotoWorld:
        """Another kind in the same AWS."""
        return cls(kind, account=other.account, has_keys_to_make=False)

    # what the suite asks for

    @property
    def creations(self) -> Sequence[tuple[str, Mapping[str, str]]]:
        return [(sent.region, _tags_in(sent.parameters)) for sent in self.sent if sent.operation in CREATING]

    def make_resource(self) -> ResourceKey:
        return self._key(MAKERS[self.kind](self))

    def members(self, resource: ResourceKey) -> frozenset[str]:
        if self.kind is not Kind.INSTANCE:
            return frozenset({resource.id})
        (instance,) = self.ec2.describe_instances(InstanceIds=[resource.id])["Reservations"][0]["Instances"]
        return frozenset(mapping["Ebs"]["VolumeId"] for mapping in instance["BlockDeviceMappings"])

    def missing_resource(self) -> ResourceKey:
        id = {Kind.VOLUME: "vol-0123456789abcdef0", Kind.INSTANCE: "i-0123456789abcdef0"}.get(self.kind, "nobody")
        return self._key(id)

    def missing_ids(self, number: int) -> list[str]:
        prefix = "snap-" if self.is_ebs else "holdfast-"
        return [f"{prefix}{n:017x}" for n in range(number)]

    def make_foreign_snapshot(self) -> str:
        source = self.make_resource().id
        match self.kind:
            case Kind.VOLUME:
                return self.ec2.create_snapshot(VolumeId=source)["SnapshotId"]
            case Kind.INSTANCE:
                taken = self.ec2.create_snapshots(InstanceSpecification={"InstanceId": source})
                return taken["Snapshots"][0]["SnapshotId"]
            case Kind.DATABASE:
                self.rds.create_db_snapshot(DBSnapshotIdentifier="holdfast-by-hand", DBInstanceIdentifier=source)
            case Kind.CLUSTER:
                self.rds.create_db_cluster_snapshot(
                    DBClusterSnapshotIdentifier="holdfast-by-hand", DBClusterIdentifier=source
                )
        return "holdfast-by-hand"

    def complete_everything(self) -> None:
        """Nothing is left to complete: in moto a snapshot is born completed."""

    def fail(self, snapshot: Snapshot) -> None:
        held = self.held(snapshot.region)[snapshot.id]
        if self.is_ebs:
            held.status = "error"
            held.state_message = "Given key ID is not accessible"
        else:
            held.status = "failed"

    def vanish(self, snapshot: Snapshot) -> None:
        del self.held(snapshot.region)[snapshot.id]

    def make_pages_small(self) -> None:
        make_pages_small(self.session)
        self._renew_adapters()

    def break_listing(self) -> None:
        for operation in LISTINGS:
            self.session.events.register(f"before-call.*.{operation}", _break_after_first_page)
        self._renew_adapters()

    # what the tests of one adapter use beside it

    @property
    def is_ebs(self) -> bool:
        return self.kind in (Kind.VOLUME, Kind.INSTANCE)

    @property
    def ec2(self) -> Any:
        return self._plain.retrying("ec2", HOME)

    @property
    def rds(self) -> Any:
        return self._plain.retrying("rds", HOME)

    def held(self, region: str) -> MutableMapping[str, Any]:
        """moto's own snapshots of the kind, by id."""
        if self.is_ebs:
            return ec2_backends[ACCOUNT][region].snapshots
        backend: Any = rds_backends[ACCOUNT][region]
        return backend.database_snapshots if self.kind is Kind.DATABASE else backend.cluster_snapshots

    def _key(self, id: str) -> ResourceKey:
        return ResourceKey(account=ACCOUNT, region=HOME, kind=self.kind, id=id)

    def _adapter(self, region: str) -> Snapshots:
        adapter = snapshots(self.kind, region, account=ACCOUNT, clients=self.clients)
        return cast(Snapshots, Spoken(self, adapter))

    def _renew_adapters(self) -> None:
        """A client copies its session's events when it is built, so later corrections need new clients."""
        self.clients = Clients(self.session)
        self.home = self._adapter(HOME)
        self.away = self._adapter(AWAY)

    def _corrections(self) -> Mapping[str, Callable[..., Any]]:
        return {
            "before-parameter-build": self._record,
            "before-call.ebs.ListChangedBlocks": self._list_changed_blocks,
            "before-call.ec2.DeleteSnapshot": self._check_the_mark,
            "before-call.rds.DeleteDBSnapshot": self._check_the_mark,
            "before-call.rds.DeleteDBClusterSnapshot": self._check_the_mark,
            "after-call.ec2.CopySnapshot": self._make_a_real_copy,
        }

    def _record(self, params: Any, model: Any, context: Any, **_: Any) -> None:
        context["asked"] = params
        self.sent.append(
            Sent(
                verb=self.verb,
                region=context["client_region"],
                service=model.service_model.endpoint_prefix,
                operation=model.name,
                parameters=copy.deepcopy(params),
            )
        )

    def _list_changed_blocks(self, context: Any, **_: Any) -> Any:
        number = int(context["asked"].get("NextToken", "0"))
        is_last = number == len(self.changed_pages) - 1
        return _answer({**self.changed_pages[number], **({} if is_last else {"NextToken": str(number + 1)})})

    def _check_the_mark(self, context: Any, model: Any, **_: Any) -> None:
        """What IAM does with the conditions that the adapter declares for its deleter."""
        id = next(value for name, value in context["asked"].items() if name.endswith(("Id", "Identifier")))
        held = self.held(context["client_region"]).get(id)
        if held is None:
            return
        listed = held.get_tags() if self.is_ebs else [{"key": t["Key"], "value": t["Value"]} for t in held.tags]
        tags = {f"aws:ResourceTag/{tag['key']}": tag["value"] for tag in listed}
        for permission in PERMISSIONS[self.kind]["delete"]:
            is_about_tags = "StringEquals" in permission.conditions  # the right to look hangs on none
            if is_about_tags and not permission.conditions["StringEquals"].items() <= tags.items():
                raise refusal("UnauthorizedOperation" if self.is_ebs else "AccessDenied", model.name, status=403)

    def _make_a_real_copy(self, parsed: Any, context: Any, **_: Any) -> None:
        if "SnapshotId" not in parsed:
            return
        held = self.held(context["client_region"])[parsed["SnapshotId"]]
        held.volume = copy.copy(held.volume)
        held.volume.id = "vol-ffffffff"
        held.encrypted = context["asked"].get("Encrypted", False)


def new_session() -> boto3.Session:
    """A session with made-up credentials; all of them share one loader, because reading EC2's model takes long."""
    session = botocore.session.Session()
    session.register_component("data_loader", LOADER)
    return boto3.Session(
        botocore_session=session, aws_access_key_id="testing", aws_secret_access_key="testing", region_name=HOME
    )


class Spoken:
    """The adapter, with a note of the verb that is being spoken, so that each call is charged to its verb."""

    def __init__(self, world: MotoWorld, adapter: Snapshots) -> None:
        self._world = world
        self._adapter = adapter
        self.kind = adapter.kind
        self.region = adapter.region

    def __getattr__(self, verb: str) -> Any:
        method = getattr(self._adapter, verb)

        def speak(*args: Any, **kwargs: Any) -> Any:
            self._world.verb = verb
            answer = method(*args, **kwargs)
            return list(answer) if verb == "ours" else answer

        return speak


def refusal(code: str, operation: str, *, status: int = 400, message: str = "refused", **more: Any) -> ClientError:
    """The error botocore raises for such an answer."""
    answer: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "RetryAttempts": 0},
        **more,
    }
    return ClientError(answer, operation)


class _Http:
    status_code = 200


def _answer(parsed: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    return _Http(), {**parsed, "ResponseMetadata": {"HTTPStatusCode": 200}}


def make_pages_small(session: boto3.Session) -> None:
    """Clients built from now on see listings with an empty page first and one item on each page after it."""
    remember: Any = _remember_offset  # the stubs say a handler answers nothing; this one answers the parameters
    for operation in LISTINGS:
        session.events.register_first(f"provide-client-params.*.{operation}", remember)
        session.events.register(f"after-call.*.{operation}", _one_of_a_page)


def _remember_offset(params: Mapping[str, Any], context: Any, **_: Any) -> dict[str, Any]:
    """Keeps our token and asks moto for everything: it knows no tokens but its own, where it knows any."""
    context["offset"] = int(params.get("NextToken") or params.get("Marker") or -1)
    return {
        name: value for name, value in params.items() if name not in ("NextToken", "Marker", "MaxResults", "MaxRecords")
    }


def _one_of_a_page(parsed: Any, model: Any, context: Any, **_: Any) -> None:
    """Cuts the complete answer into an empty page and pages of one."""
    items, token = LISTINGS[model.name]
    everything, offset = parsed.get(items, []), context["offset"]
    parsed[items] = everything[offset : offset + 1] if offset >= 0 else []
    if offset + 1 < len(everything):
        parsed[token] = str(offset + 1)
    else:
        parsed.pop(token, None)


def _break_after_first_page(model: Any, context: Any, **_: Any) -> None:
    if context["offset"] > 0:
        raise refusal("InvalidParameterValue", model.name, message="the token has expired")


def _tags_in(parameters: Mapping[str, Any]) -> dict[str, str]:
    specifications = parameters.get("TagSpecifications", ())
    listed = [tag for one in specifications for tag in one["Tags"]] if specifications else parameters.get("Tags", ())
    return {tag["Key"]: tag["Value"] for tag in listed}


def _make_volume(world: MotoWorld) -> str:
    return world.ec2.create_volume(AvailabilityZone=f"{HOME}a", Size=8)["VolumeId"]


def _make_instance(world: MotoWorld) -> str:
    started = world.ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)
    instance_id = started["Instances"][0]["InstanceId"]
    world.ec2.attach_volume(VolumeId=_make_volume(world), InstanceId=instance_id, Device="/dev/sdf")
    return instance_id


def _make_database(world: MotoWorld) -> str:
    id = f"database-{random.randrange(10**9)}"  # noqa: S311 - a name, not a secret
    world.rds.create_db_instance(
        DBInstanceIdentifier=id, DBInstanceClass="db.t4g.micro", Engine="postgres", AllocatedStorage=20
    )
    return id


def _make_cluster(world: MotoWorld) -> str:
    id = f"cluster-{random.randrange(10**9)}"  # noqa: S311 - a name, not a secret
    world.rds.create_db_cluster(
        DBClusterIdentifier=id,
        Engine="aurora-postgresql",
        MasterUsername="admin1",
        MasterUserPassword="correct-horse",
        StorageEncrypted=True,
    )
    return id


MAKERS: Mapping[Kind, Callable[[MotoWorld], str]] = {
    Kind.VOLUME: _make_volume,
    Kind.INSTANCE: _make_instance,
    Kind.DATABASE: _make_database,
    Kind.CLUSTER: _make_cluster,
}
