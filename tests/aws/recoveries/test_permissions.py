"""What recoveries may do: make what says whose it is, change and delete what has said so, and look."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from functions.aws.permissions import Permission
from functions.aws.recoveries import ebs as recoveries_ebs
from functions.aws.recoveries import permissions_rds as recovery_permissions_rds
from functions.aws.recoveries import swaps_rds
from functions.core.recoveries import RECOVERY_TAG

VERBS = {"plan", "begin", "look", "configure", "remove"}
ADAPTERS: Mapping[str, Mapping[str, tuple[Permission, ...]]] = {
    "ebs": recoveries_ebs.PERMISSIONS,
    "rds": recovery_permissions_rds.PERMISSIONS,
}
EVERYTHING = [
    pytest.param(verb, permission, id=f"{name}-{verb}-{number}")
    for name, verbs in {**ADAPTERS, "swap": swaps_rds.PERMISSIONS}.items()
    for verb, permissions in verbs.items()
    for number, permission in enumerate(permissions)
]
MADE = {"Null": {f"aws:RequestTag/{RECOVERY_TAG}": "false"}}
HELD = {"Null": {f"aws:ResourceTag/{RECOVERY_TAG}": "false"}}
CHANGING = ("rds:Modify", "rds:Delete", "rds:Reboot", "rds:AddRole", "ec2:Delete")
LOOKING = ("ec2:Describe", "rds:Describe", "servicequotas:Get")


def about_databases(permission: Permission) -> bool:
    return any(resource.endswith((":db:*", ":cluster:*", ":volume/*")) for resource in permission.resources)


@pytest.mark.parametrize("name", list(ADAPTERS))
def test_every_verb_of_the_port_declares_what_it_needs(name: str) -> None:
    assert set(ADAPTERS[name]) == VERBS


@pytest.mark.parametrize(("verb", "permission"), EVERYTHING)
def test_a_statement_is_filled_and_says_why(verb: str, permission: Permission) -> None:
    statement = permission.statement(partition="aws-cn", account="123456789012", region="cn-north-1")
    assert not any(name in str(statement) for name in ("{partition}", "{account}", "{region}"))
    assert permission.why
    assert not any("*" in action for action in permission.actions)


@pytest.mark.parametrize(("verb", "permission"), EVERYTHING)
def test_everything_is_allowed_to_be_looked_at_only(verb: str, permission: Permission) -> None:
    if "*" in permission.resources:
        assert all(action.startswith(LOOKING) for action in permission.actions)


@pytest.mark.parametrize("verb", sorted(VERBS))
@pytest.mark.parametrize("name", list(ADAPTERS))
def test_what_no_recovery_made_is_out_of_reach_of_every_change(name: str, verb: str) -> None:
    for permission in ADAPTERS[name][verb]:
        if about_databases(permission) and any(action.startswith(CHANGING) for action in permission.actions):
            assert permission.conditions == HELD, permission.actions


@pytest.mark.parametrize("name", list(ADAPTERS))
def test_whatever_is_made_says_which_recovery_made_it(name: str) -> None:
    for permissions in ADAPTERS[name].values():
        for permission in permissions:
            makes = any(
                action.startswith(("rds:Restore", "rds:Create", "ec2:CreateVolume")) for action in permission.actions
            )
            if makes and about_databases(permission):
                is_member_of_ours = permission.resources[0].endswith(":cluster:*")
                assert permission.conditions == (HELD if is_member_of_ours else MADE)


@pytest.mark.parametrize("name", list(ADAPTERS))
def test_only_verbs_that_change_may_change(name: str) -> None:
    for verb in ("plan", "begin", "look"):
        for permission in ADAPTERS[name][verb]:
            assert not any(action.startswith(CHANGING) for action in permission.actions)


def test_roles_are_passed_to_rds_and_to_nobody_else() -> None:
    (passing,) = [one for one in recovery_permissions_rds.PERMISSIONS["configure"] if "iam:PassRole" in one.actions]
    assert passing.conditions == {
        "StringEquals": {"iam:PassedToService": ("rds.amazonaws.com", "monitoring.rds.amazonaws.com")}
    }


@pytest.mark.parametrize(("verb", "permission"), EVERYTHING)
def test_keys_are_opened_through_a_service_only(verb: str, permission: Permission) -> None:
    opening = [a for a in permission.actions if a.startswith("kms:") and a != "kms:DescribeKey"]
    if opening:
        assert "kms:ViaService" in permission.conditions["StringLike"]


@pytest.mark.parametrize("verb", ["plan", "begin"])
def test_only_snapshots_of_holdfast_are_restored(verb: str) -> None:
    for permission in recovery_permissions_rds.PERMISSIONS[verb]:
        for resource in permission.resources:
            if "snapshot:" in resource:
                assert resource.endswith("snapshot:holdfast-*")
