"""Extended attributes and long symbolic links of XFS."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from functions.inspection.xfs.inodes import LOCAL, SYMBOLIC_LINK, ForkMap, Inode
from functions.inspection.xfs.metadata import HASH_TREE, REMOTE_TARGET, REMOTE_VALUE, Block, Metadata
from functions.inspection.xfs.names import hash_name

_LEAF, _NODE = (0x3BEE, 0xFBEE), (0x3EBE, 0xFEBE)
_IS_LOCAL, _IS_PARENT, _IS_INCOMPLETE = 0x01, 0x08, 0x80
_LARGEST_VALUE = 64 * 1024
_MOST_LEVELS = 6
_HEADER_BYTES = 56
_MOST_BLOCKS = 1 << 20


class Attributes:
    """The attributes of one inode, by the map of its attribute fork. Errors: TooMuchDamage; BudgetSpent."""

    def __init__(self, metadata: Metadata, inode: Inode, fork: ForkMap) -> None:
        self._metadata = metadata
        self._superblock = metadata.superblock
        self._inode = inode
        self._size = sum(stretch.blocks for stretch in fork.stretches)
        self._blocks = {
            stretch.file_block + step: stretch.block + step
            for stretch in (fork.stretches if self._size <= _MOST_BLOCKS else ())
            for step in range(stretch.blocks)
        }
        self._generation = 0 if self._superblock.has_checksums else 1
        self._start = 64 if self._superblock.has_checksums else 16

    def verify(self) -> None:
        """Every attribute was found where it has to be."""
        if self._inode.attribute_format == LOCAL:
            self._check_in_inode()
        elif self._size > _MOST_BLOCKS:
            self._broken("size", f"{self._size:,} blocks of attributes are impossible")
        elif 0 in self._blocks:
            self._check_tree()

    def _check_in_inode(self) -> None:
        content = self._inode.attribute_fork
        total, count = struct.unpack_from(">HB", content) if len(content) >= 4 else (0, 0)
        at = 4
        for _ in range(count):
            if at + 3 > total:
                break
            at += 3 + content[at] + content[at + 1]
        if at != total or total > len(content):
            self._broken("content", "the attributes in the inode have another length")

    def _check_tree(self) -> None:
        """From the root down, so that remote values, which version 4 does not mark, are never taken for nodes."""
        expected: list[tuple[int, int | None]] = [(0, None)]
        seen: set[int] = set()
        for _ in range(_MOST_LEVELS):
            children: list[tuple[int, int | None]] = []
            for position, last_hash in expected:
                if position in seen or position not in self._blocks:
                    self._broken("pointer", f"block {position:,} cannot be a part of the tree")
                    continue
                seen.add(position)
                children += self._check_block(position, last_hash)
            expected = children
        if expected:
            self._broken("levels", "the tree is deeper than any")

    def _check_block(self, position: int, last_hash: int | None) -> list[tuple[int, int | None]]:
        offset = self._superblock.offset_of(self._blocks[position])
        block = self._metadata.read("attributes", offset, self._superblock.block_bytes)
        if block is None or not self._metadata.is_trusted(
            "attributes", block, HASH_TREE, owner=self._inode.number, area="attributes"
        ):
            return []
        (magic,) = struct.unpack_from(">H", block.content, 8)
        (count,) = struct.unpack_from(">H", block.content, 56 if self._superblock.has_checksums else 12)
        if magic == _NODE[self._generation] and self._start + 8 * count <= len(block.content):
            words = struct.unpack_from(f">{2 * count}I", block.content, self._start)
            self._check_hashes(words[::2], last_hash, offset)
            return list(zip(words[1::2], words[::2], strict=True))
        if magic != _LEAF[self._generation]:
            self._broken("block", f"block {position:,} is none of attributes", offset)
            return []
        self._check_leaf(block, count, last_hash)
        return []

    def _check_leaf(self, block: Block, count: int, last_hash: int | None) -> None:
        at = 80 if self._superblock.has_checksums else 32
        content = block.content
        if at + 8 * count > len(content):
            self._broken("block", f"{count:,} attributes do not fit into a block", block.offset)
            return
        entries = list(struct.iter_unpack(">IHBx", content[at : at + 8 * count]))
        self._check_hashes(tuple(name_hash for name_hash, _, _ in entries), last_hash, block.offset)
        for name_hash, place, flags in entries:
            if not self._is_sound(content, name_hash, place, flags):
                self._broken("entry", "an attribute is not where its entry says", block.offset)
                return

    def _is_sound(self, content: bytes, name_hash: int, place: int, flags: int) -> bool:
        is_local = bool(flags & _IS_LOCAL)
        name_at = place + (3 if is_local else 9)
        if name_at > len(content):
            return False
        length = content[name_at - 1]
        name = content[name_at : name_at + length]
        value_bytes = struct.unpack_from(">H", content, place)[0] if is_local else 0
        if len(name) < length or name_at + length + value_bytes > len(content):
            return False
        # Parent pointers are hashed together with the directory that they point to.
        if not flags & _IS_PARENT and hash_name(name) != name_hash:
            return False
        if is_local or flags & _IS_INCOMPLETE:
            return True
        return self._is_remote_value_sound(*struct.unpack_from(">II", content, place))

    def _is_remote_value_sound(self, position: int, length: int) -> bool:
        if length > _LARGEST_VALUE:
            return False
        if not length:
            return True
        room = self._superblock.block_bytes - (_HEADER_BYTES if self._superblock.has_checksums else 0)
        needed = range(position, position + -(-length // room))
        if any(place not in self._blocks for place in needed):
            return False
        if self._superblock.has_checksums:
            self._check_remote_blocks(needed)
        return True

    def _check_remote_blocks(self, needed: range) -> None:
        for place in needed:
            offset = self._superblock.offset_of(self._blocks[place])
            block = self._metadata.read("attribute-value", offset, self._superblock.block_bytes)
            trusted = block is not None and self._metadata.is_trusted(
                "attribute-value", block, REMOTE_VALUE, owner=self._inode.number, area="attributes"
            )
            if block is not None and trusted and block.content[:4] != b"XARM":
                self._broken("value", "a block of a value is none", offset)

    def _check_hashes(self, hashes: tuple[int, ...], last_hash: int | None, offset: int) -> None:
        in_order = all(hashes[position] <= hashes[position + 1] for position in range(len(hashes) - 1))
        if not in_order or (last_hash is not None and hashes and hashes[-1] != last_hash):
            self._broken("order", "the hashes of a block are not those that its parent says", offset)

    def _broken(self, fault: str, detail: str, offset: int | None = None) -> None:
        where = self._superblock.offset_of_inode(self._inode.number) if offset is None else offset
        self._metadata.damage(f"attributes.{fault}", f"inode {self._inode.number}: {detail}", where)


def verify_link(metadata: Metadata, inode: Inode, fork: ForkMap) -> None:
    """A symbolic link that does not fit into its inode was judged. Errors: TooMuchDamage; BudgetSpent."""
    found = sum(_link_pieces(metadata, inode, fork))
    if inode.kind == SYMBOLIC_LINK and found != inode.size and fork.is_whole:
        detail = f"inode {inode.number}: {found:,} of {inode.size:,} bytes are there"
        metadata.damage("link.size", detail, metadata.superblock.offset_of_inode(inode.number))


def _link_pieces(metadata: Metadata, inode: Inode, fork: ForkMap) -> Iterator[int]:
    """How many bytes of the target each extent holds; those that are damaged are reported and count as whole."""
    superblock = metadata.superblock
    left = inode.size
    for stretch in fork.stretches:
        room = stretch.blocks * superblock.block_bytes
        if not superblock.has_checksums:
            yield min(left, room)
            left -= min(left, room)
            continue
        expected = min(left, room - _HEADER_BYTES)
        block = metadata.read("link", superblock.offset_of(stretch.block), room)
        if block is not None and metadata.is_trusted("link", block, REMOTE_TARGET, owner=inode.number, area="links"):
            magic, start, length = struct.unpack_from(">4sII", block.content)
            expected = length if magic == b"XSLM" and start == inode.size - left and length <= left else 0
        yield expected
        left -= expected
