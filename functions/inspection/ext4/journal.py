"""The journal of ext3 and ext4 (jbd2), followed as the kernel does after a crash, without writing anything."""

from __future__ import annotations

import bisect
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from functions.inspection.checksums import crc32c_of_kernel
from functions.inspection.devices import OutOfRange
from functions.inspection.ext4.blocks import Logged, RecoveredBlocks
from functions.inspection.ext4.fast_commits import holds_fast_commits
from functions.inspection.ext4.mapping import Run
from functions.inspection.file_systems import Damaged
from functions.inspection.findings import Findings

_MAGIC = 0xC03B3998
_DESCRIPTOR, _COMMIT, _SUPERBLOCK_V1, _SUPERBLOCK_V2, _REVOKE = 1, 2, 3, 4, 5
_HEAD = struct.Struct(">III")
_HEAD_BYTES = 12
_TAIL_BYTES = 4
_COMMIT_HEAD_BYTES = 60
_COMMIT_CHECKSUM_AT = 16
_COMMIT_SECONDS_AT = 48
_REVOKE_RECORDS_AT = 16
_UUID_BYTES = 16
_SUPERBLOCK_BYTES = 1024
_SUPERBLOCK_CHECKSUM_AT = 0xFC
_CRC32C = 4
_ALL_ONES = 0xFFFFFFFF
_DEFAULT_FAST_COMMIT_BLOCKS = 256
_LEAST_LOG_BLOCKS = 1024
_LOOK_BEHIND_THE_END_BYTES = 4 << 20
"""So far behind the end of the log a transaction is searched that should not be there: eight blocks of a snapshot."""


class JournalFeature(IntEnum):
    """The features of the journal without which it cannot be followed."""

    REVOKE = 0x1
    SIXTY_FOUR_BIT = 0x2
    ASYNC_COMMIT = 0x4
    CHECKSUM_V2 = 0x8
    CHECKSUM_V3 = 0x10
    FAST_COMMIT = 0x20


class TagFlag(IntEnum):
    """What a tag says of the block that it announces."""

    ESCAPED = 0x1
    SAME_UUID = 0x2
    LAST = 0x8


_KNOWN = sum(JournalFeature)


class JournalBlocks:
    """The blocks of the journal by their number in it."""

    def __init__(self, runs: Sequence[Run], blocks: RecoveredBlocks) -> None:
        self._runs = runs
        self._starts = [run.logical for run in runs]
        self._blocks = blocks
        self.block_bytes = blocks.block_bytes
        self.count = runs[-1].logical + runs[-1].length if runs else 0

    def place(self, number: int) -> int:
        """Where on the device a block of the journal lies, as a block number. Errors: Damaged for a hole."""
        position = bisect.bisect_right(self._starts, number) - 1
        run = self._runs[position] if position >= 0 else None
        if run is None or number >= run.logical + run.length:
            raise Damaged(f"block {number:,} of the journal lies nowhere")
        return run.physical + number - run.logical

    def read(self, number: int) -> bytes:
        """One block. Errors: Damaged; BudgetSpent."""
        try:
            return self._blocks.read(self.place(number))
        except OutOfRange as error:
            raise Damaged(str(error)) from error

    def expect(self, first: int, count: int) -> None:
        """These blocks will be read soon."""
        places: list[tuple[int, int]] = []
        for run in self._runs:
            begin, end = max(first, run.logical), min(first + count, run.logical + run.length)
            if begin < end:
                places.append((run.physical + begin - run.logical, end - begin))
        self._blocks.expect(places)


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalSuperblock:
    """What the journal says of itself. Numbers count the journal's own blocks."""

    last: int
    first: int
    sequence: int
    start: int
    error: int
    features: int
    has_old_checksums: bool
    seed: int

    @property
    def has_checksums(self) -> bool:
        """Whether the log's own blocks carry a CRC-32C."""
        return bool(self.features & (JournalFeature.CHECKSUM_V2 | JournalFeature.CHECKSUM_V3))

    @property
    def tag_bytes(self) -> int:
        """How long a tag is, without the identifier that may follow it."""
        if self.features & JournalFeature.CHECKSUM_V3:
            return 16
        longer = 2 if self.features & JournalFeature.CHECKSUM_V2 else 0
        return 12 + longer - (0 if self.features & JournalFeature.SIXTY_FOUR_BIT else 4)

    def after(self, number: int) -> int:
        """The block of the log that follows: behind the last one comes the first."""
        return number if number < self.last else number - (self.last - self.first)


@dataclass(frozen=True, slots=True)
class Tag:
    """The announcement of one logged block: which block of the file system, and where in the journal it stands."""

    block: int
    at: int
    flags: int
    checksum: int


@dataclass(slots=True)
class Transaction:
    """What the log holds of one transaction."""

    sequence: int
    tags: list[Tag] = field(default_factory=list[Tag])
    revoked: list[int] = field(default_factory=list[int])


@dataclass(slots=True)
class Replay:
    """What a mount would take from the journal: for each block its newest content."""

    logged: dict[int, Logged] = field(default_factory=dict[int, Logged])
    transactions: int = 0


def read_journal(journal: JournalBlocks, *, needs_recovery: bool, made_at_seconds: int, findings: Findings) -> Replay:
    """What the journal adds to the file system; nothing when it is not to be replayed.

    What the kernel would refuse to mount is damage. `made_at_seconds` is when the file system was made, since 1970:
    older commits belong to another one. Errors: BudgetSpent.
    """
    try:
        superblock = _read_superblock(journal, findings)
        if superblock is None or not needs_recovery or not superblock.start:
            return Replay()
        log = _Log(journal, superblock, made_at_seconds, findings)
        transactions = log.transactions()
        return Replay(log.newest(transactions), len(transactions))
    except Damaged as error:
        findings.damage("ext4.journal.unreadable", str(error))
        return Replay()


def _read_superblock(journal: JournalBlocks, findings: Findings) -> JournalSuperblock | None:
    """The journal's superblock; None when it uses something that we do not know. Errors: Damaged."""
    raw = journal.read(0)[:_SUPERBLOCK_BYTES]
    magic, kind, _ = _HEAD.unpack_from(raw)
    if magic != _MAGIC or kind not in (_SUPERBLOCK_V1, _SUPERBLOCK_V2):
        raise Damaged("the journal has no superblock")
    block_bytes, block_count, first, sequence, start, error = struct.unpack_from(">6I", raw, 12)
    compatible, incompatible = struct.unpack_from(">II", raw, 0x24) if kind == _SUPERBLOCK_V2 else (0, 0)
    if kind == _SUPERBLOCK_V2:
        _judge_seal(journal, raw, incompatible, findings)
    if incompatible & ~_KNOWN:
        findings.unknown("ext4.journal.feature", f"incompatible features {incompatible & ~_KNOWN:#x}")
        return None
    superblock = JournalSuperblock(
        last=_last_block(raw, block_count, incompatible),
        first=first,
        sequence=sequence,
        start=start,
        error=error,
        features=incompatible,
        has_old_checksums=bool(compatible & 1),
        seed=crc32c_of_kernel(_ALL_ONES, raw[0x30:0x40]),
    )
    if block_bytes != journal.block_bytes or block_count > journal.count:
        raise Damaged(f"the journal claims {block_count:,} blocks of {block_bytes:,} bytes")
    if not 0 < first < superblock.last or not (start == 0 or first <= start < block_count):
        raise Damaged("the journal's log begins where it cannot")
    if error:
        at = journal.place(0) * journal.block_bytes
        findings.note("ext4.journal.error", f"the kernel gave up the journal with error {error}", at=at)
    return superblock


def _last_block(raw: bytes, block_count: int, incompatible: int) -> int:
    """The log ends before the blocks that are set apart for fast commits."""
    if not incompatible & JournalFeature.FAST_COMMIT:
        return block_count
    set_apart = int(struct.unpack_from(">I", raw, 0x54)[0]) or _DEFAULT_FAST_COMMIT_BLOCKS
    return block_count - set_apart if block_count - set_apart >= _LEAST_LOG_BLOCKS else block_count


def _judge_seal(journal: JournalBlocks, raw: bytes, incompatible: int, findings: Findings) -> None:
    """Whether the superblock matches its checksum, before anything that it says is believed.

    One that names no checksums has none to match, unless it matches as soon as it does: then the word was lost.
    """
    at = journal.place(0) * journal.block_bytes
    words = (JournalFeature.CHECKSUM_V2, JournalFeature.CHECKSUM_V3)
    if any(incompatible & word for word in words):
        findings.read("journal", at, _SUPERBLOCK_BYTES)
        if not _is_sealed(raw, incompatible):
            findings.damage("ext4.journal.superblock-checksum", "the journal's superblock", at=at)
    elif any(_is_sealed(raw, incompatible | word) for word in words):
        findings.damage("ext4.journal.superblock-checksum", "the journal's superblock lost a feature", at=at)


def _is_sealed(raw: bytes, incompatible: int) -> bool:
    """Whether the checksum is that of the superblock with these features."""
    sealed = struct.pack(">I", incompatible)
    end = _SUPERBLOCK_CHECKSUM_AT
    covered = raw[:0x28] + sealed + raw[0x2C:end] + b"\0\0\0\0" + raw[end + 4 :]
    return raw[0x50] == _CRC32C and crc32c_of_kernel(_ALL_ONES, covered) == struct.unpack_from(">I", raw, end)[0]


class _Log:
    """The log from its begin to where the kernel would stop."""

    def __init__(
        self, journal: JournalBlocks, superblock: JournalSuperblock, made_at_seconds: int, findings: Findings
    ) -> None:
        self._journal = journal
        self._superblock = superblock
        self._made_at_seconds = made_at_seconds
        self._findings = findings
        self._visited = 0
        self._last_commit_seconds = 0

    def transactions(self) -> list[Transaction]:
        """Every transaction that was committed, in order. Errors: Damaged where a mount would be refused."""
        found: list[Transaction] = []
        at, sequence = self._superblock.start, self._superblock.sequence
        while self._visited <= self._superblock.last:
            transaction = Transaction(sequence)
            end = self._follow(transaction, at)
            if end is None:
                break
            found.append(transaction)
            at, sequence = end, sequence + 1 & _ALL_ONES
        self._look_behind(at, sequence)
        if self._superblock.features & JournalFeature.FAST_COMMIT:
            self._look_for_fast_commits(sequence)
        if self._superblock.has_old_checksums:
            self._findings.note("ext4.journal.old-checksums", "the log carries checksums of an old kind, not checked")
        return found

    def newest(self, transactions: Sequence[Transaction]) -> dict[int, Logged]:
        """For each block where its newest content stands, without what was revoked later. Errors: Damaged."""
        revoked: dict[int, int] = {}
        for place, transaction in enumerate(transactions):
            revoked |= dict.fromkeys(transaction.revoked, place)
        newest: dict[int, Logged] = {}
        for place, transaction in enumerate(transactions):
            for tag in transaction.tags:
                if revoked.get(tag.block, -1) < place:
                    self._judge_data(transaction.sequence, tag)
                    escaped = bool(tag.flags & TagFlag.ESCAPED)
                    newest[tag.block] = Logged(self._journal.place(tag.at), escaped)
        return newest

    def _follow(self, transaction: Transaction, at: int) -> int | None:
        """Reads one transaction; where the next one begins, or None when this one was never committed."""
        is_suspect = False
        while self._visited <= self._superblock.last:
            if self._visited % 256 == 0:
                self._journal.expect(at, 512)
            self._visited += 1
            content = self._journal.read(at)
            magic, kind, sequence = _HEAD.unpack_from(content)
            if magic != _MAGIC or sequence != transaction.sequence:
                return None
            if kind == _COMMIT:
                return self._superblock.after(at + 1) if self._is_committed(content, at, is_suspect) else None
            if kind not in (_DESCRIPTOR, _REVOKE):
                return None
            is_suspect |= not self._block_holds(content)
            self._record(at, 0, self._journal.block_bytes if self._superblock.has_checksums else 0)
            if kind == _REVOKE:
                transaction.revoked += self._revoked(content)
                at = self._superblock.after(at + 1)
            else:
                at = self._announced(content, at, transaction.tags)
        return None

    def _announced(self, content: bytes, at: int, tags: list[Tag]) -> int:
        """Adds the tags of a descriptor; the block behind the last one that it announces."""
        end = len(content) - (_TAIL_BYTES if self._superblock.has_checksums else 0)
        offset = _HEAD_BYTES
        at = self._superblock.after(at + 1)
        while offset + self._superblock.tag_bytes <= end:
            tag = self._tag(content, offset, at)
            tags.append(tag)
            self._visited += 1
            at = self._superblock.after(at + 1)
            offset += self._superblock.tag_bytes + (0 if tag.flags & TagFlag.SAME_UUID else _UUID_BYTES)
            if tag.flags & TagFlag.LAST:
                break
        return at

    def _tag(self, content: bytes, offset: int, at: int) -> Tag:
        is_wide = bool(self._superblock.features & JournalFeature.SIXTY_FOUR_BIT)
        if self._superblock.features & JournalFeature.CHECKSUM_V3:
            low, flags, high, checksum = struct.unpack_from(">4I", content, offset)
        else:
            low, checksum, flags = struct.unpack_from(">IHH", content, offset)
            high = int(struct.unpack_from(">I", content, offset + 8)[0]) if is_wide else 0
        return Tag(low | (high << 32 if is_wide else 0), at, flags, checksum)

    def _revoked(self, content: bytes) -> list[int]:
        used = int(struct.unpack_from(">I", content, _HEAD_BYTES)[0])
        tail = _TAIL_BYTES if self._superblock.has_checksums else 0
        if used > len(content) - tail:
            raise Damaged(f"a block of the log revokes more than it can hold: {used:,} bytes")
        is_wide = self._superblock.features & JournalFeature.SIXTY_FOUR_BIT
        records = content[_REVOKE_RECORDS_AT : max(_REVOKE_RECORDS_AT, used)]
        size = 8 if is_wide else 4
        whole = len(records) - len(records) % size
        return [int(number) for (number,) in struct.iter_unpack(">Q" if is_wide else ">I", records[:whole])]

    def _is_committed(self, content: bytes, at: int, is_suspect: bool) -> bool:
        """Whether a commit block ends its transaction. Errors: Damaged.

        A wrong checksum before or in a block that is older than the last commit is a remainder of an earlier
        journal; in a younger one it is damage, and the kernel refuses to mount.
        """
        seconds = int(struct.unpack_from(">Q", content, _COMMIT_SECONDS_AT)[0])
        if not is_suspect and self._commit_holds(content):
            self._record(at, 0, _COMMIT_HEAD_BYTES)
            self._last_commit_seconds = seconds
            return True
        if seconds >= self._last_commit_seconds:
            offset = self._journal.place(at) * self._journal.block_bytes
            self._findings.damage("ext4.journal.checksum", f"a transaction that ends at block {at:,}", at=offset)
        return False

    def _commit_holds(self, content: bytes) -> bool:
        if not self._superblock.has_checksums:
            return True
        end = _COMMIT_CHECKSUM_AT
        expected = int(struct.unpack_from(">I", content, end)[0])
        whole = content[:end] + b"\0\0\0\0" + content[end + 4 :]
        # Of a commit only the first sector counts: the kernel takes one of which no more was written.
        head = whole[:_COMMIT_HEAD_BYTES].ljust(len(content), b"\0")
        return any(crc32c_of_kernel(self._superblock.seed, covered) == expected for covered in (whole, head))

    def _block_holds(self, content: bytes) -> bool:
        if not self._superblock.has_checksums:
            return True
        expected = int(struct.unpack_from(">I", content, len(content) - _TAIL_BYTES)[0])
        return crc32c_of_kernel(self._superblock.seed, content[:-_TAIL_BYTES] + b"\0\0\0\0") == expected

    def _judge_data(self, sequence: int, tag: Tag) -> None:
        if not self._superblock.has_checksums:
            return
        seed = crc32c_of_kernel(self._superblock.seed, struct.pack(">I", sequence))
        found = crc32c_of_kernel(seed, self._journal.read(tag.at))
        if not self._superblock.features & JournalFeature.CHECKSUM_V3:
            found &= 0xFFFF
        self._record(tag.at, 0, self._journal.block_bytes)
        if found != tag.checksum:
            at = self._journal.place(tag.at) * self._journal.block_bytes
            self._findings.damage("ext4.journal.data-checksum", f"the logged copy of block {tag.block:,}", at=at)

    def _look_behind(self, at: int, sequence: int) -> None:
        """A commit that continues the log behind its end means that a block in between was damaged.

        The kernel would end the replay there in silence and lose what was committed. Only checksums can tell such a
        commit from other content, and only its time can tell it from a remainder of an earlier journal.
        """
        if not self._superblock.has_checksums:
            return
        earliest = max(self._last_commit_seconds, self._made_at_seconds)
        count = min(_LOOK_BEHIND_THE_END_BYTES // self._journal.block_bytes, self._superblock.last - 1)
        self._journal.expect(at, count)
        for _ in range(count):
            content = self._journal.read(at)
            magic, kind, found = _HEAD.unpack_from(content)
            is_later = magic == _MAGIC and kind == _COMMIT and (found - sequence & _ALL_ONES) < count
            if is_later and self._commit_holds(content):
                seconds = int(struct.unpack_from(">Q", content, _COMMIT_SECONDS_AT)[0])
                if seconds >= earliest:
                    offset = self._journal.place(at) * self._journal.block_bytes
                    detail = f"the log ends before transaction {sequence}, yet {found} was committed"
                    self._findings.damage("ext4.journal.broken-off", detail, at=offset)
                    return
            at = self._superblock.after(at + 1)

    def _look_for_fast_commits(self, sequence: int) -> None:
        if holds_fast_commits(self._fast_commit_blocks(), sequence):
            self._findings.unknown("ext4.feature.fast_commit", "the newest changes are fast commits, not replayed here")

    def _fast_commit_blocks(self) -> Iterator[bytes]:
        for number in range(self._superblock.last, self._journal.count):
            yield self._journal.read(number)

    def _record(self, at: int, offset: int, length: int) -> None:
        if self._superblock.has_checksums:
            self._findings.read("journal", self._journal.place(at) * self._journal.block_bytes + offset, length)
