"""A disk image as the blocks that EBS direct would show of it, with damage laid over it and the file left alone."""

import mmap
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

BLOCK_BYTES = 512 * 1024


class ImageBlocks:
    """The blocks of an image file. A block is written when any byte of it lies outside of the file's holes.

    `patches` replaces whole blocks: bytes of BLOCK_BYTES, or None for a block that was lost. `read_count` counts the
    blocks that were handed out.
    """

    def __init__(self, path: Path, patches: Mapping[int, bytes | None] | None = None) -> None:
        self._file = path.open("rb")
        self.size_bytes = os.fstat(self._file.fileno()).st_size
        self._bytes = mmap.mmap(self._file.fileno(), 0, prot=mmap.PROT_READ)
        self._stored = frozenset(_stored_blocks(self._file.fileno()))
        self.patches: dict[int, bytes | None] = dict(patches or {})
        self.read_count = 0

    def read(self, indexes: Sequence[int]) -> Mapping[int, bytes | None]:
        """The content of each block, None for one that holds nothing."""
        found = {index: self.block(index) for index in indexes}
        self.read_count += sum(content is not None for content in found.values())
        return found

    def written(self) -> frozenset[int]:
        """The indexes of the blocks that hold data."""
        lost = {index for index, content in self.patches.items() if content is None}
        return (self._stored | self.patches.keys()) - lost

    def block(self, index: int) -> bytes | None:
        """One block as it is now, not counted."""
        if index in self.patches:
            return self.patches[index]
        if index not in self._stored:
            return None
        content = self._bytes[index * BLOCK_BYTES : (index + 1) * BLOCK_BYTES]
        return content.ljust(BLOCK_BYTES, b"\0")

    def overwrite(self, offset: int, content: bytes) -> None:
        """These bytes stand there from now on, in this object only."""
        while content:
            index, start = divmod(offset, BLOCK_BYTES)
            block = bytearray(self.block(index) or bytes(BLOCK_BYTES))
            taken = min(len(content), BLOCK_BYTES - start)
            block[start : start + taken] = content[:taken]
            self.patches[index] = bytes(block)
            offset, content = offset + taken, content[taken:]

    def flip(self, offset: int, bit: int = 0) -> None:
        """One bit is the other way round."""
        block = self.block(offset // BLOCK_BYTES) or bytes(BLOCK_BYTES)
        self.overwrite(offset, bytes([block[offset % BLOCK_BYTES] ^ (1 << bit)]))

    def close(self) -> None:
        """The file is closed."""
        self._bytes.close()
        self._file.close()


def _stored_blocks(descriptor: int) -> set[int]:
    stored: set[int] = set()
    end = 0
    while True:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but holes from here on
            return stored
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        stored.update(range(start // BLOCK_BYTES, (end - 1) // BLOCK_BYTES + 1))
