"""The names that files bear, and the names that directories list: the two must be the same."""

from __future__ import annotations

import hashlib
import struct
from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from functions.inspection.ntfs.index import DOS_NAMESPACE


class Names:
    """Names of files as 8-byte digests: what a record says and what a directory says are compared by these.

    A digest stands for directory, file, namespace and characters. Two that fall together by accident among a million
    names hide one fault in some thirty million volumes.
    """

    def __init__(self) -> None:
        self._digests, self._where = array("Q"), array("Q")

    def __len__(self) -> int:
        return len(self._digests)

    def add(self, parent: int, child: int, namespace: int, characters: bytes, *, where: int) -> None:
        """One name; `where` is the record to name when it is alone."""
        head = struct.pack("<QQB", parent, child, namespace)
        digest = hashlib.blake2b(head + characters, digest_size=8).digest()
        self._digests.append(int.from_bytes(digest, "little"))
        self._where.append(where << 1 | (namespace == DOS_NAMESPACE))

    def only_here(self, others: Names) -> Iterator[int]:
        """Where the names stand that the others do not have."""
        alone = ~np.isin(np.array(self._digests, np.uint64), np.array(others._digests, np.uint64))
        for where in np.array(self._where, np.uint64)[alone].tolist():
            yield where >> 1

    def counts(self, records: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """How many names each record has, and how many of them are short names kept for DOS."""
        where = np.array(self._where, np.uint64)
        numbers = (where >> np.uint64(1)).astype(np.int64)
        inside = numbers < records
        is_dos = (where & np.uint64(1)).astype(np.bool_)
        return (
            np.bincount(numbers[inside], minlength=records),
            np.bincount(numbers[inside & is_dos], minlength=records),
        )
