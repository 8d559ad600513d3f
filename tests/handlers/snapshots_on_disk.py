"""Snapshots whose content is a prepared disk, in place of those that EBS direct would show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from embedded.disks.image_blocks import BLOCK_BYTES, ImageBlocks
from functions.core.block_sets import BlockSet
from functions.core.errors import SnapshotGone
from functions.inspection.devices import SnapshotDevice
from functions.inspection.file_systems import File
from functions.inspection.findings import Findings
from functions.inspection.whole_disk import READERS


class SnapshotOnDisk:
    """The port of SnapshotBlocks over an image. `earlier` says which blocks changed since which snapshot."""

    def __init__(self, image: ImageBlocks, earlier: Mapping[str, BlockSet | None] | None = None) -> None:
        self.image = image
        self.earlier = dict(earlier or {})
        self.size_bytes = image.size_bytes
        self.listed_pages = 3
        self.asked_for: list[str] = []

    def read(self, indexes: Sequence[int]) -> Mapping[int, bytes | None]:
        return self.image.read(indexes)

    def written(self) -> frozenset[int]:
        return self.image.written()

    def changed_since(self, earlier_id: str) -> BlockSet | None:
        self.asked_for.append(earlier_id)
        if earlier_id not in self.earlier:
            raise SnapshotGone(f"there is no {earlier_id}", hint="It was deleted.")
        return self.earlier[earlier_id]


def files_of(image: ImageBlocks) -> list[File]:
    """Every file of the one file system on the disk."""
    device = SnapshotDevice(image)
    for read in READERS:
        opened = read(device, Findings())
        if opened is not None:
            return list(opened.files())
    raise LookupError("no file system lies on the disk")


def scramble(image: ImageBlocks, seed: int = 7) -> BlockSet:
    """What is stored of every file is overwritten as if it were encrypted. Says in which blocks that is."""
    import random

    noise = random.Random(seed)  # noqa: S311 - the same bytes in every run, nobody's key
    touched: set[int] = set()
    for file in files_of(image):
        for extent in file.extents:
            image.overwrite(extent.at, noise.randbytes(extent.length))
            touched |= set(range(extent.at // BLOCK_BYTES, (extent.at + extent.length - 1) // BLOCK_BYTES + 1))
    return BlockSet(sorted(touched))
