"""What the inspection says of an image with damage laid over it, asked in processes of their own."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

from embedded.disks.image_blocks import ImageBlocks
from functions.core.evidence import Assertion
from functions.core.expected_files import Expected
from functions.inspection.devices import BLOCK_BYTES, SnapshotDevice
from functions.inspection.whole_disk import find_expected, inspect_disk

PROCESSES = 2
MOST_SECONDS = 300
"""An inspection that takes longer does not end, as far as anybody can tell: that is a miss, and worse than one."""

TAKEN_AT = datetime(2026, 10, 1, 9, 0, tzinfo=UTC)
"""The instant of every snapshot here: no heartbeat is expected, so no answer depends on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What is done to an image. `lost` are indexes of blocks that hold nothing any more; `writes` are (offset, bytes);
    a `size_bytes` cuts the device off there."""

    what: str
    writes: tuple[tuple[int, bytes], ...] = ()
    lost: tuple[int, ...] = ()
    size_bytes: int | None = None


NO_DAMAGE = Damage(what="nothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An image, what was done to it, and what a policy expects of its files."""

    path: Path
    damage: Damage = NO_DAMAGE
    expected: tuple[Expected, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was said. `problem` is an exception that should not have come, or that the time was over."""

    assertions: tuple[Assertion, ...] = ()
    problem: str = ""
    seconds: float = 0.0

    @property
    def is_unfit(self) -> bool:
        """Whether damage was seen."""
        return any(one.held is False for one in self.assertions)

    @property
    def is_fit(self) -> bool:
        """Whether something was proven and nothing was broken or left open."""
        return not self.problem and bool(self.assertions) and all(one.held for one in self.assertions)

    def told(self) -> str:
        """What a person reads of it: the assertions that do not hold, or what came instead."""
        open_ones = [f"{one.what}: {one.held}: {one.detail}" for one in self.assertions if not one.held]
        return self.problem or "; ".join(open_ones) or "everything holds"


class Judges:
    """Two processes that judge."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def judge(self, questions: Sequence[Question], heard: Callable[[], None]) -> list[Answer]:
        """An answer to each question, in their order; `heard` is called for each one."""
        answers: list[Answer] = []
        for answer in self._pool.map(answer_to, questions, chunksize=4):
            answers.append(answer)
            heard()
        return answers


@contextmanager
def judges() -> Iterator[Judges]:
    """The processes, until it is left; what they have not begun by then is dropped."""
    # Started anew and not forked: threads that write to a mounted image must not be copied along.
    with ProcessPoolExecutor(PROCESSES, get_context("spawn"), _begin) as pool:
        try:
            yield Judges(pool)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin() -> None:
    # Ctrl-C is the parent's to handle: it ends the pool when its own work is undone.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, _out_of_time)


def _out_of_time(_signal: int, _frame: object) -> None:
    raise TimeoutError(f"it did not end within {MOST_SECONDS} seconds")


def answer_to(question: Question) -> Answer:
    """What the inspection of a whole disk and the check of expected files say."""
    started = time.monotonic()
    signal.alarm(MOST_SECONDS)
    try:
        with _blocks_of(question) as blocks:
            assertions = _inspected(blocks, question.expected)
    except Exception as problem:  # noqa: BLE001 - that any exception escapes is one of the faults looked for
        return Answer(problem=f"{type(problem).__name__}: {problem}", seconds=time.monotonic() - started)
    finally:
        signal.alarm(0)
    return Answer(assertions=tuple(assertions), seconds=time.monotonic() - started)


@contextmanager
def _blocks_of(question: Question) -> Iterator[ImageBlocks]:
    if question.damage != NO_DAMAGE:
        yield damaged_blocks(question.path, question.damage)
        return
    # Judged once and then removed: a file that stayed open would keep its place on the disk, and a mount from ending.
    with closing(ImageBlocks(question.path)) as blocks:
        yield blocks


def _inspected(blocks: ImageBlocks, expected: Sequence[Expected]) -> list[Assertion]:
    inspected = inspect_disk(SnapshotDevice(blocks))
    return [*inspected.assertions, *find_expected(expected, inspected.file_systems, taken_at=TAKEN_AT)]


def damaged_blocks(path: Path, damage: Damage) -> ImageBlocks:
    """The blocks of the image as they are after the damage, and for nobody else."""
    blocks = _opened(path)
    blocks.size_bytes = damage.size_bytes or path.stat().st_size
    blocks.patches = dict.fromkeys(damage.lost)
    for offset, content in damage.writes:
        blocks.overwrite(offset, content)
    return blocks


@lru_cache(maxsize=2)
def _opened(path: Path) -> ImageBlocks:
    return ImageBlocks(path)


def bytes_at(path: Path, offset: int, length: int) -> bytes:
    """What the image itself holds there."""
    blocks = damaged_blocks(path, NO_DAMAGE)
    pieces: list[bytes] = []
    for index in range(offset // BLOCK_BYTES, (offset + length - 1) // BLOCK_BYTES + 1):
        block = blocks.block(index) or bytes(BLOCK_BYTES)
        begin, end = max(0, offset - index * BLOCK_BYTES), min(BLOCK_BYTES, offset + length - index * BLOCK_BYTES)
        pieces.append(block[begin:end])
    return b"".join(pieces)
