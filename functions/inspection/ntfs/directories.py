"""What a directory lists: all of it, or one name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from functions.inspection.devices import OutOfRange
from functions.inspection.ntfs.allocation import bits_of
from functions.inspection.ntfs.index import (
    DIRECTORY_INDEX,
    DOS_NAMESPACE,
    Collation,
    Node,
    parse_block,
    parse_name,
    parse_root,
)
from functions.inspection.ntfs.records import (
    BITMAP,
    DATA,
    INDEX_ALLOCATION,
    INDEX_ROOT,
    Fault,
    Record,
)
from functions.inspection.ntfs.table import MasterFileTable, Stream, content_of

UPPER_CASE_RECORD = 10
UPPER_CASE_BYTES = 131_072
_MOST_BITMAP_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Listed:
    """One entry of a directory."""

    reference: int
    text: str
    characters: bytes


def list_directory(table: MasterFileTable, directory: Record) -> Iterator[Listed]:
    """Every entry once; short names that repeat long ones, and the directory's entries for itself, are left out.

    Blocks that are damaged are left out as well. Errors: Fault when the directory has no index; BudgetSpent.
    """
    for node in _nodes(table, directory):
        for entry in node.entries:
            try:
                name = parse_name(entry.key)
            except Fault:
                continue  # a name that no file may have is not one that can be asked for
            if name.namespace != DOS_NAMESPACE and name.text not in (".", ".."):
                yield Listed(entry.reference, name.text, name.characters)


def find_in(table: MasterFileTable, directory: Record, wanted: str) -> Listed | None:
    """The entry of that name; without one, the entry whose name differs in case only. Errors: Fault; BudgetSpent."""
    characters = wanted.encode("utf-16-le", "surrogatepass")
    collation = upper_case(table)
    key = collation.key(characters) if collation else b""
    alike: Listed | None = None
    for listed in list_directory(table, directory):
        if listed.characters == characters:
            return listed
        if collation and alike is None and collation.key(listed.characters) == key:
            alike = listed
    return alike


def upper_case(table: MasterFileTable) -> Collation | None:
    """The order of names that the volume carries, or None when it is damaged. Errors: BudgetSpent."""
    try:
        whole = table.whole(table.record(UPPER_CASE_RECORD))
        data = next((a for a in whole if a.type == DATA and not a.name), None)
        if data is None:
            return None
        content = content_of(data, table.device, table.geometry, most_bytes=UPPER_CASE_BYTES)
    except Fault:
        return None
    return None if Collation.fault_of(content) else Collation(content)


def _nodes(table: MasterFileTable, directory: Record) -> Iterator[Node]:
    whole = table.whole(directory)
    root = next((a for a in whole if a.type == INDEX_ROOT and a.name == DIRECTORY_INDEX), None)
    if root is None:
        raise Fault("attributes", "a directory without an index")
    yield parse_root(root.resident or b"").node
    allocation = next((a for a in whole if a.type == INDEX_ALLOCATION and a.name == DIRECTORY_INDEX), None)
    bitmap = next((a for a in whole if a.type == BITMAP and a.name == DIRECTORY_INDEX), None)
    if allocation is None or bitmap is None:
        return
    content = content_of(bitmap, table.device, table.geometry, most_bytes=_MOST_BITMAP_BYTES)
    size = table.geometry.index_bytes
    stream = Stream(table.device, table.geometry, allocation.runs, allocation.size)
    used = [
        int(index) * size for index in np.nonzero(bits_of(content))[0] if (int(index) + 1) * size <= allocation.size
    ]
    for first in range(0, len(used), 1024):
        ahead = used[first : first + 1024]
        try:
            table.device.expect(place for at in ahead for place in stream.places(at, size))
            for at in ahead:
                try:
                    yield parse_block(stream.read(at, size), at // table.geometry.position_bytes, table.geometry)
                except Fault:
                    continue  # its neighbours can still be read
        except OutOfRange as outside:
            raise Fault("blocks", str(outside)) from outside
