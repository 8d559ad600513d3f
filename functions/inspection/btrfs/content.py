"""The data of btrfs files: read from the copy whose checksums are right, decompressed, and proven."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from functions.inspection.btrfs.chunks import ChunkMap, Unmapped
from functions.inspection.btrfs.format import (
    CHECKSUM_OBJECT,
    COMPRESSIONS,
    EXTENT_CHECKSUM,
    INLINE,
    FileExtent,
    Pointer,
)
from functions.inspection.btrfs.superblock import Superblock
from functions.inspection.btrfs.trees import Elsewhere, Trees
from functions.inspection.devices import Device, OutOfRange
from functions.inspection.file_systems import Damaged, Extent, NotReadable
from functions.inspection.findings import Findings

_PIECE_BYTES = 4 * 1024 * 1024
"""Data is read and checked in pieces of this size, so that memory stays bounded and blocks come in parallel."""

LONGEST_UNPACKED = 128 * 1024
"""The kernel compresses no more than this into one extent."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What checksums say of a file's stored bytes, in bytes of every copy on this device.

    `proven` match their checksum, `wrong` do not, `unproven` have none or lie elsewhere.
    """

    proven_bytes: int = 0
    wrong_bytes: int = 0
    unproven_bytes: int = 0

    def __add__(self, other: Proof) -> Proof:
        return Proof(
            self.proven_bytes + other.proven_bytes,
            self.wrong_bytes + other.wrong_bytes,
            self.unproven_bytes + other.unproven_bytes,
        )


class Content:
    """Reads data by logical address. `checksum_roots` are searched in turn: the committed tree, then the logs."""

    def __init__(
        self,
        device: Device,
        findings: Findings,
        superblock: Superblock,
        chunks: ChunkMap,
        trees: Trees,
        checksum_roots: Sequence[Pointer],
    ) -> None:
        self._device = device
        self._findings = findings
        self._sector = superblock.sector_bytes
        self._checksum = superblock.checksum
        self._chunks = chunks
        self._trees = trees
        self._checksum_roots = checksum_roots
        # One item never outgrows a leaf, so an item that covers an address begins at most this far before it.
        self._longest_run = superblock.node_bytes // superblock.checksum.length * superblock.sector_bytes

    def why_not(self, extents: Sequence[FileExtent]) -> str:
        """Why these extents cannot be read by us; empty when they can."""
        for extent in extents:
            if extent.encoded:
                return "encrypted or encoded in a way we do not know"
            if extent.compression > 1:
                return f"compressed with {COMPRESSIONS.get(extent.compression, 'an unknown method')}"
            if extent.is_stored and not self._is_here(extent):
                return "stored on a device that is not here"
        return ""

    def stored(self, extents: Sequence[FileExtent]) -> tuple[Extent, ...]:
        """Where the stored bytes lie. A compressed extent is shorter on the device than in the file."""
        found: list[Extent] = []
        for extent in extents:
            if not extent.is_stored:
                continue
            start, length = _on_disk(extent)
            for at, logical, left in self._pieces(start, length):
                if at:
                    found.append(Extent(extent.offset + logical - start, at[0], left))
        return tuple(found)

    def read(self, extent: FileExtent, start: int, end: int) -> bytes:
        """The content of an extent between two offsets in the file, proven where checksums exist.

        Errors: Damaged, after it was reported; NotReadable; BudgetSpent.
        """
        if extent.kind == INLINE:
            return self.inline(extent)[start - extent.offset : end - extent.offset].ljust(end - start, b"\0")
        if not extent.is_stored:
            return bytes(end - start)
        skipped = extent.skipped + start - extent.offset
        if extent.compression:
            if extent.disk_length > LONGEST_UNPACKED:
                raise self._damaged("extent", f"{extent.disk_length:,} compressed bytes at {extent.disk:,}")
            packed = self._sectors(extent.disk, extent.disk_length)
            unpacked = self._unpacked(extent, packed)
            return unpacked[skipped : skipped + end - start].ljust(end - start, b"\0")
        first = extent.disk + skipped
        before = first % self._sector
        length = -(-(before + end - start) // self._sector) * self._sector
        return self._sectors(first - before, length)[before : before + end - start]

    def inline(self, extent: FileExtent) -> bytes:
        """The content of an inline extent. Errors: Damaged; NotReadable."""
        return self._unpacked(extent, extent.content) if extent.compression else extent.content

    def prove(self, extent: FileExtent) -> Proof:
        """Every stored byte of an extent was compared with its checksum, in every copy; compressed ones too.

        Inline content is proven by the checksum of its node. Errors: BudgetSpent.
        """
        if extent.kind == INLINE:
            return Proof(proven_bytes=len(extent.content))
        if not extent.is_stored:
            return Proof()
        start, length = _on_disk(extent)
        first = start - start % self._sector
        length = -(-(start + length - first) // self._sector) * self._sector
        proof = Proof()
        for at, logical, left in self._pieces(first, length):
            proof += self._proof(at, logical, left)
        return proof

    def _proof(self, places: Sequence[int], logical: int, length: int) -> Proof:
        try:
            checksums = self._checksums(logical, length)
        except (Damaged, Elsewhere):
            return Proof(unproven_bytes=length)
        if not places or self._checksum.of is None:
            return Proof(unproven_bytes=length * max(1, len(places)))
        proof = Proof()
        for at in places:
            content = self._device_read(at, length)
            wrong = length if content is None else len(self._wrong(content, logical, checksums)) * self._sector
            if wrong:
                self._report(logical, at, wrong)
            known = length if content is None else len(checksums) * self._sector
            proof += Proof(known - wrong, wrong, length - known)
        return proof

    def _is_here(self, extent: FileExtent) -> bool:
        try:
            copies, _ = self._chunks.copies(extent.disk)
        except Unmapped:
            return True  # reading it reports the damage
        return any(at is not None for at in copies)

    def _pieces(self, logical: int, length: int) -> Iterator[tuple[list[int], int, int]]:
        """(places of the copies, logical address, length) of stretches that lie in one piece."""
        end = logical + length
        while logical < end:
            try:
                copies, left = self._chunks.copies(logical)
            except Unmapped:
                self._findings.damage("btrfs.data.address", f"no chunk holds the data at {logical:,}")
                return
            left = min(left, end - logical, _PIECE_BYTES)
            yield [at for at in copies if at is not None], logical, left
            logical += left

    def _sectors(self, logical: int, length: int) -> bytes:
        parts = [self._piece(at, start, left) for at, start, left in self._pieces(logical, length)]
        content = b"".join(parts)
        if len(content) != length:
            raise Damaged(f"no chunk holds all of the data at {logical:,}")
        return content

    def _piece(self, places: Sequence[int], logical: int, length: int) -> bytes:
        if not places:
            raise NotReadable("stored on a device that is not here")
        try:
            checksums = self._checksums(logical, length)
        except Elsewhere:
            checksums = {}
        for at in places:
            content = self._device_read(at, length)
            wrong = [logical] if content is None else self._wrong(content, logical, checksums)
            if content is not None and not wrong:
                return content
            self._report(logical, at, len(wrong) * self._sector)
        raise Damaged(f"no copy of the data at {logical:,} matches its checksums")

    def _device_read(self, at: int, length: int) -> bytes | None:
        self._device.expect([(at, length)])
        try:
            return self._device.read(at, length)
        except OutOfRange:
            return None

    def _wrong(self, content: bytes, logical: int, checksums: dict[int, bytes]) -> list[int]:
        """The sectors whose checksum is known and different."""
        of, sector = self._checksum.of, self._sector
        if of is None:
            return []
        return [at for at, sum in checksums.items() if of(content[at - logical : at - logical + sector]) != sum]

    def _checksums(self, logical: int, length: int) -> dict[int, bytes]:
        """The checksum of every sector that has one, by logical address. Errors: Damaged; Elsewhere; BudgetSpent."""
        size, sector, end = self._checksum.length, self._sector, logical + length
        found: dict[int, bytes] = {}
        low = (CHECKSUM_OBJECT, EXTENT_CHECKSUM, max(0, logical - self._longest_run))
        high = (CHECKSUM_OBJECT, EXTENT_CHECKSUM, end - 1)
        for root in self._checksum_roots:
            if len(found) * sector == length:
                break
            for (_, _, start), sums in self._trees.items(root, low, high):
                first = max(0, (logical - start) // sector)
                for position in range(first, min(len(sums) // size, -(-(end - start) // sector))):
                    found.setdefault(start + position * sector, sums[position * size : position * size + size])
        return found

    def _unpacked(self, extent: FileExtent, packed: bytes) -> bytes:
        if extent.compression != 1 or extent.encoded:
            raise NotReadable(self.why_not([extent]))
        if extent.unpacked > LONGEST_UNPACKED:
            raise self._damaged("extent", f"an extent of {extent.unpacked:,} bytes is compressed")
        try:
            return zlib.decompressobj().decompress(packed, extent.unpacked)
        except zlib.error:
            raise self._damaged("compression", f"the data at {extent.disk:,} cannot be decompressed") from None

    def _damaged(self, fault: str, detail: str) -> Damaged:
        self._findings.damage(f"btrfs.data.{fault}", detail)
        return Damaged(detail)

    def _report(self, logical: int, at: int, length: int) -> None:
        detail = f"{length:,} bytes of the data at {logical:,} do not match their checksums"
        self._findings.damage("btrfs.data.checksum", detail, at=at)


def _on_disk(extent: FileExtent) -> tuple[int, int]:
    """The logical stretch that holds the content: all of it when compressed, else what this file uses."""
    if extent.compression:
        return extent.disk, extent.disk_length
    return extent.disk + extent.skipped, extent.length
