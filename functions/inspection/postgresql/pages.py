"""Pages of PostgreSQL relations: the data checksum, and whether a header can be one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LANES = 32
_PRIME = np.uint32(16777619)
_SHIFT = np.uint32(17)
# The beginnings of the 32 sums that run side by side: src/include/storage/checksum_impl.h, checksumBaseOffsets.
_BASES = np.frombuffer(
    bytes.fromhex(
        "e9361f5b605952b8aa50ab022a6de61d7a46ff79a3f8b99bd27c7e212c3de183"
        "4f47d4f870b99ee316aec642fa1632995d3b097b3cffda982a9018f7db9c1c0b"
        "4b768fe5bc367618b13b7b5ddee73de779c9be92b2c0a6cc79094a30d443aa85"
        "bb253178a2eaa86cc6ea07e43efc5c4b768cbf9fbe20ca15d39fcaf256d79b95"
    ),
    "<u4",
)
_FLAGS_KNOWN = 0x0007
_LAYOUT_VERSION = 4
_HEADER_BYTES = 24


@dataclass(frozen=True, slots=True)
class Pages:
    """What a run of pages says of itself: one entry for each page.

    `empty` pages are all zeros: added to the file and never filled. `broken` ones the server would refuse to read.
    `last_change` is the place in the WAL (LSN) of a page's newest record.
    """

    empty: NDArray[np.bool_]
    broken: NDArray[np.bool_]
    last_change: NDArray[np.uint64]


def judge_pages(content: bytes, first: int, page_bytes: int, *, has_checksums: bool) -> Pages:
    """What pages `first`, `first` + 1 ... of a fork say; a piece of a page at the end is left out.

    Source: PageIsVerified in src/backend/storage/page/bufpage.c.
    """
    count = len(content) // page_bytes
    words = np.frombuffer(content, "<u4", count * page_bytes // 4).reshape(count, page_bytes // 4)
    empty = np.asarray(~words.any(axis=1))
    broken = ~_has_sane_header(words, page_bytes)
    if has_checksums:
        broken |= _checksums(words, first) != (words[:, 2] & np.uint32(0xFFFF))
    last_change = (words[:, 0].astype(np.uint64) << np.uint64(32)) | words[:, 1].astype(np.uint64)
    return Pages(empty=empty, broken=broken & ~empty, last_change=last_change)


def begins_or_ends_in_zeros(page: bytes) -> bool:
    """Whether the first or last 512 bytes are zeros: the look of a page that was written in part into a new file."""
    return not any(page[:512]) or not any(page[-512:])


def _has_sane_header(words: NDArray[np.uint32], page_bytes: int) -> NDArray[np.bool_]:
    halves = words[:, :6].copy().view("<u2")
    flags, lower, upper, special, layout = (halves[:, n].astype(np.int64) for n in range(5, 10))
    return np.asarray(
        (flags & ~_FLAGS_KNOWN == 0)
        & (lower >= _HEADER_BYTES)
        & (lower <= upper)
        & (upper <= special)
        & (special <= page_bytes)
        & (special % 8 == 0)
        & (layout == page_bytes | _LAYOUT_VERSION)
    )


def _checksums(words: NDArray[np.uint32], first: int) -> NDArray[np.uint32]:
    count = len(words)
    rows = words.reshape(count, words.shape[1] // _LANES, _LANES).copy()
    rows[:, 0, 2] &= np.uint32(0xFFFF0000)  # The checksum itself counts as zero.
    sums = np.repeat(_BASES[None, :], count, axis=0)
    for number in range(rows.shape[1] + 2):
        mixed = sums ^ rows[:, number, :] if number < rows.shape[1] else sums
        sums = (mixed * _PRIME) ^ (mixed >> _SHIFT)
    blocks = (np.arange(first, first + count, dtype=np.uint64) & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    whole = np.bitwise_xor.reduce(sums, axis=1) ^ blocks
    return np.asarray(whole % np.uint32(65535) + np.uint32(1))
