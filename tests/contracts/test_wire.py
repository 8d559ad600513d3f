"""What goes from function to function comes out as it went in, or not at all."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.contracts import from_aws, wire
from functions.core.errors import BadMessage
from functions.core.points import Copy, Point
from functions.core.resources import Kind
from functions.core.runs import Run
from functions.core.slots import Why
from functions.core.snapshots import CopyOrder, SnapshotOrder
from tests.builders import NOON, a_copy, a_copy_order, a_key, a_point, a_run, a_slot, a_snapshot_order

FACTS: dict[type[Any], Any] = {
    SnapshotOrder: a_snapshot_order(),
    CopyOrder: a_copy_order(),
    Point: a_point(configuration={"iops": 3000, "tags": ["a"]}),
    Copy: a_copy(),
    Run: a_run(),
}


@pytest.mark.parametrize("shape", FACTS)
def test_a_fact_survives_the_way_over_json(shape: type[Any]) -> None:
    fact = FACTS[shape]
    assert wire.load(shape, wire.dump(fact)) == fact
    assert wire.read(shape, wire.plain(fact)) == fact
    assert json.loads(wire.dump(fact)) == wire.plain(fact)


@given(
    kind=st.sampled_from(Kind),
    why=st.sampled_from(Why),
    id=st.text(min_size=1, max_size=80).filter(lambda text: "\ud800" not in text),
    attempt=st.integers(1, 3),
)
def test_an_order_survives_whatever_its_resource_is_called(kind: Kind, why: Why, id: str, attempt: int) -> None:
    order = a_snapshot_order(a_slot(resource=a_key(kind, id), why=why), attempt=attempt)
    assert wire.load(SnapshotOrder, wire.dump(order)) == order


def test_a_time_in_another_zone_arrives_as_the_same_instant_in_utc() -> None:
    order = wire.plain(a_snapshot_order())
    order["slot"]["at"] = "2026-11-20T13:00:00+01:00"
    assert wire.read(SnapshotOrder, order).slot.at == NOON
    assert wire.read(SnapshotOrder, order).slot.at.tzinfo is not timezone(timedelta(hours=1))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("slot.resource.kind", "bucket", "slot.resource.kind"),
        ("slot.at", "yesterday", "slot.at"),
        ("attempt", "many", "attempt"),
        ("policy", None, "policy"),
        ("deadline", ..., "deadline"),
    ],
)
def test_a_message_that_is_not_ours_is_refused_with_the_path_of_the_problem(path: str, value: Any, said: str) -> None:
    """F37: never half-handled."""
    order = wire.plain(a_snapshot_order())
    *way, last = path.split(".")
    place = order
    for step in way:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    with pytest.raises(BadMessage, match=f"not a SnapshotOrder: .*{said}") as refused:
        wire.load(SnapshotOrder, json.dumps(order))
    assert "events/" in refused.value.hint


def test_a_slot_without_a_zone_is_refused() -> None:
    order = wire.plain(a_snapshot_order())
    order["slot"]["at"] = datetime(2026, 11, 20, 12).isoformat()  # noqa: DTZ001 - what must be refused
    with pytest.raises((BadMessage, ValueError), match="without a zone"):
        wire.read(SnapshotOrder, order)


@given(st.text(max_size=200))
def test_text_that_is_no_order_is_always_a_bad_message(text: str) -> None:
    """F37, by fuzzing: whatever arrives, the only error is ours."""
    with pytest.raises(BadMessage):
        wire.load(SnapshotOrder, text.encode("utf-8", "surrogatepass"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "detail",
                        "state",
                        "time",
                        "region",
                        "account",
                        "alarmName",
                        "configuration",
                        "metrics",
                        "metricStat",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_an_event_of_any_shape_is_an_alarm_or_a_bad_message(event: Any) -> None:
    """F37, by fuzzing."""
    with pytest.raises(BadMessage):
        from_aws.alarm(event)


@pytest.mark.parametrize(
    "body",
    [
        "not json",
        "{}",
        json.dumps({"source": "aws.ec2", "region": "eu-central-1"}),
        json.dumps({"source": "my.shop", "detail-type": "EBS Snapshot Notification", "region": "eu-central-1"}),
    ],
)
def test_a_notice_that_is_none_is_refused(body: str) -> None:
    """F34: only EC2 and RDS give notices, and PutEvents refuses their names to everybody else."""
    with pytest.raises(BadMessage):
        from_aws.notices([{"body": body}])
