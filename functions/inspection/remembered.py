"""What the blocks of a volume held at its last inspected point: eight bytes for each block that was read.

Ordinary data has no checksum of its own, so a block that was lost, swapped or silently changed looks as good as any
other. What tells them apart is memory. EBS says which blocks may differ between two points of a volume; every other
block must still hold what it held, and a block that was ever read can be held to that.

What this cannot see: a block that EBS lost and calls changed, and a block that was never read before.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from functions.core.errors import Broken
from functions.core.evidence import Assertion
from functions.inspection.checksums import crc32c
from functions.inspection.devices import BLOCK_BYTES

DIGEST_BYTES = 8
"""A prefix of SHA-256. Two different contents agree in it once in 2**64 pairs: on a full volume of 16 TiB, all 33
million blocks of it wrong, the chance to overlook a single one is below one in 500,000 million. It guards against
accident. Whoever can choose the content of both blocks could make two that agree; nobody gains by that here."""

CHUNK_BLOCKS = 32_768
"""The blocks remembered in one row: 16 GiB of a volume. An offset in it fits two bytes."""

NAMED_INDEXES = 5

_HEADER = struct.Struct("<4sIII")
"""Mark and version, number of the chunk, number of blocks, CRC-32C of the three and of what follows."""

_MARK = b"HFR1"


def digest_of(block: bytes | None) -> int:
    """What is remembered of a block; None, a block that holds no data, is the same as one full of zeros."""
    return ZEROS if block is None else digest_of_checksum(hashlib.sha256(block).digest())


def digest_of_checksum(sha256: bytes) -> int:
    """The same from a SHA-256 that is already known, as EBS direct sends it with each block."""
    return int.from_bytes(sha256[:DIGEST_BYTES], "big")


ZEROS = digest_of_checksum(hashlib.sha256(bytes(BLOCK_BYTES)).digest())
"""The digest of a block full of zeros, which EBS may store or leave out."""


@dataclass(frozen=True, slots=True, eq=False)
class Remembered:
    """The digests of the blocks that are known at one point of a volume, ascending by block index.

    Ten bytes a block in rows, twelve in memory: a volume of 1 TiB takes 25 MB.
    """

    indexes: NDArray[np.uint32]
    digests: NDArray[np.uint64]

    @classmethod
    def of(cls, digests: Mapping[int, int]) -> Remembered:
        """From what was read: digests by block index."""
        order = sorted(digests)
        return cls(np.array(order, np.uint32), np.array([digests[index] for index in order], np.uint64))

    @classmethod
    def joined(cls, parts: Iterable[Remembered]) -> Remembered:
        """From several chunks that know different blocks; of a block that two of them know, the first one counts."""
        known = [cls.of({}), *parts]
        indexes, first = np.unique(np.concatenate([part.indexes for part in known]), return_index=True)
        return cls(indexes, np.concatenate([part.digests for part in known])[first])

    def __len__(self) -> int:
        return len(self.indexes)

    def items(self) -> Iterator[tuple[int, int]]:
        """Each block index with its digest, ascending, as plain numbers; made as they are asked for."""
        for first in range(0, len(self), CHUNK_BLOCKS):
            part = slice(first, first + CHUNK_BLOCKS)
            yield from zip(self.indexes[part].tolist(), self.digests[part].tolist(), strict=True)

    def chunks(self) -> Iterator[tuple[int, Remembered]]:
        """The same in chunks of CHUNK_BLOCKS blocks, each with its number; chunks that know nothing are left out."""
        numbers, firsts = np.unique(self.indexes // CHUNK_BLOCKS, return_index=True)
        ends = [*firsts.tolist(), len(self)][1:]
        for number, first, end in zip(numbers.tolist(), firsts.tolist(), ends, strict=True):
            yield number, Remembered(self.indexes[first:end], self.digests[first:end])

    def without(self, gone: Callable[[int], bool]) -> Remembered:
        """Only the blocks whose index is not gone."""
        kept = np.fromiter((not gone(index) for index, _ in self.items()), np.bool_, len(self))
        return Remembered(self.indexes[kept], self.digests[kept])


def compare(
    remembered: Remembered,
    read_now: Mapping[int, int],
    *,
    may_differ: Container[int],
    listed_now: Container[int],
) -> tuple[Assertion, Assertion]:
    """Whether every block of which nothing says that it changed still holds what it held at the earlier point.

    `read_now`: digests by block index, as many as were read. `may_differ`: what ListChangedBlocks calls changed
    between the two points. `listed_now`: the blocks that hold data now; losing one needs no read to be seen.
    """
    held = remembered.without(may_differ.__contains__)
    return _none_lost(held, listed_now, len(remembered)), _none_changed(held, read_now)


def _none_lost(held: Remembered, listed_now: Container[int], known: int) -> Assertion:
    what = "no block was lost since the earlier point"
    if not known:
        return Assertion(what=what, held=None, detail="no block is remembered from an earlier point")
    lost = [index for index, digest in held.items() if digest != ZEROS and index not in listed_now]
    if lost:
        detail = f"{len(lost):,} of {known:,} held data, are gone, and nothing says they changed: {_named(lost)}"
        return Assertion(what=what, held=False, detail=detail)
    return Assertion(what=what, held=True, detail=f"{known:,} remembered blocks are there or are known to have changed")


def _none_changed(held: Remembered, read_now: Mapping[int, int]) -> Assertion:
    what = "no block changed silently since the earlier point"
    differs = {index: read_now[index] != digest for index, digest in held.items() if index in read_now}
    if not differs:
        detail = f"none of {len(held):,} remembered blocks that must have stayed the same was read again"
        return Assertion(what=what, held=None, detail=detail)
    differing = [index for index, is_other in differs.items() if is_other]
    if not differing:
        return Assertion(what=what, held=True, detail=f"{len(differs):,} of {len(held):,} blocks were read again")
    now = np.array([read_now[index] for index in differing if read_now[index] != ZEROS], np.uint64)
    moved = int(np.isin(now, held.digests).sum())
    detail = f"{len(differing):,} of {len(differs):,} differ and nothing says they changed: {_named(differing)}"
    if moved:
        detail += f"; {moved:,} of them hold what another block held"
    return Assertion(what=what, held=False, detail=detail)


def merged(remembered: Remembered, read_now: Mapping[int, int], *, may_differ: Container[int]) -> Remembered:
    """What is remembered next: what was read now, and of the rest what must still be as it was.

    To be called only when `compare` found nothing broken, or the damage becomes what the next point is held to.
    """
    kept = remembered.without(may_differ.__contains__)
    return Remembered.joined([Remembered.of(read_now), kept])


def same_content(source: Mapping[int, int], copy: Mapping[int, int]) -> Assertion:
    """Whether the blocks read of both snapshots hold the same: a copy in another Region and its source.

    Both by block index, read at the same point. A block that only one side was asked for proves nothing.
    """
    what = "the copy holds what its source holds"
    both = sorted(source.keys() & copy.keys())
    if not both:
        return Assertion(what=what, held=None, detail="no block was read of both")
    differing = [index for index in both if source[index] != copy[index]]
    if differing:
        detail = f"{len(differing):,} of {len(both):,} blocks differ: {_named(differing)}"
        return Assertion(what=what, held=False, detail=detail)
    return Assertion(what=what, held=True, detail=f"{len(both):,} blocks are the same")


def pack(chunk: Remembered) -> bytes:
    """One chunk as the bytes of one row, at most 328 KB. Errors: ValueError when it spans more than one chunk."""
    numbers = np.unique(chunk.indexes // CHUNK_BLOCKS)
    if len(numbers) != 1:
        raise ValueError(f"a row holds the blocks of one chunk, and these are of {len(numbers)}: use chunks()")
    number = int(numbers[0])
    offsets = (chunk.indexes - number * CHUNK_BLOCKS).astype("<u2")
    body = offsets.tobytes() + chunk.digests.astype("<u8").tobytes()
    return _header(number, len(chunk), body) + body


def unpack(row: bytes, *, number: int) -> Remembered:
    """The chunk of that number from its row. Errors: Broken when the row is not what `pack` made of that chunk."""
    body = row[_HEADER.size :]
    if len(row) < _HEADER.size or not row.startswith(_MARK):
        raise _broken(number, "does not begin as one")
    count = _HEADER.unpack_from(row)[2]
    if count > CHUNK_BLOCKS or len(body) != count * (2 + DIGEST_BYTES):
        raise _broken(number, f"has {len(row):,} bytes, which do not fit the {count:,} blocks it promises")
    if _header(number, count, body) != row[: _HEADER.size]:
        raise _broken(number, "does not match its checksum, or is that of another chunk")
    offsets = np.frombuffer(body, "<u2", count)
    if np.any(offsets[1:] <= offsets[:-1]) or np.any(offsets >= CHUNK_BLOCKS):
        raise _broken(number, "names a block twice, or none of this chunk")
    indexes = offsets.astype(np.uint32) + np.uint32(number * CHUNK_BLOCKS)
    return Remembered(indexes, np.frombuffer(body, "<u8", count, 2 * count).astype(np.uint64))


def _header(number: int, count: int, body: bytes) -> bytes:
    bare = _HEADER.pack(_MARK, number, count, 0)
    return _HEADER.pack(_MARK, number, count, crc32c(bare + body))


def _broken(number: int, how: str) -> Broken:
    return Broken(
        f"what is remembered of blocks {number * CHUNK_BLOCKS:,} and on is damaged: the row {how}",
        hint="delete this row; an inspection that reads these blocks remembers them again",
    )


def _named(indexes: list[int]) -> str:
    first = ", ".join(f"{index}" for index in indexes[:NAMED_INDEXES])
    return f"block {first}" + (" and more" if len(indexes) > NAMED_INDEXES else "")
