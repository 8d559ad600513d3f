"""Rules for calls that CloudTrail logged: hints that come only where the account has a trail for management events."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import aws_events as events
from constructs import Construct

SHARING = ("ModifySnapshotAttribute", "ModifyDBSnapshotAttribute", "ModifyDBClusterSnapshotAttribute")
KEY_CHANGES = ("DeleteImportedKeyMaterial", "DisableKey", "ScheduleKeyDeletion")


def of_sharing(scope: Construct) -> events.Rule:
    """The rule for calls that share a snapshot; its targets come later."""
    return _rule(scope, "Sharing", "holdfast-sharing-changed", ["aws.ec2", "aws.rds"], SHARING)


def of_keys(scope: Construct) -> events.Rule:
    """The rule for calls that take a key away; its targets come later."""
    return _rule(scope, "KeyChanges", "holdfast-key-taken-away", ["aws.kms"], KEY_CHANGES)


def _rule(scope: Construct, id: str, name: str, sources: list[str], calls: Sequence[str]) -> events.Rule:
    return events.Rule(
        scope,
        id,
        rule_name=name,
        description="Somebody called " + ", ".join(calls),
        event_pattern=events.EventPattern(
            source=sources, detail_type=["AWS API Call via CloudTrail"], detail={"eventName": list(calls)}
        ),
    )
