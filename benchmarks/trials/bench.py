"""What the classes of trials share: what was measured, what was missed, and images that are made once."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.trials.contents import make_database
from benchmarks.trials.images import Image, image_of_a_database, image_of_files
from benchmarks.trials.judging import NO_DAMAGE, Answer, Judges, Question
from benchmarks.trials.machine import run
from functions.inspection.devices import BLOCK_BYTES

FILES, FILES_QUICK = 2_000, 1_000
IS_WHOLE, IS_DAMAGED = "clean-", "damaged-"


class FalseAlarm(Exception):
    """An image that nobody damaged is not called whole: what is said of damaged ones proves nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What was measured, and what it must reach. Without a bar it is only told."""

    name: str
    value: float
    bar: float | None
    holds: bool | None
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """Damage that nobody saw, or an alarm about nothing: what was done, and what was said of it."""

    name: str
    what: str
    told: str


@dataclass(slots=True)
class Bench:
    """What the classes of trials share: where they work, who judges, how much is tried. Images are made once."""

    folder: Path
    judges: Judges
    kinds: Sequence[str]
    trials: int
    seed: int
    is_quick: bool
    keep: Path | None
    lines: Sequence[str] = ()
    misses: list[Miss] = field(default_factory=list)
    _made: dict[str, Image] = field(default_factory=dict)
    _database: Path | None = None

    @property
    def files(self) -> int:
        """How many files lie on an image, about."""
        return FILES_QUICK if self.is_quick else FILES

    def of_files(self, kind: str) -> Image:
        """The image of that file system with thousands of files and canaries."""
        return self._once(f"{kind}, files", lambda: image_of_files(kind, self.folder, seed=self.seed, files=self.files))

    def of_database(self, kind: str) -> Image:
        """The image of that file system with a PostgreSQL data directory."""
        return self._once(f"{kind}, a database", lambda: image_of_a_database(kind, self.folder, self._data()))

    def judge(self, what: str, questions: Sequence[Question]) -> list[Answer]:
        """An answer to each question, with progress on the standard error."""
        begun, heard = time.monotonic(), 0

        def hear() -> None:
            nonlocal heard
            heard += 1
            is_last = heard == len(questions)
            if is_last or sys.stderr.isatty():
                progress = f"{what}: {heard} of {len(questions)}, {time.monotonic() - begun:.0f} s"
                sys.stderr.write(progress + ("\n" if is_last else "\r"))
                sys.stderr.flush()

        return self.judges.judge(questions, hear)

    def miss(self, name: str, question: Question, answer: Answer) -> None:
        """It is told, and kept as an image when a folder for that was named."""
        what = question.path.name
        if question.damage != NO_DAMAGE:
            what += f": {question.damage.what}"
        self.misses.append(Miss(name=name, what=what, told=answer.told()))
        if self.keep is not None:
            _keep(question, self.keep, len(self.misses))

    def _data(self) -> Path:
        if self._database is None:
            say("making a database")
            self._database = make_database(self.folder / "database")
        return self._database

    def _once(self, name: str, make: Callable[[], Image]) -> Image:
        if name not in self._made:
            say(f"making an image: {name}")
            image = make()
            (answer,) = self.judges.judge([Question(path=image.path, expected=image.expected)], lambda: None)
            if not answer.is_fit:
                raise FalseAlarm(f"{name}: {answer.told()}")
            self._made[name] = image
        return self._made[name]


def _keep(question: Question, folder: Path, number: int) -> None:
    """The image as it was judged lies in the folder, under a name that `--images` understands."""
    folder.mkdir(parents=True, exist_ok=True)
    done = question.damage
    kept = (
        folder
        / f"{IS_WHOLE if done == NO_DAMAGE else IS_DAMAGED}{number:03}-{question.path.name.removeprefix(IS_WHOLE)}"
    )
    run("cp", "--sparse=always", question.path, kept)
    with kept.open("r+b") as file:
        for offset, content in done.writes:
            file.seek(offset)
            file.write(content)
    for index in done.lost:
        hole = (f"--offset={index * BLOCK_BYTES}", f"--length={BLOCK_BYTES}")
        run("fallocate", "--punch-hole", *hole, kept)
    if done.size_bytes is not None:
        os.truncate(kept, done.size_bytes)


def say(what: str) -> None:
    """A line of progress on the standard error."""
    sys.stderr.write(f"{what}\n")
    sys.stderr.flush()
