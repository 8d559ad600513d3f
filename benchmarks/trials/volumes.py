"""Volumes that exist only as a layout: files at places of a device, whose content is made when it is read.

A night of a volume of 1.5 GiB takes milliseconds this way, so that hundreds can be tried without a disk. What the
contents look like is taken from real codecs (deflate, LZMA, bzip2, SQLite, machine code of this Python); where files
lie and how they change is our guess at a server, an office, an archive, a photo and a mail volume.
"""

from __future__ import annotations

import bz2
import lzma
import sqlite3
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path

import numpy as np

from functions.inspection.devices import BLOCK_BYTES, Device, SnapshotDevice
from functions.inspection.file_systems import Extent, File
from functions.inspection.findings import Findings

CLUSTER_BYTES = 4096
MIB = 1024 * 1024
RESERVED_BYTES = 16 * MIB
GROUP_BYTES = 128 * MIB
POOL_BYTES = 3 * MIB

HEADS: Mapping[str, bytes] = {
    "gzip": b"\x1f\x8b\x08\x08\x5e\x1c\x2a\x66\x00\x03backup.tar\0",
    "xz": b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46",
    "zstd": b"\x28\xb5\x2f\xfd\xa4",
    "bzip2": b"BZh91AY&SY",
    "zip": b"PK\x03\x04\x14\0\x08\0\x08\0",
    "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0",
    "film": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41",
    "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "git pack": b"PACK\0\0\0\2",
    "git object": b"\x78\x01",
}
"""The beginnings of contents that look random behind them."""

BODIES: Mapping[str, str] = {
    "gzip": "deflate",
    "zstd": "deflate",
    "zip": "deflate",
    "png": "deflate",
    "pdf": "deflate",
    "git pack": "deflate",
    "git object": "deflate",
    "xz": "lzma",
    "bzip2": "bzip2",
    "film": "lzma",
    "jpeg": "scan",
    "brotli": "lzma",
    "secret": "random",
}
"""Which pool a kind of content is cut from, where it is not one of its own name."""


@cache
def pool(name: str) -> bytes:
    """Some MiB of one kind of bytes, the same in every process."""
    draw = np.random.default_rng(20261121)
    match name:
        case "random":
            return draw.bytes(8 * MIB)
        case "text":
            return _words(draw, POOL_BYTES)
        case "deflate":
            return zlib.compress(_words(draw, 4 * POOL_BYTES), 6)[2:]
        case "lzma":
            return lzma.compress(_words(draw, 2 * POOL_BYTES), preset=1)[64:]
        case "bzip2":
            return bz2.compress(_words(draw, 2 * POOL_BYTES))[64:]
        case "scan":  # Huffman-coded, with the zero that JPEG puts behind every 0xFF
            return zlib.compress(draw.normal(128, 20, POOL_BYTES).astype(np.uint8).tobytes(), 6)[2:].replace(
                b"\xff", b"\xff\0"
            )
        case "code":
            return _machine_code()
        case "pages":
            return _database_pages()
        case "base64":
            return b"".join(_mime_lines(draw))
        case _:
            raise ValueError(f"there is no pool {name!r}")


def _words(draw: np.random.Generator, length: int) -> bytes:
    letters = np.frombuffer(b"etaoinshrdlucmfwypvbgkjqxz", np.uint8)
    lengths = draw.integers(2, 11, 6_000)
    words = [bytes(letters[np.minimum(draw.geometric(0.12, n) - 1, 25)]) for n in lengths]
    ranks = np.minimum(draw.zipf(1.25, length // 5), len(words)) - 1
    joined = b" ".join(words[rank] for rank in ranks)
    return joined[:length]


def _machine_code() -> bytes:
    code = Path(sys.executable).resolve().read_bytes()[: 4 * MIB]
    return (code * (POOL_BYTES // max(1, len(code)) + 1))[: max(POOL_BYTES, len(code))]


def _database_pages() -> bytes:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("create table orders (id integer primary key, customer text, amount real, note text)")
        words = pool("text").decode().split()
        rows = ((n, words[n], n * 1.37, " ".join(words[n : n + 12])) for n in range(30_000))
        connection.executemany("insert into orders values (?, ?, ?, ?)", rows)
        connection.commit()
        content = connection.serialize()
    connection.close()
    return content[CLUSTER_BYTES:]


def _mime_lines(draw: np.random.Generator) -> Iterator[bytes]:
    alphabet = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8)
    for line in draw.choice(alphabet, (POOL_BYTES // 77, 76)):
        yield bytes(line) + b"\n"


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of the model. `seed` chooses where its content begins in the pool; `encrypted` are (offset, length)."""

    path: str
    size_bytes: int
    kind: str
    seed: int
    modified_at: datetime
    extents: tuple[Extent, ...] = ()
    encrypted: tuple[tuple[int, int], ...] = ()

    def content(self, offset: int, length: int) -> bytes:
        """The bytes of the file there."""
        body = _cut(BODIES.get(self.kind, self.kind), self.seed, offset, length)
        head = HEADS.get(self.kind, b"")
        if offset >= len(head) and not self.encrypted:
            return body
        plain = bytearray(body)
        if offset < len(head):
            plain[: len(head) - offset] = head[offset : offset + length]
        for begin, span in self.encrypted:
            first, last = max(begin, offset), min(begin + span, offset + length)
            if first < last:
                plain[first - offset : last - offset] = _cut("random", ~self.seed, first, last - first)
        return bytes(plain[:length])


def _cut(name: str, seed: int, offset: int, length: int) -> bytes:
    source = pool(name)
    begin = (seed % 1_000_003 * 7_919 + offset) % len(source)
    found = source[begin : begin + length]
    while len(found) < length:
        found += source[: length - len(found)]
    return found


@dataclass(slots=True, eq=False)
class Layout:
    """Where on the disk the files lie, as the port that blocks are read through; their content is made when read."""

    size_bytes: int
    places: np.ndarray
    owners: list[tuple[Stored, Extent]]

    @classmethod
    def of(cls, size_bytes: int, files: Iterable[Stored]) -> Layout:
        """From the files as they are now."""
        owners = sorted(((file, extent) for file in files for extent in file.extents), key=lambda owner: owner[1].at)
        return cls(size_bytes, np.array([extent.at for _, extent in owners]), owners)

    def read(self, indexes: Sequence[int]) -> Mapping[int, bytes | None]:
        """The content of each block."""
        return {index: self._block(index) for index in indexes}

    def written(self) -> range:
        """Every block; the model has no holes."""
        return range(self.size_bytes // BLOCK_BYTES)

    def _block(self, index: int) -> bytes:
        begin, end = index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES
        content = bytearray(BLOCK_BYTES)
        first = max(0, int(np.searchsorted(self.places, begin)) - 1)
        for file, extent in self.owners[first : int(np.searchsorted(self.places, end))]:
            low, high = max(extent.at, begin), min(extent.at + extent.length, end)
            if low < high:
                content[low - begin : high - begin] = file.content(extent.offset + low - extent.at, high - low)
        return bytes(content)


class ModelFileSystem:
    """The port of a file system over a layout. A model is never damaged."""

    kind = "model"
    needs_replay = False

    def __init__(self, files: Iterable[Stored], size_bytes: int) -> None:
        self._stored = {file.path: file for file in files}
        self.disk = SnapshotDevice(Layout.of(size_bytes, self._stored.values()), budget_blocks=100_000)
        self.device: Device = self.disk
        self.findings = Findings()

    def verify(self) -> None:
        """As the port says."""

    def files(self) -> Iterator[File]:
        """As the port says."""
        return (
            File(path=one.path, id=number, size_bytes=one.size_bytes, modified_at=one.modified_at, extents=one.extents)
            for number, one in enumerate(self._stored.values())
        )

    def find(self, path: str) -> File | None:
        """As the port says."""
        return next((file for file in self.files() if file.path == path), None)

    def read(self, file: File, offset: int = 0, length: int | None = None) -> bytes:
        """As the port says."""
        wanted = file.size_bytes - offset if length is None else min(length, file.size_bytes - offset)
        return self._stored[file.path].content(offset, max(0, wanted))


@dataclass(slots=True)
class Volume:
    """The files of a volume, its free space, and the blocks that were written since `changed` was emptied."""

    size_bytes: int
    draw: np.random.Generator
    stored: dict[str, Stored] = field(default_factory=dict)
    changed: set[int] = field(default_factory=set)
    free: list[tuple[int, int]] = field(default_factory=list)

    @classmethod
    def empty(cls, size_bytes: int, draw: np.random.Generator) -> Volume:
        """A volume of which the first 16 MiB are inodes, bitmaps and the journal."""
        groups = [(at, GROUP_BYTES) for at in range(RESERVED_BYTES, size_bytes - GROUP_BYTES, GROUP_BYTES)]
        return cls(size_bytes, draw, free=groups)

    def copied(self, draw: np.random.Generator) -> Volume:
        """The same volume, changed blocks and all, to go its own way."""
        return Volume(self.size_bytes, draw, dict(self.stored), set(self.changed), list(self.free))

    @property
    def used_bytes(self) -> int:
        """How much the files hold."""
        return sum(file.size_bytes for file in self.stored.values())

    def file_system(self) -> ModelFileSystem:
        """The volume as the inspection sees it now, with nothing read yet."""
        return ModelFileSystem(self.stored.values(), self.size_bytes)

    def add(self, file: Stored) -> None:
        """The file is stored, in free space at a random place; one of the same path is replaced."""
        self.remove(file.path)
        extents = tuple(self._allocated(file.size_bytes))
        self.stored[file.path] = Stored(
            file.path, file.size_bytes, file.kind, file.seed, file.modified_at, extents, file.encrypted
        )
        for extent in extents:
            self.touch(extent.at, extent.length)

    def remove(self, path: str) -> Stored | None:
        """The path is gone and its space is free."""
        file = self.stored.pop(path, None)
        if file:
            self.free += [(one.at, -(-one.length // CLUSTER_BYTES) * CLUSTER_BYTES) for one in file.extents]
        return file

    def touch(self, at: int, length: int) -> None:
        """These bytes of the disk were written."""
        self.changed.update(range(at // BLOCK_BYTES, (at + max(1, length) - 1) // BLOCK_BYTES + 1))

    def touch_file(self, file: Stored, offset: int, length: int) -> None:
        """These bytes of a file were written in place."""
        for extent in file.extents:
            first, last = max(offset, extent.offset), min(offset + length, extent.offset + extent.length)
            if first < last:
                self.touch(extent.at + first - extent.offset, last - first)

    def _allocated(self, size_bytes: int) -> Iterator[Extent]:
        wanted, offset = -(-size_bytes // CLUSTER_BYTES) * CLUSTER_BYTES, 0
        while offset < wanted:
            number = self._place_for(wanted - offset)
            at, length = self.free.pop(number)
            taken = min(length, wanted - offset)
            if taken < length:
                self.free.insert(number, (at + taken, length - taken))
            yield Extent(offset, at, min(taken, size_bytes - offset))
            offset += taken

    def _place_for(self, wanted: int) -> int:
        if not self.free:
            raise ValueError("the model volume is full: give it more room or less churn")
        for _ in range(4):
            number = int(self.draw.integers(len(self.free)))
            if self.free[number][1] >= wanted:
                return number
        return max(range(len(self.free)), key=lambda place: self.free[place][1])
