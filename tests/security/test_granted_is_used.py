"""Granted is used, and used is granted: what the calls declare against what the suites were seen to issue.

`make units` runs this file last and by itself, when every other suite has left its record; see recording.py. A role
holds what the verbs of its handler declare (`infra/functions.py`), which other tests hold against the templates.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from functions.aws.permissions import Permission
from infra import functions
from infra.functions import Spec
from infra.parts.function import READ, WRITE
from tests.security import recording
from tests.security.recording import FOLDER, Issued

ROOT = Path(__file__).parents[2]
SPECS = tuple(spec for spec in vars(functions).values() if isinstance(spec, Spec))
NOT_CALLED = "not called:"
"""How the reason of a permission begins that AWS asks for without our calling it."""

AFTERWARDS = ("called after a refusal only", "called after a loss only")
"""How the reason of one begins that is called when something went wrong; `functions.aws.absence` says when."""

SPOKEN_AS: Mapping[str, tuple[str, ...]] = {
    "compare": ("checksum", "compare", "indexes"),
    "leftovers": ("_described", "_snapshots", "_clusters", "_instances"),
    "ours": ("_described", "_lines", "ours"),
    "read": ("content", "read", "indexes", "_page"),
}
"""Verbs whose calls are made by functions of other names, when what they answered is read."""

IN_PROCESSES_OF_THEIR_OWN = {"functions.aws.executions", "functions.aws.health"}
"""Their calls are issued by deployed functions on the embedded AWS, which lets a role do what it is given only."""


@pytest.fixture(scope="module")
def issued() -> frozenset[Issued]:
    folder = os.environ.get(FOLDER)
    if not folder or not list(Path(folder).glob("*.json")):
        pytest.skip(f"nothing is recorded: `make units` names a folder in {FOLDER} and runs the other suites first")
    return recording.read(Path(folder))


@cache
def declared() -> tuple[tuple[str, str, Permission], ...]:
    """Module, verb and permission, of every module of `functions.aws` that declares some."""
    found: list[tuple[str, str, Permission]] = []
    for file in sorted((ROOT / "functions" / "aws").rglob("*.py")):
        name = file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        by_verb = getattr(import_module(name), "PERMISSIONS", {})
        if name != "functions.aws.kinds" and isinstance(by_verb, Mapping):  # kinds lists what its adapters declare
            found += [(name, verb, permission) for verb, permission in _by_verb(by_verb)]
    return tuple(found)


def _by_verb(declared: Mapping[Any, Any]) -> Iterator[tuple[str, Permission]]:
    """Verb and permission; some modules declare by family first."""
    for verb, some in declared.items():
        if isinstance(some, Mapping):
            yield from _by_verb(some)
        else:
            yield from ((verb, permission) for permission in some)


def names_of(verb: str) -> tuple[str, ...]:
    return SPOKEN_AS.get(verb, (verb,))


def test_what_a_verb_declares_is_issued_by_it_or_says_why_not(issued: frozenset[Issued]) -> None:
    """F90, invariant 21."""
    spoken = {(one.action, function) for one in issued for module, function in one.through if module.startswith("aws.")}
    unused = {
        f"{module}: {verb} declares {action}"
        for module, verb, permission in declared()
        if not permission.why.startswith((NOT_CALLED, *AFTERWARDS)) and module not in IN_PROCESSES_OF_THEIR_OWN
        for action in permission.actions
        if not any((action, name) in spoken for name in names_of(verb))
    }
    assert unused == set(), f"grant less, or say why beside the call, beginning with {NOT_CALLED!r}"


def test_what_is_issued_through_a_module_is_declared_by_some_verb(issued: frozenset[Issued]) -> None:
    known = {action for _, _, permission in declared() for action in permission.actions}
    undeclared = {
        f"{one.action} by {'.'.join(one.through[-1])}"
        for one in issued
        if one.through[-1][0].startswith("aws.") and one.action not in known
    }
    assert undeclared == set()


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.verb)
def test_what_a_role_is_given_is_for_a_verb_that_its_handler_speaks(spec: Spec) -> None:
    """F90, invariant 21."""
    spoken = words_of(f"functions.handlers.{spec.verb}")
    for permission in spec.permissions:
        verbs = {verb for _, verb, one in declared() if one == permission}
        names = {name for verb in verbs for name in (verb, *names_of(verb))}
        assert names & spoken, f"{spec.verb} is given {permission.actions} for {sorted(verbs)}, and speaks none of them"


@cache
def words_of(module: str) -> frozenset[str]:
    """Every name that a handler's module uses, and the modules beside it that it imports."""
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    words = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    words |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("functions."):
            for alias in node.names:
                for name in (node.module, f"{node.module}.{alias.name}"):
                    beside = name.startswith(("functions.handlers.", "functions.aws."))
                    if beside and name != module and ROOT.joinpath(*name.split(".")).with_suffix(".py").is_file():
                        words |= words_of(name) if name.startswith("functions.handlers.") else set()
    return frozenset(words)


def test_every_right_on_the_ledger_is_used(issued: frozenset[Issued]) -> None:
    used = {one.action for one in issued if one.action.startswith("dynamodb:")}
    assert used == {*READ, *WRITE}, "no role is given what the ledger never asks for, or the other way round"


def test_whoever_writes_the_ledger_may_and_whoever_may_does(issued: frozenset[Issued]) -> None:
    from infra.stacks.recovery import READERS, WRITERS

    wrote = {one.handler for one in issued if one.action in WRITE and one.handler}
    readers = {spec.verb for spec in READERS}
    assert wrote & readers == set(), "a reader of the ledger writes it"
    assert {spec.verb for spec in WRITERS} <= wrote, "a writer of the ledger never writes it"
