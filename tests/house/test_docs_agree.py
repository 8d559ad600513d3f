"""What the READMEs of two rooms list is what lies in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.contracts.test_events_parse import REGISTRY

ROOT = Path(__file__).parents[2]


def listed(readme: str, ending: str) -> list[str]:
    """The files that a table of the README lists, in its first column."""
    text = (ROOT / readme).read_text(encoding="utf-8")
    return re.findall(rf"^\| `([a-z_0-9]+\.{ending})` \|", text, flags=re.MULTILINE)


def verbs() -> set[str]:
    """The files that Lambda calls: those that have a handler."""
    files = (ROOT / "functions" / "handlers").glob("*.py")
    return {path.name for path in files if re.search(r"^handler = ", path.read_text(encoding="utf-8"), re.MULTILINE)}


def test_every_verb_has_its_line_and_every_line_its_verb() -> None:
    assert sorted(listed("functions/handlers/README.md", "py")) == sorted(verbs())


def test_every_file_beside_the_verbs_is_named() -> None:
    text = (ROOT / "functions" / "handlers" / "README.md").read_text(encoding="utf-8")
    others = {path.name for path in (ROOT / "functions" / "handlers").glob("*.py")} - verbs() - {"__init__.py"}
    assert [name for name in sorted(others) if f"`{name}`" not in text] == []


def test_every_example_has_its_line_and_every_line_its_example() -> None:
    there = sorted(path.name for path in (ROOT / "events").glob("*.json"))
    assert sorted(listed("events/README.md", "json")) == there
    assert sorted(f"{name}.json" for name in REGISTRY) == there


@pytest.mark.parametrize("verb", sorted(verbs()))
def test_every_verb_is_tested(verb: str) -> None:
    """By a file of its own, or by the one that tells the steps of a rehearsal."""
    own = ROOT / "tests" / "handlers" / f"test_{verb}"
    steps = (ROOT / "tests" / "handlers" / "test_rehearsal_steps.py").read_text(encoding="utf-8")
    assert own.exists() or verb.removesuffix(".py") in steps
