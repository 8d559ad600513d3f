"""What the trials need of the machine: its commands, loop devices and mounts, and that every one of them is undone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGES = {
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "mkfs.btrfs": "btrfs-progs",
    "mkntfs": "ntfs-3g",
    "ntfs-3g": "ntfs-3g",
    "sgdisk": "gdisk",
    "losetup": "mount",
    "mount": "mount",
    "umount": "mount",
}
"""The commands, and the package of Debian that each one comes with."""

MOST_SECONDS_BUSY = 30

_SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"


class CommandFailed(Exception):
    """A command did not do what it was asked for; what it wrote stands in the message."""


def why_unfit() -> str | None:
    """Why images cannot be made here, in one line that says what to do; None when they can."""
    if os.geteuid() != 0:
        return "images are made with loop devices and mounts: run this as root (sudo)"
    missing = {package for command, package in PACKAGES.items() if _which(command) is None}
    if missing:
        return f"commands are missing: apt-get install {' '.join(sorted(missing))}"
    if not Path("/dev/loop-control").exists():
        return "there are no loop devices: modprobe loop, or run this on a machine and not in a container"
    return None


def run(*words: str | Path) -> str:
    """The command ended well and wrote this. Errors: CommandFailed."""
    command = [str(word) for word in words]
    done = subprocess.run(  # noqa: S603 - our own words
        [_which(command[0]) or command[0], *command[1:]],
        capture_output=True,
        text=True,
        check=False,
        # Ctrl-C in a terminal reaches the whole group, and what undoes a mount must not be hit by it.
        start_new_session=True,
    )
    if done.returncode:
        raise CommandFailed(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}".strip())
    return done.stdout.strip()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that goes away, with every mount and loop device in it, however this ends."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    folder = Path(tempfile.mkdtemp(prefix="holdfast-verification-"))
    # PostgreSQL runs under another account, which must reach its own folder below this one.
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        interrupts = signal.signal(signal.SIGINT, signal.SIG_IGN)
        undo_mounts(folder)
        shutil.rmtree(folder)
        signal.signal(signal.SIGINT, interrupts)
        signal.signal(signal.SIGTERM, before)


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def loop_device(image: Path, *, offset: int = 0, length: int = 0) -> Iterator[Path]:
    """The image, or a stretch of it, as a block device. Units: bytes; a length of 0 is up to the end."""
    device = Path(run("losetup", "--find", "--show", f"--offset={offset}", f"--sizelimit={length}", image))
    try:
        yield device
    finally:
        run("losetup", "--detach", device)


@contextmanager
def mounted(device: Path, kind: str, folder: Path, options: str = "") -> Iterator[Path]:
    """The file system on the device, at the folder, until it is left."""
    folder.mkdir(exist_ok=True)
    named = ["-o", options] if options else []
    if kind == "ntfs":
        run("ntfs-3g", *named, device, folder)
    else:
        run("mount", "-t", kind, *named, device, folder)
    try:
        yield folder
    finally:
        _unmount(folder)


def _unmount(folder: Path) -> None:
    # A program that was interrupted may hold a file open for a moment longer.
    until = time.monotonic() + MOST_SECONDS_BUSY
    while True:
        try:
            run("umount", folder)
        except CommandFailed:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)
        else:
            return


def undo_mounts(folder: Path) -> None:
    """Nothing is mounted below the folder, and no loop device shows a file in it."""
    below = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for place in sorted((place for place in below if place.startswith(f"{folder}/")), reverse=True):
        run("umount", "--lazy", place)
    listed = run("losetup", "--list", "--json", "--output", "NAME,BACK-FILE")
    for one in json.loads(listed or "{}").get("loopdevices", []):
        if str(one["back-file"]).startswith(f"{folder}/"):
            run("losetup", "--detach", one["name"])


def _which(command: str) -> str | None:
    return shutil.which(command, path=f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_FOLDERS}")
