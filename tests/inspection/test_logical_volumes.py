"""Logical volumes: put together from their segments, judged by LVM's own checksums."""

from __future__ import annotations

import lzma
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from embedded.disks.image_blocks import ImageBlocks
from functions.inspection.devices import SnapshotDevice
from functions.inspection.findings import Findings, Weight
from functions.inspection.logical_volumes import LogicalVolume, logical_volumes

MIB = 1024 * 1024
IMAGE = Path(__file__).parent / "images" / "lvm-two-volumes.img.xz"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lvm") / "disk.img"
    path.write_bytes(lzma.decompress(IMAGE.read_bytes()))
    return path


@pytest.fixture
def blocks(image: Path, open_image: Callable[[Path], ImageBlocks]) -> ImageBlocks:
    return open_image(image)


def read(blocks: ImageBlocks) -> tuple[tuple[LogicalVolume, ...] | None, Findings]:
    findings = Findings(keeps_areas=True)
    return logical_volumes(SnapshotDevice(blocks), findings), findings


def checksum(data: bytes) -> int:
    return zlib.crc32(data, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def rewrite(blocks: ImageBlocks, old: str, new: str) -> None:
    """The text in force with one piece replaced, and every checksum made right again."""
    device = SnapshotDevice(blocks)
    header = bytearray(device.read(4096, 512))
    at, length = (int.from_bytes(header[40 + n : 48 + n], "little") for n in (0, 8))
    text = device.read(4096 + at, length).rstrip(b"\0").decode()
    assert old in text
    changed = text.replace(old, new).encode() + b"\0"
    header[48:56] = len(changed).to_bytes(8, "little")
    header[56:60] = checksum(changed).to_bytes(4, "little")
    header[0:4] = checksum(bytes(header[4:])).to_bytes(4, "little")
    blocks.overwrite(4096 + at, changed)
    blocks.overwrite(4096, bytes(header))


def test_volumes_are_put_together_from_their_segments(blocks: ImageBlocks) -> None:
    found, findings = read(blocks)
    assert found is not None
    assert [(v.group, v.name, v.device.size_bytes // MIB) for v in found] == [
        ("vgdata", "lvroot", 6),
        ("vgdata", "lvdata", 3),
    ]
    # lvroot was extended behind lvdata: its fifth MiB is the eighth extent, and the first extent lies at 1 MiB.
    assert found[0].device.on_disk(3 * MIB, 2 * MIB) == ((4 * MIB, MIB), (8 * MIB, MIB))
    assert not findings.is_damaged


def test_what_is_no_physical_volume_is_none(tmp_path: Path, open_image: Callable[[Path], ImageBlocks]) -> None:
    path = tmp_path / "empty.img"
    path.write_bytes(bytes(MIB))
    assert read(open_image(path))[0] is None


def test_every_flipped_bit_of_the_label_and_the_metadata_is_damage(blocks: ImageBlocks) -> None:
    _, clean = read(blocks)
    chance = random.Random(2)  # noqa: S311 - the same damage every time is the point
    for name in ("lvm-label", "lvm-metadata"):
        areas = [area for area in clean.areas if area.name == name]
        for _ in range(200):
            area = chance.choice(areas)
            blocks.patches.clear()
            blocks.flip(area.offset + chance.randrange(area.length), chance.randrange(8))
            assert read(blocks)[1].is_damaged, area


def test_without_its_label_the_volumes_are_found_and_the_loss_is_damage(blocks: ImageBlocks) -> None:
    blocks.overwrite(0, bytes(4096))
    found, findings = read(blocks)
    assert found is not None
    assert [v.name for v in found] == ["lvroot", "lvdata"]
    assert findings.count(Weight.DAMAGE, "lvm.label") == 1


def test_a_volume_of_another_layout_is_unknown_by_name(blocks: ImageBlocks) -> None:
    rewrite(blocks, 'type = "striped"', 'type = "thin"')
    found, findings = read(blocks)
    assert found == ()
    assert [f.detail.split(":")[0] for f in findings.of(Weight.UNKNOWN)] == ["vgdata/lvroot", "vgdata/lvdata"]
    assert not findings.is_damaged


def test_a_volume_that_lies_on_another_disk_is_unknown(blocks: ImageBlocks) -> None:
    rewrite(blocks, '"pv0", 4', '"pv1", 4')
    found, findings = read(blocks)
    assert found is not None
    assert [v.name for v in found] == ["lvroot"]
    assert "another disk" in findings.of(Weight.UNKNOWN)[0].detail


def test_two_volumes_on_the_same_extents_are_damage(blocks: ImageBlocks) -> None:
    rewrite(blocks, '"pv0", 4', '"pv0", 3')
    assert read(blocks)[1].count(Weight.DAMAGE, "lvm.volume.overlap") == 1


def test_a_segment_beyond_the_disk_is_damage(blocks: ImageBlocks) -> None:
    rewrite(blocks, '"pv0", 4', '"pv0", 4000000000')
    assert read(blocks)[1].count(Weight.DAMAGE, "lvm.volume") == 1


def test_a_physical_volume_that_was_cut_off_is_damage(
    image: Path, tmp_path: Path, open_image: Callable[[Path], ImageBlocks]
) -> None:
    path = tmp_path / "short.img"
    path.write_bytes(image.read_bytes()[: 12 * MIB])
    assert read(open_image(path))[1].count(Weight.DAMAGE, "lvm.truncated") == 1


@pytest.mark.parametrize("noise", ["vg {" * 500, "a = [ 1, 2", '"', "{" * 100, "a = }", "= = =", "vg { seqno = 1"])
def test_metadata_in_no_language_is_damage(blocks: ImageBlocks, noise: str) -> None:
    rewrite(blocks, "vgdata {", noise + " vgdata {")
    assert read(blocks)[1].is_damaged


def test_random_bytes_instead_of_metadata_raise_nothing(blocks: ImageBlocks) -> None:
    chance = random.Random(4)  # noqa: S311 - the same damage every time is the point
    for _ in range(60):
        blocks.patches.clear()
        rewrite(blocks, "extent_size", "".join(chance.choice('{}[]="ab1 ,#\\\n') for _ in range(11)))
        read(blocks)
