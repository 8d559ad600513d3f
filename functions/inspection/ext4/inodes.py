"""Inodes of ext2, ext3 and ext4: what one says, its checksum, and what its own fields must agree on."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from functions.inspection.checksums import crc32c_of_kernel
from functions.inspection.devices import OutOfRange
from functions.inspection.ext4.blocks import RecoveredBlocks
from functions.inspection.ext4.groups import Groups
from functions.inspection.ext4.superblock import Incompatible, ReadOnlyCompatible, Superblock
from functions.inspection.file_systems import Damaged

XATTR_MAGIC = b"\x00\x00\x02\xea"
POINTER_BYTES = 60
"""The room in an inode for extents, block numbers, a short symbolic link or the begin of inline data."""

_OLD_INODE_BYTES = 128
_FIELDS = struct.Struct("<HHIIIIIHHIII60sIIIIHH")
_XATTR_ENTRY = struct.Struct("<BBHII")
_INDEX_OF_SYSTEM = 7
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CHECKSUM_HIGH_FITS = 4
_MTIME_EXTRA_FITS = 12


class Kind(IntEnum):
    """What an inode is: the upper bits of its mode."""

    NONE = 0x0000
    FIFO = 0x1000
    CHARACTER_DEVICE = 0x2000
    DIRECTORY = 0x4000
    BLOCK_DEVICE = 0x6000
    REGULAR = 0x8000
    SYMLINK = 0xA000
    SOCKET = 0xC000


class InodeFlag(IntEnum):
    """The flags that change how an inode is read."""

    ENCRYPT = 0x800
    INDEX = 0x1000
    HUGE_FILE = 0x40000
    EXTENTS = 0x80000
    EA_INODE = 0x200000
    INLINE_DATA = 0x10000000


DIRECTORY_ENTRY_KINDS = {
    Kind.REGULAR: 1,
    Kind.DIRECTORY: 2,
    Kind.CHARACTER_DEVICE: 3,
    Kind.BLOCK_DEVICE: 4,
    Kind.FIFO: 5,
    Kind.SOCKET: 6,
    Kind.SYMLINK: 7,
}
"""What a directory entry calls each kind."""

_KINDS = frozenset(int(kind) for kind in Kind)


@dataclass(slots=True)
class Inode:
    """One inode. `kind` is a plain number, because a damaged one may be no Kind; sizes in bytes."""

    number: int
    raw: bytes
    kind: int
    size_bytes: int
    links: int
    blocks_low: int
    flags: int
    pointers: bytes
    generation: int
    xattr_block: int
    deleted_at: int
    sectors: int

    @property
    def extra_bytes(self) -> int:
        """How much of what follows the first 128 bytes are fields; attributes come after them."""
        return int(struct.unpack_from("<H", self.raw, 0x80)[0]) if len(self.raw) > _OLD_INODE_BYTES else 0

    @property
    def has_inline_data(self) -> bool:
        """Whether the content lies in the inode itself."""
        return bool(self.flags & InodeFlag.INLINE_DATA)

    @property
    def is_encrypted(self) -> bool:
        """Whether content, or the names in a directory, are encrypted."""
        return bool(self.flags & InodeFlag.ENCRYPT)

    @property
    def modified_at(self) -> datetime | None:
        """The time of the last change of the content; None when the inode holds no possible one."""
        seconds = int(struct.unpack_from("<i", self.raw, 0x10)[0])
        nanoseconds = 0
        if self.extra_bytes >= _MTIME_EXTRA_FITS:
            extra = int(struct.unpack_from("<I", self.raw, 0x88)[0])
            seconds += (extra & 3) << 32
            nanoseconds = extra >> 2
        if nanoseconds >= 1_000_000_000:
            return None
        return _EPOCH + timedelta(seconds=seconds, microseconds=nanoseconds // 1000)


def parse_inode(superblock: Superblock, number: int, raw: bytes) -> Inode:
    """What the bytes of an inode say, possible or not."""
    fields = _FIELDS.unpack_from(raw)
    mode, _, size_low, _, _, _, deleted_at, _, links, blocks_low, flags, _, pointers = fields[:13]
    generation, xattr_low, size_high, _, blocks_high, xattr_high = fields[13:]
    kind = mode & 0xF000
    has_long_size = kind == Kind.REGULAR or bool(superblock.incompatible & Incompatible.LARGEDIR)
    is_wide = bool(superblock.incompatible & Incompatible.SIXTY_FOUR_BIT)
    sectors = blocks_low
    if superblock.read_only_compatible & ReadOnlyCompatible.HUGE_FILE:
        sectors |= blocks_high << 32
        if flags & InodeFlag.HUGE_FILE:
            sectors *= superblock.block_bytes // 512
    return Inode(
        number=number,
        raw=raw,
        kind=kind,
        size_bytes=size_low | (size_high << 32 if has_long_size else 0),
        links=links,
        blocks_low=blocks_low,
        flags=flags,
        pointers=pointers,
        generation=generation,
        xattr_block=xattr_low | (xattr_high << 32 if is_wide else 0),
        deleted_at=deleted_at,
        sectors=sectors,
    )


def checksum_seed(superblock: Superblock, inode: Inode) -> int:
    """With what the checksums of an inode and of all that belongs to it begin."""
    return crc32c_of_kernel(superblock.checksum_seed, struct.pack("<II", inode.number, inode.generation))


def inode_holds(superblock: Superblock, inode: Inode) -> bool:
    """Whether the checksum is right. An inode of zeros has none: mke2fs leaves the reserved ones so."""
    raw = inode.raw
    expected = int(struct.unpack_from("<H", raw, 0x7C)[0])
    mask = 0xFFFF
    covered = raw[:0x7C] + b"\0\0" + raw[0x7E:]
    if len(raw) > _OLD_INODE_BYTES and inode.extra_bytes >= _CHECKSUM_HIGH_FITS:
        expected |= int(struct.unpack_from("<H", raw, 0x82)[0]) << 16
        mask = 0xFFFFFFFF
        covered = covered[:0x82] + b"\0\0" + covered[0x84:]
    return crc32c_of_kernel(checksum_seed(superblock, inode), covered) & mask == expected or not any(raw)


def inode_faults(superblock: Superblock, inode: Inode) -> Iterator[tuple[str, str]]:
    """What an inode in use says that cannot be, as (fault, detail)."""
    if inode.kind not in _KINDS or inode.kind == Kind.NONE:
        yield "mode", f"inode {inode.number} is of no kind: {inode.kind:#x}"
    room = superblock.inode_bytes - _OLD_INODE_BYTES
    if room and (inode.extra_bytes > room or inode.extra_bytes % 4):
        yield "extra-size", f"inode {inode.number}: {inode.extra_bytes} bytes of extra fields in {room}"
    if inode.kind == Kind.DIRECTORY and not inode.has_inline_data and inode.size_bytes % superblock.block_bytes:
        yield "size", f"directory {inode.number} has {inode.size_bytes:,} bytes"
    if inode.kind == Kind.SYMLINK and inode.size_bytes >= superblock.block_bytes:
        yield "size", f"symbolic link {inode.number} has {inode.size_bytes:,} bytes"
    if inode.has_inline_data and not superblock.incompatible & Incompatible.INLINE_DATA:
        yield "flags", f"inode {inode.number} has inline data, the file system does not know them"


def is_short_symlink(superblock: Superblock, inode: Inode) -> bool:
    """Whether the target of a symbolic link stands in the inode, so that it has no blocks."""
    of_xattrs = superblock.block_bytes // 512 if inode.xattr_block else 0
    return inode.kind == Kind.SYMLINK and inode.sectors == of_xattrs and not inode.has_inline_data


def has_blocks(superblock: Superblock, inode: Inode) -> bool:
    """Whether the pointers of an inode lead to blocks."""
    if inode.has_inline_data or is_short_symlink(superblock, inode):
        return False
    return inode.kind in (Kind.REGULAR, Kind.DIRECTORY, Kind.SYMLINK)


def inline_content(inode: Inode) -> bytes:
    """The content that lies in the inode. Errors: Damaged when it does not reach the size."""
    content = inode.pointers
    if inode.size_bytes > POINTER_BYTES:
        content += _inline_rest(inode)
    if len(content) < inode.size_bytes:
        raise Damaged(f"inode {inode.number} holds {len(content)} of {inode.size_bytes:,} bytes")
    return content[: inode.size_bytes]


def _inline_rest(inode: Inode) -> bytes:
    """What of inline data is kept as the attribute "system.data"."""
    raw, begin = inode.raw, _OLD_INODE_BYTES + inode.extra_bytes
    if raw[begin : begin + 4] != XATTR_MAGIC:
        return b""
    first = begin + 4
    for name_index, name, offset, length in xattr_entries(raw, first):
        if name_index == _INDEX_OF_SYSTEM and name == b"data":
            return raw[first + offset : first + offset + length]
    return b""


def xattr_entries(raw: bytes, at: int) -> Iterator[tuple[int, bytes, int, int]]:
    """Extended attributes from a place on: (index, name, value's offset, value's length), as far as they are possible.

    Offsets of values count from the first entry in an inode, and from the block's begin in a block.
    """
    while at + 4 <= len(raw) and raw[at : at + 4] != b"\0\0\0\0" and at + 16 <= len(raw):
        name_length, index, offset, _, length = _XATTR_ENTRY.unpack_from(raw, at)
        if at + 16 + name_length > len(raw):
            return
        yield index, raw[at + 16 : at + 16 + name_length], offset, length
        at += (16 + name_length + 3) & ~3


class InodeTable:
    """Inodes by number."""

    def __init__(self, superblock: Superblock, groups: Groups, blocks: RecoveredBlocks) -> None:
        self._superblock = superblock
        self._groups = groups
        self._blocks = blocks

    def place(self, number: int) -> int:
        """The offset of an inode on the device. Errors: Damaged when there is no such inode."""
        if not 1 <= number <= self._superblock.inode_count:
            raise Damaged(f"there is no inode {number}")
        group, index = divmod(number - 1, self._superblock.inodes_per_group)
        if not self._groups.is_possible[group]:
            raise Damaged(f"the inode table of group {group} is lost")
        table = int(self._groups.inode_table[group])
        return table * self._superblock.block_bytes + index * self._superblock.inode_bytes

    def read(self, number: int) -> Inode:
        """One inode. Errors: Damaged when its place or its checksum is wrong; BudgetSpent."""
        try:
            raw = self._blocks.read_bytes(self.place(number), self._superblock.inode_bytes)
        except OutOfRange as error:
            raise Damaged(f"inode {number}: {error}") from error
        inode = parse_inode(self._superblock, number, raw)
        if self._superblock.has_metadata_checksums and not inode_holds(self._superblock, inode):
            raise Damaged(f"inode {number} does not match its checksum")
        return inode
