"""Several recoveries in order: who failed is told by name, nobody goes on before them, and nothing is made twice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.bookshop import NAME, Bookshop
from tests.e2e.deployment import HOME, Deployment, Thing
from tests.e2e.recoveries import RECOVERY_TAG, Recoveries, tags_of


@pytest.fixture
def key(deployment: Deployment) -> Iterator[str]:
    """A key of the account's own, enabled again at the end."""
    kms = deployment.aws.client("kms", HOME)
    id = kms.create_key(Description="of one volume")["KeyMetadata"]["Arn"]
    yield id
    kms.enable_key(KeyId=id)


def test_a_set_stops_at_the_member_that_fails_and_a_redrive_makes_only_what_is_missing(
    deployment: Deployment, recoveries: Recoveries, bookshop: Bookshop, key: str
) -> None:
    sound, sealed, last = (
        deployment.protect_a_volume(),
        deployment.protect_a_volume(Encrypted=True, KmsKeyId=key),
        deployment.protect_a_volume(),
    )
    deployment.plan()
    for volume in (sound, sealed, last):
        deployment.until_copied(volume)
    database = {"resource": bookshop.thing.key, "point_in_time": False}
    groups = [[database], [{"resource": sound.key}, {"resource": sealed.key}], [{"resource": last.key}]]
    deployment.aws.client("kms", HOME).disable_key(KeyId=key)

    stopped = recoveries.run("holdfast-recover-set", HOME, groups=groups, asked_by="Jo")

    assert (stopped.status, stopped.error) == ("FAILED", "RecoveryStopped")
    assert "1 of 4 failed; 1 in later groups were not begun" in stopped.cause
    whole = _identity(stopped.arn.rpartition(":")[2], "set")
    (told,) = recoveries.notices(f"Recovery set {whole}: not complete")
    assert f"group 2, {sealed.key}: failed. the recovery of {sealed.key} stopped: key: the key {key} is " in told.text
    assert f"group 1, {bookshop.thing.key}: recovered" in told.text
    assert f"group 3, {last.key}: pending" in told.text
    assert _made(recoveries, whole, bookshop.thing, sound, sealed, last) == [1, 1, 0, 0]

    deployment.aws.client("kms", HOME).enable_key(KeyId=key)
    ended = recoveries.redrive(stopped.arn)

    assert ended.status == "SUCCEEDED", ended.cause
    assert {one["state"] for one in ended.output["members"]} == {"recovered"}
    assert _made(recoveries, whole, bookshop.thing, sound, sealed, last) == [1, 1, 1, 1]

    again = recoveries.recover(HOME, resource=sound.key, part_of=whole)

    assert (again.status, again.recovery) == ("SUCCEEDED", _identity(whole, sound.key)), again.cause
    assert _made(recoveries, whole, bookshop.thing, sound, sealed, last) == [1, 1, 1, 1], "a member begun again"


def test_the_plan_of_a_set_says_every_members_and_makes_nothing(
    recoveries: Recoveries, bookshop: Bookshop, ledger_volume: Thing
) -> None:
    groups = [[{"resource": bookshop.thing.key}], [{"resource": ledger_volume.key}]]
    ended = recoveries.run("holdfast-recover-set", HOME, groups=groups, dry_run=True)
    assert ended.status == "SUCCEEDED", ended.cause
    assert ["would restore the content of" in one["told"] for one in ended.output["members"]] == [True, True]
    assert _made(recoveries, ended.output["set"], bookshop.thing, ledger_volume) == [0, 0]


def test_the_plan_of_a_set_goes_on_behind_an_obstacle_and_tells_it(
    recoveries: Recoveries, bookshop: Bookshop, ledger_volume: Thing
) -> None:
    groups = [[{"resource": bookshop.thing.key, "name": NAME}], [{"resource": ledger_volume.key}]]
    ended = recoveries.run("holdfast-recover-set", HOME, groups=groups, dry_run=True)
    assert (ended.status, ended.error) == ("FAILED", "RecoveryStopped")
    (told,) = recoveries.notices(f"Plan of a recovery set {_identity(ended.arn.rpartition(':')[2], 'set')}")
    assert f"{bookshop.thing.key}: failed. name: {NAME} is taken in {HOME}. recover under another name" in told.text
    assert f"group 2, {ledger_volume.key}: recovered. would restore the content of" in told.text


def _identity(seed: str, member: str) -> str:
    """What a set and its recoveries are called: it follows from the execution, so a second try finds the first."""
    return hashlib.sha256(f"{seed}|{member}".encode()).hexdigest()[:12]


def _made(recoveries: Recoveries, whole: str, *things: Thing) -> list[int]:
    """How many things at AWS the set has made for each of its members."""
    made = [tags_of(one)[RECOVERY_TAG] for one in _everything(recoveries)]
    return [made.count(_identity(whole, thing.key)) for thing in things]


def _everything(recoveries: Recoveries) -> list[dict[str, Any]]:
    return [*recoveries.volumes(HOME), *recoveries.databases(HOME)]
