"""How a sink or a source is tried with every string of the corpus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from functions.core.errors import HoldfastError
from tests.hostile import oracles
from tests.hostile.corpus import CLASSES, STRINGS

PLACEHOLDER = "harmless-string"


def unharmed(check: Callable[[str], str], chosen: Sequence[tuple[str, str]] = STRINGS) -> None:
    """No string of the corpus does harm by this check; a string that does is named with its class."""
    harmed = [f"{name} {text[:60]!a}: {harm}" for name, text in chosen if (harm := check(text))]
    assert harmed == []


SOME = [(one.name, text) for one in CLASSES for text in one.strings[::4] if "&Action=" not in text]
"""A fourth of each class: every one of them is a walk through the ledger."""

MODERATE = [(name, text) for name, text in STRINGS if len(text) <= 5_000]
"""Those that are not huge: what is huge takes a second in some libraries, and proves nothing more there."""


def refused(attempt: Callable[[], Any], *, most_lines: int = 1) -> tuple[str, Any]:
    """What is wrong with the refusal, or what was taken; any error but ours is the test's own failure."""
    try:
        return "", attempt()
    except HoldfastError as problem:
        return oracles.in_error(problem.what, problem.hint, most_lines=most_lines) or "refused", None


def of_refusal(attempt: Callable[[], Any], text: str, *, allowed: str = "(?!)", most_lines: int = 1) -> str:
    """What is wrong with an attempt that must be refused, unless the text is of the form that is allowed there."""
    harm, taken = refused(attempt, most_lines=most_lines)
    if taken is None:
        return "" if harm == "refused" else harm
    return oracles.as_value(text, text, allowed=allowed)


class Sent:
    """Clients that send nothing and remember what they would have sent."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def retrying(self, service: str, region: str) -> Any:
        return self

    once = retrying

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**parameters: Any) -> dict[str, Any]:
            self.calls.append((operation, parameters))
            return {"FailedEntryCount": 0, "Failed": [], "Entries": []}

        return call

    def last(self) -> dict[str, Any]:
        return self.calls.pop()[1]
