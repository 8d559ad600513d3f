"""btrfs: opened, verified by all of its checksums, and read."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from functions.inspection.btrfs.checks import RootKey, Verification
from functions.inspection.btrfs.chunks import ChunkMap, parse_chunk, system_chunks
from functions.inspection.btrfs.content import Content, Proof
from functions.inspection.btrfs.files import Files, Subvolume
from functions.inspection.btrfs.format import (
    CHECKSUM_TREE,
    CHUNK_ITEM,
    DIR_ITEM,
    ENTRY_HEAD,
    LOG_TREE,
    ROOT_DIRECTORY,
    ROOT_ITEM,
    ROOT_REF,
    TOP_SUBVOLUME,
    FileExtent,
    Key,
    Pointer,
    Root,
)
from functions.inspection.btrfs.log import Log, TooLong
from functions.inspection.btrfs.superblock import Superblock, choose_superblock, is_btrfs, report_features
from functions.inspection.btrfs.trees import Elsewhere, Trees, is_subvolume
from functions.inspection.devices import Device
from functions.inspection.file_systems import Damaged, File, NotReadable
from functions.inspection.findings import Findings, Weight

LONGEST_READ = 1024**3
"""More than this is read in several calls, so that a size that a disk merely claims cannot fill memory."""


def open_btrfs(device: Device, findings: Findings) -> Btrfs | None:
    """The btrfs file system on a device; None when no superblock is there.

    A damaged first superblock is reported and a mirror takes its place; without a usable one the result has no files.
    Errors: BudgetSpent.
    """
    if not is_btrfs(device):
        return None
    return Btrfs(device, findings)


class Btrfs:
    """One btrfs file system. Implements `FileSystem`; paths begin at the top-level subvolume."""

    kind = "btrfs"

    def __init__(self, device: Device, findings: Findings) -> None:
        self.device = device
        self.findings = findings
        self.needs_replay = False
        before = findings.count(Weight.DAMAGE)
        superblock = choose_superblock(device, findings)
        self._opened = _Opened(device, findings, superblock, before) if superblock else None
        if superblock and superblock.log_root:
            self.needs_replay = True
            findings.note("btrfs.log.present", "synced files wait in the log for the next mount", at=superblock.offset)

    def verify(self) -> None:
        """As the port says."""
        if self._opened:
            self._opened.verification.run()

    def files(self) -> Iterator[File]:
        """As the port says. `extents` of compressed files say where they are stored, shorter than in the file."""
        if self._opened:
            yield from self._opened.files.walk()

    def find(self, path: str) -> File | None:
        """As the port says."""
        if self._opened is None:
            raise Damaged("the superblock and its mirrors are damaged")
        return self._opened.files.find(path)

    def read(self, file: File, offset: int = 0, length: int | None = None) -> bytes:
        """As the port says; data is compared with its checksums, and a bad copy is replaced by a good one.

        Units: at most LONGEST_READ bytes at once. Errors: NotReadable also for more than that.
        """
        if self._opened is None:
            raise Damaged("the superblock and its mirrors are damaged")
        if file.why_not:
            raise NotReadable(file.why_not)
        end = file.size_bytes if length is None else min(file.size_bytes, offset + length)
        if end <= offset:
            return b""
        if end - offset > LONGEST_READ:
            raise NotReadable(f"{end - offset:,} bytes at once; ask for at most {LONGEST_READ:,}")
        if file.inline is not None:
            return file.inline[offset:end]
        return self._opened.read(file, offset, end)

    def scrub(self, file: File) -> Proof:
        """The stored bytes of a file were compared with their checksums, in every copy on this device.

        Files that we cannot decompress are proven like all others. What is wrong is in the findings.
        Errors: Damaged when the extents cannot be read; BudgetSpent.
        """
        if self._opened is None:
            raise Damaged("the superblock and its mirrors are damaged")
        return self._opened.scrub(file)


class _Opened:
    """What a usable superblock leads to."""

    def __init__(self, device: Device, findings: Findings, superblock: Superblock, damage_before: int) -> None:
        self._findings = findings
        self._superblock = superblock
        self._chunks = ChunkMap()
        self._trees = Trees(device, findings, superblock, self._chunks)
        self._roots: dict[RootKey, Root] = {}
        self._parents: dict[int, tuple[int, int]] = {}
        report_features(superblock, findings)
        if superblock.device_bytes > device.size_bytes:
            detail = f"{device.size_bytes:,} of {superblock.device_bytes:,} bytes are there"
            findings.damage("btrfs.truncated", detail, at=superblock.offset)
        self._load_chunks()
        self._load_roots()
        log_roots, logs = self._load_logs()
        self._content = Content(device, findings, superblock, self._chunks, self._trees, self._checksum_roots(logs))
        subvolumes = {
            tree: Subvolume(root.pointer, logs.get(tree))
            for (tree, _), root in sorted(self._roots.items())
            if is_subvolume(tree) and root.references
        }
        self.files = Files(self._trees, self._content, findings, subvolumes, self._parents, superblock.sector_bytes)
        self.verification = Verification(
            superblock, self._chunks, self._trees, self._roots, log_roots, findings, damage_before
        )

    def read(self, file: File, start: int, end: int) -> bytes:
        """As `Btrfs.read`, of a stretch that the file has."""
        parts: list[bytes] = []
        at = start
        for extent in self._extents(file):
            if extent.end <= at or extent.offset >= end:
                continue
            parts.append(bytes(max(0, extent.offset - at)))
            at = max(at, extent.offset)
            upto = min(end, extent.end)
            parts.append(self._content.read(extent, at, upto))
            at = upto
        parts.append(bytes(end - at))
        return b"".join(parts)

    def scrub(self, file: File) -> Proof:
        """As `Btrfs.scrub`."""
        proof = Proof()
        for extent in self._extents(file):
            proof += self._content.prove(extent)
        return proof

    def _extents(self, file: File) -> list[FileExtent]:
        try:
            return self.files.extents(file)
        except Elsewhere:
            raise NotReadable("its inode lies on a device that is not here") from None

    def _load_chunks(self) -> None:
        try:
            for chunk in system_chunks(self._superblock):
                self._chunks.add(chunk)
        except ValueError as wrong:
            self._findings.damage("btrfs.superblock.chunks", str(wrong), at=self._superblock.offset)
        for leaf in self._trees.leaves(self._superblock.chunk_root):
            for key, item in leaf.items():
                if key[1] == CHUNK_ITEM:
                    self._load_chunk(key, item)

    def _load_chunk(self, key: Key, item: bytes) -> None:
        try:
            self._chunks.add(parse_chunk(key[2], item, self._superblock))
        except ValueError as wrong:
            self._findings.damage("btrfs.chunk.item", str(wrong))

    def _load_roots(self) -> None:
        for leaf in self._trees.leaves(self._superblock.root):
            for key, item in leaf.items():
                if key[1] == ROOT_ITEM:
                    self._load_root(key, item)
                elif key[1] == ROOT_REF and len(item) >= 8:
                    self._parents[key[2]] = (key[0], struct.unpack_from("<Q", item)[0])
                elif key[:2] == (ROOT_DIRECTORY, DIR_ITEM) and len(item) >= ENTRY_HEAD.size:
                    self._note_default(struct.unpack_from("<Q", item)[0])

    def _load_root(self, key: Key, item: bytes) -> None:
        try:
            self._roots[key[0], key[2]] = Root.parse(key[0], item)
        except ValueError as wrong:
            self._findings.damage("btrfs.root.item", f"item {key}: {wrong}")

    def _note_default(self, subvolume: int) -> None:
        if is_subvolume(subvolume) and subvolume != TOP_SUBVOLUME:
            detail = f"a mount without options shows subvolume {subvolume}; paths here begin at the top level"
            self._findings.note("btrfs.subvolume.default", detail)

    def _load_logs(self) -> tuple[dict[RootKey, Root], dict[int, Log]]:
        log_roots: dict[RootKey, Root] = {}
        logs: dict[int, Log] = {}
        if self._superblock.log_root is None:
            return log_roots, logs
        for leaf in self._trees.leaves(self._superblock.log_root):
            for key, item in leaf.items():
                if key[:2] == (LOG_TREE, ROOT_ITEM):
                    try:
                        log_roots[key[0], key[2]] = Root.parse(LOG_TREE, item)
                    except ValueError as wrong:
                        self._findings.damage("btrfs.log.item", f"item {key}: {wrong}")
        for (_, subvolume), root in log_roots.items():
            log = self._load_log(root.pointer)
            if log:
                logs[subvolume] = log
        return log_roots, logs

    def _load_log(self, root: Pointer) -> Log | None:
        log = Log(root)
        try:
            for leaf in self._trees.leaves(root):
                for key, item in leaf.items():
                    log.take(key, item)
        except ValueError as wrong:
            self._findings.damage("btrfs.log.item", str(wrong))
            return None
        except TooLong:
            self._findings.note("btrfs.log.not-followed", "the log is too long to be laid over the files")
            return None
        return log

    def _checksum_roots(self, logs: dict[int, Log]) -> list[Pointer]:
        committed = self._roots.get((CHECKSUM_TREE, 0))
        return [*([committed.pointer] if committed else []), *(log.root for log in logs.values())]
