"""Directories of ext2, ext3 and ext4: their entries, their checksums, and the tree of hashes over large ones."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from functions.inspection.checksums import crc32c_of_kernel
from functions.inspection.devices import OutOfRange
from functions.inspection.ext4.blocks import RecoveredBlocks
from functions.inspection.ext4.inodes import Inode, InodeFlag, checksum_seed, inline_content
from functions.inspection.ext4.mapping import Run
from functions.inspection.ext4.superblock import Incompatible, Superblock
from functions.inspection.file_systems import Damaged
from functions.inspection.findings import Findings

_ENTRY = struct.Struct("<IHBB")
_LEAST_ENTRY = 12
_TAIL_BYTES = 12
_TAIL_BEGIN = b"\0\0\0\0\x0c\0\0\xde"
_LARGEST_PLAIN_BLOCK = 32768
_HASH_ROOT_AT = 32
_HASH_NODE_AT = 8
_HASH_ENTRY_BYTES = 8
_HASH_TAIL_BYTES = 8
_MOST_LEVELS = 3


class Entry(NamedTuple):
    """One name. `kind` is what the entry says of the inode, 0 when it says nothing."""

    inode: int
    name: bytes
    kind: int


class Directory:
    """One directory, read block by block. What is wrong becomes damage; the entries that can be read remain.

    Errors of its methods: BudgetSpent.
    """

    def __init__(
        self, inode: Inode, runs: Sequence[Run], superblock: Superblock, blocks: RecoveredBlocks, findings: Findings
    ) -> None:
        self._inode = inode
        self._runs = runs
        self._superblock = superblock
        self._blocks = blocks
        self._findings = findings
        self._size = superblock.block_bytes
        self._has_tails = superblock.has_metadata_checksums
        self._seed = checksum_seed(superblock, inode) if self._has_tails else 0
        self._knows_kinds = bool(superblock.incompatible & Incompatible.FILETYPE)
        self.is_whole = True

    def entries(self) -> Iterator[Entry]:
        """Every entry, "." and ".." among them, in the order in which they are stored."""
        if self._inode.has_inline_data:
            yield from self._inline_entries()
            return
        nodes = self._hash_nodes() if self._inode.flags & InodeFlag.INDEX else set[int]()
        expected = 0
        for run in self._runs:
            if run.logical != expected or run.unwritten:
                self._damage("directory.hole", f"at block {expected}", None)
            expected = run.logical + run.length
            for step in range(run.length):
                yield from self._entries_of(run.logical + step, run.physical + step, nodes)
        if expected * self._size != self._inode.size_bytes:
            self._damage("directory.size", f"{expected} blocks for {self._inode.size_bytes:,} bytes", None)

    def _entries_of(self, logical: int, physical: int, nodes: set[int]) -> Iterator[Entry]:
        content = self._read(physical)
        if content is None:
            return
        at = physical * self._size
        if logical in nodes:
            # The head of the tree looks like a block with "." and "..", the second of which fills the block.
            yield from self._parsed(content, self._size, at, begins=True) if logical == 0 else ()
            return
        end = self._size
        if self._has_tails:
            end -= _TAIL_BYTES
            self._blocks.record(self._findings, "directories", at, self._size)
            if not self._leaf_holds(content):
                self._damage("directory.checksum", f"block {logical}", at)
                return
        yield from self._parsed(content, end, at, begins=logical == 0)

    def _leaf_holds(self, content: bytes) -> bool:
        if content[-_TAIL_BYTES:-4] != _TAIL_BEGIN:
            return False
        return crc32c_of_kernel(self._seed, content[:-_TAIL_BYTES]) == int(struct.unpack("<I", content[-4:])[0])

    def _parsed(self, content: bytes, end: int, at: int, *, begins: bool) -> Iterator[Entry]:
        offset, place = 0, 0
        while offset < end:
            number, length, name_length, kind = _ENTRY.unpack_from(content, offset)
            length = self._length_of(length)
            name = content[offset + 8 : offset + 8 + name_length]
            fault = self._fault_of(number, length, name_length, end - offset)
            if fault is None and number and not self._name_is_possible(name, place if begins else -1):
                fault = "a name that cannot be"
            if fault is not None:
                self._damage("directory.entry", f"{fault} at {offset} of its block", at)
                return
            if number:
                yield Entry(number, name, kind & 0xF if self._knows_kinds else 0)
            offset, place = offset + length, place + 1

    def _fault_of(self, number: int, length: int, name_length: int, room: int) -> str | None:
        if length < _LEAST_ENTRY or length % 4 or length > room or 0 < room - length < _LEAST_ENTRY:
            return "an entry of impossible length"
        if name_length + 8 > length:
            return "a name longer than its entry"
        if number > self._superblock.inode_count:
            return f"an inode {number} that does not exist"
        return None

    def _name_is_possible(self, name: bytes, place: int) -> bool:
        """`place` counts the entries of a directory's first block, and is -1 in others."""
        if place in (0, 1):
            return name == (b".", b"..")[place]
        if self._inode.is_encrypted:
            return bool(name)
        return bool(name) and name not in (b".", b"..") and b"/" not in name and b"\0" not in name

    def _length_of(self, stored: int) -> int:
        if self._size <= _LARGEST_PLAIN_BLOCK:
            return stored
        return self._size if stored in (0, 0xFFFF) else stored & 0xFFFC | (stored & 3) << 16

    def _inline_entries(self) -> Iterator[Entry]:
        """Four bytes name the parent; entries follow, first in the pointers' room, then in an attribute."""
        try:
            content = inline_content(self._inode)
        except Damaged as error:
            self._damage("directory.inline", str(error), None)
            return
        if len(content) < 60:
            self._damage("directory.inline", f"only {len(content)} bytes", None)
            return
        yield Entry(self._inode.number, b".", 2 if self._knows_kinds else 0)
        yield Entry(int(struct.unpack_from("<I", content)[0]), b"..", 2 if self._knows_kinds else 0)
        for part in (content[4:60], content[60:]):
            yield from self._parsed(part + bytes(_LEAST_ENTRY), len(part), 0, begins=False)

    # The tree of hashes

    def _hash_nodes(self) -> set[int]:
        """The blocks, by place in the directory, that belong to the tree; every leaf must hang on it once."""
        nodes, leaves = {0}, set[int]()
        root = self._block_at(0)
        if root is None or len(self._runs) == 0:
            return nodes
        physical, content = root
        levels = content[30] + 1
        if content[24:28] != b"\0\0\0\0" or content[29] != 8 or levels > _MOST_LEVELS:
            self._damage("htree.root", "the head is impossible", physical * self._size)
            return nodes
        wave = self._children(content, physical, _HASH_ROOT_AT)
        for _ in range(levels - 1):
            wave = [child for logical in wave for child in self._children_of_node(logical, nodes)]
        for logical in wave:
            if logical in leaves or logical in nodes:
                self._damage("htree.loop", f"block {logical} hangs on the tree twice", None)
            leaves.add(logical)
        self._compare(len(nodes) + len(leaves))
        return nodes

    def _compare(self, hanging: int) -> None:
        mapped = sum(run.length for run in self._runs)
        if self.is_whole and hanging != mapped:
            self._damage("htree.unreferenced", f"{hanging} of {mapped} blocks hang on the tree", None)

    def _children_of_node(self, logical: int, nodes: set[int]) -> list[int]:
        node = self._block_at(logical)
        if node is None or logical in nodes:
            self._damage("htree.loop", f"block {logical} is missing or hangs on the tree twice", None)
            return []
        nodes.add(logical)
        physical, content = node
        if content[:4] != b"\0\0\0\0" or self._length_of(int(struct.unpack_from("<H", content, 4)[0])) != self._size:
            self._damage("htree.node", f"block {logical} is no node", physical * self._size)
            return []
        return self._children(content, physical, _HASH_NODE_AT)

    def _children(self, content: bytes, physical: int, begin: int) -> list[int]:
        most, count = struct.unpack_from("<HH", content, begin)
        room = (self._size - begin - (_HASH_TAIL_BYTES if self._has_tails else 0)) // _HASH_ENTRY_BYTES
        at = physical * self._size
        # Encrypted directories that ignore case spend eight more bytes on the head of a node.
        if not 1 <= count <= most or most not in (room, room - 1):
            self._damage("htree.node", f"{count} of {most} entries", at)
            return []
        end = begin + count * _HASH_ENTRY_BYTES
        if self._has_tails and not self._node_holds(content, end, begin + most * _HASH_ENTRY_BYTES, at):
            self._damage("htree.checksum", f"block {physical}", at)
            return []
        children = [int(struct.unpack_from("<I", content, begin + 4 + 8 * place)[0]) for place in range(count)]
        hashes = [int(struct.unpack_from("<I", content, begin + 8 * place)[0]) for place in range(1, count)]
        if any(low > high for low, high in itertools.pairwise(hashes)):
            self._damage("htree.order", "the hashes are not in order", at)
        if any(child >= self._inode.size_bytes // self._size for child in children):
            self._damage("htree.out-of-range", "a block outside of the directory", at)
            return []
        return children

    def _node_holds(self, content: bytes, end: int, tail: int, at: int) -> bool:
        self._blocks.record(self._findings, "directories", at, end)
        self._blocks.record(self._findings, "directories", at + tail, _HASH_TAIL_BYTES)
        seed = crc32c_of_kernel(self._seed, content[:end])
        # The checksum's own four bytes count as zeros.
        expected = crc32c_of_kernel(seed, content[tail : tail + 4] + b"\0\0\0\0")
        return expected == int(struct.unpack_from("<I", content, tail + 4)[0])

    def _block_at(self, logical: int) -> tuple[int, bytes] | None:
        for run in self._runs:
            if run.logical <= logical < run.logical + run.length:
                physical = run.physical + logical - run.logical
                content = self._read(physical)
                return None if content is None else (physical, content)
        return None

    def _read(self, physical: int) -> bytes | None:
        try:
            return self._blocks.read(physical)
        except OutOfRange as error:
            self._damage("directory.out-of-range", str(error), None)
            return None

    def _damage(self, fault: str, detail: str, at: int | None) -> None:
        self.is_whole = False
        self._findings.damage(f"ext4.{fault}", f"directory {self._inode.number}: {detail}", at=at)
