"""CRC-32C as the formats use it: the standard one, and the one the Linux kernel calls crc32c()."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import google_crc32c

_ALL_ONES = 0xFFFFFFFF

# The library is typed by its docstrings only.
_value = cast("Callable[[bytes], int]", google_crc32c.value)  # pyright: ignore[reportUnknownMemberType]
_extend = cast("Callable[[int, bytes], int]", google_crc32c.extend)  # pyright: ignore[reportUnknownMemberType]


def crc32c(data: bytes | bytearray | memoryview) -> int:
    """The standard CRC-32C: begun with ones, inverted at the end (xfs, PostgreSQL, InnoDB)."""
    return _value(bytes(data))


def crc32c_of_kernel(seed: int, data: bytes | bytearray | memoryview) -> int:
    """The kernel's crc32c(seed, data), which inverts neither at the beginning nor at the end (ext4, jbd2)."""
    return _extend(seed ^ _ALL_ONES, bytes(data)) ^ _ALL_ONES
