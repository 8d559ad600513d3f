"""Every class of faults that Holdfast must survive, and every invariant, is named by the tests that show it."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from tests.house.sources import ROOT, python_files
from tests.simulation.oracles import CHECKED_AT_REST, CHECKED_AT_THE_CALL, HELD_ELSEWHERE

FAULTS: Mapping[str, str] = {
    "F01": "a request is throttled by EC2",
    "F02": "a request is throttled by another service",
    "F03": "the reply is lost after the effect",
    "F04": "what was created is not shown yet",
    "F05": "tags are shown later than what carries them",
    "F06": "a listing stops early",
    "F07": "one volume's snapshots come too fast",
    "F08": "too many snapshots of one volume are pending",
    "F09": "the Region has no room for another snapshot",
    "F10": "too many copies are under way, and AWS counts late",
    "F11": "the quota of manual snapshots of databases is used up",
    "F12": "the quota of shares is used up",
    "F13": "the table is throttled",
    "F14": "somebody else moved on first",
    "F15": "one partition of the table gets all the traffic",
    "F16": "a transaction of the table is cancelled",
    "F17": "a workflow's history or payload is too long",
    "F18": "a workflow is stuck",
    "F19": "a function dies at any point",
    "F20": "an event is dropped because no function is free",
    "F21": "a clock is wrong or turned back",
    "F22": "local time skips or repeats an hour",
    "F23": "months end, and February has 29 days",
    "F24": "the home Region is down",
    "F25": "a Region of copies is down",
    "F26": "AWS reads and does not write",
    "F27": "AWS says a word that nobody knows",
    "F30": "a message comes twice",
    "F31": "messages come out of order",
    "F32": "a message is lost",
    "F33": "a message comes hours late",
    "F34": "an event is forged",
    "F35": "alarms come in a storm",
    "F36": "a dead-letter queue is redriven",
    "F37": "an event has another shape or is too large",
    "F40": "a snapshot stays pending",
    "F41": "a snapshot ends in error",
    "F42": "a snapshot is in the Recycle Bin",
    "F43": "a snapshot was created and not recorded",
    "F44": "a slot has two snapshots",
    "F45": "some volumes of an instance have no snapshot",
    "F46": "the volume is deleted meanwhile",
    "F47": "an instance is stopped, a volume detached",
    "F48": "a database is not available",
    "F49": "a snapshot of a database fails",
    "F50": "clusters and instances are taken for each other",
    "F51": "a copy fails silently because of its key",
    "F52": "a key is scheduled for deletion",
    "F53": "a source is not encrypted",
    "F54": "a copy carries an arbitrary volume id",
    "F55": "the source goes before its copy is finished",
    "F56": "somebody deletes a copy",
    "F57": "a failed copy is dropped",
    "F58": "a snapshot is in the archive",
    "F60": "the last good point would be deleted",
    "F61": "what is no good point counts as one",
    "F62": "fresh garbage pushes good points out",
    "F63": "a snapshot is locked, in use, held, shared or foreign",
    "F64": "an image comes between the check and the deletion",
    "F65": "a policy is shortened by mistake",
    "F66": "a deletion is half done",
    "F67": "a clock jumps ahead and everything is old",
    "F70": "there is no room for a restore",
    "F71": "a group that the restore needs is missing",
    "F72": "a restored database is public or in the default group",
    "F73": "a rehearsal leaves something behind",
    "F74": "the reaper meets production",
    "F75": "a verification asserts nothing",
    "F76": "a restore has the name of production",
    "F77": "a point is consistent as after a crash only",
    "F80": "somebody inside deletes snapshots",
    "F81": "a snapshot is made public",
    "F82": "a snapshot is shared with a stranger",
    "F83": "the model's file is tampered with",
    "F84": "the history behind the model is poisoned",
    "F85": "text is injected into the log",
    "F86": "text is injected into what people read",
    "F87": "text is injected into SQL",
    "F88": "something restored calls out",
    "F89": "a service is made a confused deputy",
    "F90": "a role may more than it needs",
    "F91": "a tag is used as a right",
    "F92": "settings or tags are poisoned",
    "F93": "a secret shows up where people read",
    "F94": "a dependency is compromised",
    "F95": "the table is lost or rolled back",
    "F96": "copies lie under a foreign key",
    "F97": "costs are run up",
}
"""The classes by their numbers; those that are missing were never given out."""

INVARIANTS = range(1, 31)
THIS = Path("tests/house/test_faults.py")

_FAULT = re.compile(r"\bF(\d\d)(?: to F(\d\d))?\b")
_INVARIANTS = re.compile(r"[Ii]nvariants? (\d+(?:(?:, | and | to )\d+)*)")


@cache
def _named() -> Mapping[str, tuple[str, ...]]:
    """By what their docstrings and comments name, "F06" or "invariant 6", the tests that do."""
    named: dict[str, list[str]] = defaultdict(list)
    for path in python_files("tests/"):
        source = (ROOT / path).read_text(encoding="utf-8")
        if "def test_" in source and path != THIS:
            for test, said in _said(source):
                for what in _what(said):
                    named[what].append(f"{path.as_posix()}::{test}")
    return {what: tuple(tests) for what, tests in named.items()}


def _said(source: str) -> Iterator[tuple[str, str]]:
    """Every test with what its docstring, its comments, and the docstrings of its class and its module say of it."""
    tree = ast.parse(source)
    comments = {
        token.start[0]: token.string
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    for owner in (tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))):
        about = [ast.get_docstring(tree) or ""]
        about += [ast.get_docstring(owner) or ""] if isinstance(owner, ast.ClassDef) else []
        for test in owner.body:
            if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef) and test.name.startswith("test_"):
                inside = [text for line, text in comments.items() if test.lineno <= line <= (test.end_lineno or 0)]
                yield test.name, " ".join([*about, ast.get_docstring(test) or "", *inside])


def _what(said: str) -> set[str]:
    said = " ".join(said.split())
    named = {
        f"F{number:02}"
        for first, last in _FAULT.findall(said)
        for number in range(int(first), int(last or first) + 1)
        if not last or f"F{number:02}" in FAULTS
    }
    for listed in _INVARIANTS.findall(said):
        for first, _, last in (part.partition(" to ") for part in re.split(r", | and ", listed)):
            named |= {f"invariant {number}" for number in range(int(first), int(last or first) + 1)}
    return named


@pytest.mark.parametrize("fault", FAULTS)
def test_a_class_of_faults_has_a_test_that_names_it(fault: str) -> None:
    assert _named().get(fault), f"no test names {fault}: {FAULTS[fault]}"


@pytest.mark.parametrize("invariant", INVARIANTS)
def test_an_invariant_has_a_test_that_names_it(invariant: int) -> None:
    assert _named().get(f"invariant {invariant}"), f"no test names invariant {invariant}"


def test_no_test_names_what_does_not_exist() -> None:
    known = {*FAULTS, *(f"invariant {number}" for number in INVARIANTS)}
    assert {what: tests for what, tests in _named().items() if what not in known} == {}


def test_every_invariant_is_held_by_an_oracle_of_the_simulation_or_by_a_test_that_the_oracles_name() -> None:
    everywhere = (*CHECKED_AT_THE_CALL, *(n for n in CHECKED_AT_REST if n not in CHECKED_AT_THE_CALL), *HELD_ELSEWHERE)
    assert sorted(everywhere) == list(INVARIANTS)
    for invariant, path in HELD_ELSEWHERE.items():
        assert [test for test in _named()[f"invariant {invariant}"] if test.startswith(f"{path}::")], path


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("F06, invariant 6: half a list decides nothing.", {"F06", "invariant 6"}),
        ("F60 to F62, invariants 4 to 6 and 9.", {"F60", "F61", "F62", *(f"invariant {n}" for n in (4, 5, 6, 9))}),
        ("F25 to F30", {"F25", "F26", "F27", "F30"}),
        ("Invariants 15 and\n    25", {"invariant 15", "invariant 25"}),
        ("The F-word and 0xF00", set()),
    ],
)
def test_what_a_docstring_names_is_read_as_people_read_it(said: str, named: set[str]) -> None:
    assert _what(said) == named


def test_a_number_counts_in_docstrings_and_comments_and_not_in_what_the_test_says_to_the_code() -> None:
    source = 'class TestF:\n    """F01."""\n    def test_a(self):\n        # F02\n        x = "F03"\n'
    assert {what for _, said in _said(source) for what in _what(said)} == {"F01", "F02"}
