"""The same histories with AWS's own bytes on the wire.

The product's own clients, and PynamoDB's, are boto3's: they validate parameters, serialise and sign requests, repeat
them and parse answers. Where the network would be, a request is read as AWS reads it, from its bytes alone, carried
out in the simulated world, and answered in bytes of the protocol. So how often a create is really sent is counted
where AWS would count it.

    python -m tests.simulation.wire_level --histories 2000
"""

# ruff: noqa: T201
# It is a command, and prints.

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.endpoint
import pytest
from botocore import xform_name
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from botocore.retries import quota

from functions.aws.clients import Clients
from functions.aws.faults import code_of
from tests.simulation import faults, history
from tests.simulation.clock import REQUEST_TAKES
from tests.simulation.expressions import NotUnderstood
from tests.simulation.history import History, swarm
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.wire import BACKOFF_SECONDS, SLOW_SECONDS, Call, Killed, Wire
from tests.simulation.wire_level_bytes import Request, in_bytes, in_bytes_refused, read
from tests.simulation.world import World

TABLE_OPERATIONS = {"GetItem": "get_item", "PutItem": "put_item", "UpdateItem": "update_item", "Query": "query"}
TOKENS = ("NextToken", "Marker")


@dataclass(slots=True)
class Exchange:
    """One logical call of a client: its requests have one id."""

    call: Call
    fault: str | None
    effect: Callable[..., Any]
    listing: int | None
    requests: int = 0


class WireOfBytes(Wire):
    """What happens to requests, as `Wire` does it to calls: each of them comes and is answered alone."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.requests = 0
        self._exchanges: dict[str, Exchange] = {}
        self._listings: dict[str, int] = {}

    def answer(self, prepared: AWSPreparedRequest, attempts: int) -> AWSResponse:
        """AWS's answer to a request of a client that makes so many attempts, in bytes; or the error of a connection.

        Errors: EndpointConnectionError, ReadTimeoutError; Killed when the function ends meanwhile.
        """
        request = read(prepared)
        self.requests += 1
        known = request.id in self._exchanges
        exchange = self._exchanges[request.id] if known else self._begun(request, attempts)
        exchange.requests += 1
        call = exchange.call
        url = f"https://{call.service}.{call.region}.amazonaws.com"
        try:
            result = self._carried_out(request, exchange, url)
        except ClientError as refused:
            self._world.tell(call, code_of(refused))
            return in_bytes_refused(request, refused)
        except (EndpointConnectionError, ReadTimeoutError) as lost:
            self._world.tell(call, type(lost).__name__)
            raise
        self._world.tell(call, exchange.fault or "")
        if exchange.fault == faults.CRASH_AFTER:
            raise Killed
        if exchange.fault == faults.OVERTAKEN_AFTER:
            self._world.let_pass(SLOW_SECONDS)
        return in_bytes(request, result)

    def _begun(self, request: Request, attempts: int) -> Exchange:
        world = self._world
        self.calls += 1
        world.clock.now += REQUEST_TAKES
        invocation = world.invocation
        name, effect = self._effect(request)
        site = world.choices.sites
        what, possible = self._possible(request.service, name, attempts > 1)
        fault = world.choices.at(what, possible, invocation.function)
        call = Call(
            site=site,
            at=world.clock.now,
            function=invocation.function,
            region=request.region,
            service=request.service,
            operation=name,
            parameters=request.parameters,
        )
        if fault == faults.OVERTAKEN_BEFORE:
            world.let_pass(SLOW_SECONDS)
        if world.clock.now > invocation.deadline:
            world.tell(call, "the function ran out of time")
            raise Killed
        if fault == faults.CRASH_BEFORE:
            world.tell(call, "the function ended before")
            raise Killed
        exchange = Exchange(call=call, fault=fault, effect=effect, listing=self._listing(request))
        self._exchanges[request.id] = exchange
        return exchange

    def _carried_out(self, request: Request, exchange: Exchange, url: str) -> Any:
        world, call, fault = self._world, exchange.call, exchange.fault
        if call.region in world.regions_down and call.service != "dynamodb":
            raise EndpointConnectionError(endpoint_url=url)
        if fault == faults.THROTTLED or (call.service == "dynamodb" and world.is_table_busy):
            raise self._throttled(call)
        if not world.rates[call.region].let_through(call.service, call.operation, world.clock.now):
            raise self._throttled(call)
        world.sent(call, exchange.requests)
        is_first = exchange.requests == 1
        made = {"fault": fault} if is_first and fault in faults.OF_OPERATION.get(call.operation, ()) else {}
        if fault == faults.REPLY_LOST or (fault == faults.REPEATED and is_first):
            with suppress(ClientError):  # whatever AWS says, nobody hears it
                exchange.effect(**request.parameters)
            raise ReadTimeoutError(endpoint_url=url)
        result = exchange.effect(**request.parameters, **made)
        token = next((result[name] for name in TOKENS if result.get(name)), None)
        if exchange.listing is not None:
            if token is None:
                world.listing_ends(exchange.listing)
            else:
                self._listings[token] = exchange.listing
        return result

    def _effect(self, request: Request) -> tuple[str, Callable[..., Any]]:
        world, name = self._world, xform_name(request.operation.name)
        if request.service != "dynamodb":
            effect = getattr(world.backend(request.service, request.region), name, None)
            if effect is None:
                raise NotUnderstood(f"{request.service}.{name}")
            return name, effect
        if request.parameters.get("TableName") != world.table.name or request.operation.name not in TABLE_OPERATIONS:
            raise NotUnderstood(f"dynamodb.{name} of {request.parameters.get('TableName')!r}")
        if "IndexName" in request.parameters:
            return "query_index", partial(_lagging, world)
        return name, getattr(world.table, TABLE_OPERATIONS[request.operation.name])

    def _listing(self, request: Request) -> int | None:
        """Which listing a request belongs to: the token of its page says it, and the first page has none."""
        if not request.operation.name.startswith("Describe"):
            return None
        for name in TOKENS:
            if request.parameters.get(name):
                return self._listings.get(request.parameters[name])
        return self._world.listing_begins(request.operation.name)


def _lagging(world: World, *, fault: str | None = None, **parameters: Any) -> Any:
    return world.table.query(is_behind=fault == faults.INDEX_BEHIND, **parameters)


# The clients


class Network:
    """Real clients, made once, whose requests all arrive at the wire of one world."""

    def __init__(self) -> None:
        self.wire: WireOfBytes | None = None
        self._quotas: list[Any] = []
        self._session = boto3.Session("simulated", "simulated")
        self._ledgers: dict[tuple[str, int], Any] = {}
        self.clients = Clients(self._session)
        client = self._session.client
        self._session.client = partial(self._made, client)  # type: ignore[method-assign]

    def of(self, world: World) -> None:
        """From now on requests arrive in this world, and no client remembers the one before."""
        for one in self._quotas:
            one._available_capacity = one._max_capacity
        self.wire = world.wire if isinstance(world.wire, WireOfBytes) else None

    def ledger(self, region: str, attempts: int) -> Any:
        """The client below PynamoDB, which configures it so, but for the validation that it leaves out."""
        wanted = (region, attempts)
        if wanted not in self._ledgers:
            config = Config(retries={"total_max_attempts": attempts, "mode": "standard"})
            self._ledgers[wanted] = self._session.client("dynamodb", region_name=region, config=config)
        return self._ledgers[wanted]

    def _made(self, make: Callable[..., Any], *what: Any, **how: Any) -> Any:
        quotas = self._quotas

        class Remembered(quota.RetryQuota):
            def __init__(self) -> None:
                super().__init__()
                quotas.append(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(quota, "RetryQuota", Remembered)
            client = make(*what, **how)
        client.meta.events.register("before-send", partial(self._arrives, client.meta.config.retries))
        return client

    def _arrives(self, retries: Mapping[str, Any], request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        assert self.wire is not None
        return self.wire.answer(request, retries["total_max_attempts"])


@cache
def network() -> Network:
    """The one of this process: clients are dear."""
    return Network()


class WorldOfBytes(World):
    """A world whose functions have real clients; the ledger has one where it is said."""

    def __init__(self, *, is_ledger_in_bytes: bool, **how: Any) -> None:
        super().__init__(**how)
        self._is_ledger_in_bytes = is_ledger_in_bytes
        self.wire = WireOfBytes(self)
        self.clients = network().clients  # type: ignore[assignment]
        network().of(self)

    def dynamodb(self, region: str, attempts: int) -> Any:
        if not self._is_ledger_in_bytes:
            return super().dynamodb(region, attempts)
        return network().ledger(region, attempts)


@contextmanager
def bytes_on_the_wire(*, of_ledger: bool = True) -> Iterator[None]:
    """Inside, every history is lived with them. Six in seven calls are the ledger's, and may be left as they were."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "World", partial(WorldOfBytes, is_ledger_in_bytes=of_ledger))
        patch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=_waits))
        yield


def _waits(seconds: float) -> None:
    """A client waits before it asks again, always as long; nothing else of the simulation happens meanwhile."""
    wire = network().wire
    assert wire is not None
    wire._world.clock.now += timedelta(seconds=BACKOFF_SECONDS)


def swarm_in_bytes(names: tuple[str, ...], histories: int, *, first_seed: int = 0) -> Iterator[History]:
    """So many histories at random, of these scenarios in turn; in a tenth of them the ledger's calls are bytes too."""
    for seed, name in zip(range(first_seed, first_seed + histories), itertools.cycle(names), strict=False):
        with bytes_on_the_wire(of_ledger=seed // len(names) % 10 == 0):
            lived = swarm(SCENARIOS[name], seed)
        yield lived


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 when every invariant held in every history."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.wire_level", description=__doc__)
    parser.add_argument("--histories", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="the seed of the first")
    parser.add_argument("--scenario", choices=list(SCENARIOS), help="one of them; otherwise all in turn")
    asked = parser.parse_args(arguments)
    names = (asked.scenario,) if asked.scenario else tuple(SCENARIOS)
    begun, broken = time.process_time(), 0
    counted: Counter[str] = Counter()
    for lived in swarm_in_bytes(names, asked.histories, first_seed=asked.seed):
        counted["histories"] += 1
        counted["calls"] += lived.calls
        counted["faults"] += len(lived.deviations)
        if lived.invariant is not None:
            broken += 1
            print(lived, flush=True)
        if counted["histories"] % 100 == 0:
            print(f"{counted['histories']:,} of {asked.histories:,} histories", flush=True)
    seconds = time.process_time() - begun
    print(
        f"{counted['histories']:,} histories in bytes in {seconds:,.0f} CPU-seconds: {counted['calls']:,} calls, "
        f"{counted['faults']:,} faults, {broken:,} histories broke an invariant"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
