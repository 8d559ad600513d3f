"""Rehearsals as the deployed state machine holds them, and everything that follows from what they found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from embedded import ACCOUNT
from embedded.tryout.ledger import TABLE
from tests.e2e.deployment import AWAY, HOME, PATIENCE_SECONDS, Deployment, Thing

REHEARSAL_TAG = "holdfast:rehearsal"
MACHINE = f"arn:aws:states:{AWAY}:{ACCOUNT}:stateMachine:holdfast-rehearse"
AT_ONCE = 2
"""More of them at once take longer in all: each of their functions begins in a new process for each of them."""

_READ = TypeDeserializer()


@dataclass(frozen=True)
class Rehearsed:
    """A rehearsal that is over: how its execution ended, and what the ledger remembers of it."""

    status: str
    error: str
    cause: str
    story: dict[str, Any]

    @property
    def fitness(self) -> str:
        return self.story["evidence"]["fitness"]

    @property
    def reason(self) -> str:
        return self.story["evidence"]["reason"]

    @property
    def broken(self) -> list[str]:
        """What was checked and did not hold."""
        return [one["what"] for one in self.story["evidence"]["assertions"] if one["held"] is False]


@dataclass(frozen=True)
class Rehearsals:
    """The rehearsals of one deployment, in the Region of the copies."""

    deployment: Deployment

    def run(self, points: Mapping[str, tuple[Thing, str]]) -> dict[str, Rehearsed]:
        """Every one of these points, a slot of a thing, was rehearsed; by the same names."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return dict(zip(points, pool.map(lambda point: self._run(*point), points.values()), strict=True))

    def _run(self, thing: Thing, slot_at: str) -> Rehearsed:
        states = self.deployment.aws.client("stepfunctions", AWAY)
        wanted = json.dumps({"resource": thing.key, "slot": slot_at})
        arn = states.start_execution(stateMachineArn=MACHINE, input=wanted)["executionArn"]

        def described() -> dict[str, Any]:
            return states.describe_execution(executionArn=arn)

        self.deployment.until(f"{arn} is over", lambda: described()["status"] != "RUNNING")
        said = described()
        stories = [json.loads(row["body"]) for row in self._rows(thing, "rehearsal#")]
        (story,) = [one for one in stories if _instant(one["slot"]["at"]) == _instant(slot_at)]
        return Rehearsed(said["status"], said.get("error", ""), said.get("cause", ""), story)

    def held(self, thing: Thing) -> dict[str, str]:
        """Why each point of the thing is held, by its slot; nothing was released here."""
        rows = self._rows(thing, "hold#")
        assert all(row["what"] == "held" for row in rows), rows
        return {row["slot_at"]: row["because"] for row in rows}

    def recovery(self, thing: Thing) -> dict[str, Any]:
        """What the newest good point would be for somebody who recovers the thing in the Region of the copies."""
        functions = self.deployment.aws.client("lambda", AWAY, read_timeout=PATIENCE_SECONDS)
        asked = {"input": {"resource": thing.key, "point": "latest good"}, "execution": "somebody asks"}
        answer = functions.invoke(FunctionName="holdfast-choose-recovery", Payload=json.dumps(asked).encode())
        said = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, said
        return said["recovery"]["chosen"]

    def leftovers(self) -> list[str]:
        """Everything that rehearsals made and that is still there."""
        ec2, rds = self.deployment.aws.client("ec2", AWAY), self.deployment.aws.client("rds", AWAY)
        tagged = [{"Name": "tag-key", "Values": [REHEARSAL_TAG]}]
        left = [volume["VolumeId"] for volume in ec2.describe_volumes(Filters=tagged)["Volumes"]]
        left += [one["SnapshotId"] for one in ec2.describe_snapshots(OwnerIds=["self"], Filters=tagged)["Snapshots"]]
        return left + [
            one["DBInstanceIdentifier"]
            for one in rds.describe_db_instances()["DBInstances"]
            if any(tag["Key"] == REHEARSAL_TAG for tag in one["TagList"])
        ]

    def _rows(self, thing: Thing, prefix: str) -> list[dict[str, Any]]:
        answer = self.deployment.aws.client("dynamodb", HOME).query(
            TableName=TABLE,
            KeyConditionExpression="pk = :thing and begins_with(sk, :prefix)",
            ExpressionAttributeValues={":thing": {"S": thing.key}, ":prefix": {"S": prefix}},
            ConsistentRead=True,
        )
        return [{name: _READ.deserialize(value) for name, value in item.items()} for item in answer["Items"]]


def _instant(written: str) -> datetime:
    return datetime.fromisoformat(written)
