"""Makes the prepared disks again: `python -m embedded.disks.make_disks`.

Needs Linux with e2fsprogs, xfsprogs, btrfs-progs, ntfs-3g with FUSE, dosfstools, mtools, gdisk, GNU tar, xz and
fallocate; README.md in this folder names the versions used. The files are the same every time, the images are not:
xfs, btrfs and ntfs write the time of their making into themselves.
"""

import hashlib
import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from embedded.disks import MANIFEST_PATH, FileSystem, archive_path
from embedded.disks.sample_files import sample_files
from embedded.volumes.blockstore import BLOCK_BYTES, write_sparse

MIB = 1 << 20
SECTOR_BYTES = 512
_DATE = "@1790845200"  # 2026-10-01 09:00 UTC, so that no file claims to be younger than its story


@dataclass(frozen=True)
class Maker:
    """One kind of file system, and how to make an image of it that holds a directory."""

    kind: str
    size_bytes: int
    make: Callable[[Path, Path], None]
    """From the directory (first) into the image (second), which exists and is empty."""


def main() -> None:
    """Every disk is made, archived and described in the manifest."""
    disks: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        tree, tree_without_blanks = work / "tree", work / "tree-without-blanks"
        files = _write_tree(tree, sample_files())
        for maker in (EXT4, BTRFS, NTFS):
            image = work / f"{maker.kind}.img"
            _make(maker, tree, image)
            disks[maker.kind] = _keep(maker.kind, image, [FileSystem(maker.kind, 0, maker.size_bytes, files)])
        # The prototypes that mkfs.xfs fills a file system from cannot quote a blank.
        files_of_xfs = {name.replace(" ", "_"): content for name, content in sample_files().items()}
        image = work / "xfs.img"
        files_without_blanks = _write_tree(tree_without_blanks, files_of_xfs)
        _make(XFS, tree_without_blanks, image)
        disks["xfs"] = _keep("xfs", image, [FileSystem("xfs", 0, XFS.size_bytes, files_without_blanks)])
        image = work / "gpt.img"
        disks["gpt"] = _keep("gpt", image, _make_partitioned(tree, files, image, work))
    MANIFEST_PATH.write_text(json.dumps(disks, indent=1, sort_keys=True) + "\n")


def _run(*command: str | Path) -> None:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def _write_tree(tree: Path, files: Mapping[str, bytes]) -> dict[str, str]:
    for name, content in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for path in [tree, *tree.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
        _run("touch", "--date", _DATE, path)
    return {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}


def _make(maker: Maker, tree: Path, image: Path) -> None:
    with image.open("wb") as file:
        file.truncate(maker.size_bytes)
    maker.make(tree, image)


def _make_ext4(tree: Path, image: Path) -> None:
    # Left alone, mke2fs takes blocks of 1 KiB for a disk this small; a volume in use has 4 KiB.
    _run("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-L", "shop-data", "-E", "root_owner=0:0", "-d", tree, image)


def _make_xfs(tree: Path, image: Path) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".proto") as prototype:
        # The first two lines are a boot block and a size that mkfs.xfs reads and ignores.
        prototype.write("/dev/null\n0 0\nd--755 0 0\n" + _prototype(tree) + "$\n")
        prototype.flush()
        _run("mkfs.xfs", "-q", "-L", "shop-data", "-p", prototype.name, image)


def _prototype(directory: Path) -> str:
    """The entries of a directory in the language of mkfs.xfs prototypes."""
    lines = []
    for entry in sorted(directory.iterdir()):
        if entry.is_dir():
            lines.append(f"{entry.name} d--755 0 0\n{_prototype(entry)}$\n")
        else:
            lines.append(f"{entry.name} ---644 0 0 {entry}\n")
    return "".join(lines)


def _make_btrfs(tree: Path, image: Path) -> None:
    _run("mkfs.btrfs", "-q", "--label", "shop-data", "--rootdir", tree, image)


def _make_ntfs(tree: Path, image: Path) -> None:
    _run("mkntfs", "-F", "-Q", "-q", "-L", "shop-data", image)
    with tempfile.TemporaryDirectory() as mounted:
        _run("ntfs-3g", image, mounted)
        try:
            _run("cp", "-r", "--preserve=timestamps", f"{tree}/.", mounted)
        finally:
            _run("umount", mounted)


def _make_fat(tree: Path, image: Path) -> None:
    _run("mkfs.vfat", "-n", "BOOT", image)
    _run("mcopy", "-s", "-m", "-i", image, *sorted(tree.iterdir()), "::")


EXT4 = Maker("ext4", 256 * MIB, _make_ext4)
XFS = Maker("xfs", 300 * MIB, _make_xfs)
BTRFS = Maker("btrfs", 256 * MIB, _make_btrfs)
NTFS = Maker("ntfs", 64 * MIB, _make_ntfs)
FAT = Maker("vfat", 64 * MIB, _make_fat)
GPT_SIZE_BYTES = 1024 * MIB
"""A whole GiB, so that on a volume of 1 GiB the backup table sits where it belongs: at the very end."""


def _make_partitioned(tree: Path, files: dict[str, str], image: Path, work: Path) -> list[FileSystem]:
    with image.open("wb") as file:
        file.truncate(GPT_SIZE_BYTES)
    placed: list[FileSystem] = []
    start = MIB
    for number, (maker, code, name) in enumerate([(FAT, "ef00", "boot"), (EXT4, "8300", "shop-data")], start=1):
        first, last = start // SECTOR_BYTES, (start + maker.size_bytes) // SECTOR_BYTES - 1
        partition_type, partition_name = f"--typecode={number}:{code}", f"--change-name={number}:{name}"
        _run("sgdisk", f"--new={number}:{first}:{last}", partition_type, partition_name, image)
        partition = work / f"partition-{number}.img"
        _make(maker, tree, partition)
        _copy_into(partition, image, start)
        placed.append(FileSystem(maker.kind, start, maker.size_bytes, files))
        start += maker.size_bytes
    return placed


def _copy_into(partition: Path, image: Path, offset: int) -> None:
    with partition.open("rb") as source, image.open("r+b") as target:
        while content := source.read(BLOCK_BYTES):
            write_sparse(target.fileno(), offset, content)
            offset += len(content)


def _keep(name: str, image: Path, file_systems: list[FileSystem]) -> dict[str, object]:
    _run("fallocate", "--dig-holes", image)
    archive = archive_path(name)
    archive.parent.mkdir(exist_ok=True)
    tar = archive.with_suffix("")
    owner = ("--owner=0", "--group=0", "--numeric-owner", f"--mtime={_DATE}")
    _run("tar", "--sparse", "--format=gnu", *owner, "-C", image.parent, "-cf", tar, image.name)
    _run("xz", "-9e", "--force", tar)
    with image.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "size_bytes": image.stat().st_size,
        "sha256": digest,
        "file_systems": [asdict(file_system) for file_system in file_systems],
    }


if __name__ == "__main__":
    main()
