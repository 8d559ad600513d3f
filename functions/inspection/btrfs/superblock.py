"""The btrfs superblock and its mirrors: which one to believe, and whether they agree."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from functions.inspection.btrfs.format import (
    CHECKSUM_FIELD_BYTES,
    CHECKSUMS,
    CHUNK_TREE,
    DEEPEST_LEVEL,
    INCOMPATIBLE_UNKNOWN_NAMES,
    KNOWN_INCOMPATIBLE_BITS,
    LOG_TREE,
    METADATA_UUID_BIT,
    ROOT_TREE,
    Checksum,
    Pointer,
)
from functions.inspection.devices import Device
from functions.inspection.findings import Findings

MAGIC = b"_BHRfS_M"
SUPERBLOCK_BYTES = 4096
PRIMARY_OFFSET = 64 * 1024
MIRROR_OFFSETS = (64 * 1024 * 1024, 256 * 1024 * 1024 * 1024)

_MAGICS_OF_OTHERS = (
    (0, b"XFSB"),
    (3, b"NTFS    "),
    (0x36, b"FAT"),
    (0x52, b"FAT32"),
    (512, b"EFI PART"),
    (512, b"LABELONE"),
    (0x438, b"\x53\xef"),
)
"""xfs, NTFS, FAT, a partition table, LVM, ext4. mkfs.btrfs clears the space in which they stand. The mark of a boot
sector is no sign of another: boot loaders write it before a btrfs too."""

_CHUNK_ARRAY_OFFSET, _CHUNK_ARRAY_BYTES = 0x32B, 2048
_DEVICE_ITEM_OFFSET = 0xC9

# What may differ between copies of one generation: each carries its own checksum and address, and a sync of single
# files writes the log root, its level and the "written" flag into the first copy only.
_FREE_TO_DIFFER = ((0, 0x20), (0x30, 0x40), (0x60, 0x70), (0xC8, 0xC9))


@dataclass(frozen=True, slots=True)
class Superblock:
    """What the file system says of itself. `offset` is where this copy lies; sizes in bytes."""

    content: bytes = field(repr=False)
    offset: int
    generation: int
    device_bytes: int
    used_bytes: int
    device_count: int
    device_id: int
    device_uuid: bytes
    metadata_uuid: bytes
    sector_bytes: int
    node_bytes: int
    checksum: Checksum
    incompatible: int
    read_only_compatible: int
    root: Pointer
    chunk_root: Pointer
    log_root: Pointer | None
    system_chunks: bytes = field(repr=False)

    @property
    def is_understood(self) -> bool:
        """Whether it uses only features that we know."""
        return not self.unknown_features

    @property
    def unknown_features(self) -> list[str]:
        """The features that we cannot judge, by name as far as they have one for us."""
        bits = [bit for bit in range(64) if self.incompatible >> bit & 1 and bit not in KNOWN_INCOMPATIBLE_BITS]
        names = [f"incompatible feature {INCOMPATIBLE_UNKNOWN_NAMES.get(bit, f'bit {bit}')}" for bit in bits]
        if self.read_only_compatible >> 4:
            names.append(f"read-only compatible features {self.read_only_compatible:#x}")
        return names


def parse_superblock(content: bytes, offset: int) -> Superblock:
    """One copy, checked in itself.

    Errors: ValueError, in a few words, for everything that the kernel refuses.
    """
    if content[0x40:0x48] != MAGIC:
        raise ValueError("the magic is missing")
    checksum = CHECKSUMS.get(struct.unpack_from("<H", content, 0xC4)[0])
    if checksum is None:
        raise ValueError("the kind of checksum does not exist")
    if checksum.of and checksum.of(content[CHECKSUM_FIELD_BYTES:]) != content[: checksum.length]:
        raise ValueError("the checksum is wrong")
    (own_offset,) = struct.unpack_from("<Q", content, 0x30)
    if own_offset != offset:
        raise ValueError(f"it says that it lies at {own_offset:,}")
    return _parse_checked(content, offset, checksum)


def _parse_checked(content: bytes, offset: int, checksum: Checksum) -> Superblock:
    generation, root, chunk_root, log_root = struct.unpack_from("<QQQQ", content, 0x48)
    used_bytes, _, device_count, sector_bytes, node_bytes = struct.unpack_from("<QQQII", content, 0x78)
    chunk_array_bytes, chunk_generation = struct.unpack_from("<IQ", content, 0xA0)
    read_only_compatible, incompatible = struct.unpack_from("<QQ", content, 0xB4)
    root_level, chunk_level, log_level = content[0xC6:0xC9]
    device_id, device_bytes = struct.unpack_from("<QQ", content, _DEVICE_ITEM_OFFSET)
    _refuse_sizes(sector_bytes, node_bytes)
    if chunk_array_bytes > _CHUNK_ARRAY_BYTES:
        raise ValueError(f"a table of {chunk_array_bytes:,} bytes for the first chunks")
    if max(root_level, chunk_level, log_level) > DEEPEST_LEVEL:
        raise ValueError("a tree has too many levels")
    return Superblock(
        content=content,
        offset=offset,
        generation=generation,
        device_bytes=device_bytes,
        used_bytes=used_bytes,
        device_count=device_count,
        device_id=device_id,
        device_uuid=content[_DEVICE_ITEM_OFFSET + 66 : _DEVICE_ITEM_OFFSET + 82],
        metadata_uuid=content[0x23B:0x24B] if incompatible & METADATA_UUID_BIT else content[0x20:0x30],
        sector_bytes=sector_bytes,
        node_bytes=node_bytes,
        checksum=checksum,
        incompatible=incompatible,
        read_only_compatible=read_only_compatible,
        root=Pointer(root, root_level, generation, ROOT_TREE),
        chunk_root=Pointer(chunk_root, chunk_level, chunk_generation, CHUNK_TREE),
        log_root=Pointer(log_root, log_level, generation + 1, LOG_TREE) if log_root else None,
        system_chunks=content[_CHUNK_ARRAY_OFFSET : _CHUNK_ARRAY_OFFSET + chunk_array_bytes],
    )


def _refuse_sizes(sector_bytes: int, node_bytes: int) -> None:
    for size in (sector_bytes, node_bytes):
        if not 4096 <= size <= 65536 or size & (size - 1):
            raise ValueError(f"sectors of {sector_bytes:,} and nodes of {node_bytes:,} bytes")
    if node_bytes < sector_bytes:
        raise ValueError(f"nodes of {node_bytes:,} bytes in sectors of {sector_bytes:,}")


def is_btrfs(device: Device) -> bool:
    """Whether the magic stands at any of its three places. Errors: BudgetSpent.

    The mirrors of an older btrfs survive when the device is formatted anew: they count only where nothing else begins.
    """
    places = [offset for offset in (PRIMARY_OFFSET, *MIRROR_OFFSETS) if offset + SUPERBLOCK_BYTES <= device.size_bytes]
    if not places or _has_magic(device, PRIMARY_OFFSET):
        return bool(places)
    start = device.read(0, 4096)
    if any(start[offset : offset + len(magic)] == magic for offset, magic in _MAGICS_OF_OTHERS):
        return False
    return any(_has_magic(device, offset) for offset in places[1:])


def choose_superblock(device: Device, findings: Findings) -> Superblock | None:
    """The copy to believe, after every copy was judged; None when none can be used.

    That is the first copy, as the kernel takes it, unless it is unusable or more than one commit behind another.
    One commit apart is what a power cut between two writes leaves. Errors: BudgetSpent.
    """
    places = [offset for offset in MIRROR_OFFSETS if offset + SUPERBLOCK_BYTES <= device.size_bytes]
    device.expect((offset, SUPERBLOCK_BYTES) for offset in (PRIMARY_OFFSET, *places))
    primary = _judged(device, findings, PRIMARY_OFFSET)
    known = [primary] if primary else []
    # Without a usable first copy nothing says how long the file system is, so a mirror counts only if it is there.
    for offset in places:
        if primary and offset + SUPERBLOCK_BYTES >= primary.device_bytes:
            break
        mirror = _judged(device, findings, offset) if primary or _has_magic(device, offset) else None
        if mirror:
            known.append(mirror)
    newest = max(known, key=lambda copy: copy.generation, default=None)
    if newest is None:
        return None
    chosen = primary if primary and newest.generation - primary.generation <= 1 else newest
    _compare(known, chosen, findings)
    return chosen


def _has_magic(device: Device, offset: int) -> bool:
    return _content(device, offset)[0x40:0x48] == MAGIC


def _content(device: Device, offset: int) -> bytes:
    return device.read(offset, SUPERBLOCK_BYTES)


def _judged(device: Device, findings: Findings, offset: int) -> Superblock | None:
    which = "superblock" if offset == PRIMARY_OFFSET else "backup-superblock"
    if offset + SUPERBLOCK_BYTES > device.size_bytes:
        findings.damage(f"btrfs.{which}.missing", f"the device ends before {offset:,}", at=offset)
        return None
    content = _content(device, offset)
    kind = CHECKSUMS.get(struct.unpack_from("<H", content, 0xC4)[0])
    length = kind.length if kind else CHECKSUM_FIELD_BYTES
    findings.read(which, offset, length)
    findings.read(which, offset + CHECKSUM_FIELD_BYTES, SUPERBLOCK_BYTES - CHECKSUM_FIELD_BYTES)
    try:
        return parse_superblock(content, offset)
    except ValueError as refused:
        findings.damage(f"btrfs.{which}.invalid", str(refused), at=offset)
        return None


def _compare(known: list[Superblock], chosen: Superblock, findings: Findings) -> None:
    for copy in known:
        if copy is chosen:
            continue
        apart = abs(copy.generation - chosen.generation)
        if apart == 1:
            findings.note("btrfs.backup-superblock.behind", "one commit apart, as after a power cut", at=copy.offset)
        elif apart or _fixed(copy.content) != _fixed(chosen.content):
            detail = f"generation {copy.generation:,}, and {chosen.generation:,} at {chosen.offset:,}"
            findings.damage("btrfs.backup-superblock.disagrees", detail, at=copy.offset)


def _fixed(content: bytes) -> bytes:
    kept = bytearray(content)
    for start, end in _FREE_TO_DIFFER:
        kept[start:end] = bytes(end - start)
    return bytes(kept)


def report_features(superblock: Superblock, findings: Findings) -> None:
    """Unknown findings for what we cannot judge: features, checksums, further devices."""
    for name in superblock.unknown_features:
        findings.unknown("btrfs.feature.unknown", name, at=superblock.offset)
    if superblock.checksum.of is None:
        detail = f"checksums of kind {superblock.checksum.name} are not computed"
        findings.unknown("btrfs.checksum.kind", detail, at=superblock.offset)
    if superblock.device_count > 1:
        detail = f"{superblock.device_count - 1} of {superblock.device_count} devices are not here"
        findings.unknown("btrfs.devices.missing", detail, at=superblock.offset)
