"""Fast commits: the short records that ext4 may write behind its log. They are found, not replayed."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from functions.inspection.checksums import crc32c_of_kernel

_RECORD_HEAD = struct.Struct("<HH")
_PAD, _TAIL, _HEAD = 7, 8, 9
_MOST_EMPTY_BLOCKS = 2


def holds_fast_commits(blocks: Iterator[bytes], sequence: int) -> bool:
    """Whether a fast commit for the transaction `sequence` is complete, so that a mount would replay it.

    A head with that number begins one, and a tail with the right checksum ends it; what follows an incomplete one
    is never replayed. The first block of the area may be skipped by the kernel that wrote it.
    """
    checksum = 0
    is_begun = False
    without_head = 0
    for block in blocks:
        for kind, begin, end in _records(block):
            content = block[begin:end]
            if kind == _HEAD:
                if len(content) < 12 or int(struct.unpack_from("<I", content, 8)[0]) != sequence:
                    return False
                is_begun = True
            if not is_begun:
                break
            if kind == _TAIL and len(content) >= 12:
                number, expected = struct.unpack_from("<II", content, 4)
                covered = crc32c_of_kernel(checksum, content[:8])
                return number == sequence and covered == expected
            checksum = crc32c_of_kernel(checksum, content)
        if not is_begun:
            without_head += 1
            if without_head > _MOST_EMPTY_BLOCKS:
                return False
    return False


def _records(block: bytes) -> Iterator[tuple[int, int, int]]:
    """Each record as (kind, begin with its head, end); damaged lengths end a block."""
    offset = 0
    while offset + _RECORD_HEAD.size <= len(block):
        kind, length = _RECORD_HEAD.unpack_from(block, offset)
        end = offset + _RECORD_HEAD.size + length
        if end > len(block):
            return
        yield kind, offset, end
        offset = end
