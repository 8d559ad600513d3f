"""The workflow walked with scripted handlers: every expression is evaluated, every way to an end is gone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.workflows import walk as walking
from tests.workflows.walk import Handler, Walk, choosing, raising


def rehearsal(**known: Any) -> dict[str, Any]:
    """A rehearsal as a handler answers it."""
    return {"id": "r1", "slot": {"resource": {"kind": "volume"}}, "readiness": "not yet", "problem": ""} | known


def answering(**known: Any) -> Handler:
    """A handler that answers the rehearsal it was given with this added."""
    return walking.answering("rehearsal", **known)


def scripted(kind: str = "volume", **other: Handler | list[Handler]) -> Walk:
    """A walk on which everything goes well but for what is said otherwise."""
    chosen = rehearsal(slot={"resource": {"kind": kind}})
    fit = {"fitness": "fit", "reason": "2 of 2 checks held"}
    well: dict[str, Handler | list[Handler]] = {
        "ChooseRehearsal": choosing(rehearsal=chosen),
        "StartRestore": answering(),
        "CheckRestore": answering(readiness="ready"),
        "VerifyVolume": answering(evidence=fit),
        "InspectContent": answering(evidence=fit),
        "VerifyDatabase": answering(evidence=fit),
        "RecordRehearsal": answering(),
        "RemoveRestore": answering(is_removed=True),
    }
    return Walk("rehearse", answers=well | other)


def deep(**stages: Handler | list[Handler]) -> Walk:
    """A walk of a rehearsal with a deep check, on which everything goes well but for what is said otherwise."""
    chosen = rehearsal(deep_check={"stage": "waiting"})
    under_way, over = answering(deep_check={"stage": "under way"}), answering(deep_check={"stage": "over"})
    well: dict[str, Handler | list[Handler]] = {"StartDeepCheck": under_way, "FollowDeepCheck": over}
    return scripted("volume", ChooseRehearsal=choosing(rehearsal=chosen), **(well | stages))


def test_a_deep_check_follows_what_was_read_and_comes_before_the_record() -> None:
    walk = deep()
    assert walk.run({}) == "Rehearsal passed"
    assert list(walk.sent)[4:7] == ["InspectContent", "StartDeepCheck", "FollowDeepCheck"]
    assert walk.sent["RecordRehearsal"][0]["rehearsal"]["deep_check"] == {"stage": "over"}


def test_what_is_unfit_already_gets_no_machine() -> None:
    walk = deep(InspectContent=answering(evidence={"fitness": "unfit", "reason": "block 7 differs"}))
    assert walk.run({}) == "Rehearsal failed"
    assert "StartDeepCheck" not in walk.sent


def test_a_turn_is_waited_for_and_so_is_the_end() -> None:
    waiting, under_way = answering(deep_check={"stage": "waiting"}), answering(deep_check={"stage": "under way"})
    over = answering(deep_check={"stage": "over"})
    walk = deep(StartDeepCheck=[waiting, waiting, under_way], FollowDeepCheck=[under_way, under_way, over])
    assert walk.run({}) == "Rehearsal passed"
    assert (walk.visited.count("Wait for turn"), walk.visited.count("Wait for deep check")) == (2, 3)
    assert walk.waited[-5:] == [11, 12, 13, 14, 16]


def test_a_deep_check_that_got_no_machine_is_recorded_and_what_was_restored_goes() -> None:
    walk = deep(StartDeepCheck=answering(deep_check={"stage": "over"}, evidence={"fitness": "undecided", "reason": ""}))
    assert walk.run({}) == "Rehearsal failed"
    assert len(walk.sent["RecordRehearsal"]) == len(walk.sent["RemoveRestore"]) == 1


@pytest.mark.parametrize("function", ["StartDeepCheck", "FollowDeepCheck"])
@pytest.mark.parametrize("broken", [raising("Broken", "our mistake"), answering(deep_check={"stage": "asleep"})])
def test_a_deep_check_that_breaks_ends_red_and_leaves_nothing(function: str, broken: Handler) -> None:
    walk = deep(**{function: broken})
    assert walk.run({}) == "Rehearsal broke"
    assert len(walk.sent["RecordRehearsal"]) == len(walk.sent["RemoveRestore"]) == 1


def test_a_point_that_restores_passes() -> None:
    walk = scripted()
    assert walk.run({}) == "Rehearsal passed"
    assert list(walk.sent) == [
        "ChooseRehearsal",
        "StartRestore",
        "CheckRestore",
        "VerifyVolume",
        "InspectContent",
        "RecordRehearsal",
        "RemoveRestore",
    ]


@pytest.mark.parametrize(
    ("kind", "verifier"),
    [
        ("volume", "VerifyVolume"),
        ("instance", "VerifyVolume"),
        ("database", "VerifyDatabase"),
        ("cluster", "VerifyDatabase"),
    ],
)
def test_every_kind_has_its_verifier(kind: str, verifier: str) -> None:
    walk = scripted(kind)
    assert walk.run({}) == "Rehearsal passed"
    assert [name for name in walk.sent if name.startswith("Verify")] == [verifier]


def test_a_kind_that_nobody_can_verify_ends_red_and_is_removed() -> None:
    walk = scripted("tape")
    assert walk.run({}) == "Rehearsal broke"
    assert len(walk.sent["RemoveRestore"]) == 1


def test_the_choice_is_told_what_was_asked_and_which_execution_asks() -> None:
    walk = scripted()
    walk.run({"resource": "volume/eu-central-1/vol-1"})
    assert walk.sent["ChooseRehearsal"] == [{"input": {"resource": "volume/eu-central-1/vol-1"}, "execution": "run-1"}]


def test_every_other_handler_gets_the_rehearsal_whole_and_nothing_else() -> None:
    walk = scripted()
    walk.run({})
    for function, events in walk.sent.items():
        if function != "ChooseRehearsal":
            assert [set(event) for event in events] == [{"rehearsal"}] * len(events)
    assert walk.sent["RemoveRestore"][0]["rehearsal"]["evidence"]["fitness"] == "fit"


def test_nothing_to_rehearse_is_a_quiet_end() -> None:
    walk = scripted(ChooseRehearsal=choosing(rehearsal=None, reason="no complete point"))
    assert walk.run({}) == "Nothing to rehearse"
    assert list(walk.sent) == ["ChooseRehearsal"]


def test_an_answer_that_is_no_rehearsal_is_not_a_quiet_end() -> None:
    walk = scripted(ChooseRehearsal=choosing(rehearsal="volume"))
    assert walk.run({}) == "Rehearsal broke"
    assert walk.cause


def test_a_restore_is_waited_for() -> None:
    walk = scripted(CheckRestore=[answering(readiness="not yet")] * 3 + [answering(readiness="ready")])
    assert walk.run({}) == "Rehearsal passed"
    assert walk.visited.count("Wait for restore") == 4


@pytest.mark.parametrize("readiness", ["failed", "a word nobody knows", None])
def test_a_restore_that_failed_is_not_waited_for(readiness: str | None) -> None:
    walk = scripted(CheckRestore=answering(readiness=readiness, problem="AWS says error: the key is disabled"))
    assert walk.run({}) == "Rehearsal broke"
    assert walk.cause == "AWS says error: the key is disabled"
    assert [name for name in walk.sent if name.startswith("Verify")] == []
    assert len(walk.sent["RecordRehearsal"]) == len(walk.sent["RemoveRestore"]) == 1


def test_a_restore_that_aws_gave_up_because_of_the_content_fails_the_rehearsal() -> None:
    evidence = {"fitness": "unfit", "reason": "AWS makes no working database of it"}
    walk = scripted(CheckRestore=answering(readiness="failed", problem="restore-error", evidence=evidence))
    assert walk.run({}) == "Rehearsal failed"
    assert walk.error == "RehearsalFailed"
    assert walk.cause == "The restored content is unfit: AWS makes no working database of it"
    assert len(walk.sent["RecordRehearsal"]) == len(walk.sent["RemoveRestore"]) == 1


def test_what_is_unfit_and_could_not_be_recorded_is_a_rehearsal_that_broke() -> None:
    evidence = {"fitness": "unfit", "reason": "AWS makes no working database of it"}
    walk = scripted(
        CheckRestore=answering(readiness="failed", problem="restore-error", evidence=evidence),
        RecordRehearsal=raising("NotAllowed"),
    )
    assert walk.run({}) == "Rehearsal broke"
    assert walk.error == "RehearsalBroke"


@pytest.mark.parametrize("fitness", ["unfit", "undecided"])
def test_content_that_was_not_proven_fails_the_rehearsal_after_it_is_recorded_and_removed(fitness: str) -> None:
    evidence = {"fitness": fitness, "reason": "block 7 differs"}
    walk = scripted(InspectContent=answering(evidence=evidence))
    assert walk.run({}) == "Rehearsal failed"
    assert (walk.error, walk.cause) == ("RehearsalFailed", f"The restored content is {fitness}: block 7 differs")
    assert walk.visited[-5:-1] == [
        "Record rehearsal",
        "Remove restore",
        "Is everything removed?",
        "Did the rehearsal pass?",
    ]


def test_without_evidence_no_rehearsal_passes() -> None:
    assert scripted(VerifyVolume=answering(), InspectContent=answering()).run({}) == "Rehearsal failed"


def test_removal_is_waited_for() -> None:
    walk = scripted(RemoveRestore=[answering(is_removed=False)] * 2 + [answering(is_removed=True)])
    assert walk.run({}) == "Rehearsal passed"
    assert walk.visited.count("Wait for removal") == 2


def test_what_a_broken_rehearsal_restored_is_removed_to_the_end() -> None:
    walk = scripted(
        VerifyVolume=raising("Broken"),
        RemoveRestore=[answering(is_removed=False), answering(is_removed=True)],
    )
    assert walk.run({}) == "Rehearsal broke"
    assert walk.visited.count("Wait for the rest to go") == 1


def test_an_error_is_recorded_and_told_with_its_name_and_text() -> None:
    walk = scripted(StartRestore=raising("KeyUnusable", "x" * 5000))
    assert walk.run({}) == "Rehearsal broke"
    (recorded,) = walk.sent["RecordRehearsal"]
    assert recorded["rehearsal"]["problem"] == "KeyUnusable: " + "x" * 2000
    assert recorded["rehearsal"]["id"] == "r1"
    assert (walk.error, walk.cause) == ("RehearsalBroke", recorded["rehearsal"]["problem"])


def test_an_error_before_anything_was_chosen_is_told() -> None:
    walk = scripted(ChooseRehearsal=raising("NotAllowed", "access denied"))
    assert walk.run({}) == "Rehearsal broke"
    assert walk.cause == "NotAllowed: access denied"
    assert list(walk.sent) == ["ChooseRehearsal"]


def test_a_ledger_that_cannot_be_written_does_not_keep_what_was_restored() -> None:
    walk = scripted(RecordRehearsal=raising("NotAllowed"))
    assert walk.run({}) == "Rehearsal broke"
    assert len(walk.sent["RecordRehearsal"]) == 2
    assert len(walk.sent["RemoveRestore"]) == 1


@pytest.mark.parametrize(
    "function", ["StartRestore", "CheckRestore", "VerifyVolume", "RecordRehearsal", "RemoveRestore"]
)
def test_any_handler_that_breaks_for_good_ends_red(function: str) -> None:
    walk = scripted("volume", **{function: raising("Broken", "our mistake")})
    assert walk.run({}) == "Rehearsal broke"
    assert walk.cause == "Broken: our mistake"
    assert walk.sent["RemoveRestore"]
