"""XFS images that real machines made are read as the kernel reads them, and nothing in them is called damaged."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import tarfile
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from embedded.disks import DISKS
from embedded.disks.image_blocks import ImageBlocks
from embedded.volumes.blockstore import write_sparse
from functions.inspection.devices import SnapshotDevice
from functions.inspection.file_systems import File, FileSystem
from functions.inspection.findings import Findings, Weight
from functions.inspection.xfs.reader import open_xfs
from functions.inspection.xfs.superblock import parse_superblock

IMAGES = Path(__file__).parent / "images"
NAMES = ("rich", "crash", "growing", "version-4")


@functools.cache
def image_path(name: str) -> Path:
    """The image laid out as a sparse file, once for each process; removed when the process ends."""
    folder = tempfile.TemporaryDirectory()
    _folders.append(folder)
    path = Path(folder.name) / f"{name}.img"
    with tarfile.open(IMAGES / f"xfs-{name}.tar.xz", "r:xz") as tar:
        member = tar.next()
        content = tar.extractfile(member) if member else None
        assert member is not None
        assert content is not None
        assert member.sparse is not None
        stretches: Any = member.sparse
        with path.open("wb") as file:
            file.truncate(member.size)
        descriptor = os.open(path, os.O_RDWR)
        for offset, length in stretches:
            content.seek(offset)
            write_sparse(descriptor, offset, content.read(length))
        os.close(descriptor)
    return path


_folders: list[tempfile.TemporaryDirectory[str]] = []


@functools.cache
def _image(name: str) -> ImageBlocks:
    return ImageBlocks(image_path(name))


def blocks_of(name: str) -> ImageBlocks:
    """The blocks of the image, whole again, to be damaged at will until the next call for the same image."""
    image = _image(name)
    image.patches.clear()
    return image


def opened(blocks: ImageBlocks) -> tuple[FileSystem, Findings]:
    """The file system on the blocks, not yet verified."""
    findings = Findings(keeps_areas=True)
    file_system = open_xfs(SnapshotDevice(blocks), findings)
    assert file_system is not None
    return file_system, findings


def verified(blocks: ImageBlocks) -> Findings:
    """What a verification of the blocks finds."""
    file_system, findings = opened(blocks)
    file_system.verify()
    return findings


def codes(findings: Findings, weight: Weight = Weight.DAMAGE) -> set[str]:
    """The codes of the findings of that weight."""
    return {finding.code for finding in findings.of(weight)}


def _promised(name: str) -> dict[str, dict[str, Any]]:
    return {
        path.encode("latin-1").decode("utf-8", "surrogateescape"): facts
        for path, facts in json.loads((IMAGES / f"xfs-{name}.json").read_text()).items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_real_image_is_not_called_damaged(name: str) -> None:
    findings = verified(blocks_of(name))

    assert list(findings.of(Weight.DAMAGE)) == []
    assert list(findings.of(Weight.UNKNOWN)) == []


@pytest.mark.parametrize("name", NAMES)
def test_every_file_reads_as_the_kernel_reads_it(name: str) -> None:
    file_system, _ = opened(blocks_of(name))

    promised = _promised(name)
    files = {file.path: file for file in file_system.files()}
    found = {path: hashlib.sha256(file_system.read(files[path])).hexdigest() for path in promised}

    assert found == {path: facts["sha256"] for path, facts in promised.items()}


@pytest.mark.parametrize("name", ["rich", "crash", "growing"])
def test_sizes_and_times_are_those_that_the_kernel_shows(name: str) -> None:
    file_system, _ = opened(blocks_of(name))

    files = {file.path: file for file in file_system.files()}

    for path, facts in _promised(name).items():
        modified_at = files[path].modified_at
        assert files[path].size_bytes == facts["size_bytes"]
        assert modified_at is not None
        assert abs((modified_at - datetime.fromtimestamp(facts["modified_at"], UTC)).total_seconds()) < 0.001


def test_only_what_recovery_leaves_is_there() -> None:
    file_system, _ = opened(blocks_of("crash"))

    assert {file.path for file in file_system.files()} == set(_promised("crash"))


def test_the_number_of_names_in_every_shape_of_directory_is_right() -> None:
    file_system, _ = opened(blocks_of("rich"))

    paths = [file.path for file in file_system.files()]

    for folder, count in {"many": 400, "leaf": 40, "block": 12, "small": 2}.items():
        assert sum(path.startswith(f"/{folder}/") for path in paths) == count


def test_a_log_that_waits_for_replay_is_a_note() -> None:
    file_system, findings = opened(blocks_of("crash"))

    assert file_system.needs_replay
    assert codes(findings, Weight.NOTE) == {"xfs.log.replay"}


def test_inodes_in_groups_that_only_the_log_knows_are_recovered() -> None:
    image = blocks_of("growing")
    written = parse_superblock(SnapshotDevice(image).read(0, 512))
    file_system, _ = opened(image)

    groups = {file.id >> (written.group_bits + written.inode_bits) for file in file_system.files()}

    assert max(groups) >= written.group_count


def test_a_log_that_was_closed_needs_no_replay() -> None:
    file_system, _ = opened(blocks_of("rich"))

    assert not file_system.needs_replay


def test_version_4_says_that_it_has_no_checksums() -> None:
    _, findings = opened(blocks_of("version-4"))

    assert codes(findings, Weight.NOTE) == {"xfs.no-checksums"}


def _named(path: str) -> tuple[FileSystem, File]:
    file_system, _ = opened(blocks_of("rich"))
    file = file_system.find(path)
    assert file is not None
    return file_system, file


def test_a_hole_reads_as_zeros_around_what_was_written() -> None:
    file_system, file = _named("/sparse")

    assert file.size_bytes == 1 << 34
    assert file_system.read(file, (1 << 20) - 3, 12) == b"\0\0\0island\0\0\0"


def test_room_that_was_only_reserved_reads_as_zeros_and_has_no_extents() -> None:
    file_system, file = _named("/reserved")

    assert file.extents == ()
    assert file_system.read(file) == bytes(100_000)


def test_a_clone_shares_what_was_not_changed() -> None:
    _, original = _named("/scattered")
    _, clone = _named("/clone")

    assert len({extent.at for extent in original.extents} & {extent.at for extent in clone.extents}) == 119


def test_a_read_ends_where_the_file_ends() -> None:
    file_system, file = _named("/small/hello.txt")

    assert file_system.read(file, 4, 100) == b"o\n"
    assert file_system.read(file, 100) == b""


def test_a_name_that_is_no_utf_8_is_found_by_its_escapes() -> None:
    file_system, file = _named("/odd\udcff/\udc80 name")

    assert file_system.read(file) == b"odd\n"


@pytest.mark.parametrize(
    "path", ["/absent", "/small", "/link-20", "/small/hello.txt/below", "/small/../small/hello.txt"]
)
def test_what_is_no_regular_file_is_not_found(path: str) -> None:
    file_system, _ = opened(blocks_of("rich"))

    assert file_system.find(path) is None


@pytest.mark.parametrize(
    ("name", "areas"),
    [
        ("rich", "superblock backup-superblock group-headers group-trees inodes extents directories attributes links"),
        ("crash", "superblock backup-superblock group-headers group-trees inodes journal"),
    ],
)
def test_every_kind_of_metadata_is_remembered_with_its_place(name: str, areas: str) -> None:
    findings = verified(blocks_of(name))

    assert {area.name for area in findings.areas} >= set(areas.split())


def test_a_verification_reads_few_blocks() -> None:
    device = SnapshotDevice(blocks_of("rich"))
    file_system = open_xfs(device, Findings())
    assert file_system is not None
    file_system.verify()

    assert device.read_blocks <= 20


def test_the_prepared_disk_holds_its_files(disk: Callable[[str], ImageBlocks]) -> None:
    image = disk("xfs")
    file_system, findings = opened(image)
    file_system.verify()
    found = {file.path[1:]: hashlib.sha256(file_system.read(file)).hexdigest() for file in file_system.files()}
    image.close()

    assert not findings.is_damaged
    assert found == DISKS["xfs"].file_systems[0].files
