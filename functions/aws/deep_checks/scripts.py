"""The script of a deep check: sent to its machine through Systems Manager, once, and read when it has ended."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from botocore.exceptions import ClientError

from functions.aws.clients import Clients
from functions.aws.deep_checks.on_checker import BEGIN, END
from functions.aws.faults import code_of, translated
from functions.aws.permissions import Permission
from functions.core.coverage import REHEARSAL_TAG
from functions.core.deep_checks import CommandEnded, DeepCommand, FileSystemSeen, Report

DOCUMENT = "AWS-RunShellScript"
DELIVERED_WITHIN_SECONDS = 120

PERMISSIONS: Mapping[str, tuple[Permission, ...]] = {
    "is_online": (
        Permission(
            actions=("ssm:DescribeInstanceInformation",),
            resources=("*",),
            why="whether the agent of a machine has registered; the action has no resource type",
        ),
    ),
    "send": (
        Permission(
            actions=("ssm:ListCommands",),
            resources=("*",),
            why="whether the script was sent before; the action has no resource type",
        ),
        Permission(
            actions=("ssm:SendCommand",),
            resources=("arn:{partition}:ssm:{region}::document/" + DOCUMENT,),
            why="the script is run as Amazon's own document does it, and no other document is",
        ),
        Permission(
            actions=("ssm:SendCommand",),
            resources=("arn:{partition}:ec2:{region}:{account}:instance/*",),
            conditions={"Null": {f"ssm:resourceTag/{REHEARSAL_TAG}": "false"}},
            why="scripts are sent to machines of rehearsals and to no other",
        ),
    ),
    "ending": (
        Permission(
            actions=("ssm:GetCommandInvocation",),
            resources=("*",),
            why="what became of a script; the action has no resource type",
        ),
    ),
}

AGENT_PERMISSIONS = Permission(
    actions=(
        "ssm:UpdateInstanceInformation",
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
    ),
    resources=("*",),
    why="not called: the agent on the machine registers and is given scripts; most of it has no resource type",
)
"""Of the machine itself. AmazonSSMManagedInstanceCore would let it read parameters, too, and update documents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptEnded:
    """How a script ended: its report, or why there is none."""

    report: Report
    problem: str = ""


class Scripts:
    """The scripts on the machines of one Region."""

    def __init__(self, region: str, clients: Clients) -> None:
        # Untyped: the stubs of SSM are not among the ones this project carries.
        self._ssm: Any = clients.retrying("ssm", region)
        self._ssm_once: Any = clients.once("ssm", region)

    def is_online(self, checker_id: str) -> bool:
        """Whether Systems Manager can reach the machine now. Errors: AwsBusy, NotAllowed."""
        with translated("ssm:DescribeInstanceInformation", resource=checker_id):
            found = self._ssm.describe_instance_information(Filters=[{"Key": "InstanceIds", "Values": [checker_id]}])
        return any(one.get("PingStatus") == "Online" for one in found["InstanceInformationList"])

    def send(self, checker_id: str, volume_ids: Sequence[str], commands: Sequence[DeepCommand], *, seconds: int) -> str:
        """The id of the script's run, sent now or before: SendCommand takes no client token, so it is looked for first
        and the request is sent once.

        Errors: OutcomeUnknown, AwsBusy, NotAllowed.
        """
        with translated("ssm:ListCommands", resource=checker_id):
            before = self._ssm.list_commands(InstanceId=checker_id)["Commands"]
        if before:
            return min(before, key=lambda one: one["RequestedDateTime"])["CommandId"]
        with translated("ssm:SendCommand", resource=checker_id, once=True):
            sent = self._ssm_once.send_command(
                InstanceIds=[checker_id],
                DocumentName=DOCUMENT,
                Comment="Holdfast checks a restored volume",
                TimeoutSeconds=DELIVERED_WITHIN_SECONDS,
                Parameters={
                    "commands": [script(volume_ids, commands, seconds=seconds)],
                    "executionTimeout": [str(seconds)],
                },
            )
        return sent["Command"]["CommandId"]

    def ending(self, checker_id: str, script_id: str) -> ScriptEnded | None:
        """How the script ended; None while it has not, or is not known yet. Errors: AwsBusy, NotAllowed."""
        with translated("ssm:GetCommandInvocation", resource=script_id):
            try:
                said = self._ssm.get_command_invocation(CommandId=script_id, InstanceId=checker_id)
            except ClientError as refused:
                if code_of(refused) == "InvocationDoesNotExist":  # ordinary right after sending
                    return None
                raise
        status = said["StatusDetails"]
        if said["Status"] in ("Pending", "InProgress", "Delayed", "Cancelling"):
            return None
        if said["Status"] == "Success":
            return ScriptEnded(report=read(said["StandardOutputContent"]))
        error = " ".join(said.get("StandardErrorContent", "").split())[:300]
        return ScriptEnded(report=Report(), problem=f"Systems Manager says {status}, {said['ResponseCode']}: {error}")


def script(volume_ids: Sequence[str], commands: Sequence[DeepCommand], *, seconds: int) -> str:
    """What is run on the machine: the program beside this file, and what it is to do, which cannot be read as code.

    It ends a little before Systems Manager would end it, to say what it has seen.
    """
    order = {
        "volumes": list(volume_ids),
        "seconds": max(30, seconds - 30),
        "commands": [
            {
                "run": command.run,
                "directory": command.directory,
                "seconds": command.within.total_seconds(),
                "as_root": command.as_root,
            }
            for command in commands
        ],
    }
    program = resources.files(__package__ or "").joinpath("on_checker.py").read_text(encoding="utf-8")
    written = base64.b64encode(json.dumps(order).encode()).decode()
    return f'#!/usr/bin/python3\n{program}\n\nif __name__ == "__main__":\n    sys.exit(main("{written}"))\n'


def read(printed: str) -> Report:
    """The report in what a script printed; a part of it that is missing or not understood makes it not whole."""
    _, begun, rest = printed.partition(f"{BEGIN}\n")
    inside, ended, _ = rest.partition(END)
    is_whole = bool(begun and ended)
    seen: list[FileSystemSeen] = []
    commands: list[CommandEnded] = []
    for line in inside.splitlines():
        try:
            found = _fact(json.loads(line))
        except (ValueError, TypeError, KeyError):
            is_whole = False
            continue
        if isinstance(found, CommandEnded):
            commands.append(found)
        else:
            seen.append(found)
    return Report(file_systems=tuple(seen), commands=tuple(commands), is_whole=is_whole)


def _fact(said: Mapping[str, Any]) -> FileSystemSeen | CommandEnded:
    if "position" in said:
        return CommandEnded(position=int(said["position"]), exit=_number(said["exit"]), said=str(said.get("said", "")))
    is_mounted = said.get("is_mounted")
    return FileSystemSeen(
        where=str(said["where"]),
        kind=str(said["kind"]),
        exit=_number(said.get("exit")),
        said=str(said.get("said", "")),
        is_mounted=None if is_mounted is None else bool(is_mounted),
        mount_said=str(said.get("mount_said", "")),
    )


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None
