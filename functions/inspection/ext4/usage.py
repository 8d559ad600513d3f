"""Which blocks of ext2, ext3 and ext4 are in use and by whom, compared with what the bitmaps say."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from functions.inspection.ext4.groups import (
    Groups,
    backup_descriptor_blocks,
    descriptor_block,
    descriptor_block_count,
)
from functions.inspection.ext4.superblock import Superblock
from functions.inspection.findings import Findings

OF_THE_FILE_SYSTEM = 0
"""The owner of blocks that belong to no inode."""

OF_ATTRIBUTES = -1
"""The owner of blocks of extended attributes, which several inodes may share."""

_MOST_NAMED = 100
"""Of blocks that are claimed twice, so many are named: on a hostile disk every block may be."""


class TooManyBlocks(Exception):
    """More blocks were claimed than the file system has: somebody claims the same ones again and again."""


@dataclass(frozen=True, slots=True)
class _Sorted:
    """The stretches by their begin; `reach` is where the farthest of all up to one ends."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    owners: NDArray[np.int64]
    reach: NDArray[np.int64]


class Claims:
    """Stretches of blocks in use, each with its owner. Memory grows with the stretches, not with the blocks."""

    def __init__(self, block_count: int) -> None:
        self._starts = array("Q")
        self._counts = array("Q")
        self._owners = array("q")
        self._left = 2 * block_count
        self._sorted: _Sorted | None = None

    def add(self, start: int, count: int, owner: int) -> None:
        """These blocks are in use by this inode. Errors: TooManyBlocks."""
        self._left -= count
        if self._left < 0:
            raise TooManyBlocks(f"inode {owner}")
        self._starts.append(start)
        self._counts.append(count)
        self._owners.append(owner)

    def close(self) -> None:
        """No more claims follow: they are put in order, which the questions below need."""
        starts = np.array(self._starts, np.int64)
        order = np.argsort(starts, kind="stable")
        starts = starts[order]
        ends = starts + np.array(self._counts, np.int64)[order]
        owners = np.array(self._owners, np.int64)[order]
        self._sorted = _Sorted(starts, ends, owners, np.maximum.accumulate(ends))

    def claimed_twice(self) -> list[tuple[int, int, int]]:
        """Stretches that begin inside of an earlier one, the first of them, as (block, owner, the earlier owner)."""
        kept = self._in_order()
        places = np.flatnonzero(kept.starts[1:] < kept.reach[:-1]) + 1
        found: list[tuple[int, int, int]] = []
        for place in places[:_MOST_NAMED].tolist():
            earlier = int(np.searchsorted(kept.reach[:place], kept.reach[place - 1]))
            found.append((int(kept.starts[place]), int(kept.owners[place]), int(kept.owners[earlier])))
        return found

    def within(self, first: int, count: int, *, of_inodes_only: bool = False) -> NDArray[np.bool_]:
        """For each of these blocks whether it is in use."""
        kept = self._in_order()
        begin = int(np.searchsorted(kept.reach, first, side="right"))
        chosen = slice(begin, int(np.searchsorted(kept.starts, first + count)))
        low = np.clip(kept.starts[chosen] - first, 0, count)
        high = np.clip(kept.ends[chosen] - first, 0, count)
        if of_inodes_only:
            is_of_inode = kept.owners[chosen] != OF_THE_FILE_SYSTEM
            low, high = low[is_of_inode], high[is_of_inode]
        change = np.bincount(low, minlength=count + 1) - np.bincount(high, minlength=count + 1)
        return np.cumsum(change[:-1]) > 0

    def _in_order(self) -> _Sorted:
        if self._sorted is None:
            raise RuntimeError("close() the claims before asking about them")
        return self._sorted


def claim_metadata(superblock: Superblock, groups: Groups, claims: Claims) -> None:
    """The blocks that the file system itself takes are claimed. Errors: TooManyBlocks."""
    for index in range(descriptor_block_count(superblock)):
        claims.add(descriptor_block(superblock, index), 1, OF_THE_FILE_SYSTEM)
    for _, block in backup_descriptor_blocks(superblock):
        if block < superblock.block_count:
            claims.add(block, 1, OF_THE_FILE_SYSTEM)
    _claim_superblocks(superblock, claims)
    for group in np.flatnonzero(groups.is_possible).tolist():
        claims.add(int(groups.block_bitmap[group]), 1, OF_THE_FILE_SYSTEM)
        claims.add(int(groups.inode_bitmap[group]), 1, OF_THE_FILE_SYSTEM)
        claims.add(int(groups.inode_table[group]), superblock.inode_table_blocks, OF_THE_FILE_SYSTEM)


def _claim_superblocks(superblock: Superblock, claims: Claims) -> None:
    beside = min(descriptor_block_count(superblock), superblock.first_meta_group)
    reserved = superblock.reserved_descriptor_blocks
    for group in range(superblock.group_count):
        if not superblock.has_superblock(group):
            continue
        first = superblock.first_block_of(group)
        claims.add(first, 1, OF_THE_FILE_SYSTEM)
        if reserved and first + 1 + beside + reserved <= superblock.block_count:
            claims.add(first + 1 + beside, reserved, OF_THE_FILE_SYSTEM)


def report_shared(claims: Claims, findings: Findings) -> None:
    """Blocks that two claim are damage."""
    for block, owner, earlier in claims.claimed_twice():
        detail = f"block {block:,} by {_named(earlier)} and {_named(owner)}"
        findings.damage("ext4.block.claimed-twice", detail)


def _named(owner: int) -> str:
    names = {OF_THE_FILE_SYSTEM: "the file system", OF_ATTRIBUTES: "extended attributes"}
    return names.get(owner, f"inode {owner}")
