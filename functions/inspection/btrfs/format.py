"""The btrfs on-disk format: numbers, checksums and the parsing of single structures; nothing here reads a device.

Source: the kernel's include/uapi/linux/btrfs_tree.h and fs/btrfs/tree-checker.c. All integers are little-endian.
"""

from __future__ import annotations

import hashlib
import itertools
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from functions.inspection.checksums import crc32c, crc32c_of_kernel

Key = tuple[int, int, int]
"""(object id, item type, offset): every item of every tree is found, and sorted, by such a triple."""

MOST = 2**64 - 1
FIRST_KEY: Key = (0, 0, 0)
LAST_KEY: Key = (MOST, 255, MOST)
DEEPEST_LEVEL = 7

ROOT_TREE, EXTENT_TREE, CHUNK_TREE, DEVICE_TREE, TOP_SUBVOLUME = 1, 2, 3, 4, 5
ROOT_DIRECTORY, CHECKSUM_TREE, FREE_SPACE_TREE, BLOCK_GROUP_TREE = 6, 7, 10, 11
LOG_TREE, RELOCATION_TREE, DATA_RELOCATION_TREE = 2**64 - 6, 2**64 - 8, 2**64 - 9
CHECKSUM_OBJECT = 2**64 - 10
FIRST_FREE_ID, LAST_FREE_ID = 256, 2**64 - 256

INODE_ITEM, INODE_REF, INODE_EXTREF, LOG_INDEX = 1, 12, 13, 72
DIR_ITEM, DIR_INDEX, EXTENT_DATA, EXTENT_CHECKSUM, ROOT_ITEM = 84, 96, 108, 128, 132
ROOT_REF, EXTENT_ITEM, METADATA_ITEM, BLOCK_GROUP_ITEM = 156, 168, 169, 192
FREE_SPACE_EXTENT, FREE_SPACE_BITMAP = 199, 200
DEVICE_EXTENT, CHUNK_ITEM = 204, 228

ENTRY_FILE, ENTRY_DIRECTORY = 1, 2
"""The two kinds of directory entry that a walk needs."""

FILE_TYPE_BITS = 0o170000
ENTRY_KIND_OF_MODE = {0o100000: 1, 0o040000: 2, 0o020000: 3, 0o060000: 4, 0o010000: 5, 0o140000: 6, 0o120000: 7}

DATA, RAID0, RAID10, RAID5, RAID6 = (1 << bit for bit in (0, 3, 6, 7, 8))
"""Of the kinds of chunk, those that change how it is read; in all others every stripe is a whole copy."""

CHUNK_HEAD = struct.Struct("<QQQQIIIHH")
STRIPE = struct.Struct("<QQ16s")
NODE_HEAD = struct.Struct("<16sQQ16sQQIB")
"""Behind the checksum: file system id, own address, flags, chunk tree id, generation, owner, item count, level."""
NODE_HEAD_BYTES = 101
CHECKSUM_FIELD_BYTES = 32
LEAF_SLOT = struct.Struct("<QBQII")
CHILD_SLOT = struct.Struct("<QBQQQ")
KEY = struct.Struct("<QBQ")
ENTRY_HEAD = struct.Struct("<QBQQHHB")
FILE_EXTENT_HEAD = struct.Struct("<QQBBHB")
FILE_EXTENT_PLACE = struct.Struct("<QQQQ")
FILE_EXTENT_BYTES = 53
INODE_BYTES = 160

INCOMPATIBLE_UNKNOWN_NAMES = {
    12: "zoned",
    13: "extent-tree-v2",
    14: "raid-stripe-tree",
    17: "remap-tree",
}
METADATA_UUID_BIT, EXTENT_TREE_V2_BIT = 1 << 10, 1 << 13
KNOWN_INCOMPATIBLE_BITS = frozenset([*range(12), 16])
FREE_SPACE_TREE_BIT, FREE_SPACE_TREE_VALID_BIT, BLOCK_GROUP_TREE_BIT = 1, 2, 8
"""Of the features that allow reading but not writing by those who do not know them."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """One of the kinds of checksum a file system chose for all of its structures and data.

    `of` is None when we cannot compute it. `length` in bytes.
    """

    name: str
    length: int
    of: Callable[[bytes], bytes] | None


CHECKSUMS = {
    0: Checksum("crc32c", 4, lambda data: crc32c(data).to_bytes(4, "little")),
    1: Checksum("xxhash64", 8, None),
    2: Checksum("sha256", 32, lambda data: hashlib.sha256(data).digest()),
    3: Checksum("blake2b", 32, lambda data: hashlib.blake2b(data, digest_size=32).digest()),
}


def name_hash(name: bytes) -> int:
    """The offset under which a directory entry of that name is filed."""
    return crc32c_of_kernel(0xFFFFFFFE, name)


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where a tree node must be and what it must say of itself, as its parent knows it.

    `first` is the key that the node must begin with, None for a root; every key in it is below `end`.
    `generation` None means that the parent promises nothing.
    """

    logical: int
    level: int
    generation: int | None
    owner: int
    first: Key | None = None
    end: Key | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A tree node taken apart. `slots` is (data offset, size) for each item of a leaf, (address, generation) for each
    child of an inner node."""

    logical: int
    level: int
    generation: int
    owner: int
    keys: tuple[Key, ...]
    slots: tuple[tuple[int, int], ...]
    content: bytes

    def item(self, position: int) -> bytes:
        """The data of one item of a leaf."""
        start, size = self.slots[position]
        return self.content[start : start + size]

    def items(self) -> Iterator[tuple[Key, bytes]]:
        """Every item of a leaf, in key order."""
        content = self.content
        for key, (start, size) in zip(self.keys, self.slots, strict=True):
            yield key, content[start : start + size]

    def child(self, position: int, parent: Pointer) -> Pointer:
        """What this inner node says of one child."""
        logical, generation = self.slots[position]
        last = position + 1 == len(self.keys)
        end = parent.end if last else self.keys[position + 1]
        return Pointer(logical, self.level - 1, generation, parent.owner, self.keys[position], end)


@dataclass(frozen=True, slots=True)
class Entry:
    """A directory entry: what it points to (an inode, or the root of a subvolume), its kind and its name."""

    location: Key
    kind: int
    name: bytes


def entries(item: bytes) -> Iterator[Entry]:
    """The entries of a directory item; more than one when hashes of names collide.

    Errors: ValueError when the item ends inside of an entry, or an entry has no name.
    """
    at = 0
    while at < len(item):
        if at + ENTRY_HEAD.size > len(item):
            raise ValueError("the item ends inside of an entry")
        objectid, kind, offset, _, extra, name_length, entry_kind = ENTRY_HEAD.unpack_from(item, at)
        at += ENTRY_HEAD.size
        if not name_length or at + name_length + extra > len(item):
            raise ValueError("the name does not fit into the item")
        yield Entry((objectid, kind, offset), entry_kind & 0x7F, item[at : at + name_length])
        at += name_length + extra


def references(key: Key, item: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(parent, index, name) of each name that an inode has, from an INODE_REF or INODE_EXTREF item.

    Errors: ValueError when the item ends inside of a name.
    """
    head = struct.Struct("<QQH") if key[1] == INODE_EXTREF else struct.Struct("<QH")
    at = 0
    while at < len(item):
        if at + head.size > len(item):
            raise ValueError("the item ends inside of a reference")
        *parents, index, length = head.unpack_from(item, at)
        at += head.size
        if not length or at + length > len(item):
            raise ValueError("the name does not fit into the item")
        yield (parents[0] if parents else key[2]), index, item[at : at + length]
        at += length


@dataclass(frozen=True, slots=True)
class Inode:
    """What the reader needs of an inode. `modified_seconds` since 1970, may be negative."""

    generation: int
    size_bytes: int
    links: int
    mode: int
    flags: int
    modified_seconds: int
    modified_nanoseconds: int

    @classmethod
    def parse(cls, item: bytes) -> Inode:
        """Of an INODE_ITEM. Errors: ValueError for a wrong length."""
        if len(item) != INODE_BYTES:
            raise ValueError(f"an inode of {len(item)} bytes")
        generation, _, size = struct.unpack_from("<QQQ", item)
        links, _, _, mode = struct.unpack_from("<IIII", item, 40)
        (flags,) = struct.unpack_from("<Q", item, 64)
        seconds, nanoseconds = struct.unpack_from("<qI", item, 136)
        return cls(generation, size, links, mode, flags, seconds, nanoseconds)

    @property
    def entry_kind(self) -> int:
        """The kind that directory entries give to such an inode; 0 for a mode that means nothing."""
        return ENTRY_KIND_OF_MODE.get(self.mode & FILE_TYPE_BITS, 0)


@dataclass(frozen=True, slots=True)
class Root:
    """A tree as the root tree names it. `dropped_to` is set while the tree is being deleted: what lies before that key,
    down to `dropped_level`, is already free for others."""

    pointer: Pointer
    references: int
    dropped_to: Key | None
    dropped_level: int

    @classmethod
    def parse(cls, owner: int, item: bytes) -> Root:
        """Of a ROOT_ITEM. Errors: ValueError for a wrong length or level."""
        if len(item) < 239:
            raise ValueError(f"a root item of {len(item)} bytes")
        generation, _, logical = struct.unpack_from("<QQQ", item, INODE_BYTES)
        (count,) = struct.unpack_from("<I", item, 216)
        dropped: Key = KEY.unpack_from(item, 220)
        dropped_level, level = item[237], item[238]
        if level > DEEPEST_LEVEL:
            raise ValueError(f"a tree of {level} levels")
        pointer = Pointer(logical, level, generation, owner)
        return cls(pointer, count, None if dropped == FIRST_KEY else dropped, dropped_level)


INLINE, REGULAR, RESERVED = 0, 1, 2
"""The kinds of file extent: content inside the item, content in a data extent, space that is not written yet."""
LONGEST_DATA_EXTENT = 16 * 1024**3
"""Far above what the kernel makes (128 MiB) and converters leave (one chunk); bounds the work on one item."""
COMPRESSIONS = {0: "", 1: "zlib", 2: "lzo", 3: "zstd"}


@dataclass(frozen=True, slots=True)
class FileExtent:
    """A stretch of a file: `offset` and `length` in the file, and where its content is, all in bytes.

    For REGULAR extents `disk_length` bytes at the logical address `disk` hold the content (0: a hole); what belongs
    here begins `skipped` bytes into it, after decompression. `unpacked` is the length after decompression.
    """

    offset: int
    length: int
    kind: int
    compression: int
    encoded: bool
    unpacked: int
    disk: int = 0
    disk_length: int = 0
    skipped: int = 0
    content: bytes = b""

    @classmethod
    def parse(cls, offset: int, item: bytes) -> FileExtent:
        """Of an EXTENT_DATA item. Errors: ValueError for what the format forbids."""
        if len(item) < FILE_EXTENT_HEAD.size:
            raise ValueError(f"a file extent of {len(item)} bytes")
        _, unpacked, compression, encryption, other, kind = FILE_EXTENT_HEAD.unpack_from(item)
        encoded = bool(encryption or other)
        if kind == INLINE:
            content = item[FILE_EXTENT_HEAD.size :]
            length = unpacked if compression else len(content)
            if length > 2**20:
                raise ValueError(f"an inline extent of {length:,} bytes")
            return cls(offset, length, kind, compression, encoded, unpacked, content=content)
        if kind > RESERVED or len(item) != FILE_EXTENT_BYTES:
            raise ValueError(f"a file extent of kind {kind} in {len(item)} bytes")
        disk, disk_length, skipped, length = FILE_EXTENT_PLACE.unpack_from(item, FILE_EXTENT_HEAD.size)
        if disk_length > LONGEST_DATA_EXTENT:
            raise ValueError(f"a data extent of {disk_length:,} bytes")
        if not length or offset + length > 2**63 or (disk and skipped + length > unpacked):
            raise ValueError(f"a file extent of {length:,} bytes at {offset:,} in {unpacked:,}")
        return cls(offset, length, kind, compression, encoded, unpacked, disk, disk_length, skipped)

    @property
    def end(self) -> int:
        """Where in the file the next extent may begin."""
        return self.offset + self.length

    def part(self, start: int, end: int) -> FileExtent:
        """What of it lies between two offsets in the file; inline content is never divided."""
        start, end = max(start, self.offset), min(end, self.end)
        if self.kind == INLINE:
            return self
        return replace(self, offset=start, length=end - start, skipped=self.skipped + start - self.offset)

    @property
    def is_stored(self) -> bool:
        """Whether a data extent holds its content; holes and reserved space read as zeros."""
        return self.kind == REGULAR and self.disk != 0


def parse_node(content: bytes) -> Node:
    """A node taken apart after its checksum was found right.

    Errors: ValueError when items lie outside of the node, overlap, or are not sorted.
    """
    _, logical, _, _, generation, owner, count, level = NODE_HEAD.unpack_from(content, CHECKSUM_FIELD_BYTES)
    slot = CHILD_SLOT if level else LEAF_SLOT
    if count > (len(content) - NODE_HEAD_BYTES) // slot.size:
        raise ValueError(f"{count} items do not fit")
    if level and not count:
        raise ValueError("an inner node without children")
    table_end = NODE_HEAD_BYTES + count * slot.size
    rows = list(slot.iter_unpack(content[NODE_HEAD_BYTES:table_end]))
    keys: tuple[Key, ...] = tuple((row[0], row[1], row[2]) for row in rows)
    if any(one >= other for one, other in itertools.pairwise(keys)):
        raise ValueError("the keys are not sorted")
    if level:
        return Node(logical, level, generation, owner, keys, tuple((row[3], row[4]) for row in rows), content)
    return Node(logical, level, generation, owner, keys, _item_places(rows, table_end, len(content)), content)


def _item_places(rows: list[tuple[int, ...]], table_end: int, node_bytes: int) -> tuple[tuple[int, int], ...]:
    """Items fill the leaf from its end backwards, without gaps, as the kernel insists."""
    end = node_bytes
    places: list[tuple[int, int]] = []
    for row in rows:
        start, size = NODE_HEAD_BYTES + row[3], row[4]
        if start + size != end or start < table_end:
            raise ValueError(f"an item lies at {start} with {size} bytes, and must end at {end}")
        places.append((start, size))
        end = start
    return tuple(places)
