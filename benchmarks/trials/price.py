"""How many blocks the verdict on a file system takes, and what EBS direct bills for them."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.trials.images import Image
from benchmarks.trials.judging import NO_DAMAGE, damaged_blocks
from functions.inspection.devices import SnapshotDevice
from functions.inspection.whole_disk import inspect_disk

USD_PER_BLOCK = 0.003 / 1000
USD_PER_PAGE = 0.0006 / 1000
BLOCKS_PER_PAGE = 10_000
"""EBS direct, in most Regions: for GetSnapshotBlock, and for a page of ListSnapshotBlocks."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What it took. `written_blocks` is what the snapshot of this disk would hold; `alarms` is what did not
    hold of a disk that nobody damaged."""

    alarms: str
    read_blocks: int
    written_blocks: int

    @property
    def usd(self) -> float:
        """What the requests cost."""
        pages = -(-self.written_blocks // BLOCKS_PER_PAGE)
        return self.read_blocks * USD_PER_BLOCK + pages * USD_PER_PAGE


def verdict_on(image: Image) -> Verdict:
    """The metadata of the whole disk was verified; no database lies on it."""
    blocks = damaged_blocks(image.path, NO_DAMAGE)
    device = SnapshotDevice(blocks)
    inspected = inspect_disk(device)
    alarms = "; ".join(f"{one.what}: {one.held}: {one.detail}" for one in inspected.assertions if not one.held)
    return Verdict(alarms, inspected.metadata_blocks, len(blocks.written()))
