from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, cast

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template
from conftest import Assembly, Resource, listed, resources_of

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
    "ec2:AttachVolume",  # what a recovery made is attached by a person
    "ec2:DetachVolume",
    "ec2:DisableSnapshotBlockPublicAccess",
    "ec2:ModifySnapshotAttribute",
    "ec2:ModifyVolume",
    "ec2:RestoreSnapshotTier",  # costs money, and is a decision of a person
    "ec2:StopInstances",
    "ec2:TerminateInstances",
    "ec2:UnlockSnapshot",
    "kms:DisableKey",
    "kms:PutKeyPolicy",
    "kms:ScheduleKeyDeletion",
    "lambda:UpdateFunctionCode",
    "rds:DeleteDBClusterAutomatedBackup",
    "rds:DeleteDBInstanceAutomatedBackup",
    "rds:ModifyDBClusterSnapshotAttribute",
    "rds:ModifyDBSnapshotAttribute",
    "secretsmanager:DeleteSecret",
    "secretsmanager:PutSecretValue",
    "sqs:PurgeQueue",
    "states:DeleteStateMachine",
    "states:UpdateStateMachine",
}

DELETES_SNAPSHOTS = {"ec2:DeleteSnapshot", "rds:DeleteDBClusterSnapshot", "rds:DeleteDBSnapshot"}
WRITES_TAGS = {"ec2:CreateTags", "rds:AddTagsToResource"}


@pytest.mark.parametrize("name", sorted(SPECS))
def test_a_role_may_do_what_its_calls_declare_and_what_constructs_grant(assembly: Assembly, name: str) -> None:
    """Invariant 21."""
    for called, function in assembly.functions():
        if called == name:
            joining = (functions.JOIN_NETWORK,) if "VpcConfig" in function.properties else ()
            permissions = (*SPECS[name].permissions, *joining)
            declared = {action for permission in permissions for action in permission.actions}
            granted = {action for s in assembly.statements_of(function) for action in listed(s["Action"])}
            assert declared <= granted, str(function)
            assert granted - declared <= GRANTED_BY_CONSTRUCTS, str(function)


def test_no_statement_names_actions_by_wildcard(assembly: Assembly) -> None:
    for policy, statement in _statements(assembly):
        assert not [action for action in listed(statement["Action"]) if "*" in action], str(policy)


def test_every_resource_is_named_unless_the_action_has_none(assembly: Assembly) -> None:
    explained = {
        action
        for permission in (functions.JOIN_NETWORK, *(p for spec in SPECS.values() for p in spec.permissions))
        if permission.resources == ("*",) and permission.why
        for action in permission.actions
    }
    for policy, statement in _statements(assembly):
        if "*" in listed(statement["Resource"]):
            assert set(listed(statement["Action"])) <= explained | NO_RESOURCE_TYPE, str(policy)


def test_no_role_can_do_what_must_never_be_done(assembly: Assembly) -> None:
    for policy, statement in _statements(assembly):
        assert statement["Effect"] == "Allow"
        actions = set(listed(statement["Action"]))
        assert not NEVER & actions, str(policy)
        about_identities = {action for action in actions if action.startswith(("iam:", "organizations:", "sts:"))}
        assert about_identities <= {"iam:PassRole"}, str(policy)


def test_only_the_one_who_sets_up_a_recovered_database_passes_roles_and_only_to_rds(assembly: Assembly) -> None:
    """The roles are those that the original had, of any name: what is limited is whom they are given to."""
    passers = assembly.statements_with({"iam:PassRole"})
    assert set(passers) == {"holdfast-configure-recovery"}
    for statement in passers["holdfast-configure-recovery"]:
        assert listed(statement["Action"]) == ["iam:PassRole"]
        to_whom = {"iam:PassedToService": ["rds.amazonaws.com", "monitoring.rds.amazonaws.com"]}
        assert statement["Condition"] == {"StringEquals": to_whom}
        assert [resource.split(":")[-1] for resource in resources_of(statement)] == ["role/*"]
    everywhere = [s for _, s in _statements(assembly) if "iam:PassRole" in listed(s["Action"])]
    assert len(everywhere) == len(passers["holdfast-configure-recovery"]), "nor does any role of another service"


def test_only_delete_expired_can_delete_a_recovery_point_and_only_a_marked_one(assembly: Assembly) -> None:
    point = {"holdfast:managed": "1", "holdfast:state": "kept"}
    marked = point | {"holdfast:state": "expired"}
    deleters = assembly.statements_with(DELETES_SNAPSHOTS)
    assert set(deleters) == {"holdfast-delete-expired", "holdfast-remove-restore", "holdfast-reap-rehearsals"}
    assert {action for s in deleters["holdfast-delete-expired"] for action in listed(s["Action"])} == DELETES_SNAPSHOTS
    for name, statements in deleters.items():
        for statement in statements:
            assert not reaches(statement, point), f"{name} can delete a recovery point"
            assert reaches(statement, marked) is (name == "holdfast-delete-expired"), name


def test_whoever_removes_rehearsals_deletes_only_snapshots_that_are_proofs(assembly: Assembly) -> None:
    proof = {
        "aws:ResourceTag/holdfast:rehearsal": "false",
        "aws:ResourceTag/holdfast:proof-of": "false",
        "aws:ResourceTag/holdfast:managed": "true",
    }
    deleters = assembly.statements_with(DELETES_SNAPSHOTS)
    for name in ("holdfast-remove-restore", "holdfast-reap-rehearsals"):
        for statement in deleters[name]:
            assert listed(statement["Action"]) == ["ec2:DeleteSnapshot"]
            assert statement["Condition"] == {"Null": proof}, "a proof carries the tags of its rehearsal and not ours"


def test_who_deletes_at_aws_is_exactly_these(assembly: Assembly) -> None:
    deletes: dict[str, set[str]] = {}
    for name, function in assembly.functions():
        granted = {action for s in assembly.statements_of(function) for action in listed(s["Action"])}
        found = {action for action in granted if re.match(r"\w+:(Delete|Remove|Terminate)", action)}
        deletes.setdefault(name, set()).update(found - {"sqs:DeleteMessage"})  # how a message is taken from a queue
    databases = {"rds:DeleteDBInstance", "rds:DeleteDBCluster"}
    rehearsed = {"ec2:DeleteVolume", "ec2:DeleteSnapshot", *databases}
    assert {name: actions for name, actions in deletes.items() if actions} == {
        "holdfast-delete-expired": DELETES_SNAPSHOTS,
        "holdfast-remove-restore": rehearsed,
        "holdfast-reap-rehearsals": rehearsed,
        "holdfast-remove-recovery": {"ec2:DeleteVolume", *databases},
        "holdfast-verify-database": {"ec2:DeleteNetworkInterface"},  # its own way into the rehearsal's network
    }


IN_USE: dict[str, str] = {}
"""The tags that concern us on a volume or a database that people work with: none."""
REHEARSED = {"holdfast:rehearsal": "r-1", "holdfast:expires-at": "2026-01-01T00:00:00Z"}
RECOVERED = {"holdfast:recovery": "rc-1"}


@pytest.mark.parametrize(
    ("name", "its_own", "of_others"),
    [
        ("holdfast-remove-restore", REHEARSED, RECOVERED),
        ("holdfast-reap-rehearsals", REHEARSED, RECOVERED),
        ("holdfast-remove-recovery", RECOVERED, REHEARSED),
    ],
)
def test_what_is_removed_is_what_the_same_kind_of_workflow_made(
    assembly: Assembly, name: str, its_own: dict[str, str], of_others: dict[str, str]
) -> None:
    """F74, invariant 14."""
    removing = {"ec2:DeleteVolume", "rds:DeleteDBCluster", "rds:DeleteDBInstance"}
    statements = assembly.statements_with(removing)[name]
    assert {action for s in statements for action in listed(s["Action"])} == removing
    for statement in statements:
        assert reaches(statement, its_own)
        assert not reaches(statement, of_others)
        assert not reaches(statement, IN_USE)


def test_a_database_or_volume_in_use_is_changed_by_nobody_but_the_one_who_swaps_names(assembly: Assembly) -> None:
    changers: dict[str, set[str]] = {}
    for name, function in assembly.functions():
        for statement in assembly.statements_of(function):
            if reaches(statement, IN_USE) and _changes(statement):
                changers.setdefault(name, set()).update(_changes(statement))
    assert changers == {"holdfast-swap-names": {"rds:ModifyDBInstance", "rds:ModifyDBCluster"}}


def test_whoever_changes_databases_does_it_to_those_of_a_rehearsal_or_of_a_recovery(assembly: Assembly) -> None:
    """The counterpart of the test before: those rights are there, and tied to the tags."""
    changing: dict[str, set[str]] = {}
    for name, function in assembly.functions():
        for statement in assembly.statements_of(function):
            if _changes(statement):
                changing.setdefault(name, set()).update(
                    tag
                    for tag, tags in (("rehearsed", REHEARSED), ("recovered", RECOVERED))
                    if reaches(statement, tags)
                )
    assert changing == {
        "holdfast-check-restore": {"rehearsed"},
        "holdfast-remove-restore": {"rehearsed"},
        "holdfast-reap-rehearsals": {"rehearsed"},
        "holdfast-configure-recovery": {"recovered"},
        "holdfast-remove-recovery": {"recovered"},
        "holdfast-swap-names": {"rehearsed", "recovered"},
    }


def test_whoever_may_say_that_a_database_is_a_recoverys_cannot_delete_it(assembly: Assembly) -> None:
    """RDS asks for this right when it makes a database with tags, and cannot tell that from tagging one in use: names
    of recovered databases are chosen by people, so no name limits it. Those who have it must not delete."""
    taggers = {
        name
        for name, statements in assembly.statements_with({"rds:AddTagsToResource"}).items()
        for statement in statements
        if reaches(statement, IN_USE)
        and not all(r.split(":")[-1].startswith("holdfast-rt-") for r in _living(statement))
    }
    assert taggers == {"holdfast-start-recovery", "holdfast-check-recovery", "holdfast-configure-recovery"}
    deleters = set(assembly.statements_with({"rds:DeleteDBCluster", "rds:DeleteDBInstance", "ec2:DeleteVolume"}))
    assert not taggers & deleters


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("holdfast-start-restore", "holdfast:rehearsal"),
        ("holdfast-check-restore", "holdfast:rehearsal"),
        ("holdfast-start-recovery", "holdfast:recovery"),
        ("holdfast-check-recovery", "holdfast:recovery"),
        ("holdfast-configure-recovery", "holdfast:recovery"),
    ],
)
def test_what_is_made_says_in_the_making_call_to_whom_it_belongs(assembly: Assembly, name: str, tag: str) -> None:
    statements = [s for s in assembly.statements_with(MAKES)[name] if _living(s)]
    assert statements
    for statement in statements:
        condition = statement.get("Condition", {}).get("Null", {})
        says_so = condition.get(f"aws:RequestTag/{tag}") == "false"
        into_one_that_said_so = condition.get(f"aws:ResourceTag/{tag}") == "false"
        into_a_rehearsed_cluster = all(r.split(":")[-1].startswith("holdfast-rt-") for r in _living(statement))
        assert says_so or into_one_that_said_so or into_a_rehearsed_cluster, f"{name}: {statement}"


def test_nobody_else_makes_volumes_or_databases(assembly: Assembly) -> None:
    assert set(assembly.statements_with(MAKES)) == {
        "holdfast-start-restore",
        "holdfast-check-restore",  # the one member of a restored cluster
        "holdfast-start-recovery",
        "holdfast-check-recovery",  # the members of a recovered cluster
        "holdfast-configure-recovery",
    }


def test_only_the_marker_archives_and_only_what_is_managed(assembly: Assembly) -> None:
    archivers = assembly.statements_with({"ec2:ModifySnapshotTier"})
    assert set(archivers) == {"holdfast-mark-expired"}
    for statement in archivers["holdfast-mark-expired"]:
        assert statement["Condition"]["StringEquals"] == {"aws:ResourceTag/holdfast:managed": "1"}


def test_the_deleter_cannot_mark_and_the_marker_cannot_delete(assembly: Assembly) -> None:
    assert "holdfast-delete-expired" not in assembly.statements_with(WRITES_TAGS)
    assert "holdfast-mark-expired" not in assembly.statements_with(DELETES_SNAPSHOTS)


def test_only_the_marker_can_write_the_mark_on_a_snapshot(assembly: Assembly) -> None:
    for name, statements in assembly.statements_with(WRITES_TAGS).items():
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


def test_who_writes_the_ledger_is_exactly_these(assembly: Assembly) -> None:
    assert set(assembly.statements_with(set(WRITE))) == {
        "holdfast-take-inventory",
        "holdfast-plan-backups",
        "holdfast-take-snapshot",
        "holdfast-track-points",
        "holdfast-copy-snapshot",
        "holdfast-sweep",
        "holdfast-mark-expired",
        "holdfast-delete-expired",
        "holdfast-heed-alarm",
        "holdfast-heed-failure",
        "holdfast-score-run",
        "holdfast-watch-sharing",
        "holdfast-check-keys",
        "holdfast-record-rehearsal",
        "holdfast-verify-volume",
        "holdfast-ask-approval",
        "holdfast-record-recovery",
        "holdfast-hold-point",
    }


@pytest.mark.parametrize(
    "name",
    ["holdfast-choose-rehearsal", "holdfast-choose-recovery", "holdfast-plan-recovery", "holdfast-inspect-content"],
)
def test_choosing_planning_and_reading_change_nothing(assembly: Assembly, name: str) -> None:
    harmless = re.compile(r"\w+:(BatchGet|Describe|Get|List|Query)|kms:Decrypt$|(logs|xray):Put|logs:CreateLogStream$")
    for called, function in assembly.functions():
        if called == name:
            granted = {action for s in assembly.statements_of(function) for action in listed(s["Action"])}
            assert not {action for action in granted if not harmless.match(action)}


def test_services_act_for_this_account_only(assembly: Assembly) -> None:
    for role in assembly.resources("AWS::IAM::Role"):
        for statement in role.properties["AssumeRolePolicyDocument"]["Statement"]:
            if statement["Principal"] != {"Service": "lambda.amazonaws.com"}:  # it acts for functions of the account
                assert "aws:SourceAccount" in statement["Condition"]["StringEquals"], str(role)


def test_a_workflow_may_invoke_the_functions_it_names_and_nothing_else(assembly: Assembly) -> None:
    functions = {(f.stack, f.id) for _, f in assembly.functions()}
    machines = list(assembly.resources("AWS::StepFunctions::StateMachine"))
    assert len(machines) == 2 * 6
    for machine in machines:
        named = {
            (machine.stack, value["Fn::GetAtt"][0])
            for value in machine.properties["DefinitionSubstitutions"].values()
            if "Fn::GetAtt" in value
        }
        invoked = {
            (machine.stack, resource["Fn::GetAtt"][0])
            for statement in assembly.statements_of(machine)
            if statement["Action"] == "lambda:InvokeFunction"
            for resource in listed(statement["Resource"])
            if "Fn::GetAtt" in resource
        }
        assert invoked == named & functions, str(machine)
        assert named <= functions, str(machine)


def test_every_right_over_a_workflow_is_one_of_these(assembly: Assembly) -> None:
    """Who may start, stop, look at or answer which executions: over all roles, those of schedules among them."""
    stack = "HoldfastRecovery-eu-west-1"
    machines = {m.id: m.properties["StateMachineName"] for m in assembly.resources("AWS::StepFunctions::StateMachine")}
    rights = {
        (re.sub(r"Role.*", "", policy.id), action, name)
        for policy, statement in _statements(assembly)
        if policy.stack == stack
        for action in listed(statement["Action"])
        if action.startswith("states:")
        for resource in resources_of(statement)
        for name in [next((name for id, name in machines.items() if id in resource), resource.split(":")[-1])]
    }
    assert rights == {
        ("AnswerApproval", "states:SendTaskSuccess", "holdfast-recover"),
        ("AnswerApproval", "states:SendTaskFailure", "holdfast-recover"),
        ("RecoverSet", "states:StartExecution", "holdfast-recover"),
        ("RecoverSet", "states:DescribeExecution", "holdfast-recover"),
        ("RecoverSet", "states:StopExecution", "holdfast-recover"),
        ("Scheduler", "states:StartExecution", "holdfast-rehearse"),
    }


def test_an_alarm_may_start_a_recovery_in_every_region_and_nothing_else(wide: Assembly) -> None:
    starters = wide.statements_with({"states:StartExecution"})
    assert set(starters) == {"holdfast-heed-failure"}
    regions = ("eu-central-1", "eu-west-1", "eu-north-1", "us-east-1", "ap-southeast-1")
    resources = [resource for statement in starters["holdfast-heed-failure"] for resource in resources_of(statement)]
    assert sorted(resources) == sorted(
        f"arn:aws:states:{region}:123456789012:stateMachine:holdfast-recover" for region in regions
    )


def test_policies_fit_into_a_role_even_in_five_regions(wide: Assembly) -> None:
    sizes: Counter[tuple[str, str]] = Counter()
    for policy in wide.resources("AWS::IAM::Policy"):
        for role in policy.properties["Roles"]:
            document = json.dumps(policy.properties["PolicyDocument"], separators=(",", ":"))
            sizes[policy.stack, role["Ref"]] += len(document)
    for (stack, role), size in sizes.items():
        assert size < 10_240, f"{stack}/{role}: the inline policies of a role hold 10,240 characters, these have {size}"


def test_no_policy_is_so_large_that_the_cdk_moved_a_part_of_it(wide: Assembly) -> None:
    for policy in wide.resources("AWS::IAM::ManagedPolicy"):
        effects = {statement["Effect"] for statement in policy.properties["PolicyDocument"]["Statement"]}
        assert effects == {"Deny"}, f"{policy}: the tests of rights do not look there"


def test_what_the_cdk_does_with_a_policy_that_is_too_large_would_be_seen() -> None:
    """It moves statements into managed policies, which hold 6,144 characters each."""
    stack = Stack(App(), "Large")
    role = iam.Role(stack, "Role", assumed_by=cast(Any, iam.ServicePrincipal("lambda.amazonaws.com")))
    for number in range(200):
        name = f"arn:aws:sqs:eu-west-1:123456789012:a-queue-with-a-long-name-{number}"
        role.add_to_policy(iam.PolicyStatement(actions=[f"sqs:Action{number}"], resources=[name]))
    types = Counter(body["Type"] for body in Template.from_stack(stack).to_json()["Resources"].values())
    assert types["AWS::IAM::ManagedPolicy"] >= 1


def test_rights_name_the_regions_of_the_settings_and_no_others(wide: Assembly) -> None:
    regions = {"eu-central-1", "eu-west-1", "eu-north-1", "us-east-1", "ap-southeast-1"}
    for name, function in wide.functions():
        for statement in wide.statements_of(function):
            for resource in resources_of(statement):
                if resource.startswith("arn:") and resource.split(":")[2] not in GLOBAL:
                    region = resource.split(":")[3]
                    assert region in regions or (region == "*" and name == READS_ANYWHERE), f"{name}: {resource}"


def test_a_function_of_recovery_works_in_its_own_region(wide: Assembly) -> None:
    reaching = {spec.name for spec in SPECS.values() if spec.reach is not functions.Reach.HERE}
    for name, function in wide.functions():
        if name not in reaching and "Recovery" in function.stack:
            for statement in wide.statements_of(function):
                for resource in resources_of(statement):
                    if resource.startswith("arn:") and resource.split(":")[2] not in GLOBAL:
                        assert resource.split(":")[3] == function.region, f"{name}: {resource}"


MAKES = {
    "ec2:CreateVolume",
    "rds:CreateDBInstance",
    "rds:RestoreDBClusterFromSnapshot",
    "rds:RestoreDBClusterToPointInTime",
    "rds:RestoreDBInstanceFromDBSnapshot",
    "rds:RestoreDBInstanceToPointInTime",
}
LIVING = ("cluster:", "db:", "volume/")
"""How resources begin, after Region and account, that people work with."""
CHANGING = re.compile(
    r"(ec2|rds):(AddRole|Attach|Delete|Detach|Failover|Modify|Promote|Reboot|Remove|Start|Stop)(?!NetworkInterface)"
)
GLOBAL = {"iam"}
READS_ANYWHERE = "holdfast-copy-snapshot"
"""The source of a copy may lie in whatever Region, under whatever key; what is written, in those of the settings."""


def reaches(statement: Mapping[str, Any], tags: Mapping[str, str]) -> bool:
    """Whether a statement lets its actions touch something with these tags and no others.

    What it asks of the request is taken to be met: the caller chooses the request.
    """
    return all(
        _is_met(operator, tags.get(key.removeprefix("aws:ResourceTag/")), listed(wanted))
        for operator, keys in statement.get("Condition", {}).items()
        for key, wanted in keys.items()
        if key.startswith("aws:ResourceTag/")
    )


def _is_met(operator: str, value: str | None, wanted: list[str]) -> bool:
    match operator:
        case "Null":
            return [str(value is None).lower()] == wanted
        case "StringEquals":
            return value in wanted
        case "StringLike":
            return value is not None and any(fnmatchcase(value, pattern) for pattern in wanted)
    raise AssertionError(f"these tests do not know the operator {operator}")


def _living(statement: Mapping[str, Any]) -> list[str]:
    return [r for r in resources_of(statement) if ":".join(r.split(":")[5:]).startswith(LIVING)]


def _changes(statement: Mapping[str, Any]) -> set[str]:
    """What a statement lets somebody do to volumes, databases or clusters beyond looking, tagging and making."""
    actions = {action for action in listed(statement["Action"]) if CHANGING.match(action)}
    return actions if _is_about(statement, LIVING) else set()


def _is_about(statement: Mapping[str, Any], beginnings: tuple[str, ...]) -> bool:
    """Whether something beginning so is among the statement's resources."""
    return any(r == "*" or ":".join(r.split(":")[5:]).startswith(beginnings) for r in resources_of(statement))


def _statements(assembly: Assembly) -> Iterator[tuple[Resource, Mapping[str, Any]]]:
    for policy in assembly.resources("AWS::IAM::Policy"):
        for statement in policy.properties["PolicyDocument"]["Statement"]:
            yield policy, statement
