"""One deployment of Holdfast in one account: a simulated AWS, the functions that run in it, and what drives them.

Everything happens on one thread, in the order of simulated time. Where a request is slow, whatever else is due in the
meantime runs in the middle of it, to its end: that is how two functions meet.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from itertools import count
from typing import Any, cast

import pytest
from pynamodb.connection.base import Connection

from functions.aws import blocks
from functions.aws.clients import Clients
from functions.core.errors import Broken, HoldfastError
from functions.core.policies import Settings
from functions.handlers import (
    check_restore,
    choose_rehearsal,
    copy_snapshot,
    delete_expired,
    frame,
    hold_point,
    inspect_content,
    mark_expired,
    plan_backups,
    reap_rehearsals,
    record_rehearsal,
    remove_restore,
    score_run,
    start_restore,
    sweep,
    take_inventory,
    take_snapshot,
    track_points,
    verify_volume,
)
from functions.handlers.tools import Tools
from functions.ledger.ledger import Ledger
from tests.builders import ACCOUNT, HOME
from tests.simulation import faults
from tests.simulation.choices import Choices
from tests.simulation.clock import Clock
from tests.simulation.ebs_direct import EbsDirect
from tests.simulation.ec2 import EbsSnapshot, Ec2
from tests.simulation.expressions import NotUnderstood
from tests.simulation.limits import Limits, RequestRates
from tests.simulation.messages import CloudWatch, Events, SimulatedQueue, Sns, Sqs
from tests.simulation.rds import DatabaseSnapshot, Rds
from tests.simulation.table import LedgerTable, Written
from tests.simulation.wire import Call, DynamoDbClient, Killed, SimulatedClients, Wire

TABLE = "holdfast-ledger"
SNAPSHOT_ORDERS, COPY_ORDERS, NOTICES = "snapshot-orders", "copy-orders", "aws-notices"
BATCH = 5
STREAM_TRIES = 6
DEEPEST = 4
"""How many functions may be in the middle of each other."""

HANDLERS: Mapping[str, tuple[Callable[..., Any], int]] = {
    "take_inventory": (take_inventory.handler, 300),
    "plan_backups": (plan_backups.handler, 120),
    "take_snapshot": (take_snapshot.handler, 300),
    "track_points": (track_points.handler, 300),
    "copy_snapshot": (copy_snapshot.handler, 300),
    "sweep": (sweep.handler, 600),
    "mark_expired": (mark_expired.handler, 600),
    "delete_expired": (delete_expired.handler, 900),
    "score_run": (score_run.handler, 60),
    "hold_point": (hold_point.handler, 60),
    "choose_rehearsal": (choose_rehearsal.handler, 60),
    "start_restore": (start_restore.handler, 120),
    "check_restore": (check_restore.handler, 120),
    "verify_volume": (verify_volume.handler, 900),
    "inspect_content": (inspect_content.handler, 900),
    "record_rehearsal": (record_rehearsal.handler, 60),
    "remove_restore": (remove_restore.handler, 120),
    "reap_rehearsals": (reap_rehearsals.handler, 300),
}
"""By the verb: the handler as Lambda calls it, and the seconds it may run."""


class Violated(BaseException):
    """An invariant does not hold. Nobody catches it but the one who runs the history."""

    def __init__(self, invariant: int, said: str) -> None:
        super().__init__(f"invariant {invariant}: {said}")
        self.invariant = invariant
        self.said = said


UNFORESEEN = 0
"""The number under which an error is reported that no handler should ever raise."""


@dataclass(slots=True, kw_only=True)
class Invocation:
    """One run of a function. `open_listings` were begun and not read to their end."""

    function: str
    region: str
    started_at: datetime
    clock_read: datetime
    deadline: datetime
    listings: int = 0
    open_listings: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run of a function ended: with an answer, with an error, or without either."""

    answer: Any = None
    error: HoldfastError | None = None
    died: bool = False

    @property
    def is_done(self) -> bool:
        return self.error is None and not self.died


class Watcher:
    """What oracles are told, each at its moment. A method that finds an invariant broken raises Violated."""

    def effect(self, what: str, thing: Any, region: str) -> None:
        """AWS is about to do this: creates, copies, marks, deletes, restores or removes."""

    def request(self, call: Call, number: int) -> None:
        """This is the numberth request of a call that reaches AWS."""

    def written(self, written: Written) -> None:
        """The ledger was written."""

    def ended(self, invocation: Invocation, outcome: Outcome) -> None:
        """A function ended."""


class World:
    """The account, its time and its functions. Only `run_until` and `invoke` make anything happen."""

    def __init__(
        self,
        *,
        seed: int,
        choices: Choices,
        settings: Settings,
        starts_at: datetime,
        limits: Limits | None = None,
        keeps_trace: bool = False,
    ) -> None:
        self.starts_at = starts_at
        self.clock = Clock(starts_at)
        self.choices = choices
        self.settings = settings
        self.random = random.Random(f"world of {seed}")  # noqa: S311 - nothing secret is drawn
        self.limits = limits or Limits()
        self.watchers: list[Watcher] = []
        self.regions_down: set[str] = set()
        self.is_table_busy = False
        self.vanished: set[str] = set()
        """Snapshots that somebody outside of Holdfast deleted."""
        self.faults_of_clock = 0
        self.changes = 0
        """How often anything changed; a sweep that saw no change would see nothing new."""
        self.is_settling = False
        """Whether it is only waited for rest: the clock plans no new slots any more."""
        self.swept = -1
        """How many changes there were when the last sweep ended."""
        self.pace = 1
        """How many times longer than usual the clock waits between its ticks: for the long wait for a deadline."""
        self.lines: list[str] | None = [] if keeps_trace else None
        self._hash = hashlib.sha256()
        self.table = LedgerTable(TABLE, lambda: self.clock.now)
        self.table.watchers.append(self._written)
        numbers = count(1)
        self.ec2: dict[str, Ec2] = {}
        self.rds: dict[str, Rds] = {}
        self.rates: dict[str, RequestRates] = {}
        for region in settings.regions:
            self.rates[region] = RequestRates(self.limits)
            self.ec2[region] = Ec2(
                region,
                now=self._now,
                caller=self._caller,
                others=lambda other: self.ec2[other],
                numbers=numbers,
                limits=lambda: self.limits,
                snapshot_takes=self._snapshot_takes,
                watch=self._effect,
            )
            self.rds[region] = Rds(
                region,
                now=self._now,
                caller=self._caller,
                others=lambda other: self.rds[other],
                limits=lambda: self.limits,
                snapshot_takes=self._database_snapshot_takes,
                is_key_usable=lambda other: self.ec2[other].is_key_usable,
                watch=self._effect,
            )
        self.queues = {
            name: SimulatedQueue(name, choices, self._now, woken=self._message_is_due)
            for name in (SNAPSHOT_ORDERS, COPY_ORDERS, NOTICES)
        }
        self.sns = Sns(self._now)
        self.events = Events()
        self.cloudwatch = CloudWatch(self._now)
        self.wire = Wire(self)
        self.clients = SimulatedClients(self)
        self._backends: dict[tuple[str, str], Any] = {}
        self._tools: dict[str, Tools] = {}
        self._running: list[Invocation] = []
        self._due: list[tuple[datetime, int, str, Callable[[], None]]] = []
        self._numbers = count(1)
        self._dynamodb: dict[str, DynamoDbClient] = {}
        self.deliveries: dict[str, str] = {
            SNAPSHOT_ORDERS: "take_snapshot",
            COPY_ORDERS: "copy_snapshot",
            NOTICES: "track_points",
        }

    # Time

    @property
    def now(self) -> datetime:
        """The true time."""
        return self.clock.now

    def at(self, when: datetime, label: str, action: Callable[[], None]) -> None:
        """The action happens then."""
        heapq.heappush(self._due, (when, next(self._numbers), label, action))

    def after(self, label: str, action: Callable[[], None], **span: float) -> None:
        """The action happens that much later."""
        self.at(self.clock.now + timedelta(**span), label, action)

    def run_until(self, at: datetime) -> None:
        """It is `at`, and whatever was due before has happened, in its order."""
        while self._due and self._due[0][0] <= at:
            when, _, _, action = heapq.heappop(self._due)
            self.clock.advance_to(when)
            action()
        self.clock.advance_to(at)

    def let_pass(self, seconds: float) -> None:
        """In the middle of a request, so much time passes for everybody else."""
        until = self.clock.now + timedelta(seconds=seconds)
        if len(self._running) < DEEPEST:
            self.run_until(until)
        else:
            self.clock.advance_to(until)

    def every(
        self, function: str, *, first: datetime, unless: Callable[[], bool] | None = None, **period: float
    ) -> None:
        """The function runs by the clock, except when `unless` says that it would change nothing."""
        span = timedelta(**period)

        def tick() -> None:
            self.at(self.clock.now.replace(microsecond=0) + span * self.pace, function, tick)
            if unless is None or not unless():
                self.tick(function)

        self.at(first, function, tick)

    def tick(self, function: str, region: str = HOME) -> None:
        """The clock calls the function: once, unless something goes wrong with the call."""
        fault = self.choices.at(f"tick of {function}", faults.TICK)
        if fault == faults.LOST:
            return
        if fault == faults.LATE:
            self.after(function, lambda: self._tried(function, region, 3), minutes=20)
            return
        if fault == faults.DOUBLED:
            self.after(function, lambda: self._tried(function, region, 3), seconds=1)
        self._tried(function, region, 3)

    def _tried(self, function: str, region: str, tries: int) -> None:
        """Lambda calls again what failed without being waited for, twice at most."""
        if not self.invoke(function, {}, region).is_done and tries > 1:
            self.after(function, lambda: self._tried(function, region, tries - 1), minutes=4 - tries)

    # Functions

    @property
    def invocation(self) -> Invocation:
        """The function that is running."""
        return self._running[-1]

    def invoke(self, function: str, event: Any, region: str = HOME) -> Outcome:
        """The function runs to its end, whatever that is."""
        handler, timeout_seconds = HANDLERS[function]
        invocation = Invocation(
            function=function,
            region=region,
            started_at=self.clock.now,
            clock_read=self.clock.read(),
            deadline=self.clock.now + timedelta(seconds=timeout_seconds),
        )
        self.note(f"begin {function} in {region}")
        self._running.append(invocation)
        try:
            outcome = Outcome(answer=handler(event, None))
        except Killed:
            outcome = Outcome(died=True)
        except Broken as defect:
            raise Violated(UNFORESEEN, f"{function}: {defect}") from defect
        except HoldfastError as error:
            outcome = Outcome(error=error)
        except Exception as defect:
            raise Violated(UNFORESEEN, f"{function} raised {type(defect).__name__}: {defect}") from defect
        finally:
            self._running.pop()
        said = "died" if outcome.died else type(outcome.error).__name__ if outcome.error else "done"
        self.note(f"end {function}: {said}")
        if function == "sweep" and outcome.is_done:
            self.swept = self.changes
        for watcher in self.watchers:
            watcher.ended(invocation, outcome)
        return outcome

    def tools(self) -> Tools:
        """The tools of the function that is running."""
        region = self.invocation.region
        if region not in self._tools:
            self._tools[region] = Tools(
                _environment(region),
                settings=self.settings,
                clients=cast(Clients, self.clients),
                ledger=ledger_in(region),
            )
        return self._tools[region]

    def backend(self, service: str, region: str) -> Any:
        """Who answers for a service in a Region."""
        if (service, region) not in self._backends:
            self._backends[service, region] = self._made(service, region)
        return self._backends[service, region]

    def _made(self, service: str, region: str) -> Any:
        match service:
            case "ec2":
                return self.ec2[region]
            case "rds":
                return self.rds[region]
            case "ebs":
                return EbsDirect(self.ec2[region], self._now)
            case "sqs":
                return Sqs(self.queues)
            case "sns":
                return self.sns
            case "events":
                return self.events
            case "cloudwatch":
                return self.cloudwatch
            case _:
                raise NotUnderstood(f"the service {service}")

    def dynamodb(self, region: str, attempts: int) -> DynamoDbClient:
        """The client below PynamoDB."""
        if region not in self._dynamodb:
            self._dynamodb[region] = DynamoDbClient(self, region, attempts)
        return self._dynamodb[region]

    # Messages

    def _message_is_due(self, queue: SimulatedQueue, at: datetime) -> None:
        self.at(at, queue.name, lambda: self._deliver(queue))

    def _deliver(self, queue: SimulatedQueue) -> None:
        """Lambda polls: a batch of what is visible is handed to the queue's function."""
        messages = queue.take(BATCH)
        if not messages:
            return
        if any(message.visible_at <= self.clock.now for message in queue.messages):
            self.at(self.clock.now, queue.name, lambda: self._deliver(queue))
        records = [_record(message.number, message.body) for message in messages]
        outcome = self.invoke(self.deliveries[queue.name], {"Records": records})
        if not outcome.is_done:
            return  # nobody told SQS that they were read
        failed = set()
        if isinstance(outcome.answer, dict) and "batchItemFailures" in outcome.answer:
            failed = {one["itemIdentifier"] for one in outcome.answer["batchItemFailures"]}
        for message in messages:
            if str(message.number) not in failed:
                queue.done(message)

    def tell_everything_again(self) -> None:
        """Every order and every notice that was ever sent is delivered once more, each once."""
        for name, function in self.deliveries.items():
            bodies = dict.fromkeys(self.queues[name].sent)
            records = [_record(number, body) for number, body in enumerate(bodies)]
            if records:
                self.invoke(function, {"Records": records})

    def _notice_of(self, snapshot: EbsSnapshot | DatabaseSnapshot, region: str) -> None:
        """EC2 and RDS tell that a snapshot ended; they may also not."""
        is_ebs = isinstance(snapshot, EbsSnapshot)
        notice = {
            "detail-type": "EBS Snapshot Notification" if is_ebs else "RDS DB Snapshot Event",
            "source": "aws.ec2" if is_ebs else "aws.rds",
            "account": ACCOUNT,
            "region": region,
            "detail": {
                "snapshot_id": f"arn:aws:ec2::{region}:snapshot/{snapshot.id}",
            }
            if is_ebs
            else {"SourceIdentifier": snapshot.id},
        }
        assert snapshot.ends_at is not None
        self.at(snapshot.ends_at + timedelta(seconds=2), "notice", lambda: self.queues[NOTICES].put(json.dumps(notice)))

    # What oracles hear

    def _effect(self, what: str, thing: Any, region: str) -> None:
        self.changes += 1
        if what == "ends later":
            if thing.ends_at is not None and "holdfast:managed" in thing.tags:
                self._notice_of(thing, region)
            return
        self.note(f"{what} {thing.id} in {region}")
        for watcher in self.watchers:
            watcher.effect(what, thing, region)

    def sent(self, call: Call, number: int) -> None:
        """The numberth request of a call reaches AWS."""
        for watcher in self.watchers:
            watcher.request(call, number)

    def _written(self, written: Written) -> None:
        self.changes += 1
        sk = written.key[1]
        if written.before is None and sk.startswith("run#"):
            record = {"eventName": "INSERT", "dynamodb": {"NewImage": written.after}}
            self.after("stream", lambda: self._streamed(record, STREAM_TRIES), seconds=1)
        for watcher in self.watchers:
            watcher.written(written)

    def _streamed(self, record: Any, tries: int) -> None:
        if not self.invoke("score_run", {"Records": [record]}).is_done and tries > 1:
            self.after("stream", lambda: self._streamed(record, tries - 1), seconds=30)

    def listing_begins(self, operation: str) -> int:
        """A listing is read page by page from now on; its number."""
        invocation = self.invocation
        invocation.listings += 1
        invocation.open_listings.add(invocation.listings)
        return invocation.listings

    def listing_ends(self, listing: int) -> None:
        """The listing was read to its last page."""
        self.invocation.open_listings.discard(listing)

    # The trace

    def tell(self, call: Call, outcome: str) -> None:
        """A call ended so."""
        self.note(
            f"{call.site} {call.function} {call.service}.{call.operation} {call.region} {_subject(call)} {outcome}"
        )

    def note(self, said: str) -> None:
        """A line of the trace, with its time."""
        line = f"{self.clock.now} {said}\n"
        self._hash.update(line.encode())
        if self.lines is not None:
            self.lines.append(line)

    @property
    def trace_hash(self) -> str:
        """The same for the same history, and for no other."""
        return self._hash.hexdigest()

    # Rest

    @property
    def is_anything_on_its_way(self) -> bool:
        """Whether messages wait, or work is open on the ledger."""
        return self.table.is_anything_open or any(queue.messages for queue in self.queues.values())

    @property
    def would_sweep_nothing(self) -> bool:
        """Whether a sweep would find everything as the last one left it."""
        return self.swept == self.changes and not self.is_anything_on_its_way

    def be_quiet(self) -> None:
        """Nothing goes wrong any more, and what was wrong is over. What is lost stays lost."""
        self.choices.is_quiet = True
        self.is_settling = True
        self.regions_down.clear()
        self.is_table_busy = False
        self.clock.skew = timedelta(0)
        for ec2 in self.ec2.values():
            ec2.is_key_usable = True

    def _now(self) -> datetime:
        return self.clock.now

    def _caller(self) -> str:
        return self._running[-1].function if self._running else "somebody"

    def _snapshot_takes(self, snapshot: EbsSnapshot) -> timedelta:
        return timedelta(seconds=self.random.randint(60, 480))

    def _database_snapshot_takes(self, snapshot: DatabaseSnapshot) -> timedelta:
        return timedelta(seconds=self.random.randint(180, 900))


def _record(number: int, body: str) -> dict[str, Any]:
    return {
        "messageId": str(number),
        "receiptHandle": f"receipt-{number}",
        "body": body,
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{HOME}:{ACCOUNT}:orders",
        "awsRegion": HOME,
    }


def _subject(call: Call) -> str:
    parameters = call.parameters
    for name in (
        "Key",
        "Item",
        "SnapshotId",
        "VolumeId",
        "SourceSnapshotId",
        "Resources",
        "Filters",
        "DBSnapshotIdentifier",
        "ExpressionAttributeValues",
    ):
        if name in parameters:
            held = parameters[name]
            if name == "Item":
                return f"{held['pk']['S']} {held['sk']['S']}"
            if name == "Key":
                return f"{held['pk']['S']} {held['sk']['S']}"
            return str(held)
    return ""


def _environment(region: str) -> dict[str, str]:
    return {
        "AWS_REGION": region,
        "HOLDFAST_ACCOUNT": ACCOUNT,
        "HOLDFAST_TABLE": TABLE,
        "HOLDFAST_KEY_ALIAS": "alias/holdfast",
        "HOLDFAST_SNAPSHOT_ORDERS_URL": SNAPSHOT_ORDERS,
        "HOLDFAST_COPY_ORDERS_URL": COPY_ORDERS,
        "HOLDFAST_TOPIC_ARN": "arn:aws:sns:topic",
        "HOLDFAST_BUS": "default",
    }


@cache
def ledger_in(region: str) -> Ledger:
    """The real ledger. One for all worlds: binding the rows to a table costs more than a short history."""
    return Ledger(table=TABLE, region=region)


class _Silent:
    """A log that nobody reads."""

    def info(self, *said: Any, **more: Any) -> None: ...
    def warning(self, *said: Any, **more: Any) -> None: ...
    def error(self, *said: Any, **more: Any) -> None: ...


class _InTurn:
    """A pool of threads without threads: one after the other, in the order given."""

    def __init__(self, *_: Any, **__: Any) -> None: ...
    def __enter__(self) -> _InTurn:
        return self

    def __exit__(self, *_: Any) -> None: ...

    def map(self, work: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
        return iter([work(*one) for one in zip(*arguments, strict=True)])


@contextmanager
def running(world: World) -> Iterator[None]:
    """Inside, the real handlers work in this world."""
    silent = _Silent()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame, "tools", world.tools)
        patch.setattr(frame, "now", world.clock.read)
        patch.setattr(frame, "logger", lambda: silent)
        patch.setattr(blocks, "ThreadPoolExecutor", _InTurn)
        patch.setattr(
            Connection,
            "client",
            property(lambda self: world.dynamodb(self.region, 1 + self._max_retry_attempts_exception)),
        )
        yield
