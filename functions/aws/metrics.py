"""How much a resource wrote, as CloudWatch counted it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from functions.aws.clients import Clients
from functions.aws.faults import translated
from functions.aws.permissions import Permission
from functions.core import instants
from functions.core.resources import Kind, ResourceKey

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

QUERIES_PER_CALL = 500
"""What GetMetricData takes; an instance has at most a few dozen volumes, a fleet is asked one resource at a time."""

PERMISSIONS: Mapping[str, tuple[Permission, ...]] = {
    "written_bytes": (
        Permission(
            actions=("cloudwatch:GetMetricData",),
            resources=("*",),
            why="metrics have no resource type; the data is counts, never content",
        ),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Series:
    """One metric, and by what its values are multiplied to become bytes."""

    namespace: str
    metric: str
    dimensions: Mapping[str, str]
    statistic: str
    is_rate: bool


def written_bytes(
    key: ResourceKey, since: datetime, until: datetime, clients: Clients, *, members: Sequence[str] = ()
) -> int | None:
    """Bytes written between the two instants; None when CloudWatch has no data point, because unknown is not zero.

    EBS counts them: `VolumeWriteBytes`, of every volume in `members` for an instance; None when one of them has no
    data. RDS reports a rate, `WriteThroughput`, which is integrated over the periods that have a value. For a cluster
    it is the writer's rate: what Aurora sends to its storage are log records, so the number says how busy the writer
    was and is below what the changed pages come to. `VolumeWriteIOPs` is no better: it counts billed requests of up
    to 4 KiB.
    """
    start, end = instants.aware(since), instants.aware(until)
    if end <= start:
        raise ValueError(f"until {instants.text(end)} is not after since {instants.text(start)}")
    period_seconds = _period_seconds(end - start)
    totals = [
        _total(values, series, period_seconds)
        for series, values in _read(_series_of(key, members), key.region, start, end, period_seconds, clients)
    ]
    known = [total for total in totals if total is not None]
    return sum(known) if known and len(known) == len(totals) else None


def _series_of(key: ResourceKey, members: Sequence[str]) -> list[_Series]:
    match key.kind:
        case Kind.VOLUME:
            return [_volume(key.id)]
        case Kind.INSTANCE:
            return [_volume(id) for id in members]
        case Kind.DATABASE:
            return [_throughput({"DBInstanceIdentifier": key.id})]
        case Kind.CLUSTER:
            return [_throughput({"DBClusterIdentifier": key.id, "Role": "WRITER"})]


def _volume(id: str) -> _Series:
    return _Series(
        namespace="AWS/EBS",
        metric="VolumeWriteBytes",
        dimensions={"VolumeId": id},
        statistic="Sum",
        is_rate=False,
    )


def _throughput(dimensions: Mapping[str, str]) -> _Series:
    return _Series(
        namespace="AWS/RDS", metric="WriteThroughput", dimensions=dimensions, statistic="Average", is_rate=True
    )


def _period_seconds(span: timedelta) -> int:
    """Five minutes, or an hour for spans so long that CloudWatch has thrown the finer values away (63 days)."""
    return 300 if span <= timedelta(days=60) else 3600


def _read(
    wanted: Sequence[_Series],
    region: str,
    start: datetime,
    end: datetime,
    period_seconds: int,
    clients: Clients,
) -> Iterator[tuple[_Series, list[float]]]:
    """Each series with every value CloudWatch has of it, over all pages."""
    cloudwatch: CloudWatchClient = clients.retrying("cloudwatch", region)
    for first in range(0, len(wanted), QUERIES_PER_CALL):
        asked = {f"m{position}": series for position, series in enumerate(wanted[first : first + QUERIES_PER_CALL])}
        values: dict[str, list[float]] = {id: [] for id in asked}
        queries: list[Any] = [_query(id, series, period_seconds) for id, series in asked.items()]
        for result in _results(cloudwatch, queries, start, end):
            values[result["Id"]].extend(result["Values"])
        for id, series in asked.items():
            yield series, values[id]


def _results(
    cloudwatch: CloudWatchClient, queries: Sequence[Any], start: datetime, end: datetime
) -> Iterator[Mapping[str, Any]]:
    with translated("cloudwatch:GetMetricData"):
        pages = cloudwatch.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries, StartTime=start, EndTime=end
        )
        for page in pages:
            yield from page["MetricDataResults"]


def _query(id: str, series: _Series, period_seconds: int) -> dict[str, Any]:
    return {
        "Id": id,
        "MetricStat": {
            "Metric": {
                "Namespace": series.namespace,
                "MetricName": series.metric,
                "Dimensions": [{"Name": name, "Value": value} for name, value in series.dimensions.items()],
            },
            "Period": period_seconds,
            "Stat": series.statistic,
        },
        "ReturnData": True,
    }


def _total(values: Sequence[float], series: _Series, period_seconds: int) -> int | None:
    if not values:
        return None
    return round(sum(values) * (period_seconds if series.is_rate else 1))
