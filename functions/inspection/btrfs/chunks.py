"""The chunks of a btrfs file system: where on this device a logical address lies, and how often."""

from __future__ import annotations

import bisect
from dataclasses import dataclass

from functions.inspection.btrfs.format import (
    CHUNK_HEAD,
    CHUNK_ITEM,
    KEY,
    RAID0,
    RAID5,
    RAID6,
    RAID10,
    STRIPE,
)
from functions.inspection.btrfs.superblock import Superblock


class Unmapped(Exception):
    """No chunk holds this logical address."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of logical addresses. `stripes` holds an offset on this device, or None for one on another device."""

    logical: int
    length: int
    stripe_bytes: int
    kind: int
    stripes: tuple[int | None, ...]
    sub_stripes: int

    @property
    def end(self) -> int:
        """The first logical address behind it."""
        return self.logical + self.length

    @property
    def stripe_length(self) -> int | None:
        """How much of each device it takes; None for parity profiles, whose content we do not look for."""
        if self.kind & (RAID5 | RAID6):
            return None
        if self.kind & RAID0:
            return self.length // len(self.stripes)
        if self.kind & RAID10:
            return self.length * self.sub_stripes // len(self.stripes)
        return self.length

    def copies(self, logical: int) -> tuple[tuple[int | None, ...], int]:
        """Where each copy of a logical address lies, None when elsewhere, and for how many bytes that holds."""
        inside = logical - self.logical
        if self.kind & (RAID5 | RAID6):
            return (None,), self.length - inside
        if not self.kind & (RAID0 | RAID10):
            return tuple(None if at is None else at + inside for at in self.stripes), self.length - inside
        number, rest = divmod(inside, self.stripe_bytes)
        each = self.sub_stripes if self.kind & RAID10 else 1
        row, column = divmod(number, len(self.stripes) // each)
        below = row * self.stripe_bytes + rest
        chosen = self.stripes[column * each : column * each + each]
        return tuple(None if at is None else at + below for at in chosen), self.stripe_bytes - rest


def parse_chunk(logical: int, item: bytes, superblock: Superblock) -> Chunk:
    """Of a CHUNK_ITEM. Errors: ValueError for what the format forbids."""
    if len(item) < CHUNK_HEAD.size:
        raise ValueError(f"a chunk of {len(item)} bytes")
    length, _, stripe_bytes, kind, _, _, _, count, sub_stripes = CHUNK_HEAD.unpack_from(item)
    if not count or len(item) != CHUNK_HEAD.size + count * STRIPE.size:
        raise ValueError(f"a chunk of {count} stripes in {len(item)} bytes")
    if not length or length % superblock.sector_bytes or logical % superblock.sector_bytes or logical + length > 2**63:
        raise ValueError(f"a chunk of {length:,} bytes at {logical:,}")
    if not stripe_bytes or stripe_bytes % superblock.sector_bytes:
        raise ValueError(f"stripes of {stripe_bytes:,} bytes")
    if kind & RAID10 and (not sub_stripes or count % sub_stripes):
        raise ValueError(f"{count} stripes in groups of {sub_stripes}")
    stripes: list[int | None] = []
    for position in range(count):
        device, offset, uuid = STRIPE.unpack_from(item, CHUNK_HEAD.size + position * STRIPE.size)
        is_here = device == superblock.device_id and uuid == superblock.device_uuid
        stripes.append(offset if is_here else None)
    return Chunk(logical, length, stripe_bytes, kind, tuple(stripes), sub_stripes)


def system_chunks(superblock: Superblock) -> list[Chunk]:
    """The chunks that the superblock itself names, in which the chunk tree lies.

    Errors: ValueError when their table does not hold chunks from its beginning to its end.
    """
    table, at = superblock.system_chunks, 0
    found: list[Chunk] = []
    while at < len(table):
        if at + KEY.size + CHUNK_HEAD.size > len(table):
            raise ValueError("the table ends inside of a chunk")
        _, kind, logical = KEY.unpack_from(table, at)
        at += KEY.size
        if kind != CHUNK_ITEM:
            raise ValueError(f"an item of type {kind} among the first chunks")
        count = CHUNK_HEAD.unpack_from(table, at)[7]
        length = CHUNK_HEAD.size + count * STRIPE.size
        found.append(parse_chunk(logical, table[at : at + length], superblock))
        at += length
    return found


class ChunkMap:
    """Every chunk that is known, by logical address."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._chunks: list[Chunk] = []

    def add(self, chunk: Chunk) -> None:
        """The chunk is known; once more is no change. Errors: ValueError when it overlaps another one."""
        at = bisect.bisect_left(self._starts, chunk.logical)
        if at < len(self._chunks) and self._chunks[at] == chunk:
            return
        overlaps_next = at < len(self._chunks) and self._starts[at] < chunk.end
        if overlaps_next or (at and self._chunks[at - 1].end > chunk.logical):
            raise ValueError(f"two chunks claim the addresses at {chunk.logical:,}")
        self._starts.insert(at, chunk.logical)
        self._chunks.insert(at, chunk)

    def chunks(self) -> list[Chunk]:
        """All of them, in order."""
        return list(self._chunks)

    def chunk(self, logical: int) -> Chunk:
        """The one that holds this address. Errors: Unmapped."""
        at = bisect.bisect_right(self._starts, logical) - 1
        if at < 0 or logical >= self._chunks[at].end:
            raise Unmapped(f"no chunk holds the address {logical:,}")
        return self._chunks[at]

    def copies(self, logical: int) -> tuple[tuple[int | None, ...], int]:
        """As `Chunk.copies`. Errors: Unmapped."""
        return self.chunk(logical).copies(logical)
