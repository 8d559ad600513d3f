"""A directory of this machine as a FileSystem, so that checks on files need no image of a disk."""

from __future__ import annotations

import stat
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from functions.inspection.devices import Device
from functions.inspection.file_systems import Damaged, Extent, File, NotReadable
from functions.inspection.findings import Findings

ALIGNED_BYTES = 4096


class LaidOut:
    """The files of a directory, one behind the other, as a device. `expected` keeps the hints that were given."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self.expected: list[tuple[int, int]] = []

    def read(self, offset: int, length: int) -> bytes:
        """Checks on files read through the file system."""
        raise AssertionError("a check on files read the device itself")

    def expect(self, places: Iterable[tuple[int, int]]) -> None:
        """Kept."""
        self.expected.extend(places)

    def on_disk(self, offset: int, length: int) -> tuple[tuple[int, int], ...]:
        """Itself."""
        return ((offset, length),)


class DirectoryFiles:
    """The regular files below a directory. `patches` replaces contents by path, None takes a file away; `why_not` makes
    files unreadable, `damaged` makes reading them fail. `read_bytes` counts what was read.
    """

    kind = "directory"
    needs_replay = False

    def __init__(self, root: Path, *, patches: Mapping[str, bytes | None] | None = None) -> None:
        self.root = root
        self.patches: dict[str, bytes | None] = dict(patches or {})
        self.why_not: dict[str, str] = {}
        self.damaged: set[str] = set()
        self.modified_at: dict[str, datetime | None] = {}
        self.laid_out = LaidOut()
        self.device: Device = self.laid_out
        self.findings = Findings()
        self.read_bytes = 0
        self._on_disk: dict[str, bytes] = {}
        self._starts: dict[str, int] = {}

    def verify(self) -> None:
        """A directory has nothing to verify."""

    def files(self) -> Iterator[File]:
        """Every regular file, in the order of the directory; symbolic links are not followed."""
        for path in sorted(self.root.rglob("*")):
            name = "/" + path.relative_to(self.root).as_posix()
            if stat.S_ISREG(path.lstat().st_mode) and self.patches.get(name, b"") is not None:
                yield self._file(name)
        for name in sorted(self.patches):
            if self.patches[name] is not None and not (self.root / name[1:]).exists():
                yield self._file(name)

    def find(self, path: str) -> File | None:
        """The file at a path, or None."""
        if path in self.patches:
            return None if self.patches[path] is None else self._file(path)
        at = self.root / path[1:]
        return self._file(path) if at.is_file() and not at.is_symlink() else None

    def read(self, file: File, offset: int = 0, length: int | None = None) -> bytes:
        """The content, with the patches."""
        if file.why_not:
            raise NotReadable(file.why_not)
        if file.path in self.damaged:
            raise Damaged(file.path)
        content = self.content(file.path)
        piece = content[offset:] if length is None else content[offset : offset + length]
        self.read_bytes += len(piece)
        return piece

    def content(self, path: str) -> bytes:
        """What a file holds now."""
        patched = self.patches.get(path)
        if patched is not None:
            return patched
        if path not in self._on_disk:
            self._on_disk[path] = (self.root / path[1:]).read_bytes()
        return self._on_disk[path]

    def flip(self, path: str, offset: int, bit: int = 0) -> None:
        """One bit of a file is the other way round."""
        content = bytearray(self.content(path))
        content[offset] ^= 1 << bit
        self.patches[path] = bytes(content)

    def overwrite(self, path: str, offset: int, content: bytes) -> None:
        """These bytes stand in a file from now on."""
        whole = bytearray(self.content(path))
        whole[offset : offset + len(content)] = content
        self.patches[path] = bytes(whole)

    def place(self, path: str, at: int) -> int:
        """Which byte of a file lies at a place of the device."""
        return at - self._starts[path]

    def _file(self, name: str) -> File:
        content = self.content(name)
        if name not in self._starts:
            self._starts[name] = self.laid_out.size_bytes
            # Room to grow, so that a patched file that is longer overlaps no other.
            self.laid_out.size_bytes += (len(content) // ALIGNED_BYTES + 2) * ALIGNED_BYTES
        return File(
            path=name,
            id=self._starts[name],
            size_bytes=len(content),
            modified_at=self.modified_at.get(name, datetime(2026, 11, 20, 3, tzinfo=UTC)),
            extents=(Extent(0, self._starts[name], len(content)),) if content else (),
            why_not=self.why_not.get(name, ""),
        )


IMAGES = Path(__file__).parent / "images"


def unpack(name: str, folder: Path) -> Path:
    """The files of an archive in `images`, below a folder of their own."""
    target = folder / name
    with tarfile.open(IMAGES / f"{name}.tar.xz", "r:xz") as archive:
        archive.extractall(target, filter="data")
    return target
