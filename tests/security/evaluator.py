"""What IAM answers, decided offline: an explicit Deny, else an Allow, else no.

After "Policy evaluation logic" and "IAM JSON policy elements" of the IAM user guide, for policies attached to a role.
What is not known here is an error and never a guess: an operator, an element or a policy variable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

Statement = Mapping[str, Any]
Values = str | tuple[str, ...]

ELEMENTS = {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition", "Principal"}
ARN_PARTS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to IAM: may the caller do this to that, where these condition keys have these values?"""

    action: str
    resource: str
    keys: Mapping[str, Values] = field(default_factory=dict[str, Values])


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer, and the statement that decided it; None when none spoke for it."""

    allowed: bool
    by: Statement | None

    def __str__(self) -> str:
        return f"{'allowed' if self.allowed else 'denied'} by {self.by or 'no statement that allows it'}"


def decide(statements: Iterable[Statement], request: Request) -> Decision:
    """What IAM answers to the request of a role with these statements, from whichever of its policies.

    Errors: ValueError for a statement with anything that this evaluator does not know.
    """
    spoken = [statement for statement in statements if speaks_about(statement, request)]
    for effect in ("Deny", "Allow"):
        for statement in spoken:
            if statement["Effect"] == effect:
                return Decision(allowed=effect == "Allow", by=statement)
    return Decision(allowed=False, by=None)


def speaks_about(statement: Statement, request: Request) -> bool:
    """Whether action, resource and every condition of the statement match the request."""
    unknown = set(statement) - ELEMENTS
    if unknown or statement["Effect"] not in ("Allow", "Deny"):
        raise ValueError(f"this evaluator does not know {unknown or statement['Effect']}; teach it: {statement}")
    conditions = statement.get("Condition", {})
    return (
        _is_among(request.action, statement, "Action", _matches_action)
        and _is_among(request.resource, statement, "Resource", matches_arn)
        and all(
            _is_met(operator, key, wanted, request.keys)
            for operator, keys in conditions.items()
            for key, wanted in keys.items()
        )
    )


def _is_among(asked: str, statement: Statement, element: str, matches: Any) -> bool:
    if element in statement:
        return any(matches(pattern, asked) for pattern in listed(statement[element]))
    if f"Not{element}" in statement:
        return not any(matches(pattern, asked) for pattern in listed(statement[f"Not{element}"]))
    raise ValueError(f"a statement needs {element} or Not{element}: {statement}")


def listed(value: Any) -> list[Any]:
    """IAM writes a list of one as the one."""
    return value if isinstance(value, list) else [value]


# ---------------------------------------------------------------------------- patterns


def matches_text(pattern: str, text: str) -> bool:
    """`*` stands for any characters, `?` for one, `${*}`, `${?}` and `${$}` for themselves."""
    return _compiled(pattern).fullmatch(text) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    wild = {"*": ".*", "?": "."}
    pieces: list[str] = []
    for piece in re.split(r"(\$\{[^}]*\}|\*|\?)", pattern):
        if piece.startswith("${") and piece not in ("${*}", "${?}", "${$}"):
            raise ValueError(f"this evaluator does not know the policy variable {piece}; teach it")
        pieces.append(wild.get(piece) or re.escape(piece[2] if piece.startswith("${") else piece))
    return re.compile("".join(pieces), re.DOTALL)


def matches_arn(pattern: str, arn: str) -> bool:
    """Part by part between the colons, so that a wildcard for a name never reaches into another account or Region.

    `*` alone is everything. The last part is the rest, colons and all.
    """
    if pattern == "*":
        return True
    wanted, parts = pattern.split(":", ARN_PARTS - 1), arn.split(":", ARN_PARTS - 1)
    if len(wanted) < ARN_PARTS:
        raise ValueError(f"{pattern!r} is no ARN and not *; IAM would match it with nothing")
    return len(parts) == ARN_PARTS and all(map(matches_text, wanted, parts))


def _matches_action(pattern: str, action: str) -> bool:
    return matches_text(pattern.lower(), action.lower())


# ---------------------------------------------------------------------------- conditions


def _is_met(operator: str, key: str, wanted: Any, keys: Mapping[str, Values]) -> bool:
    """One operator over one key. Names of keys know no case."""
    quantifier, _, plain = operator.rpartition(":")
    if_exists = plain.endswith("IfExists")
    plain = plain.removesuffix("IfExists")
    found = next((value for name, value in keys.items() if name.lower() == key.lower()), None)
    values = (found,) if isinstance(found, str) else found
    patterns = [str(pattern) for pattern in listed(wanted)]
    if plain == "Null":
        return any(_truth(pattern) is (values is None) for pattern in patterns)
    holds = _operator(plain)
    if quantifier == "ForAllValues":
        return all(holds(value, patterns) for value in values or ())
    if quantifier == "ForAnyValue":
        return any(holds(value, patterns) for value in values or ())
    if quantifier:
        raise ValueError(f"this evaluator does not know the operator {operator}; teach it")
    if values is None:
        return if_exists or "Not" in plain
    if len(values) != 1:
        raise ValueError(f"{key} has several values: the policy must say ForAllValues or ForAnyValue")
    return holds(values[0], patterns)


def _operator(name: str) -> Any:
    """A test of one value against the values of a policy, of which one must match, or none for a Not."""
    plain = name.replace("Not", "")
    if plain not in _TESTS:
        raise ValueError(f"this evaluator does not know the operator {name}; teach it")
    test = _TESTS[plain]
    if plain != name:
        return lambda value, patterns: not any(test(pattern, value) for pattern in patterns)
    return lambda value, patterns: any(test(pattern, value) for pattern in patterns)


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def _literal(text: str) -> str:
    """What an operator without wildcards compares with: only policy variables mean something in it."""
    if re.search(r"\$\{(?![*?$]\})", text):
        raise ValueError(f"this evaluator does not know the policy variable in {text!r}; teach it")
    return re.sub(r"\$\{([*?$])\}", r"\1", text)


_TESTS: Mapping[str, Any] = {
    "StringEquals": lambda pattern, value: _literal(pattern) == value,
    "StringEqualsIgnoreCase": lambda pattern, value: _literal(pattern).lower() == value.lower(),
    "StringLike": matches_text,
    "ArnEquals": matches_arn,
    "ArnLike": matches_arn,
    "Bool": lambda pattern, value: _truth(pattern) is _truth(value),
    "NumericEquals": lambda pattern, value: float(value) == float(pattern),
    "NumericLessThan": lambda pattern, value: float(value) < float(pattern),
    "NumericLessThanEquals": lambda pattern, value: float(value) <= float(pattern),
    "NumericGreaterThan": lambda pattern, value: float(value) > float(pattern),
    "NumericGreaterThanEquals": lambda pattern, value: float(value) >= float(pattern),
}


def all_actions(statements: Iterable[Statement], effect: str = "Allow") -> Iterator[str]:
    """Every action that a statement of that effect names."""
    for statement in statements:
        if statement["Effect"] == effect:
            yield from listed(statement.get("Action", []))
