"""Everything about an NTFS volume that two structures tell, compared once.

NTFS keeps no checksums. What can be judged is structure: fixups, headers, lengths, links, and what one structure says
of another. A changed bit in a time or in a file's content stays unseen.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from functions.inspection.devices import OutOfRange
from functions.inspection.findings import Findings
from functions.inspection.ntfs.allocation import Claims, bits_of, is_noise, pages
from functions.inspection.ntfs.boot import Geometry
from functions.inspection.ntfs.directories import UPPER_CASE_BYTES, UPPER_CASE_RECORD
from functions.inspection.ntfs.index import (
    DIRECTORY_INDEX,
    Collation,
    Node,
    Root,
    is_ordered,
    parse_block,
    parse_name,
    parse_root,
)
from functions.inspection.ntfs.names import Names
from functions.inspection.ntfs.records import (
    ATTRIBUTE_LIST,
    BITMAP,
    DATA,
    FILE_NAME,
    INDEX_ALLOCATION,
    INDEX_ROOT,
    STANDARD_INFORMATION,
    Attribute,
    Fault,
    Record,
    attributes,
    number_of,
    parse_record,
    put_together,
    sequence_of,
)
from functions.inspection.ntfs.table import MasterFileTable, Stream, content_of

FIRST_ORDINARY_RECORD = 24
"""The records below belong to the file system itself, and some of them are kept for later."""
BITMAP_RECORD = 6

_BASE, _EXTENSION = 1, 2
_NAMES = 0
"""Which index of a record lists names; the others have numbers from 1 to 7."""
_ALWAYS_IN_USE = 11
_MOST_LEAKED_RECORDS = 1000
"""A crash leaves a few; garbage in one page of the bitmap marks some 16,000."""
_RECORDS_AT_ONCE = 512
_STRETCHES_AHEAD = 64
_BLOCKS_AHEAD = 4096
_MOST_BITMAP_BYTES = 8 * 1024 * 1024
_MOST_BITMAP_BYTES_OF_ALL = 64 * 1024 * 1024
_MOST_BLOCKS = 4_000_000
_POSITION_BITS = 34


class Verification:
    """One pass over table, indexes and bitmaps. `is_at_rest`: no log waits that might mend what does not agree."""

    def __init__(self, table: MasterFileTable, findings: Findings, *, is_at_rest: bool) -> None:
        self._table = table
        self._device = table.device
        self._geometry: Geometry = table.geometry
        self._findings = findings
        self._is_at_rest = is_at_rest
        self._claims = Claims()
        self._kinds = np.zeros(table.count, np.uint8)
        self._sequences = np.zeros(table.count, np.uint16)
        self._links = np.zeros(table.count, np.uint16)
        self._extensions: list[tuple[int, int]] = []
        self._listed_extensions = set[int]()
        self._with_list: list[int] = []
        self._names = Names()
        self._entries = Names()
        self._blocks = array("Q")  # place on the device, record, cluster in its index, which index: four for each
        self._blocks_in_pieces: dict[int, list[tuple[int, int]]] = {}
        self._bitmap_bytes = 0
        self._leaked_records = 0
        self._links_down = array("Q")
        self._collation: Collation | None = None

    def run(self) -> None:
        """Every check was made, and the findings say what is wrong. Errors: BudgetSpent."""
        self._read_upper_case()
        self._scan_table()
        self._judge_lists()
        self._read_blocks()
        self._judge_links_down()
        self._judge_names()
        self._judge_clusters()

    def _mismatch(self, code: str, detail: str, *, at: int | None = None) -> None:
        """Two structures do not agree: damage at rest; unknown while a log waits that may mend it."""
        if self._is_at_rest:
            self._findings.damage(code, detail, at=at)
        else:
            self._findings.unknown(code, f"{detail}; the log was not replayed and may mend it", at=at)

    def _fault(self, structure: str, who: str, fault: Fault, *, at: int | None = None) -> None:
        code, detail = f"ntfs.{structure}.{fault.code}", f"{who}: {fault.detail}"
        if fault.is_mendable:
            self._mismatch(code, detail, at=at)
        else:
            self._findings.damage(code, detail, at=at)

    # --- the table ---

    def _read_upper_case(self) -> None:
        try:
            whole = self._table.whole(self._table.record(UPPER_CASE_RECORD))
            data = next((a for a in whole if a.type == DATA and not a.name), None)
            table = content_of(data, self._device, self._geometry, most_bytes=UPPER_CASE_BYTES) if data else b""
            wrong = Collation.fault_of(table)
        except Fault as fault:
            self._fault("upper-case", "$UpCase", fault)
            return
        if data is not None and data.resident is None:
            self._record("upper-case", data, 0, min(data.size, UPPER_CASE_BYTES))
        if wrong:
            self._findings.damage("ntfs.upper-case.content", wrong)
        else:
            self._collation = Collation(table)

    def _scan_table(self) -> None:
        marked = self._marked()
        size = self._geometry.record_bytes
        starts = [n for n in range(0, len(marked), _RECORDS_AT_ONCE) if marked[n : n + _RECORDS_AT_ONCE].any()]
        for index, first in enumerate(starts):
            if index % _STRETCHES_AHEAD == 0:
                self._expect_table(starts[index : index + _STRETCHES_AHEAD])
            count = min(_RECORDS_AT_ONCE, len(marked) - first)
            try:
                stored = self._table.stream.read(first * size, count * size)
            except OutOfRange as outside:
                self._findings.damage("ntfs.table.runs", str(outside))
                continue
            if stored.count(0) == len(stored):
                self._mismatch("ntfs.record.magic", f"zeros from record {first:,} on", at=self._table.place(first))
                continue
            for offset in range(count):
                content = stored[offset * size : (offset + 1) * size]
                self._scan_record(first + offset, content, is_marked=bool(marked[first + offset]))

        if self._leaked_records > _MOST_LEAKED_RECORDS:
            self._mismatch("ntfs.table-bitmap.noise", f"{self._leaked_records:,} free records are marked in use")

    def _expect_table(self, starts: Sequence[int]) -> None:
        size = self._geometry.record_bytes
        counts = (min(_RECORDS_AT_ONCE, self._table.count - first) for first in starts)
        stretches = zip(starts, counts, strict=True)
        self._device.expect(
            place for first, count in stretches for place in self._table.stream.places(first * size, count * size)
        )

    def _marked(self) -> NDArray[np.bool_]:
        """Which records the table's own bitmap says are in use; all of them when it cannot be read."""
        everything = np.ones(self._table.count, np.bool_)
        try:
            bitmap = self._table.marked()
            content = content_of(bitmap, self._device, self._geometry, most_bytes=_MOST_BITMAP_BYTES)
        except Fault as fault:
            self._fault("table-bitmap", "$MFT", fault)
            return everything
        if len(content) * 8 < self._table.count:
            self._findings.damage("ntfs.table-bitmap.size", f"{len(content):,} bytes for {self._table.count:,} records")
            return everything
        if bitmap.resident is None:
            self._record("table-bitmap", bitmap, 0, (self._table.count + 7) // 8)
        marked = bits_of(content)[: self._table.count]
        if not marked[:_ALWAYS_IN_USE].all():
            self._findings.damage("ntfs.table-bitmap.lost", "records of the file system itself are marked free")
            return everything
        return marked

    def _record(self, area: str, attribute: Attribute, offset: int, length: int) -> None:
        stream = Stream(self._device, self._geometry, attribute.runs, attribute.size)
        try:
            places = stream.places(offset, length)
        except OutOfRange:
            return  # a stretch that cannot be read is no area; reading it says what is wrong
        for place in places:
            self._findings.read(area, *place)

    def _scan_record(self, number: int, stored: bytes, *, is_marked: bool) -> None:
        if not is_marked:
            if stored[:4] == b"FILE" and stored[22] & 1:
                self._mismatch("ntfs.table-bitmap.lost", f"record {number:,} is in use and marked free")
            return
        at = self._table.place(number)
        try:
            record = parse_record(number, stored)
            if not record.is_in_use:
                self._judge_unused(number, at)
                return
            self._findings.read("table", at or 0, len(stored))
            self._sequences[number] = record.sequence
            self._links[number] = record.links
            own = attributes(record, self._geometry)
            self._kinds[number] = _EXTENSION if record.base else _BASE
            self._take(record, own)
        except Fault as fault:
            self._findings.read("table", at or 0, len(stored))
            self._fault("record", f"record {number:,}", fault, at=at)

    def _judge_unused(self, number: int, at: int | None) -> None:
        if number >= FIRST_ORDINARY_RECORD:
            self._leaked_records += 1
            self._findings.note("ntfs.table-bitmap.leaked", f"record {number:,} is free and marked in use", at=at)

    def _take(self, record: Record, own: list[Attribute]) -> None:
        """What a record says is kept for the comparisons, from the base record and from those that belong to it."""
        base = record.base or record.reference
        for attribute in own:
            self._claims.add(record.number, attribute)
            if attribute.type == FILE_NAME and attribute.resident is not None:
                name = parse_name(attribute.resident)
                self._names.add(name.parent, base, name.namespace, name.characters, where=number_of(base))
        if record.base:
            self._extensions.append((record.number, record.base))
        elif any(a.type == ATTRIBUTE_LIST for a in own):
            self._with_list.append(record.number)
        else:
            self._judge_file(record, put_together(own))

    def _judge_lists(self) -> None:
        for number in self._with_list:
            try:
                record = self._table.record(number)
                self._listed_extensions.update(self._table.extensions_of(record))
                self._judge_file(record, self._table.whole(record))
            except Fault as fault:
                self._fault("record", f"record {number:,}", fault, at=self._table.place(number))
        for number, base in self._extensions:
            of = number_of(base)
            is_known = of < self._table.count and self._kinds[of] == _BASE
            if not is_known or self._sequences[of] != sequence_of(base) or number not in self._listed_extensions:
                self._mismatch(
                    "ntfs.record.stray", f"record {number:,} says it belongs to {of:,}, which does not know it"
                )

    def _judge_file(self, record: Record, whole: list[Attribute]) -> None:
        if record.number >= FIRST_ORDINARY_RECORD and not any(a.type == STANDARD_INFORMATION for a in whole):
            raise Fault("attributes", "no standard information")
        for attribute in whole:
            if attribute.resident is None and attribute.size > attribute.next_cluster * self._geometry.cluster_bytes:
                raise Fault("runs", f"type {attribute.type:#x}: {attribute.size:,} bytes, fewer in its runs")
        if record.is_directory and not any(a.type == INDEX_ROOT and a.name == DIRECTORY_INDEX for a in whole):
            raise Fault("attributes", "a directory without an index")
        for attribute in whole:
            if attribute.type == INDEX_ROOT:
                self._take_index(record, whole, attribute)

    # --- indexes ---

    def _take_index(self, record: Record, whole: Sequence[Attribute], attribute: Attribute) -> None:
        root = parse_root(attribute.resident or b"")
        # At most two other indexes share a record, $SDH and $SII or $O and $Q: this tells them apart.
        ordinal = _NAMES if attribute.name == DIRECTORY_INDEX else 1 + sum(attribute.name) % 7
        if ordinal == _NAMES and (root.key_type, root.order) != (FILE_NAME, 1):
            raise Fault("root", f"an index of {root.key_type:#x} in order {root.order}")
        if root.block_bytes != self._geometry.index_bytes:
            raise Fault("root", f"blocks of {root.block_bytes:,} bytes")
        self._take_node(record.number, root.node, ordinal)
        self._take_allocation(record, whole, attribute.name, root, ordinal)

    def _take_allocation(
        self, record: Record, whole: Sequence[Attribute], name: bytes, root: Root, ordinal: int
    ) -> None:
        """The blocks of an index that its bitmap says are in use are remembered, to be read in the disk's order."""
        allocation = next((a for a in whole if a.type == INDEX_ALLOCATION and a.name == name), None)
        bitmap = next((a for a in whole if a.type == BITMAP and a.name == name), None)
        if allocation is None or bitmap is None:
            if allocation or bitmap or root.node.children:
                raise Fault("index", "blocks without a bitmap, or none where there should be some")
            return
        stream = Stream(self._device, self._geometry, allocation.runs, allocation.size)
        for index in self._blocks_in_use(bitmap):
            self._take_block(record, stream, int(index), ordinal)

    def _blocks_in_use(self, bitmap: Attribute) -> NDArray[np.intp]:
        content = content_of(bitmap, self._device, self._geometry, most_bytes=_MOST_BITMAP_BYTES)
        self._bitmap_bytes += len(content)
        if bitmap.resident is None:
            self._record("index-bitmap", bitmap, 0, bitmap.size)
        found = np.nonzero(bits_of(content))[0]
        if len(self._blocks) + 4 * len(found) > 4 * _MOST_BLOCKS or self._bitmap_bytes > _MOST_BITMAP_BYTES_OF_ALL:
            self._findings.unknown("ntfs.index.size", "the directories are too large to be checked in full")
            return found[:0]
        return found

    def _take_block(self, record: Record, stream: Stream, index: int, ordinal: int) -> None:
        size = self._geometry.index_bytes
        position = index * size
        try:
            places = stream.places(position, size)
        except OutOfRange as outside:
            raise Fault("blocks", f"block {index:,}: {outside}", is_mendable=True) from outside
        if sum(length for _, length in places) != size:
            raise Fault("blocks", f"block {index:,} lies in a hole")
        if len(places) > 1:
            self._blocks_in_pieces[places[0][0]] = places
        self._blocks.extend((places[0][0], record.number, position // self._geometry.position_bytes, ordinal))

    def _read_blocks(self) -> None:
        blocks = np.array(self._blocks, np.uint64).reshape(-1, 4)
        blocks = blocks[np.argsort(blocks[:, 0], kind="stable")]
        size = self._geometry.index_bytes
        for first in range(0, len(blocks), _BLOCKS_AHEAD):
            ahead = blocks[first : first + _BLOCKS_AHEAD].tolist()
            self._device.expect((at, size) for at, *_ in ahead)
            for at, number, position, ordinal in ahead:
                self._read_block(at, number, position, ordinal)
        self._known_blocks = _block_keys(blocks[:, 1], blocks[:, 2], blocks[:, 3])

    def _read_block(self, at: int, number: int, position: int, ordinal: int) -> None:
        places = self._blocks_in_pieces.get(at, [(at, self._geometry.index_bytes)])
        for place in places:
            self._findings.read("index", *place)
        try:
            node = parse_block(b"".join(self._device.read(*place) for place in places), position, self._geometry)
            self._take_node(number, node, ordinal)
        except Fault as fault:
            self._fault("index", f"record {number:,}, block {position:,}", fault, at=at)
        except OutOfRange as outside:
            self._findings.damage("ntfs.index.range", f"record {number:,}, block {position:,}: {outside}", at=at)

    def _take_node(self, number: int, node: Node, ordinal: int) -> None:
        for child in node.children:
            if child >> _POSITION_BITS:
                raise Fault("link", f"to block {child:,}")
            self._links_down.extend((number, child, ordinal))
        if ordinal != _NAMES:
            return
        reference = int(self._sequences[number]) << 48 | number
        keys: list[bytes] = []
        for entry in node.entries:
            name = parse_name(entry.key)
            if name.parent != reference:
                self._mismatch("ntfs.index.parent", f"record {number:,} has an entry of directory {name.parent:#x}")
            self._entries.add(name.parent, entry.reference, name.namespace, name.characters, where=number)
            if self._collation:
                keys.append(self._collation.key(name.characters))
        if not is_ordered(keys):
            raise Fault("order", "the names are not in their order")

    def _judge_links_down(self) -> None:
        """Every block of an index is reached by exactly one link from above."""
        links = np.array(self._links_down, np.uint64).reshape(-1, 3)
        wanted = _block_keys(links[:, 0], links[:, 1], links[:, 2])
        for keys, others, code, word in (
            (wanted, self._known_blocks, "ntfs.index.link", "points to a block that is not in use"),
            (self._known_blocks, wanted, "ntfs.index.unlinked", "has a block that nothing points to"),
        ):
            for key in keys[~np.isin(keys, others)][:100]:
                self._mismatch(code, f"record {int(key) >> _POSITION_BITS & 0x3FFFFFF:,} {word}")
        if len(np.unique(wanted)) != len(wanted):
            self._mismatch("ntfs.index.link", "two entries point to the same block")

    # --- comparisons ---

    def _judge_names(self) -> None:
        names, entries = self._names, self._entries
        for number in names.only_here(entries):
            self._mismatch("ntfs.index.missing", f"record {number:,} has a name that its directory does not list")
        for number in entries.only_here(names):
            self._mismatch("ntfs.index.stray", f"directory {number:,} lists a name that no record has")
        if len(names) != len(entries) and not self._findings.is_damaged:
            self._mismatch("ntfs.index.twice", f"{len(entries):,} entries for {len(names):,} names")
        counts, dos_counts = names.counts(self._table.count)
        in_use = self._kinds == _BASE
        nameless = np.nonzero(in_use & (counts == 0))[0]
        for number in nameless[nameless >= FIRST_ORDINARY_RECORD]:
            self._mismatch("ntfs.record.nameless", f"record {int(number):,} is in use and has no name")
        # Drivers differ in whether they count the short name of a file as a link of its own.
        wrong = in_use & (counts > 0) & (self._links != counts) & (self._links != counts - dos_counts)
        for number in np.nonzero(wrong)[0]:
            self._mismatch(
                "ntfs.record.links", f"record {int(number):,} counts {self._links[number]} names, has {counts[number]}"
            )

    def _judge_clusters(self) -> None:
        settled = self._claims.settle()
        for cluster, owner, other in settled.claimed_twice():
            self._mismatch("ntfs.clusters.twice", f"cluster {cluster:,} belongs to records {owner:,} and {other:,}")
        try:
            whole = self._table.whole(self._table.record(BITMAP_RECORD))
            data = next((a for a in whole if a.type == DATA and not a.name and a.resident is None), None)
            if data is None or data.initialized * 8 < self._geometry.clusters:
                raise Fault("size", f"a bitmap that is too short for {self._geometry.clusters:,} clusters")
        except Fault as fault:
            self._fault("bitmap", "$Bitmap", fault)
            return
        self._record("bitmap", data, 0, (self._geometry.clusters + 7) // 8)
        stream = Stream(self._device, self._geometry, data.runs, data.size)
        leaked = 0
        try:
            self._device.expect(stream.places(0, min(data.initialized, _MOST_BITMAP_BYTES)))
            for first, marked in pages(stream.read, self._geometry.clusters):
                mismatch = settled.compare(first, marked)
                leaked += mismatch.leaked
                if mismatch.lost:
                    detail = f"{mismatch.lost:,} clusters in use and marked free from {mismatch.first_lost:,} on"
                    self._mismatch("ntfs.bitmap.lost", f"{detail}, record {mismatch.owner:,}")
                if is_noise(mismatch):
                    self._findings.damage("ntfs.bitmap.noise", f"no bitmap for the clusters from {first:,} on")
        except OutOfRange as outside:
            self._findings.damage("ntfs.bitmap.runs", str(outside))
        if leaked:
            self._findings.note("ntfs.bitmap.leaked", f"{leaked:,} clusters are marked in use and nobody uses them")


def _block_keys(
    numbers: NDArray[np.uint64], positions: NDArray[np.uint64], ordinals: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """One number for a block of an index: which index of which record, and where in it. Record numbers have 26 bits."""
    return ordinals << np.uint64(60) | numbers << np.uint64(_POSITION_BITS) | positions
