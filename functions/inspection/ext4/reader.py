"""ext2, ext3 and ext4: opened with the journal replayed in memory, verified, and read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from functions.inspection.devices import Device, OutOfRange
from functions.inspection.ext4.backups import choose_superblock
from functions.inspection.ext4.blocks import RecoveredBlocks
from functions.inspection.ext4.directories import Directory, Entry
from functions.inspection.ext4.groups import read_groups
from functions.inspection.ext4.inodes import Inode, InodeTable, Kind, has_blocks, inline_content
from functions.inspection.ext4.journal import JournalBlocks, Replay, read_journal
from functions.inspection.ext4.mapping import Mapping, map_blocks
from functions.inspection.ext4.superblock import (
    ROOT_INODE,
    SUPERBLOCK_BYTES,
    SUPERBLOCK_OFFSET,
    Compatible,
    Incompatible,
    State,
    Superblock,
    checksum_holds,
    read_superblock,
)
from functions.inspection.ext4.verification import Verification
from functions.inspection.file_systems import Damaged, Extent, File, FileSystem, NotReadable
from functions.inspection.findings import Findings

_ENTRIES_TOGETHER = 512
_LONGEST_PATH = 64 * 1024
_MOST_READ_BYTES = 1 << 30
_KIND_OF_DIRECTORY = 2
_KINDS_THAT_MAY_BE_FILES = (0, 1)


def open_ext4(device: Device, findings: Findings) -> FileSystem | None:
    """The ext2, ext3 or ext4 on a device; None when there is none.

    What opening needs was judged: superblock, descriptors and journal. A file system whose superblocks are all lost
    is opened as one without files. Errors: BudgetSpent.
    """
    try:
        superblock = choose_superblock(device, findings)
    except Damaged as error:
        findings.damage("ext4.superblock.unusable", str(error), at=SUPERBLOCK_OFFSET)
        return UnreadableExt4(device, findings)
    if superblock is None:
        return None
    for name in superblock.unknown_features():
        findings.unknown(f"ext4.feature.{name}", "not known here, so what it keeps is not checked")
    if superblock.incompatible & Incompatible.JOURNAL_DEV:
        findings.unknown("ext4.feature.journal_dev", "a journal for a file system on another device")
        return UnreadableExt4(device, findings)
    return Ext4(device, findings, superblock)


class UnreadableExt4:
    """An ext file system of which nothing can be read. The findings, filled when it was opened, say why."""

    kind = "ext4"

    def __init__(self, device: Device, findings: Findings) -> None:
        self.device = device
        self.findings = findings
        self.needs_replay = False

    def verify(self) -> None:
        """As the port says: all that can be said was said at opening."""

    def files(self) -> Iterator[File]:
        """As the port says: none."""
        return iter(())

    def find(self, path: str) -> File | None:
        """As the port says. Errors: Damaged, always."""
        raise Damaged(f"{path} cannot be looked for: the superblock is lost")

    def read(self, file: File, offset: int = 0, length: int | None = None) -> bytes:  # noqa: ARG002 - the port's names
        """As the port says. Errors: NotReadable, always."""
        raise NotReadable(f"{file.path}: the superblock is lost")


class Ext4:
    """One file system, with its journal replayed in memory."""

    kind = "ext4"

    def __init__(self, device: Device, findings: Findings, superblock: Superblock) -> None:
        self.device = device
        self.findings = findings
        if superblock.block_count * superblock.block_bytes > device.size_bytes:
            missing = superblock.block_count * superblock.block_bytes - device.size_bytes
            findings.damage("ext4.truncated", f"the device ends {missing:,} bytes before the file system does")
        blocks = RecoveredBlocks(device, superblock.block_bytes, superblock.block_count)
        replay = _replay_of(superblock, blocks, findings)
        self.needs_replay = replay.transactions > 0
        self._superblock = _after(replay, superblock, blocks, findings)
        self._blocks = RecoveredBlocks(device, self._superblock.block_bytes, self._superblock.block_count)
        self._blocks.replay(replay.logged)
        self._groups = read_groups(self._superblock, self._blocks, findings)
        self._table = InodeTable(self._superblock, self._groups, self._blocks)
        self._note_state()

    def verify(self) -> None:
        """As the port says."""
        Verification(self._superblock, self._groups, self._blocks, self.findings).run()

    def files(self) -> Iterator[File]:
        """As the port says."""
        seen = {ROOT_INODE}
        waiting = [("", ROOT_INODE)]
        while waiting:
            path, number = waiting.pop()
            found = self._listed(number)
            if found is None:
                continue
            directory, entries = found
            for begin in range(0, len(entries), _ENTRIES_TOGETHER):
                together = entries[begin : begin + _ENTRIES_TOGETHER]
                self._expect_inodes(together)
                for entry in together:
                    yield from self._met(path, directory, entry, seen, waiting)

    def find(self, path: str) -> File | None:
        """As the port says."""
        number = ROOT_INODE
        for part in [part for part in path.split("/") if part]:
            inode = self._table.read(number)
            if inode.kind != Kind.DIRECTORY:
                return None
            entry = self._entry_of(inode, part)
            if entry is None:
                return None
            number = entry.inode
        inode = self._table.read(number)
        return self._file(path, inode) if inode.kind == Kind.REGULAR else None

    def read(self, file: File, offset: int = 0, length: int | None = None) -> bytes:
        """As the port says. At most 1 GiB at once: NotReadable asks for smaller parts."""
        if file.why_not:
            raise NotReadable(f"{file.path}: {file.why_not}")
        end = file.size_bytes if length is None else min(file.size_bytes, offset + length)
        if offset < 0 or end <= offset:
            return b""
        if file.inline is not None:
            return file.inline[offset:end]
        if end - offset > _MOST_READ_BYTES:
            raise NotReadable(f"{file.path}: {end - offset:,} bytes at once; read it in parts of 1 GiB or less")
        content = bytearray(end - offset)
        wanted = [one for one in file.extents if one.offset < end and one.offset + one.length > offset]
        self.device.expect((one.at, one.length) for one in wanted)
        for one in wanted:
            begin, stop = max(offset, one.offset), min(end, one.offset + one.length)
            try:
                piece = self._blocks.read_bytes(one.at + begin - one.offset, stop - begin)
            except OutOfRange as error:
                raise Damaged(f"{file.path}: {error}") from error
            content[begin - offset : stop - offset] = piece
        return bytes(content)

    # The walk

    def _listed(self, number: int) -> tuple[Inode, list[Entry]] | None:
        """A directory and its entries; None when it is damaged."""
        quiet = Findings()
        try:
            inode = self._table.read(number)
        except Damaged:
            return None
        if inode.kind != Kind.DIRECTORY:
            return None
        entries = list(self._directory(inode, quiet).entries())
        return None if quiet.is_damaged else (inode, entries)

    def _directory(self, inode: Inode, quiet: Findings) -> Directory:
        runs = self._mapping(inode, quiet).runs
        self._blocks.expect((run.physical, run.length) for run in runs)
        return Directory(inode, runs, self._superblock, self._blocks, quiet)

    def _mapping(self, inode: Inode, quiet: Findings) -> Mapping:
        if not has_blocks(self._superblock, inode):
            return Mapping()
        return map_blocks(inode, self._superblock, self._blocks, quiet)

    def _expect_inodes(self, entries: Sequence[Entry]) -> None:
        places: list[int] = []
        for entry in entries:
            try:
                places.append(self._table.place(entry.inode))
            except Damaged:
                continue
        self.device.expect((place, self._superblock.inode_bytes) for place in sorted(places))

    def _met(
        self, above: str, directory: Inode, entry: Entry, seen: set[int], waiting: list[tuple[str, int]]
    ) -> Iterator[File]:
        """The file that an entry names; a directory is put among those that wait."""
        if entry.name in (b".", b".."):
            return
        # The bytes of an encrypted name may be any, a slash among them.
        name = entry.name.hex() if directory.is_encrypted else entry.name.decode("utf-8", "surrogateescape")
        path = f"{above}/{name}"
        if len(path) > _LONGEST_PATH:
            self.findings.unknown("ext4.directory.too-deep", "what lies deeper than a path can be long is not listed")
            return
        if entry.kind not in (*_KINDS_THAT_MAY_BE_FILES, _KIND_OF_DIRECTORY):
            return
        try:
            inode = self._table.read(entry.inode)
        except Damaged:
            return
        if inode.kind == Kind.DIRECTORY and entry.inode not in seen:
            seen.add(entry.inode)
            waiting.append((path, entry.inode))
        elif inode.kind == Kind.REGULAR:
            yield self._file(path, inode)

    def _entry_of(self, inode: Inode, part: str) -> Entry | None:
        quiet = Findings()
        wanted = part.encode("utf-8", "surrogateescape")
        for entry in self._directory(inode, quiet).entries():
            name = entry.name.hex().encode() if inode.is_encrypted else entry.name
            if name == wanted and entry.name not in (b".", b".."):
                return entry
        if quiet.is_damaged:
            raise Damaged(f"the directory that would hold {part} is damaged")
        return None

    def _file(self, path: str, inode: Inode) -> File:
        quiet = Findings()
        inline, why_not = None, "encrypted" if inode.is_encrypted else ""
        if inode.has_inline_data:
            try:
                inline = inline_content(inode)
            except Damaged as error:
                why_not = str(error)
        extents = self._extents(inode, quiet)
        if quiet.is_damaged:
            why_not = "the map of its blocks is damaged"
        return File(
            path=path,
            id=inode.number,
            size_bytes=inode.size_bytes,
            modified_at=inode.modified_at,
            extents=extents,
            inline=inline,
            why_not=why_not,
        )

    def _extents(self, inode: Inode, quiet: Findings) -> tuple[Extent, ...]:
        size = self._superblock.block_bytes
        return tuple(
            Extent(
                run.logical * size, run.physical * size, min(run.length * size, inode.size_bytes - run.logical * size)
            )
            for run in self._mapping(inode, quiet).runs
            if not run.unwritten and run.logical * size < inode.size_bytes
        )

    def _note_state(self) -> None:
        if self.needs_replay:
            self.findings.note(
                "ext4.journal.replayed", "the journal holds changes, as after a crash; they were applied"
            )
        if self._superblock.state & State.HAS_ERRORS or self._superblock.error_count:
            count = self._superblock.error_count
            self.findings.note("ext4.state.errors", f"the kernel met {count:,} errors and wrote that down; run e2fsck")
        if self._superblock.incompatible & Incompatible.ENCRYPT:
            self.findings.note("ext4.feature.encrypt", "names and content of encrypted directories cannot be read")


def _replay_of(superblock: Superblock, blocks: RecoveredBlocks, findings: Findings) -> Replay:
    if not superblock.compatible & Compatible.HAS_JOURNAL:
        return Replay()
    # A copy of the superblock does not know whether the file system was in use; its journal does.
    needs_recovery = superblock.needs_recovery or superblock.group_number != 0
    if not superblock.journal_inode:
        _judge_external_journal(superblock, findings)
        return Replay()
    quiet = Findings()
    groups = read_groups(superblock, blocks, quiet)
    try:
        inode = InodeTable(superblock, groups, blocks).read(superblock.journal_inode)
    except Damaged as error:
        findings.damage("ext4.journal.inode", str(error))
        return Replay()
    if inode.kind != Kind.REGULAR or not inode.links:
        findings.damage("ext4.journal.inode", "the inode of the journal is no file")
        return Replay()
    mapping = map_blocks(inode, superblock, blocks, findings)
    replay = read_journal(
        JournalBlocks(mapping.runs, blocks),
        needs_recovery=needs_recovery,
        made_at_seconds=superblock.made_at_seconds,
        findings=findings,
    )
    outside = [block for block in replay.logged if block >= superblock.block_count]
    for block in outside:
        findings.damage("ext4.journal.out-of-range", f"the journal holds block {block:,}")
        del replay.logged[block]
    return replay


def _judge_external_journal(superblock: Superblock, findings: Findings) -> None:
    if superblock.needs_recovery:
        findings.unknown("ext4.journal.external", "the journal is on another device and holds changes")
    else:
        findings.note("ext4.journal.external", "the journal is on another device, and empty")


def _after(replay: Replay, superblock: Superblock, blocks: RecoveredBlocks, findings: Findings) -> Superblock:
    """The superblock as the journal has it."""
    if superblock.first_superblock_block not in replay.logged:
        return superblock
    blocks.replay(replay.logged)
    raw = blocks.read_bytes(SUPERBLOCK_OFFSET, SUPERBLOCK_BYTES)
    try:
        newer = read_superblock(raw)
    except Damaged as error:
        findings.damage("ext4.superblock.geometry", f"in the journal: {error}")
        return superblock
    if not checksum_holds(raw):
        findings.damage("ext4.superblock.checksum", "in the journal")
    return newer
