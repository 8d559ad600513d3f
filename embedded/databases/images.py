"""Frozen copies of data directories: the content of DB snapshots."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from embedded.databases import programs
from embedded.databases.programs import Programs
from embedded.databases.server import Server

# The one file that belongs to the running process and not to its data.
_OF_THE_PROCESS = {"postmaster.pid"}
_CHUNK_BYTES = 1 << 30


@dataclass(frozen=True)
class Image:
    """A data directory as it was at one instant; nobody writes to it any more."""

    directory: Path
    size_bytes: int
    version: Programs
    administrator_password: str


class Images:
    """The images below one directory. Snapshots share an image; it goes with the last of them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._names = itertools.count()
        self._holders: Counter[Image] = Counter()
        self._lock = threading.Lock()

    def take(self, server: Server) -> Image:
        """An image of what the server's storage holds at this instant, as a power cut would leave it; held once."""
        target = self._new_directory()
        if server.is_running:
            # Most of the bytes are copied while the server works, so that it stands still for the rest only.
            begun_at_ns = target.stat().st_ctime_ns
            _copy(server.data_directory, target)
            with server.paused():
                _copy(server.data_directory, target, changed_since_ns=begun_at_ns)
                _remove_vanished(server.data_directory, target)
        else:
            _copy(server.data_directory, target)
        size_bytes = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
        _freeze(target)
        image = Image(target, size_bytes, server.version, server.administrator_password)
        self.hold(image)
        return image

    def change(self, image: Image, change: Callable[[Path], None]) -> Image:
        """An image that differs from this one by what `change` did to its directory; held once."""
        target = self._new_directory()
        _copy(image.directory, target)
        change(target)
        _freeze(target)
        changed = replace(image, directory=target)
        self.hold(changed)
        return changed

    def hold(self, image: Image) -> None:
        """One more snapshot has this content."""
        with self._lock:
            self._holders[image] += 1

    def release(self, image: Image) -> None:
        """One snapshot less has this content; after the last one the files are gone."""
        with self._lock:
            self._holders[image] -= 1
            if self._holders[image] > 0:
                return
            del self._holders[image]
        _remove_frozen(image.directory)

    def _new_directory(self) -> Path:
        target = self._directory / f"image-{next(self._names):04d}"
        target.mkdir(mode=0o700)
        return target

    def restore(self, image: Image, home: Path) -> Server:
        """A server, not yet started, with a copy of the image as its data."""
        server = Server.on_copied_data(image.version, home, image.administrator_password)
        server.data_directory.mkdir(mode=0o700)
        _copy(image.directory, server.data_directory)
        for directory, _, files in os.walk(server.data_directory):
            Path(directory).chmod(0o700)
            programs.give_to_servers(Path(directory))
            for name in files:
                path = Path(directory, name)
                path.chmod(0o600)
                programs.give_to_servers(path)
        return server


def _copy(source: Path, target: Path, changed_since_ns: int = 0) -> None:
    """Every file below `source` is also below `target`; ones there already only if they changed since then.

    The inode's own time of change tells: writing, truncating and renaming all move it, and nothing can set it.
    """
    for directory, _, files in os.walk(source):
        made = target / Path(directory).relative_to(source)
        made.mkdir(mode=0o700, exist_ok=True)
        there = {entry.name for entry in made.iterdir()}
        for name in files:
            path = Path(directory, name)
            # A server at work removes files under our hands; if it matters, the copy of the paused server tells.
            with contextlib.suppress(FileNotFoundError):
                if name not in _OF_THE_PROCESS and (name not in there or path.stat().st_ctime_ns >= changed_since_ns):
                    _copy_file(path, made / name)


def _remove_vanished(source: Path, target: Path) -> None:
    for directory, subdirectories, files in os.walk(target):
        original = source / Path(directory).relative_to(target)
        for name in files:
            if not (original / name).exists():
                Path(directory, name).unlink()
        for name in list(subdirectories):
            if not (original / name).exists():
                shutil.rmtree(Path(directory, name))
                subdirectories.remove(name)


def _copy_file(source: Path, target: Path) -> None:
    """Copied inside the kernel, and on file systems that can, by sharing the blocks."""
    with source.open("rb", buffering=0) as reading, target.open("wb", buffering=0) as writing:
        while os.copy_file_range(reading.fileno(), writing.fileno(), _CHUNK_BYTES):
            pass


def _freeze(directory: Path) -> None:
    for where, _, files in os.walk(directory, topdown=False):
        for name in files:
            Path(where, name).chmod(0o400)
        Path(where).chmod(0o500)


def _remove_frozen(directory: Path) -> None:
    # A directory that may not be written to does not let go of its files either.
    for where, _, _ in os.walk(directory):
        Path(where).chmod(0o700)
    shutil.rmtree(directory)
