"""What strangers may use of ours is taken from them, and people hear whose share was meant."""

from __future__ import annotations

import pytest

from functions.core.errors import AwsBusy
from functions.core.exposures import EVERYBODY
from functions.core.findings import Concern
from functions.core.policies import Guard
from functions.core.resources import Kind
from functions.handlers import withdraw_shares
from tests.builders import AWAY, HOME
from tests.handlers.test_watch_sharing import FRIEND, STRANGER, a_point_of, five_minutes_later, watch
from tests.handlers.world import CONTEXT, World, example


@pytest.fixture(autouse=True)
def enforced(world: World) -> None:
    world.with_changed_settings(guard=Guard(shared_with=frozenset({FRIEND}), enforce=True))


def withdraw(world: World) -> withdraw_shares.SharesWithdrawn:
    return withdraw_shares.withdraw_shares(world.tools, world.now)


def exposed(world: World, kind: Kind = Kind.VOLUME, *accounts: str) -> str:
    """A snapshot that everybody, or these accounts, may use, found and told; its id."""
    _, id = a_point_of(world, kind)
    for account in accounts or (EVERYBODY,):
        world.guarded.share(HOME, id, account)
    watch(world)
    return id


def test_without_a_finding_nothing_is_asked_and_nothing_is_told(world: World) -> None:
    _, id = a_point_of(world)
    world.guarded.share(HOME, id)
    assert withdraw(world) == withdraw_shares.SharesWithdrawn(withdrawn=(), stays=())
    assert world.topic.notices == []


@pytest.mark.parametrize("kind", list(Kind))
def test_what_is_public_is_private_again_and_the_exposure_is_over(world: World, kind: Kind) -> None:
    """F81."""
    id = exposed(world, kind)
    [withdrawn] = withdraw(world).withdrawn
    assert withdrawn.endswith(f"{id} in {HOME}: all")
    assert world.guarded.shared[HOME, id] == set()
    assert five_minutes_later(world).over
    assert world.ledger.findings.standing(Concern.SHARE) == []


def test_people_hear_what_was_taken_from_whom(world: World) -> None:
    id = exposed(world, Kind.VOLUME, STRANGER)
    withdraw(world)
    subject, body = world.topic.notices[-1]
    assert subject == "Shares of backups were taken back (1)"
    assert f"{id} in {HOME}: {STRANGER}" in body


def test_ebs_takes_back_what_was_meant_as_well_and_that_is_said(world: World) -> None:
    id = exposed(world, Kind.VOLUME, STRANGER, FRIEND)
    [withdrawn] = withdraw(world).withdrawn
    assert f"with them {FRIEND}, who may be given it again" in withdrawn
    assert world.guarded.shared[HOME, id] == set()


def test_rds_keeps_what_was_meant(world: World) -> None:
    id = exposed(world, Kind.DATABASE, STRANGER, FRIEND)
    [withdrawn] = withdraw(world).withdrawn
    assert FRIEND not in withdrawn
    assert world.guarded.shared[HOME, id] == {FRIEND}


def test_aws_is_asked_again_before_anything_is_taken(world: World) -> None:
    """The ledger says where to look; what is private by now is left alone."""
    exposed(world)
    world.guarded.shared.clear()
    assert withdraw(world).withdrawn == ()
    assert world.requests("withdraw") == 0


def test_twice_is_once(world: World) -> None:
    exposed(world)
    assert len(withdraw(world).withdrawn) == 1
    assert withdraw(world).withdrawn == ()


def test_what_cannot_be_taken_back_is_told_and_holds_up_no_other(world: World) -> None:
    exposed(world)
    another = exposed(world, Kind.DATABASE)
    world.aws.refuse_next("withdraw", AwsBusy("throttled", hint="again"))
    said = withdraw(world)
    assert (len(said.withdrawn), len(said.stays)) == (1, 1)
    assert another in said.withdrawn[0]
    assert "do it by hand" in world.topic.notices[-1][1]


def test_what_stays_again_and_again_is_in_the_log_and_wakes_nobody_every_five_minutes(world: World) -> None:
    exposed(world)
    told = len(world.topic.notices)
    for _ in range(3):
        world.aws.refuse_next("withdraw", AwsBusy("throttled", hint="again"))
        assert len(withdraw(world).stays) == 1
    assert len(world.topic.notices) == told
    assert [line["message"] for line in world.decisions()].count("some shares stay") == 3


def test_a_region_without_findings_is_not_asked(world: World) -> None:
    exposed(world)
    world.aws.regions_down.add(AWAY)
    assert withdraw(world).stays == ()


def test_the_handler_answers_what_it_did(world: World) -> None:
    exposed(world)
    assert len(withdraw_shares.handler(example("schedule_tick"), CONTEXT)["withdrawn"]) == 1
