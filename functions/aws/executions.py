"""Executions of our own workflows: started by a machine, and given a person's answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from functions.aws.clients import Clients
from functions.aws.faults import code_of, translated
from functions.aws.permissions import Permission
from functions.core.errors import Refused

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

REFUSED = "RecoveryRefused"
"""The error under which an execution that nobody agreed to goes on; the workflow catches it by this name."""

_NOBODY_WAITS = frozenset({"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"})

PERMISSIONS: Mapping[str, tuple[Permission, ...]] = {
    "answer": (
        Permission(
            actions=("states:SendTaskSuccess", "states:SendTaskFailure"),
            resources=("arn:{partition}:states:{region}:{account}:stateMachine:holdfast-recover",),
            why="hands a person's answer to the recovery that waits for it",
        ),
    ),
    "start": (
        Permission(
            actions=("states:StartExecution",),
            resources=("arn:{partition}:states:{region}:{account}:stateMachine:holdfast-recover",),
            why="an alarm that the settings name starts a recovery",
        ),
    ),
}


class Executions:
    """The workflows of one Region."""

    def __init__(self, region: str, clients: Clients, *, machine_arn: str = "") -> None:
        self.region = region
        self._machine_arn = machine_arn
        self._states: SFNClient = clients.retrying("stepfunctions", region)

    def approve(self, token: str, by: str) -> None:
        """The execution that waits under the token goes on.

        Errors: Refused when none waits any more.
        """
        with translated("states:SendTaskSuccess"), _somebody_waiting():
            self._states.send_task_success(taskToken=token, output=json.dumps({"approved_by": by}))

    def refuse(self, token: str, by: str) -> None:
        """The execution that waits under the token ends without having made anything.

        Errors: Refused when none waits any more.
        """
        with translated("states:SendTaskFailure"), _somebody_waiting():
            self._states.send_task_failure(taskToken=token, error=REFUSED, cause=f"refused by {by}")

    def start(self, name: str, given: Mapping[str, object]) -> bool:
        """Whether this call started the execution; False when one of that name was started before."""
        with translated("states:StartExecution", resource=self._machine_arn):
            try:
                self._states.start_execution(stateMachineArn=self._machine_arn, name=name, input=json.dumps(given))
            except ClientError as refused:
                if code_of(refused) != "ExecutionAlreadyExists":
                    raise
                return False
        return True


@contextmanager
def _somebody_waiting() -> Iterator[None]:
    """The answers that say nobody waits leave as an error that says so."""
    try:
        yield
    except ClientError as problem:
        if code_of(problem) not in _NOBODY_WAITS:
            raise
        raise Refused(
            "nobody waits for this answer any more",
            hint="The time for it is over, or it was given before. Start the recovery again if it is still needed.",
        ) from problem
