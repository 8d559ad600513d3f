"""F37, F92: whatever JSON arrives gives a value or an error of ours that says the next step, never another exception.

What is read is an example of events/ with something in it replaced, added or left out, which goes deeper than noise.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.contracts import from_aws, recovery_requests, wire
from functions.contracts import settings as contract
from functions.core import labels
from functions.core.errors import BadMessage, HoldfastError
from functions.core.recoveries import Recovery
from functions.core.recovery_sets import Outcome, RecoverySet
from functions.core.rehearsals import Rehearsal
from functions.core.snapshots import CopyOrder, SnapshotOrder
from functions.handlers import (
    answer_approval,
    ask_approval,
    choose_recovery,
    choose_rehearsal,
    copy_snapshot,
    heed_alarm,
    heed_failure,
    hold_point,
    note_set,
    read_set,
    score_run,
    stop_recovery,
    swap_names,
    take_snapshot,
    track_points,
)
from functions.handlers.note_set import _said
from functions.handlers.record_rehearsal import in_words
from functions.ledger.stories import run_in_stream
from tests.builders import ACCOUNT, HOME, a_copy_order, a_snapshot, a_snapshot_order
from tests.contracts.test_settings import COMPLETE
from tests.handlers.conftest import world as world
from tests.handlers.world import CONTEXT, EVENTS, World, example, sqs_event

STRANGE = (
    None, True, False, 0, -1, 2**63, 10**400, 1.5, 1e308, -0.0, "", " ", "\x00", "*", "\ud800", "\u0661", "a" * 5_000,
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-02-30T00:00:00Z", "2026-11-20T12:00:00", "24:00",
    "1e400", "0h", "99999d", [], [[]], {}, {"": None}, [None] * 50, {"__class__": "x"},
)  # fmt: skip

# Copied, because what is put into a document may itself be changed afterwards.
values = st.sampled_from(STRANGE).map(copy.deepcopy) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def places(document: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a document, itself last."""
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for step, value in inner:
        yield from places(value, (*way, step))
    yield way


@st.composite
def changed(draw: st.DrawFn, document: Any) -> Any:
    """The document with one to three values in it replaced, left out, or joined by another."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        way = draw(st.sampled_from(list(places(document))))
        value = draw(values)
        if not way:
            return value
        spot = document
        for step in way[:-1]:
            spot = spot[step]
        change = draw(st.sampled_from(["replace", "replace", "leave out", "join"]))
        if change == "leave out":
            del spot[way[-1]]
        elif change == "join" and isinstance(spot, dict):
            spot[draw(st.text(max_size=8))] = value
        else:
            spot[way[-1]] = value
    return document


def value_or_our_error(read: Callable[[], object]) -> None:
    """Any exception but ours fails the test by itself."""
    refusal: HoldfastError | None = None
    try:
        read()
    except HoldfastError as problem:
        refusal = problem
    assert refusal is None or (refusal.what and refusal.hint)


SHAPES: tuple[tuple[type[Any], Any], ...] = (
    (SnapshotOrder, wire.plain(a_snapshot_order())),
    (CopyOrder, wire.plain(a_copy_order())),
    (Rehearsal, example("workflow_record_rehearsal")["rehearsal"]),
    (Recovery, example("workflow_record_recovery")["recovery"]),
    (RecoverySet, example("workflow_note_set")["recoveryset"]),
    (Outcome, {"resource": "a", "is_recovered": True, "told": "b"}),
)


@pytest.mark.parametrize(("shape", "fact"), SHAPES, ids=[shape.__name__ for shape, _ in SHAPES])
@given(data=st.data())
def test_a_fact_that_was_changed_is_read_or_refused_by_its_place(
    shape: type[Any], fact: Any, data: st.DataObject
) -> None:
    given_fact = data.draw(changed(fact))
    read: object = None
    refusal = ""
    try:
        read = wire.read(shape, given_fact)
    except BadMessage as problem:
        refusal = problem.what
    assert isinstance(read, shape) or refusal.startswith(f"not a {shape.__name__}: ")


@given(changed(COMPLETE))
@settings(max_examples=200)
def test_a_block_that_was_changed_is_read_or_refused_in_lines_that_name_their_places(block: Any) -> None:
    try:
        read = contract.read(block)
    except BadMessage as problem:
        _, *lines = problem.what.splitlines()
        assert lines
        assert all(line.startswith("  ") and ": " in line for line in lines)
        return
    assert read.settings.policies == contract.read(block).settings.policies


@given(values)
def test_a_block_of_any_shape_is_refused_and_says_where_a_whole_one_is_shown(block: Any) -> None:
    with pytest.raises(BadMessage, match="README"):
        contract.read(block)


@given(st.data())
def test_an_alarm_that_was_changed_is_read_or_refused(data: st.DataObject) -> None:
    alarm = data.draw(st.sampled_from(["alarm_on_a_volume", "alarm_of_a_failure", "alarm_on_metric_math"]))
    event = data.draw(changed(example(alarm)))
    value_or_our_error(lambda: from_aws.alarm(event).resources())


@given(changed(example("sqs_notices")["Records"]))
def test_notices_that_were_changed_are_read_or_refused(records: Any) -> None:
    value_or_our_error(lambda: [notice.snapshot_ids for notice in from_aws.notices(records)])


@given(changed(example("stream_run_closed")["Records"][0]))
def test_a_record_of_the_stream_that_was_changed_is_a_run_or_refused(record: Any) -> None:
    value_or_our_error(lambda: run_in_stream(record))


@given(changed({"groups": [[{"resource": "volume/eu-central-1/vol-1", "target": {"iops": 3_000}}]], "dry_run": True}))
def test_a_set_that_was_changed_is_read_or_refused(given_set: Any) -> None:
    value_or_our_error(lambda: recovery_requests.read_set(given_set, execution="e", account=ACCOUNT, region=HOME))


TAGS = labels.for_snapshot(a_snapshot_order())


@given(st.dictionaries(st.sampled_from(sorted(TAGS)), st.text(max_size=40) | st.sampled_from(
    [text for text in STRANGE if isinstance(text, str)])))  # fmt: skip
def test_tags_that_were_changed_are_a_label_or_refused(tags: dict[str, str]) -> None:
    value_or_our_error(lambda: labels.read(a_snapshot(tags=TAGS | tags), account=ACCOUNT))


pieces = st.sampled_from(
    ['"errorMessage": "', '"Cause": "', '\\"', '"', "\\", "\\q", "\\u12", "\n", "{", "}", "x: ", "\\\\"]
)


@given(st.lists(pieces | st.text(max_size=5), max_size=14).map("".join))
@settings(max_examples=300)
def test_what_a_workflow_caught_is_always_some_words(caught: str) -> None:
    """Causes are cut off anywhere, and what stands in them was written by whatever failed."""
    assert isinstance(in_words(caught), str)
    assert isinstance(_said(caught), str)


HANDLERS: dict[str, Any] = {
    "alarm_on_a_volume": heed_alarm,
    "alarm_of_a_failure": heed_failure,
    "sqs_notices": track_points,
    "sqs_snapshot_orders": take_snapshot,
    "sqs_copy_orders": copy_snapshot,
    "stream_run_closed": score_run,
    "execution_recover_set": read_set,
    "workflow_answer_approval": answer_approval,
    "workflow_ask_approval": ask_approval,
    "workflow_choose_recovery": choose_recovery,
    "workflow_choose_rehearsal_asked_for": choose_rehearsal,
    "workflow_hold_point": hold_point,
    "workflow_note_set": note_set,
    "workflow_read_set": read_set,
    "workflow_stop_recovery": stop_recovery,
    "workflow_swap_names": swap_names,
}


@pytest.mark.parametrize("name", HANDLERS)
@given(data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_handler_answers_a_changed_event_or_refuses_it(world: World, name: str, data: st.DataObject) -> None:
    """Through the frame, as Lambda calls it, with a ledger behind it that knows nothing of what the event names."""
    event = example(name)
    if name.startswith("sqs_"):  # SQS writes what is around a body, and somebody else the body
        event = sqs_event([json.dumps(data.draw(changed(json.loads(event["Records"][0]["body"]))))])
    else:
        event = data.draw(changed(event).filter(lambda one: isinstance(one, dict)))  # Lambda hands over nothing else
    value_or_our_error(lambda: HANDLERS[name].handler(event, CONTEXT))


def test_every_example_is_json_that_the_standard_library_reads() -> None:
    assert all(isinstance(json.loads(path.read_text(encoding="utf-8")), dict) for path in EVENTS.glob("*.json"))
