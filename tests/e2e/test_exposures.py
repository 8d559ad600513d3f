"""A backup that is given away is found by the watch that runs by itself, and found to be private again."""

from __future__ import annotations

from typing import Any

from embedded.tryout.ledger import TABLE
from tests.e2e.deployment import AWAY, HOME, Deployment

STRANGER = "999999999999"


def test_a_share_with_a_stranger_stands_on_the_ledger_until_it_is_taken_back(deployment: Deployment) -> None:
    """F82, found by the clock, through the roles as they are deployed; people are told before the ledger is."""
    thing = deployment.protect_a_volume()
    deployment.plan()
    deployment.until_copied(thing)
    (copy,) = deployment.snapshots(thing, AWAY)
    _give(deployment, copy["SnapshotId"], "add")
    deployment.until("the share stands", lambda: [row["what"]["S"] for row in _standing(deployment)] == [STRANGER])
    (row,) = _standing(deployment)
    assert f"the snapshot {copy['SnapshotId']} in {AWAY}, of {thing.key}," in row["told"]["S"]
    _give(deployment, copy["SnapshotId"], "remove")
    deployment.until("the share is over", lambda: not _standing(deployment))


def test_every_region_is_looked_at_by_roles_that_may(deployment: Deployment) -> None:
    thing = deployment.protect_a_volume()
    deployment.plan()
    deployment.until_copied(thing)
    watched = deployment.invoke("watch-sharing")
    assert (watched["standing"], watched["asked"] >= 2) == (0, True)
    checked = deployment.invoke("check-keys")
    assert (checked["begun"], checked["unseen"]) == ([], [])
    assert checked["looked_at"] >= 2


def _give(deployment: Deployment, snapshot_id: str, how: str) -> None:
    deployment.aws.client("ec2", AWAY).modify_snapshot_attribute(
        SnapshotId=snapshot_id, Attribute="createVolumePermission", OperationType=how, UserIds=[STRANGER]
    )


def _standing(deployment: Deployment) -> list[dict[str, Any]]:
    answer = deployment.aws.client("dynamodb", HOME).query(
        TableName=TABLE,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": "finding#share"}},
        ConsistentRead=True,
    )
    return [row for row in answer["Items"] if "over_at" not in row]
