"""Metadata blocks of XFS: read once, judged by their checksum, address, owner and UUID, then handed out."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from functions.inspection.checksums import crc32c
from functions.inspection.devices import OutOfRange
from functions.inspection.findings import Findings, Weight
from functions.inspection.xfs.overlay import OverlaidDevice
from functions.inspection.xfs.superblock import Superblock

_NEVER_LOGGED = (0, 0xFFFF_FFFF_FFFF_FFFF)
_MOST_DAMAGE = 5_000


class TooMuchDamage(Exception):
    """So much is broken that looking further adds nothing and could last for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where a self-describing structure of version 5 keeps what it says about itself, in bytes from its beginning.

    `address` holds the structure's own place in sectors of 512 bytes; `owner` the inode or group it belongs to.
    """

    checksum: int
    uuid: int
    address: int | None = None
    owner: int | None = None
    owner_is_group: bool = False
    sequence: int | None = None


GROUP_TREE = Layout(checksum=52, uuid=32, address=16, owner=48, owner_is_group=True, sequence=24)
FILE_TREE = Layout(checksum=64, uuid=40, address=24, owner=56, sequence=32)
DIRECTORY_DATA = Layout(checksum=4, uuid=24, address=8, owner=40, sequence=16)
HASH_TREE = Layout(checksum=12, uuid=32, address=16, owner=48, sequence=24)
REMOTE_VALUE = Layout(checksum=12, uuid=16, address=40, owner=32)
REMOTE_TARGET = Layout(checksum=12, uuid=16, address=40, owner=32, sequence=48)
INODE = Layout(checksum=100, uuid=160, owner=152, sequence=112)
FREE_SPACE_HEADER = Layout(checksum=216, uuid=64, sequence=208)
INODE_HEADER = Layout(checksum=312, uuid=296, sequence=320)
FREE_LIST = Layout(checksum=32, uuid=8, sequence=24)
QUOTA = Layout(checksum=108, uuid=120, sequence=112)


def sealed_rightly(content: bytes, checksum_at: int) -> bool:
    """Whether the little-endian CRC-32C at that place is the one of everything else."""
    (stored,) = struct.unpack_from("<I", content, checksum_at)
    return stored == crc32c(content[:checksum_at] + b"\0\0\0\0" + content[checksum_at + 4 :])


@dataclass(frozen=True, slots=True)
class Block:
    """What was read as one structure, and the (offset, length) of each of its pieces on the device."""

    content: bytes
    pieces: tuple[tuple[int, int], ...]

    @property
    def offset(self) -> int:
        """Where it begins: what its own address has to say."""
        return self.pieces[0][0]


class Metadata:
    """Reads and judges the structures of one file system.

    `newest` is the log's present position as (cycle, block), or None when it is not known: no structure can have been
    written at a later one. `moved_forks` are inodes whose extent tree belonged to another one before the replay.
    """

    def __init__(self, device: OverlaidDevice, superblock: Superblock, findings: Findings) -> None:
        self.device = device
        self.superblock = superblock
        self.findings = findings
        self.newest: tuple[int, int] | None = None
        self.moved_forks: set[int] = set()

    def read(self, what: str, offset: int, length: int) -> Block | None:
        """The bytes there; None when the device does not have them, which is damage."""
        return self.gather(what, [(offset, length)])

    def gather(self, what: str, pieces: Sequence[tuple[int, int]]) -> Block | None:
        """One block that lies in several pieces of (offset, length); None as for `read`."""
        try:
            content = b"".join([self.device.read(offset, length) for offset, length in pieces])
        except OutOfRange as outside:
            self.damage(f"{what}.range", f"it lies outside of the device: {outside}", pieces[0][0])
            return None
        return Block(content, tuple(pieces))

    def damage(self, fault: str, detail: str, at: int | None = None) -> None:
        """Adds damage with the code "xfs.<fault>". Errors: TooMuchDamage, which ends the verification."""
        self.findings.damage(f"xfs.{fault}", detail, at=at)
        if self.findings.count(Weight.DAMAGE) > _MOST_DAMAGE:
            raise TooMuchDamage

    def is_trusted(self, what: str, block: Block, layout: Layout, *, owner: int | None = None, area: str = "") -> bool:
        """Whether a structure is what it says it is; if not, the findings say why.

        Version 4 says nothing about itself: there it is always trusted, and its content has to prove itself.
        """
        if not self.superblock.has_checksums:
            return True
        content, offset = block.content, block.offset
        if not any(self.device.is_replayed(*piece) for piece in block.pieces):
            for piece in block.pieces if area else ():
                self.findings.read(area, *piece)
            if not sealed_rightly(content, layout.checksum):
                self.damage(f"{what}.checksum", "the checksum is not the one of the content", offset)
                return False
            if layout.sequence is not None:
                self._refuse_from_the_future(what, content, offset, layout.sequence)
        fault = self._identity_fault(content, offset, layout, owner)
        if fault:
            self.damage(f"{what}.identity", fault, offset)
        return not fault

    def _identity_fault(self, content: bytes, offset: int, layout: Layout, owner: int | None) -> str | None:
        if content[layout.uuid : layout.uuid + 16] != self.superblock.metadata_uuid:
            return "it belongs to another file system"
        if layout.address is not None and struct.unpack_from(">Q", content, layout.address)[0] * 512 != offset:
            return "it was written for another place"
        if layout.owner is None or owner is None or owner in self.moved_forks:
            return None
        (found,) = struct.unpack_from(">I" if layout.owner_is_group else ">Q", content, layout.owner)
        return None if found == owner else f"it belongs to {found}, not to {owner}"

    def _refuse_from_the_future(self, what: str, content: bytes, offset: int, at: int) -> None:
        # The kernel refuses such a block too: its log was lost, or is older than the block.
        (sequence,) = struct.unpack_from(">Q", content, at)
        if self.newest and sequence not in _NEVER_LOGGED and (sequence >> 32, sequence & 0xFFFF_FFFF) > self.newest:
            self.damage(f"{what}.sequence", "it was written after the newest record of the log", offset)
