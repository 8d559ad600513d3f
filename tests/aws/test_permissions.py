"""Granted is used: every action a verb declares is one it calls, or one AWS checks without being called."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from functions.aws import inventory
from functions.aws.kinds import PERMISSIONS
from functions.aws.permissions import Permission
from functions.core import labels
from functions.core.errors import NotAllowed
from functions.core.resources import Kind
from tests.aws.moto_world import AWAY, HOME, MotoWorld
from tests.aws.snapshots_suite import copy_order_for, order_for

VERBS = {"find", "take", "copy", "look", "ours", "archive", "mark_expired", "delete", "changed_bytes"}
EVERYTHING = [
    pytest.param(permission, id=f"{kind}-{verb}-{number}")
    for kind, verbs in PERMISSIONS.items()
    for verb, permissions in verbs.items()
    for number, permission in enumerate(permissions)
] + [pytest.param(p, id=f"inventory-{n}") for n, p in enumerate(inventory.PERMISSIONS["resources"])]
MARKED = {"aws:ResourceTag/holdfast:managed": "1", "aws:ResourceTag/holdfast:state": "expired"}


def speak_every_verb(world: MotoWorld) -> None:
    """Once each, on the way a point takes."""
    order = order_for(world.make_resource())
    source = world.home.take(order, labels.for_snapshot(order))[0]
    world.home.find(order.slot, attempt=1)
    world.home.look([source.id])
    list(world.home.ours())
    copying = copy_order_for(source, order, AWAY)
    world.away.copy(copying, labels.for_copy(copying), home_region=HOME)
    world.changed_pages = [{"ChangedBlocks": [], "BlockSize": 524288}]
    world.home.changed_bytes(source.id, source.id)
    world.home.archive(source.id)
    with pytest.raises(NotAllowed):
        world.home.delete(source.id)
    world.home.mark_expired(source.id)
    world.home.delete(source.id)


@pytest.mark.parametrize("kind", list(Kind))
def test_every_verb_of_the_port_declares_what_it_needs(kind: Kind) -> None:
    assert set(PERMISSIONS[kind]) == VERBS


@pytest.mark.parametrize("kind", list(Kind))
def test_what_is_granted_is_called_or_says_why_not(kind: Kind, moto: None) -> None:
    world = MotoWorld(kind)
    speak_every_verb(world)
    conditional = {
        ("take", "rds:DescribeDBSnapshots"),  # only when the name was there before
        ("take", "rds:DescribeDBClusterSnapshots"),
        ("copy", "rds:DescribeOptionGroups"),  # only for an option group that is not RDS's own
        ("mark_expired", "ec2:DescribeSnapshots"),  # only after a refusal
        ("mark_expired", "rds:DescribeDBSnapshots"),
        ("mark_expired", "rds:DescribeDBClusterSnapshots"),
    }
    for verb, permissions in PERMISSIONS[kind].items():
        called = {sent.action for sent in world.sent if sent.verb == verb}
        expected = {a for p in permissions if not p.why.startswith("not called:") for a in p.actions}
        assert called <= expected, verb
        assert {(verb, action) for action in expected - called} <= conditional, verb


@pytest.mark.parametrize("permission", EVERYTHING)
def test_a_statement_is_filled_and_keeps_what_is_iams(permission: Permission) -> None:
    statement = permission.statement(partition="aws-cn", account="123456789012", region="cn-north-1")
    written = json.dumps(statement).replace("${*}", "")
    assert "{partition}" not in written
    assert "{account}" not in written
    assert "{region}" not in written
    assert statement["Effect"] == "Allow"
    assert permission.why


@pytest.mark.parametrize("permission", EVERYTHING)
def test_only_describe_of_ec2_is_allowed_on_everything(permission: Permission) -> None:
    if "*" in permission.resources:
        assert all(action.startswith("ec2:Describe") for action in permission.actions)
    assert not any("*" in action for action in permission.actions)


@pytest.mark.parametrize("permission", EVERYTHING)
def test_keys_are_used_through_a_service_only(permission: Permission) -> None:
    if any(action.startswith("kms:") for action in permission.actions):
        assert "kms:ViaService" in permission.conditions["StringLike"]
    if "kms:CreateGrant" in permission.actions:
        assert permission.conditions["Bool"] == {"kms:GrantIsForAWSResource": "true"}


def _changing(permissions: Iterable[Permission]) -> list[Permission]:
    """Those that allow more than to look."""
    return [p for p in permissions if not all(":Describe" in action for action in p.actions)]


@pytest.mark.parametrize("kind", list(Kind))
def test_the_deleter_deletes_only_what_is_managed_and_marked(kind: Kind) -> None:
    (deleting,) = _changing(PERMISSIONS[kind]["delete"])
    assert deleting.conditions == {"StringEquals": MARKED}
    assert all("Delete" in action for action in deleting.actions)


@pytest.mark.parametrize("kind", [Kind.VOLUME, Kind.INSTANCE])
def test_only_what_is_managed_is_archived(kind: Kind) -> None:
    (moving,) = [p for p in PERMISSIONS[kind]["archive"] if "ec2:ModifySnapshotTier" in p.actions]
    assert moving.conditions == {"StringEquals": {"aws:ResourceTag/holdfast:managed": "1"}}
    assert moving.actions == ("ec2:ModifySnapshotTier",)


@pytest.mark.parametrize("kind", list(Kind))
def test_the_marker_writes_one_tag_on_what_is_managed(kind: Kind) -> None:
    (marking,) = _changing(PERMISSIONS[kind]["mark_expired"])
    assert marking.conditions == {
        "StringEquals": {"aws:ResourceTag/holdfast:managed": "1", "aws:RequestTag/holdfast:state": "expired"},
        "ForAllValues:StringEquals": {"aws:TagKeys": "holdfast:state"},
    }


@pytest.mark.parametrize("kind", list(Kind))
def test_nobody_but_the_marker_may_tag_what_exists(kind: Kind) -> None:
    for verb in VERBS - {"mark_expired"}:
        for permission in PERMISSIONS[kind][verb]:
            if "ec2:CreateTags" in permission.actions:
                assert "ec2:CreateAction" in permission.conditions["StringEquals"]
            if "rds:AddTagsToResource" in permission.actions:
                assert permission.conditions["Null"] == {"aws:RequestTag/holdfast:state": "true"}


@pytest.mark.parametrize("kind", list(Kind))
def test_a_copy_is_written_under_our_key_only(kind: Kind) -> None:
    writing = [p for p in PERMISSIONS[kind]["copy"] if "kms:ReEncryptTo" in p.actions]
    assert [p.conditions["ForAnyValue:StringEquals"] for p in writing] == [{"kms:ResourceAliases": "alias/holdfast"}]


def test_the_new_copy_is_named_with_iams_literal_asterisk() -> None:
    statements = [
        p.statement(partition="aws", account="1", region="eu-west-1") for p in PERMISSIONS[Kind.VOLUME]["copy"]
    ]
    copying = [s["Resource"] for s in statements if s["Action"] == ["ec2:CopySnapshot"]]
    assert copying == [["arn:aws:ec2:*::snapshot/snap-*"], ["arn:aws:ec2:eu-west-1::snapshot/${*}"]]
