"""Lambda layers rebuilt for this machine: a layer for arm64 and Python 3.13 cannot be imported anywhere else."""

from __future__ import annotations

import compileall
import csv
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import py_compile
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

DEFAULT_CACHE = Path("build/cache/host-layers")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can say, so that equal content makes equal zips
_FORMAT = "1"


@dataclass(frozen=True)
class HostLayers:
    """Builds layers, and remembers what it has built in `cache`."""

    cache: Path = DEFAULT_CACHE
    uv: str | None = None

    def zip_of(self, asset: Path) -> Path:
        """The layer of the unpacked `asset` as a zip whose packages this interpreter can import."""
        key = hashlib.sha256("\n".join(_ingredients(asset)).encode()).hexdigest()[:24]
        built = self.cache / f"{key}.zip"
        if not built.exists():
            self.cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.cache) as scratch:
                content = Path(scratch) / "layer"
                self._fill(content / "python", asset / "python")
                # Compiled once here, not by every cold start; never checked against a source that cannot change.
                compileall.compile_dir(
                    content, quiet=2, workers=0, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
                )
                finished = Path(scratch) / "layer.zip"
                zip_folder(content, finished)
                finished.rename(built)
        return built

    def _fill(self, target: Path, source: Path) -> None:
        target.mkdir(parents=True)
        absent = []
        for name, version in distributions(source):
            if _installed_version(name) == version:
                _copy_installed(name, target)
            else:
                absent.append(f"{name}=={version}")
        if absent:
            self._install(absent, target)
        for path in _without_distribution(source):
            copy = shutil.copytree if path.is_dir() else shutil.copy2
            copy(path, target / path.name)

    def _install(self, requirements: list[str], target: Path) -> None:
        command = [*self._installer(), "--quiet", "--no-deps", "--target", str(target), *requirements]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
        if done.returncode:
            raise RuntimeError(
                f"{' '.join(command)} failed; install the same versions into this environment, or reach the "
                f"package registry:\n{done.stderr.strip()}"
            )

    def _installer(self) -> list[str]:
        uv = self.uv or os.environ.get("UV") or shutil.which("uv")
        if uv:
            return [uv, "pip", "install", "--python", sys.executable]
        if importlib.util.find_spec("pip"):
            return [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
        raise RuntimeError(
            "the layer holds versions that this environment has not, and there is neither uv nor pip to install "
            "them with; run `uv sync`, or name a uv with --uv"
        )


def is_for_another_machine(asset: Path) -> bool:
    """The asset is a layer of installed packages, which are made for Lambda and not for this machine."""
    return any((asset / "python").glob("*.dist-info"))


def distributions(packages: Path) -> Iterator[tuple[str, str]]:
    """Name and version of each distribution installed in a folder."""
    for folder in sorted(packages.glob("*.dist-info")):
        name, _, version = folder.name.removesuffix(".dist-info").rpartition("-")
        yield name, version


def zip_folder(folder: Path, into: Path) -> None:
    """`into` holds every file of `folder`; the same files always make the same bytes."""
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(str(path.relative_to(folder)), _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (path.stat().st_mode & 0o777) << 16
            archive.writestr(entry, path.read_bytes(), compresslevel=1)


def _ingredients(asset: Path) -> Iterator[str]:
    yield from (_FORMAT, sys.version, platform.platform())
    yield from (f"{name}=={version}" for name, version in distributions(asset / "python"))
    for path in _without_distribution(asset / "python"):
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                yield f"{file.relative_to(asset)} {hashlib.sha256(file.read_bytes()).hexdigest()}"


def _without_distribution(packages: Path) -> Iterator[Path]:
    """What lies in the layer beside the installed distributions."""
    claimed = set(_claimed(packages.glob("*.dist-info")))
    return (path for path in sorted(packages.iterdir()) if path.name not in claimed)


def _claimed(folders: Iterable[Path]) -> Iterator[str]:
    for folder in folders:
        yield folder.name
        record = folder / "RECORD"
        if not record.exists():
            raise RuntimeError(f"{folder} has no RECORD, so nobody knows what belongs to it; synthesise again")
        with record.open(newline="") as rows:
            yield from (Path(row[0]).parts[0] for row in csv.reader(rows) if row)


def _installed_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _copy_installed(name: str, target: Path) -> None:
    for file in importlib.metadata.distribution(name).files or []:
        is_ours = file.parts[0] != ".." and "__pycache__" not in file.parts
        if is_ours:
            place = target / file
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file.locate(), place)
