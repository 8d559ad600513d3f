"""The prepared disks."""

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded import disks
from embedded.disks.sample_files import sample_files
from embedded.volumes import in_process
from embedded.volumes.in_process import Account

MIB, GIB = 1 << 20, 1 << 30


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    with in_process.account(tmp_path) as fresh:
        yield fresh


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "volume.img"
    with path.open("wb") as file:
        file.truncate(GIB)
    return path


def sha256_of_the_first(image: Path, size_bytes: int) -> str:
    digest = hashlib.sha256()
    with image.open("rb") as file:
        for start in range(0, size_bytes, MIB):
            digest.update(file.read(min(MIB, size_bytes - start)))
    return digest.hexdigest()


@pytest.mark.parametrize("name", disks.NAMES)
def test_a_laid_disk_is_the_one_that_was_made(name: str, image: Path) -> None:
    disk = disks.lay(name, image)
    assert sha256_of_the_first(image, disk.size_bytes) == disk.sha256
    assert image.stat().st_size == GIB
    assert image.stat().st_blocks * 512 < 8 << 20


def test_there_is_a_disk_of_every_kind() -> None:
    kinds = {file_system.kind for disk in disks.DISKS.values() for file_system in disk.file_systems}
    assert kinds == {"ext4", "xfs", "btrfs", "ntfs", "vfat"}
    assert len(disks.DISKS["gpt"].file_systems) == 2


def test_the_disks_hold_the_sample_files() -> None:
    expected = sorted(hashlib.sha256(content).hexdigest() for content in sample_files().values())
    for name in ("ext4", "xfs", "btrfs", "ntfs", "gpt"):
        for file_system in disks.DISKS[name].file_systems:
            assert sorted(file_system.files.values()) == expected


def test_the_disks_of_a_database_differ_by_one_segment_of_its_log() -> None:
    (whole,), (lost,) = (disks.DISKS[name].file_systems for name in ("postgresql", "postgresql-without-log"))
    (segment,) = whole.files.keys() - lost.files.keys()
    assert segment.startswith("pgdata/pg_wal/00000001")
    assert not lost.files.keys() - whole.files.keys()
    assert [name for name in lost.files if name.startswith("pgdata/pg_wal/")]


def test_all_disks_together_stay_small() -> None:
    sizes = {name: disks.archive_path(name).stat().st_size for name in disks.NAMES}
    assert max(sizes.values()) < 150 << 10
    assert sum(sizes.values()) < 700 << 10


def test_what_an_image_held_before_is_gone(image: Path) -> None:
    with image.open("r+b") as file:
        file.write(b"old" * GIB.bit_length() * 100_000)
    disk = disks.lay("ext4", image)
    assert sha256_of_the_first(image, disk.size_bytes) == disk.sha256


def test_a_volume_too_small_for_the_disk_is_refused_untouched(tmp_path: Path) -> None:
    small = tmp_path / "small.img"
    small.write_bytes(b"precious")
    with pytest.raises(ValueError, match="make the volume larger"):
        disks.lay("ext4", small)
    assert small.read_bytes() == b"precious"


def test_an_unknown_disk_is_refused_with_the_known_ones(image: Path) -> None:
    with pytest.raises(ValueError, match="ext4"):
        disks.lay("zfs", image)


@pytest.mark.skipif(shutil.which("debugfs") is None, reason="needs debugfs of e2fsprogs to look into ext4")
def test_every_file_of_ext4_comes_back_from_a_copy_in_another_region(account: Account) -> None:
    volume_id = account.make_volume()
    disk = disks.lay("ext4", account.image(volume_id))
    copy = account.copy_snapshot(account.take_snapshot(volume_id))
    restored = account.image(account.make_volume("us-west-2", SnapshotId=copy))
    (file_system,) = disk.file_systems
    assert {name: sha256_of_file(restored, name) for name in file_system.files} == file_system.files


def sha256_of_file(image: Path, name: str) -> str:
    debugfs = str(shutil.which("debugfs"))
    shown = subprocess.run([debugfs, "-R", f'cat "/{name}"', str(image)], capture_output=True, check=True)  # noqa: S603
    return hashlib.sha256(shown.stdout).hexdigest()
