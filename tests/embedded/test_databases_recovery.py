"""The whole way of a database: written to at home, copied, lost, and answering SQL in the second Region."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pg8000.exceptions import DatabaseError

from embedded.aws import EmbeddedAws
from embedded.databases import connection, waiting
from embedded.databases.estate import AUTHORITY_NAME

HOME, AWAY = "us-east-1", "us-west-2"


@pytest.fixture(autouse=True)
def quick(aws: EmbeddedAws) -> Iterator[None]:
    aws.set_durations(db_snapshot=0.3, db_copy=0.3, db_restore=0.3, db_modify=0.2, db_delete=0.2)
    yield
    aws.reset_durations()


class Sales:
    """Clients of a shop that commit orders until they are told to stop."""

    def __init__(self, endpoint: dict[str, Any], password: str) -> None:
        self._endpoint, self._password = endpoint, password
        self.acknowledged: set[int] = set()
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._sell) for _ in range(3)]
        with connection(endpoint, "holdfast", password, database="shop") as connected:
            connected.run("CREATE TABLE orders (id bigserial PRIMARY KEY, text text NOT NULL)")

    def __enter__(self) -> "Sales":
        for thread in self._threads:
            thread.start()
        self.wait_for_more()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self) -> None:
        """Fifty orders more are acknowledged."""
        wanted, deadline = len(self.acknowledged) + 50, time.monotonic() + 120
        while len(self.acknowledged) < wanted and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(self.acknowledged) >= wanted

    def _sell(self) -> None:
        with connection(self._endpoint, "holdfast", self._password, database="shop") as connected:
            while not self._stopping.is_set():
                sold = connected.run("INSERT INTO orders (text) VALUES (repeat('x', 500)) RETURNING id") or []
                self.acknowledged.update(row[0] for row in sold)


def _password(aws: EmbeddedAws, instance: dict[str, Any], region: str) -> str:
    arn = instance["MasterUserSecret"]["SecretArn"]
    return json.loads(aws.client("secretsmanager", region).get_secret_value(SecretId=arn)["SecretString"])["password"]


def test_every_order_of_a_busy_shop_is_there_in_the_second_region(
    aws: EmbeddedAws, unique: Callable[[str], str]
) -> None:
    home, away = aws.client("rds", HOME), aws.client("rds", AWAY)
    shop, nightly, copied, recovered = (unique(stem) for stem in ("shop", "nightly", "copied", "recovered"))
    home.create_db_instance(
        DBInstanceIdentifier=shop,
        Engine="postgres",
        DBInstanceClass="db.t4g.micro",
        AllocatedStorage=20,
        MasterUsername="holdfast",
        ManageMasterUserPassword=True,
        DBName="shop",
        StorageEncrypted=True,
    )
    source = waiting.instance_in_state(home, shop)
    home_password = _password(aws, source, HOME)
    with Sales(source["Endpoint"], home_password) as sales:
        before = set(sales.acknowledged)
        home.create_db_snapshot(DBInstanceIdentifier=shop, DBSnapshotIdentifier=nightly)
        sales.wait_for_more()
    snapshot = waiting.snapshot_in_state(home, nightly)

    key = aws.client("kms", AWAY).create_key()["KeyMetadata"]["Arn"]
    away.copy_db_snapshot(
        SourceDBSnapshotIdentifier=snapshot["DBSnapshotArn"],
        TargetDBSnapshotIdentifier=copied,
        SourceRegion=HOME,
        KmsKeyId=key,
    )
    copy = waiting.snapshot_in_state(away, copied)
    assert copy["FullSnapshotSizeInBytes"] == snapshot["FullSnapshotSizeInBytes"]

    waiting.instance_in_state(home, shop)
    home.delete_db_instance(DBInstanceIdentifier=shop, SkipFinalSnapshot=True)
    home.delete_db_snapshot(DBSnapshotIdentifier=nightly)

    away.restore_db_instance_from_db_snapshot(
        DBInstanceIdentifier=recovered, DBSnapshotIdentifier=copied, PubliclyAccessible=False
    )
    waiting.instance_in_state(away, recovered)
    away.modify_db_instance(DBInstanceIdentifier=recovered, ManageMasterUserPassword=True, ApplyImmediately=True)
    standing = waiting.instance_in_state(away, recovered)
    assert (standing["KmsKeyId"], standing["PubliclyAccessible"]) == (key, False)

    authority = aws.data_directory / AUTHORITY_NAME
    secret = _password(aws, standing, AWAY)
    with connection(standing["Endpoint"], "holdfast", secret, database="shop", authority=authority) as connected:
        rows = {row[0] for row in connected.run("SELECT id FROM orders") or []}
    assert before <= rows
    assert sales.acknowledged - rows, "orders went on after the snapshot, so it cannot hold them all"
    with (
        pytest.raises(DatabaseError, match="password authentication failed"),
        connection(standing["Endpoint"], "holdfast", home_password),
    ):
        pass
    away.delete_db_instance(DBInstanceIdentifier=recovered, SkipFinalSnapshot=True)


def test_notices_of_snapshots_and_copies_reach_the_rules_of_their_region(
    aws: EmbeddedAws, unique: Callable[[str], str], until: Callable[..., Any]
) -> None:
    arrived: dict[str, list[dict[str, Any]]] = {HOME: [], AWAY: []}
    queues = {region: _queue_of_notices(aws, region, unique("rds-notices")) for region in arrived}
    home, away = aws.client("rds", HOME), aws.client("rds", AWAY)
    shop, nightly, copied = unique("shop"), unique("nightly"), unique("copied")
    home.create_db_instance(
        DBInstanceIdentifier=shop,
        Engine="mysql",
        DBInstanceClass="db.t4g.micro",
        AllocatedStorage=20,
        MasterUsername="holdfast",
        MasterUserPassword="a master's password",
    )
    waiting.instance_in_state(home, shop)
    home.create_db_snapshot(DBInstanceIdentifier=shop, DBSnapshotIdentifier=nightly)
    arn = waiting.snapshot_in_state(home, nightly)["DBSnapshotArn"]
    away.copy_db_snapshot(SourceDBSnapshotIdentifier=arn, TargetDBSnapshotIdentifier=copied, SourceRegion=HOME)
    waiting.snapshot_in_state(away, copied)

    def heard(region: str, identifier: str) -> list[str]:
        answer = aws.client("sqs", region).receive_message(QueueUrl=queues[region], MaxNumberOfMessages=10)
        arrived[region] += [json.loads(message["Body"]) for message in answer.get("Messages", [])]
        return [
            notice["detail"]["EventID"]
            for notice in arrived[region]
            if notice["detail"]["SourceIdentifier"] == identifier and notice["source"] == "aws.rds"
        ]

    until(lambda: sorted(heard(HOME, nightly)) == ["RDS-EVENT-0040", "RDS-EVENT-0042"], what="notices at home")
    until(lambda: sorted(heard(AWAY, copied)) == ["RDS-EVENT-0059", "RDS-EVENT-0060"], what="notices of the copy")
    assert {notice["region"] for notice in arrived[AWAY]} == {AWAY}
    assert heard(HOME, copied) == []


def _queue_of_notices(aws: EmbeddedAws, region: str, name: str) -> str:
    queues, events = aws.client("sqs", region), aws.client("events", region)
    url = queues.create_queue(QueueName=name)["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    rule = events.put_rule(Name=name, EventPattern=json.dumps({"source": ["aws.rds"]}))["RuleArn"]
    allow = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    queues.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
    return url
