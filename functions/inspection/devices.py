"""A snapshot as a device that can be read at any place: blocks fetched when needed, kept, counted, and bounded."""

from __future__ import annotations

import bisect
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

BLOCK_BYTES = 512 * 1024
"""The one size of block that EBS direct knows."""


class BudgetSpent(Exception):
    """The inspection may read no more blocks; what was not looked at stays unknown."""


class OutOfRange(Exception):
    """Something on the device points outside of it: the structure that does so is damaged, or the device is cut off."""


class Blocks(Protocol):
    """The port: where blocks come from. Implemented for EBS direct in `functions.aws` and for files in tests."""

    size_bytes: int

    def read(self, indexes: Sequence[int]) -> Mapping[int, bytes | None]:
        """The content of each block, None for one that holds no data and so reads as zeros.

        Every block has BLOCK_BYTES bytes; the last of a device that is no multiple of it is filled up with zeros.
        """
        ...


class Device(Protocol):
    """Bytes at offsets. A whole disk, a partition, a logical volume: file systems do not know which."""

    @property
    def size_bytes(self) -> int:
        """How long the device is."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes; what was never written reads as zeros.

        Errors: OutOfRange for a place that the device does not have; BudgetSpent.
        """
        ...

    def expect(self, places: Iterable[tuple[int, int]]) -> None:
        """These (offset, length) will be read soon: their blocks are fetched together, as far as the cache holds them.

        A hint that costs nothing to leave out and saves one round trip for each block. Places out of range are
        ignored, and so is what the budget does not allow.
        """
        ...

    def on_disk(self, offset: int, length: int) -> tuple[tuple[int, int], ...]:
        """Where this stretch lies on the whole disk, as (offset, length) pieces."""
        ...


class SnapshotDevice:
    """The whole disk of a snapshot.

    Units: `budget_blocks` and `cache_blocks` of 512 KiB. `read_blocks` counts what was fetched, each block once as
    long as the cache held it.
    """

    def __init__(self, blocks: Blocks, *, budget_blocks: int = 4_000, cache_blocks: int = 600) -> None:
        self._blocks = blocks
        self._cache: OrderedDict[int, bytes | None] = OrderedDict()
        self._cache_blocks = cache_blocks
        self.budget_blocks = budget_blocks
        self.read_blocks = 0
        self.size_bytes = blocks.size_bytes

    def read(self, offset: int, length: int) -> bytes:
        """As the port says."""
        self._refuse_outside(offset, length)
        first, start = divmod(offset, BLOCK_BYTES)
        if start + length <= BLOCK_BYTES:
            block = self.block(first)
            return bytes(length) if block is None else block[start : start + length]
        pieces: list[bytes] = []
        while length:
            index, start = divmod(offset, BLOCK_BYTES)
            taken = min(length, BLOCK_BYTES - start)
            block = self.block(index)
            pieces.append(bytes(taken) if block is None else block[start : start + taken])
            offset, length = offset + taken, length - taken
        return b"".join(pieces)

    def block(self, index: int) -> bytes | None:
        """One block; None when it holds no data. Errors: BudgetSpent."""
        if index not in self._cache:
            self._fetch([index])
        self._cache.move_to_end(index)
        return self._cache[index]

    def expect(self, places: Iterable[tuple[int, int]]) -> None:
        """As the port says."""
        wanted: dict[int, None] = {}
        for offset, length in places:
            if offset >= 0 and length > 0 and offset + length <= self.size_bytes:
                wanted |= dict.fromkeys(range(offset // BLOCK_BYTES, (offset + length - 1) // BLOCK_BYTES + 1))
            if len(wanted) >= self._cache_blocks:
                break
        missing = [index for index in wanted if index not in self._cache]
        # Half of the cache, so that what was expected last is still there when what was expected first is read; and
        # never more than the budget leaves, because a hint must not be what ends an inspection.
        self._fetch(missing[: min(self._cache_blocks // 2, self.budget_blocks - self.read_blocks)])

    def on_disk(self, offset: int, length: int) -> tuple[tuple[int, int], ...]:
        """As the port says: itself."""
        return ((offset, length),)

    def _fetch(self, indexes: Sequence[int]) -> None:
        if not indexes:
            return
        if self.read_blocks + len(indexes) > self.budget_blocks:
            raise BudgetSpent(f"{self.read_blocks:,} of at most {self.budget_blocks:,} blocks were read")
        fetched = self._blocks.read(indexes)
        self.read_blocks += sum(content is not None for content in fetched.values())
        self._cache.update(fetched)
        while len(self._cache) > max(self._cache_blocks, len(indexes)):
            self._cache.popitem(last=False)

    def _refuse_outside(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size_bytes:
            raise OutOfRange(f"{length:,} bytes at {offset:,} of a device of {self.size_bytes:,} bytes")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a slice: where it begins in the slice, where on the device below, and how long it is."""

    offset: int
    below: int
    length: int


class Slice:
    """Pieces of a device put together as a device of their own: a partition is one piece, a logical volume several."""

    def __init__(self, below: Device, pieces: Sequence[Piece]) -> None:
        self._below = below
        self._pieces = sorted(pieces, key=lambda piece: piece.offset)
        self._starts = [piece.offset for piece in self._pieces]
        self.size_bytes = max((piece.offset + piece.length for piece in pieces), default=0)

    def read(self, offset: int, length: int) -> bytes:
        """As the port says."""
        return b"".join(self._below.read(below, taken) for below, taken in self._below_of(offset, length))

    def expect(self, places: Iterable[tuple[int, int]]) -> None:
        """As the port says."""
        inside = [(o, n) for o, n in places if o >= 0 and n > 0 and o + n <= self.size_bytes]
        self._below.expect(stretch for offset, length in inside for stretch in self._below_of(offset, length))

    def on_disk(self, offset: int, length: int) -> tuple[tuple[int, int], ...]:
        """As the port says."""
        return tuple(
            place for below, taken in self._below_of(offset, length) for place in self._below.on_disk(below, taken)
        )

    def _below_of(self, offset: int, length: int) -> list[tuple[int, int]]:
        if offset < 0 or length < 0 or offset + length > self.size_bytes:
            raise OutOfRange(f"{length:,} bytes at {offset:,} of a device of {self.size_bytes:,} bytes")
        found: list[tuple[int, int]] = []
        position = bisect.bisect_right(self._starts, offset) - 1
        while length:
            piece = self._pieces[position] if 0 <= position < len(self._pieces) else None
            inside = offset - piece.offset if piece else 0
            if piece is None or inside >= piece.length:
                raise OutOfRange(f"nothing is mapped at {offset:,}")
            taken = min(length, piece.length - inside)
            found.append((piece.below + inside, taken))
            offset, length, position = offset + taken, length - taken, position + 1
        return found


def partition(below: Device, offset: int, length: int) -> Slice:
    """The one stretch of a device as a device; cut where the device ends."""
    return Slice(below, [Piece(0, offset, max(0, min(length, below.size_bytes - offset)))])
