"""Recoveries as people meet them: executions of the state machines, what is told, and what AWS holds afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from embedded import ACCOUNT
from embedded.tryout.ledger import TABLE
from tests.e2e.deployment import HOME, Deployment, Thing

RECOVERY_TAG = "holdfast:recovery"
_READ = TypeDeserializer()


@dataclass(frozen=True)
class Ended:
    """An execution that is over."""

    arn: str
    status: str
    output: dict[str, Any]
    error: str
    cause: str

    @property
    def recovery(self) -> str:
        """The identifier of the recovery that was handed over."""
        return self.output["recovery"]


@dataclass(frozen=True)
class Notice:
    """What people were told, and where."""

    region: str
    subject: str
    text: str


@dataclass
class Recoveries:
    """The state machines of one deployment, and the letter box of somebody who is told of everything."""

    deployment: Deployment
    _boxes: dict[str, str] = field(default_factory=dict)
    _told: list[Notice] = field(default_factory=list)

    # ------------------------------------------------------------------ executions

    def begin(self, machine: str, region: str, /, **given: Any) -> str:
        """The execution that was started."""
        self._listen(region)
        arn = f"arn:aws:states:{region}:{ACCOUNT}:stateMachine:{machine}"
        states = self.deployment.aws.client("stepfunctions", region)
        return states.start_execution(stateMachineArn=arn, input=json.dumps(given))["executionArn"]

    def end(self, arn: str) -> Ended:
        """The execution once it is over."""
        self.deployment.until(f"{arn} is over", lambda: self._described(arn)["status"] != "RUNNING")
        said = self._described(arn)
        output = json.loads(said["output"]) if said["status"] == "SUCCEEDED" else {}
        return Ended(arn, said["status"], output, said.get("error", ""), said.get("cause", ""))

    def run(self, machine: str, region: str, /, **given: Any) -> Ended:
        """The execution from its start to its end."""
        return self.end(self.begin(machine, region, **given))

    def recover(self, region: str, /, **given: Any) -> Ended:
        """One recovery, from its start to its end."""
        return self.run("holdfast-recover", region, **given)

    def redrive(self, arn: str) -> Ended:
        """The execution goes on where it failed, and is over again."""
        self._states(arn).redrive_execution(executionArn=arn)
        return self.end(arn)

    def events(self, arn: str) -> list[dict[str, Any]]:
        """The whole history of an execution, oldest first."""
        pages = self._states(arn).get_paginator("get_execution_history").paginate(executionArn=arn)
        return [event for page in pages for event in page["events"]]

    def states_entered(self, arn: str) -> list[str]:
        """The states an execution went through, in order."""
        return [e["stateEnteredEventDetails"]["name"] for e in self.events(arn) if "stateEnteredEventDetails" in e]

    def _states(self, arn: str) -> Any:
        return self.deployment.aws.client("stepfunctions", arn.split(":")[3])

    def _described(self, arn: str) -> dict[str, Any]:
        return self._states(arn).describe_execution(executionArn=arn)

    # ------------------------------------------------------------------ what is told

    def on_ledger(self, thing: Thing) -> list[dict[str, Any]]:
        """Every end of a recovery of the thing that the ledger remembers, oldest first; `row` is its sort key."""
        answer = self.deployment.aws.client("dynamodb", HOME).query(
            TableName=TABLE,
            KeyConditionExpression="pk = :thing and begins_with(sk, :prefix)",
            ExpressionAttributeValues={":thing": {"S": thing.key}, ":prefix": {"S": "recovery#"}},
            ConsistentRead=True,
        )
        rows = [{name: _READ.deserialize(value) for name, value in item.items()} for item in answer["Items"]]
        return [{**json.loads(row["body"]), "row": row["sk"]} for row in rows]

    def notices(self, about: str) -> list[Notice]:
        """Everything people were told so far that has these words in it, oldest first."""
        for region in self._boxes:
            self._told.extend(self._letters(region))
        return [one for one in self._told if about in one.subject or about in one.text]

    def _listen(self, region: str) -> None:
        if region in self._boxes:
            return
        sqs, sns = self.deployment.aws.client("sqs", region), self.deployment.aws.client("sns", region)
        topic = f"arn:aws:sns:{region}:{ACCOUNT}:holdfast-notices"
        box = f"arn:aws:sqs:{region}:{ACCOUNT}:letter-box"
        may_send = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": box}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [may_send]})
        self._boxes[region] = sqs.create_queue(QueueName="letter-box", Attributes={"Policy": policy})["QueueUrl"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=box)

    def _letters(self, region: str) -> Iterator[Notice]:
        sqs, box = self.deployment.aws.client("sqs", region), self._boxes[region]
        while messages := sqs.receive_message(QueueUrl=box, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                sqs.delete_message(QueueUrl=box, ReceiptHandle=message["ReceiptHandle"])
                letter = json.loads(message["Body"])
                yield Notice(region, letter["Subject"], letter["Message"])

    # ------------------------------------------------------------------ what AWS holds

    def volumes(self, region: str, *recoveries: str) -> list[dict[str, Any]]:
        """The volumes that these recoveries made, or any recovery if none is named."""
        named = {"Name": f"tag:{RECOVERY_TAG}", "Values": list(recoveries)}
        any_of_them = {"Name": "tag-key", "Values": [RECOVERY_TAG]}
        ec2 = self.deployment.aws.client("ec2", region)
        return ec2.describe_volumes(Filters=[named if recoveries else any_of_them])["Volumes"]

    def databases(self, region: str) -> list[dict[str, Any]]:
        """The databases that recoveries made."""
        found = self.deployment.aws.client("rds", region).describe_db_instances()["DBInstances"]
        return [one for one in found if RECOVERY_TAG in tags_of(one)]

    def database(self, region: str, name: str) -> dict[str, Any]:
        """The database of this name."""
        rds = self.deployment.aws.client("rds", region)
        return rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]


def tags_of(described: dict[str, Any]) -> dict[str, str]:
    """The tags on a volume or a database."""
    return {tag["Key"]: tag["Value"] for tag in described.get("Tags") or described.get("TagList") or ()}
