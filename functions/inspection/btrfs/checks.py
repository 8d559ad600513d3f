"""The verdict on the metadata of a btrfs file system: every tree is walked in all its copies and compared."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from functions.inspection.btrfs.chunks import ChunkMap, parse_chunk
from functions.inspection.btrfs.format import (
    BLOCK_GROUP_TREE,
    CHECKSUM_OBJECT,
    CHECKSUM_TREE,
    CHUNK_ITEM,
    DEVICE_TREE,
    EXTENT_CHECKSUM,
    EXTENT_TREE,
    EXTENT_TREE_V2_BIT,
    FREE_SPACE_TREE,
    FREE_SPACE_TREE_BIT,
    FREE_SPACE_TREE_VALID_BIT,
    ROOT_ITEM,
    ROOT_REF,
    TOP_SUBVOLUME,
    Key,
    Node,
    Pointer,
    Root,
)
from functions.inspection.btrfs.names import NameCheck, SubvolumeEntry, Told
from functions.inspection.btrfs.space import SpaceCheck
from functions.inspection.btrfs.superblock import Superblock
from functions.inspection.btrfs.trees import Trees, is_subvolume
from functions.inspection.findings import Findings, Weight

RootKey = tuple[int, int]
"""(tree, offset): the key of a root item without its type; snapshots and relocations carry an offset."""

_ROOT_REF_HEAD = struct.Struct("<QQH")


class Verification:
    """One look at everything. Trees that overlap, as snapshots do, are judged once.

    `damage_before` counts what was found on the device before this file system was opened.
    """

    def __init__(
        self,
        superblock: Superblock,
        chunks: ChunkMap,
        trees: Trees,
        roots: Mapping[RootKey, Root],
        log_roots: Mapping[RootKey, Root],
        findings: Findings,
        damage_before: int,
    ) -> None:
        self._superblock = superblock
        self._chunks = chunks
        self._trees = trees
        self._roots = roots
        self._log_roots = log_roots
        self._findings = findings
        self._damage_before = damage_before
        self._judged: set[int] = set()
        self._names = NameCheck(findings, chunks, superblock.sector_bytes)
        self._told: dict[int, Told] = {}
        self._space = SpaceCheck(superblock, chunks, findings)
        self._expected_entries: set[SubvolumeEntry] = set()

    def run(self) -> None:
        """Everything was looked at once and is in the findings. Errors: BudgetSpent."""
        self._chunk_tree()
        self._root_tree()
        living = [root for root in self._roots.values() if _is_living_subvolume(root)]
        for root in living:
            self._subvolume(root.pointer)
        for root in self._roots.values():
            if not _is_living_subvolume(root):
                self._other_tree(root)
        self._log()
        self._required_trees()
        if self._trees.elsewhere:
            detail = f"{self._trees.elsewhere:,} nodes lie on devices that are not here"
            self._findings.unknown("btrfs.node.elsewhere", detail)
        elif self._superblock.is_understood and self._findings.count(Weight.DAMAGE) == self._damage_before:
            # Sums over trees that could not be read in full would repeat in other words what was already said.
            self._compare()

    def _compare(self) -> None:
        self._space.compare_chunks()
        wanted = FREE_SPACE_TREE_BIT | FREE_SPACE_TREE_VALID_BIT
        has_tree = self._superblock.read_only_compatible & wanted == wanted and (FREE_SPACE_TREE, 0) in self._roots
        self._space.compare_extents(self._judged, self._names.extents, has_free_space_tree=has_tree)
        if self._names.all_entries_kept:
            missing = self._expected_entries - self._names.subvolume_entries
            for directory, _, name, subvolume in sorted(missing)[:20]:
                detail = f"subvolume {subvolume} has no entry {name!r} in directory {directory}"
                self._findings.damage("btrfs.subvolume.entry", detail)

    def _chunk_tree(self) -> None:
        for leaf in self._leaves(self._superblock.chunk_root):
            for key, item in leaf.items():
                if key[1] == CHUNK_ITEM:
                    try:
                        parse_chunk(key[2], item, self._superblock)
                    except ValueError as wrong:
                        self._findings.damage("btrfs.chunk.item", str(wrong))

    def _root_tree(self) -> None:
        for leaf in self._leaves(self._superblock.root):
            for key, item in leaf.items():
                try:
                    if key[1] == ROOT_ITEM:
                        Root.parse(key[0], item)
                    elif key[1] == ROOT_REF:
                        self._expect_entry(key, item)
                except ValueError as wrong:
                    self._findings.damage("btrfs.root.item", f"item {key}: {wrong}")

    def _expect_entry(self, key: Key, item: bytes) -> None:
        if len(item) < _ROOT_REF_HEAD.size:
            raise ValueError(f"a reference of {len(item)} bytes")
        directory, index, length = _ROOT_REF_HEAD.unpack_from(item)
        if len(item) != _ROOT_REF_HEAD.size + length:
            raise ValueError(f"a name of {length} bytes in a reference of {len(item)}")
        self._expected_entries.add((directory, index, item[_ROOT_REF_HEAD.size :], key[2]))

    def _required_trees(self) -> None:
        """Without these no kernel mounts. A newer layout of the extent tree names its trees otherwise."""
        if self._trees.elsewhere or self._superblock.incompatible & EXTENT_TREE_V2_BIT:
            return
        for tree in (EXTENT_TREE, DEVICE_TREE, TOP_SUBVOLUME, CHECKSUM_TREE):
            if (tree, 0) not in self._roots:
                self._findings.damage("btrfs.root.missing", f"tree {tree} has no root")

    def _leaves(self, root: Pointer) -> Iterator[Node]:
        nodes = self._trees.walk(root, every_copy=True, judged=self._judged)
        return (node for node in nodes if not node.level)

    def _subvolume(self, pointer: Pointer) -> None:
        inner: list[Node] = []
        for node in self._trees.walk(pointer, every_copy=True, judged=self._judged):
            if node.level:
                inner.append(node)
            else:
                self._told[node.logical] = self._names.take(pointer.owner, node)
        # Parents were met before their children, so that backwards every sum is there when its parent asks for it;
        # what other subvolumes share was summed when they were walked, and what could not be read has no sum.
        for node in reversed(inner):
            parts = [self._told.get(logical) for logical, _ in node.slots]
            if None not in parts:
                self._told[node.logical] = sum((part for part in parts if part), Told())
        told = self._told.get(pointer.logical)
        if told:
            self._names.conclude(pointer.owner, told)

    def _other_tree(self, root: Root) -> None:
        tree = root.pointer.owner
        if root.pointer.logical in self._judged:
            return
        nodes = self._trees.walk(
            root.pointer,
            every_copy=True,
            judged=self._judged,
            leaves_out=lambda child, following: _is_dropped(root, child, following),
        )
        for leaf in (node for node in nodes if not node.level):
            if tree in (EXTENT_TREE, BLOCK_GROUP_TREE):
                self._space.take_extents(leaf)
            elif tree == DEVICE_TREE:
                self._space.take_device_extents(leaf)
            elif tree == FREE_SPACE_TREE:
                self._space.take_free_space(leaf)
            elif tree == CHECKSUM_TREE:
                self._checksums(leaf)

    def _checksums(self, leaf: Node) -> None:
        length, sector = self._superblock.checksum.length, self._superblock.sector_bytes
        covered = 0
        for key, (_, size) in zip(leaf.keys, leaf.slots, strict=True):
            if key[:2] != (CHECKSUM_OBJECT, EXTENT_CHECKSUM) or not size or size % length or key[2] % sector:
                self._findings.damage("btrfs.checksums.item", f"item {key} of {size:,} bytes")
                continue
            if key[2] < covered:
                self._findings.damage("btrfs.checksums.overlap", f"sectors from {key[2]:,} have two checksums")
            covered = key[2] + size // length * sector

    def _log(self) -> None:
        """The log of synced files is no part of the committed trees: its nodes are allocated nowhere."""
        if self._superblock.log_root is None:
            return
        judged: set[int] = set()
        for pointer in (self._superblock.log_root, *(root.pointer for root in self._log_roots.values())):
            for _ in self._trees.walk(pointer, every_copy=True, judged=judged):
                pass  # judged while it is read


def _is_living_subvolume(root: Root) -> bool:
    return is_subvolume(root.pointer.owner) and root.references > 0 and root.dropped_to is None


def _is_dropped(root: Root, child: Pointer, following: Key | None) -> bool:
    """Whether the deletion of a tree has passed this node, which others may have overwritten since."""
    if root.dropped_to is None or child.first is None or child.level + 1 < root.dropped_level:
        return False
    if following is not None and following <= root.dropped_to:
        return True
    return child.level + 1 == root.dropped_level and child.first < root.dropped_to
