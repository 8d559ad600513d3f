"""Inodes that are to be deleted or cut at the next mount: a chain through the inodes, or a file that lists them."""

from __future__ import annotations

import struct

import numpy as np

from functions.inspection.checksums import crc32c_of_kernel
from functions.inspection.devices import OutOfRange
from functions.inspection.ext4.blocks import RecoveredBlocks
from functions.inspection.ext4.inodes import Inode, InodeTable, checksum_seed
from functions.inspection.ext4.mapping import map_blocks
from functions.inspection.ext4.superblock import Compatible, Superblock
from functions.inspection.file_systems import Damaged
from functions.inspection.findings import Findings

_TAIL = struct.Struct("<II")
_TAIL_MAGIC = 0x0B10CA04
_MOST_ORPHANS = 1_000_000


def read_orphans(superblock: Superblock, table: InodeTable, blocks: RecoveredBlocks, findings: Findings) -> set[int]:
    """The numbers of all orphans; a list that cannot be followed is damage. Errors: BudgetSpent."""
    orphans: set[int] = set()
    _follow_chain(superblock, table, orphans, findings)
    if superblock.compatible & Compatible.ORPHAN_FILE and superblock.orphan_file_inode:
        try:
            inode = table.read(superblock.orphan_file_inode)
        except Damaged as error:
            findings.damage("ext4.orphan.file", str(error))
            return orphans
        _read_file(superblock, inode, blocks, orphans, findings)
    return orphans


def _follow_chain(superblock: Superblock, table: InodeTable, orphans: set[int], findings: Findings) -> None:
    number = superblock.last_orphan
    while number and len(orphans) < _MOST_ORPHANS:
        if number in orphans:
            findings.damage("ext4.orphan.list", f"the list of orphans comes back to inode {number}")
            return
        try:
            inode = table.read(number)
        except Damaged as error:
            findings.damage("ext4.orphan.list", str(error))
            return
        orphans.add(number)
        # While an inode is an orphan, the field for the time of its deletion names the next one.
        number = inode.deleted_at


def _read_file(
    superblock: Superblock, inode: Inode, blocks: RecoveredBlocks, orphans: set[int], findings: Findings
) -> None:
    for run in map_blocks(inode, superblock, blocks, Findings()).runs:
        for block in range(run.physical, run.physical + run.length):
            if len(orphans) > _MOST_ORPHANS:
                return
            try:
                content = blocks.read(block)
            except OutOfRange as error:
                findings.damage("ext4.orphan.file", str(error))
                return
            at = block * superblock.block_bytes
            if superblock.has_metadata_checksums:
                blocks.record(findings, "orphans", at, superblock.block_bytes)
            if not _block_holds(superblock, inode, block, content):
                findings.damage("ext4.orphan.checksum", f"block {block:,} of the list of orphans", at=at)
                continue
            numbers = np.frombuffer(content[: -_TAIL.size], "<u4")
            orphans.update(numbers[numbers != 0].tolist())


def _block_holds(superblock: Superblock, inode: Inode, block: int, content: bytes) -> bool:
    magic, expected = _TAIL.unpack(content[-_TAIL.size :])
    if magic != _TAIL_MAGIC:
        return False
    if not superblock.has_metadata_checksums:
        return True
    seed = crc32c_of_kernel(checksum_seed(superblock, inode), struct.pack("<Q", block))
    return crc32c_of_kernel(seed, content[: -_TAIL.size]) == expected
