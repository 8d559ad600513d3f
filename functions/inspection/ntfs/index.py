"""Nodes of an index: the entries in a record's root and in the blocks of its allocation, and the order of names."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from functions.inspection.ntfs.boot import Geometry
from functions.inspection.ntfs.records import Fault, without_fixups

DIRECTORY_INDEX = "$I30".encode("utf-16-le")
_BLOCK_HEADER_AT = 24
_ROOT_HEADER_AT = 16
_HAS_CHILD, _IS_LAST = 1, 2
DOS_NAMESPACE = 2
_SLASH = 0x2F
_MOST_LETTERS_WITH_CASE = 1400
"""NTFS knows some 1,000 small letters, the Unicode of today some 1,200; 1 KiB of garbage makes 512 more."""
_MOST_UNSETTLED = 64


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. `reference` is the file that a directory names; in other indexes it is something else."""

    reference: int
    key: bytes


@dataclass(frozen=True, slots=True)
class Node:
    """The entries of a root or block in their order, and the blocks below it, by the cluster that they begin at."""

    entries: tuple[Entry, ...]
    children: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Root:
    """What the root says of the whole index."""

    key_type: int
    order: int
    block_bytes: int
    node: Node


def parse_root(content: bytes) -> Root:
    """The root, judged. Errors: Fault."""
    if len(content) < 32:
        raise Fault("root", f"{len(content):,} bytes")
    key_type, order, block_bytes = struct.unpack_from("<III", content)
    return Root(key_type, order, block_bytes, _node(content, _ROOT_HEADER_AT, len(content)))


def parse_block(stored: bytes, position: int, geometry: Geometry) -> Node:
    """The block at this cluster of its index, judged. Errors: Fault."""
    content = without_fixups(stored, b"INDX")
    own = struct.unpack_from("<Q", content, 16)[0]
    if own != position:
        raise Fault("block", f"says that it begins at {own:,}, stands at {position:,}")
    allocated = struct.unpack_from("<I", content, _BLOCK_HEADER_AT + 8)[0]
    if allocated != geometry.index_bytes - _BLOCK_HEADER_AT:
        raise Fault("block", f"says that it has room for {allocated:,} bytes")
    fixups_at, fixups = struct.unpack_from("<HH", content, 4)
    first = _BLOCK_HEADER_AT + struct.unpack_from("<I", content, _BLOCK_HEADER_AT)[0]
    if first < fixups_at + 2 * fixups:
        raise Fault("block", f"entries from {first:,}, inside of the fixups")
    return _node(content, _BLOCK_HEADER_AT, len(content))


def _node(content: bytes, header_at: int, limit: int) -> Node:
    first, length, allocated, has_children = struct.unpack_from("<IIIB", content, header_at)
    at, end = header_at + first, header_at + length
    if first % 8 or first < 16 or not first <= length <= allocated or end > limit or has_children > 1:
        raise Fault("entries", f"entries from {first:,} to {length:,} of {allocated:,} bytes, flags {has_children}")
    entries: list[Entry] = []
    children: list[int] = []
    while True:
        if at + 16 > end:
            raise Fault("entries", "no last entry")
        reference, entry_length, key_length, flags = struct.unpack_from("<QHHH", content, at)
        child_bytes = 8 if flags & _HAS_CHILD else 0
        is_last = bool(flags & _IS_LAST)
        if flags > 3 or bool(child_bytes) != bool(has_children):
            raise Fault("entries", f"an entry with flags {flags:#x}")
        needed = 16 + (0 if is_last else key_length) + child_bytes
        if entry_length % 8 or entry_length < needed or at + entry_length > end:
            raise Fault("entries", f"an entry of {entry_length:,} bytes that needs {needed:,}")
        if child_bytes:
            children.append(struct.unpack_from("<Q", content, at + entry_length - 8)[0])
        if is_last:
            if at + entry_length != end:
                raise Fault("entries", f"{end - at - entry_length:,} bytes behind the last entry")
            return Node(tuple(entries), tuple(children))
        entries.append(Entry(reference, content[at + 16 : at + 16 + key_length]))
        at += entry_length


# --- names -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Name:
    """A name of a file: the directory it stands in, and its characters as stored."""

    parent: int
    namespace: int
    characters: bytes

    @property
    def text(self) -> str:
        """The name for people and paths; a half of a surrogate pair stays one."""
        return self.characters.decode("utf-16-le", "surrogatepass")


def parse_name(value: bytes) -> Name:
    """A FILE_NAME attribute, or the key of a directory's entry, which is a copy of one. Errors: Fault."""
    if len(value) < 0x42 or len(value) != 0x42 + 2 * value[0x40] or value[0x41] > 3 or not value[0x40]:
        raise Fault("name", f"a file name in {len(value):,} bytes")
    characters = value[0x42:]
    units = struct.unpack(f"<{value[0x40]}H", characters)
    if 0 in units or _SLASH in units:
        raise Fault("name", "a character that no name may have")
    return Name(struct.unpack_from("<Q", value)[0], value[0x41], characters)


class Collation:
    """The order of names, by the table of upper case letters that the volume carries."""

    def __init__(self, table: bytes) -> None:
        self._upper: NDArray[np.uint16] = np.frombuffer(table, "<u2")

    @staticmethod
    def fault_of(table: bytes) -> str:
        """What is wrong with a table, or nothing: 65,536 letters, each one's upper case being upper case."""
        if len(table) != 131_072:
            return f"{len(table):,} bytes"
        upper = np.frombuffer(table, "<u2")
        own = np.arange(65_536, dtype=np.uint16)
        unsettled = int((upper[upper] != upper).sum())
        ascii_letters = own[:128].copy()
        ascii_letters[97:123] -= 32
        changed = int((upper != own).sum())
        if (upper[:128] != ascii_letters).any() or int((upper == 0).sum()) != 1 or changed > _MOST_LETTERS_WITH_CASE:
            return f"{changed:,} letters have an upper case"
        return f"{unsettled:,} letters whose upper case is none" if unsettled > _MOST_UNSETTLED else ""

    def key(self, characters: bytes) -> bytes:
        """What to compare a name by, without regard to case."""
        if characters.isascii() and not any(characters[1::2]):
            upper = characters.upper()
            swapped = bytearray(len(upper))
            swapped[0::2], swapped[1::2] = upper[1::2], upper[0::2]
            return bytes(swapped)
        return self._upper[np.frombuffer(characters, "<u2")].astype(">u2").tobytes()


def is_ordered(keys: Sequence[bytes]) -> bool:
    """Whether none is greater than the one behind it."""
    return all(one <= other for one, other in pairwise(keys))
