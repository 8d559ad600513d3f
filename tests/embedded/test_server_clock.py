"""The embedded clock moves the server and its Lambda workers together."""

import json
from datetime import UTC, datetime, timedelta

import pytest

NOW = """
import time, datetime
def handler(event, context):
    return [time.time(), datetime.datetime.now(datetime.UTC).timestamp(), context.get_remaining_time_in_millis()]
"""


def _times(aws, function):
    return json.load(aws.client("lambda").invoke(FunctionName=function.name)["Payload"])


@pytest.fixture(autouse=True)
def _rate_of_one(aws):
    yield
    aws.set_rate(1)


def test_a_jump_moves_server_and_worker_together(aws, function):
    deployed = function(NOW)
    _times(aws, deployed)  # warm: a worker started before the jump must follow it too
    before = aws.now()

    aws.advance(86_400)

    after = aws.now()
    assert timedelta(days=1) <= after - before < timedelta(days=1, hours=1)
    assert all(0 <= seconds - after.timestamp() < 3600 for seconds in _times(aws, deployed)[:2])


def test_the_clock_can_be_set_forward_and_back(aws):
    for instant in (datetime(2031, 3, 1, 2, 0, tzinfo=UTC), datetime(2029, 12, 31, 23, 59, tzinfo=UTC)):
        aws.set_clock(instant)
        assert timedelta(0) <= aws.now() - instant < timedelta(hours=1)


def test_the_rate_makes_hours_out_of_seconds_for_server_and_worker(aws, function):
    deployed = function(
        """
        import time
        def handler(event, context):
            before, began, after = time.monotonic(), time.time(), time.monotonic()
            time.sleep(0.5)
            least, ended, most = time.monotonic() - after, time.time(), time.monotonic() - before
            return [least, ended - began, most]
        """
    )
    aws.set_rate(600)
    least, embedded, most = json.load(aws.client("lambda").invoke(FunctionName=deployed.name)["Payload"])
    assert least * 600 - 0.001 <= embedded <= most * 600 + 0.001


def test_a_function_keeps_its_whole_timeout_on_a_fast_clock(aws, function):
    deployed = function(NOW, Timeout=60)
    aws.set_rate(3600)
    assert _times(aws, deployed)[2] > 30_000


def test_a_rate_of_zero_is_refused_with_the_way_out(aws):
    with pytest.raises(ValueError, match="set the clock instead"):
        aws.set_rate(0)


def test_an_answer_of_aws_carries_the_embedded_time(aws, unique):
    aws.set_clock(datetime(2032, 2, 29, 12, 0, tzinfo=UTC))
    queue = aws.client("sqs").create_queue(QueueName=unique("dated"))["QueueUrl"]
    attributes = aws.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["CreatedTimestamp"])
    created = datetime.fromtimestamp(int(attributes["Attributes"]["CreatedTimestamp"]), UTC)
    assert (created.year, created.month, created.day) == (2032, 2, 29)
