"""Run Command delivers a script, runs it for real over the attached volumes, and ends it when it must."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from embedded import disks
from embedded.aws import EmbeddedAws
from embedded.instances.machine import Machine, Script
from embedded.instances.partitions import Partition, partitions
from embedded.volumes import image_path
from embedded.volumes.in_process import refusal
from tests.embedded.instances import LONG_ENOUGH_SECONDS, Place, make_place

Until = Callable[..., Any]

FOREVER = "exec sleep 600"


@pytest.fixture(scope="session")
def machine_runs_scripts() -> None:
    """Where nobody may make name spaces and loop devices, there is nothing to see."""
    trial = Script(text="true\n", directory="/", timeout_seconds=60, instance_id="i-1", region="us-east-1", disks=[])
    ending = Machine(trial).run()
    if ending.exit_code != 0:
        pytest.skip(ending.stderr)


@pytest.fixture(scope="module")
def place(aws: EmbeddedAws, machine_runs_scripts: None) -> Place:
    return make_place(aws, "commands")


@pytest.fixture(scope="module")
def instance_id(place: Place) -> str:
    return place.online()


@pytest.fixture(autouse=True)
def nothing_armed(aws: EmbeddedAws) -> Iterator[None]:
    yield
    aws.clear_faults()


def link_of(volume_id: str) -> str:
    return f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{volume_id.replace('-', '')}"


def command_lines() -> list[str]:
    """The command line of every process of this machine."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            lines.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # it has ended meanwhile
    return lines


# ---------------------------------------------------------------------------- what a script finds


def test_a_script_reads_and_writes_the_attached_volume(place: Place, until: Until) -> None:
    instance_id, volume_id = place.online(), place.volume()
    place.attach(volume_id, instance_id)
    written = place.run(
        until,
        instance_id,
        "set -e",
        f"mount {link_of(volume_id)} /mnt",
        "echo 'proof of life' > /mnt/note",
        "umount /mnt",
    )
    assert (written["StatusDetails"], written["ResponseCode"]) == ("Success", 0)
    read = place.run(until, instance_id, f"mount -o ro {link_of(volume_id)} /mnt && cat /mnt/note")
    assert read["StandardOutputContent"] == "proof of life\n"


def test_a_volume_that_a_script_made_read_only_is_writable_for_the_next(place: Place, until: Until) -> None:
    instance_id, volume_id = place.online(), place.volume()
    place.attach(volume_id, instance_id)
    link = link_of(volume_id)
    first = place.run(until, instance_id, f"blockdev --setro {link} && blockdev --getro {link}")
    second = place.run(until, instance_id, f"blockdev --getro {link}")
    assert (first["StandardOutputContent"], second["StandardOutputContent"]) == ("1\n", "0\n")


def test_partitions_are_devices_with_names_of_their_own(place: Place, until: Until) -> None:
    instance_id, volume_id = place.online(), place.volume()
    disks.lay("gpt", image_path(place.aws.data_directory, volume_id))
    place.attach(volume_id, instance_id)
    part = f"{link_of(volume_id)}-part2"
    ended = place.run(
        until,
        instance_id,
        "set -e",
        f"readlink {part}",
        f"blkid --probe --output value --match-tag PART_ENTRY_NUMBER {part}",
        f"mount -o ro,noload {part} /mnt",
        "ls -d /mnt/lost+found",
    )
    assert ended["StandardOutputContent"].splitlines() == ["../../nvme1n1p2", "2", "/mnt/lost+found"]


def test_partitions_of_a_master_boot_record_are_found_where_they_lie(tmp_path: Path) -> None:
    image, sector = tmp_path / "disk", bytearray(512)
    for index, (kind, start, length) in enumerate([(0x83, 2048, 8192), (0x00, 0, 0), (0x05, 10240, 4096)]):
        struct.pack_into("<4xB3xII", sector, 446 + 16 * index, kind, start, length)
    sector[510:] = b"\x55\xaa"
    image.write_bytes(sector)
    assert partitions(image) == [Partition(number=1, offset_bytes=2048 * 512, size_bytes=8192 * 512)]


@pytest.mark.parametrize("disk", ["ext4", "ntfs"])
def test_a_file_system_on_the_whole_disk_is_no_partition_table(tmp_path: Path, disk: str) -> None:
    image = tmp_path / "disk"
    with image.open("wb") as empty:
        empty.truncate(2**30)
    disks.lay(disk, image)
    assert partitions(image) == []


def test_a_volume_that_was_detached_is_not_found(place: Place, until: Until) -> None:
    instance_id, volume_id = place.online(), place.volume()
    place.attach(volume_id, instance_id)
    place.ec2.detach_volume(VolumeId=volume_id)
    place.aws.advance(LONG_ENOUGH_SECONDS)
    ended = place.run(until, instance_id, f"test -e {link_of(volume_id)} || echo gone")
    assert ended["StandardOutputContent"] == "gone\n"


def test_what_a_script_changes_outside_a_volume_is_forgotten(place: Place, instance_id: str, until: Until) -> None:
    first = place.run(until, instance_id, "set -e", "echo here > /etc/holdfast-was-here", "cat /etc/holdfast-was-here")
    assert first["StandardOutputContent"] == "here\n"
    assert not Path("/etc/holdfast-was-here").exists()
    second = place.run(until, instance_id, "test -e /etc/holdfast-was-here || echo forgotten")
    assert second["StandardOutputContent"] == "forgotten\n"


def test_a_script_reaches_itself_and_nothing_else(place: Place, instance_id: str, until: Until) -> None:
    port = place.aws.port
    answered = f"import socket; socket.create_connection(('127.0.0.1', {port}), 1)"
    listening = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname(), 1)"
    )
    ended = place.run(
        until,
        instance_id,
        f'python3 -c "{answered}" 2>/dev/null || echo alone',
        f'python3 -c "{listening}" && echo loopback',
    )
    assert ended["StandardOutputContent"] == "alone\nloopback\n"


def test_a_script_that_names_its_interpreter_is_run_by_it(place: Place, instance_id: str, until: Until) -> None:
    ended = place.run(until, instance_id, "#!/usr/bin/env python3", "print(6 * 7)")
    assert ended["StandardOutputContent"] == "42\n"


def test_a_script_knows_its_instance(place: Place, instance_id: str, until: Until) -> None:
    ended = place.run(until, instance_id, 'echo "$AWS_SSM_INSTANCE_ID $AWS_SSM_REGION_NAME ${HOME-homeless}"')
    assert ended["StandardOutputContent"] == f"{instance_id} us-east-1 homeless\n"


# ---------------------------------------------------------------------------- what is shown of it


def test_a_command_is_unknown_then_pending_then_in_progress(place: Place, instance_id: str, until: Until) -> None:
    place.aws.set_durations(command_shown=100, command_delivery=200)
    try:
        command_id = place.send_without_delivery(instance_id, FOREVER)
        known_by = {"CommandId": command_id, "InstanceId": instance_id}
        assert refusal(place.ssm.get_command_invocation, **known_by).code == "InvocationDoesNotExist"
        place.aws.advance(110)
        shown = place.look(command_id, instance_id)
        assert (shown["Status"], shown["StatusDetails"], shown["ResponseCode"]) == ("Pending", "Pending", -1)
        assert shown["ExecutionStartDateTime"] == ""
        place.aws.advance(110)
        shown = place.look(command_id, instance_id)
        assert (shown["Status"], shown["StatusDetails"], shown["ResponseCode"]) == ("InProgress", "InProgress", -1)
        assert (shown["StandardOutputContent"], shown["StandardErrorContent"]) == ("", "")
    finally:
        place.aws.reset_durations()
    place.ssm.cancel_command(CommandId=command_id)
    place.ended(until, command_id, instance_id)


def test_a_failed_script_shows_its_exit_status_and_what_it_said(place: Place, instance_id: str, until: Until) -> None:
    ended = place.run(until, instance_id, "echo so far", "echo oh >&2", "exit 3")
    assert (ended["Status"], ended["StatusDetails"], ended["ResponseCode"]) == ("Failed", "Failed", 3)
    assert ended["StandardOutputContent"] == "so far\n"
    assert ended["StandardErrorContent"] == "oh\nfailed to run commands: exit status 3"


def test_output_is_cut_where_ssm_cuts_it(place: Place, instance_id: str, until: Until) -> None:
    ended = place.run(until, instance_id, "head -c 30000 /dev/zero | tr '\\0' x | tee /dev/stderr")
    for said, most in ((ended["StandardOutputContent"], 24_000), (ended["StandardErrorContent"], 8_000)):
        assert (len(said), said[:3], said[-20:]) == (most, "xxx", "--output truncated--")


def test_the_lists_tell_the_same_story(place: Place, instance_id: str, until: Until) -> None:
    command_id = place.send(instance_id, "echo story; exit 5", Comment="a deep check")
    place.ended(until, command_id, instance_id)
    command = place.ssm.list_commands(CommandId=command_id)["Commands"][0]
    invocations = place.ssm.list_command_invocations(CommandId=command_id, Details=True)["CommandInvocations"]
    assert (command["Status"], command["Comment"], command["ErrorCount"]) == ("Failed", "a deep check", 1)
    assert [one["CommandPlugins"][0]["ResponseCode"] for one in invocations] == [5]
    assert invocations[0]["CommandPlugins"][0]["Output"] == "story\n"


# ---------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"DocumentName": "AWS-RunPowerShellScript"}, "InvalidDocument"),
        ({"Parameters": {"executionTimeout": ["60"]}}, "InvalidParameters"),
        ({"Parameters": {"commands": ["true"], "timeout": ["60"]}}, "InvalidParameters"),
        ({"Parameters": {"commands": ["true"], "executionTimeout": ["an hour"]}}, "InvalidParameters"),
        ({"Parameters": {"commands": ["true"], "executionTimeout": ["172801"]}}, "InvalidParameters"),
        ({"InstanceIds": ["i-0123456789abcdef0"]}, "InvalidInstanceId"),
        ({"TimeoutSeconds": 29}, "ValidationException"),
    ],
)
def test_what_ssm_would_not_send_is_refused(place: Place, instance_id: str, wanted: dict[str, Any], code: str) -> None:
    asked = {
        "DocumentName": "AWS-RunShellScript",
        "InstanceIds": [instance_id],
        "Parameters": {"commands": ["true"]},
    }
    client = place.aws.client("ssm", parameter_validation=False)
    assert refusal(client.send_command, **(asked | wanted)).code == code


def test_an_instance_that_is_not_online_yet_takes_no_command(place: Place) -> None:
    instance_id = place.launch()
    sent = {"DocumentName": "AWS-RunShellScript", "InstanceIds": [instance_id], "Parameters": {"commands": ["true"]}}
    assert refusal(place.ssm.send_command, **sent).code == "InvalidInstanceId"


# ---------------------------------------------------------------------------- ends


def test_a_script_whose_time_is_up_is_killed_with_all_it_started(place: Place, instance_id: str, until: Until) -> None:
    ended = place.run(until, instance_id, "echo begun", "setsid sleep 610000 &", "sleep 610000", timeout_seconds=5)
    assert (ended["Status"], ended["StatusDetails"], ended["ResponseCode"]) == ("TimedOut", "ExecutionTimedOut", 137)
    assert ended["StandardOutputContent"] == ""
    until(lambda: not any("sleep 610000" in line for line in command_lines()), 60, "the sleepers to be gone")


def test_a_cancelled_script_is_killed(place: Place, instance_id: str, until: Until) -> None:
    command_id = place.send(instance_id, "sleep 610001 & sleep 610001")
    until(lambda: any("sleep 610001" in line for line in command_lines()), 60, "the script to begin")
    place.ssm.cancel_command(CommandId=command_id)
    ended = place.ended(until, command_id, instance_id)
    assert (ended["Status"], ended["StatusDetails"]) == ("Cancelled", "Cancelled")
    until(lambda: not any("sleep 610001" in line for line in command_lines()), 60, "the sleepers to be gone")


def test_a_command_cancelled_before_its_delivery_never_runs(place: Place, instance_id: str, until: Until) -> None:
    place.aws.arm({"operation": "life:command", "effect": "stick", "count": 1})
    command_id = place.send(instance_id, "true")
    place.ssm.cancel_command(CommandId=command_id, InstanceIds=[instance_id])
    ended = place.ended(until, command_id, instance_id)
    assert (ended["Status"], ended["ResponseCode"]) == ("Cancelled", -1)


def test_terminating_an_instance_kills_its_scripts(place: Place, until: Until) -> None:
    instance_id = place.online()
    command_id = place.send(instance_id, "sleep 610002 & sleep 610002")
    until(lambda: any("sleep 610002" in line for line in command_lines()), 60, "the script to begin")
    place.ec2.terminate_instances(InstanceIds=[instance_id])
    until(lambda: not any("sleep 610002" in line for line in command_lines()), 60, "the sleepers to be gone")
    assert place.look(command_id, instance_id)["StatusDetails"] == "Undeliverable"


def test_a_command_that_never_arrives_times_out_on_its_way(place: Place, instance_id: str) -> None:
    place.aws.arm({"operation": "life:command", "effect": "stick", "count": 1})
    command_id = place.send(instance_id, "true", TimeoutSeconds=600)
    assert place.look(command_id, instance_id)["Status"] == "Pending"
    place.aws.advance(600)
    shown = place.look(command_id, instance_id)
    assert (shown["Status"], shown["StatusDetails"], shown["ResponseCode"]) == ("TimedOut", "DeliveryTimedOut", -1)


def test_a_command_can_be_made_to_time_out_without_waiting(place: Place, instance_id: str) -> None:
    place.aws.arm({"operation": "life:command", "effect": "fail", "count": 1})
    command_id = place.send(instance_id, "echo never")
    shown = place.look(command_id, instance_id)
    assert (shown["StatusDetails"], shown["ResponseCode"]) == ("ExecutionTimedOut", 137)


def test_a_command_to_a_lost_instance_is_delayed_and_then_times_out(place: Place) -> None:
    place.aws.arm({"operation": "life:ssm-agent", "effect": "fail", "count": 1})
    instance_id = place.launch()
    place.aws.advance(LONG_ENOUGH_SECONDS)
    command_id = place.send(instance_id, "true", TimeoutSeconds=600)
    assert place.look(command_id, instance_id)["StatusDetails"] == "Delayed"
    place.aws.advance(600)
    assert place.look(command_id, instance_id)["StatusDetails"] == "DeliveryTimedOut"


def test_a_machine_that_cannot_run_scripts_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    script = Script(text="true\n", directory="/", timeout_seconds=60, instance_id="i-1", region="us-east-1", disks=[])
    ending = Machine(script).run()
    assert (ending.exit_code, ending.stdout) == (1, "")
    assert "has no setpriv, unshare, losetup, addpart, blockdev, mount, bash; install" in ending.stderr


@pytest.mark.usefixtures("machine_runs_scripts")
def test_a_script_ends_with_the_process_that_runs_it(tmp_path: Path, until: Until) -> None:
    source = """
import sys
from embedded.instances.machine import Machine, Script
sleep = "sleep 610003 & setsid sleep 610003"
Machine(Script(text=sleep, directory="/", timeout_seconds=600, instance_id="i-1", region="us-east-1", disks=[])).run()
"""
    runner = subprocess.Popen([sys.executable, "-c", source], env={**os.environ, "TMPDIR": str(tmp_path)})  # noqa: S603
    try:
        until(lambda: any(line.startswith("sleep 610003") for line in command_lines()), 60, "the script to begin")
    finally:
        runner.kill()
        runner.wait()
    until(lambda: not any("sleep 610003" in line for line in command_lines()), 60, "the sleepers to be gone")
