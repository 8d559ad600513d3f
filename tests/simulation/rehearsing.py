"""The workflow of a rehearsal, state by state as infra/workflows/rehearse.asl.json has them."""

from __future__ import annotations

from typing import Any

from tests.simulation import faults
from tests.simulation.world import World

TRIES_AFTER_DEATH = 3
TRIES_WHILE_BUSY = 8
BUSY = frozenset({"AwsBusy", "TooManyInFlight", "ResourceBusy", "OutcomeUnknown"})
POLL_SECONDS = 60
"""The workflow asks every five seconds at first; a history needs fewer."""


class Execution:
    """One execution. At each state it may be stopped for good, as by a person or by the end of its Region."""

    def __init__(self, world: World, region: str, name: str) -> None:
        self._world = world
        self._region = region
        self._name = name
        self.rehearsal: dict[str, Any] | None = None
        self.ended = ""

    def start(self) -> None:
        """It begins with the choice of the point."""
        self._do("choose_rehearsal", {"input": {}, "execution": self._name}, self._chosen, self._broke)

    def _chosen(self, answer: Any) -> None:
        self.rehearsal = answer["rehearsal"]
        if self.rehearsal is None:
            self.ended = "nothing to rehearse"
            return
        self._step("start_restore", self._wait)

    def _wait(self) -> None:
        self._world.after("check restore", lambda: self._step("check_restore", self._checked), seconds=POLL_SECONDS)

    def _checked(self) -> None:
        assert self.rehearsal is not None
        match self.rehearsal["readiness"]:
            case "ready":
                self._step("verify_volume", lambda: self._step("inspect_content", self._record))
            case "not yet":
                self._wait()
            case _:
                self._record()

    def _record(self) -> None:
        self._step("record_rehearsal", self._remove)

    def _remove(self) -> None:
        self._step("remove_restore", self._removed)

    def _removed(self) -> None:
        assert self.rehearsal is not None
        if self.rehearsal["is_removed"]:
            self.ended = self.rehearsal["evidence"]["fitness"]
        else:
            self._world.after("remove restore", self._remove, seconds=POLL_SECONDS)

    def _broke(self, problem: str) -> None:
        self.ended = f"broke: {problem}"

    def _failed(self, state: str, problem: str) -> None:
        """What the states catch: before the record the failure is recorded, after it the execution breaks."""
        assert self.rehearsal is not None
        if state in ("record_rehearsal", "remove_restore"):
            self._broke(problem)
            return
        self.rehearsal = {**self.rehearsal, "problem": problem}
        self._record()

    def _step(self, state: str, following: Any) -> None:
        def answered(answer: Any) -> None:
            self.rehearsal = answer["rehearsal"]
            following()

        self._do(state, {"rehearsal": self.rehearsal}, answered, lambda problem: self._failed(state, problem))

    def _do(self, state: str, event: Any, answered: Any, caught: Any, deaths: int = 0, refusals: int = 0) -> None:
        if self._world.choices.at(f"state {state}", (faults.STOPPED,)):
            self.ended = "stopped"
            return
        outcome = self._world.invoke(state, event, self._region)
        if outcome.is_done:
            answered(outcome.answer)
            return
        if outcome.died:
            if deaths == TRIES_AFTER_DEATH:
                caught("Lambda.Unknown: the function ended")
                return
            deaths += 1
        else:
            name = type(outcome.error).__name__
            if name not in BUSY or refusals == TRIES_WHILE_BUSY:
                caught(f"{name}: {outcome.error}")
                return
            refusals += 1
        self._world.after(
            state,
            lambda: self._do(state, event, answered, caught, deaths, refusals),
            seconds=10 * 2 ** min(refusals, 5),
        )
