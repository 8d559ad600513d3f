"""Which superblock an XFS is opened by: the primary, or a copy of it where the primary is damaged or gone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from functions.inspection.devices import Device, OutOfRange
from functions.inspection.findings import Findings
from functions.inspection.signatures import is_known_content
from functions.inspection.xfs.metadata import sealed_rightly
from functions.inspection.xfs.superblock import (
    CHECKSUM_AT,
    MAGIC,
    NO_INODE,
    Superblock,
    geometry_fault,
    parse_superblock,
)

_SMALLEST_SECTOR_BYTES, _LARGEST_SECTOR_BYTES = 512, 32768
_USUAL_GROUP_COUNTS = (4, 2, 8, 16, 32)
_USUAL_BLOCK_BYTES = 4096
_BOOT_SIGNATURE = b"\x55\xaa"
_LARGEST_GROUP_BYTES = (1 << 40) - _USUAL_BLOCK_BYTES


@dataclass(frozen=True, slots=True)
class Head:
    """The superblock to go by. `raw` is its sector; `superblock` is None when none could be found, though there was
    an XFS."""

    superblock: Superblock | None
    raw: bytes


def find_head(device: Device, findings: Findings) -> Head | None:
    """The superblock to open by; None when there is no XFS. What is wrong with the primary is in the findings.

    Errors: BudgetSpent.
    """
    primary = _sector_at(device, 0)
    if primary is None:
        return None
    fault = _fault_of(primary)
    if fault is None:
        findings.read("superblock", 0, len(primary))
        return Head(parse_superblock(primary), primary)
    is_ours = primary[:4] == MAGIC
    if not is_ours and (primary[510:512] == _BOOT_SIGNATURE or is_known_content(device)):
        # Copies outlive the file system: what was made anew over an old XFS still has them.
        return None
    backup = _find_backup(device, primary)
    if backup is None and not is_ours:
        return None
    findings.damage(f"xfs.superblock.{fault[0]}", fault[1], at=0)
    if backup is None:
        # A geometry that makes sense is gone by even where the checksum is wrong: there is nothing better.
        usable = geometry_fault(primary) is None
        return Head(parse_superblock(primary) if usable else None, primary)
    # mkfs finishes only the primary: the copies say for ever that it is still at work.
    found = dataclasses.replace(parse_superblock(backup), unfinished=False)
    if found.root_inode == NO_INODE:
        found = dataclasses.replace(found, root_inode=_root_inode(device, found, primary))
    return Head(found, backup)


def cut_to_device(device: Device, superblock: Superblock, findings: Findings) -> Superblock:
    """The same superblock, with no more groups than begin on the device; damage when the device is too short."""
    promised = superblock.blocks * superblock.block_bytes
    if promised <= device.size_bytes:
        return superblock
    findings.damage("xfs.truncated", f"it needs {promised:,} bytes and the device has {device.size_bytes:,}")
    groups = max(1, -(-device.size_bytes // superblock.group_bytes))
    return dataclasses.replace(superblock, group_count=min(groups, superblock.group_count))


def report_features(superblock: Superblock, findings: Findings) -> bool:
    """The findings say what about this file system needs saying. Whether everything about it is known to us."""
    if not superblock.has_checksums:
        findings.note("xfs.no-checksums", "version 4 has no checksums: only its structure can be verified")
    if superblock.needs_repair:
        findings.damage("xfs.superblock.needs-repair", "xfs_repair must run before it can be mounted", at=0)
    if superblock.unfinished:
        findings.damage("xfs.superblock.unfinished", "mkfs.xfs or xfs_growfs has not finished its work", at=0)
    if superblock.realtime_blocks:
        findings.unknown("xfs.realtime", "it has a realtime device, which is not in this snapshot")
    features = list(superblock.unknown_features())
    for feature in features:
        findings.unknown("xfs.feature", feature)
    return not features


def _sector_at(device: Device, offset: int) -> bytes | None:
    """The sector that a superblock there would fill; None when it lies outside of the device."""
    try:
        head = device.read(offset, _SMALLEST_SECTOR_BYTES)
        size = parse_superblock(head).sector_bytes
        if head[:4] == MAGIC and _SMALLEST_SECTOR_BYTES < size <= _LARGEST_SECTOR_BYTES and not size & (size - 1):
            return device.read(offset, size)
    except OutOfRange:
        return None
    return head


def _fault_of(raw: bytes) -> tuple[str, str] | None:
    """The code and the sentence for what is wrong with a superblock, or None."""
    if raw[:4] != MAGIC:
        return "magic", "only copies of the superblock say that this is an XFS"
    if parse_superblock(raw).has_checksums and not sealed_rightly(raw, CHECKSUM_AT):
        return "checksum", "the checksum of the superblock is not the one of its content"
    fault = geometry_fault(raw)
    return ("geometry", fault) if fault else None


def _find_backup(device: Device, primary: bytes) -> bytes | None:
    for offset in dict.fromkeys(_backup_offsets(device, primary)):
        raw = _sector_at(device, offset) if offset else None
        if raw is None or _fault_of(raw):
            continue
        found = parse_superblock(raw)
        if offset % found.group_bytes == 0 and offset // found.group_bytes < found.group_count:
            return raw
    return None


def _backup_offsets(device: Device, primary: bytes) -> Iterator[int]:
    """Where the copy of the first group could be: as the primary says, then by the usual numbers of groups."""
    if primary[:4] == MAGIC:
        yield parse_superblock(primary).group_bytes
    blocks = device.size_bytes // _USUAL_BLOCK_BYTES
    for count in _USUAL_GROUP_COUNTS:
        yield -(-blocks // count) * _USUAL_BLOCK_BYTES
    yield _LARGEST_GROUP_BYTES


def _root_inode(device: Device, found: Superblock, primary: bytes) -> int:
    """mkfs writes the number of the root inode only into some of the copies: the middle one and the last."""
    for group in (found.group_count - 1, found.group_count // 2):
        raw = _sector_at(device, found.offset_in_group(group, 0))
        if raw is not None and _fault_of(raw) is None and parse_superblock(raw).root_inode != NO_INODE:
            return parse_superblock(raw).root_inode
    return parse_superblock(primary).root_inode
