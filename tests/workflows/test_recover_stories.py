"""A recovery walked from the request to each of its ends."""

from __future__ import annotations

from typing import Any

import pytest

from tests.workflows import walk as walking
from tests.workflows.walk import Handler, Uncaught, Walk, choosing, raising

STEPS = [
    "ChooseRecovery",
    "PlanRecovery",
    "StartRecovery",
    "CheckRecovery",
    "ConfigureRecovery",
    "VerifyRecovery",
    "RecordRecovery",
]
RESUMED = {
    "PlanRecovery": "Plan recovery",
    "StartRecovery": "Start recovery",
    "CheckRecovery": "Check recovery",
    "ConfigureRecovery": "Configure recovery",
    "VerifyRecovery": "Verify recovery",
}
FIT = {"fitness": "fit", "reason": "3 of 3 checks held"}


def recovery(**known: Any) -> dict[str, Any]:
    """A recovery as choose_recovery answers it."""
    resource = {"kind": "volume", "region": "eu-central-1", "id": "vol-1"}
    request = {"resource": resource, "is_dry_run": False, "ending": "hand over", "approval_seconds": None}
    request |= known.pop("request", {})
    chosen = {"content_at": "2026-11-20T02:00:00Z", "reason": "the newest"}
    fact = {"id": "0a1b2c3d4e5f", "request": request, "chosen": chosen, "order": {"names": ["a"], "wanted": {}}}
    return fact | {"readiness": "not yet", "problem": "", "plan": [], "expected_seconds": None} | known


def answering(**known: Any) -> Handler:
    return walking.answering("recovery", **known)


def scripted(request: dict[str, Any] | None = None, **other: Handler | list[Handler]) -> Walk:
    """A walk on which everything goes well but for what is said otherwise."""
    restored = [{"id": "vol-2"}]
    well: dict[str, Handler | list[Handler]] = {
        "ChooseRecovery": choosing(recovery=recovery(request=request or {})),
        "PlanRecovery": answering(),
        "AskApproval": choosing(approved_by="Ines"),
        "StartRecovery": answering(restored=restored),
        "CheckRecovery": answering(readiness="ready"),
        "ConfigureRecovery": answering(readiness="ready", settings=[]),
        "VerifyRecovery": answering(evidence=FIT),
        "RemoveRecovery": answering(is_removed=True),
        "RecordRecovery": answering(),
        "StopRecovery": stops,
    }
    return Walk("recover", answers=well | other)


def stops(event: dict[str, Any]) -> dict[str, Any]:
    """As stop_recovery: it fails until the execution was redriven."""
    if event["redrives"] > event["redrives_then"]:
        return {"what": event["what"], "redrives": event["redrives"]}
    raise walking.HandlerError("RecoveryStopped", event["problem"])


def mended(*answers: Handler) -> list[Handler]:
    return [raising("KeyUnusable", "the key is disabled"), *answers]


def test_what_was_asked_for_is_restored_set_up_checked_and_handed_over() -> None:
    walk = scripted()
    assert walk.run({"resource": "volume/eu-central-1/vol-1"}) == "Handed over"
    assert list(walk.sent) == STEPS
    assert walk.output["told"] == "restored as vol-2"


def test_the_choice_is_told_what_was_asked_and_which_execution_asks() -> None:
    walk = scripted()
    walk.run({"resource": "volume/eu-central-1/vol-1"})
    assert walk.sent["ChooseRecovery"] == [{"input": {"resource": "volume/eu-central-1/vol-1"}, "execution": "run-1"}]


def test_a_member_of_a_set_is_known_by_the_set() -> None:
    walk = scripted()
    walk.run({"resource": "volume/eu-central-1/vol-1", "part_of": "set-1"})
    assert walk.sent["ChooseRecovery"][0]["execution"] == "set-1"


def test_a_dry_run_makes_nothing_and_says_what_would_be() -> None:
    walk = scripted(request={"is_dry_run": True})
    assert walk.run({}) == "Plan made"
    assert list(walk.sent) == ["ChooseRecovery", "PlanRecovery"]
    assert walk.output["told"] == "would restore the content of 2026-11-20T02:00:00Z as a: the newest"


def test_a_dry_run_with_obstacles_ends_red_and_makes_nothing() -> None:
    walk = scripted(request={"is_dry_run": True}, PlanRecovery=answering(problem="the subnet is full"))
    assert walk.run({}) == "The plan has obstacles"
    assert walk.cause == "the subnet is full"
    assert list(walk.sent) == ["ChooseRecovery", "PlanRecovery"]


def test_when_nothing_serves_the_request_that_is_the_cause() -> None:
    walk = scripted(ChooseRecovery=raising("NoRecoveryPoint", "the ledger has none"))
    assert walk.run({}) == "Nothing can be recovered"
    assert walk.cause == "NoRecoveryPoint: the ledger has none"


def test_a_person_is_asked_where_the_request_says_so() -> None:
    walk = scripted(request={"approval_seconds": 3600})
    assert walk.run({}) == "Handed over"
    assert walk.sent["AskApproval"][0]["token"] == "token-1"


@pytest.mark.parametrize(
    ("answer", "cause"),
    [(raising("RecoveryRefused", "refused by Ines"), "refused by Ines"), (raising("States.Timeout"), "nobody agreed")],
)
def test_without_a_yes_nothing_is_made_and_that_is_recorded(answer: Handler, cause: str) -> None:
    walk = scripted(request={"approval_seconds": 3600}, AskApproval=answer)
    assert walk.run({}) == "Not approved"
    assert cause in walk.cause
    assert "StartRecovery" not in walk.sent
    assert cause in walk.sent["RecordRecovery"][0]["recovery"]["problem"]


def test_a_restore_is_waited_for_longer_and_longer() -> None:
    walk = scripted(CheckRecovery=[answering(readiness="not yet")] * 40 + [answering(readiness="ready")])
    assert walk.run({}) == "Handed over"
    assert walk.waited[0] == 5
    assert walk.waited == sorted(walk.waited)
    assert walk.waited[-1] == 9


def test_settings_are_waited_for() -> None:
    walk = scripted(
        ConfigureRecovery=[answering(readiness="not yet")] * 2 + [answering(readiness="ready", settings=[])]
    )
    assert walk.run({}) == "Handed over"
    assert walk.visited.count("Wait for settings") == 2


def test_settings_are_looked_at_soon_however_long_the_restore_took() -> None:
    walk = scripted(
        CheckRecovery=[answering(readiness="not yet")] * 40 + [answering(readiness="ready")],
        ConfigureRecovery=[answering(readiness="not yet"), answering(readiness="ready", settings=[])],
    )
    assert walk.run({}) == "Handed over"
    assert walk.waited[-1] == 5


def test_a_removal_is_looked_at_soon_however_long_restore_and_settings_took() -> None:
    walk = scripted(
        request={"ending": "tear down"},
        CheckRecovery=[answering(readiness="not yet")] * 40 + [answering(readiness="ready")],
        ConfigureRecovery=[answering(readiness="not yet")] * 40 + [answering(readiness="ready", settings=[])],
        RemoveRecovery=[answering(is_removed=False), answering(is_removed=True)],
    )
    assert walk.run({}) == "Looked at and removed"
    assert walk.waited_in["Wait for removal"] == [5]


def test_settings_that_never_hold_are_told_after_ten_hours() -> None:
    walk = scripted(ConfigureRecovery=answering(readiness="not yet"))
    with pytest.raises(Uncaught, match="RecoveryStopped"):
        walk.run({})
    assert "171 looks" in walk.sent["RecordRecovery"][0]["recovery"]["problem"]
    assert 10 * 3600 < sum(walk.waited) < 12 * 3600


def test_what_was_only_to_be_looked_at_is_removed_to_the_end() -> None:
    walk = scripted(
        request={"ending": "tear down"}, RemoveRecovery=[answering(is_removed=False), answering(is_removed=True)]
    )
    assert walk.run({}) == "Looked at and removed"
    assert walk.visited.count("Wait for removal") == 1


def test_content_that_was_shown_to_be_broken_is_red_and_stands() -> None:
    walk = scripted(VerifyRecovery=answering(evidence={"fitness": "unfit", "reason": "block 7 differs"}))
    assert walk.run({}) == "The content is unfit"
    assert "block 7 differs" in walk.cause
    assert "RemoveRecovery" not in walk.sent


def test_content_that_could_not_be_checked_is_handed_over_as_that() -> None:
    walk = scripted(VerifyRecovery=answering(evidence={"fitness": "undecided", "reason": "nobody asked"}))
    assert walk.run({}) == "Handed over"


@pytest.mark.parametrize(("function", "state"), RESUMED.items())
def test_what_cannot_be_done_is_recorded_and_a_redrive_goes_on_there(function: str, state: str) -> None:
    answers = scripted().answers[function]
    assert callable(answers)
    broken: dict[str, Any] = {function: mended(answers)}
    walk = scripted(**broken)
    with pytest.raises(Uncaught, match="Stop until it is redriven: RecoveryStopped"):
        walk.run({})
    assert walk.sent["RecordRecovery"][0]["recovery"]["problem"] == "KeyUnusable: the key is disabled"
    before = {name: len(sent) for name, sent in walk.sent.items()}
    assert walk.redrive() == "Handed over"
    again = [name for name, sent in walk.sent.items() if len(sent) > before.get(name, 0) and name in STEPS]
    assert [name for name in STEPS if name in again] == STEPS[STEPS.index(function) :]
    assert walk.visited[walk.visited.index("Go on where it stopped") + 1] == state


def test_a_redrive_without_mending_stops_again_with_the_same_words() -> None:
    walk = scripted(StartRecovery=raising("QuotaReached", "100 instances"))
    for _ in range(2):
        with pytest.raises(Uncaught, match="RecoveryStopped"):
            walk.redrive() if walk.stopped_in else walk.run({})
    assert len(walk.sent["StartRecovery"]) == 2
    assert [sent["problem"] for sent in walk.sent["StopRecovery"]][-1] == "QuotaReached: 100 instances"


def test_obstacles_stop_before_anything_is_made_and_a_redrive_plans_again() -> None:
    walk = scripted(PlanRecovery=[answering(problem="the subnet is full"), answering()])
    with pytest.raises(Uncaught, match="RecoveryStopped"):
        walk.run({})
    assert "StartRecovery" not in walk.sent
    assert walk.redrive() == "Handed over"
    assert len(walk.sent["PlanRecovery"]) == 2


def test_what_aws_failed_is_removed_before_it_is_told_and_a_redrive_starts_it_again() -> None:
    walk = scripted(
        CheckRecovery=[answering(readiness="failed", problem="db is failed"), answering(readiness="ready")],
        RemoveRecovery=[answering(is_removed=False), answering(is_removed=True)],
    )
    with pytest.raises(Uncaught, match="RecoveryStopped"):
        walk.run({})
    assert walk.sent["RecordRecovery"][0]["recovery"]["problem"] == "db is failed"
    assert walk.visited.count("Wait for what failed to go") == 1
    assert walk.redrive() == "Handed over"
    assert len(walk.sent["StartRecovery"]) == 2


def test_after_two_hundred_looks_somebody_is_told_and_a_redrive_waits_on() -> None:
    walk = scripted(CheckRecovery=[answering(readiness="not yet")] * 200 + [answering(readiness="ready")])
    with pytest.raises(Uncaught, match="RecoveryStopped"):
        walk.run({})
    assert "200 looks" in walk.sent["RecordRecovery"][0]["recovery"]["problem"]
    assert 24 * 3600 < sum(walk.waited) < 36 * 3600
    assert walk.redrive() == "Handed over"


def test_a_ledger_that_cannot_be_written_does_not_hide_what_went_wrong() -> None:
    walk = scripted(StartRecovery=raising("QuotaReached", "100 instances"), RecordRecovery=raising("NotAllowed"))
    with pytest.raises(Uncaught, match="RecoveryStopped"):
        walk.run({})
    problem = walk.sent["StopRecovery"][0]["problem"]
    assert "100 instances" in problem
    assert "could not be recorded: NotAllowed" in problem


def test_even_a_stop_that_breaks_ends_red_with_the_cause() -> None:
    walk = scripted(StartRecovery=raising("QuotaReached", "100 instances"), StopRecovery=raising("Lambda.Unknown"))
    assert walk.run({}) == "Recovery broke"
    assert walk.cause == "QuotaReached: 100 instances"


@pytest.mark.parametrize(
    "state", ["Start recovery", "Check recovery", "Configure recovery", "Verify recovery", "Record recovery"]
)
def test_killed_in_any_state_it_is_begun_again_with_what_it_was_given(state: str) -> None:
    """What Redrive does with an execution that was stopped or timed out."""
    walk = scripted()
    assert walk.run({}) == "Handed over"
    given = dict(walk.variables)
    walk.variables = given
    assert walk.begin_in(state) == "Handed over"
    assert len(walk.sent["ChooseRecovery"]) == 1
