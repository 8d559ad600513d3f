"""Whether bytes look drawn by lot, as encrypted and well compressed ones do, judged by how often each value occurs."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

PIECE_BYTES = 4096
"""What is judged at once: the smallest unit in which file systems and those who attack them write."""

LEAST_BYTES = 512
"""Below this, too few bytes for 256 values: text and random bytes are still told apart, a short key is not."""

_DEGREES = 255
_SPREAD = float(np.sqrt(2 * _DEGREES))
"""The chi-square of random bytes is 255 on average and strays from it by 22.6, however many bytes are counted."""

HIGHEST = _DEGREES + 4.5 * _SPREAD
"""One piece of random bytes in 30,000 lies above. Deflate lies below as well, if only 4 KiB of it are seen."""

LOWEST = _DEGREES - 4.0 * _SPREAD
"""One piece in 300,000 lies below; bytes that are spread more evenly than chance are counters and tables."""

PATTERNED_SHARE = 1.0
"""A chi-square above so many times the number of bytes is text, code, tables or pixels, never a compressed stream."""


class Look(IntEnum):
    """What a piece looks like."""

    EMPTY = 0
    """One value throughout: never written, or wiped."""
    SHORT = 1
    """Too few bytes to say."""
    PATTERNED = 2
    """Far from random."""
    UNEVEN = 3
    """Neither: compressed by a method that leaves traces, or a mixture."""
    RANDOM = 4


def counts_of(piece: bytes) -> NDArray[np.int64]:
    """How often each of the 256 values occurs."""
    return np.bincount(np.frombuffer(piece, np.uint8), minlength=256)


def chi_square(counts: NDArray[np.int64]) -> float:
    """How far the counts are from even ones; 0.0 for no bytes at all."""
    total = int(counts.sum())
    return int(counts.dot(counts)) * 256 / total - total if total else 0.0


def look_of(counts: NDArray[np.int64]) -> Look:
    """What the bytes behind these counts look like, by themselves."""
    total = int(counts.sum())
    distance = chi_square(counts)
    if total and distance == 255 * total:  # all of them have one value
        return Look.EMPTY
    if total < LEAST_BYTES:
        return Look.SHORT
    if LOWEST <= distance <= HIGHEST:
        return Look.RANDOM
    return Look.PATTERNED if distance > PATTERNED_SHARE * total else Look.UNEVEN
