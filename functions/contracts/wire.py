"""Between our own functions: core's dataclasses as JSON, written and read by one pair of functions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from functions.core.errors import BadMessage
from functions.core.plain_text import one_line

Fact = TypeVar("Fact")


def dump(fact: object) -> str:
    """The fact as JSON text; `load` gives it back."""
    return _adapter(type(fact)).dump_json(fact).decode()


def plain(fact: object) -> Any:
    """The fact as plain dicts, lists, numbers and strings, for a log line, a state or an event."""
    return _adapter(type(fact)).dump_python(fact, mode="json")


def load(shape: type[Fact], written: str | bytes) -> Fact:
    """The fact that JSON text says.

    Errors: BadMessage with the path of every problem.
    """
    try:
        return _adapter(shape).validate_json(written)
    except ValidationError as problem:
        raise _bad(shape, problem) from problem


def read(shape: type[Fact], value: object) -> Fact:
    """The fact that plain data says.

    Errors: BadMessage with the path of every problem.
    """
    try:
        return _adapter(shape).validate_python(value)
    except ValidationError as problem:
        raise _bad(shape, problem) from problem


def given(event: Mapping[str, Any], name: str = "input") -> Mapping[str, Any]:
    """What a person wrote under this name; empty when nothing.

    Errors: BadMessage when it is there and no object.
    """
    value: object = event.get(name) or dict[str, Any]()
    if not isinstance(value, Mapping):
        raise BadMessage(f"{name} is no object", hint='Write an object, for example {"resource": "..."}, or nothing.')
    return cast(Mapping[str, Any], value)


@cache
def _adapter(shape: type[Fact]) -> TypeAdapter[Fact]:
    return TypeAdapter(shape)


def _bad(shape: type[object], problem: ValidationError) -> BadMessage:
    said = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'message'}: {e['msg']}" for e in problem.errors())
    return BadMessage(
        f"not a {shape.__name__}: {one_line(said, longest=600)}",
        hint="events/ has an example of every message; what sent this one is another version of the code, or not ours.",
    )
