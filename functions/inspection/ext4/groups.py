"""Block groups of ext2, ext3 and ext4: where their descriptors lie, what they say, and whether it is believable."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from functions.inspection.checksums import crc32c_of_kernel
from functions.inspection.devices import OutOfRange
from functions.inspection.ext4.blocks import RecoveredBlocks
from functions.inspection.ext4.superblock import Superblock
from functions.inspection.findings import Findings

_CHECKSUM_AT = 0x1E
_WIDE_BYTES = 64


class GroupFlag(IntEnum):
    """What of a group was never written."""

    INODE_UNINIT = 0x1
    BLOCK_UNINIT = 0x2


def descriptor_block(superblock: Superblock, index: int) -> int:
    """The block that holds the descriptors with this index, counted in blocks of descriptors."""
    if index < superblock.first_meta_group:
        return superblock.first_superblock_block + 1 + index
    group = index * descriptors_per_block(superblock)
    return superblock.first_block_of(group) + superblock.has_superblock(group)


def descriptors_per_block(superblock: Superblock) -> int:
    """How many descriptors one block holds: with meta_bg, a group of groups that keeps its own."""
    return superblock.block_bytes // superblock.descriptor_bytes


def descriptor_block_count(superblock: Superblock) -> int:
    """How many blocks the descriptors of all groups take."""
    return -(-superblock.group_count // descriptors_per_block(superblock))


def descriptors_beside_superblock(superblock: Superblock) -> int:
    """How many blocks of descriptors follow each copy of the superblock."""
    return min(descriptor_block_count(superblock), superblock.first_meta_group)


def backup_descriptor_blocks(superblock: Superblock) -> Iterator[tuple[int, int]]:
    """Every (index, block) at which a copy of a block of descriptors lies."""
    beside = descriptors_beside_superblock(superblock)
    for group in range(1, superblock.group_count):
        if superblock.has_superblock(group):
            first = superblock.first_block_of(group) + 1
            yield from ((index, first + index) for index in range(beside))
    per_block = descriptors_per_block(superblock)
    for index in range(beside, descriptor_block_count(superblock)):
        for group in sorted({index * per_block + 1, index * per_block + per_block - 1}):
            if index * per_block < group < superblock.group_count:
                yield index, superblock.first_block_of(group) + superblock.has_superblock(group)


def descriptor_checksum(superblock: Superblock, group: int, raw: bytes) -> int | None:
    """What the checksum of a descriptor must be; None when this file system has none."""
    number = struct.pack("<I", group)
    if superblock.has_metadata_checksums:
        seed = crc32c_of_kernel(superblock.checksum_seed, number)
        return crc32c_of_kernel(seed, raw[:_CHECKSUM_AT] + b"\0\0" + raw[_CHECKSUM_AT + 2 :]) & 0xFFFF
    if superblock.has_uninitialised_groups:
        return crc16(0xFFFF, superblock.uuid + number + raw[:_CHECKSUM_AT] + raw[_CHECKSUM_AT + 2 :])
    return None


def descriptor_holds(superblock: Superblock, group: int, raw: bytes) -> bool:
    """Whether the checksum of a descriptor is right, or there is none."""
    expected = descriptor_checksum(superblock, group, raw)
    return expected is None or expected == int(struct.unpack_from("<H", raw, _CHECKSUM_AT)[0])


class Groups:
    """What the descriptors say, one array for each field, by number of the group."""

    def __init__(self, superblock: Superblock, raw: bytes) -> None:
        self._table = np.frombuffer(raw, np.uint8).reshape(-1, superblock.descriptor_bytes)
        self._is_wide = superblock.descriptor_bytes >= _WIDE_BYTES
        self.block_bitmap = self._block(0x00, 0x20)
        self.inode_bitmap = self._block(0x04, 0x24)
        self.inode_table = self._block(0x08, 0x28)
        self.free_blocks = self._count(0x0C, 0x2C)
        self.free_inodes = self._count(0x0E, 0x2E)
        self.used_directories = self._count(0x10, 0x30)
        uninitialised = superblock.has_uninitialised_groups
        self.flags = self._half(0x12) if uninitialised else np.zeros(len(self._table), np.uint16)
        self.unused_inodes = self._count(0x1C, 0x32) if uninitialised else np.zeros(len(self._table), np.uint32)
        self.block_bitmap_checksum = self._count(0x18, 0x38)
        self.inode_bitmap_checksum = self._count(0x1A, 0x3A)
        self.is_possible = self._possible(superblock)

    @property
    def bitmap_checksum_mask(self) -> int:
        """Short descriptors keep only the lower half of the checksum of a bitmap."""
        return 0xFFFFFFFF if self._is_wide else 0xFFFF

    def has_flag(self, group: int, flag: GroupFlag) -> bool:
        """Whether this group says so of itself."""
        return bool(int(self.flags[group]) & flag)

    def _possible(self, superblock: Superblock) -> NDArray[np.bool_]:
        """For each group, whether all it points to lies in the file system."""
        possible = np.ones(len(self._table), np.bool_)
        for first, length in ((self.block_bitmap, 1), (self.inode_bitmap, 1), (self.inode_table, None)):
            count = superblock.inode_table_blocks if length is None else length
            possible &= (first > superblock.first_block) & (first < superblock.block_count)
            possible &= first + np.uint64(count) <= superblock.block_count
        return possible

    def _half(self, offset: int) -> NDArray[np.uint16]:
        return self._table[:, offset : offset + 2].copy().view("<u2")[:, 0]

    def _block(self, low: int, high: int) -> NDArray[np.uint64]:
        number = self._table[:, low : low + 4].copy().view("<u4")[:, 0].astype(np.uint64)
        if self._is_wide:
            number |= self._table[:, high : high + 4].copy().view("<u4")[:, 0].astype(np.uint64) << np.uint64(32)
        return number

    def _count(self, low: int, high: int) -> NDArray[np.uint32]:
        number = self._half(low).astype(np.uint32)
        return number | self._half(high).astype(np.uint32) << np.uint32(16) if self._is_wide else number


def read_groups(superblock: Superblock, blocks: RecoveredBlocks, findings: Findings) -> Groups:
    """The descriptors of every group, each judged. Errors: BudgetSpent."""
    pieces: list[bytes] = []
    per_block, size = descriptors_per_block(superblock), superblock.descriptor_bytes
    count = descriptor_block_count(superblock)
    blocks.expect((descriptor_block(superblock, index), 1) for index in range(count))
    for index in range(count):
        block = descriptor_block(superblock, index)
        wanted = min(per_block, superblock.group_count - index * per_block) * size
        try:
            pieces.append(blocks.read(block)[:wanted])
        except OutOfRange as error:
            findings.damage("ext4.descriptor.out-of-range", str(error))
            pieces.append(bytes(wanted))
            continue
        if superblock.has_uninitialised_groups:
            blocks.record(findings, "descriptors", block * superblock.block_bytes, wanted)
    groups = Groups(superblock, b"".join(pieces))
    _judge(superblock, groups, b"".join(pieces), findings)
    return groups


def _judge(superblock: Superblock, groups: Groups, raw: bytes, findings: Findings) -> None:
    size, per_block = superblock.descriptor_bytes, descriptors_per_block(superblock)
    for group in range(superblock.group_count):
        index, place = divmod(group, per_block)
        at = descriptor_block(superblock, index) * superblock.block_bytes + place * size
        if not descriptor_holds(superblock, group, raw[group * size : (group + 1) * size]):
            findings.damage("ext4.descriptor.checksum", f"group {group}", at=at)
        if not groups.is_possible[group]:
            findings.damage("ext4.descriptor.out-of-range", f"group {group} points outside of the file system", at=at)


def _table_of_crc16() -> tuple[int, ...]:
    table: list[int] = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
        table.append(value)
    return tuple(table)


_CRC16 = _table_of_crc16()


def crc16(seed: int, data: bytes) -> int:
    """The kernel's crc16(seed, data), used by descriptors before metadata_csum existed."""
    for byte in data:
        seed = seed >> 8 ^ _CRC16[(seed ^ byte) & 0xFF]
    return seed
