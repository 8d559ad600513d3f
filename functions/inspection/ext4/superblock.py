"""The superblock of ext2, ext3 and ext4: what it says, and whether it can be believed."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from functions.inspection.checksums import crc32c_of_kernel
from functions.inspection.file_systems import Damaged

SUPERBLOCK_OFFSET = 1024
SUPERBLOCK_BYTES = 1024
ROOT_INODE = 2
RESIZE_INODE = 7
JOURNAL_INODE = 8
MOST_GROUPS = 1 << 20
"""128 TiB of 4 KiB blocks: more than a volume can have, and still little memory."""

_MAGIC = b"\x53\xef"
_ALL_ONES = 0xFFFFFFFF
_CHECKSUM_AT = 0x3FC
_READ_ONLY_FEATURES_AT = 0x64
_LARGEST_LOG_BLOCK_SIZE = 6
_DESCRIPTOR_BYTES = 32


class Compatible(IntEnum):
    """Features that a kernel may ignore."""

    HAS_JOURNAL = 0x4
    EXT_ATTR = 0x8
    RESIZE_INODE = 0x10
    SPARSE_SUPER2 = 0x200
    ORPHAN_FILE = 0x1000


class Incompatible(IntEnum):
    """Features without which a file system cannot be read."""

    FILETYPE = 0x2
    RECOVER = 0x4
    JOURNAL_DEV = 0x8
    META_BG = 0x10
    EXTENTS = 0x40
    SIXTY_FOUR_BIT = 0x80
    MMP = 0x100
    FLEX_BG = 0x200
    EA_INODE = 0x400
    CSUM_SEED = 0x2000
    LARGEDIR = 0x4000
    INLINE_DATA = 0x8000
    ENCRYPT = 0x10000
    CASEFOLD = 0x20000


class ReadOnlyCompatible(IntEnum):
    """Features that a reader may ignore."""

    SPARSE_SUPER = 0x1
    LARGE_FILE = 0x2
    HUGE_FILE = 0x8
    GDT_CSUM = 0x10
    DIR_NLINK = 0x20
    QUOTA = 0x100
    BIGALLOC = 0x200
    METADATA_CSUM = 0x400
    SHARED_BLOCKS = 0x4000
    ORPHAN_PRESENT = 0x10000


class State(IntEnum):
    """What the kernel wrote about the file system itself."""

    CLEAN = 0x1
    HAS_ERRORS = 0x2


_KNOWN_INCOMPATIBLE = sum(Incompatible)
_UNKNOWN_NAMES = {0x1: "compression", 0x1000: "dirdata"}
# The kernel sets these in the primary superblock while it is mounted and leaves the backups as they were.
_SET_WHILE_MOUNTED = (
    Compatible.EXT_ATTR,
    Incompatible.RECOVER | Incompatible.EXTENTS,
    ReadOnlyCompatible.LARGE_FILE | ReadOnlyCompatible.DIR_NLINK | ReadOnlyCompatible.ORPHAN_PRESENT,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Superblock:
    """What one copy of the superblock says, checked to be possible. Block numbers count from the device's begin."""

    raw: bytes
    inode_count: int
    block_count: int
    first_block: int
    block_bytes: int
    blocks_per_cluster: int
    blocks_per_group: int
    inodes_per_group: int
    inode_bytes: int
    first_free_inode: int
    descriptor_bytes: int
    reserved_descriptor_blocks: int
    first_meta_group: int
    compatible: int
    incompatible: int
    read_only_compatible: int
    uuid: bytes
    checksum_seed: int
    state: int
    error_count: int
    made_at_seconds: int
    journal_inode: int
    last_orphan: int
    orphan_file_inode: int
    mmp_block: int
    backup_groups: tuple[int, int]
    group_number: int

    @property
    def group_count(self) -> int:
        """How many block groups the file system has."""
        return -(-(self.block_count - self.first_block) // self.blocks_per_group)

    @property
    def has_metadata_checksums(self) -> bool:
        """Whether inodes, bitmaps, directories and the like carry a CRC-32C."""
        return bool(self.read_only_compatible & ReadOnlyCompatible.METADATA_CSUM)

    @property
    def has_uninitialised_groups(self) -> bool:
        """Whether descriptors carry a checksum, and with it flags for what was never initialised."""
        return bool(self.read_only_compatible & (ReadOnlyCompatible.METADATA_CSUM | ReadOnlyCompatible.GDT_CSUM))

    @property
    def needs_recovery(self) -> bool:
        """Whether the journal is to be replayed at the next mount."""
        return bool(self.incompatible & Incompatible.RECOVER)

    @property
    def first_superblock_block(self) -> int:
        """The block that holds the primary superblock."""
        return SUPERBLOCK_OFFSET // self.block_bytes

    @property
    def inode_table_blocks(self) -> int:
        """How many blocks the inode table of a group takes."""
        return -(-self.inodes_per_group * self.inode_bytes // self.block_bytes)

    @property
    def geometry(self) -> tuple[int, ...]:
        """What every copy must agree on."""
        return (
            self.inode_count,
            self.block_count,
            self.first_block,
            self.block_bytes,
            self.blocks_per_cluster,
            self.blocks_per_group,
            self.inodes_per_group,
            self.inode_bytes,
            self.descriptor_bytes,
        )

    @property
    def lasting_features(self) -> tuple[int, ...]:
        """The features that are not set or cleared in the primary superblock alone."""
        features = (self.compatible, self.incompatible, self.read_only_compatible)
        return tuple(have & ~passing for have, passing in zip(features, _SET_WHILE_MOUNTED, strict=True))

    def has_superblock(self, group: int) -> bool:
        """Whether this group begins with a copy of the superblock."""
        if group == 0:
            return True
        if self.compatible & Compatible.SPARSE_SUPER2:
            return group in self.backup_groups
        if group == 1 or not self.read_only_compatible & ReadOnlyCompatible.SPARSE_SUPER:
            return True
        return any(_is_power(group, root) for root in (3, 5, 7))

    def first_block_of(self, group: int) -> int:
        """The block with which a group begins."""
        return self.first_block + group * self.blocks_per_group

    def blocks_in(self, group: int) -> int:
        """How many blocks a group has: the last one may have fewer."""
        return min(self.blocks_per_group, self.block_count - self.first_block_of(group))

    def unknown_features(self) -> tuple[str, ...]:
        """The features we do not know and would need in order to read everything."""
        unknown = self.incompatible & ~_KNOWN_INCOMPATIBLE
        bits = [1 << place for place in range(32) if unknown >> place & 1]
        return tuple(_UNKNOWN_NAMES.get(bit, f"incompat-{bit:#x}") for bit in bits)


def has_magic(raw: bytes) -> bool:
    """Whether these bytes call themselves a superblock of ext2, ext3 or ext4."""
    return raw[0x38:0x3A] == _MAGIC


def checksum_holds(raw: bytes) -> bool:
    """Whether the checksum is right, or there is none to be checked.

    A checksum that is right for the same content with the feature set means that the feature's bit was lost.
    """
    features = _word(raw, _READ_ONLY_FEATURES_AT)
    with_feature = struct.pack("<I", features | ReadOnlyCompatible.METADATA_CSUM)
    covered = raw[:_READ_ONLY_FEATURES_AT] + with_feature + raw[_READ_ONLY_FEATURES_AT + 4 : _CHECKSUM_AT]
    is_right = crc32c_of_kernel(_ALL_ONES, covered) == _word(raw, _CHECKSUM_AT)
    return is_right == bool(features & ReadOnlyCompatible.METADATA_CSUM)


def read_superblock(raw: bytes) -> Superblock:
    """What 1,024 bytes say. Errors: Damaged when they cannot be a superblock; what they say is then impossible."""
    if not has_magic(raw):
        raise Damaged("there is no superblock")
    if _word(raw, 0x18) > _LARGEST_LOG_BLOCK_SIZE:
        raise Damaged(f"blocks of 2^{10 + _word(raw, 0x18)} bytes")
    superblock = _parsed(raw)
    _refuse_impossible(superblock)
    return superblock


def _parsed(raw: bytes) -> Superblock:
    incompatible = _word(raw, 0x60)
    wide = incompatible & Incompatible.SIXTY_FOUR_BIT
    read_only = _word(raw, _READ_ONLY_FEATURES_AT)
    has_revision = _word(raw, 0x4C) > 0
    has_clusters = read_only & ReadOnlyCompatible.BIGALLOC
    uuid = raw[0x68:0x78]
    has_own_seed = incompatible & Incompatible.CSUM_SEED
    return Superblock(
        raw=raw,
        inode_count=_word(raw, 0x00),
        block_count=_word(raw, 0x04) | (_word(raw, 0x150) << 32 if wide else 0),
        first_block=_word(raw, 0x14),
        block_bytes=1024 << _word(raw, 0x18),
        blocks_per_cluster=1 << min(32, max(0, _word(raw, 0x1C) - _word(raw, 0x18))) if has_clusters else 1,
        blocks_per_group=_word(raw, 0x20),
        inodes_per_group=_word(raw, 0x28),
        inode_bytes=_half(raw, 0x58) if has_revision else 128,
        first_free_inode=_word(raw, 0x54) if has_revision else 11,
        descriptor_bytes=_half(raw, 0xFE) if wide else _DESCRIPTOR_BYTES,
        reserved_descriptor_blocks=_half(raw, 0xCE) if _word(raw, 0x5C) & Compatible.RESIZE_INODE else 0,
        first_meta_group=_word(raw, 0x104) if incompatible & Incompatible.META_BG else _ALL_ONES,
        compatible=_word(raw, 0x5C),
        incompatible=incompatible,
        read_only_compatible=read_only,
        uuid=uuid,
        checksum_seed=_word(raw, 0x270) if has_own_seed else crc32c_of_kernel(_ALL_ONES, uuid),
        state=_half(raw, 0x3A),
        error_count=_word(raw, 0x194),
        made_at_seconds=_word(raw, 0x108),
        journal_inode=_word(raw, 0xE0),
        last_orphan=_word(raw, 0xE8),
        orphan_file_inode=_word(raw, 0x280),
        mmp_block=_word(raw, 0x168) | _word(raw, 0x16C) << 32,
        backup_groups=(_word(raw, 0x24C), _word(raw, 0x250)),
        group_number=_half(raw, 0x5A),
    )


def _refuse_impossible(superblock: Superblock) -> None:
    s = superblock
    bits_per_block = 8 * s.block_bytes
    possible = (
        ("inode size", 128 <= s.inode_bytes <= s.block_bytes and s.inode_bytes & (s.inode_bytes - 1) == 0),
        ("first block", s.first_block == (1 if s.block_bytes * s.blocks_per_cluster == 1024 else 0)),
        ("blocks per group", 8 <= s.blocks_per_group <= bits_per_block * s.blocks_per_cluster),
        ("blocks per group", s.blocks_per_group % (8 * s.blocks_per_cluster) == 0),
        ("number of blocks", s.first_block < s.block_count),
        ("inodes per group", s.block_bytes // max(1, s.inode_bytes) <= s.inodes_per_group <= bits_per_block),
        ("inodes per group", s.inodes_per_group % 8 == 0),
        ("descriptor size", s.descriptor_bytes == _DESCRIPTOR_BYTES or 64 <= s.descriptor_bytes <= s.block_bytes),
        ("descriptor size", s.descriptor_bytes & (s.descriptor_bytes - 1) == 0),
        ("reserved descriptors", s.reserved_descriptor_blocks <= s.block_bytes // 4),
        ("cluster size", s.blocks_per_cluster <= 1 << 20),
    )
    for what, holds in possible:
        if not holds:
            raise Damaged(f"the {what} is impossible")
    if s.group_count > MOST_GROUPS:
        raise Damaged(f"{s.group_count:,} groups are more than any volume has")
    if s.group_count * s.inodes_per_group != s.inode_count:
        raise Damaged(f"{s.inode_count:,} inodes are not {s.group_count:,} groups of {s.inodes_per_group:,}")


def _is_power(number: int, root: int) -> bool:
    while number % root == 0:
        number //= root
    return number == 1


def _word(raw: bytes, offset: int) -> int:
    return int(struct.unpack_from("<I", raw, offset)[0])


def _half(raw: bytes, offset: int) -> int:
    return int(struct.unpack_from("<H", raw, offset)[0])
