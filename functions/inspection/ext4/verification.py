"""Every check on ext2, ext3 and ext4, in an order that reads each part of the device once."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from functions.inspection.checksums import crc32c_of_kernel
from functions.inspection.devices import OutOfRange
from functions.inspection.ext4.backups import judge_backups
from functions.inspection.ext4.blocks import RecoveredBlocks
from functions.inspection.ext4.directories import Directory
from functions.inspection.ext4.groups import GroupFlag, Groups
from functions.inspection.ext4.inodes import (
    XATTR_MAGIC,
    Inode,
    InodeTable,
    Kind,
    has_blocks,
    inode_faults,
    inode_holds,
    is_short_symlink,
    parse_inode,
)
from functions.inspection.ext4.links import Links
from functions.inspection.ext4.mapping import Mapping, first_tree_blocks, map_blocks
from functions.inspection.ext4.orphans import read_orphans
from functions.inspection.ext4.superblock import (
    RESIZE_INODE,
    ROOT_INODE,
    Incompatible,
    ReadOnlyCompatible,
    Superblock,
)
from functions.inspection.ext4.usage import (
    OF_ATTRIBUTES,
    OF_THE_FILE_SYSTEM,
    Claims,
    TooManyBlocks,
    claim_metadata,
    report_shared,
)
from functions.inspection.findings import Findings

_GROUPS_TOGETHER = 64
_DIRECTORIES_TOGETHER = 2_000
_BLOCKS_TOGETHER = 128
_QUOTA_INODES_AT = (0x240, 0x244, 0x26C)
_DOUBLY_INDIRECT = 13
_MMP_MAGIC = 0x004D4D50
_MMP_CHECKSUM_AT = 0x3FC


class Verification:
    """One verification, from the copies of the superblock to the last bitmap. Errors of `run`: BudgetSpent."""

    def __init__(self, superblock: Superblock, groups: Groups, blocks: RecoveredBlocks, findings: Findings) -> None:
        self._superblock = superblock
        self._groups = groups
        self._blocks = blocks
        self._findings = findings
        self._claims = Claims(superblock.block_count)
        self._links = Links()
        self._directories: list[tuple[int, Inode]] = []
        self._xattr_blocks: dict[int, int] = {}
        self._tree_is_whole = True
        self._nameless = {superblock.orphan_file_inode, *_quota_inodes(superblock)}
        self._has_clusters = bool(superblock.read_only_compatible & ReadOnlyCompatible.BIGALLOC)
        self._counts_sectors = not self._has_clusters and not superblock.incompatible & Incompatible.EA_INODE

    def run(self) -> None:
        """Every part was judged once."""
        judge_backups(self._superblock, self._blocks, self._findings)
        self._judge_multiple_mount_protection()
        try:
            claim_metadata(self._superblock, self._groups, self._claims)
            for first in range(0, self._superblock.group_count, _GROUPS_TOGETHER):
                self._judge_groups(range(first, min(first + _GROUPS_TOGETHER, self._superblock.group_count)))
        except TooManyBlocks as error:
            self._findings.damage(
                "ext4.block.claimed-twice", f"more blocks are claimed than there are, last by {error}"
            )
            return
        self._judge_directories()
        self._judge_xattr_blocks()
        self._judge_tree()
        self._claims.close()
        self._judge_usage()

    # Inodes

    def _judge_groups(self, groups: range) -> None:
        """The inodes of groups that lie near each other: all bitmaps first, then all tables."""
        possible = [group for group in groups if self._groups.is_possible[group]]
        initialised = [group for group in possible if not self._groups.has_flag(group, GroupFlag.INODE_UNINIT)]
        self._blocks.expect((int(self._groups.inode_bitmap[group]), 1) for group in initialised)
        used = {group: self._used_inodes(group) for group in initialised}
        self._blocks.expect(
            (int(self._groups.inode_table[group]) + first, count)
            for group in initialised
            for first, count in self._table_stretches(used[group])
        )
        for group in initialised:
            self._judge_table(group, used[group])

    def _used_inodes(self, group: int) -> NDArray[np.int64]:
        """The places in the group's table that are in use, as its bitmap says."""
        count = self._superblock.inodes_per_group
        bitmap = self._bitmap(group, "inode", int(self._groups.inode_bitmap[group]), count // 8)
        if bitmap is None:
            return np.zeros(0, np.int64)
        used = np.flatnonzero(np.unpackbits(np.frombuffer(bitmap, np.uint8), bitorder="little"))
        if count - len(used) != int(self._groups.free_inodes[group]):
            detail = f"group {group}: {count - len(used):,} are free, {int(self._groups.free_inodes[group]):,} counted"
            self._findings.damage("ext4.inode-bitmap.count", detail)
        end = count - int(self._groups.unused_inodes[group])
        if len(used) and used[-1] >= end:
            self._findings.damage("ext4.inode-bitmap.unused", f"group {group} uses inodes that it calls unused")
        return used

    def _bitmap(self, group: int, what: str, block: int, length: int) -> bytes | None:
        at = block * self._superblock.block_bytes
        try:
            bitmap = self._blocks.read(block)[:length]
        except OutOfRange as error:
            self._findings.damage(f"ext4.{what}-bitmap.out-of-range", str(error))
            return None
        if not self._superblock.has_metadata_checksums:
            return bitmap
        self._blocks.record(self._findings, "bitmaps", at, length)
        checksums = self._groups.inode_bitmap_checksum if what == "inode" else self._groups.block_bitmap_checksum
        found = crc32c_of_kernel(self._superblock.checksum_seed, bitmap) & self._groups.bitmap_checksum_mask
        if found != int(checksums[group]):
            self._findings.damage(f"ext4.{what}-bitmap.checksum", f"group {group}", at=at)
        return bitmap

    def _table_stretches(self, used: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
        """The blocks of a table that hold inodes in use, as (first, count)."""
        wanted = np.unique(used * self._superblock.inode_bytes // self._superblock.block_bytes)
        if not len(wanted):
            return
        breaks = (np.flatnonzero(np.diff(wanted) != 1) + 1).tolist()
        for begin, end in zip([0, *breaks], [*breaks, len(wanted)], strict=True):
            first, count = int(wanted[begin]), end - begin
            for skipped in range(0, count, _BLOCKS_TOGETHER):
                yield first + skipped, min(_BLOCKS_TOGETHER, count - skipped)

    def _judge_table(self, group: int, used: NDArray[np.int64]) -> None:
        size, per_block = self._superblock.inode_bytes, self._superblock.block_bytes // self._superblock.inode_bytes
        first_number = group * self._superblock.inodes_per_group + 1
        directories = 0
        for first, count in self._table_stretches(used):
            block = int(self._groups.inode_table[group]) + first
            try:
                content = self._blocks.read(block, count)
            except OutOfRange as error:
                self._findings.damage("ext4.inode.out-of-range", f"group {group}: {error}")
                self._tree_is_whole = False
                continue
            low, high = np.searchsorted(used, [first * per_block, (first + count) * per_block]).tolist()
            inodes: list[Inode] = []
            for place in used[low:high].tolist():
                start = (place - first * per_block) * size
                raw = content[start : start + size]
                inode = parse_inode(self._superblock, first_number + place, raw)
                if self._inode_is_sound(inode, block * self._superblock.block_bytes + start):
                    inodes.append(inode)
            directories += self._take_inodes(inodes)
        if self._tree_is_whole and directories != int(self._groups.used_directories[group]):
            self._findings.damage("ext4.descriptor.directories", f"group {group} has {directories:,} directories")

    def _inode_is_sound(self, inode: Inode, at: int) -> bool:
        if self._superblock.has_metadata_checksums:
            self._blocks.record(self._findings, "inodes", at, len(inode.raw))
            if not inode_holds(self._superblock, inode):
                self._findings.damage("ext4.inode.checksum", f"inode {inode.number}", at=at)
                self._tree_is_whole = False
                return False
        is_reserved = inode.number < self._superblock.first_free_inode and inode.number != ROOT_INODE
        if is_reserved and inode.kind == Kind.NONE:
            return True
        for fault, detail in inode_faults(self._superblock, inode):
            self._findings.damage(f"ext4.inode.{fault}", detail, at=at)
            self._tree_is_whole = False
        return True

    def _take_inodes(self, inodes: Sequence[Inode]) -> int:
        """The blocks of these inodes are claimed; how many of them are directories."""
        trees = (inode for inode in inodes if has_blocks(self._superblock, inode))
        self._blocks.expect((block, 1) for inode in trees for block in first_tree_blocks(inode))
        directories = 0
        for inode in inodes:
            is_reserved = inode.number < self._superblock.first_free_inode and inode.number != ROOT_INODE
            self._links.add_inode(inode, is_exempt=is_reserved or inode.number in self._nameless)
            mapping = self._claim(inode)
            if inode.kind == Kind.DIRECTORY:
                directories += 1
                if inode.links:
                    first = mapping.runs[0].physical if mapping.runs else 0
                    self._directories.append((first, inode))
            elif inode.kind == Kind.SYMLINK:
                self._judge_symlink(inode)
        if len(self._directories) >= _DIRECTORIES_TOGETHER:
            self._judge_directories()
        return directories

    def _claim(self, inode: Inode) -> Mapping:
        if inode.number == RESIZE_INODE:
            # It maps the blocks that are reserved for descriptors, which the file system claimed already.
            block = int(struct.unpack_from("<I", inode.pointers, 4 * _DOUBLY_INDIRECT)[0])
            if block:
                self._claims.add(block, 1, inode.number)
            return Mapping()
        mapping = Mapping()
        if has_blocks(self._superblock, inode):
            mapping = map_blocks(inode, self._superblock, self._blocks, self._findings)
        for run in mapping.runs:
            self._claims.add(run.physical, run.length, inode.number)
        for block in mapping.tree_blocks:
            self._claims.add(block, 1, inode.number)
        if inode.xattr_block:
            self._xattr_blocks[inode.xattr_block] = self._xattr_blocks.get(inode.xattr_block, 0) + 1
        self._judge_sectors(inode, mapping)
        return mapping

    def _judge_sectors(self, inode: Inode, mapping: Mapping) -> None:
        blocks = mapping.block_count + bool(inode.xattr_block)
        expected = blocks * self._superblock.block_bytes // 512
        if self._counts_sectors and mapping.is_whole and inode.kind != Kind.NONE and inode.sectors != expected:
            detail = f"inode {inode.number} counts {inode.sectors:,} sectors and has {expected:,}"
            self._findings.damage("ext4.inode.sectors", detail)

    def _judge_symlink(self, inode: Inode) -> None:
        if not is_short_symlink(self._superblock, inode) or inode.is_encrypted:
            return
        target = inode.pointers.split(b"\0", 1)[0]
        if len(target) != inode.size_bytes:
            self._findings.damage("ext4.inode.symlink", f"inode {inode.number} points to {len(target)} bytes")

    # What belongs to inodes

    def _judge_directories(self) -> None:
        """The directories that were met so far, in the order in which they lie on the device."""
        waiting, self._directories = sorted(self._directories, key=lambda one: one[0]), []
        quiet = Findings()
        mapped: list[tuple[Inode, Mapping]] = []
        for _, inode in waiting:
            has_map = has_blocks(self._superblock, inode)
            mapped.append((inode, map_blocks(inode, self._superblock, self._blocks, quiet) if has_map else Mapping()))
        self._blocks.expect((run.physical, run.length) for _, mapping in mapped for run in mapping.runs)
        for inode, mapping in mapped:
            self._judge_directory(inode, mapping)

    def _judge_directory(self, inode: Inode, mapping: Mapping) -> None:
        directory = Directory(inode, mapping.runs, self._superblock, self._blocks, self._findings)
        names: set[bytes] = set()
        for entry in directory.entries():
            if entry.name in names:
                self._findings.damage("ext4.directory.duplicate", f"directory {inode.number} has a name twice")
            names.add(entry.name)
            if entry.name == b"..":
                self._links.add_dot_dot(inode.number, entry.inode)
            elif entry.name != b".":
                self._links.add_name(inode.number, entry.inode, entry.kind)
            elif entry.inode != inode.number:
                self._findings.damage("ext4.directory.dot", f"directory {inode.number} calls itself {entry.inode}")
        if directory.is_whole and not {b".", b".."} <= names:
            self._findings.damage("ext4.directory.dot", f'directory {inode.number} lacks "." or ".."')
        self._tree_is_whole &= directory.is_whole and mapping.is_whole

    def _judge_xattr_blocks(self) -> None:
        numbers = sorted(self._xattr_blocks)
        for begin in range(0, len(numbers), _DIRECTORIES_TOGETHER):
            together = numbers[begin : begin + _DIRECTORIES_TOGETHER]
            self._blocks.expect((block, 1) for block in together)
            for block in together:
                self._judge_xattr_block(block, self._xattr_blocks[block])

    def _judge_xattr_block(self, block: int, users: int) -> None:
        at = block * self._superblock.block_bytes
        try:
            content = self._blocks.read(block)
            self._claims.add(block, 1, OF_ATTRIBUTES)
        except (OutOfRange, TooManyBlocks) as error:
            self._findings.damage("ext4.xattr.out-of-range", str(error))
            return
        references, count = struct.unpack_from("<II", content, 4)
        if content[:4] != XATTR_MAGIC or count != 1:
            self._findings.damage("ext4.xattr.header", f"block {block:,} holds no attributes", at=at)
        elif references != users:
            detail = f"block {block:,} counts {references:,} inodes and has {users:,}"
            self._findings.damage("ext4.xattr.references", detail, at=at)
        if self._superblock.has_metadata_checksums:
            self._blocks.record(self._findings, "xattrs", at, self._superblock.block_bytes)
            covered = struct.pack("<Q", block) + content[:16] + b"\0\0\0\0" + content[20:]
            expected = int(struct.unpack_from("<I", content, 16)[0])
            if crc32c_of_kernel(self._superblock.checksum_seed, covered) != expected:
                self._findings.damage("ext4.xattr.checksum", f"block {block:,}", at=at)

    def _judge_multiple_mount_protection(self) -> None:
        block = self._superblock.mmp_block
        if not self._superblock.incompatible & Incompatible.MMP or not block:
            return
        at = block * self._superblock.block_bytes
        try:
            content = self._blocks.read(block)[:1024]
        except OutOfRange as error:
            self._findings.damage("ext4.mmp.out-of-range", str(error))
            return
        self._claims.add(block, 1, OF_THE_FILE_SYSTEM)
        magic, expected = (int(struct.unpack_from("<I", content, place)[0]) for place in (0, _MMP_CHECKSUM_AT))
        found = crc32c_of_kernel(self._superblock.checksum_seed, content[:_MMP_CHECKSUM_AT])
        if self._superblock.has_metadata_checksums:
            self._blocks.record(self._findings, "mmp", at, 1024)
        if magic != _MMP_MAGIC or (self._superblock.has_metadata_checksums and found != expected):
            self._findings.damage("ext4.mmp.checksum", "the block that guards against two mounts", at=at)

    # The whole

    def _judge_tree(self) -> None:
        table = InodeTable(self._superblock, self._groups, self._blocks)
        orphans = read_orphans(self._superblock, table, self._blocks, self._findings)
        # With an inode or directory lost, everything below it would be reported as well and hide the cause.
        if self._tree_is_whole:
            self._links.judge(self._superblock, orphans, self._findings)

    def _judge_usage(self) -> None:
        if self._has_clusters:
            self._findings.unknown("ext4.feature.bigalloc", "clusters in use are not compared with their bitmaps")
        elif not self._superblock.read_only_compatible & ReadOnlyCompatible.SHARED_BLOCKS:
            report_shared(self._claims, self._findings)
        leaked = 0
        for first in range(0, self._superblock.group_count, _GROUPS_TOGETHER):
            groups = range(first, min(first + _GROUPS_TOGETHER, self._superblock.group_count))
            possible = [group for group in groups if self._groups.is_possible[group]]
            written = [group for group in possible if not self._groups.has_flag(group, GroupFlag.BLOCK_UNINIT)]
            self._blocks.expect((int(self._groups.block_bitmap[group]), 1) for group in written)
            leaked += sum(self._judge_block_bitmap(group) for group in written)
            for group in set(possible) - set(written):
                self._judge_unwritten_bitmap(group)
        if leaked:
            self._findings.note("ext4.block.leaked", f"{leaked:,} blocks are marked as used and nobody uses them")

    def _judge_block_bitmap(self, group: int) -> int:
        """How many blocks of the group are marked as used and are not."""
        clusters = self._superblock.blocks_per_group // self._superblock.blocks_per_cluster
        count = -(-self._superblock.blocks_in(group) // self._superblock.blocks_per_cluster)
        bitmap = self._bitmap(group, "block", int(self._groups.block_bitmap[group]), clusters // 8)
        if bitmap is None:
            return 0
        marked = np.unpackbits(np.frombuffer(bitmap, np.uint8), bitorder="little")[:count].astype(np.bool_)
        free = count - int(np.count_nonzero(marked))
        if free != int(self._groups.free_blocks[group]):
            detail = f"group {group}: {free:,} are free, {int(self._groups.free_blocks[group]):,} counted"
            self._findings.damage("ext4.block-bitmap.count", detail)
        if self._has_clusters:
            return 0
        used = self._claims.within(self._superblock.first_block_of(group), count)
        wrong = int(np.count_nonzero(used & ~marked))
        if wrong:
            self._findings.damage("ext4.block-bitmap.used-but-free", f"group {group}: {wrong:,} blocks")
        return int(np.count_nonzero(marked & ~used))

    def _judge_unwritten_bitmap(self, group: int) -> None:
        first, count = self._superblock.first_block_of(group), self._superblock.blocks_in(group)
        if self._claims.within(first, count, of_inodes_only=True).any():
            detail = f"files have blocks in group {group}, which claims to be untouched"
            self._findings.damage("ext4.block-bitmap.used-but-free", detail)


def _quota_inodes(superblock: Superblock) -> tuple[int, ...]:
    return tuple(int(struct.unpack_from("<I", superblock.raw, place)[0]) for place in _QUOTA_INODES_AT)
