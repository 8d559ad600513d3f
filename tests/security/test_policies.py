"""What statements say is what AWS understands by them, and as narrow as AWS lets it be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra import functions
from infra.parts.never import NEVER
from tests.security import service_table
from tests.security.acts import Act
from tests.security.deployed import Deployed, Role
from tests.security.evaluator import Request, Statement, all_actions, decide, listed
from tests.security.rights import MAY_NOT, NOBODY_MAY

JOINS_A_NETWORK = set(functions.JOIN_NETWORK.actions)
"""Lambda asks for these on every resource, before it has made any."""

REGISTERS = {"ssm:UpdateInstanceInformation"}
"""The agent on a machine tells of itself before Systems Manager knows the machine."""


def allowing(deployed: Deployed) -> Iterator[tuple[Role, Statement]]:
    for role in deployed.roles:
        for statement in role.statements:
            if statement["Effect"] == "Allow":
                yield role, statement


def test_every_action_is_one_that_aws_knows(deployed: Deployed) -> None:
    named = {action for role in deployed.roles for action in all_actions(role.statements)}
    assert len(named) > 80
    assert [action for action in sorted(named) if not service_table.exists(action)] == []


def test_what_nobody_may_do_is_something_that_aws_knows() -> None:
    acts: list[Act] = [*NOBODY_MAY, *(act for acts in MAY_NOT.values() for act in acts)]
    named = {question.action for act in acts for question in act.asks} | {a for a in NEVER if "*" not in a}
    assert [action for action in sorted(named) if not service_table.exists(action)] == []


def test_no_statement_allows_actions_by_wildcard_or_by_exception(deployed: Deployed) -> None:
    for role, statement in allowing(deployed):
        assert not any("*" in action for action in listed(statement["Action"])), str(role)
        assert "NotResource" not in statement, str(role)


def test_everything_is_the_resource_only_of_actions_without_a_kind_of_resource(deployed: Deployed) -> None:
    wide = {
        action
        for _, statement in allowing(deployed)
        if "*" in listed(statement["Resource"])
        for action in listed(statement["Action"])
        if service_table.resource_types(action)
    }
    assert wide <= JOINS_A_NETWORK | REGISTERS


def test_every_resource_is_of_a_kind_on_which_the_action_acts(deployed: Deployed) -> None:
    """Otherwise the statement would never apply, and nobody would notice until the call is refused."""
    for role, statement in allowing(deployed):
        resources = [resource for resource in listed(statement["Resource"]) if resource != "*"]
        forms = [
            form
            for action in listed(statement["Action"])
            for forms in service_table.resource_types(action).values()
            for form in forms
        ]
        for resource in resources:
            assert any(form.fullmatch(resource) for form in forms), f"{role}: {resource} in {statement}"


@pytest.mark.parametrize(
    "action",
    [
        *sorted(action.replace("*", "Anything") for action in NEVER),
        "iam:PutRolePolicy",
        "iam:PassRole",
        "organizations:LeaveOrganization",
        "backup:DeleteBackupVault",
        "sts:AssumeRoleWithWebIdentity",
    ],
)
def test_what_is_never_allowed_stays_so_whatever_else_a_policy_says(deployed: Deployed, action: str) -> None:
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    for role in deployed.roles:
        decision = decide([everything, *role.statements], Request(action=action, resource="arn:aws:x:::y"))
        assert not decision.allowed, str(role)
        assert decision.by is not None, f"{role} is denied this by a statement"


def test_a_snapshot_is_not_made_public_whatever_else_a_policy_says(deployed: Deployed) -> None:
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    asked = {"action": "ec2:ModifySnapshotAttribute", "resource": "arn:aws:ec2:eu-west-1::snapshot/snap-1"}
    for role in deployed.roles:
        statements = [everything, *role.statements]
        assert not decide(statements, Request(**asked, keys={"ec2:Add/group": "all"})).allowed, str(role)


def test_the_denials_leave_every_function_what_it_needs(deployed: Deployed) -> None:
    for role in deployed.roles:
        denied = [statement for statement in role.statements if statement["Effect"] == "Deny"]
        assert denied, str(role)
        for action in all_actions(role.statements):
            keys = {"iam:PassedToService": "rds.amazonaws.com"} if action == "iam:PassRole" else {}
            decision = decide(denied, Request(action=action, resource="arn:aws:x:::y", keys=keys))
            assert decision.by is None, f"{role} is given {action} and denied it"
