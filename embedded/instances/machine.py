"""One script on one instance: a process tree in name spaces of its own, watched until it ends or is ended."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedded.instances.partitions import partitions

_GUEST = Path(__file__).with_name("guest.py")
_PROGRAMS = ("setpriv", "unshare", "losetup", "addpart", "blockdev", "mount", "bash")
_NEEDS = (
    "The embedded AWS could not begin the script on this machine. It needs root with CAP_SYS_ADMIN, name spaces "
    "(unshare --mount --pid --net --ipc), loop devices (losetup) and overlayfs; a container needs --privileged. "
    "What failed: "
)
# The first byte after what SSM shows at most tells that there was more.
_MOST_READ_BYTES = 4 * 24_001


@dataclass(frozen=True, kw_only=True, slots=True)
class Disk:
    """An attached volume and the file with its bytes."""

    volume_id: str
    image: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """What to run, where, and for at most how many seconds of the wall clock."""

    text: str
    directory: str
    timeout_seconds: int
    instance_id: str
    region: str
    disks: Sequence[Disk]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a script ended. `exit_code` is 128 + n where signal n ended it; `timed_out` says who sent that signal."""

    exit_code: int
    stdout: str
    stderr: str
    timed_out: bool = False


@dataclass
class Machine:
    """Runs its script once; `stop` may be called by anyone, before or after."""

    script: Script
    _stopped: bool = False
    _process: subprocess.Popen[bytes] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> Ending:
        """The script has ended, and with it every process it started."""
        with tempfile.TemporaryDirectory(prefix="instance-") as scratch:
            directory = Path(scratch)
            (directory / "stage").mkdir()
            try:
                return self._run(directory)
            except OSError as missing:
                return Ending(exit_code=1, stdout="", stderr=f"{_NEEDS}{missing}")

    def stop(self) -> None:
        """The script and everything it started are being killed; one that has not begun never will."""
        with self._lock:
            self._stopped = True
            self._kill()

    def _run(self, directory: Path) -> Ending:
        begun, tells = os.pipe()
        with (directory / "stdout").open("wb") as stdout, (directory / "stderr").open("wb") as stderr:
            try:
                with self._lock:
                    if not self._stopped:
                        self._process = subprocess.Popen(  # noqa: S603 - our own file, no shell
                            _command(),
                            stdin=subprocess.PIPE,
                            stdout=stdout,
                            stderr=stderr,
                            pass_fds=(tells,),
                            start_new_session=True,
                        )
            finally:
                os.close(tells)
            with os.fdopen(begun, "rb") as beginning:
                if self._process is None:
                    return Ending(exit_code=128 + signal.SIGKILL, stdout="", stderr="")
                timed_out = self._wait(self._process, self._order(directory, tells))
                begun_with = beginning.read().decode().split()
        _leave_writable(begun_with[1:])
        said = _beginning_of(directory / "stderr")
        if not begun_with and not self._stopped:
            return Ending(exit_code=1, stdout="", stderr=f"{_NEEDS}{said}")
        code = self._process.returncode
        return Ending(
            exit_code=128 + signal.SIGKILL if code < 0 else code,
            stdout=_beginning_of(directory / "stdout"),
            stderr=said,
            timed_out=timed_out,
        )

    def _order(self, directory: Path, begun: int) -> bytes:
        script = self.script
        order = {
            "begun": begun,
            "stage": str(directory / "stage"),
            "script": script.text,
            "directory": script.directory,
            "environment": {"AWS_SSM_INSTANCE_ID": script.instance_id, "AWS_SSM_REGION_NAME": script.region},
            "volumes": [_described(disk) for disk in script.disks],
        }
        return json.dumps(order).encode()

    def _wait(self, process: subprocess.Popen[bytes], order: bytes) -> bool:
        """The process has ended; whether because its time was up."""
        try:
            process.communicate(order, self.script.timeout_seconds)
        except subprocess.TimeoutExpired:
            with self._lock:
                self._kill()
            process.wait()
            return True
        return False

    def _kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            # Whoever left the group is in the name space of process identifiers, which ends with its first process.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


def _leave_writable(devices: list[str]) -> None:
    """What the script set read-only is so no longer: the loop device is somebody else's next, perhaps already."""
    for device in devices:
        subprocess.run(["blockdev", "--setrw", device], capture_output=True, check=False)  # noqa: S603, S607


def _described(disk: Disk) -> dict[str, Any]:
    return {
        "volume_id": disk.volume_id,
        "image": str(disk.image),
        "partitions": [
            {"number": part.number, "offset": part.offset_bytes, "size": part.size_bytes}
            for part in partitions(disk.image)
        ],
    }


def _command() -> list[str]:
    missing = [program for program in _PROGRAMS if not shutil.which(program)]
    if missing:
        raise FileNotFoundError(f"this machine has no {', '.join(missing)}; install util-linux, mount and bash")
    separate = ["--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child=KILL", "--mount-proc"]
    # Without the death signal an embedded AWS that is killed would leave its scripts running.
    return ["setpriv", "--pdeathsig", "KILL", "unshare", *separate, sys.executable, "-I", str(_GUEST)]


def _beginning_of(path: Path) -> str:
    with path.open("rb") as said:
        return said.read(_MOST_READ_BYTES).decode(errors="replace")
