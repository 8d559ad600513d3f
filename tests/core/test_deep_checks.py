"""What a machine saw becomes evidence: damage speaks against the point, and what it could not see leaves it open."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from functions.core.deep_checks import (
    LONGEST,
    MOST_COMMANDS,
    NEXT_STEPS,
    Awaited,
    CommandEnded,
    DeepCheck,
    DeepCheckRule,
    DeepCommand,
    FileSystemSeen,
    Report,
    assertions_of,
    given_up,
    is_due,
)
from functions.core.evidence import Assertion, Fitness, judge
from tests.builders import NOON, ago

COMMAND = DeepCommand(run="test -s orders.db", directory="/data")
MINUTE = timedelta(minutes=1)


def a_command(**changes: Any) -> DeepCommand:
    """One that is always true."""
    given: dict[str, Any] = {"run": "true"} | changes
    return DeepCommand(**given)


def seen(**changes: Any) -> FileSystemSeen:
    """An ext4 that is whole and mounts."""
    return FileSystemSeen(**{"where": "vol-1", "kind": "ext4", "exit": 0, "is_mounted": True} | changes)


def found(*file_systems: FileSystemSeen, commands: tuple[CommandEnded, ...] = (), whole: bool = True) -> Report:
    return Report(file_systems=file_systems, commands=commands, is_whole=whole)


def fitness(report: Report, *commands: DeepCommand) -> Fitness:
    return judge(assertions_of(report, commands)).fitness


def speaking(report: Report, *commands: DeepCommand) -> Assertion:
    """The one assertion that does not hold."""
    (one,) = [assertion for assertion in assertions_of(report, commands) if assertion.held is not True]
    return one


@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4", "xfs"])
def test_a_file_system_that_its_checker_passes_and_that_mounts_is_fit(kind: str) -> None:
    assert fitness(found(seen(kind=kind))) is Fitness.FIT


@pytest.mark.parametrize(("kind", "exit", "checker"), [("ext4", 4, "e2fsck"), ("xfs", 1, "xfs_repair")])
def test_damage_makes_the_point_unfit_with_the_line_that_says_so(kind: str, exit: int, checker: str) -> None:
    one = speaking(found(seen(kind=kind, exit=exit, said="Inode 12 is bad")))
    assert (one.held, one.detail) == (False, "Inode 12 is bad")
    assert checker in one.what
    assert "vol-1" in one.what


@pytest.mark.parametrize(
    ("kind", "exit"), [("ext4", 8), ("ext4", 1), ("ext4", -9), ("ext4", None), ("xfs", 2), ("xfs", 4)]
)
def test_a_checker_that_could_not_check_leaves_the_point_open(kind: str, exit: int | None) -> None:
    assert fitness(found(seen(kind=kind, exit=exit, said="no memory"))) is Fitness.UNDECIDED


def test_what_the_kernel_does_not_mount_is_open_unless_its_checker_finds_damage() -> None:
    unmounted = {"is_mounted": False, "mount_said": "unknown feature"}
    assert "unknown feature" in speaking(found(seen(**unmounted))).detail
    assert fitness(found(seen(**unmounted))) is Fitness.UNDECIDED
    assert fitness(found(seen(exit=4, **unmounted))) is Fitness.UNFIT


def test_of_vfat_the_kernels_word_is_all() -> None:
    assert fitness(found(seen(kind="vfat", exit=None))) is Fitness.FIT


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("crypto_LUKS", "LUKS"),
        ("LVM2_member", "LVM"),
        ("btrfs", "btrfs"),
        ("ntfs", "NTFS"),
        ("linux_raid_member", "RAID"),
        ("reiserfs", "reiserfs"),
        ("", "no file system"),
    ],
)
def test_what_nobody_here_can_check_is_open_with_its_reason(kind: str, word: str) -> None:
    one = speaking(found(seen(), seen(kind=kind, exit=None, is_mounted=None)))
    assert one.held is None
    assert word in one.detail


def test_swap_space_is_no_file_system() -> None:
    assert fitness(found(seen(), seen(kind="swap", exit=None, is_mounted=None))) is Fitness.FIT


def test_a_machine_that_saw_no_file_system_proves_nothing() -> None:
    assert fitness(found()) is Fitness.UNDECIDED
    assert fitness(found(seen(kind="swap", exit=None))) is Fitness.UNDECIDED


def test_a_report_that_is_not_whole_proves_nothing_and_damage_in_it_counts() -> None:
    assert fitness(found(seen(), whole=False)) is Fitness.UNDECIDED
    assert fitness(found(seen(exit=4), whole=False)) is Fitness.UNFIT


def test_a_command_holds_when_it_ends_with_0() -> None:
    assert fitness(found(seen(), commands=(CommandEnded(position=0, exit=0),)), COMMAND) is Fitness.FIT


@pytest.mark.parametrize("exit", [1, 2, 137])
def test_a_command_that_fails_makes_the_point_unfit_under_its_name(exit: int) -> None:
    one = speaking(found(seen(), commands=(CommandEnded(position=0, exit=exit, said="empty"),)), COMMAND)
    assert one.held is False
    assert one.what == "deep check: `test -s orders.db` in /data"
    assert one.detail == f"exit status {exit}: empty"


@pytest.mark.parametrize("exit", [126, 127])
def test_a_program_that_the_machine_does_not_have_says_nothing_about_the_content(exit: int) -> None:
    one = speaking(found(seen(), commands=(CommandEnded(position=0, exit=exit, said="pgck: not found"),)), COMMAND)
    assert one.held is None
    assert "Amazon Linux 2023" in one.detail


def test_a_command_whose_time_was_up_or_that_is_not_in_the_report_is_open() -> None:
    late = CommandEnded(position=0, exit=None, said="not done within 60 s")
    assert speaking(found(seen(), commands=(late,)), COMMAND).held is None
    assert speaking(found(seen()), COMMAND).held is None


def test_each_command_is_told_apart_by_its_place() -> None:
    ended = (CommandEnded(position=1, exit=1), CommandEnded(position=0, exit=0))
    assert "second" in speaking(found(seen(), commands=ended), COMMAND, DeepCommand(run="second")).what


@pytest.mark.parametrize("awaited", list(Awaited))
def test_a_deep_check_that_is_given_up_says_what_it_waited_for_and_what_to_do(awaited: Awaited) -> None:
    said = given_up(DeepCheck(within=45 * MINUTE, awaited=awaited, problem="AWS said no"))
    assert said.held is None
    assert all(words in said.detail for words in (awaited, NEXT_STEPS[awaited], "0:45:00", "AWS said no"))


class TestCadence:
    """How often, counted from when the last one was asked for that had a machine."""

    rule = DeepCheckRule(every=timedelta(days=30))

    def past(self, days: float, **changes: Any) -> DeepCheck:
        return DeepCheck(**{"within": MINUTE, "asked_at": ago(days=days), "checker_id": "i-1"} | changes)

    def test_the_first_is_due_at_once(self) -> None:
        assert is_due(self.rule, [], NOON)

    def test_the_next_is_due_after_its_time(self) -> None:
        assert not is_due(self.rule, [self.past(90), self.past(29.9)], NOON)
        assert is_due(self.rule, [self.past(90), self.past(30)], NOON)

    def test_one_that_got_no_machine_does_not_count(self) -> None:
        assert is_due(self.rule, [self.past(1, checker_id="")], NOON)


@pytest.mark.parametrize(
    "wrong",
    [
        {"run": ""},
        {"run": "   "},
        {"run": "x" * 1001},
        {"run": "a\0b"},
        {"directory": "data"},
        {"directory": "/a/../../etc"},
        {"directory": "/a\0"},
        {"within": timedelta(0)},
        {"within": timedelta(minutes=31)},
    ],
)
def test_a_command_that_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        a_command(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"within": timedelta(minutes=9)},
        {"within": LONGEST + MINUTE},
        {"commands": (DeepCommand(run="true"),) * (MOST_COMMANDS + 1)},
        {"within": 20 * MINUTE, "commands": (DeepCommand(run="true", within=11 * MINUTE),)},
    ],
)
def test_a_rule_that_cannot_be_kept_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="deep_check"):
        DeepCheckRule(**wrong)
