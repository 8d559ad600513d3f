"""How a recovery ended is told once for each end, with everything that whoever waits needs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from functions.core.errors import AwsBusy
from functions.core.recoveries import Ending, PassedOver, Recovery, Setting
from functions.core.resources import Kind
from functions.core.restores import Restored, RestoreState
from functions.handlers import record_recovery
from tests.builders import AWAY, NOON, a_key, ago
from tests.handlers.recoveries import FIT, UNFIT, a_recovery
from tests.handlers.world import CONTEXT, MINUTE, World, example

DATABASE = Restored(
    id="orders-restored-0a1b2c3d",
    snapshot_id="copy-1",
    kind=Kind.DATABASE,
    region=AWAY,
    state=RestoreState.AVAILABLE,
    address="orders-restored.example.com",
    port=5432,
    secret_arn="arn:aws:secretsmanager:eu-west-1:123456789012:secret:rds!db-1",
)
CAUGHT = 'KeyUnusable: {"errorMessage": "the key is disabled\\nHint: Enable it.", "errorType": "KeyUnusable"}'


def record(world: World, recovery: Recovery) -> Recovery:
    return record_recovery.record_recovery(recovery, world.tools, world.now)


def notice(world: World) -> str:
    [(_, body)] = world.topic.notices
    return body


def a_database(**changes: object) -> Recovery:
    """One that was set up in 12 minutes and found fit."""
    recovery = a_recovery(
        Kind.DATABASE,
        restored=(DATABASE,),
        started_at=NOON,
        available_at=NOON + timedelta(minutes=9),
        configured_at=NOON + timedelta(minutes=12),
        verified_at=NOON + timedelta(minutes=13),
        evidence=FIT,
    )
    return replace(recovery, **changes)  # type: ignore[arg-type]  # a test gives what it is about


def test_what_was_handed_over_is_on_the_ledger_and_the_bus_and_with_people(world: World) -> None:
    recorded = record(world, a_database())
    assert world.ledger.stories.recoveries(a_key(Kind.DATABASE)) == [recorded]
    [(kind, told)] = world.bus.events
    assert (kind, told["outcome"], told["recovery_seconds"]) == ("RecoveryRecorded.v1", "handed over", 720)
    assert [subject for subject, _ in world.topic.notices] == ["Recovery of database/eu-central-1/orders: handed over"]
    assert recorded.finished_at == world.now


def test_people_hear_where_it_is_how_long_it_took_and_what_was_checked(world: World) -> None:
    record(world, a_database())
    said = notice(world)
    assert "that Ines asked for is handed over" in said
    assert "answers at orders-restored.example.com:5432" in said
    assert "master password in arn:aws:secretsmanager" in said
    assert "Took 9.0 min until available, then 3.0 min until set up like the original, then 1.0 min" in said
    assert "The content is fit" in said
    assert "The original was not touched" in said


def test_a_newer_point_that_was_passed_over_is_named(world: World) -> None:
    recovery = a_database()
    passed = (PassedOver(slot_at=ago(hours=1), reason="it is held: something about it is suspicious"),)
    record(world, replace(recovery, chosen=replace(recovery.chosen, passed_over=passed)))
    assert "Passed over: 2026-11-20 11:00 UTC, it is held" in notice(world)


def test_a_setting_that_could_not_be_applied_is_named(world: World) -> None:
    settings = (
        Setting(what="port", is_applied=True),
        Setting(what="domain", is_applied=False, detail="join it by hand"),
    )
    record(world, a_database(settings=settings))
    assert "NOT set as on the original: domain: join it by hand" in notice(world)
    assert "port:" not in notice(world)


def test_what_was_restored_by_the_log_of_the_original_is_told_so(world: World) -> None:
    record(world, a_database(restored=(replace(DATABASE, snapshot_id=""),)))
    assert "of the log of the original" in notice(world)


def test_unfit_content_is_told_with_what_was_seen_and_stays(world: World) -> None:
    record(world, a_database(evidence=UNFIT))
    [(subject, said)] = world.topic.notices
    assert subject.endswith(": unfit")
    assert "inode 12 is damaged" in said
    assert "Nothing was removed" in said


def test_what_was_only_looked_at_is_told_as_gone(world: World) -> None:
    record(world, a_database(is_removed=True, request=replace(a_database().request, ending=Ending.TEAR_DOWN)))
    [(subject, said)] = world.topic.notices
    assert subject.endswith(": torn down")
    assert "What was restored is removed again." in said
    assert "yours now" not in said


def test_unfit_content_that_was_only_looked_at_is_told_as_gone_and_unfit(world: World) -> None:
    request = replace(a_database().request, ending=Ending.TEAR_DOWN)
    record(world, a_database(is_removed=True, request=request, evidence=UNFIT))
    [(subject, said)] = world.topic.notices
    assert subject.endswith(": unfit")
    assert "What was restored is removed again." in said
    assert "Nothing was removed" not in said
    assert "Recover an older point" in said


def test_a_failed_one_says_what_was_caught_in_words_and_what_to_do(world: World) -> None:
    recorded = record(world, a_recovery(problem=CAUGHT))
    assert recorded.problem == "KeyUnusable: the key is disabled\nHint: Enable it."
    [(subject, said)] = world.topic.notices
    assert subject.endswith(": failed")
    assert "Hint: Enable it." in said
    assert "redrive the execution" in said


def test_one_recorded_twice_is_told_once(world: World) -> None:
    """F30."""
    first = record(world, a_database())
    world.pass_time(MINUTE)
    record(world, first)
    record(world, a_database())
    assert (len(world.bus.events), len(world.topic.notices)) == (1, 1)
    assert len(world.ledger.stories.recoveries(a_key(Kind.DATABASE))) == 1


def test_one_that_failed_and_was_redriven_is_told_twice(world: World) -> None:
    record(world, a_recovery(Kind.DATABASE, problem=CAUGHT))
    world.pass_time(30 * MINUTE)
    record(world, a_database())
    assert [told["outcome"] for _, told in world.bus.events] == ["failed", "handed over"]
    assert len(world.topic.notices) == 2


def test_a_record_that_was_cut_off_is_told_when_it_is_tried_again(world: World) -> None:
    """F19: somebody waits for it."""
    world.bus.refuses = AwsBusy("no answer from EventBridge", hint="Again.")
    with pytest.raises(AwsBusy):
        record(world, a_database())
    assert world.ledger.stories.recoveries(a_key(Kind.DATABASE)) == []
    world.bus.refuses = None
    record(world, a_database())
    assert (len(world.bus.events), len(world.topic.notices)) == (1, 1)


def test_the_records_of_the_examples_are_written(world: World) -> None:
    """As Lambda calls it."""
    record_recovery.handler(example("workflow_record_recovery"), CONTEXT)
    assert world.bus.events == [("RecoveryRecorded.v1", example("published_recovery_recorded")["detail"])]
    answer = record_recovery.handler(example("workflow_record_recovery_that_broke"), CONTEXT)
    assert answer["recovery"]["problem"].startswith("KeyUnusable: ")
    assert "{" not in answer["recovery"]["problem"]
    assert [subject.rpartition(": ")[2] for subject, _ in world.topic.notices] == ["handed over", "failed"]
