"""Waiting for RDS the way a test or the try-out may: by looking often, with an end, and with a reason when it ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

_LOOK_AGAIN_SECONDS = 0.05

Shown = dict[str, Any]


def instance_in_state(rds: Any, identifier: str, state: str = "available", timeout_seconds: float = 120.0) -> Shown:
    """The instance, as shown when it had reached `state`."""
    return _until(
        lambda: rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0],
        "DBInstanceStatus",
        state,
        timeout_seconds,
    )


def snapshot_in_state(rds: Any, identifier: str, state: str = "available", timeout_seconds: float = 120.0) -> Shown:
    """The DB snapshot, as shown when it had reached `state`."""
    return _until(
        lambda: rds.describe_db_snapshots(DBSnapshotIdentifier=identifier)["DBSnapshots"][0],
        "Status",
        state,
        timeout_seconds,
    )


def cluster_in_state(rds: Any, identifier: str, state: str = "available", timeout_seconds: float = 120.0) -> Shown:
    """The cluster, as shown when it had reached `state`."""
    return _until(
        lambda: rds.describe_db_clusters(DBClusterIdentifier=identifier)["DBClusters"][0],
        "Status",
        state,
        timeout_seconds,
    )


def cluster_snapshot_in_state(
    rds: Any, identifier: str, state: str = "available", timeout_seconds: float = 120.0
) -> Shown:
    """The cluster snapshot, as shown when it had reached `state`."""
    return _until(
        lambda: rds.describe_db_cluster_snapshots(DBClusterSnapshotIdentifier=identifier)["DBClusterSnapshots"][0],
        "Status",
        state,
        timeout_seconds,
    )


def _until(look: Callable[[], Shown], field: str, state: str, timeout_seconds: float) -> Shown:
    deadline = time.monotonic() + timeout_seconds
    while (shown := look())[field] != state:
        if time.monotonic() > deadline:
            raise TimeoutError(f"still {shown[field]} and not {state} after {timeout_seconds:g} s: {shown}")
        time.sleep(_LOOK_AGAIN_SECONDS)
    return shown
