"""What a device holds that we know by its first bytes and do not read."""

from __future__ import annotations

import struct

from functions.inspection.devices import Device, OutOfRange

_MIB = 1024 * 1024

_AT_FIXED_PLACES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"LUKS\xba\xbe", "LUKS encryption"),
    (0x4000, b"SKUL\xba\xbe", "LUKS encryption"),  # the second header of LUKS 2, where the first is gone
    (3, b"-FVE-FS-", "BitLocker"),
    (3, b"EXFAT   ", "exFAT"),
    (3, b"ReFS\0\0\0\0", "ReFS"),
    (54, b"FAT1", "FAT"),
    (82, b"FAT32", "FAT"),
    (0, b"\xfc\x4e\x2b\xa9", "Linux RAID"),
    (4096, b"\xfc\x4e\x2b\xa9", "Linux RAID"),
    (4096 + 24, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81"), "bcache"),
    (0, b"bluestore block device", "Ceph BlueStore"),
    (32, b"ORCLDISK", "Oracle ASM"),
    (32, b"NXSB", "APFS"),
    (1024, b"H+\0\4", "HFS+"),
    (1024, b"\x10\x20\xf5\xf2", "F2FS"),
    (0, b"hsqs", "squashfs"),
    (32768, b"JFS1", "JFS"),
    (32769, b"CD001", "ISO 9660"),
    (65536 + 52, b"ReIsEr", "ReiserFS"),
)
_READ_BY_US = (
    (3, b"NTFS    "),
    (0, b"XFSB"),
    (1080, b"\x53\xef"),  # ext2, ext3, ext4
    (65536 + 64, b"_BHRfS_M"),  # btrfs
    (0, b"LABELONE"),
    (512, b"LABELONE"),
)
_BITLOCKER_TO_GO = bytes.fromhex("3bd67849292ed84a8399f6a339e3d001")
_SWAP_PAGES = (4096, 8192, 16384, 65536)
_SWAP_MAGICS = (b"SWAPSPACE2", b"SWAP-SPACE", b"S1SUSPEND\0", b"S2SUSPEND\0")
_RAID_MAGIC = 0xA92B4EFC
_ZFS_LABEL_BYTES = 256 * 1024
_ZFS_MAGIC = 0x00BAB10C


def recognised(device: Device) -> str | None:
    """A plain word for a content that we know and do not read, or None. Reads at most the first 512 KiB and the end.

    Errors: BudgetSpent.
    """
    for at, magic, word in _AT_FIXED_PLACES:
        if _bytes(device, at, len(magic)) == magic and (word != "FAT" or _bytes(device, 510, 2) == b"\x55\xaa"):
            return word
    if _bytes(device, 0x1A8, 16) == _BITLOCKER_TO_GO:
        return "BitLocker"
    if any(_bytes(device, page - 10, 10) in _SWAP_MAGICS for page in _SWAP_PAGES):
        return "Linux swap"
    if _has_zfs_label(device):
        return "ZFS"
    return "Linux RAID" if _has_raid_at_the_end(device) else None


def is_known_content(device: Device) -> bool:
    """Whether the device itself holds a file system or the like, read by us or not: then an old copy of a partition
    table or of another file system, left over at its end, says nothing about it.

    Errors: BudgetSpent.
    """
    return any(_bytes(device, at, len(magic)) == magic for at, magic in _READ_BY_US) or recognised(device) is not None


def is_blank(device: Device) -> bool:
    """Whether the first and the last MiB hold nothing but zeros. Errors: BudgetSpent."""
    length = min(_MIB, device.size_bytes)
    last = device.size_bytes - length
    device.expect([(0, length), (last, length)])
    return not any(device.read(0, length)) and not any(device.read(last, length))


def _has_zfs_label(device: Device) -> bool:
    # Each label ends with a ring of uberblocks, in slots of 1 KiB or more: any one that was ever written names it.
    ring = _bytes(device, _ZFS_LABEL_BYTES // 2, _ZFS_LABEL_BYTES // 2)
    if len(ring) < _ZFS_LABEL_BYTES // 2:
        return False
    firsts = (ring[at : at + 8] for at in range(0, len(ring), 1024))
    return any(_ZFS_MAGIC in (int.from_bytes(first, "little"), int.from_bytes(first, "big")) for first in firsts)


def _has_raid_at_the_end(device: Device) -> bool:
    """Version 1.0 keeps its superblock 8 KiB before the end, 0.90 in the last whole 64 KiB but one."""
    version_1_0 = (device.size_bytes // 512 - 16) // 8 * 8 * 512
    version_0_90 = device.size_bytes // 65536 * 65536 - 65536
    for at in (version_1_0, version_0_90):
        magic = _bytes(device, at, 4)
        if len(magic) == 4 and _RAID_MAGIC in (*struct.unpack("<I", magic), *struct.unpack(">I", magic)):
            return True
    return False


def _bytes(device: Device, offset: int, length: int) -> bytes:
    """What stands there, or nothing where the device has no such place."""
    try:
        return device.read(offset, length)
    except OutOfRange:
        return b""
