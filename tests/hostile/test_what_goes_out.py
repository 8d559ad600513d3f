"""At least 200 strings into every place where text goes out: the log, people, the bus, queues, AWS, the table, screens.

Each arrives as it is or escaped, and nothing else changes. `test_oracles.py` shows that the oracles used here see what
a broken sink lets through.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from pynamodb.connection.base import Connection
from rich.console import Console

from embedded.tryout import screen
from embedded.tryout.ledger import Told
from embedded.tryout.promise import Kept, Promise
from embedded.tryout.scenario import Thing
from functions.aws.clients import Clients
from functions.aws.databases import mysql, postgresql
from functions.aws.databases.checks import _checked, _Newest
from functions.aws.databases.lines import key_of, quoted
from functions.aws.ebs_volumes import VolumeSnapshots
from functions.aws.executions import Executions
from functions.aws.outbound import Bus, Queue, Topic
from functions.aws.rds_databases import DatabaseSnapshots
from functions.contracts import published, wire
from functions.core import labels
from functions.core.coverage import Coverage, Standing
from functions.core.errors import BadMessage
from functions.core.holds import HeldBy, Hold
from functions.core.points import Status
from functions.core.policies import DatabaseCheck
from functions.core.resources import Kind
from functions.core.snapshots import CopyOrder
from functions.core.verdicts import Reason, Verdict, Word
from functions.handlers import (
    frame,
)
from functions.ledger.ledger import Ledger
from tests.builders import (
    ACCOUNT,
    AWAY,
    HOME,
    NOON,
    a_copy_order,
    a_key,
    a_point,
    a_resource,
    a_run,
    a_slot,
    a_snapshot_order,
)
from tests.handlers.recoveries import RECOVERY_ID, a_past_rehearsal, a_recovery
from tests.handlers.world import CONTEXT
from tests.hostile import oracles
from tests.hostile.corpus import CLASSES, STRINGS
from tests.hostile.trials import MODERATE, PLACEHOLDER, Sent, unharmed


def test_there_are_at_least_200_strings_and_each_class_says_where_it_comes_from() -> None:
    assert len({text for _, text in STRINGS}) >= 200
    assert all(one.source and len(one.strings) >= 5 for one in CLASSES)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What the real log of a function writes, with no tools behind it."""
    frame.logger.cache_clear()
    written = io.StringIO()
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", f"hostile-{next(NUMBERS)}")
    logger = frame.logger()
    logger.registered_handler.setStream(written)  # type: ignore[attr-defined]  # Powertools' handler writes a stream
    monkeypatch.setattr(frame, "logger", lambda: logger)
    monkeypatch.setattr(frame, "tools", lambda: None)
    yield written
    logger.handlers.clear()


NUMBERS = itertools.count()


def taken(written: io.StringIO) -> str:
    said = written.getvalue()
    written.seek(0)
    written.truncate()
    return said


def test_a_decision_is_one_line_of_the_log_that_says_the_text(log: io.StringIO) -> None:
    """F85, invariant 20."""

    def check(text: str) -> str:
        def verb(tools: object, now: object) -> Hold:
            return Hold(slot=a_slot(), by=HeldBy.PERSON, because=text, at=NOON)

        frame.tick(verb)({}, CONTEXT)
        return oracles.in_log(taken(log), text, said_in=("decision", "because"), level="INFO", message="verb")

    unharmed(check)


def test_an_error_is_one_line_of_the_log_that_says_the_text(log: io.StringIO) -> None:
    """F85."""

    def check(text: str) -> str:
        def verb(tools: object, now: object) -> None:
            raise BadMessage(text, hint="Look at the tag.")

        with pytest.raises(BadMessage):
            frame.tick(verb)({}, CONTEXT)
        return oracles.in_log(taken(log), text, said_in=("what",), level="ERROR", message="verb")

    unharmed(check)


def test_a_notice_has_one_plain_subject_and_a_visible_body() -> None:
    """F86."""
    sent = Sent()
    topic = Topic("arn:aws:sns:eu-central-1:123456789012:holdfast-notices", HOME, sent)  # type: ignore[arg-type]

    def check(text: str) -> str:
        topic.notify(f"Unusual backup of {text}", f"The backup of {text} is unusual.")
        notice = sent.last()
        assert set(notice) == {"TopicArn", "Subject", "Message"}
        # Whoever writes a body puts in lines of his own; here only what a reader cannot see is looked for.
        return oracles.in_mail(notice["Subject"], notice["Message"], harmless_body="\n" * len(text))

    unharmed(check)


def test_an_event_on_the_bus_says_the_text_and_nothing_else_changes() -> None:
    sent = Sent()
    bus = Bus("default", HOME, sent)  # type: ignore[arg-type]

    def event(text: str) -> str:
        reason = Reason(feature="status", value=None, typical=None, text=text)
        verdict = Verdict(word=Word.UNUSUAL, score=1.0, reasons=(reason,), judged_by=text)
        bus.publish("RunScored.v1", published.run_scored(a_run(), verdict))
        [entry] = sent.last()["Entries"]
        assert (entry["Source"], entry["DetailType"]) == ("holdfast", "RunScored.v1")
        return entry["Detail"]

    harmless = event(PLACEHOLDER)
    unharmed(lambda text: oracles.in_json(event(text), text, harmless=harmless, placeholder=PLACEHOLDER))


def test_an_order_in_the_queue_is_the_order_that_was_sent() -> None:
    sent = Sent()
    queue = Queue("https://queue", HOME, sent)  # type: ignore[arg-type]

    def check(text: str) -> str:
        order = a_copy_order(source_id=text, source_snapshot_id=text, policy=text)
        try:
            queue.send([wire.dump(order)])
        except BadMessage as problem:
            return oracles.in_error(problem.what, problem.hint) or ("" if len(text) > 50_000 else "it was refused")
        [entry] = sent.last()["Entries"]
        return "" if wire.load(CopyOrder, entry["MessageBody"]) == order else "another order arrived"

    unharmed(check)


def test_an_execution_is_given_the_text_and_nothing_else_changes() -> None:
    sent = Sent()
    executions = Executions(HOME, sent, machine_arn="arn:x")  # type: ignore[arg-type]

    def given(text: str) -> str:
        executions.start("alarm-1", {"resource": "volume/eu-central-1/vol-1", "asked_by": text})
        call = sent.last()
        assert (set(call), call["name"]) == ({"stateMachineArn", "name", "input"}, "alarm-1")
        return call["input"]

    harmless = given(PLACEHOLDER)
    unharmed(lambda text: oracles.in_json(given(text), text, harmless=harmless, placeholder=PLACEHOLDER))


def xml(name: str, inner: str) -> bytes:
    return f"<{name}Response><{name}Result>{inner}</{name}Result>{inner}</{name}Response>".encode()


ANSWERS = {
    "CopySnapshot": xml("CopySnapshot", "<snapshotId>snap-2</snapshotId>"),
    "DescribeSnapshots": xml("DescribeSnapshots", "<snapshotSet/>"),
    "CreateTags": xml("CreateTags", "<return>true</return>"),
    "CreateDBSnapshot": xml(
        "CreateDBSnapshot",
        "<DBSnapshot><DBSnapshotIdentifier>holdfast-1</DBSnapshotIdentifier><Status>creating</Status></DBSnapshot>",
    ),
}


@contextmanager
def on_the_wire() -> Iterator[tuple[Clients, list[dict[str, str]]]]:
    """Real clients of boto3, and the parameters of every request as its bytes say them."""
    session = boto3.Session(region_name=HOME)
    requests: list[dict[str, str]] = []

    class Body(io.BytesIO):
        def stream(self, **_: Any) -> Iterator[bytes]:
            yield self.read()

    def answer(request: Any, **_: Any) -> Any:
        pairs = parse_qsl(request.body if isinstance(request.body, str) else request.body.decode(), True, True)
        assert len({name for name, _ in pairs}) == len(pairs), "a parameter was sent twice"
        requests.append(dict(pairs))
        return AWSResponse(request.url, 200, HTTPHeaders(), Body(ANSWERS[requests[-1]["Action"]]))

    session.events.register("before-send.*.*", answer)
    yield Clients(session), requests


def test_a_request_to_ec2_has_the_text_as_one_value() -> None:
    """Parameter injection: what stands in a tag must not become another parameter, or another tag."""
    with on_the_wire() as (clients, requests):
        snapshots = VolumeSnapshots(region=AWAY, account=ACCOUNT, clients=clients)

        def sent(text: str) -> dict[str, str]:
            requests.clear()
            order = a_copy_order(source_id=text, source_snapshot_id=text)
            snapshots.copy(order, labels.for_copy(order), home_region=HOME)
            snapshots.look((text,))
            snapshots.find(replace(order.slot, resource=a_key(id=text)), attempt=1)
            copy, look, find = requests
            del find["Filter.1.Value.1"]  # the key of the slot, which is a digest and differs for that
            presigned = dict(parse_qsl(urlsplit(copy.pop("PresignedUrl")).query, True, True))
            of_its_time = {name for name in presigned if name.startswith("X-Amz-")}
            return copy | {
                f"{request} {name}": value
                for request, pairs in (("presigned", presigned), ("look", look), ("find", find))
                for name, value in pairs.items()
                if name not in of_its_time
            }

        harmless = sent(PLACEHOLDER)
        unharmed(
            lambda text: oracles.in_request(sent(text), text, harmless=harmless, placeholder=PLACEHOLDER), MODERATE
        )


def test_a_request_to_rds_has_the_text_as_one_value() -> None:
    with on_the_wire() as (clients, requests):
        snapshots = DatabaseSnapshots(region=HOME, account=ACCOUNT, clients=clients)

        def sent(text: str) -> dict[str, str]:
            requests.clear()
            order = a_snapshot_order(a_slot(resource=a_key(Kind.DATABASE)), policy=text, reason=text)
            snapshots.take(order, labels.for_snapshot(order))
            return requests[0]

        harmless = sent(PLACEHOLDER)
        unharmed(lambda text: oracles.in_request(sent(text), text, harmless=harmless, placeholder=PLACEHOLDER))


def test_a_row_of_the_ledger_holds_the_text_and_no_key_or_expression_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What DynamoDB is asked: keys, conditions and the names of attributes are ours alone."""
    asked: list[tuple[str, dict[str, Any]]] = []

    def note(self: Connection, operation_name: str, operation_kwargs: dict[str, Any], *_: object) -> Any:
        asked.append((operation_name, operation_kwargs))
        return {"Attributes": {}}

    monkeypatch.setattr(Connection, "_make_api_call", note)
    ledger = Ledger(table="holdfast-ledger", region=HOME)

    def requests(text: str) -> dict[object, dict[str, Any]]:
        asked.clear()
        write_rows(ledger, text)
        return {(number, operation): flat(given) for number, (operation, given) in enumerate(asked)}

    harmless = requests(PLACEHOLDER)
    assert len(harmless) == 8
    unharmed(lambda text: oracles.in_rows(requests(text), text, harmless=harmless, placeholder=PLACEHOLDER))


def flat(given: dict[str, Any]) -> dict[str, Any]:
    """The request as attributes: its values each by its name, all else as text."""
    values = {**given.pop("Item", {}), **given.pop("ExpressionAttributeValues", {})}
    return values | {name: {"S": json.dumps(value, sort_keys=True)} for name, value in given.items()}


def write_rows(ledger: Ledger, text: str) -> None:
    """Every row that holds text from outside is written with this text."""
    slot = a_slot()
    resource = replace(a_resource(), state=text, engine=text, members=(text,))
    ledger.resources.stand(Coverage(resource=resource, standing=Standing.GAP, by=text, reason=text), NOON)
    ledger.holds.hold(Hold(slot=slot, by=HeldBy.PERSON, because=text, at=NOON))
    ledger.approvals.ask(RECOVERY_ID, slot.resource, text, until=NOON, now=NOON)
    point = a_point(status=Status.CREATED, reason=text)
    ledger.points.adopt(point)
    ledger.points.move(point, Status.FAILED, now=NOON, error=text)
    reason = Reason(feature="status", value=None, typical=None, text=text)
    ledger.stories.judge(slot, Verdict(word=Word.UNUSUAL, score=1, reasons=(reason,), judged_by="rules-1"), NOON)
    ledger.stories.rehearsed(a_past_rehearsal(slot, problem=text, configuration={"tags": {"name": text}}), NOON)
    ledger.stories.recovered(a_recovery(asked={"asked_by": text, "overrides": {"tags": {text: text}}}), "failed", NOON)


def test_the_screen_shows_the_text_and_obeys_nothing_in_it() -> None:
    """F86."""

    def check(text: str) -> str:
        text = text[:300]
        console = Console(file=io.StringIO(), force_terminal=True, width=5_000, legacy_windows=False)
        told = Told(
            thing=Thing("volume", text, text),
            resource={"standing": text, "reason": text},
            verdict={"word": "unusual", "reasons": [{"text": text}]},
            rehearsal={"evidence": {"fitness": "unfit", "reason": text}},
        )
        screen.morning(console, [told], Kept((Promise(text, is_kept=False, seen=text),)))
        console.print(screen.night([told], "working", "02:00"))
        assert isinstance(console.file, io.StringIO)
        return oracles.on_screen(console.file.getvalue(), text)

    unharmed(check)


def test_a_name_in_sql_is_one_identifier_and_a_text_one_literal() -> None:
    """F87: names of databases and tables come from the restored server itself."""

    def check(text: str) -> str:
        part = postgresql._part(text, 7, "public", text, True)
        schema = part.statement.removeprefix("SELECT ").partition(".bt_index_check(7::pg_catalog.regclass, true)")[0]
        return (
            oracles.in_name(mysql._name(text), text, "`")
            or oracles.in_literal(mysql._text(text), text)
            or oracles.in_name(schema, text, '"')
            or oracles.as_evidence(part.name)
        )

    unharmed(check)


class Answering:
    """A database that answers everything with one value."""

    database = "shop"

    def __init__(self, value: object) -> None:
        self.value = value

    def ask(self, statement: str, seconds: float = 30) -> list[list[object]]:
        return [[self.value]]


def test_what_a_restored_database_answers_is_quoted_in_the_evidence_and_believed_nothing() -> None:
    checks = (
        DatabaseCheck(database="shop", statement="select count(*) from orders", at_least=1),
        DatabaseCheck(database="shop", statement="select max(at) from orders", newest_within_minutes=5),
    )
    newest = _Newest(consistent_at=NOON, now=NOON)

    def check(text: str) -> str:
        values: tuple[object, ...] = (text, text.encode(), [text], {text: text})
        found = [_checked(Answering(value), one, newest) for value in values for one in checks]  # type: ignore[arg-type]
        assert {one.held for one in found} == {None}
        written = [line for one in found for line in (one.what, one.detail)] + [key_of(text, text), quoted(text)]
        return next((harm for line in written if (harm := oracles.as_evidence(line))), "")

    unharmed(check)
