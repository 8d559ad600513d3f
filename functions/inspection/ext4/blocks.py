"""The blocks of a file system as they are once its journal was replayed, which happens in memory only."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from functions.inspection.devices import Device, OutOfRange
from functions.inspection.findings import Findings

_ESCAPED_BEGIN = b"\xc0\x3b\x39\x98"
"""The journal's own magic number: a logged block that begins with it is stored with zeros in its place."""


@dataclass(frozen=True, slots=True)
class Logged:
    """Where in the journal the newest content of a block lies. `at` is a block number of the file system."""

    at: int
    escaped: bool


class RecoveredBlocks:
    """Blocks by number. `block_bytes` long each; a block that the journal holds is read from there."""

    def __init__(self, device: Device, block_bytes: int, block_count: int) -> None:
        self._device = device
        self._logged: Mapping[int, Logged] = {}
        self._logged_numbers: list[int] = []
        self.block_bytes = block_bytes
        self.block_count = block_count

    def replay(self, logged: Mapping[int, Logged]) -> None:
        """From now on these blocks read as the journal has them."""
        self._logged = logged
        self._logged_numbers = sorted(logged)

    def read(self, block: int, count: int = 1) -> bytes:
        """The content of `count` blocks. Errors: OutOfRange; BudgetSpent."""
        if block < 0 or count < 0 or block + count > self.block_count:
            raise OutOfRange(f"{count:,} blocks at {block:,} of {self.block_count:,}")
        logged = self._logged_in(block, count)
        if not logged:
            return self._device.read(block * self.block_bytes, count * self.block_bytes)
        if count == 1:
            return self._read_logged(self._logged[block])
        content = bytearray(self._device.read(block * self.block_bytes, count * self.block_bytes))
        for number in logged:
            start = (number - block) * self.block_bytes
            content[start : start + self.block_bytes] = self._read_logged(self._logged[number])
        return bytes(content)

    def read_bytes(self, offset: int, length: int) -> bytes:
        """Bytes from anywhere in the blocks. Errors: OutOfRange; BudgetSpent."""
        first, start = divmod(offset, self.block_bytes)
        last = (offset + max(1, length) - 1) // self.block_bytes
        if self._logged_in(first, last - first + 1):
            return self.read(first, last - first + 1)[start : start + length]
        return self._device.read(offset, length)

    def expect(self, blocks: Iterable[tuple[int, int]]) -> None:
        """These (block, count) will be read soon."""
        size = self.block_bytes
        self._device.expect((block * size, count * size) for block, count in blocks)

    def is_logged(self, block: int) -> bool:
        """Whether the journal holds this block, so that its own place on the device says nothing."""
        return block in self._logged

    def record(self, findings: Findings, area: str, offset: int, length: int) -> None:
        """Adds an area of metadata, except for what the journal replaces: nobody reads that any more."""
        if offset // self.block_bytes not in self._logged:
            findings.read(area, offset, length)

    def _logged_in(self, block: int, count: int) -> list[int]:
        if not self._logged_numbers:
            return []
        begin = bisect.bisect_left(self._logged_numbers, block)
        return self._logged_numbers[begin : bisect.bisect_left(self._logged_numbers, block + count, begin)]

    def _read_logged(self, logged: Logged) -> bytes:
        content = self._device.read(logged.at * self.block_bytes, self.block_bytes)
        return _ESCAPED_BEGIN + content[4:] if logged.escaped else content
