"""The workflow walked with scripted handlers: every expression is evaluated, every way to an end is gone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jsonata import Jsonata
from jsonata.utils import Utils

ROOT = Path(__file__).parents[2]
DEFINITION = json.loads((ROOT / "infra" / "workflows" / "rehearse.asl.json").read_text(encoding="utf-8"))

Handler = Callable[[dict[str, Any]], dict[str, Any]]


class HandlerError(Exception):
    """An error as Lambda reports it: its name, and a text."""

    def __init__(self, name: str, cause: str = "") -> None:
        super().__init__(name)
        self.name = name
        self.cause = cause


@dataclass
class Walk:
    """One execution. `answers` are the handlers by function; a list is answered one by one, the last for ever."""

    answers: Mapping[str, Handler | list[Handler]]
    visited: list[str] = field(default_factory=list[str])
    sent: dict[str, list[dict[str, Any]]] = field(default_factory=dict[str, list[dict[str, Any]]])
    variables: dict[str, Any] = field(default_factory=dict[str, Any])
    error: str = ""
    cause: str = ""

    def run(self, given: Mapping[str, Any]) -> str:
        """The state in which the execution ended."""
        name, data = DEFINITION["StartAt"], dict(given)
        while True:
            self.visited.append(name)
            assert len(self.visited) < 200, "the walk does not end"
            state = DEFINITION["States"][name]
            match state["Type"]:
                case "Succeed":
                    return name
                case "Fail":
                    self.error, self.cause = state["Error"], self._value(state["Cause"], {"input": data})
                    return name
                case "Wait":
                    name = state["Next"]
                case "Choice":
                    name = next(
                        (way["Next"] for way in state["Choices"] if self._value(way["Condition"], {"input": data})),
                        state["Default"],
                    )
                case "Task":
                    name, data = self._perform(state, data)

    def _perform(self, state: Mapping[str, Any], data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        arguments = self._value(state["Arguments"], {"input": data})
        function = arguments["FunctionName"].strip("${}")
        self.sent.setdefault(function, []).append(arguments["Payload"])
        answers = self.answers[function]
        try:
            handler = answers if callable(answers) else answers.pop(0) if len(answers) > 1 else answers[0]
            result = {"Payload": json.loads(json.dumps(handler(arguments["Payload"])))}
        except HandlerError as problem:
            (catcher,) = state["Catch"]
            seen = {"input": data, "errorOutput": {"Error": problem.name, "Cause": problem.cause}}
            self.variables |= self._value(catcher["Assign"], seen)
            return catcher["Next"], seen["errorOutput"]
        seen = {"input": data, "result": result}
        assigned = self._value(state["Assign"], seen)
        output = self._value(state["Output"], seen) if "Output" in state else result
        self.variables |= assigned
        return state["Next"], output

    def _value(self, written: Any, states: Mapping[str, Any]) -> Any:
        if isinstance(written, dict):
            return {key: self._value(value, states) for key, value in written.items()}
        if not isinstance(written, str) or not written.startswith("{%"):
            return written
        expression = Jsonata(written.removeprefix("{%").removesuffix("%}").strip())
        expression.assign("states", {**states, "context": {"Execution": {"Name": "run-1"}}})
        for name, value in self.variables.items():
            # The engine takes None for a variable that does not exist; Step Functions has nulls in variables.
            expression.assign(name, Utils.NULL_VALUE if value is None else value)
        return expression.evaluate(None)


def rehearsal(**known: Any) -> dict[str, Any]:
    """A rehearsal as a handler answers it."""
    return {"id": "r1", "slot": {"resource": {"kind": "volume"}}, "readiness": "not yet", "problem": ""} | known


def answering(**known: Any) -> Handler:
    """A handler that answers the rehearsal it was given with this added."""
    return lambda event: {"rehearsal": event["rehearsal"] | known}


def choosing(**answer: Any) -> Handler:
    """A handler that answers this, whatever it was asked."""
    return lambda _event: answer


def raising(name: str, cause: str = "") -> Handler:
    def raise_it(event: dict[str, Any]) -> dict[str, Any]:
        raise HandlerError(name, cause)

    return raise_it


def scripted(kind: str = "volume", **other: Handler | list[Handler]) -> Walk:
    """A walk on which everything goes well but for what is said otherwise."""
    chosen = rehearsal(slot={"resource": {"kind": kind}})
    fit = {"fitness": "fit", "reason": "2 of 2 checks held"}
    well: dict[str, Handler | list[Handler]] = {
        "ChooseRehearsal": choosing(rehearsal=chosen),
        "StartRestore": answering(),
        "CheckRestore": answering(readiness="ready"),
        "VerifyVolume": answering(evidence=fit),
        "VerifyDatabase": answering(evidence=fit),
        "RecordRehearsal": answering(),
        "RemoveRestore": answering(is_removed=True),
    }
    return Walk(answers=well | other)


def test_a_point_that_restores_passes() -> None:
    walk = scripted()
    assert walk.run({}) == "Rehearsal passed"
    assert list(walk.sent) == [
        "ChooseRehearsal",
        "StartRestore",
        "CheckRestore",
        "VerifyVolume",
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


@pytest.mark.parametrize("fitness", ["unfit", "undecided"])
def test_content_that_was_not_proven_fails_the_rehearsal_after_it_is_recorded_and_removed(fitness: str) -> None:
    evidence = {"fitness": fitness, "reason": "block 7 differs"}
    walk = scripted(VerifyVolume=answering(evidence=evidence))
    assert walk.run({}) == "Rehearsal failed"
    assert (walk.error, walk.cause) == ("RehearsalFailed", f"The restored content is {fitness}: block 7 differs")
    assert walk.visited[-5:-1] == [
        "Record rehearsal",
        "Remove restore",
        "Is everything removed?",
        "Did the rehearsal pass?",
    ]


def test_without_evidence_no_rehearsal_passes() -> None:
    assert scripted(VerifyVolume=answering()).run({}) == "Rehearsal failed"


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
