"""Directories of XFS: small ones in their inode, larger ones in blocks of entries with an index of hashed names."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from functions.inspection.xfs.inodes import LOCAL, ForkMap, ForkReader, Inode, Stretch
from functions.inspection.xfs.metadata import DIRECTORY_DATA, HASH_TREE, Block, Metadata
from functions.inspection.xfs.names import hash_name, hash_name_without_case

_INDEX_AT = 1 << 35
_FREE_SPACE_AT = 1 << 36
_UNUSED = 0xFFFF
_NO_BLOCK = 0xFFFF
_STALE = 0
_MOST_BLOCKS = 1 << 24
_NAMES_A_DIRECTORY = 2

_ONE_BLOCK = (b"XDB3", b"XD2B")
_ENTRIES = (b"XDD3", b"XD2D")
_FREE_SPACE = (b"XDF3", b"XD2F")
_SINGLE_LEAF, _LEAF, _NODE = (0x3DF1, 0xD2F1), (0x3DFF, 0xD2FF), (0x3EBE, 0xFEBE)


class Entry(NamedTuple):
    """A name in a directory. `kind` is the type of file that the entry claims, 0 where entries claim none."""

    number: int
    name: bytes
    kind: int


class Directory:
    """One directory. `blocks` reads its blocks as the inode maps them; a damaged block is reported and left out."""

    def __init__(self, metadata: Metadata, inode: Inode, fork: ForkMap | None = None) -> None:
        self.inode = inode
        self._metadata = metadata
        self._superblock = metadata.superblock
        self._fork = fork or ForkReader(metadata, inode).read()
        self.is_whole = self._fork.is_whole
        self._header_bytes = 64 if self._superblock.has_checksums else 16
        self._type_bytes = 1 if self._superblock.names_carry_types else 0
        self._generation = 0 if self._superblock.has_checksums else 1

    def entries(self) -> Iterator[Entry]:
        """Every name, "." and ".." among them. Errors: TooMuchDamage; BudgetSpent."""
        if self.inode.data_format == LOCAL:
            yield from self._entries_in_inode()
            return
        for _, block in self._blocks(0, _INDEX_AT, "directory"):
            for entry, _ in self._entries_of(block):
                yield entry

    def verify(self) -> list[Entry]:
        """The names, after the index and the free space were compared with them. Errors: as `entries`."""
        if self.inode.data_format == LOCAL:
            found = list(self._entries_in_inode())
            self._check_names(found)
            return found
        found, hashed, longest = self._verify_entries()
        self._check_names(found)
        self._verify_index(hashed, longest)
        return found

    # --- inside the inode

    def _entries_in_inode(self) -> Iterator[Entry]:
        content = self.inode.data_fork[: self.inode.size]
        if len(content) < 6:
            self._broken("content", "it is too short for its parent")
            return
        count, width = content[0], 8 if content[1] else 4
        form = ">Q" if content[1] else ">I"
        at = 2 + width
        if at <= len(content):
            yield Entry(struct.unpack_from(form, content, 2)[0], b"..", _NAMES_A_DIRECTORY if self._type_bytes else 0)
        for _ in range(count):
            length = content[at] if at < len(content) else 0
            end = at + 3 + length
            if not length or end + self._type_bytes + width > len(content):
                self._broken("entry", "an entry does not fit into it")
                return
            kind = content[end] if self._type_bytes else 0
            yield Entry(struct.unpack_from(form, content, end + self._type_bytes)[0], content[at + 3 : end], kind)
            at = end + self._type_bytes + width
        if at != len(content):
            self._broken("content", "its entries are shorter than it is")

    # --- blocks

    def _blocks(self, start: int, end: int, what: str) -> Iterator[tuple[int, Block]]:
        """The blocks whose place in the directory lies in this range of bytes, with their positions in blocks."""
        for position, pieces in self._places(start, end):
            block = self._metadata.gather(what, pieces)
            if block is None:
                self.is_whole = False
            else:
                yield position, block

    def _places(self, start: int, end: int) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        size = self._superblock.block_bytes
        needed = self._superblock.directory_block_bytes // size
        pending: list[tuple[int, int]] = []
        expected = -1
        seen = 0
        for stretch in self._fork.stretches:
            for step in range(stretch.blocks):
                position = stretch.file_block + step
                if not start <= position * size < end:
                    continue
                seen += 1
                if seen > _MOST_BLOCKS:
                    self._broken("size", "it has more blocks than any directory")
                    return
                if position % needed == 0:
                    pending, expected = [], position
                if position != expected:
                    self._broken("map", "one of its blocks is not mapped as a whole")
                    return
                pending.append((self._superblock.offset_of(stretch.block) + step * size, size))
                expected += 1
                if len(pending) == needed:
                    yield position // needed, _joined(pending)
                    expected = -1

    def _is_trusted(self, block: Block, *, is_index: bool) -> bool:
        layout = HASH_TREE if is_index else DIRECTORY_DATA
        if self._metadata.is_trusted("directory", block, layout, owner=self.inode.number, area="directories"):
            return True
        self.is_whole = False
        return False

    # --- entries

    def _entries_of(self, block: Block) -> Iterator[tuple[Entry, int]]:
        """The entries of a block, each with its place in it; what is wrong is reported and ends the block."""
        content = block.content
        if not self._is_trusted(block, is_index=False):
            return
        end = self._end_of_entries(block)
        at = self._header_bytes
        while at < end:
            step, entry = self._entry_at(content, at, end)
            if step == 0:
                self._broken("entry", f"nothing sensible stands {at:,} bytes into a block", block.offset)
                return
            if entry:
                yield entry, at
            at += step

    def _end_of_entries(self, block: Block) -> int:
        content = block.content
        if content[:4] == _ENTRIES[self._generation]:
            return len(content)
        if content[:4] != _ONE_BLOCK[self._generation]:
            self._broken("magic", "a block of it is none of a directory", block.offset)
            return 0
        end = len(content) - 8 - 8 * struct.unpack_from(">I", content, len(content) - 8)[0]
        if end < self._header_bytes:
            self._broken("content", "the index of a block is longer than the block", block.offset)
            return 0
        return end

    def _entry_at(self, content: bytes, at: int, end: int) -> tuple[int, Entry | None]:
        """How far the next entry is, and this one; (0, None) for what is neither an entry nor unused room."""
        if at + 8 > end:
            return 0, None
        tag, length = struct.unpack_from(">HH", content, at)
        if tag == _UNUSED:
            sound = length >= 8 and length % 8 == 0 and at + length <= end
            return (length, None) if sound and _tag(content, at + length) == at else (0, None)
        number, length = struct.unpack_from(">QB", content, at)
        step = (11 + length + self._type_bytes + 7) & ~7
        if not length or at + step > end or _tag(content, at + step) != at:
            return 0, None
        kind = content[at + 9 + length] if self._type_bytes else 0
        return step, Entry(number, content[at + 9 : at + 9 + length], kind)

    def _check_names(self, entries: list[Entry]) -> None:
        names = {entry.name for entry in entries}
        if len(names) != len(entries):
            self._broken("name", "it holds a name twice")
        for name in names:
            if b"/" in name or b"\0" in name:
                self._broken("name", f"it holds the name {name!r}")
        if self.is_whole and b".." not in names:
            self._broken("content", "it has no parent")

    # --- index

    def _verify_entries(self) -> tuple[list[Entry], array[int], dict[int, int]]:
        """The entries, their (hash, place) as the index must hold them, and the longest unused room of each block."""
        found: list[Entry] = []
        hashed = array("Q")
        longest: dict[int, int] = {}
        hashing = hash_name_without_case if self._superblock.ignores_case else hash_name
        size = self._superblock.directory_block_bytes
        for position, block in self._blocks(0, _INDEX_AT, "directory"):
            used = 0
            mine: list[int] = []
            for entry, at in self._entries_of(block):
                found.append(entry)
                mine.append(hashing(entry.name) << 32 | (position * size + at) >> 3)
                used += (11 + len(entry.name) + self._type_bytes + 7) & ~7
            longest[position] = self._check_room(block)
            hashed.extend(mine)
            if block.content[:4] == _ONE_BLOCK[self._generation]:
                self._compare_index(array("Q", mine), _index_of_block(block.content), block.offset)
                hashed = array("Q")
        return found, hashed, longest

    def _check_room(self, block: Block) -> int:
        """The longest unused room that the head of a block promises; damage when the block has another one."""
        content = block.content
        at = 48 if self._superblock.has_checksums else 4
        promised = struct.unpack_from(">H", content, at + 2)[0]
        if not self.is_whole:
            return promised
        end = self._end_of_entries(block)
        at, longest = self._header_bytes, 0
        while at < end:
            step, entry = self._entry_at(content, at, end)
            if step == 0:
                break
            longest = longest if entry else max(longest, step)
            at += step
        if longest != promised:
            self._broken("room", f"a block has {longest:,} unused bytes in one piece, not {promised:,}", block.offset)
        return promised

    def _verify_index(self, hashed: array[int], longest: dict[int, int]) -> None:
        indexed = array("Q")
        has_index = False
        for _, block in self._blocks(_INDEX_AT, _FREE_SPACE_AT, "directory"):
            has_index = True
            if self._is_trusted(block, is_index=True):
                indexed.extend(self._index_entries(block, longest))
        if has_index or hashed:
            self._compare_index(hashed, indexed, self._superblock.offset_of_inode(self.inode.number))
        for _, block in self._blocks(_FREE_SPACE_AT, 1 << 37, "directory"):
            if self._is_trusted(block, is_index=False):
                self._check_free_space(block, longest)

    def _index_entries(self, block: Block, longest: dict[int, int]) -> Iterator[int]:
        content = block.content
        (magic,) = struct.unpack_from(">H", content, 8)
        at = 56 if self._superblock.has_checksums else 12
        count, second = struct.unpack_from(">HH", content, at)
        at += 8 if self._superblock.has_checksums else 4
        known = {kinds[self._generation]: kinds for kinds in (_SINGLE_LEAF, _LEAF, _NODE)}
        if magic not in known or at + 8 * count > len(content):
            self._broken("index", "a block of its index is none", block.offset)
            return
        words = struct.unpack_from(f">{2 * count}I", content, at)
        hashes = words[::2]
        if any(hashes[position] > hashes[position + 1] for position in range(count - 1)):
            self._broken("index", "the hashes of a block of its index are not in order", block.offset)
        if known[magic] is _NODE:
            return
        if known[magic] is _SINGLE_LEAF:
            self._check_tail(block, longest)
        stale = words[1::2].count(_STALE)
        if stale != second:
            self._broken("index", f"a block of its index has {stale:,} stale entries, not {second:,}", block.offset)
        for name_hash, place in zip(hashes, words[1::2], strict=True):
            if place != _STALE:
                yield name_hash << 32 | place

    def _check_tail(self, block: Block, longest: dict[int, int]) -> None:
        content = block.content
        (count,) = struct.unpack_from(">I", content, len(content) - 4)
        if count * 2 > len(content) - self._header_bytes - 4:
            self._broken("index", "the end of its index is impossible", block.offset)
            return
        room = struct.unpack_from(f">{count}H", content, len(content) - 4 - 2 * count)
        self._compare_room(dict(enumerate(room)), longest, block)

    def _check_free_space(self, block: Block, longest: dict[int, int]) -> None:
        content = block.content
        at = 48 if self._superblock.has_checksums else 4
        first, valid, used = struct.unpack_from(">III", content, at)
        if content[:4] != _FREE_SPACE[self._generation] or valid * 2 > len(content) - self._header_bytes:
            self._broken("free-space", "a block of its free space is none", block.offset)
            return
        room = struct.unpack_from(f">{valid}H", content, self._header_bytes)
        if valid - room.count(_NO_BLOCK) != used:
            self._broken("free-space", f"{used:,} blocks are said to have room", block.offset)
        mine = {first + position: free for position, free in enumerate(room)}
        inside = {position: free for position, free in longest.items() if first <= position < first + valid}
        self._compare_room(mine, inside, block)

    def _compare_room(self, promised: dict[int, int], longest: dict[int, int], block: Block) -> None:
        if self.is_whole and {at: free for at, free in promised.items() if free != _NO_BLOCK} != longest:
            self._broken("free-space", "its blocks have other unused room than it says", block.offset)

    def _compare_index(self, hashed: array[int], indexed: array[int], offset: int) -> None:
        if self.is_whole and sorted(hashed) != sorted(indexed):
            self._broken("index", "its index does not lead to its names", offset)

    def _broken(self, fault: str, detail: str, offset: int | None = None) -> None:
        self.is_whole = False
        where = self._superblock.offset_of_inode(self.inode.number) if offset is None else offset
        self._metadata.damage(f"directory.{fault}", f"directory {self.inode.number}: {detail}", where)


def places_of(metadata: Metadata, stretches: list[Stretch]) -> Iterator[tuple[int, int]]:
    """Where the stretches lie on the device, as (offset, length), for a hint."""
    superblock = metadata.superblock
    for stretch in stretches:
        yield superblock.offset_of(stretch.block), stretch.blocks * superblock.block_bytes


def _tag(content: bytes, end: int) -> int:
    """The last two bytes of an entry say where it begins."""
    return struct.unpack_from(">H", content, end - 2)[0]


def _index_of_block(content: bytes) -> array[int]:
    (count,) = struct.unpack_from(">I", content, len(content) - 8)
    words = struct.unpack_from(f">{2 * count}I", content, len(content) - 8 - 8 * count)
    pairs = zip(words[::2], words[1::2], strict=True)
    return array("Q", [name_hash << 32 | place for name_hash, place in pairs if place != _STALE])


def _joined(pieces: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Pieces that follow each other on the device are one."""
    joined = [pieces[0]]
    for offset, length in pieces[1:]:
        last_offset, last_length = joined[-1]
        if last_offset + last_length == offset:
            joined[-1] = (last_offset, last_length + length)
        else:
            joined.append((offset, length))
    return joined
