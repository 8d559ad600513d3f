"""A write-rate alarm makes Holdfast look, and buys one extra point when enough was written."""

from __future__ import annotations

from datetime import timedelta

from tests.e2e.deployment import HOME, Deployment


def test_an_alarm_after_much_was_written_brings_one_extra_point(deployment: Deployment) -> None:
    thing = deployment.protect_a_volume()
    deployment.plan()
    deployment.until_copied(thing)
    deployment.aws.advance(1200)
    cloudwatch = deployment.aws.client("cloudwatch", HOME)
    now = deployment.aws.now()
    dimensions = [{"Name": "VolumeId", "Value": thing.id}]
    for minutes in (1, 6):
        cloudwatch.put_metric_data(
            Namespace="AWS/EBS",
            MetricData=[
                {
                    "MetricName": "VolumeWriteBytes",
                    "Dimensions": dimensions,
                    "Timestamp": now - timedelta(minutes=minutes),
                    "Value": float(2 * 2**30),
                    "Unit": "Bytes",
                }
            ],
        )
    cloudwatch.put_metric_alarm(
        AlarmName=f"writes-{thing.id}",
        Namespace="AWS/EBS",
        MetricName="VolumeWriteBytes",
        Dimensions=dimensions,
        Statistic="Sum",
        Period=300,
        EvaluationPeriods=1,
        Threshold=float(2**30),
        ComparisonOperator="GreaterThanThreshold",
    )
    deployment.until("an extra point is there", lambda: len(deployment.snapshots(thing, HOME)) == 2)
    told = deployment.until_copied(thing)
    assert told.point["why"] == "extra"
    assert "GiB were written since the last point" in told.point["reason"]
