"""What runs on the machine of a deep check, as root, sent there as text: it imports the standard library only, is read
by the Python 3.9 of Amazon Linux 2023, and says everything it has seen as lines of JSON between two marks.

The volumes are throw-away copies that were proven equal to their source before, through snapshots. So the kernel may
replay a journal on them, as it would in a recovery; from then on nothing can write to them.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

BEGIN, END = "<<<holdfast deep check", "holdfast deep check>>>"
"""Nothing that a command prints can look like them: it is quoted in JSON."""

MOST_TEXT = 320
MOST_REPORT = 20_000
"""Characters; Systems Manager keeps 24,000 of what a script prints."""

KEPT_BYTES = 65_536
"""Of what a program prints the beginning is kept; a checker of a broken file system prints for hours."""

DISKS = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_"
PLACE = Path("/run/holdfast-deep-check")
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs")
ALONE = ("unshare", "--net", "--pid", "--fork", "--kill-child")
"""Without a network a command reaches neither Systems Manager nor the credentials of the machine."""

READ_ONLY = "ro,nosuid,nodev,noexec"
OPTIONS = {"ext2": READ_ONLY, "ext3": READ_ONLY, "ext4": READ_ONLY, "vfat": READ_ONLY, "xfs": READ_ONLY + ",nouuid"}
"""`nouuid`: a protected root volume may have been made from the image that this machine was made from."""

CHECKS = {
    "ext2": ("e2fsck", "-f", "-n"),
    "ext3": ("e2fsck", "-f", "-n"),
    "ext4": ("e2fsck", "-f", "-n"),
    "xfs": ("xfs_repair", "-n"),
}
IGNORED_JOURNAL = ("skipping journal recovery", "log which is being ignored", "Log is dirty")
"""With which a checker says that it judged what a journal would still have mended: that proves no damage."""

PROGRESS = ("Pass ", "e2fsck ", "Phase ", "        - ", "No modify flag")
"""How lines begin in which checkers only tell how far they are."""

NO_FILES = ("21686148-6449-6e6f-744e-656564454649", "9e1a2d38-c612-4316-aa26-8b49521e5a8b")
"""Types of GPT partitions that hold a boot loader and never a file system: BIOS boot, PReP."""


class Ended(NamedTuple):
    """How a program ended; `exit` is None when its time was up."""

    exit: int | None
    said: str


def run(command: tuple[str, ...], seconds: float, directory: str = "/") -> Ended:
    """The program and everything it started has ended, by itself or because its time was up."""
    try:
        process = subprocess.Popen(  # noqa: S603 - no shell; the commands of the policy are reviewed configuration
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=ENVIRONMENT,
            start_new_session=True,
        )
    except OSError as problem:
        return Ended(None, f"{command[0]}: {problem.strerror}")
    late = threading.Event()

    def end() -> None:
        late.set()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(max(0.0, seconds), end)
    timer.start()
    said = b""
    assert process.stdout is not None  # noqa: S101 - it is a pipe, asked for above
    with process.stdout as pipe:
        for part in iter(lambda: os.read(pipe.fileno(), KEPT_BYTES), b""):
            said += part[: KEPT_BYTES - len(said)]
    code = process.wait()
    timer.cancel()
    text = said.decode(errors="replace")
    return Ended(None, f"not done within {seconds:.0f} s; {text}") if late.is_set() else Ended(code, text)


class Check:
    """The check of some volumes, until its time is up."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.until = time.monotonic() + order["seconds"]
        self.seen: list[dict[str, Any]] = []
        self.mounted: list[tuple[int, str]] = []

    @property
    def left_seconds(self) -> float:
        return self.until - time.monotonic()

    def report(self) -> list[dict[str, Any]]:
        """Everything that can be said about the volumes and the commands, what is wrong first."""
        for volume in self.order["volumes"]:
            self._volume(volume)
        ended = [self._command(position, command) for position, command in enumerate(self.order["commands"])]
        return sorted(ended + self.seen, key=lambda one: one.get("exit") == 0 and one.get("is_mounted") is not False)

    def _volume(self, volume: str) -> None:
        disk = DISKS + volume.replace("-", "")
        if not Path(disk).exists():
            run(("udevadm", "settle", "--timeout=60"), 70)
        if not Path(disk).exists():
            self.seen.append({"where": volume, "kind": "", "said": "its device did not appear on the machine"})
            return
        parts = sorted(Path(disk).parent.glob(Path(disk).name + "-part*"), key=lambda part: (len(part.name), part.name))
        if not parts:
            self._place(volume, disk)
        for part in parts:
            self._place(f"{volume} partition {part.name.rpartition('-part')[2]}", str(part))

    def _place(self, where: str, device: str) -> None:
        found = run(("blkid", "--probe", "--output", "export", device), min(60, self.left_seconds))
        facts = dict(line.split("=", 1) for line in found.said.splitlines() if "=" in line)
        kind = facts.get("TYPE", "")
        if not kind and facts.get("PART_ENTRY_TYPE") in NO_FILES:
            return
        seen: dict[str, Any] = {"where": where, "kind": kind}
        if kind in OPTIONS:
            seen.update(self._file_system(kind, device, PLACE / str(len(self.seen))))
        elif not kind and "PTTYPE" in facts:
            seen["said"] = "it has a partition table, and none of its partitions appeared"
        self.seen.append(seen)

    def _file_system(self, kind: str, device: str, place: Path) -> dict[str, Any]:
        place.mkdir(parents=True, exist_ok=True)
        first = self._mount(kind, device, place)
        if first.exit == 0:
            run(("umount", str(place)), 60)
        elif kind in ("ext3", "ext4"):
            run(("e2fsck", "-y", "-E", "journal_only", device), self.left_seconds)
        run(("blockdev", "--setro", device), 60)
        checked: dict[str, Any] = {}
        if kind in CHECKS:
            ended = run((*CHECKS[kind], device), self.left_seconds)
            is_judged = not any(words in ended.said for words in IGNORED_JOURNAL)
            checked = {
                "exit": ended.exit if is_judged else None,
                "said": "" if ended.exit == 0 else telling(ended.said),
            }
        mounted = self._mount(kind, device, place) if first.exit == 0 else first
        if mounted.exit == 0:
            with open(device, "rb") as opened:  # noqa: PTH123 - a device has no size for Path
                self.mounted.append((opened.seek(0, os.SEEK_END), str(place)))
        is_mounted = mounted.exit == 0
        return dict(checked, is_mounted=is_mounted, mount_said="" if is_mounted else telling(mounted.said))

    def _mount(self, kind: str, device: str, place: Path) -> Ended:
        return run(("mount", "-t", kind, "-o", OPTIONS[kind], device, str(place)), self.left_seconds)

    def _command(self, position: int, command: dict[str, Any]) -> dict[str, Any]:
        directory = self._directory(command["directory"])
        if directory is None:
            is_sure = all(one.get("is_mounted") for one in self.seen if one["kind"] != "swap")
            said = f"no file system that could be mounted has the directory {command['directory']}"
            return {"position": position, "exit": 1 if is_sure else None, "said": said[:MOST_TEXT]}
        who = () if command["as_root"] else NOBODY
        seconds = min(command["seconds"], self.left_seconds)
        ended = run((*ALONE, *who, "bash", "-c", command["run"]), seconds, directory)
        return {"position": position, "exit": ended.exit, "said": telling(ended.said)}

    def _directory(self, wanted: str) -> str | None:
        """Where the directory is in the largest file system that has it; a link that leads out of it is none."""
        for _, place in sorted(self.mounted, key=lambda one: (-one[0], one[1])):
            real = os.path.realpath(place + wanted)
            if (real + "/").startswith(place + "/") and Path(real).is_dir():
                return real
        return None


def telling(said: str) -> str:
    """The first lines that tell more than how far a program is."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith(PROGRESS)]
    return cut("; ".join(lines[:5]))


def cut(said: str) -> str:
    """The beginning, so much of it that it stays short when it is quoted."""
    text = said.strip()[:MOST_TEXT]
    while len(json.dumps(text)) > MOST_TEXT:
        text = text[: len(text) * 3 // 4]
    return text


def written(found: list[dict[str, Any]]) -> str:
    """The report as it is printed: every line whole, and the last ones without their texts when it becomes too long."""
    lines: list[str] = []
    for one in found:
        line = json.dumps(one)
        if sum(map(len, lines)) + len(line) > MOST_REPORT:
            line = json.dumps({key: value for key, value in one.items() if key not in ("said", "mount_said")})
        lines.append(line)
    return "\n".join([BEGIN, *lines, END])


def main(order: str) -> int:
    """The report is printed; 75 when another run of this script is at it."""
    PLACE.mkdir(exist_ok=True)
    held = os.open(PLACE, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return 75
    if missing := [program for program in ("blkid", "mount", "setpriv", "unshare") if shutil.which(program) is None]:
        sys.stderr.write(f"this machine has no {', '.join(missing)}\n")
        return 1
    sys.stdout.write(written(Check(json.loads(base64.b64decode(order))).report()) + "\n")
    return 0
