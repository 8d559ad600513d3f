"""XFS: opened, recovered in memory, verified, and read."""

from __future__ import annotations

from collections.abc import Iterator

from functions.inspection.devices import Device, OutOfRange
from functions.inspection.file_systems import Damaged, Extent, File, FileSystem, NotReadable
from functions.inspection.findings import Findings
from functions.inspection.xfs.directories import Directory
from functions.inspection.xfs.inodes import DIRECTORY, REGULAR, ForkReader, Inode, read_inode
from functions.inspection.xfs.metadata import Metadata, TooMuchDamage
from functions.inspection.xfs.opening import Head, cut_to_device, find_head, report_features
from functions.inspection.xfs.overlay import OverlaidDevice
from functions.inspection.xfs.replay import recover
from functions.inspection.xfs.superblock import Superblock, geometry_fault, parse_superblock
from functions.inspection.xfs.verification import Verification

_LONGEST_READ_BYTES = 1 << 30
_LONGEST_PATH = 64 * 1024
_MOST_EXTENTS = 20_000_000


def open_xfs(device: Device, findings: Findings) -> FileSystem | None:
    """The file system on this device with its log replayed in memory, or None when there is no XFS.

    Errors: BudgetSpent.
    """
    head = find_head(device, findings)
    if head is None:
        return None
    if head.superblock is None:
        return BrokenXfs(device, findings)
    return Xfs(device, findings, head, cut_to_device(device, head.superblock, findings))


class BrokenXfs:
    """An XFS of which no superblock is left by which anything could be found; the findings say so already."""

    kind = "xfs"
    needs_replay = False

    def __init__(self, device: Device, findings: Findings) -> None:
        self.device = device
        self.findings = findings

    def verify(self) -> None:
        """Nothing is left to verify: opening has said what is wrong."""

    def files(self) -> Iterator[File]:
        """No file can be found."""
        return iter(())

    def find(self, path: str) -> File | None:
        """No file can be found. Errors: Damaged."""
        raise Damaged(f"{path}: the superblock is damaged and no copy of it could be found")

    def read(self, file: File, offset: int = 0, length: int | None = None) -> bytes:  # noqa: ARG002 - the port's
        """No file can be read. Errors: Damaged."""
        raise Damaged(f"{file.path}: the superblock is damaged and no copy of it could be found")


class Xfs:
    """An XFS as the kernel would see it after recovery."""

    kind = "xfs"

    def __init__(self, device: Device, findings: Findings, head: Head, superblock: Superblock) -> None:
        self.device = device
        self.findings = findings
        self._overlaid = OverlaidDevice(device)
        self._recovery = recover(self._overlaid, superblock, findings)
        self._head = head.raw
        self._superblock = self._after_recovery(superblock)
        self._is_known = report_features(self._superblock, findings)
        self.needs_replay = self._recovery.needs_replay
        self._reading = self._metadata(Findings())

    def verify(self) -> None:
        """As the port says."""
        if not self._recovery.is_complete and not self.findings.is_damaged:
            return
        verification = Verification(self._metadata(self.findings), self._recovery, self._head)
        verification.run(groups_only=not self._is_known)

    def files(self) -> Iterator[File]:
        """As the port says."""
        root = self._inode(self._superblock.root_inode)
        if root is None or root.kind != DIRECTORY:
            return
        visited = {root.number}
        waiting = [("", root)]
        extents = 0
        while waiting:
            path, directory = waiting.pop()
            for inode, name in self._children(directory):
                below = f"{path}/{name}"
                if inode.kind == REGULAR:
                    file = self._file(below, inode)
                    extents += len(file.extents)
                    yield file
                elif inode.kind == DIRECTORY and inode.number not in visited:
                    visited.add(inode.number)
                    waiting.append((below, inode))
            if extents > _MOST_EXTENTS or len(path) > _LONGEST_PATH:
                self.findings.unknown("xfs.too-large", "the walk over the directories was given up")
                return

    def find(self, path: str) -> File | None:
        """As the port says."""
        inode = self._inode(self._superblock.root_inode)
        for part in [part for part in path.split("/") if part]:
            if inode is None:
                raise Damaged(f"{path}: a directory on the way to it is damaged")
            if inode.kind != DIRECTORY:
                return None
            number = self._look_up(inode, part, path)
            if number is None:
                return None
            inode = self._inode(number)
        if inode is None:
            raise Damaged(f"{path}: its inode is damaged")
        return self._file(path, inode) if inode.kind == REGULAR else None

    def read(self, file: File, offset: int = 0, length: int | None = None) -> bytes:
        """As the port says."""
        if file.why_not:
            raise NotReadable(f"{file.path}: {file.why_not}")
        end = file.size_bytes if length is None else min(file.size_bytes, offset + length)
        if end - offset > _LONGEST_READ_BYTES:
            raise NotReadable(f"{file.path}: {end - offset:,} bytes at once are too many; read it in pieces")
        content = bytearray(max(0, end - offset))
        for extent in file.extents:
            start, stop = max(extent.offset, offset), min(extent.offset + extent.length, end)
            if start < stop:
                stored = self._read_at(file, extent.at + start - extent.offset, stop - start)
                content[start - offset : stop - offset] = stored
        return bytes(content)

    def _read_at(self, file: File, at: int, length: int) -> bytes:
        try:
            return self._overlaid.read(at, length)
        except OutOfRange as outside:
            raise Damaged(f"{file.path}: a part of it lies outside of the device") from outside

    def _metadata(self, findings: Findings) -> Metadata:
        metadata = Metadata(self._overlaid, self._superblock, findings)
        metadata.newest = self._recovery.newest
        metadata.moved_forks = self._recovery.moved_forks
        return metadata

    def _after_recovery(self, superblock: Superblock) -> Superblock:
        """Growing and new features are logged as well: what the log says about the superblock is newer."""
        if not self._overlaid.is_replayed(0, superblock.sector_bytes):
            return superblock
        raw = self._overlaid.read(0, superblock.sector_bytes)
        if geometry_fault(raw):
            return superblock
        self._head = raw
        return cut_to_device(self.device, parse_superblock(raw), self.findings)

    def _inode(self, number: int) -> Inode | None:
        try:
            return read_inode(self._reading, number)
        except TooMuchDamage:
            return None

    def _children(self, directory: Inode) -> Iterator[tuple[Inode, str]]:
        entries: list[tuple[int, bytes]] = []
        try:
            for number, name, _ in Directory(self._reading, directory).entries():
                if name not in (b".", b"..") and b"/" not in name and b"\0" not in name:
                    entries.append((number, name))
        except TooMuchDamage:
            return
        size, has_inode = self._superblock.inode_bytes, self._superblock.has_inode
        self._overlaid.expect(
            (self._superblock.offset_of_inode(number), size) for number, _ in entries if has_inode(number)
        )
        for number, name in entries:
            inode = self._inode(number)
            if inode is not None:
                yield inode, name.decode("utf-8", "surrogateescape")

    def _look_up(self, directory: Inode, name: str, path: str) -> int | None:
        wanted = name.encode("utf-8", "surrogateescape")
        reader = Directory(self._reading, directory)
        try:
            for number, found, _ in reader.entries():
                if found == wanted and found not in (b".", b".."):
                    return number
        except TooMuchDamage:
            reader.is_whole = False
        if not reader.is_whole:
            raise Damaged(f"{path}: a directory on the way to it is damaged")
        return None

    def _file(self, path: str, inode: Inode) -> File:
        why_not = "its content is on the realtime device" if inode.is_on_realtime_device else ""
        extents: list[Extent] = []
        if not why_not:
            try:
                fork = ForkReader(self._reading, inode).read()
            except TooMuchDamage:
                fork = None
            if fork is None or not fork.is_whole:
                why_not = "the map of its content is damaged"
            else:
                size = self._superblock.block_bytes
                extents = [
                    Extent(start * size, self._superblock.offset_of(block), count * size)
                    for start, block, count, unwritten in fork.stretches
                    if not unwritten
                ]
        return File(
            path=path,
            id=inode.number,
            size_bytes=inode.size,
            modified_at=inode.modified_at,
            extents=tuple(extents),
            why_not=why_not,
        )
