"""How many bytes were written, from answers of CloudWatch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from functions.aws.clients import Clients
from functions.aws.metrics import written_bytes
from functions.core.resources import Kind, ResourceKey

REGION = "eu-central-1"
SINCE = datetime(2026, 11, 20, 3, tzinfo=UTC)
UNTIL = SINCE + timedelta(hours=1)


@pytest.fixture
def clients() -> Clients:
    return Clients(boto3.Session("testing", "testing", region_name=REGION))


@pytest.fixture
def cloudwatch(clients: Clients) -> Iterator[Stubber]:
    with Stubber(clients.retrying("cloudwatch", REGION)) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def key(kind: Kind, id: str) -> ResourceKey:
    return ResourceKey(account="111122223333", region=REGION, kind=kind, id=id)


def query(
    id: str, namespace: str, metric: str, dimensions: dict[str, str], stat: str, period_seconds: int = 300
) -> dict[str, Any]:
    return {
        "Id": id,
        "MetricStat": {
            "Metric": {
                "Namespace": namespace,
                "MetricName": metric,
                "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
            },
            "Period": period_seconds,
            "Stat": stat,
        },
        "ReturnData": True,
    }


def answers(
    cloudwatch: Stubber,
    values: dict[str, Sequence[float]],
    queries: Any = ANY,
    *,
    token: str = "",
    next_token: str = "",
    until: datetime = UNTIL,
) -> None:
    content: dict[str, Any] = {
        "MetricDataResults": [{"Id": id, "Values": list(numbers)} for id, numbers in values.items()]
    }
    request: dict[str, Any] = {"MetricDataQueries": queries, "StartTime": SINCE, "EndTime": until}
    if next_token:
        content["NextToken"] = next_token
    if token:
        request["NextToken"] = token
    cloudwatch.add_response("get_metric_data", content, request)


def test_a_volumes_bytes_are_summed(clients: Clients, cloudwatch: Stubber):
    queries = [query("m0", "AWS/EBS", "VolumeWriteBytes", {"VolumeId": "vol-1"}, "Sum")]
    answers(cloudwatch, {"m0": [4096.0, 0.0, 8192.0]}, queries)
    assert written_bytes(key(Kind.VOLUME, "vol-1"), SINCE, UNTIL, clients) == 12288


def test_an_instances_bytes_are_those_of_all_its_volumes(clients: Clients, cloudwatch: Stubber):
    volumes = [{"VolumeId": "vol-1"}, {"VolumeId": "vol-2"}]
    queries = [query(f"m{n}", "AWS/EBS", "VolumeWriteBytes", volume, "Sum") for n, volume in enumerate(volumes)]
    answers(cloudwatch, {"m0": [1.0], "m1": [2.0, 3.0]}, queries)
    members = ["vol-1", "vol-2"]
    assert written_bytes(key(Kind.INSTANCE, "i-1"), SINCE, UNTIL, clients, members=members) == 6


def test_a_database_rate_becomes_bytes(clients: Clients, cloudwatch: Stubber):
    queries = [query("m0", "AWS/RDS", "WriteThroughput", {"DBInstanceIdentifier": "orders"}, "Average")]
    answers(cloudwatch, {"m0": [10.0, 20.5]}, queries)
    assert written_bytes(key(Kind.DATABASE, "orders"), SINCE, UNTIL, clients) == 9150


def test_a_cluster_is_measured_at_its_writer(clients: Clients, cloudwatch: Stubber):
    dimensions = {"DBClusterIdentifier": "shop", "Role": "WRITER"}
    answers(cloudwatch, {"m0": [1.0]}, [query("m0", "AWS/RDS", "WriteThroughput", dimensions, "Average")])
    assert written_bytes(key(Kind.CLUSTER, "shop"), SINCE, UNTIL, clients) == 300


def test_every_page_counts(clients: Clients, cloudwatch: Stubber):
    answers(cloudwatch, {"m0": [1.0]}, next_token="page-2")
    answers(cloudwatch, {}, token="page-2", next_token="page-3")
    answers(cloudwatch, {"m0": [2.0]}, token="page-3")
    assert written_bytes(key(Kind.VOLUME, "vol-1"), SINCE, UNTIL, clients) == 3


@pytest.mark.parametrize("values", [{"m0": []}, {}])
def test_no_data_is_unknown_and_not_zero(clients: Clients, cloudwatch: Stubber, values: dict[str, Sequence[float]]):
    answers(cloudwatch, values)
    assert written_bytes(key(Kind.VOLUME, "vol-1"), SINCE, UNTIL, clients) is None


def test_zero_written_is_zero(clients: Clients, cloudwatch: Stubber):
    answers(cloudwatch, {"m0": [0.0]})
    assert written_bytes(key(Kind.VOLUME, "vol-1"), SINCE, UNTIL, clients) == 0


def test_an_instance_with_one_silent_volume_is_unknown(clients: Clients, cloudwatch: Stubber):
    answers(cloudwatch, {"m0": [1.0], "m1": []})
    members = ["vol-1", "vol-2"]
    assert written_bytes(key(Kind.INSTANCE, "i-1"), SINCE, UNTIL, clients, members=members) is None


def test_an_instance_whose_volumes_nobody_named_is_unknown(clients: Clients, cloudwatch: Stubber):
    assert written_bytes(key(Kind.INSTANCE, "i-1"), SINCE, UNTIL, clients) is None


def test_more_series_than_one_call_takes_are_asked_in_several(clients: Clients, cloudwatch: Stubber):
    answers(cloudwatch, {f"m{n}": [1.0] for n in range(500)})
    answers(cloudwatch, {"m0": [1.0]})
    members = [f"vol-{n}" for n in range(501)]
    assert written_bytes(key(Kind.INSTANCE, "i-1"), SINCE, UNTIL, clients, members=members) == 501


def test_a_long_span_is_read_in_hours(clients: Clients, cloudwatch: Stubber):
    until = SINCE + timedelta(days=90)
    dimensions = {"DBInstanceIdentifier": "orders"}
    queries = [query("m0", "AWS/RDS", "WriteThroughput", dimensions, "Average", period_seconds=3600)]
    answers(cloudwatch, {"m0": [1.0]}, queries, until=until)
    assert written_bytes(key(Kind.DATABASE, "orders"), SINCE, until, clients) == 3600


def test_a_span_without_length_is_a_mistake_of_the_caller(clients: Clients):
    with pytest.raises(ValueError, match="is not after"):
        written_bytes(key(Kind.VOLUME, "vol-1"), UNTIL, UNTIL, clients)
