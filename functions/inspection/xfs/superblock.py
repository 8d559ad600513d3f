"""The geometry of an XFS file system: where things lie, and what the superblock promises about them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = b"XFSB"
CHECKSUM_AT = 224
NO_INODE = 0xFFFF_FFFF_FFFF_FFFF

# Features that an old reader must not touch, by bit; the first eight change nothing that we do not follow.
_FOLLOWED_INCOMPATIBLE = 0xFF
_INCOMPATIBLE_NAMES = {8: "metadata directories", 9: "zoned realtime", 10: "zone gaps"}
_FOLLOWED_READ_ONLY = 0xF
_FOLLOWED_LOG = 0x1


@dataclass(frozen=True, slots=True, kw_only=True)
class Superblock:
    """What the superblock says. Sizes in bytes where the name says so, otherwise in file system blocks.

    A file system block number holds the allocation group above `group_bits` and the block in the group below; an
    inode number is the same with `inode_bits` more for the place in the block.
    """

    version: int
    block_bytes: int
    sector_bytes: int
    inode_bytes: int
    directory_block_bytes: int
    blocks: int
    group_blocks: int
    group_count: int
    group_bits: int
    inode_bits: int
    log_start: int
    log_blocks: int
    realtime_blocks: int
    uuid: bytes
    metadata_uuid: bytes
    root_inode: int
    special_inodes: tuple[int, ...]
    quota_inodes: tuple[int, ...]
    metadata_directory: int
    inodes: int
    free_inodes: int
    free_blocks: int
    unfinished: bool
    version_bits: int
    more_version_bits: int
    read_only_features: int
    incompatible_features: int
    log_features: int

    @property
    def has_checksums(self) -> bool:
        """Version 5: every structure carries a CRC-32C, its own address, its owner and the file system's UUID."""
        return self.version == 5

    @property
    def names_carry_types(self) -> bool:
        """Whether directory entries say what kind of thing they name."""
        return bool(self.incompatible_features & 1) if self.has_checksums else bool(self.more_version_bits & 0x200)

    @property
    def has_sparse_inodes(self) -> bool:
        """Whether a chunk of 64 inodes may have holes."""
        return bool(self.incompatible_features & 2)

    @property
    def needs_repair(self) -> bool:
        """The kernel refuses to mount until xfs_repair has run."""
        return bool(self.incompatible_features & 16)

    @property
    def ignores_case(self) -> bool:
        """Names are hashed in lower case."""
        return bool(self.version_bits & 0x4000)

    @property
    def keeps_group_counters(self) -> bool:
        """Lazy counters: the group headers count the blocks of their trees."""
        return self.has_checksums or bool(self.more_version_bits & 0x2)

    @property
    def has_free_inode_tree(self) -> bool:
        """Whether a second tree holds the chunks in which inodes are free."""
        return bool(self.read_only_features & 1)

    @property
    def has_reverse_map(self) -> bool:
        """Whether a tree says whom each block belongs to."""
        return bool(self.read_only_features & 2)

    @property
    def has_reflink(self) -> bool:
        """Whether files may share blocks, and a tree counts how many do."""
        return bool(self.read_only_features & 4)

    @property
    def counts_inode_tree_blocks(self) -> bool:
        """Whether the headers of inodes say how large their trees are."""
        return bool(self.read_only_features & 8)

    @property
    def inodes_per_block(self) -> int:
        """How many inodes fill a block."""
        return self.block_bytes // self.inode_bytes

    @property
    def inode_core_bytes(self) -> int:
        """Where the forks of an inode begin."""
        return 176 if self.has_checksums else 100

    @property
    def group_bytes(self) -> int:
        """How far apart the groups begin."""
        return self.group_blocks * self.block_bytes

    def blocks_of_group(self, group: int) -> int:
        """The last group may be shorter."""
        return min(self.group_blocks, self.blocks - group * self.group_blocks)

    def offset_in_group(self, group: int, block: int) -> int:
        """Where a block of a group begins on the device, in bytes."""
        return (group * self.group_blocks + block) * self.block_bytes

    def split(self, block: int) -> tuple[int, int]:
        """The group of a file system block, and the block in it."""
        return block >> self.group_bits, block & ((1 << self.group_bits) - 1)

    def offset_of(self, block: int) -> int:
        """Where a file system block begins on the device, in bytes. Ask `holds` first."""
        return self.offset_in_group(*self.split(block))

    def holds(self, block: int, count: int = 1) -> bool:
        """Whether so many blocks lie inside one group, behind the superblock."""
        group, inside = self.split(block)
        return group < self.group_count and inside > 0 and inside + count <= self.blocks_of_group(group)

    def inode_number(self, group: int, inside: int) -> int:
        """The absolute number of an inode of a group."""
        return group << (self.group_bits + self.inode_bits) | inside

    def has_inode(self, number: int) -> bool:
        """Whether the number could be an inode of this file system."""
        return self.holds(number >> self.inode_bits)

    def offset_of_inode(self, number: int) -> int:
        """Where an inode begins on the device, in bytes. Ask `has_inode` first."""
        return self.offset_of(number >> self.inode_bits) + (number & ((1 << self.inode_bits) - 1)) * self.inode_bytes

    def unknown_features(self) -> Iterator[str]:
        """The names of what this file system does and we do not follow."""
        for bits, followed, kind in (
            (self.incompatible_features, _FOLLOWED_INCOMPATIBLE, "incompatible"),
            (self.read_only_features, _FOLLOWED_READ_ONLY, "read-only compatible"),
            (self.log_features, _FOLLOWED_LOG, "log"),
        ):
            for bit in range(32):
                if bits >> bit & 1 and not followed >> bit & 1:
                    name = _INCOMPATIBLE_NAMES.get(bit) if kind == "incompatible" else None
                    yield name or f"{kind} feature bit {bit}"


def parse_superblock(raw: bytes) -> Superblock:
    """The superblock in these first 512 bytes, not judged."""
    version_bits, sector_bytes, inode_bytes = struct.unpack_from(">HHH", raw, 100)
    group_blocks, group_count, _, log_blocks = struct.unpack_from(">IIII", raw, 84)
    block_bytes, blocks, realtime_blocks = struct.unpack_from(">IQQ", raw, 4)
    log_start, root, bitmap, summary = struct.unpack_from(">QQQQ", raw, 48)
    user_quota, group_quota = struct.unpack_from(">QQ", raw, 160)
    version = version_bits & 0xF
    project_quota = struct.unpack_from(">Q", raw, 232)[0] if version == 5 else 0
    features = struct.unpack_from(">4I", raw, 208) if version == 5 else (0, 0, 0, 0)
    inodes, free_inodes, free_blocks = struct.unpack_from(">QQQ", raw, 128)
    quotas = tuple(number for number in (user_quota, group_quota, project_quota) if number not in (0, NO_INODE))
    return Superblock(
        version=version,
        block_bytes=block_bytes,
        sector_bytes=sector_bytes,
        inode_bytes=inode_bytes,
        directory_block_bytes=block_bytes << min(raw[192], 16),
        blocks=blocks,
        group_blocks=group_blocks,
        group_count=group_count,
        group_bits=raw[124],
        inode_bits=raw[123],
        log_start=log_start,
        log_blocks=log_blocks,
        realtime_blocks=realtime_blocks,
        uuid=raw[32:48],
        metadata_uuid=raw[248:264] if features[2] & 4 else raw[32:48],
        root_inode=root,
        special_inodes=(bitmap, summary, *quotas),
        quota_inodes=quotas,
        metadata_directory=struct.unpack_from(">Q", raw, 264)[0] if features[2] >> 8 & 1 else 0,
        inodes=inodes,
        free_inodes=free_inodes,
        free_blocks=free_blocks,
        unfinished=bool(raw[126]),
        version_bits=version_bits,
        more_version_bits=struct.unpack_from(">I", raw, 200)[0],
        read_only_features=features[1],
        incompatible_features=features[2],
        log_features=features[3],
    )


def geometry_fault(raw: bytes) -> str | None:
    """Why nothing can be found by this superblock, or None. Bounds every size that is later trusted."""
    found = parse_superblock(raw)
    if found.version not in (4, 5):
        return f"version {found.version} is none that exists"
    for name, size, shift, least, most in (
        ("block", found.block_bytes, raw[120], 512, 65536),
        ("sector", found.sector_bytes, raw[121], 512, 32768),
        ("inode", found.inode_bytes, raw[122], 256, 2048),
        ("directory block", found.directory_block_bytes, raw[120] + raw[192], 512, 65536),
    ):
        if not least <= size <= most or size != 1 << min(shift, 63):
            return f"the {name} size of {size:,} bytes is impossible"
    if found.inode_bytes > found.block_bytes or found.inodes_per_block != 1 << min(found.inode_bits, 63):
        return "the number of inodes in a block does not fit their sizes"
    if found.group_blocks < 64 or found.group_bits != (found.group_blocks - 1).bit_length():
        return f"allocation groups of {found.group_blocks:,} blocks are impossible"
    if (
        found.group_count == 0
        or not 0 < found.blocks - (found.group_count - 1) * found.group_blocks <= found.group_blocks
    ):
        return f"{found.group_count:,} groups do not make {found.blocks:,} blocks"
    if found.log_start and not found.holds(found.log_start, found.log_blocks):
        return "the log lies outside of the file system"
    return None


def differing_geometry(primary: bytes, backup: bytes) -> str | None:
    """The first promise in which a backup superblock differs from the primary, or None.

    Only what nothing changes while the file system lives is compared: counters, features, sizes after growing and the
    root inode are kept up to date in the primary alone.
    """
    for name, at, length in (
        ("block size", 4, 4),
        ("UUID", 32, 16),
        ("start of the log", 48, 8),
        ("size of a group", 84, 4),
        ("size of the log", 96, 4),
        ("sector and inode sizes", 102, 6),
        ("shifts", 120, 5),
        ("directory block size", 192, 1),
    ):
        if primary[at : at + length] != backup[at : at + length]:
            return name
    return None
