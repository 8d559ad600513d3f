from __future__ import annotations

import json
import re
from collections import Counter

from cfnlint.api import ManualArgs, lint
from conftest import Assembly

from functions.aws import health

STATEFUL = {"AWS::DynamoDB::GlobalTable", "AWS::KMS::Alias", "AWS::KMS::Key"}

IGNORED = {
    # The CDK says DependsOn for a role and its policy together; the half about the role is superfluous.
    "W3005",
}

ACKNOWLEDGED = {
    # How long a person has is in the request. In a state written in JSONata the States Language takes an expression
    # here; cfn-lint's schema knows numbers only. The CDK's own validation of the same template finds nothing.
    (
        "E3601 '{% $recovery.request.approval_seconds %}' is not of type 'number' "
        "at 'States/Ask for approval/TimeoutSeconds'"
    ),
}
"""What cfn-lint finds in the recovery stacks although it holds."""

NAMED_BY = {
    "AWS::CloudWatch::Alarm": ("AlarmName",),
    "AWS::DynamoDB::GlobalTable": ("TableName",),
    "AWS::Events::EventBus": ("Name",),
    "AWS::Events::Rule": ("Name",),
    "AWS::KMS::Alias": ("AliasName",),
    "AWS::Lambda::Function": ("FunctionName",),
    "AWS::Logs::LogGroup": ("LogGroupName",),
    "AWS::RDS::DBSubnetGroup": ("DBSubnetGroupName",),
    "AWS::SNS::Topic": ("TopicName",),
    "AWS::SQS::Queue": ("QueueName",),
    "AWS::Scheduler::Schedule": ("GroupName", "Name"),
    "AWS::Scheduler::ScheduleGroup": ("Name",),
    "AWS::StepFunctions::StateMachine": ("StateMachineName",),
}
"""What is given a name by us, which must be the only one of its kind in a Region, and in which properties."""


def test_every_region_in_use_has_its_stacks(assembly: Assembly) -> None:
    assert assembly.regions == {
        "HoldfastVault-eu-central-1": "eu-central-1",
        "HoldfastVault-eu-west-1": "eu-west-1",
        "HoldfastWatch-eu-central-1": "eu-central-1",
        "HoldfastWatch-eu-west-1": "eu-west-1",
        "HoldfastMemory": "eu-central-1",
        "HoldfastBackup": "eu-central-1",
        "HoldfastRecovery-eu-central-1": "eu-central-1",
        "HoldfastRecovery-eu-west-1": "eu-west-1",
    }


def test_without_copies_there_is_one_region_that_does_everything(alone: Assembly) -> None:
    assert alone.regions == {
        "HoldfastVault-eu-central-1": "eu-central-1",
        "HoldfastWatch-eu-central-1": "eu-central-1",
        "HoldfastMemory": "eu-central-1",
        "HoldfastBackup": "eu-central-1",
        "HoldfastRecovery-eu-central-1": "eu-central-1",
    }


def test_no_two_stacks_of_a_region_give_the_same_name_to_two_things(assembly: Assembly, alone: Assembly) -> None:
    for deployed in (assembly, alone):
        named = Counter(
            (resource.region, resource.type, *(str(resource.properties[part]) for part in NAMED_BY[resource.type]))
            for resource in deployed.resources(*NAMED_BY)
        )
        assert len(named) > 80
        assert not [name for name, times in named.items() if times > 1]


def test_every_kind_of_thing_that_we_name_is_checked_for_names_taken_twice(assembly: Assembly) -> None:
    nameable = re.compile(r"(Name|Alias|Function|Queue|Topic|Table|Rule|Schedule|Bus|Group|Machine)Name$|^Name$")
    theirs = {
        "AWS::CloudFormation::CustomResource",
        "AWS::Lambda::EventInvokeConfig",  # these three name what they belong to
        "AWS::Lambda::EventSourceMapping",
        "AWS::Lambda::Permission",
        "AWS::EC2::VPCEndpoint",
    }
    for resource in assembly.resources():
        if resource.type not in {*NAMED_BY, *theirs}:
            assert not [name for name in resource.properties if nameable.search(name)], str(resource)


def test_templates_are_well_within_what_cloudformation_takes(wide: Assembly) -> None:
    for stack, template in wide.templates.items():
        size = len(json.dumps(template, separators=(",", ":")).encode())
        assert size < 1_000_000, f"{stack}: a template holds 1 MB, this one has {size} bytes"
        assert len(template["Resources"]) < 500, f"{stack}: a template holds 500 resources"
        assert len(template.get("Outputs", {})) < 200, f"{stack}: a template holds 200 outputs"


def test_stacks_of_different_regions_share_names_and_nothing_else(assembly: Assembly) -> None:
    exporters = {
        output["Export"]["Name"]: assembly.regions[stack]
        for stack, template in assembly.templates.items()
        for output in template.get("Outputs", {}).values()
    }
    for stack, template in assembly.templates.items():
        text = json.dumps(template)
        assert "Fn::GetStackOutput" not in text
        for name in _imports(template):
            assert exporters[name] == assembly.regions[stack]


def test_nothing_runs_that_is_not_ours(assembly: Assembly) -> None:
    for resource in assembly.resources():
        assert not resource.type.startswith(("Custom::", "AWS::CloudFormation::")), str(resource)
    for _, function in assembly.functions():
        assert function.properties["Handler"].startswith("functions.handlers."), str(function)


def test_nothing_needs_docker(assembly: Assembly) -> None:
    for assets in assembly.folder.glob("*.assets.json"):
        assert json.loads(assets.read_text())["dockerImages"] == {}


def test_synth_asks_nothing_of_aws_even_when_the_account_is_known(wide: Assembly) -> None:
    assert "missing" not in json.loads((wide.folder / "manifest.json").read_text())


def test_stacks_that_keep_things_run_nothing_and_the_others_keep_nothing(assembly: Assembly) -> None:
    for stack, template in assembly.templates.items():
        types = {body["Type"] for body in template["Resources"].values()}
        if stack.startswith(("HoldfastMemory", "HoldfastVault")):
            assert types <= STATEFUL
        else:
            assert not types & STATEFUL


def test_what_keeps_things_survives_its_stack(assembly: Assembly) -> None:
    for resource in assembly.resources(*STATEFUL):
        assert resource.body["DeletionPolicy"] == "Retain", str(resource)
        assert resource.body["UpdateReplacePolicy"] == "Retain", str(resource)
    assert _protected(assembly) == {"HoldfastMemory", "HoldfastVault-eu-central-1", "HoldfastVault-eu-west-1"}


def test_a_try_out_leaves_nothing_behind(try_out: Assembly) -> None:
    for resource in try_out.resources(*STATEFUL):
        assert resource.body["DeletionPolicy"] == "Delete", str(resource)
    ledger = try_out.one("AWS::DynamoDB::GlobalTable", "HoldfastMemory")
    assert not [r for r in ledger.properties["Replicas"] if r.get("DeletionProtectionEnabled")]
    assert _protected(try_out) == set()


def test_the_ledger_is_encrypted_recoverable_and_protected_in_every_region(assembly: Assembly) -> None:
    ledger = assembly.one("AWS::DynamoDB::GlobalTable", "HoldfastMemory").properties
    assert ledger["TableName"] == "holdfast-ledger"
    assert ledger["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS"}
    assert ledger["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert ledger["TimeToLiveSpecification"] == {"AttributeName": "forget_at", "Enabled": True}
    assert {replica["Region"] for replica in ledger["Replicas"]} == {"eu-central-1", "eu-west-1"}
    for replica in ledger["Replicas"]:
        key = json.dumps(replica["SSESpecification"]["KMSMasterKeyId"])
        assert f":kms:{replica['Region']}:" in key
        assert ":alias/holdfast" in key
        assert replica["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
        assert replica["DeletionProtectionEnabled"] is True


def test_the_ledger_lists_what_is_open_and_what_there_is(assembly: Assembly) -> None:
    indexes = assembly.one("AWS::DynamoDB::GlobalTable", "HoldfastMemory").properties["GlobalSecondaryIndexes"]
    assert {index["IndexName"]: [key["AttributeName"] for key in index["KeySchema"]] for index in indexes} == {
        "open": ["open_in", "open_until"],
        "listed": ["listed_in", "pk"],
    }
    assert all(index["Projection"] == {"ProjectionType": "ALL"} for index in indexes)


def test_every_region_has_a_rotated_key_under_the_same_name(assembly: Assembly) -> None:
    for key in assembly.resources("AWS::KMS::Key"):
        assert key.properties["EnableKeyRotation"] is True
        assert key.properties["PendingWindowInDays"] == 30
    aliases = list(assembly.resources("AWS::KMS::Alias"))
    assert {alias.region for alias in aliases} == {"eu-central-1", "eu-west-1"}
    assert {alias.properties["AliasName"] for alias in aliases} == {"alias/holdfast"}


def test_the_key_serves_this_account_through_its_stores_and_alarms(assembly: Assembly) -> None:
    for key in assembly.resources("AWS::KMS::Key"):
        root, *others = key.properties["KeyPolicy"]["Statement"]
        assert root["Action"] == "kms:*"
        assert root["Principal"]["AWS"] != "*"
        for statement in others:
            equal = statement["Condition"].get("StringEquals", {})
            if "Service" in statement["Principal"]:
                assert "aws:SourceAccount" in equal or "kms:EncryptionContext:aws:logs:arn" in str(statement)
            else:
                assert "kms:CallerAccount" in equal
                assert all(service.split(".")[1] == key.region for service in equal["kms:ViaService"])
            assert not {"kms:*", "kms:PutKeyPolicy", "kms:ScheduleKeyDeletion"} & set(statement["Action"])


def test_every_queue_hands_on_to_dead_letters_or_is_one(assembly: Assembly) -> None:
    queues = {(queue.stack, queue.id): queue for queue in assembly.resources("AWS::SQS::Queue")}
    with_letters = [queue for queue in queues.values() if "RedrivePolicy" in queue.properties]
    assert {queue.properties["QueueName"] for queue in with_letters} == {
        "holdfast-snapshot-orders",
        "holdfast-copy-orders",
        "holdfast-aws-notices",
    }
    for queue in with_letters:
        redrive = queue.properties["RedrivePolicy"]
        dead = queues[queue.stack, redrive["deadLetterTargetArn"]["Fn::GetAtt"][0]]
        assert redrive["maxReceiveCount"] == 10
        assert dead.properties["MessageRetentionPeriod"] == 14 * 24 * 3600
        assert "RedrivePolicy" not in dead.properties


def test_an_order_stays_hidden_longer_than_its_function_and_its_claim_last(assembly: Assembly) -> None:
    functions = {(f.stack, f.id): f for _, f in assembly.functions()}
    queues = {(queue.stack, queue.id): queue for queue in assembly.resources("AWS::SQS::Queue")}
    grace_seconds = 11 * 60
    for source in assembly.resources("AWS::Lambda::EventSourceMapping"):
        queue = queues.get((source.stack, source.properties["EventSourceArn"].get("Fn::GetAtt", [""])[0]))
        if queue:
            hidden_seconds = queue.properties["VisibilityTimeout"]
            function = functions[source.stack, source.properties["FunctionName"]["Ref"]]
            assert hidden_seconds > function.properties["Timeout"]
            assert hidden_seconds > grace_seconds


def test_every_queue_is_encrypted_and_takes_no_plain_text(assembly: Assembly) -> None:
    denied = {
        (policy.stack, queue["Ref"])
        for policy in assembly.resources("AWS::SQS::QueuePolicy")
        for statement in policy.properties["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        for queue in policy.properties["Queues"]
    }
    for queue in assembly.resources("AWS::SQS::Queue"):
        assert queue.properties["SqsManagedSseEnabled"] is True
        assert (queue.stack, queue.id) in denied


def test_every_queue_of_dead_letters_has_an_alarm_in_its_region(assembly: Assembly) -> None:
    watched = {
        (alarm.region, dimension["Value"])
        for alarm in assembly.resources("AWS::CloudWatch::Alarm")
        for dimension in alarm.properties.get("Dimensions", [])
    }
    assert watched
    dead = {
        (queue.region, queue.properties["QueueName"])
        for queue in assembly.resources("AWS::SQS::Queue")
        if "RedrivePolicy" not in queue.properties
    }
    assert watched == dead


def test_a_planner_that_stops_raises_an_alarm_by_its_silence(assembly: Assembly) -> None:
    (alarm,) = (a for a in assembly.resources("AWS::CloudWatch::Alarm") if a.properties["MetricName"] == "PlansMade")
    assert alarm.region == "eu-central-1"
    expected = {
        "Namespace": health.NAMESPACE,
        "Statistic": "Sum",
        "Period": 300,
        "EvaluationPeriods": 3,
        "Threshold": 1,
        "ComparisonOperator": "LessThanThreshold",
        "TreatMissingData": "breaching",
    }
    assert {name: alarm.properties[name] for name in expected} == expected


def test_backups_past_their_deadline_raise_an_alarm(assembly: Assembly) -> None:
    (alarm,) = (a for a in assembly.resources("AWS::CloudWatch::Alarm") if a.properties["MetricName"] == "Overdue")
    assert (alarm.region, alarm.properties["Namespace"]) == ("eu-central-1", health.NAMESPACE)
    assert alarm.properties["Threshold"] == 0
    assert alarm.properties["TreatMissingData"] == "breaching"


def test_alarms_are_plain_and_reach_people(assembly: Assembly) -> None:
    for alarm in assembly.resources("AWS::CloudWatch::Alarm"):
        assert "Metrics" not in alarm.properties, "no metric math"
        assert alarm.properties["AlarmActions"]
        assert alarm.properties["AlarmDescription"]
    assert not list(assembly.resources("AWS::CloudWatch::CompositeAlarm", "AWS::Logs::MetricFilter"))


def test_notices_are_encrypted_and_go_to_everybody_in_the_settings(assembly: Assembly) -> None:
    topics = list(assembly.resources("AWS::SNS::Topic"))
    assert {topic.region for topic in topics} == {"eu-central-1", "eu-west-1"}
    for topic in topics:
        assert topic.properties["TopicName"] == "holdfast-notices"
        assert ":alias/holdfast" in json.dumps(topic.properties["KmsMasterKeyId"])
    subscribed = [(s.region, s.properties["Endpoint"]) for s in assembly.resources("AWS::SNS::Subscription")]
    assert subscribed == [
        ("eu-central-1", "backup-team@example.com"),
        ("eu-west-1", "backup-team@example.com"),
    ]


def test_every_rule_keeps_what_it_could_not_deliver(assembly: Assembly) -> None:
    for rule in assembly.resources("AWS::Events::Rule"):
        for target in rule.properties["Targets"]:
            queue = target["DeadLetterConfig"]["Arn"]["Fn::GetAtt"][0]
            assert (rule.stack, queue, rule.id) in _may_send(assembly), f"{rule} may not send to its dead letters"


def test_our_own_alarms_wake_nobody_who_takes_snapshots(assembly: Assembly) -> None:
    detail = assembly.rule("holdfast-alarms", region="eu-central-1").properties["EventPattern"]["detail"]
    assert detail == {"alarmName": [{"anything-but": {"prefix": "holdfast-"}}], "state": {"value": ["ALARM"]}}


def test_cfn_lint_finds_nothing(assembly: Assembly) -> None:
    for stack, template in assembly.templates.items():
        arguments = ManualArgs(regions=[assembly.regions[stack]], ignore_checks=sorted(IGNORED))
        found = {f"{match.rule.id} {match.message}" for match in lint(json.dumps(template), config=arguments)}
        acknowledged = ACKNOWLEDGED if "Recovery" in stack else set[str]()
        assert found == acknowledged, f"{stack}: what is acknowledged and not found any more can be removed"


def _imports(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["Fn::ImportValue"]] if "Fn::ImportValue" in value else []
        return own + [name for part in value.values() for name in _imports(part)]
    return [name for part in value for name in _imports(part)] if isinstance(value, list) else []


def _protected(assembly: Assembly) -> set[str]:
    artifacts = json.loads((assembly.folder / "manifest.json").read_text())["artifacts"]
    return {name for name, it in artifacts.items() if it.get("properties", {}).get("terminationProtection")}


def _may_send(assembly: Assembly) -> set[tuple[str, str, str]]:
    """Stack, queue and rule, for each rule that may send to a queue."""
    return {
        (policy.stack, queue["Ref"], statement["Condition"]["ArnEquals"]["aws:SourceArn"]["Fn::GetAtt"][0])
        for policy in assembly.resources("AWS::SQS::QueuePolicy")
        for statement in policy.properties["PolicyDocument"]["Statement"]
        if statement["Principal"] == {"Service": "events.amazonaws.com"}
        for queue in policy.properties["Queues"]
    }
