"""Inodes of XFS: what the core says, and where the forks lie."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from functions.inspection.xfs.metadata import FILE_TREE, INODE, Block, Metadata
from functions.inspection.xfs.superblock import Superblock

DIRECTORY, REGULAR, SYMBOLIC_LINK = 4, 8, 10
_KINDS = (1, 2, DIRECTORY, 6, REGULAR, SYMBOLIC_LINK, 12)
DEVICE_FORMAT, LOCAL, EXTENTS, TREE = 0, 1, 2, 3
_FORMATS = {REGULAR: (EXTENTS, TREE), DIRECTORY: (LOCAL, EXTENTS, TREE), SYMBOLIC_LINK: (LOCAL, EXTENTS)}
_CORE = struct.Struct(">2sHbbHIII4xQ8xQ8xQQ4xIHBb6xHII")
_ON_REALTIME_DEVICE = 0x1
_LONG_TIMES, _LONG_COUNTS = 8, 16
_LONGEST_LINK = 1024
_MOST_LEVELS = 9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Stretch(NamedTuple):
    """Blocks of a file: the first of them in the file, the first on the file system, how many, and whether they hold
    data yet."""

    file_block: int
    block: int
    blocks: int
    unwritten: bool


@dataclass(frozen=True, slots=True)
class Inode:
    """An inode whose core was judged. `kind` is the type of file as in its mode; 0 is an inode that is free."""

    number: int
    raw: bytes
    kind: int
    links: int
    size: int
    blocks: int
    data_format: int
    data_extents: int
    attribute_format: int
    attribute_extents: int
    fork_offset: int
    next_unlinked: int
    is_on_realtime_device: bool
    core_bytes: int

    @property
    def data_fork(self) -> bytes:
        """The bytes in which the inode keeps its data or its map."""
        end = self.core_bytes + self.fork_offset if self.fork_offset else len(self.raw)
        return self.raw[self.core_bytes : end]

    @property
    def attribute_fork(self) -> bytes:
        """The same for its attributes; empty when it has none."""
        return self.raw[self.core_bytes + self.fork_offset :] if self.fork_offset else b""

    @property
    def modified_at(self) -> datetime | None:
        """When the content was changed last, or None for what is no time."""
        (stored,) = struct.unpack_from(">Q", self.raw, 40)
        if self.core_bytes > 100 and struct.unpack_from(">Q", self.raw, 120)[0] & _LONG_TIMES:
            seconds, nanoseconds = divmod(stored, 1_000_000_000)
            seconds -= 1 << 31
        else:
            seconds, nanoseconds = struct.unpack_from(">iI", self.raw, 40)
        if nanoseconds >= 1_000_000_000:
            return None
        try:
            return _EPOCH + timedelta(seconds=seconds, microseconds=nanoseconds // 1000)
        except OverflowError:
            return None


def parse_inode(superblock: Superblock, number: int, raw: bytes) -> Inode:
    """The inode in these bytes, not judged."""
    (
        _magic, mode, version, data_format, old_links, _user, _group, links, long_count, _modified, size, blocks,
        short_count, short_attribute_count, fork_offset, attribute_format, flags, _generation, next_unlinked,
    ) = _CORE.unpack_from(raw)  # fmt: skip
    counts_are_long = version == 3 and struct.unpack_from(">Q", raw, 120)[0] & _LONG_COUNTS
    return Inode(
        number=number,
        raw=raw,
        kind=mode >> 12,
        links=old_links if version == 1 else links,
        size=size,
        blocks=blocks,
        data_format=data_format,
        data_extents=long_count if counts_are_long else short_count,
        attribute_format=attribute_format,
        attribute_extents=short_count if counts_are_long else short_attribute_count,
        fork_offset=fork_offset * 8,
        next_unlinked=next_unlinked,
        is_on_realtime_device=bool(flags & _ON_REALTIME_DEVICE),
        core_bytes=superblock.inode_core_bytes,
    )


def judge_inode(metadata: Metadata, number: int, block: Block) -> Inode | None:
    """The inode, if it is one and is what it says; otherwise the findings say why. It may be free."""
    superblock = metadata.superblock
    raw = block.content
    if raw[:2] != b"IN" or raw[4] not in ((3,) if superblock.has_checksums else (1, 2)):
        metadata.damage("inode.magic", f"there is no inode at the place of inode {number}", block.offset)
        return None
    if not metadata.is_trusted("inode", block, INODE, owner=number, area="inodes"):
        return None
    inode = parse_inode(superblock, number, raw)
    fault = _fault_of(superblock, inode) if inode.kind else None
    if fault:
        metadata.damage("inode.content", f"inode {number}: {fault}", block.offset)
        return None
    return inode


def read_inode(metadata: Metadata, number: int) -> Inode | None:
    """The inode of that number, judged; None when it is damaged, free, or cannot exist."""
    superblock = metadata.superblock
    if not superblock.has_inode(number):
        return None
    block = metadata.read("inode", superblock.offset_of_inode(number), superblock.inode_bytes)
    inode = judge_inode(metadata, number, block) if block else None
    return inode if inode and inode.kind else None


def _fault_of(superblock: Superblock, inode: Inode) -> str | None:
    """What a well-formed core could not say, or None."""
    if inode.kind not in _KINDS:
        return f"{inode.kind} is no type of file"
    if inode.data_format not in _FORMATS.get(inode.kind, (DEVICE_FORMAT,)):
        return f"a data fork of the format {inode.data_format} does not fit its type"
    room = superblock.inode_bytes - inode.core_bytes
    if inode.fork_offset >= room:
        return "its attributes begin behind its end"
    if inode.fork_offset and inode.attribute_format not in (LOCAL, EXTENTS, TREE):
        return f"an attribute fork of the format {inode.attribute_format} is impossible"
    if inode.size >> 63 or (inode.kind == SYMBOLIC_LINK and not 0 < inode.size <= _LONGEST_LINK):
        return f"a size of {inode.size:,} bytes is impossible"
    if inode.data_format == LOCAL and inode.size > len(inode.data_fork):
        return f"{inode.size:,} bytes do not fit into it"
    if not inode.fork_offset and inode.attribute_extents:
        return "it counts extents of attributes that it does not have"
    return None


@dataclass(slots=True)
class ForkMap:
    """Where a fork lies: its stretches in order, and the blocks of the tree that holds them.

    `is_whole` is False when a part of the map could not be followed.
    """

    stretches: list[Stretch]
    tree_blocks: list[int]
    is_whole: bool = True


class ForkReader:
    """Reads the map of one fork of one inode. Errors of its methods: TooMuchDamage; BudgetSpent."""

    def __init__(self, metadata: Metadata, inode: Inode, *, attributes: bool = False) -> None:
        self._metadata = metadata
        self._superblock = metadata.superblock
        self._inode = inode
        self._fork = inode.attribute_fork if attributes else inode.data_fork
        self._format = inode.attribute_format if attributes else inode.data_format
        self._promised = inode.attribute_extents if attributes else inode.data_extents
        self._is_realtime = inode.is_on_realtime_device and not attributes
        self._map = ForkMap([], [])
        self._header_bytes = 72 if self._superblock.has_checksums else 24

    def read(self) -> ForkMap:
        """The map was followed, and the findings say where it is wrong."""
        if not self._fork or self._format not in (EXTENTS, TREE):
            return self._map
        if self._format == TREE:
            self._read_tree()
        elif self._promised * 16 > len(self._fork):
            self._broken("extents.count", f"{self._promised:,} extents do not fit into the inode")
        else:
            self._add(self._fork, 0, self._promised)
        if self._map.is_whole and len(self._map.stretches) != self._promised:
            found = len(self._map.stretches)
            self._broken("extents.count", f"it has {found:,} extents and counts {self._promised:,}")
        self._check_stretches()
        return self._map

    def _read_tree(self) -> None:
        level, count = struct.unpack_from(">HH", self._fork)
        most = (len(self._fork) - 4) // 16
        if not 1 <= level < _MOST_LEVELS or not 1 <= count <= most:
            self._broken("extents.root", f"a root of {count:,} records at level {level} is impossible")
            return
        keys = struct.unpack_from(f">{count}Q", self._fork, 4)
        expected = list(zip(struct.unpack_from(f">{count}Q", self._fork, 4 + most * 8), keys, strict=True))
        seen: set[int] = set()
        for below in range(level - 1, -1, -1):
            self._metadata.device.expect(
                (self._superblock.offset_of(block), self._superblock.block_bytes) for block, _ in expected
            )
            children: list[tuple[int, int]] = []
            for block, key in expected:
                if block in seen or not self._superblock.holds(block):
                    self._broken("extents.pointer", f"block {block:,} cannot be a part of its extent tree")
                    continue
                seen.add(block)
                children += self._read_block(block, below, key)
            expected = children

    def _read_block(self, block: int, level: int, key: int) -> list[tuple[int, int]]:
        offset = self._superblock.offset_of(block)
        read = self._metadata.read("extents", offset, self._superblock.block_bytes)
        if read is None or not self._metadata.is_trusted(
            "extents", read, FILE_TREE, owner=self._inode.number, area="extents"
        ):
            self._map.is_whole = False
            return []
        content = read.content
        found_level, count = struct.unpack_from(">HH", content, 4)
        room = len(content) - self._header_bytes
        is_tree = content[:4] == (b"BMA3" if self._superblock.has_checksums else b"BMAP")
        if not is_tree or found_level != level or not 0 < count <= room // 16:
            self._broken("extents.block", f"block {block:,} is no part of its extent tree at level {level}")
            return []
        self._map.tree_blocks.append(block)
        first = struct.unpack_from(">Q", content, self._header_bytes)[0]
        if level == 0:
            first = (first & 0x7FFF_FFFF_FFFF_FFFF) >> 9
            self._add(content, self._header_bytes, count)
        if first != key:
            self._broken("extents.key", f"block {block:,} of its extent tree does not begin where its parent says")
        if level == 0:
            return []
        keys = struct.unpack_from(f">{count}Q", content, self._header_bytes)
        pointers = struct.unpack_from(f">{count}Q", content, self._header_bytes + room // 16 * 8)
        return list(zip(pointers, keys, strict=True))

    def _add(self, content: bytes, at: int, count: int) -> None:
        for high, low in struct.iter_unpack(">QQ", content[at : at + 16 * count]):
            start = (high & 0x1FF) << 43 | low >> 21
            self._map.stretches.append(
                Stretch((high & 0x7FFF_FFFF_FFFF_FFFF) >> 9, start, low & 0x1F_FFFF, bool(high >> 63))
            )

    def _check_stretches(self) -> None:
        end = 0
        sound: list[Stretch] = []
        for stretch in self._map.stretches:
            inside = self._is_realtime or self._superblock.holds(stretch.block, stretch.blocks)
            if stretch.blocks == 0 or stretch.file_block < end or not inside:
                self._broken(
                    "extents.range", f"the extent of {stretch.blocks:,} blocks from {stretch.block:,} is wrong"
                )
            else:
                sound.append(stretch)
                end = stretch.file_block + stretch.blocks
        self._map.stretches = sound

    def _broken(self, fault: str, detail: str) -> None:
        self._map.is_whole = False
        offset = self._superblock.offset_of_inode(self._inode.number)
        self._metadata.damage(fault, f"inode {self._inode.number}: {detail}", offset)
