"""What other stacks made, found by the name they agreed on."""

from __future__ import annotations

from aws_cdk import Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra import names


def ledger(scope: Construct, *, stream_arn: str | None = None) -> dynamodb.ITableV2:
    """The ledger, or its replica, in the stack's own Region."""
    return dynamodb.TableV2.from_table_attributes(
        scope,
        "Ledger",
        table_name=names.LEDGER,
        table_stream_arn=stream_arn,
        global_indexes=[names.OPEN_INDEX, names.LISTED_INDEX],
    )


def topic(scope: Construct) -> sns.ITopic:
    """The topic for notices in the stack's own Region."""
    arn = Stack.of(scope).format_arn(service="sns", resource=names.TOPIC)
    return sns.Topic.from_topic_arn(scope, "Topic", arn)
