"""The boot sector of NTFS and its copy behind the last cluster: where everything else begins."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from functions.inspection.devices import Device
from functions.inspection.file_systems import Damaged
from functions.inspection.findings import Findings
from functions.inspection.signatures import is_known_content

BOOT_BYTES = 512
_MAGIC = b"NTFS    "
_SEARCHED_AT_THE_END = 64 * 1024
_HIDDEN_SECTORS = slice(0x1C, 0x20)
"""Where the partition begins: tools that move a partition change it in one copy only, and nothing depends on it."""
_LARGEST_CLUSTER = 2 * 1024 * 1024
_FEWEST_CHANGED_ON_PURPOSE = 3


@dataclass(frozen=True, slots=True)
class Geometry:
    """What the boot sector says. `sectors` counts the volume without the sector of the boot sector's copy."""

    sector_bytes: int
    cluster_bytes: int
    sectors: int
    table_cluster: int
    mirror_cluster: int
    record_bytes: int
    index_bytes: int

    @property
    def clusters(self) -> int:
        """How many whole clusters the volume has."""
        return self.sectors * self.sector_bytes // self.cluster_bytes

    @property
    def position_bytes(self) -> int:
        """What the number of an index block counts: clusters, or 512 bytes where a cluster is larger than a block."""
        return self.cluster_bytes if self.cluster_bytes <= self.index_bytes else 512

    @property
    def copy_at(self) -> int:
        """Where the copy of the boot sector stands."""
        return self.sectors * self.sector_bytes


def find_geometry(device: Device, findings: Findings) -> Geometry | None:
    """The geometry from the boot sector, or from its copy; None when this is no NTFS.

    Errors: Damaged when it is NTFS by its name and neither copy can be followed; BudgetSpent.
    """
    if device.size_bytes < 16 * BOOT_BYTES:
        return None
    first = device.read(0, BOOT_BYTES)
    geometry = _parsed(first)
    if isinstance(geometry, Geometry):
        _judge_copy(device, findings, first, geometry)
        return _leading_to_table(device, geometry)
    is_named = first[3:11] == _MAGIC
    from_copy = _find_copy(device)
    if from_copy is None or not (is_named or _is_believable(device, from_copy)):
        if is_named:
            findings.damage("ntfs.boot.geometry", geometry, at=0)
            raise Damaged("neither boot sector can be followed")
        return None
    _record_areas(findings, from_copy)
    findings.damage("ntfs.boot.lost", f"the first sector is no boot sector ({geometry}), its copy is one", at=0)
    return from_copy


def _parsed(sector: bytes) -> Geometry | str:
    """The geometry, or why there is none."""
    if sector[3:11] != _MAGIC:
        return "no NTFS in its name"
    if sector[510:] != b"\x55\xaa":
        return "no signature at its end"
    sector_bytes, per_cluster = struct.unpack_from("<HB", sector, 11)
    sectors, table, mirror = struct.unpack_from("<QQQ", sector, 0x28)
    if sector_bytes not in (512, 1024, 2048, 4096):
        return f"sectors of {sector_bytes:,} bytes"
    # A count above 128 is a power of two, as is the size of records below: a negative number in one byte.
    cluster_bytes = sector_bytes * (per_cluster if per_cluster <= 128 else 1 << (256 - per_cluster) % 64)
    if cluster_bytes & (cluster_bytes - 1) or not sector_bytes <= cluster_bytes <= _LARGEST_CLUSTER:
        return f"clusters of {cluster_bytes:,} bytes"
    record_bytes, index_bytes = (_record_bytes(sector[at], cluster_bytes) for at in (0x40, 0x44))
    if record_bytes not in (1024, 2048, 4096) or index_bytes not in (1024, 2048, 4096, 8192, 16384, 32768, 65536):
        return f"records of {record_bytes:,} and index blocks of {index_bytes:,} bytes"
    geometry = Geometry(sector_bytes, cluster_bytes, sectors, table, mirror, record_bytes, index_bytes)
    if not 0 < table < geometry.clusters or not 0 < mirror < geometry.clusters or sectors >= 1 << 60:
        return f"{sectors:,} sectors, tables at clusters {table:,} and {mirror:,}"
    return geometry


def _record_bytes(count: int, cluster_bytes: int) -> int:
    return cluster_bytes * count if count < 128 else 1 << (256 - count) % 64


def _judge_copy(device: Device, findings: Findings, first: bytes, geometry: Geometry) -> None:
    at = geometry.copy_at
    if at + BOOT_BYTES > device.size_bytes:
        _record_area(findings, "boot", 0)
        findings.damage(
            "ntfs.truncated", f"the file system needs {at + BOOT_BYTES:,} bytes, the device has {device.size_bytes:,}"
        )
        return
    _record_areas(findings, geometry)
    copy = device.read(at, BOOT_BYTES)
    if _parsed(copy) != geometry:
        findings.damage("ntfs.boot.copy", "the copy of the boot sector does not say the same", at=at)
        return
    differing = _differing_bits(first, copy)
    if 0 < differing < _FEWEST_CHANGED_ON_PURPOSE:
        findings.damage("ntfs.boot.copy", f"{differing} bits of the boot sector differ from its copy", at=at)
    elif differing:
        # Repairing the boot code, or a new serial number, changes many bits, and in the first copy only.
        findings.note("ntfs.boot.code", "the boot code is not that of the copy; the geometry is")


def _differing_bits(first: bytes, copy: bytes) -> int:
    one, other = bytearray(first), bytearray(copy)
    one[_HIDDEN_SECTORS] = other[_HIDDEN_SECTORS] = bytes(4)
    return (int.from_bytes(one, "little") ^ int.from_bytes(other, "little")).bit_count()


def _record_areas(findings: Findings, geometry: Geometry) -> None:
    _record_area(findings, "boot", 0)
    _record_area(findings, "backup-boot", geometry.copy_at)


def _record_area(findings: Findings, name: str, at: int) -> None:
    findings.read(name, at, _HIDDEN_SECTORS.start)
    findings.read(name, at + _HIDDEN_SECTORS.stop, BOOT_BYTES - _HIDDEN_SECTORS.stop)


def _find_copy(device: Device) -> Geometry | None:
    """A copy near the end of the device that says of itself that it belongs exactly there."""
    length = min(_SEARCHED_AT_THE_END, device.size_bytes // BOOT_BYTES * BOOT_BYTES)
    start = device.size_bytes // BOOT_BYTES * BOOT_BYTES - length
    tail = device.read(start, length)
    for at in range(length - BOOT_BYTES, -1, -BOOT_BYTES):
        geometry = _parsed(tail[at : at + BOOT_BYTES])
        if isinstance(geometry, Geometry) and geometry.copy_at == start + at:
            return geometry
    return None


def _leading_to_table(device: Device, geometry: Geometry) -> Geometry:
    """This geometry, or the copy's when only that one leads to a table: a damaged number can look like a sound one."""
    if _has_table(device, geometry):
        return geometry
    other = _find_copy(device)
    return other if other is not None and _has_table(device, other) else geometry


def _has_table(device: Device, geometry: Geometry) -> bool:
    at = geometry.table_cluster * geometry.cluster_bytes
    return at + 4 <= device.size_bytes and device.read(at, 4) == b"FILE"


def _is_believable(device: Device, geometry: Geometry) -> bool:
    """Whether a lone copy may speak for the device: a disk formatted anew often keeps the copy of what was there."""
    return _has_table(device, geometry) and not is_known_content(device)
