"""The few numbers Holdfast reports about itself: fleet-wide, never one for each resource."""

from __future__ import annotations

from collections.abc import Mapping

from functions.aws.clients import Clients
from functions.aws.faults import translated
from functions.aws.permissions import Permission

NAMESPACE = "Holdfast"

PERMISSIONS: Mapping[str, tuple[Permission, ...]] = {
    "count": (
        Permission(
            actions=("cloudwatch:PutMetricData",),
            resources=("*",),
            conditions={"StringEquals": {"cloudwatch:namespace": NAMESPACE}},
            why="PutMetricData has no resource type; the condition leaves only our namespace",
        ),
    ),
}


class Health:
    """Where the numbers go."""

    def __init__(self, region: str, clients: Clients) -> None:
        self._cloudwatch = clients.retrying("cloudwatch", region)

    def count(self, **numbers: float) -> None:
        """Each number is now a data point under its name, unit Count."""
        with translated("PutMetricData"):
            self._cloudwatch.put_metric_data(
                Namespace=NAMESPACE,
                MetricData=[{"MetricName": name, "Value": value, "Unit": "Count"} for name, value in numbers.items()],
            )
