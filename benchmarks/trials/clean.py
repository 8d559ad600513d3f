"""Images that are whole: file systems made in many ways, and clones taken while programs write to them.

A clone of an image on a file system that shares blocks is taken at one instant, with everything that the kernel had
not written yet missing: what a snapshot of a volume in use is.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from errno import ENODATA, ENOSPC, ENOTSUP
from pathlib import Path
from random import Random

from benchmarks.trials.contents import busy_database, write_files
from benchmarks.trials.images import MAKERS, MIB
from benchmarks.trials.machine import loop_device, mounted, run

HOST_BYTES = 60 << 30
WRITERS = 3
MOST_FILES_OF_A_WRITER = 1_000
SETTLE_SECONDS = 2.0
BETWEEN_CLONES_SECONDS = (0.1, 0.9)


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to make and mount a file system. `has_database`: a PostgreSQL server works on it, too."""

    kind: str
    name: str
    options: tuple[str, ...] = ()
    mount: str = ""
    size_bytes: int = 320 * MIB
    has_attributes: bool = True
    has_database: bool = False


def _of(kind: str, **options: str) -> list[Variant]:
    return [Variant(kind, name.replace("_", "-"), tuple(words.split())) for name, words in options.items()]


MADE: Sequence[Variant] = (
    *_of(
        "ext4",
        default="-b 4096",
        blocks_of_1_kib="-b 1024",
        blocks_of_2_kib="-b 2048",
        without_checksums="-b 4096 -O ^metadata_csum",
        group_checksums_only="-b 4096 -O ^metadata_csum,uninit_bg",
        without_64bit="-b 4096 -O ^64bit",
        ext2="-b 4096 -t ext2",
        ext3="-b 4096 -t ext3",
        without_journal="-b 4096 -O ^has_journal",
        inline_data="-b 4096 -I 256 -O inline_data",
        small_inodes="-b 4096 -I 128 -O ^metadata_csum",
        large_inodes="-b 4096 -I 1024",
        meta_groups="-b 4096 -O meta_bg,^resize_inode",
        two_backups="-b 4096 -O sparse_super2,^resize_inode",
        project="-b 4096 -I 256 -O project",
        large_directories="-b 4096 -O large_dir",
        attributes_in_inodes="-b 4096 -O ea_inode",
        ready_tables="-b 4096 -E lazy_itable_init=0,lazy_journal_init=0",
        many_inodes="-b 4096 -T news",
        small_flexible_groups="-b 4096 -G 4",
        packed="-b 4096 -E packed_meta_blocks=1",
        encryption_and_verity="-b 4096 -O encrypt,verity",
    ),
    *_of(
        "xfs",
        default="",
        without_reflink="-m reflink=0",
        reverse_map="-m rmapbt=1",
        no_free_inode_tree="-m finobt=0,inobtcount=0",
        large_inodes="-i size=1024",
        whole_inode_chunks="-i sparse=0",
        large_directory_blocks="-n size=16384",
        two_groups="-d agcount=2",
        three_groups="-d agcount=3",
        old_times="-m bigtime=0",
        blocks_of_1_kib="-b size=1024",
        large_extent_counts="-i nrext64=1",
        sectors_of_4_kib="-s size=4096",
    ),
    *_of(
        "btrfs",
        default="",
        single_metadata="-m single",
        double_data="-d dup",
        sha256="--csum sha256",
        blake2="--csum blake2",
        nodes_of_32_kib="-n 32768",
        nodes_of_4_kib="-n 4096",
        old_free_space="-R ^free-space-tree",
        with_hole_items="-O ^no-holes",
        mixed="--mixed",
        quota="-R quota",
    ),
    *(
        Variant("ntfs", name, tuple(options.split()), has_attributes=False)
        for name, options in (
            ("default", ""),
            ("clusters-of-512", "-c 512"),
            ("clusters-of-64-kib", "-c 65536"),
            ("sectors-of-4-kib", "-s 4096"),
            ("large-table", "-z 4"),
        )
    ),
)
"""Made, filled, unmounted. What our readers say they do not know (bigalloc, xxhash) is not called clean by them."""

WRITTEN_TO: Sequence[Variant] = (
    Variant("ext4", "busy", ("-b", "4096"), size_bytes=768 * MIB),
    Variant("xfs", "busy", size_bytes=768 * MIB),
    Variant("btrfs", "busy", size_bytes=768 * MIB),
    Variant("ext4", "busy-database", ("-b", "4096"), size_bytes=768 * MIB, has_database=True),
    Variant("xfs", "busy-database", size_bytes=768 * MIB, has_database=True),
    Variant("btrfs", "busy-database", size_bytes=768 * MIB, has_database=True),
    Variant("ext4", "busy-1-kib", ("-b", "1024"), size_bytes=512 * MIB),
    Variant("xfs", "busy-reverse-map", ("-m", "rmapbt=1"), size_bytes=512 * MIB),
    Variant("btrfs", "busy-compressed", mount="compress=zstd", size_bytes=512 * MIB),
    Variant("ext4", "busy-data-journal", ("-b", "4096"), "data=journal", size_bytes=512 * MIB),
    Variant("xfs", "busy-1-kib", ("-b", "size=1024"), size_bytes=512 * MIB),
    Variant("btrfs", "busy-without-checksums", mount="nodatasum", size_bytes=512 * MIB),
)


def make_clean(variant: Variant, image: Path, *, seed: int, files: int) -> None:
    """The image holds a file system of this variant, filled, changed after a second mount, and unmounted."""
    with image.open("wb") as file:
        file.truncate(variant.size_bytes)
    with loop_device(image) as device:
        run(*MAKERS[variant.kind], *variant.options, device)
        place = image.with_suffix(".mount")
        for part in ("first", "second"):
            with mounted(device, _mounted_as(variant), place, variant.mount) as folder:
                write_files(folder / part, seed=seed, files=files, has_attributes=variant.has_attributes)


def _mounted_as(variant: Variant) -> str:
    return variant.name if variant.name in ("ext2", "ext3") else variant.kind


@contextmanager
def cloning_host(folder: Path) -> Iterator[Path]:
    """A folder whose files can be cloned in an instant."""
    image = folder / "host.img"
    with image.open("wb") as file:
        file.truncate(HOST_BYTES)
    run("mkfs.xfs", "-q", "-f", "-m", "reflink=1", image)
    with loop_device(image) as device, mounted(device, "xfs", folder / "host") as host:
        host.chmod(0o711)
        yield host


def clones(variant: Variant, host: Path, *, count: int, seed: int) -> list[Path]:
    """So many clones of one file system, each taken while writers are at work, oldest first."""
    name = f"{variant.kind}-{variant.name}"
    image, draw = host / f"{name}.img", Random(seed)  # noqa: S311 - trials are repeated from their seed
    with image.open("wb") as file:
        file.truncate(variant.size_bytes)
    taken: list[Path] = []
    with ExitStack() as stack:
        device = stack.enter_context(loop_device(image))
        run(*MAKERS[variant.kind], *variant.options, device)
        folder = stack.enter_context(mounted(device, variant.kind, host / f"{name}.mount", variant.mount))
        if variant.has_database:
            stack.enter_context(busy_database(folder / "database"))
        stack.enter_context(_writers(folder, seed))
        time.sleep(SETTLE_SECONDS)
        for number in range(count):
            time.sleep(draw.uniform(*BETWEEN_CLONES_SECONDS))
            taken.append(host / f"clean-{name}-{number:03}.img")
            run("cp", "--reflink=always", image, taken[-1])
    image.unlink()
    return taken


@contextmanager
def _writers(folder: Path, seed: int) -> Iterator[None]:
    enough = threading.Event()
    problems: list[OSError] = []

    def work(number: int) -> None:
        try:
            _Writer(folder / f"writer-{number}", Random(f"{seed}/{number}")).work_until(enough)  # noqa: S311 - as above
        except OSError as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        enough.set()
        for thread in threads:
            thread.join()
    if problems:
        # Clones of a file system that nobody wrote to would prove less than the table says.
        raise problems[0]


class _Writer:
    """Does to its own folder what programs do to theirs, in an order that the seed gives."""

    def __init__(self, folder: Path, draw: Random) -> None:
        self._draw = draw
        self._folders = [folder]
        self._files: list[Path] = []
        folder.mkdir()

    def work_until(self, enough: threading.Event) -> None:
        deeds: Sequence[tuple[Callable[[], None], int]] = (
            (self._create, 45),
            (self._append, 15),
            (self._rename, 10),
            (self._make_folder, 4),
            (self._truncate, 3),
            (self._link, 2),
            (self._set_attribute, 2),
            (self._overwrite, 5),
            (self._remove, 14),
        )
        kinds, weights = [deed for deed, _ in deeds], [weight for _, weight in deeds]
        while not enough.is_set():
            deed = self._create if len(self._files) < 20 else self._draw.choices(kinds, weights)[0]
            if len(self._files) > MOST_FILES_OF_A_WRITER:
                deed = self._remove
            try:
                deed()
            except OSError as problem:
                # A full disk is part of the trial, and so is a file system without attributes.
                if problem.errno == ENOSPC:
                    self._make_room()
                elif problem.errno not in (ENOTSUP, ENODATA):
                    raise

    def _new(self, letter: str) -> Path:
        return self._draw.choice(self._folders) / f"{letter}{self._draw.getrandbits(48):x}"

    def _create(self) -> None:
        path = self._new("f")
        self._files.append(path)
        with path.open("wb") as file:
            file.write(self._draw.randbytes(self._draw.choice((10, 500, 5_000, 60_000))))
            if self._draw.random() < 0.1:
                file.flush()
                os.fsync(file.fileno())

    def _append(self) -> None:
        with self._draw.choice(self._files).open("ab") as file:
            file.write(self._draw.randbytes(8_000))

    def _overwrite(self) -> None:
        with self._draw.choice(self._files).open("r+b") as file:
            file.write(self._draw.randbytes(3_000))
            os.fsync(file.fileno())

    def _rename(self) -> None:
        which = self._draw.randrange(len(self._files))
        self._files[which] = self._files[which].rename(self._new("r"))

    def _make_folder(self) -> None:
        if len(self._folders) < 200:
            path = self._new("d")
            path.mkdir()
            self._folders.append(path)

    def _truncate(self) -> None:
        os.truncate(self._draw.choice(self._files), self._draw.randrange(4_000))

    def _link(self) -> None:
        self._new("s").symlink_to("t" * self._draw.randrange(1, 900))

    def _set_attribute(self) -> None:
        os.setxattr(self._draw.choice(self._files), "user.note", self._draw.randbytes(self._draw.choice((20, 1_500))))

    def _remove(self) -> None:
        self._files.pop(self._draw.randrange(len(self._files))).unlink(missing_ok=True)

    def _make_room(self) -> None:
        for _ in range(min(50, len(self._files) - 1)):
            self._files.pop().unlink(missing_ok=True)
