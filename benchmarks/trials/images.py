"""Disk images as volumes have them: a GPT with one partition, made by the real tools, filled through a mount."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.trials.contents import write_canaries, write_files
from benchmarks.trials.machine import loop_device, mounted, run
from functions.core.expected_files import Expected

MIB = 1 << 20
SECTOR_BYTES = 512
PARTITION_AT = 2 * MIB
AFTER_PARTITION_BYTES = MIB

KINDS = ("ext4", "xfs", "btrfs", "ntfs")

MAKERS: dict[str, tuple[str, ...]] = {
    "ext4": ("mkfs.ext4", "-q", "-F"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
    "ntfs": ("mkntfs", "-Q", "-q", "-F"),
}

SMALL: dict[str, tuple[str, ...]] = {
    # Left alone, mke2fs takes blocks of 1 KiB for a disk this small; a volume in use has 4 KiB.
    "ext4": ("-b", "4096"),
}
"""What makes the file system of a small image like that of a large one."""

SIZES_BYTES = {"ext4": 384 * MIB, "xfs": 384 * MIB, "btrfs": 320 * MIB, "ntfs": 192 * MIB}


@dataclass(frozen=True, slots=True)
class Image:
    """An image file with one partition. `expected` is what a policy would say of its files."""

    kind: str
    path: Path
    size_bytes: int
    expected: tuple[Expected, ...] = ()

    @property
    def partition_bytes(self) -> int:
        """How long the partition is; it begins at PARTITION_AT."""
        return self.size_bytes - PARTITION_AT - AFTER_PARTITION_BYTES


def make_image(image: Image, fill: Callable[[Path], tuple[Expected, ...]], options: Sequence[str | Path] = ()) -> Image:
    """The image with its file system made with these options, and with what `fill` puts on it and expects of it."""
    with image.path.open("wb") as file:
        file.truncate(image.size_bytes)
    first, last = PARTITION_AT // SECTOR_BYTES, (PARTITION_AT + image.partition_bytes) // SECTOR_BYTES - 1
    run("sgdisk", "--clear", f"--new=1:{first}:{last}", "--typecode=1:8300", image.path)
    with loop_device(image.path, offset=PARTITION_AT, length=image.partition_bytes) as device:
        run(*MAKERS[image.kind], *options, device)
        with mounted(device, image.kind, image.path.with_suffix(".mount")) as folder:
            expected = fill(folder)
    return Image(image.kind, image.path, image.size_bytes, expected)


def image_of_files(kind: str, folder: Path, *, seed: int, files: int) -> Image:
    """Thousands of files, and canaries."""
    image = Image(kind, folder / f"{kind}-files.img", SIZES_BYTES[kind])

    def fill(mount: Path) -> tuple[Expected, ...]:
        write_files(mount, seed=seed, files=files, has_attributes=kind != "ntfs")
        return (write_canaries(mount, seed=seed),)

    return make_image(image, fill, SMALL.get(kind, ()))


def image_of_a_database(kind: str, folder: Path, data: Path) -> Image:
    """A PostgreSQL data directory where a server would have it."""
    image = Image(kind, folder / f"{kind}-database.img", SIZES_BYTES[kind])

    def fill(mount: Path) -> tuple[Expected, ...]:
        shutil.copytree(data, mount / "var" / "lib" / "postgresql" / "main")
        return ()

    return make_image(image, fill, SMALL.get(kind, ()))


def large_image(kind: str, folder: Path, *, seed: int, size_bytes: int, files: int) -> Image:
    """Files on a file system that was made as the tool makes it when nobody says anything."""
    image = Image(kind, folder / f"{kind}-large.img", size_bytes)

    def fill(mount: Path) -> tuple[Expected, ...]:
        write_files(mount, seed=seed, files=files, has_attributes=kind != "ntfs")
        return ()

    return make_image(image, fill)
