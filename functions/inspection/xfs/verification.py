"""The whole check of an XFS file system: groups, inodes and what they map, directories, and who owns which block."""

from __future__ import annotations

from collections.abc import Iterator

from functions.inspection.xfs.attributes import Attributes, verify_link
from functions.inspection.xfs.census import Census, TooManyEntries
from functions.inspection.xfs.directories import Directory, places_of
from functions.inspection.xfs.groups import INODES_IN_CHUNK, Group, Groups
from functions.inspection.xfs.inodes import (
    DIRECTORY,
    EXTENTS,
    LOCAL,
    REGULAR,
    SYMBOLIC_LINK,
    ForkMap,
    ForkReader,
    Inode,
    judge_inode,
)
from functions.inspection.xfs.metadata import QUOTA, Block, Metadata, TooMuchDamage
from functions.inspection.xfs.replay import Recovery
from functions.inspection.xfs.space import Claims, TooManyClaims, check_group

_GROUPS_AT_ONCE = 64
_CHUNKS_AT_ONCE = 128
_QUOTA_BYTES = 136
_INODES_IN_HOLE = 4


class Verification:
    """Checks one file system once. `recovery` says what the log left open."""

    def __init__(self, metadata: Metadata, recovery: Recovery, primary: bytes) -> None:
        self._metadata = metadata
        self._superblock = metadata.superblock
        self._recovery = recovery
        self._claims = Claims(metadata)
        self._groups = Groups(metadata, self._claims, primary)
        self._census = Census(metadata, {})
        self._mapped_blocks: set[int] = set()

    def run(self, *, groups_only: bool = False) -> None:
        """The findings say what is wrong. Errors: BudgetSpent.

        `groups_only` leaves out what a feature that we do not know may have changed: inodes and what they map.
        """
        try:
            groups = list(self._verify_groups())
            if groups_only:
                return
            chains = {(group.number, chain): head for group in groups for chain, head in group.unlinked.items()}
            self._census = Census(self._metadata, chains)
            self._census.is_whole = all(group.space is not None for group in groups)
            for group in groups:
                self._verify_inodes(group)
            self._census.compare()
            self._check_totals(groups)
            self._check_space(groups)
        except TooMuchDamage:
            self._metadata.findings.note("xfs.stopped", "so much is damaged that nothing more was looked at")
        except (TooManyClaims, TooManyEntries) as refusal:
            self._metadata.findings.unknown("xfs.too-large", str(refusal))

    def _verify_groups(self) -> Iterator[Group]:
        count = self._superblock.group_count
        for first in range(0, count, _GROUPS_AT_ONCE):
            numbers = range(first, min(first + _GROUPS_AT_ONCE, count))
            self._groups.expect(numbers)
            for number in numbers:
                yield self._groups.verify(number)

    # --- inodes

    def _verify_inodes(self, group: Group) -> None:
        for first in range(0, len(group.chunks), _CHUNKS_AT_ONCE):
            stretches = [
                stretch
                for record in group.chunks[first : first + _CHUNKS_AT_ONCE].tolist()
                for stretch in self._stretches_of_chunk(group, *record)
            ]
            self._metadata.device.expect((offset, length) for _, offset, length, _ in stretches)
            inodes = [inode for stretch in stretches for inode in self._inodes_of(*stretch)]
            self._expect_forks(inodes)
            for inode in inodes:
                self._verify_inode(inode)

    def _stretches_of_chunk(
        self, group: Group, start: int, holes: int, _count: int, _free_count: int, free: int
    ) -> Iterator[tuple[int, int, int, int]]:
        """The unbroken stretches of inodes in a chunk: the first number, offset, length, and which of them are free."""
        superblock = self._superblock
        first = 0
        while first < INODES_IN_CHUNK:
            end = first
            while end < INODES_IN_CHUNK and not (superblock.has_sparse_inodes and holes >> end // _INODES_IN_HOLE & 1):
                end += _INODES_IN_HOLE
            if end > first:
                number = superblock.inode_number(group.number, start + first)
                last = number + end - first - 1
                if not superblock.has_inode(number) or not superblock.has_inode(last):
                    self._lost("inodes.range", f"a chunk of inodes at {start} lies outside of group {group.number}")
                    return
                self._claim_inodes(number, last)
                yield number, superblock.offset_of_inode(number), (end - first) * superblock.inode_bytes, free >> first
            first = end + _INODES_IN_HOLE if end == first else end

    def _claim_inodes(self, number: int, last: int) -> None:
        first_block, last_block = number >> self._superblock.inode_bits, last >> self._superblock.inode_bits
        if self._superblock.inodes_per_block > INODES_IN_CHUNK and number % self._superblock.inodes_per_block:
            return  # several chunks share a block, and the first of them claims it
        self._claims.of_metadata(first_block, last_block - first_block + 1)

    def _inodes_of(self, number: int, offset: int, length: int, free: int) -> Iterator[Inode]:
        read = self._metadata.read("inode", offset, length)
        if read is None:
            self._census.is_whole = False
            return
        size = self._superblock.inode_bytes
        for place in range(length // size):
            raw = read.content[place * size : (place + 1) * size]
            at = offset + place * size
            if free >> place & 1:
                # The kernel reads inodes by whole clusters, and refuses one in which anything else stands.
                if raw[:2] != b"IN":
                    self._metadata.damage("inode.magic", f"there is no inode at the place of {number + place}", at)
                continue
            inode = judge_inode(self._metadata, number + place, Block(raw, ((at, size),)))
            if inode is None:
                self._census.is_whole = False
            elif not inode.kind:
                self._lost("inode.unused", f"inode {number + place} is counted as used and is not", at)
            else:
                yield inode

    def _expect_forks(self, inodes: list[Inode]) -> None:
        places = (
            place
            for inode in inodes
            if inode.kind in (DIRECTORY, SYMBOLIC_LINK) or (inode.fork_offset and inode.attribute_format == EXTENTS)
            for attributes in (False, True)
            if attributes or inode.kind in (DIRECTORY, SYMBOLIC_LINK)
            for place in self._short_fork_places(inode, attributes=attributes)
        )
        self._metadata.device.expect(places)

    def _short_fork_places(self, inode: Inode, *, attributes: bool) -> Iterator[tuple[int, int]]:
        form = inode.attribute_format if attributes else inode.data_format
        fork = inode.attribute_fork if attributes else inode.data_fork
        count = inode.attribute_extents if attributes else inode.data_extents
        if form == EXTENTS and fork:
            for at in range(0, min(count, len(fork) // 16) * 16, 16):
                low = int.from_bytes(fork[at : at + 16])
                block, length = low >> 21 & (1 << 52) - 1, low & 0x1F_FFFF
                if self._superblock.holds(block, length):
                    yield self._superblock.offset_of(block), length * self._superblock.block_bytes

    def _verify_inode(self, inode: Inode) -> None:
        self._census.add_inode(inode)
        data = ForkReader(self._metadata, inode).read()
        attributes = ForkReader(self._metadata, inode, attributes=True).read()
        self._claim(inode, data, attributes)
        self._check_size(inode, data, attributes)
        if inode.kind == DIRECTORY:
            self._verify_directory(inode, data)
        elif inode.kind == SYMBOLIC_LINK and inode.data_format != LOCAL:
            verify_link(self._metadata, inode, data)
        elif inode.number in self._superblock.quota_inodes:
            self._verify_quotas(data)
        if inode.fork_offset:
            Attributes(self._metadata, inode, attributes).verify()

    def _claim(self, inode: Inode, data: ForkMap, attributes: ForkMap) -> None:
        if not (data.is_whole and attributes.is_whole):
            self._census.is_whole = False
        for block in (*data.tree_blocks, *attributes.tree_blocks):
            self._claims.of_metadata(block, 1)
        for stretch in attributes.stretches:
            self._claims.of_metadata(stretch.block, stretch.blocks)
        if inode.is_on_realtime_device:
            return
        claim = self._claims.of_data if inode.kind == REGULAR else self._claims.of_metadata
        for stretch in data.stretches:
            claim(stretch.block, stretch.blocks)

    def _check_size(self, inode: Inode, data: ForkMap, attributes: ForkMap) -> None:
        if not (data.is_whole and attributes.is_whole):
            return
        found = len(data.tree_blocks) + len(attributes.tree_blocks)
        found += sum(stretch.blocks for fork in (data, attributes) for stretch in fork.stretches)
        if found != inode.blocks:
            at = self._superblock.offset_of_inode(inode.number)
            detail = f"inode {inode.number} counts {inode.blocks:,} blocks and has {found:,}"
            self._metadata.damage("inode.blocks", detail, at)

    def _verify_directory(self, inode: Inode, data: ForkMap) -> None:
        # Version 4 does not say whom a block belongs to: a block that two directories map is read once.
        for stretch in data.stretches:
            if stretch.block in self._mapped_blocks:
                self._lost("directory.map", f"directory {inode.number} maps a block of another one")
                return
            self._mapped_blocks.add(stretch.block)
        directory = Directory(self._metadata, inode, data)
        self._census.add_entries(inode.number, directory.verify())
        if not directory.is_whole:
            self._census.is_whole = False

    def _verify_quotas(self, data: ForkMap) -> None:
        self._metadata.device.expect(places_of(self._metadata, data.stretches))
        size = self._superblock.block_bytes
        for stretch in data.stretches:
            for step in range(0 if stretch.unwritten else stretch.blocks):
                start = self._superblock.offset_of(stretch.block) + step * size
                for offset in range(start, start + size // _QUOTA_BYTES * _QUOTA_BYTES, _QUOTA_BYTES):
                    self._verify_quota(offset)

    def _verify_quota(self, offset: int) -> None:
        block = self._metadata.read("quota", offset, _QUOTA_BYTES)
        trusted = block is not None and self._metadata.is_trusted("quota", block, QUOTA, area="quotas")
        if block is not None and trusted and block.content[:2] != b"DQ":
            self._metadata.damage("quota.magic", "there is no quota where one should be", offset)

    # --- totals

    def _check_totals(self, groups: list[Group]) -> None:
        """The superblock counts right after a clean unmount; while mounted it is allowed to lag behind."""
        if self._recovery.needs_replay or not self._census.is_whole:
            return
        superblock = self._superblock
        for name, promised, found in (
            ("free blocks", superblock.free_blocks, sum(group.free_blocks for group in groups)),
            ("inodes", superblock.inodes, sum(group.inodes for group in groups)),
            ("free inodes", superblock.free_inodes, sum(group.free_inodes for group in groups)),
        ):
            if promised != found:
                detail = f"it counts {promised:,} {name}, and there are {found:,}"
                self._metadata.damage("superblock.counters", detail, 0)

    def _check_space(self, groups: list[Group]) -> None:
        self._claims.unsettled(self._recovery.unsettled)
        is_settled = self._census.is_whole and not self._recovery.has_open_intents
        for group in groups:
            if group.space is not None:
                check_group(self._metadata, self._claims, group.number, group.space, is_settled=is_settled)

    def _lost(self, fault: str, detail: str, at: int | None = None) -> None:
        self._census.is_whole = False
        self._metadata.damage(fault, detail, at)
