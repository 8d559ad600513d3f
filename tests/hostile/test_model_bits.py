"""F83: a packaged model of which one bit is wrong is not used, and the verdict says that rules alone judged.

Scoring reads no file today, and says so in each verdict. A model that is packed beside it one day must be listed in
READERS with the function that reads it, or this file fails; from then on it is held to the thousand flips.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from functions import scoring
from functions.core.verdicts import Word
from functions.scoring import rules
from tests.builders import GIB, a_run, ago

ROOM = Path(scoring.__file__).parent
FLIPS = 1_000

READERS: dict[str, Callable[[bytes], object]] = {}
"""By file name in functions/scoring: what reads the file's bytes, and raises when they are not what was packed."""


def packaged() -> set[str]:
    """The files in the room that are neither code nor its README."""
    return {
        path.relative_to(ROOM).as_posix()
        for path in ROOM.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc", ".md")
    }


def flips(content: bytes) -> Iterator[bytes]:
    """The content with one bit changed, at places spread evenly over all of it; its first and last bit among them."""
    bits = len(content) * 8
    for number in range(min(FLIPS, bits)):
        bit = number * (bits - 1) // max(1, min(FLIPS, bits) - 1)
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


def unnoticed(read: Callable[[bytes], object], content: bytes) -> int:
    """How many of the flips a reader takes for what was packed."""
    taken = 0
    for changed in flips(content):
        try:
            read(changed)
        except ValueError:
            continue
        taken += 1
    return taken


def test_every_file_that_is_packed_with_scoring_has_a_reader_that_is_tested_here() -> None:
    assert packaged() == set(READERS)


def test_no_flipped_bit_of_a_packaged_model_is_believed() -> None:
    """F83, invariant 19."""
    believed = {name: unnoticed(read, (ROOM / name).read_bytes()) for name, read in READERS.items()}
    assert believed == dict.fromkeys(READERS, 0)


def test_without_a_model_the_rules_judge_and_no_file_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 19: the verdict names who judged, so that nobody takes silence of a model for its word."""

    def refuse(*path: Any, **_: Any) -> Any:
        raise AssertionError(f"scoring opened {path[0]}")

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr(io, "open", refuse)
    history = [a_run(ago(days=day)) for day in range(1, 20)]
    for run in (a_run(), a_run(changed_bytes=400 * GIB), a_run(full_size_bytes=0)):
        assert rules.judge(run, history).judged_by == rules.JUDGED_BY == "rules-1"
    assert rules.judge(a_run(changed_bytes=400 * GIB), history).word is Word.UNUSUAL


SEALED = json.dumps({"weights": list(range(400))}).encode()


def read_unsealed(content: bytes) -> object:
    return json.loads(content)


def read_sealed(content: bytes) -> object:
    if hashlib.sha256(content).hexdigest() != hashlib.sha256(SEALED).hexdigest():
        raise ValueError("not what was packed")
    return json.loads(content)


def test_a_thousand_flips_are_a_thousand_different_files() -> None:
    assert len(set(flips(SEALED))) == FLIPS
    assert SEALED not in set(flips(SEALED))
    assert len(set(flips(b"ab"))) == 16


def test_the_flips_are_believed_by_a_reader_that_only_parses_and_by_none_that_knows_the_digest() -> None:
    """The oracle itself: most flips of a number give another number."""
    assert unnoticed(read_unsealed, SEALED) > FLIPS / 10
    assert unnoticed(read_sealed, SEALED) == 0
