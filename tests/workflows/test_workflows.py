"""What holds for every workflow: explained, bounded, tried again for what passes, and red for what does not."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate, count, takewhile
from typing import Any

import pytest

from functions.core import errors
from functions.core.deep_checks import LONGEST
from infra import functions
from tests.workflows.walk import WORKFLOWS, definition, states_of

NAMES = sorted(path.name.removesuffix(".asl.json") for path in WORKFLOWS.glob("*.asl.json"))
MACHINES = {name: definition(name) for name in NAMES}
STATES = [(name, title, state) for name, machine in MACHINES.items() for title, state in states_of(machine)]
SPECS = {spec.id: spec for spec in functions.AT_RECOVERY}

LAMBDA_SERVICE = {
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
}

KILLED = {"Lambda.Unknown", "Runtime.ExitError", "Sandbox.Timedout"}
"""How Lambda names a function that died under way. Whoever waits for a recovery does not have to redrive it for that:
every step may be repeated."""

OF_CLAIMS = {"ClaimedElsewhere"}
"""Raised by readers of queues, which share slots; an execution shares its work with nobody."""

WAITED_EVENTS = 2
TASK_EVENTS = 5
CHOICE_EVENTS = 2
RETRY_EVENTS = 3
MOST_EVENTS = 20_000


def of_type(*types: str) -> list[Any]:
    found = [(name, title, state) for name, title, state in STATES if state["Type"] in types]
    return [pytest.param(*one, id=f"{one[0]}: {one[1]}") for one in found]


def machines_of(name: str) -> Iterator[Mapping[str, Any]]:
    """The machine, and those inside of its Maps."""
    machine = MACHINES[name]
    yield machine
    yield from (state["ItemProcessor"] for _, state in states_of(machine) if "ItemProcessor" in state)


def nexts(state: Mapping[str, Any]) -> Iterator[str]:
    yield from (state[key] for key in ("Next", "Default") if key in state)
    yield from (branch["Next"] for key in ("Choices", "Catch") for branch in state.get(key, ()))


def reachable(machine: Mapping[str, Any], start: str) -> set[str]:
    found, ahead = set[str](), [start]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead.extend(nexts(machine["States"][name]))
    return found


def is_lambda(state: Mapping[str, Any]) -> bool:
    return "lambda:invoke" in state["Resource"]


def spec_of(state: Mapping[str, Any]) -> functions.Spec:
    (name,) = re.findall(r"^\$\{(\w+)\}$", state["Arguments"]["FunctionName"])
    return SPECS[name]


def test_there_are_the_workflows_that_the_design_names() -> None:
    assert NAMES == ["answer", "hold", "recover", "recover_set", "rehearse", "swap_names"]


@pytest.mark.parametrize("name", NAMES)
def test_every_state_can_be_reached_and_every_next_exists(name: str) -> None:
    for machine in machines_of(name):
        assert reachable(machine, machine["StartAt"]) == set(machine["States"])


@pytest.mark.parametrize("name", NAMES)
def test_a_machine_is_jsonata_says_what_it_is_for_and_ends(name: str) -> None:
    assert MACHINES[name]["QueryLanguage"] == "JSONata"
    assert len(MACHINES[name]["Comment"]) > 30
    assert 0 < MACHINES[name]["TimeoutSeconds"] <= 7 * 86_400


@pytest.mark.parametrize(
    ("name", "title", "state"), of_type("Task", "Choice", "Wait", "Succeed", "Fail", "Map", "Pass")
)
def test_a_state_is_named_and_explained(name: str, title: str, state: Mapping[str, Any]) -> None:
    assert len(title) <= 80
    assert title[0].isupper()
    assert not title.endswith(".")
    assert len(state["Comment"]) > 15


@pytest.mark.parametrize(("name", "title", "state"), of_type("Choice"))
def test_a_choice_has_an_answer_for_everything_else(name: str, title: str, state: Mapping[str, Any]) -> None:
    assert title.endswith("?") or title == "Go on where it stopped"
    assert state["Default"]


@pytest.mark.parametrize(("name", "title", "state"), of_type("Task"))
def test_a_task_waits_longer_than_its_function_may_run(name: str, title: str, state: Mapping[str, Any]) -> None:
    """F18."""
    if "waitForTaskToken" in state["Resource"]:
        assert state["TimeoutSeconds"] == "{% $recovery.request.approval_seconds %}"
    elif is_lambda(state):
        spec = spec_of(state)
        assert spec.timeout_seconds < state["TimeoutSeconds"] <= spec.timeout_seconds + 60
    else:
        assert state["TimeoutSeconds"] >= MACHINES["recover"]["TimeoutSeconds"]


@pytest.mark.parametrize(("name", "title", "state"), of_type("Task"))
def test_a_task_is_tried_again_for_what_passes_by_name(name: str, title: str, state: Mapping[str, Any]) -> None:
    """A stop fails on purpose and is never tried again for that; a nested execution has its own retries."""
    passing = {it.__name__ for _, it in inspect.getmembers(errors, inspect.isclass) if errors.TryAgain in it.__bases__}
    retried = {error for retrier in state["Retry"] for error in retrier["ErrorEquals"]}
    if not is_lambda(state):
        assert all(error.startswith("StepFunctions.") for error in retried)
    elif title == "Stop until it is redriven":
        assert retried == LAMBDA_SERVICE
    else:
        killed = KILLED if name in ("recover", "recover_set", "rehearse", "swap_names") else set[str]()
        assert retried == passing - OF_CLAIMS | LAMBDA_SERVICE | killed
    assert "States.ALL" not in retried
    for retrier in state["Retry"]:
        assert retrier["JitterStrategy"] == "FULL"
        assert retrier["MaxAttempts"] >= 3


@pytest.mark.parametrize(("name", "title", "state"), of_type("Task", "Map"))
def test_a_caught_error_ends_red_whatever_happens_then(name: str, title: str, state: Mapping[str, Any]) -> None:
    """Red is a Fail state, or the stop from which a redrive goes on: without a redrive that fails as well."""
    if title == "Recover member":
        assert state["Catch"][0]["Next"] == "Member failed"  # it is told by member, and the set ends red
        return
    for catcher in state["Catch"]:
        if title != "Stop until it is redriven" and len(state["Catch"]) == 1:
            assert catcher["ErrorEquals"] == ["States.ALL"]
        ways_on = _without_redrive(MACHINES[name], catcher["Next"])
        ends = {
            MACHINES[name]["States"][one]["Type"] for one in ways_on if not list(nexts(MACHINES[name]["States"][one]))
        }
        assert "Succeed" not in ends


def _without_redrive(machine: Mapping[str, Any], start: str) -> set[str]:
    found, ahead = set[str](), [start]
    while ahead:
        name = ahead.pop()
        if name in found:
            continue
        found.add(name)
        state = machine["States"][name]
        if name == "Stop until it is redriven":
            ahead.extend(catcher["Next"] for catcher in state["Catch"])
        else:
            ahead.extend(nexts(state))
    return found


@pytest.mark.parametrize(("name", "title", "state"), of_type("Fail"))
def test_a_failure_has_an_error_and_a_cause(name: str, title: str, state: Mapping[str, Any]) -> None:
    assert re.fullmatch(r"[A-Z][A-Za-z]+", state["Error"])
    assert state["Cause"]


@pytest.mark.parametrize(
    "title",
    ["Start restore", "Check restore", "Verify volume", "Inspect content", "Start deep check", "Follow deep check"],
)
def test_once_a_rehearsal_may_have_made_something_an_error_leads_to_its_removal(title: str) -> None:
    (catcher,) = MACHINES["rehearse"]["States"][title]["Catch"]
    assert "Remove what was restored" in reachable(MACHINES["rehearse"], catcher["Next"])


def test_a_state_that_fails_in_a_recovery_is_one_that_a_redrive_goes_on_in() -> None:
    machine = MACHINES["recover"]
    ways = {choice["Next"] for choice in machine["States"]["Go on where it stopped"]["Choices"]}
    noted = {
        catcher["Assign"]["go_on_in"]
        for _, state in states_of(machine)
        for catcher in state.get("Catch", ())
        if "go_on_in" in catcher.get("Assign", {})
    }
    assert noted == ways
    assert all(machine["States"][name]["Type"] == "Task" for name in ways)


def test_only_a_member_that_is_pending_is_begun() -> None:
    """JSONata would make one object of a list of one; the Map state takes lists only."""
    items = MACHINES["recover_set"]["States"]["Recover group"]["Items"]
    assert items.startswith("{% [")
    assert "state = 'pending'" in items


def round_events(state: Mapping[str, Any]) -> int:
    """The events of one look in a loop, when every retry that is allowed is used: a wait, a task, a choice."""
    retries = sum(retrier["MaxAttempts"] for retrier in state["Retry"])
    return WAITED_EVENTS + TASK_EVENTS + CHOICE_EVENTS + retries * RETRY_EVENTS


@pytest.mark.parametrize(("name", "most_looks"), [("recover", 300), ("swap_names", 130)])
def test_the_longest_history_of_a_workflow_that_waits_stays_below_the_limit(name: str, most_looks: int) -> None:
    """F17: as many looks as its loops allow between two stops, each tried again as often as it may be, and every other
    state once."""
    states = MACHINES[name]["States"]
    allowed = [int(looks) for looks in re.findall(r"\$polls (?:<|>=) (\d+)", json.dumps(states))]
    assert max(allowed) == most_looks
    tasks = [round_events(state) for state in states.values() if state["Type"] == "Task"]
    assert most_looks * max(tasks) + sum(tasks) < MOST_EVENTS


def test_the_longest_history_of_a_rehearsal_stays_below_the_limit() -> None:
    """The waits grow, so its six hours hold so many looks and no more, even when they begin anew for the removal, and
    whatever a deep check takes of them."""
    machine = MACHINES["rehearse"]
    waits = {title: state["Seconds"] for title, state in machine["States"].items() if state["Type"] == "Wait"}
    assert {seconds for title, seconds in waits.items() if "deep check" in title or "turn" in title} == {
        "{% $floor(10 * $power(1.1, $polls)) %}"
    }
    assert {seconds for title, seconds in waits.items() if "deep check" not in title and "turn" not in title} == {
        "{% $floor(5 * $power(1.04, $max([0, $polls - 25]))) %}"
    }

    def looks_within(seconds: float, wait: Callable[[int], float]) -> int:
        growing = accumulate(int(wait(before)) for before in count())
        return sum(1 for _ in takewhile(lambda waited: waited < seconds, growing))

    looks = max(
        looks_within(deep, lambda before: 10 * 1.1**before)
        + 2 * looks_within((machine["TimeoutSeconds"] - deep) / 2, lambda before: 5 * 1.04 ** max(0, before - 25))
        for deep in range(0, int(LONGEST.total_seconds()) + 1, 600)
    )
    tasks = [round_events(state) for state in machine["States"].values() if state["Type"] == "Task"]
    assert looks * max(tasks) + sum(tasks) < MOST_EVENTS


def test_no_state_asks_for_heartbeats_that_nobody_sends() -> None:
    """Every task answers within its function's time, or waits for a person: its TimeoutSeconds is the whole bound."""
    assert "HeartbeatSeconds" not in json.dumps(MACHINES)
