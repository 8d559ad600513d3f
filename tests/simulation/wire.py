"""The way between a function and AWS: clients that are given to it, and what happens to its requests.

Every call of a client is a site at which something may go wrong, and a moment at which oracles look. The clients
repeat requests as botocore's do, as often as the product's own configuration says.
"""

# ruff: noqa: N803
# Parameters have the names that AWS gave them.

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from functions.aws.clients import ONCE, RETRYING
from functions.aws.faults import code_of
from tests.simulation import faults
from tests.simulation.choices import Request
from tests.simulation.clock import REQUEST_TAKES
from tests.simulation.expressions import NotUnderstood
from tests.simulation.table import refusal

if TYPE_CHECKING:
    from tests.simulation.world import Invocation, World

THROTTLED_AS: Mapping[str, tuple[str, int]] = {
    "ec2": ("RequestLimitExceeded", 503),
    "ebs": ("RequestThrottledException", 400),
    "rds": ("Throttling", 400),
    "dynamodb": ("ProvisionedThroughputExceededException", 400),
    "sqs": ("RequestThrottled", 400),
    "sns": ("Throttled", 429),
    "events": ("ThrottlingException", 400),
    "cloudwatch": ("Throttling", 400),
}
"""By service, the code and the status with which it refuses when it is asked too often."""

SLOW_SECONDS = 60
"""How long a request, or its reply, takes that is overtaken: under every timeout, and enough for others to act."""

READS = ("describe_", "get_", "list_", "query")
BACKOFF_SECONDS = 1.0


class Killed(BaseException):
    """The function's process ended between two lines; nobody had a chance to tidy up."""


class Call(NamedTuple):
    """One logical call of a client, which may be several requests."""

    site: int
    at: datetime
    function: str
    region: str
    service: str
    operation: str
    parameters: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.service}.{self.operation} in {self.region}"


class SimulatedClients:
    """What `functions.aws.clients.Clients` is in production."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._built: dict[tuple[str, str, bool], SimulatedClient] = {}

    def retrying(self, service: str, region: str) -> Any:
        """The client that repeats a request after throttling, a 5xx or a lost reply."""
        return self._client(service, region, False)

    def once(self, service: str, region: str) -> Any:
        """The client for which one call is one request."""
        return self._client(service, region, True)

    def partition(self, region: str) -> str:
        """The first word of every ARN."""
        return "aws"

    def _client(self, service: str, region: str, is_once: bool) -> SimulatedClient:
        wanted = (service, region, is_once)
        if wanted not in self._built:
            attempts = _attempts(ONCE if is_once else RETRYING)
            self._built[wanted] = SimulatedClient(self._world, service, region, attempts)
        return self._built[wanted]


class SimulatedClient:
    """One client: its methods are the operations of a service in a Region."""

    def __init__(self, world: World, service: str, region: str, attempts: int) -> None:
        self._world = world
        self._service = service
        self._region = region
        self._attempts = attempts
        self._backend = world.backend(service, region)
        self.exceptions = getattr(self._backend, "exceptions", None)

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        effect = getattr(self._backend, operation, None)
        if operation.startswith("_") or effect is None:
            raise NotUnderstood(f"{self._service}.{operation}")

        def call(**parameters: Any) -> Any:
            return self._world.wire.carry(self._service, self._region, operation, parameters, effect, self._attempts)

        setattr(self, operation, call)
        return call

    def get_paginator(self, operation: str) -> Paginator:
        """As boto3's."""
        return Paginator(self, operation, self._world)


class Paginator:
    """Reads an answer page by page, as botocore's: every page is a request."""

    def __init__(self, client: SimulatedClient, operation: str, world: World) -> None:
        self._client = client
        self._operation = operation
        self._world = world

    def paginate(self, *, PaginationConfig: Mapping[str, int] | None = None, **parameters: Any) -> Iterator[Any]:
        is_rds = "_db_" in self._operation
        token_in, token_out, size = (
            ("Marker", "Marker", "MaxRecords") if is_rds else ("NextToken", "NextToken", "MaxResults")
        )
        if PaginationConfig:
            parameters[size] = PaginationConfig["PageSize"]
        ask = getattr(self._client, self._operation)
        listing = self._world.listing_begins(self._operation)
        while True:
            page = ask(**parameters)
            token = page.get(token_out)
            if token is None:
                self._world.listing_ends(listing)
                yield page
                return
            yield page
            parameters[token_in] = token


class DynamoDbClient:
    """The client below PynamoDB, which calls this one private method of botocore's and looks at its signer."""

    class _request_signer:  # noqa: N801
        _credentials = "simulated"

    OPERATIONS: Mapping[str, str] = {
        "GetItem": "get_item",
        "PutItem": "put_item",
        "UpdateItem": "update_item",
        "Query": "query",
    }

    def __init__(self, world: World, region: str, attempts: int) -> None:
        self._world = world
        self._region = region
        self._attempts = attempts
        self._effects = {name: (name, getattr(world.table, name)) for name in self.OPERATIONS.values()}
        self._of_index = ("query_index", _lagging(world.table.query))

    def _make_api_call(self, operation: str, parameters: dict[str, Any]) -> Any:
        if operation not in self.OPERATIONS:
            raise NotUnderstood(f"dynamodb.{operation}")
        if parameters.get("TableName") != self._world.table.name:
            raise NotUnderstood(f"table {parameters.get('TableName')!r}")
        name, effect = self._of_index if "IndexName" in parameters else self._effects[self.OPERATIONS[operation]]
        return self._world.wire.carry("dynamodb", self._region, name, parameters, effect, self._attempts)


def _lagging(query: Callable[..., Any]) -> Callable[..., Any]:
    def ask(*, fault: str | None = None, **parameters: Any) -> Any:
        return query(is_behind=fault == faults.INDEX_BEHIND, **parameters)

    return ask


class Wire:
    """Carries calls to the simulated AWS and its answers back, or not."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._options: dict[tuple[str, str, bool], tuple[str, tuple[str, ...]]] = {}
        self.calls = 0

    def carry(
        self,
        service: str,
        region: str,
        operation: str,
        parameters: Mapping[str, Any],
        effect: Callable[..., Any],
        attempts: int,
    ) -> Any:
        """The answer of the operation, or the error that botocore would raise."""
        world = self._world
        self.calls += 1
        world.clock.now += REQUEST_TAKES
        invocation = world.invocation
        choices = world.choices
        site = choices.sites
        what, possible = self._possible(service, operation, attempts > 1)
        request = None if choices.offered is None else self._seen(invocation, region, operation, parameters)
        fault = choices.at(what, possible, invocation.function, request)
        call = Call(
            site=site,
            at=world.clock.now,
            function=invocation.function,
            region=region,
            service=service,
            operation=operation,
            parameters=parameters,
        )
        if fault == faults.OVERTAKEN_BEFORE:
            world.let_pass(SLOW_SECONDS)
        if world.clock.now > invocation.deadline:
            world.tell(call, "the function ran out of time")
            raise Killed
        if fault == faults.CRASH_BEFORE:
            world.tell(call, "the function ended before")
            raise Killed
        try:
            answer = self._asked(call, effect, attempts, fault)
        except ClientError as refused:
            world.tell(call, code_of(refused))
            raise
        except (EndpointConnectionError, ReadTimeoutError) as lost:
            world.tell(call, type(lost).__name__)
            raise
        world.tell(call, fault or "")
        if request is not None:
            self._look_back(request, answer, invocation)
        if fault == faults.CRASH_AFTER:
            raise Killed
        if fault == faults.OVERTAKEN_AFTER:
            world.let_pass(SLOW_SECONDS)
        return answer

    def _asked(self, call: Call, effect: Callable[..., Any], attempts: int, fault: str | None) -> Any:
        world = self._world
        if call.region in world.regions_down and call.service != "dynamodb":
            self._back_off(attempts)
            raise EndpointConnectionError(endpoint_url=f"https://{call.service}.{call.region}.amazonaws.com")
        if fault == faults.THROTTLED or (call.service == "dynamodb" and world.is_table_busy):
            self._back_off(attempts)
            raise self._throttled(call)
        for attempt in range(attempts):
            if world.rates[call.region].let_through(call.service, call.operation, world.clock.now):
                break
            if attempt == attempts - 1:
                raise self._throttled(call)
            self._back_off(2)
        world.sent(call, 1)
        of_what_it_makes = {"fault": fault} if fault in faults.OF_OPERATION.get(call.operation, ()) else {}
        refused: ClientError | None = None
        answer: Any = None
        try:
            answer = effect(**call.parameters, **of_what_it_makes)
        except ClientError as problem:
            refused = problem
        if fault == faults.REPEATED:
            return self._again(call, effect, 2)
        if fault == faults.REPLY_LOST:
            for request in range(2, attempts + 1):
                try:
                    self._again(call, effect, request)
                except ClientError:
                    continue
            raise ReadTimeoutError(endpoint_url=f"https://{call.service}.{call.region}.amazonaws.com")
        if refused is not None:
            raise refused
        return answer

    def _again(self, call: Call, effect: Callable[..., Any], request: int) -> Any:
        self._back_off(2)
        self._world.sent(call, request)
        return effect(**call.parameters)

    def _back_off(self, attempts: int) -> None:
        """The client waits between its attempts; nothing else of the simulation happens in these seconds."""
        self._world.clock.now += timedelta(seconds=BACKOFF_SECONDS * (attempts - 1))

    def _throttled(self, call: Call) -> ClientError:
        code, status = THROTTLED_AS[call.service]
        return refusal(code, "Rate exceeded", call.operation, status)

    def _possible(self, service: str, operation: str, repeats: bool) -> tuple[str, tuple[str, ...]]:
        """What a site is called, and which faults are possible there."""
        known = self._options.get((service, operation, repeats))
        if known is None:
            is_read = operation.startswith(READS)
            possible = (
                faults.OF_EVERY_REQUEST
                + (() if is_read else faults.OF_TIMING)
                + (faults.OF_REPEATING if repeats and not is_read else ())
                + faults.OF_OPERATION.get(operation, ())
            )
            if is_read:  # a read has no effect: its lost reply is as good as a refusal, and so is an end after it
                possible = tuple(one for one in possible if one not in (faults.REPLY_LOST, faults.CRASH_AFTER))
            known = self._options[service, operation, repeats] = (f"{service}.{operation}", possible)
        return known

    def _seen(self, invocation: Invocation, region: str, operation: str, parameters: Mapping[str, Any]) -> Request:
        """What those who explore want to know of a request before it is made."""
        request = Request(
            function=invocation.function,
            began_at=invocation.started_at,
            region=region,
            is_read=operation.startswith(READS),
        )
        if self._is_alone(invocation):
            request.void.add(faults.OVERTAKEN_BEFORE)
        if operation == "query_index" and not self._world.table.would_differ_behind(parameters):
            request.void.add(faults.INDEX_BEHIND)
        return request

    def _look_back(self, request: Request, answer: Mapping[str, Any], invocation: Invocation) -> None:
        """What they want to know of it afterwards."""
        if self._is_alone(invocation):
            request.void.add(faults.OVERTAKEN_AFTER)
        if request.is_read and not any(answer.values()):  # half of nothing, and then a refusal, is a refusal
            request.void.add(faults.TRUNCATED)

    def _is_alone(self, invocation: Invocation) -> bool:
        """Whether nothing else would happen while a request is slow, nor the function's time be over."""
        until = self._world.clock.now + timedelta(seconds=1.5 * SLOW_SECONDS)
        due = self._world._due
        return until < invocation.deadline and (not due or due[0][0] > until)


def _attempts(config: Any) -> int:
    return config.retries["total_max_attempts"]
