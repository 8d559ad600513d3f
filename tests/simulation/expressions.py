"""The expressions of DynamoDB that the ledger writes, exactly, and no others: anything unknown raises.

An expression is compiled once and kept, because the ledger writes the same few hundred over and over. `Names` stand
for attribute names and `Values` for typed values such as {"S": "OWED"}; both are given with each request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

Item = dict[str, Any]
Names = Mapping[str, str]
Values = Mapping[str, Any]
Test = Callable[[Item, Names, Values], bool]
Change = Callable[[Item, Item, Names, Values], None]
Operand = Callable[[Item, Names, Values], Any]

TOKEN = re.compile(r"\s*(#\w+|:\w+|<=|>=|<>|[=<>(),]|\w+)")
COMPARED: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


class NotUnderstood(BaseException):
    """The simulation does not know this; it must not be guessed, so no handler may catch it."""


class Invalid(Exception):
    """DynamoDB would answer with a ValidationException."""


@dataclass(frozen=True, slots=True)
class KeyCondition:
    """Of a Query: the partition, and how the sort key compares; `compared` is begins_with, a sign, or empty."""

    partition: str
    compared: str = ""
    sort: str = ""

    def lets_through(self, sort_key: str) -> bool:
        """Whether an item with this sort key is asked for."""
        if self.compared == "begins_with":
            return sort_key.startswith(self.sort)
        return not self.compared or COMPARED[self.compared](sort_key, self.sort)


@cache
def condition(written: str) -> Test:
    """The test that a condition expression stands for."""
    tokens = _Tokens(written)
    test = _any(tokens)
    tokens.must_be_over()
    return test


@cache
def update(written: str) -> Change:
    """The change that an update expression stands for: from the item before to the item after."""
    tokens = _Tokens(written)
    changes: list[Change] = []
    while not tokens.is_over:
        clause = tokens.take()
        one = {"SET": _set, "REMOVE": _remove, "ADD": _add}.get(clause)
        if one is None:
            raise NotUnderstood(f"{clause!r} in the update {written!r}")
        changes.append(one(tokens))
        while tokens.next == ",":
            tokens.take()
            changes.append(one(tokens))

    def change(before: Item, after: Item, names: Names, values: Values) -> None:
        for one in changes:
            one(before, after, names, values)

    return change


def key_condition(written: str, values: Values) -> KeyCondition:
    """What a key condition asks for."""
    partition, compared, sort = _key_form(written)
    if not compared:
        return KeyCondition(values[partition]["S"])
    return KeyCondition(values[partition]["S"], compared, values[sort]["S"])


@cache
def _key_form(written: str) -> tuple[str, str, str]:
    """The placeholder of the partition's value, the comparison of the sort key, and the placeholder of its value."""
    whole = re.fullmatch(
        r"\(?#\w+ = (:\w+)(?: AND (?:begins_with \(#\w+, (:\w+)\)|#\w+ (<=|>=|<|>|=) (:\w+))\))?", written
    )
    if whole is None:
        raise NotUnderstood(f"key condition {written!r}")
    partition, beginning, compared, sort = whole.groups()
    return (partition, "begins_with", beginning) if beginning else (partition, compared or "", sort or "")


class _Tokens:
    def __init__(self, written: str) -> None:
        self._written = written
        self._tokens: list[str] = []
        position = 0
        while position < len(written.rstrip()):
            found = TOKEN.match(written, position)
            if found is None:
                raise NotUnderstood(f"{written[position:]!r} in {written!r}")
            self._tokens.append(found[1])
            position = found.end()
        self._at = 0

    @property
    def next(self) -> str | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    @property
    def is_over(self) -> bool:
        return self.next is None

    def take(self, *wanted: str) -> str:
        token = self.next
        if token is None or (wanted and token not in wanted):
            raise NotUnderstood(f"{token!r} instead of {' or '.join(wanted)} in {self._written!r}")
        self._at += 1
        return token

    def must_be_over(self) -> None:
        if not self.is_over:
            raise NotUnderstood(f"{self.next!r} after the end of {self._written!r}")


def _any(tokens: _Tokens) -> Test:
    tests = [_all(tokens)]
    while tokens.next == "OR":
        tokens.take()
        tests.append(_all(tokens))
    if len(tests) == 1:
        return tests[0]
    return lambda item, names, values: any(test(item, names, values) for test in tests)


def _all(tokens: _Tokens) -> Test:
    tests = [_one(tokens)]
    while tokens.next == "AND":
        tokens.take()
        tests.append(_one(tokens))
    if len(tests) == 1:
        return tests[0]
    return lambda item, names, values: all(test(item, names, values) for test in tests)


def _one(tokens: _Tokens) -> Test:
    token = tokens.take()
    if token == "(":
        test = _any(tokens)
        tokens.take(")")
        return test
    if token in ("attribute_exists", "attribute_not_exists"):
        tokens.take("(")
        name = tokens.take()
        tokens.take(")")
        wanted = token == "attribute_exists"
        return lambda item, names, _: (names[name] in item) is wanted
    if not token.startswith("#"):
        raise NotUnderstood(f"{token!r} at the beginning of a condition")
    compared, value = COMPARED[tokens.take(*COMPARED)], tokens.take()
    if not value.startswith(":"):
        raise NotUnderstood(f"{value!r} is compared with")

    def compare(item: Item, names: Names, values: Values) -> bool:
        held = item.get(names[token])
        if held is None:
            return compared is COMPARED["<>"]  # what is not there differs from everything, and compares to nothing
        return _typed_compare(held, values[value], compared)

    return compare


def _typed_compare(held: Any, wanted: Any, compared: Callable[[Any, Any], bool]) -> bool:
    [(held_type, a)], [(wanted_type, b)] = held.items(), wanted.items()
    if held_type != wanted_type:
        return compared is COMPARED["<>"]
    if held_type == "N":
        return compared(Decimal(a), Decimal(b))
    if held_type != "S":
        raise NotUnderstood(f"a comparison of type {held_type}")
    return compared(a, b)


def _set(tokens: _Tokens) -> Change:
    name = tokens.take()
    tokens.take("=")
    value = _operand(tokens)

    def change(before: Item, after: Item, names: Names, values: Values) -> None:
        after[names[name]] = value(before, names, values)

    return change


def _operand(tokens: _Tokens) -> Operand:
    token = tokens.take()
    if token.startswith(":"):
        return lambda _item, _names, values: values[token]
    if token.startswith("#"):

        def held(item: Item, names: Names, values: Values) -> Any:
            if names[token] not in item:
                raise Invalid("The provided expression refers to an attribute that does not exist in the item")
            return item[names[token]]

        return held
    if token != "list_append":
        raise NotUnderstood(f"{token!r} as an operand")
    tokens.take("(")
    first = _operand(tokens)
    tokens.take(",")
    second = _operand(tokens)
    tokens.take(")")

    def joined(item: Item, names: Names, values: Values) -> Any:
        a, b = first(item, names, values), second(item, names, values)
        if set(a) != {"L"} or set(b) != {"L"}:
            raise Invalid("An operand in the update expression has an incorrect data type")
        return {"L": [*a["L"], *b["L"]]}

    return joined


def _remove(tokens: _Tokens) -> Change:
    name = tokens.take()

    def change(before: Item, after: Item, names: Names, values: Values) -> None:
        after.pop(names[name], None)

    return change


def _add(tokens: _Tokens) -> Change:
    name, value = tokens.take(), tokens.take()

    def change(before: Item, after: Item, names: Names, values: Values) -> None:
        held, more = before.get(names[name], {"N": "0"}), values[value]
        if set(held) != {"N"} or set(more) != {"N"}:
            raise Invalid("An operand in the update expression has an incorrect data type")
        after[names[name]] = {"N": str(Decimal(held["N"]) + Decimal(more["N"]))}

    return change
