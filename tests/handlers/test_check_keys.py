"""The keys our points need: what is wrong with one is told at once with what it makes unreadable."""

from __future__ import annotations

from datetime import timedelta

import pytest

from functions.core.errors import AwsBusy
from functions.core.findings import Concern
from functions.core.keys import KeyState
from functions.core.policies import Guard
from functions.handlers import check_keys
from tests.builders import AWAY, HOME, a_policy
from tests.guard_fakes import our_key
from tests.handlers.test_watch_sharing import STRANGER, a_point_of
from tests.handlers.world import CONTEXT, DAY, World, example

THEIRS = f"arn:aws:kms:{HOME}:123456789012:key/of-the-volume"
FOREIGN = f"arn:aws:kms:{AWAY}:{STRANGER}:key/elsewhere"


def check(world: World) -> check_keys.KeysChecked:
    return check_keys.check_keys({}, world.tools, world.now)


@pytest.fixture
def encrypted(world: World) -> World:
    """Two points of two volumes, both encrypted under the volumes' own key."""
    for _ in range(2):
        _, id = a_point_of(world)
        world.guarded.encrypt(HOME, id, THEIRS)
    return world


@pytest.fixture
def copied(world: World) -> tuple[World, str]:
    """A point with a copy, and the id of the copy."""
    policy = a_policy(version="0a1b2c3d", copy_to=(AWAY,))
    world.with_settings(policy)
    slot = world.owe(policy=policy)
    world.minutes(60)
    return world, str(world.copy(slot).snapshot_id)


def test_keys_that_are_well_are_looked_at_once_each_and_nobody_is_told(encrypted: World) -> None:
    checked = check(encrypted)
    assert (checked.begun, checked.over) == ((), ())
    assert checked.looked_at == 1 + len(encrypted.tools.settings.regions), "theirs, and ours in every Region"
    assert encrypted.topic.notices == []


def test_a_key_pending_deletion_is_told_with_what_it_makes_unreadable_and_until_when(encrypted: World) -> None:
    """F52."""
    encrypted.guarded.key(HOME, THEIRS, KeyState.PENDING_DELETION, encrypted.now + timedelta(days=7))
    check(encrypted)
    [(subject, body)] = encrypted.topic.notices
    assert subject == "Keys of backups need you (1)"
    assert "2 snapshots of 2 resources" in body
    assert f"destroyed on {encrypted.now + timedelta(days=7):%Y-%m-%d}" in body
    assert f"cancel-key-deletion --key-id {THEIRS}" in body


def test_our_own_key_is_looked_at_where_nothing_is_encrypted_under_it_yet(world: World) -> None:
    """F51: the next copy would fail silently."""
    world.guarded.key(AWAY, our_key(AWAY), KeyState.DISABLED)
    [begun] = check(world).begun
    assert our_key(AWAY) in begun
    assert "is disabled" in begun


def test_a_trouble_is_told_once_and_its_end_once(encrypted: World) -> None:
    encrypted.guarded.key(HOME, THEIRS, KeyState.DISABLED)
    for _ in range(3):
        check(encrypted)
        encrypted.pass_time(DAY)
    encrypted.guarded.keys.clear()
    for _ in range(3):
        check(encrypted)
    assert [subject for subject, _ in encrypted.topic.notices] == [
        "Keys of backups need you (1)",
        "Keys of backups are well again (1)",
    ]
    assert encrypted.ledger.findings.standing(Concern.KEY) == []


def test_a_trouble_that_becomes_another_is_told_anew(encrypted: World) -> None:
    encrypted.guarded.key(HOME, THEIRS, KeyState.DISABLED)
    check(encrypted)
    encrypted.guarded.key(HOME, THEIRS, KeyState.PENDING_DELETION)
    checked = check(encrypted)
    assert "pending deletion" in checked.begun[0]
    assert "disabled" in checked.over[0]


def test_a_key_that_we_may_not_look_at_is_said_to_be_unseen_and_is_no_trouble(encrypted: World) -> None:
    encrypted.guarded.key(HOME, THEIRS, KeyState.UNSEEN)
    checked = check(encrypted)
    assert (checked.begun, checked.unseen) == ((), (THEIRS,))


def test_a_key_in_trouble_that_we_may_not_look_at_any_more_has_not_become_well(encrypted: World) -> None:
    encrypted.guarded.key(HOME, THEIRS, KeyState.DISABLED)
    check(encrypted)
    encrypted.guarded.key(HOME, THEIRS, KeyState.UNSEEN)
    assert check(encrypted).over == ()


def test_a_copy_under_our_key_is_as_it_should_be(copied: tuple[World, str]) -> None:
    world, id = copied
    world.guarded.encrypt(AWAY, id, our_key(AWAY))
    assert check(world).begun == ()


def test_a_copy_under_a_key_that_nobody_allowed_is_told(copied: tuple[World, str]) -> None:
    """F96: whoever holds the key decides whether the copy can be restored."""
    world, id = copied
    world.guarded.encrypt(AWAY, id, FOREIGN)
    [begun] = check(world).begun
    assert f"the copy {id} in {AWAY}" in begun
    assert FOREIGN in begun


def test_a_key_that_the_settings_allow_is_not_foreign(copied: tuple[World, str]) -> None:
    world, id = copied
    world.guarded.encrypt(AWAY, id, FOREIGN)
    check(world)
    world.with_changed_settings(guard=Guard(keys=frozenset({FOREIGN})))
    checked = check(world)
    assert checked.begun == ()
    assert "is encrypted under" in checked.over[0]


def test_a_source_may_be_under_any_key_because_its_volume_is(encrypted: World) -> None:
    assert check(encrypted).begun == ()


def test_a_region_that_does_not_answer_holds_up_no_other_and_ends_no_trouble(encrypted: World) -> None:
    encrypted.guarded.key(HOME, THEIRS, KeyState.DISABLED)
    encrypted.aws.regions_down.add(AWAY)
    with pytest.raises(AwsBusy):
        check(encrypted)
    assert len(encrypted.topic.notices) == 1
    encrypted.aws.regions_down = {HOME}
    with pytest.raises(AwsBusy):
        check(encrypted)
    assert len(encrypted.ledger.findings.standing(Concern.KEY)) == 1


def test_a_logged_deletion_of_a_key_is_looked_into_at_once_and_only_there(encrypted: World) -> None:
    encrypted.guarded.key(HOME, THEIRS, KeyState.PENDING_DELETION)
    encrypted.aws.regions_down.add(AWAY)
    answer = check_keys.handler(example("call_key_deletion_scheduled"), CONTEXT)
    assert "pending deletion" in answer["begun"][0]


def test_a_call_of_another_account_is_ignored_and_that_is_said(encrypted: World) -> None:
    answer = check_keys.handler(example("call_key_deletion_scheduled") | {"account": STRANGER}, CONTEXT)
    assert "is none of ours" in answer["ignored"]
