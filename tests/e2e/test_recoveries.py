"""Something is recovered: where it then stands, what it holds, what people are told, and what stays untouched."""

from __future__ import annotations

import re
from typing import Any

import pytest

from embedded.volumes import image_path
from tests.e2e.bookshop import BEFORE_THE_POINT, NAME, Bookshop
from tests.e2e.deployment import AWAY, HOME, Deployment, Thing
from tests.e2e.recoveries import RECOVERY_TAG, Ended, Recoveries, tags_of

LOOKED_AT_BYTES = 64 * 2**20


@pytest.fixture(scope="module")
def recovered_shop(bookshop: Bookshop, recoveries: Recoveries) -> Ended:
    """The bookshop was recovered at home, from its snapshot."""
    ended = recoveries.recover(HOME, resource=bookshop.thing.key, point_in_time=False)
    assert ended.status == "SUCCEEDED", ended.cause
    return ended


def test_a_volume_is_recovered_from_its_copy_and_handed_over(
    deployment: Deployment, recoveries: Recoveries, ledger_volume: Thing
) -> None:
    original = _volume(deployment, HOME, ledger_volume.id)
    ended = recoveries.recover(AWAY, resource=ledger_volume.key)
    assert (ended.status, ended.output["evidence"]["fitness"]) == ("SUCCEEDED", "fit"), ended.cause
    (made,) = recoveries.volumes(AWAY, ended.recovery)
    assert made["VolumeId"] == ended.output["restored"][0]["id"]
    assert (made["State"], made["VolumeType"], made["Iops"], made["Throughput"]) == ("available", "gp3", 4000, 200)
    assert tags_of(made) == {RECOVERY_TAG: ended.recovery, "Name": "ledger"}
    assert _content(deployment, made["VolumeId"]) == _content(deployment, ledger_volume.id)
    assert _volume(deployment, HOME, ledger_volume.id) == original, "the original is as it was"
    assert deployment.invoke("reap-rehearsals", AWAY)["removed"] == []
    assert recoveries.volumes(AWAY, ended.recovery), "what was handed over is nobody's to remove"


def test_the_notice_and_the_ledger_say_where_a_recovered_volume_is(
    recoveries: Recoveries, ledger_volume: Thing
) -> None:
    ended = recoveries.recover(AWAY, resource=ledger_volume.key, asked_by="Ada")
    made = ended.output["restored"][0]["id"]
    (row,) = [row for row in recoveries.on_ledger(ledger_volume) if row["id"] == ended.recovery]
    assert ([one["id"] for one in row["restored"]], row["request"]["region"]) == ([made], AWAY)
    assert row["row"].endswith("#handed over")
    (notice,) = recoveries.notices(made)
    assert (notice.region, notice.subject) == (AWAY, f"Recovery of {ledger_volume.key}: handed over")
    assert f"in {AWAY} that Ada asked for" in notice.text
    assert "The content is fit" in notice.text


def test_a_dry_run_makes_nothing_and_says_what_would_be_made(recoveries: Recoveries, ledger_volume: Thing) -> None:
    recoveries.recover(AWAY, resource=ledger_volume.key)
    before = recoveries.volumes(AWAY)
    ended = recoveries.recover(AWAY, resource=ledger_volume.key, dry_run=True)
    assert ended.status == "SUCCEEDED", ended.cause
    assert recoveries.volumes(AWAY) == before
    assert {line["what"] for line in ended.output["plan"]} == {"snapshot", "key", "zone", "quota of gp3"}
    assert "obstacle" not in {line["found"] for line in ended.output["plan"]}
    assert ended.output["expected_seconds"] > 0, "one was recovered before"


@pytest.mark.parametrize(
    ("region", "asked", "obstacle", "next_step"),
    [
        (AWAY, {}, "there is no shops in eu-west-1", "make one there, or recover with another value for subnet_group"),
        (HOME, {"name": NAME}, f"{NAME} is taken in eu-central-1", "recover under another name"),
    ],
)
def test_a_dry_run_with_an_obstacle_ends_red_with_the_next_step(
    recoveries: Recoveries, bookshop: Bookshop, region: str, asked: dict[str, str], obstacle: str, next_step: str
) -> None:
    ended = recoveries.recover(region, resource=bookshop.thing.key, dry_run=True, **asked)
    assert (ended.status, ended.error) == ("FAILED", "PlanHasObstacles")
    assert obstacle in ended.cause
    assert next_step in ended.cause


def test_a_database_is_recovered_at_home_with_the_settings_of_the_original(
    recoveries: Recoveries, bookshop: Bookshop, recovered_shop: Ended
) -> None:
    made = recoveries.database(HOME, recovered_shop.output["restored"][0]["id"])
    assert made["DBSubnetGroup"]["DBSubnetGroupName"] == "shops"
    assert [group["DBParameterGroupName"] for group in made["DBParameterGroups"]] == ["books"]
    assert (made["DeletionProtection"], made["BackupRetentionPeriod"]) == (True, 7)
    assert tags_of(made)["team"] == "books"
    assert [one["what"] for one in recovered_shop.output["settings"] if one["is_applied"] is not True] == []
    assert bookshop.sales(made) == BEFORE_THE_POINT, "everything before the point, nothing after it"
    original = recoveries.database(HOME, NAME)
    assert original["DBInstanceStatus"] == "available"
    assert bookshop.sales(original) == BEFORE_THE_POINT + 1


def test_a_database_that_is_only_to_be_looked_at_is_removed_again(recoveries: Recoveries, bookshop: Bookshop) -> None:
    ended = recoveries.recover(HOME, resource=bookshop.thing.key, point_in_time=False, then="tear down")
    assert ended.status == "SUCCEEDED", ended.cause
    assert ended.recovery not in {tags_of(one)[RECOVERY_TAG] for one in recoveries.databases(HOME)}
    (row,) = [row for row in recoveries.on_ledger(bookshop.thing) if row["id"] == ended.recovery]
    assert (row["is_removed"], row["row"].rpartition("#")[2]) == (True, "torn down")


def test_the_databases_own_log_loses_less_than_the_snapshot(recoveries: Recoveries, bookshop: Bookshop) -> None:
    ended = recoveries.recover(HOME, resource=bookshop.thing.key)
    assert ended.status == "SUCCEEDED", ended.cause
    made = recoveries.database(HOME, ended.output["restored"][0]["id"])
    assert bookshop.sales(made) == BEFORE_THE_POINT + 1
    (row,) = [row for row in recoveries.on_ledger(bookshop.thing) if row["id"] == ended.recovery]
    assert row["chosen"]["source"] == "point in time"


def test_a_recovery_goes_on_when_somebody_agrees(recoveries: Recoveries, ledger_volume: Thing) -> None:
    execution, recovery = _asks(recoveries, ledger_volume, "Bea")
    assert recoveries.volumes(AWAY, recovery) == []
    said = recoveries.run("holdfast-answer", AWAY, recovery=recovery, answer="approve", by="Cleo")
    assert (said.status, said.output["answer"]) == ("SUCCEEDED", "approve"), said.cause
    assert recoveries.end(execution).status == "SUCCEEDED"
    assert len(recoveries.volumes(AWAY, recovery)) == 1


def test_a_recovery_ends_without_having_made_anything_when_somebody_refuses(
    recoveries: Recoveries, ledger_volume: Thing
) -> None:
    execution, recovery = _asks(recoveries, ledger_volume, "Dora")
    assert recoveries.run("holdfast-answer", AWAY, recovery=recovery, answer="refuse", by="Eve").status == "SUCCEEDED"
    ended = recoveries.end(execution)
    assert (ended.status, ended.error, ended.cause) == ("FAILED", "NotApproved", "refused by Eve")
    assert recoveries.volumes(AWAY, recovery) == []
    assert [row["problem"] for row in recoveries.on_ledger(ledger_volume) if row["id"] == recovery] == [
        "refused by Eve"
    ]


def test_a_recovery_that_nobody_answers_ends_when_its_time_is_over(
    deployment: Deployment, recoveries: Recoveries, ledger_volume: Thing
) -> None:
    execution, recovery = _asks(recoveries, ledger_volume, "Fay")
    deployment.aws.advance(3600)
    ended = recoveries.end(execution)
    assert (ended.error, ended.cause) == ("NotApproved", "nobody agreed in time")
    late = recoveries.run("holdfast-answer", AWAY, recovery=recovery, answer="approve", by="Gus")
    assert (late.status, late.error) == ("FAILED", "NotAnswered")
    assert recoveries.volumes(AWAY, recovery) == []


def test_an_answer_that_nobody_waits_for_is_refused(recoveries: Recoveries) -> None:
    ended = recoveries.run("holdfast-answer", AWAY, recovery="0123456789ab", answer="approve", by="Hal")
    assert (ended.status, ended.error) == ("FAILED", "NotAnswered")
    assert "no recovery 0123456789ab waits for an answer" in ended.cause


def test_a_held_point_is_passed_over_until_it_is_named_or_released(
    deployment: Deployment, recoveries: Recoveries
) -> None:
    thing = deployment.protect_a_volume()
    slots: list[str] = []
    for _ in range(2):
        deployment.next_night()
        deployment.plan()
        slots.append(deployment.until_copied(thing).point["slot_at"])
    older, newer = slots
    said: dict[str, Any] = {"resource": thing.key, "slot": newer, "by": "Ida"}
    held = recoveries.run("holdfast-hold", HOME, do="hold", because="the import looks wrong", **said)
    assert held.output.get("is_held") is True, held.cause
    chosen = _plan(recoveries, thing)["chosen"]
    assert (chosen["slot"]["at"], [one["slot_at"] for one in chosen["passed_over"]]) == (older, [newer])
    assert "it is held" in chosen["passed_over"][0]["reason"]
    assert _plan(recoveries, thing, point={"slot": newer})["chosen"]["slot"]["at"] == newer
    released = recoveries.run("holdfast-hold", HOME, do="release", because="it was ours", **said)
    assert released.output.get("is_held") is False, released.cause
    assert _plan(recoveries, thing)["chosen"]["slot"]["at"] == newer


@pytest.mark.parametrize("effect", ["lose-reply", "kill-caller"])
def test_one_volume_is_made_whatever_becomes_of_the_one_who_asks(
    deployment: Deployment, recoveries: Recoveries, ledger_volume: Thing, effect: str
) -> None:
    deployment.aws.arm(_fault("ec2:CreateVolume", effect, "start-recovery", AWAY))
    ended = recoveries.recover(AWAY, resource=ledger_volume.key)
    assert deployment.aws.faults() == [], "the fault struck"
    assert ended.status == "SUCCEEDED", ended.cause
    assert len(recoveries.volumes(AWAY, ended.recovery)) == 1


@pytest.mark.parametrize("effect", ["lose-reply", "kill-caller"])
def test_one_database_is_made_and_set_up_whatever_becomes_of_the_one_who_asks(
    deployment: Deployment, recoveries: Recoveries, bookshop: Bookshop, effect: str
) -> None:
    deployment.aws.arm(_fault("rds:RestoreDBInstanceFromDBSnapshot", effect, "start-recovery", HOME))
    deployment.aws.arm(_fault("rds:ModifyDBInstance", effect, "configure-recovery", HOME))
    ended = recoveries.recover(HOME, resource=bookshop.thing.key, point_in_time=False)
    assert deployment.aws.faults() == [], "both faults struck"
    assert ended.status == "SUCCEEDED", ended.cause
    (made,) = [one for one in recoveries.databases(HOME) if tags_of(one)[RECOVERY_TAG] == ended.recovery]
    assert made["DeletionProtection"] is True


def test_names_are_swapped_and_swapped_back(recoveries: Recoveries, bookshop: Bookshop, recovered_shop: Ended) -> None:
    restored = recovered_shop.output["restored"][0]["id"]
    given = {"resource": bookshop.thing.key, "recovery": recovered_shop.recovery}
    swapped = recoveries.run("holdfast-swap-names", HOME, **given)
    assert (swapped.status, swapped.output.get("state")) == ("SUCCEEDED", "done"), swapped.cause
    assert tags_of(recoveries.database(HOME, NAME))[RECOVERY_TAG] == recovered_shop.recovery
    assert bookshop.sales(recoveries.database(HOME, NAME)) == BEFORE_THE_POINT
    aside = recoveries.database(HOME, f"{NAME}-before-{recovered_shop.recovery}")
    assert bookshop.sales(aside) == BEFORE_THE_POINT + 1
    back = recoveries.run("holdfast-swap-names", HOME, **given, back=True)
    assert (back.status, back.output.get("state")) == ("SUCCEEDED", "done"), back.cause
    assert RECOVERY_TAG not in tags_of(recoveries.database(HOME, NAME))
    assert tags_of(recoveries.database(HOME, restored))[RECOVERY_TAG] == recovered_shop.recovery


def _volume(deployment: Deployment, region: str, id: str) -> dict[str, Any]:
    return deployment.aws.client("ec2", region).describe_volumes(VolumeIds=[id])["Volumes"][0]


def _content(deployment: Deployment, id: str) -> bytes:
    """The part of a volume in which the prepared disk lies."""
    with image_path(deployment.aws.data_directory, id).open("rb") as volume:
        return volume.read(LOOKED_AT_BYTES)


def _asks(recoveries: Recoveries, thing: Thing, who: str) -> tuple[str, str]:
    """A recovery that waits for an answer: its execution, and its identifier out of the notice."""
    execution = recoveries.begin("holdfast-recover", AWAY, resource=thing.key, approval_within="1h", asked_by=who)
    recoveries.deployment.until("people are asked", lambda: recoveries.notices(f"{who} asks to recover"))
    (notice,) = recoveries.notices(f"{who} asks to recover")
    found = re.search(r'"recovery": "([0-9a-f]{12})"', notice.text)
    assert found, notice.text
    return execution, found[1]


def _plan(recoveries: Recoveries, thing: Thing, **asked: Any) -> dict[str, Any]:
    ended = recoveries.recover(HOME, resource=thing.key, dry_run=True, **asked)
    assert ended.status == "SUCCEEDED", ended.cause
    return ended.output


def _fault(operation: str, effect: str, verb: str, region: str) -> dict[str, Any]:
    fault = {"operation": operation, "effect": effect, "region": region, "count": 1}
    return fault | ({"function": f"holdfast-{verb}"} if effect == "kill-caller" else {})
