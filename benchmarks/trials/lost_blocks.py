"""Blocks of a volume that were lost or swapped since a predecessor was read in full, held against what is remembered.

Between the two points the file system was mounted and written to, so some blocks may differ. Only blocks that must
not have changed are damaged: of the others no memory can know what they ought to hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

from benchmarks.trials.contents import write_files
from benchmarks.trials.images import PARTITION_AT, Image
from benchmarks.trials.judging import NO_DAMAGE, Damage, damaged_blocks
from benchmarks.trials.machine import loop_device, mounted, run
from functions.inspection.devices import BLOCK_BYTES
from functions.inspection.remembered import ZEROS, Remembered, compare, digest_of

FILES_OF_A_NIGHT = 300
MOST_DRAWS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoPoints:
    """What is remembered of a volume, and the same volume a night later. `may_differ` is what changed in between."""

    kind: str
    remembered: Remembered
    after: Path
    digests_after: Mapping[int, int]
    may_differ: frozenset[int]

    @property
    def unchanged(self) -> list[int]:
        """The indexes of blocks that hold data and must not have changed."""
        known = {index for index, digest in self.remembered.items() if digest != ZEROS}
        return sorted(known & self.digests_after.keys() - self.may_differ)


def two_points(before: Image, *, seed: int) -> TwoPoints:
    """The image, read in full, and a copy of it that was mounted, written to and unmounted."""
    after = before.path.with_name(f"{before.kind}-after.img")
    run("cp", "--sparse=always", before.path, after)
    with (
        loop_device(after, offset=PARTITION_AT, length=before.partition_bytes) as device,
        mounted(device, before.kind, after.with_suffix(".mount")) as folder,
    ):
        write_files(folder / "night", seed=seed, files=FILES_OF_A_NIGHT, has_attributes=before.kind != "ntfs")
    digests_before, digests_after = _digests(before.path), _digests(after)
    everywhere = digests_before.keys() | digests_after.keys()
    changed = (i for i in everywhere if digests_before.get(i, ZEROS) != digests_after.get(i, ZEROS))
    return TwoPoints(
        kind=before.kind,
        remembered=Remembered.of(digests_before),
        after=after,
        digests_after=digests_after,
        may_differ=frozenset(changed),
    )


def _digests(path: Path) -> dict[int, int]:
    blocks = damaged_blocks(path, NO_DAMAGE)
    return {index: digest_of(blocks.block(index)) for index in blocks.written()}


def lost(points: TwoPoints, draw: Random) -> Damage:
    """A block is not listed any more, or it is and holds zeros."""
    index = draw.choice(points.unchanged)
    if draw.random() < 0.5:
        return Damage(what=f"block {index} is not listed any more", lost=(index,))
    return Damage(what=f"block {index} holds zeros", writes=((index * BLOCK_BYTES, bytes(BLOCK_BYTES)),))


def swapped(points: TwoPoints, draw: Random) -> Damage:
    """Two blocks that do not hold the same stand in each other's place."""
    for _ in range(MOST_DRAWS):
        one, other = draw.sample(points.unchanged, 2)
        if points.digests_after[one] != points.digests_after[other]:
            break
    else:
        raise RuntimeError(f"all blocks of {points.after} hold the same: nothing can be swapped")
    whole = damaged_blocks(points.after, NO_DAMAGE)
    content = {index: whole.block(index) or bytes(BLOCK_BYTES) for index in (one, other)}
    writes = ((one * BLOCK_BYTES, content[other]), (other * BLOCK_BYTES, content[one]))
    return Damage(what=f"blocks {one} and {other} are swapped", writes=writes)


DAMAGES: Mapping[str, Callable[[TwoPoints, Random], Damage]] = {
    "a block lost": lost,
    "two blocks swapped": swapped,
}


def is_noticed(points: TwoPoints, damage: Damage) -> bool:
    """Whether the memory of the earlier point says that something is broken."""
    blocks = damaged_blocks(points.after, damage)
    touched = {*damage.lost, *(offset // BLOCK_BYTES for offset, _ in damage.writes)}
    read_now = {**points.digests_after, **{index: digest_of(blocks.block(index)) for index in touched}}
    found = compare(points.remembered, read_now, may_differ=points.may_differ, listed_now=blocks.written())
    return any(one.held is False for one in found)
