"""Facts are written once and never changed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from functions.contracts import wire
from functions.core.errors import BadMessage
from functions.core.rehearsals import Rehearsal
from functions.core.resources import Kind
from functions.core.verdicts import Reason, Verdict, Word
from functions.ledger.ledger import Ledger
from functions.ledger.stories import RUNS_REMEMBERED, run_in_stream
from tests.builders import AWAY, FAR, HOME, NOON, a_key, a_run, a_slot
from tests.ledger.dynamodb import items

USUAL = Verdict(
    word=Word.USUAL,
    score=0.25,
    reasons=(Reason(feature="history", value=None, typical=1.5, text="like the runs before it"),),
    judged_by="rules-1",
)
REHEARSAL = Rehearsal(
    id="8c1e2f3a4b5d",
    slot=a_slot(),
    region=AWAY,
    snapshot_ids=("snap-2",),
    source_snapshot_ids=("snap-1",),
    home_region=HOME,
    policy="gold",
    reason="never rehearsed",
    started_at=NOON,
)


def test_a_run_is_closed_once(ledger: Ledger) -> None:
    """F30: whoever closes it again changes nothing."""
    assert ledger.stories.close(a_run())
    assert not ledger.stories.close(a_run(errors=("another story",)))
    assert ledger.stories.runs(a_key()) == [a_run()]


def test_of_many_who_close_a_run_exactly_one_writes_it(ledger: Ledger) -> None:
    with ThreadPoolExecutor(6) as crowd:
        wrote = list(crowd.map(lambda waits: ledger.stories.close(a_run(waits=waits)), range(6)))
    assert wrote.count(True) == 1


def test_the_newest_runs_come_first_and_only_so_many(ledger: Ledger) -> None:
    for days in range(5):
        ledger.stories.close(a_run(NOON + timedelta(days=days)))
    assert [run.slot.at.day for run in ledger.stories.runs(a_key(), newest=3)] == [24, 23, 22]
    assert ledger.stories.runs(a_key(Kind.DATABASE)) == []


def test_a_run_is_forgotten_after_a_year_and_a_bit(ledger: Ledger) -> None:
    ledger.stories.close(a_run())
    [item] = items()
    assert int(item["forget_at"]["N"]) == int((a_run().closed_at + RUNS_REMEMBERED).timestamp())


def test_a_verdict_is_given_once(ledger: Ledger) -> None:
    assert ledger.stories.verdict(a_slot()) is None
    assert ledger.stories.judge(a_slot(), USUAL, NOON)
    assert not ledger.stories.judge(a_slot(), replace(USUAL, word=Word.UNUSUAL), NOON)
    assert ledger.stories.verdict(a_slot()) == USUAL


def test_a_rehearsal_is_recorded_once_and_found_by_resource_and_by_region(ledger: Ledger) -> None:
    assert ledger.stories.rehearsed(REHEARSAL, NOON)
    assert not ledger.stories.rehearsed(replace(REHEARSAL, problem="another story"), NOON + timedelta(minutes=1))
    assert ledger.stories.rehearsals(a_key()) == [REHEARSAL]
    assert list(ledger.stories.rehearsed_in(AWAY)) == [REHEARSAL]
    assert list(ledger.stories.rehearsed_in(FAR)) == []


def test_rehearsals_in_two_regions_never_write_one_item(ledger: Ledger) -> None:
    """A global table resolves two writers of one item by forgetting one of them."""
    for region in (AWAY, FAR):
        assert ledger.stories.rehearsed(replace(REHEARSAL, region=region), NOON)
    assert [rehearsal.region for rehearsal in ledger.stories.rehearsals(a_key())] == [FAR, AWAY]


def test_a_closed_run_is_read_from_the_stream_as_it_was_closed(ledger: Ledger) -> None:
    ledger.stories.close(a_run())
    [image] = items()
    assert run_in_stream({"dynamodb": {"NewImage": image}}) == a_run()


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"dynamodb": {}},
        {"dynamodb": {"NewImage": {"body": {"N": "1"}}}},
        {"dynamodb": {"NewImage": {"body": {"S": json.dumps(wire.plain(USUAL))}}}},
    ],
)
def test_a_record_of_anything_else_is_a_bad_message(record: Any) -> None:
    """F37."""
    with pytest.raises(BadMessage, match="not a closed run"):
        run_in_stream(record)
