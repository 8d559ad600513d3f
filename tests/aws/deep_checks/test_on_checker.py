"""What runs on the machine: it looks at every volume, changes none once it has been mounted, and ends in its time."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from functions.aws.deep_checks import on_checker
from functions.aws.deep_checks.on_checker import Check, Ended

VOLUME = "vol-0123456789abcdef0"
LINK = "nvme-Amazon_Elastic_Block_Store_vol0123456789abcdef0"

Answers = dict[str, Ended | Callable[[tuple[str, ...]], Ended]]


class Machine:
    """A machine whose programs answer as a test says, and whose devices are files."""

    def __init__(self, folder: Path) -> None:
        self.devices = folder / "by-id"
        self.place = folder / "place"
        self.asked: list[tuple[str, ...]] = []
        self.answers: Answers = {"blkid": Ended(0, "TYPE=ext4\n")}

    def disk(self, *partitions: int, size_bytes: int = 4096) -> None:
        """The disk is there, with these partitions."""
        for name in (LINK, *(f"{LINK}-part{number}" for number in partitions)):
            (self.devices / name).write_bytes(bytes(size_bytes))

    def run(self, command: tuple[str, ...], seconds: float, directory: str = "/") -> Ended:
        self.asked.append(command)
        answer = self.answers.get(command[0], Ended(0, ""))
        return answer(command) if callable(answer) else answer

    def called(self, program: str) -> list[tuple[str, ...]]:
        return [command for command in self.asked if command[0] == program]

    def report(self, *commands: dict[str, Any], volumes: tuple[str, ...] = (VOLUME,)) -> list[dict[str, Any]]:
        return Check({"volumes": list(volumes), "seconds": 600, "commands": list(commands)}).report()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    made.devices.mkdir()
    made.place.mkdir()
    monkeypatch.setattr(on_checker, "PLACE", made.place)
    monkeypatch.setattr(on_checker, "DISKS", str(made.devices / "nvme-Amazon_Elastic_Block_Store_"))
    monkeypatch.setattr(on_checker, "run", made.run)
    return made


def a_command(**said: Any) -> dict[str, Any]:
    return {"run": "true", "directory": "/", "seconds": 60.0, "as_root": False} | said


def test_a_file_system_is_mounted_locked_checked_and_mounted_again(machine: Machine) -> None:
    machine.disk()
    (seen,) = machine.report()
    assert seen == {
        "where": VOLUME,
        "kind": "ext4",
        "exit": 0,
        "said": "",
        "is_mounted": True,
        "mount_said": "",
    }
    assert [command[0] for command in machine.asked] == ["blkid", "mount", "umount", "blockdev", "e2fsck", "mount"]
    assert machine.called("e2fsck") == [("e2fsck", "-f", "-n", str(machine.devices / LINK))]
    assert machine.called("blockdev") == [("blockdev", "--setro", str(machine.devices / LINK))]


@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4", "xfs", "vfat"])
def test_whatever_is_mounted_is_mounted_so_that_nothing_on_it_is_written_or_runs(machine: Machine, kind: str) -> None:
    machine.disk()
    machine.answers["blkid"] = Ended(0, f"TYPE={kind}\n")
    machine.report()
    for command in machine.called("mount"):
        assert {"ro", "nosuid", "nodev", "noexec"} <= set(command[4].split(","))


def test_every_partition_is_looked_at_in_its_order(machine: Machine) -> None:
    machine.disk(1, 2, 10)
    seen = machine.report()
    assert [one["where"] for one in seen] == [f"{VOLUME} partition {number}" for number in (1, 2, 10)]


def test_a_partition_for_a_boot_loader_is_no_file_system(machine: Machine) -> None:
    machine.disk(1)
    machine.answers["blkid"] = Ended(2, "PART_ENTRY_TYPE=21686148-6449-6e6f-744e-656564454649\n")
    assert machine.report() == []


def test_a_volume_whose_device_does_not_appear_is_told(machine: Machine) -> None:
    (seen,) = machine.report()
    assert (seen["where"], seen["kind"]) == (VOLUME, "")
    assert "did not appear" in seen["said"]
    assert machine.called("udevadm")


def test_damage_is_told_by_the_first_lines_that_tell_of_it(machine: Machine) -> None:
    machine.disk()
    said = (
        "e2fsck 1.46.5\nPass 1: Checking inodes\nInode 12 has illegal block(s).  Clear? no\n\nPass 2: x\n" + "y\n" * 9
    )
    machine.answers["e2fsck"] = Ended(4, said)
    (seen,) = machine.report()
    assert (seen["exit"], seen["said"]) == (4, "Inode 12 has illegal block(s).  Clear? no; y; y; y; y")


@pytest.mark.parametrize(
    ("kind", "program", "said"),
    [
        ("ext4", "e2fsck", "Warning: skipping journal recovery because doing a read-only filesystem check."),
        ("xfs", "xfs_repair", "ALERT: valuable metadata changes in a log which is being ignored because of -n"),
    ],
)
def test_a_checker_that_left_a_journal_out_has_proven_nothing(
    machine: Machine, kind: str, program: str, said: str
) -> None:
    machine.disk()
    machine.answers |= {"blkid": Ended(0, f"TYPE={kind}\n"), "mount": Ended(32, "bad"), program: Ended(4, said)}
    (seen,) = machine.report()
    assert (seen["exit"], seen["is_mounted"], seen["mount_said"]) == (None, False, "bad")


def test_a_journal_that_the_kernel_does_not_replay_is_replayed_by_the_checker(machine: Machine) -> None:
    machine.disk()
    machine.answers["mount"] = Ended(32, "mount: unknown feature")
    machine.report()
    assert machine.called("e2fsck")[0] == ("e2fsck", "-y", "-E", "journal_only", str(machine.devices / LINK))
    assert machine.called("umount") == []


def test_what_is_not_known_is_named_and_left_alone(machine: Machine) -> None:
    machine.disk()
    machine.answers["blkid"] = Ended(0, "TYPE=crypto_LUKS\n")
    assert machine.report() == [{"where": VOLUME, "kind": "crypto_LUKS"}]
    assert machine.called("mount") == []


def test_a_command_runs_alone_and_as_nobody_where_its_directory_is(machine: Machine) -> None:
    machine.disk(1, 2)
    (machine.place / "1" / "data").mkdir(parents=True)
    ended = machine.report(a_command(run="echo hello", directory="/data"))[0]
    assert ended == {"position": 0, "exit": 0, "said": ""}
    (command,) = machine.called("unshare")
    assert command[:5] == ("unshare", "--net", "--pid", "--fork", "--kill-child")
    assert command[5:7] == ("setpriv", "--reuid=65534")
    assert command[-3:] == ("bash", "-c", "echo hello")


def test_the_first_lines_of_a_command_are_kept(machine: Machine) -> None:
    machine.disk()
    machine.answers["unshare"] = Ended(1, "one\n\ntwo\n")
    assert machine.report(a_command())[0] == {"position": 0, "exit": 1, "said": "one; two"}


def test_a_command_that_needs_root_has_it_and_still_no_network(machine: Machine) -> None:
    machine.disk()
    machine.report(a_command(as_root=True))
    (command,) = machine.called("unshare")
    assert "--net" in command
    assert "setpriv" not in command


def test_a_command_without_its_directory_fails_where_everything_could_be_mounted(machine: Machine) -> None:
    machine.disk()
    ended = machine.report(a_command(directory="/data"))[0]
    assert (ended["exit"], machine.called("unshare")) == (1, [])


def test_a_command_without_its_directory_is_open_where_something_could_not_be_mounted(machine: Machine) -> None:
    machine.disk()
    machine.answers["blkid"] = Ended(0, "TYPE=crypto_LUKS\n")
    ended = next(one for one in machine.report(a_command(directory="/data")) if "position" in one)
    assert ended["exit"] is None


def test_a_link_that_leads_out_of_the_volume_is_no_directory(machine: Machine, tmp_path: Path) -> None:
    machine.disk()
    check = Check({"volumes": [], "seconds": 600, "commands": []})
    mounted = machine.place / "0"
    mounted.mkdir()
    (mounted / "data").symlink_to("/etc")
    (mounted / "up").symlink_to("..")
    (mounted / "real").mkdir()
    (mounted / "inside").symlink_to("real")
    check.mounted = [(1, str(mounted))]
    assert check._directory("/data") is None
    assert check._directory("/up") is None
    assert check._directory("/inside") == str(mounted / "real")


def test_what_is_wrong_is_told_first(machine: Machine) -> None:
    machine.disk(1, 2)

    def second_is_damaged(command: tuple[str, ...]) -> Ended:
        return Ended(4, "bad") if command[-1].endswith("part2") else Ended(0, "")

    machine.answers["e2fsck"] = second_is_damaged
    assert [one["where"][-1] for one in machine.report()] == ["2", "1"]


def test_a_program_that_does_not_end_is_ended_with_everything_it_started() -> None:
    ended = on_checker.run(("bash", "-c", "echo begun; sleep 1000 & wait"), 0.3)
    assert ended.exit is None
    assert "begun" in ended.said


def test_a_program_that_talks_for_ever_costs_no_memory() -> None:
    ended = on_checker.run(("bash", "-c", "head -c 1000000 /dev/zero; exit 3"), 60)
    assert ended.exit == 3
    assert len(ended.said) == on_checker.KEPT_BYTES


def test_a_program_that_is_not_there_says_nothing_about_the_content() -> None:
    ended = on_checker.run(("no-such-checker",), 60)
    assert ended.exit is None
    assert "no-such-checker" in ended.said


def test_a_text_stays_short_even_when_it_is_quoted() -> None:
    assert len(json.dumps(on_checker.cut("\x1b" * 5000))) <= on_checker.MOST_TEXT


def test_the_whole_script_prints_one_report(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.disk()
    order = base64.b64encode(json.dumps({"volumes": [VOLUME], "seconds": 60, "commands": []}).encode()).decode()
    assert on_checker.main(order) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], lines[-1]) == (on_checker.BEGIN, on_checker.END)
    assert json.loads(lines[1])["kind"] == "ext4"
