"""How recoveries ended: a row for each end, in every Region its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from functions.core.evidence import Assertion, judge
from functions.core.recoveries import Found, PassedOver, PlanLine, Setting
from functions.core.resources import Kind
from functions.core.restores import Restored, RestoreState
from functions.ledger.ledger import Ledger
from functions.ledger.stories import RUNS_REMEMBERED
from tests.builders import AWAY, FAR, NOON, a_key, ago
from tests.handlers.recoveries import a_recovery
from tests.ledger.dynamodb import items

WHOLE = a_recovery(
    plan=(PlanLine(what="subnet", found=Found.WARNING, detail="2 of 11 are free", next_step="Give another."),),
    settings=(Setting(what="port", is_applied=False, detail="it is fixed"),),
    restored=(
        Restored(
            id="vol-2", snapshot_id="copy-1", kind=Kind.VOLUME, region=AWAY, state=RestoreState.AVAILABLE, port=5432
        ),
    ),
    evidence=judge([Assertion(what="ext4", held=None, detail="not read")]),
    started_at=NOON,
    available_at=NOON + timedelta(minutes=3),
)


def test_an_end_is_read_as_it_was_written(ledger: Ledger) -> None:
    over = (PassedOver(slot_at=ago(hours=1), reason="it is held"),)
    whole = replace(WHOLE, chosen=replace(WHOLE.chosen, passed_over=over, configuration={"iops": 3000, "tags": {}}))
    assert ledger.stories.recovered(whole, "handed over", NOON)
    assert ledger.stories.recoveries(a_key()) == [whole]


def test_one_end_is_written_once(ledger: Ledger) -> None:
    """F30."""
    assert ledger.stories.recovered(WHOLE, "handed over", NOON)
    assert not ledger.stories.recovered(replace(WHOLE, problem="another"), "handed over", NOON + timedelta(hours=1))
    assert ledger.stories.recoveries(a_key()) == [WHOLE]


def test_one_that_failed_and_was_redriven_has_both_ends(ledger: Ledger) -> None:
    failed = replace(WHOLE, problem="the key is disabled")
    assert ledger.stories.recovered(failed, "failed", NOON)
    assert ledger.stories.recovered(WHOLE, "handed over", NOON + timedelta(hours=1))
    assert {one.problem for one in ledger.stories.recoveries(a_key())} == {"the key is disabled", ""}


def test_two_regions_never_write_one_item(ledger: Ledger) -> None:
    """A global table resolves two writers of one item by forgetting one of them."""
    for region in (AWAY, FAR):
        elsewhere = replace(WHOLE, request=replace(WHOLE.request, region=region))
        assert ledger.stories.recovered(elsewhere, "handed over", NOON)
    assert [one.request.region for one in ledger.stories.recoveries(a_key())] == [FAR, AWAY]


def test_they_are_found_by_the_resource_that_was_recovered(ledger: Ledger) -> None:
    ledger.stories.recovered(WHOLE, "handed over", NOON)
    assert ledger.stories.recoveries(a_key(Kind.DATABASE)) == []
    assert ledger.stories.rehearsals(a_key()) == []


def test_an_end_is_forgotten_after_a_year_and_a_bit(ledger: Ledger) -> None:
    ledger.stories.recovered(WHOLE, "handed over", NOON)
    assert int(items()[0]["forget_at"]["N"]) == int((NOON + RUNS_REMEMBERED).timestamp())
