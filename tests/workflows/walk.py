"""A workflow walked with scripted handlers: every expression is evaluated, every way to an end can be gone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jsonata import Jsonata
from jsonata.utils import Utils

WORKFLOWS = Path(__file__).parents[2] / "infra" / "workflows"

Handler = Callable[[dict[str, Any]], Any]


def definition(name: str) -> dict[str, Any]:
    """The definition in workflows/<name>.asl.json."""
    return json.loads((WORKFLOWS / f"{name}.asl.json").read_text(encoding="utf-8"))


class HandlerError(Exception):
    """An error as Lambda reports it: its name, and a text."""

    def __init__(self, name: str, cause: str = "") -> None:
        super().__init__(name)
        self.name = name
        self.cause = cause


class Uncaught(Exception):
    """The execution failed in this state, which caught nothing: this is what a redrive goes on from."""

    def __init__(self, state: str, problem: HandlerError) -> None:
        super().__init__(f"{state}: {problem.name}")
        self.state = state
        self.problem = problem


@dataclass
class Walk:
    """One execution. `answers` are the handlers by function; a list is answered one by one, the last for ever."""

    workflow: str
    answers: Mapping[str, Handler | list[Handler]]
    visited: list[str] = field(default_factory=list[str])
    sent: dict[str, list[dict[str, Any]]] = field(default_factory=dict[str, list[dict[str, Any]]])
    variables: dict[str, Any] = field(default_factory=dict[str, Any])
    waited: list[float] = field(default_factory=list[float])
    waited_in: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    redrives: int = 0
    error: str = ""
    cause: str = ""
    output: Any = None

    def __post_init__(self) -> None:
        self.definition = definition(self.workflow)
        self.stopped_in = ""
        self._given: Any = None

    def run(self, given: Mapping[str, Any]) -> str:
        """The state in which the execution ended. Errors: Uncaught."""
        self._given = dict(given)
        return self._go(self.definition, self.definition["StartAt"], dict(given))[0]

    def redrive(self) -> str:
        """The state in which the execution ended after a redrive: it goes on in the state that failed uncaught, with
        what that state was given and the variables as they were."""
        assert self.stopped_in, "an execution that ended in a Fail state is redriven into that state"
        self.redrives += 1
        return self.begin_in(self.stopped_in)

    def begin_in(self, state: str) -> str:
        """The state in which the execution ends that is begun again in a state, as after being stopped there."""
        return self._go(self.definition, state, dict(self._given))[0]

    def _go(self, machine: Mapping[str, Any], name: str, data: Any) -> tuple[str, Any]:
        while True:
            self.visited.append(name)
            assert len(self.visited) < 2000, "the walk does not end"
            state = machine["States"][name]
            seen = {"input": data}
            match state["Type"]:
                case "Succeed":
                    self.output = self._value(state["Output"], seen) if "Output" in state else data
                    return name, self.output
                case "Fail":
                    self.error, self.cause = state["Error"], self._value(state["Cause"], seen)
                    return name, None
                case "Wait":
                    seconds = self._value(state["Seconds"], seen)
                    self.waited.append(seconds)
                    self.waited_in.setdefault(name, []).append(seconds)
                    name = state["Next"]
                case "Pass":
                    self.variables |= self._value(state.get("Assign", {}), seen)
                    if state.get("End"):
                        return name, data
                    name = state["Next"]
                case "Choice":
                    ways = (way["Next"] for way in state["Choices"] if self._value(way["Condition"], seen))
                    name = next(ways, state["Default"])
                case "Map":
                    name, data = self._map(state, data)
                case "Task":
                    next_name, data = self._perform(name, state, data)
                    if next_name is None:
                        return name, data
                    name = next_name

    def _map(self, state: Mapping[str, Any], data: Any) -> tuple[str, Any]:
        processor = state["ItemProcessor"]
        items = self._value(state["Items"], {"input": data})
        assert isinstance(items, list)
        results = [self._go(processor, processor["StartAt"], item)[1] for item in items]
        self.variables |= self._value(state["Assign"], {"input": data, "result": results})
        return state["Next"], results

    def _perform(self, name: str, state: Mapping[str, Any], data: Any) -> tuple[str | None, Any]:
        arguments = self._value(state["Arguments"], {"input": data})
        called = arguments.get("FunctionName", arguments.get("StateMachineArn")).strip("${}")
        payload = json.loads(json.dumps(arguments.get("Payload", arguments.get("Input"))))
        self._value(state["TimeoutSeconds"], {"input": data})
        self.sent.setdefault(called, []).append(payload)
        answers = self.answers[called]
        try:
            handler = answers if callable(answers) else answers.pop(0) if len(answers) > 1 else answers[0]
            answer = json.loads(json.dumps(handler(payload)))
        except HandlerError as problem:
            return self._caught(name, state, data, problem)
        key = "Output" if "StateMachineArn" in arguments else "Payload"
        result = answer if state["Resource"].endswith("waitForTaskToken") else {key: answer}
        seen = {"input": data, "result": result}
        assigned = self._value(state.get("Assign", {}), seen)
        output = self._value(state["Output"], seen) if "Output" in state else result
        self.variables |= assigned
        return state.get("Next"), output

    def _caught(self, name: str, state: Mapping[str, Any], data: Any, problem: HandlerError) -> tuple[str | None, Any]:
        for catcher in state.get("Catch", ()):
            if {problem.name, "States.ALL"} & set(catcher["ErrorEquals"]):
                seen = {"input": data, "errorOutput": {"Error": problem.name, "Cause": problem.cause}}
                self.variables |= self._value(catcher.get("Assign", {}), seen)
                output = self._value(catcher["Output"], seen) if "Output" in catcher else seen["errorOutput"]
                return catcher["Next"], output
        self.stopped_in = name
        raise Uncaught(name, problem)

    def _value(self, written: Any, states: Mapping[str, Any]) -> Any:
        if isinstance(written, dict):
            return {key: self._value(value, states) for key, value in written.items()}
        if not isinstance(written, str) or not written.startswith("{%"):
            return written
        expression = Jsonata(written.removeprefix("{%").removesuffix("%}").strip())
        context = {"Execution": {"Name": "run-1", "RedriveCount": self.redrives}, "Task": {"Token": "token-1"}}
        expression.assign("states", _with_nulls({**states, "context": context}))
        for name, value in self.variables.items():
            expression.assign(name, _with_nulls(value))
        return _plain(expression.evaluate(None))


def _with_nulls(value: Any) -> Any:
    """The engine takes None for what does not exist; Step Functions has nulls in its data."""
    if isinstance(value, Mapping):
        return {key: _with_nulls(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_with_nulls(one) for one in value]
    return Utils.NULL_VALUE if value is None else value


def _plain(value: Any) -> Any:
    if value is Utils.NULL_VALUE:
        return None
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value


def states_of(machine: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every state of a machine, those inside of its Maps too."""
    for name, state in machine["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from states_of(state["ItemProcessor"])


def choosing(**answer: Any) -> Handler:
    """A handler that answers this, whatever it was asked."""
    return lambda _event: answer


def answering(fact: str, **known: Any) -> Handler:
    """A handler that answers the fact it was given with this added."""
    return lambda event: {fact: event[fact] | known}


def raising(name: str, cause: str = "") -> Handler:
    """A handler that fails under that name."""

    def raise_it(event: dict[str, Any]) -> dict[str, Any]:
        raise HandlerError(name, cause)

    return raise_it
