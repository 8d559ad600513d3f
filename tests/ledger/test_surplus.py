"""Duplicates on their way out: found, marked, deleted, each once and in this order."""

from __future__ import annotations

from functions.core.resources import Kind
from functions.ledger.ledger import Ledger
from functions.ledger.surplus import Stage
from tests.builders import AWAY, NOON, a_key, a_slot, a_snapshot


def test_a_duplicate_is_put_on_the_list_once(ledger: Ledger) -> None:
    """F44."""
    assert ledger.surplus.found(a_slot(), a_snapshot("snap-2"), NOON)
    assert not ledger.surplus.found(a_slot(), a_snapshot("snap-2"), NOON)
    [surplus] = ledger.surplus.at(Stage.FOUND)
    assert (surplus.snapshot_id, surplus.kind, surplus.region) == ("snap-2", Kind.VOLUME, "eu-central-1")


def test_a_duplicate_is_marked_and_then_deleted_and_then_forgotten(ledger: Ledger) -> None:
    slot = a_slot(resource=a_key(Kind.DATABASE))
    ledger.surplus.found(slot, a_snapshot("snap-2", region=AWAY), NOON)
    [surplus] = ledger.surplus.at(Stage.FOUND)
    assert ledger.surplus.move(surplus, Stage.MARKED)
    assert list(ledger.surplus.at(Stage.FOUND)) == []
    [marked] = ledger.surplus.at(Stage.MARKED)
    assert (marked.kind, marked.region) == (Kind.DATABASE, AWAY)
    assert ledger.surplus.move(marked, Stage.DELETED)
    assert [list(ledger.surplus.at(stage)) for stage in Stage] == [[], [], []]


def test_whoever_saw_an_older_stage_moves_nothing(ledger: Ledger) -> None:
    ledger.surplus.found(a_slot(), a_snapshot("snap-2"), NOON)
    [seen] = ledger.surplus.at(Stage.FOUND)
    assert ledger.surplus.move(seen, Stage.MARKED)
    assert not ledger.surplus.move(seen, Stage.MARKED)


def test_what_was_deleted_is_not_found_a_second_time(ledger: Ledger) -> None:
    """F04: AWS may still show it for a while."""
    ledger.surplus.found(a_slot(), a_snapshot("snap-2"), NOON)
    for stage in (Stage.MARKED, Stage.DELETED):
        [seen] = [one for before in Stage for one in ledger.surplus.at(before)]
        ledger.surplus.move(seen, stage)
    assert not ledger.surplus.found(a_slot(), a_snapshot("snap-2"), NOON)
