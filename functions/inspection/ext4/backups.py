"""The copies of superblock and descriptors: found when the first is lost, and compared with it when it is not."""

from __future__ import annotations

from collections.abc import Iterator

from functions.inspection.devices import Device, OutOfRange
from functions.inspection.ext4.blocks import RecoveredBlocks
from functions.inspection.ext4.groups import (
    Groups,
    backup_descriptor_blocks,
    descriptor_holds,
    descriptors_per_block,
)
from functions.inspection.ext4.inodes import InodeTable, Kind
from functions.inspection.ext4.superblock import (
    ROOT_INODE,
    SUPERBLOCK_BYTES,
    SUPERBLOCK_OFFSET,
    Superblock,
    checksum_holds,
    has_magic,
    read_superblock,
)
from functions.inspection.file_systems import Damaged
from functions.inspection.findings import Findings

_USUAL_BACKUPS = tuple((size, group * 8 * size * size) for group in (1, 3) for size in (4096, 1024, 2048))
"""Block size, and where groups of the usual size keep a copy: at 32,768 blocks of 4 KiB, and so on."""

_OTHER_MAGICS = (
    (0, b"XFSB"),
    (0, b"LUKS"),
    (3, b"NTFS    "),
    (510, b"\x55\xaa"),
    (512, b"LABELONE"),
    (512, b"EFI PART"),
    (4086, b"SWAPSPACE2"),
    (4096, b"\xfc\x4e\x2b\xa9"),  # Linux software RAID
    (4096 + 24, b"\xc6\x85\x73\xf6"),  # bcache
    (0x10040, b"_BHRfS_M"),
)


def choose_superblock(device: Device, findings: Findings) -> Superblock | None:
    """The superblock to go on from: the first if it can be believed, else a copy; None when this is no ext file system.

    A lost or damaged first one is put into the findings. Errors: Damaged when there is no copy either; BudgetSpent.
    """
    if device.size_bytes < SUPERBLOCK_OFFSET + SUPERBLOCK_BYTES:
        return None
    raw = device.read(SUPERBLOCK_OFFSET, SUPERBLOCK_BYTES)
    if not has_magic(raw):
        copy = None if _is_something_else(device) else _believable_copy(device, raw)
        if copy is not None:
            findings.damage(
                "ext4.superblock.magic", f"lost; group {copy.group_number} has a copy", at=SUPERBLOCK_OFFSET
            )
        return copy
    try:
        superblock = read_superblock(raw)
    except Damaged as error:
        findings.damage("ext4.superblock.geometry", str(error), at=SUPERBLOCK_OFFSET)
        superblock = None
    if superblock is not None and superblock.has_metadata_checksums:
        findings.read("superblock", SUPERBLOCK_OFFSET, SUPERBLOCK_BYTES)
    if superblock is not None and checksum_holds(raw):
        return superblock
    if superblock is not None:
        findings.damage("ext4.superblock.checksum", "the first superblock", at=SUPERBLOCK_OFFSET)
    chosen = next(_copies(device), superblock)
    if chosen is None:
        raise Damaged("no copy of the superblock can be read either")
    return chosen


def _copies(device: Device) -> Iterator[Superblock]:
    for block_bytes, offset in _USUAL_BACKUPS:
        # Blocks of 1 KiB are counted from the second on, because the first belongs to whoever boots.
        offset += 1024 if block_bytes == 1024 else 0
        if offset + SUPERBLOCK_BYTES > device.size_bytes:
            continue
        raw = device.read(offset, SUPERBLOCK_BYTES)
        if not has_magic(raw) or not checksum_holds(raw):
            continue
        try:
            copy = read_superblock(raw)
        except Damaged:
            continue
        at = copy.first_block_of(copy.group_number) * copy.block_bytes
        if copy.group_number and at == offset and copy.block_count * copy.block_bytes <= device.size_bytes:
            yield copy


def _believable_copy(device: Device, lost: bytes) -> Superblock | None:
    """A copy that belongs to what is on the device now, and is no remainder of what was there before.

    Either the damaged superblock still carries its identifier, or the first descriptors are those of the copy, or
    the begin of the device reads as zeros, as a lost block does, or the root directory is there.
    """
    for copy in _copies(device):
        block = copy.first_superblock_block + 1
        beside = device.read(block * copy.block_bytes, copy.descriptor_bytes)
        own = (copy.first_block_of(copy.group_number) + 1) * copy.block_bytes
        is_same = any(beside) and beside[:12] == device.read(own, 12) and descriptor_holds(copy, 0, beside)
        is_lost = not any(lost) and not any(beside)
        if lost[0x68:0x78] == copy.uuid or is_same or is_lost or _has_its_root(device, copy):
            return copy
    return None


def _has_its_root(device: Device, copy: Superblock) -> bool:
    """Whether the root directory stands where the descriptors beside a copy say, with the right checksum."""
    blocks = RecoveredBlocks(device, copy.block_bytes, copy.block_count)
    place = (copy.first_block_of(copy.group_number) + 1) * copy.block_bytes
    descriptor = device.read(place, copy.descriptor_bytes)
    if not copy.has_metadata_checksums or not descriptor_holds(copy, 0, descriptor):
        return False
    table = InodeTable(copy, Groups(copy, descriptor), blocks)
    try:
        return table.read(ROOT_INODE).kind == Kind.DIRECTORY
    except Damaged:
        return False


def _is_something_else(device: Device) -> bool:
    for offset, magic in _OTHER_MAGICS:
        if offset + len(magic) <= device.size_bytes and device.read(offset, len(magic)) == magic:
            return True
    return False


def judge_backups(superblock: Superblock, blocks: RecoveredBlocks, findings: Findings) -> None:
    """Every copy of the superblock and of the descriptors was compared. Errors: BudgetSpent."""
    groups = [group for group in range(1, superblock.group_count) if superblock.has_superblock(group)]
    blocks.expect((superblock.first_block_of(group), 2) for group in groups)
    for group in groups:
        _judge_superblock(superblock, group, blocks, findings)
    for index, block in backup_descriptor_blocks(superblock):
        _judge_descriptors(superblock, index, block, blocks, findings)


def _judge_superblock(superblock: Superblock, group: int, blocks: RecoveredBlocks, findings: Findings) -> None:
    block = superblock.first_block_of(group)
    at = block * superblock.block_bytes
    where = f"in group {group}"
    try:
        raw = blocks.read(block)[:SUPERBLOCK_BYTES]
        copy = read_superblock(raw)
    except (Damaged, OutOfRange) as error:
        findings.damage("ext4.backup-superblock.unreadable", f"{where}: {error}", at=at)
        copy = None
    if superblock.has_metadata_checksums:
        blocks.record(findings, "backup-superblock", at, SUPERBLOCK_BYTES)
    if copy is None:
        return
    if not checksum_holds(copy.raw):
        findings.damage("ext4.backup-superblock.checksum", where, at=at)
    elif copy.geometry != superblock.geometry or copy.uuid != superblock.uuid:
        findings.damage("ext4.backup-superblock.differs", where, at=at)
    elif copy.lasting_features != superblock.lasting_features:
        # Copies are brought up to date by the tools, not by the kernel, so old features are no damage.
        findings.note("ext4.backup-superblock.features", where, at=at)


def _judge_descriptors(
    superblock: Superblock, index: int, block: int, blocks: RecoveredBlocks, findings: Findings
) -> None:
    size, first = superblock.descriptor_bytes, index * descriptors_per_block(superblock)
    count = min(descriptors_per_block(superblock), superblock.group_count - first)
    at = block * superblock.block_bytes
    try:
        raw = blocks.read(block)
    except OutOfRange as error:
        findings.damage("ext4.backup-descriptor.out-of-range", str(error))
        return
    if not superblock.has_uninitialised_groups:
        return
    blocks.record(findings, "backup-descriptors", at, count * size)
    for place in range(count):
        if not descriptor_holds(superblock, first + place, raw[place * size : (place + 1) * size]):
            findings.damage("ext4.backup-descriptor.checksum", f"group {first + place}", at=at + place * size)
