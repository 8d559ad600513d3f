"""What EC2 and RDS say about snapshots: hints that something may have changed, never the truth about it."""

from __future__ import annotations

from aws_cdk import aws_events as events
from constructs import Construct


def rule(scope: Construct) -> events.Rule:
    """The rule on the Region's default bus that matches every notice about a snapshot; its targets come later."""
    return events.Rule(
        scope,
        "Notices",
        rule_name="holdfast-aws-notices",
        description="EC2 and RDS say that a snapshot changed",
        event_pattern=events.EventPattern(
            source=["aws.ec2", "aws.rds"],
            detail_type=[
                "EBS Snapshot Notification",
                "EBS Multi-Volume Snapshots Completion Status",
                "RDS DB Snapshot Event",
                "RDS DB Cluster Snapshot Event",
            ],
        ),
    )
