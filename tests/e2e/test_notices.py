"""Notices are hints: doubled or dropped, they change nothing in the result."""

from __future__ import annotations

import pytest

from tests.e2e.deployment import AWAY, HOME, Deployment


@pytest.mark.parametrize("fate", ["double", "lose"])
def test_notices_that_come_twice_or_never_change_nothing_in_the_result(deployment: Deployment, fate: str) -> None:
    """F30, F32."""
    deployment.aws.arm({"notice": fate, "count": None})
    thing = deployment.protect_a_volume()
    deployment.plan()
    told = deployment.until_copied(thing)
    assert [part["snapshot_id"] for part in told.parts] == [s["SnapshotId"] for s in deployment.snapshots(thing, HOME)]
    assert [c["snapshot_id"] for c in told.copies] == [s["SnapshotId"] for s in deployment.snapshots(thing, AWAY)]
    assert told.run["status"] == "COMPLETED"
    assert told.run["attempts"] == 1
