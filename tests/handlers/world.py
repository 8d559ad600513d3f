"""A whole deployment in this process: the real ledger and frame, an AWS in memory, and a clock that stands still."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, cast

from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.aws.clients import Clients
from functions.core.coverage import Coverage, Standing
from functions.core.errors import AwsBusy, HoldfastError, Refused, ResourceGone, Unsafe
from functions.core.exposures import Shares
from functions.core.locks import Locks
from functions.core.planning import Owed
from functions.core.points import Copy, Point
from functions.core.policies import Policy, Settings
from functions.core.recoveries import Found, Newest, PlanLine, RecoveryOrder, Setting
from functions.core.resources import Kind, Resource, ResourceKey
from functions.core.restores import Leftover, Restored, RestoreOrder, RestoreState
from functions.core.slots import Slot
from functions.core.snapshots import Snapshot, Snapshots, State
from functions.handlers import copy_snapshot, sweep, take_snapshot, track_points
from functions.handlers.tools import Tools
from functions.ledger.ledger import Ledger
from tests.builders import AWAY, HOME, NOON, a_policy, some_settings
from tests.fakes import FakeAws
from tests.guard_fakes import FakeKeys, FakeLocks, FakeRecycleBin, Guarded, shares_in

CONTEXT = cast(LambdaContext, None)
EVENTS = Path(__file__).parents[2] / "events"
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

GOLD = a_policy(version="0a1b2c3d", copy_to=(AWAY,))
"""Daily, one copy."""


def example(name: str) -> Any:
    """A file of events/, as Lambda would hand it to a handler."""
    return json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))


class Killed(BaseException):
    """The process ended between two lines; nobody had a chance to tidy up."""


@dataclass(kw_only=True)
class MortalAws(FakeAws):
    """The AWS in memory; it can also end the caller's life right after the effect, and lose a Region."""

    deadly: set[str] = field(default_factory=set)
    regions_down: set[str] = field(default_factory=set)

    def arrive(self, region: str, verb: str, tags: Mapping[str, str] | None = None) -> None:
        super().arrive(region, verb, tags)
        if region in self.regions_down:
            raise AwsBusy(f"no answer from {region}", hint="It is asked again.")

    def kill_after_next(self, verb: str) -> None:
        """The next such request has its effect, and the caller lives no longer."""
        self.deadly.add(verb)

    def reply(self, verb: str) -> None:
        if verb in self.deadly:
            self.deadly.discard(verb)
            raise Killed(verb)
        super().reply(verb)


@dataclass(frozen=True, slots=True)
class Message:
    body: str
    visible_at: datetime


class FakeQueue:
    """A queue of orders that knows delays."""

    def __init__(self, aws: FakeAws, name: str) -> None:
        self.name = name
        self.messages: list[Message] = []
        self.refuses: Exception | None = None
        self._aws = aws

    def send(self, messages: Sequence[str], *, delays_seconds: Sequence[int] = ()) -> None:
        if self.refuses and messages:
            raise self.refuses
        delays = delays_seconds or [0] * len(messages)
        self.messages += [
            Message(body, self._aws.now + timedelta(seconds=delay))
            for body, delay in zip(messages, delays, strict=True)
        ]

    def take(self) -> list[str]:
        """What is visible now; it is no longer in the queue."""
        due = [message for message in self.messages if message.visible_at <= self._aws.now]
        self.messages = [message for message in self.messages if message not in due]
        return [message.body for message in due]

    def drop(self) -> None:
        """Everything in it is lost."""
        self.messages = []

    @property
    def orders(self) -> list[Any]:
        return [json.loads(message.body) for message in self.messages]

    @property
    def delays(self) -> list[timedelta]:
        return [message.visible_at - self._aws.now for message in self.messages]


def sqs_event(bodies: Iterable[str]) -> dict[str, Any]:
    """A batch as Lambda hands it over, each record made of the example's first."""
    record = example("sqs_snapshot_orders")["Records"][0]
    return {"Records": [record | {"messageId": f"m{number}", "body": body} for number, body in enumerate(bodies)]}


class FakeInventory:
    """What exists in the AWS in memory, with tags that a test gave."""

    def __init__(self, aws: FakeAws, region: str, listed: list[Resource]) -> None:
        self._aws = aws
        self._region = region
        self._listed = listed

    def resources(self) -> Iterator[Resource]:
        self._aws.arrive(self._region, "inventory")
        yield from self._listed

    def configuration(self, key: ResourceKey) -> Mapping[str, object]:
        self._aws.arrive(self._region, "configuration")
        if key not in self._aws.resources:
            raise ResourceGone(f"{key} does not exist", hint="It was deleted.")
        return {"volume_type": "gp3", "of": key.id}


class FakeRestores:
    """Restores and proofs in memory: asked twice is made once."""

    def __init__(self, region: str) -> None:
        self.kind = Kind.VOLUME
        self.region = region
        self.made: dict[str, Restored] = {}
        self.proofs: dict[str, State] = {}
        self.orders: list[RestoreOrder] = []
        self.removals: list[str] = []
        self.removing: set[str] = set()
        self.left: list[Leftover] = []
        self.stuck: dict[str, HoldfastError] = {}
        self.unlisted: set[Kind] = set()

    def leftovers(self) -> Iterator[Leftover]:
        if self.kind in self.unlisted:
            raise AwsBusy(f"no answer about {self.kind}s", hint="It is asked again.")
        yield from [one for one in self.left if one.kind is self.kind]

    def begin(self, order: RestoreOrder) -> tuple[Restored, ...]:
        self.orders.append(order)
        for snapshot_id in order.snapshot_ids:
            id = f"restored-of-{snapshot_id}"
            self.made.setdefault(
                id,
                Restored(
                    id=id,
                    snapshot_id=snapshot_id,
                    kind=order.kind,
                    region=self.region,
                    state=RestoreState.CREATING,
                ),
            )
        return tuple(self.made[f"restored-of-{snapshot_id}"] for snapshot_id in order.snapshot_ids)

    def look(self, restored: Restored) -> Restored:
        return self.made.get(restored.id) or replace(restored, state=RestoreState.GONE, message="AWS does not know it")

    def remove(self, restored: Restored) -> RestoreState:
        if restored.id in self.stuck:
            raise self.stuck[restored.id]
        self.removals.append(restored.id)
        if restored.id not in self.made:
            return RestoreState.GONE
        if restored.id in self.removing:
            del self.made[restored.id]
        self.removing.add(restored.id)
        return RestoreState.CREATING

    def begin_proof(self, restored: Restored, order: RestoreOrder) -> str:
        id = f"proof-of-{restored.id}"
        self.proofs.setdefault(id, State.PENDING)
        return id

    def look_proof(self, snapshot_id: str) -> State:
        return self.proofs.get(snapshot_id, State.GONE)

    def remove_proof(self, snapshot_id: str) -> None:
        if snapshot_id in self.stuck:
            raise self.stuck[snapshot_id]
        self.proofs.pop(snapshot_id, None)

    def become(self, state: RestoreState, message: str = "", **changes: Any) -> None:
        """Everything that was restored is in this state now."""
        self.made = {id: replace(one, state=state, message=message, **changes) for id, one in self.made.items()}


class FakeRecoveries:
    """Recoveries in memory: begun twice is made once, and what another made is never touched.

    `rounds` is what `configure` answers, one after the other, the last for ever.
    """

    def __init__(self, region: str) -> None:
        self.kind = Kind.VOLUME
        self.region = region
        self.made: dict[str, Restored] = {}
        self.of: dict[str, str] = {}
        self.lines: tuple[PlanLine, ...] = (PlanLine(what="snapshots", found=Found.FINE, detail="1 of 1 complete"),)
        self.rounds: list[tuple[Setting, ...]] = [()]
        self.orders: list[RecoveryOrder] = []
        self.removing: set[str] = set()

    def take_name(self, name: str) -> None:
        """Something that no recovery made has this name."""
        self.of[name] = "somebody else"

    def plan(self, order: RecoveryOrder) -> tuple[PlanLine, ...]:
        taken = [name for name in order.names if self.of.get(name, order.recovery_id) != order.recovery_id]
        lines = [
            PlanLine(what="name", found=Found.OBSTACLE, detail=f"{name} is taken", next_step="Give another name.")
            for name in taken
        ]
        return (*self.lines, *lines)

    def begin(self, order: RecoveryOrder) -> tuple[Restored, ...]:
        self.orders.append(order)
        for name in order.names:
            if self.of.setdefault(name, order.recovery_id) != order.recovery_id:
                raise Unsafe(f"{name} is taken", hint="Give another name.")
        for name, snapshot_id in zip(order.names, order.snapshot_ids or ("",), strict=True):
            self.made.setdefault(
                name,
                Restored(
                    id=name,
                    snapshot_id=snapshot_id,
                    kind=order.kind,
                    region=self.region,
                    state=RestoreState.CREATING,
                ),
            )
        return tuple(self.made[name] for name in order.names)

    def look(self, restored: Restored) -> Restored:
        return self.made.get(restored.id) or replace(restored, state=RestoreState.GONE, message="AWS does not know it")

    def configure(self, order: RecoveryOrder, restored: Restored) -> tuple[Setting, ...]:
        return self.rounds.pop(0) if len(self.rounds) > 1 else self.rounds[0]

    def remove(self, restored: Restored, recovery_id: str) -> RestoreState:
        if restored.id not in self.made:
            return RestoreState.GONE
        if self.of[restored.id] != recovery_id:
            raise Unsafe(f"{restored.id} is not of recovery {recovery_id}", hint="Remove it by hand.")
        if restored.id in self.removing:
            del self.made[restored.id], self.of[restored.id]
        self.removing.add(restored.id)
        return RestoreState.CREATING

    def become(self, state: RestoreState, message: str = "") -> None:
        """Everything that was restored is in this state now."""
        self.made = {id: replace(one, state=state, message=message) for id, one in self.made.items()}


class FakeExecutions:
    """The workflows of one Region: those that wait for an answer, and those that were started."""

    def __init__(self, region: str) -> None:
        self.region = region
        self.waiting: set[str] = set()
        self.answers: list[tuple[str, str, str]] = []
        self.started: dict[str, Mapping[str, object]] = {}
        self.refuses: Exception | None = None

    def approve(self, token: str, by: str) -> None:
        self._answer("approve", token, by)

    def refuse(self, token: str, by: str) -> None:
        self._answer("refuse", token, by)

    def start(self, name: str, given: Mapping[str, object]) -> bool:
        if self.refuses:
            raise self.refuses
        is_new = name not in self.started
        self.started.setdefault(name, given)
        return is_new

    def _answer(self, word: str, token: str, by: str) -> None:
        if token not in self.waiting:
            raise Refused("nobody waits for this answer any more", hint="Start the recovery again.")
        self.waiting.discard(token)
        self.answers.append((word, token, by))


class Bus:
    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, object]]] = []
        self.refuses: Exception | None = None

    def publish(self, detail_type: str, detail: Mapping[str, object]) -> None:
        if self.refuses:
            raise self.refuses
        self.events.append((detail_type, detail))


class Topic:
    def __init__(self) -> None:
        self.notices: list[tuple[str, str]] = []

    def notify(self, subject: str, body: str) -> None:
        self.notices.append((subject, body))


class Health:
    def __init__(self) -> None:
        self.numbers: dict[str, list[float]] = {}

    def count(self, **numbers: float) -> None:
        for name, number in numbers.items():
            self.numbers.setdefault(name, []).append(number)


@cache
def _clients() -> Clients:
    return Clients()


class FakedTools(Tools):
    """The tools of a function in `region`, with the AWS in memory behind them."""

    def __init__(self, aws: FakeAws, ledger: Ledger, settings: Settings, *, region: str = HOME) -> None:
        environment = {
            "AWS_REGION": region,
            "HOLDFAST_ACCOUNT": aws.account,
            "HOLDFAST_KEY_ALIAS": "alias/holdfast",
        }
        super().__init__(environment, settings=settings, clients=_clients(), ledger=ledger)
        self.aws = aws
        self.guarded = Guarded(aws=aws)
        self.listed: list[Resource] = []
        self.restored = FakeRestores(region)
        self.recovered = FakeRecoveries(region)
        self.logs: dict[ResourceKey, Newest] = {}
        self.asked_for_logs: list[ResourceKey] = []
        self.executions_by_region: dict[str, FakeExecutions] = {}
        self.told: Any = {
            "snapshot_orders": FakeQueue(aws, "snapshot-orders"),
            "copy_orders": FakeQueue(aws, "copy-orders"),
            "bus": Bus(),
            "topic": Topic(),
            "health": Health(),
            "executions": self.executions_in(region),
        }
        vars(self).update(self.told)  # the place where cached properties keep what they made

    def snapshots(self, kind: Kind, region: str) -> Snapshots:
        return self.aws.snapshots(kind, region)

    def shares(self, region: str) -> Sequence[Shares]:
        return shares_in(self.guarded, region)

    def locks(self, region: str) -> Locks:
        return FakeLocks(self.guarded, region)

    def recycle_bin(self, region: str) -> Any:
        return FakeRecycleBin(self.guarded, region)

    def keys(self, region: str) -> Any:
        return FakeKeys(self.guarded, region)

    def inventory(self, region: str) -> Any:
        return FakeInventory(self.aws, region, self.listed)

    def restores(self, kind: Kind) -> Any:
        self.restored.kind = kind
        return self.restored

    def volume_restores(self, kind: Kind) -> Any:
        return self.restored

    def recoveries(self, kind: Kind) -> Any:
        self.recovered.kind = kind
        return self.recovered

    def newest_restorable(self, resource: ResourceKey) -> Newest | None:
        self.asked_for_logs.append(resource)
        return self.logs.get(resource)

    def executions_in(self, region: str) -> Any:
        return self.executions_by_region.setdefault(region, FakeExecutions(region))

    def with_rehearsal_network(self) -> None:
        """Databases are rehearsed in this Region as well."""
        self._environment = {**self._environment, "HOLDFAST_REHEARSAL_SUBNET_GROUP": "holdfast-rehearsals"}


@dataclass
class World:
    """What a test acts on. Time passes only by `pass_time` and `minutes`."""

    aws: MortalAws
    ledger: Ledger
    tools: FakedTools
    log: io.StringIO = field(default_factory=io.StringIO)
    swept_at: datetime = NOON

    @property
    def now(self) -> datetime:
        return self.aws.now

    @property
    def snapshot_orders(self) -> FakeQueue:
        return self.tools.told["snapshot_orders"]

    @property
    def copy_orders(self) -> FakeQueue:
        return self.tools.told["copy_orders"]

    @property
    def bus(self) -> Bus:
        return self.tools.told["bus"]

    @property
    def topic(self) -> Topic:
        return self.tools.told["topic"]

    @property
    def health(self) -> Health:
        return self.tools.told["health"]

    @property
    def executions(self) -> FakeExecutions:
        return self.tools.told["executions"]

    @property
    def guarded(self) -> Guarded:
        return self.tools.guarded

    @property
    def recovered(self) -> FakeRecoveries:
        return self.tools.recovered

    def in_region(self, region: str) -> None:
        """From now on the functions are those of this Region."""
        self.tools = FakedTools(self.aws, self.ledger, self.tools.settings, region=region)

    def with_settings(self, *policies: Policy, default_policy: str | None = None) -> None:
        """From now on the settings say this."""
        self.tools._settings = some_settings(*policies, default_policy=default_policy)
        vars(self.tools).pop("settings", None)

    def with_changed_settings(self, **changes: Any) -> None:
        """From now on the settings say this as well."""
        self.tools._settings = replace(self.tools.settings, **changes)
        vars(self.tools).pop("settings", None)

    def pass_time(self, span: timedelta) -> None:
        self.aws.pass_time(span)

    def a_protected(
        self, kind: Kind = Kind.VOLUME, *, policy: str | None = "gold", volumes: int = 1, **changes: Any
    ) -> ResourceKey:
        """A new resource of the home Region that the inventory has found."""
        key = self.aws.make(kind, HOME, volumes=volumes)
        members = self.aws.resources[key] if kind is Kind.INSTANCE else ()
        resource = Resource(key=key, tags={}, state="available", members=members)
        said = {"standing": Standing.PROTECTED, "by": "tag holdfast:policy", "reason": f"policy {policy}"}
        coverage = Coverage(**{"resource": resource, "policy": policy} | said | changes)
        self.ledger.resources.stand(coverage, self.now)
        return key

    def inventory(self, key: ResourceKey) -> None:
        """The inventory has found the volume once more, under policy gold."""
        resource = Resource(key=key, tags={}, state="available")
        said = Coverage(resource=resource, standing=Standing.PROTECTED, by="tag", reason="policy gold", policy="gold")
        self.ledger.resources.stand(said, self.now)

    def owe(self, resource: ResourceKey | None = None, *, at: datetime | None = None, policy: Policy = GOLD) -> Slot:
        """A slot, owed on the ledger and ordered in the queue, as plan_backups leaves it."""
        slot = Slot(resource=resource or self.a_protected(), at=at or self.now)
        owed = Owed(slot=slot, policy=policy, deadline=slot.at + DAY, reason=f"slot of policy {policy.name}")
        assert self.ledger.points.owe(owed, self.now)
        self.order(slot)
        return slot

    def order(self, slot: Slot) -> str:
        """The order for the slot is in the queue once more."""
        from functions.contracts import wire
        from functions.handlers import settling

        body = wire.dump(settling.snapshot_order(self.point(slot)))
        self.snapshot_orders.send([body])
        return body

    def point(self, slot: Slot) -> Point:
        point = self.ledger.points.get(slot)
        assert point is not None
        return point

    def copy(self, slot: Slot) -> Copy:
        [copy] = self.ledger.copies.of_slot(slot)
        return copy

    def take(self) -> dict[str, Any]:
        """Every visible snapshot order is delivered once, in one batch."""
        return self._deliver(self.snapshot_orders, take_snapshot.handler)

    def copy_over(self) -> dict[str, Any]:
        """Every visible copy order is delivered once, in one batch."""
        return self._deliver(self.copy_orders, copy_snapshot.handler)

    def track(self) -> track_points.PointsTracked:
        """The minute's tick."""
        return track_points.track_points({}, self.tools, self.now)

    def sweep(self) -> sweep.Swept:
        """The tick of every quarter of an hour."""
        self.swept_at = self.now
        return sweep.sweep(self.tools, self.now)

    def minutes(self, number: int, *, sweeps: bool = True) -> None:
        """So many minutes as they pass in a deployment: orders are carried out, points tracked, the sweep sweeps.

        A long time passes in steps of five minutes: nothing in it lasts less.
        """
        step, left = (5 if number > 10 else 1), number
        while left:
            self.pass_time(min(step, left) * MINUTE)
            left -= min(step, left)
            self.take()
            self.track()
            self.copy_over()
            if sweeps and self.now - self.swept_at >= 15 * MINUTE:
                self.sweep()

    def snapshots(self, region: str = HOME) -> list[Snapshot]:
        """Every snapshot AWS has there, failed ones too."""
        return [self.aws.told(held) for (where, _), held in self.aws.held.items() if where == region]

    def requests(self, verb: str) -> int:
        return sum(1 for request in self.aws.requests if request.verb == verb)

    def decisions(self) -> list[dict[str, Any]]:
        """The lines of the log. Only a line feed ends one, for Lambda as well."""
        return [json.loads(line) for line in self.log.getvalue().split("\n") if line]

    def _deliver(self, queue: FakeQueue, handler: Callable[[dict[str, Any], LambdaContext], Any]) -> dict[str, Any]:
        bodies = queue.take()
        if not bodies:
            return {"batchItemFailures": []}
        try:
            answer = handler(sqs_event(bodies), CONTEXT)
        except Killed:
            queue.send(bodies)  # nobody told SQS that they were read
            raise
        queue.send([bodies[int(failure["itemIdentifier"][1:])] for failure in answer["batchItemFailures"]])
        return answer
