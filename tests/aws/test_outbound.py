"""Orders to queues, events to buses, notices to people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from functions.aws.clients import Clients
from functions.aws.outbound import BATCH_BYTES, BODY_BYTES, Bus, Queue, Topic, subject_line
from functions.core.errors import AwsBusy, BadMessage, Broken, HoldfastError

REGION = "eu-central-1"


@pytest.fixture
def clients() -> Iterator[Clients]:
    with mock_aws():
        yield Clients(boto3.Session(region_name=REGION))


@pytest.fixture
def url(clients: Clients) -> str:
    return clients.retrying("sqs", REGION).create_queue(QueueName="holdfast-orders")["QueueUrl"]


def waiting(clients: Clients, url: str) -> list[str]:
    """Everything a reader finds in the queue now."""
    sqs, found = clients.retrying("sqs", REGION), []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        found += [message["Body"] for message in messages]
    return found


def test_every_message_arrives_however_many(clients: Clients, url: str):
    messages = [f"order {n}" for n in range(23)]
    Queue(url, REGION, clients).send(messages)
    assert sorted(waiting(clients, url)) == sorted(messages)


def test_nothing_to_send_sends_nothing(clients: Clients, url: str):
    Queue(url, REGION, clients).send([])
    assert waiting(clients, url) == []


def test_a_delayed_message_is_not_seen_yet(clients: Clients, url: str):
    Queue(url, REGION, clients).send(["later"], delays_seconds=[900])
    assert waiting(clients, url) == []
    attributes = clients.retrying("sqs", REGION).get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    assert attributes["Attributes"]["ApproximateNumberOfMessagesDelayed"] == "1"


def test_a_batch_never_exceeds_the_bytes_of_a_request(clients: Clients, url: str):
    sizes: list[int] = []

    def weigh(params: dict[str, Any], **_: object) -> None:
        sizes.append(sum(len(entry["MessageBody"].encode()) for entry in params["Entries"]))

    clients.retrying("sqs", REGION).meta.events.register("provide-client-params.sqs.SendMessageBatch", weigh)
    Queue(url, REGION, clients).send(["é" * 50_000 for _ in range(5)])
    assert sizes == [200_000, 200_000, 100_000]
    assert len(waiting(clients, url)) == 5


def test_a_message_that_no_request_takes_is_refused(clients: Clients, url: str):
    with pytest.raises(BadMessage, match=r"262,145 bytes"):
        Queue(url, REGION, clients).send(["x" * (BATCH_BYTES + 1)])


@pytest.mark.parametrize(("is_our_fault", "problem"), [(False, AwsBusy), (True, Broken)])
def test_a_message_left_out_of_a_batch_is_an_error(clients: Clients, is_our_fault: bool, problem: type[HoldfastError]):
    failed = {"Id": "1", "SenderFault": is_our_fault, "Code": "InternalError"}
    sent = {"Id": "0", "MessageId": "m", "MD5OfMessageBody": "0cc175b9c0f1b6a831c399e269772661"}
    with Stubber(clients.retrying("sqs", REGION)) as sqs:
        sqs.add_response("send_message_batch", {"Successful": [sent], "Failed": [failed]})
        with pytest.raises(problem, match=r"1 of 2 messages did not get into .*InternalError"):
            Queue("https://sqs/orders", REGION, clients).send(["a", "b"])


def test_an_event_is_published_under_our_name(clients: Clients):
    with Stubber(clients.retrying("events", REGION)) as events:
        entry = {
            "EventBusName": "default",
            "Source": "holdfast",
            "DetailType": "Point Completed",
            "Detail": json.dumps({"a": 1, "b": [2]}),
        }
        events.add_response("put_events", {"FailedEntryCount": 0, "Entries": [{"EventId": "e"}]}, {"Entries": [entry]})
        Bus("default", REGION, clients).publish("Point Completed", {"b": [2], "a": 1})
        events.assert_no_pending_responses()


@pytest.mark.parametrize(("code", "problem"), [("ThrottlingException", AwsBusy), ("MalformedDetail", Broken)])
def test_an_event_that_the_bus_did_not_take_is_an_error(clients: Clients, code: str, problem: type[HoldfastError]):
    with Stubber(clients.retrying("events", REGION)) as events:
        events.add_response("put_events", {"FailedEntryCount": 1, "Entries": [{"ErrorCode": code}]})
        with pytest.raises(problem, match=code):
            Bus("default", REGION, clients).publish("Point Completed", {})


def test_a_notice_has_a_subject_that_mail_can_carry(clients: Clients):
    arn = "arn:aws:sns:eu-central-1:111122223333:holdfast-notices"
    with Stubber(clients.retrying("sns", REGION)) as sns:
        request = {"TopicArn": arn, "Subject": "No copy of Munchen Bcc: all", "Message": "München\nhas none"}
        sns.add_response("publish", {"MessageId": "m"}, request)
        Topic(arn, REGION, clients).notify("No copy of München\r\nBcc: all", "München\nhas none")
        sns.assert_no_pending_responses()


@pytest.mark.parametrize("body", ["", "é" * BODY_BYTES])
def test_a_notice_is_neither_empty_nor_longer_than_sns_delivers(clients: Clients, body: str):
    arn = clients.retrying("sns", REGION).create_topic(Name="holdfast-notices")["TopicArn"]
    sent: list[str] = []
    clients.retrying("sns", REGION).meta.events.register(
        "provide-client-params.sns.Publish", lambda params, **_: sent.append(params["Message"])
    )
    Topic(arn, REGION, clients).notify("subject", body)
    assert 0 < len(sent[0].encode()) <= BODY_BYTES
    assert ("cut here" in sent[0]) is bool(body)


@given(st.text(max_size=300))
def test_any_text_becomes_one_printable_ascii_line(text: str):
    line = subject_line(text)
    assert 1 <= len(line) <= 100
    assert line.isascii()
    assert line.isprintable()
    assert line == line.strip()


def test_a_long_subject_is_cut_visibly():
    assert subject_line("x" * 101) == "x" * 97 + "..."
    assert subject_line("x" * 100) == "x" * 100
