"""Where bytes live: one sparse image per volume, one file per distinct block of a snapshot.

Blocks are named by their SHA-256, so a snapshot stores only what no earlier snapshot holds, and a copy in another
Region stores nothing at all. Both kinds of file are written around their zero pages, so they cost what they contain.
"""

import hashlib
import os
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

BLOCK_BYTES = 512 * 1024
PAGE_BYTES = 4096
GIB = 1 << 30

_ZERO_PAGE = bytes(PAGE_BYTES)
_ZERO_BLOCK = bytes(BLOCK_BYTES)

Blocks = Mapping[int, str]
"""What a snapshot is made of: block index -> SHA-256 of its 512 KiB."""


def image_path(data_directory: Path, volume_id: str) -> Path:
    """The file that holds the bytes of a volume; a file system can be laid on it while the volume is `available`."""
    return data_directory / "volumes" / f"{volume_id}.img"


def stored_path(data_directory: Path, digest: str) -> Path:
    """The file that holds a block of a snapshot; whoever changes it damages every snapshot that holds the block."""
    return data_directory / "blocks" / digest[:2] / digest


def write_sparse(descriptor: int, offset: int, content: bytes) -> None:
    """Every non-zero page of `content` is written at `offset`; zero pages are left as the holes they were."""
    start: int | None = None
    for position in range(0, len(content), PAGE_BYTES):
        page = content[position : position + PAGE_BYTES]
        empty = page == _ZERO_PAGE[: len(page)]
        if empty and start is not None:
            os.pwrite(descriptor, content[start:position], offset + start)
            start = None
        elif not empty and start is None:
            start = position
    if start is not None:
        os.pwrite(descriptor, content[start:], offset + start)


class BlockStore:
    """The images and blocks under one data directory. Safe to use from several threads."""

    def __init__(self, data_directory: Path) -> None:
        self._data_directory = data_directory
        self._uses: Counter[str] = Counter()
        self._lock = threading.Lock()
        (data_directory / "volumes").mkdir(parents=True, exist_ok=True)
        (data_directory / "blocks").mkdir(exist_ok=True)

    # -- volumes

    def image(self, volume_id: str) -> Path:
        return image_path(self._data_directory, volume_id)

    def create_image(self, volume_id: str, size_gib: int, blocks: Blocks | None = None) -> None:
        """The volume has an image of `size_gib` that holds exactly `blocks`."""
        descriptor = os.open(self.image(volume_id), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            os.ftruncate(descriptor, size_gib * GIB)
            for index, digest in (blocks or {}).items():
                write_sparse(descriptor, index * BLOCK_BYTES, self.read(digest))
        finally:
            os.close(descriptor)

    def grow_image(self, volume_id: str, size_gib: int) -> None:
        """The image is at least `size_gib` long; what it held is untouched."""
        with self.image(volume_id).open("r+b") as image:
            image.truncate(max(size_gib * GIB, image.seek(0, os.SEEK_END)))

    def remove_image(self, volume_id: str) -> None:
        self.image(volume_id).unlink(missing_ok=True)

    # -- snapshots

    def capture(self, volume_id: str, predecessor: Blocks | None = None) -> dict[int, str]:
        """The content of the volume now, held until `release`; only blocks unknown so far are written.

        Nobody has to stop writing: each block is read by one call, so it is whole, and blocks written during the
        capture are either in it or not - what a crash would leave. A block full of zeros is part of the snapshot only
        if `predecessor` had data there, because an image cannot tell a written zero from a page never touched.
        """
        previous = predecessor or {}
        captured: dict[int, str] = {}
        # Unbuffered, or a block would be stitched together from reads made at different times.
        with self.image(volume_id).open("rb", buffering=0) as image:
            for index in sorted(_written_indexes(image.fileno()) | previous.keys()):
                content = os.pread(image.fileno(), BLOCK_BYTES, index * BLOCK_BYTES).ljust(BLOCK_BYTES, b"\0")
                if content != _ZERO_BLOCK or index in previous:
                    captured[index] = self._put(content)
        return captured

    def read(self, digest: str) -> bytes:
        """The 512 KiB of one block."""
        return self._block_path(digest).read_bytes()

    def hold(self, blocks: Blocks) -> None:
        """The blocks stay readable until `release` is called once more for them."""
        with self._lock:
            self._uses.update(blocks.values())

    def release(self, blocks: Blocks) -> None:
        """Blocks that nobody holds any longer are gone from the disk."""
        with self._lock:
            for digest in blocks.values():
                self._uses[digest] -= 1
                if self._uses[digest] <= 0:
                    del self._uses[digest]
                    self._block_path(digest).unlink(missing_ok=True)

    def _put(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        path = self._block_path(digest)
        # The lock covers the file too: a release of the last holder must not unlink what was just found to exist.
        with self._lock:
            if not path.exists():
                path.parent.mkdir(exist_ok=True)
                unfinished = path.with_name(f"{digest}.{uuid.uuid4().hex}")
                _write_block(unfinished, content)
                unfinished.replace(path)
            self._uses[digest] += 1
        return digest

    def _block_path(self, digest: str) -> Path:
        return stored_path(self._data_directory, digest)


def changed_indexes(before: Blocks, after: Blocks) -> set[int]:
    """Indexes whose content differs, or that only one of the two has."""
    return {index for index in before.keys() | after.keys() if before.get(index) != after.get(index)}


def _write_block(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.ftruncate(descriptor, len(content))
        write_sparse(descriptor, 0, content)
    finally:
        os.close(descriptor)


def _written_indexes(descriptor: int) -> set[int]:
    return {
        index
        for start, end in _data_extents(descriptor)
        for index in range(start // BLOCK_BYTES, (end + BLOCK_BYTES - 1) // BLOCK_BYTES)
    }


def _data_extents(descriptor: int) -> Iterator[tuple[int, int]]:
    position, end = 0, os.fstat(descriptor).st_size
    while position < end:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole up to the end of the image
            return
        position = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, position
