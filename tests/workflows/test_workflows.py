from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from functions.core import errors
from infra import functions

ROOT = Path(__file__).parents[2]
DEFINITION = json.loads((ROOT / "infra" / "workflows" / "rehearse.asl.json").read_text(encoding="utf-8"))
STATES: Mapping[str, Mapping[str, Any]] = DEFINITION["States"]

LAMBDA_SERVICE = {
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
}

OF_CLAIMS = {"ClaimedElsewhere"}
"""Raised by readers of queues, which share slots; an execution shares its rehearsal with nobody."""


def of_type(type: str) -> list[str]:
    return [name for name, state in STATES.items() if state["Type"] == type]


def nexts(state: Mapping[str, Any]) -> Iterator[str]:
    yield from (state[key] for key in ("Next", "Default") if key in state)
    yield from (branch["Next"] for key in ("Choices", "Catch") for branch in state.get(key, ()))


def reachable(start: str) -> set[str]:
    found, ahead = set[str](), [start]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead.extend(nexts(STATES[name]))
    return found


def test_every_state_can_be_reached_and_every_next_exists() -> None:
    assert reachable(DEFINITION["StartAt"]) == set(STATES)


def test_the_machine_is_jsonata_and_ends_after_six_hours() -> None:
    assert DEFINITION["QueryLanguage"] == "JSONata"
    assert DEFINITION["TimeoutSeconds"] == 6 * 3600
    assert "HeartbeatSeconds" not in json.dumps(DEFINITION)


@pytest.mark.parametrize("name", STATES)
def test_a_state_is_named_and_explained(name: str) -> None:
    assert len(name) <= 80
    assert name[0].isupper()
    assert not name.endswith(".")
    assert len(STATES[name]["Comment"]) > 15


@pytest.mark.parametrize("name", of_type("Choice"))
def test_a_choice_asks_and_has_an_answer_for_everything_else(name: str) -> None:
    assert name.endswith("?")
    assert STATES[name]["Default"] in STATES


@pytest.mark.parametrize("name", of_type("Task"))
def test_a_task_names_the_handler_it_invokes(name: str) -> None:
    verb = _verb(STATES[name])
    assert verb in {spec.verb for spec in functions.AT_RECOVERY}
    assert (ROOT / "functions" / "handlers" / f"{verb}.py").is_file()


@pytest.mark.parametrize("name", of_type("Task"))
def test_a_task_waits_longer_than_its_function_may_run(name: str) -> None:
    (spec,) = (spec for spec in functions.AT_RECOVERY if spec.verb == _verb(STATES[name]))
    assert spec.timeout_seconds < STATES[name]["TimeoutSeconds"] <= spec.timeout_seconds + 60


@pytest.mark.parametrize("name", of_type("Task"))
def test_a_task_is_tried_again_for_every_error_that_passes_and_for_no_other(name: str) -> None:
    passing = {it.__name__ for _, it in inspect.getmembers(errors, inspect.isclass) if errors.TryAgain in it.__bases__}
    retried = {error for retrier in STATES[name]["Retry"] for error in retrier["ErrorEquals"]}
    assert retried == passing - OF_CLAIMS | LAMBDA_SERVICE
    for retrier in STATES[name]["Retry"]:
        assert retrier["JitterStrategy"] == "FULL"
        assert retrier["MaxAttempts"] >= 3


@pytest.mark.parametrize("name", of_type("Task"))
def test_a_caught_error_ends_red_whatever_happens_then(name: str) -> None:
    (catcher,) = STATES[name]["Catch"]
    assert catcher["ErrorEquals"] == ["States.ALL"]
    assert not reachable(catcher["Next"]) & set(of_type("Succeed"))


@pytest.mark.parametrize("name", [name for name in of_type("Task") if "rest" in name or "Verify" in name])
def test_once_something_may_be_restored_an_error_leads_to_its_removal(name: str) -> None:
    (catcher,) = STATES[name]["Catch"]
    is_the_last_removal = name == "Remove what was restored"
    assert is_the_last_removal or "Remove what was restored" in reachable(catcher["Next"])


@pytest.mark.parametrize("name", of_type("Fail"))
def test_a_failure_has_an_error_and_a_cause(name: str) -> None:
    assert re.fullmatch(r"[A-Z][A-Za-z]+", STATES[name]["Error"])
    assert STATES[name]["Cause"]


@pytest.mark.parametrize("name", of_type("Wait"))
def test_a_wait_is_short_and_its_loop_can_end(name: str) -> None:
    assert STATES[name]["Seconds"] == 15
    assert set(of_type("Fail")) & reachable(name)


def test_a_loop_as_long_as_the_machine_fits_into_the_history() -> None:
    events_in_a_round = 2 + 5 + 2  # wait, task, choice
    assert DEFINITION["TimeoutSeconds"] / 15 * events_in_a_round < 25_000


def _verb(task: Mapping[str, Any]) -> str:
    assert task["Resource"] == "arn:aws:states:::lambda:invoke"
    (name,) = re.findall(r"^\$\{(\w+)\}$", task["Arguments"]["FunctionName"])
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
