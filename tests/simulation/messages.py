"""What functions send: orders into queues of SQS, notices to people, events to the bus, numbers to CloudWatch."""

# ruff: noqa: N803
# Parameters have the names that AWS gave them.

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.simulation import faults
from tests.simulation.choices import Choices

RECEIVES = 10
"""How often SQS hands a message out before it lays it aside for a person."""

HIDDEN_FOR = timedelta(minutes=15)
"""How long a message that was handed out stays hidden from others."""


@dataclass(slots=True, kw_only=True)
class Message:
    """A message in a queue."""

    number: int
    body: str
    visible_at: datetime
    receives: int = 0


@dataclass(slots=True)
class SimulatedQueue:
    """A queue of SQS: at least once, in no order, and now and then late, twice or not at all."""

    name: str
    choices: Choices
    now: Callable[[], datetime]
    messages: list[Message] = field(default_factory=list)
    dead: list[Message] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    woken: Callable[[SimulatedQueue, datetime], None] | None = None
    _number: int = 0

    def put(self, body: str, delay_seconds: int = 0) -> None:
        """The message is in the queue, unless something goes wrong with it."""
        self.sent.append(body)
        at = self.now() + timedelta(seconds=delay_seconds)
        fault = self.choices.at(f"message to {self.name}", faults.MESSAGE)
        if fault == faults.LOST:
            return
        if fault == faults.LATE:
            at += timedelta(minutes=40)
        for _ in range(2 if fault == faults.DOUBLED else 1):
            self._number += 1
            self.messages.append(Message(number=self._number, body=body, visible_at=at))
            if self.woken is not None:
                self.woken(self, at)

    def take(self, at_most: int) -> list[Message]:
        """What is visible now, hidden from now on. It stays in the queue until `done`."""
        now = self.now()
        due = [message for message in self.messages if message.visible_at <= now]
        if len(due) > 1 and self.choices.at(f"order of {self.name}", (faults.OUT_OF_ORDER,)):
            due.reverse()
        taken = due[:at_most]
        for message in taken:
            message.receives += 1
            message.visible_at = now + HIDDEN_FOR
            if message.receives > RECEIVES:
                self.messages.remove(message)
                self.dead.append(message)
            elif self.woken is not None:
                self.woken(self, message.visible_at)
        return [message for message in taken if message.receives <= RECEIVES]

    def done(self, message: Message) -> None:
        """It was carried out and is gone."""
        if message in self.messages:
            self.messages.remove(message)


class Sqs:
    """SQS as its client answers."""

    def __init__(self, queues: Mapping[str, SimulatedQueue]) -> None:
        self._queues = queues

    def send_message_batch(self, *, QueueUrl: str, Entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        for entry in Entries:
            self._queues[QueueUrl].put(entry["MessageBody"], entry["DelaySeconds"])
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries], "Failed": []}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a person was told, and when."""

    at: datetime
    subject: str
    body: str


class Sns:
    """SNS as its client answers."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.notices: list[Notice] = []
        self._now = now

    def publish(self, *, TopicArn: str, Subject: str, Message: str) -> dict[str, Any]:
        self.notices.append(Notice(at=self._now(), subject=Subject, body=Message))
        return {"MessageId": str(len(self.notices))}


class Events:
    """EventBridge as its client answers."""

    def __init__(self) -> None:
        self.published: list[tuple[str, Any]] = []

    def put_events(self, *, Entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        self.published += [(entry["DetailType"], json.loads(entry["Detail"])) for entry in Entries]
        return {"FailedEntryCount": 0, "Entries": [{} for _ in Entries]}


class CloudWatch:
    """CloudWatch as its client answers: every data point with its time."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.numbers: dict[str, list[tuple[datetime, float]]] = {}
        self._now = now

    def put_metric_data(self, *, Namespace: str, MetricData: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        for one in MetricData:
            self.numbers.setdefault(one["MetricName"], []).append((self._now(), one["Value"]))
        return {}
