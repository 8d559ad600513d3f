"""A device with the replayed log laid over it: what recovery would write stays in memory, the device is left alone."""

from __future__ import annotations

from collections.abc import Iterable

from functions.inspection.devices import Device, OutOfRange

_PAGE_BYTES = 4096
_SECTOR_BYTES = 512
_MOST_PAGES = 128 * 1024
"""512 MiB. A log that changes more than that is not replayed: memory ends before the log does."""


class OverlayFull(Exception):
    """More was written than may be kept in memory."""


class OverlaidDevice:
    """A device that can be written to in memory; who has read it before sees the difference, the device never does.

    Replayed content comes from the log, whose records carry their own checksum, and the kernel computes the checksum
    of a replayed block anew when it writes it back. `is_replayed` tells the checks where that is so.
    """

    def __init__(self, below: Device) -> None:
        self._below = below
        self._pages: dict[int, bytearray] = {}
        self._replayed_sectors: set[int] = set()

    @property
    def size_bytes(self) -> int:
        """How long the device is."""
        return self._below.size_bytes

    def read(self, offset: int, length: int) -> bytes:
        """As the port says, with what was written on top."""
        content = self._below.read(offset, length)
        pages = self._pages_in(offset, length)
        if not pages:
            return content
        mixed = bytearray(content)
        for page in pages:
            start = max(page * _PAGE_BYTES, offset)
            end = min((page + 1) * _PAGE_BYTES, offset + length)
            inside = start - page * _PAGE_BYTES
            mixed[start - offset : end - offset] = self._pages[page][inside : inside + end - start]
        return bytes(mixed)

    def write(self, offset: int, content: bytes | bytearray) -> None:
        """These bytes stand there from now on. Errors: OutOfRange; OverlayFull."""
        if offset < 0 or offset + len(content) > self.size_bytes:
            raise OutOfRange(f"{len(content):,} bytes at {offset:,} of a device of {self.size_bytes:,} bytes")
        self._replayed_sectors.update(range(offset // _SECTOR_BYTES, -(-(offset + len(content)) // _SECTOR_BYTES)))
        written = 0
        while written < len(content):
            page, inside = divmod(offset + written, _PAGE_BYTES)
            piece = content[written : written + _PAGE_BYTES - inside]
            self._page(page)[inside : inside + len(piece)] = piece
            written += len(piece)

    def is_replayed(self, offset: int, length: int) -> bool:
        """Whether any of this stretch came from the log."""
        if not self._replayed_sectors:
            return False
        sectors = range(offset // _SECTOR_BYTES, -(-(offset + length) // _SECTOR_BYTES))
        return not self._replayed_sectors.isdisjoint(sectors)

    def expect(self, places: Iterable[tuple[int, int]]) -> None:
        """As the port says."""
        self._below.expect(places)

    def on_disk(self, offset: int, length: int) -> tuple[tuple[int, int], ...]:
        """As the port says."""
        return self._below.on_disk(offset, length)

    def _pages_in(self, offset: int, length: int) -> list[int]:
        pages = range(offset // _PAGE_BYTES, -(-(offset + length) // _PAGE_BYTES))
        if len(pages) > len(self._pages):
            return [page for page in self._pages if page in pages]
        return [page for page in pages if page in self._pages]

    def _page(self, page: int) -> bytearray:
        if page not in self._pages:
            if len(self._pages) >= _MOST_PAGES:
                raise OverlayFull(f"the log changes more than {_MOST_PAGES * _PAGE_BYTES:,} bytes")
            start = page * _PAGE_BYTES
            length = min(_PAGE_BYTES, self.size_bytes - start)
            self._pages[page] = bytearray(self._below.read(start, length))
        return self._pages[page]
