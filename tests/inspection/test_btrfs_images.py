"""btrfs with a log, subvolumes, compression and data in extents: what a mount after recovery would show."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from embedded.disks.image_blocks import BLOCK_BYTES, ImageBlocks
from functions.inspection.btrfs.content import Proof
from functions.inspection.btrfs.reader import Btrfs, open_btrfs
from functions.inspection.devices import SnapshotDevice
from functions.inspection.file_systems import Damaged, File, NotReadable
from functions.inspection.findings import Findings, Weight

IMAGES = Path(__file__).parent / "images"
ImageMaker = Callable[[str], ImageBlocks]


def unpack(archive: Path, image: Path) -> None:
    with tarfile.open(archive, "r:xz") as tar:
        member = tar.next()
        content = tar.extractfile(member) if member else None
        assert member is not None
        assert content is not None
        extents: Any = member.sparse  # typeshed takes it for the bytes of a header
        with image.open("wb") as file:
            file.truncate(member.size)
            for offset, length in extents:
                content.seek(offset)
                file.seek(offset)
                file.write(content.read(length))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("btrfs")


@pytest.fixture
def image(folder: Path) -> Iterator[ImageMaker]:
    opened_images: list[ImageBlocks] = []

    def blocks(name: str) -> ImageBlocks:
        path = folder / f"{name}.img"
        if not path.exists():
            unpack(IMAGES / f"{name}.tar.xz", path)
        opened_images.append(ImageBlocks(path))
        return opened_images[-1]

    yield blocks
    for one in opened_images:
        one.close()


@pytest.fixture
def synced(image: ImageMaker) -> ImageBlocks:
    return image("btrfs-synced")


def opened(blocks: ImageBlocks) -> Btrfs:
    file_system = open_btrfs(SnapshotDevice(blocks), Findings(keeps_areas=True))
    assert file_system is not None
    return file_system


def verified(blocks: ImageBlocks) -> Btrfs:
    file_system = opened(blocks)
    file_system.verify()
    return file_system


def codes(file_system: Btrfs, weight: Weight = Weight.DAMAGE) -> set[str]:
    return {finding.code for finding in file_system.findings.of(weight)}


def file_at(file_system: Btrfs, path: str) -> File:
    found = file_system.find(path)
    assert found is not None, path
    return found


def test_a_log_waiting_for_replay_is_a_note_and_no_damage(synced: ImageBlocks) -> None:
    file_system = verified(synced)
    assert file_system.needs_replay
    assert codes(file_system) | codes(file_system, Weight.UNKNOWN) == set()
    assert codes(file_system, Weight.NOTE) == {"btrfs.log.present"}


def test_files_are_those_that_linux_shows_after_its_recovery(synced: ImageBlocks) -> None:
    file_system = opened(synced)
    wanted: dict[str, str] = json.loads((IMAGES / "btrfs-synced.json").read_text())
    seen = {
        file.path: wanted[file.path] if file.why_not else hashlib.sha256(file_system.read(file)).hexdigest()
        for file in file_system.files()
    }
    assert seen == wanted


def test_a_name_removed_in_the_log_is_gone(synced: ImageBlocks) -> None:
    file_system = opened(synced)
    assert file_system.find("/removed-later") is None
    assert file_system.find("/renamed-later") is None


def test_the_log_reaches_into_subvolumes(synced: ImageBlocks) -> None:
    file_system = opened(synced)
    assert file_system.read(file_at(file_system, "/dir/vol/synced")) == b"in the log of a subvolume\n"


def test_a_snapshot_keeps_what_its_subvolume_changed(synced: ImageBlocks) -> None:
    file_system = opened(synced)
    notes = {path: file_system.read(file_at(file_system, path)) for path in ("/before/note", "/dir/vol/note")}
    assert notes == {"/before/note": b"in-subvolume\n", "/dir/vol/note": b"changed\n"}


def test_the_stub_of_a_subvolume_in_a_snapshot_is_empty(synced: ImageBlocks) -> None:
    file_system = opened(synced)
    assert file_system.find("/before/inner/note") is None
    assert file_system.read(file_at(file_system, "/dir/vol/inner/note")) == b"inner\n"


@pytest.mark.parametrize("area", ["log", "nodes"])
def test_a_flipped_bit_is_damage_in_every_copy_of_every_node(synced: ImageBlocks, area: str) -> None:
    for place in [one for one in verified(synced).findings.areas if one.name == area]:
        synced.patches.clear()
        synced.flip(place.offset + place.length // 2)
        assert "btrfs.node.checksum" in codes(verified(synced))


def test_one_bad_copy_of_the_log_is_damage_and_the_other_is_followed(synced: ImageBlocks) -> None:
    first = next(area for area in verified(synced).findings.areas if area.name == "log")
    synced.flip(first.offset)
    file_system = verified(synced)
    assert file_system.findings.count(Weight.DAMAGE) == 1
    assert file_system.find("/new-small") is not None


def test_extents_say_where_the_content_lies(synced: ImageBlocks) -> None:
    file_system = opened(synced)
    file = file_at(file_system, "/plain")
    content = b"".join(file_system.device.read(extent.at, extent.length) for extent in file.extents[::2])
    assert file_system.read(file) == content[: file.size_bytes]


def test_holes_and_reserved_space_read_as_zeros(synced: ImageBlocks) -> None:
    file_system = opened(synced)
    sparse, reserved = file_at(file_system, "/sparse"), file_at(file_system, "/reserved")
    assert file_system.read(sparse, 600_000, 300_000) == bytes(300_000)
    content = file_system.read(reserved)
    assert content[:8192] == bytes(8192)
    assert any(content[8192:12288])
    assert content[12288:] == bytes(28672)


def test_every_part_of_a_file_of_many_extents_is_the_part_of_the_whole(synced: ImageBlocks) -> None:
    file_system = opened(synced)
    for path in ("/sparse", "/tail", "/text", "/dir/renamed"):
        file = file_at(file_system, path)
        whole = file_system.read(file)
        assert len(whole) == file.size_bytes
        for start in range(0, len(whole), 37_111):
            assert file_system.read(file, start, 9_000) == whole[start : start + 9_000]


def test_zlib_is_read_and_lzo_says_why_not(synced: ImageBlocks) -> None:
    file_system = opened(synced)
    text, packed = file_at(file_system, "/text"), file_at(file_system, "/lzo/text")
    assert file_system.read(text, 0, 31) == b"the same words again and again\n"
    assert packed.why_not == "compressed with lzo"
    with pytest.raises(NotReadable):
        file_system.read(packed)


def test_what_cannot_be_decompressed_is_proven_all_the_same(synced: ImageBlocks) -> None:
    file_system = opened(synced)
    assert file_system.scrub(file_at(file_system, "/lzo/text")) == Proof(proven_bytes=8192)


def test_every_stored_byte_is_proven_in_both_copies_even_when_only_the_log_has_checksums(synced: ImageBlocks) -> None:
    file_system = opened(synced)
    for file in file_system.files():
        proof = file_system.scrub(file)
        stored = sum(extent.length for extent in file.extents)
        assert (proof.wrong_bytes, proof.unproven_bytes) == (0, 0)
        assert proof.proven_bytes >= stored


def test_a_bad_copy_of_data_is_damage_and_the_content_comes_from_the_other(synced: ImageBlocks) -> None:
    whole = opened(synced).read(file_at(opened(synced), "/plain"))
    synced.flip(file_at(opened(synced), "/plain").extents[0].at + 10)
    file_system = opened(synced)
    assert file_system.read(file_at(file_system, "/plain")) == whole
    assert codes(file_system) == {"btrfs.data.checksum"}


def test_data_without_a_good_copy_is_damaged(synced: ImageBlocks) -> None:
    file = file_at(opened(synced), "/text")
    for copy in copies_of(synced, file):
        synced.flip(copy)
    file_system = opened(synced)
    with pytest.raises(Damaged):
        file_system.read(file)
    assert codes(file_system) == {"btrfs.data.checksum"}
    assert file_system.scrub(file).wrong_bytes == 8192


def test_unchanged_parts_of_a_damaged_file_are_still_read(synced: ImageBlocks) -> None:
    file_system = opened(synced)
    file = file_at(file_system, "/plain")
    whole = file_system.read(file)
    for copy in copies_of(synced, file):
        synced.flip(copy)
    damaged = opened(synced)
    assert damaged.read(file_at(damaged, "/plain"), 4096, 4904) == whole[4096:9000]


def copies_of(blocks: ImageBlocks, file: File) -> list[int]:
    """Where the first stored sector of a file stands, in every copy."""
    at = file.extents[0].at
    sector = (blocks.block(at // BLOCK_BYTES) or b"")[at % BLOCK_BYTES :][:4096]
    found: list[int] = []
    for index in sorted(blocks.written()):
        place = (blocks.block(index) or b"").find(sector)
        if place >= 0:
            found.append(index * BLOCK_BYTES + place)
    assert len(found) == 2
    return found


def test_mixed_groups_with_sha256_are_verified_and_read(image: ImageMaker) -> None:
    file_system = verified(image("btrfs-mixed"))
    assert not file_system.findings.count(Weight.DAMAGE) + file_system.findings.count(Weight.UNKNOWN)
    assert file_system.read(file_at(file_system, "/note")) == b"mixed\n"
    assert file_system.scrub(file_at(file_system, "/data")).proven_bytes == 20_480


def test_every_byte_of_a_sha256_is_judged(image: ImageMaker) -> None:
    blocks = image("btrfs-mixed")
    for place in [one for one in verified(blocks).findings.areas if one.length == 32]:
        blocks.patches.clear()
        blocks.flip(place.offset + 31)
        assert verified(blocks).findings.is_damaged


def test_a_kind_of_checksum_that_is_not_computed_is_unknown_and_structure_is_still_judged(image: ImageMaker) -> None:
    blocks = image("btrfs-xxhash")
    file_system = verified(blocks)
    assert codes(file_system) == set()
    assert codes(file_system, Weight.UNKNOWN) == {"btrfs.checksum.kind"}
    assert file_system.read(file_at(file_system, "/note")) == b"mixed\n"
    node = next(one.offset for one in file_system.findings.areas if one.name == "nodes")
    blocks.overwrite(node, bytes(4096))
    assert verified(blocks).findings.is_damaged


def test_one_device_of_two_is_unknown_and_says_how_many_are_missing(image: ImageMaker) -> None:
    file_system = verified(image("btrfs-pair"))
    assert codes(file_system) == set()
    details = [(one.code, one.detail) for one in file_system.findings.of(Weight.UNKNOWN)]
    assert details == [("btrfs.devices.missing", "1 of 2 devices are not here")]


def test_a_bad_node_on_one_device_of_two_is_still_damage(image: ImageMaker) -> None:
    blocks = image("btrfs-pair")
    place = next(one for one in verified(blocks).findings.areas if one.name == "nodes")
    blocks.flip(place.offset)
    assert "btrfs.node.checksum" in codes(verified(blocks))
