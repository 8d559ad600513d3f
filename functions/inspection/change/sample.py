"""A sample of the changed blocks, read and judged file by file: what in it looks encrypted and is not explained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from functions.inspection.change.files import ChangedFiles, Stretch
from functions.inspection.change.places import Place, folder_and_ending
from functions.inspection.change.randomness import LEAST_BYTES, PIECE_BYTES, Look
from functions.inspection.change.seen_files import Seen, Standing
from functions.inspection.devices import BLOCK_BYTES, BudgetSpent, SnapshotDevice

PIECES = 16
"""Of one block, so many pieces are judged when the block was drawn for its content."""

PIECES_BEHIND = 12
"""Of a file whose beginning looks random, so many further pieces in the same block."""

ROUND_BLOCKS = 16
"""Blocks fetched together; few, because what they show decides whether beginnings elsewhere must be read."""

FOR_BEGINNINGS = 0.5
FOR_CONTENT = 0.25
FOR_SUSPICION = 0.125
FOR_CUSTOMS = 0.0625
"""Shares of the budget: for beginnings, for content, for what lies near a suspicion, and twice for unchanged files
beside suspicious ones; the rest is for more content, with the beginnings of files whose content looks random."""

NEIGHBOURS = 4
"""Of a place with suspicious files, so many unchanged ones are looked at. Half of them make a custom: one alone may be
the victim of an earlier night."""

UNTOUCHED_WEIGHT = 0.25
"""How much a file counts whose time of change is older than the earlier point. Not nothing: times can be set."""

SUSPICIOUS = frozenset({Standing.UNEXPLAINED, Standing.CONTRADICTED})

BURST_SECONDS = 600.0
"""Files changed within so many seconds of a suspicious one may have been changed by the same hand."""


@dataclass(slots=True, kw_only=True)
class ChangeSample:
    """What a sample of the change showed.

    `starts`: files that begin in blocks which were drawn by lot, `touched` those of them that were changed since the
    earlier point, as far as their times say. `content`: for each block that was drawn by its size alone, how many of
    its pieces were judged and how many of them are random, by file; so their shares stand for the whole change.
    `begun_files`: how many files begin in any changed block. `customs`: of the places where something looked
    suspicious, whether unchanged files there look the same.
    """

    paths: Sequence[str]
    seen: dict[int, Seen] = field(default_factory=dict[int, Seen])
    starts: set[int] = field(default_factory=set[int])
    touched: set[int] = field(default_factory=set[int])
    content: list[tuple[int, dict[int, int]]] = field(default_factory=list[tuple[int, dict[int, int]]])
    begun_files: int = 0
    customs: dict[Place, bool] = field(default_factory=dict[Place, bool])
    sampled_blocks: int = 0

    def standing(self, file: int) -> Standing:
        """What is thought of the file."""
        if file not in self.seen:
            return Standing.UNJUDGED
        standing = self.seen[file].standing(self.paths[file])
        if standing in SUSPICIOUS and self.customs.get(Place.of(self.paths[file])):
            return Standing.CUSTOMARY
        return standing

    def suspicious(self) -> Sequence[int]:
        """The files that look encrypted without a known reason."""
        return [file for file in self.seen if self.standing(file) in SUSPICIOUS]


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
    kept_back = int(budget_blocks * FOR_CUSTOMS)
    try:
        reading.budget_blocks = budget_blocks - kept_back
        reading.read_beginnings(beginnings.drawn(int(budget_blocks * FOR_BEGINNINGS), draw))
        reading.read_content(content[:first])
        reading.learn_customs(kept_back)
        reading.follow(beginnings, int(budget_blocks * FOR_SUSPICION))
        reading.read_content(content[first:])
        reading.budget_blocks = budget_blocks
        reading.learn_customs(kept_back)
        reading.follow(beginnings, kept_back)
    except BudgetSpent:
        pass  # what was read until then is the sample
    sample = reading.sample
    sample.begun_files = len(beginnings.files)
    sample.touched = {file for file in sample.starts if not files.modified[file] < (changed_since or 0.0)}
    return sample


def _evenly(blocks: NDArray[np.int64], wanted: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """One block drawn from each of so many equal stretches, so that no region is missed and no period is met; in an
    order that may be cut off."""
    if len(blocks) > wanted:
        blocks = blocks[((np.arange(wanted) + draw.random(wanted)) * len(blocks) / wanted).astype(np.int64)]
    return draw.permutation(blocks)


@dataclass(frozen=True, slots=True, eq=False)
class _Beginnings:
    """The changed blocks in which files begin: `owners` says for each of `files` at which of `blocks` it does."""

    blocks: NDArray[np.int64]
    files: NDArray[np.int64]
    owners: NDArray[np.int64]
    weights: NDArray[np.float64]
    held_bytes: NDArray[np.int64]

    @classmethod
    def of(cls, files: ChangedFiles, changed: NDArray[np.int64], since: float | None) -> _Beginnings:
        """Files too short to be judged are left out."""
        begun_in = files.starts // BLOCK_BYTES
        judged = (files.starts >= 0) & (files.start_lengths >= LEAST_BYTES) & np.isin(begun_in, changed)
        weights = np.ones(len(files.starts))
        if since is not None:
            weights[files.modified < since] = UNTOUCHED_WEIGHT
        blocks, owners = np.unique(begun_in[judged], return_inverse=True)
        return cls(blocks, np.flatnonzero(judged), owners, weights[judged], files.held_bytes[judged])

    def drawn(self, wanted: int, draw: np.random.Generator) -> NDArray[np.int64]:
        """So many of the blocks, at even distances: the more changed files begin in one, and the larger these are, the
        likelier. Half by number and half by size, because an attack is many files or many bytes."""
        if len(self.blocks) <= wanted:
            return self.blocks
        # The square root, so that one block full of small files does not push out many with one file each.
        by_number = np.sqrt(np.bincount(self.owners, weights=self.weights))
        by_size = np.bincount(self.owners, weights=self.held_bytes)
        edges = np.cumsum(by_number / by_number.sum() + by_size / by_size.sum())
        places: NDArray[np.float64] = (np.arange(wanted) + draw.random()) * float(edges[-1]) / wanted
        return self.blocks[np.unique(np.searchsorted(edges[:-1], places, side="right"))]

    def ranked(self, chance: Callable[[int], float]) -> NDArray[np.int64]:
        """The blocks with files that have any chance, those of the highest sum first."""
        sums = np.bincount(self.owners, weights=[chance(file) for file in self.files.tolist()])
        order = np.argsort(-sums, kind="stable")
        return self.blocks[order[sums[order] > 0]]


class _Reading:
    """Reads blocks, each counted once, and puts what they hold into the sample."""

    def __init__(
        self, files: ChangedFiles, device: SnapshotDevice, budget_blocks: int, draw: np.random.Generator
    ) -> None:
        self._files, self._device, self._draw = files, device, draw
        self.budget_blocks = budget_blocks
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
        """If anything is suspicious yet, the blocks were looked at that promise the most files like it."""
        traits = _Traits.of(self.sample, self._files)
        if traits is None:
            return
        ranked = [block for block in beginnings.ranked(traits.chance).tolist() if block not in self._read]
        for block in self._fetched(np.array(ranked[:wanted], np.int64)):
            self._look_at_heads(block)

    def learn_customs(self, wanted: int) -> None:
        """Of so many places with suspicious files, those with the largest first, unchanged files were looked at, in
        about so many blocks."""
        first_of: dict[Place, int] = {}
        for file in sorted(self.sample.suspicious(), key=lambda file: -self._files.held_bytes[file]):
            first_of.setdefault(Place.of(self._files.paths[file]), file)
        until = len(self._read) + wanted
        unknown = [place for place in first_of if place not in self.sample.customs]
        for place in unknown[:wanted]:
            if len(self._read) < until:
                looks = list(self._look_beside(first_of[place]))
                self.sample.customs[place] = 2 * sum(looks) >= len(looks) > 0

    def _look_beside(self, file: int) -> Iterator[bool]:
        """Of the unchanged files beside this one, whether each would be suspicious as well."""
        unchanged = self._files.unchanged
        near = {number: unchanged.starts[number] for number in unchanged.beside(self._files.paths[file], NEIGHBOURS)}
        fetched = set(self._fetched(np.unique(np.array([start // BLOCK_BYTES for start in near.values()], np.int64))))
        for number, start in near.items():
            block, inside = divmod(start, BLOCK_BYTES)
            if block in fetched:
                seen = Seen()
                end = min(inside + min(PIECE_BYTES, unchanged.lengths[number]), BLOCK_BYTES)
                seen.add(0, self._content(block)[inside:end])
                standing = seen.standing(unchanged.paths[number])
                if standing is not Standing.UNJUDGED:
                    yield standing in SUSPICIOUS

    def _fetched(self, blocks: NDArray[np.int64]) -> Iterator[int]:
        """Those of the blocks that the budget allows, each round of them fetched together."""
        for first in range(0, len(blocks), ROUND_BLOCKS):
            ahead = [block for block in blocks[first : first + ROUND_BLOCKS].tolist() if self._may_read(block)]
            self._device.expect((block * BLOCK_BYTES, 1) for block in ahead)
            yield from ahead

    def _may_read(self, block: int) -> bool:
        if block not in self._read and len(self._read) < self.budget_blocks:
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


@dataclass(frozen=True, slots=True, eq=False)
class _Traits:
    """What suspicious files have in common: folder, ending, the time at which they were changed. `rates` says of the
    files with a trait which part of those that were looked at is suspicious."""

    files: ChangedFiles
    times: NDArray[np.float64]
    rates: Mapping[str, float]

    @classmethod
    def of(cls, sample: ChangeSample, files: ChangedFiles) -> _Traits | None:
        """From what was seen so far; None when nothing is suspicious."""
        suspicious = sample.suspicious()
        if not suspicious:
            return None
        times = files.modified[np.array(suspicious, np.int64)]
        traits = cls(files, np.sort(times[~np.isnan(times)]), {})
        met = Counter(trait for file in sample.seen for trait in traits.of_file(file))
        found = Counter(trait for file in suspicious for trait in traits.of_file(file))
        # One more, because what was met once says little.
        return replace(traits, rates={trait: count / (met[trait] + 1) for trait, count in found.items()})

    def chance(self, file: int) -> float:
        """How likely a file is suspicious, by the one of its traits that says most."""
        return max(self.rates.get(trait, 0.0) for trait in self.of_file(file))

    def of_file(self, file: int) -> Sequence[str]:
        """The traits of a file: its folder ends with a slash, and no ending holds one."""
        folder, ending = folder_and_ending(self.files.paths[file])
        modified = float(self.files.modified[file])
        first, last = np.searchsorted(self.times, [modified - BURST_SECONDS, modified + BURST_SECONDS])
        return (f"{folder}/", ending, "/burst" if first < last else "/rest")
