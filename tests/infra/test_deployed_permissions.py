from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from conftest import Assembly, Resource, listed

from infra import functions
from infra.parts.function import READ, WRITE

SPECS = {spec.name: spec for spec in (*functions.AT_HOME, *functions.AT_RECOVERY)}

GRANTED_BY_CONSTRUCTS = {
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
    *READ,
    *WRITE,
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
    "dynamodb:ListStreams",
    "events:PutEvents",
    "sns:Publish",
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
    "sqs:ReceiveMessage",
    "sqs:SendMessage",
}

NO_RESOURCE_TYPE = {
    # X-Ray, the delivery of logs and the list of streams know no resources; the AWS service authorization reference.
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
    "dynamodb:ListStreams",
}

NEVER = {
    "dynamodb:BatchWriteItem",  # deletes, and IAM asks for nothing more
    "dynamodb:DeleteItem",
    "dynamodb:DeleteTable",
    "dynamodb:PartiQLDelete",
    "dynamodb:UpdateContinuousBackups",
    "ec2:DisableSnapshotBlockPublicAccess",
    "ec2:ModifySnapshotAttribute",
    "ec2:RestoreSnapshotTier",  # costs money, and is a decision of a person
    "ec2:UnlockSnapshot",
    "kms:DisableKey",
    "kms:PutKeyPolicy",
    "kms:ScheduleKeyDeletion",
    "rds:ModifyDBClusterSnapshotAttribute",
    "rds:ModifyDBSnapshotAttribute",
    "sqs:PurgeQueue",
}

DELETES_SNAPSHOTS = {"ec2:DeleteSnapshot", "rds:DeleteDBClusterSnapshot", "rds:DeleteDBSnapshot"}
WRITES_TAGS = {"ec2:CreateTags", "rds:AddTagsToResource"}


@pytest.mark.parametrize("name", sorted(SPECS))
def test_a_role_may_do_what_its_calls_declare_and_what_constructs_grant(assembly: Assembly, name: str) -> None:
    granted = {action for s in assembly.statements_of(assembly.functions()[name]) for action in listed(s["Action"])}
    declared = {action for permission in SPECS[name].permissions for action in permission.actions}
    assert declared <= granted
    assert granted - declared <= GRANTED_BY_CONSTRUCTS


def test_no_statement_names_actions_by_wildcard(assembly: Assembly) -> None:
    for policy, statement in _statements(assembly):
        assert not [action for action in listed(statement["Action"]) if "*" in action], str(policy)


def test_every_resource_is_named_unless_the_action_has_none(assembly: Assembly) -> None:
    explained = {
        action
        for spec in SPECS.values()
        for permission in spec.permissions
        if permission.resources == ("*",) and permission.why
        for action in permission.actions
    }
    for policy, statement in _statements(assembly):
        if "*" in listed(statement["Resource"]):
            assert set(listed(statement["Action"])) <= explained | NO_RESOURCE_TYPE, str(policy)


def test_no_role_can_do_what_must_never_be_done(assembly: Assembly) -> None:
    for policy, statement in _statements(assembly):
        assert statement["Effect"] == "Allow"
        assert not NEVER & set(listed(statement["Action"])), str(policy)
        assert not [action for action in listed(statement["Action"]) if action.startswith(("iam:", "organizations:"))]


def test_only_delete_expired_can_delete_a_recovery_point_and_only_a_marked_one(assembly: Assembly) -> None:
    marked = {"aws:ResourceTag/holdfast:managed": "1", "aws:ResourceTag/holdfast:state": "expired"}
    proof = {"aws:ResourceTag/holdfast:rehearsal": "false", "aws:ResourceTag/holdfast:proof-of": "false"}
    deleters = _with(assembly, DELETES_SNAPSHOTS)
    assert set(deleters) == {"holdfast-delete-expired", "holdfast-remove-restore"}
    assert {action for s in deleters["holdfast-delete-expired"] for action in listed(s["Action"])} == DELETES_SNAPSHOTS
    for statement in deleters["holdfast-delete-expired"]:
        assert statement["Condition"]["StringEquals"] == marked
    for statement in deleters["holdfast-remove-restore"]:
        assert statement["Condition"]["Null"] == proof, "a rehearsal removes its proofs, which carry its tags"


def test_only_the_marker_archives_and_only_what_is_managed(assembly: Assembly) -> None:
    archivers = _with(assembly, {"ec2:ModifySnapshotTier"})
    assert set(archivers) == {"holdfast-mark-expired"}
    for statement in archivers["holdfast-mark-expired"]:
        assert statement["Condition"]["StringEquals"] == {"aws:ResourceTag/holdfast:managed": "1"}


def test_the_deleter_cannot_mark_and_the_marker_cannot_delete(assembly: Assembly) -> None:
    assert "holdfast-delete-expired" not in _with(assembly, WRITES_TAGS)
    assert "holdfast-mark-expired" not in _with(assembly, DELETES_SNAPSHOTS)


def test_only_the_marker_can_write_the_mark_on_a_snapshot(assembly: Assembly) -> None:
    for name, statements in _with(assembly, WRITES_TAGS).items():
        for statement in statements:
            condition = statement["Condition"]
            if name == "holdfast-mark-expired":
                assert condition["StringEquals"]["aws:RequestTag/holdfast:state"] == "expired"
                assert condition["ForAllValues:StringEquals"] == {"aws:TagKeys": "holdfast:state"}
            else:
                in_the_creating_call = "ec2:CreateAction" in condition.get("StringEquals", {})
                never_the_mark = condition.get("Null", {}).get("aws:RequestTag/holdfast:state") == "true"
                of_databases = not [r for r in listed(statement["Resource"]) if "snapshot" in str(r)]
                assert in_the_creating_call or never_the_mark or of_databases, f"{name}: {statement}"


def test_choosing_a_rehearsal_changes_nothing(assembly: Assembly) -> None:
    function = assembly.functions()["holdfast-choose-rehearsal"]
    granted = {action for s in assembly.statements_of(function) for action in listed(s["Action"])}
    assert not granted & set(WRITE)


def test_services_act_for_this_account_only(assembly: Assembly) -> None:
    for role in assembly.resources("AWS::IAM::Role"):
        for statement in role.properties["AssumeRolePolicyDocument"]["Statement"]:
            if statement["Principal"] != {"Service": "lambda.amazonaws.com"}:  # it acts for functions of the account
                assert "aws:SourceAccount" in statement["Condition"]["StringEquals"], str(role)


def test_the_machine_may_invoke_its_functions_and_nothing_else(assembly: Assembly) -> None:
    machine = assembly.one("AWS::StepFunctions::StateMachine", "HoldfastRecovery-eu-west-1")
    role = machine.properties["RoleArn"]["Fn::GetAtt"][0]
    invoked = {
        resource["Fn::GetAtt"][0]
        for policy in assembly.resources("AWS::IAM::Policy")
        if policy.stack == machine.stack and {"Ref": role} in policy.properties["Roles"]
        for statement in policy.properties["PolicyDocument"]["Statement"]
        if statement["Action"] == "lambda:InvokeFunction"
        for resource in listed(statement["Resource"])
        if "Fn::GetAtt" in resource
    }
    assert invoked == {f.id for f in assembly.functions().values() if f.stack == machine.stack}


def test_policies_fit_into_a_role_even_in_five_regions(wide: Assembly) -> None:
    for policy in wide.resources("AWS::IAM::Policy"):
        size = len(json.dumps(policy.properties["PolicyDocument"], separators=(",", ":")))
        assert size < 10_240, f"{policy}: inline policies of a role hold 10,240 characters, this one has {size}"


def test_rights_name_the_regions_of_the_settings_and_no_others(assembly: Assembly) -> None:
    for name in ("holdfast-copy-snapshot", "holdfast-track-points", "holdfast-verify-volume"):
        for statement in assembly.statements_of(assembly.functions()[name]):
            for resource in listed(statement["Resource"]):
                if isinstance(resource, str) and resource.startswith("arn:"):
                    assert resource.split(":")[3] in {"eu-central-1", "eu-west-1", "*"}


def _statements(assembly: Assembly) -> Iterator[tuple[Resource, Mapping[str, Any]]]:
    for policy in assembly.resources("AWS::IAM::Policy"):
        for statement in policy.properties["PolicyDocument"]["Statement"]:
            yield policy, statement


def _with(assembly: Assembly, actions: set[str]) -> dict[str, list[Mapping[str, Any]]]:
    """The functions whose roles hold one of the actions, with the statements that give it."""
    found = {
        name: [s for s in assembly.statements_of(function) if actions & set(listed(s["Action"]))]
        for name, function in assembly.functions().items()
    }
    return {name: statements for name, statements in found.items() if statements}
