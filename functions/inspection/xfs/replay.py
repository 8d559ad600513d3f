"""Recovery of XFS in memory: what the kernel would write when it replays the log at the next mount."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from functions.inspection.devices import OutOfRange
from functions.inspection.findings import Findings
from functions.inspection.xfs.log import Ends, Log, LogDamaged, LogForeign, Transaction
from functions.inspection.xfs.overlay import OverlaidDevice, OverlayFull
from functions.inspection.xfs.superblock import Superblock, geometry_fault, parse_superblock

_EXTENT_FREE, _EXTENT_FREED = 0x1236, 0x1237
_INODE, _BUFFER, _QUOTA, _QUOTA_OFF, _INODES_CREATED = 0x123B, 0x123C, 0x123D, 0x123E, 0x123F
_UNLINKED_INODE = 0x1238
# Intent and what says that it was carried out: the shape of the intent's extents is (bytes, offset of the block,
# offset of the count), or None for one that names no blocks.
_INTENTS: dict[int, tuple[int, tuple[int, int, int] | None]] = {
    0x1236: (0x1237, (16, 0, 8)),  # free extents
    0x1240: (0x1241, (32, 8, 24)),  # change the reverse map
    0x1242: (0x1243, (16, 0, 8)),  # change reference counts
    0x1244: (0x1245, (32, 8, 24)),  # change the map of a file
    0x1246: (0x1247, None),  # change attributes
    0x1248: (0x1249, None),  # exchange the contents of files
    0x124A: (0x124B, None),  # the same as the first three, on the realtime device
    0x124C: (0x124D, None),
    0x124E: (0x124F, None),
}
_DONE = {done: intent for intent, (done, _) in _INTENTS.items()}
_MOST_INTENTS = 1_000_000
_MOST_CANCELLED = 4_000_000

_BUFFER_IS_INODES, _BUFFER_IS_CANCELLED, _BUFFER_IS_QUOTA = 0x1, 0x2, 0x1C
_CHUNK_BYTES = 128
_NEXT_UNLINKED_AT = 96

_DATA_FORK, _DATA_ROOT = 0x2 | 0x4 | 0x8, 0x8
_DEVICE_NUMBER = 0x10
_ATTRIBUTE_FORK, _ATTRIBUTE_ROOT = 0x40 | 0x80 | 0x100, 0x100
_NEW_OWNER = 0x200 | 0x400
_LARGEST_FLUSH_COUNT = 0xFFFF

# Where a kind of block keeps (sequence, UUID), by its first four bytes.
_SEQUENCE_PLACES = (
    dict.fromkeys((b"AB3B", b"AB3C", b"ABTB", b"ABTC", b"IAB3", b"IABT", b"FIB3", b"RMB3", b"R3FC"), (24, 32))
    | dict.fromkeys((b"XDB3", b"XDD3", b"XDF3"), (16, 24))
    | {b"BMA3": (32, 40), b"BMAP": (32, 40), b"XAGF": (208, 64), b"XAFL": (24, 8), b"XAGI": (320, 296)}
    | {b"XSLM": (48, 16)}
)
_HASH_TREE_MAGICS = (0x3DF1, 0x3DFF, 0x3BEE, 0x3EBE)
_NO_SEQUENCE = (0, 0xFFFF_FFFF_FFFF_FFFF)

Region = bytes | bytearray


@dataclass(frozen=True, slots=True)
class Item:
    """One logged change: its kind, and its regions, the first of which describes the others."""

    kind: int
    regions: list[bytearray]


@dataclass(slots=True)
class Recovery:
    """What the log held. `unsettled` are stretches of blocks (first, count) whose change was begun and not finished:
    the kernel finishes it after the replay, so nothing can be said about whom they belong to.

    `is_complete` is False when the log could not be followed to its end: the metadata is then of no single moment.
    """

    needs_replay: bool = False
    is_complete: bool = True
    newest: tuple[int, int] | None = None
    unsettled: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    has_open_intents: bool = False
    moved_forks: set[int] = field(default_factory=set[int])


def recover(device: OverlaidDevice, superblock: Superblock, findings: Findings) -> Recovery:
    """The committed changes of the log lie over the device, and the answer says what they were. Errors: BudgetSpent."""
    recovery = Recovery()
    if not superblock.log_start:
        findings.unknown("xfs.log.external", "the log is on another device, which is not in this snapshot")
        recovery.is_complete = False
        return recovery
    log = Log(device, superblock, findings)
    try:
        ends = log.find_ends()
        recovery.newest = ends.newest
        if not ends.is_clean:
            recovery.needs_replay = True
            findings.note("xfs.log.replay", "the file system was not unmounted; its log was replayed in memory")
            _Replay(device, superblock, findings, recovery).run(log, ends)
    except LogDamaged as damage:
        recovery.is_complete = False
        findings.damage(f"xfs.log.{damage.fault}", str(damage))
    except (LogForeign, OverlayFull) as refusal:
        recovery.is_complete = False
        findings.unknown("xfs.log.not-replayed", str(refusal))
    except OutOfRange as outside:
        recovery.is_complete = False
        findings.damage("xfs.log.range", f"the log writes or lies outside of the device: {outside}")
    except struct.error:
        recovery.is_complete = False
        findings.damage("xfs.log.item", "an item of the log is shorter than what it should hold")
    return recovery


class _Replay:
    """Two passes over the log, as the kernel makes them: what was cancelled, then everything else."""

    def __init__(self, device: OverlaidDevice, superblock: Superblock, findings: Findings, recovery: Recovery) -> None:
        self._device = device
        self._superblock = superblock
        self._findings = findings
        self._recovery = recovery
        self._cancelled: Counter[tuple[int, int]] = Counter()
        self._cancelled_starts: Counter[int] = Counter()
        self._intents: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self._handlers: dict[int, Callable[[int, list[bytearray]], None]] = {
            _BUFFER: self._replay_buffer,
            _INODE: self._replay_inode,
            _INODES_CREATED: self._replay_created_inodes,
            _QUOTA: self._replay_quota,
        }

    def run(self, log: Log, ends: Ends) -> None:
        """Both passes were made. Errors: LogDamaged; LogForeign; OverlayFull; OutOfRange; BudgetSpent; struct.error."""
        for transaction in log.transactions(ends):
            for item in _items(transaction):
                if item.kind == _BUFFER and _buffer_flags(item) & _BUFFER_IS_CANCELLED:
                    self._cancel(_buffer_place(item), 1)
        for transaction in log.transactions(ends):
            for item in sorted(_items(transaction), key=_turn):
                self._replay(transaction.sequence, item)
        self._recovery.unsettled = [stretch for stretches in self._intents.values() for stretch in stretches]
        self._recovery.has_open_intents = bool(self._intents)

    def _replay(self, sequence: int, item: Item) -> None:
        if item.kind in self._handlers:
            self._handlers[item.kind](sequence, item.regions)
        elif item.kind in _INTENTS:
            self._remember_intent(item)
        elif item.kind in _DONE:
            self._intents.pop((_DONE[item.kind], struct.unpack_from("<Q", item.regions[0], 8)[0]), None)
        elif item.kind not in (_QUOTA_OFF, _UNLINKED_INODE):
            self._findings.unknown("xfs.log.item-type", f"the log holds items of the type {item.kind:#06x}")

    def _cancel(self, place: tuple[int, int], times: int) -> None:
        self._cancelled[place] += times
        self._cancelled_starts[place[0]] += times
        if len(self._cancelled) > _MOST_CANCELLED:
            raise LogForeign(f"more than {_MOST_CANCELLED:,} buffers were cancelled")

    def _remember_intent(self, item: Item) -> None:
        _, shape = _INTENTS[item.kind]
        count, number = struct.unpack_from("<IQ", item.regions[0], 4)
        stretches: list[tuple[int, int]] = []
        if shape:
            size, block_at, count_at = shape
            whole = (len(item.regions[0]) - 16) // size
            for start in range(16, 16 + min(count, whole) * size, size):
                (block,) = struct.unpack_from("<Q", item.regions[0], start + block_at)
                stretches.append((block, struct.unpack_from("<I", item.regions[0], start + count_at)[0]))
        if len(self._intents) >= _MOST_INTENTS:
            raise LogDamaged("intents", "more changes are begun and not finished than any log can hold")
        self._intents[item.kind, number] = stretches

    # --- buffers

    def _replay_buffer(self, sequence: int, regions: list[bytearray]) -> None:
        item = Item(_BUFFER, regions)
        place = _buffer_place(item)
        flags = _buffer_flags(item)
        if flags & _BUFFER_IS_CANCELLED:
            self._cancel(place, -1)
            return
        if self._cancelled[place] > 0:
            return
        offset, length = place[0] * 512, place[1] * 512
        newer = self._sequence_of(self._device.read(offset, min(length, 512)))
        if newer is not None and newer >= sequence:
            return
        for start, content in _chunks(regions):
            if start + len(content) > length:
                raise LogDamaged("buffer", f"a change of the buffer at {offset:,} reaches behind its end")
            if flags & _BUFFER_IS_INODES:
                self._replay_unlinked(offset, start, content)
            else:
                self._device.write(offset + start, content)
        if offset == 0:
            self._follow_growth()

    def _follow_growth(self) -> None:
        """What follows in the log may lie in groups that the superblock has only just been given."""
        raw = self._device.read(0, self._superblock.sector_bytes)
        if geometry_fault(raw) is None:
            self._superblock = parse_superblock(raw)

    def _replay_unlinked(self, offset: int, start: int, content: bytearray) -> None:
        """Of a buffer of inodes only the chain of unlinked ones counts; the rest is logged by inode items."""
        size = self._superblock.inode_bytes
        first = -(-(start - _NEXT_UNLINKED_AT) // size) * size + _NEXT_UNLINKED_AT
        for at in range(first, start + len(content) - 3, size):
            self._device.write(offset + at, content[at - start : at - start + 4])

    def _sequence_of(self, block: bytes) -> int | None:
        """When the block on the device was written, if it says so and belongs to this file system."""
        if not self._superblock.has_checksums:
            return None
        places = _SEQUENCE_PLACES.get(block[:4])
        if block[:4] == b"XFSB":
            places = (240, 248 if self._superblock.incompatible_features & 4 else 32)
        elif places is None and struct.unpack_from(">H", block, 8)[0] in _HASH_TREE_MAGICS:
            places = (24, 32)
        if places is None or block[places[1] : places[1] + 16] != self._superblock.metadata_uuid:
            return None
        (sequence,) = struct.unpack_from(">Q", block, places[0])
        return None if sequence in _NO_SEQUENCE else sequence

    # --- inodes

    def _replay_inode(self, sequence: int, regions: list[bytearray]) -> None:
        described = regions[0]
        (fields,) = struct.unpack_from("<I", described, 4)
        # A 32-bit kernel leaves out the padding in front of the inode's number.
        number, block, sectors, inside = (
            struct.unpack_from("<Q16xqii", described, 16)
            if len(described) >= 56
            else struct.unpack_from("<Q16xqii", described, 12)
        )
        if self._cancelled[block, sectors] > 0 or len(regions) < 2:
            return
        offset = block * 512 + inside
        current = self._device.read(offset, self._superblock.inode_bytes)
        if current[:2] != b"IN" or bytes(regions[1][:2]) != b"NI":
            raise LogDamaged("inode", f"the log changes inode {number}, and there is no inode at {offset:,}")
        if fields & _NEW_OWNER:
            self._recovery.moved_forks.add(number)
        if self._is_older_than(current, sequence, regions[1]):
            self._device.write(offset, self._with_forks(current, regions, fields, sequence, described))

    def _is_older_than(self, current: bytes, sequence: int, logged: bytearray) -> bool:
        if self._superblock.has_checksums:
            (written,) = struct.unpack_from(">Q", current, 112)
            # Equal is older: several transactions may begin in the same record.
            return written in _NO_SEQUENCE or written <= sequence
        flushed = struct.unpack_from(">H", current, 30)[0]
        logged_flush = struct.unpack_from("<H", logged, 30)[0]
        wrapped = flushed == _LARGEST_FLUSH_COUNT and logged_flush < _LARGEST_FLUSH_COUNT >> 1
        return logged_flush >= flushed or wrapped

    def _with_forks(
        self, current: bytes, regions: list[bytearray], fields: int, sequence: int, described: bytearray
    ) -> bytearray:
        inode = _with_core(current, regions[1], sequence)
        core = self._superblock.inode_core_bytes
        split = inode[82] * 8
        data_room = split or self._superblock.inode_bytes - core
        attributes_at = core + split
        position = 2
        if fields & _DEVICE_NUMBER:
            at = 24 if len(described) >= 56 else 20
            struct.pack_into(">I", inode, core, struct.unpack_from("<I", described, at)[0])
        if fields & _DATA_FORK and position < len(regions):
            fork = regions[position]
            _place(inode, core, data_room, self._root(fork, data_room) if fields & _DATA_ROOT else fork)
            position += 1
        if fields & _ATTRIBUTE_FORK and position < len(regions) and split:
            fork = regions[position]
            room = self._superblock.inode_bytes - attributes_at
            _place(inode, attributes_at, room, self._root(fork, room) if fields & _ATTRIBUTE_ROOT else fork)
        return inode

    def _root(self, logged: bytearray, room: int) -> bytearray:
        """The root of an extent tree as an inode holds it, from a block in memory as the log holds it."""
        header = 72 if self._superblock.has_checksums else 24
        level, count = struct.unpack_from(">HH", logged, 4)
        most_logged, most_here = (len(logged) - header) // 16, (room - 4) // 16
        if count > min(most_logged, most_here):
            raise LogDamaged("inode", f"the root of an extent tree holds {count:,} records in {len(logged):,} bytes")
        root = bytearray(room)
        struct.pack_into(">HH", root, 0, level, count)
        root[4 : 4 + 8 * count] = logged[header : header + 8 * count]
        pointers = header + most_logged * 8
        root[4 + most_here * 8 : 4 + most_here * 8 + 8 * count] = logged[pointers : pointers + 8 * count]
        return root

    def _replay_created_inodes(self, _sequence: int, regions: list[bytearray]) -> None:
        group, block, count, size, blocks, generation = struct.unpack_from(">6I", regions[0], 4)
        superblock = self._superblock
        fits = size == superblock.inode_bytes and 0 < count <= 64 and blocks * superblock.inodes_per_block >= count
        if not fits or group >= superblock.group_count or block + blocks > superblock.blocks_of_group(group):
            raise LogDamaged("created-inodes", f"the log creates {count:,} inodes where there is no room for them")
        offset = superblock.offset_in_group(group, block)
        if any(self._cancelled_starts[sector] > 0 for sector in range(offset // 512, (offset + count * size) // 512)):
            return
        for place in range(count):
            inode = bytearray(size)
            inode[:2], inode[4] = b"IN", 3
            struct.pack_into(">II", inode, 92, generation, 0xFFFF_FFFF)
            inside = (block << superblock.inode_bits) + place
            struct.pack_into(">Q", inode, 152, superblock.inode_number(group, inside))
            inode[160:176] = superblock.metadata_uuid
            self._device.write(offset + place * size, inode)

    def _replay_quota(self, sequence: int, regions: list[bytearray]) -> None:
        block, sectors, inside = struct.unpack_from("<qiI", regions[0], 8)
        if self._cancelled[block, sectors] > 0 or len(regions) < 2:
            return
        offset = block * 512 + inside
        if self._superblock.has_checksums:
            current = self._device.read(offset, 136)
            (written,) = struct.unpack_from(">Q", current, 112)
            if written not in _NO_SEQUENCE and written >= sequence:
                return
        self._device.write(offset, regions[1][:136])


def _items(transaction: Transaction) -> Iterator[Item]:
    position = 0
    while position < len(transaction.regions):
        kind, count = struct.unpack_from("<HH", transaction.regions[position])
        if count == 0 or position + count > len(transaction.regions):
            raise LogDamaged("item", f"an item of the type {kind:#06x} has {count:,} regions")
        yield Item(kind, transaction.regions[position : position + count])
        position += count


def _turn(item: Item) -> int:
    """Buffers first, so that inodes find the blocks they live in; their unlinked chains after them; cancelled last."""
    if item.kind == _INODES_CREATED:
        return 0
    if item.kind != _BUFFER:
        return 1
    flags = _buffer_flags(item)
    if flags & _BUFFER_IS_CANCELLED:
        return 3
    return 2 if flags & _BUFFER_IS_INODES else 0


def _buffer_flags(item: Item) -> int:
    return struct.unpack_from("<H", item.regions[0], 4)[0]


def _buffer_place(item: Item) -> tuple[int, int]:
    """The first sector of a buffer, and how many it has."""
    sectors, first = struct.unpack_from("<Hq", item.regions[0], 6)
    return first, sectors


def _chunks(regions: list[bytearray]) -> Iterator[tuple[int, bytearray]]:
    """The changed stretches of a buffer: one region for each unbroken row of bits in its map, 128 bytes for a bit."""
    (words,) = struct.unpack_from("<I", regions[0], 16)
    bits = int.from_bytes(regions[0][20 : 20 + 4 * min(words, 4096)], "little")
    region = 1
    at = 0
    while bits >> at and region < len(regions):
        at += ((bits >> at) & -(bits >> at)).bit_length() - 1
        ones = bits >> at
        row = (~ones & (ones + 1)).bit_length() - 1
        # A region may be shorter than its row: the row was then logged in several.
        row = min(row, len(regions[region]) // _CHUNK_BYTES)
        if row == 0:
            return
        yield at * _CHUNK_BYTES, regions[region][: row * _CHUNK_BYTES]
        at += row
        region += 1


def _with_core(current: bytes, logged: bytearray, sequence: int) -> bytearray:
    """The inode with its core taken from the log, where it is in the byte order of the machine that wrote it."""
    inode = bytearray(current)
    struct.pack_into(">HHbb", inode, 0, *struct.unpack_from("<HHbb", logged))
    struct.pack_into(">IIIHH", inode, 8, *struct.unpack_from("<IIIHH", logged, 8))
    version = logged[4]
    more_flags = struct.unpack_from("<Q", logged, 120)[0] if version >= 3 else 0
    long_times, long_counts = bool(more_flags & 8), bool(more_flags & 16)
    if version < 3:
        # The kernel begins to count the flushes anew.
        struct.pack_into(">6xH", inode, 24, 0)
    else:
        struct.pack_into(">Q", inode, 24, struct.unpack_from("<Q", logged, 24)[0] if long_counts else 0)
    for at in (32, 40, 48) + ((144,) if version >= 3 else ()):
        form = "Q" if long_times else "ii"
        struct.pack_into(">" + form, inode, at, *struct.unpack_from("<" + form, logged, at))
    struct.pack_into(">QQIIH", inode, 56, *struct.unpack_from("<QQIIH", logged, 56))
    inode[82:84] = logged[82:84]
    struct.pack_into(">IHHI", inode, 84, *struct.unpack_from("<IHHI", logged, 84))
    if version >= 3:
        struct.pack_into(
            ">QQQI",
            inode,
            104,
            struct.unpack_from("<Q", logged, 104)[0],
            sequence,
            *struct.unpack_from("<QI", logged, 120),
        )
        struct.pack_into(">Q", inode, 152, struct.unpack_from("<Q", logged, 152)[0])
        inode[160:176] = logged[160:176]
    return inode


def _place(inode: bytearray, at: int, room: int, content: bytearray) -> None:
    length = min(room, len(content))
    inode[at : at + length] = content[:length]
