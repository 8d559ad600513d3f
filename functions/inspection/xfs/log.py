"""The log of XFS: where it begins and ends, and the committed transactions in between, as the kernel finds them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from functions.inspection.checksums import crc32c
from functions.inspection.devices import Device
from functions.inspection.findings import Findings
from functions.inspection.xfs.superblock import Superblock

SECTOR_BYTES = 512
_MAGIC = b"\xfe\xed\xba\xbe"
_MAGIC_NUMBER = 0xFEEDBABE
_LARGEST_RECORD_SECTORS = 512
_BUFFERS_IN_FLIGHT = 8
"""So many records may be on their way to the disk at once, in any order: a crash may tear every one of them."""
_TORN_SECTORS = _LARGEST_RECORD_SECTORS * _BUFFERS_IN_FLIGHT
_HEADER_COVERS_BYTES = 32 * 1024
_EXTENSION_BYTES = 260
_HEADER_BYTES = (328, 324)
"""Of a 64-bit and of a 32-bit kernel; the checksum is made of what the kernel's structure holds."""
_MOST_HELD_BYTES = 512 * 1024 * 1024
_WRITTEN_BY_LITTLE_ENDIAN_LINUX = 1

_START, _COMMIT, _CONTINUE, _CONTINUED, _END, _UNMOUNT = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_TRANSACTION_MAGIC = b"NART"


class LogDamaged(Exception):
    """The kernel would refuse this log. `fault` names the check."""

    def __init__(self, fault: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault


class LogForeign(Exception):
    """The log is of a kind that we cannot follow."""


@dataclass(frozen=True, slots=True)
class Record:
    """One log record: where it begins in the log, in sectors, and what its header says."""

    at: int
    sequence: int
    tail: int
    header_sectors: int
    data_sectors: int
    data_bytes: int
    operations: int
    checksum: int

    @property
    def sectors(self) -> int:
        """How long it is, header and data."""
        return self.header_sectors + self.data_sectors


@dataclass(frozen=True, slots=True)
class Ends:
    """Where the live part of a log lies, in sectors, and the position that follows it as (cycle, block).

    `sure_until` counts the sectors from the tail whose records cannot have been torn by a crash.
    """

    tail: int
    head: int
    is_clean: bool
    newest: tuple[int, int] | None
    sure_until: int = 0


@dataclass(frozen=True, slots=True)
class _Turn:
    """Where the newest turn around the log ends, the cycle of what lies behind it, and, where a turn has just begun,
    the cycle of what its last part has not overwritten."""

    head: int
    stale: int
    stale_before: int | None


@dataclass(slots=True)
class Transaction:
    """The regions of a committed transaction, in the order in which they were logged, without its header."""

    sequence: int
    regions: list[bytearray]


class Log:
    """The internal log of a file system."""

    def __init__(self, device: Device, superblock: Superblock, findings: Findings) -> None:
        self._device = device
        self._superblock = superblock
        self._findings = findings
        self._offset = superblock.offset_of(superblock.log_start)
        self._sectors = superblock.log_blocks * superblock.block_bytes // SECTOR_BYTES
        self._held_bytes = 0

    def find_ends(self) -> Ends:
        """Where recovery begins and ends. Errors: LogDamaged; LogForeign; OutOfRange; BudgetSpent."""
        first = self._cycles(0, 1)[0]
        if first == 0:
            # The kernel begins such a log anew, and refuses every block that a lost log had already seen.
            return Ends(0, 0, is_clean=True, newest=(1, 0))
        newest = self._find_head(int(first))
        earliest = self._without_gap(newest)
        self._refuse_gap(earliest, newest.head)
        head = self._without_partial_record(earliest)
        last = self._last_record_before(head)
        if self._is_unmount(last, head):
            return Ends(head, head, is_clean=True, newest=self._position(last, head))
        sound_head, torn_from = self._without_torn_records(head, last.tail & 0xFFFF_FFFF)
        if sound_head != head:
            head, last = sound_head, self._last_record_before(sound_head)
            if self._is_unmount(last, head):
                return Ends(head, head, is_clean=True, newest=self._position(last, head))
        tail = self._tail_of(last, head)
        sure = (torn_from - tail) % self._sectors if self._live(tail, torn_from, head) else 0
        return Ends(tail, head, is_clean=False, newest=self._position(last, head), sure_until=sure)

    def transactions(self, ends: Ends) -> Iterator[Transaction]:
        """Every transaction that was committed between tail and head. Errors: as `find_ends`."""
        started: dict[int, Transaction] = {}
        self._held_bytes = 0
        for record in self._records(ends):
            yield from self._operations(record, started)

    # --- the head

    def _find_head(self, first: int) -> _Turn:
        """The first sector that the newest turn around the log did not write."""
        last = int(self._cycles(self._sectors - 1, 1)[0])
        if last == first:
            return _Turn(self._sectors, first - 1, None)
        return _Turn(self._first_with(last), last, last - 1 if last else None)

    def _first_with(self, cycle: int) -> int:
        low, high = 0, self._sectors - 1
        while low < high:
            middle = (low + high) // 2
            if self._cycles(middle, 1)[0] == cycle:
                high = middle
            else:
                low = middle + 1
        return low

    def _without_gap(self, turn: _Turn) -> int:
        """The buffers in flight may have reached the disk in any order: the first gap among them is the head."""
        head = turn.head
        before = _TORN_SECTORS - head
        if before > 0 and turn.stale_before is not None:
            start = max(0, self._sectors - before)
            gap = np.flatnonzero(self._cycles(start, self._sectors - start) == turn.stale_before)
            if gap.size:
                return start + int(gap[0])
        start = max(0, head - _TORN_SECTORS)
        gap = np.flatnonzero(self._cycles(start, head - start) == turn.stale)
        return start + int(gap[0]) if gap.size else head

    def _refuse_gap(self, earliest: int, head: int) -> None:
        """A crash leaves a gap only among the buffers in flight; behind any other one more records follow than those.

        The kernel does not look, and would forget what those records hold.
        """
        content = self._read(earliest, (head - earliest) % self._sectors)
        headers = sum(content[at : at + 4] == _MAGIC for at in range(0, len(content), SECTOR_BYTES))
        if headers > _BUFFERS_IN_FLIGHT:
            raise LogDamaged("gap", f"{headers} records follow a gap in the log, more than a crash can leave behind")

    def _without_partial_record(self, head: int) -> int:
        found = self._header_before(head, _LARGEST_RECORD_SECTORS + 8)
        if found is None:
            raise LogDamaged("head", "no record ends where the log ends")
        distance, record = found
        return (head - distance if record.sectors != distance else head) % self._sectors

    def _last_record_before(self, head: int) -> Record:
        found = self._header_before(head, _TORN_SECTORS)
        if found is None:
            raise LogDamaged("head", "no record stands before the end of the log")
        return found[1]

    def _header_before(self, head: int, most_sectors: int) -> tuple[int, Record] | None:
        count = min(most_sectors, self._sectors)
        content = self._read(head - count, count)
        for distance in range(1, count + 1):
            at = (count - distance) * SECTOR_BYTES
            if content[at : at + 4] == _MAGIC:
                return distance, self._parse((head - distance) % self._sectors, content[at : at + SECTOR_BYTES])
        return None

    def _is_unmount(self, last: Record, head: int) -> bool:
        if last.operations != 1 or (last.at + last.sectors) % self._sectors != head % self._sectors:
            return False
        return bool(self._read(last.at + last.header_sectors, 1)[9] & _UNMOUNT)

    def _position(self, last: Record, head: int) -> tuple[int, int]:
        cycle = last.sequence >> 32
        return (cycle + 1 if last.at + last.sectors >= self._sectors else cycle), head % self._sectors

    def _without_torn_records(self, head: int, tail: int) -> tuple[int, int]:
        """The end of the last record that is whole, and where the records that may be torn begin."""
        starts: list[int] = []
        position = head
        while len(starts) < _BUFFERS_IN_FLIGHT:
            found = self._header_before(position, _TORN_SECTORS)
            if found is None:
                break
            starts.append(found[1].at)
            position = found[1].at
            if position == tail:
                break
        position = starts[-1]
        while position != head % self._sectors:
            record = self._record_at(position)
            if record is None or not self._is_whole(record):
                return position, starts[-1]
            if not self._live(position, (position + record.sectors) % self._sectors, head):
                return position, starts[-1]
            position = (position + record.sectors) % self._sectors
        return head, starts[-1]

    def _live(self, tail: int, place: int, head: int) -> bool:
        """Whether a place lies between tail and head, the head included."""
        return (place - tail) % self._sectors <= (head - tail) % self._sectors

    def _tail_of(self, last: Record, head: int) -> int:
        """The tail, moved on where a log that is full has begun to overwrite it."""
        tail = last.tail & 0xFFFF_FFFF
        if tail >= self._sectors:
            raise LogDamaged("tail", f"the log is said to begin at sector {tail:,} of {self._sectors:,}")
        while tail != head:
            record = self._record_at(tail)
            if record is not None and self._is_whole(record):
                break
            if (tail - head) % self._sectors > _TORN_SECTORS:
                break
            tail = (tail + 1) % self._sectors
        return tail

    # --- records

    def _records(self, ends: Ends) -> Iterator[Record]:
        position, left = ends.tail, (ends.head - ends.tail) % self._sectors or self._sectors
        done = 0
        while left > 0:
            self._expect(position, done)
            record = self._record_at(position)
            if record is None or record.sectors > left:
                raise LogDamaged("record", f"no record stands at sector {position:,} of the log")
            if done + record.sectors <= ends.sure_until:
                self._remember(record)
            if not self._is_whole(record) and self._superblock.has_checksums:
                raise LogDamaged("checksum", f"the record at sector {position:,} of the log is not what was written")
            yield record
            position = (position + record.sectors) % self._sectors
            left -= record.sectors
            done += record.sectors

    def _operations(self, record: Record, started: dict[int, Transaction]) -> Iterator[Transaction]:
        content = self._unpacked(record)
        at = 0
        for _ in range(record.operations):
            if at + 12 > len(content):
                raise LogDamaged("operation", f"an operation at sector {record.at:,} does not fit its record")
            number, length, _client, flags = struct.unpack_from(">IIBB", content, at)
            at += 12
            if at + length > len(content):
                raise LogDamaged("operation", f"a region at sector {record.at:,} does not fit its record")
            done = self._operate(record, started, number, flags, content[at : at + length])
            if done:
                yield done
            at += length

    def _operate(
        self, record: Record, started: dict[int, Transaction], number: int, flags: int, region: bytearray
    ) -> Transaction | None:
        if number not in started:
            if flags & _START:
                started[number] = Transaction(record.sequence, [])
            return None
        transaction = started[number]
        flags &= ~_END
        if flags & _CONTINUED:
            flags &= ~_CONTINUE
        if flags == _COMMIT:
            self._held_bytes -= sum(map(len, transaction.regions))
            return _without_header(started.pop(number))
        if flags == _UNMOUNT:
            del started[number]
        elif flags == _CONTINUED and transaction.regions:
            transaction.regions[-1] += region
            self._hold(region)
        elif flags in (0, _CONTINUE, _CONTINUED):
            if region:
                transaction.regions.append(region)
                self._hold(region)
        else:
            raise LogDamaged("operation", f"an operation at sector {record.at:,} has the flags {flags:#x}")
        return None

    def _hold(self, region: bytearray) -> None:
        self._held_bytes += len(region)
        if self._held_bytes > _MOST_HELD_BYTES:
            raise LogForeign(f"transactions of more than {_MOST_HELD_BYTES:,} bytes were begun and not committed")

    def _unpacked(self, record: Record) -> bytearray:
        """The data of a record, with the words that the cycle numbers had displaced back in their places."""
        raw = self._read(record.at, record.sectors)
        start = record.header_sectors * SECTOR_BYTES
        content = bytearray(raw[start:])
        for sector in range(record.data_sectors):
            header, word = divmod(sector, 64)
            at = 44 + 4 * word if header == 0 else header * SECTOR_BYTES + 4 + 4 * word
            content[sector * SECTOR_BYTES : sector * SECTOR_BYTES + 4] = raw[at : at + 4]
        return content[: record.data_bytes]

    def _record_at(self, position: int) -> Record | None:
        header = self._read(position, 1)
        return self._parse(position, header) if header[:4] == _MAGIC else None

    def _parse(self, position: int, header: bytes) -> Record:
        version, data_bytes, sequence, tail = struct.unpack_from(">IIQQ", header, 8)
        (checksum,) = struct.unpack_from("<I", header, 32)
        operations, form = struct.unpack_from(">I", header, 40)[0], struct.unpack_from(">I", header, 300)[0]
        (size,) = struct.unpack_from(">I", header, 320)
        if form != _WRITTEN_BY_LITTLE_ENDIAN_LINUX and form in (2, 3):
            raise LogForeign("the log was written by a big-endian machine")
        extended = version & 2 and size > _HEADER_COVERS_BYTES
        header_sectors = -(-size // _HEADER_COVERS_BYTES) if extended else 1
        data_sectors = -(-data_bytes // SECTOR_BYTES)
        if data_sectors > _LARGEST_RECORD_SECTORS or header_sectors > 8 or data_sectors > 64 * header_sectors:
            # Impossible sizes: a record that no checksum can fit, so that it counts as torn or as damage.
            header_sectors, data_sectors, data_bytes, checksum = 1, 0, 0, checksum ^ 1 or 2
        return Record(position, sequence, tail, header_sectors, data_sectors, data_bytes, operations, checksum)

    def _is_whole(self, record: Record) -> bool:
        """Whether the checksum fits. mkfs writes none, and the kernel takes that for right."""
        if not record.checksum:
            return True
        raw = self._read(record.at, record.sectors)
        if raw[304:320] not in (self._superblock.uuid, bytes(16)):
            return False
        extensions = b"".join(
            raw[SECTOR_BYTES * header : SECTOR_BYTES * header + _EXTENSION_BYTES]
            for header in range(1, -(-record.data_bytes // _HEADER_COVERS_BYTES))
        )
        start = record.header_sectors * SECTOR_BYTES
        behind = extensions + raw[start : start + record.data_bytes]
        return any(
            crc32c(raw[:32] + b"\0\0\0\0" + raw[36:length] + behind) == record.checksum for length in _HEADER_BYTES
        )

    # --- sectors

    def _read(self, start: int, count: int) -> bytes:
        start %= self._sectors
        before_end = min(count, self._sectors - start)
        content = self._device.read(self._offset + start * SECTOR_BYTES, before_end * SECTOR_BYTES)
        if before_end < count:
            content += self._device.read(self._offset, (count - before_end) * SECTOR_BYTES)
        return content

    def _cycles(self, start: int, count: int) -> NDArray[np.uint32]:
        words = np.frombuffer(self._read(start, count), dtype=">u4").reshape(-1, SECTOR_BYTES // 4)
        return np.where(words[:, 0] == _MAGIC_NUMBER, words[:, 1], words[:, 0]).astype(np.uint32)

    def _expect(self, position: int, done: int) -> None:
        # One hint for each 16 MiB: more than one record, less than half of any cache.
        window = 16 * 1024 * 1024
        if done * SECTOR_BYTES % window < _LARGEST_RECORD_SECTORS * SECTOR_BYTES:
            length = min(window, (self._sectors - position) * SECTOR_BYTES)
            self._device.expect([(self._offset + position * SECTOR_BYTES, length)])

    def _remember(self, record: Record) -> None:
        for start, length in ((0, _HEADER_BYTES[1]), (record.header_sectors * SECTOR_BYTES, record.data_bytes)):
            at = record.at * SECTOR_BYTES + start
            inside = min(length, self._sectors * SECTOR_BYTES - at)
            if inside > 0 and record.checksum:
                self._findings.read("journal", self._offset + at, inside)


def _without_header(transaction: Transaction) -> Transaction:
    if transaction.regions:
        if bytes(transaction.regions[0][:4]) != _TRANSACTION_MAGIC:
            raise LogDamaged("transaction", "a transaction does not begin with its header")
        del transaction.regions[0]
    return transaction
