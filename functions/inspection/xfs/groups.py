"""Allocation groups of XFS: their headers, the trees below them, and the counters that must agree with both."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from functions.inspection.xfs.btrees import (
    BY_PLACE,
    BY_SIZE,
    FREE_INODES,
    INODES,
    OWNERS,
    SHARED,
    Records,
    Tree,
    TreeWalk,
)
from functions.inspection.xfs.metadata import (
    FREE_LIST,
    FREE_SPACE_HEADER,
    INODE_HEADER,
    Layout,
    Metadata,
    sealed_rightly,
)
from functions.inspection.xfs.space import Claims, GroupSpace
from functions.inspection.xfs.superblock import CHECKSUM_AT, MAGIC, differing_geometry

_NO_INODE = 0xFFFF_FFFF
INODES_IN_CHUNK = 64
UNLINKED_CHAINS = 64


@dataclass(slots=True)
class Group:
    """What the headers and trees of one group said. `space` is None when they cannot be relied on.

    `unlinked` holds the first inode of each chain of files that were deleted while they were open.
    """

    number: int
    chunks: Records
    space: GroupSpace | None = None
    unlinked: dict[int, int] = field(default_factory=dict[int, int])
    free_blocks: int = 0
    inodes: int = 0
    free_inodes: int = 0


class Groups:
    """Judges groups one after the other, and enters into the claims what they need for themselves."""

    def __init__(self, metadata: Metadata, claims: Claims, primary: bytes) -> None:
        self._metadata = metadata
        self._superblock = metadata.superblock
        self._claims = claims
        self._primary = primary

    def expect(self, numbers: range) -> None:
        """The headers of these groups will be read soon."""
        length = 4 * self._superblock.sector_bytes
        self._metadata.device.expect((self._superblock.offset_in_group(number, 0), length) for number in numbers)

    def verify(self, number: int) -> Group:
        """The group was judged. Errors: TooMuchDamage; TooManyClaims; BudgetSpent."""
        superblock = self._superblock
        group = Group(number, np.empty(0, INODES.record))
        headers = -(-4 * superblock.sector_bytes // superblock.block_bytes)
        self._claims.of_metadata(number << superblock.group_bits, headers)
        if superblock.log_start and superblock.split(superblock.log_start)[0] == number:
            self._claims.of_metadata(superblock.log_start, superblock.log_blocks)
        if number:
            self._check_backup(number)
        space_header = self._header(group, 1, "free-space-header", b"XAGF", FREE_SPACE_HEADER)
        inode_header = self._header(group, 2, "inode-header", b"XAGI", INODE_HEADER)
        if space_header:
            self._verify_space(group, space_header)
            self._verify_free_list(group, space_header)
        if inode_header:
            self._verify_inode_trees(group, inode_header)
        return group

    # --- headers

    def _check_backup(self, number: int) -> None:
        offset = self._superblock.offset_in_group(number, 0)
        raw = self._metadata.read("backup-superblock", offset, self._superblock.sector_bytes)
        if raw is None:
            return
        if self._superblock.has_checksums and not self._metadata.device.is_replayed(offset, len(raw.content)):
            self._metadata.findings.read("backup-superblock", offset, len(raw.content))
            if not sealed_rightly(raw.content, CHECKSUM_AT):
                self._metadata.damage("backup-superblock.checksum", f"the copy in group {number} is damaged", offset)
                return
        copy = raw.content
        differs = differing_geometry(self._primary, copy) if copy[:4] == MAGIC else "magic number"
        if differs:
            detail = f"the {differs} in the copy of group {number} is not the one of the superblock"
            self._metadata.damage("backup-superblock.differs", detail, offset)

    def _header(self, group: Group, sector: int, what: str, magic: bytes, layout: Layout) -> bytes | None:
        offset = self._superblock.offset_in_group(group.number, 0) + sector * self._superblock.sector_bytes
        block = self._metadata.read(what, offset, self._superblock.sector_bytes)
        if block is None or not self._metadata.is_trusted(what, block, layout, area="group-headers"):
            return None
        raw = block.content
        version, number, length = struct.unpack_from(">III", raw, 4)
        expected = (1, group.number, self._superblock.blocks_of_group(group.number))
        if raw[:4] != magic or (version, number, length) != expected:
            self._metadata.damage(f"{what}.content", f"it is not the header of group {group.number}", offset)
            return None
        return raw

    # --- space

    def _verify_space(self, group: Group, header: bytes) -> None:
        walk = TreeWalk(self._metadata, group.number)
        roots, levels = struct.unpack_from(">3I", header, 16), struct.unpack_from(">3I", header, 28)
        by_place = walk.walk(BY_PLACE, roots[0], levels[0])
        by_size = walk.walk(BY_SIZE, roots[1], levels[1])
        trees = [by_place, by_size]
        space = GroupSpace(by_place.records)
        if self._superblock.has_reverse_map:
            owners = walk.walk(OWNERS, roots[2], levels[2])
            space.owners = owners.records
            trees.append(owners)
        group_trees = list(trees)
        if self._superblock.has_reflink:
            shared = walk.walk(SHARED, *struct.unpack_from(">2I", header, 88))
            space.shared = shared.records
            trees.append(shared)
        self._claim_trees(group, trees)
        whole = all(tree.is_whole and self._is_inside(group, tree) for tree in trees)
        if by_place.is_whole and by_size.is_whole:
            self._compare_free_space(group, header, by_place, by_size)
        if whole:
            self._check_tree_counters(group, header, group_trees, trees)
            group.space = space

    def _is_inside(self, group: Group, tree: Tree) -> bool:
        starts = tree.records["start"].astype(np.int64)
        if tree.kind is SHARED:
            starts &= 0x7FFF_FFFF
        ends = starts + tree.records["count"]
        inside = (tree.records["count"] > 0) & (ends <= self._superblock.blocks_of_group(group.number))
        apart = np.ones(0, bool) if tree.kind in (OWNERS, BY_SIZE, SHARED) else ends[:-1] <= starts[1:]
        if inside.all() and apart.all():
            return True
        self._damaged(group, f"{tree.kind.name}.range", "extents overlap or lie outside of the group")
        return False

    def _compare_free_space(self, group: Group, header: bytes, by_place: Tree, by_size: Tree) -> None:
        if not np.array_equal(np.sort(_as_numbers(by_size.records)), _as_numbers(by_place.records)):
            self._damaged(group, "free-space-by-size.differs", "the two trees of free space do not agree")
        counts = by_place.records["count"].astype(np.int64)
        total, longest = int(counts.sum()), int(counts.max(initial=0))
        if struct.unpack_from(">II", header, 52) != (total, longest):
            self._damaged(group, "free-space-header.counters", f"{total:,} blocks are free, {longest:,} in one piece")
        group.free_blocks += total

    def _check_tree_counters(self, group: Group, header: bytes, space_trees: list[Tree], trees: list[Tree]) -> None:
        below_roots = sum(len(tree.blocks) - 1 for tree in space_trees)
        group.free_blocks += below_roots
        promised = struct.unpack_from(">I", header, 60)[0]
        if self._superblock.keeps_group_counters and promised != below_roots:
            detail = f"the trees of free space have {below_roots:,} blocks below their roots, not {promised:,}"
            self._damaged(group, "free-space-header.counters", detail)
        counted = {OWNERS.name: 80, SHARED.name: 84}
        for tree in trees:
            at = counted.get(tree.kind.name)
            if at and struct.unpack_from(">I", header, at)[0] != len(tree.blocks):
                self._damaged(group, "free-space-header.counters", f"the {tree.kind.name} tree has another size")

    def _verify_free_list(self, group: Group, header: bytes) -> None:
        """The blocks that a group sets aside for its own trees."""
        superblock = self._superblock
        offset = superblock.offset_in_group(group.number, 0) + 3 * superblock.sector_bytes
        block = self._metadata.read("free-list", offset, superblock.sector_bytes)
        if block is None or not self._metadata.is_trusted("free-list", block, FREE_LIST, area="group-headers"):
            return
        raw = block.content
        start = 36 if superblock.has_checksums else 0
        if start and (raw[:4] != b"XAFL" or struct.unpack_from(">I", raw, 4)[0] != group.number):
            self._damaged(group, "free-list.content", "it is the list of another group")
            return
        slots = struct.unpack_from(f">{(len(raw) - start) // 4}I", raw, start)
        first, last, count = struct.unpack_from(">III", header, 40)
        if first >= len(slots) or last >= len(slots) or (last - first + 1) % len(slots) != count % len(slots):
            self._damaged(group, "free-list.bounds", f"a list from {first} to {last} does not have {count} entries")
            return
        for position in range(count):
            kept = slots[(first + position) % len(slots)]
            if not 0 < kept < superblock.blocks_of_group(group.number):
                self._damaged(group, "free-list.block", f"block {kept:,} lies outside of the group")
                return
            self._claim_block(group, kept)
        group.free_blocks += count

    # --- inodes

    def _verify_inode_trees(self, group: Group, header: bytes) -> None:
        walk = TreeWalk(self._metadata, group.number)
        inodes = walk.walk(INODES, *struct.unpack_from(">II", header, 20))
        trees = [inodes]
        if self._superblock.has_free_inode_tree:
            free = walk.walk(FREE_INODES, *struct.unpack_from(">II", header, 328))
            trees.append(free)
            with_room = inodes.records[inodes.records["free_count"] != 0]
            if inodes.is_whole and free.is_whole and not np.array_equal(free.records, with_room):
                self._damaged(group, "free-inodes.differs", "the two trees of inodes do not agree on what is free")
        self._claim_trees(group, trees)
        group.chunks = inodes.records
        if inodes.is_whole:
            self._check_inode_counters(group, header, inodes, trees)
        else:
            group.space = None
        heads = struct.unpack_from(f">{UNLINKED_CHAINS}I", header, 40)
        group.unlinked = {chain: head for chain, head in enumerate(heads) if head != _NO_INODE}

    def _check_inode_counters(self, group: Group, header: bytes, inodes: Tree, trees: list[Tree]) -> None:
        records = inodes.records
        free_bits = np.bitwise_count(records["free"].astype(np.uint64)).astype(np.int64)
        if self._superblock.has_sparse_inodes:
            # Each bit of the map of holes stands for four inodes, which also count as free in the other map.
            missing = 4 * np.bitwise_count(records["holes"].astype(np.uint16)).astype(np.int64)
            counted = records["count"].astype(np.int64)
            free_counted = records["free_count"].astype(np.int64)
        else:
            missing = np.zeros(len(records), np.int64)
            counted = np.full(len(records), INODES_IN_CHUNK, np.int64)
            # Without holes the last three fields are one count.
            free_counted = (records["holes"].astype(np.int64) << 16) + (records["count"].astype(np.int64) << 8)
            free_counted += records["free_count"]
        if (counted + missing != INODES_IN_CHUNK).any() or (free_bits - missing != free_counted).any():
            self._damaged(group, "inodes.counters", "a chunk has another number of inodes than its maps say")
        group.inodes, group.free_inodes = int(counted.sum()), int(free_counted.sum())
        found = (struct.unpack_from(">I", header, 16)[0], struct.unpack_from(">I", header, 28)[0])
        if found != (group.inodes, group.free_inodes):
            detail = f"{group.inodes:,} inodes exist and {group.free_inodes:,} of them are free"
            self._damaged(group, "inode-header.counters", detail)
        sizes = tuple(len(tree.blocks) for tree in trees)
        if self._superblock.counts_inode_tree_blocks and struct.unpack_from(">II", header, 336)[: len(sizes)] != sizes:
            self._damaged(group, "inode-header.counters", "the trees of inodes have another size")

    # --- claims

    def _claim_trees(self, group: Group, trees: list[Tree]) -> None:
        for tree in trees:
            for block in tree.blocks:
                self._claim_block(group, block)

    def _claim_block(self, group: Group, block: int) -> None:
        self._claims.of_metadata(group.number << self._superblock.group_bits | block, 1)

    def _damaged(self, group: Group, fault: str, detail: str) -> None:
        offset = self._superblock.offset_in_group(group.number, 0)
        self._metadata.damage(fault, f"group {group.number}: {detail}", offset)


def _as_numbers(extents: Records) -> NDArray[np.uint64]:
    return extents["start"].astype(np.uint64) << np.uint64(32) | extents["count"].astype(np.uint64)
