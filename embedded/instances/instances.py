"""Instances: pending, running, managed by SSM a little later, shutting down, terminated, forgotten after an hour."""

from __future__ import annotations

import base64
import copy
import logging
import math
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ministack.core.responses import request_scope
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instances import Instance, InstanceState, Reservation, StateReason

from embedded import ACCOUNT, clock, durations, faults, life
from embedded.instances import reachability
from embedded.instances.profiles import Profile
from embedded.volumes import kms

PENDING, RUNNING, SHUTTING_DOWN, TERMINATED = "pending", "running", "shutting-down", "terminated"
_CODES = {PENDING: 0, RUNNING: 16, SHUTTING_DOWN: 32, TERMINATED: 48}
ONLINE, CONNECTION_LOST = "Online", "ConnectionLost"
_FAIL, _STICK = "fail", "stick"
_SHOWN_AFTER_TERMINATION_SECONDS = 3600.0

# Whatever else is on the line, as in `shutdown --poweroff +55`.
_POWER_OFF = re.compile(r"^\s*shutdown\s.*\+(\d+)", re.MULTILINE)

_logger = logging.getLogger("embedded.instances")


@dataclass
class _Agent:
    """The SSM agent of an instance. It registers when it first reaches SSM after `ready_at`."""

    profile: Profile | None
    ready_at: float = math.inf
    will_lose_connection: bool = False
    registered_at: float | None = None
    last_obstacle: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Managed:
    """An instance that has registered with SSM."""

    instance: Instance
    ping_status: str
    registered_at: float


@dataclass
class Instances:
    """The lives of all instances of the account, in every Region."""

    when_ended: Callable[[str], None] = lambda _instance_id: None
    """Told the id of an instance that runs no longer."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    _launched: dict[tuple[str, str], tuple[dict[str, Any], Reservation]] = field(default_factory=dict)
    """(Region, client token) -> what it asked for, and what it got."""
    _agents: dict[str, _Agent] = field(default_factory=dict)

    # -- launching

    def launched_before(self, region: str, token: str | None, wanted: dict[str, Any]) -> Reservation | None:
        """What the same request got before; IdempotentParameterMismatch if the token came with another one."""
        asked, reservation = self._launched.get((region, token or ""), (None, None))
        if asked is not None and asked != wanted:
            raise EC2ClientError(
                "IdempotentParameterMismatch",
                "The request uses the same client token as a previous, but non-identical request.",
            )
        return reservation

    def begin(
        self, reservation: Reservation, token: str | None, wanted: dict[str, Any], profile: Profile | None
    ) -> None:
        """The instances of the reservation are pending; they run later, unless a fault is armed for one."""
        with self.lock:
            if token:
                region = reservation.instances[0].region_name
                self._launched[region, token] = (wanted, reservation)
            for instance in reservation.instances:
                self._agents[instance.id] = _Agent(profile)
                if profile is not None:
                    instance.iam_instance_profile = {"Arn": profile.arn, "Id": profile.id}
                # moto would leave it in the subnet, which could not be deleted then.
                instance.nics[0].delete_on_termination = True
                _enter(instance, PENDING)
                self._await_launch(instance)

    def _await_launch(self, instance: Instance) -> None:
        fault = faults.take("life:instance", instance.region_name)
        if fault is not None and fault.effect == _STICK:
            return
        will_fail = fault is not None and fault.effect == _FAIL
        when = clock.now() + durations.seconds("instance_launch")

        def finish() -> None:
            with self.lock, request_scope(ACCOUNT, instance.region_name):
                if instance.state != PENDING:
                    return
                code = "Server.InternalError" if will_fail else _why_it_does_not_start(instance)
                if code is not None:
                    self._end(instance, StateReason(f"{code}: Error on launch", code))
                    return
                _enter(instance, RUNNING)
                self._start_agent(instance, when)
                self._heed_user_data(instance, when)

        life.at(when, finish, f"launching {instance.id}")

    def _heed_user_data(self, instance: Instance, running_since: float) -> None:
        """Of what an instance does when it boots, only the order to power itself off later is carried out."""
        order = _POWER_OFF.search(_user_data(instance))
        if order is None:
            return

        def power_off() -> None:
            if instance.state != RUNNING:
                return
            if instance.instance_initiated_shutdown_behavior == "terminate":
                self.terminate(instance, by="Client.InstanceInitiatedShutdown", said="Instance initiated shutdown")
            else:
                self.when_ended(instance.id)
                instance.stop()

        life.at(running_since + 60 * int(order[1]), power_off, f"powering off {instance.id}")

    # -- ending

    def terminate(
        self, instance: Instance, by: str = "Client.UserInitiatedShutdown", said: str = "User initiated shutdown"
    ) -> InstanceState:
        """The instance is shutting down, its scripts are being killed, its volumes are let go of when it has ended.

        Answers the state it had before. One that has ended stays as it is. `by` and `said` are its reason.
        """
        with self.lock:
            before = copy.copy(instance.instance_state)
            if instance.state in (SHUTTING_DOWN, TERMINATED):
                return before
            if instance.disable_api_termination:
                raise EC2ClientError(
                    "OperationNotPermitted",
                    f"The instance '{instance.id}' may not be terminated. Modify its 'disableApiTermination' instance "
                    "attribute and try again.",
                )
            _enter(instance, SHUTTING_DOWN)

        def finish() -> None:
            with self.lock, request_scope(ACCOUNT, instance.region_name):
                self._end(instance, StateReason(f"{by}: {said}", by))

        # Before the volumes go: a script still writes to them until it is killed.
        self.when_ended(instance.id)
        life.at(clock.now() + durations.seconds("instance_terminate"), finish, f"terminating {instance.id}")
        return before

    def _end(self, instance: Instance, reason: StateReason) -> None:
        instance.terminate()  # moto lets go of its volumes and network interfaces
        instance.state_reason = reason
        self._agents.pop(instance.id, None)
        when = clock.now() + _SHOWN_AFTER_TERMINATION_SECONDS
        life.at(when, lambda: self._forget(instance), f"forgetting {instance.id}")

    def _forget(self, instance: Instance) -> None:
        with self.lock:
            reservations = instance.ec2_backend.reservations
            for reservation_id, reservation in list(reservations.items()):
                if instance in reservation.instances:
                    reservation.instances.remove(instance)
                    if not reservation.instances:
                        del reservations[reservation_id]

    # -- the agent

    def managed(self, region: str) -> list[Managed]:
        """The instances of a Region that SSM knows, in the order in which they registered."""
        with self.lock, request_scope(ACCOUNT, region):
            found = [
                self._look_at(instance, agent)
                for instance in _backend(region).all_instances()
                if (agent := self._agents.get(instance.id)) is not None
            ]
        return sorted((one for one in found if one is not None), key=lambda one: one.registered_at)

    def managed_one(self, region: str, instance_id: str) -> Managed | None:
        """The instance as SSM knows it; None if it does not, or if it runs no longer."""
        return next((one for one in self.managed(region) if one.instance.id == instance_id), None)

    def _start_agent(self, instance: Instance, running_since: float) -> None:
        agent = self._agents[instance.id]
        fault = faults.take("life:ssm-agent", instance.region_name)
        if fault is None or fault.effect != _STICK:
            agent.ready_at = running_since + durations.seconds("ssm_registration")
        agent.will_lose_connection = fault is not None and fault.effect == _FAIL

    def _look_at(self, instance: Instance, agent: _Agent) -> Managed | None:
        if instance.state != RUNNING or clock.now() < agent.ready_at:
            return None
        obstacle = reachability.obstacle(instance, agent.profile)
        if obstacle != agent.last_obstacle and obstacle is not None:
            _logger.warning("SSM does not hear of %s: %s", instance.id, obstacle)
        agent.last_obstacle = obstacle
        if agent.registered_at is None:
            if obstacle is not None:
                return None
            agent.registered_at = agent.ready_at
        is_lost = obstacle is not None or agent.will_lose_connection
        status = CONNECTION_LOST if is_lost else ONLINE
        return Managed(instance=instance, ping_status=status, registered_at=agent.registered_at)


def _why_it_does_not_start(instance: Instance) -> str | None:
    """The code of EC2's reason where a volume's key cannot be used; EC2 looks at keys only after it has answered."""
    backend = instance.ec2_backend
    volumes = [backend.get_volume(block.volume_id) for _, block in instance.get_block_device_mapping]
    keys = [volume.kms_key_id for volume in volumes if volume.kms_key_id]
    return "Client.InternalError" if any(kms.why_unusable(key, instance.region_name) for key in keys) else None


def _user_data(instance: Instance) -> str:
    return base64.b64decode(str(instance.user_data or "")).decode(errors="replace")


def _enter(instance: Instance, state: str) -> None:
    # A new object: moto's answers hold on to the one before.
    instance._state = InstanceState(state, _CODES[state])


def _backend(region: str) -> Any:
    from moto.ec2.models import ec2_backends

    return ec2_backends[ACCOUNT][region]
