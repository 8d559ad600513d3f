"""Run Command: a script sent to instances, delivered a little later, really run, and cancelled or timed out.

Delivery happens on the embedded clock. A script is work, and its `executionTimeout` counts seconds of the wall.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from embedded import clock, durations, faults, life
from embedded.instances.attachments import ATTACHED
from embedded.instances.instances import ONLINE, Instances
from embedded.instances.machine import Disk, Ending, Machine, Script
from embedded.volumes.ec2_api import Ec2Api

NEVER_BEGAN = -1
KILLED = 137
_MOST_STDOUT, _MOST_STDERR = 24_000, 8_000
_TRUNCATED = "--output truncated--"

_logger = logging.getLogger("embedded.instances")


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What SendCommand was asked for, checked."""

    region: str
    instance_ids: Sequence[str]
    document: str
    comment: str
    parameters: Mapping[str, Sequence[str]]
    script: str
    directory: str
    execution_timeout_seconds: int
    timeout_seconds: int
    """Of the delivery."""


@dataclass
class Invocation:
    """A command on one instance. Everything but the first three fields is as SSM shows it."""

    command: Command
    instance_id: str
    machine: Machine | None = None
    is_visible: bool = False
    status: str = "Pending"
    details: str = "Pending"
    response_code: int = NEVER_BEGAN
    began_at: float | None = None
    ended_at: float | None = None
    stdout: str = ""
    stderr: str = ""

    @property
    def has_ended(self) -> bool:
        return self.status not in ("Pending", "InProgress", "Delayed", "Cancelling")

    @property
    def is_waiting(self) -> bool:
        """Not delivered yet."""
        return self.status in ("Pending", "Delayed")


@dataclass
class Command:
    """A request and what became of it on each instance."""

    id: str
    request: Request
    sent_at: float
    invocations: dict[str, Invocation] = field(default_factory=dict)

    @property
    def expires_at(self) -> float:
        return self.sent_at + self.request.timeout_seconds + self.request.execution_timeout_seconds


@dataclass
class Commands:
    """Every command of the account, by its id."""

    instances: Instances
    _commands: dict[str, Command] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def send(self, request: Request) -> Command:
        """The command is on its way to every instance."""
        command = Command(str(uuid.uuid4()), request, clock.now())
        with self._lock:
            self._commands[command.id] = command
            for instance_id in request.instance_ids:
                command.invocations[instance_id] = Invocation(command, instance_id)
        for invocation in command.invocations.values():
            self._dispatch(invocation)
        return command

    def find(self, region: str, command_id: str | None = None, instance_id: str | None = None) -> list[Invocation]:
        """The invocations that match, oldest first; those still unknown to every reader are left out."""
        with self._lock:
            return [
                invocation
                for command in self._commands.values()
                if command.request.region == region and command_id in (None, command.id)
                for invocation in command.invocations.values()
                if invocation.is_visible and instance_id in (None, invocation.instance_id)
            ]

    def command(self, region: str, command_id: str) -> Command | None:
        """The command, if there is one of that id in the Region."""
        found = self._commands.get(command_id)
        return found if found is not None and found.request.region == region else None

    def all(self, region: str) -> list[Command]:
        """The commands of a Region, newest first."""
        with self._lock:
            return [command for command in reversed(self._commands.values()) if command.request.region == region]

    def cancel(self, command: Command, instance_ids: Sequence[str]) -> None:
        """What waits is cancelled; what runs is being killed and shows it once it has ended."""
        with self._lock:
            for invocation in command.invocations.values():
                if instance_ids and invocation.instance_id not in instance_ids:
                    continue
                if invocation.is_waiting:
                    self._end(invocation, "Cancelled", "Cancelled", NEVER_BEGAN)
                elif invocation.status == "InProgress" and invocation.machine is not None:
                    invocation.status = invocation.details = "Cancelling"
                    invocation.machine.stop()

    def end_on(self, instance_id: str) -> None:
        """The instance is no more: what runs there is killed, and nothing reaches it any longer."""
        with self._lock:
            for command in self._commands.values():
                invocation = command.invocations.get(instance_id)
                if invocation is None or invocation.has_ended:
                    continue
                if invocation.machine is not None:
                    invocation.machine.stop()
                self._end(invocation, "Failed", "Undeliverable", invocation.response_code)

    # -- one invocation

    def _dispatch(self, invocation: Invocation) -> None:
        request, now = invocation.command.request, clock.now()
        fault = faults.take("life:command", request.region)
        what = f"command {invocation.command.id} on {invocation.instance_id}"
        life.at(now + durations.seconds("command_shown"), lambda: self._show(invocation), f"showing {what}")
        life.at(now + request.timeout_seconds, lambda: self._give_up(invocation), f"giving up {what}")
        if fault is None or fault.effect != "stick":
            times_out = fault is not None
            when = now + durations.seconds("command_delivery")
            life.at(when, lambda: self._deliver(invocation, times_out=times_out), f"delivering {what}")

    def _show(self, invocation: Invocation) -> None:
        invocation.is_visible = True

    def _give_up(self, invocation: Invocation) -> None:
        with self._lock:
            if invocation.is_waiting:
                self._end(invocation, "TimedOut", "DeliveryTimedOut", NEVER_BEGAN)

    def _deliver(self, invocation: Invocation, *, times_out: bool) -> None:
        region = invocation.command.request.region
        managed = self.instances.managed_one(region, invocation.instance_id)
        with self._lock:
            if not invocation.is_waiting:
                return
            invocation.is_visible = True
            if managed is None or managed.ping_status != ONLINE:
                invocation.status, invocation.details = "Delayed", "Delayed"
                return
            invocation.status, invocation.details = "InProgress", "InProgress"
            invocation.began_at = clock.now()
            if times_out:
                self._end(invocation, "TimedOut", "ExecutionTimedOut", KILLED)
                return
            invocation.machine = Machine(_script(invocation, managed.instance))
        threading.Thread(target=self._run, args=(invocation, invocation.machine), daemon=True).start()

    def _run(self, invocation: Invocation, machine: Machine) -> None:
        try:
            ending = machine.run()
        except Exception as defect:
            _logger.exception("command %s could not be run", invocation.command.id)
            ending = Ending(exit_code=1, stdout="", stderr=f"The embedded AWS failed to run the script: {defect!r}")
        with self._lock:
            if invocation.has_ended:
                return
            said = ending.stderr
            if invocation.status == "Cancelling":
                status = details = "Cancelled"
            elif ending.timed_out:
                status, details = "TimedOut", "ExecutionTimedOut"
            elif ending.exit_code == 0:
                status = details = "Success"
            else:
                status = details = "Failed"
                said += f"failed to run commands: exit status {ending.exit_code}"
            if status in ("Success", "Failed"):  # SSM shows no output of a script that was stopped
                invocation.stdout = _truncated(ending.stdout, _MOST_STDOUT)
            invocation.stderr = _truncated(said, _MOST_STDERR)
            self._end(invocation, status, details, ending.exit_code)

    def _end(self, invocation: Invocation, status: str, details: str, code: int) -> None:
        invocation.ended_at = clock.now()
        invocation.response_code = code
        invocation.status, invocation.details = status, details


def _script(invocation: Invocation, instance: Any) -> Script:
    """What to run, with the volumes that are attached now; the root volume is this machine's root file system."""
    request = invocation.command.request
    store = Ec2Api.operations.plane.store
    disks = [
        Disk(volume_id=block.volume_id, image=store.image(block.volume_id))
        for device, block in instance.get_block_device_mapping
        if device != instance.root_device_name and block.status in (ATTACHED, "in-use")
    ]
    return Script(
        text=request.script,
        directory=request.directory,
        timeout_seconds=request.execution_timeout_seconds,
        instance_id=instance.id,
        region=request.region,
        disks=disks,
    )


def _truncated(said: str, most: int) -> str:
    return said if len(said) < most else said[: most - len(_TRUNCATED)] + _TRUNCATED
