"""The hash by which XFS finds names of files and attributes."""

from __future__ import annotations

_WORD = 0xFFFF_FFFF


def hash_name(name: bytes) -> int:
    """The kernel's hash of a name: each byte turns it left by seven bits and is mixed in."""
    found = 0
    for byte in name:
        found = byte ^ (found << 7 & _WORD | found >> 25)
    return found


def hash_name_without_case(name: bytes) -> int:
    """The hash of a file system that takes ASCII capitals for small letters."""
    return hash_name(bytes(byte + 32 if 65 <= byte <= 90 else byte for byte in name))
