"""The suite's world over an embedded AWS: a server of its own, which does what moto is too kind to do.

A snapshot and a copy are pending until time passes, a copy's volume id is arbitrary, roles are enforced, and EBS and
RDS refuse what AWS refuses. Three things are arranged so that the suite can speak of them there:
- AWS seals the fate of a snapshot when it accepts it, so a sentence about a failure has to say so beforehand;
- RDS deletes no snapshot that it still makes, and who deletes comes days later, so time passes before a deletion;
- EC2 shows five snapshots on a page at least, so pages of one are cut from its answer on this side of the wire.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import boto3

from embedded.volumes import image_path
from functions.core.resources import Kind, ResourceKey
from functions.core.snapshots import Snapshot, Snapshots, State
from tests.aws.moto_world import ACCOUNT, AWAY, CREATING, HOME, LISTINGS, make_pages_small
from tests.conformance.embedded_account import EmbeddedAccount, Place, Sent, Wiring

TAKING: Mapping[Kind, str] = {
    Kind.VOLUME: "ec2:CreateSnapshot",
    Kind.INSTANCE: "ec2:CreateSnapshots",
    Kind.DATABASE: "rds:CreateDBSnapshot",
    Kind.CLUSTER: "rds:CreateDBClusterSnapshot",
}
"""The one call that takes a snapshot."""

BLOCK_BYTES = 512 * 1024
"""The size of EBS's blocks."""

LIVES: Mapping[Kind, str] = {
    Kind.VOLUME: "life:snapshot",
    Kind.INSTANCE: "life:snapshot",
    Kind.DATABASE: "life:db-snapshot",
    Kind.CLUSTER: "life:db-cluster-snapshot",
}
"""What the embedded AWS calls the making of one, where a fault may strike."""


@dataclass
class EmbeddedWorld:
    """The account for one sentence about one kind; whoever makes it removes its snapshots afterwards."""

    kind: Kind
    embedded: EmbeddedAccount
    account: str = ACCOUNT
    home: Snapshots = field(init=False)
    away: Snapshots = field(init=False)
    wirings: list[Wiring] = field(default_factory=list)
    _resources_made: int = 0

    def __post_init__(self) -> None:
        self._home = InRoles(self, HOME)
        self.home = cast(Snapshots, self._home)
        self.away = cast(Snapshots, InRoles(self, AWAY))

    # what the suite asks for

    @property
    def creations(self) -> Sequence[tuple[str, Mapping[str, str]]]:
        return [(sent.region, _tags_in(sent)) for sent in self.embedded.sent if sent.operation in CREATING]

    def make_resource(self) -> ResourceKey:
        self._resources_made += 1
        return self.resource(self._resources_made - 1)

    def members(self, resource: ResourceKey) -> frozenset[str]:
        if self.kind is not Kind.INSTANCE:
            return frozenset({resource.id})
        attached = [{"Name": "attachment.instance-id", "Values": [resource.id]}]
        return frozenset(v["VolumeId"] for v in self.embedded.ec2.describe_volumes(Filters=attached)["Volumes"])

    def missing_resource(self) -> ResourceKey:
        id = {Kind.VOLUME: "vol-0123456789abcdef0", Kind.INSTANCE: "i-0123456789abcdef0"}.get(self.kind, "nobody")
        return self._key(id)

    def missing_ids(self, number: int) -> list[str]:
        prefix = "snap-" if self.is_ebs else "holdfast-"
        return [f"{prefix}{n:017x}" for n in range(number)]

    def make_foreign_snapshot(self) -> str:
        source, name = self.make_resource().id, "holdfast-by-hand"
        match self.kind:
            case Kind.VOLUME:
                return self.embedded.ec2.create_snapshot(VolumeId=source)["SnapshotId"]
            case Kind.INSTANCE:
                taken = self.embedded.ec2.create_snapshots(InstanceSpecification={"InstanceId": source})
                return taken["Snapshots"][0]["SnapshotId"]
            case Kind.DATABASE:
                self.embedded.rds.create_db_snapshot(DBSnapshotIdentifier=name, DBInstanceIdentifier=source)
            case Kind.CLUSTER:
                self.embedded.rds.create_db_cluster_snapshot(
                    DBClusterSnapshotIdentifier=name, DBClusterIdentifier=source
                )
        return name

    def complete_everything(self) -> None:
        self.embedded.pass_time()

    def fail(self, snapshot: Snapshot) -> None:
        """Time passes until the snapshot has come to the end that `doom_the_next_taken` gave it."""
        self.complete_everything()
        seen = self._look_at(snapshot)
        assert seen.state is State.FAILED, f"{snapshot.id} is {seen.state}: name the sentence in DOOMED beforehand"

    def vanish(self, snapshot: Snapshot) -> None:
        ec2, rds = (self.embedded.aws.client(service, snapshot.region) for service in ("ec2", "rds"))
        match self.kind:
            case Kind.VOLUME | Kind.INSTANCE:
                ec2.delete_snapshot(SnapshotId=snapshot.id)
            case Kind.DATABASE:
                rds.delete_db_snapshot(DBSnapshotIdentifier=snapshot.id)
            case Kind.CLUSTER:
                rds.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier=snapshot.id)

    def make_pages_small(self) -> None:
        self.wirings.append(make_pages_small)

    def break_listing(self) -> None:
        self.wirings.append(self._refuse_second_pages)

    # what the sentences of this folder use beside it

    @property
    def is_ebs(self) -> bool:
        return self.kind in (Kind.VOLUME, Kind.INSTANCE)

    def resource(self, number: int) -> ResourceKey:
        """The same resource for every sentence that asks for this number; the first has number 0."""
        return self._key(self.embedded.resource(self.kind, number))

    def write_blocks(self, volume: ResourceKey, number: int) -> None:
        """So many blocks at the beginning of the volume have new bytes."""
        with image_path(self.embedded.aws.data_directory, volume.id).open("r+b") as image:
            image.write(os.urandom(number * BLOCK_BYTES))

    def delete_at_once(self, snapshot: Snapshot) -> None:
        """The deleter deletes it while AWS may still be making it."""
        self._home.delete_at_once(snapshot.id)

    def doom_the_next_taken(self) -> None:
        """The snapshot that is taken next, or the set of them, will fail when its time has come."""
        self.embedded.aws.arm({"operation": LIVES[self.kind], "effect": "fail", "count": 1})

    def lose_the_next_reply(self) -> None:
        """The next take has its effect, and no answer."""
        self.embedded.aws.arm({"operation": TAKING[self.kind], "effect": "lose-reply", "count": 1})

    def _refuse_second_pages(self, session: boto3.Session) -> None:
        def arm(model: Any, **_: Any) -> None:
            operation = f"{model.service_model.endpoint_prefix}:{model.name}"
            self.embedded.aws.arm(
                {"operation": operation, "effect": "refuse", "error_code": "InvalidParameterValue", "count": 1}
            )

        for operation in LISTINGS:
            session.events.register(f"after-call.*.{operation}", arm)

    def _look_at(self, snapshot: Snapshot) -> Snapshot:
        adapter = self.home if snapshot.region == HOME else self.away
        return adapter.look([snapshot.id])[snapshot.id]

    def _key(self, id: str) -> ResourceKey:
        return ResourceKey(account=ACCOUNT, region=HOME, kind=self.kind, id=id)


class InRoles:
    """The adapter of one Region, each verb spoken by a role of its own that has exactly what the verb declares."""

    def __init__(self, world: EmbeddedWorld, region: str) -> None:
        self._world = world
        self.kind = world.kind
        self.region = region

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        return self._spoken(verb)

    def delete(self, id: str) -> None:
        """Long after it was taken, the snapshot is gone."""
        self._world.complete_everything()
        self._spoken("delete")(id)

    def delete_at_once(self, id: str) -> None:
        """The snapshot is gone, whatever AWS is doing with it; not of the port."""
        self._spoken("delete")(id)

    def _spoken(self, verb: str) -> Callable[..., Any]:
        place = Place(self.kind, verb, self.region)
        embedded, wirings = self._world.embedded, self._world.wirings
        adapter = embedded.rewired_adapter(place, *wirings) if wirings else embedded.adapter(place)
        return getattr(adapter, verb)


def _tags_in(sent: Sent) -> dict[str, str]:
    specifications: Sequence[Any] = sent.parameters.get("TagSpecifications", ())
    listed: Sequence[Any] = [tag for one in specifications for tag in one["Tags"]] or sent.parameters.get("Tags", ())
    return {tag["Key"]: tag["Value"] for tag in listed}
