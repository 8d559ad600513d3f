"""The inside of an instance: becomes root of a machine of its own, with the attached volumes, and runs one script.

Runs as a process of its own and as a file, not a module: it imports the standard library only. `machine` starts it as
the first process of fresh name spaces and writes what to do to its standard input as one JSON object. Nothing it does
outlives it but what the script wrote to a volume: when it ends, the kernel ends every process below it, takes its
mounts apart and lets go of the images.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

_BLANK_NODES = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}
_MEMORY_MAJOR = 1
_SECTOR_BYTES = 512
_NVME_NAME = "Amazon_Elastic_Block_Store"
_SCRIPT = Path("/var/lib/amazon/ssm/script/_script.sh")
# What a process of the SSM agent on Amazon Linux 2023 finds; HOME is not among it.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_GET_FLAGS, _SET_FLAGS, _IS_UP = 0x8913, 0x8914, 0x1


def main() -> int:
    """The exit status of the script, or of the signal that ended it as shells count it."""
    wanted = json.load(sys.stdin)
    try:
        devices = _become_the_instance(wanted)
    except OSError as refused:
        raise SystemExit(str(refused)) from refused
    os.write(wanted["begun"], " ".join(["begun", *devices]).encode())
    os.close(wanted["begun"])
    # As the agent does: a script that names its interpreter is run by it, any other by the shell itself.
    ended = subprocess.run(  # noqa: S603 - running what it is sent is what an instance is for
        ["bash", "-c", str(_SCRIPT)],  # noqa: S607
        stdin=subprocess.DEVNULL,
        env={"PATH": _PATH, "LANG": "C.UTF-8", **wanted["environment"]},
        check=False,
    )
    return ended.returncode if ended.returncode >= 0 else 128 - ended.returncode


def _become_the_instance(wanted: dict[str, Any]) -> list[str]:
    """The script lies on a file system of its own, with the volumes beside it, in the directory it is to run in.

    Answers this machine's names of the devices that the volumes have become.
    """
    disks = [_Disk(volume) for volume in wanted["volumes"]]
    root = _own_root(Path(wanted["stage"]))
    os.chroot(root)
    os.chdir("/")
    for number, disk in enumerate(disks, start=1):  # nvme0 is the root volume of an instance
        disk.appear_as(f"nvme{number}n1")
    _raise_loopback()
    _SCRIPT.parent.mkdir(parents=True)
    _SCRIPT.write_text(wanted["script"])
    _SCRIPT.chmod(0o700)
    directory = wanted["directory"]
    os.chdir(directory if Path(directory).is_dir() else "/")
    return [disk.device for disk in disks]


class _Disk:
    """A volume's image, and each partition on it, as block devices held for as long as this process lives."""

    def __init__(self, volume: dict[str, Any]) -> None:
        self._link = f"nvme-{_NVME_NAME}_{volume['volume_id'].replace('-', '')}"
        self.device = _output("losetup", "--find", "--show", "--partscan", volume["image"])
        os.open(self.device, os.O_RDONLY | os.O_CLOEXEC)
        # Detached while it is held, a loop device goes away with its last user, however that user ends.
        _output("losetup", "--detach", self.device)
        # A device that was set read-only stays so for whatever it is used for next.
        _output("blockdev", "--setrw", self.device)
        self._whole = Path(self.device).stat().st_rdev
        self._parts = {part["number"]: _partition(self.device, part) for part in volume["partitions"]}

    def appear_as(self, name: str) -> None:
        """`/dev` shows the disk and its partitions as an instance built on Nitro does."""
        _show(name, self._whole, self._link)
        for number, device in self._parts.items():
            _show(f"{name}p{number}", device, f"{self._link}-part{number}")


def _partition(device: str, part: dict[str, int]) -> int:
    """The number of the partition's own device, which exists from here on."""
    shown = Path(f"/sys/class/block/{Path(device).name}/{Path(device).name}p{part['number']}/dev")
    if not shown.exists():  # not every kernel reads partition tables; one that does has made it already
        start, length = (str(part[name] // _SECTOR_BYTES) for name in ("offset", "size"))
        _output("addpart", device, str(part["number"]), start, length)
    major, minor = map(int, shown.read_text().split(":"))
    return os.makedev(major, minor)


def _show(name: str, number: int, link: str) -> None:
    os.mknod(f"/dev/{name}", 0o600 | 0o060000, number)
    by_id = Path("/dev/disk/by-id")
    by_id.mkdir(parents=True, exist_ok=True)
    (by_id / link).symlink_to(f"../../{name}")


def _own_root(stage: Path) -> Path:
    """This machine's root file system under a layer that takes every write and is forgotten; its own `/dev`."""
    _mount("tmpfs", stage, "mode=0755")
    os.chdir(stage)
    root = stage / "root"
    for name in ("root", "upper", "work"):
        (stage / name).mkdir()
    # By relative names: a comma or a colon in the path of the stage would end an option.
    _mount("overlay", root, "lowerdir=/,upperdir=upper,workdir=work")
    for name, mode in (("tmp", "1777"), ("run", "0755"), ("mnt", "0755"), ("dev", "0755")):
        (root / name).mkdir(exist_ok=True)
        _mount("tmpfs", root / name, f"mode={mode}")
    _mount("proc", root / "proc", "nosuid")
    # The kernel is this machine's own: the script may look at it, and change nothing.
    _output("mount", "--bind", "/sys", str(root / "sys"))
    _output("mount", "-o", "remount,bind,ro", str(root / "sys"))
    device_directory = root / "dev"
    for name, minor in _BLANK_NODES.items():
        os.mknod(device_directory / name, 0o666 | 0o020000, os.makedev(_MEMORY_MAJOR, minor))
        (device_directory / name).chmod(0o666)
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        (device_directory / name).symlink_to(f"/proc/self/fd{target}")
    (device_directory / "shm").mkdir(mode=0o1777)
    return root


def _mount(kind: str, target: Path, options: str) -> None:
    _output("mount", "-t", kind, "-o", options, kind, str(target))


def _raise_loopback() -> None:
    """`127.0.0.1` answers; a fresh network has nothing else, as an isolated subnet has no way out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        flags: Any = struct.unpack("16sh14x", fcntl.ioctl(any_socket, _GET_FLAGS, request))[1]
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", flags | _IS_UP))


def _output(*command: str) -> str:
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603
    if ended.returncode != 0:
        raise SystemExit(f"`{' '.join(command)}` failed: {ended.stderr.strip()}")
    return ended.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
