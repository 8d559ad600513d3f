"""Prepared disks: real file systems with known files, for machines that have no mkfs of their own.

`lay("xfs", embedded.volumes.image_path(data_directory, volume_id))` puts one into the image of a volume.
"""

import json
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedded.volumes.blockstore import write_sparse

_HERE = Path(__file__).parent
MANIFEST_PATH = _HERE / "manifest.json"


@dataclass(frozen=True)
class FileSystem:
    """One file system of a disk and the SHA-256 of every file in it, by path from its root."""

    kind: str
    offset_bytes: int
    length_bytes: int
    files: Mapping[str, str]


@dataclass(frozen=True)
class Disk:
    """A prepared disk, and what the tools that made it put there."""

    name: str
    size_bytes: int
    sha256: str
    file_systems: tuple[FileSystem, ...]


def archive_path(name: str) -> Path:
    """Where a disk is kept: a tar with one sparse member, compressed by xz."""
    return _HERE / "images" / f"{name}.tar.xz"


def _read_manifest() -> dict[str, Disk]:
    written = json.loads(MANIFEST_PATH.read_text())
    return {
        name: Disk(name, disk["size_bytes"], disk["sha256"], tuple(FileSystem(**one) for one in disk["file_systems"]))
        for name, disk in written.items()
    }


DISKS: Mapping[str, Disk] = _read_manifest() if MANIFEST_PATH.exists() else {}
NAMES: tuple[str, ...] = tuple(DISKS)


def lay(name: str, image_path: Path) -> Disk:
    """The image begins with the prepared disk and is empty behind it; its size and its holes stay what they were."""
    if name not in DISKS:
        raise ValueError(f"There is no prepared disk {name!r}; there are {', '.join(NAMES)}.")
    disk = DISKS[name]
    size_bytes = image_path.stat().st_size
    if size_bytes < disk.size_bytes:
        raise ValueError(
            f"{image_path} has {size_bytes} bytes; the disk {name!r} needs {disk.size_bytes}: make the volume larger."
        )
    descriptor = os.open(image_path, os.O_RDWR)
    try:
        # Down and up again: what the volume held before must not shine through the holes of the disk.
        os.ftruncate(descriptor, 0)
        os.ftruncate(descriptor, size_bytes)
        _write(archive_path(name), descriptor)
    finally:
        os.close(descriptor)
    return disk


def _write(archive: Path, descriptor: int) -> None:
    with tarfile.open(archive, "r:xz") as tar:
        member = tar.next()
        content = tar.extractfile(member) if member else None
        if member is None or content is None or member.sparse is None:
            raise ValueError(f"{archive} holds no sparse disk; make it again with python -m embedded.disks.make_disks")
        extents: Any = member.sparse  # typeshed takes it for the bytes of a header
        for offset, length in extents:
            content.seek(offset)
            write_sparse(descriptor, offset, content.read(length))
