"""A deployment with a whole fleet: the simulated AWS of the tests, in which functions run side by side.

In the tests one function runs after the other, to the microsecond repeatable. A fleet needs what happens at once: here
every run of a function begins when its message or tick is due, takes as long as its requests take, and the next one
begins at its own time, whether or not the first has ended. What goes over a wire takes the time that AWS takes.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from time import process_time
from typing import Any
from unittest.mock import patch

from benchmarks.fleet.table import FleetTable
from functions.core.policies import Settings
from tests.builders import HOME
from tests.simulation import wire
from tests.simulation.choices import Choices
from tests.simulation.ec2 import EbsSnapshot, Ec2
from tests.simulation.limits import Limits, RequestRates
from tests.simulation.rds import DatabaseSnapshot
from tests.simulation.table import Written
from tests.simulation.wire import Call
from tests.simulation.world import NOTICES, Outcome, World, running

REQUEST_TAKES = timedelta(milliseconds=10)
STARTS_AFTER = timedelta(milliseconds=200)
"""From a message that is there to the function that works on it."""

NOTICE_AFTER_SECONDS = (1.0, 3.0)
"""From the end of a snapshot to its notice in the queue."""

BATCHES: Mapping[str, tuple[int, timedelta]] = {NOTICES: (10, timedelta(seconds=2))}
OF_ORDERS = (5, timedelta(0))
"""How many messages a function is given at most, and how long they are gathered; as infra/stacks/backup.py says."""

HIDDEN_FOR = timedelta(minutes=15)


class FleetEc2(Ec2):
    """EC2 that says how large a snapshot is; its time follows from that."""

    def _described(self, snapshot: EbsSnapshot) -> dict[str, Any]:
        answer = super()._described(snapshot)
        if "FullSnapshotSizeInBytes" in answer:
            answer["FullSnapshotSizeInBytes"] = snapshot.size_gib * 2**30
        return answer


class FleetRates(RequestRates):
    """Functions run side by side: a request may come that was sent before one that was counted already."""

    def let_through(self, service: str, operation: str, now: datetime) -> bool:
        bucket = self.buckets.get(operation)
        filled_at = bucket.filled_at if bucket else None
        return super().let_through(service, operation, max(now, filled_at) if filled_at else now)


class FleetQueue:
    """A queue of SQS in which nothing goes wrong, and the function that Lambda runs for it."""

    def __init__(self, world: FleetWorld, name: str) -> None:
        self.name = name
        self.messages: list[tuple[datetime, int, str]] = []
        self.sent = 0
        self._world = world
        self._size, self._gathered_for = BATCHES.get(name, OF_ORDERS)

    def put(self, body: str, delay_seconds: int = 0) -> None:
        """The message is in the queue, and visible after the delay."""
        self.sent += 1
        self._put(body, self._world.now + timedelta(seconds=delay_seconds))

    def _put(self, body: str, visible_at: datetime) -> None:
        heapq.heappush(self.messages, (visible_at, self.sent, body))
        self._world.at(visible_at + STARTS_AFTER + self._gathered_for, self.name, self._deliver)
        if self._gathered_for:
            self._world.at(visible_at + STARTS_AFTER, self.name, self._deliver_if_full)

    def _deliver_if_full(self) -> None:
        visible = sum(1 for at, _, _ in self.messages if at + STARTS_AFTER <= self._world.now)
        if visible >= self._size:
            self._deliver()

    def _deliver(self) -> None:
        world, taken = self._world, list[tuple[datetime, int, str]]()
        while self.messages and len(taken) < self._size and self.messages[0][0] + STARTS_AFTER <= world.now:
            taken.append(heapq.heappop(self.messages))
        if taken:
            numbered = dict(enumerate(taken))
            records = [wire_record(number, body) for number, (_, _, body) in numbered.items()]
            outcome = world.invoke(world.deliveries[self.name], {"Records": records})
            failed = range(len(taken)) if not outcome.is_done else _failed(outcome)
            for number in failed:
                self._put(numbered[number][2], world.now + HIDDEN_FOR)


def _failed(outcome: Outcome) -> list[int]:
    if isinstance(outcome.answer, dict):
        return [int(one["itemIdentifier"]) for one in outcome.answer.get("batchItemFailures", ())]
    return []


class FleetWorld(World):
    """`spans` says how long AWS takes for a snapshot or copy. Counts calls and refusals, CPU time and read and write
    units; keeps no trace."""

    def __init__(
        self,
        *,
        settings: Settings,
        starts_at: datetime,
        limits: Limits,
        spans: Callable[[EbsSnapshot | DatabaseSnapshot], timedelta],
    ) -> None:
        choices = Choices(0)
        choices.is_quiet = True
        self._spans = spans
        super().__init__(seed=0, choices=choices, settings=settings, starts_at=starts_at, limits=limits)
        self.table = FleetTable(self.table.name, lambda: self.clock.now)
        self.table.watchers.append(self._written)
        self.rates = {region: FleetRates(limits) for region in self.rates}
        self.ec2 = {region: self._fleet_ec2(region, ec2) for region, ec2 in self.ec2.items()}
        self.queues = {name: FleetQueue(self, name) for name in self.queues}  # type: ignore[assignment, misc]
        self.calls: Counter[tuple[str, str, str]] = Counter()
        """Of each operation, by Region and outcome."""
        self.refusals: list[tuple[datetime, str, str]] = []
        self.runs: Counter[str] = Counter()
        self.cpu_seconds: defaultdict[str, float] = defaultdict(float)
        self.requests: Counter[str] = Counter()
        self.simulated_seconds: defaultdict[str, float] = defaultdict(float)
        self.out_of_time: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self._luck = random.Random("notices")  # noqa: S311 - the same each time

    def _fleet_ec2(self, region: str, ec2: Ec2) -> Ec2:
        return FleetEc2(
            region,
            now=self._now,
            caller=self._caller,
            others=lambda other: self.ec2[other],
            numbers=ec2._numbers,
            limits=lambda: self.limits,
            snapshot_takes=self._spans,
            watch=self._effect,
        )

    def change_limits(self, limits: Limits) -> None:
        """From now on AWS has these limits."""
        self.limits = limits
        for rates in self.rates.values():
            rates.change(limits)

    def invoke(self, function: str, event: Any, region: str = HOME) -> Outcome:
        """The function runs; its own time passes for itself and for nobody else."""
        begins, began, before = self.clock.now, process_time(), self.wire.calls
        outcome = super().invoke(function, event, region)
        self.runs[function] += 1
        self.cpu_seconds[function] += process_time() - began
        self.requests[function] += self.wire.calls - before
        self.simulated_seconds[function] += (self.clock.now - begins).total_seconds()
        if outcome.died:
            self.out_of_time[function] += 1
        if outcome.error is not None:
            self.errors[f"{function}: {type(outcome.error).__name__}: {outcome.error.what}"] += 1
        self.clock.now = begins
        return outcome

    def note(self, said: str) -> None:
        """Nothing: a trace of a whole night is read by nobody."""

    def tell(self, call: Call, outcome: str) -> None:
        """The call is counted, and when it was refused, its moment."""
        self.calls[call.operation, call.region, outcome] += 1
        if outcome and call.service != "dynamodb":
            self.refusals.append((call.at, call.operation, outcome))

    def _snapshot_takes(self, snapshot: EbsSnapshot) -> timedelta:
        return self._spans(snapshot)

    def _database_snapshot_takes(self, snapshot: DatabaseSnapshot) -> timedelta:
        return self._spans(snapshot)

    def at(self, when: datetime, label: str, action: Callable[[], None]) -> None:
        if label == "notice":  # the tests' notice comes two seconds after the end
            when += timedelta(seconds=self._luck.uniform(*NOTICE_AFTER_SECONDS) - 2)
        super().at(when, label, action)

    def _written(self, written: Written) -> None:
        """Nothing: the runs that are written are scored beside the night, by a function that takes no part in it."""


def wire_record(number: int, body: str) -> dict[str, Any]:
    """A message as Lambda hands it to a function."""
    return {
        "messageId": str(number),
        "receiptHandle": f"receipt-{number}",
        "body": body,
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:orders",
        "awsRegion": HOME,
    }


@contextmanager
def at_work(world: FleetWorld) -> Iterator[None]:
    """Inside, the real handlers work in this world."""
    with running(world), patch.object(wire, "REQUEST_TAKES", REQUEST_TAKES):
        yield
