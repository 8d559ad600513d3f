"""Holdfast as it is deployed, on an embedded AWS of its own, with the words the stories need."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from embedded import disks
from embedded.aws import EmbeddedAws
from embedded.tryout import ledger
from embedded.tryout.ledger import Told
from embedded.tryout.scenario import AWAY, HOME, Thing
from embedded.volumes import image_path
from tests.e2e.passing_time import pass_time

PATIENCE_SECONDS = 600.0
"""Of the wall: only a failure takes so long, on however slow a machine."""


@dataclass
class Deployment:
    """A running AWS with Holdfast deployed."""

    aws: EmbeddedAws
    things: list[Thing] = field(default_factory=list)

    def protect_a_volume(
        self, *, disk: str | None = None, tags: dict[str, str] | None = None, policy: str = "nightly", **wanted: Any
    ) -> Thing:
        """A new volume with a policy's tag and no point yet; empty, or with the prepared `disk` of that name."""
        carried = {"holdfast:policy": policy, **(tags or {})}
        id = self.aws.client("ec2", HOME).create_volume(
            AvailabilityZone=f"{HOME}a",
            Size=1,
            VolumeType="gp3",
            TagSpecifications=[
                {"ResourceType": "volume", "Tags": [{"Key": key, "Value": value} for key, value in carried.items()]}
            ],
            **wanted,
        )["VolumeId"]
        if disk is not None:
            disks.lay(disk, image_path(self.aws.data_directory, id))
        thing = Thing("volume", id, "a volume")
        self.things.append(thing)
        return thing

    def leave(self, thing: Thing) -> None:
        """The volume is no longer protected; what it has stays."""
        self.aws.client("ec2", HOME).delete_tags(Resources=[thing.id], Tags=[{"Key": "holdfast:policy"}])
        self.things.remove(thing)

    def invoke(self, verb: str, region: str = HOME) -> dict[str, Any]:
        """What the function answered."""
        name = f"holdfast-{verb}"
        answer = self.aws.client("lambda", region, read_timeout=PATIENCE_SECONDS).invoke(
            FunctionName=name, Payload=b"{}"
        )
        said = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, said
        return said

    def plan(self) -> None:
        """Everything due is ordered. A ledger that was never compared with AWS would owe nothing."""
        self.invoke("take-inventory")
        self.invoke("sweep")
        self.invoke("plan-backups")

    def told(self, thing: Thing) -> Told:
        """What the ledger says about it now."""
        (told,) = ledger.read(self.aws, [thing])
        return told

    def until(self, what: str, holds: Callable[[], Any]) -> None:
        """It holds now, however much time had to pass on the embedded clock; a failure says what did not come to hold,
        and where to read on."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            assert time.monotonic() < end, f"not within {PATIENCE_SECONDS:.0f} s: {what}; log: {self.aws.log_path}"
            pass_time(self.aws)

    def until_database(self, name: str) -> dict[str, Any]:
        """The database of that name at home, which is available."""

        def described() -> dict[str, Any]:
            return self.aws.client("rds", HOME).describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]

        self.until(f"{name} is available", lambda: described()["DBInstanceStatus"] == "available")
        return described()

    def until_copied(self, thing: Thing) -> Told:
        """The newest point of the thing has its copies, and its run has a verdict."""

        def is_copied() -> bool:
            told = self.told(thing)
            return told.has_point and told.has_copies and bool(told.run) and bool(told.verdict)

        self.until(f"{thing.key} has a point, a copy and a verdict", is_copied)
        return self.told(thing)

    def snapshots(self, thing: Thing, region: str) -> list[dict[str, Any]]:
        """Every snapshot of ours of this thing in a Region, as AWS has it."""
        tag = {"Name": "tag:holdfast:resource", "Values": [thing.key]}
        return self.aws.client("ec2", region).describe_snapshots(OwnerIds=["self"], Filters=[tag])["Snapshots"]

    def go_to(self, instant: datetime) -> None:
        """The embedded clock shows that instant."""
        self.aws.set_clock(instant)

    def next_night(self) -> datetime:
        """The clock shows a minute past the next slot."""
        now = self.aws.now()
        slot = now.replace(hour=2, minute=1, second=0, microsecond=0)
        self.go_to(slot if slot > now else slot + timedelta(days=1))
        return self.aws.now()


__all__ = ["AWAY", "HOME", "Deployment", "Thing"]
