"""Nights pass, the policy keeps two daily points, and the rest goes by the hands of two roles."""

from __future__ import annotations

from tests.e2e.deployment import AWAY, HOME, Deployment

NIGHTS = 6


def test_what_no_tier_keeps_is_marked_by_one_role_and_deleted_by_another(deployment: Deployment) -> None:
    """The roles' tag conditions are asked by the embedded IAM at every call."""
    thing = deployment.protect_a_volume(policy="two-days")  # nobody else's, so that nobody has seen it before
    taken = []
    for _ in range(NIGHTS):
        slept = deployment.next_night()
        deployment.plan()
        told = deployment.until_copied(thing)
        assert told.point["slot_at"].startswith(f"{slept:%Y-%m-%d}")
        taken.append(told)
        deployment.invoke("mark-expired")
        assert deployment.invoke("delete-expired")["stays"] == []
        if len(taken) == 3:  # the policy is known for two days only: nothing goes before it is 72 hours
            assert len(deployment.snapshots(thing, HOME)) == len(deployment.snapshots(thing, AWAY)) == 3
    home = {snapshot["SnapshotId"] for snapshot in deployment.snapshots(thing, HOME)}
    away = {snapshot["SnapshotId"] for snapshot in deployment.snapshots(thing, AWAY)}
    stays = [told for told in taken if told.parts[0]["snapshot_id"] in home]
    assert 2 <= len(stays) < NIGHTS, "some went, one a day"
    assert taken[-2:] == stays[-2:], "the two newest daily points stay"
    assert away == {told.copies[0]["snapshot_id"] for told in stays}, "a point goes with its copies"
