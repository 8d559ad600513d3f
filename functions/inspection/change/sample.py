"""A sample of the changed blocks, read and judged file by file: what in it looks encrypted and is not explained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from functions.inspection.change.files import ChangedFiles, Stretch
from functions.inspection.change.randomness import LEAST_BYTES, PIECE_BYTES, Look
from functions.inspection.change.seen_files import Seen, Standing
from functions.inspection.devices import BLOCK_BYTES, BudgetSpent, SnapshotDevice

PIECES = 16
"""Of one block, so many pieces are judged when the block was drawn for its content."""

PIECES_BEHIND = 12
"""Of a file whose beginning looks random, so many further pieces in the same block."""

ROUND_BLOCKS = 16
"""Blocks fetched together; few, because what they show decides whether beginnings elsewhere must be read."""

FOR_CONTENT = 0.25
FOR_SUSPICION = 0.125
"""Shares of the budget: half is for beginnings, a quarter for content, an eighth for what lies near a suspicion, and
the rest for more content, with the beginnings of files whose content looks random."""

UNTOUCHED_WEIGHT = 0.25
"""How much a file counts whose time of change is older than the earlier point. Not nothing: times can be set."""

BURST_SECONDS = 600.0
"""Files changed within so many seconds of a suspicious one may have been changed by the same hand."""


@dataclass(slots=True, kw_only=True)
class ChangeSample:
    """What a sample of the change showed.

    `starts`: files that begin in blocks which were drawn by lot, `touched` those of them that were changed since the
    earlier point, as far as their times say. `content`: for each block that was drawn by its size alone, how many of
    its pieces were judged and how many of them are random, by file; so their shares stand for the whole change.
    """

    paths: Sequence[str]
    seen: dict[int, Seen] = field(default_factory=dict[int, Seen])
    starts: set[int] = field(default_factory=set[int])
    touched: set[int] = field(default_factory=set[int])
    content: list[tuple[int, dict[int, int]]] = field(default_factory=list[tuple[int, dict[int, int]]])
    sampled_blocks: int = 0

    def standing(self, file: int) -> Standing:
        """What is thought of the file."""
        return self.seen[file].standing(self.paths[file]) if file in self.seen else Standing.UNJUDGED


def take_sample(
    files: ChangedFiles,
    device: SnapshotDevice,
    changed: NDArray[np.int64],
    *,
    budget_blocks: int,
    seed: int,
    changed_since: float | None,
) -> ChangeSample:
    """At most `budget_blocks` different blocks were read. The same seed draws the same ones.

    `changed_since` is the timestamp of the earlier point.
    """
    draw = np.random.default_rng(seed)
    reading = _Reading(files, device, budget_blocks, draw)
    beginnings = _Beginnings.of(files, changed, changed_since)
    content = _evenly(files.blocks_with_content(changed), budget_blocks, draw)
    first = int(budget_blocks * FOR_CONTENT)
    try:
        reading.read_beginnings(beginnings.drawn(budget_blocks // 2, draw))
        reading.read_content(content[:first])
        reading.follow(beginnings, int(budget_blocks * FOR_SUSPICION))
        reading.read_content(content[first:])
    except BudgetSpent:
        pass  # what was read until then is the sample
    sample = reading.sample
    sample.touched = {file for file in sample.starts if not files.modified[file] < (changed_since or 0.0)}
    return sample


def _evenly(blocks: NDArray[np.int64], wanted: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """Blocks at even distances from a random place, so that no region is missed; in an order that may be cut off."""
    if len(blocks) > wanted:
        blocks = blocks[((np.arange(wanted) + draw.random()) * len(blocks) / wanted).astype(np.int64)]
    return draw.permutation(blocks)


@dataclass(frozen=True, slots=True, eq=False)
class _Beginnings:
    """The changed blocks in which files begin: `owners` says for each of `files` at which of `blocks` it does."""

    blocks: NDArray[np.int64]
    files: NDArray[np.int64]
    owners: NDArray[np.int64]
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, files: ChangedFiles, changed: NDArray[np.int64], since: float | None) -> _Beginnings:
        """Files too short to be judged are left out."""
        begun_in = files.starts // BLOCK_BYTES
        judged = (files.starts >= 0) & (files.start_lengths >= LEAST_BYTES) & np.isin(begun_in, changed)
        weights = np.ones(len(files.starts))
        if since is not None:
            weights[files.modified < since] = UNTOUCHED_WEIGHT
        blocks, owners = np.unique(begun_in[judged], return_inverse=True)
        return cls(blocks, np.flatnonzero(judged), owners, weights[judged])

    def drawn(self, wanted: int, draw: np.random.Generator) -> NDArray[np.int64]:
        """So many of the blocks, at even distances: the more changed files begin in one, the likelier."""
        if len(self.blocks) <= wanted:
            return self.blocks
        # The square root, so that one block full of small files does not push out many with one large file each.
        edges = np.cumsum(np.sqrt(np.bincount(self.owners, weights=self.weights)))
        places: NDArray[np.float64] = (np.arange(wanted) + draw.random()) * float(edges[-1]) / wanted
        return self.blocks[np.unique(np.searchsorted(edges[:-1], places, side="right"))]

    def ranked(self, score: Callable[[int], float]) -> NDArray[np.int64]:
        """The blocks whose files score at all, those of the highest sum first."""
        sums = np.bincount(self.owners, weights=[score(file) for file in self.files.tolist()])
        order = np.argsort(-sums, kind="stable")
        return self.blocks[order[sums[order] > 0]]


class _Reading:
    """Reads blocks, each counted once, and puts what they hold into the sample."""

    def __init__(
        self, files: ChangedFiles, device: SnapshotDevice, budget_blocks: int, draw: np.random.Generator
    ) -> None:
        self._files, self._device, self._draw = files, device, draw
        self._budget_blocks = budget_blocks
        self._read: set[int] = set()
        self._begun = np.argsort(files.starts, kind="stable")
        self._begun_at = files.starts[self._begun]
        self.sample = ChangeSample(paths=files.paths)

    def read_beginnings(self, blocks: NDArray[np.int64]) -> None:
        """Every file that begins in one of these blocks was looked at."""
        for block in self._fetched(blocks):
            self.sample.starts.update(self._look_at_heads(block))

    def read_content(self, blocks: NDArray[np.int64]) -> None:
        """Pieces of each of these blocks were looked at, and the beginnings of the files whose pieces look random."""
        for block in self._fetched(blocks):
            self.sample.starts.update(self._look_at_heads(block))
            content = self._content(block)
            random: dict[int, int] = {}
            pieces = self._pieces_of(block)
            for piece in pieces:
                seen = self.sample.seen.setdefault(piece.file, Seen())
                start = piece.at - block * BLOCK_BYTES
                if seen.add(piece.offset, content[start : start + piece.length]) is Look.RANDOM:
                    random[piece.file] = random.get(piece.file, 0) + 1
            for file in random:
                self._look_up_head(file)
            self.sample.content.append((len(pieces), random))

    def follow(self, beginnings: _Beginnings, wanted: int) -> None:
        """If anything is suspicious yet, blocks in which files begin that are likest to it were looked at."""
        near = _Near.of(self.sample, self._files)
        if not near.folders:
            return
        ranked = [block for block in beginnings.ranked(near.score).tolist() if block not in self._read]
        for block in self._fetched(np.array(ranked[:wanted], np.int64)):
            self._look_at_heads(block)

    def _fetched(self, blocks: NDArray[np.int64]) -> Iterator[int]:
        """Those of the blocks that the budget allows, each round of them fetched together."""
        for first in range(0, len(blocks), ROUND_BLOCKS):
            ahead = [block for block in blocks[first : first + ROUND_BLOCKS].tolist() if self._may_read(block)]
            self._device.expect((block * BLOCK_BYTES, 1) for block in ahead)
            yield from ahead

    def _may_read(self, block: int) -> bool:
        if block not in self._read and len(self._read) < self._budget_blocks:
            self._read.add(block)
            self.sample.sampled_blocks += 1
        return block in self._read

    def _content(self, block: int) -> bytes:
        return self._device.block(block) or bytes(BLOCK_BYTES)

    def _look_at_heads(self, block: int) -> Sequence[int]:
        """The files that begin in this block, each of them looked at."""
        content = self._content(block)
        first, last = np.searchsorted(self._begun_at, [block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES])
        files = self._begun[first:last]
        heads: list[int] = files[self._files.start_lengths[files] >= LEAST_BYTES].tolist()
        for file in heads:
            self._look_at_head(file, block, content)
        return heads

    def _look_up_head(self, file: int) -> None:
        block = int(self._files.starts[file]) // BLOCK_BYTES
        if self.sample.seen[file].head is None and block >= 0 and self._may_read(block):
            self._look_at_head(file, block, self._content(block))

    def _look_at_head(self, file: int, block: int, content: bytes) -> None:
        """The first piece, and more of the file from the same block if that one looks random and unexplained."""
        seen = self.sample.seen.setdefault(file, Seen())
        if seen.head is not None:
            return
        start = int(self._files.starts[file]) - block * BLOCK_BYTES
        end = min(start + int(self._files.start_lengths[file]), BLOCK_BYTES)
        look = seen.add(0, content[start : min(start + PIECE_BYTES, end)])
        if look is not Look.RANDOM or seen.known:
            return
        behind = range(start + PIECE_BYTES, end - LEAST_BYTES + 1, PIECE_BYTES)
        # The very next piece tells a lost header; the others, at even distances, tell encryption in stripes.
        for place in behind[:: -(-len(behind) // PIECES_BEHIND) or 1]:
            seen.add(place - start, content[place : min(place + PIECE_BYTES, end)])

    def _pieces_of(self, block: int) -> Sequence[Stretch]:
        """At most PIECES pieces of files in this block, at even distances from a random place."""
        stretches = list(self._files.stretches_in(block))
        counts = [max(0, (one.length - LEAST_BYTES) // PIECE_BYTES + 1) for one in stretches]
        edges = np.cumsum(counts)
        total = int(edges[-1]) if counts else 0
        steps = min(PIECES, total)
        places: NDArray[np.float64] = np.floor((np.arange(steps) + self._draw.random()) * total / max(1, steps))
        owners: list[int] = np.searchsorted(edges, places, side="right").tolist()
        return [
            _piece(stretches[owner], int(place) - int(edges[owner]) + counts[owner])
            for place, owner in zip(places.tolist(), owners, strict=True)
        ]


def _piece(stretch: Stretch, number: int) -> Stretch:
    inside = number * PIECE_BYTES
    length = min(PIECE_BYTES, stretch.length - inside)
    return Stretch(stretch.file, stretch.offset + inside, stretch.at + inside, length)


@dataclass(frozen=True, slots=True)
class _Near:
    """What suspicious files have in common with others: folder, ending, the time at which they were changed."""

    files: ChangedFiles
    folders: frozenset[str]
    endings: frozenset[str]
    times: NDArray[np.float64]

    @classmethod
    def of(cls, sample: ChangeSample, files: ChangedFiles) -> _Near:
        """From what was seen so far."""
        suspicious = [
            file for file in sample.seen if sample.standing(file) in (Standing.CONTRADICTED, Standing.UNEXPLAINED)
        ]
        parts = [_folder_and_ending(sample.paths[file]) for file in suspicious]
        times = files.modified[np.array(suspicious, np.int64)]
        return cls(
            files,
            frozenset(folder for folder, _ in parts),
            frozenset(ending for _, ending in parts if ending),
            np.sort(times[~np.isnan(times)]),
        )

    def score(self, file: int) -> float:
        """How much a file has in common with them; 0.0 for nothing."""
        folder, ending = _folder_and_ending(self.files.paths[file])
        return 3.0 * self._is_of_a_burst(file) + 2.0 * (folder in self.folders) + 1.0 * (ending in self.endings)

    def _is_of_a_burst(self, file: int) -> bool:
        modified = float(self.files.modified[file])
        first, last = np.searchsorted(self.times, [modified - BURST_SECONDS, modified + BURST_SECONDS])
        return bool(first < last)


def _folder_and_ending(path: str) -> tuple[str, str]:
    folder, _, name = path.rpartition("/")
    return folder, name.rpartition(".")[2] if "." in name else ""
