"""A deep check: the restored volumes on a machine of their own, which checks, mounts and asks them.

Blocks and structure are read without it. What only a kernel can say (that the file system mounts) and what only the
owner knows (that the data means something) takes a machine, money and minutes, so it is by choice and now and then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from functions.core.evidence import Assertion

MOST_COMMANDS = 20
LONGEST_COMMAND = 1_000
LONGEST = timedelta(hours=2)
"""Waiting for its turn, for the machine and for the script; a rehearsal as a whole has six hours."""

AROUND_COMMANDS = timedelta(minutes=10)
"""What the machine, the checkers of the file systems and the mounts need at least beside the commands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepCommand:
    """One command of a policy: it holds when it exits with 0 within its time.

    It runs under bash in `directory` of the largest file system that has that directory, which is mounted read-only,
    without a network, and as nobody unless `as_root`.
    """

    run: str
    directory: str = "/"
    within: timedelta = timedelta(minutes=1)
    as_root: bool = False

    def __post_init__(self) -> None:
        if not 1 <= len(self.run.strip()) <= len(self.run) <= LONGEST_COMMAND or "\0" in self.run:
            raise ValueError(f"run: a command has 1 to {LONGEST_COMMAND} characters, and no zero byte")
        if not self.directory.startswith("/") or "\0" in self.directory or ".." in self.directory.split("/"):
            raise ValueError(f"directory: {self.directory!r} is no path of a directory from the root of a file system")
        if not timedelta(seconds=1) <= self.within <= timedelta(minutes=30):
            raise ValueError("within: must be between 1 second and 30 minutes")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepCheckRule:
    """What a policy says: how often a resource is checked deeply, in what time, and which commands hold on it."""

    every: timedelta = timedelta(days=30)
    within: timedelta = timedelta(minutes=45)
    commands: tuple[DeepCommand, ...] = ()

    def __post_init__(self) -> None:
        if not AROUND_COMMANDS <= self.within <= LONGEST:
            raise ValueError(f"deep_check.within: must be between {AROUND_COMMANDS} and {LONGEST}")
        if len(self.commands) > MOST_COMMANDS:
            raise ValueError(f"deep_check.commands: there are at most {MOST_COMMANDS}")
        needed = AROUND_COMMANDS + sum((command.within for command in self.commands), timedelta(0))
        if self.commands and needed > self.within:
            raise ValueError(f"deep_check.within: the commands alone may need {needed} with what is around them")


class Stage(StrEnum):
    """Where a deep check is; a workflow asks again for everything but OVER."""

    WAITING = "waiting"
    UNDER_WAY = "under way"
    OVER = "over"


class Awaited(StrEnum):
    """What a deep check waits for; when its time is up, this is why it is undecided."""

    TURN = "its turn: another deep check is going on in this Region"
    CAPACITY = "a machine: EC2 has none to give in the zone of the volumes"
    START = "its machine to run"
    ATTACHMENT = "the volumes to be attached to its machine"
    AGENT = "the SSM agent of its machine to register"
    SCRIPT = "the checks on its machine to end"


NEXT_STEPS: Mapping[Awaited, str] = {
    Awaited.TURN: "Nothing is wrong; let deep checks of so many resources be due less often, or give them more time.",
    Awaited.CAPACITY: "It is tried again at the next rehearsal; if this lasts, ask AWS Support about t4g there.",
    Awaited.START: "Look at the instance's state reason in EC2, and whether its role may use the key holdfast.",
    Awaited.ATTACHMENT: "Look at the volume's events in EC2, and whether the role may use the key of the volume.",
    Awaited.AGENT: "Look whether the interface endpoints ssm and ssmmessages of the network holdfast-rehearsal are "
    "available, and deploy again if they were changed.",
    Awaited.SCRIPT: "Give the deep check of this policy a longer `within`, or its commands less to do.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepCheck:
    """The deep check of one rehearsal, from its order to its end.

    `asked_at` is when its time began; `checker_id` the machine, `script_id` the run of the checks on it.
    """

    within: timedelta
    commands: tuple[DeepCommand, ...] = ()
    stage: Stage = Stage.WAITING
    awaited: Awaited = Awaited.TURN
    asked_at: datetime | None = None
    checker_id: str = ""
    script_id: str = ""
    ended_at: datetime | None = None
    problem: str = ""

    @property
    def until(self) -> datetime | None:
        """When its time is up; None before it was asked for."""
        return None if self.asked_at is None else self.asked_at + self.within


def is_due(rule: DeepCheckRule, past: Sequence[DeepCheck], now: datetime) -> bool:
    """Whether none that had a machine was asked for within `rule.every`; one that got no machine checked nothing."""
    begun = [one.asked_at for one in past if one.checker_id and one.asked_at is not None]
    return not begun or now - max(begun) >= rule.every


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSystemSeen:
    """What the machine saw of one partition, logical volume or whole disk.

    `kind` is blkid's word for the content, empty when there is none. `exit` is that of the file system's own checker,
    None when it has none here or was not run; `is_mounted` whether the kernel mounted it, None when it did not try.
    """

    where: str
    kind: str
    exit: int | None = None
    said: str = ""
    is_mounted: bool | None = None
    mount_said: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandEnded:
    """How the command at this position of the policy ended; `exit` is None when it did not run, or not to its end."""

    position: int
    exit: int | None
    said: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything the machine said. Without `is_whole` some of it is missing."""

    file_systems: tuple[FileSystemSeen, ...] = ()
    commands: tuple[CommandEnded, ...] = ()
    is_whole: bool = False


CHECKERS: Mapping[str, str] = {"ext2": "e2fsck", "ext3": "e2fsck", "ext4": "e2fsck", "xfs": "xfs_repair"}
"""By file system: the program that checks it without changing it."""

DAMAGED: Mapping[str, int] = {"e2fsck": 4, "xfs_repair": 1}
"""The exit status with which a checker that may change nothing says that it found damage. Every other one but 0 says
that it could not check: too little memory, a feature it does not know, a device that fails."""

NOT_RUN = (126, 127)
"""With which bash says that there is no such program, or that it is none."""

ONLY_MOUNTED = frozenset({"vfat"})
"""Of these the kernel's word is all: their checker takes a volume that was in use for a damaged one."""

NO_FILES = frozenset({"swap"})

WHY_NOT: Mapping[str, str] = {
    "": "no file system is recognised there; if it should be one, look at the source",
    "LVM2_member": "Amazon Linux 2023 has no tools for LVM; its logical volumes were read block by block only",
    "crypto_LUKS": "it is encrypted with LUKS, and Holdfast has no key for it; check it where the key is",
    "linux_raid_member": "it is a part of a software RAID, which is not put together here",
    "btrfs": "Amazon Linux 2023 neither checks nor mounts btrfs; it was read block by block only",
    "ntfs": "Amazon Linux 2023 neither checks nor mounts NTFS; it was read block by block only",
}


def assertions_of(report: Report, commands: Sequence[DeepCommand]) -> tuple[Assertion, ...]:
    """What follows from what the machine said: damage and commands that fail speak against the point, what could not
    be checked leaves it open, and so does a report of which a part is missing or that names no file system."""
    found = [one for seen in report.file_systems for one in _of_file_system(seen)]
    if not found:
        found = [_open("there is a file system", "none was found on any of the volumes")]
    ended = {one.position: one for one in report.commands}
    found += [_of_command(command, ended.get(position)) for position, command in enumerate(commands)]
    if not report.is_whole:
        found.append(
            _open("the report is whole", "its end is missing; look at the command's output in Systems Manager")
        )
    return tuple(found)


def given_up(check: DeepCheck) -> Assertion:
    """That the time of a deep check was up, with what it waited for and what a person does next."""
    waited = f"not over within {check.within}: it waited for {check.awaited}"
    because = f" ({check.problem})" if check.problem else ""
    return _open("the volumes are checked on a machine", f"{waited}{because}. {NEXT_STEPS[check.awaited]}")


def broken_off(what: str, next_step: str) -> Assertion:
    """That a deep check ended without having said anything about the content."""
    return _open("the volumes are checked on a machine", f"{what}. {next_step}")


def _of_file_system(seen: FileSystemSeen) -> list[Assertion]:
    if seen.kind in NO_FILES:
        return []
    checker = CHECKERS.get(seen.kind)
    if checker is None and seen.kind not in ONLY_MOUNTED:
        why = WHY_NOT.get(seen.kind, f"nothing here checks or mounts {seen.kind}")
        return [_open(f"{seen.where} is checked", f"{why}{': ' if seen.said else ''}{seen.said}")]
    mounted = Assertion(
        what=f"deep check: {seen.where} mounts as {seen.kind}",
        held=True if seen.is_mounted else None,
        detail="mounted read-only" if seen.is_mounted else f"the kernel does not mount it: {seen.mount_said}",
    )
    return [mounted] if checker is None else [_of_checker(seen, checker), mounted]


def _of_checker(seen: FileSystemSeen, checker: str) -> Assertion:
    what = f"deep check: {checker} finds no damage in {seen.where}"
    if seen.exit == 0:
        return Assertion(what=what, held=True, detail="it found none")
    if seen.exit == DAMAGED[checker]:
        return Assertion(what=what, held=False, detail=seen.said or "it found some and did not say which")
    ended = "it did not run to its end" if seen.exit is None else f"it could not check, exit status {seen.exit}"
    return Assertion(what=what, held=None, detail=f"{ended}: {seen.said}")


def _of_command(command: DeepCommand, ended: CommandEnded | None) -> Assertion:
    what = f"deep check: `{command.run}` in {command.directory}"
    if ended is None:
        return Assertion(what=what, held=None, detail="it did not run")
    if ended.exit is None:
        return Assertion(what=what, held=None, detail=ended.said)
    if ended.exit in NOT_RUN:
        return Assertion(what=what, held=None, detail=f"Amazon Linux 2023 could not run it: {ended.said}")
    if ended.exit != 0:
        return Assertion(what=what, held=False, detail=f"exit status {ended.exit}: {ended.said or 'it said nothing'}")
    return Assertion(what=what, held=True, detail=ended.said or "exit status 0")


def _open(what: str, detail: str) -> Assertion:
    return Assertion(what=f"deep check: {what}", held=None, detail=detail)
