"""Deep checks are deployed where a policy asks for them and rehearsals are held, locked in, and nowhere else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from conftest import Assembly, Resource, listed, resources_of, written

from functions.aws.deep_checks import scripts
from infra import functions

HOME, AWAY = "eu-central-1", "eu-west-1"
STACK = f"HoldfastRecovery-{AWAY}"
GOLD = {"gold": {"rpo": "24h", "keep": {"daily": 7}, "copy_to": [AWAY], "deep_check": {}}}
SILVER = {"silver": {"rpo": "24h", "keep": {"daily": 7}, "copy_to": [AWAY]}}
INVOLVED = {spec.name for spec in functions.AT_RECOVERY if spec.for_deep_checks}


@pytest.fixture(scope="module")
def checking(synthesise: Callable[..., Assembly]) -> Assembly:
    """A policy asks for deep checks; databases are not rehearsed."""
    return synthesise(policies=GOLD, default_policy="gold", rehearse_databases=False)


@pytest.fixture(scope="module")
def both(synthesise: Callable[..., Assembly]) -> Assembly:
    """Databases are rehearsed, too."""
    return synthesise(policies=GOLD, default_policy="gold", rehearse_databases=True)


@pytest.fixture(scope="module")
def silent(synthesise: Callable[..., Assembly]) -> Assembly:
    """No policy asks for deep checks."""
    return synthesise(policies=SILVER, default_policy="silver", rehearse_databases=True)


def of_type(assembly: Assembly, type: str) -> list[Resource]:
    return [resource for resource in assembly.resources(type) if resource.stack.startswith("HoldfastRecovery")]


def granted(assembly: Assembly, name: str, region: str = AWAY) -> list[Mapping[str, Any]]:
    return assembly.statements_of(assembly.function(name, region=region))


def actions(statements: list[Mapping[str, Any]]) -> set[str]:
    return {action for statement in statements for action in listed(statement["Action"])}


def variables(assembly: Assembly, name: str, region: str = AWAY) -> Mapping[str, Any]:
    return assembly.function(name, region=region).properties["Environment"]["Variables"]


def endpoints(assembly: Assembly) -> dict[str, Resource]:
    found = of_type(assembly, "AWS::EC2::VPCEndpoint")
    return {written(one.properties["ServiceName"]).rpartition(".")[2]: one for one in found}


def test_without_a_word_in_the_settings_there_is_nothing_of_it(silent: Assembly) -> None:
    assert of_type(silent, "AWS::IAM::InstanceProfile") == []
    assert set(endpoints(silent)) == {"secretsmanager"}
    launching = {"ec2:RunInstances", "ec2:TerminateInstances", "ec2:AttachVolume", "ssm:SendCommand"}
    for name in INVOLVED:
        assert not launching & actions(granted(silent, name))
        assert not [variable for variable in variables(silent, name) if variable.startswith("HOLDFAST_DEEP_CHECK")]


def test_it_is_deployed_where_rehearsals_are_held(checking: Assembly) -> None:
    assert {profile.stack for profile in of_type(checking, "AWS::IAM::InstanceProfile")} == {STACK}
    assert "HOLDFAST_DEEP_CHECK_SUBNET" in variables(checking, "holdfast-choose-rehearsal")
    assert "HOLDFAST_DEEP_CHECK_SUBNET" not in variables(checking, "holdfast-choose-rehearsal", HOME)


def test_both_kinds_of_rehearsals_share_one_network(both: Assembly) -> None:
    assert len(of_type(both, "AWS::EC2::VPC")) == 1
    assert set(endpoints(both)) == {"secretsmanager", "ssm", "ssmmessages"}


def test_the_machine_reaches_systems_manager_and_nothing_else(checking: Assembly) -> None:
    assert set(endpoints(checking)) == {"ssm", "ssmmessages"}
    ways_out = {"AWS::EC2::InternetGateway", "AWS::EC2::NatGateway", "AWS::EC2::Route"}
    assert not {resource.type for resource in checking.resources()} & ways_out
    (opening,) = of_type(checking, "AWS::EC2::SecurityGroupIngress")
    assert (opening.properties["FromPort"], opening.properties["ToPort"]) == (443, 443)
    checkers = opening.properties["SourceSecurityGroupId"]["Fn::GetAtt"][0]
    assert variables(checking, "holdfast-start-deep-check")["HOLDFAST_DEEP_CHECK_SECURITY_GROUP"] == {
        "Fn::GetAtt": [checkers, "GroupId"]
    }
    for group in of_type(checking, "AWS::EC2::SecurityGroup"):
        assert "SecurityGroupIngress" not in group.properties
    for rule in of_type(checking, "AWS::EC2::SecurityGroupEgress"):
        assert rule.properties["DestinationSecurityGroupId"] == opening.properties["GroupId"]


def test_through_the_endpoints_goes_the_machine_and_nobody_else(checking: Assembly) -> None:
    (role,) = [one for one in of_type(checking, "AWS::IAM::Role") if "RoleName" in one.properties]
    for endpoint in endpoints(checking).values():
        assert endpoint.properties["PrivateDnsEnabled"] is True
        (statement,) = endpoint.properties["PolicyDocument"]["Statement"]
        assert statement["Condition"] == {"ArnEquals": {"aws:PrincipalArn": {"Fn::GetAtt": [role.id, "Arn"]}}}


def test_the_machine_may_let_systems_manager_reach_it_and_nothing_else(checking: Assembly) -> None:
    (role,) = [one for one in of_type(checking, "AWS::IAM::Role") if "RoleName" in one.properties]
    assert "AmazonSSM" not in json.dumps(role.properties)
    statements = [
        statement
        for policy in of_type(checking, "AWS::IAM::Policy")
        if {"Ref": role.id} in policy.properties["Roles"]
        for statement in policy.properties["PolicyDocument"]["Statement"]
    ]
    assert actions(statements) == set(scripts.AGENT_PERMISSIONS.actions)


def test_the_role_that_is_passed_is_the_one_in_the_profile(checking: Assembly) -> None:
    (role,) = [one for one in of_type(checking, "AWS::IAM::Role") if "RoleName" in one.properties]
    (profile,) = of_type(checking, "AWS::IAM::InstanceProfile")
    assert profile.properties["Roles"] == [{"Ref": role.id}]
    assert variables(checking, "holdfast-start-deep-check")["HOLDFAST_DEEP_CHECK_PROFILE"] == written(
        profile.properties["InstanceProfileName"]
    )
    (passing,) = [
        statement
        for statement in granted(checking, "holdfast-start-deep-check")
        if "iam:PassRole" in listed(statement["Action"])
    ]
    (passed,) = resources_of(passing)
    assert passed.rpartition("/")[2] == written(role.properties["RoleName"]) == f"holdfast-deep-check-{AWAY}"
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}


def test_each_does_its_part_and_no_more(checking: Assembly) -> None:
    parts = {
        "ec2:RunInstances": {"holdfast-start-deep-check"},
        "iam:PassRole": {"holdfast-start-deep-check", "holdfast-configure-recovery"},
        "ec2:AttachVolume": {"holdfast-follow-deep-check"},
        "ssm:SendCommand": {"holdfast-follow-deep-check"},
        "ec2:TerminateInstances": {"holdfast-remove-restore", "holdfast-reap-rehearsals"},
    }
    for action, names in parts.items():
        assert set(checking.statements_with({action})) == names, action


@pytest.mark.parametrize("spec", [spec for spec in functions.AT_RECOVERY if spec.for_deep_checks], ids=lambda s: s.verb)
def test_what_is_declared_is_granted(checking: Assembly, spec: functions.Spec) -> None:
    declared = {action for permission in spec.for_deep_checks for action in permission.actions}
    assert declared <= actions(granted(checking, spec.name))


@pytest.mark.parametrize("action", ["ec2:AttachVolume", "ec2:TerminateInstances"])
def test_only_what_carries_a_rehearsals_tag_is_touched(checking: Assembly, action: str) -> None:
    for statements in checking.statements_with({action}).values():
        for statement in statements:
            assert statement["Condition"] == {"Null": {"aws:ResourceTag/holdfast:rehearsal": "false"}}


def test_scripts_go_to_machines_of_rehearsals_by_amazons_own_document(checking: Assembly) -> None:
    statements = checking.statements_with({"ssm:SendCommand"})["holdfast-follow-deep-check"]
    about = {resource.split(":", 5)[5]: s.get("Condition") for s in statements for resource in resources_of(s)}
    assert about == {
        "document/AWS-RunShellScript": None,
        "instance/*": {"Null": {"ssm:resourceTag/holdfast:rehearsal": "false"}},
    }


def test_machines_are_small_tagged_and_in_the_network_that_is_tagged_for_them(checking: Assembly) -> None:
    statements = checking.statements_with({"ec2:RunInstances"})["holdfast-start-deep-check"]
    conditions = {
        resource.split(":", 5)[5]: json.dumps(statement["Condition"])
        for statement in statements
        for resource in resources_of(statement)
    }
    assert set(conditions) == {
        "image/*",
        "instance/*",
        "volume/*",
        "network-interface/*",
        "subnet/*",
        "security-group/*",
    }
    for made in ("instance/*", "volume/*", "network-interface/*"):
        assert "aws:RequestTag/holdfast:rehearsal" in conditions[made]
    assert "ec2:MetadataHttpTokens" in conditions["instance/*"]
    tagged = [
        resource
        for resource in checking.resources("AWS::EC2::Subnet", "AWS::EC2::SecurityGroup")
        if {"Key": "holdfast:network", "Value": "deep-check"} in resource.properties.get("Tags", [])
    ]
    assert sorted(resource.type for resource in tagged) == ["AWS::EC2::SecurityGroup", "AWS::EC2::Subnet"]
    for place in ("subnet/*", "security-group/*"):
        assert '"aws:ResourceTag/holdfast:network": "deep-check"' in conditions[place]


def test_no_statement_names_actions_by_wildcard_and_policies_fit(both: Assembly) -> None:
    for policy in of_type(both, "AWS::IAM::Policy"):
        document = policy.properties["PolicyDocument"]
        assert len(json.dumps(document, separators=(",", ":"))) < 10_240, str(policy)
        assert not [action for action in actions(document["Statement"]) if re.search(r"\*", action)], str(policy)
