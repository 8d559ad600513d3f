"""One snapshot for a slot, whatever happens between asking AWS and writing it down."""

from __future__ import annotations

from tests.e2e.deployment import AWAY, HOME, Deployment

KILLED = {
    "operation": "ec2:CreateSnapshot",
    "effect": "kill-caller",
    "function": "holdfast-take-snapshot",
    "count": 1,
}
LOST = {"operation": "ec2:CreateSnapshot", "effect": "lose-reply", "count": 1}
COPIER_KILLED = {
    "operation": "ec2:CopySnapshot",
    "effect": "kill-caller",
    "function": "holdfast-copy-snapshot",
    "count": 1,
}
AFTER_GRACE_SECONDS = 13 * 60


def test_a_function_killed_between_the_create_and_the_record_leaves_one_snapshot_adopted(
    deployment: Deployment,
) -> None:
    """F19: GRACE passes, the order comes again, LOOK finds what the dead one made."""
    thing = deployment.protect_a_volume()
    deployment.aws.arm(KILLED)
    deployment.plan()
    deployment.until("AWS made the snapshot", lambda: deployment.snapshots(thing, HOME))
    deployment.until("the function was killed", lambda: deployment.aws.faults() == [])
    assert deployment.told(thing).point["status"] == "INTENT"
    _finish_after_grace(deployment, thing)


def test_a_lost_reply_leaves_one_snapshot_adopted(deployment: Deployment) -> None:
    """F03: the connection breaks after the effect; nobody asks AWS a second time."""
    thing = deployment.protect_a_volume()
    deployment.aws.arm(LOST)
    deployment.plan()
    deployment.until("AWS made the snapshot", lambda: deployment.snapshots(thing, HOME))
    assert deployment.told(thing).point["status"] == "INTENT"
    _finish_after_grace(deployment, thing)


def test_a_copier_killed_between_the_copy_and_the_record_leaves_one_copy_adopted(deployment: Deployment) -> None:
    """F19, in the other Region."""
    thing = deployment.protect_a_volume()
    deployment.aws.arm(COPIER_KILLED)
    deployment.plan()
    deployment.until("AWS made the copy", lambda: deployment.snapshots(thing, AWAY))
    _finish_after_grace(deployment, thing)


def _finish_after_grace(deployment: Deployment, thing) -> None:
    deployment.aws.advance(AFTER_GRACE_SECONDS)
    deployment.invoke("sweep")
    told = deployment.until_copied(thing)
    (snapshot,) = deployment.snapshots(thing, HOME)
    (copy,) = deployment.snapshots(thing, AWAY)
    assert [part["snapshot_id"] for part in told.parts] == [snapshot["SnapshotId"]]
    assert [one["snapshot_id"] for one in told.copies] == [copy["SnapshotId"]]
