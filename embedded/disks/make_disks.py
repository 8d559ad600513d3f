"""Makes the prepared disks again: `python -m embedded.disks.make_disks`, or some: `... make_disks postgresql`.

Needs Linux with e2fsprogs, xfsprogs, btrfs-progs, ntfs-3g with FUSE, dosfstools, mtools, gdisk, GNU tar, xz and
fallocate; README.md in this folder names the versions used. The files are the same every time, the images are not:
xfs, btrfs, ntfs and PostgreSQL write the time of their making into themselves.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from embedded.disks import MANIFEST_PATH, FileSystem, archive_path
from embedded.disks.sample_database import write_database
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


def main(wanted: Sequence[str]) -> None:
    """Every disk that is wanted, or simply every one, is made, archived and described in the manifest."""
    disks: dict[str, dict[str, object]] = json.loads(MANIFEST_PATH.read_text()) if wanted else {}
    if unknown := set(wanted) - set(MAKERS):
        raise SystemExit(f"There is no disk {', '.join(sorted(unknown))}; there are {', '.join(MAKERS)}.")
    for name in wanted or MAKERS:
        with tempfile.TemporaryDirectory() as scratch:
            work = Path(scratch)
            image = work / f"{name}.img"
            disks[name] = _keep(name, image, MAKERS[name](image, work))
    MANIFEST_PATH.write_text(json.dumps(disks, indent=1, sort_keys=True) + "\n")


def _make_plain(maker: Maker) -> Callable[[Path, Path], list[FileSystem]]:
    def make(image: Path, work: Path) -> list[FileSystem]:
        files = sample_files()
        if maker.kind == "xfs":
            # The prototypes that mkfs.xfs fills a file system from cannot quote a blank.
            files = {name.replace(" ", "_"): content for name, content in files.items()}
        written = _write_tree(work / "tree", files)
        _make(maker, work / "tree", image)
        return [FileSystem(maker.kind, 0, maker.size_bytes, written)]

    return make


def _make_database(*, loses_log: bool) -> Callable[[Path, Path], list[FileSystem]]:
    def make(image: Path, work: Path) -> list[FileSystem]:
        first_segment = write_database(work / "written")
        files = {str(path.relative_to(work / "written")): path.read_bytes() for path in _files_below(work / "written")}
        if loses_log:
            del files[first_segment]
        written = _write_tree(work / "tree", files)
        _make(SMALL_EXT4, work / "tree", image)
        return [FileSystem("ext4", 0, SMALL_EXT4.size_bytes, written)]

    return make


def _files_below(tree: Path) -> list[Path]:
    return sorted(path for path in tree.rglob("*") if path.is_file())


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
SMALL_EXT4 = Maker("ext4", 64 * MIB, _make_ext4)
XFS = Maker("xfs", 300 * MIB, _make_xfs)
BTRFS = Maker("btrfs", 256 * MIB, _make_btrfs)
NTFS = Maker("ntfs", 64 * MIB, _make_ntfs)
FAT = Maker("vfat", 64 * MIB, _make_fat)
GPT_SIZE_BYTES = 1024 * MIB
"""A whole GiB, so that on a volume of 1 GiB the backup table sits where it belongs: at the very end."""


def _make_partitioned(image: Path, work: Path) -> list[FileSystem]:
    tree = work / "tree"
    files = _write_tree(tree, sample_files())
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


MAKERS: Mapping[str, Callable[[Path, Path], list[FileSystem]]] = {
    "ext4": _make_plain(EXT4),
    "xfs": _make_plain(XFS),
    "btrfs": _make_plain(BTRFS),
    "ntfs": _make_plain(NTFS),
    "gpt": _make_partitioned,
    "postgresql": _make_database(loses_log=False),
    "postgresql-without-log": _make_database(loses_log=True),
}
"""How the image (first) of each disk is made, with a directory to work in (second)."""

if __name__ == "__main__":
    main(sys.argv[1:])
