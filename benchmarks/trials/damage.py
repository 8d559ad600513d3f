"""Damage of known kinds at places drawn from a seed: in metadata, in tables, in canaries, in pages of databases."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from benchmarks.trials.images import PARTITION_AT, SECTOR_BYTES, Image
from benchmarks.trials.judging import NO_DAMAGE, Damage, Question, bytes_at, damaged_blocks
from functions.inspection.devices import BLOCK_BYTES, SnapshotDevice, partition
from functions.inspection.file_systems import File, FileSystem
from functions.inspection.findings import Findings
from functions.inspection.whole_disk import READERS

PIECE_BYTES = 4096
MOST_DRAWS = 100
"""So often a place is drawn anew when the damage would change nothing there."""

GPT_HEADER_BYTES = 92
GPT_ENTRIES_BYTES = 128 * 128
"""The UEFI specification: the header behind the first sector, 128 entries behind it; the copies at the end, entries
first."""

_PAGES_OF_POSTGRESQL = re.compile(r".*/(?:global|base/\d+)/\d+(?:_fsm|_vm|_init)?(?:\.\d+)?")
_CANARIES = re.compile(r"/canary/canary-\d+\.bin")
_HAVE_CHECKSUMS = ("ext4", "xfs", "btrfs")


class Places:
    """Stretches of a device of which any byte can be drawn, each with the same chance."""

    def __init__(self, stretches: Iterable[tuple[int, int]]) -> None:
        self.stretches = _merged(stretches)
        self._ends = list(accumulate(length for _, length in self.stretches))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def draw(self, draw: Random) -> int:
        """The offset of one byte."""
        chosen = draw.randrange(len(self))
        which = bisect.bisect_right(self._ends, chosen)
        offset, length = self.stretches[which]
        return offset + length - (self._ends[which] - chosen)


def _merged(stretches: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for offset, length in sorted(stretches):
        if merged and offset <= merged[-1][0] + merged[-1][1]:
            begin, before = merged[-1]
            merged[-1] = (begin, max(before, offset + length - begin))
        elif length > 0:
            merged.append((offset, length))
    return merged


Drawn = Callable[[Image, Places, Random], Damage]


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """One line of the table: a kind of damage and where it goes. `bar` in per cent; None when it is only reported."""

    name: str
    image: Image
    drawn: Drawn
    places: Places
    bar: float | None

    def questions(self, trials: int, seed: int) -> Iterator[Question]:
        """So many different ones, as far as there are places that the damage changes."""
        for number in range(trials):
            draw = Random(f"{seed}/{self.name}/{number}")  # noqa: S311 - trials are repeated from their seed
            damages = (self.drawn(self.image, self.places, draw) for _ in range(MOST_DRAWS))
            damage = next((damage for damage in damages if _changes(self.image, damage)), None)
            if damage is not None:
                yield Question(path=self.image.path, damage=damage, expected=self.image.expected)


def _changes(image: Image, damage: Damage) -> bool:
    if any(bytes_at(image.path, offset, len(content)) != content for offset, content in damage.writes):
        return True
    whole = damaged_blocks(image.path, NO_DAMAGE)
    zeros = bytes(BLOCK_BYTES)
    return any((whole.block(index) or zeros) != zeros for index in damage.lost) or damage.size_bytes is not None


def one_bit(image: Image, places: Places, draw: Random) -> Damage:
    """One bit is the other way round."""
    offset, bit = places.draw(draw), draw.randrange(8)
    (byte,) = bytes_at(image.path, offset, 1)
    return Damage(what=f"bit {bit} of byte {offset:,}", writes=((offset, bytes([byte ^ 1 << bit])),))


def garbage(_image: Image, places: Places, draw: Random) -> Damage:
    """4 KiB that begin at a multiple of 4 KiB are random."""
    offset = places.draw(draw) // PIECE_BYTES * PIECE_BYTES
    return Damage(what=f"4 KiB of garbage at byte {offset:,}", writes=((offset, draw.randbytes(PIECE_BYTES)),))


def zeros(_image: Image, places: Places, draw: Random) -> Damage:
    """4 KiB that begin at a multiple of 4 KiB are zeros."""
    offset = places.draw(draw) // PIECE_BYTES * PIECE_BYTES
    return Damage(what=f"4 KiB of zeros at byte {offset:,}", writes=((offset, bytes(PIECE_BYTES)),))


def lost_tail(image: Image, places: Places, draw: Random) -> Damage:
    """The device ends early, or holds nothing from some block on."""
    first = places.draw(draw) // BLOCK_BYTES
    if draw.random() < 0.5 and first:
        return Damage(what=f"cut off at block {first}", size_bytes=first * BLOCK_BYTES)
    last = (image.size_bytes - 1) // BLOCK_BYTES
    return Damage(what=f"nothing from block {first} on", lost=tuple(range(first, last + 1)))


def into_metadata(image: Image) -> Iterator[Injection]:
    """One bit in each area of metadata and anywhere in it, garbage and zeros, and a tail that is gone."""
    areas = areas_of(image)
    kind, bar = image.kind, 99.0 if image.kind in _HAVE_CHECKSUMS else None
    everywhere = Places((offset, length) for of_area in areas.values() for offset, length in of_area.stretches)
    for area, places in areas.items():
        # What exists twice can be held against its copy, checksum or not.
        bar_of_area = 99.0 if "boot" in area else bar
        yield Injection(name=f"{kind}: one bit in {area}", image=image, drawn=one_bit, places=places, bar=bar_of_area)
    yield Injection(name=f"{kind}: one bit anywhere", image=image, drawn=one_bit, places=everywhere, bar=bar)
    yield Injection(name=f"{kind}: 4 KiB of garbage", image=image, drawn=garbage, places=everywhere, bar=99.0)
    yield Injection(name=f"{kind}: 4 KiB of zeros", image=image, drawn=zeros, places=everywhere, bar=99.0)


def into_the_tail(image: Image) -> Iterator[Injection]:
    """The end of the device is gone, from any of its blocks on."""
    written = Places((index * BLOCK_BYTES, BLOCK_BYTES) for index in damaged_blocks(image.path, NO_DAMAGE).written())
    yield Injection(name=f"{image.kind}: the tail is gone", image=image, drawn=lost_tail, places=written, bar=99.0)


def into_canaries(image: Image) -> Iterator[Injection]:
    """One bit in the content of a canary."""
    places = Places(_contents(image, _CANARIES))
    yield Injection(name=f"{image.kind}: one bit in a canary", image=image, drawn=one_bit, places=places, bar=100.0)


def into_database(image: Image) -> Iterator[Injection]:
    """One bit, and garbage, in pages of PostgreSQL."""
    places = Places(_contents(image, _PAGES_OF_POSTGRESQL))
    kinds: Mapping[str, Drawn] = {"one bit": one_bit, "4 KiB of garbage": garbage}
    for what, drawn in kinds.items():
        name = f"{image.kind}: {what} in PostgreSQL pages"
        yield Injection(name=name, image=image, drawn=drawn, places=places, bar=100.0)


def into_partition_table(image: Image) -> Iterator[Injection]:
    """One bit in either copy of the GPT."""
    last = image.size_bytes - SECTOR_BYTES
    copies: Mapping[str, Sequence[tuple[int, int]]] = {
        "primary": ((SECTOR_BYTES, GPT_HEADER_BYTES), (2 * SECTOR_BYTES, GPT_ENTRIES_BYTES)),
        "backup": ((last, GPT_HEADER_BYTES), (last - GPT_ENTRIES_BYTES, GPT_ENTRIES_BYTES)),
    }
    for which, stretches in copies.items():
        name = f"{image.kind}: one bit in the {which} GPT"
        yield Injection(name=name, image=image, drawn=one_bit, places=Places(stretches), bar=100.0)


def areas_of(image: Image) -> Mapping[str, Places]:
    """Where on the disk each area of metadata lies, as the file system's own reader read and judged it."""
    findings = Findings(keeps_areas=True)
    _opened_file_system(image, findings).verify()
    stretches: dict[str, list[tuple[int, int]]] = {}
    for area in findings.areas:
        stretches.setdefault(area.name, []).append((PARTITION_AT + area.offset, area.length))
    return {name: Places(stretches[name]) for name in sorted(stretches)}


def _contents(image: Image, wanted: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    for file in _opened_file_system(image, Findings()).files():
        if wanted.fullmatch(file.path):
            yield from _stored(file)


def _stored(file: File) -> Iterator[tuple[int, int]]:
    for extent in file.extents:
        # The rest of the last block belongs to nobody.
        length = min(extent.length, file.size_bytes - extent.offset)
        if length > 0:
            yield PARTITION_AT + extent.at, length


def _opened_file_system(image: Image, findings: Findings) -> FileSystem:
    disk = SnapshotDevice(damaged_blocks(image.path, NO_DAMAGE))
    device = partition(disk, PARTITION_AT, image.partition_bytes)
    opened = (read(device, findings) for read in READERS)
    file_system = next((one for one in opened if one is not None), None)
    if file_system is None:
        raise RuntimeError(f"no reader knows the file system of {image.path}, which {image.kind}'s own tool made")
    return file_system
