"""One word for one thing: a verb is the same word as a file, a function, a state, a queue's reader and a test."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
from pathlib import Path

import pytest

from functions.core.coverage import Standing
from functions.core.evidence import Fitness
from functions.core.verdicts import Word
from infra import functions as deployed

ROOT = Path(__file__).parents[2]
HANDLERS = ROOT / "functions" / "handlers"
WORKFLOWS = sorted((ROOT / "infra" / "workflows").glob("*.asl.json"))
SPECS = [value for value in vars(deployed).values() if isinstance(value, deployed.Spec)]
VERBS = sorted(
    path.stem
    for path in HANDLERS.glob("*.py")
    if re.search(r"^handler = ", path.read_text(encoding="utf-8"), re.MULTILINE)
)
STRANGERS = {
    "backup_job": "run",
    "restore_point": "recovery point",
    "replica_snapshot": "copy",
    "drill": "rehearsal",
    "prediction": "verdict",
    "anomaly": "unusual",
    "semaphore": "permit",
}
"""Words that others use for what has a word here."""


def names_in(path: Path) -> set[str]:
    """Every name that a file gives to something: functions, classes, parameters, variables, attributes."""
    given: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            given.add(node.name)
        elif isinstance(node, ast.arg):
            given.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            given.add(node.id)
    return given


def test_every_deployed_function_is_a_verb_and_every_verb_is_deployed() -> None:
    assert sorted(spec.verb for spec in SPECS) == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_the_file_the_function_and_its_name_in_the_log_are_one_word(verb: str) -> None:
    """The frame logs the name of the function; whoever reads it opens the file of that name."""
    module = importlib.import_module(f"functions.handlers.{verb}")
    assert inspect.isfunction(getattr(module, verb))
    assert (module.__doc__ or "").startswith(verb.replace("_", " ").capitalize())


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.verb)
def test_the_id_of_a_function_is_its_verb(spec: deployed.Spec) -> None:
    assert spec.id == "".join(part.capitalize() for part in spec.verb.split("_"))
    assert spec.handler == f"functions.handlers.{spec.verb}.handler"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_function_that_a_workflow_calls_is_a_verb(path: Path) -> None:
    called = set(re.findall(r'"FunctionName": "\$\{(\w+)\}"', path.read_text(encoding="utf-8")))
    assert called <= {spec.id for spec in SPECS}
    assert called


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_state_begins_with_the_word_of_the_verb_it_calls(path: Path) -> None:
    """But for a redrive, which notes the set again, and begins the word it is about."""
    for name, state in json.loads(path.read_text(encoding="utf-8"))["States"].items():
        if state["Type"] == "Task" and name != "Begin again what failed":
            word = re.findall("[A-Z][a-z]+", state["Arguments"]["FunctionName"])[0]
            assert name.startswith(word), f"{name} calls {state['Arguments']['FunctionName']}"


@pytest.mark.parametrize("path", sorted((ROOT / "functions").rglob("*.py")), ids=lambda path: path.stem)
def test_nothing_of_ours_is_named_with_a_word_that_is_not_ours(path: Path) -> None:
    given = names_in(path)
    assert {name: ours for name in given for word, ours in STRANGERS.items() if word in name.lower()} == {}


def test_the_three_answers_are_never_mixed_up() -> None:
    """A verdict is about a run, fitness about a restored thing, standing about a resource: no word is in two."""
    words = [str(word) for answers in (Word, Fitness, Standing) for word in answers]
    assert len(words) == len(set(words))
