"""The ext images beside this file, as blocks that can be damaged, and what a test asks of them."""

from __future__ import annotations

import functools
import hashlib
import json
import lzma
from collections.abc import Mapping, Sequence
from pathlib import Path

from functions.inspection.devices import BLOCK_BYTES, SnapshotDevice
from functions.inspection.ext4.reader import open_ext4
from functions.inspection.file_systems import FileSystem
from functions.inspection.findings import Area, Findings, Weight

_IMAGES = Path(__file__).parent / "images"
NAMES = ("ext4-crashed", "ext4-revoked", "ext4-extras", "ext4-ext3", "ext4-old")
BACKUP_OFFSET = 8193 * 1024
"""The copy of the superblock in group 1 of an image with blocks of 1 KiB."""


_NOTHING = bytes(BLOCK_BYTES)


@functools.cache
def _content(name: str) -> bytes:
    return lzma.decompress((_IMAGES / f"{name}.img.xz").read_bytes())


class Image:
    """An image in memory, as the port `Blocks`. `bytes` may be changed at will."""

    def __init__(self, name: str) -> None:
        self.bytes = bytearray(_content(name))
        self.size_bytes = len(self.bytes)

    def read(self, indexes: Sequence[int]) -> Mapping[int, bytes | None]:
        """The content of each block; one of zeros counts as never written."""
        return {index: self._block(index) for index in indexes}

    def written(self) -> Sequence[int]:
        """The indexes of the blocks that hold data."""
        return [index for index in range(-(-self.size_bytes // BLOCK_BYTES)) if self._block(index)]

    def _block(self, index: int) -> bytes | None:
        content = bytes(self.bytes[index * BLOCK_BYTES : (index + 1) * BLOCK_BYTES]).ljust(BLOCK_BYTES, b"\0")
        return None if content == _NOTHING else content

    def overwrite(self, offset: int, content: bytes) -> None:
        """These bytes stand there from now on."""
        self.bytes[offset : offset + len(content)] = content

    def flip(self, offset: int, bit: int = 0) -> None:
        """One bit is the other way round."""
        self.bytes[offset] ^= 1 << bit


def opened(image: Image) -> FileSystem:
    """The file system of an image, its findings inside it."""
    file_system = open_ext4(SnapshotDevice(image), Findings(keeps_areas=True))
    assert file_system is not None
    return file_system


def verified(image: Image) -> FileSystem:
    """The same after verification."""
    file_system = opened(image)
    file_system.verify()
    return file_system


def damage(file_system: FileSystem) -> set[str]:
    """The codes of all damage."""
    return {finding.code for finding in file_system.findings.of(Weight.DAMAGE)}


def notes(file_system: FileSystem) -> set[str]:
    """The codes of all notes."""
    return {finding.code for finding in file_system.findings.of(Weight.NOTE)}


def unknowns(file_system: FileSystem) -> set[str]:
    """The codes of all that could not be checked."""
    return {finding.code for finding in file_system.findings.of(Weight.UNKNOWN)}


def expected_listing(name: str) -> tuple[int, str]:
    """How many files a mount shows, and the digest of their names and contents."""
    kept = json.loads((_IMAGES / "ext4-files.json").read_text())[name]
    return kept["files"], kept["sha256"]


def listing(file_system: FileSystem) -> tuple[int, str]:
    """The same of a file system as it is read here."""
    found = {
        file.path: hashlib.sha256(file_system.read(file)).hexdigest()
        for file in file_system.files()
        if not file.why_not
    }
    lines = "".join(f"{digest} {path}\n" for path, digest in sorted(found.items()))
    return len(found), hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


@functools.cache
def areas_of(name: str) -> Mapping[str, Sequence[Area]]:
    """The areas of metadata in an image, by their names."""
    found: dict[str, list[Area]] = {}
    for area in verified(Image(name)).findings.areas:
        found.setdefault(area.name, []).append(area)
    return found
