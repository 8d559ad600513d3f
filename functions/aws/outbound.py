"""What leaves a function: orders to a queue, events to a bus, notices to people."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from functions.aws.clients import Clients
from functions.aws.faults import translated
from functions.aws.permissions import Permission
from functions.core.errors import AwsBusy, BadMessage, Broken
from functions.core.plain_text import printable

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

BATCH_MESSAGES = 10
BATCH_BYTES = 256 * 1024
"""The bound that every queue has had; newer queues take more, and a batch that fits here fits everywhere."""

SOURCE = "holdfast"
SUBJECT_CHARACTERS = 100
BODY_BYTES = 256 * 1024
CUT = "\n[cut here: the notice was longer than SNS delivers]"

PERMISSIONS: Mapping[str, tuple[Permission, ...]] = {
    "send": (
        Permission(
            actions=("sqs:SendMessage",),
            resources=("arn:{partition}:sqs:{region}:{account}:holdfast-*",),
            why="orders go to our own queues",
        ),
    ),
    "publish": (
        Permission(
            actions=("events:PutEvents",),
            resources=("arn:{partition}:events:{region}:{account}:event-bus/*",),
            conditions={"StringEquals": {"events:source": SOURCE}},
            why="tells others what happened, under our own name only",
        ),
    ),
    "notify": (
        Permission(
            actions=("sns:Publish",),
            resources=("arn:{partition}:sns:{region}:{account}:holdfast-*",),
            why="notices go to our own topic",
        ),
    ),
}


class Queue:
    """One SQS queue of ours."""

    def __init__(self, url: str, region: str, clients: Clients) -> None:
        self.url = url
        self._sqs: SQSClient = clients.retrying("sqs", region)

    def send(self, messages: Sequence[str], *, delays_seconds: Sequence[int] = ()) -> None:
        """Every message is in the queue, each invisible for its delay, if there are any.

        Errors: AwsBusy, Broken when the queue did not take some of them; the others are in it, so the caller sends
        all of them again and readers meet a message twice, which they always may.
        """
        delays = iter(delays_seconds or [0] * len(messages))
        for batch in _batches(messages):
            entries: list[SendMessageBatchRequestEntryTypeDef] = [
                {"Id": str(position), "MessageBody": body, "DelaySeconds": next(delays)}
                for position, body in enumerate(batch)
            ]
            with translated("sqs:SendMessageBatch", resource=self.url):
                answer = self._sqs.send_message_batch(QueueUrl=self.url, Entries=entries)
            failed = answer.get("Failed", [])
            if failed:
                codes = ", ".join(sorted({entry["Code"] for entry in failed}))
                what = f"{len(failed)} of {len(batch)} messages did not get into {self.url}: {codes}"
                if any(entry["SenderFault"] for entry in failed):
                    raise Broken(what, hint="the queue refuses the message as it is; please report this line")
                raise AwsBusy(what, hint="nothing to do now; the messages are sent again with the next round")


class Bus:
    """One EventBridge bus; the account's own is called `default`."""

    def __init__(self, name: str, region: str, clients: Clients) -> None:
        self.name = name
        self._events: EventBridgeClient = clients.retrying("events", region)

    def publish(self, detail_type: str, detail: Mapping[str, object]) -> None:
        """The event is on the bus.

        Errors: AwsBusy, Broken when EventBridge did not take it.
        """
        entry: PutEventsRequestEntryTypeDef = {
            "EventBusName": self.name,
            "Source": SOURCE,
            "DetailType": detail_type,
            "Detail": json.dumps(detail, sort_keys=True),
        }
        with translated("events:PutEvents", resource=self.name):
            answer = self._events.put_events(Entries=[entry])
        if answer["FailedEntryCount"]:
            code = answer["Entries"][0].get("ErrorCode", "no code")
            what = f"the event {detail_type!r} did not get onto the bus {self.name}: {code}"
            if code in ("InternalException", "InternalFailure", "ThrottlingException"):
                raise AwsBusy(what, hint="nothing to do now; the event is published again with the next round")
            raise Broken(what, hint="EventBridge refuses the event as it is; please report this line")


class Topic:
    """One SNS topic that people have subscribed to."""

    def __init__(self, arn: str, region: str, clients: Clients) -> None:
        self.arn = arn
        self._sns: SNSClient = clients.retrying("sns", region)

    def notify(self, subject: str, body: str) -> None:
        """The notice is with SNS, under a subject that mail can carry, in characters that a reader can see."""
        with translated("sns:Publish", resource=self.arn):
            self._sns.publish(TopicArn=self.arn, Subject=subject_line(subject), Message=_fitting(printable(body)))


def subject_line(text: str) -> str:
    """The text as SNS takes it: one line of printable ASCII, 1 to 100 characters, accents dropped from letters.

    A line break in it would let a resource's name write its own mail headers.
    """
    plain = unicodedata.normalize("NFKD", text)
    bare = "".join(letter for letter in plain if not unicodedata.combining(letter))
    ascii_only = bare.encode("ascii", errors="replace").decode("ascii")
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in ascii_only).split())
    if len(line) > SUBJECT_CHARACTERS:
        line = f"{line[: SUBJECT_CHARACTERS - 3].rstrip()}..."
    return line or "Holdfast"


def _fitting(body: str) -> str:
    encoded = body.encode()
    if len(encoded) <= BODY_BYTES:
        return body or "(no text)"
    return encoded[: BODY_BYTES - len(CUT)].decode(errors="ignore") + CUT


def _batches(messages: Sequence[str]) -> Iterator[list[str]]:
    """The messages in order, in batches that one request takes.

    Errors: BadMessage for a message that no request takes.
    """
    batch: list[str] = []
    room = BATCH_BYTES
    for message in messages:
        size = len(message.encode())
        if size > BATCH_BYTES:
            raise BadMessage(
                f"a message has {size:,} bytes; a queue takes {BATCH_BYTES:,}",
                hint="send a reference to the content instead of the content",
            )
        if len(batch) == BATCH_MESSAGES or size > room:
            yield batch
            batch, room = [], BATCH_BYTES
        batch.append(message)
        room -= size
    if batch:
        yield batch
