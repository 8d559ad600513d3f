"""Where the content of an inode lies: extent trees of ext4, and the block maps of ext2 and ext3."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from functions.inspection.checksums import crc32c_of_kernel
from functions.inspection.devices import OutOfRange
from functions.inspection.ext4.blocks import RecoveredBlocks
from functions.inspection.ext4.inodes import POINTER_BYTES, Inode, InodeFlag, checksum_seed
from functions.inspection.ext4.superblock import Superblock
from functions.inspection.findings import Findings

_EXTENT_MAGIC = 0xF30A
_DEEPEST = 5
_HEADER = struct.Struct("<HHHHI")
_LEAF = struct.Struct("<IHHI")
_INDEX = struct.Struct("<IIHH")
_ENTRY_BYTES = 12
_LONGEST_WRITTEN = 32768
"""A longer extent is this much shorter, and not written yet."""

_DIRECT = 12
_POINTERS = struct.Struct("<15I")


class Run(NamedTuple):
    """Blocks that follow each other both in the file and on the device; `length` of them."""

    logical: int
    physical: int
    length: int
    unwritten: bool


@dataclass(slots=True)
class Mapping:
    """All runs of an inode, by their place in the file, and the blocks that the map itself takes."""

    runs: list[Run] = field(default_factory=list[Run])
    tree_blocks: list[int] = field(default_factory=list[int])
    is_whole: bool = True

    @property
    def block_count(self) -> int:
        """How many blocks the inode owns by this map."""
        return sum(run.length for run in self.runs) + len(self.tree_blocks)


def map_blocks(inode: Inode, superblock: Superblock, blocks: RecoveredBlocks, findings: Findings) -> Mapping:
    """The blocks of an inode; what is wrong with the map is damage, and then `is_whole` is false.

    Errors: BudgetSpent.
    """
    mapper = _Mapper(inode, superblock, blocks, findings)
    if inode.flags & InodeFlag.EXTENTS:
        mapper.follow_extents()
    else:
        mapper.follow_pointers()
    return mapper.mapping


def first_tree_blocks(inode: Inode) -> list[int]:
    """The blocks that reading the map of this inode begins with: none when the inode holds all of it."""
    if not inode.flags & InodeFlag.EXTENTS:
        return [block for block in _POINTERS.unpack(inode.pointers)[_DIRECT:] if block]
    _, count, _, depth, _ = _HEADER.unpack_from(inode.pointers)
    if not depth:
        return []
    return [_index_of(inode.pointers, place)[1] for place in range(min(count, POINTER_BYTES // _ENTRY_BYTES - 1))]


def _index_of(node: bytes, place: int) -> tuple[int, int]:
    logical, low, high, _ = _INDEX.unpack_from(node, _ENTRY_BYTES * (place + 1))
    return logical, low | high << 32


class _Mapper:
    """Follows the map of one inode, depth first, so that runs come in the order of the file."""

    def __init__(self, inode: Inode, superblock: Superblock, blocks: RecoveredBlocks, findings: Findings) -> None:
        self._inode = inode
        self._superblock = superblock
        self._blocks = blocks
        self._findings = findings
        self._seen: set[int] = set()
        self._next_logical = 0
        self._seed = checksum_seed(superblock, inode) if superblock.has_metadata_checksums else 0
        self.mapping = Mapping()

    def follow_extents(self) -> None:
        self._follow_node(self._inode.pointers, None, 0, at=None)

    def _follow_node(self, node: bytes, depth: int | None, begin: int, *, at: int | None) -> None:
        magic, count, most, found_depth, _ = _HEADER.unpack_from(node)
        if magic != _EXTENT_MAGIC or count > most or found_depth > _DEEPEST:
            return self._damage("extent.header", "the head of a node is impossible", at)
        if (depth is not None and found_depth != depth) or _ENTRY_BYTES * (most + 1) > len(node):
            return self._damage("extent.header", "a node is of the wrong depth or size", at)
        if at is not None and not self._node_holds(node, most, at):
            return self._damage("extent.checksum", f"block {at}", at)
        if found_depth:
            self._follow_children(node, count, found_depth - 1, begin, at)
        else:
            self._take_leaf(node, count, begin, at)
        return None

    def _node_holds(self, node: bytes, most: int, at: int) -> bool:
        if not self._superblock.has_metadata_checksums:
            return True
        end = _ENTRY_BYTES * (most + 1)
        if end + 4 > len(node):
            return False
        self._blocks.record(self._findings, "extents", at * self._superblock.block_bytes, end + 4)
        return crc32c_of_kernel(self._seed, node[:end]) == int(struct.unpack_from("<I", node, end)[0])

    def _follow_children(self, node: bytes, count: int, depth: int, begin: int, at: int | None) -> None:
        children = [_index_of(node, place) for place in range(count)]
        self._blocks.expect((block, 1) for _, block in children)
        for logical, block in children:
            if logical < max(begin, self._next_logical):
                return self._damage("extent.order", f"an index begins at {logical:,} again", at)
            child = self._tree_block(block)
            if child is not None:
                self._follow_node(child, depth, logical, at=block)
        return None

    def _take_leaf(self, node: bytes, count: int, begin: int, at: int | None) -> None:
        for place in range(count):
            logical, length, high, low = _LEAF.unpack_from(node, _ENTRY_BYTES * (place + 1))
            unwritten = length > _LONGEST_WRITTEN
            length -= _LONGEST_WRITTEN if unwritten else 0
            physical = low | high << 32
            if not length or logical < max(begin, self._next_logical):
                self._damage("extent.order", f"an extent of {length:,} blocks at {logical:,}", at)
            elif not self._superblock.first_block < physical <= self._superblock.block_count - length:
                self._damage("extent.out-of-range", f"{length:,} blocks at {physical:,}", at)
            else:
                self.mapping.runs.append(Run(logical, physical, length, unwritten))
                self._next_logical = logical + length

    def follow_pointers(self) -> None:
        pointers = _POINTERS.unpack(self._inode.pointers)
        self._take_pointers(np.array(pointers[:_DIRECT], "<u4"), 0)
        per_block = self._superblock.block_bytes // 4
        begin = _DIRECT
        for level, block in enumerate(pointers[_DIRECT:], start=1):
            self._follow_indirect(block, level, begin)
            begin += per_block**level

    def _follow_indirect(self, block: int, level: int, begin: int) -> None:
        content = self._tree_block(block) if block else None
        if content is None:
            return
        pointers = np.frombuffer(content, "<u4")
        if level == 1:
            self._take_pointers(pointers, begin)
            return
        reach = len(pointers) ** (level - 1)
        places = np.flatnonzero(pointers).tolist()
        self._blocks.expect((int(pointers[place]), 1) for place in places)
        for place in places:
            self._follow_indirect(int(pointers[place]), level - 1, begin + place * reach)

    def _take_pointers(self, pointers: np.ndarray[tuple[int], np.dtype[np.uint32]], begin: int) -> None:
        used = np.flatnonzero(pointers)
        numbers = pointers[used].astype(np.int64)
        outside = (numbers <= self._superblock.first_block) | (numbers >= self._superblock.block_count)
        if outside.any():
            self._damage("block-map.out-of-range", f"block {int(numbers[outside][0]):,}", None)
            used, numbers = used[~outside], numbers[~outside]
        if not len(used):
            return
        breaks = np.flatnonzero((np.diff(used) != 1) | (np.diff(numbers) != 1)) + 1
        starts = [0, *breaks.tolist()]
        for start, end in zip(starts, [*starts[1:], len(used)], strict=True):
            self.mapping.runs.append(Run(begin + int(used[start]), int(numbers[start]), end - start, False))

    def _tree_block(self, block: int) -> bytes | None:
        if block in self._seen:
            self._damage("extent.loop", f"block {block:,} is part of the map twice", block)
            return None
        self._seen.add(block)
        if not self._superblock.first_block < block < self._superblock.block_count:
            self._damage("extent.out-of-range", f"block {block:,} as part of the map", None)
            return None
        try:
            content = self._blocks.read(block)
        except OutOfRange as error:
            self._damage("extent.out-of-range", str(error), None)
            return None
        self.mapping.tree_blocks.append(block)
        return content

    def _damage(self, fault: str, detail: str, block: int | None) -> None:
        self.mapping.is_whole = False
        at = None if block is None else block * self._superblock.block_bytes
        self._findings.damage(f"ext4.{fault}", f"inode {self._inode.number}: {detail}", at=at)
