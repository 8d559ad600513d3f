"""The b-trees of an allocation group: free space, inodes, owners and shared blocks, walked level by level."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from functions.inspection.xfs.metadata import GROUP_TREE, Metadata

_NO_BLOCK = 0xFFFF_FFFF
_MOST_LEVELS = 9

Records = NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of tree. `key_bytes` counts the low and, in an overlapping tree, the high key of a child together.

    `key` are the fields of a record that its keys hold and that put the records in order.
    """

    name: str
    magics: tuple[bytes, bytes]
    record: np.dtype[np.void]
    key_bytes: int
    key: tuple[str, ...]


def _record(*fields: tuple[str, str]) -> np.dtype[np.void]:
    return np.dtype(list(fields))


_EXTENT = _record(("start", ">u4"), ("count", ">u4"))
BY_PLACE = Kind("free-space-by-place", (b"AB3B", b"ABTB"), _EXTENT, 8, ("start",))
BY_SIZE = Kind("free-space-by-size", (b"AB3C", b"ABTC"), _EXTENT, 8, ("count", "start"))
_CHUNK = _record(("start", ">u4"), ("holes", ">u2"), ("count", "u1"), ("free_count", "u1"), ("free", ">u8"))
INODES = Kind("inodes", (b"IAB3", b"IABT"), _CHUNK, 4, ("start",))
FREE_INODES = Kind("free-inodes", (b"FIB3", b"FIBT"), _CHUNK, 4, ("start",))
_OWNED = _record(("start", ">u4"), ("count", ">u4"), ("owner", ">u8"), ("offset", ">u8"))
OWNERS = Kind("reverse-map", (b"RMB3", b"RMB3"), _OWNED, 40, ("start",))
_SHARED = _record(("start", ">u4"), ("count", ">u4"), ("references", ">u4"))
SHARED = Kind("reference-counts", (b"R3FC", b"R3FC"), _SHARED, 4, ("start",))


@dataclass(slots=True)
class Tree:
    """What a walk found: the records of the leaves in order, and the blocks that the tree itself lies in.

    `is_whole` is False when a part of it could not be followed; the records are then not all of them.
    """

    kind: Kind
    records: Records
    blocks: list[int] = field(default_factory=list[int])
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class _Node:
    block: int
    level: int
    count: int
    left: int
    right: int
    content: bytes


class TreeWalk:
    """Walks the trees of one group."""

    def __init__(self, metadata: Metadata, group: int) -> None:
        self._metadata = metadata
        self._superblock = metadata.superblock
        self._group = group
        self._group_blocks = self._superblock.blocks_of_group(group)
        self._header_bytes = 56 if self._superblock.has_checksums else 16

    def walk(self, kind: Kind, root: int, levels: int) -> Tree:
        """Every block of the tree was judged, and its records are at hand. Errors: TooMuchDamage; BudgetSpent."""
        tree = Tree(kind, np.empty(0, kind.record))
        if not 1 <= levels <= _MOST_LEVELS:
            self._broken(tree, "levels", f"a tree of {levels} levels is impossible", root)
            return tree
        leaves: list[Records] = []
        expected: list[tuple[int, bytes | None]] = [(root, None)]
        seen: set[int] = set()
        for level in range(levels - 1, -1, -1):
            expected = self._walk_level(tree, expected, level, seen, leaves)
        if leaves:
            tree.records = np.concatenate(leaves)
        self._check_order(tree)
        return tree

    def _walk_level(
        self,
        tree: Tree,
        expected: list[tuple[int, bytes | None]],
        level: int,
        seen: set[int],
        leaves: list[Records],
    ) -> list[tuple[int, bytes | None]]:
        """Judges one level from left to right, and answers the next one: each child with the key it is said to have."""
        offset = self._superblock.offset_in_group
        self._metadata.device.expect(
            (offset(self._group, block), self._superblock.block_bytes) for block, _ in expected
        )
        children: list[tuple[int, bytes | None]] = []
        for position, (block, key) in enumerate(expected):
            node = self._node(tree, block, level, seen, is_root=key is None)
            if node is None:
                continue
            left = expected[position - 1][0] if position else _NO_BLOCK
            right = expected[position + 1][0] if position + 1 < len(expected) else _NO_BLOCK
            if (node.left, node.right) != (left, right):
                self._broken(tree, "siblings", "its neighbours are not those that its parent says", block)
            if level:
                children += self._children(tree, node, key)
            else:
                leaves.append(self._records(tree, node, key))
        return children

    def _node(self, tree: Tree, block: int, level: int, seen: set[int], *, is_root: bool) -> _Node | None:
        what = tree.kind.name
        if not 0 < block < self._group_blocks or block in seen:
            self._broken(tree, "pointer", f"block {block:,} of group {self._group} cannot be a part of the tree", block)
            return None
        seen.add(block)
        offset = self._superblock.offset_in_group(self._group, block)
        read = self._metadata.read(what, offset, self._superblock.block_bytes)
        if read is None or not self._metadata.is_trusted(what, read, GROUP_TREE, owner=self._group, area="group-trees"):
            tree.is_whole = False
            return None
        content = read.content
        tree.blocks.append(block)
        found_level, count, left, right = struct.unpack_from(">HHII", content, 4)
        if content[:4] != tree.kind.magics[0 if self._superblock.has_checksums else 1] or found_level != level:
            self._broken(tree, "kind", f"the block is no part of this tree at level {level}", block)
            return None
        if count > self._most(tree.kind, level) or (count == 0 and not is_root):
            self._broken(tree, "count", f"a block cannot hold {count:,} records", block)
            return None
        return _Node(block, level, count, left, right, content)

    def _most(self, kind: Kind, level: int) -> int:
        room = self._superblock.block_bytes - self._header_bytes
        return room // (kind.key_bytes + 4) if level else room // kind.record.itemsize

    def _children(self, tree: Tree, node: _Node, key: bytes | None) -> list[tuple[int, bytes | None]]:
        low_bytes = tree.kind.key_bytes // 2 if tree.kind is OWNERS else tree.kind.key_bytes
        pointers_at = self._header_bytes + self._most(tree.kind, node.level) * tree.kind.key_bytes
        pointers = struct.unpack_from(f">{node.count}I", node.content, pointers_at)
        keys = [
            node.content[at : at + low_bytes]
            for at in range(
                self._header_bytes, self._header_bytes + node.count * tree.kind.key_bytes, tree.kind.key_bytes
            )
        ]
        if key is not None and keys and keys[0] != key:
            self._broken(tree, "key", "the block does not begin where its parent says", node.block)
        return list(zip(pointers, keys, strict=True))

    def _records(self, tree: Tree, node: _Node, key: bytes | None) -> Records:
        records = np.frombuffer(node.content, tree.kind.record, node.count, self._header_bytes)
        if key is not None and node.count:
            # The offset of an owner carries flags that its key leaves out; the place and the owner say enough.
            first = records[:1].tobytes()[: min(len(key), 4 if tree.kind is OWNERS else len(key))]
            if key[: len(first)] != first:
                self._broken(tree, "key", "the block does not begin where its parent says", node.block)
        return records

    def _check_order(self, tree: Tree) -> None:
        keys = [tree.records[name].astype(np.uint64) for name in tree.kind.key]
        combined = keys[0] if len(keys) == 1 else keys[0] << np.uint64(32) | keys[1]
        rising = combined[1:] >= combined[:-1] if tree.kind is OWNERS else combined[1:] > combined[:-1]
        if not rising.all():
            self._broken(tree, "order", "the records are not in order", tree.blocks[0])

    def _broken(self, tree: Tree, fault: str, detail: str, block: int) -> None:
        tree.is_whole = False
        offset = self._superblock.offset_in_group(self._group, block)
        self._metadata.damage(f"{tree.kind.name}.{fault}", f"group {self._group}: {detail}", offset)
